r"""Projection of neurons onto constant sets: weights theta on S, 0 elsewhere.

    minimise |theta 1_S - w|^2  over theta > 0 and non-empty S

For a fixed S, theta is the mean of w on S and the distance is |w|^2 - (sum_S w)^2 / |S|; the best S is
a level set {w >= tau}, found by one sort ("exact"), or guessed by tau = 2/3 mean|w| ("uniform") or
3/4 mean|w| ("normal"), which are optimal for weights of those laws. The bias is not in the distance: it
is moved into the range in which theta 1_S is the operation.

Source: Aouad & Talbot, arXiv 2401.03830, section 4 (second approximation); thresholds from Ternary
Weight Networks (arXiv 1605.04711).
"""

import jax
import jax.numpy as jnp

from morphax import _checks
from morphax.neurons.forward import guess_erosion
from morphax.projection._banks import sort_descending
from morphax.projection.result import DEGENERATE, INVALID, OK, Projection

THRESHOLDS = ("exact", "uniform", "normal")
_FACTOR = {"uniform": 2 / 3, "normal": 3 / 4}


def constant_selem(weights: jax.Array, *, threshold: str = "exact") -> jax.Array:
    """The structuring element of the (nearly) nearest constant set.

    Args:
        weights: float `(..., n)`.
        threshold: one of `THRESHOLDS`.

    Returns:
        S, bool `(..., n)`, never empty: the largest weight alone where none is positive.

    Raises:
        ValueError: unknown threshold.

    Example:
        >>> constant_selem(jnp.array([0.3] * 8 + [1.0])).tolist() == [True] * 9
        True
    """
    _checks.one_of("threshold", threshold, THRESHOLDS)
    if threshold == "exact":
        ordered = sort_descending(weights)
        count = jnp.arange(1, weights.shape[-1] + 1, dtype=weights.dtype)
        count = count.reshape((1,) * (weights.ndim - 1) + count.shape)
        best = jnp.argmax(jnp.cumsum(ordered, -1) / jnp.sqrt(count), -1, keepdims=True)
        level = jnp.take_along_axis(ordered, best, -1)  # equal weights stay together
    else:
        level = _FACTOR[threshold] * jnp.abs(weights).mean(-1, keepdims=True)
    largest = weights.max(-1, keepdims=True)
    level = jnp.minimum(level, largest)  # a statistical threshold may lie above every weight
    first = jax.nn.one_hot(jnp.argmax(weights, -1), weights.shape[-1], dtype=bool)
    return jnp.where(largest > 0, (weights >= level) & (weights > 0), first)


def project_constant(
    weights: jax.Array, bias: jax.Array, *, threshold: str = "exact"
) -> Projection:
    """Nearest constant set of every neuron of a bank.

    Args:
        weights: float `(..., n)`.
        bias: float `(...)`.
        threshold: "exact", "uniform" or "normal".

    Returns:
        `Projection`; `distance` is in the weights only. The operation is a dilation where b <= P / 2
        (P the sum of the positive weights), an erosion elsewhere.

    Raises:
        ValueError: unknown threshold, or shapes that do not fit.

    Example:
        >>> result = project_constant(jnp.array([1.0, 0.0, 0.8]), jnp.array(0.5))
        >>> result.selem.tolist(), round(float(result.distance), 3)
        ([True, False, True], 0.141)
    """
    _checks.require(weights.ndim >= 1 and weights.shape[-1] >= 1, "weights", "shape (..., n), n >= 1",
                   weights.shape)  # fmt: skip
    _checks.require(
        bias.shape == weights.shape[:-1], "bias", f"shape {weights.shape[:-1]}", bias.shape
    )
    selem = constant_selem(weights, threshold=threshold)
    size = selem.sum(-1).astype(weights.dtype)
    theta = jnp.maximum(jnp.where(selem, weights, 0).sum(-1) / size, 0)
    projected = theta[..., None] * selem
    distance = jnp.linalg.norm(weights - projected, axis=-1)
    erosion = guess_erosion(weights, bias)
    low = jnp.where(erosion, (size - 1) * theta, 0)
    moved = jnp.clip(bias, low, jnp.where(erosion, size * theta, theta))
    invalid = ~(jnp.isfinite(weights).all(-1) & jnp.isfinite(bias))
    status = jnp.where(invalid, INVALID, jnp.where(theta > 0, OK, DEGENERATE)).astype(jnp.int8)
    return Projection(
        jnp.where(invalid[..., None], jnp.nan, projected),
        jnp.where(invalid, jnp.nan, moved),
        selem,
        jnp.where(erosion, 0, 1).astype(jnp.int8),
        jnp.where(invalid, jnp.nan, distance),
        status,
    )
