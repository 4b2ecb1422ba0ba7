"""Counting planes bit-sliced, weight by weight: `morphax.packed.counters`, kept in memory in between.

Left to itself XLA on CPU fuses the whole tree of adders, and computes its lower levels many times over.
"""

import jax
import jax.numpy as jnp

from morphax.specialized._planes import Grid, kept


def count(grid: Grid, words: jax.Array) -> jax.Array:
    """In how many of n planes each bit is set.

    Args:
        grid: of the run.
        words: `(n, ...)`.

    Returns:
        `(k, ...)`, the bits of the counts, the lowest first: k is the number of bits of n.
    """
    rest, bits = words.shape[1:], len(words).bit_length()
    column, planes = words.reshape(len(words), -1), []
    for _ in range(max(bits, 1)):
        plane, column = kept(grid, lambda column=column: _add(column))
        planes.append(plane)
    return jnp.stack(planes).reshape(-1, *rest)


def _add(column: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sum words `(m, ...)` of one weight: the plane of that weight, and its carries."""
    carries = [column[:0]]
    while len(column) > 1:
        third = max(len(column) // 3, 1)
        a, b, c = column[:third], column[third : 2 * third], column[2 * third : 3 * third]
        half = a ^ b
        # Three words of a weight are one of it and one of the next: a full adder.
        carries.append((a & b) | (half & c) if len(c) else a & b)
        column = jnp.concatenate([half ^ c if len(c) else half, column[3 * third :]])
    empty = jnp.zeros(column.shape[1:], column.dtype)
    return column[0] if len(column) else empty, jnp.concatenate(carries)
