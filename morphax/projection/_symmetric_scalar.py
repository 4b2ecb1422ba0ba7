"""One structuring element of a symmetric neuron: the projection is the root of one scalar equation.

The derivation is in docs/theory.md, section 5g. For an S of k elements, with multipliers lam and
mu_j = (u - w_j)^+ / 2, with mu the sum of the mu_j, c = lam + mu and d = lam - mu, the point is

    x_S = max(w, u) + d,   x_out = sign(w) (|w| - c)^+ or, for x >= 0, (w - c)^+,   beta = b + d /
    rho

where F(u) = sum_S (u - w_j)^+ = c - d. With R(c) = sum_out |x|, the first constraint is an equality
for d = d1(c) = (R(c) + eps - b - sum_S w - c) / (k - 1 + 1 / rho); lam >= 0 asks for d >= -c. Take
d(c) = max(d1(c), -c), u(c) = F^-1(c - d(c)) (of slope 1 below 0) and the second constraint

    E(c) = 2 (u + d) - sum_S w - c - (k - 1 + 1 / rho) d - R(c) - b - eps.

**c is the least c >= 0 at which r(c) = min(c - d1(c), E(c)) >= 0**, and then d = min(d(c), c). Both
functions are increasing and concave (E is the least of its two branches d = d1 and d = -c, for it
decreases in d), so Newton's method from c = 0 climbs to the root without safeguards and, as each
step takes a factor 4 off the product of r and its slope, in few steps. F^-1 and R are found by
binary searches in the sorted weights and differences of their prefix sums.

All n sizes of S of all neurons are solved side by side, as arrays `(N, n)`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from morphax.projection._scalar import count_leading, gather

MAX_STEPS = 200
"""Newton steps after which a neuron counts as not converged (about 10 are usual)."""


class _Candidates(NamedTuple):
    """Hold N sorted neurons and what is constant for their n candidates, one for each size of S.

    Attributes:
        n: number of weights.
        nonnegative: whether the projected weights must be >= 0.
        descending: weights, largest first within each neuron, flattened, `(N n,)`.
        sums, squares: prefix sums of the weights and of their squares, flattened, `(N (n + 1),)`.
        row, begin: number of the neuron, and where its prefix sums begin, `(N, 1)`.
        bias, eps, inverse_rho: `(N, 1)`.
        k, size: |S| of the candidate, as integers and as floats, `(N, n)`.
        total: sum of the weights of S, `(N, n)`.
        slope: k - 1 + 1 / rho, what d is multiplied by in the constraints, `(N, n)`.
        end: number of weights >= 0, at least k, `(N, n)`.
    """

    n: int
    nonnegative: bool
    descending: jax.Array
    sums: jax.Array
    squares: jax.Array
    row: jax.Array
    begin: jax.Array
    bias: jax.Array
    eps: jax.Array
    inverse_rho: jax.Array
    k: jax.Array
    size: jax.Array
    total: jax.Array
    slope: jax.Array
    end: jax.Array


class _Outside(NamedTuple):
    """Hold the sums over the elements outside S at one c.

    Attributes:
        p, m: the elements numbered p, ..., m - 1 of the sorted order have |w| < c (or, with x >= 0,
            0 <= w < c): they become 0.
        large: how many of the others do not become 0.
        remaining: R(c) of the module docstring, the sum of what remains of them.
    """

    p: jax.Array
    m: jax.Array
    large: jax.Array
    remaining: jax.Array


def _span(these: _Candidates, prefix: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Sum the sorted weights (or squares) numbered low, ..., high - 1 of each candidate."""
    return gather(prefix, these.begin + high) - gather(prefix, these.begin + low)


def _candidates(nonnegative: bool, descending, bias, eps, rho) -> _Candidates:
    """Return the n candidates of each of N neurons with sorted weights `(N, n)`."""
    count, n = descending.shape
    bias, eps, inverse_rho = (x[:, None] for x in (bias, eps, 1 / rho))
    sums, squares = (
        jnp.pad(jnp.cumsum(x, -1), ((0, 0), (1, 0))).reshape(-1)
        for x in (descending, descending**2)
    )
    flat = descending.reshape(-1)
    row = jnp.arange(count, dtype=jnp.int32)[:, None]
    k = jnp.broadcast_to(jnp.arange(1, n + 1, dtype=jnp.int32)[None], (count, n))
    size, begin = k.astype(jnp.float64), row * (n + 1)
    total = gather(sums, begin + k)
    slope = size - 1 + inverse_rho
    end = jnp.maximum(count_leading(flat, n, row, k, lambda _, w: w >= 0), k)
    return _Candidates(
        n,
        nonnegative,
        flat,
        sums,
        squares,
        row,
        begin,
        bias,
        eps,
        inverse_rho,
        k,
        size,
        total,
        slope,
        end,
    )


def _outside(these: _Candidates, c: jax.Array) -> _Outside:
    """Sum what remains of the elements outside S at c."""
    row, n, k = these.row, these.n, these.k
    p = jnp.maximum(count_leading(these.descending, n, row, k, lambda _, w: w >= c), k)
    if these.nonnegative:
        m = these.end  # negative weights become 0, whatever c is
    else:
        m = jnp.maximum(count_leading(these.descending, n, row, k, lambda _, w: w >= -c), k)
    large, remaining = (p - k).astype(jnp.float64), _span(these, these.sums, k, p)
    if not these.nonnegative:
        large = large + (n - m).astype(jnp.float64)
        remaining = remaining - _span(these, these.sums, m, jnp.full_like(k, n))
    return _Outside(p, m, large, remaining - large * c)


