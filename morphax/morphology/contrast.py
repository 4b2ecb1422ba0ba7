"""Colour differences, local contrast and edges: channels for level sets, where gray is not enough.

- Images are `(N, H, W, C)`, integers from -1023 to 1023 (uint8 images and all results of
  `opponents` are in this range); results are int32.
- Only integer sums, products and floor divisions are used, so that NumPy, JAX and C agree to the
  last bit.
- This is arithmetic on gray values, *before* a binary network: `morphax.levelsets.decompose` turns
  the results into bits. The bit operations that are counted for a network do not include it.

A level set of a contrast is an adaptive threshold of the image: x >= mean + t * spread, where mean
and spread are those of a window. A level set of a direction says that the image gets brighter that
way. `channels` makes several of these by name.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from morphax import _checks
from morphax.morphology import bit_arrays

UNIT = 64
"""The value of `local_contrast` where a pixel exceeds its mean by the spread."""


def opponents(images: ArrayLike) -> jax.Array:
    """Compute brightness and two colour differences: r + g + b, r - b, 2 g - r - b.

    Args:
        images: integers `(N, H, W, 3)`, red, green and blue.

    Returns:
        int32 `(N, H, W, 3)`.

    Raises:
        ValueError: if the images have another shape or dtype.

    Example:
        >>> opponents([[[[10, 20, 40]]]]).tolist()
        [[[[70, -30, -10]]]]
    """
    r, g, b = jnp.moveaxis(_whole(images, colours=True), -1, 0)
    return jnp.stack([r + g + b, r - b, 2 * g - r - b], -1)


def local_contrast(images: ArrayLike, *, side: int, floor: int = 8) -> jax.Array:
    """Compute how far a pixel is from the mean of its window, in units of the spread there.

    With n the number of pixels of the window, D = n x - (sum of x) and A = (sum of |D|) / n over
    the window, the contrast is `UNIT` D / (A + n floor), where divisions round down. Pixels beyond
    the frame are the nearest pixel of the image.

    Args:
        images: integers `(N, H, W, C)`.
        side: side of the window, odd, from 3 to 21.
        floor: number of gray levels from 1 to 255, added to the spread so that noise on a flat
            ground stays small.

    Returns:
        int32 `(N, H, W, C)`, 0 where the window is flat.

    Raises:
        ValueError: if the images have another shape or dtype, or an option is out of range.

    Example:
        >>> image = jnp.array([[0, 0, 9, 0, 0]]).reshape(1, 1, 5, 1)
        >>> local_contrast(image, side=3, floor=1)[0, 0, :, 0].tolist()
        [0, -48, 76, -48, 0]
    """
    odd = side % 2 == 1 and 3 <= side <= 21
    _checks.require(odd, "side", "an odd number from 3 to 21", side)
    _checks.require(1 <= floor <= 255, "floor", "1 to 255", floor)
    x, n = _whole(images, colours=False), side * side
    # |away| is at most 441 * 2046, and 64 times that fits in an int32.
    away = n * x - _box(x, side)
    spread = _box(jnp.abs(away), side) // n
    return UNIT * away // (spread + n * floor)


def directions(images: ArrayLike) -> jax.Array:
    """Compute by how much an image gets brighter in each of eight directions.

    Channel k is the derivative in the direction of k * 45 degrees: 0 is to the right, 2 is up, 4 is
    to the left. Its mask is Sobel's, turned: twice the pixel that way and once its two neighbours
    on the ring of eight, less the three opposite ones. So channel k + 4 is minus channel k, and in
    the mirrored image channel k is the mirrored channel (4 - k) mod 8. Channels of the image are
    added first. Pixels beyond the frame are the nearest pixel of the image.

    Source: Robinson, Edge detection by compass gradient masks, Computer Graphics and Image
    Processing 6 (1977).

    Args:
        images: integers `(N, H, W, C)`.

    Returns:
        int32 `(N, H, W, 8)`, from -4 to 4 times the largest difference of two pixels.

    Raises:
        ValueError: if the images have another shape or dtype.

    Example:
        >>> ramp = jnp.arange(0, 50, 10).reshape(1, 1, 5, 1)
        >>> directions(ramp)[0, 0, 2].tolist()
        [80, 60, 0, -60, -80, -60, 0, 60]
    """
    x = _whole(images, colours=False).sum(-1)
    height, width = x.shape[1:]
    wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
    # The eight neighbours, counter-clockwise; rows count downwards.
    ring = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    near = [wide[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width] for i, j in ring]
    smooth = [near[k - 1] + 2 * near[k] + near[(k + 1) % 8] for k in range(8)]
    return jnp.stack([smooth[k] - smooth[(k + 4) % 8] for k in range(8)], -1)


def channels(images: ArrayLike, kinds: Sequence[str]) -> jax.Array:
    """Compute channels by name, one kind after the other.

    Kinds are "gray" (the values as they are, of all colours), "opponents", "directions", and
    "gray:SIDE" or "opponents:SIDE", the `local_contrast` of these in windows of that side.

    Args:
        images: integers `(N, H, W, C)`.
        kinds: one kind or more.

    Returns:
        int32 `(N, H, W, channels)`.

    Raises:
        ValueError: if a kind is unknown, or the images do not suit it.

    Example:
        >>> channels(jnp.zeros((1, 6, 6, 3), int), ["opponents", "gray:5", "directions"]).shape
        (1, 6, 6, 14)
    """
    _checks.require(len(kinds) > 0, "kinds", "one kind or more", kinds)
    planes = []
    for kind in kinds:
        base, _, side = kind.partition(":")
        _checks.one_of("kinds", base, _BASES)
        good = not side or (side.isdecimal() and base != "directions")
        _checks.require(good, "kinds", '"gray:SIDE" or "opponents:SIDE" with a whole side', kind)
        plane = _BASES[base](images)
        planes.append(local_contrast(plane, side=int(side)) if side else plane)
    return jnp.concatenate(planes, -1)


def _whole(images: ArrayLike, *, colours: bool) -> jax.Array:
    """Check that images are integers, with three channels for `colours`; return them as int32."""
    x = jnp.asarray(bit_arrays.native(images))
    good = (
        jnp.issubdtype(x.dtype, jnp.integer) and x.ndim == 4 and (x.shape[-1] == 3 or not colours)
    )
    wanted = "integers (N, H, W, 3)" if colours else "integers (N, H, W, C)"
    _checks.require(bool(good), "images", wanted, (x.dtype, x.shape))
    return x.astype(jnp.int32)


def _box(x: jax.Array, side: int) -> jax.Array:
    """Sum over windows, along one axis and then along the other."""
    half = side // 2
    for axis in (1, 2):
        pad = [(half, half) if a == axis else (0, 0) for a in range(4)]
        length, wide = x.shape[axis], jnp.pad(x, pad, mode="edge")
        shifted = (jax.lax.slice_in_dim(wide, i, i + length, axis=axis) for i in range(side))
        x = sum(shifted, jnp.zeros_like(x))
    return x


_BASES: dict[str, Callable[[ArrayLike], jax.Array]] = {
    "gray": lambda images: _whole(images, colours=False),
    "opponents": opponents,
    "directions": directions,
}
