"""The exact projection of symmetric neurons (SyBiSE, inputs in {-1, 1}), in their own coordinates.

    min  sum_i (x_i - w_i)^2 + rho (beta - b)^2    over x, beta and all non-empty S, subject to
    sum_S x - sum_out |x| + beta >= eps,   2 x_j - sum_S x - sum_out |x| - beta >= eps  for j in S

for a dilation by S: it answers -1 where all of S is -1, and 1 where only j is 1. By x -> -x the set
of the erosions is its mirror image in beta, so only dilations are solved; as beta <= 0 in them
unless |S| = 1, the nearest of both kinds is a dilation for b <= 0 and an erosion for b >= 0.
The best S is an upper level set, for w_j >= |w_i| holds for j in S, i outside (theory.md 5a).

One S of k elements is one scalar equation (ours). With multipliers lam and mu_j = (u - w_j)^+ / 2,
mu their sum, c = lam + mu and d = lam - mu, the point is

    x_S = max(w, u) + d,   x_out = sign(w) (|w| - c)^+ or, for x >= 0, (w - c)^+,   beta = b + d / rho

where F(u) = sum_S (u - w_j)^+ = c - d. With R(c) = sum_out |x|, the first constraint is an equality
for d = d1(c) = (R(c) + eps - b - sum_S w - c) / (k - 1 + 1 / rho); lam >= 0 asks for d >= -c. Take
d(c) = max(d1(c), -c), u(c) = F^-1(c - d(c)) (of slope 1 below 0) and the second constraint

    E(c) = 2 (u + d) - sum_S w - c - (k - 1 + 1 / rho) d - R(c) - b - eps.

**c is the least c >= 0 at which r(c) = min(c - d1(c), E(c)) >= 0**, and then d = min(d(c), c). Both
functions are increasing and concave (E is the least of its two branches d = d1 and d = -c, for it
decreases in d), so Newton's method from c = 0 climbs to the root without safeguards and, as each
step takes a factor 4 off the product of r and its slope, in few steps. F^-1 and R are found by
binary searches in the sorted weights and differences of their prefix sums.

The neuron is defined by Aouad & Talbot, arXiv 2401.03830; the projection is ours.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from morphax.neurons.forward import guess_erosion
from morphax.projection import _banks
from morphax.projection.result import INVALID, NOT_CONVERGED, OK, Projection

CHUNK = {"cpu": 1 << 18}
"""Weights solved at a time (about 20 numbers in float64 each)."""
MAX_STEPS = 200
"""Newton steps after which a neuron counts as not converged (about 10 are usual)."""


def project_symmetric(
    weights: jax.Array,
    bias: jax.Array,
    *,
    operation: str = "both",
    nonnegative: bool = False,
    bias_weight: float = 1.0,
    margin: float = 0.0,
    relative_margin: float = 0.0,
) -> Projection:
    """Nearest activable parameters of symmetric neurons xi(p (sum_i w_i x_i - b)), x in {-1, 1}^n.

    The metric, sum (x - w)^2 + rho (beta - b)^2, is that of the neuron's own parameters: mapping
    the inputs to {0, 1} first is a shear of (w, b) and gives another point. All structuring
    elements are searched. Works under `jit` and `vmap`, in double precision inside; do not
    differentiate through it (theory.md 5d).

    Args:
        weights: `(..., n)`, n >= 1, a float dtype.
        bias: `(...)`, the thresholds that are subtracted.
        operation: which activable sets: "erosion", "dilation" or "both".
        nonnegative: ask for projected weights >= 0; otherwise their sign is free.
        bias_weight: rho > 0, the weight of the bias in the metric (checked in [0.01, 100]).
        margin: eps >= 0, by which the bias stays within its bounds, in units of the bias (twice
            those of the certificate, which maps the inputs to {0, 1}).
        relative_margin: >= 0, added to the margin after multiplication by ||(w, b)||.

    Returns:
        A `Projection`. Feasible up to rounding, and certified when the margin exceeds twice the
        certificate's rounding allowance. With "both", a neuron with |S| = 1 is called what
        `guess_erosion` calls it. A neuron with a NaN or an infinity is INVALID, and alone is NaN.

    Raises:
        ValueError: wrong shapes, dtypes or options.

    >>> import jax.numpy as jnp
    >>> from morphax.projection._symmetric import project_symmetric
    >>> near = project_symmetric(jnp.array([1.0, 0.9, 0.8, -0.3]), jnp.array(1.3))
    >>> near.selem.tolist(), int(near.operation)
    ([True, True, True, False], 0)
    >>> [round(x, 3) for x in near.weights.tolist()], round(float(near.bias), 3)
    ([0.98, 0.88, 0.82, -0.28], 1.32)
    """
    bank = _banks.check(weights, bias, operation, bias_weight, margin, relative_margin)
    return _projector(operation, bool(nonnegative))(*bank)


@lru_cache
def _projector(operation: str, nonnegative: bool) -> Any:
    return _banks.over_bank(partial(_project_chunk, operation, nonnegative), CHUNK, 1 << 22)


def _project_chunk(operation, nonnegative, weights, *scalars) -> Projection:
    dtype = weights.dtype
    valid = jnp.isfinite(weights).all(-1) & jnp.isfinite(scalars[0])
    w = jnp.where(valid[:, None], weights, 0).astype(jnp.float64)
    bias, rho, margin, relative = (x.astype(jnp.float64) for x in scalars)
    bias = jnp.where(valid, bias, 0)

    # Divide every neuron by a power of two, so that |w|, |b|, eps < 1 and nothing is rounded.
    unit = _banks.power_above(jnp.maximum(jnp.maximum(jnp.abs(w).max(-1), jnp.abs(bias)), margin))
    norm = jnp.sqrt(jnp.sum((w / unit[:, None]) ** 2, -1) + (bias / unit) ** 2)
    eps = margin / unit + relative * norm
    shift = jnp.maximum(_banks.power_above(eps), 1)
    unit, eps = unit * shift, eps / shift
    w, bias = w / unit[:, None], bias / unit

    both = operation == "both"
    dilation = bias <= 0 if both else jnp.full(bias.shape, operation == "dilation")
    sign = jnp.where(dilation, 1.0, -1.0)
    descending = _banks.sort_descending(w)
    problem = _Problem(nonnegative, descending, sign * bias, eps, rho)
    k, u, c, d, converged = _nearest(problem)

    selem = _banks.largest(w, descending, k)
    outside = jnp.maximum(w - c[:, None], 0)
    if not nonnegative:
        outside -= jnp.maximum(-w - c[:, None], 0)
    x = jnp.where(selem, jnp.maximum(jnp.maximum(w, u[:, None]) + d[:, None], 0), outside)
    x = (x * unit[:, None]).astype(dtype).astype(jnp.float64) / unit[:, None]
    beta = sign * _into_bounds(x, sign * bias + d / rho, selem, eps)
    beta = (beta * unit).astype(dtype).astype(jnp.float64) / unit
    distance = jnp.sqrt(jnp.sum((x - w) ** 2, -1) + rho * (beta - bias) ** 2)
    guess = ~guess_erosion(x, beta, symmetric=True)
    dilation = jnp.where((k == 1) & both, guess, dilation)

    status = jnp.where(valid, jnp.where(converged, OK, NOT_CONVERGED), INVALID)
    x = jnp.where(valid[:, None], x * unit[:, None], jnp.nan).astype(dtype)
    beta, distance = (jnp.where(valid, y * unit, jnp.nan).astype(dtype) for y in (beta, distance))
    selem &= valid[:, None]
    return Projection(x, beta, selem, dilation.astype(jnp.int8), distance, status.astype(jnp.int8))


def _into_bounds(x, beta, selem, eps) -> jax.Array:
    """The bias nearest to `beta` at which the rounded weights are a dilation; else the middle."""
    outside = jnp.sum(jnp.where(selem, 0, jnp.abs(x)), -1)
    inside = jnp.sum(jnp.where(selem, x, 0), -1)
    low = outside - inside + eps
    high = 2 * jnp.min(jnp.where(selem, x, jnp.inf), -1) - inside - outside - eps
    return jnp.where(low <= high, jnp.clip(beta, low, high), (low + high) / 2)


class _Problem(NamedTuple):
    """N neurons: descending weights (N, n); bias, margin and rho (N,)."""

    nonnegative: bool
    descending: jax.Array
    bias: jax.Array
    eps: jax.Array
    rho: jax.Array


def _nearest(problem: _Problem) -> tuple[jax.Array, ...]:
    """The best dilation: its |S|, u, c, d and whether it converged, each (N,). All are solved."""
    nonnegative, descending = problem[:2]
    count, n = descending.shape
    b, eps, inverse_rho = (x[:, None] for x in (problem.bias, problem.eps, 1 / problem.rho))
    sums, squares = (jnp.pad(jnp.cumsum(x, -1), ((0, 0), (1, 0))).reshape(-1)
                     for x in (descending, descending**2))  # fmt: skip
    flat = descending.reshape(-1)
    row = jnp.arange(count, dtype=jnp.int32)[:, None]
    k = jnp.broadcast_to(jnp.arange(1, n + 1, dtype=jnp.int32)[None], (count, n))
    size, begin, top = k.astype(jnp.float64), row * (n + 1), n.bit_length() - 1

    def take(table, index):
        return table.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)

    def span(table, low, high):  # sum of the weights (squares) numbered low to high - 1
        return take(table, begin + high) - take(table, begin + low)

    def leading(holds):  # for how many of the sorted weights the monotone `holds(j, w_j)` is true
        def bit(i, found):
            j = found + jnp.left_shift(jnp.int32(1), top - i)
            at = jnp.minimum(j, n)
            return jnp.where((j <= n) & holds(at, take(flat, row * n + at - 1)), j, found)

        return jax.lax.fori_loop(jnp.int32(0), jnp.int32(top + 1), bit, jnp.zeros_like(k))

    total = take(sums, begin + k)  # sum_S w
    a = size - 1 + inverse_rho
    zeros = jnp.maximum(leading(lambda _, w: w >= 0), k)

    def evaluate(c):
        """r(c) and its slope; u, d; and the squared distance at them."""
        p = jnp.maximum(leading(lambda _, w: w >= c), k)
        m = zeros if nonnegative else jnp.maximum(leading(lambda _, w: w >= -c), k)
        large, r = (p - k).astype(jnp.float64), span(sums, k, p)
        below = jnp.full_like(k, n)
        if not nonnegative:
            large, r = large + (n - m).astype(jnp.float64), r - span(sums, m, below)
        r -= large * c

        d1 = (r + eps - b - total - c) / a
        free = d1 < -c  # lam = 0
        f = jnp.where(free, 2 * c, c - d1)
        d = c - f
        i = leading(lambda j, w: (j <= k) & ((k - j) * w - span(sums, j, k) >= f))
        i = jnp.minimum(i, k - 1)
        t, t_sum = (k - i).astype(jnp.float64), span(sums, i, k)
        u = (f + t_sum) / t
        e = 2 * (u + d) - total - c - a * d - r - b - eps
        e_free = (4 + t * (size - 4 + large)) / t + inverse_rho
        e_tight = size - t + large * ((size - 2) * t + 1) + (1 + large * t) * inverse_rho
        slope = jnp.where(free, e_free, 2 * e_tight / (t * a))
        first = c - d1 < e
        slope = jnp.where(first, 1 + (large + 1) / a, slope)

        # The squared distance; sums of squares lose digits, so keep them within their bounds.
        f, d = jnp.maximum(f, 0), jnp.minimum(d, c)
        lowest = take(flat, row * n + k - 1)
        u = jnp.maximum(u, lowest)
        inside = t * u**2 - 2 * u * t_sum + span(squares, i, k)
        inside = jnp.clip(inside, f**2 / t, jnp.maximum(f**2 / t, f * (u - lowest)))
        small = jnp.clip(span(squares, p, m), 0, (m - p) * c**2) + large * c**2
        if nonnegative:
            small += span(squares, m, below)
        value = inside + 2 * d * f + size * d**2 + small + d**2 * inverse_rho
        return jnp.where(first, c - d1, e), slope, u, d, value

    # Rounding of r: a few units of what is summed in it.
    scale = jnp.sum(jnp.abs(descending), -1, keepdims=True) + jnp.abs(b) + eps
    tolerance = 1e-15 * scale

    def advance(state):
        steps, new, *_ = state
        r, slope, *point = evaluate(new)
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
    best = jnp.min(jnp.where(least, k - 1, n - 1), -1)

    def pick(x):
        return jnp.take_along_axis(x, best[:, None], -1)[:, 0]

    return best + 1, *(pick(x) for x in (u, c, d, done))
