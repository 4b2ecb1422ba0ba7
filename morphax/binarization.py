"""From a trained params tree to its binary twin: certified where possible, the nearest set elsewhere.

Both functions are pure, take the params tree and nothing else, and work on any pytree that holds
`BiSE` nodes (a Linen dict, an NNX state, a list); both can be jitted.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from morphax import _checks
from morphax.certificates.neuron import EROSION, certify_node
from morphax.neurons.nodes import (
    ROLES,
    BinaryBiSE,
    BiSE,
    Spec,
    effective,
    is_node,
    map_nodes,
    unbank,
)
from morphax.projection import Projection, project

METHODS = ("projection", "constant-exact", "constant-uniform", "constant-normal")


def nearest(params: Any, *, method: str = "projection") -> Any:
    """The nearest morphological neuron of every neuron of a params tree.

    Args:
        params: any pytree holding `BiSE` nodes.
        method: one of `METHODS`, as for `binarize`.

    Returns:
        The tree with a `Projection` in place of each node; `weights` and `selem` laid out as the
        node's weight, the rest as its bias.

    Raises:
        ValueError: unknown method.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.ones((4, 1)), jnp.ones(1), jnp.ones(1), Spec("dense", "identity", "raw"))
        >>> float(nearest([node])[0].distance[0])
        0.0
    """
    _checks.one_of("method", method, METHODS)
    return map_nodes(lambda node: _nearest(node, method), params)


@partial(jax.jit, static_argnames="method")
def _nearest(node: BiSE, method: str) -> Projection:
    weights, bias, _ = effective(node)
    onto, _, threshold = method.partition("-")
    found = project(
        weights,
        bias,
        onto="constant" if onto == "constant" else "activable",
        threshold=threshold or "exact",
        nonnegative=node.spec.weight_map != "identity",
        symmetric=node.spec.symmetric,
    )
    return found._replace(weights=unbank(node, found.weights), selem=unbank(node, found.selem))


def binarize(params: Any, *, method: str = "projection") -> Any:
    """The binary network of a params tree: the same containers, real bits in the neurons.

    A neuron whose bias is inside the bounds of an operation (on binary inputs; every certified one)
    becomes that operation; any other becomes the nearest one by `method`. A negative scale
    complements. Whether the binary network equals the real one is `morphax.certify_network`'s to say.

    Args:
        params: any pytree holding `BiSE` nodes; other leaves are kept as they are.
        method: "projection": the nearest activable parameters, weights and bias, exactly;
            "constant-exact", "constant-uniform" or "constant-normal": the constant set theta 1_S
            nearest to the weights, with the exact threshold or a statistical one.

    Returns:
        The tree with a `BinaryBiSE` in place of each `BiSE`.

    Raises:
        ValueError: unknown method.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.ones((4, 1)), jnp.full(1, 3.5), -jnp.ones(1), Spec("dense", "identity", "raw"))
        >>> binary = binarize({"neuron": node})["neuron"]
        >>> bool(binary.erosion[0]), bool(binary.complement[0])
        (True, True)
    """
    _checks.one_of("method", method, METHODS)
    return map_nodes(lambda node: _binarize(node, method), params)


def _binarize(node: BiSE, method: str) -> BinaryBiSE:
    certificate, _ = certify_node(node)
    # Inside the bounds a neuron is its operation, whatever its scale: exact or not.
    inside = certificate.exact | (certificate.margin > 0)
    if not isinstance(inside, Tracer) and bool(inside.all()):
        selem, operation = certificate.selem, certificate.operation  # nothing to project
    else:
        fallback = _nearest(node, method)
        n = math.prod(node.weight.shape[axis] for axis in ROLES[node.spec.role])
        chosen = unbank(node, jnp.broadcast_to(inside[..., None], (*inside.shape, n)))
        selem = jnp.where(chosen, certificate.selem, fallback.selem)
        operation = jnp.where(inside, certificate.operation, fallback.operation)
    return BinaryBiSE(selem, operation == EROSION, node.scale < 0, node.spec)


def realize(binary: Any, *, scale: float = 20.0) -> Any:
    """A real network equal to a binary one: weights 1 on S and 0 elsewhere, the bias half-way.

    Args:
        binary: any pytree holding `BinaryBiSE` nodes.
        scale: |p|; from about 8 every neuron is certified behind every other.

    Returns:
        The tree with a `BiSE` ("identity" weights, "centred" bias) in place of each node; `binarize`
        gives the binary network back.

    Example:
        >>> from morphax import certify, models
        >>> binary = binarize(models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3))
        >>> bool(certify(realize(binary))[0]["bise"].exact.all())
        True
    """

    def one(node: BinaryBiSE) -> BiSE:
        weight = jnp.asarray(node.selem, jnp.float32)
        total = weight.sum(ROLES[node.spec.role])
        bias = jnp.where(node.erosion, total / 2 - 0.5, 0.5 - total / 2)
        spec = Spec(node.spec.role, "identity", "centred", border=node.spec.border)
        return BiSE(weight, bias, jnp.where(node.complement, -scale, scale), spec)

    return jax.tree.map(one, binary, is_leaf=is_node)
