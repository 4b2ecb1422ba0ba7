"""Forward passes of neurons: one function, `apply(node, x)`, for real and for binary banks.

What `x` is follows the node: floats in [0, 1] (in [-1, 1] for symmetric banks) for a `BiSE`; for a
`BinaryBiSE` bool, or words with 32 images in their bits (`morphax.pack`). Layout, by role
(`morphax.neurons.nodes`):

| role      | x                     | result                |
|-----------|-----------------------|-----------------------|
| "spatial" | `(batch, H, W, in)`   | `(batch, H, W, in, out)` |
| "lui"     | `(..., in, out)`      | `(..., out)`          |
| "dense"   | `(..., in)`           | `(..., out)`          |

A model built only from `apply`, `complement`, `concatenate`, `flatten`, `union_pool` and, at its end,
`morphax.group_sum` runs, from the same code, as the real network and as its binary twin, on bool and on
words; `morphax.program.trace` can follow it. A constant of all carriers is `jnp.zeros(shape, x.dtype)`, or
`complement` of it (`jnp.ones` is 1 for the first image of a word only). On words the first axis holds
32 images an element, and what fills the last word is 1 after a complement: never reduce over the batch
before `morphax.unpack`.

Source: Aouad & Talbot, DGMM 2022 (arXiv 2204.08768) and arXiv 2401.03830; border "ignore" is ours.
"""

from collections.abc import Sequence
from functools import cache, partial, wraps

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.morphology.shift import pad, shift_or
from morphax.neurons import _correlate
from morphax.neurons.nodes import BinaryBiSE, BiSE, Node, check_shapes, effective, unbank
from morphax.neurons.thresholds import threshold


def mark(function):
    """Give a function a name that `morphax.program.trace` finds in a trace: `morphax.<name>`.

    Static options, all keyword-only, travel in the jaxpr as part of the name.
    """

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
    """Which operation a neuron would be: erosion where b > P / 2, P the sum of positive weights.

    The one rule of the library: the certificate, the binary network and the border all use it.

    Args:
        weights: effective weights, float `(..., n)`.
        bias: effective bias, float `(...)`.
        symmetric: the neuron works on {-1, 1}.

    Returns:
        bool `(...)`.

    Example:
        >>> bool(guess_erosion(jnp.ones(5), jnp.array(4.5)))
        True
    """
    if symmetric:  # the same rule after x = 2 y - 1
        bias = (bias + weights.sum(-1)) / 2
    return bias > jnp.maximum(weights, 0).sum(-1) / 2


def apply(node: Node, x: jax.Array) -> jax.Array:
    """Forward pass of a bank of neurons, real or binary (see the module docstring for layouts).

    Args:
        node: `BiSE` (real) or `BinaryBiSE` (binary).
        x: float in [0, 1] or [-1, 1] for a real bank; bool or words for a binary one.

    Returns:
        Array laid out by role; bool or words as `x`, or the wider of the dtypes of `x` and of the node.

    Raises:
        ValueError: shapes of the node that do not fit each other, wrong rank or channel count of
            `x`, or a dtype that does not fit the node.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.ones((3, 3, 1, 1)), jnp.ones((1, 1)), jnp.ones((1, 1)), Spec())
        >>> apply(node, jnp.ones((2, 8, 8, 1))).shape
        (2, 8, 8, 1, 1)
    """
    check_shapes(node)
    role = node.spec.role
    binary = isinstance(node, BinaryBiSE)
    weight = node.selem if binary else node.weight
    if role == "spatial":
        _checks.require(x.ndim == 4, "x", "shape (batch, H, W, in)", x.shape)
    channels = x.shape[-2:] if role == "lui" else x.shape[-1:]
    expected = weight.shape[-2:] if role == "lui" else weight.shape[-2:-1]
    _checks.require(channels == expected, "x", f"trailing axes {expected} (channels)", x.shape)
    if binary:
        bit_arrays.check_bits("x", x)
        return _apply_binary(node, x)
    _checks.require(jnp.issubdtype(x.dtype, jnp.floating), "x",
                   "floats for real neurons (x.astype(float) makes them)", x.dtype)  # fmt: skip
    return _apply_real(node, x)


@mark
def _apply_real(node: BiSE, x: jax.Array) -> jax.Array:
    spec = node.spec
    weights, bias, scale = effective(node)
    # Never narrower than the parameters: the certificate counts on their precision.
    x = x.astype(jnp.result_type(x, weights, bias, scale))
    weight = unbank(node, weights).astype(x.dtype)
    if spec.role == "spatial":
        total = _windows_real(
            node, weight, guess_erosion(weights, bias, symmetric=spec.symmetric), x
        )
    elif spec.role == "lui":
        total = (x * _lead(weight, x.ndim)).sum(-2)
    else:
        total = jnp.matmul(x, weight, precision=jax.lax.Precision.HIGHEST)
    potential = _lead(scale, total.ndim) * (total - _lead(bias, total.ndim))
    return threshold(potential, spec.threshold, symmetric=spec.symmetric)


