"""Bound all candidates of a bank from below, from a few that are solved.

The candidates of a neuron (the sizes k of S) are cut in blocks of about sqrt(n) neighbours. The
ends of the blocks are *knots*: they are solved. Between two knots the multipliers are interpolated.
Any multipliers that are not negative bound a candidate, and those of neighbours differ little, so
these bounds are almost exact (docs/theory.md, section 5c). They need no binary search: which
elements are below u or beyond a threshold is decided once for each block, on the safe side.

The first block has no knot before it. It is cut in *heads*, blocks of doubling sizes, and each of
them is bounded as a whole, by its relaxed problem (`_scalar.Relaxation`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax.projection._scalar import Options, Relaxation, SortedBank, count_above, gather, solve

COARSE = 8
"""One knot in so many is solved first; the others start from these."""
STEPS = 16, 4
"""Newton steps of every `COARSE`-th knot, which are solved first, and of those between."""


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


def blocks_of(n: int, width: int) -> Blocks:
    """Cut the sizes 1, ..., n in blocks; `width` is a power of two, and less than n."""
    heads = 1 << np.arange(width.bit_length() - 1)
    knots = np.arange(width, n, width)
    first = np.concatenate([heads, knots + 1])
    last = np.concatenate([2 * heads[:-1] - 1, [width], np.minimum(knots + width, n)])
    return Blocks(first.astype(np.int32), last.astype(np.int32), heads.size, width)


def even_blocks(n: int, width: int) -> Blocks:
    """Cut the sizes 1, ..., n in blocks without knots."""
    first = np.arange(1, n + 1, width)
    last = np.minimum(first + width - 1, n)
    return Blocks(first.astype(np.int32), last.astype(np.int32), first.size, width)


def whole(blocks: Blocks, value: jax.Array) -> jax.Array:
    """Spread the bounds of heads, `(N, operations, heads)`, over their candidates.

    Returns:
        `(N, operations, heads, width)`, infinite beyond the end of a block.
    """
    sizes = jnp.asarray(blocks.last - blocks.first + 1)[: blocks.heads, None]
    places = jnp.arange(blocks.width, dtype=jnp.int32)[None]
    return jnp.where((places < sizes)[None, None], value[..., None], jnp.inf)


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


def bounds(
    options: Options,
    bank: SortedBank,
    blocks: Blocks,
    node: Relaxation,
    value: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Bound every candidate of every neuron.

    Args:
        options: size and sign constraint of the bank.
        bank: N sorted neurons.
        blocks: blocks of each neuron and operation.
        node: solved relaxations of `blocks.nodes()`, each field `(N, operations, B + 1)`.
        value: their bounds, `(N, operations, B + 1)`.

    Returns:
        The bounds of the candidates, `(N, operations, B, width)`, and the least one of each block,
        `(N, operations, B)`. Where a block has fewer sizes, its last one is repeated, or the bound
        is infinite.
    """
    heads = blocks.heads
    inner = _between(options, bank, blocks, Relaxation(*(x[:, :, heads:] for x in node)))
    inner = jax.lax.optimization_barrier(inner)
    least = jnp.concatenate([value[:, :, :heads], _least(inner)], -1)
    return jnp.concatenate([whole(blocks, value[:, :, :heads]), inner], 2), least


class _Split(NamedTuple):
    """Hold where the sorted order is cut for each block, and the sums of what lies before."""

    at: jax.Array
    sum: jax.Array
    square: jax.Array


