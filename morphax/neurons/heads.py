"""Heads: last layers that turn the bits of a network into counts or scores by class, and labels.

`group_sum` keeps a network binary to the end: its features are `classes` contiguous groups of equal
size, and the count of a class is the number of bits of its group that are set. `linear_head` is the
real-valued last layer of the papers: real weights on the bits. A real network adds its graded bits
in the same places, so a model that ends in a head is trained, binarized and run on words by the
same code. Nothing may come after a head, and the certificate is about the bits that enter it.

Source: Aouad & Talbot, arXiv 2401.03830 (real last layer).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.neurons.forward import mark
from morphax.packed import counters
from morphax.packed.words import bits_of


def group_sum(x: jax.Array, *, classes: int) -> jax.Array:
    """Sum over groups of features, one group for each class: the last layer of a classifier.

    It may only be the last step of a model that is traced or certified. The certificate is about
    the bits that enter it: a real network sums graded values, which need not have the greatest sum
    where the binary network has the greatest count.

    Args:
        x: floats or bool `(..., n)`, or words `(B, ..., n)` of packed images. Group c is
            `x[..., c * n // classes : (c + 1) * n // classes]`.
        classes: number of groups; it divides n.

    Returns:
        For floats, sums `(..., classes)` of the dtype of `x`; for bool, int32 counts. For words,
        int32 counts `(32 B, ..., classes)`, one image in each row: the counts stay bit-sliced until
        their few planes are unpacked. Slice off the rows beyond the number of images that were
        packed: they have no meaning.

    Raises:
        ValueError: if `classes` is not positive or does not divide n, or `x` is neither floats,
            bool nor words.

    Example:
        >>> bits = jnp.array([[True, True, False, True, False, False]])
        >>> group_sum(bits, classes=2).tolist()
        [[2, 1]]
        >>> from morphax import pack
        >>> group_sum(pack(bits), classes=2)[:1].tolist()
        [[2, 1]]
    """
    x = bit_arrays.native(x)
    _check_head(x, classes)
    return _group_sum(x, classes=int(classes))


def linear_head(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Apply real weights to the bits of a network: the papers' last layer, `x @ weight + bias`.

    It may only be the last step of a model that is traced or certified. The certificate is about
    the bits that enter it; with graded bits the scores, and so a label, may differ from those of
    the binary network. `morphax.binarize` leaves `weight` and `bias` unchanged. Programs hold bits
    only, so programs and what is made of them (specialised networks, C, Verilog) refuse it: there,
    build the network up to the bits that enter, or turn rounded weights into wires
    (`morphax.classification.model.wires`).

    Args:
        x: floats or bool `(..., n)`, or words `(B, ..., n)` of packed images.
        weight: float `(n, classes)`.
        bias: float `(classes,)`.

    Returns:
        Scores `(..., classes)`, of the dtype of `weight` or a wider one of `x`. Words are unpacked
        for it: their scores are `(32 B, ..., classes)`, one image in each row. Slice off the rows
        beyond the number of images that were packed: they have no meaning.

    Raises:
        ValueError: if shapes do not fit, weights are not floats, or `x` is neither floats, bool nor
            words.

    Example:
        >>> weight, bias = jnp.array([[1.0, -1.0], [0.5, 2.0]]), jnp.array([0.0, 0.25])
        >>> bits = jnp.array([[True, True], [True, False]])
        >>> linear_head(bits, weight, bias).tolist()
        [[1.5, 1.25], [1.0, -0.75]]
        >>> from morphax import pack
        >>> linear_head(pack(bits), weight, bias)[:2].tolist()
        [[1.5, 1.25], [1.0, -0.75]]
    """
    weight, bias, x = (bit_arrays.native(array) for array in (weight, bias, x))
    bit_arrays.check_carrier("x", x)
    rank = 2 if bit_arrays.is_words(x) else 1
    _checks.require(x.ndim >= rank, "x", "shape (..., n); words (B, ..., n)", x.shape)
    is_matrix = weight.ndim == 2 and weight.shape[0] == x.shape[-1]
    _checks.require(is_matrix, "weight", f"shape ({x.shape[-1]}, classes)", weight.shape)
    expected = weight.shape[1:]
    _checks.require(bias.shape == expected, "bias", f"shape {expected}", bias.shape)
    for name, array in (("weight", weight), ("bias", bias)):
        floats = jnp.issubdtype(array.dtype, jnp.floating)
        _checks.require(floats, name, "floats", array.dtype)
    return _linear_head(weight, bias, x)


def predict(x: jax.Array, *, classes: int) -> jax.Array:
    """Return the class of the greatest sum, the first one among equals: `argmax(group_sum(x))`.

    On words the counts are compared while bit-sliced, and only the labels are unpacked.

    Args:
        x: features, as for `group_sum`.
        classes: number of groups; it divides n.

    Returns:
        Labels, int32 `(...)`; for words `(32 B, ...)`, one image in each row.

    Raises:
        ValueError: under the same conditions as `group_sum`.

    Example:
        >>> bits = jnp.array([[False, True, True, True], [True, False, True, False]])
        >>> predict(bits, classes=2).tolist()
        [1, 0]
    """
    x = bit_arrays.native(x)
    _check_head(x, classes)
    return _predict(x, classes=int(classes))


def _check_head(x: jax.Array, classes: int) -> None:
    """Raise `ValueError` unless `x` holds bits or floats in `classes` groups of equal size."""
    bit_arrays.check_carrier("x", x)
    rank = 2 if bit_arrays.is_words(x) else 1
    _checks.require(x.ndim >= rank, "x", "shape (..., n); words (B, ..., n)", x.shape)
    n = x.shape[-1]
    whole = isinstance(classes, (int, np.integer))
    divides = whole and classes >= 1 and n > 0 and n % classes == 0
    _checks.require(divides, "classes", f"a divisor of the {n} features", classes)


def _groups(x: jax.Array, classes: int) -> jax.Array:
    """Split the features into groups: `(..., n)` to `(..., classes, n / classes)`."""
    return x.reshape(*x.shape[:-1], classes, x.shape[-1] // classes)


@mark
def _group_sum(x: jax.Array, *, classes: int) -> jax.Array:
    groups = _groups(x, classes)
    if bit_arrays.is_words(x):
        return counters.numbers(counters.count(groups))
    return groups.sum(-1, dtype=jnp.int32 if x.dtype == bool else x.dtype)


@mark
def _linear_head(weight: jax.Array, bias: jax.Array, x: jax.Array) -> jax.Array:
    # Weights decide on the dtype; floats that are wider keep their precision.
    dtype = jnp.result_type(weight, bias)
    if bit_arrays.is_words(x):
        x = bits_of(x)
    dtype = jnp.promote_types(x.dtype, dtype) if jnp.issubdtype(x.dtype, jnp.floating) else dtype
    scores = jnp.matmul(x.astype(dtype), weight.astype(dtype), precision=jax.lax.Precision.HIGHEST)
    return scores + bias.astype(dtype).reshape((1,) * (scores.ndim - 1) + bias.shape)


@partial(jax.jit, static_argnames="classes")
def _predict(x: jax.Array, *, classes: int) -> jax.Array:
    if bit_arrays.is_words(x):
        return counters.numbers(counters.argmax(counters.count(_groups(x, classes))))
    return jnp.argmax(_group_sum(x, classes=classes), -1).astype(jnp.int32)