def _lead(array: jax.Array, rank: int) -> jax.Array:
    """Lead with axes of size 1 up to `rank`: broadcasting stays explicit."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _windows_real(node: BiSE, weight: jax.Array, erosion: jax.Array, x: jax.Array) -> jax.Array:
    spec, window = node.spec, weight.shape[:2]
    if spec.border == "replicate":
        return _correlate.correlate(_correlate.pad(x, window, "edge"), weight)
    background = -1.0 if spec.symmetric else 0.0
    if spec.border == "constant":
        return _correlate.correlate(_correlate.pad(x, window, "constant", background), weight)
    # "ignore": the frame is foreground for an erosion. Its share does not depend on the batch.
    inside = _correlate.correlate(_correlate.pad(x, window, "constant", 0), weight)
    # The zero is hidden from the compiler, which would fold constants of the size of the image.
    zero = jax.lax.optimization_barrier(jnp.zeros((), x.dtype))
    image = jnp.broadcast_to(zero, (1, *x.shape[1:]))
    frame = _correlate.pad(image, window, "constant", 1)
    foreground = jnp.where(erosion, 1.0, background).astype(x.dtype)
    return inside + _correlate.correlate(frame, weight) * _lead(foreground, 5)


@mark
def _apply_binary(node: BinaryBiSE, x: jax.Array) -> jax.Array:
    # out = OR(s & (x ^ e)) ^ e ^ c: both operations in one line.
    selem, erosion, role = node.selem, node.erosion, node.spec.role
    mask = partial(bit_arrays.mask, like=x)
    if role == "spatial":
        hit = _windows_binary(selem, mask(erosion), node.spec.border, x)
    elif role == "lui":
        differs = x ^ _lead(mask(erosion), x.ndim)
        hit = bit_arrays.any_of(_lead(mask(selem), x.ndim) & differs, -2)
    elif x.dtype == jnp.bool_:
        # Counts as a product of 0/1 matrices: exact in float32 up to 2^24 inputs.
        count = jnp.matmul(
            x.astype(jnp.float32), selem.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
        )
        size = _lead(selem.sum(0, dtype=jnp.float32), count.ndim)
        hit = jnp.where(_lead(erosion, count.ndim), count < size, count > 0)
    else:
        hit = bit_arrays.or_product(x, selem, erosion)
    return hit ^ _lead(mask(erosion ^ node.complement), hit.ndim)


def _windows_binary(selem: jax.Array, flip: jax.Array, border: str, x: jax.Array) -> jax.Array:
    def neuron(selem: jax.Array, flip: jax.Array, plane: jax.Array) -> jax.Array:
        if border == "constant":
            padded = pad(plane, selem.shape, border, fill=False) ^ flip
        else:  # under "ignore" the frame never decides: it is 0 once x ^ e is taken
            padded = pad(plane ^ flip, selem.shape, border, fill=False)
        return shift_or(padded, selem)

    over_outputs = jax.vmap(neuron, in_axes=(-1, -1, None), out_axes=-1)
    return jax.vmap(over_outputs, in_axes=(-2, -2, -1), out_axes=-2)(selem, flip, x)


def complement(x: jax.Array, *, symmetric: bool = False) -> jax.Array:
    """Complement of an image: 1 - x for floats (-x when symmetric), NOT for bool and words.

    Example:
        >>> complement(jnp.array([True, False])).tolist()
        [False, True]
    """
    bit_arrays.check_carrier("x", x)
    return _complement(x, symmetric=symmetric)


@mark
def _complement(x: jax.Array, *, symmetric: bool) -> jax.Array:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return -x if symmetric else 1 - x
    return ~x


def concatenate(arrays: Sequence[jax.Array], *, axis: int = -1) -> jax.Array:
    """Join feature maps along an axis (channels, by default).

    Example:
        >>> concatenate([jnp.zeros((2, 3)), jnp.ones((2, 1))]).shape
        (2, 4)
    """
    return jnp.concatenate(arrays, axis=axis)


def flatten(x: jax.Array) -> jax.Array:
    """Flatten all axes but the first (the batch).

    Example:
        >>> flatten(jnp.zeros((2, 3, 4))).shape
        (2, 12)
    """
    return x.reshape(x.shape[0], -1)


def union_pool(
    x: jax.Array, *, window: tuple[int, int], strides: tuple[int, int] | None = None
) -> jax.Array:
    """Union over windows of the image: max for floats, OR for bool and words ("valid").

    Args:
        x: `(batch, H, W, channels)`.
        window: (height, width) of the pool.
        strides: its steps; the window itself by default.

    Returns:
        `(batch, H', W', channels)`.

    Example:
        >>> union_pool(jnp.zeros((1, 8, 6, 2), bool), window=(2, 2)).shape
        (1, 4, 3, 2)
    """
    _checks.require(x.ndim == 4, "x", "shape (batch, H, W, channels)", x.shape)
    bit_arrays.check_carrier("x", x)
    return _union_pool(x, window=window, strides=strides)


@mark
def _union_pool(
    x: jax.Array, *, window: tuple[int, int], strides: tuple[int, int] | None
) -> jax.Array:
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    start, join = (-np.inf, jax.lax.max) if floating else (0, jax.lax.bitwise_or)
    steps = strides or window
    return jax.lax.reduce_window(
        x, np.array(start, x.dtype), join, (1, *window, 1), (1, *steps, 1), "VALID"
    )