def _between(options: Options, bank: SortedBank, blocks: Blocks, knot: Relaxation) -> jax.Array:
    """Bound the candidates between knots: `(N, operations, J, width)` for J + 1 knots."""
    n, nonnegative = options
    first, last = blocks.first[blocks.heads :], blocks.last[blocks.heads :]
    before, size = (
        jnp.asarray(x, knot.u.dtype)[None, None, :, None] for x in (first - 1, last - first + 1)
    )
    # Places beyond the end of the last block repeat its last candidate.
    place = jnp.arange(1, blocks.width + 1, dtype=knot.u.dtype)[None, None, None]
    place = jnp.minimum(place, size)
    k, share = before + place, place / size

    def of_candidates(table, columns, begin):
        """Return the entries that belong to the candidates, `(N, 1, J, width)`."""
        table = table.reshape(-1, columns)[:, begin:]
        pad = first.size * blocks.width - table.shape[1]
        table = jnp.pad(table, ((0, 0), (0, pad)), mode="edge")
        # XLA would compute the padded index of each entry for each use of it.
        return jax.lax.optimization_barrier(table.reshape(-1, 1, first.size, blocks.width))

    sum_k = of_candidates(bank.sums, n + 1, blocks.width + 1)
    square_k = of_candidates(bank.squares, n + 1, blocks.width + 1)
    weight_k = of_candidates(bank.descending, n, blocks.width)

    begin, dilation = knot.row * (n + 1), knot.dilation[:, :, :-1, None]
    above = jnp.where(knot.dilation, knot.lam, knot.mu)
    below = jnp.where(knot.dilation, knot.mu, knot.lam)
    levels = jnp.stack([knot.u, above] if nonnegative else [knot.u, above, -below])
    t_begin, p_end, *m_begin = count_above(bank.descending, n, knot.row[None], levels)

    def split(count, choose):
        """Cut every block once, by the choice from the counts at its two knots."""
        at = choose(count[:, :, :-1], count[:, :, 1:])
        sums, squares = (gather(x, begin[:, :, :-1] + at) for x in (bank.sums, bank.squares))
        return _Split(*(x.astype(knot.u.dtype)[..., None] for x in (at, sums, squares)))

    # On the safe side: elements of S that are below u at both knots, and elements outside that
    # are within the thresholds at both.
    t, p = split(t_begin, jnp.maximum), split(p_end, jnp.maximum)
    m = split(m_begin[0], jnp.minimum) if m_begin else None
    end = jnp.asarray(np.append(first - 1, last[-1]), jnp.int32)[None, None]
    u, mu, lam = _interpolate(knot, k, share, sum_k, end, gather(bank.sums, begin + end), t_begin)

    b, eps, rho = (
        gather(x, knot.row[:, :, :1])[..., None] for x in (bank.bias, bank.margin, bank.rho)
    )
    row = begin[:, :, :1] + n
    row = _Split(jnp.full_like(b, n), *(gather(x, row)[..., None] for x in bank[1:3]))
    delta = mu - lam
    bound = eps * (lam + mu) - delta**2 / (2 * rho)
    bound += _raised(_Split(k, sum_k, square_k), t, weight_k, u, mu)
    high, low = jnp.where(dilation, lam, mu), jnp.where(dilation, mu, lam)
    bound += _outside(_Split(k, sum_k, square_k), p, m, row, high, low)
    bound += delta * jnp.where(dilation, b, sum_k - b + mu - k * delta / 2)
    return 2 * bound


def _interpolate(knot: Relaxation, k, share, sum_k, end, sum_end, t_begin) -> tuple:
    """Return multipliers (u, mu, lam) of the candidates between knots.

    Args:
        knot: the knots.
        k: sizes of S of the candidates.
        share: where they lie between their knots, in (0, 1].
        sum_k: sums of the first k weights.
        end: sizes of S of the knots, int32.
        sum_end: sums of as many weights.
        t_begin: number of weights that are at least u, at the knots.
    """

    def linear(x):
        return x[:, :, :-1, None] + share * (x[:, :, 1:] - x[:, :, :-1])[..., None]

    # u and mu - lam change almost linearly with k. mu is the sum of u - w_j over the elements of S
    # below u: the formula is exact if their first one moves linearly, too.
    u, delta = linear(knot.u), linear(knot.mu - knot.lam)
    rest = linear(knot.mu - end.astype(k.dtype) * knot.u + sum_end)
    moved = (t_begin[:, :, 1:] - t_begin[:, :, :-1]).astype(k.dtype)
    slope = ((knot.u[:, :, 1:] - knot.u[:, :, :-1]) * moved)[..., None]
    mu = k * u - sum_k + rest + slope * (share * (1 - share) / 2)
    # The cuts are safe for thresholds that are no less than at one of the two knots.
    mu_ends, lam_ends = ((x[:, :, :-1, None], x[:, :, 1:, None]) for x in (knot.mu, knot.lam))
    mu = jnp.clip(mu, jnp.minimum(*mu_ends), jnp.maximum(*mu_ends))
    return u, mu, jnp.maximum(mu - delta, jnp.minimum(*lam_ends))


def _raised(size: _Split, t: _Split, weight_k, u, mu) -> jax.Array:
    """Return the terms of the elements of S that are raised to u, which carry mu.

    They carry it in proportion to u - w_j. Where no element is surely below u, or they are too
    few, the smallest element of S carries all of it.
    """
    total, square = size.sum - t.sum, size.square - t.square
    full = (size.at - t.at) * u - total
    shared = (size.at > t.at) & (2 * full > mu)
    shrink = mu / jnp.where(shared, full, 1)
    mu_weight = jnp.where(shared, shrink * (u * total - square), mu * weight_k)
    mu_square = jnp.where(shared, shrink * (mu * u - mu_weight), mu * mu)
    return -mu_square / 2 - mu_weight


def _outside(size: _Split, p: _Split, m: _Split | None, row: _Split, high, low) -> jax.Array:
    """Return the terms of the elements outside S.

    Those before the cut `p` move by `high`, those after the cut `m` by `low`, and those between are
    set to 0. Without `m`, no element is pulled up.
    """
    late = size.at > p.at
    p = _Split(*(jnp.where(late, x, y) for x, y in zip(size, p, strict=True)))
    terms = high * (p.sum - size.sum) - (p.at - size.at) * high**2 / 2
    if m is None:
        return terms + (row.square - p.square) / 2
    late = p.at > m.at
    m = _Split(*(jnp.where(late, x, y) for x, y in zip(p, m, strict=True)))
    terms += (m.square - p.square) / 2
    return terms + low * (m.sum - row.sum) - (row.at - m.at) * low**2 / 2


def _least(x: jax.Array) -> jax.Array:
    """Return the minimum over the last axis, a power of two, by halves."""
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = jnp.minimum(x[..., :half], x[..., half:])
    return x[..., 0]
