"""Bound all candidates of a bank from below, from a few that are solved.

The candidates of a neuron (the sizes k of S) are cut in blocks of about sqrt(n) neighbours. The
ends of the blocks are *knots*: they are solved. Between two knots, the multipliers are interpolated;
as any multipliers that are not negative bound a candidate (docs/theory.md, section 5c), and those of
neighbours differ little, the bounds are almost exact. No candidate needs a binary search: which
elements are below u and above the threshold is decided once for each block, on the safe side.

The first block has no knot before it. It is cut in blocks of doubling sizes instead, and
each of them is bounded as a whole, by its relaxed problem (`_scalar.Relaxation`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax.projection._scalar import Options, Relaxation, SortedBank, count_above, gather, solve


COARSE = 8
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
        return tuple(
            np.concatenate([ends[: self.heads], knots]).astype(np.int32)
            for ends in (self.first, self.last)
        )


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
    places = jnp.arange(blocks.width, dtype=jnp.int32)
    return jnp.where(places < sizes, value[..., None], jnp.inf)


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
        is_first = number == 0
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
        The bounds of the candidates, `(N, operations, B, width)`, infinite where a block has fewer
        sizes; and the least one of each block, `(N, operations, B)`.
    """
    heads = blocks.heads
    inner = _between(options, bank, blocks, Relaxation(*(x[:, :, heads:] for x in node)))
    inner = jax.lax.optimization_barrier(inner)
    least = jnp.concatenate([value[:, :, :heads], _least(inner)], -1)
    return jnp.concatenate([whole(blocks, value[:, :, :heads]), inner], 2), least


def _between(options: Options, bank: SortedBank, blocks: Blocks, knot: Relaxation) -> jax.Array:
    """Bound the candidates between knots: `(N, operations, J, width)` for J + 1 knots."""
    n, nonnegative = options
    count, operations, _ = knot.u.shape
    first, last = blocks.first[blocks.heads :], blocks.last[blocks.heads :]
    before, size = (jnp.asarray(x, knot.u.dtype)[:, None] for x in (first - 1, last - first + 1))
    # Places beyond the end of the last block repeat its last candidate.
    place = jnp.minimum(jnp.arange(1, blocks.width + 1, dtype=knot.u.dtype), size)
    k, share = before + place, place / size

    def table(x, columns, begin):
        """Return the entries that belong to the candidates, (N, 1, J, width)."""
        x = x.reshape(count, columns)[:, begin:]
        x = jnp.pad(x, ((0, 0), (0, first.size * blocks.width - x.shape[1])), mode="edge")
        return jax.lax.optimization_barrier(x.reshape(count, 1, first.size, blocks.width))

    s_k = table(bank.sums, n + 1, blocks.width + 1)
    q_k = table(bank.squares, n + 1, blocks.width + 1)
    w_k = table(bank.descending, n, blocks.width)

    begin = (knot.row * (n + 1))[:, :, :-1]

    def split(count, choose):
        """Return one split for each block, and the sums before it."""
        at = choose(count[:, :, :-1], count[:, :, 1:])
        entries = (gather(x, begin + at) for x in (bank.sums, bank.squares))
        return (at.astype(knot.u.dtype)[..., None], *(x[..., None] for x in entries))

    above = jnp.where(knot.dilation, knot.lam, knot.mu)
    below = jnp.where(knot.dilation, knot.mu, knot.lam)
    levels = jnp.stack([knot.u, above] if nonnegative else [knot.u, above, -below])
    t_begin, p_end, *m_begin = count_above(bank.descending, n, knot.row[None], levels)
    # On the safe side: elements of S that are below u at both knots; elements outside that are
    # below the threshold at both.
    (t0, t0_sum, t0_square), (p1, p1_sum, p1_square) = (
        split(x, jnp.maximum) for x in (t_begin, p_end)
    )

    def linear(x):
        return x[:, :, :-1, None] + share * (x[:, :, 1:] - x[:, :, :-1])[..., None]

    # u and mu - lam change almost linearly with k. mu is the sum of u - w_j over the elements of S
    # below u: exact if their first one changed linearly, too.
    u, delta = linear(knot.u), linear(knot.mu - knot.lam)
    k_end = jnp.asarray(np.append(first - 1, last[-1]), jnp.int32)
    rest = knot.mu - k_end * knot.u + gather(bank.sums, knot.row * (n + 1) + k_end)
    slope = (knot.u[:, :, 1:] - knot.u[:, :, :-1]) * (t_begin[:, :, 1:] - t_begin[:, :, :-1])
    mu = k * u - s_k + linear(rest) + slope[..., None] * (share * (1 - share) / 2)
    t_sum, t_square = s_k - t0_sum, q_k - t0_square
    full = (k - t0) * u - t_sum
    mu_low, mu_high = knot.mu[:, :, :-1, None], knot.mu[:, :, 1:, None]
    lam_low, lam_high = knot.lam[:, :, :-1, None], knot.lam[:, :, 1:, None]
    # The splits are right for thresholds that are no less than at one of the knots.
    mu = jnp.clip(mu, jnp.minimum(mu_low, mu_high), jnp.maximum(mu_low, mu_high))
    lam = jnp.maximum(mu - delta, jnp.minimum(lam_low, lam_high))
    dilation = knot.dilation[:, :, :-1, None]
    row = knot.row[:, :, :-1, None]
    b, eps, rho = (gather(x, row[:, :, :1]) for x in (bank.bias, bank.margin, bank.rho))

    # The elements of S below u carry mu in proportion to u - w_j; where none surely is, or they
    # are too few, the smallest element of S carries all of it.
    shared = (k > t0) & (2 * full > mu)
    shrink = mu / jnp.where(shared, full, 1)
    mu_weight = jnp.where(shared, shrink * (u * t_sum - t_square), mu * w_k)
    mu_square = jnp.where(shared, shrink * (mu * u - mu_weight), mu * mu)

    delta = mu - lam
    common = eps * (lam + mu) - delta**2 / (2 * rho) - mu_square / 2 - mu_weight
    t, t_prime = jnp.where(dilation, lam, mu), jnp.where(dilation, mu, lam)
    late = k > p1
    p_end, p_square = jnp.where(late, k, p1), jnp.where(late, q_k, p1_square)
    p_sum = jnp.where(late, s_k, p1_sum)
    outside = t * (p_sum - s_k) - (p_end - k) * t**2 / 2
    if nonnegative:
        end = gather(bank.squares, begin[:, :, :1] + n)[..., None]
        outside += (end - p_square) / 2
    else:
        end_sum = gather(bank.sums, begin[:, :, :1] + n)[..., None]
        m0, m0_sum, m0_square = split(m_begin[0], jnp.minimum)
        over = p_end > m0
        m0, m0_sum = jnp.where(over, p_end, m0), jnp.where(over, p_sum, m0_sum)
        m0_square = jnp.where(over, p_square, m0_square)
        outside += (m0_square - p_square) / 2
        outside += t_prime * (m0_sum - end_sum) - (n - m0) * t_prime**2 / 2
    inside = jnp.where(dilation, b, s_k - b + mu - k * delta / 2)
    return 2 * (common + outside + delta * inside)


def _least(x: jax.Array) -> jax.Array:
    """Return the minimum over the last axis, a power of two, by halves."""
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = jnp.minimum(x[..., :half], x[..., half:])
    return x[..., 0]
