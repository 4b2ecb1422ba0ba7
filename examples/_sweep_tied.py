"""Neurons of sweep_mnist.py that stay alive: their biases are tied to their weights.

The first half of the neurons are erosions, b = sum(w) - 1/2, the others dilations, b = 1/2. So a
neuron never begins as a weighted count of many pixels, of which no erosion or dilation is near. A
neuron starts as some of the pixels that are set (or, of a dilation, not set) in a window of a
training image; all others have weights near 0.
"""

from math import isqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from morphax.neurons import reparam

HALF = 0.5  # b of a dilation, sum(w) - b of an erosion
INSIDE, OUTSIDE = 0.7, 0.003  # weights at the start
REACH, SHARE = 4, 0.3  # half of the side of a window; share of its pixels that are taken
INKED = 0.02  # pixels that are set in fewer images are left out


def init(key: jax.Array, images: np.ndarray, hidden: int) -> dict[str, jax.Array]:
    """Draw latent parameters: "weight" `(pixels, hidden)` and "scale" `(hidden,)`, which is 0.

    Args:
        key: PRNG key.
        images: bool `(N, pixels)`, square images in rows.
        hidden: number of neurons.
    """
    keys = jax.random.split(key, 5)
    pixels = images.shape[1]
    row, column = np.divmod(np.arange(pixels), isqrt(pixels))
    inked = images.mean(0) > INKED
    seen = jnp.asarray(images)[jax.random.randint(keys[0], (hidden,), 0, len(images))]
    wanted = seen == (jnp.arange(hidden) < hidden // 2)[:, None]  # of dilations: what is not set
    centre = jax.random.choice(keys[1], np.flatnonzero(inked), (hidden,))
    near = jnp.abs(row[None] - jnp.asarray(row)[centre][:, None]) <= REACH
    near &= jnp.abs(column[None] - jnp.asarray(column)[centre][:, None]) <= REACH
    taken = jax.random.uniform(keys[2], (hidden, pixels)) < SHARE
    spread = jax.random.normal(keys[3], (2, hidden, pixels))
    inside = INSIDE * jnp.exp(0.1 * spread[0])
    outside = OUTSIDE * jnp.exp(0.3 * spread[1])
    weight = jnp.where(wanted & near & inked[None] & taken, inside, outside).T
    return {"weight": reparam.softplus_inverse(weight), "scale": jnp.zeros(hidden)}


def node(latent: Any) -> morphax.BiSE:
    """Return the neurons of latent parameters."""
    hidden = latent["scale"].size
    total = reparam.softplus(latent["weight"]).sum(0)
    bias = jnp.where(jnp.arange(hidden) < hidden // 2, total - HALF, HALF)
    spec = morphax.Spec("dense", "positive", "raw")
    return morphax.BiSE(latent["weight"], bias, latent["scale"], spec)
