"""Penalties that draw neurons towards exactly binary ones: plain functions of a params tree.

Each is a sum over all neurons, acts on *effective* parameters (the gradient is pulled back through the
reparametrisation), and its gradient is that of the squared distance to the nearest set with that set
held fixed (envelope theorem): no solver is differentiated through.

| papers        | here                                   |
|---------------|----------------------------------------|
| L_exact       | `exact(params)`                        |
| L_const-exact | `constant(params)`                     |
| L_uni, L_nor  | `constant(params, threshold="uniform")`, `"normal"` |

Source: Aouad & Talbot, arXiv 2401.03830, section 5.
"""

from typing import Any

import jax
import jax.numpy as jnp

from morphax.neurons.nodes import BiSE, effective, named_nodes
from morphax.projection import project
from morphax.projection.constant import constant_selem
from morphax.projection.result import INVALID


def constant(params: Any, *, threshold: str = "exact") -> jax.Array:
    """Squared distance of the weights to the nearest constant set theta 1_S, summed over neurons.

    Args:
        params: any pytree holding `BiSE` nodes.
        threshold: "exact", "uniform" or "normal": how S is found (`morphax.projection.constant`).

    Returns:
        Scalar.

    Raises:
        ValueError: unknown threshold.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.array([[1.0], [0.0], [1.0]]), jnp.ones(1), jnp.ones(1),
        ...             Spec("dense", "identity", "raw"))
        >>> float(constant([node]))
        0.0
    """
    total = jnp.zeros(())
    for node in _banks(params):
        weights, _, _ = effective(node)
        selem = constant_selem(jax.lax.stop_gradient(weights), threshold=threshold)
        size = selem.sum(-1, dtype=weights.dtype)
        theta = jnp.maximum(jnp.where(selem, weights, 0).sum(-1) / size, 0)
        total = total + ((weights - theta[..., None] * selem) ** 2).sum()
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
    """Squared distance to the nearest activable parameters, summed over neurons (L_exact).

    Args:
        params: any pytree holding `BiSE` nodes.
        bias_weight: weight of the bias in the metric.
        margin, relative_margin: how far inside the activable set to aim (`morphax.project`).
        neurons: look only at that many neurons of each bank, another block at each `step`, and scale
            up by what was left out: cheaper, and right on average over a turn.
        step: which block.

    Returns:
        Scalar. Neurons with NaN or infinite parameters add nothing.

    Raises:
        ValueError: an option out of range.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.array([[1.0], [0.0]]), jnp.array([0.5]), jnp.ones(1),
        ...             Spec("dense", "identity", "raw"))
        >>> float(exact([node]))
        0.0
    """
    total = jnp.zeros(())
    for node in _banks(params):
        weights, bias, _ = effective(node)
        weights, bias = weights.reshape(-1, weights.shape[-1]), bias.reshape(-1)
        share = 1.0
        if neurons is not None and neurons < len(bias):
            block = (jnp.asarray(step) * neurons + jnp.arange(neurons)) % len(bias)
            weights, bias, share = weights[block], bias[block], neurons / len(bias)
        near = project(
            jax.lax.stop_gradient(weights),
            jax.lax.stop_gradient(bias),
            nonnegative=node.spec.weight_map != "identity",
            symmetric=node.spec.symmetric,
            bias_weight=bias_weight,
            margin=margin,
            relative_margin=relative_margin,
        )
        fine = near.status != INVALID
        moved = jnp.where(fine[:, None], weights - near.weights, 0)
        shifted = jnp.where(fine, bias - near.bias, 0)
        total = total + ((moved**2).sum() + bias_weight * (shifted**2).sum()) / share
    return total


def _banks(params: Any) -> list[BiSE]:
    return [node for node in named_nodes(params).values() if isinstance(node, BiSE)]
