r"""Certificates of neurons: which are exactly an erosion or a dilation, decided from parameters.

A neuron with effective weights w and bias b is exact on images with dead zone (v1, v2) (no input
lies in ]v1, v2[) when L < b < U, where P is the sum of its positive weights and M the sum of the
absolute values of its negative ones:

- dilation by S:  L = sum_{i not in S} w_i^+ + sum_{S} v1_i w_i^+,   U = min_{S} v2_i w_i - M
- erosion by S:   L = P - min_{S} (1 - v1_i) w_i,                    U = sum_{S} v2_i w_i^+ - M

S is unique and read off the weights, so the check is O(n). It holds both ways: inside the bounds
the neuron is the operation on *every* such image, and outside there is an image on which it is not
(docs/theory.md, section 2, has the proof).

Rounding: `exact` demands L + t < b < U - t with the allowance t of
`morphax.certificates._rounding`, so `exact` is never wrong for the float neuron; a neuron that it
misses lies within t of a bound. docs/numerics.md proves it.

Weights are `(..., n)` and biases `(...)`. Source: Aouad & Talbot, arXiv 2401.03830, theorem 1;
weights of any sign, margins and the rounding allowance are ours (docs/conventions.md).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax._compiling import quick_jit
from morphax.certificates import _rounding
from morphax.morphology.dtypes import array_text, at_least_single, is_known
from morphax.neurons.forward import guess_erosion
from morphax.neurons.nodes import (
    BinaryBiSE,
    BiSE,
    bank,
    check_shapes,
    effective,
    leaves,
    map_nodes,
    unbank,
)
from morphax.neurons.thresholds import threshold

EROSION, DILATION = 0, 1


class Certificate(NamedTuple):
    """Hold the operation of every neuron of a bank, and whether it is proved.

    Attributes:
        operation: int8 `(...)`, 0 = erosion, 1 = dilation (before any complement).
        selem: S, bool, in the layout of the weights: the window that the neuron looks at.
        exact: bool `(...)`, the proof: it is never true for a neuron that is wrong on one input.
        margin: float `(...)`, min(b - L, U - b) / ||(w, b)||: positive inside the bounds, negative
            outside.
    """

    operation: jax.Array
    selem: jax.Array
    exact: jax.Array
    margin: jax.Array

    def __repr__(self) -> str:
        """Return how many neurons are exact and the range of their margins, if known."""
        exact, margin = array_text(self.exact), array_text(self.margin)
        if is_known(self.exact) and is_known(self.margin) and self.exact.size:
            exact = f"{np.sum(self.exact)} of {self.exact.size}"
            margin = f"{np.min(self.margin):.3g} to {np.max(self.margin):.3g}"
        arrays = f"operation={array_text(self.operation)}, selem={array_text(self.selem)}"
        return f"Certificate(exact={exact}, margin={margin}, {arrays})"


DeadZone = tuple[ArrayLike, ArrayLike]
"""The ends (v1, v2), each broadcasting to the weights."""


def _spread(zone: ArrayLike, weights: jax.Array) -> jax.Array:
    """Return one end of a dead zone as an array of the shape and dtype of the weights."""
    return jnp.broadcast_to(jnp.asarray(zone, weights.dtype), weights.shape)


def find_selem(
    weights: jax.Array, bias: jax.Array, *, dead_zone: DeadZone = (0.0, 1.0)
) -> tuple[jax.Array, jax.Array]:
    """Return the only operation and structuring element that a neuron can be exact for.

    Args:
        weights: effective weights, float `(..., n)`.
        bias: effective bias, float `(...)`.
        dead_zone: (v1, v2), each broadcasting to the weights.

    Returns:
        The operation, int8 `(...)`, and the structuring element, bool `(..., n)`.

    Example:
        >>> operation, selem = find_selem(jnp.array([1.0, 0.1, 0.9]), jnp.array(0.5))
        >>> int(operation), selem.tolist()
        (1, [True, False, True])
    """
    v1, v2 = _spread(dead_zone[0], weights), _spread(dead_zone[1], weights)
    total = jnp.maximum(weights, 0).sum(-1)
    # A pixel is in S if it decides alone: without it the sum of an erosion is at most b, with it
    # that of a dilation is above b.
    erosion = guess_erosion(weights, bias)
    selem = jnp.where(
        erosion[..., None],
        (1 - v1) * weights >= (total - bias)[..., None],
        v2 * weights > bias[..., None],
    )
    return jnp.where(erosion, EROSION, DILATION).astype(jnp.int8), selem & (weights > 0)


def activation_bounds(
    weights: jax.Array,
    selem: jax.Array,
    operation: jax.Array,
    *,
    dead_zone: DeadZone = (0.0, 1.0),
) -> tuple[jax.Array, jax.Array]:
    """Compute the bounds L, U of the bias between which a neuron is `operation` by `selem`.

    Args:
        weights: effective weights, float `(..., n)`.
        selem: S, bool `(..., n)`.
        operation: integer `(...)`, 0 = erosion, 1 = dilation.
        dead_zone: (v1, v2), each broadcasting to the weights.

    Returns:
        L and U, float `(...)`; U = -inf where S is empty.

    Example:
        >>> low, high = activation_bounds(jnp.ones(3), jnp.ones(3, bool), jnp.array(0))
        >>> float(low), float(high)
        (2.0, 3.0)
    """
    v1, v2 = _spread(dead_zone[0], weights), _spread(dead_zone[1], weights)
    positive = jnp.maximum(weights, 0)
    negative = jnp.maximum(-weights, 0).sum(-1)
    inside = jnp.where(selem, weights, jnp.inf)
    # The neurons of a bank differ, so both operations are computed and one of them is chosen.
    dilation_low = jnp.where(selem, v1 * positive, positive).sum(-1)
    dilation_high = (v2 * inside).min(-1) - negative
    erosion_low = positive.sum(-1) - ((1 - v1) * inside).min(-1)
    erosion_high = jnp.where(selem, v2 * positive, 0).sum(-1) - negative
    dilation = operation == DILATION
    high = jnp.where(dilation, dilation_high, erosion_high)
    return jnp.where(dilation, dilation_low, erosion_low), jnp.where(selem.any(-1), high, -jnp.inf)


def _check_bank(weights: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Check the shapes and dtypes of a bank; return it in single precision or better."""
    weights, bias = jnp.asarray(weights), jnp.asarray(bias)
    shape, expected = weights.shape, "shape (..., n), n >= 1"
    _checks.require(len(shape) >= 1 and shape[-1] >= 1, "weights", expected, shape)
    _checks.require(bias.shape == shape[:-1], "bias", f"shape {shape[:-1]}", bias.shape)
    dtype = at_least_single(weights.dtype, bias.dtype)
    _checks.require(
        jnp.issubdtype(dtype, jnp.floating), "weights and bias", "real numbers", str(dtype)
    )
    return weights.astype(dtype), bias.astype(dtype)


