"""One neuron and one structuring element: the projection is the root of one scalar equation.

The derivation is in docs/theory.md, section 5b. The weights are sorted once, largest first, so a
structuring element S of k elements is "the first k", and every sum that the equation needs is a
difference of two entries of a prefix sum whose ends are found by binary search.

A `Relaxation` is slightly more general than one candidate S: the first `min_size` elements are in
S, the elements after the first `max_size` are not, and those between are undecided. Its value is a
lower bound for every S in that range, and the exact squared distance where `min_size == max_size`.
So relaxations are both the branches and the leaves of the search in `_search`.

For a dilation, with rho the weight of the bias and eps the margin, the relaxation is

    min  sum_i (x_i - w_i)^2 + rho (beta - b)^2
    s.t. sum_{i > max_size} x_i^+ + eps <= beta                                   (multiplier lam)
         beta + sum_{i > max_size} x_i^- + eps <= x_j  for j <= min_size        (multipliers mu_j)

and for an erosion it is the same minimum under

         beta + sum_{i > max_size} x_i^- + eps <= sum_{i <= max_size} x_i         (multiplier lam)
         sum_{i <= max_size} x_i + sum_{i > max_size} x_i^+ - x_j + eps <= beta
                                                       for j <= min_size        (multipliers mu_j)

In both, mu_j = (u - w_j)^+ for one scalar u, and with mu = sum_j mu_j the elements outside S become
(w - t)^+ - (-w - t')^+, where (t, t') = (lam, mu) for a dilation and (mu, lam) for an erosion.

`newton_step` is Newton's method on the lifted system in (u, mu, lam): each piecewise linear sum is
replaced by its piece at its own argument, then the three equations are solved together. Newton's
method on u alone, or a bracket, would need a safeguard, for its slopes differ by factors of n^2.
The lifted one needs none in practice; `python benchmarks/projection_claims.py` counts its steps.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

MAX_STEPS = 100
"""Newton steps after which a relaxation counts as not converged (in practice far fewer do)."""


class SortedBank(NamedTuple):
    """Hold a bank of N sorted neurons: flattened weights, their prefix sums, and scalars.

    Attributes:
        descending: weights, largest first within each neuron, `(N * n,)`.
        sums: prefix sums of the weights of each neuron, starting with 0, `(N * (n + 1),)`.
        squares: prefix sums of the squares, `(N * (n + 1),)`.
        bias: `(N,)`.
        margin: eps, `(N,)`.
        rho: weight of the bias in the metric, `(N,)`.
    """

    descending: jax.Array
    sums: jax.Array
    squares: jax.Array
    bias: jax.Array
    margin: jax.Array
    rho: jax.Array


class Relaxation(NamedTuple):
    """Hold relaxed problems and their multipliers; all fields have the same shape.

    Attributes:
        row: number of the neuron in the bank, int32.
        dilation: true for a dilation, false for an erosion.
        min_size: least |S| of the undecided range, int32.
        max_size: greatest |S| of the undecided range, int32.
        u: level to which the small elements of S are raised.
        mu: sum of the multipliers mu_j.
        lam: multiplier of the first constraint.
    """

    row: jax.Array
    dilation: jax.Array
    min_size: jax.Array
    max_size: jax.Array
    u: jax.Array
    mu: jax.Array
    lam: jax.Array


class Options(NamedTuple):
    """Hold what is the same for every neuron of a bank and known while tracing."""

    n: int
    nonnegative: bool


class _Pieces(NamedTuple):
    """Hold the linear piece of each sum at the multipliers: a range, its length and its sum.

    T: elements of S below u. P: elements outside S above the threshold t. M: elements outside S
    below -t' (the sum is of their absolute values). S: the first `max_size` elements. `begin` is
    where the prefix sums of the neuron start.
    """

    begin: jax.Array
    t: jax.Array
    t_prime: jax.Array
    t_begin: jax.Array
    p_end: jax.Array
    m_begin: jax.Array
    t_count: jax.Array
    t_sum: jax.Array
    p_count: jax.Array
    p_sum: jax.Array
    m_count: jax.Array
    m_sum: jax.Array
    s_count: jax.Array
    s_sum: jax.Array


def gather(table: jax.Array, index: jax.Array) -> jax.Array:
    """Return `table[index]` without bound checks."""
    return table.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def count_leading(
    descending: jax.Array,
    n: int,
    row: jax.Array,
    like: jax.Array,
    holds: Callable[[jax.Array, jax.Array], jax.Array],
) -> jax.Array:
    """Count the leading weights of sorted rows for which a condition holds, by binary search.

    The count is built from its highest bit to its lowest one.

    Args:
        descending: rows of n weights, largest first, flattened.
        n: number of weights in a row.
        row: numbers of the rows, broadcasting to `like`.
        like: an array of the shape of the result.
        holds: `(j, w_j) -> bool`: true for the first weights of a row, j = 1, 2, ..., then false.

    Returns:
        The counts, int32.
    """
    before, top = row * n - 1, n.bit_length() - 1

    def set_bit(i, count):
        longer = count + jnp.left_shift(jnp.int32(1), top - i)
        last = jnp.minimum(longer, n)
        fits = (longer <= n) & holds(last, gather(descending, before + last))
        return jnp.where(fits, longer, count)

    # A loop, because XLA's fusion would repeat an unrolled search in each of its consumers.
    zeros = jnp.zeros_like(like, jnp.int32)
    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(top + 1), set_bit, zeros)


def count_above(descending: jax.Array, n: int, row: jax.Array, levels: jax.Array) -> jax.Array:
    """Count the weights of sorted rows that are at least as large as each level, int32."""
    return count_leading(descending, n, row, levels, lambda _, w: w >= levels)


def relax(bank: SortedBank, n: int, row, dilation, min_size, max_size) -> Relaxation:
    """Return relaxations before their first step: u is the least weight of S, multipliers are 0."""
    u = gather(bank.descending, row * n + min_size - 1)
    return Relaxation(row, dilation, min_size, max_size, u, jnp.zeros_like(u), jnp.zeros_like(u))


def newton_step(
    options: Options, bank: SortedBank, node: Relaxation
) -> tuple[jax.Array, jax.Array, Relaxation]:
    """Bound the squared distance from below at the current multipliers, and improve them.

    The multipliers of any relaxation are feasible for the dual problem, so the bound holds before
    convergence. The second result says where it does not, which is possible only for multipliers
    that no step has made: false where mu is too large for its u.
    """
    b, eps, rho = (gather(x, node.row) for x in (bank.bias, bank.margin, bank.rho))
    pieces = _pieces(options, bank, node)
    bound, fits = _dual_bound(bank, node, pieces, b, eps, rho)
    return bound, fits, _newton_update(node, pieces, b, eps, rho)


def _span(table: jax.Array, begin: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Sum the sorted entries low, ..., high - 1 of rows whose prefix sums start at `begin`."""
    return gather(table, begin + high) - gather(table, begin + low)


