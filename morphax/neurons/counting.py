"""Weighted counts of bits, compared with thresholds: votes whose result is bits again.

`at_least` adds whole-number votes where bits are set, and compares the sum with one or more cuts.
Each comparison is a plane of bits, so it may stand anywhere in a network: the next level reads it
like any other feature map. A real network adds its graded values in the same places and compares
with cut - 1/2; its results are exactly 0 and 1.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.neurons.forward import mark
from morphax.packed import counters

Numbers = Sequence[int] | np.ndarray | jax.Array
"""Whole numbers that are known when a model is traced."""

LIMIT = 2**31 - 2
"""Largest sum of the absolute votes, and largest cut: sums are int32."""


def at_least(x: jax.Array, votes: Numbers, cuts: Numbers, *, symmetric: bool = False) -> jax.Array:
    """Compare a weighted count of bits with several cuts: 1 where the votes add up to a cut.

    Floats are added as they are, graded, and compared with cut - 1/2, so the result is exactly 0
    or 1. Its derivative is that of a logistic function of (sum - cut + 1/2) / width ("straight
    through"), where width = max(1/2, |votes|_2 / 2): half the norm of the votes is the standard
    deviation of the count of independent fair bits. In float32 the sum of whole votes is exact as
    long as the absolute votes add up to less than 2^22; `morphax.certify_network` checks it.

    Args:
        x: floats in [0, 1] or bool `(..., n)`, or words `(B, ..., n)` of packed images.
        votes: what each bit adds where it is set, n whole numbers of any sign. They are part of the
            model and not of its parameters: a tuple or a numpy array that is known when the model
            is traced.
        cuts: k whole numbers, as `votes`.
        symmetric: whether floats are in [-1, 1], with -1 for a bit that is not set.

    Returns:
        An array `(..., k)` of the dtype of `x`: plane t is 1 where the sum is at least `cuts[t]`.

    Raises:
        ValueError: if `x` is neither floats, bool nor words; if votes or cuts are traced, no whole
            numbers, or not as many as they must be; or if they exceed 32 bits.

    Example:
        >>> bits = jnp.array([[True, True, False], [False, True, True]])
        >>> at_least(bits, votes=(2, 1, -1), cuts=(0, 1, 3)).astype(int).tolist()
        [[1, 1, 1], [1, 0, 0]]
        >>> at_least(jnp.array([0.9, 0.9, 0.1]), votes=(2, 1, -1), cuts=(0, 1, 3)).tolist()
        [1.0, 1.0, 1.0]
    """
    x = bit_arrays.native(x)
    bit_arrays.check_carrier("x", x)
    rank = 2 if bit_arrays.is_words(x) else 1
    _checks.require(x.ndim >= rank, "x", "shape (..., n); words (B, ..., n)", x.shape)
    fixed = _whole_numbers("votes", votes, x.shape[-1])
    total = sum(map(abs, fixed))
    _checks.require(
        total <= LIMIT, "votes", f"absolute values with a sum of at most {LIMIT}", total
    )
    return _at_least(x, votes=fixed, cuts=_whole_numbers("cuts", cuts), symmetric=bool(symmetric))


def _whole_numbers(argument: str, values: Any, size: int | None = None) -> tuple[int, ...]:
    """Return whole numbers as Python integers, after checking them and, if given, their number."""
    known = "whole numbers that are known while tracing (numpy, closed over, not in params)"
    _checks.require(not isinstance(values, Tracer), argument, known, values)
    is_list = isinstance(values, (list, tuple))
    traced = [v for v in values if isinstance(v, Tracer)] if is_list else []
    _checks.require(not traced, argument, known, traced)
    array = np.asarray(values)
    is_row = array.ndim == 1 and len(array) == (size or len(array)) and len(array) > 0
    expected = f"shape ({size or 'k'},)" + ("" if size else ", one number or more")
    _checks.require(is_row, argument, expected, array.shape)
    is_number = array.dtype.kind in "iuf"
    _checks.require(is_number, argument, "whole numbers", array.dtype)
    is_whole = bool((np.isfinite(array) & (array == np.rint(array))).all())
    within = is_whole and bool((np.abs(array.astype(float)) <= LIMIT).all())
    _checks.require(within, argument, f"whole numbers from -{LIMIT} to {LIMIT}", array.tolist())
    return tuple(int(value) for value in array)


def sum_dtype(dtype: Any) -> np.dtype:
    """Return the dtype in which floats are added: float32, or their own if it is wider.

    Example:
        >>> sum_dtype(jnp.bfloat16).name, sum_dtype(np.float64).name
        ('float32', 'float64')
    """
    return np.dtype(dtype) if jnp.finfo(dtype).bits >= 32 else np.dtype(np.float32)


@mark
def _at_least(
    x: jax.Array, *, votes: tuple[int, ...], cuts: tuple[int, ...], symmetric: bool
) -> jax.Array:
    if bit_arrays.is_words(x):
        return _count_words(x, votes, cuts)
    # A cut beyond all sums decides nothing, and fewer digits keep the float comparison exact.
    lowest, highest = sum(min(v, 0) for v in votes), sum(max(v, 0) for v in votes)
    limits = np.clip(np.array(cuts, np.int64), lowest, highest + 1).astype(np.int32)
    limits = limits.reshape((1,) * (x.ndim - 1) + (-1,))
    whole = np.array(votes, np.int32)
    if x.dtype == jnp.bool_:
        total = jnp.matmul(x.astype(jnp.int32), whole)
        return total[..., None] >= limits
    # Floats are split into a bit and what is missing to it, which is exact. The sum over the bits
    # then is a sum of whole numbers, exact too, and what is left is small.
    dtype = sum_dtype(x.dtype)
    wide, weights = x.astype(dtype), jnp.asarray(whole).astype(dtype)
    bits = wide > (0 if symmetric else 0.5)
    if symmetric:
        rest = (wide - jnp.where(bits, 1, -1).astype(dtype)) / 2
    else:
        rest = wide - bits.astype(dtype)
    highest_precision = jax.lax.Precision.HIGHEST
    counted = jnp.matmul(bits.astype(dtype), weights, precision=highest_precision)
    graded = jnp.matmul(rest, weights, precision=highest_precision)
    half = jnp.asarray(0.5, dtype)
    margin = (counted[..., None] - (jnp.asarray(limits).astype(dtype) - half)) + graded[..., None]
    out = _step(margin, max(0.5, float(np.linalg.norm(whole.astype(float))) / 2))
    return (2 * out - 1 if symmetric else out).astype(x.dtype)


def _count_words(x: jax.Array, votes: tuple[int, ...], cuts: tuple[int, ...]) -> jax.Array:
    """Count on words. A negative vote v adds |v| where its bit is not set, less |v| everywhere."""
    negative = np.array([vote < 0 for vote in votes])
    if negative.any():
        x = x ^ bit_arrays.mask(jnp.asarray(negative), x).reshape((1,) * (x.ndim - 1) + (-1,))
    planes = counters.count(x, weights=[abs(vote) for vote in votes])
    lowest = sum(min(vote, 0) for vote in votes)
    return jnp.stack([counters.reaches(planes, cut - lowest) for cut in cuts], -1)


@jax.custom_jvp
def _step(margin: jax.Array, width: float) -> jax.Array:
    """Return 1 where the margin is positive and 0 elsewhere, with the slope of a logistic."""
    return (margin > 0).astype(margin.dtype)


@_step.defjvp
def _step_slope(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    margin, width = primals
    soft = jax.nn.sigmoid(margin / width)
    return _step(margin, width), soft * (1 - soft) / width * tangents[0]
