"""Morphological operators on binary images.

Images are bool arrays `(..., H, W)`: every leading axis is a batch, rows run downwards. A
structuring element `selem` is a 2-D array with odd sides and its origin at the centre, oriented as
in textbooks and in `scipy.ndimage` (`morphax.elements` makes the usual ones):

- dilation: `out[p] = OR_{s in S} x[p - s]`,
- erosion: `out[p] = AND_{s in S} x[p + s]`.

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
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.morphology.shift import BORDERS, PLANES, Layout


def erosion(image: ArrayLike, selem: ArrayLike, *, border: str = "ignore") -> jax.Array:
    """Erode an image: 1 where the structuring element, moved there, fits in the image.

    Source: Serra, Image Analysis and Mathematical Morphology (1982).

    Args:
        image: bool, or words of packed images, `(..., H, W)`.
        selem: bool or 0/1 integers `(kh, kw)`, both sides odd, not empty; numpy or jax array.
        border: "ignore", "constant" or "replicate" (module docstring).

    Returns:
        An array of the shape and dtype of `image`. It equals
        `scipy.ndimage.binary_erosion(image, selem, border_value=1)` for "ignore", and the same with
        `border_value=0` for "constant".

    Raises:
        ValueError: if `image` is not bool or words, or has less than two axes; if `selem` is not
            2-D, odd-sided, 0/1-valued and non-empty (values are read only outside `jit`); if
            `border` is unknown.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 1, 1, 1, 0]], bool)
        >>> erosion(image, np.ones((1, 3), bool)).astype(int).tolist()
        [[0, 0, 1, 0, 0]]
    """
    return _operate(_erosion, image, selem, border)


def dilation(image: ArrayLike, selem: ArrayLike, *, border: str = "ignore") -> jax.Array:
    """Dilate an image: the union of the structuring element moved to every pixel of the image.

    For "ignore" and "constant" it equals `scipy.ndimage.binary_dilation(image, selem)`.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 0, 1, 0, 0]], bool)
        >>> dilation(image, np.array([[0, 1, 1]])).astype(int).tolist()
        [[0, 0, 1, 1, 0]]
    """
    return _operate(_dilation, image, selem, border)


def opening(image: ArrayLike, selem: ArrayLike, *, border: str = "ignore") -> jax.Array:
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
    return _operate(_opening, image, selem, border)


def closing(image: ArrayLike, selem: ArrayLike, *, border: str = "ignore") -> jax.Array:
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
    return _operate(_closing, image, selem, border)


def white_top_hat(image: ArrayLike, selem: ArrayLike, *, border: str = "ignore") -> jax.Array:
    """Compute the white top-hat, the pixels that the opening removes: `image & ~opening(image)`.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 1, 0, 1, 1, 1]], bool)
        >>> white_top_hat(image, np.ones((1, 3), bool)).astype(int).tolist()
        [[0, 1, 0, 0, 0, 0]]
    """
    return _operate(_white_top_hat, image, selem, border)


def black_top_hat(image: ArrayLike, selem: ArrayLike, *, border: str = "ignore") -> jax.Array:
    """Compute the black top-hat, the pixels that the closing adds: `closing(image) & ~image`.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> import numpy as np
        >>> image = np.array([[0, 0, 1, 0, 1, 0, 0]], bool)
        >>> black_top_hat(image, np.ones((1, 3), bool)).astype(int).tolist()
        [[0, 0, 0, 1, 0, 0, 0]]
    """
    return _operate(_black_top_hat, image, selem, border)


def hit_or_miss(image: ArrayLike, selem: ArrayLike, *, border: str = "ignore") -> jax.Array:
    """Match a pattern: 1 where every hit pixel lies on the image and every miss pixel beside it.

    Args:
        image: bool, or words of packed images, `(..., H, W)`.
        selem: `(kh, kw)`, both sides odd, not empty. Either bool: True is a hit, False a miss (the
            default of `scipy.ndimage.binary_hit_or_miss`). Or integers: 1 is a hit, -1 a miss, 0
            "don't care" (OpenCV's `MORPH_HITMISS`). Beware that 0 and False differ.
        border: "ignore" (pixels beyond the frame satisfy hits and misses alike), "constant" (they
            are 0, and the result equals scipy's) or "replicate".

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
    return _operate(_hit_or_miss, image, selem, border)


# Each operator takes (image, window, border, layout) and runs on every layout of the pixels.


def _erosion(image, window, border, layout):
    # The erosion is the complement of an OR over the complement; a dilation looks at the reflected
    # window.
    padded = layout.pad(image, window.shape, border, fill=border == "ignore")
    return ~layout.shift_or(~padded, window)


def _dilation(image, window, border, layout):
    padded = layout.pad(image, window.shape, border, fill=False)
    return layout.shift_or(padded, window[::-1, ::-1])


def _opening(image, window, border, layout):
    return _dilation(_erosion(image, window, border, layout), window, border, layout)


def _closing(image, window, border, layout):
    return _erosion(_dilation(image, window, border, layout), window, border, layout)


def _white_top_hat(image, window, border, layout):
    return image & ~_opening(image, window, border, layout)


def _black_top_hat(image, window, border, layout):
    return _closing(image, window, border, layout) & ~image


def _hit_or_miss(image, window, border, layout):
    hit = _erosion(image, window > 0, border, layout)
    # Beyond a constant frame the image is 0, so its complement is 1, as an erosion has it with
    # "ignore".
    miss = _erosion(~image, window < 0, "ignore" if border == "constant" else border, layout)
    return hit & miss


class _Constant:
    """Hold a numpy window as a static argument of `jit`: hashed and compared by its content."""

    def __init__(self, window: np.ndarray):
        self.window = window
        self.content = (window.shape, window.dtype.str, window.tobytes())

    def __hash__(self) -> int:
        return hash(self.content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Constant) and self.content == other.content


@partial(jax.jit, static_argnums=(0, 2, 3, 4))
def _with_constant_window(operator, image, constant, border, layout):
    return layout.trim(operator(image, constant.window, border, layout))


@partial(jax.jit, static_argnums=(0, 3, 4))
def _with_window_as_data(operator, image, window, border, layout):
    return layout.trim(operator(image, window, border, layout))


def _operate(operator: Callable, image: Any, selem: Any, border: str) -> jax.Array:
    """Check an image and run one operator on it."""
    image = image if isinstance(image, jax.Array) else bit_arrays.native(np.asarray(image))
    bit_arrays.check_bits("image", image)
    _checks.require(image.ndim >= 2, "image", "at least two axes (..., H, W)", image.shape)
    return operate(PLANES, operator, image, selem, border)


def operate(layout: Layout, operator: Callable, image: Any, selem: Any, border: str) -> jax.Array:
    """Run one operator of this module on an image in any layout.

    The window is a constant or data, depending on the type of `selem`.

    Args:
        layout: arrangement of the pixels in `image`; hashable.
        operator: one of the functions of this module that take `(image, window, border, layout)`.
        image: image that the caller has checked.
        selem: structuring element, as for the operators of this module.
        border: border, as for the operators of this module.

    Returns:
        An array of the shape and dtype of `image`.

    Raises:
        ValueError: if `selem` or `border` is not as described.
    """
    _checks.one_of("border", border, BORDERS)
    window = _window(selem, signed=operator is _hit_or_miss)
    if image.size == 0:  # no pixel, so none beyond the frame either
        return jnp.asarray(image)
    if isinstance(window, np.ndarray):
        return _with_constant_window(operator, image, _Constant(window), border, layout)
    return _with_window_as_data(operator, image, window, border, layout)


def _window(selem: Any, signed: bool) -> np.ndarray | jax.Array:
    """Check a window; return it as bool, or as int8 with 1 = hit, -1 = miss for the hit-or-miss."""
    data = isinstance(selem, jax.Array)
    xp = jnp if data else np
    selem = selem if data else bit_arrays.native(np.asarray(selem))
    _checks.require(selem.ndim == 2, "selem", "two axes (kh, kw)", f"shape {selem.shape}")
    odd = selem.shape[0] % 2 == 1 and selem.shape[1] % 2 == 1
    _checks.require(odd, "selem", "odd sides (the origin is the centre)", f"shape {selem.shape}")
    is_bool = selem.dtype == bool
    integer = xp.issubdtype(selem.dtype, xp.integer)
    _checks.require(is_bool or integer, "selem", "bool or integers", f"dtype {selem.dtype}")
    if not isinstance(selem, jax.core.Tracer):  # values are known
        values = np.asarray(selem)
        allowed = (-1, 0, 1) if signed else (0, 1)
        _checks.require(
            bool(np.isin(values, allowed).all()),
            "selem",
            f"bool or integers among {allowed}",
            np.setdiff1d(values, allowed)[:4].tolist(),
        )
        _checks.require(bool(values.any()), "selem", "at least one pixel", "an empty selem")
    if not signed:
        return selem if is_bool else selem != 0
    return (2 * selem.astype(np.int8) - 1 if is_bool else selem).astype(np.int8)
