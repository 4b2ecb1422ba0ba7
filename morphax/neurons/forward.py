"""Forward passes of neurons: one function, `apply(node, x)`, for real and for binary banks.

A `BiSE` takes floats in [0, 1] (in [-1, 1] for symmetric banks). A `BinaryBiSE` takes bool arrays,
or words with 32 images in their bits (`morphax.pack`). The layout depends on the role of the bank
(`morphax.neurons.nodes`):

| role      | x                     | result                |
|-----------|-----------------------|-----------------------|
| "spatial" | `(batch, H, W, in)`   | `(batch, H, W, in, out)` |
| "lui"     | `(..., in, out)`      | `(..., out)`          |
| "dense"   | `(..., in)`           | `(..., out)`          |

A spatial bank whose windows have one or three axes takes rows `(batch, W, in)` or volumes `(batch,
D, H, W, in)`.

A model built only from `apply`, `complement`, `concatenate`, `flatten`, `union_pool` and, at its
end, `morphax.group_sum` runs, from the same code, as the real network and as its binary twin, on
bool and on words, and `morphax.program.trace` can follow it. Write a constant as `jnp.zeros(shape,
x.dtype)`, or as `complement` of it: on words, `jnp.ones` is 1 for the first image only. On words
each element of the first axis holds 32 images, and the unused bits of the last word are 1 after a
complement: never reduce over the batch before `morphax.unpack`.

Source: Aouad & Talbot, DGMM 2022 (arXiv 2204.08768) and arXiv 2401.03830; border "ignore" is ours.
"""

import math
from collections.abc import Sequence
from functools import cache, partial, wraps

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.morphology.shift import pad, shift_or
from morphax.neurons import _correlate
from morphax.neurons.nodes import (
    BinaryBiSE,
    BiSE,
    Node,
    check_shapes,
    effective,
    input_axes,
    unbank,
)
from morphax.neurons.thresholds import threshold

_FRAMES = {1: "W", 2: "H, W", 3: "D, H, W"}  # number of image axes -> their names


def mark(function):
    """Decorate a function so that `morphax.program.trace` recognises its calls in a jaxpr.

    The function is jitted under the name `morphax.<name>(<options>)`. Its static options are
    keyword-only and are part of the name.
    """
    # Why a name, and not a JAX primitive of our own: a jitted call already has rules for
    # differentiation, batching, sharding and lowering on every backend, and a user sees it in a
    # trace or a profile. Its name is the one thing of ours that jax carries through all
    # transformations, so the options, which are plain literals, are written into it
    # (`program.lower` reads them back).

    @cache
    def jitted(**static):
        inner = partial(function, **static)
        options = ",".join(f"{key}={value!r}" for key, value in sorted(static.items()))
        inner.__name__ = f"morphax.{function.__name__.lstrip('_')}({options})"  # type: ignore
        return jax.jit(inner)

    @wraps(function)
    def wrapper(*args, **static):
        hashable = {k: tuple(v) if isinstance(v, list) else v for k, v in static.items()}
        return jitted(**hashable)(*args)

    return wrapper


def guess_erosion(weights: jax.Array, bias: jax.Array, *, symmetric: bool = False) -> jax.Array:
    """Guess the operation of a neuron: an erosion where b > P / 2, P the sum of positive weights.

    This is the one rule of the library: the certificate, the binary network and the border all use
    it.

    Args:
        weights: effective weights, float `(..., n)`.
        bias: effective bias, float `(...)`.
        symmetric: whether the neuron works on {-1, 1}.

    Returns:
        bool `(...)`, true for an erosion, false for a dilation.

    Example:
        >>> bool(guess_erosion(jnp.ones(5), jnp.array(4.5)))
        True
    """
    if symmetric:  # the same rule after x = 2 y - 1
        bias = (bias + weights.sum(-1)) / 2
    return bias > jnp.maximum(weights, 0).sum(-1) / 2


