"""Words of pixels: 32 neighbours of a row in the bits of each uint32, for single large images.

Bit i of word j is pixel 32 j + i of its row: bool `(..., H, W)` <-> uint32 `(..., H, ceil(W /
32))`. This is what `np.packbits(bitorder="little")` writes, with four bytes in a word. The width is
not stored in the words, so every function takes `width=`; bits beyond it are 0 in results and
ignored in inputs.

The operators are those of `morphax.operators`, run by the same code: a shift along a row is a
funnel shift between neighbouring words, and a shift along a column is a slice. Networks run on
words of images (`morphax.pack`), not on these words.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax._compiling import computed_once, unknown_true
from morphax.morphology import bit_arrays, formulas
from morphax.packed._pixel_layout import BITS as BITS
from morphax.packed._pixel_layout import layout as layout


def pack_pixels(images: ArrayLike) -> jax.Array:
    """Pack the rows of binary images, 32 pixels to a word.

    Args:
        images: bool `(..., H, W)`. A numpy array is packed before it goes to the device.

    Returns:
        Words, uint32 `(..., H, ceil(W / 32))`.

    Raises:
        ValueError: if `images` is not bool or has less than two axes.

    Example:
        >>> pack_pixels(np.array([[True, False, True], [False, True, False]])).tolist()
        [[5], [2]]
    """
    images = images if isinstance(images, jax.Array) else bit_arrays.native(np.asarray(images))
    _checks.require(
        images.dtype == bool, "images", "bool (images > 0.5 makes it)", f"dtype {images.dtype}"
    )
    _checks.require(images.ndim >= 2, "images", "at least two axes (..., H, W)", images.shape)
    if isinstance(images, np.ndarray):
        return jnp.asarray(pack_on_host(images))
    return _pack(images)


def pack_on_host(images: np.ndarray) -> np.ndarray:
    """Pack rows as `pack_pixels` does, numpy arrays in numpy arrays.

    Example:
        >>> pack_on_host(np.array([[True, False, True], [False, True, False]])).tolist()
        [[5], [2]]
    """
    data = np.packbits(np.ascontiguousarray(images), axis=-1, bitorder="little")
    if data.shape[-1] % 4:
        data = np.pad(data, [(0, 0)] * (data.ndim - 1) + [(0, -data.shape[-1] % 4)])
    return data.view("<u4").astype(np.uint32, copy=False)


def unpack_on_host(words: np.ndarray, *, width: int) -> np.ndarray:
    """Unpack rows as `unpack_pixels` does, numpy arrays in numpy arrays.

    Example:
        >>> unpack_on_host(np.array([[5], [2]], np.uint32), width=3).astype(int).tolist()
        [[1, 0, 1], [0, 1, 0]]
    """
    data = np.ascontiguousarray(words, "<u4").view(np.uint8)
    return np.unpackbits(data, axis=-1, count=int(width), bitorder="little").view(bool)


def unpack_pixels(words: jax.Array, *, width: int) -> jax.Array:
    """Unpack rows of pixels: the inverse of `pack_pixels`.

    Args:
        words: uint32 `(..., H, ceil(W / 32))`. A numpy array is unpacked before it goes to the
            device.
        width: W, the number of pixels of a row.

    Returns:
        Images, bool `(..., H, W)`.

    Raises:
        ValueError: if `words` has another dtype, less than two axes, or another number of words.

    Example:
        >>> unpack_pixels(jnp.array([[5], [2]], jnp.uint32), width=3).astype(int).tolist()
        [[1, 0, 1], [0, 1, 0]]
    """
    words = _checked(words, width)
    if isinstance(words, np.ndarray):
        return jnp.asarray(unpack_on_host(words, width=width))
    return _unpack(words, width=int(width))


def erosion(
    words: ArrayLike,
    selem: ArrayLike,
    *,
    width: int,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Erode images whose rows are packed, as `morphax.erosion` does.

    Args:
        words: uint32 `(..., H, ceil(W / 32))`, from `pack_pixels`.
        selem: structuring element, as for `morphax.erosion`; it may be wider than a word or the
            image.
        width: W, the number of pixels of a row.
        border: "ignore", "constant" or "replicate" (`morphax.operators`).
        origin: place of the origin, as for `morphax.erosion`.
        iterations: number of repetitions, as for `morphax.erosion`.

    Returns:
        uint32 words of the shape of `words`; they equal `pack_pixels` of the operator on bool.

    Raises:
        ValueError: under the conditions of `morphax.erosion`, or if `words` has another dtype, rank
            or number of words.

    Example:
        >>> words = pack_pixels(np.array([[0, 1, 1, 1, 0]], bool))
        >>> eroded = erosion(words, np.ones((1, 3), bool), width=5)
        >>> unpack_pixels(eroded, width=5).astype(int).tolist()
        [[0, 0, 1, 0, 0]]
    """
    return _operate(formulas.erosion, words, selem, width, border, origin, iterations)


