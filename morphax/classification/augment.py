"""Augmentation of training images: random affine maps that may bend, or moves by whole pixels."""

import jax
import jax.numpy as jnp
import numpy as np

from morphax.classification.config import ClauseConfig

NODES = 5
"""Nodes on each side of an image whose displacements are drawn independently."""


def augment(key: jax.Array, images: jax.Array, *, config: ClauseConfig) -> jax.Array:
    """Move images by random affine maps (bilinear; 0 beyond the frame).

    With `bend` each pixel is displaced as well, by a smooth random field: that of `NODES` x `NODES`
    independent uniform displacements, interpolated cubically (elastic distortions, Simard,
    Steinkraus and Platt 2003, smooth by the distance of the nodes instead of a Gaussian).

    Without rotation, scale, shear and bend, images are moved by whole pixels, up to `shift` each
    way, and mirrored, which blurs nothing. Beyond the frame they repeat the nearest pixel.

    Args:
        key: PRNG key.
        images: Float `(batch, H, W, C)`.
        config: Its `shift`, `rotation`, `scale`, `shear`, `bend` and `flip` are used.

    Returns:
        Images of the same shape.

    Example:
        >>> augment(jax.random.key(0), jnp.ones((2, 6, 6, 1)), config=ClauseConfig()).shape
        (2, 6, 6, 1)
    """
    batch, height, width, _ = images.shape
    if config.rotation == config.scale == config.shear == config.bend == 0:
        return _shift(key, images, config=config)
    u = jax.random.uniform(key, (batch, 7), images.dtype, minval=-1.0, maxval=1.0)
    u = u[:, :, None, None]
    angle, shear = config.rotation * u[:, 0], config.shear * u[:, 1]
    grow = 1 + config.scale * u[:, 2:4]
    mirror = jnp.where((u[:, 6] < 0) & config.flip, -1.0, 1.0)
    y, x = (np.arange(n, dtype=images.dtype) - (n - 1) / 2 for n in (height, width))
    y, x = y[None, :, None], x[None, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rows = (cos * y - sin * x) * grow[:, 0] + config.shift * u[:, 4] + (height - 1) / 2
    across = ((sin * y + cos * x) * grow[:, 1] + shear * y) * mirror
    columns = across + config.shift * u[:, 5] + (width - 1) / 2

    if config.bend:
        nodes = jax.random.uniform(
            jax.random.fold_in(key, 1), (batch, NODES, NODES, 2), images.dtype, -1.0, 1.0
        )
        field = config.bend * jax.image.resize(nodes, (batch, height, width, 2), "cubic")
        rows, columns = rows + field[..., 0], columns + field[..., 1]

    def one(plane: jax.Array, at: jax.Array, along: jax.Array) -> jax.Array:
        return jax.scipy.ndimage.map_coordinates(plane, [at, along], order=1)

    each_channel = jax.vmap(one, in_axes=(-1, None, None), out_axes=-1)
    return jax.vmap(each_channel)(images, rows, columns)


def _shift(key: jax.Array, images: jax.Array, *, config: ClauseConfig) -> jax.Array:
    batch, height, width, _ = images.shape
    keys, most = jax.random.split(key), round(config.shift)
    moves = jax.random.randint(keys[0], (batch, 2, 1), -most, most + 1)
    rows, columns = (
        jnp.clip(np.arange(n)[None] + moves[:, axis], 0, n - 1)
        for axis, n in enumerate((height, width))
    )
    mirrored = jax.random.bernoulli(keys[1], 0.5 * config.flip, (batch, 1))
    columns = jnp.where(mirrored, width - 1 - columns, columns)
    index = (rows[:, :, None] * width + columns[:, None]).reshape(batch, -1, 1)
    flat = images.reshape(batch, height * width, -1)
    return jnp.take_along_axis(flat, index, axis=1).reshape(images.shape)