def apply(node: Node, x: jax.Array) -> jax.Array:
    """Evaluate a bank of neurons, real or binary (see the module docstring for layouts).

    Args:
        node: bank of neurons, `BiSE` (real) or `BinaryBiSE` (binary).
        x: float in [0, 1] or [-1, 1] for a real bank; bool or words for a binary one.

    Returns:
        An array laid out by role: bool or words as `x`, or floats of the wider of the dtypes of `x`
        and of the node.

    Raises:
        ValueError: if the shapes of the node do not fit each other, or the rank, the channels or
            the dtype of `x` do not fit the node.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.ones((3, 3, 1, 1)), jnp.ones((1, 1)), jnp.ones((1, 1)), Spec())
        >>> apply(node, jnp.ones((2, 8, 8, 1))).shape
        (2, 8, 8, 1, 1)
    """
    node, x = jax.tree.map(bit_arrays.native, node), bit_arrays.native(x)
    check_shapes(node)
    role = node.spec.role
    binary = isinstance(node, BinaryBiSE)
    weight = node.selem if binary else node.weight
    if role == "spatial":
        axes = len(input_axes(node))
        _checks.require(x.ndim == axes + 2, "x", f"shape (batch, {_FRAMES[axes]}, in)", x.shape)
    channels = x.shape[-2:] if role == "lui" else x.shape[-1:]
    expected = weight.shape[-2:] if role == "lui" else weight.shape[-2:-1]
    _checks.require(channels == expected, "x", f"trailing axes {expected} (channels)", x.shape)
    if binary:
        bit_arrays.check_bits("x", x)
        return _apply_binary(node, x)
    expected = "floats for real neurons (x.astype(float) makes them)"
    _checks.require(jnp.issubdtype(x.dtype, jnp.floating), "x", expected, x.dtype)
    return _apply_real(node, x)


@mark
def _apply_real(node: BiSE, x: jax.Array) -> jax.Array:
    """Evaluate a real bank on floats."""
    spec = node.spec
    weights, bias, scale = effective(node)
    # Compute no narrower than the parameters: the certificate counts on their precision.
    x = x.astype(jnp.result_type(x, weights, bias, scale))
    weight = unbank(node, weights).astype(x.dtype)
    if spec.role == "spatial":
        total = _correlate_windows(
            node, weight, guess_erosion(weights, bias, symmetric=spec.symmetric), x
        )
    elif spec.role == "lui":
        total = (x * _lead(weight, x.ndim)).sum(-2)
    else:
        total = jnp.matmul(x, weight, precision=jax.lax.Precision.HIGHEST)
    potential = _lead(scale, total.ndim) * (total - _lead(bias, total.ndim))
    return threshold(potential, spec.threshold, symmetric=spec.symmetric)


