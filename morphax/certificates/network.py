"""The certificate of a whole network: dead zones are carried through every step of its graph.

If every neuron is certified on the signals that reach it, the binary network equals the real one on
every binary input (docs/theory.md, section 3). `certify_network` decides this from the parameters
and the wiring. Behind a head (`group_sum`, `linear_head`) nothing is claimed: the certificate is
about the bits that enter the head. There the real network adds graded values and the binary one
bits, so the sums, and with them a label, may still differ.

Dead zones are pairs (v1, v2) in [0, 1] coordinates, arrays of the shape of the signal they belong
to: no value of the signal lies in ]v1, v2[. Source: Aouad & Talbot, arXiv 2401.03830 (almost binary
images).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.certificates._rounding import Arithmetic, coarsest, rounding_allowance
from morphax.certificates.neuron import Certificate, DeadZone, certify_node
from morphax.morphology.dtypes import array_text, is_known
from morphax.neurons.counting import sum_dtype
from morphax.neurons.nodes import BiSE, Node, bank, leaves, named_nodes
from morphax.program.graph import read_options
from morphax.program.trace import HEADS, Graph, node_of, trace


class NetworkCertificate(NamedTuple):
    """Hold the certificate of a whole network.

    Attributes:
        exact: bool `()`. True if every neuron and every count of votes is exact on the signals that
            reach it, so that for every input of the given dead zone, (output > 1/2) of the real
            network equals the binary network, bit for bit. For a network that ends in a head, this
            is about the bits that enter the head.
        neurons: path of each bank -> its `Certificate` on the dead zone that reaches it (the worst
            one where a bank is used more than once; stacked as stored inside a scan).
        dead_zone: (v1, v2) of the output, shaped as one output, in [0, 1] coordinates; of the
            signal that enters the head, where there is one.
        counts: for each `morphax.at_least` on the way, in order, how far the sum of its votes stays
            from being counted wrongly: 1/2 less the most by which graded values and rounding can
            change the sum. A count is exact where this is positive.
    """

    exact: jax.Array
    neurons: dict[str, Certificate]
    dead_zone: tuple[jax.Array, jax.Array]
    counts: tuple[jax.Array, ...] = ()

    def __repr__(self) -> str:
        """Return the verdict, and the certificate of each bank on a line of its own."""
        exact = bool(self.exact) if is_known(self.exact) else array_text(self.exact)
        lines = [f"  {name}: {certificate}" for name, certificate in self.neurons.items()]
        return "\n".join([f"NetworkCertificate(exact={exact}), bank by bank:", *lines])


def certify_network(
    apply: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    input_shape: Sequence[int],
    *,
    dead_zone: DeadZone = (0.0, 1.0),
) -> NetworkCertificate:
    """Certify a network: carry dead zones through every step and combine the certificates.

    Args:
        apply: the network, `(params, x) -> y`, as for `morphax.program.trace`.
        params: params tree of `BiSE` nodes.
        input_shape: shape of x, batch included (a batch of 1 will do).
        dead_zone: (v1, v2) of the input, in [0, 1] coordinates, broadcasting to `input_shape`.

    Returns:
        A `NetworkCertificate`.

    Raises:
        ValueError: if the network has a step that no binary network has, if `params` holds binary
            nodes, or if it mixes symmetric and other neurons.

    Example:
        >>> from morphax.neurons import apply
        >>> from morphax.neurons.nodes import Spec
        >>> bias, scale, spec = jnp.full(1, 0.5), jnp.full(1, 9.0), Spec("dense", "identity", "raw")
        >>> params = [BiSE(jnp.ones((n, 1)), bias, scale, spec) for n in (2, 1)]
        >>> certificate = certify_network(lambda p, x: apply(p[1], apply(p[0], x)), params, (1, 2))
        >>> bool(certificate.exact)
        True
    """
    is_image = 0 not in tuple(input_shape)
    _checks.require(is_image, "input_shape", "an image or more, with pixels", tuple(input_shape))
    graph = trace(apply, params, input_shape)
    named = named_nodes(params)
    kinds = {path: type(node).__name__ for path, node in named.items()}
    _checks.require(set(kinds.values()) == {"BiSE"}, "params", "real banks (BiSE) only", kinds)
    _check_symmetry(graph, named)
    dtype = leaves(next(iter(named.values())))[0].dtype
    zones: list[tuple[jax.Array, jax.Array]] = []
    uses: dict[str, list[tuple[tuple[int, ...], Certificate]]] = {}
    counts: list[jax.Array] = []
    stored = coarsest(*(leaf for node in named.values() for leaf in leaves(node)))
    for step in graph.steps:
        given = [zones[i] for i in step.inputs]
        if step.kind in ("input", "constant"):
            ends = dead_zone if step.kind == "input" else (0.0, 1.0)
            # Hidden from the compiler, which would fold constants of the size of the image.
            values = jax.lax.optimization_barrier([jnp.asarray(v, dtype) for v in ends])
            low, high = (jnp.broadcast_to(v, step.shape) for v in values)
        elif step.kind == "neurons":
            certificate, (low, high) = _carry(node_of(params, step), given[0], step.shape)
            uses.setdefault(step.path, []).append((step.position, certificate))
        elif step.kind == "complement":
            low, high = 1 - given[0][1], 1 - given[0][0]
        elif step.kind == "at_least":  # its results are exactly 0 and 1
            counts.append(_count_margin(read_options(step.options)["votes"], given[0], stored))
            low, high = jnp.zeros(step.shape, dtype), jnp.ones(step.shape, dtype)
        elif step.kind in HEADS:  # the last step: the certificate is about what enters it
            low, high = given[0]
        else:
            # The other steps move values without changing them, so they can run on the zones.
            assert step.run is not None
            low = step.run(*(g[0] for g in given))
            # A pool takes the maximum: all that is sure of its foreground is the least of the
            # window.
            flip = -1 if step.kind == "union_pool" else 1
            high = flip * step.run(*(flip * g[1] for g in given))
        zones.append((low, high))
    certificates = {path: _gather(entries) for path, entries in uses.items()}
    verdicts = [certificate.exact.all() for certificate in certificates.values()]
    exact = jnp.array([*verdicts, *(margin > 0 for margin in counts)]).all()
    low, high = zones[graph.output]
    return NetworkCertificate(exact, certificates, (low.max(0), high.min(0)), tuple(counts))


def _check_symmetry(graph: Graph, named: dict[str, Node]) -> None:
    """Raise `ValueError` unless all neurons, complements and constants are symmetric, or none.

    Dead zones are in [0, 1] coordinates, so all parts must agree on what they stand for.
    """
    specs = {named[step.path].spec.symmetric for step in graph.steps if step.kind == "neurons"}
    kinds = ("complement", "at_least")
    specs |= {"symmetric=True" in step.options for step in graph.steps if step.kind in kinds}
    expected = "all neurons, complements and counts (at_least) symmetric, or none"
    _checks.require(len(specs) <= 1, "params", expected, "both")
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
    """Certify a bank on the dead zone of its input signal; return that of its output too."""
    assert isinstance(node, BiSE)  # certify_network has refused binary ones
    # A neuron sees one zone for each input channel: the worst one over batch and positions.
    inner = 2 if node.spec.role == "lui" else 1
    axes = tuple(range(zone[0].ndim - inner))
    low, high = zone[0].max(axes), zone[1].min(axes)
    # Spread the zones of the channels over windows and outputs, as the weights are laid out.
    window = node.weight.shape[:-2] if node.spec.role == "spatial" else ()
    spread = [
        jnp.broadcast_to(v if inner == 2 else v[:, None], node.weight.shape[-2:])
        for v in (low, high)
    ]
    banked = [bank(node, jnp.broadcast_to(v, (*window, *v.shape))) for v in spread]
    certificate, ends = certify_node(node, dead_zone=(banked[0], banked[1]))
    return certificate, (jnp.broadcast_to(ends[0], shape), jnp.broadcast_to(ends[1], shape))


def _count_margin(
    votes: tuple[int, ...], zone: tuple[jax.Array, jax.Array], stored: Arithmetic
) -> jax.Array:
    """Return 1/2 less the most by which the float sum of votes differs from that of the bits.

    The sum of the votes of the bits is made of whole numbers and exact (`neurons/counting.py`);
    what graded values add is a sum of |vote| times the distance from 0 or 1, with its rounding.
    """
    dtype = sum_dtype(zone[0].dtype)
    weights = np.abs(np.array(votes, np.int64))
    # Whole numbers that floats hold exactly.
    exact = int(weights.sum()) <= 1 / (4 * coarsest(dtype).unit)
    margin = _sum_margin(jnp.asarray(weights.astype(dtype)), *zone, unit=stored.unit)
    return margin if exact else jnp.full_like(margin, -jnp.inf)


@partial(jax.jit, static_argnames="unit")
def _sum_margin(weights: jax.Array, low: jax.Array, high: jax.Array, *, unit: float) -> jax.Array:
    """Return 1/2 less sum |vote| distance, and its rounding."""
    axes = tuple(range(low.ndim - 1))
    low, high = low.max(axes).astype(weights.dtype), high.min(axes).astype(weights.dtype)
    # Outputs of a threshold may leave [0, 1], and the zone is rounded: docs/numerics.md.
    change = (jnp.maximum(low, 1 - high) + 16 * unit) * weights
    allowance = rounding_allowance(change, jnp.zeros((), change.dtype), arithmetic=coarsest(change))
    return 0.5 - change.sum() - allowance


def _gather(entries: list[tuple[tuple[int, ...], Certificate]]) -> Certificate:
    """Combine the certificates of a bank: the worst use of each neuron, stacked as the bank is."""
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
