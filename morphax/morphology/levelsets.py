"""Level sets: gray and colour images as stacks of binary images, and back.

- Images are `(N, H, W, C)`, integers that fit in int32 or floats (float64 becomes float32, as in
  all of JAX). An alpha channel counts as a colour: drop it first.
- Thresholds are `(C, count)`, increasing in each row: integers for integer images, else floats.
- Levels are bool `(N, H, W, C * count)`, input-channel-major: channel `c * count + k` is
  `images[..., c] >= thresholds[c, k]`. In each channel, a level contains the next.

A flat gray erosion, dilation, opening or closing is the binary one applied to every level;
`jnp.moveaxis(levels, -1, 1)` has the layout that `morphax.operators` take.
Source: Aouad & Talbot, arXiv 2401.03830; Serra, Image Analysis and Mathematical Morphology (1982).
"""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax.morphology import bit_arrays


def thresholds(images: ArrayLike, count: int | None, *, method: str = "quantile") -> np.ndarray:
    """Choose increasing thresholds for each channel of a set of images.

    All of them lie above the smallest value of the channel, the `lowest` of `reconstruct`. The
    values are read on the host, so the function does not work under `jit`. Methods:

    - "quantile" shares the pixels evenly among the count + 1 gray levels. A value that is too
      frequent to share (a background) counts as one level;
    - "uniform" takes min + k (max - min) / (count + 1), rounded up for integers;
    - "distinct" takes distinct values, evenly spaced in their order, both ends included (for count
      = 1, the smallest but one).

    Args:
        images: integer or finite float `(N, H, W, C)`, no channel constant.
        count: number of thresholds of a channel, from 1 to its number of distinct values less one
            (for "uniform", as many as the dtype can tell apart). `None` with "distinct" takes all
            of them.
        method: "quantile", "uniform" or "distinct".

    Returns:
        Thresholds `(C, count)` of the dtype of `images`.

    Raises:
        ValueError: if images or options are not as described, or the images are traced.

    Example:
        >>> image = np.array([0, 0, 0, 0, 0, 0, 1, 2, 3, 9], np.uint8).reshape(1, 2, 5, 1)
        >>> [thresholds(image, 2, method=m).tolist() for m in ("quantile", "uniform", "distinct")]
        [[[1, 3]], [[3, 6]], [[1, 9]]]
    """
    _checks.one_of("method", method, ("quantile", "uniform", "distinct"))
    traced = isinstance(images, jax.core.Tracer)
    _checks.require(not traced, "images", "known values (call it outside jit)", "a traced array")
    data = np.asarray(_numbers("images", images, 4, "four axes (N, H, W, C)"))
    _checks.require(bool(np.isfinite(data).all()), "images", "finite values", "infinite ones")
    tables = [np.unique(channel, return_counts=True) for channel in np.moveaxis(data, -1, 0)]
    sizes = [len(values) for values, _ in tables]
    _checks.require(min(sizes) > 1, "images", "no constant channel", f"{sizes} distinct values")
    if count is None and method == "distinct" and len(set(sizes)) == 1:
        count = sizes[0] - 1
    limit = np.inf if method == "uniform" else min(sizes) - 1
    if not isinstance(count, int | np.integer) or count is True or not 1 <= count <= limit:
        wanted = f"an integer from 1 to {limit} (distinct values in the channels: {sizes})"
        raise ValueError(f"count: expected {wanted}, got {count!r}")
    rows = np.stack([_row(method, *table, int(count)) for table in tables]).astype(data.dtype)
    before = np.concatenate([data.min((0, 1, 2))[:, None], rows[:, :-1]], 1)
    wanted = f"as many as {data.dtype} tells apart from min to max"
    _checks.require(bool((rows > before).all()), "count", wanted, count)
    return rows


