"""The exact projection onto activable parameters: every structuring element, at the cost of a sort.

Each neuron (w, b) is moved to the solution of

    min  sum_i (x_i - w_i)^2 + rho (beta - b)^2   s.t.   L(x, S) + eps <= beta <= U(x, S) - eps
    over x, beta, all non-empty S and the operations asked for, with

    dilation:  L = sum_{i not in S} x_i^+           U = min_{i in S} x_i - sum_i x_i^-
    erosion:   L = sum_i x_i^+ - min_{i in S} x_i   U = sum_{i in S} x_i^+ - sum_i x_i^-

Aouad & Talbot, arXiv 2401.03830, state the problem and solve 2n quadratic programs for each neuron;
the method here is ours (docs/theory.md, sections 2 and 5). The weights are sorted once; `_search`
finds the best S among the level sets by branch and bound. Its bounds come from a few sizes of S
that are solved by Newton steps (`_knots`, `_scalar`). Neurons are solved in double precision
whatever the dtype of the bank, scaled by a power of two, and in chunks, so the extra memory grows
with the bank by a sorted copy at most.

A bank has weights `(..., n)` and biases `(...)`.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from morphax.projection import _banks
from morphax.projection._scalar import Options, Relaxation, SortedBank
from morphax.projection._search import best_candidate
from morphax.projection.result import INVALID, NOT_CONVERGED, OK, Projection

OPERATIONS = {"erosion": (False,), "dilation": (True,), "both": (False, True)}
CHUNK = {"cpu": 1 << 17}
"""Weights solved at a time (a few copies in float64 should fit the cache)."""
GROUP = 16
"""Weights that are summed at a time in running sums."""


def project_exact(
    weights: jax.Array,
    bias: jax.Array,
    *,
    operation: str = "both",
    nonnegative: bool = True,
    bias_weight: float = 1.0,
    margin: float = 0.0,
    relative_margin: float = 0.0,
) -> Projection:
    """Return the nearest activable parameters of every neuron of a bank.

    All structuring elements are searched.

    The function works under `jit` and `vmap`. Do not differentiate through it: the gradient of half
    the squared distance is the displacement (docs/theory.md, section 5d), which the regularisers
    use.

    Args:
        weights: effective weights, `(..., n)`, n >= 1, a float dtype.
        bias: thresholds that are subtracted, `(...)`.
        operation: activable sets to search: "erosion", "dilation" or "both".
        nonnegative: ask for projected weights >= 0; otherwise their sign is free.
        bias_weight: rho > 0, the weight of the bias in the metric (checked in [0.01, 100]).
        margin: eps >= 0, by which the bias stays within its bounds, in units of the bias.
        relative_margin: a number >= 0, added to the margin after multiplication by ||(w, b)||.

    Returns:
        A `Projection`. The point is feasible up to rounding, and certified (strictly, with the
        certificate's rounding allowance) when the margin exceeds that allowance. With "both", a
        neuron with |S| = 1 is called a dilation when b <= P/2, as by the certificate. `distance` is
        that of the metric, not squared. A neuron with a NaN or an infinity has the status INVALID
        and NaN outputs; it does not affect the other neurons.

    Raises:
        ValueError: if shapes, dtypes or options are wrong.

    Example:
        >>> import jax.numpy as jnp
        >>> from morphax.projection._exact import project_exact
        >>> near = project_exact(jnp.array([1.0, 0.8, 0.4, 0.3]), jnp.array(0.55))
        >>> near.selem.tolist(), int(near.operation)
        ([True, True, False, False], 1)
        >>> [round(x, 3) for x in near.weights.tolist()], round(float(near.bias), 3)
        ([1.0, 0.8, 0.35, 0.25], 0.6)
    """
    bank = _banks.check(weights, bias, operation, bias_weight, margin, relative_margin)
    return _projector(operation, bool(nonnegative))(*bank, _banks.sort_on_host(bank[0]))


@lru_cache
def _projector(operation: str, nonnegative: bool) -> Any:
    """Return the jitted projection of banks for these static options."""

    def solve(weights: jax.Array, *scalars: jax.Array) -> Projection:
        options = Options(weights.shape[-1], nonnegative)
        return _project_chunk(options, OPERATIONS[operation], weights, *scalars)

    return _banks.over_bank(solve, CHUNK, 1 << 23)


def _project_chunk(options: Options, dilations, weights, *scalars) -> Projection:
    """Project a chunk: weights `(N, n)`; bias, rho, margin and relative margin `(N,)`.

    The last one of `scalars` is the weights in ascending order, `(N, n)`, or none.
    """
    dtype = weights.dtype
    *scalars, ascending = scalars
    # Neurons that are not finite are solved as zeros, and marked at the end.
    valid = jnp.isfinite(weights).all(-1) & jnp.isfinite(scalars[0])
    w = jnp.where(valid[:, None], weights, 0)
    bias, rho, margin, relative = (x.astype(jnp.float64) for x in scalars)
    bias = jnp.where(valid, bias, 0)

    # Divide every neuron by a power of two, so that |w|, |b|, eps < 1 and nothing is rounded.
    if ascending is None:
        descending = _banks.sort_descending(w)
    else:
        descending = jnp.where(valid[:, None], ascending[:, ::-1], 0)
    descending = descending.astype(jnp.float64)
    largest = jnp.maximum(jnp.maximum(descending[:, 0], -descending[:, -1]), jnp.abs(bias))
    unit = _banks.power_above(jnp.maximum(largest, margin))
    norm = jnp.sqrt(jnp.sum((descending * (1 / unit)[:, None]) ** 2, -1) + (bias / unit) ** 2)
    eps = margin / unit + relative * norm
    shift = jnp.maximum(_banks.power_above(eps), 1)
    unit, eps = unit * shift, eps / shift
    columns, inverse = unit[:, None], (1 / unit)[:, None]
    descending, w, bias = descending * inverse, w.astype(jnp.float64) * inverse, bias / unit

    bank = SortedBank(
        descending.reshape(-1), _prefix(descending), _prefix(descending**2), bias, eps, rho
    )
    node, converged = best_candidate(options, bank, dilations)

    selem = _banks.largest(w, descending, node.max_size)
    x, beta = _minimiser(options, bank, node, w, selem)
    # Round as the result is stored, then fit the bias to the rounded weights, and round it too.
    x = (x * columns).astype(dtype).astype(jnp.float64) * inverse
    beta = _into_bounds(x, beta, selem, node.dilation, eps)
    beta = (beta * unit).astype(dtype).astype(jnp.float64) / unit
    distance = jnp.sqrt(jnp.sum((x - w) ** 2, -1) + rho * (beta - bias) ** 2)

    # A translation (|S| = 1) is both operations: the rule of the certificate names it.
    dilation = node.dilation
    if len(dilations) == 2:
        dilation = jnp.where(
            node.max_size == 1, 2 * beta <= jnp.sum(jnp.maximum(x, 0), -1), dilation
        )
    status = jnp.where(valid, jnp.where(converged, OK, NOT_CONVERGED), INVALID)
    x = jnp.where(valid[:, None], x * columns, jnp.nan).astype(dtype)
    beta, distance = (jnp.where(valid, y * unit, jnp.nan).astype(dtype) for y in (beta, distance))
    selem &= valid[:, None]
    return Projection(x, beta, selem, dilation.astype(jnp.int8), distance, status.astype(jnp.int8))


def _prefix(x: jax.Array) -> jax.Array:
    """Return the prefix sums of each row, starting with 0, flattened."""
    return jnp.pad(_running_sums(x), ((0, 0), (1, 0))).reshape(-1)


def _running_sums(x: jax.Array) -> jax.Array:
    """Return `jnp.cumsum(x, -1)` of `(N, n)`, by sums of `GROUP` neighbours, of their sums, ...

    XLA has no fast running sum on a CPU; as a product with a triangular matrix it takes a third of
    the time.
    """
    count, n = x.shape
    if n <= GROUP:
        return jnp.cumsum(x, -1)
    groups = jnp.pad(x, ((0, 0), (0, -n % GROUP))).reshape(count, -1, GROUP)
    upper = jnp.triu(jnp.ones((GROUP, GROUP), x.dtype))
    within = jnp.matmul(groups, upper, precision=jax.lax.Precision.HIGHEST)
    before = jnp.pad(_running_sums(within[..., -1])[:, :-1], ((0, 0), (1, 0)))
    return (within + before[..., None]).reshape(count, -1)[:, :n]


def _minimiser(
    options: Options, bank: SortedBank, node: Relaxation, w: jax.Array, selem: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the point (x, beta) of a solved candidate (formulas: docs/theory.md, section 5b)."""
    u, mu, lam, dilation = (x[:, None] for x in (node.u, node.mu, node.lam, node.dilation))
    inside = jnp.maximum(jnp.maximum(w, u) - jnp.where(dilation, 0, mu - lam), 0)
    outside = jnp.maximum(w - jnp.where(dilation, lam, mu), 0)
    if not options.nonnegative:
        outside -= jnp.maximum(-w - jnp.where(dilation, mu, lam), 0)
    delta = (node.mu - node.lam) / bank.rho
    return jnp.where(selem, inside, outside), bank.bias + jnp.where(node.dilation, -delta, delta)


def _into_bounds(x, beta, selem, dilation, eps) -> jax.Array:
    """Return the bias nearest to `beta` within the bounds of the rounded weights.

    Where rounding has closed the interval, return its middle.
    """
    plus = jnp.maximum(x, 0)
    minus = jnp.sum(plus - x, -1)
    inside = jnp.sum(jnp.where(selem, plus, 0), -1)
    outside = jnp.sum(jnp.where(selem, 0, plus), -1)
    smallest = jnp.min(jnp.where(selem, x, jnp.inf), -1)
    low = jnp.where(dilation, outside, inside + outside - smallest) + eps
    high = jnp.where(dilation, smallest, inside) - minus - eps
    return jnp.where(low <= high, jnp.clip(beta, low, high), (low + high) / 2)
