r"""What rounding can do to a neuron: how far a bias must be inside its bounds to be certified.

A neuron of n weights w and bias b is certified when L + t < b < U - t, with

    t = u (k (4 n + 32) sum|w| + 32 (|b| + |offset|)) + 16 (n + 4) tiny,

u the unit roundoff and tiny the least normal number of the coarsest dtype among its parameters, and k
(`sums`) 1, plus 1 for weights that are divided by their sum, plus 1 for a bias that is clipped to a range
made of sums. t covers the float forward pass in any order of summation, with or without fused
multiply-adds and with subnormals flushed or not, the bounds as they are computed, and parameters that
another program makes anew from the stored ones: docs/numerics.md has the proof, and what it assumes.

Weights are `(..., n)` and biases `(...)`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from morphax.neurons import reparam


class Arithmetic(NamedTuple):
    """The coarsest of some dtypes.

    Attributes:
        unit: unit roundoff, half of the distance from 1 to the next number.
        tiny: least normal number; what is below may be read, and written, as 0.
        largest: greatest finite number.
    """

    unit: float
    tiny: float
    largest: float


def coarsest(*arrays: Any) -> Arithmetic:
    """What the arithmetic of several arrays can be relied upon for; integers count as float32.

    Args:
        *arrays: float or integer arrays, or dtypes.

    Returns:
        `Arithmetic`.

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
    """How often the allowance is taken, k above: by how the parameters of a neuron are made.

    Example:
        >>> sums_of("positive", "centred"), sums_of("dual", "interval_projected")
        (1, 3)
    """
    return 1 + (weight_map == "dual") + bias_map.startswith("interval")


def rounding_allowance(
    weights: jax.Array,
    bias: jax.Array,
    *,
    arithmetic: Arithmetic | None = None,
    sums: int = 1,
    offset: float = 0.0,
) -> jax.Array:
    """The rounding allowance t of the module docstring, in units of b.

    Args:
        weights: effective weights, float `(..., n)`.
        bias: effective bias, float `(...)`.
        arithmetic: of what is stored; that of the weights and the bias by default.
        sums: k, as `sums_of` tells.
        offset: what was added to softplus(B) to make the bias.

    Returns:
        t, float `(...)`. Infinite, so that nothing is certified, where u k (4 n + 32) > 1/4 or where
        sum|w| + |b| exceeds a quarter of the largest number: there the proof does not hold.

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
    """Whether factor softplus(W) / sum softplus(W) is far from overflow and underflow on its way.

    Args:
        latent: W, float `(..., n)`.
        factor: the sum of the weights.
        arithmetic: of what is stored.

    Returns:
        bool `(...)`. Where it is false the weights may be anything, in another program.

    Example:
        >>> quotients_hold(jnp.array([[0.0, 1.0], [-85.0, -86.0]]), 1.0, coarsest(jnp.float32)).tolist()
        [True, False]
    """
    total = reparam.effective_weights(latent, "positive").sum(-1)
    least, most = arithmetic.tiny / arithmetic.unit**2, arithmetic.largest / 4
    total, scaled = total.astype(jnp.promote_types(total.dtype, jnp.float32)), abs(factor)
    both = (total >= least) & (total <= most)
    return both & (scaled * total >= least) & (scaled * total <= most)
