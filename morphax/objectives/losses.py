"""Losses between predicted and target images: scalars, means over the batch.

Predictions and targets are float arrays of the same shape. Predictions are in [0, 1] (in [-1, 1]
for `mse` of symmetric networks), targets are 0 or 1. Aouad & Talbot use these losses (DGMM 2022;
arXiv 2401.03830).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from morphax import _checks


def mse(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Compute the mean squared error.

    Args:
        prediction: float `(batch, ...)`.
        target: float, of the same shape.

    Returns:
        A scalar.

    Example:
        >>> float(mse(jnp.array([0.0, 1.0]), jnp.array([1.0, 1.0])))
        0.5
    """
    return ((prediction - target) ** 2).mean()


def bce(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Compute the binary cross-entropy; predictions are clipped to [1e-6, 1 - 1e-6].

    Arguments and result are those of `mse`.

    Example:
        >>> round(float(bce(jnp.array([0.5]), jnp.array([1.0]))), 3)
        0.693
    """
    p = jnp.clip(prediction, 1e-6, 1 - 1e-6)
    return -(target * jnp.log(p) + (1 - target) * jnp.log1p(-p)).mean()


def dice(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Compute the soft Dice loss 1 - 2 sum(t p) / (sum t^2 + sum p^2), averaged over images.

    Arguments and result are those of `mse`.

    Example:
        >>> round(float(dice(jnp.ones((1, 4)), jnp.ones((1, 4)))), 3)
        0.0
    """
    axes = tuple(range(1, prediction.ndim))
    overlap = (prediction * target).sum(axes)
    size = (prediction**2).sum(axes) + (target**2).sum(axes)
    return (1 - (2 * overlap + 1e-6) / (size + 1e-6)).mean()


LOSSES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "mse": mse,
    "bce": bce,
    "dice": dice,
}


def loss_named(name: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the loss of a given name.

    Args:
        name: "mse", "bce" or "dice".

    Returns:
        A function of predictions and targets.

    Raises:
        ValueError: if the name is unknown.

    Example:
        >>> loss_named("mse") is mse
        True
    """
    _checks.one_of("loss", name, LOSSES)
    return LOSSES[name]