def dilation(
    words: ArrayLike,
    selem: ArrayLike,
    *,
    width: int,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Dilate images whose rows are packed, as `morphax.dilation` does.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> words = pack_pixels(np.array([[0, 0, 1, 0, 0]], bool))
        >>> dilation(words, np.array([[0, 1, 1]]), width=5).tolist()
        [[12]]
    """
    return _operate(formulas.dilation, words, selem, width, border, origin, iterations)


def opening(
    words: ArrayLike,
    selem: ArrayLike,
    *,
    width: int,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Open images whose rows are packed, as `morphax.opening` does.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> words = pack_pixels(np.array([[1, 0, 1, 1, 1]], bool))
        >>> opening(words, np.ones((1, 3), bool), width=5).tolist()
        [[28]]
    """
    return _operate(formulas.opening, words, selem, width, border, origin, iterations)


def closing(
    words: ArrayLike,
    selem: ArrayLike,
    *,
    width: int,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Close images whose rows are packed, as `morphax.closing` does.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> words = pack_pixels(np.array([[0, 0, 1, 0, 1, 0, 0]], bool))
        >>> closing(words, np.ones((1, 3), bool), width=7).tolist()
        [[28]]
    """
    return _operate(formulas.closing, words, selem, width, border, origin, iterations)


def white_top_hat(
    words: ArrayLike,
    selem: ArrayLike,
    *,
    width: int,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Compute `morphax.white_top_hat` of images whose rows are packed.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> words = pack_pixels(np.array([[1, 0, 1, 1, 1]], bool))
        >>> white_top_hat(words, np.ones((1, 3), bool), width=5).tolist()
        [[1]]
    """
    return _operate(formulas.white_top_hat, words, selem, width, border, origin, iterations)


def black_top_hat(
    words: ArrayLike,
    selem: ArrayLike,
    *,
    width: int,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
) -> jax.Array:
    """Compute `morphax.black_top_hat` of images whose rows are packed.

    Arguments, result and errors are those of `erosion`.

    Example:
        >>> words = pack_pixels(np.array([[0, 0, 1, 0, 1, 0, 0]], bool))
        >>> black_top_hat(words, np.ones((1, 3), bool), width=7).tolist()
        [[8]]
    """
    return _operate(formulas.black_top_hat, words, selem, width, border, origin, iterations)


def hit_or_miss(
    words: ArrayLike,
    selem: ArrayLike,
    *,
    width: int,
    border: str = "ignore",
    origin: int | Sequence[int] = 0,
) -> jax.Array:
    """Match a pattern in images whose rows are packed, as `morphax.hit_or_miss` does.

    Args:
        words: uint32 `(..., H, ceil(W / 32))`, from `pack_pixels`.
        selem: hits and misses, as for `morphax.hit_or_miss`.
        width: W, the number of pixels of a row.
        border: "ignore", "constant" or "replicate" (`morphax.hit_or_miss`).
        origin: place of the origin, as for `morphax.erosion`.

    Returns:
        uint32 words of the shape of `words`.

    Raises:
        ValueError: under the conditions of `erosion`.

    Example:
        >>> words = pack_pixels(np.array([[0, 1, 0, 1, 1]], bool))
        >>> hit_or_miss(words, np.array([[-1, 1, -1]]), width=5).tolist()
        [[2]]
    """
    return _operate(formulas.hit_or_miss, words, selem, width, border, origin)


def _operate(
    formula: Any,
    words: Any,
    selem: Any,
    width: int,
    border: str,
    origin: int | Sequence[int],
    iterations: int = 1,
) -> jax.Array:
    """Check words and run a formula of `morphax.morphology.formulas` on them."""
    return formulas.operate(
        formula,
        _checked(words, width),
        selem,
        border=border,
        origin=origin,
        iterations=iterations,
        layout=layout(int(width)),
    )


def _checked(words: Any, width: int) -> Any:
    """Check that words hold rows of `width` pixels; return them as an array."""
    words = words if isinstance(words, jax.Array) else bit_arrays.native(np.asarray(words))
    _checks.require(
        words.dtype == np.uint32, "words", "uint32 words from pack_pixels", f"dtype {words.dtype}"
    )
    _checks.require(words.ndim >= 1, "words", "shape (..., words a row)", words.shape)
    whole = isinstance(width, (int, np.integer)) and width >= min(1, words.shape[-1])
    _checks.require(whole, "width", "the number of pixels of a row", width)
    row = -(-int(width) // BITS)
    _checks.require(
        words.shape[-1] == row, "words", f"{row} words a row for width={width}", words.shape
    )
    return words


@jax.jit
def _pack(images: jax.Array) -> jax.Array:
    fill = [(0, 0)] * (images.ndim - 1) + [(0, -images.shape[-1] % BITS)]
    halves = jnp.pad(images, fill).astype(jnp.uint8)
    row = halves.shape[-1]
    # Neighbours are joined in pairs, in bytes as long as they fit, because bytes are quick to load.
    for bits in (1, 2, 4, 8, 16):
        row //= 2
        pairs = halves.reshape(*images.shape[:-1], row, 2)
        dtype = jnp.uint8 if bits < 8 else jnp.uint16 if bits < 16 else jnp.uint32
        low, high = (pairs[..., i].astype(dtype) for i in range(2))
        halves = low | (high << np.array(bits, dtype))
    return halves


@partial(jax.jit, static_argnames="width")
def _unpack(words: jax.Array, *, width: int) -> jax.Array:
    # Each word has 32 readers, its pixels: what made the words must not run again for each of them.
    words = computed_once(unknown_true(words), lambda: words)
    places = np.arange(BITS, dtype=np.uint32).reshape((1,) * words.ndim + (BITS,))
    bits = (words[..., None] >> places) & np.uint32(1)
    return (bits != 0).reshape(*words.shape[:-1], words.shape[-1] * BITS)[..., :width]