def _evaluate(these: _Candidates, c: jax.Array) -> tuple[jax.Array, ...]:
    """Return r(c) and its slope, u, d, and the squared distance at them (module docstring)."""
    k, size, total, slope = these.k, these.size, these.total, these.slope
    outside = _outside(these, c)
    large, remaining = outside.large, outside.remaining

    # d1 makes the first constraint an equality; where it is below -c, lam is 0 and d is -c.
    d1 = (remaining + these.eps - these.bias - total - c) / slope
    free = d1 < -c
    f = jnp.where(free, 2 * c, c - d1)
    d = c - f

    # u solves F(u) = f: the weights i, ..., k - 1 of S lie below it, and are raised to it.
    def is_above(j, w):
        return (j <= k) & ((size - j.astype(size.dtype)) * w - _span(these, these.sums, j, k) >= f)

    i = count_leading(these.descending, these.n, these.row, k, is_above)
    i = jnp.minimum(i, k - 1)
    t, t_sum = (k - i).astype(jnp.float64), _span(these, these.sums, i, k)
    u = (f + t_sum) / t

    # E and its slope, in the two cases; then r, the lesser of c - d1 and E.
    e = 2 * (u + d) - total - c - slope * d - remaining - these.bias - these.eps
    e_free = (4 + t * (size - 4 + large)) / t + these.inverse_rho
    e_tight = size - t + large * ((size - 2) * t + 1) + (1 + large * t) * these.inverse_rho
    e_slope = jnp.where(free, e_free, 2 * e_tight / (t * slope))
    first = c - d1 < e
    r_slope = jnp.where(first, 1 + (large + 1) / slope, e_slope)
    value = _squared_distance(these, outside, c, d, f, (i, t, t_sum), u)
    return jnp.where(first, c - d1, e), r_slope, *value


def _squared_distance(these: _Candidates, outside: _Outside, c, d, f, raised, u) -> tuple:
    """Return u and d within their bounds, and the squared distance at them.

    Sums of squares lose digits, so each of them is clipped to bounds that are known exactly.
    """
    k, p, m, large = these.k, outside.p, outside.m, outside.large
    i, t, t_sum = raised  # of the weights that are raised to u: the first one, their number and sum
    f, d = jnp.maximum(f, 0), jnp.minimum(d, c)
    lowest = gather(these.descending, these.row * these.n + k - 1)
    u = jnp.maximum(u, lowest)
    # In S: the sum of ((u - w)^+)^2, of t terms whose sum is f.
    inside = t * u**2 - 2 * u * t_sum + _span(these, these.squares, i, k)
    inside = jnp.clip(inside, f**2 / t, jnp.maximum(f**2 / t, f * (u - lowest)))
    # Outside: small elements move to 0, large ones by c, and negative ones to 0 with x >= 0.
    small = (
        jnp.clip(_span(these, these.squares, p, m), 0, (m - p).astype(c.dtype) * c**2)
        + large * c**2
    )
    if these.nonnegative:
        small += _span(these, these.squares, m, jnp.full_like(k, these.n))
    value = inside + 2 * d * f + these.size * d**2 + small + d**2 * these.inverse_rho
    return u, d, value


def best_dilation(nonnegative: bool, descending, bias, eps, rho) -> tuple[jax.Array, ...]:
    """Find the nearest dilation of N neurons: Newton's method solves all n candidates of each.

    Args:
        nonnegative: whether the projected weights must be >= 0.
        descending: sorted weights, `(N, n)`.
        bias: b, `(N,)`.
        eps: margin, `(N,)`.
        rho: weight of the bias in the metric, `(N,)`.

    Returns:
        |S|, u, c, d, and whether the candidate converged, each `(N,)`.
    """
    count, n = descending.shape
    these = _candidates(nonnegative, descending, bias, eps, rho)
    # Rounding of r: a few units of what is summed in it.
    scale = jnp.sum(jnp.abs(descending), -1, keepdims=True) + jnp.abs(these.bias) + these.eps
    tolerance = 1e-15 * scale

    def advance(state):
        steps, new, *_ = state
        r, slope, *point = _evaluate(these, new)
        later = new - jnp.minimum(r, 0) / slope
        done = (r >= -tolerance) | (later <= new)
        return steps + 1, jnp.where(done, new, later), done, new, *point

    zero = jnp.zeros((count, n))
    _, _, done, c, u, d, value = jax.lax.while_loop(
        lambda state: (state[0] < MAX_STEPS) & ~jnp.all(state[2]),
        advance,
        (jnp.int32(0), zero, zero > 0, zero, zero, zero, zero),
    )
    least = value <= jnp.min(value, -1, keepdims=True)
    best = jnp.min(jnp.where(least, these.k - 1, n - 1), -1)  # the smallest S among equals

    def pick(x):
        return jnp.take_along_axis(x, best[:, None], -1)[:, 0]

    return best + 1, *(pick(x) for x in (u, c, d, done))
