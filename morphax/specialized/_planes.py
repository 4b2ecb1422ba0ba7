"""How the planes of a program lie in memory while it runs, and how they are looked at, shifted.

A plane is `(A, H, L)` words, a stack of planes `(R, A, H, L)`:

| words hold | A | L |
|---|---|---|
| 32 images, each image's pixels in rows ("rows") | batch words | W |
| 32 images, the batch beside each pixel ("lanes") | 1 | W * batch words |
| 32 neighbouring pixels of a row ("pixels") | images | ceil(W / 32) |

"rows" needs no transposition and suits large images; "lanes" has long rows whatever the image, and a
vector of features is simply `(n, 1, 1, batch)`. A *reach* (top, bottom, left, right) is how far an array
goes beyond the frame, in rows and columns (of words, for "pixels").
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Reach = tuple[int, int, int, int]
NONE: Reach = (0, 0, 0, 0)


class Grid(NamedTuple):
    """One run's arrangement of planes.

    Attributes:
        kind: "rows", "lanes" or "pixels".
        images: A.
        lanes: words of the last axis that belong to one column.
        dtype: of the words.
        true: a traced `True`, see `kept`.
    """

    kind: str
    images: int
    lanes: int
    dtype: np.dtype
    true: jax.Array

    @property
    def bits(self) -> int:
        """Bits of a word."""
        return 8 * self.dtype.itemsize

    @property
    def ones(self) -> np.ndarray:
        """The word whose bits are all 1."""
        return np.invert(np.zeros((), self.dtype))

    def columns(self, width: int) -> int:
        """Length of the last axis of a plane of that width."""
        return -(-width // self.bits) if self.kind == "pixels" else width * self.lanes


def kept(grid: Grid, make: Callable[[], Any]) -> Any:
    """The arrays of `make()`, computed once and written to memory, not again by all who read it.

    XLA on CPU fuses across an `optimization_barrier`, and then computes a plane anew for every use, in
    whatever order its readers like. It does not look through a condition that it cannot know.
    """
    if jax.default_backend() != "cpu":
        return lax.optimization_barrier(make())
    shapes = jax.eval_shape(make)
    return lax.cond(
        grid.true, make, lambda: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    )


def needed(grid: Grid, want: Reach, terms: Iterable[tuple[int, int]]) -> Reach:
    """The reach that shows a frame with reach `want` at every one of these offsets (row, column)."""
    have = NONE
    for dy, dx in terms:
        left, right = -dx, dx
        if grid.kind == "pixels":
            left, right = -(dx // grid.bits), -(-dx // grid.bits)
        ends = (want[0] - dy, want[1] + dy, want[2] + left, want[3] + right)
        have = widest(have, ends)
    return have


def widest(one: Reach, other: Reach) -> Reach:
    """The reach that covers both."""
    return tuple(map(max, one, other))  # type: ignore[return-value]


def view(
    grid: Grid,
    x: jax.Array,
    offset: tuple[int, int],
    frame: tuple[int, int],
    *,
    have: Reach,
    want: Reach = NONE,
) -> jax.Array:
    """What lies `offset` (rows down, columns right) of a frame with reach `want`, in a wider array."""
    dy, dx = offset
    lanes = grid.lanes
    step, bit = divmod(dx, grid.bits) if grid.kind == "pixels" else (dx, 0)
    top, left = have[0] - want[0] + dy, (have[2] - want[2] + step) * lanes
    height = frame[0] + want[0] + want[1]
    length = grid.columns(frame[1]) + (want[2] + want[3]) * lanes

    def cut(start: int) -> jax.Array:
        return x[..., top : top + height, start : start + length]

    if bit == 0:
        return cut(left)
    low, high = np.array(bit, grid.dtype), np.array(grid.bits - bit, grid.dtype)
    return (cut(left) >> low) | (cut(left + 1) << high)


def padded(
    grid: Grid, x: jax.Array, have: Reach, *, border: str, fill: bool, width: int
) -> jax.Array:
    """Planes with their surroundings, as far as `have`: what `border` says, `fill` unless "replicate"."""
    top, bottom, left, right = have
    if grid.kind == "pixels":
        x = _full_words(grid, x, border, fill, width)
    lanes = grid.lanes
    ends = [x[..., :lanes], x[..., -lanes:]]
    if border != "replicate":
        ends = [jnp.full_like(end, grid.ones if fill else ~grid.ones) for end in ends]
    elif grid.kind == "pixels":
        ends = [_spread(grid, ends[0], 0), _spread(grid, ends[1], grid.bits - 1)]
    # Joined, not `jnp.pad`: XLA on CPU copies whole rows then, and not pixel by pixel.
    x = jnp.concatenate([*[ends[0]] * left, x, *[ends[1]] * right], axis=-1)
    ends = [x[..., :1, :], x[..., -1:, :]]
    if border != "replicate":
        ends = [jnp.full_like(end, grid.ones if fill else ~grid.ones) for end in ends]
    return jnp.concatenate([*[ends[0]] * top, x, *[ends[1]] * bottom], axis=-2)


def _full_words(grid: Grid, x: jax.Array, border: str, fill: bool, width: int) -> jax.Array:
    """Rows whose last word holds, beyond the frame, what is there."""
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
    """Words with all bits equal to one of theirs."""
    one = np.ones((), grid.dtype)
    return jnp.negative((words >> np.array(bit, grid.dtype)) & one)


def shifted_rows(
    grid: Grid,
    stack: jax.Array,
    members: jax.Array,
    frame: tuple[int, int],
    *,
    have: Reach,
) -> jax.Array:
    """A shifted plane for each member (row of the stack, rows down, columns right): `(n, A, H, L)`.

    The offsets are data here, where `view` has them as constants.
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
    # In two steps: a shift by all bits of a word is not defined.
    high = (cut(column // grid.bits + 1) << one) << (grid.ones.dtype.type(grid.bits - 1) - low)
    return (cut(column // grid.bits) >> low) | high


Join = Callable[[jax.Array, jax.Array], jax.Array]


def join_of(erosion: bool) -> Join:
    """AND for erosions and intersections, OR for dilations and unions."""
    return lax.bitwise_and if erosion else lax.bitwise_or
