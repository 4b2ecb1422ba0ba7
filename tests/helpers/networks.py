"""Networks that are certified by construction, and others that are not, for the tests."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from morphax import data
from morphax.neurons.nodes import BiSE, Spec, bank, role_axes, unbank

DENSE = Spec("dense", "identity", "raw")


def spec_for(role, *, symmetric=False, border="ignore", threshold="tanh"):
    """Identity weights, so that what is built is what runs."""
    return Spec(role, "identity", "raw", threshold, border, symmetric)


def built(
    rng, shape, spec, *, noise=0.03, shift=0.0, scale=30.0, complemented=0.3, size=2.5, stack=()
):
    """A bank that is certified (by a wide margin) for small `noise` and `shift`.

    Args:
        rng: numpy generator.
        shape: of the weight.
        spec: of the bank, with identity weights.
        noise: half-width of the weights around 1 on S and 0 outside.
        shift: how far the bias strays from the middle of its interval, in half intervals.
        scale: |p|.
        complemented: share of negative scales.
        size: expected |S|.
        stack: leading axes (for scanned layers).

    Returns:
        A `BiSE` node; S, operations and signs are random.
    """
    axes = role_axes(spec.role, window=len(shape) - 2)
    full = (*stack, *shape)
    reduced = tuple(n for i, n in enumerate(full) if i - len(full) not in axes)
    shell = BiSE(jnp.zeros(full), jnp.zeros(reduced), jnp.zeros(reduced), spec)
    n = bank(shell, shell.weight).shape[-1]
    selem = rng.random((*reduced, n)) < min(size / n, 0.9)
    selem[..., 0] |= ~selem.any(-1)
    weights = selem + rng.uniform(-noise, noise, selem.shape)
    count = selem.sum(-1)
    erosion = rng.random(reduced) < 0.5
    bias = np.where(erosion, count - 0.5, 0.5) + shift * rng.uniform(-0.5, 0.5, reduced)
    if spec.symmetric:
        bias = 2 * bias - weights.sum(-1)
    sign = np.where(rng.random(reduced) < complemented, -1, 1)
    return BiSE(
        unbank(shell, jnp.asarray(weights, jnp.float32)),
        jnp.asarray(bias, jnp.float32),
        jnp.asarray(sign * scale, jnp.float32),
        spec,
    )


def built_bimonn(rng, channels, *, window=(3, 3), symmetric=False, border="ignore", **how):
    """Params of a BiMoNN, as `morphax.models.init_bimonn` lays them out."""
    layers = []
    for n_in, n_out in pairwise(channels):
        spec = spec_for("spatial", symmetric=symmetric, border=border)
        layer = {"bise": built(rng, (*window, n_in, n_out), spec, **how)}
        if n_in > 1:
            lui = spec_for("lui", symmetric=symmetric)
            layer["lui"] = built(rng, (n_in, n_out), lui, **how)
        layers.append(layer)
    return layers


def random_images(rng, shape):
    """Bool images of every density, so that neither erosions nor dilations lose everything."""
    density = rng.random((shape[0],) + (1,) * (len(shape) - 1))
    return rng.random(shape) < density


def almost_binary(rng, bits, v1, v2, *, symmetric=False):
    """Floats on either side of the dead zone, the edges and the ends among them."""
    off = rng.choice([0.0, v1 / 2, v1], bits.shape)
    on = rng.choice([v2, (1 + v2) / 2, 1.0], bits.shape)
    values = np.where(bits, on, off).astype(np.float32)
    return 2 * values - 1 if symmetric else values


def agree(float_run, binary_run, params, binary, images, *, chunk, **values):
    """Whether float (thresholded) and binary network agree on all images, bit for bit.

    Returns:
        (whether they agree, mean of the binary output).
    """
    symmetric = values.get("symmetric", False)
    same, on, total = True, 0, 0
    for start in range(0, len(images), chunk):
        bits = images[start : start + chunk]
        zone = values.get("zone", (0.0, 1.0))
        x = almost_binary(np.random.default_rng(start), bits, *zone, symmetric=symmetric)
        real = np.asarray(float_run(params, jnp.asarray(x))) > (0.0 if symmetric else 0.5)
        result = np.asarray(binary_run(binary, jnp.asarray(bits)))
        assert result.dtype == bool
        same &= bool((real == result).all())
        on, total = on + result.sum(), total + result.size
    return same, on / total


def perturbed(params, key, size):
    """Every array of a params tree with relative noise of that size."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    noisy = [
        leaf * (1 + size * jax.random.normal(k, leaf.shape))
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, noisy)


def dense_bank(weights, bias, scale, dtype=jnp.float32):
    """A dense bank of one neuron a row of `weights`."""
    return BiSE(
        jnp.asarray(weights, dtype).T, jnp.asarray(bias, dtype), jnp.asarray(scale, dtype), DENSE
    )


def small_pictures(key, count, size):
    """Diskorect images of a few shapes, bool `(count, *size, 1)`."""
    few = {"n_shapes": 6, "n_holes": 4, "max_shape": (10, 10), "max_shape_holes": (6, 6)}
    return data.diskorect(key, count, size=size, **few)
