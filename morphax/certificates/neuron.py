r"""Certificates: which neurons are exactly an erosion or a dilation, decided from their parameters.

A neuron with effective weights w and bias b is exact on images with dead zone (v1, v2) (no input in
]v1, v2[) when L < b < U, with P the sum of its positive weights and M of its negative ones in
absolute value:

- dilation by S:  L = sum_{i not in S} w_i^+ + sum_{S} v1_i w_i^+,   U = min_{S} v2_i w_i - M
- erosion by S:   L = P - min_{S} (1 - v1_i) w_i,                    U = sum_{S} v2_i w_i^+ - M

S is unique and read off the weights, so the check is O(n). Both ways: inside the bounds the neuron is
the operation on *every* such image, outside there is an image on which it is not.

Rounding. `exact` demands L + t < b < U - t with the allowance t of `morphax.certificates._rounding`, so `exact` is
never wrong for the float neuron; what it can miss lies within t of a bound. docs/numerics.md proves it.

Weights are `(..., n)` and biases `(...)`. Source: Aouad & Talbot, arXiv 2401.03830, theorem 1; free
sign, margins and the rounding allowance are ours (docs/conventions.md).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from morphax import _checks
from morphax.certificates._rounding import coarsest, quotients_hold, rounding_allowance, sums_of
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
    """What a bank of neurons is, and whether that is proved.

    Attributes:
        operation: int8 `(...)`, 0 = erosion, 1 = dilation (before any complement).
        selem: S, bool, in the layout of the weights; the window that is looked at.
        exact: bool `(...)`, the proof: never true for a neuron that is wrong on one input.
        margin: float `(...)`, min(b - L, U - b) / ||(w, b)||, signed: how far inside (outside).
    """

    operation: jax.Array
    selem: jax.Array
    exact: jax.Array
    margin: jax.Array


DeadZone = tuple[Any, Any]


def _row(zone: Any, weights: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(zone, weights.dtype), weights.shape)


def find_selem(
    weights: jax.Array, bias: jax.Array, *, dead_zone: DeadZone = (0.0, 1.0)
) -> tuple[jax.Array, jax.Array]:
    """The only operation and structuring element a neuron can be exact for.

    Args:
        weights: float `(..., n)`.
        bias: float `(...)`.
        dead_zone: (v1, v2), each broadcasting to the weights.

    Returns:
        operation int8 `(...)` and selem bool `(..., n)`.

    Example:
        >>> operation, selem = find_selem(jnp.array([1.0, 0.1, 0.9]), jnp.array(0.5))
        >>> int(operation), selem.tolist()
        (1, [True, False, True])
    """
    v1, v2 = _row(dead_zone[0], weights), _row(dead_zone[1], weights)
    total = jnp.maximum(weights, 0).sum(-1)
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
    """The bounds L, U of the bias between which a neuron is `operation` by `selem`.

    Args:
        weights: float `(..., n)`.
        selem: bool `(..., n)`.
        operation: integer `(...)`, 0 = erosion, 1 = dilation.
        dead_zone: (v1, v2), each broadcasting to the weights.

    Returns:
        L and U, float `(...)`; U = -inf where S is empty.

    Example:
        >>> low, high = activation_bounds(jnp.ones(3), jnp.ones(3, bool), jnp.array(0))
        >>> float(low), float(high)
        (2.0, 3.0)
    """
    v1, v2 = _row(dead_zone[0], weights), _row(dead_zone[1], weights)
    positive = jnp.maximum(weights, 0)
    negative = jnp.maximum(-weights, 0).sum(-1)
    inside = jnp.where(selem, weights, jnp.inf)
    dilation_low = jnp.where(selem, v1 * positive, positive).sum(-1)
    dilation_high = (v2 * inside).min(-1) - negative
    erosion_low = positive.sum(-1) - ((1 - v1) * inside).min(-1)
    erosion_high = jnp.where(selem, v2 * positive, 0).sum(-1) - negative
    dilation = operation == DILATION
    high = jnp.where(dilation, dilation_high, erosion_high)
    return jnp.where(dilation, dilation_low, erosion_low), jnp.where(selem.any(-1), high, -jnp.inf)


def _check_bank(weights: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The bank in single precision or better."""
    weights, bias = jnp.asarray(weights), jnp.asarray(bias)
    _checks.require(weights.ndim >= 1 and weights.shape[-1] >= 1, "weights", "shape (..., n), n >= 1",
                   weights.shape)  # fmt: skip
    _checks.require(
        bias.shape == weights.shape[:-1], "bias", f"shape {weights.shape[:-1]}", bias.shape
    )
    dtype = jnp.promote_types(jnp.result_type(weights, bias), jnp.float32)
    _checks.require(
        jnp.issubdtype(dtype, jnp.floating), "weights and bias", "real numbers", str(dtype)
    )
    return weights.astype(dtype), bias.astype(dtype)


