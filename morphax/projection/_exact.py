"""The exact projection onto activable parameters: every structuring element, sort-like cost.

    min  sum_i (x_i - w_i)^2 + rho (beta - b)^2   s.t.   L(x, S) + eps <= beta <= U(x, S) - eps
    over x, beta, all non-empty S and the operations asked for, with

    dilation:  L = sum_{i not in S} x_i^+           U = min_{i in S} x_i - sum_i x_i^-
    erosion:   L = sum_i x_i^+ - min_{i in S} x_i   U = sum_{i in S} x_i^+ - sum_i x_i^-

(theory.md sections 2 and 5; Aouad & Talbot, arXiv 2401.03830, solve 2n quadratic programs.) The
weights are sorted once; `search` finds the best S among the level sets by branch and bound, each
bound a few Newton steps of `scalar`. Neurons are solved in double precision whatever the dtype of
the bank, scaled by a power of two, and in chunks, so the extra memory does not grow with the bank.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from morphax.projection import _banks
from morphax.projection._scalar import Node, Problem, Tables
from morphax.projection._search import nearest
from morphax.projection.result import INVALID, NOT_CONVERGED, OK, Projection

OPERATIONS = {"erosion": (False,), "dilation": (True,), "both": (False, True)}
CHUNK = {"cpu": 1 << 19}
"""Weights solved at a time (a few copies in float64 should fit the cache)."""


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
    """Nearest activable parameters of every neuron of a bank, over all structuring elements.

    Works under `jit` and `vmap`. It is not differentiated through: the gradient of half the
    squared distance is the displacement (theory.md 5d), which the regularisers use.

    Args:
        weights: `(..., n)`, n >= 1, a float dtype.
        bias: `(...)`, the thresholds that are subtracted.
        operation: which activable sets: "erosion", "dilation" or "both".
        nonnegative: ask for projected weights >= 0; otherwise their sign is free.
        bias_weight: rho > 0, the weight of the bias in the metric (checked in [0.01, 100]).
        margin: eps >= 0, by which the bias stays within its bounds, in units of the bias.
        relative_margin: >= 0, added to the margin after multiplication by ||(w, b)||.

    Returns:
        A `Projection`. Feasible up to rounding, and certified (strictly, with the certificate's
        rounding allowance) when the margin exceeds that allowance. With "both", a neuron with
        |S| = 1 is called a dilation when b <= P/2, as by the certificate. `distance` is that of
        the metric, not squared. A neuron with a NaN or an infinity is INVALID, and alone is NaN.

    Raises:
        ValueError: wrong shapes, dtypes or options.

    >>> import jax.numpy as jnp
    >>> from morphax.projection._exact import project_exact
    >>> near = project_exact(jnp.array([1.0, 0.8, 0.4, 0.3]), jnp.array(0.55))
    >>> near.selem.tolist(), int(near.operation)
    ([True, True, False, False], 1)
    >>> [round(x, 3) for x in near.weights.tolist()], round(float(near.bias), 3)
    ([1.0, 0.8, 0.35, 0.25], 0.6)
    """
    bank = _banks.check(weights, bias, operation, bias_weight, margin, relative_margin)
    return _projector(operation, bool(nonnegative))(*bank)


@lru_cache
def _projector(operation: str, nonnegative: bool) -> Any:
    def solve(weights: jax.Array, *scalars: jax.Array) -> Projection:
        problem = Problem(weights.shape[-1], nonnegative)
        return _project_chunk(problem, OPERATIONS[operation], weights, *scalars)

    return _banks.over_bank(solve, CHUNK, 1 << 23)


def _project_chunk(problem, dilations, weights, *scalars) -> Projection:
    dtype = weights.dtype
    valid = jnp.isfinite(weights).all(-1) & jnp.isfinite(scalars[0])
    w = jnp.where(valid[:, None], weights, 0)
    bias, rho, margin, relative = (x.astype(jnp.float64) for x in scalars)
    bias = jnp.where(valid, bias, 0)

    # Divide every neuron by a power of two, so that |w|, |b|, eps < 1 and nothing is rounded.
    descending = _banks.sort_descending(w).astype(jnp.float64)
    largest = jnp.maximum(jnp.maximum(descending[:, 0], -descending[:, -1]), jnp.abs(bias))
    unit = _banks.power_above(jnp.maximum(largest, margin))
    norm = jnp.sqrt(jnp.sum((descending * (1 / unit)[:, None]) ** 2, -1) + (bias / unit) ** 2)
    eps = margin / unit + relative * norm
    shift = jnp.maximum(_banks.power_above(eps), 1)
    unit, eps = unit * shift, eps / shift
    columns, inverse = unit[:, None], (1 / unit)[:, None]
    descending, w, bias = descending * inverse, w.astype(jnp.float64) * inverse, bias / unit

    tables = Tables(
        descending.reshape(-1), _prefix(descending), _prefix(descending**2), bias, eps, rho
    )
    node, converged = nearest(problem, tables, dilations)

    selem = _banks.largest(w, descending, node.last)
    x, beta = _point(problem, tables, node, w, selem)
    x = (x * columns).astype(dtype).astype(jnp.float64) * inverse
    beta = _into_bounds(x, beta, selem, node.dilation, eps)
    beta = (beta * unit).astype(dtype).astype(jnp.float64) / unit
    distance = jnp.sqrt(jnp.sum((x - w) ** 2, -1) + rho * (beta - bias) ** 2)

    dilation = node.dilation
    if len(dilations) == 2:
        dilation = jnp.where(node.last == 1, 2 * beta <= jnp.sum(jnp.maximum(x, 0), -1), dilation)
    status = jnp.where(valid, jnp.where(converged, OK, NOT_CONVERGED), INVALID)
    x = jnp.where(valid[:, None], x * columns, jnp.nan).astype(dtype)
    beta, distance = (jnp.where(valid, y * unit, jnp.nan).astype(dtype) for y in (beta, distance))
    selem &= valid[:, None]
    return Projection(x, beta, selem, dilation.astype(jnp.int8), distance, status.astype(jnp.int8))


def _prefix(x: jax.Array) -> jax.Array:
    return jnp.pad(jnp.cumsum(x, -1), ((0, 0), (1, 0))).reshape(-1)


def _point(problem: Problem, tables: Tables, node: Node, w, selem) -> tuple[jax.Array, jax.Array]:
    """The minimiser of a solved node (formulas in `scalar`)."""
    u, mu, lam, dilation = (x[:, None] for x in (node.u, node.mu, node.lam, node.dilation))
    inside = jnp.maximum(jnp.maximum(w, u) - jnp.where(dilation, 0, mu - lam), 0)
    outside = jnp.maximum(w - jnp.where(dilation, lam, mu), 0)
    if not problem.nonnegative:
        outside -= jnp.maximum(-w - jnp.where(dilation, mu, lam), 0)
    delta = (node.mu - node.lam) / tables.rho
    return jnp.where(selem, inside, outside), tables.bias + jnp.where(node.dilation, -delta, delta)


def _into_bounds(x, beta, selem, dilation, eps) -> jax.Array:
    """The bias nearest to `beta` within the bounds of the rounded weights; else their middle."""
    plus = jnp.maximum(x, 0)
    total, minus = jnp.sum(plus, -1), jnp.sum(plus - x, -1)
    inside = jnp.sum(jnp.where(selem, plus, 0), -1)
    outside = jnp.sum(jnp.where(selem, 0, plus), -1)
    smallest = jnp.min(jnp.where(selem, x, jnp.inf), -1)
    low = jnp.where(dilation, outside, total - smallest) + eps
    high = jnp.where(dilation, smallest, inside) - minus - eps
    return jnp.where(low <= high, jnp.clip(beta, low, high), (low + high) / 2)
