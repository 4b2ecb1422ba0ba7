"""Bit-sliced counting of planes, one bit of the counts after the other.

The arithmetic is that of `morphax.packed.counters`; here each level of adders is written to memory.
Otherwise XLA on CPU fuses the whole tree of adders and computes its lower levels many times.
"""

import jax
import jax.numpy as jnp

from morphax.specialized._planes import Grid, materialized


def count_planes(grid: Grid, words: jax.Array) -> jax.Array:
    """Count in how many of n planes each bit is set.

    Args:
        grid: the arrangement of the planes.
        words: the planes, `(n, ...)`.

    Returns:
        `(k, ...)`: bit 0 of the counts, bit 1, ..., where k is the number of bits of n.
    """
    rest, bits = words.shape[1:], len(words).bit_length()
    # `column`: words of one weight, whose sum gives one bit of the counts and the next column.
    column, planes = words.reshape(len(words), -1), []
    for _ in range(max(bits, 1)):
        plane, column = materialized(grid, lambda column=column: _add(column))
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