def certify_neurons(
    weights: jax.Array, bias: jax.Array, *, dead_zone: DeadZone = (0.0, 1.0)
) -> Certificate:
    """Certify a bank of neurons from its effective parameters.

    Args:
        weights: effective weights, float `(..., n)`, of any sign.
        bias: threshold that is subtracted, float `(...)`.
        dead_zone: (v1, v2) with 0 <= v1 <= 1/2 <= v2 <= 1, each broadcasting to the weights: no
            input i lies in ]v1_i, v2_i[. (0, 1) means binary inputs.

    Returns:
        A `Certificate`, whose `selem` is shaped as `weights`. NaN or infinite parameters are not
        exact.

    Raises:
        ValueError: if shapes do not fit.

    Example:
        >>> certificate = certify_neurons(jnp.array([1.0, 0.1, 0.9]), jnp.array(0.5))
        >>> bool(certificate.exact), certificate.selem.tolist()
        (True, [True, False, True])
    """
    stored = _rounding.coarsest(jnp.asarray(weights), jnp.asarray(bias))
    weights, bias = _check_bank(weights, bias)
    return _certify_bank(weights, bias, dead_zone, stored=stored)


@partial(quick_jit, static_argnames="stored")
def _certify_bank(
    weights: jax.Array, bias: jax.Array, dead_zone: DeadZone, *, stored: _rounding.Arithmetic
) -> Certificate:
    """Certify a bank that was stored in the given arithmetic."""
    allowance = _rounding.rounding_allowance(weights, bias, arithmetic=stored)
    return _certify(weights, bias, dead_zone, allowance)[0]