def certify_neurons(
    weights: jax.Array, bias: jax.Array, *, dead_zone: DeadZone = (0.0, 1.0)
) -> Certificate:
    """Certify a bank of neurons from its effective parameters.

    Args:
        weights: float `(..., n)`, of any sign.
        bias: float `(...)`, the threshold that is subtracted.
        dead_zone: (v1, v2) with 0 <= v1 <= 1/2 <= v2 <= 1, each broadcasting to the weights: no input i
            lies in ]v1_i, v2_i[. (0, 1) means binary inputs.

    Returns:
        `Certificate`, `selem` shaped as `weights`. NaN or infinite parameters are not exact.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> certificate = certify_neurons(jnp.array([1.0, 0.1, 0.9]), jnp.array(0.5))
        >>> bool(certificate.exact), certificate.selem.tolist()
        (True, [True, False, True])
    """
    stored = coarsest(jnp.asarray(weights), jnp.asarray(bias))
    weights, bias = _check_bank(weights, bias)
    allowance = rounding_allowance(weights, bias, arithmetic=stored)
    return _certify(weights, bias, dead_zone, allowance)[0]


def _certify(
    weights: jax.Array, bias: jax.Array, dead_zone: DeadZone, allowance: jax.Array
) -> tuple[Certificate, jax.Array, jax.Array]:
    """The certificate, and how far b is inside each bound once rounding is allowed for."""
    operation, selem = find_selem(weights, bias, dead_zone=dead_zone)
    low, high = activation_bounds(weights, selem, operation, dead_zone=dead_zone)
    below, above = bias - low - allowance, high - bias - allowance
    exact = (below > 0) & (above > 0)  # false for NaN
    exact &= jnp.isfinite(bias) & jnp.isfinite(weights).all(-1)
    # In two steps, so that neither tiny nor huge parameters leave the range of the dtype.
    largest = jnp.maximum(jnp.abs(weights).max(-1), jnp.abs(bias))
    largest = jnp.where(largest > 0, largest, 1)
    norm = jnp.sqrt(((weights / largest[..., None]) ** 2).sum(-1) + (bias / largest) ** 2)
    gap = jnp.minimum(bias - low, high - bias) / largest
    margin = gap / jnp.where(norm > 0, norm, 1)
    return Certificate(operation, selem, exact, margin), below, above


