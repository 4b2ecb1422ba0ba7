"""Values between the stages of a specialised program: a list of planes, or a stack of them.

Unrolled banks read and write lists of single planes `(A, H, L)`. Banks that gather from tables
work on one stack `(R, A, H, L)`, in the order of their buckets; `Held` records the row of each
plane, so that a selection of planes only needs other rows and moves no data.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Held(NamedTuple):
    """Describe how the planes of an op are held.

    Attributes:
        rows: int32 `(P,)`, the row of each plane in a stack; None for a list of planes.
        size: number of rows of the stack, or of planes of the list.
        frame: (H, W) of the planes.
    """

    rows: np.ndarray | None
    size: int
    frame: tuple[int, ...]


class Stage(NamedTuple):
    """Hold one op that is ready to run.

    Attributes:
        inputs: numbers of the ops it reads.
        arrays: index tables; they become arguments of the compiled program.
        run: `(grid, arrays, *values) -> value`, where values are those of its inputs; None if
            there is nothing to run.
        held: how the value is held, as a list or as a stack.
    """

    inputs: tuple[int, ...]
    arrays: Any
    run: Callable[..., Any] | None
    held: Held


def stacked(size: int, frame: tuple[int, ...], rows: np.ndarray | None = None) -> Held:
    """Describe a stack of `size` rows; without `rows`, row o is plane o."""
    return Held(np.arange(size, dtype=np.int32) if rows is None else rows, size, frame)


def listed(size: int, frame: tuple[int, ...]) -> Held:
    """Describe a list of `size` planes."""
    return Held(None, size, frame)


def is_ordered(held: Held) -> bool:
    """Return whether the rows of a stack are its planes, in order."""
    return held.rows is not None and np.array_equal(held.rows, np.arange(held.size))


def rows_of(held: Held) -> np.ndarray:
    """Return the row of each plane, in `stack_of` the value."""
    return np.arange(held.size, dtype=np.int32) if held.rows is None else held.rows


def stack_of(value: Any, held: Held) -> jax.Array:
    """Return a value as a stack; the row of each plane is `rows_of(held)`."""
    return jnp.stack(value) if held.rows is None else value


def planes_of(value: Any, held: Held) -> list[jax.Array]:
    """Return a value as a list of planes."""
    return value if held.rows is None else [value[int(row)] for row in held.rows]


def take(value: Any, held: Held, rows: jax.Array) -> jax.Array:
    """Return a value as a stack in the order of its planes; `rows` is `held.rows` as an array."""
    stack = stack_of(value, held)
    return stack if held.rows is None or is_ordered(held) else gather(stack, rows)


def gather(stack: jax.Array, rows: jax.Array) -> jax.Array:
    """Return rows of a stack; all of them must exist, as nothing checks it."""
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(1, 2, 3), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    shape = (1, *stack.shape[1:])
    return lax.gather(stack, rows[:, None], numbers, shape, mode="promise_in_bounds")
