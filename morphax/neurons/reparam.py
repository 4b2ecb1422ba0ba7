"""Reparametrisations: from the stored (W, B), which the optimiser sees, to the effective (w, b).

Weights are `(..., n)` and biases `(...)`: the last axis runs over the n inputs of a neuron. The
bias is the threshold that is *subtracted*: a neuron is xi(p (sum_i w_i x_i - b)).

Source: Aouad & Talbot, arXiv 2401.03830, section 3.
"""

import jax
import jax.numpy as jnp

from morphax import _checks

WEIGHT_MAPS = ("identity", "positive", "dual")
"""Names of the weight maps.

identity: w = W. positive: w = softplus(W). dual: w = factor softplus(W) / sum softplus(W).
"""

BIAS_MAPS = ("raw", "positive", "centred", "interval_projected", "interval_reparametrised")
"""Names of the bias maps.

raw: b = B. positive: b = softplus(B) + offset. centred (ours): b = B + sum(w) / 2, so that training
treats an image and its complement, hence erosion and dilation, alike. The interval maps clamp
softplus(B) to the range in which a neuron with w >= 0 is not constant; "projected" holds the ends
constant in the gradient.
"""


@jax.custom_jvp
def softplus(x: jax.Array) -> jax.Array:
    """Compute log(1 + exp(x)) as accurately as `jax.nn.softplus`, and faster.

    In float32 it takes a third of the time: XLA's log1p on CPU costs more than the rest of a
    training step of a wide layer. With u = exp(-|x|) in [0, 1] and z = u / (2 + u) in [0, 1/3],
    log1p(u) = 2 atanh(z) is a short series.

    Args:
        x: floats.

    Returns:
        An array of the shape and dtype of `x`.

    Example:
        >>> x = jnp.array([-20.0, 0.0, 5.0])
        >>> bool(jnp.allclose(softplus(x), jax.nn.softplus(x), rtol=1e-6))
        True
    """
    if x.dtype != jnp.float32:
        return jax.nn.softplus(x)
    u = jnp.exp(-jnp.abs(x))
    z = u / (2 + u)
    square, series = z * z, jnp.full_like(z, 1 / 15)
    for k in (13, 11, 9, 7, 5, 3, 1):  # the terms left out are below (1/3)^17 / 17 = 5e-10
        series = series * square + 1 / k
    return jnp.maximum(x, 0) + 2 * z * series


@softplus.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return softplus(primals[0]), jax.nn.sigmoid(primals[0]) * tangents[0]


def softplus_inverse(y: jax.Array) -> jax.Array:
    """Return the x with softplus(x) = y, accurately for small and large y.

    Args:
        y: positive floats.

    Returns:
        An array of the shape and dtype of `y`.

    Example:
        >>> bool(jnp.allclose(jax.nn.softplus(softplus_inverse(jnp.array(3.0))), 3.0))
        True
    """
    return y + jnp.log(-jnp.expm1(-y))


def effective_weights(
    latent: jax.Array, weight_map: str, *, factor: float = 1.0, axis: int | tuple[int, ...] = -1
) -> jax.Array:
    """Compute the effective weights w of latent weights W.

    Args:
        latent: W, float `(..., n)`.
        weight_map: one of `WEIGHT_MAPS`.
        factor: sum of the weights under "dual"; ignored otherwise.
        axis: axes that run over the inputs of a neuron, for weights in another layout.

    Returns:
        w, float `(..., n)`.

    Raises:
        ValueError: if the map is unknown.

    Example:
        >>> float(effective_weights(jnp.zeros(4), "dual", factor=2.0).sum())
        2.0
    """
    _checks.one_of("weight_map", weight_map, WEIGHT_MAPS)
    if weight_map == "identity":
        return latent
    positive = softplus(latent)
    if weight_map == "positive":
        return positive
    return factor * positive / positive.sum(axis, keepdims=True)


def latent_weights(weights: jax.Array, weight_map: str) -> jax.Array:
    """Return latent weights W whose effective weights are `weights` (proportional under "dual").

    Args:
        weights: w, float `(..., n)`; positive unless the map is "identity".
        weight_map: one of `WEIGHT_MAPS`.

    Returns:
        W, float `(..., n)`.

    Raises:
        ValueError: if the map is unknown.

    Example:
        >>> float(latent_weights(jnp.array([0.5]), "identity")[0])
        0.5
    """
    _checks.one_of("weight_map", weight_map, WEIGHT_MAPS)
    return weights if weight_map == "identity" else softplus_inverse(weights)


def bias_interval(weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the range of biases in which a neuron with non-negative weights is not constant.

    Args:
        weights: w, float `(..., n)` with n >= 2.

    Returns:
        (min1 + min2) / 2 and sum(w) - min1 / 2, each `(...)`, where min1 <= min2 are the two
        smallest weights.

    Raises:
        ValueError: if n < 2.

    Example:
        >>> low, high = bias_interval(jnp.array([1.0, 2.0, 3.0]))
        >>> float(low), float(high)
        (1.5, 5.5)
    """
    n, expected = weights.shape[-1], "at least 2 inputs for an interval bias"
    _checks.require(n >= 2, "weights", expected, n)
    smallest = -jax.lax.top_k(-weights, 2)[0]
    return smallest.mean(-1), weights.sum(-1) - smallest[..., 0] / 2


def effective_bias(
    latent: jax.Array, bias_map: str, weights: jax.Array, *, offset: float = 0.0
) -> jax.Array:
    """Compute the effective bias b of a latent bias B.

    Args:
        latent: B, float `(...)`.
        bias_map: one of `BIAS_MAPS`.
        weights: effective weights w, float `(..., n)`; read by "centred" and the interval maps
            only.
        offset: number added to softplus(B) under "positive" (the DGMM 2022 paper used 1/2).

    Returns:
        b, float `(...)`.

    Raises:
        ValueError: if the map is unknown.

    Example:
        >>> float(effective_bias(jnp.array(-9.0), "interval_projected", jnp.ones(3)))
        1.0
    """
    _checks.one_of("bias_map", bias_map, BIAS_MAPS)
    if bias_map == "raw":
        return latent
    # Weights and biases of two dtypes are promoted on purpose.
    with jax.numpy_dtype_promotion("standard"):
        if bias_map == "centred":
            return latent + weights.sum(-1) / 2
        positive = softplus(latent)
        if bias_map == "positive":
            return positive + offset
        low, high = bias_interval(weights)
        if bias_map == "interval_projected":
            low, high = jax.lax.stop_gradient((low, high))
        return jnp.clip(positive, low, high)


def latent_bias(
    bias: jax.Array, bias_map: str, weights: jax.Array, *, offset: float = 0.0
) -> jax.Array:
    """Return the latent bias B whose effective bias is `bias`.

    For the interval maps this holds for biases inside the interval.

    Args:
        bias: b, float `(...)`; above `offset` under "positive", positive under the interval maps.
        bias_map: as for `effective_bias`, as are `offset` and the error for an unknown map.
        weights: effective weights w, float `(..., n)`; read by "centred" only.
        offset: number that `effective_bias` adds.

    Returns:
        B, float `(...)`.

    Example:
        >>> float(latent_bias(jnp.array(-2.0), "raw", jnp.ones(3)))
        -2.0
    """
    _checks.one_of("bias_map", bias_map, BIAS_MAPS)
    if bias_map == "raw":
        return bias
    if bias_map == "centred":
        with jax.numpy_dtype_promotion("standard"):  # as in `effective_bias`
            return bias - weights.sum(-1) / 2
    return softplus_inverse(bias - offset if bias_map == "positive" else bias)
