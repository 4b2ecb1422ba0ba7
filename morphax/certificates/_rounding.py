r"""The rounding allowance: how far a bias must be inside its bounds for a neuron to be certified.

A neuron of n weights w and bias b is certified when L + t < b < U - t, with

    t = u (k (4 n + 32) sum|w| + 32 (|b| + |offset|)) + 16 (n + 4) tiny,

where u is the unit roundoff and tiny the least normal number of the coarsest dtype among its
parameters, and k (`sums`) is 1, plus 1 for weights that are divided by their sum, plus 1 for a bias
that is clipped to a range made of sums. The allowance t covers the float forward pass in any order
of summation, with or without fused multiply-adds and with subnormals flushed or not; the bounds as
they are computed; and parameters that another program computes again from the stored ones.
docs/numerics.md has the proof, and states what it assumes.

Weights are `(..., n)` and biases `(...)`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from morphax.morphology.dtypes import at_least_single
from morphax.neurons import reparam


class Arithmetic(NamedTuple):
    """Hold the limits of the coarsest of some dtypes.

    Attributes:
        unit: unit roundoff, half of the distance from 1 to the next number.
        tiny: least normal number; smaller numbers may be read, and written, as 0.
        largest: greatest finite number.
    """

    unit: float
    tiny: float
    largest: float


def coarsest(*arrays: Any) -> Arithmetic:
    """Return the limits of the coarsest dtype of several arrays; integers count as float32.

    Args:
        *arrays: float or integer arrays, or dtypes.

    Returns:
        An `Arithmetic`; each of its fields is the worst one among the dtypes.

    Example:
        >>> coarsest(jnp.ones(2, jnp.float16), jnp.ones(2)).unit == 2.0**-11
        True
    """
    dtypes = [jnp.dtype(getattr(array, "dtype", array)) for array in arrays]
    limits = [jnp.finfo(d if jnp.issubdtype(d, jnp.floating) else jnp.float32) for d in dtypes]
    return Arithmetic(
        max(float(limit.eps) for limit in limits) / 2,
        max(float(limit.tiny) for limit in limits),
        min(float(limit.max) for limit in limits),
    )


def sums_of(weight_map: str, bias_map: str) -> int:
    """Return k of the module docstring: how many sums there are in a neuron's reparametrisation.

    Args:
        weight_map: one of `morphax.neurons.reparam.WEIGHT_MAPS`.
        bias_map: one of `morphax.neurons.reparam.BIAS_MAPS`.

    Returns:
        1, 2 or 3.

    Example:
        >>> sums_of("positive", "centred"), sums_of("dual", "interval_projected")
        (1, 3)
    """
    # A dual weight and a bias from an interval are each made of one sum more.
    return 1 + (weight_map == "dual") + bias_map.startswith("interval")


def rounding_allowance(
    weights: jax.Array,
    bias: jax.Array,
    *,
    arithmetic: Arithmetic | None = None,
    sums: int = 1,
    offset: float = 0.0,
) -> jax.Array:
    """Compute the rounding allowance t of the module docstring, in units of the bias.

    Args:
        weights: effective weights, float `(..., n)`.
        bias: effective bias, float `(...)`.
        arithmetic: limits of the stored parameters; those of the weights and the bias by default.
        sums: k, from `sums_of`.
        offset: number that was added to softplus(B) to make the bias.

    Returns:
        t, float `(...)`. It is infinite, so that nothing is certified, where u k (4 n + 32) > 1/4
        or sum|w| + |b| exceeds a quarter of the largest number: there the proof does not hold.

    Example:
        >>> float(rounding_allowance(jnp.ones(9), jnp.array(0.5))) < 1e-4
        True
    """
    unit, tiny, largest = arithmetic or coarsest(weights, bias)
    n = weights.shape[-1]
    count = sums * (4 * n + 32)
    if count * unit > 0.25:
        return jnp.full_like(bias, jnp.inf)
    size, height = jnp.abs(weights).sum(-1), jnp.abs(bias)
    allowance = unit * count * size + 32 * unit * (height + abs(offset)) + 16 * (n + 4) * tiny
    return jnp.where(size + height <= largest / 4, allowance, jnp.inf)


def quotients_hold(latent: jax.Array, factor: float, arithmetic: Arithmetic) -> jax.Array:
    """Check that factor softplus(W) / sum softplus(W) stays far from overflow and underflow.

    Args:
        latent: W, float `(..., n)`.
        factor: sum of the effective weights.
        arithmetic: limits of the stored parameters.

    Returns:
        bool `(...)`. Where it is false, another program may compute other weights from the same W.

    Example:
        >>> latent = jnp.array([[0.0, 1.0], [-85.0, -86.0]])
        >>> quotients_hold(latent, 1.0, coarsest(jnp.float32)).tolist()
        [True, False]
    """
    # Both the sum and the products with the factor must stay in the middle of the range.
    total = reparam.effective_weights(latent, "positive").sum(-1)
    least, most = arithmetic.tiny / arithmetic.unit**2, arithmetic.largest / 4
    total, scaled = total.astype(at_least_single(total.dtype)), abs(factor)
    both = (total >= least) & (total <= most)
    return both & (scaled * total >= least) & (scaled * total <= most)