def _certify(
    weights: jax.Array, bias: jax.Array, dead_zone: DeadZone, allowance: jax.Array
) -> tuple[Certificate, jax.Array, jax.Array]:
    """Return the certificate, and how far b is above L + t and below U - t, each `(...)`."""
    operation, selem = find_selem(weights, bias, dead_zone=dead_zone)
    low, high = activation_bounds(weights, selem, operation, dead_zone=dead_zone)
    below, above = bias - low - allowance, high - bias - allowance
    exact = (below > 0) & (above > 0)  # false for NaN
    exact &= jnp.isfinite(bias) & jnp.isfinite(weights).all(-1)
    # The norm takes two steps, so that the squares of tiny or huge parameters stay in range.
    largest = jnp.maximum(jnp.abs(weights).max(-1), jnp.abs(bias))
    largest = jnp.where(largest > 0, largest, 1)
    norm = jnp.sqrt(((weights / largest[..., None]) ** 2).sum(-1) + (bias / largest) ** 2)
    gap = jnp.minimum(bias - low, high - bias) / largest
    margin = gap / jnp.where(norm > 0, norm, 1)
    return Certificate(operation, selem, exact, margin), below, above


@quick_jit
def certify_node(
    node: BiSE, *, dead_zone: DeadZone = (0.0, 1.0)
) -> tuple[Certificate, tuple[jax.Array, jax.Array]]:
    """Certify one `BiSE` node, scale and border included, and carry the dead zone through it.

    Args:
        node: a bank of neurons.
        dead_zone: (v1, v2) of the inputs in [0, 1] coordinates, broadcasting to `(..., n)`; for a
            symmetric node, those of (x + 1) / 2.

    Returns:
        The certificate (`selem` in the layout of `node.weight`) and the dead zone of the output,
        each end shaped as `node.bias`, in [0, 1] coordinates. Where the neuron is not exact, the
        zone is (1/2, 1/2), which promises nothing.

    Raises:
        ValueError: if arrays do not fit each other.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> spec = Spec("dense", "identity", "raw")
        >>> node = BiSE(jnp.ones((4, 1)), jnp.full(1, 0.5), jnp.ones(1), spec)
        >>> certificate, (v1, v2) = certify_node(node)
        >>> bool(certificate.exact[0]), bool(v1[0] < 0.5 < v2[0])
        (True, True)
    """
    check_shapes(node)
    spec, stored = node.spec, _rounding.coarsest(*leaves(node))
    weights, bias, scale = effective(node)
    weights, bias = _check_bank(weights, bias)
    scale = scale.astype(weights.dtype)
    # A symmetric neuron is certified in [0, 1] coordinates (docs/theory.md, section 4).
    unit_bias = (bias + weights.sum(-1)) / 2 if spec.symmetric else bias
    allowance = _rounding.rounding_allowance(
        weights,
        unit_bias,
        arithmetic=stored,
        sums=_rounding.sums_of(spec.weight_map, spec.bias_map),
        offset=spec.offset if spec.bias_map == "positive" else 0.0,
    )
    certificate, below, above = _certify(weights, unit_bias, dead_zone, allowance)
    # The ends of the output's zone, drawn towards 1/2 by the error of the threshold itself as XLA
    # evaluates it. In a symmetric neuron's own coordinates the same gap is twice as wide.
    stretch = 2 * scale if spec.symmetric else scale
    slack = 16 * stored.unit
    ends = threshold(-below * stretch, spec.threshold), threshold(above * stretch, spec.threshold)
    v1, v2 = jnp.minimum(*ends) + slack, jnp.maximum(*ends) - slack
    exact = certificate.exact & (v1 < 0.5) & (v2 > 0.5)
    # A subnormal scale is 0 where subnormals are flushed.
    exact &= jnp.isfinite(scale) & (jnp.abs(scale) >= stored.tiny)
    if spec.weight_map == "dual":
        exact &= _rounding.quotients_hold(bank(node, node.weight), spec.factor, stored)
    if spec.role == "spatial" and spec.border == "ignore":
        exact &= ~_frame_is_open(weights, unit_bias, certificate.selem, allowance)
    zone = jnp.where(exact, v1, 0.5), jnp.where(exact, v2, 0.5)
    selem = unbank(node, certificate.selem)
    return certificate._replace(selem=selem, exact=exact), zone