def decompose(images: ArrayLike, thresholds: ArrayLike) -> jax.Array:
    """Return the level sets of images.

    Channel `c * count + k` is `images[..., c] >= thresholds[c, k]`. The function works under `jit`;
    there the values of traced arrays are not checked.

    Args:
        images: integers or floats `(N, H, W, C)`.
        thresholds: `(C, count)`, increasing in each row, integers for integer images, else floats.

    Returns:
        Levels, bool `(N, H, W, C * count)`.

    Raises:
        ValueError: if ranks, dtypes or numbers of channels do not fit, images hold a NaN, or
            thresholds do not increase.

    Example:
        >>> decompose(np.array([[[[3], [7], [9]]]]), [[5, 8]]).astype(int).tolist()
        [[[[0, 0], [1, 0], [1, 1]]]]
    """
    data = jnp.asarray(_numbers("images", images, 4, "four axes (N, H, W, C)"))
    table = _checked_thresholds(thresholds)
    integer = jnp.issubdtype(data.dtype, jnp.integer)
    same = integer == jnp.issubdtype(table.dtype, jnp.integer)
    kind = f"{'integers' if integer else 'floats'} for images of {data.dtype}"
    _checks.require(same, "thresholds", kind, f"dtype {table.dtype}")
    one_row_each = table.shape[0] == data.shape[-1]
    _checks.require(
        one_row_each, "thresholds", f"{data.shape[-1]} rows, one a channel", table.shape
    )
    # Images and thresholds may be of two widths, which strict promotion would refuse to compare.
    with jax.numpy_dtype_promotion("standard"):
        above = data[..., None] >= table[None, None, None]
    return above.reshape(*data.shape[:3], table.size)


def reconstruct(levels: ArrayLike, thresholds: ArrayLike, *, lowest: ArrayLike = 0) -> jax.Array:
    """Return images from level sets: lowest + sum_k (v_k - v_(k-1)) levels_k, where v_0 = lowest.

    From the levels of `decompose` this gives, bit for bit, the greatest threshold <= the pixel, and
    `lowest` where there is none: the image itself exactly when all values of a channel are among
    its thresholds and `lowest`. Levels that are not nested (those of a network may not be) are
    summed in the same way. The function works under `jit`.

    Args:
        levels: bool `(N, H, W, C * count)`, laid out as by `decompose`.
        thresholds: `(C, count)`, finite, increasing in each row.
        lowest: value below the thresholds, of their kind and range: a number or `(C,)`, not traced.

    Returns:
        Images `(N, H, W, C)` of the dtype of `thresholds`; integers do not overflow.

    Raises:
        ValueError: under the conditions of `decompose`, if levels are not bool, or if `lowest`
            exceeds a threshold.

    Example:
        >>> levels = [[[[False, False], [True, False], [True, True]]]]
        >>> reconstruct(levels, [[5, 8]]).ravel().tolist()
        [0, 5, 8]
    """
    stack, table = jnp.asarray(levels), _checked_thresholds(thresholds)
    wanted = "bool (threshold them, e.g. output > 0.5)"
    _checks.require(stack.dtype == bool, "levels", wanted, f"dtype {stack.dtype}")
    right_shape = stack.ndim == 4 and stack.shape[-1] == table.size
    wanted = f"shape (N, H, W, {table.size}) for thresholds of shape {table.shape}"
    _checks.require(right_shape, "levels", wanted, stack.shape)
    # The lowest value must be of the kind of the thresholds, and below them where they are known.
    base, integer = np.asarray(lowest), jnp.issubdtype(table.dtype, jnp.integer)
    good = base.shape in ((), table.shape[:1]) and base.dtype.kind in ("iu" if integer else "iuf")
    high = np.inf if isinstance(thresholds, jax.core.Tracer) else np.asarray(thresholds)[:, 0]
    low = jnp.iinfo(table.dtype).min if integer else -np.inf
    good = good and bool(((base >= low) & (base <= high) & np.isfinite(base)).all())
    _checks.require(good, "lowest", f"{table.dtype}, one or one a channel, <= {high}", lowest)
    return _sum(stack, jnp.broadcast_to(jnp.asarray(base, table.dtype), table.shape[:1]), table)


