"""Penalties that draw neurons towards exactly binary ones: plain functions of a params tree.

Each penalty is a sum over all neurons of a function of the *effective* parameters (gradients are
pulled back through the reparametrisation). The papers' penalties are squared distances. Their
gradient is that of the distance to the nearest point with that point held fixed (docs/theory.md,
section 5d), so no solver is differentiated through. `bounds` is not a distance: it adds up by how
much a neuron misses the bounds of its certificate.

| papers        | here                                   |
|---------------|----------------------------------------|
| L_exact       | `exact(params)`                        |
| L_const-exact | `constant(params)`                     |
| L_uni, L_nor  | `constant(params, threshold="uniform")`, `"normal"` |
| (ours)        | `bounds(params)`                       |

Source: Aouad & Talbot, arXiv 2401.03830, section 5; `bounds` is ours (docs/theory.md, section 2).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from morphax import _checks
from morphax.morphology.dtypes import at_least_single
from morphax.neurons import reparam
from morphax.neurons.nodes import BiSE, effective, input_axes, named_nodes
from morphax.projection import project
from morphax.projection.constant import constant_selem
from morphax.projection.result import INVALID


def constant(params: Any, *, threshold: str = "exact") -> jax.Array:
    """Sum over neurons the squared distance of the weights to the nearest constant set theta 1_S.

    Args:
        params: any pytree holding `BiSE` nodes.
        threshold: way to find S: "exact", "uniform" or "normal" (`morphax.projection.constant`).

    Returns:
        A scalar.

    Raises:
        ValueError: if the threshold is unknown.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.array([[1.0], [0.0], [1.0]]), jnp.ones(1), jnp.ones(1),
        ...             Spec("dense", "identity", "raw"))
        >>> float(constant([node]))
        0.0
    """
    total = _zero(params)
    for node in _banks(params):
        weights, _, _ = effective(node)
        # S is a constant for the gradient; theta is the mean of the weights on it.
        selem = constant_selem(jax.lax.stop_gradient(weights), threshold=threshold)
        size = selem.sum(-1, dtype=weights.dtype)
        theta = jnp.maximum(jnp.where(selem, weights, 0).sum(-1) / size, 0)
        nearest = jnp.where(selem, theta[..., None], 0)
        total = total + ((weights - nearest) ** 2).sum().astype(total.dtype)
    return total


def exact(
    params: Any,
    *,
    bias_weight: float = 1.0,
    margin: float = 0.0,
    relative_margin: float = 0.0,
    neurons: int | None = None,
    step: jax.Array | int = 0,
) -> jax.Array:
    """Sum over neurons the squared distance to the nearest activable parameters (L_exact).

    Args:
        params: any pytree holding `BiSE` nodes.
        bias_weight: weight of the bias in the metric.
        margin: distance to aim inside the activable set, in units of the bias (`morphax.project`).
        relative_margin: the same as a multiple of ||(w, b)||; the two are added.
        neurons: number of neurons of each bank to look at, another block at each `step`; all of
            them by default. The sum is scaled up accordingly, so that its average over the blocks
            is right.
        step: number of the block.

    Returns:
        A scalar. Neurons with NaN or infinite parameters add nothing.

    Raises:
        ValueError: if an option is out of range.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> spec = Spec("dense", "identity", "raw")
        >>> node = BiSE(jnp.array([[1.0], [0.0]]), jnp.array([0.5]), jnp.ones(1), spec)
        >>> float(exact([node]))
        0.0
    """
    total = _zero(params)
    for node in _banks(params):
        weights, bias, _ = effective(node)
        weights, bias = weights.reshape(-1, weights.shape[-1]), bias.reshape(-1)
        share = 1.0
        if neurons is not None and neurons < len(bias):
            start = jnp.asarray(step) * neurons
            block = (start + jnp.arange(neurons, dtype=start.dtype)) % len(bias)
            weights, bias, share = weights[block], bias[block], neurons / len(bias)
        # The nearest point is a constant for the gradient.
        near = project(
            jax.lax.stop_gradient(weights),
            jax.lax.stop_gradient(bias),
            nonnegative=node.spec.weight_map != "identity",
            symmetric=node.spec.symmetric,
            bias_weight=bias_weight,
            margin=margin,
            relative_margin=relative_margin,
        )
        is_finite = near.status != INVALID
        moved = jnp.where(is_finite[:, None], weights - near.weights, 0)
        shifted = jnp.where(is_finite, bias - near.bias, 0)
        rho = jnp.asarray(bias_weight, shifted.dtype)
        distance = (moved**2).sum() + rho * (shifted**2).sum()
        total = total + distance.astype(total.dtype) / share
    return total


def bounds(params: Any, *, margin: float = 0.4) -> jax.Array:
    """Sum over neurons by how much each misses the bounds of its certificate, bias included.

    With P the sum of the positive weights, M that of the absolute negative ones and
    t = min(b + M, P - b), a neuron is an erosion or a dilation by S if and only if
    sum_out |w| < t < min_S w (docs/theory.md, section 2). In units of t, a neuron adds

        sum_S (1 + margin - w / t)^+  +  (sum_out |w| / t - 1 + margin)^+,

    where S = {w > t}, or the largest weight alone. The value does not change when a neuron is
    multiplied by a positive number, and it is 0 only on certified neurons. It draws weights outside
    S to 0 one by one and leaves a few large ones, so structuring elements stay small, where a
    distance keeps all of a weighted count and leaves a neuron that is always 0 or always 1.

    Args:
        params: any pytree holding `BiSE` nodes.
        margin: relative distance to aim inside the bounds, from 0 to below 1.

    Returns:
        A scalar.

    Raises:
        ValueError: if the margin is out of range.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> spec = Spec("dense", "identity", "raw")
        >>> union = BiSE(jnp.array([[1.0], [0.0], [1.0]]), jnp.array([0.5]), jnp.ones(1), spec)
        >>> two_of_three = BiSE(jnp.ones((3, 1)), jnp.array([1.5]), jnp.ones(1), spec)
        >>> float(bounds(union)), float(bounds(two_of_three)) > 0
        (0.0, True)
    """
    _checks.number("margin", margin, "from 0 to below 1", lambda margin: 0 <= margin < 1)
    total = _zero(params)
    for node in _banks(params):
        missed = _missed_bounds(node, margin)
        total = total + missed.sum().astype(total.dtype)
    return total


def _missed_bounds(node: BiSE, margin: float) -> jax.Array:
    """Return by how much each neuron of a bank misses the bounds of its certificate."""
    # All sums run over the axes of the inputs where they are stored: XLA on a CPU takes more than
    # twice as long where a large bank is moved first.
    axes, spec = input_axes(node), node.spec
    weights = reparam.effective_weights(
        jnp.asarray(node.weight), spec.weight_map, factor=spec.factor, axis=axes
    )
    _, bias, _ = effective(node)

    def total(x: jax.Array) -> jax.Array:
        return x.sum(axes, dtype=weights.dtype)

    with jax.numpy_dtype_promotion("standard"):
        bias = (bias + total(weights)) / 2 if spec.symmetric else bias
        positive = total(jnp.maximum(weights, 0))
        slack = jnp.minimum(bias + positive - total(weights), positive - bias)  # b + M, P - b
    # The set and the unit that it is compared with are constants for the gradient. A bias beyond
    # all weights leaves no slack; then the bias is drawn back into the bounds.
    fixed = jax.lax.stop_gradient(weights)
    floor = 1e-2 * jnp.abs(fixed).max(axes) + jnp.finfo(weights.dtype).tiny ** 0.25
    unit = jnp.maximum(slack, floor)
    level = jnp.expand_dims(jax.lax.stop_gradient(unit), axes)
    selem = (fixed > level) | _first_largest(fixed, axes)
    short = selem & (fixed < (1 + margin) * level)  # in S, but not by the margin
    small = (1 + margin) * total(short) - total(jnp.where(short, weights, 0)) / unit
    others = total(jnp.where(selem, 0, jnp.abs(weights))) / unit
    return small + jnp.maximum(others - 1 + margin, 0) + jnp.maximum(1 - slack / floor, 0)


def _first_largest(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return a mask of the largest number along axes; of equal ones, of the first."""
    sides = [x.shape[axis] for axis in axes]
    shape = [side if axis in axes else 1 for axis, side in enumerate(x.shape, -x.ndim)]
    place = jnp.arange(math.prod(sides), dtype=jnp.int32).reshape(shape)
    attains = x == x.max(axes, keepdims=True)
    return place == jnp.where(attains, place, math.prod(sides)).min(axes, keepdims=True)


def _zero(params: Any) -> jax.Array:
    """Return a zero of the widest dtype of the banks, float32 at least."""
    return jnp.zeros((), at_least_single(*(node.weight.dtype for node in _banks(params))))


def _banks(params: Any) -> list[BiSE]:
    """Return the real banks of a params tree."""
    return [node for node in named_nodes(params).values() if isinstance(node, BiSE)]
