"""Words of images: 32 images of a batch in the bits of each uint32.

Bit i of word j is image 32 j + i; everything but the batch keeps its shape and its place:
bool `(N, ...)` <-> uint32 `(ceil(N / 32), ...)`. What fills the last word is 0, until a complement makes
it 1: the number of images does not travel with the words, so `unpack` is told. uint64 words hold 64
images and exist under x64 only.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from morphax import _checks
from morphax.morphology import bit_arrays


def pack(images: ArrayLike, *, dtype: DTypeLike = jnp.uint32) -> jax.Array:
    """Pack a batch of binary images, 32 to a word.

    Args:
        images: bool `(N, ...)`.
        dtype: of the words: uint32, or uint64 under x64.

    Returns:
        Words `(ceil(N / 32), ...)`; the bits beyond N are 0.

    Raises:
        ValueError: `images` is not bool or has no axis; `dtype` is not one of words.

    Example:
        >>> images = jnp.array([[True, False, True], [True, True, False]])
        >>> pack(images).tolist()
        [[3, 2, 1]]
        >>> bool((unpack(pack(images), count=2) == images).all())
        True
    """
    images = images if isinstance(images, jax.Array) else np.asarray(images)
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
    """Images of packed words: the inverse of `pack`.

    Args:
        words: `(ceil(N / 32), ...)`.
        count: N, the number of images; needed because the last word need not be full.

    Returns:
        bool `(N, ...)`.

    Raises:
        ValueError: `words` has another dtype or no axis; `count` is not a number of images that would
            fill so many words.

    Example:
        >>> unpack(jnp.array([[5]], jnp.uint32), count=3).tolist()
        [[True], [False], [True]]
    """
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
    known = hasattr(x, "dtype")
    _checks.require(known and bit_arrays.is_words(x), argument, expected,
                   f"dtype {x.dtype}" if known else type(x).__name__)  # fmt: skip
    _checks.require(x.ndim >= 1, argument, "a batch of words", x.shape)


def _pack_bits(images: jax.Array, dtype: np.dtype) -> jax.Array:
    bits = 8 * dtype.itemsize
    fill = [(0, -images.shape[0] % bits)] + [(0, 0)] * (images.ndim - 1)
    blocks = jnp.pad(images, fill)
    blocks = blocks.reshape(blocks.shape[0] // bits, bits, *images.shape[1:])
    words = jnp.zeros((blocks.shape[0], *images.shape[1:]), dtype)
    for i in range(bits):  # one loop over the words once XLA has fused it
        words |= blocks[:, i].astype(dtype) << np.array(i, dtype)
    return words


def bits_of(words: jax.Array) -> jax.Array:
    """Every bit of words as the same dtype, 0 or 1: `(J, ...)` to `(32 J, ...)`.

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
_unpack = jax.jit(lambda words, *, count: bits_of(words)[:count] != 0, static_argnames="count")
