"""Words of images: 32 images of a batch in the bits of each uint32.

Bit i of word j is image 32 j + i, and all axes but the batch keep their shape and place: bool `(N,
...)` <-> uint32 `(ceil(N / 32), ...)`. The unused bits of the last word are 0, until a complement
makes them 1. The number of images is not stored in the words, so `unpack` needs it. uint64 words
hold 64 images and exist under x64 only.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from morphax import _checks
from morphax._compiling import computed_once, unknown_true
from morphax.morphology import bit_arrays


def pack(images: ArrayLike, *, dtype: DTypeLike = jnp.uint32) -> jax.Array:
    """Pack a batch of binary images, 32 to a word.

    Args:
        images: bool `(N, ...)`.
        dtype: dtype of the words: uint32, or uint64 under x64.

    Returns:
        Words `(ceil(N / 32), ...)`; the bits beyond N are 0.

    Raises:
        ValueError: if `images` is not bool or has no axis, or `dtype` is not a dtype of words.

    Example:
        >>> images = jnp.array([[True, False, True], [True, True, False]])
        >>> pack(images).tolist()
        [[3, 2, 1]]
        >>> bool((unpack(pack(images), count=2) == images).all())
        True
    """
    images = images if isinstance(images, jax.Array) else bit_arrays.native(np.asarray(images))
    _checks.require(
        images.dtype == bool, "images", "bool (images > 0.5 makes it)", f"dtype {images.dtype}"
    )
    _checks.require(images.ndim >= 1, "images", "a batch (N, ...)", images.shape)
    dtype = np.dtype(dtype)
    words = np.zeros((), dtype)
    _checks.require(
        bit_arrays.is_words(words), "dtype", "uint32, or uint64 under jax_enable_x64", dtype.name
    )
    return _pack(images, dtype=dtype)


def unpack(words: jax.Array, *, count: int) -> jax.Array:
    """Unpack words into images: the inverse of `pack`.

    Args:
        words: words `(ceil(N / 32), ...)`.
        count: N, the number of images; it is needed because the last word need not be full.

    Returns:
        Images, bool `(N, ...)`.

    Raises:
        ValueError: if `words` has another dtype or no axis, or so many images do not fill the
            words.

    Example:
        >>> unpack(jnp.array([[5]], jnp.uint32), count=3).tolist()
        [[True], [False], [True]]
    """
    words = bit_arrays.native(words)
    check_words("words", words)
    bits = 8 * words.dtype.itemsize
    most, least = bits * words.shape[0], bits * (words.shape[0] - 1) + 1
    whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
    _checks.require(
        whole and max(least, 0) <= count <= most,
        "count",
        f"the number of images, {max(least, 0)} to {most} in {words.shape[0]} words",
        count,
    )
    return _unpack(words, count=int(count))


def check_words(argument: str, x: jax.Array | np.ndarray) -> None:
    """Raise `ValueError` unless `x` is an array of words with a batch axis."""
    expected = "uint32 words (morphax.pack makes them; uint64 words need jax_enable_x64)"
    is_array = hasattr(x, "dtype")
    got = f"dtype {x.dtype}" if is_array else type(x).__name__
    _checks.require(is_array and bit_arrays.is_words(x), argument, expected, got)
    _checks.require(x.ndim >= 1, argument, "a batch of words", x.shape)


def _pack_bits(images: jax.Array, dtype: np.dtype) -> jax.Array:
    """Pack a batch of images into words of a dtype."""
    bits = 8 * dtype.itemsize
    fill = [(0, -images.shape[0] % bits)] + [(0, 0)] * (images.ndim - 1)
    blocks = jnp.pad(images, fill)
    blocks = blocks.reshape(blocks.shape[0] // bits, bits, *images.shape[1:])
    words = jnp.zeros((blocks.shape[0], *images.shape[1:]), dtype)
    for i in range(bits):  # one loop over the words once XLA has fused it
        words |= blocks[:, i].astype(dtype) << np.array(i, dtype)
    return words


def bits_of(words: jax.Array) -> jax.Array:
    """Return every bit of words as a number 0 or 1 of the same dtype.

    Args:
        words: words `(J, ...)`.

    Returns:
        An array `(32 J, ...)` (`(64 J, ...)` for uint64).

    Example:
        >>> bits_of(jnp.array([6], jnp.uint32))[:4].tolist()
        [0, 1, 1, 0]
    """
    bits = 8 * words.dtype.itemsize
    one = np.ones((), words.dtype)
    places = np.arange(bits, dtype=words.dtype).reshape(1, bits, *(1,) * (words.ndim - 1))
    each = (jnp.expand_dims(words, 1) >> places) & one
    return each.reshape(bits * words.shape[0], *words.shape[1:])


_pack = jax.jit(lambda images, *, dtype: _pack_bits(images, dtype), static_argnames="dtype")


@partial(jax.jit, static_argnames="count")
def _unpack(words: jax.Array, *, count: int) -> jax.Array:
    """Return the first `count` images of words."""
    # Each word has 32 readers, its bits: what made the words must not run again for each of them.
    words = computed_once(unknown_true(words), lambda: words)
    return bits_of(words)[:count] != 0
