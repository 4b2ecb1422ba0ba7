"""Bit-sliced counters: 32 counts at once, one bit of each in every word.

Numbers from 0 to n are `planes` `(k, ...)`, k = bits of n, the lowest first: bit i of `planes[j]` is
bit j of the number of image i. Sums, comparisons and maxima are a few `&`, `|` and `^` a plane, so
counting never unpacks an image: only the few planes of a result are unpacked, by `numbers`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.packed.words import bits_of, check_words


def count(words: jax.Array) -> jax.Array:
    """In how many of n words each bit is set: a tree of full adders over the last axis.

    Args:
        words: words `(..., n)`.

    Returns:
        Planes `(k, ...)`, k the number of bits of n (at least 1); about 5 n operations on words.

    Raises:
        ValueError: other dtypes, or no axis.

    Example:
        >>> count(jnp.array([3, 1, 1, 2], jnp.uint32)).tolist()  # three times bit 0, twice bit 1
        [1, 3, 0]
    """
    check_words("words", words)
    planes = []
    for _ in range(max(words.shape[-1].bit_length(), 1)):
        plane, words = _add(words)
        planes.append(plane)
    return jnp.stack(planes)


def _add(column: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sum words `(..., m)` of one weight: the plane of that weight, and carries `(..., m')`."""
    carries = [column[..., :0]]
    while (size := column.shape[-1]) > 1:
        third = max(size // 3, 1)
        a, b, c = (column[..., i * third : (i + 1) * third] for i in range(3))
        half = a ^ b
        if size > 2:  # full adders: three words of a weight are one of it and one of the next
            carries.append((a & b) | (half & c))
            half ^= c
        else:
            carries.append(a & b)
        column = jnp.concatenate([half, column[..., 3 * third :]], -1)
    return bit_arrays.any_of(column, -1), jnp.concatenate(carries, -1)


def greater(a: jax.Array, b: jax.Array) -> jax.Array:
    """Where the number a is greater than the number b.

    Args:
        a: planes `(k, ...)`.
        b: planes `(k, ...)`, of the same shape.

    Returns:
        Words `(...)`.

    Raises:
        ValueError: other dtypes, or shapes that differ.

    Example:
        >>> a, b = count(jnp.array([3, 1], jnp.uint32)), count(jnp.array([2, 3], jnp.uint32))
        >>> int(greater(a, b)), int(greater(b, a))  # image 0: 2 and 1; image 1: 1 and 2
        (1, 2)
    """
    check_words("a", a)
    check_words("b", b)
    _checks.require(a.shape == b.shape, "b", f"planes of the shape of a, {a.shape}", b.shape)
    found = jnp.zeros(a.shape[1:], a.dtype)
    for high, low in zip(a, b, strict=True):  # from the lowest plane: the last difference decides
        found = (high & ~low) | (~(high ^ low) & found)
    return found


def argmax(planes: jax.Array) -> jax.Array:
    """Which number of the last axis is the greatest, the first one among equals (as `jnp.argmax`).

    Args:
        planes: planes `(k, ..., classes)`.

    Returns:
        Planes `(bits of classes - 1, ...)` (at least one) of the labels.

    Raises:
        ValueError: another dtype, or no classes.

    Example:
        >>> words = jnp.array([[[2, 0], [3, 1], [3, 0]]], jnp.uint32)  # three classes, two words each
        >>> numbers(argmax(count(words)))[:2].tolist()  # image 0: 0, 2, 1; image 1: 1, 1, 1
        [1, 0]
    """
    check_words("planes", planes)
    _checks.require(planes.ndim >= 2 and planes.shape[-1] > 0, "planes",
                   "shape (k, ..., classes), one class or more", planes.shape)  # fmt: skip
    classes = planes.shape[-1]
    best = ~jnp.zeros(planes.shape[1:], planes.dtype)
    for plane in planes[::-1]:  # who has this bit beats who has not, where anyone has it
        has = best & plane
        anyone = jnp.expand_dims(bit_arrays.any_of(has, -1), -1)
        best = has | (best & ~anyone)
    # The lowest of the labels left, its highest bit first.
    labels = []
    for j in reversed(range(max((classes - 1).bit_length(), 1))):
        clear = (np.arange(classes) >> j & 1 == 0).reshape((1,) * (best.ndim - 1) + (-1,))
        low = best & bit_arrays.mask(jnp.asarray(clear), best)
        anyone = bit_arrays.any_of(low, -1)
        best = low | (best & ~jnp.expand_dims(anyone, -1))
        labels.append(~anyone)
    return jnp.stack(labels[::-1])


def numbers(planes: jax.Array) -> jax.Array:
    """The numbers that planes hold, as int32: the only step that unpacks.

    Args:
        planes: planes `(k, B, ...)`, k at most 31.

    Returns:
        int32 `(32 B, ...)`.

    Raises:
        ValueError: another dtype, no batch, or more than 31 planes.

    Example:
        >>> numbers(count(jnp.array([[3, 1, 1]], jnp.uint32)))[:3].tolist()
        [3, 1, 0]
    """
    check_words("planes", planes)
    _checks.require(
        planes.ndim >= 2 and len(planes) < 32, "planes", "shape (k <= 31, B, ...)", planes.shape
    )
    total = jnp.zeros((), jnp.int32)
    for j, plane in enumerate(planes):
        total += bits_of(plane).astype(jnp.int32) << j
    return total
