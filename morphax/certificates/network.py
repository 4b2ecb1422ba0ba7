"""The verdict on a whole network: dead zones carried through every layer of its graph.

If every neuron is certified on the signals that reach it, the binary network equals the real one on
every binary input: that is what `certify_network` decides, from the parameters and the wiring.
Behind a head (`group_sum`, `linear_head`) nothing is claimed: the verdict is about the bits that enter it.
The real network adds graded values there and the binary one bits, so the sums, and a label, may still
differ.

Zones are pairs (v1, v2) in [0, 1] coordinates, arrays of the shape of the signal they belong to: no
value of the signal lies in ]v1, v2[. Source: Aouad & Talbot, arXiv 2401.03830 (almost binary images).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.certificates.neuron import Certificate, DeadZone, certify_node
from morphax.neurons.nodes import BiSE, Node, bank, leaves, named_nodes
from morphax.program.trace import HEADS, Graph, node_of, trace


class NetworkCertificate(NamedTuple):
    """The verdict on a whole network.

    Attributes:
        exact: bool `()`: every neuron is exact on the signals that reach it, so for every input of the
            given dead zone, (output > 1/2) of the real network equals the binary network, bit for bit;
            for a network that ends in a head, the bits that enter it.
        neurons: path of each bank -> its `Certificate` on the dead zone that reaches it (the worst one
            where a bank is used more than once; stacked as stored inside a scan).
        dead_zone: (v1, v2) of the output, `(...)` shaped as one output; in [0, 1] coordinates. Of what
            enters the head where there is one.
    """

    exact: jax.Array
    neurons: dict[str, Certificate]
    dead_zone: tuple[jax.Array, jax.Array]


def certify_network(
    apply: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    input_shape: Sequence[int],
    *,
    dead_zone: DeadZone = (0.0, 1.0),
) -> NetworkCertificate:
    """Certify a network: dead zones carried through every layer, one verdict.

    Args:
        apply: `(params, x) -> y`, as for `trace`.
        params: params tree of `BiSE` nodes.
        input_shape: shape of x, batch included (a batch of 1 will do).
        dead_zone: (v1, v2) of the input, in [0, 1] coordinates, broadcasting to `input_shape`.

    Returns:
        `NetworkCertificate`.

    Raises:
        ValueError: a step that no binary network has; binary nodes; symmetric and other neurons mixed.

    Example:
        >>> from morphax.neurons import apply
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.ones((2, 1)), jnp.full(1, 0.5), jnp.full(1, 9.0),
        ...             Spec("dense", "identity", "raw"))
        >>> verdict = certify_network(lambda p, x: apply(p[1], apply(p[0], x)),
        ...                           [node, BiSE(node.weight[:1], *leaves(node)[1:], node.spec)], (1, 2))
        >>> bool(verdict.exact)
        True
    """
    graph = trace(apply, params, input_shape)
    named = named_nodes(params)
    kinds = {path: type(node).__name__ for path, node in named.items()}
    _checks.require(set(kinds.values()) == {"BiSE"}, "params", "real banks (BiSE) only", kinds)
    _check_symmetry(graph, named)
    dtype = leaves(next(iter(named.values())))[0].dtype
    zones: list[tuple[jax.Array, jax.Array]] = []
    found: dict[str, list[tuple[tuple[int, ...], Certificate]]] = {}
    for step in graph.steps:
        given = [zones[i] for i in step.inputs]
        if step.kind in ("input", "constant"):
            ends = dead_zone if step.kind == "input" else (0.0, 1.0)
            # Hidden from the compiler, which would fold constants of the size of the image.
            values = jax.lax.optimization_barrier([jnp.asarray(v, dtype) for v in ends])
            low, high = (jnp.broadcast_to(v, step.shape) for v in values)
        elif step.kind == "neurons":
            certificate, (low, high) = _carry(node_of(params, step), given[0], step.shape)
            found.setdefault(step.path, []).append((step.position, certificate))
        elif step.kind == "complement":
            low, high = 1 - given[0][1], 1 - given[0][0]
        elif step.kind in HEADS:  # the last step: the verdict is about what enters it
            low, high = given[0]
        else:
            assert step.run is not None
            low = step.run(*(g[0] for g in given))
            # A pool is a max: what it promises of the foreground is the least of its window.
            flip = -1 if step.kind == "union_pool" else 1
            high = flip * step.run(*(flip * g[1] for g in given))
        zones.append((low, high))
    verdicts = {path: _gather(entries) for path, entries in found.items()}
    exact = jnp.array([certificate.exact.all() for certificate in verdicts.values()]).all()
    low, high = zones[graph.output]
    return NetworkCertificate(exact, verdicts, (low.max(0), high.min(0)))


def _check_symmetry(graph: Graph, named: dict[str, Node]) -> None:
    """Zones are in [0, 1] coordinates, so neurons, complements and constants must agree on theirs."""
    specs = {named[step.path].spec.symmetric for step in graph.steps if step.kind == "neurons"}
    specs |= {"symmetric=True" in step.options for step in graph.steps if step.kind == "complement"}
    _checks.require(
        len(specs) <= 1, "params", "all neurons and complements symmetric, or none", "both"
    )
    # 0 is no symmetric binary value, and -1 would be True in the binary network.
    constants = [step.run() for step in graph.steps if step.kind == "constant" and step.run]
    ones = all(bool((np.asarray(bits) == 1).all()) for bits in constants)
    _checks.require(
        specs != {True} or ones,
        "apply",
        "no constants but 1 beside symmetric signals (morphax.complement makes -1)",
        "others",
    )


def _carry(
    node: Node, zone: tuple[jax.Array, jax.Array], shape: tuple[int, ...]
) -> tuple[Certificate, tuple[jax.Array, jax.Array]]:
    """Certify a bank on the zone of its input signal; the zone of its output signal."""
    assert isinstance(node, BiSE)  # certify_network has refused binary ones
    # One zone per input of a neuron: the worst over batch and positions.
    inner = 2 if node.spec.role == "lui" else 1
    axes = tuple(range(zone[0].ndim - inner))
    low, high = zone[0].max(axes), zone[1].min(axes)
    window = node.weight.shape[-4:-2] if node.spec.role == "spatial" else ()
    spread = [
        jnp.broadcast_to(v if inner == 2 else v[:, None], node.weight.shape[-2:])
        for v in (low, high)
    ]
    banked = [bank(node, jnp.broadcast_to(v, (*window, *v.shape))) for v in spread]
    certificate, ends = certify_node(node, dead_zone=(banked[0], banked[1]))
    return certificate, (jnp.broadcast_to(ends[0], shape), jnp.broadcast_to(ends[1], shape))


def _gather(entries: list[tuple[tuple[int, ...], Certificate]]) -> Certificate:
    """One certificate for a bank: the worst of its uses, stacked where the bank is stacked."""
    by_index: dict[tuple[int, ...], Certificate] = {}
    for index, new in entries:
        old = by_index.get(index)
        if old is not None:
            exact, margin = old.exact & new.exact, jnp.minimum(old.margin, new.margin)
            new = old._replace(exact=exact, margin=margin)
        by_index[index] = new
    if () in by_index:
        return by_index[()]
    sizes = np.max(np.array(list(by_index)), axis=0) + 1
    stacked = [by_index[tuple(index)] for index in np.ndindex(*sizes)]
    return jax.tree.map(lambda *a: jnp.stack(a).reshape(*sizes, *a[0].shape), *stacked)
