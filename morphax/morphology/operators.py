"""Morphological operators on binary images, volumes and rows.

Images are bool arrays `(..., H, W)`: every leading axis is a batch, rows run downwards. A
structuring element `selem` of one to three axes moves along as many last axes of the image: with
two it works on images `(..., H, W)`, with three on volumes `(..., D, H, W)`, with one on rows. It
may be larger than the image. It is oriented as in textbooks and in `scipy.ndimage`
(`morphax.elements` makes the usual ones):

- dilation: `out[p] = OR_{s in S} x[p - s]`,
- erosion: `out[p] = AND_{s in S} x[p + s]`.

`origin` says which pixel of the element is s = 0, as in `scipy.ndimage`: pixel `side // 2 + origin`
of each axis, the centre by default. The erosion and the dilation of one element with one origin are
adjoint (with the border "ignore"). `iterations` repeats erosions and dilations: an opening is that
many erosions, then that many dilations; below 1, each is repeated until nothing changes (which may
never be, where the element has more than one pixel and its origin is none of them).

Images may also be uint32 words `(..., H, W)` with 32 images in their bits (`morphax.pack`): the
same code, the same results in every bit. Words of neighbouring pixels have operators of their own,
with the same names, in `morphax.packed.pixels`.

`border` gives the value of the pixels beyond the frame:

- `"ignore"` (default): 1 for an erosion, 0 for a dilation, so that the frame never decides. The two
  are then adjoint on the image's own domain: openings only remove, closings only add;
- `"constant"`: 0 for both, as the default of `scipy.ndimage`;
- `"replicate"`: the nearest pixel of the image.

A numpy `selem` is a constant: only its pixels are visited, and each new one compiles anew. A jax
array is data: one program serves every `selem` of that shape, under `jit` and `vmap` too. All
operators are jitted.

On a CPU, bool images of 2^14 pixels or more (a batch counts as a whole) are packed inside of the
program, eight bands of rows or eight images in a byte, and unpacked at its end: the result is the
same, several times as fast. Smaller images, other devices, axes too short to be cut into eight
bands that are longer than the element reaches, and images that each have an element of their own
(`vmap` over both) run on bools. Under `jit` with a batch that is cut over several devices, pack
per device (`jax.shard_map`), or else images travel between devices.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from morphax.morphology import bit_arrays, formulas
from morphax.morphology.shift import BORDERS as BORDERS


def erosion(
    image: ArrayLike,
    selem: ArrayLike,
    *,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Erode an image: 1 where the structuring element, moved there, fits in the image.

    Source: Serra, Image Analysis and Mathematical Morphology (1982).

    Args:
        image: bool, or words of packed images, `(..., H, W)`.
        selem: bool or 0/1 integers, of one to three axes, not empty; numpy or jax array.
        border: "ignore", "constant" or "replicate" (module docstring).
        origin: place of the origin relative to the centre of `selem`, inside of it; one number for
            all axes, or one for each.
        iterations: number of repetitions; below 1, until nothing changes.

    Returns:
        An array of the shape and dtype of `image`. It equals
        `scipy.ndimage.binary_erosion(image, selem, border_value=1)` for "ignore", and the same with
        `border_value=0` for "constant"; with the same `origin` and `iterations`.

    Raises:
        ValueError: if `image` is not bool or words; if `selem` has more axes than the image or an
            empty one, or is not 0/1-valued and non-empty (values are read only outside `jit`); if
            `origin` is outside of `selem`, `iterations` no whole number, or `border` unknown.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 1, 1, 1, 0]], bool)
        >>> erosion(image, np.ones((1, 3), bool)).astype(int).tolist()
        [[0, 0, 1, 0, 0]]
    """
    return _operate(formulas.erosion, image, selem, border, origin, iterations)


