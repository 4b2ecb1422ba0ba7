"""Bit-sliced counters: 32 counts at once, with one bit of each of them in every word.

Numbers from 0 to n are stored as `planes` `(k, ...)`, where k is the number of bits of n and the
lowest bit is first: bit i of `planes[j]` is bit j of the number of image i. Sums, comparisons and
maxima take a few `&`, `|` and `^` for each plane, so images are never unpacked to be counted: only
the few planes of a result are unpacked, by `numbers`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.packed.words import bits_of, check_words


def count(words: jax.Array, *, weights: Sequence[int] | None = None) -> jax.Array:
    """Count in how many of n words each bit is set, by a tree of full adders over the last axis.

    It takes about 5 n operations on words, and with weights about 5 for each bit of a weight.

    Args:
        words: words `(..., n)`.
        weights: what each word adds where its bit is set, n whole numbers >= 0; 1 by default.

    Returns:
        Planes `(k, ...)`, where k is the number of bits of n, or of the sum of the weights (at
        least 1).

    Raises:
        ValueError: if `words` has another dtype, or no axis, or weights are not n numbers >= 0.

    Example:
        >>> count(jnp.array([3, 1, 1, 2], jnp.uint32)).tolist()  # three times bit 0, twice bit 1
        [1, 3, 0]
        >>> count(jnp.array([3, 1], jnp.uint32), weights=(2, 1)).tolist()  # 3 and 2
        [1, 3]
    """
    check_words("words", words)
    n = words.shape[-1]
    weights = [1] * n if weights is None else [int(weight) for weight in weights]
    is_weights = len(weights) == n and min(weights, default=0) >= 0
    _checks.require(is_weights, "weights", f"{n} whole numbers, 0 or more", weights)
    planes, carries = [], words[..., :0]
    for column in columns(weights):
        # The words of this weight: those whose weight has the bit, and the carries from below.
        read = words if len(column) == n else words[..., np.array(column, int)]
        plane, carries = _add(jnp.concatenate([read, carries], -1))
        planes.append(plane)
    return jnp.stack(planes)


def columns(weights: Sequence[int]) -> list[list[int]]:
    """Return for each bit of the sum of some weights which of the weights have that bit.

    Args:
        weights: whole numbers >= 0.

    Returns:
        One list of indices for each bit of the sum, the lowest bit first; at least one list.

    Example:
        >>> columns([3, 1])  # the sum, 4, has three bits
        [[0, 1], [0], []]
    """
    bits = max(sum(weights).bit_length(), 1)
    return [[i for i, weight in enumerate(weights) if weight >> bit & 1] for bit in range(bits)]


def _add(column: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sum words `(..., m)` of one weight; return the plane of that weight, and the carries."""
    carries = [column[..., :0]]
    while (size := column.shape[-1]) > 1:
        third = max(size // 3, 1)
        a, b, c = (column[..., i * third : (i + 1) * third] for i in range(3))
        half = a ^ b
        # A full adder turns three words of a weight into one of it and one carry of the next
        # weight; a half adder does so for the last two.
        if size > 2:
            carries.append((a & b) | (half & c))
            half ^= c
        else:
            carries.append(a & b)
        column = jnp.concatenate([half, column[..., 3 * third :]], -1)
    return bit_arrays.any_of(column, -1), jnp.concatenate(carries, -1)


def greater(a: jax.Array, b: jax.Array) -> jax.Array:
    """Compare two numbers: return words whose bits are 1 where a is greater than b.

    Args:
        a: planes `(k, ...)`.
        b: planes `(k, ...)`, of the same shape.

    Returns:
        Words `(...)`.

    Raises:
        ValueError: if dtypes are wrong, or shapes differ.

    Example:
        >>> a, b = count(jnp.array([3, 1], jnp.uint32)), count(jnp.array([2, 3], jnp.uint32))
        >>> int(greater(a, b)), int(greater(b, a))  # image 0: 2 and 1; image 1: 1 and 2
        (1, 2)
    """
    check_words("a", a)
    check_words("b", b)
    _checks.require(a.shape == b.shape, "b", f"planes of the shape of a, {a.shape}", b.shape)
    result = jnp.zeros(a.shape[1:], a.dtype)
    for of_a, of_b in zip(a, b, strict=True):  # from the lowest plane: the last difference decides
        result = (of_a & ~of_b) | (~(of_a ^ of_b) & result)
    return result


def reaches(planes: jax.Array | Sequence[jax.Array], cut: int) -> jax.Array:
    """Compare numbers with a constant: return words whose bits are 1 where a number is >= cut.

    It takes at most one operation for each plane.

    Args:
        planes: planes `(k, ...)` of words, or a list of them.
        cut: any whole number.

    Returns:
        Words `(...)`.

    Example:
        >>> planes = count(jnp.array([3, 1, 1], jnp.uint32))  # three times bit 0, once bit 1
        >>> [int(reaches(planes, cut) & 3) for cut in (1, 2, 4)]
        [3, 1, 0]
    """
    ones = ~jnp.zeros(planes[0].shape, planes[0].dtype)
    if cut <= 0 or cut >> len(planes):
        return ones if cut <= 0 else ~ones
    # A number equal to the cut reaches it, so the zeros at the end of the cut decide nothing. From
    # its lowest 1 upwards: a plane that differs from the bit of the cut decides.
    low = (cut & -cut).bit_length() - 1
    result = planes[low]
    for bit in range(low + 1, len(planes)):
        result = planes[bit] & result if cut >> bit & 1 else planes[bit] | result
    return result


def argmax(planes: jax.Array) -> jax.Array:
    """Return the index of the greatest number of the last axis, the first one among equals.

    This is `jnp.argmax` for planes.

    Args:
        planes: planes `(k, ..., classes)`.

    Returns:
        Planes of the indices, `(bits of classes - 1, ...)` (at least one plane).

    Raises:
        ValueError: if `planes` has another dtype, or no classes.

    Example:
        >>> words = jnp.array([[[2, 0], [3, 1], [3, 0]]], jnp.uint32)  # 3 classes, 2 words each
        >>> numbers(argmax(count(words)))[:2].tolist()  # image 0: 0, 2, 1; image 1: 1, 1, 1
        [1, 0]
    """
    check_words("planes", planes)
    expected = "shape (k, ..., classes), one class or more"
    has_classes = planes.ndim >= 2 and planes.shape[-1] > 0
    _checks.require(has_classes, "planes", expected, planes.shape)
    classes = planes.shape[-1]
    # From the highest bit down: where any of the classes left has the bit, those without it drop
    # out.
    best = ~jnp.zeros(planes.shape[1:], planes.dtype)
    for plane in planes[::-1]:
        has = best & plane
        anyone = jnp.expand_dims(bit_arrays.any_of(has, -1), -1)
        best = has | (best & ~anyone)
    # Find the lowest of the labels left, its highest bit first, in the same way.
    labels = []
    for j in reversed(range(max((classes - 1).bit_length(), 1))):
        clear = (np.arange(classes) >> j & 1 == 0).reshape((1,) * (best.ndim - 1) + (-1,))
        low = best & bit_arrays.mask(jnp.asarray(clear), best)
        anyone = bit_arrays.any_of(low, -1)
        best = low | (best & ~jnp.expand_dims(anyone, -1))
        labels.append(~anyone)
    return jnp.stack(labels[::-1])


def numbers(planes: jax.Array) -> jax.Array:
    """Unpack planes: return the numbers that they hold, as int32.

    Args:
        planes: planes `(k, B, ...)`, k at most 31.

    Returns:
        Numbers, int32 `(32 B, ...)`.

    Raises:
        ValueError: if `planes` has another dtype, no batch, or more than 31 planes.

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
