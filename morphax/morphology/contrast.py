"""Channels to take level sets of, where a gray value alone says little: colour differences, contrast.

- Images are `(N, H, W, C)`, integers from -1023 to 1023, as uint8 images and all results of `opponents`
  are; results are int32.
- Integer sums, products and floor divisions only, so that NumPy, JAX and C agree to the last bit.
- This is arithmetic on gray values, *before* a binary network: `morphax.levelsets.decompose` makes
  bits of it, and what the network costs in bit operations does not include it.

A level set of a contrast is an adaptive threshold of the image: x >= mean + t * spread, both of a window.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from morphax import _checks

UNIT = 64
"""The value of `local_contrast` where a pixel exceeds its mean by the spread."""


def opponents(images: ArrayLike) -> jax.Array:
    """Brightness and two colour differences: r + g + b, r - b, 2 g - r - b.

    Args:
        images: integers `(N, H, W, 3)`.

    Returns:
        int32 `(N, H, W, 3)`. `ValueError` for other images.

    Example:
        >>> opponents([[[[10, 20, 40]]]]).tolist()
        [[[[70, -30, -10]]]]
    """
    r, g, b = jnp.moveaxis(_whole(images, colours=True), -1, 0)
    return jnp.stack([r + g + b, r - b, 2 * g - r - b], -1)


def local_contrast(images: ArrayLike, *, side: int, floor: int = 8) -> jax.Array:
    """How far a pixel is from the mean of the window around it, in units of the spread there.

    With n the pixels of the window, D = n x - (sum of x) and A = (sum of |D|) / n over the window, it is
    `UNIT` D / (A + n floor), divisions rounded down. Beyond the frame is the nearest pixel.

    Args:
        images: integers `(N, H, W, C)`.
        side: of the window, odd, from 3 to 21.
        floor: added to the spread, in gray levels, so that noise on a flat ground stays small.

    Returns:
        int32 `(N, H, W, C)`, 0 where all is flat. `ValueError` for images and options not as above.

    Example:
        >>> image = jnp.array([[0, 0, 9, 0, 0]]).reshape(1, 1, 5, 1)
        >>> local_contrast(image, side=3, floor=1)[0, 0, :, 0].tolist()
        [0, -48, 76, -48, 0]
    """
    odd = side % 2 == 1 and 3 <= side <= 21
    _checks.require(odd, "side", "an odd number from 3 to 21", side)
    _checks.require(1 <= floor <= 255, "floor", "1 to 255", floor)
    x, n = _whole(images, colours=False), side * side
    away = n * x - _box(x, side)  # at most 441 * 2046, 64 times that fits
    spread = _box(jnp.abs(away), side) // n
    return UNIT * away // (spread + n * floor)


def _whole(images: ArrayLike, *, colours: bool) -> jax.Array:
    x = jnp.asarray(images)
    good = (
        jnp.issubdtype(x.dtype, jnp.integer) and x.ndim == 4 and (x.shape[-1] == 3 or not colours)
    )
    wanted = "integers (N, H, W, 3)" if colours else "integers (N, H, W, C)"
    _checks.require(bool(good), "images", wanted, (x.dtype, x.shape))
    return x.astype(jnp.int32)


def _box(x: jax.Array, side: int) -> jax.Array:
    """Sums over windows, one axis after the other."""
    half = side // 2
    for axis in (1, 2):
        pad = [(half, half) if a == axis else (0, 0) for a in range(4)]
        length, wide = x.shape[axis], jnp.pad(x, pad, mode="edge")
        x = sum((jax.lax.slice_in_dim(wide, i, i + length, axis=axis) for i in range(side)),
                jnp.zeros_like(x))  # fmt: skip
    return x