def _pieces(options: Options, bank: SortedBank, node: Relaxation) -> _Pieces:
    """Find the ranges of the sorted order that are active at the multipliers, and sum them."""
    n, nonnegative = options
    row, u, min_size, max_size = node.row, node.u, node.min_size, node.max_size
    begin = row * (n + 1)
    t = jnp.where(node.dilation, node.lam, node.mu)
    t_prime = jnp.where(node.dilation, node.mu, node.lam)
    levels = jnp.stack([u, t] if nonnegative else [u, t, -t_prime])
    t_begin, p_end, *m_begin = count_above(bank.descending, n, row[None], levels)
    # T lies within the decided part of S, P and M after the undecided part.
    t_begin, p_end = jnp.minimum(t_begin, min_size), jnp.maximum(p_end, max_size)
    # With x >= 0 no element is pulled up from below: M is empty.
    m_begin = jnp.maximum(m_begin[0], p_end) if m_begin else jnp.full_like(row, n)
    return _Pieces(
        begin,
        t,
        t_prime,
        t_begin,
        p_end,
        m_begin,
        (min_size - t_begin).astype(u.dtype),
        _span(bank.sums, begin, t_begin, min_size),
        (p_end - max_size).astype(u.dtype),
        _span(bank.sums, begin, max_size, p_end),
        (n - m_begin).astype(u.dtype),
        -_span(bank.sums, begin, m_begin, jnp.full_like(row, n)),
        max_size.astype(u.dtype),
        _span(bank.sums, begin, jnp.zeros_like(row), max_size),
    )


