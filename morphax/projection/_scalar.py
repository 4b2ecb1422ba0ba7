"""One neuron, one structuring element: the projection is the root of one scalar equation.

theory.md 5b. The weights are sorted once, largest first, so S is `the first k`, and every sum the
equation needs is a difference of two entries of a prefix sum, found by a binary search. A `Node` is
slightly more general than a candidate S: the elements up to `first` are in S, those after `last`
are not, those between are undecided. Its value is a lower bound for every S in that range, and the
exact squared distance when `first == last`; so nodes are both the branches and the leaves of the
search in `exact.py`.

For a dilation the node asks, with rho the weight of the bias and eps the margin, for

    min  sum_i (x_i - w_i)^2 + rho (beta - b)^2
    s.t. sum_{i > last} x_i^+ + eps <= beta                                 (multiplier lam)
         beta + sum_{i > last} x_i^- + eps <= x_j  for j <= first           (multipliers mu_j)

and for an erosion for the same minimum under

         beta + sum_{i > last} x_i^- + eps <= sum_{i <= last} x_i           (multiplier lam)
         sum_{i <= last} x_i + sum_{i > last} x_i^+ - x_j + eps <= beta  for j <= first   (mu_j)

In both mu_j = (u - w_j)^+ for one scalar u, and with mu = sum_j mu_j the elements outside S become
(w - t)^+ - (-w - t')^+, where (t, t') = (lam, mu) for a dilation and (mu, lam) for an erosion.
`step` is Newton's method on the lifted system in (u, mu, lam): each piecewise linear sum is
replaced by its piece at its own argument, then the three equations are solved together. Unlike
Newton (or a bracket) on u alone, where slopes differ by n^2, it needs no safeguard: at most 18
steps were seen from a cold start for n = 4096, about 5 from a neighbour's solution.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

MAX_STEPS = 100
"""Newton steps after which a node counts as not converged (about 20 suffice in practice)."""


class Tables(NamedTuple):
    """A bank of N sorted neurons: flattened prefix sums and what belongs to one neuron."""

    descending: jax.Array  # (N * n,) weights, largest first within each neuron
    sums: jax.Array  # (N * (n + 1),) prefix sums, starting with 0
    squares: jax.Array  # (N * (n + 1),) prefix sums of the squares
    bias: jax.Array  # (N,)
    margin: jax.Array  # (N,)
    rho: jax.Array  # (N,) the weight of the bias in the metric


class Node(NamedTuple):
    """Relaxed problems: `row` is the neuron, [first, last] the undecided range of |S|."""

    row: jax.Array
    dilation: jax.Array
    first: jax.Array
    last: jax.Array
    u: jax.Array
    mu: jax.Array
    lam: jax.Array


class Problem(NamedTuple):
    """What is the same for every neuron of the bank (static)."""

    n: int
    nonnegative: bool


def take(table: jax.Array, index: jax.Array) -> jax.Array:
    """`table[index]` without bound checks."""
    return table.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def count_above(tables: Tables, n: int, row: jax.Array, t: jax.Array) -> jax.Array:
    """How many weights of each `row` are >= t: a binary search, one bit of the count at a time."""
    start, top = row * n - 1, n.bit_length() - 1

    def bit(i, count):
        ahead = count + jnp.left_shift(jnp.int32(1), top - i)
        found = (ahead <= n) & (take(tables.descending, start + jnp.minimum(ahead, n)) >= t)
        return jnp.where(found, ahead, count)

    # A loop, for XLA's fusion would repeat an unrolled search in each of its consumers.
    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(top + 1), bit, jnp.zeros_like(t, jnp.int32))


def start(tables: Tables, n: int, row, dilation, first, last) -> Node:
    """Nodes before their first step: u at the smallest weight of S, no multiplier."""
    u = take(tables.descending, row * n + first - 1)
    return Node(row, dilation, first, last, u, jnp.zeros_like(u), jnp.zeros_like(u))


def step(problem: Problem, tables: Tables, node: Node) -> tuple[jax.Array, Node]:
    """Lower bound on the squared distance at the node's multipliers, and one Newton step.

    The multipliers of any node are feasible for the dual, so the bound holds before convergence.
    """
    n, nonnegative = problem
    row, dilation, first, last, u, mu, lam = node
    b, eps, rho = (take(x, row) for x in (tables.bias, tables.margin, tables.rho))
    begin = row * (n + 1)

    def span(table, low, high):
        return take(table, begin + high) - take(table, begin + low)

    # T: the elements of S below u.  Above and below: outside S, beyond either threshold.
    above = jnp.where(dilation, lam, mu)
    below = jnp.where(dilation, mu, lam)
    levels = jnp.stack([u, above] if nonnegative else [u, above, -below])
    i, p, *m = count_above(tables, n, row[None], levels)
    i, p = jnp.minimum(i, first), jnp.maximum(p, last)
    m = jnp.maximum(m[0], p) if m else jnp.full_like(row, n)
    t_count, t_sum = (first - i).astype(u.dtype), span(tables.sums, i, first)
    p_count, p_sum = (p - last).astype(u.dtype), span(tables.sums, last, p)
    m_count, m_sum = (n - m).astype(u.dtype), -span(tables.sums, m, jnp.full_like(row, n))
    s_count, s_sum = last.astype(u.dtype), span(tables.sums, jnp.zeros_like(row), last)

    # The dual function, with mu_j = shrink (u - w_j)^+ so that they sum to mu.
    t_square = span(tables.squares, i, first)
    full = t_count * u - t_sum
    shrink = jnp.where(full > 0, jnp.minimum(mu / jnp.where(full > 0, full, 1), 1), 0)
    mu_square = shrink**2 * (u * full - u * t_sum + t_square)
    mu_weight = shrink * (u * t_sum - t_square)
    delta = mu - lam
    common = eps * (lam + mu) - delta**2 / (2 * rho) - mu_square / 2 - mu_weight
    outside = above * p_sum - p_count * above**2 / 2 + below * m_sum - m_count * below**2 / 2
    outside += span(tables.squares, p, m) / 2
    own = jnp.where(dilation, delta * b, delta * (s_sum - b + mu - s_count * delta / 2))
    bound = 2 * (common + outside + own)

    # The linear system: lam = l0 + l1 u,  q = x0 + x1 u + lam_count lam^+,  root of min(lam, q).
    d1, d0 = 1 + m_count * t_count, -m_count * t_sum - eps - m_sum
    scale = s_count - 1 + 1 / rho
    e1 = (t_count - 1 - p_count * t_count) / scale
    e0 = (s_sum - t_sum + p_sum + p_count * t_sum + eps - b) / scale
    l1 = jnp.where(dilation, rho * d1 + t_count, t_count - e1)
    l0 = jnp.where(dilation, rho * (d0 - b) - t_sum, -t_sum - e0)
    x1 = jnp.where(dilation, d1, 1 - e1 + p_count * t_count)
    x0 = jnp.where(dilation, d0 - eps - p_sum, -e0 - p_sum - p_count * t_sum - 2 * eps - m_sum)
    lam_count = jnp.where(dilation, p_count, m_count)
    slack = -l0 / l1
    tight = x0 + x1 * slack < 0
    u = jnp.where(tight, -(x0 + lam_count * l0) / (x1 + lam_count * l1), slack)
    lam = jnp.where(tight, jnp.maximum(l0 + l1 * u, 0), 0)
    mu = jnp.maximum(t_count * u - t_sum, 0)
    return bound, node._replace(u=u, mu=mu, lam=lam)


def solve(problem: Problem, tables: Tables, node: Node, limit=None, steps: int = MAX_STEPS):
    """Newton steps until every node has converged, or its bound has passed `limit`.

    Returns the bounds, the nodes, and which of them converged.
    """

    def active(state):
        count, bound, _, converged = state
        waiting = ~converged if limit is None else ~converged & (bound < limit)
        return (count < steps) & jnp.any(waiting)

    def advance(state):
        count, best, node, _ = state
        bound, new = step(problem, tables, node)
        change = jnp.abs(new.u - node.u) + jnp.abs(new.mu - node.mu) + jnp.abs(new.lam - node.lam)
        size = jnp.abs(new.u) + new.mu + new.lam
        return count + 1, jnp.maximum(best, bound), new, change <= 1e-13 * size + 4e-16

    nothing = jnp.full_like(node.u, -jnp.inf)
    state = (jnp.int32(0), nothing, node, jnp.zeros(node.u.shape, bool))
    _, bound, node, converged = jax.lax.while_loop(active, advance, state)
    return bound, node, converged
