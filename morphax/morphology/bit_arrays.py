"""Array types that hold binary images: bool arrays, and words with one image in each bit.

Words are uint32, or uint64 under x64, and nothing else: a uint8 image is never read as words. Words
are combined by `&`, `|`, `^` and `~`. A bool that decides for all images at once (a pixel of a
window, an operation) is turned into a mask, all ones or all zeros, before it is combined with
words.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from morphax import _checks

_T = TypeVar("_T")
_STEP = 16  # inputs that `or_product` joins in one turn of its loop


def native(array: _T) -> _T:
    """Return a numpy array as JAX reads it: in the byte order of the machine, its bools 0 or 1.

    A bool whose byte is not 0 or 1, as `np.asarray` of a 1-bit Pillow image has, is true for numpy
    but breaks sums, packing and products; JAX takes most arrays of another byte order for no array.

    Args:
        array: anything; what is no numpy array is returned as it is.

    Returns:
        The same values; the same array where nothing had to be changed.

    Example:
        >>> native(np.frombuffer(bytes([255, 0]), bool)).view(np.uint8).tolist()
        [1, 0]
    """
    if not isinstance(array, np.ndarray):
        return array
    result: Any = array
    if array.dtype == bool:
        values = array.view(np.uint8)
        result = values != 0 if values.max(initial=0) > 1 else array
    elif not array.dtype.isnative:
        result = array.astype(array.dtype.newbyteorder("="))
    return result


def is_words(x: jax.Array | np.ndarray) -> bool:
    """Return whether an array has the dtype of words."""
    # Without x64, jax would cut uint64 to 32 bits silently.
    wide = jax.dtypes.canonicalize_dtype(np.uint64) == np.uint64
    return x.dtype == np.uint32 or (x.dtype == np.uint64 and wide)


def check_bits(argument: str, x: jax.Array | np.ndarray) -> None:
    """Raise `ValueError` unless `x` is bool or words."""
    expected = f"bool ({argument} > 0.5 makes it) or uint32 words (morphax.pack makes them)"
    if x.dtype == np.uint64:
        expected += "; uint64 words need jax_enable_x64"
    _checks.require(x.dtype == bool or is_words(x), argument, expected, f"dtype {x.dtype}")


def check_carrier(argument: str, x: jax.Array | np.ndarray) -> None:
    """Raise `ValueError` unless `x` is floats, bool or words, the types of a network's signals."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        check_bits(argument, x)


def mask(bits: jax.Array, like: jax.Array) -> jax.Array:
    """Turn bools into masks for `&` and `^` with another array.

    Args:
        bits: bool, any shape.
        like: the array that the masks will be combined with, bool or words.

    Returns:
        The bools themselves, or words that are all ones where `bits` is true and all zeros
        elsewhere.
    """
    if like.dtype == bool:
        return bits
    zero = jnp.zeros((), like.dtype)
    return jnp.where(bits, ~zero, zero)


def any_of(x: jax.Array, axis: int) -> jax.Array:
    """Return the OR along an axis of a bool array or of words."""
    return lax.reduce(x, np.zeros((), x.dtype), lax.bitwise_or, (axis % x.ndim,))


def or_product(x: jax.Array, selem: jax.Array, erosion: jax.Array) -> jax.Array:
    """Compute `out[..., o] = OR_i selem[i, o] & (x[..., i] ^ erosion[o])` on words.

    Args:
        x: words `(..., n)`.
        selem: bool `(n, out)`.
        erosion: bool `(out,)`.

    Returns:
        Words `(..., out)`.
    """
    n, outputs = selem.shape
    if x.size == 0:  # no image, or a union of nothing
        return jnp.zeros((*x.shape[:-1], outputs), x.dtype)
    columns = x.reshape(-1, n).T
    step = min(_STEP, n)
    fill = ((0, -n % step), (0, 0))
    # Each turn of the loop reads `step` inputs: larger blocks do not fit the registers, and single
    # inputs would make the loop wait for the memory.
    chunks = jnp.pad(columns, fill).reshape(-1, step, columns.shape[1], 1)
    masks = jnp.pad(selem, fill).reshape(-1, step, 1, outputs)
    flip = mask(erosion, x).reshape(1, 1, -1)

    def join(total: jax.Array, chunk: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        values, chosen = chunk
        return total | any_of((values ^ flip) & mask(chosen, x), 0), None

    nothing = jnp.zeros((columns.shape[1], outputs), x.dtype)
    total = lax.scan(join, nothing, (chunks, masks))[0] if n else nothing
    return total.reshape(*x.shape[:-1], outputs)
