"""Cut the candidates of a bank in blocks, and bound each block from below.

The candidates of a neuron (the sizes k of S) are cut in blocks of neighbours. The ends of the
blocks are *knots*: they are solved, and the candidates between two knots are bounded from them, a
few neighbours together (`_bounds`). The bound of a block is the least one of these.

The first block has no knot before it. It is cut in *heads*, blocks of doubling sizes, and each of
them is bounded as a whole, by its relaxed problem (`_scalar.Relaxation`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax.projection._bounds import Split, between
from morphax.projection._scalar import Options, Relaxation, SortedBank, solve

COARSE = 8
"""One knot in so many is solved first; the others start from these."""
STEPS = 10, 4
"""Newton steps of every `COARSE`-th knot, which are solved first, and of those between."""
TOGETHER = 4
"""Neighbours that are bounded together."""


class Blocks(NamedTuple):
    """Hold the blocks of candidates of one neuron and operation.

    Attributes:
        first: least size of S in each block, int32 `(B,)`.
        last: greatest one; a block has at most `width` sizes.
        heads: number of blocks that are bounded as a whole: the first ones.
        width: number of sizes in a full block.
    """

    first: np.ndarray
    last: np.ndarray
    heads: int
    width: int

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and greatest size of each relaxation to solve: heads, then knots."""
        knots = np.append(self.first[self.heads :] - 1, self.last[-1])
        low, high = (np.append(ends[: self.heads], knots) for ends in (self.first, self.last))
        return low.astype(np.int32), high.astype(np.int32)


def block_width(n: int) -> int:
    """Return how many sizes a block has: the greatest power of two that is at most 2 sqrt(n)."""
    return 1 << ((4 * n).bit_length() - 1) // 2


def blocks_of(n: int, width: int) -> Blocks:
    """Cut the sizes 1, ..., n in blocks; `width` is a power of two, and less than n."""
    heads = 1 << np.arange(width.bit_length() - 1)
    knots = np.arange(width, n, width)
    first = np.concatenate([heads, knots + 1])
    last = np.concatenate([2 * heads[:-1] - 1, [width], np.minimum(knots + width, n)])
    return Blocks(first.astype(np.int32), last.astype(np.int32), heads.size, width)


def even_blocks(n: int, width: int) -> Blocks:
    """Cut the sizes 1, ..., n in blocks without knots: all of them are heads."""
    first = np.arange(1, n + 1, width)
    last = np.minimum(first + width - 1, n)
    return Blocks(first.astype(np.int32), last.astype(np.int32), first.size, width)


def solve_ends(
    options: Options, bank: SortedBank, blocks: Blocks, nodes: Callable[..., Relaxation]
) -> tuple[jax.Array, Relaxation]:
    """Solve the relaxations of `blocks.nodes()`: first a few, then those between, from these.

    Args:
        options: size and sign constraint of the bank.
        bank: N sorted neurons.
        blocks: blocks of each neuron and operation.
        nodes: returns the relaxations of sizes, each field `(N, operations, sizes)`.

    Returns:
        Their bounds, `(N, operations, B + 1)`, and the relaxations.
    """
    plan = _plan(blocks)

    def solve_group(warm, group):
        number, min_size, max_size, left, right, share = group
        is_first, share = number == 0, share[None, None, None]
        node = nodes(min_size, max_size)
        between = warm[..., left] * (1 - share) + warm[..., right] * share
        u, mu, lam = jnp.where(is_first, jnp.stack(node[4:]), between)
        node = Relaxation(*(x.reshape(-1) for x in (*node[:4], u, mu, lam)))
        steps = jnp.where(is_first, *STEPS)
        value, node, _ = solve(options, bank, node, steps=steps, rough=True, tolerance=1e-6)
        solved = jnp.stack([value, *node[4:]]).reshape(4, *u.shape)
        return jnp.where(is_first, solved[1:], warm), solved

    number = np.arange(len(plan.order), dtype=np.int32)
    sizes = plan.min_size[plan.order], plan.max_size[plan.order]
    groups = jax.tree.map(jnp.asarray, (number, *sizes, plan.left, plan.right, plan.share))
    every = nodes(plan.min_size, plan.max_size)
    warm = jnp.zeros((3, *every.u.shape[:2], plan.order.shape[1]), every.u.dtype)
    _, solved = jax.lax.scan(solve_group, warm, groups)
    # From groups to the order of the nodes.
    solved = jnp.moveaxis(solved, 0, 3).reshape(*solved.shape[1:4], -1)[..., plan.place]
    return solved[0], every._replace(u=solved[1], mu=solved[2], lam=solved[3])


