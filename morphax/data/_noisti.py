"""Noisti: random sticks, clean and drowned in noise; the task is to find the clean drawing.

From Aouad & Talbot (arXiv 2401.03830), written anew in pure `jnp`: a pair of images is a function
of its key, under `jit` and `vmap`.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from morphax import _checks
from morphax.data import _draw
from morphax.data._diskorect import framed, happens


def noisti(
    key: jax.Array,
    batch: int,
    *,
    size: tuple[int, int] = (70, 70),
    angles: Sequence[float] = (0.0, 45.0, 90.0),
    n_shapes: int = 30,
    lengths: tuple[int, int] = (12, 15),
    widths: tuple[int, int] = (0, 0),
    noise: float = 0.1,
    p_invert: float = 0.0,
    border: tuple[int, int] = (0, 0),
) -> tuple[jax.Array, jax.Array]:
    """Draw pairs (noisy, clean) of images of sticks.

    Args:
        key: a PRNG key; the same key gives the same images.
        batch: number of pairs.
        size: rows and columns of an image, rows at least 3.
        angles: degrees a stick may have: 0 points down, 90 right, 45 down and right.
        n_shapes: number of sticks in each image.
        lengths: least and largest length, both included.
        widths: least and largest width, both included; a stick of length L and width W
            covers (L + 1) x (W + 1) pixels at 0 and 90 degrees.
        noise: probability in [0, 1] of setting a pixel of the noisy image to 1.
        p_invert: probability in [0, 1] of inverting both images of a pair.
        border: rows and columns of both images set to 0 on each side at the end.

    Returns:
        Two bool arrays `(batch, H, W, 1)`. With the defaults 0.071 of the clean pixels are set.

    Raises:
        ValueError: an argument is out of its range.

    >>> import jax
    >>> noisy, clean = noisti(jax.random.key(0), 4)
    >>> noisy.shape, bool((clean & ~noisy).any())  # noise only adds
    ((4, 70, 70, 1), False)
    """
    _checks.at_least("batch", batch, 0)
    _checks.pair("size", size, 3)
    _checks.require(len(angles) > 0, "angles", "at least one angle", angles)
    _checks.at_least("n_shapes", n_shapes, 0)
    for argument, value in (("lengths", lengths), ("widths", widths)):
        _checks.pair(argument, value, 0)
        _checks.require(value[0] <= value[1], argument, "(least, largest)", value)
    _checks.probability("noise", noise)
    _checks.probability("p_invert", p_invert)
    _checks.pair("border", border, 0)
    return _pairs(
        key,
        jnp.asarray(angles, jnp.float32),
        noise,
        p_invert,
        batch,
        tuple(size),
        n_shapes,
        tuple(lengths),
        tuple(widths),
        tuple(border),
    )


@partial(jax.jit, static_argnums=range(4, 10))
def _pairs(key, angles, noise, p_invert, batch, size, n_shapes, lengths, widths, border):
    key_shapes, key_noise, key_invert = jax.random.split(key, 3)
    chances = jax.random.uniform(key_shapes, (n_shapes, 5, batch), jnp.float32)

    def whole(chance, start, stop):
        return start + (chance * jnp.asarray(stop - start, chance.dtype)).astype(jnp.int32)

    def draw(drawing, chance):
        x, y = whole(chance[:2], 0, size[0] - 2)  # both from the rows, as in Diskorect
        length = whole(chance[2], lengths[0], lengths[1] + 1)
        width = whole(chance[3], widths[0], widths[1] + 1)
        angle = angles[whole(chance[4], 0, len(angles))]
        stick = _draw.rectangle(x, y, width, length, angle, size[0])
        return drawing | _draw.words(*stick, size[1]), None

    blank = jnp.zeros((batch, size[0], -(-size[1] // 32)), jnp.uint32)
    drawing, _ = lax.scan(draw, blank, chances)
    clean = _draw.pixels(drawing, size[1])
    noisy = clean | happens(key_noise, noise, clean.shape)
    inverted = happens(key_invert, p_invert, (batch, 1, 1))
    inside = framed(size, border)
    return ((noisy ^ inverted) & inside)[..., None], ((clean ^ inverted) & inside)[..., None]