@jax.jit
def _sum(stack: jax.Array, base: jax.Array, table: jax.Array) -> jax.Array:
    """Sum by parts: each value times the step down of the levels at it.

    For nested levels only one term is not zero, so floats are exact. Integers are exact modulo
    their range, and the sum lies in it.
    """
    values = jnp.concatenate([base[:, None], table], 1)[None, None, None]
    split = stack.reshape(*stack.shape[:3], *table.shape).astype(table.dtype)
    steps = -jnp.diff(split, axis=-1, prepend=1, append=0)
    return (steps * values).sum(-1, dtype=table.dtype)


def _row(method: str, values: np.ndarray, mass: np.ndarray, count: int) -> np.ndarray:
    """Choose the thresholds of a channel from its distinct values and how many pixels have each."""
    k, parts = np.arange(1, count + 1), count + 1
    if method == "distinct":
        return values[1:][np.round(np.linspace(0, len(values) - 2, count)).astype(int)]
    if method == "uniform":
        if values.dtype.kind in "iu":
            return int(values[0]) - (-k * (int(values[-1]) - int(values[0])) // parts)
        return np.float64(values[0]) * (1 - k / parts) + np.float64(values[-1]) * (k / parts)
    # Quantiles, in exact integers, of the masses cut to one share: then no value spans two goals.
    # First find how many of the heaviest values are cut.
    heavy, left = np.sort(mass)[::-1], np.arange(parts, 0, -1)
    rest = (mass.sum() - np.cumsum(heavy) + heavy)[:parts]  # pixels without those of the h heaviest
    h = int(np.argmax(heavy[:parts] * left <= rest))  # that many are cut; a share is rest / left
    edges = np.concatenate([[0], np.cumsum(np.minimum(mass * left[h], rest[h]))])
    # The edge nearest to each goal.
    upper = np.searchsorted(edges, goals := rest[h] * k)
    nearest = upper - (goals - edges[upper - 1] < edges[upper] - goals)
    return values[np.maximum.accumulate(np.maximum(nearest - k, 0)) + k]  # distinct, none the least


def _numbers(argument: str, array: Any, ndim: int, axes: str) -> Any:
    """Check an array of numbers; return it in its JAX dtype, on the host if it is there.

    Where values are known, there may be no NaN, and no integer that does not fit in int32.
    """
    array = array if isinstance(array, jax.Array) else bit_arrays.native(np.asarray(array))
    integer = jnp.issubdtype(array.dtype, jnp.integer)
    number = integer or jnp.issubdtype(array.dtype, jnp.floating)
    _checks.require(number, argument, "integers or floats", f"dtype {array.dtype}")
    full = array.ndim == ndim and array.size > 0
    _checks.require(full, argument, f"{axes}, not empty", f"shape {array.shape}")
    wide = integer and array.dtype.itemsize >= 4
    dtype = np.dtype(np.int32) if wide else jax.dtypes.canonicalize_dtype(array.dtype)
    if not isinstance(array, jax.core.Tracer):
        values = np.asarray(array)
        bad = values.astype(dtype) != values if integer else np.isnan(values)
        wanted = "no NaN, and integers that fit in int32"
        _checks.require(not bad.any(), argument, wanted, values[bad][:4].tolist())
    return array.astype(dtype)  # numpy stays on the host


def _checked_thresholds(thresholds: Any) -> jax.Array:
    """Check that thresholds are finite and increasing, where they are known."""
    table = jnp.asarray(_numbers("thresholds", thresholds, 2, "two axes (channels, count)"))
    if not isinstance(thresholds, jax.core.Tracer):
        rows = np.asarray(thresholds, table.dtype)
        rising = np.isfinite(rows).all() and (rows[:, 1:] > rows[:, :-1]).all()
        _checks.require(bool(rising), "thresholds", "finite, increasing rows", rows.tolist())
    return table