@jax.jit
def certify_node(
    node: BiSE, *, dead_zone: DeadZone = (0.0, 1.0)
) -> tuple[Certificate, tuple[jax.Array, jax.Array]]:
    """Certify one `BiSE` node, scale and border included, and carry the dead zone through it.

    Args:
        node: a bank.
        dead_zone: (v1, v2) of the inputs in [0, 1] coordinates, broadcasting to `(..., n)`; for a
            symmetric node, of (x + 1) / 2.

    Returns:
        The certificate (`selem` in the layout of `node.weight`) and the dead zone of the output, each
        end shaped as `node.bias`, in [0, 1] coordinates; (1/2, 1/2), which promises nothing, where the
        neuron is not exact.

    Raises:
        ValueError: arrays that do not fit each other.
    """
    check_shapes(node)
    spec, stored = node.spec, coarsest(*leaves(node))
    weights, bias, scale = effective(node)
    weights, bias = _check_bank(weights, bias)
    scale = scale.astype(weights.dtype)
    unit_bias = (bias + weights.sum(-1)) / 2 if spec.symmetric else bias
    allowance = rounding_allowance(
        weights,
        unit_bias,
        arithmetic=stored,
        sums=sums_of(spec.weight_map, spec.bias_map),
        offset=spec.offset if spec.bias_map == "positive" else 0.0,
    )
    certificate, below, above = _certify(weights, unit_bias, dead_zone, allowance)
    # In the neuron's own coordinates the same gap is twice as wide.
    stretch = 2 * scale if spec.symmetric else scale
    slack = 16 * stored.unit  # the threshold itself, as XLA evaluates it
    ends = threshold(-below * stretch, spec.threshold), threshold(above * stretch, spec.threshold)
    v1, v2 = jnp.minimum(*ends) + slack, jnp.maximum(*ends) - slack
    exact = certificate.exact & (v1 < 0.5) & (v2 > 0.5)
    # A subnormal scale is 0 where subnormals are flushed.
    exact &= jnp.isfinite(scale) & (jnp.abs(scale) >= stored.tiny)
    if spec.weight_map == "dual":
        exact &= quotients_hold(bank(node, node.weight), spec.factor, stored)
    if spec.role == "spatial" and spec.border == "ignore":
        exact &= ~_frame_is_open(weights, unit_bias, certificate.selem, allowance)
    zone = jnp.where(exact, v1, 0.5), jnp.where(exact, v2, 0.5)
    selem = unbank(node, certificate.selem)
    return certificate._replace(selem=selem, exact=exact), zone


def _frame_is_open(
    weights: jax.Array, bias: jax.Array, selem: jax.Array, allowance: jax.Array
) -> jax.Array:
    """Neurons whose frame may be read differently by another program: b = P / 2 within rounding.

    Only a translation (|S| = 1, off-centre) can be exact there, under border "ignore".
    """
    away = selem.at[..., weights.shape[-1] // 2].set(False).any(-1)
    return away & (jnp.abs(bias - jnp.maximum(weights, 0).sum(-1) / 2) <= allowance)


def certify(params: Any) -> Any:
    """Certify every neuron of a params tree on binary inputs, each by itself.

    Whether a whole network is exact also depends on its wiring: `morphax.certify_network`.

    Args:
        params: any pytree holding `BiSE` nodes.

    Returns:
        The tree with a `Certificate` in place of each node (`selem` laid out as the weight). A scale
        p = 0, or so small that the output does not leave 1/2, is not exact; p < 0 complements.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.ones((1, 1)), jnp.full(1, 0.5), jnp.ones(1),
        ...             Spec("dense", "identity", "raw"))
        >>> bool(certify({"neuron": node})["neuron"].exact[0])
        True
    """
    return map_nodes(lambda node: certify_node(node)[0], params)


def structuring_element(found: Certificate | BinaryBiSE, *index: int) -> jax.Array:
    """The textbook structuring element of one neuron of a spatial bank, the one scipy takes.

    A neuron looks at the window S; the dilation that does so is the dilation by S reflected, so that
    `scipy.ndimage.binary_dilation(x, selem)` or `binary_erosion(x, selem)` reproduces the neuron.

    Args:
        found: a certificate from `certify`, or a `BinaryBiSE`, of a spatial bank.
        *index: (input channel, output channel).

    Returns:
        bool `(kh, kw)`.

    Raises:
        ValueError: not a spatial bank, or an index that does not fit.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BinaryBiSE(jnp.eye(3, dtype=bool)[:, ::-1, None, None], jnp.ones((1, 1), bool),
        ...                   jnp.zeros((1, 1), bool), Spec())
        >>> structuring_element(node, 0, 0).astype(int).tolist()
        [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    """
    _checks.require(
        found.selem.ndim == 4, "found", "a spatial bank (kh, kw, in, out)", found.selem.shape
    )
    shape = found.selem.shape[2:]
    fits = len(index) == 2 and all(0 <= i < size for i, size in zip(index, shape, strict=True))
    _checks.require(fits, "index", f"(in, out) below {shape}", index)
    window = found.selem[:, :, index[0], index[1]]
    binary = isinstance(found, BinaryBiSE)
    erosion = found.erosion[index] if binary else found.operation[index] == EROSION
    return jnp.where(erosion, window, window[::-1, ::-1])