def _lead(array: jax.Array, rank: int) -> jax.Array:
    """Add leading axes of size 1 up to `rank`, so that broadcasting stays explicit."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _correlate_windows(
    node: BiSE, weight: jax.Array, erosion: jax.Array, x: jax.Array
) -> jax.Array:
    """Correlate images with the windows of a bank, with its border; `erosion` is a guess."""
    spec, window = node.spec, weight.shape[:-2]
    if spec.border == "replicate":
        return _correlate.correlate(_correlate.pad_images(x, window, "edge"), weight)
    background = -1.0 if spec.symmetric else 0.0
    if spec.border == "constant":
        return _correlate.correlate(
            _correlate.pad_images(x, window, "constant", background), weight
        )
    # "ignore": what lies beyond the frame is foreground for an erosion. Its share of the sum does
    # not depend on the image, so one image of ones beyond the frame is correlated for the whole
    # batch.
    inside = _correlate.correlate(_correlate.pad_images(x, window, "constant", 0), weight)
    # The zero is hidden from the compiler, which would fold constants of the size of the image.
    zero = jax.lax.optimization_barrier(jnp.zeros((), x.dtype))
    image = jnp.broadcast_to(zero, (1, *x.shape[1:]))
    frame = _correlate.pad_images(image, window, "constant", 1)
    foreground = jnp.where(erosion, 1.0, background).astype(x.dtype)
    return inside + _correlate.correlate(frame, weight) * _lead(foreground, x.ndim + 1)


@mark
def _apply_binary(node: BinaryBiSE, x: jax.Array) -> jax.Array:
    """Evaluate a binary bank on bool or words: out = OR(s & (x ^ e)) ^ e ^ c.

    An erosion (e = 1) is the complement of the dilation of the complement, so one formula serves
    both operations; c complements the output.
    """
    selem, erosion, role = node.selem, node.erosion, node.spec.role
    mask = partial(bit_arrays.mask, like=x)
    if role == "spatial":
        hit = _match_windows(selem, mask(erosion), node.spec.border, x)
    elif role == "lui":
        differs = x ^ _lead(mask(erosion), x.ndim)
        hit = bit_arrays.any_of(_lead(mask(selem), x.ndim) & differs, -2)
    elif x.dtype == jnp.bool_:
        # Count by a product of 0/1 matrices, which is exact in float32 up to 2^24 inputs.
        count = jnp.matmul(
            x.astype(jnp.float32), selem.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
        )
        size = _lead(selem.sum(0, dtype=jnp.float32), count.ndim)
        hit = jnp.where(_lead(erosion, count.ndim), count < size, count > 0)
    else:
        hit = bit_arrays.or_product(x, selem, erosion)
    return hit ^ _lead(mask(erosion ^ node.complement), hit.ndim)


def _match_windows(selem: jax.Array, flip: jax.Array, border: str, x: jax.Array) -> jax.Array:
    """Compute OR(s & (x ^ flip)) over the windows of each pair of input and output channels."""

    def neuron(selem: jax.Array, flip: jax.Array, plane: jax.Array) -> jax.Array:
        if border == "constant":
            padded = pad(plane, selem.shape, border, fill=False) ^ flip
        else:  # under "ignore" the frame never decides: it is 0 once x ^ e is taken
            padded = pad(plane ^ flip, selem.shape, border, fill=False)
        return shift_or(padded, selem)

    over_outputs = jax.vmap(neuron, in_axes=(-1, -1, None), out_axes=-1)
    return jax.vmap(over_outputs, in_axes=(-2, -2, -1), out_axes=-2)(selem, flip, x)


def complement(x: jax.Array, *, symmetric: bool = False) -> jax.Array:
    """Complement an image: 1 - x for floats (-x when symmetric), NOT for bool and words.

    Args:
        x: floats, bool or words, any shape.
        symmetric: whether floats are in [-1, 1].

    Returns:
        An array of the shape and dtype of `x`.

    Raises:
        ValueError: if `x` has another dtype.

    Example:
        >>> complement(jnp.array([True, False])).tolist()
        [False, True]
    """
    x = bit_arrays.native(x)
    bit_arrays.check_carrier("x", x)
    return _complement(x, symmetric=symmetric)


@mark
def _complement(x: jax.Array, *, symmetric: bool) -> jax.Array:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return -x if symmetric else 1 - x
    return ~x


def concatenate(arrays: Sequence[jax.Array], *, axis: int = -1) -> jax.Array:
    """Join feature maps along an axis.

    Args:
        arrays: feature maps of one dtype.
        axis: axis to join along; the channels by default.

    Returns:
        The joined array.

    Example:
        >>> concatenate([jnp.zeros((2, 3)), jnp.ones((2, 1))]).shape
        (2, 4)
    """
    return jnp.concatenate(arrays, axis=axis)


def flatten(x: jax.Array) -> jax.Array:
    """Flatten all axes but the first (the batch).

    Args:
        x: array `(batch, ...)`.

    Returns:
        An array `(batch, features)`.

    Example:
        >>> flatten(jnp.zeros((2, 3, 4))).shape
        (2, 12)
    """
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def union_pool(
    x: jax.Array, *, window: tuple[int, ...], strides: tuple[int, ...] | None = None
) -> jax.Array:
    """Take the union over windows of the image: max for floats, OR for bool and words.

    Only windows inside the image count ("valid").

    Args:
        x: floats, bool or words, `(batch, H, W, channels)`; rows and volumes have one image axis
            less or more.
        window: height and width of the window, one side for each image axis.
        strides: steps between windows, likewise; the window itself by default.

    Returns:
        An array `(batch, H', W', channels)` of the dtype of `x`.

    Raises:
        ValueError: if `x` has another rank or dtype, or the window has other than one to three
            sides.

    Example:
        >>> union_pool(jnp.zeros((1, 8, 6, 2), bool), window=(2, 2)).shape
        (1, 4, 3, 2)
    """
    _checks.require(1 <= len(window) <= 3, "window", "one to three sides", window)
    frame = _FRAMES[len(window)]
    is_image = x.ndim == len(window) + 2
    _checks.require(is_image, "x", f"shape (batch, {frame}, channels)", x.shape)
    is_steps = strides is None or len(strides) == len(window)
    _checks.require(is_steps, "strides", f"{len(window)} steps, one for each side", strides)
    x = bit_arrays.native(x)
    bit_arrays.check_carrier("x", x)
    return _union_pool(x, window=window, strides=strides)


@mark
def _union_pool(
    x: jax.Array, *, window: tuple[int, ...], strides: tuple[int, ...] | None
) -> jax.Array:
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    start, join = (-np.inf, jax.lax.max) if floating else (0, jax.lax.bitwise_or)
    steps = strides or window
    return jax.lax.reduce_window(
        x, np.array(start, x.dtype), join, (1, *window, 1), (1, *steps, 1), "VALID"
    )
