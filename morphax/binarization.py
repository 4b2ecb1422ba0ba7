"""Binarization of a trained params tree, and its inverse.

`binarize` replaces every neuron by an erosion or a dilation: by the one that it is inside its
bounds, and by one that is near otherwise. `nearest` returns the projections that this uses, and
`realize` turns a binary network into a real one. All of them are pure functions of any pytree that
holds nodes (a Linen dict, an NNX state, a list), and can be jitted.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from morphax import _checks
from morphax._compiling import FEW, quick_jit
from morphax.certificates.neuron import EROSION, Certificate, certify_node
from morphax.neurons.nodes import (
    BinaryBiSE,
    BiSE,
    Spec,
    effective,
    input_axes,
    is_node,
    map_nodes,
    unbank,
)
from morphax.projection import Projection, project

METHODS = ("projection", "constant-exact", "constant-uniform", "constant-normal")


def nearest(params: Any, *, method: str = "projection") -> Any:
    """Return the nearest morphological neuron of every neuron of a params tree.

    Args:
        params: any pytree holding `BiSE` nodes.
        method: one of `METHODS`, as for `binarize`.

    Returns:
        The tree with a `Projection` in place of each node. Its `weights` and `selem` are laid out
        as the weight of the node, the rest as its bias.

    Raises:
        ValueError: if the method is unknown.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> spec = Spec("dense", "identity", "raw")
        >>> node = BiSE(jnp.ones((4, 1)), jnp.ones(1), jnp.ones(1), spec)
        >>> float(nearest([node])[0].distance[0])
        0.0
    """
    _checks.one_of("method", method, METHODS)
    return _map_all(lambda nodes: _project_nodes(nodes, method), params)


def _map_all(function: Callable[[list[BiSE]], list[Any]], params: Any) -> Any:
    """Replace the nodes of a params tree by what a function of all of them returns, in order."""
    nodes: list[BiSE] = []
    map_nodes(nodes.append, params)
    found = iter(function(nodes))
    return map_nodes(lambda _: next(found), params)


def _project_nodes(nodes: list[BiSE], method: str) -> list[Projection]:
    """Project banks; small ones of one kind together, so that one program is compiled for them."""
    groups: dict[Any, list[int]] = {}
    for place, node in enumerate(nodes):
        groups.setdefault(_kind(node, place), []).append(place)
    projections = {}
    for places in groups.values():
        projected = _project_group(tuple(nodes[place] for place in places), method)
        projections.update(zip(places, projected, strict=True))
    return [projections[place] for place in range(len(nodes))]


def _kind(node: BiSE, place: int) -> Any:
    """Return equal values for banks that are projected together."""
    size = node.weight.size
    # A large bank is worth a program, and not a copy; nor is one that is part of a larger program.
    if size > FEW // 4 or isinstance(node.weight, Tracer):
        return place
    is_free = node.spec.weight_map == "identity"
    return _inputs(node), is_free, node.spec.symmetric, node.weight.dtype, node.bias.dtype


def _inputs(node: BiSE) -> int:
    """Return the number of inputs of a neuron of a bank."""
    return math.prod(node.weight.shape[axis] for axis in input_axes(node))


@partial(quick_jit, static_argnames="method")
def _project_group(nodes: tuple[BiSE, ...], method: str) -> list[Projection]:
    """Project banks of one kind; the set and the threshold follow from the name of the method."""
    parts = [effective(node)[:2] for node in nodes]
    flat = [(weights.reshape(-1, weights.shape[-1]), bias.reshape(-1)) for weights, bias in parts]
    onto, _, threshold = method.partition("-")
    projection = project(
        *(jnp.concatenate(rows) for rows in zip(*flat, strict=True)),
        onto="constant" if onto == "constant" else "activable",
        threshold=threshold or "exact",
        nonnegative=nodes[0].spec.weight_map != "identity",
        symmetric=nodes[0].spec.symmetric,
    )
    # Cut the neurons into banks again, and lay these out as they were.
    ends = np.cumsum([bias.size for _, bias in parts])[:-1].tolist()
    cut = zip(*(jnp.split(array, ends) for array in projection), strict=True)
    projections = []
    for node, (_, bias), rows in zip(nodes, parts, cut, strict=True):
        shaped = Projection(*(row.reshape(*bias.shape, *row.shape[1:]) for row in rows))
        weights, selem = (unbank(node, array) for array in (shaped.weights, shaped.selem))
        projections.append(shaped._replace(weights=weights, selem=selem))
    return projections


def binarize(params: Any, *, method: str = "constant-exact") -> Any:
    """Return the binary network of a params tree: the same containers with binary neurons.

    A neuron whose bias is inside the bounds of an operation on binary inputs, as that of every
    certified neuron is, becomes that operation; any other becomes the nearest one by `method`. A
    negative scale complements the output. Use `morphax.certify_network` to check that the two
    networks agree.

    Args:
        params: any pytree holding `BiSE` nodes; other leaves are kept as they are.
        method: way to find the operation of a neuron outside its bounds. "constant-exact",
            "constant-uniform" and "constant-normal" take the constant set theta 1_S nearest to the
            weights, with the exact or a statistical threshold. "projection" takes the nearest
            activable parameters, weights and bias, exactly. The default is what `fit` measures
            during training, and far from activable it loses less than "projection"
            (docs/notes/learning.md). Held-out pairs choose best:
            `morphax.recipes.best_binary`.

    Returns:
        The tree with a `BinaryBiSE` in place of each `BiSE`.

    Raises:
        ValueError: if the method is unknown.

    Example:
        >>> from morphax.neurons.nodes import Spec
        >>> spec = Spec("dense", "identity", "raw")
        >>> node = BiSE(jnp.ones((4, 1)), jnp.full(1, 3.5), -jnp.ones(1), spec)
        >>> binary = binarize({"neuron": node})["neuron"]
        >>> bool(binary.erosion[0]), bool(binary.complement[0])
        (True, True)
    """
    _checks.one_of("method", method, METHODS)
    return _map_all(lambda nodes: _binarize(nodes, method), params)


def _binarize(nodes: list[BiSE], method: str) -> list[BinaryBiSE]:
    """Binarize banks."""
    certificates = [certify_node(node)[0] for node in nodes]
    # A bank that is known to be inside its bounds needs no projection.
    outside = [place for place, found in enumerate(certificates) if not _is_inside(found)]
    projections = _project_nodes([nodes[place] for place in outside], method)
    fallbacks = dict(zip(outside, projections, strict=True))
    return [
        _binary_node(node, certificate, fallbacks.get(place))
        for place, (node, certificate) in enumerate(zip(nodes, certificates, strict=True))
    ]


def _is_inside(certificate: Certificate) -> bool:
    """Return whether all neurons of a bank are known to be inside their bounds (not in `jit`)."""
    if isinstance(certificate.exact, Tracer):
        return False
    return bool((np.asarray(certificate.exact) | (np.asarray(certificate.margin) > 0)).all())


@quick_jit
def _binary_node(node: BiSE, certificate: Certificate, fallback: Projection | None) -> BinaryBiSE:
    """Take the operation of a neuron from its certificate inside its bounds, else the fallback."""
    selem, operation = certificate.selem, certificate.operation
    if fallback is not None:
        # Inside the bounds a neuron is its operation, even where its scale keeps it from being
        # exact.
        inside = certificate.exact | (certificate.margin > 0)
        each = jnp.broadcast_to(inside[..., None], (*inside.shape, _inputs(node)))
        chosen = unbank(node, each)
        selem = jnp.where(chosen, selem, fallback.selem)
        operation = jnp.where(inside, operation, fallback.operation)
    return BinaryBiSE(selem, operation == EROSION, node.scale < 0, node.spec)


def realize(binary: Any, *, scale: float = 20.0) -> Any:
    """Return a real network that equals a binary one.

    Its weights are 1 on S and 0 elsewhere, and its bias lies half-way between the bounds.
    Translations off the centre have it nearer to a bound, which tells how they treat the frame.
    Nodes whose spec is symmetric become symmetric neurons, for images in {-1, 1}.

    Args:
        binary: any pytree holding `BinaryBiSE` nodes.
        scale: |p|. From about 8 on, every neuron is certified behind every other.

    Returns:
        The tree with a `BiSE` in place of each node: "identity" weights and "centred" bias, "raw"
        bias where it is symmetric.
        `binarize` returns the binary network again.

    Example:
        >>> from morphax import certify, models
        >>> binary = binarize(models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3))
        >>> bool(certify(realize(binary))[0]["bise"].exact.all())
        True
    """
    return jax.tree.map(lambda node: _real_node(node, scale), binary, is_leaf=is_node)


@quick_jit
def _real_node(node: BinaryBiSE, scale: jax.Array | float) -> BiSE:
    """Return a real bank that equals a binary one; see `realize`."""
    weight = jnp.asarray(node.selem, jnp.float32)
    total = weight.sum(input_axes(node))
    # A single pixel is an erosion and a dilation at once; they differ along the frame only.
    centre = tuple(weight.shape[axis] // 2 for axis in input_axes(node))
    is_moved = (total == 1) & ~node.selem[centre] if node.spec.role == "spatial" else False
    distance = total / 2 - 0.5 + jnp.where(is_moved, 0.25, 0.0)
    bias = jnp.where(node.erosion, distance, -distance)
    signed = jnp.where(node.complement, -scale, scale)
    border = node.spec.border
    if node.spec.symmetric:  # x = 2 y - 1: twice the distance from the middle, half the slope
        spec = Spec(node.spec.role, "identity", "raw", border=border, symmetric=True)
        return BiSE(weight, 2 * bias, signed / 2, spec)
    return BiSE(weight, bias, signed, Spec(node.spec.role, "identity", "centred", border=border))
