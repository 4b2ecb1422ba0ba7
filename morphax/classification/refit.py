"""Refitting of a real last layer to the bits of the layer before it.

A network with a real last layer (`morphax.linear_head`) trains that layer on graded bits. After
`morphax.binarize` the same weights see bits, and the labels may get worse. `refit_head` fits the
weights and biases again, to the bits themselves: multinomial logistic regression, a convex problem.
The neurons and their certificate do not change.

Sources: the real last layer is that of Aouad & Talbot, arXiv 2401.03830, who leave it as it was
trained; logistic regression by Adam, Kingma & Ba, arXiv 1412.6980. Measured on the papers' network:
docs/notes/classification.md.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from morphax import _checks
from morphax.neurons.heads import linear_head


class Head(NamedTuple):
    """Hold a real last layer: `morphax.linear_head(bits, weight, bias)` runs it.

    Attributes:
        weight: Float `(n, classes)`.
        bias: Float `(classes,)`.
    """

    weight: jax.Array
    bias: jax.Array


def refit_head(
    key: jax.Array,
    bits: np.ndarray | jax.Array,
    labels: np.ndarray | jax.Array,
    *,
    classes: int,
    steps: int = 1500,
    batch_size: int = 256,
    rate: float = 3e-3,
    decay: float = 0.0,
) -> Head:
    """Fit a real last layer to the bits of the layer before, by logistic regression.

    Minimises the mean cross-entropy of the scores `bits @ weight + bias`, plus
    `decay / 2 * (weight ** 2).sum()`, by Adam from zero with a cosine decay of the rate. It takes
    seconds for 50 000 images and 4096 neurons on one core.

    Args:
        key: PRNG key of the batches; the same key and data give the same layer.
        bits: Bool `(N, n)`: outputs of the binary layer before, on the training images.
        labels: Int `(N,)`, from 0 to `classes - 1`.
        classes: Number of classes.
        steps: Steps of Adam.
        batch_size: Images in a step, drawn with replacement; all images, in order, if there are
            no more than that.
        rate: Rate of Adam at the first step.
        decay: Strength of the penalty on the weights, 0 or more.

    Returns:
        `Head(weight, bias)`, float32. It takes the place of the last layer of a binary network.

    Raises:
        ValueError: Bits that are not a bool matrix, labels that do not fit, options out of range.

    Example:
        >>> bits = np.array([[True, False], [True, True], [False, True]] * 4)
        >>> labels = np.array([0, 1, 1] * 4)
        >>> head = refit_head(jax.random.key(0), bits, labels, classes=2, steps=300, rate=0.1)
        >>> jnp.argmax(linear_head(jnp.asarray(bits[:3]), *head), -1).tolist()
        [0, 1, 1]
    """
    bits, labels = jnp.asarray(bits), jnp.asarray(labels)
    is_matrix = bits.ndim == 2 and bits.dtype == bool and len(bits) > 0
    _checks.require(is_matrix, "bits", "bool (N, n), N >= 1", f"{bits.dtype} {bits.shape}")
    is_labelled = labels.shape == bits.shape[:1] and jnp.issubdtype(labels.dtype, jnp.integer)
    expected = f"integers ({len(bits)},)"
    _checks.require(is_labelled, "labels", expected, f"{labels.dtype} {labels.shape}")
    low, high = int(labels.min()), int(labels.max())
    _checks.require(low >= 0 and high < classes, "labels", f"0 to {classes - 1}", (low, high))
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        _checks.require(value >= 1, name, "1 or more", value)
    _checks.require(rate > 0, "rate", "more than 0", rate)
    _checks.require(decay >= 0, "decay", "0 or more", decay)
    options = {"classes": classes, "steps": steps, "batch_size": min(batch_size, len(bits))}
    return _fit(key, bits, labels, jnp.float32(rate), jnp.float32(decay), **options)


@partial(jax.jit, static_argnames=("classes", "steps", "batch_size"))
def _fit(
    key: jax.Array,
    bits: jax.Array,
    labels: jax.Array,
    rate: jax.Array,
    decay: jax.Array,
    *,
    classes: int,
    steps: int,
    batch_size: int,
) -> Head:
    """Run all steps of Adam as one program."""
    adam = optax.scale_by_adam()
    head = Head(jnp.zeros((bits.shape[1], classes)), jnp.zeros(classes))

    def loss(head: Head, x: jax.Array, y: jax.Array) -> jax.Array:
        scores = linear_head(x.astype(jnp.float32), *head)
        fit = optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()
        return fit + decay / 2 * (head.weight**2).sum()

    def step(carry: tuple[Head, optax.OptState], number: jax.Array) -> tuple[tuple, None]:
        head, moments = carry
        at = jnp.arange(len(bits))  # with few images, all of them: no noise of batches
        if batch_size < len(bits):
            at = jax.random.randint(jax.random.fold_in(key, number), (batch_size,), 0, len(bits))
        gradient = jax.grad(loss)(head, bits[at], labels[at])
        with jax.numpy_dtype_promotion("standard"):  # Optax's Adam mixes dtypes
            updates, moments = adam.update(gradient, moments)
        slowed = rate * (0.5 + 0.5 * jnp.cos(jnp.pi * number.astype(jnp.float32) / steps))
        return (jax.tree.map(lambda p, u: p - slowed * u, head, updates), moments), None

    (head, _), _ = jax.lax.scan(step, (head, adam.init(head)), jnp.arange(steps))
    return head
