"""How planes are held between the stages of a specialised program.

Either as a list of single planes, where ops are unrolled, or as one stack `(R, A, H, L)` with the row of
each plane: what comes out of tables is in the order of its buckets, and a selection is just other rows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Held(NamedTuple):
    """How the planes of an op are held: `rows` is None for a list of planes.

    Attributes:
        rows: int32 `(P,)`, the row of each plane in a stack of `size` rows.
        size: rows, or planes.
        frame: (H, W).
    """

    rows: np.ndarray | None
    size: int
    frame: tuple[int, int]


class Stage(NamedTuple):
    """One op, ready to run: `run(grid, arrays, *values)` of the values of its inputs.

    Attributes:
        inputs: numbers of the ops it reads.
        arrays: tables; they become arguments of the compiled program.
        run: makes the value, a list of planes or a stack; None where there is nothing to run.
        held: which of the two.
    """

    inputs: tuple[int, ...]
    arrays: Any
    run: Callable[..., Any] | None
    held: Held


def stacked(size: int, frame: tuple[int, int], rows: np.ndarray | None = None) -> Held:
    return Held(np.arange(size, dtype=np.int32) if rows is None else rows, size, frame)


def listed(size: int, frame: tuple[int, int]) -> Held:
    return Held(None, size, frame)


def whole(held: Held) -> bool:
    """Whether the rows of a stack are its planes, in order."""
    return held.rows is not None and np.array_equal(held.rows, np.arange(held.size))


def rows_of(held: Held) -> np.ndarray:
    return np.arange(held.size, dtype=np.int32) if held.rows is None else held.rows


def stack_of(value: Any, held: Held) -> jax.Array:
    """A value as a stack; the row of each plane is `rows_of(held)`."""
    return jnp.stack(value) if held.rows is None else value


def planes_of(value: Any, held: Held) -> list[jax.Array]:
    """A value as a list of planes."""
    return value if held.rows is None else [value[int(row)] for row in held.rows]


def take(value: Any, held: Held, rows: jax.Array) -> jax.Array:
    """A value as a stack in the order of its planes; `rows` are those of `held`, as an array."""
    stack = stack_of(value, held)
    return stack if held.rows is None or whole(held) else gather(stack, rows)


def gather(stack: jax.Array, rows: jax.Array) -> jax.Array:
    """Rows of a stack."""
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(1, 2, 3), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    shape = (1, *stack.shape[1:])
    return lax.gather(stack, rows[:, None], numbers, shape, mode="promise_in_bounds")
