"""Planes of words in memory: their arrangement, padding, and shifted views.

A plane is `(A, H, L)` words, a stack of planes `(R, A, H, L)`:

| words hold | A | L |
|---|---|---|
| 32 images, each image's pixels in rows ("rows") | batch words | W |
| 32 images, the batch beside each pixel ("lanes") | 1 | W * batch words |
| 32 neighbouring pixels of a row ("pixels") | images | ceil(W / 32) |

"rows" needs no transposition and suits large images. "lanes" has long rows for any size of image,
and a vector of features is simply `(n, 1, 1, batch)`. *Margins* (top, bottom, left, right) are how
far an array extends beyond the frame of the image, in rows and columns (columns of words for
"pixels").
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from morphax._compiling import computed_once

Margins = tuple[int, int, int, int]
NONE: Margins = (0, 0, 0, 0)


class Grid(NamedTuple):
    """Describe how one run arranges its planes.

    Attributes:
        kind: "rows", "lanes" or "pixels".
        images: A, the length of the first axis of a plane.
        lanes: number of words of the last axis that belong to one column of the image.
        dtype: dtype of the words.
        true: a traced `True`, see `materialized`.
    """

    kind: str
    images: int
    lanes: int
    dtype: np.dtype
    true: jax.Array

    @property
    def bits(self) -> int:
        """Return the number of bits of a word."""
        return 8 * self.dtype.itemsize

    @property
    def ones(self) -> np.ndarray:
        """Return the word whose bits are all 1."""
        return np.invert(np.zeros((), self.dtype))

    def columns(self, width: int) -> int:
        """Return the length of the last axis of a plane of that width."""
        return -(-width // self.bits) if self.kind == "pixels" else width * self.lanes


def materialized(grid: Grid, make: Callable[[], Any]) -> Any:
    """Return `make()`, computed once and written to memory, not computed again by each reader."""
    return computed_once(grid.true, make)


def margins_for(grid: Grid, want: Margins, offsets: Iterable[tuple[int, int]]) -> Margins:
    """Return the margins an array needs to be viewed with margins `want` at all of these offsets.

    Offsets are (rows down, columns right).
    """
    have = NONE
    for dy, dx in offsets:
        left, right = -dx, dx
        if grid.kind == "pixels":  # columns of words, rounded up
            left, right = -(dx // grid.bits), -(-dx // grid.bits)
        ends = (want[0] - dy, want[1] + dy, want[2] + left, want[3] + right)
        have = widest(have, ends)
    return have


def widest(one: Margins, other: Margins) -> Margins:
    """Return the smallest margins that cover both."""
    return tuple(map(max, one, other))  # type: ignore[return-value]


def view(
    grid: Grid,
    x: jax.Array,
    offset: tuple[int, int],
    frame: tuple[int, ...],
    *,
    have: Margins,
    want: Margins = NONE,
) -> jax.Array:
    """Return a shifted view of a padded array.

    Args:
        grid: the arrangement of the planes.
        x: planes with margins `have`.
        offset: (rows down, columns right) from the frame to what is seen.
        frame: (H, W).
        have: margins of `x`.
        want: margins of the result.

    Returns:
        The frame with margins `want`, where each pixel holds the pixel at that offset.
    """
    dy, dx = offset
    lanes = grid.lanes
    # A shift by columns of "pixels" is one by whole words and one by bits of a word.
    step, bit = divmod(dx, grid.bits) if grid.kind == "pixels" else (dx, 0)
    top, left = have[0] - want[0] + dy, (have[2] - want[2] + step) * lanes
    height = frame[0] + want[0] + want[1]
    length = grid.columns(frame[1]) + (want[2] + want[3]) * lanes

    def cut(start: int) -> jax.Array:
        return x[..., top : top + height, start : start + length]

    if bit == 0:
        return cut(left)
    # Bit 0 is the leftmost pixel: the upper bits of a word, then the lower bits of the next.
    low, high = np.array(bit, grid.dtype), np.array(grid.bits - bit, grid.dtype)
    return (cut(left) >> low) | (cut(left + 1) << high)


def padded(
    grid: Grid, x: jax.Array, have: Margins, *, border: str, fill: bool, width: int
) -> jax.Array:
    """Pad planes to margins `have`.

    Args:
        grid: the arrangement of the planes.
        x: planes without margins.
        have: margins of the result.
        border: "replicate" pads with the nearest pixel; any other border with `fill`.
        fill: value beyond the frame.
        width: W of the image.

    Returns:
        The padded planes.
    """
    top, bottom, left, right = have
    if grid.kind == "pixels":
        x = _full_words(grid, x, border, fill, width)
    lanes = grid.lanes
    ends = [x[..., :lanes], x[..., -lanes:]]
    if border != "replicate":
        ends = [jnp.full_like(end, grid.ones if fill else ~grid.ones) for end in ends]
    elif grid.kind == "pixels":
        ends = [_spread(grid, ends[0], 0), _spread(grid, ends[1], grid.bits - 1)]
    # Concatenate instead of `jnp.pad`: then XLA on CPU copies whole rows, not single pixels.
    x = jnp.concatenate([*[ends[0]] * left, x, *[ends[1]] * right], axis=-1)
    ends = [x[..., :1, :], x[..., -1:, :]]
    if border != "replicate":
        ends = [jnp.full_like(end, grid.ones if fill else ~grid.ones) for end in ends]
    return jnp.concatenate([*[ends[0]] * top, x, *[ends[1]] * bottom], axis=-2)


def _full_words(grid: Grid, x: jax.Array, border: str, fill: bool, width: int) -> jax.Array:
    """Fill the bits of the last word of each row that lie beyond the frame."""
    inside = width % grid.bits
    if inside == 0:
        return x
    last = x[..., -1:]
    if border == "replicate":
        beyond = _spread(grid, last, inside - 1)
    else:
        beyond = jnp.full_like(last, grid.ones if fill else ~grid.ones)
    mask = (grid.ones << np.array(inside, grid.dtype)).astype(grid.dtype)
    return jnp.concatenate([x[..., :-1], (last & ~mask) | (beyond & mask)], axis=-1)


def _spread(grid: Grid, words: jax.Array, bit: int) -> jax.Array:
    """Return words whose bits all equal one bit of `words`."""
    one = np.ones((), grid.dtype)
    # The negative of 1 has all bits set, and that of 0 none.
    return jnp.negative((words >> np.array(bit, grid.dtype)) & one)


def shifted_rows(
    grid: Grid,
    stack: jax.Array,
    members: jax.Array,
    frame: tuple[int, ...],
    *,
    have: Margins,
) -> jax.Array:
    """Return a shifted plane for each member; like `view`, but the offsets are data.

    Args:
        grid: the arrangement of the planes.
        stack: planes with margins `have`, `(R, A, H, L)`.
        members: (row of the stack, rows down, columns right) of each, int32 `(n, 3)`.
        frame: (H, W).
        have: margins of the stack.

    Returns:
        `(n, A, H, L)`, without margins.
    """
    row, top = members[:, 0], members[:, 1] + have[0]
    shape = (1, stack.shape[1], frame[0], grid.columns(frame[1]))
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(1, 2, 3), collapsed_slice_dims=(0,), start_index_map=(0, 2, 3)
    )

    def cut(start: jax.Array) -> jax.Array:
        starts = jnp.stack([row, top, start], axis=-1)
        return lax.gather(stack, starts, numbers, shape, mode="promise_in_bounds")

    column = members[:, 2] + have[2] * (grid.bits if grid.kind == "pixels" else 1)
    if grid.kind != "pixels":
        return cut(column * grid.lanes)
    low = (column % grid.bits).astype(grid.dtype).reshape(-1, 1, 1, 1)
    one = np.ones((), grid.dtype)
    # Shift in two steps: a shift by all bits of a word, where `low` is 0, is not defined.
    high = (cut(column // grid.bits + 1) << one) << (grid.ones.dtype.type(grid.bits - 1) - low)
    return (cut(column // grid.bits) >> low) | high


Join = Callable[[jax.Array, jax.Array], jax.Array]


def join_of(erosion: bool) -> Join:
    """Return AND for erosions and intersections, OR for dilations and unions."""
    return lax.bitwise_and if erosion else lax.bitwise_or