def _dual_bound(
    bank: SortedBank, node: Relaxation, pieces: _Pieces, b: jax.Array, eps: jax.Array, rho
) -> tuple[jax.Array, jax.Array]:
    """Evaluate the dual function at (lam, mu): a lower bound, and whether it is one."""
    _, dilation, min_size, _, u, mu, lam = node
    begin, t, t_prime = pieces[:3]
    t_count, t_sum = pieces.t_count, pieces.t_sum

    # Between steps mu need not be F(u): scale mu_j = shrink (u - w_j)^+, so that they sum to mu.
    # Where that is impossible, because the first multipliers were a guess, there is no bound.
    t_square = _span(bank.squares, begin, pieces.t_begin, min_size)
    full = t_count * u - t_sum
    shrink = jnp.where(full > 0, jnp.minimum(mu / jnp.where(full > 0, full, 1), 2), 0)
    mu_square = shrink**2 * (u * full - u * t_sum + t_square)  # sum of mu_j^2
    mu_weight = shrink * (u * t_sum - t_square)  # sum of mu_j w_j

    delta = mu - lam
    common = eps * (lam + mu) - delta**2 / (2 * rho) - mu_square / 2 - mu_weight
    # Elements outside S: those beyond a threshold move by it, those between are set to 0.
    outside = t * pieces.p_sum - pieces.p_count * t**2 / 2
    outside = outside + t_prime * pieces.m_sum - pieces.m_count * t_prime**2 / 2
    outside += _span(bank.squares, begin, pieces.p_end, pieces.m_begin) / 2
    # The terms of S and of the bias.
    inside = delta * b, delta * (pieces.s_sum - b + mu - pieces.s_count * delta / 2)
    bound = 2 * (common + outside + jnp.where(dilation, *inside))
    return bound, mu <= 2 * full


def _newton_update(
    node: Relaxation, pieces: _Pieces, b: jax.Array, eps: jax.Array, rho: jax.Array
) -> Relaxation:
    """Solve the system with each sum replaced by its current linear piece.

    As functions of u, lam = l0 + l1 u and q = x0 + x1 u + lam_count lam^+; u is the root of
    min(lam, q). Both increase with u.
    """
    *_, t_count, t_sum, p_count, p_sum, m_count, m_sum, s_count, s_sum = pieces
    dilation = node.dilation
    # A dilation has beta = d0 + d1 u; an erosion has mu - lam = e0 + e1 u.
    d1, d0 = 1 + m_count * t_count, -m_count * t_sum - eps - m_sum
    scale = s_count - 1 + 1 / rho
    e1 = (t_count - 1 - p_count * t_count) / scale
    e0 = (s_sum - t_sum + p_sum + p_count * t_sum + eps - b) / scale

    l1 = jnp.where(dilation, rho * d1 + t_count, t_count - e1)
    l0 = jnp.where(dilation, rho * (d0 - b) - t_sum, -t_sum - e0)
    x1 = jnp.where(dilation, d1, 1 - e1 + p_count * t_count)
    x0 = jnp.where(dilation, d0 - eps - p_sum, -e0 - p_sum - p_count * t_sum - 2 * eps - m_sum)
    lam_count = jnp.where(dilation, p_count, m_count)

    # At the root of lam alone, is q >= 0? Then the first constraint is slack (lam = 0). Otherwise
    # it is tight, and u is the root of q.
    slack = -l0 / l1
    tight = x0 + x1 * slack < 0
    u = jnp.where(tight, -(x0 + lam_count * l0) / (x1 + lam_count * l1), slack)
    lam = jnp.where(tight, jnp.maximum(l0 + l1 * u, 0), 0)
    mu = jnp.maximum(t_count * u - t_sum, 0)
    return node._replace(u=u, mu=mu, lam=lam)


def solve(
    options: Options,
    bank: SortedBank,
    node: Relaxation,
    limit=None,
    steps: int | jax.Array = MAX_STEPS,
    rough: bool = False,
    tolerance: float = 1e-13,
) -> tuple[jax.Array, Relaxation, jax.Array]:
    """Take Newton steps until every relaxation has converged, or its bound has passed `limit`.

    Args:
        options: size and sign constraint of the bank.
        bank: the sorted neurons.
        node: relaxations, each with its multipliers.
        limit: bounds at which a relaxation need not be solved further; none by default.
        steps: maximum number of steps.
        rough: true where mu need not belong to u at first, so that there may be no first bound.
        tolerance: relative change of the multipliers at which they have converged.

    Returns:
        The best lower bounds seen, the relaxations, and which of them have converged.
    """

    def active(state):
        count, bound, _, converged = state
        waiting = ~converged if limit is None else ~converged & (bound < limit)
        return (count < steps) & jnp.any(waiting)

    def advance(state):
        count, best, node, _ = state
        bound, fits, new = newton_step(options, bank, node)
        if rough:
            bound = jnp.where(fits | (count > 0), bound, -jnp.inf)
        change = jnp.abs(new.u - node.u) + jnp.abs(new.mu - node.mu) + jnp.abs(new.lam - node.lam)
        size = jnp.abs(new.u) + new.mu + new.lam
        return count + 1, jnp.maximum(best, bound), new, change <= tolerance * size + 4e-16

    nothing = jnp.full_like(node.u, -jnp.inf)
    state = (jnp.int32(0), nothing, node, jnp.zeros(node.u.shape, bool))
    _, bound, node, converged = jax.lax.while_loop(active, advance, state)
    return bound, node, converged
