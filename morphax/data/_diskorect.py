"""Diskorect: random binary images of disks (ellipses) and rectangles, with holes and noise.

The synthetic data of Aouad & Talbot (ICIP 2022; DGMM 2022, arXiv 2204.08768; arXiv 2401.03830),
written anew in pure `jnp`: an image is a function of its key, under `jit` and `vmap`. Images are
bool `(batch, H, W, 1)`, rows running downwards.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from morphax import _checks
from morphax._compiling import quick_jit
from morphax.data import _draw


def diskorect(
    key: jax.Array,
    batch: int,
    *,
    size: tuple[int, int] = (50, 50),
    n_shapes: int = 20,
    max_shape: tuple[int, int] = (20, 20),
    n_holes: int = 10,
    max_shape_holes: tuple[int, int] = (10, 10),
    noise: float = 0.02,
    p_invert: float = 0.5,
    border: tuple[int, int] = (4, 4),
) -> jax.Array:
    """Random images of filled shapes, then holes, then noise, then perhaps inverted, then framed.

    A shape is, with equal chances, a rectangle turned by 0 to 45 degrees about a corner, or an
    upright ellipse; both are filled as Pillow's `ImageDraw` fills them.

    Args:
        key: a PRNG key; the same key gives the same images.
        batch: number of images.
        size: rows and columns of an image, rows at least 3.
        n_shapes: number of shapes, of value 1, in each image.
        n_holes: number of holes, shapes of value 0 drawn over them.
        max_shape: sides of a rectangle are drawn from 1..max-1 (width, length), radii of an
            ellipse from 1..max//2-1 (x, y), so at least 4.
        max_shape_holes: the same for holes.
        noise: probability in [0, 1] of setting a pixel to 1.
        p_invert: probability in [0, 1] of inverting an image.
        border: rows and columns set to 0 on each side at the end. The papers take k//2 + 1 for a
            kernel of side k, or 0.

    Returns:
        A bool array `(batch, H, W, 1)`. With the defaults 0.357 of the pixels are set, 0.453 with
        `border=(0, 0), p_invert=0`.

    Raises:
        ValueError: an argument is out of its range.

    >>> import jax
    >>> images = diskorect(jax.random.key(0), 8)
    >>> images.shape, images.dtype
    ((8, 50, 50, 1), dtype('bool'))
    """
    _checks.at_least("batch", batch, 0)
    _checks.pair("size", size, 3)
    _checks.at_least("n_shapes", n_shapes, 0)
    _checks.at_least("n_holes", n_holes, 0)
    _checks.pair("max_shape", max_shape, 4)
    _checks.pair("max_shape_holes", max_shape_holes, 4)
    _checks.probability("noise", noise)
    _checks.probability("p_invert", p_invert)
    _checks.pair("border", border, 0)
    return _images(
        key,
        noise,
        p_invert,
        batch,
        tuple(size),
        n_shapes,
        tuple(max_shape),
        n_holes,
        tuple(max_shape_holes),
        tuple(border),
    )


@partial(quick_jit, level=2, static_argnums=range(3, 10))
def _images(key, noise, p_invert, batch, size, n_shapes, max_shape, n_holes, max_holes, border):
    key_shapes, key_noise, key_invert = jax.random.split(key, 3)
    count = n_shapes + n_holes
    is_hole = np.arange(count) >= n_shapes
    limits = np.where(is_hole[:, None], max_holes, max_shape)
    tables = tuple(max(a, b) // 2 for a, b in zip(max_shape, max_holes, strict=True))
    chances = jax.random.uniform(key_shapes, (count, 8, batch), jnp.float32)

    def draw(drawing, turn):
        chance, limit, hole = turn
        shape = _shape(chance, limit, size, tables)
        return jnp.where(hole, drawing & ~shape, drawing | shape), None

    # A loop rather than one array over all shapes: less memory, and the chances are drawn once.
    blank = jnp.zeros((batch, size[0], -(-size[1] // 32)), jnp.uint32)
    drawing, _ = lax.scan(draw, blank, (chances, jnp.asarray(limits), jnp.asarray(is_hole)))
    image = _draw.pixels(drawing, size[1])
    image |= happens(key_noise, noise, image.shape)
    image ^= happens(key_invert, p_invert, (batch, 1, 1))
    return (image & framed(size, border))[..., None]


def _shape(chances, limits, size, max_radii) -> jax.Array:
    """One random shape in every image, from `chances` (8, batch), as words."""

    def whole(chance, start, stop):
        return start + (chance * jnp.asarray(stop - start, chance.dtype)).astype(jnp.int32)

    x, y = whole(chances[:2], 0, size[0] - 2)  # both from the rows, as the original does
    width, length = whole(chances[2], 1, limits[0]), whole(chances[3], 1, limits[1])
    rx, ry = whole(chances[4], 1, limits[0] // 2), whole(chances[5], 1, limits[1] // 2)
    rectangle = _draw.rectangle(x, y, width, length, 45 * chances[6], size[0])
    ellipse = _draw.ellipse(x, y, rx, ry, size[0], max_radii)
    is_rectangle = chances[7, :, None] < 0.5
    first, last = (jnp.where(is_rectangle, r, e) for r, e in zip(rectangle, ellipse, strict=True))
    return _draw.words(first, last, size[1])


def happens(key: jax.Array, probability: float, shape: tuple[int, ...]) -> jax.Array:
    """Independent bools; types are fixed so that a key means the same under x64."""
    return jax.random.uniform(key, shape, jnp.float32) < probability


def framed(size: tuple[int, int], border: tuple[int, int]) -> np.ndarray:
    """False on the frame, True inside: bool `(1, H, W)`."""
    inside = np.zeros((1, *size), bool)
    inside[:, border[0] : size[0] - border[0], border[1] : size[1] - border[1]] = True
    return inside
