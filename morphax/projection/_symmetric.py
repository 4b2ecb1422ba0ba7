"""The exact projection of symmetric neurons (SyBiSE, inputs in {-1, 1}), in their own coordinates.

    min  sum_i (x_i - w_i)^2 + rho (beta - b)^2    over x, beta and all non-empty S, subject to
    sum_S x - sum_out |x| + beta >= eps,   2 x_j - sum_S x - sum_out |x| - beta >= eps  for j in S

for a dilation by S: the neuron answers -1 where all of S is -1, and 1 where a single j of S is 1.
By x -> -x the set of the erosions is its mirror image in beta, so only dilations are solved; as
beta <= 0 in them unless |S| = 1, the nearest of both kinds is a dilation for b <= 0 and an erosion
for b >= 0. The best S is an upper level set, for w_j >= |w_i| holds for j in S, i outside
(docs/theory.md, section 5a).

One S is one scalar equation, which `_symmetric_scalar` solves for all n candidates of a neuron.

The neuron is defined by Aouad & Talbot, arXiv 2401.03830; the projection is ours. A bank has
weights `(..., n)` and biases `(...)`.
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from morphax.neurons.forward import guess_erosion
from morphax.projection import _banks
from morphax.projection._symmetric_scalar import best_dilation
from morphax.projection.result import INVALID, NOT_CONVERGED, OK, Projection

CHUNK = {"cpu": 1 << 18}
"""Weights solved at a time (about 20 numbers in float64 each)."""


def project_symmetric(
    weights: jax.Array,
    bias: jax.Array,
    *,
    nonnegative: bool = False,
    margin: float = 0.0,
    relative_margin: float = 0.0,
    operation: str = "both",
    bias_weight: float = 1.0,
) -> Projection:
    """Return the nearest exactly binary parameters of every symmetric neuron of a bank.

    The distance is that of the neuron's own parameters: to map the inputs to {0, 1} first is a
    shear of (w, b) and gives another point. All structuring elements are searched. The function
    works under `jit` and `vmap`, in double precision inside; do not differentiate through it
    (docs/theory.md, section 5d).

    Arguments and errors are those of `project_exact`; by default the sign of the projected weights
    is free. The margin is in units of the bias, twice those of the certificate, which maps the
    inputs to {0, 1}.

    Returns:
        A `Projection`, as by `project_exact`, but certified when the margin exceeds twice the
        certificate's rounding allowance; with "both", a neuron with |S| = 1 is called what
        `guess_erosion` calls it.

    Example:
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
    """Return the jitted projection of banks for these static options."""
    return _banks.over_bank(partial(_project_chunk, operation, nonnegative), CHUNK, 1 << 22)


def _project_chunk(operation, nonnegative, weights, *scalars) -> Projection:
    """Project a chunk: weights `(N, n)`; bias, rho, margin and relative margin `(N,)`."""
    dtype = weights.dtype
    # Neurons that are not finite are solved as zeros, and marked at the end.
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

    # An erosion is solved as the dilation with the opposite bias.
    both = operation == "both"
    dilation = bias <= 0 if both else jnp.full(bias.shape, operation == "dilation")
    sign = jnp.where(dilation, 1.0, -1.0)
    descending = _banks.sort_descending(w)
    k, u, c, d, converged = best_dilation(nonnegative, descending, sign * bias, eps, rho)

    # The point, from the formulas of `_symmetric_scalar`.
    selem = _banks.largest(w, descending, k)
    outside = jnp.maximum(w - c[:, None], 0)
    if not nonnegative:
        outside -= jnp.maximum(-w - c[:, None], 0)
    x = jnp.where(selem, jnp.maximum(jnp.maximum(w, u[:, None]) + d[:, None], 0), outside)
    # Round as the result is stored, then fit the bias to the rounded weights, and round it too.
    x = (x * unit[:, None]).astype(dtype).astype(jnp.float64) / unit[:, None]
    beta = sign * _into_bounds(x, sign * bias + d / rho, selem, eps)
    beta = (beta * unit).astype(dtype).astype(jnp.float64) / unit
    distance = jnp.sqrt(jnp.sum((x - w) ** 2, -1) + rho * (beta - bias) ** 2)
    # A translation (|S| = 1) is both operations: the rule of the certificate names it.
    guess = ~guess_erosion(x, beta, symmetric=True)
    dilation = jnp.where((k == 1) & both, guess, dilation)

    status = jnp.where(valid, jnp.where(converged, OK, NOT_CONVERGED), INVALID)
    x = jnp.where(valid[:, None], x * unit[:, None], jnp.nan).astype(dtype)
    beta, distance = (jnp.where(valid, y * unit, jnp.nan).astype(dtype) for y in (beta, distance))
    selem &= valid[:, None]
    return Projection(x, beta, selem, dilation.astype(jnp.int8), distance, status.astype(jnp.int8))


def _into_bounds(x, beta, selem, eps) -> jax.Array:
    """Return the bias nearest to `beta` at which the rounded weights are a dilation.

    Where rounding has closed the interval, return its middle.
    """
    outside = jnp.sum(jnp.where(selem, 0, jnp.abs(x)), -1)
    inside = jnp.sum(jnp.where(selem, x, 0), -1)
    low = outside - inside + eps
    high = 2 * jnp.min(jnp.where(selem, x, jnp.inf), -1) - inside - outside - eps
    return jnp.where(low <= high, jnp.clip(beta, low, high), (low + high) / 2)