def _frame_is_open(
    weights: jax.Array, bias: jax.Array, selem: jax.Array, allowance: jax.Array
) -> jax.Array:
    """Find the neurons whose frame another program may read differently: b = P / 2 within rounding.

    Under border "ignore" the frame depends on whether b > P / 2. Only an off-centre translation
    (|S| = 1) can be exact with b so near to P / 2.
    """
    away = selem.at[..., weights.shape[-1] // 2].set(False).any(-1)
    return away & (jnp.abs(bias - jnp.maximum(weights, 0).sum(-1) / 2) <= allowance)


def certify(params: Any) -> Any:
    """Certify every neuron of a params tree on binary inputs, each by itself.

    For a whole network this is necessary but not sufficient, as its wiring counts too: use
    `morphax.certify_network`.

    Args:
        params: any pytree holding `BiSE` nodes.

    Returns:
        The tree with a `Certificate` in place of each node (`selem` is laid out as the weight). A
        neuron with a scale p = 0, or so small that its output does not leave 1/2, is not exact; p <
        0 complements.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.ones((1, 1)), jnp.full(1, 0.5), jnp.ones(1),
        ...             Spec("dense", "identity", "raw"))
        >>> bool(certify({"neuron": node})["neuron"].exact[0])
        True
    """
    return map_nodes(lambda node: certify_node(node)[0], params)


def structuring_element(found: Certificate | BinaryBiSE, *index: int) -> jax.Array:
    """Return the textbook structuring element of one neuron of a spatial bank.

    It is the set that scipy takes: `scipy.ndimage.binary_dilation(x, selem)` or `binary_erosion(x,
    selem)` reproduces the neuron. A neuron looks at a window S; a dilation that does so is the
    textbook dilation by S reflected. Along a side of even length, the origin of the reflected set
    lies one pixel before the default of scipy: pass `origin=-1` for that axis of a dilation.

    Args:
        found: certificate from `certify`, or `BinaryBiSE`, of a spatial bank.
        *index: input channel and output channel.

    Returns:
        The set, bool `(kh, kw)`, or with as many axes as the window.

    Raises:
        ValueError: if the bank is not spatial, or the index does not fit.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BinaryBiSE(jnp.eye(3, dtype=bool)[:, ::-1, None, None], jnp.ones((1, 1), bool),
        ...                   jnp.zeros((1, 1), bool), Spec())
        >>> structuring_element(node, 0, 0).astype(int).tolist()
        [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    """
    binary = isinstance(found, BinaryBiSE)
    operation = found.erosion if binary else found.operation == EROSION
    is_spatial = operation.ndim == 2 and 3 <= found.selem.ndim <= 5
    _checks.require(is_spatial, "found", "a spatial bank (kh, kw, in, out)", found.selem.shape)
    shape = operation.shape
    in_range = len(index) == 2 and all(0 <= i < size for i, size in zip(index, shape, strict=True))
    _checks.require(in_range, "index", f"(in, out) below {shape}", index)
    window = found.selem[(..., *index)]
    return jnp.where(operation[index], window, jnp.flip(window))
