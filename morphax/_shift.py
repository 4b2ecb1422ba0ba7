"""One primitive for all binary morphology: OR of shifted images, and the frames around them.

Images `(..., H, W)` are bool, or unsigned words with an image in each bit: only `&`, `|`, `~` and
slices are used, so both run the same code. Erosions come by complement.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BORDERS = ("ignore", "constant", "replicate")
_UNROLLED = 128  # a traced window with more pixels is looped over by rows, to keep compiling short


def shift_or(padded: jax.Array, window: np.ndarray | jax.Array) -> jax.Array:
    """OR of `padded` over a window, without padding.

    `out[i, j] = OR_{(a, b) in window} padded[i + a, j + b]`: a correlation, the window is not
    flipped.

    Args:
        padded: bool or unsigned words `(..., H + kh - 1, W + kw - 1)`.
        window: bool `(kh, kw)`; numpy: a constant, jax array: data.

    Returns:
        An array `(..., H, W)` of the dtype of `padded`.

    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> padded = jnp.array([[0, 1, 0, 0, 0]], bool)
    >>> shift_or(padded, np.array([[False, True, True]])).astype(int).tolist()
    [[1, 0, 0]]
    """
    if isinstance(window, np.ndarray):
        return _shift_or_constant(padded, window)
    return _shift_or_masked(padded, window)


def _shift_or_constant(padded: jax.Array, window: np.ndarray) -> jax.Array:
    # Rows that hold the same run of pixels form rectangles (run x rows), and a side of length n
    # costs log2(n) shifts: a 41x41 square takes 14 of them instead of 1681.
    kh, kw = window.shape
    height, width = padded.shape[-2] - kh + 1, padded.shape[-1] - kw + 1
    rows_with: dict[tuple[int, int], np.ndarray] = {}
    for row, bits in enumerate(window):
        for run in _runs(bits):
            rows_with.setdefault(run, np.zeros(kh, bool))[row] = True
    out = jnp.zeros((*padded.shape[:-2], height, width), padded.dtype)
    for (column, length), rows in rows_with.items():
        band = _or_span(padded[..., column : column + width + length - 1], length, padded.ndim - 1)
        for row, count in _runs(rows):
            out |= _or_span(band[..., row : row + height + count - 1, :], count, padded.ndim - 2)
    return out


def _shift_or_masked(padded: jax.Array, window: jax.Array) -> jax.Array:
    kh, kw = window.shape
    height, width = padded.shape[-2] - kh + 1, padded.shape[-1] - kw + 1
    zero = jnp.zeros((), padded.dtype)
    mask = jnp.where(window, ~zero, zero)

    def or_row(row, out):
        band = lax.dynamic_slice_in_dim(padded, row, height, axis=padded.ndim - 2)
        for column in range(kw):
            out |= mask[row, column] & band[..., column : column + width]
        return out

    out = jnp.zeros((*padded.shape[:-2], height, width), padded.dtype)
    if kh * kw > _UNROLLED:
        return lax.fori_loop(0, kh, or_row, out)
    for row in range(kh):
        out = or_row(row, out)
    return out


def _runs(bits: np.ndarray) -> list[tuple[int, int]]:
    """(start, length) of each run of ones."""
    ends = np.flatnonzero(np.diff(bits.astype(np.int8), prepend=0, append=0)).tolist()
    return [(start, stop - start) for start, stop in zip(ends[::2], ends[1::2], strict=True)]


def _or_span(x: jax.Array, length: int, axis: int) -> jax.Array:
    """OR of `length` neighbours along an axis, by doubling."""
    covered = 1
    while covered < length:
        step, size = min(covered, length - covered), x.shape[axis]
        ahead = lax.slice_in_dim(x, step, size, axis=axis)
        x = lax.slice_in_dim(x, 0, size - step, axis=axis) | ahead
        covered += step
    return x


def pad(image: jax.Array, shape: tuple[int, ...], border: str, *, fill: bool) -> jax.Array:
    """`image` `(..., H, W)` padded for a window of that shape, by `border` or with zeros or ones.

    `fill` is what `"ignore"` and `"constant"` put beyond the frame; on words, in every bit.

    >>> import jax.numpy as jnp
    >>> pad(jnp.array([[0, 1]], bool), (1, 3), "ignore", fill=True).astype(int).tolist()
    [[1, 0, 1, 1]]
    """
    sides = [(0, 0)] * (image.ndim - 2) + [(side // 2, side // 2) for side in shape]
    if border == "replicate":
        return jnp.pad(image, sides, mode="edge")
    zero = jnp.zeros((), image.dtype)
    return jnp.pad(image, sides, constant_values=~zero if fill else zero)
