"""Penalties that draw neurons towards exactly binary ones: plain functions of a params tree.

Each is a sum over all neurons, acts on *effective* parameters, and can be differentiated: the
gradient is that of the squared distance to the nearest set, the set held fixed (envelope theorem).

Source: Aouad & Talbot, arXiv 2401.03830, section 5 (L_const-exact, L_uni, L_nor).
"""

from typing import Any

import jax
import jax.numpy as jnp

from morphax.nodes import BiSE, effective, is_node
from morphax.projection.constant import constant_selem


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
        >>> from morphax.nodes import Spec
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


def _banks(params: Any) -> list[BiSE]:
    leaves = jax.tree.leaves(params, is_leaf=is_node)
    return [leaf for leaf in leaves if isinstance(leaf, BiSE)]
