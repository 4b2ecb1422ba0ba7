"""Filled shapes drawn as Pillow's `ImageDraw` does, in pure `jnp`.

A shape that is convex along rows is one interval of columns per row: two integer arrays `first`,
`last` of shape `(..., H)`, inclusive, empty where `last < first`. Drawings are made on words of 32
columns, so that a shape costs a few operations per row, not per pixel.
x counts columns, y rows, both from the top-left pixel; shapes may stick out of the image.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np


def rectangle(
    x: jax.Array, y: jax.Array, width: jax.Array, length: jax.Array, angle: jax.Array, height: int
) -> tuple[jax.Array, jax.Array]:
    """Row intervals `(..., height)` of rectangles with a corner at (x, y), turned by `angle`.

    The corners (0, 0), (w, 0), (w, l), (0, l) go to (x + p cos t + q sin t, y - p sin t + q cos t)
    with t the angle in degrees. All arguments have one shape `(...)`.

    >>> import jax.numpy as jnp
    >>> one = jnp.ones(())
    >>> first, last = rectangle(one, 2 * one, 4 * one, 6 * one, 0 * one, 12)
    >>> int((last - first + 1).clip(0).sum())  # 5 x 7: both ends count
    35
    """
    cos, sin = jnp.cos(jnp.deg2rad(angle)), jnp.sin(jnp.deg2rad(angle))
    x, y, width, length = (part.astype(cos.dtype) for part in (x, y, width, length))
    across, along = (width * cos, -width * sin), (length * sin, length * cos)
    corners = [
        (_vertex(x + i * across[0] + j * along[0]), _vertex(y + i * across[1] + j * along[1]))
        for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))
    ]
    rows = jnp.arange(height, dtype=cos.dtype).reshape((1,) * cos.ndim + (height,))
    low, high = jnp.inf, -jnp.inf
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        x0, y0, x1, y1 = (part[..., None] for part in (x0, y0, x1, y1))
        slope = (x1 - x0) / jnp.where(y0 == y1, 1, y1 - y0)
        start, stop = x0 + (rows - y0) * slope, jnp.where(y0 == y1, x1, x0 + (rows - y0) * slope)
        crossed = (rows >= jnp.minimum(y0, y1)) & (rows <= jnp.maximum(y0, y1))
        low = jnp.where(crossed, jnp.minimum(low, jnp.minimum(start, stop)), low)
        high = jnp.where(crossed, jnp.maximum(high, jnp.maximum(start, stop)), high)
    first, last = jnp.floor(low + 0.5), jnp.ceil(high - 0.5)
    far = jnp.iinfo(jnp.int16).max  # infinities (rows that no edge crosses) have no integer
    return first.clip(-far, far).astype(jnp.int32), last.clip(-far, far).astype(jnp.int32)


def _vertex(position: jax.Array) -> jax.Array:
    # Pillow truncates polygon vertices towards zero before it fills them. At right angles they are
    # whole numbers up to rounding, which must not decide.
    nearest = jnp.rint(position)
    return jnp.where(abs(position - nearest) < 1e-5, nearest, jnp.trunc(position))


def ellipse(
    x: jax.Array,
    y: jax.Array,
    radius_x: jax.Array,
    radius_y: jax.Array,
    height: int,
    max_radii: tuple[int, int],
) -> tuple[jax.Array, jax.Array]:
    """Row intervals `(..., height)` of upright ellipses centred at (x, y).

    All arguments are integer arrays of one shape `(...)`; the radii lie in 0..max_radii (x, y).

    >>> import jax.numpy as jnp
    >>> x, y, rx, ry = (jnp.array(v) for v in (5, 5, 2, 3))
    >>> first, last = ellipse(x, y, rx, ry, 12, (9, 9))
    >>> int((last - first + 1).clip(0).sum())
    23
    """
    table = jnp.asarray(_half_widths(*max_radii))
    rows = jnp.arange(height, dtype=y.dtype).reshape((1,) * y.ndim + (height,))
    offset = jnp.minimum(abs(rows - y[..., None]), table.shape[-1] - 1)
    half = table[radius_x[..., None], radius_y[..., None], offset]  # -1: an empty interval
    return x[..., None] - half, x[..., None] + half


@cache
def _half_widths(max_x: int, max_y: int) -> np.ndarray:
    """`[rx, ry, dy]`: half-width of an ellipse dy rows off its centre, -1 beyond it.

    The outline is the chain of pixels from (rx, 0) to (0, ry) that stays nearest to the curve.
    """
    rx, ry = np.ogrid[: max_x + 1, : max_y + 1]
    rx, ry = (part.astype(np.int64) for part in np.broadcast_arrays(rx, ry))
    x, y = rx.copy(), np.zeros_like(ry)
    table = np.full((max_x + 1, max_y + 1, max_y + 2), -1, np.int32)
    every, area = np.indices(rx.shape), (rx * ry) ** 2
    table[*every, 0] = rx
    for _ in range(max_x + max_y):
        steps = [(x, y + 1), (x - 1, y + 1), (x - 1, y)]
        miss = [
            np.where((i < 0) | (j > ry), np.inf, abs((rx * j) ** 2 + (ry * i) ** 2 - area))
            for i, j in steps
        ]
        best, done = np.argmin(miss, axis=0), (x == 0) & (y == ry)
        x = np.where(done, x, np.choose(best, [i for i, _ in steps]))
        y = np.where(done, y, np.choose(best, [j for _, j in steps]))
        table[*every, y] = np.maximum(table[*every, y], x)
    return table


def words(first: jax.Array, last: jax.Array, width: int) -> jax.Array:
    """Row intervals `(..., H)` as uint32 words of 32 columns, `(..., H, ceil(width / 32))`."""
    starts = 32 * jnp.arange(-(-width // 32), dtype=first.dtype)
    starts = starts.reshape((1,) * first.ndim + (-1,))
    return _below(last[..., None] + 1 - starts) & ~_below(first[..., None] - starts)


def pixels(drawing: jax.Array, width: int) -> jax.Array:
    """Words of 32 columns back as bool pixels `(..., H, width)`.

    >>> import jax.numpy as jnp
    >>> pixels(words(jnp.array([1]), jnp.array([3]), 5), 5).astype(int).tolist()
    [[0, 1, 1, 1, 0]]
    """
    places = jnp.arange(32, dtype=jnp.uint32).reshape((1,) * drawing.ndim + (32,))
    bits = (drawing[..., None] >> places) & 1
    return bits.reshape(*drawing.shape[:-1], -1)[..., :width].astype(bool)


def _below(count: jax.Array) -> jax.Array:
    """Words whose lowest `count` bits are set, for any integer count."""
    count = count.clip(0, 32).astype(jnp.uint32)
    return jnp.where(count == 32, ~jnp.uint32(0), (jnp.uint32(1) << (count & 31)) - 1)
