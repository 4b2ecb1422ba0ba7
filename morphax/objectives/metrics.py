"""Metrics of binary images and of binary networks.

Images are bool `(batch, ...)`; a metric of images is a mean over the batch, a float32 scalar.
"""

from typing import Any

import jax
import jax.numpy as jnp

from morphax.certificates.neuron import Certificate, certify


def dice(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Compute the Dice coefficient (2 |P and T| + 1e-6) / (|P| + |T| + 1e-6), averaged over images.

    Args:
        prediction: bool `(batch, ...)`.
        target: bool, of the same shape.

    Returns:
        A float32 scalar in [0, 1].

    Example:
        >>> float(dice(jnp.ones((2, 3, 3), bool), jnp.ones((2, 3, 3), bool)))
        1.0
    """
    axes = tuple(range(1, prediction.ndim))
    both = (prediction & target).sum(axes)
    sizes = prediction.sum(axes) + target.sum(axes)
    return (((2 * both).astype(float) + 1e-6) / (sizes.astype(float) + 1e-6)).mean()


def iou(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Compute the intersection over union (1 where both are empty), averaged over images.

    Arguments and result are those of `dice`.

    Example:
        >>> float(iou(jnp.array([[True, True]]), jnp.array([[True, False]])))
        0.5
    """
    axes = tuple(range(1, prediction.ndim))
    both, either = (prediction & target).sum(axes), (prediction | target).sum(axes)
    return jnp.where(either > 0, both / jnp.maximum(either, 1), 1.0).mean()


def accuracy(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Compute the share of rows whose largest score is that of the label.

    Args:
        scores: `(batch, classes)`; the first one among equals counts.
        labels: integers `(batch,)`.

    Returns:
        A float32 scalar in [0, 1].

    Example:
        >>> float(accuracy(jnp.eye(2), jnp.array([0, 1])))
        1.0
    """
    return (scores.argmax(-1).astype(int) == jnp.asarray(labels).astype(int)).mean()


def soft_hard_gap(prediction: jax.Array, binary: jax.Array, *, threshold: float = 0.5) -> jax.Array:
    """Compute the share of pixels where the thresholded float output differs from the binary one.

    Args:
        prediction: output of the real network, floats of any shape.
        binary: output of the binary network, bool, of the same shape.
        threshold: value above which a pixel of `prediction` counts as 1.

    Returns:
        A float32 scalar in [0, 1].

    Example:
        >>> float(soft_hard_gap(jnp.array([0.9, 0.2]), jnp.array([True, True])))
        0.5
    """
    return ((prediction > threshold) != binary).mean()


def certified_share(params: Any) -> jax.Array:
    """Compute the share of neurons that are certified, each by itself on binary inputs.

    Args:
        params: any pytree holding `BiSE` nodes.

    Returns:
        A float32 scalar in [0, 1].

    Example:
        >>> from morphax.neurons.nodes import BiSE, Spec
        >>> node = BiSE(jnp.ones((1, 1)), jnp.full(1, 0.5), jnp.ones(1),
        ...             Spec("dense", "identity", "raw"))
        >>> float(certified_share([node]))
        1.0
    """
    tree = jax.tree.leaves(certify(params), is_leaf=lambda leaf: isinstance(leaf, Certificate))
    exact = [leaf.exact.ravel() for leaf in tree if isinstance(leaf, Certificate)]
    return jnp.concatenate(exact).astype(jnp.float32).mean()


def f_measure(prediction: jax.Array, target: jax.Array, *, beta: float = 1.0) -> jax.Array:
    """Compute F_beta of all pixels of a batch together.

    Args:
        prediction: floats in [0, 1] or bool, any shape.
        target: floats or bool, of the same shape.
        beta: positive number: recall counts `beta` times as much as precision.

    Returns:
        A float32 scalar in [0, 1], differentiable in float predictions. F_1 is the Dice
        coefficient.

    Example:
        >>> half = jnp.array([1.0, 0.0])  # finds one of two pixels, nothing else
        >>> f = [f_measure(half, jnp.ones(2), beta=beta) for beta in (0.5, 1.0)]
        >>> [round(float(value), 3) for value in f]
        [0.833, 0.667]
    """
    prediction, target = prediction.astype(jnp.float32), target.astype(jnp.float32)
    weight = beta**2
    hits = (prediction * target).sum()
    return (1 + weight) * hits / (weight * target.sum() + prediction.sum() + 1e-6)
