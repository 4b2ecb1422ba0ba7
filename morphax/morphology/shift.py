"""One primitive for all binary morphology: the OR of shifted images, and the frames around them.

Images `(..., H, W)` are bool, or unsigned words with an image in each bit: only `&`, `|`, `~` and
slices are used, so both run the same code. Words of neighbouring pixels (`morphax.packed.pixels`)
have their own shift along a row and their own frames, which a `Layout` holds. Erosions are
dilations of the complement.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BORDERS = ("ignore", "constant", "replicate")
_UNROLLED = 128  # a traced window with more pixels is looped over by rows, to keep compiling short


def shift(x: jax.Array, start: int, count: int | None = None) -> jax.Array:
    """Return some of the columns of an image.

    Args:
        x: array `(..., W)`.
        start: first column.
        count: number of columns; all from `start` on by default.

    Returns:
        Array `(..., count)`.
    """
    return x[..., start : None if count is None else start + count]


def shift_or(
    padded: jax.Array,
    window: np.ndarray | jax.Array,
    *,
    width: int | None = None,
    origin: int = 0,
    shift: Callable[..., jax.Array] = shift,
) -> jax.Array:
    """Compute the OR of an image over a window, without padding.

    `out[i, j] = OR_{(a, b) in window} padded[i + a, j + b]`: this is a correlation, the window is
    not flipped.

    Args:
        padded: bool or unsigned words `(..., H + kh - 1, W + kw - 1)`.
        window: bool `(kh, kw)`. A numpy array is a constant; a jax array is data.
        width: W; by default it follows from the shape of `padded`.
        origin: column of `padded` where the window of the first column begins.
        shift: function that does what `shift` above does, for another layout of the columns.

    Returns:
        An array `(..., H, W)` of the dtype of `padded`.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> padded = jnp.array([[0, 1, 0, 0, 0]], bool)
        >>> shift_or(padded, np.array([[False, True, True]])).astype(int).tolist()
        [[1, 0, 0]]
    """
    columns = padded.shape[-1] - window.shape[1] + 1 if width is None else width
    if isinstance(window, np.ndarray):
        return _shift_or_constant(padded, window, columns, origin, shift)
    return _shift_or_masked(padded, window, columns, origin, shift)


def _shift_or_constant(padded, window: np.ndarray, width: int, origin: int, shift: Callable):
    """Compute the OR over a constant window: only its pixels are visited."""
    # Rows that hold the same run of pixels form rectangles (run x rows). A run is the union of two
    # overlapping spans of a power of two, which all runs share, and n rows cost log2(n) shifts: a
    # 41x41 square takes 12 shifts instead of 1681.
    kh = len(window)
    height = padded.shape[-2] - kh + 1
    rows_with: dict[tuple[int, int], np.ndarray] = {}
    for row, bits in enumerate(window):
        for run in _runs(bits):
            rows_with.setdefault(run, np.zeros(kh, bool))[row] = True
    spans = [padded]  # spans[k]: OR of 2^k columns
    out = jnp.zeros((*padded.shape[:-2], height, width), padded.dtype)
    for (column, length), rows in rows_with.items():
        power = length.bit_length() - 1
        while len(spans) <= power:
            ahead = shift(spans[-1], 1 << (len(spans) - 1))
            spans.append(spans[-1][..., : ahead.shape[-1]] | ahead)
        band = shift(spans[power], origin + column, width)
        if length > 1 << power:
            band |= shift(spans[power], origin + column + length - (1 << power), width)
        for row, count in _runs(rows):
            out |= _or_rows(band[..., row : row + height + count - 1, :], count)
    return out


def _shift_or_masked(padded, window: jax.Array, width: int, origin: int, shift: Callable):
    """Compute the OR over a window that is data: all its pixels are visited, under a mask."""
    kh, kw = window.shape
    height = padded.shape[-2] - kh + 1
    zero = jnp.zeros((), padded.dtype)
    mask = jnp.where(window, ~zero, zero)

    def or_row(row, out):
        band = lax.dynamic_slice_in_dim(padded, row, height, axis=padded.ndim - 2)
        for column in range(kw):
            out |= mask[row, column] & shift(band, origin + column, width)
        return out

    out = jnp.zeros((*padded.shape[:-2], height, width), padded.dtype)
    if kh * kw > _UNROLLED:
        return lax.fori_loop(0, kh, or_row, out)
    for row in range(kh):
        out = or_row(row, out)
    return out


def _runs(bits: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, length) of each run of ones."""
    ends = np.flatnonzero(np.diff(bits.astype(np.int8), prepend=0, append=0)).tolist()
    return [(start, stop - start) for start, stop in zip(ends[::2], ends[1::2], strict=True)]


def _or_rows(x: jax.Array, length: int) -> jax.Array:
    """Compute the OR of `length` neighbouring rows, by doubling."""
    covered = 1
    while covered < length:
        step = min(covered, length - covered)
        x = x[..., : x.shape[-2] - step, :] | x[..., step:, :]
        covered += step
    return x


def pad(image: jax.Array, shape: tuple[int, ...], border: str, *, fill: bool) -> jax.Array:
    """Pad an image for a window.

    Args:
        image: bool or words `(..., H, W)`.
        shape: odd sides of the window, (kh, kw).
        border: one of `BORDERS`.
        fill: value beyond the frame for "ignore" and "constant"; on words, the value of every bit.

    Returns:
        An array `(..., H + kh - 1, W + kw - 1)`.

    Example:
        >>> import jax.numpy as jnp
        >>> pad(jnp.array([[0, 1]], bool), (1, 3), "ignore", fill=True).astype(int).tolist()
        [[1, 0, 1, 1]]
    """
    sides = [(0, 0)] * (image.ndim - 2) + [(side // 2, side // 2) for side in shape]
    if border == "replicate" and 0 not in image.shape[-2:]:  # an empty image has no nearest pixel
        return jnp.pad(image, sides, mode="edge")
    zero = jnp.zeros((), image.dtype)
    return jnp.pad(image, sides, constant_values=~zero if fill else zero)


class Layout(NamedTuple):
    """Hold the functions that depend on how the pixels of an image lie in its array.

    Attributes:
        pad: does what `pad` above does.
        shift_or: `(padded, window) -> image`; does what `shift_or` above does.
        trim: finishes a result: it does nothing, or puts zeros where no pixels are.
    """

    pad: Callable[..., jax.Array]
    shift_or: Callable[[jax.Array, Any], jax.Array]
    trim: Callable[[jax.Array], jax.Array]


PLANES = Layout(pad, shift_or, lambda image: image)
"""Layout with one pixel in each element, of one image (bool) or of several (words)."""
