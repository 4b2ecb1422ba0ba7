"""Bit-sliced counting of planes, one bit of the counts after the other.

The arithmetic is that of `morphax.packed.counters`; here each level of adders is written to memory.
Otherwise XLA on CPU fuses the whole tree of adders and computes its lower levels many times.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from morphax.packed import counters
from morphax.specialized._planes import Grid, materialized


def count_planes(grid: Grid, words: jax.Array, weights: Sequence[int] | None = None) -> jax.Array:
    """Count in how many of n planes each bit is set.

    Args:
        grid: the arrangement of the planes.
        words: the planes, `(n, ...)`.
        weights: what each plane adds where it is set, n whole numbers >= 0; 1 by default.

    Returns:
        `(k, ...)`: bit 0 of the counts, bit 1, ..., where k is the number of bits of n, or of the
        sum of the weights.
    """
    rest, flat = words.shape[1:], words.reshape(len(words), -1)
    planes, carries = [], flat[:0]
    for column in counters.columns(weights or [1] * len(words)):
        # Words of one weight, whose sum gives one bit of the counts and carries for the next.
        read = flat if len(column) == len(flat) else flat[np.array(column, int)]
        parts = [part for part in (read, carries) if len(part)]
        column_words = jnp.concatenate(parts) if parts else carries
        plane, carries = materialized(grid, lambda words=column_words: _add(words))
        planes.append(plane)
    return jnp.stack(planes).reshape(-1, *rest)


def _add(column: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sum words `(m, ...)` of one weight, and return the plane of that weight and the carries."""
    carries = [column[:0]]
    while len(column) > 1:
        third = max(len(column) // 3, 1)
        a, b, c = column[:third], column[third : 2 * third], column[2 * third : 3 * third]
        half = a ^ b
        # Full adders: three words of a weight become one of it and one (the carry) of the next.
        # With two words left, c is empty: a half adder.
        carries.append((a & b) | (half & c) if len(c) else a & b)
        column = jnp.concatenate([half ^ c if len(c) else half, column[3 * third :]])
    empty = jnp.zeros(column.shape[1:], column.dtype)
    return column[0] if len(column) else empty, jnp.concatenate(carries)