class _Plan(NamedTuple):
    """Hold in which order the relaxations of `Blocks.nodes` are solved: in groups of one size.

    Attributes:
        min_size, max_size: sizes of S of each relaxation, `(B + 1,)`.
        order: numbers of the relaxations of each group, `(groups, size)`.
        left, right: places, in the first group, of the knots around each one, `(groups, size)`.
        share: where it lies between these two, from 0 to 1.
        place: where each relaxation is, in `order` as one axis, `(B + 1,)`.
    """

    min_size: np.ndarray
    max_size: np.ndarray
    order: np.ndarray
    left: np.ndarray
    right: np.ndarray
    share: np.ndarray
    place: np.ndarray


def _plan(blocks: Blocks) -> _Plan:
    """Plan to solve the heads and every `COARSE`-th knot first, then the other knots."""
    min_size, max_size = blocks.nodes()
    heads, total = blocks.heads, min_size.size
    coarse = np.append(np.arange(heads, total - 1, COARSE), total - 1)
    first = np.append(np.arange(heads), coarse)
    fine = np.setdiff1d(np.arange(total), first)
    # The last group is filled up.
    fine = np.pad(fine, (0, -fine.size % first.size), mode="edge" if fine.size else "empty")
    order = np.append(first, fine).reshape(-1, first.size).astype(np.int32)
    right = np.clip(np.searchsorted(coarse, order), 1, coarse.size - 1)
    low, high = max_size[coarse[right - 1]], max_size[coarse[right]]
    share = np.clip((max_size[order] - low) / (high - low), 0, 1)
    left, right = (x.astype(np.int32) for x in (right - 1 + heads, right + heads))
    place = np.array([np.argmax(order.reshape(-1) == i) for i in range(total)], np.int32)
    return _Plan(min_size, max_size, order, left, right, share, place)


def bound_blocks(
    options: Options, bank: SortedBank, blocks: Blocks, node: Relaxation, value: jax.Array
) -> jax.Array:
    """Return a lower bound of each block, `(N, operations, B)`.

    Args:
        options: size and sign constraint of the bank.
        bank: N sorted neurons.
        blocks: blocks of each neuron and operation.
        node: solved relaxations of `blocks.nodes()`, each field `(N, operations, B + 1)`.
        value: their bounds, `(N, operations, B + 1)`.
    """
    n, heads, width = options.n, blocks.heads, blocks.width
    first, last = blocks.first[heads:, None], blocks.last[heads:, None]
    # The least size of each few neighbours; beyond the end of the last block, its last size.
    place = np.minimum(np.arange(1, width + 1, TOGETHER), last - first + 1)
    share = jnp.asarray(place / (last - first + 1), value.dtype)[None, None]

    def of_sizes(table, columns, begin):
        """Return the entries of the least and of the greatest sizes, `(N, 1, J, width / 4)`."""
        table = table.reshape(-1, columns)[:, begin:]
        pad = first.size * width - table.shape[1]
        table = jnp.pad(table, ((0, 0), (0, pad)), mode="edge")
        # XLA would compute the padded index of each entry for each use of it.
        table = jax.lax.optimization_barrier(table.reshape(-1, 1, first.size, width))
        return table[..., ::TOGETHER], table[..., TOGETHER - 1 :: TOGETHER]

    sums, squares = (of_sizes(x, n + 1, width + 1) for x in (bank.sums, bank.squares))
    weight, _ = of_sizes(bank.descending, n, width)
    ends = first - 1 + place, np.minimum(first - 1 + place + TOGETHER - 1, last)
    low, high = (
        Split(jnp.asarray(k, value.dtype)[None, None], *tables)
        for k, *tables in zip(ends, sums, squares, strict=True)
    )
    knot = Relaxation(*(x[:, :, heads:] for x in node))
    inner = between(options, bank, knot, low, high, weight, share)
    least = _least(jax.lax.optimization_barrier(inner))
    return jnp.concatenate([value[:, :, :heads], least], -1)


def _least(x: jax.Array) -> jax.Array:
    """Return the minimum over the last axis, a power of two, by halves."""
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = jnp.minimum(x[..., :half], x[..., half:])
    return x[..., 0]