def dilation(
    image: ArrayLike,
    selem: ArrayLike,
    *,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Dilate an image: the union of the structuring element moved to every pixel of the image.

    For "ignore" and "constant" it equals `scipy.ndimage.binary_dilation(image, selem)`.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 0, 1, 0, 0]], bool)
        >>> dilation(image, np.array([[0, 1, 1]])).astype(int).tolist()
        [[0, 0, 1, 1, 0]]
    """
    return _operate(formulas.dilation, image, selem, border, origin, iterations)


def opening(
    image: ArrayLike,
    selem: ArrayLike,
    *,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Open an image: erode, then dilate, each with its own frame.

    With "ignore" the opening is anti-extensive (it only removes) and idempotent; with "constant" it
    equals `scipy.ndimage.binary_opening(image, selem)`.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> import numpy as np
        >>> image = np.array([[1, 1, 0, 1, 1, 1, 0, 1]], bool)
        >>> opening(image, np.ones((1, 3), bool)).astype(int).tolist()
        [[1, 1, 0, 1, 1, 1, 0, 0]]
    """
    return _operate(formulas.opening, image, selem, border, origin, iterations)


def closing(
    image: ArrayLike,
    selem: ArrayLike,
    *,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Close an image: dilate, then erode, each with its own frame.

    With "ignore" the closing is extensive (it only adds) and idempotent; with "constant" it equals
    `scipy.ndimage.binary_closing(image, selem)`.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 0, 1, 0, 1, 0, 0, 0, 0]], bool)
        >>> closing(image, np.ones((1, 3), bool)).astype(int).tolist()
        [[0, 0, 1, 1, 1, 0, 0, 0, 0]]
    """
    return _operate(formulas.closing, image, selem, border, origin, iterations)


def white_top_hat(
    image: ArrayLike,
    selem: ArrayLike,
    *,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Compute the white top-hat, the pixels that the opening removes: `image & ~opening(image)`.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 1, 0, 1, 1, 1]], bool)
        >>> white_top_hat(image, np.ones((1, 3), bool)).astype(int).tolist()
        [[0, 1, 0, 0, 0, 0]]
    """
    return _operate(formulas.white_top_hat, image, selem, border, origin, iterations)


def black_top_hat(
    image: ArrayLike,
    selem: ArrayLike,
    *,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Compute the black top-hat, the pixels that the closing adds: `closing(image) & ~image`.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 0, 1, 0, 1, 0, 0]], bool)
        >>> black_top_hat(image, np.ones((1, 3), bool)).astype(int).tolist()
        [[0, 0, 0, 1, 0, 0, 0]]
    """
    return _operate(formulas.black_top_hat, image, selem, border, origin, iterations)


def hit_or_miss(
    image: ArrayLike,
    selem: ArrayLike,
    *,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
) -> jax.Array:
    """Match a pattern: 1 where every hit pixel lies on the image and every miss pixel beside it.

    Args:
        image: bool, or words of packed images, `(..., H, W)`.
        selem: of one to three axes, not empty. Either bool: True is a hit, False a miss (the
            default of `scipy.ndimage.binary_hit_or_miss`). Or integers: 1 is a hit, -1 a miss, 0
            "don't care" (OpenCV's `MORPH_HITMISS`). Beware that 0 and False differ.
        border: "ignore" (pixels beyond the frame satisfy hits and misses alike), "constant" (they
            are 0, and the result equals scipy's) or "replicate".
        origin: place of the origin, as for `erosion`.

    Returns:
        An array of the shape and dtype of `image`.

    Raises:
        ValueError: under the conditions of `erosion`.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 1, 0, 1, 1, 0]], bool)
        >>> hit_or_miss(image, np.array([[-1, 1, -1]])).astype(int).tolist()
        [[0, 1, 0, 0, 0, 0]]
    """
    return _operate(formulas.hit_or_miss, image, selem, border, origin)


def _operate(
    formula: Callable,
    image: Any,
    selem: Any,
    border: str,
    origin: int | Sequence[int],
    iterations: int = 1,
) -> jax.Array:
    """Check an image and run one formula on it."""
    image = image if isinstance(image, jax.Array) else bit_arrays.native(np.asarray(image))
    if image.dtype != bool:
        bit_arrays.check_bits("image", image)
    return formulas.operate(
        formula, image, selem, border=border, origin=origin, iterations=iterations
    )
