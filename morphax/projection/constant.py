r"""Projection of neurons onto constant sets: weights theta on S, 0 elsewhere.

    minimise |theta 1_S - w|^2  over theta > 0 and non-empty S

For a fixed S, theta is the mean of w on S, and the squared distance is |w|^2 - (sum_S w)^2 / |S|.
The best S is a level set {w >= tau}: "exact" finds it by one sort; "uniform" takes tau = 2/3
mean|w| and "normal" takes tau = 3/4 mean|w|, which are optimal for weights of those laws. The bias
does not count in the distance: it is moved into the range in which theta 1_S is the operation.
Weights are `(..., n)` and biases `(...)`; docs/theory.md, section 5f, has the proof.

Source: Aouad & Talbot, arXiv 2401.03830, section 4 (second approximation); thresholds from Ternary
Weight Networks (arXiv 1605.04711).
"""

import jax
import jax.numpy as jnp

from morphax import _checks
from morphax.morphology.dtypes import at_least_single
from morphax.neurons.forward import guess_erosion
from morphax.projection._banks import sort_descending
from morphax.projection.result import DEGENERATE, INVALID, OK, Projection

THRESHOLDS = ("exact", "uniform", "normal")
_FACTOR = {"uniform": 2 / 3, "normal": 3 / 4}


def constant_selem(weights: jax.Array, *, threshold: str = "exact") -> jax.Array:
    """Return the structuring element of the nearest constant set, or of one near it.

    Args:
        weights: float `(..., n)`.
        threshold: one of `THRESHOLDS`; "exact" gives the nearest set.

    Returns:
        S, bool `(..., n)`. It is never empty: where no weight is positive, it is the largest one
        alone.

    Raises:
        ValueError: if the threshold is unknown, or the weights are no floats.

    Example:
        >>> constant_selem(jnp.array([0.3] * 8 + [1.0])).tolist() == [True] * 9
        True
    """
    _checks.one_of("threshold", threshold, THRESHOLDS)
    is_float = jnp.issubdtype(weights.dtype, jnp.floating)
    _checks.require(is_float, "weights", "a float dtype", weights.dtype)
    if threshold == "exact":
        ordered = sort_descending(weights)
        # Half precision and less cannot count the pixels of a window.
        dtype = at_least_single(weights.dtype)
        count = jnp.arange(1, weights.shape[-1] + 1, dtype=dtype)
        count = count.reshape((1,) * (weights.ndim - 1) + count.shape)
        # The distance falls as (sum_S w) / sqrt|S| grows; equal weights stay together.
        sums = jnp.cumsum(ordered.astype(dtype), -1)
        best = jnp.argmax(sums / jnp.sqrt(count), -1, keepdims=True)
        level = jnp.take_along_axis(ordered, best, -1)
    else:
        level = _FACTOR[threshold] * jnp.abs(weights).mean(-1, keepdims=True)
    largest = weights.max(-1, keepdims=True)
    level = jnp.minimum(level, largest)  # a statistical threshold may lie above every weight
    first = jax.nn.one_hot(jnp.argmax(weights, -1), weights.shape[-1], dtype=bool)
    return jnp.where(largest > 0, (weights >= level) & (weights > 0), first)


def project_constant(
    weights: jax.Array, bias: jax.Array, *, threshold: str = "exact"
) -> Projection:
    """Return the nearest constant set of every neuron of a bank.

    Args:
        weights: effective weights, float `(..., n)`.
        bias: thresholds that are subtracted, float `(...)`.
        threshold: way to choose S: "exact", "uniform" or "normal".

    Returns:
        A `Projection`, whose `distance` is that of the weights only. The operation is a dilation
        where b <= P / 2 (P is the sum of the positive weights), and an erosion elsewhere. The
        status is DEGENERATE where no weight is positive.

    Raises:
        ValueError: if the threshold is unknown, or shapes do not fit.

    Example:
        >>> result = project_constant(jnp.array([1.0, 0.0, 0.8]), jnp.array(0.5))
        >>> result.selem.tolist(), round(float(result.distance), 3)
        ([True, False, True], 0.141)
    """
    shape, expected = weights.shape, "shape (..., n), n >= 1"
    _checks.require(len(shape) >= 1 and shape[-1] >= 1, "weights", expected, shape)
    _checks.require(bias.shape == shape[:-1], "bias", f"shape {shape[:-1]}", bias.shape)
    selem = constant_selem(weights, threshold=threshold)
    size = selem.sum(-1).astype(weights.dtype)
    theta = jnp.maximum(jnp.where(selem, weights, 0).sum(-1) / size, 0)
    projected = jnp.where(selem, theta[..., None], 0)
    distance = jnp.linalg.norm(weights - projected, axis=-1)
    # An erosion by theta 1_S has its bias between (|S| - 1) theta and |S| theta, a dilation between
    # 0 and theta.
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
