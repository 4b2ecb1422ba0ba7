"""Human-readable summaries of params trees: a table of the banks, and what the network computes.

The table needs only the parameters. The expression, the operations and the memory of the network
need its wiring too: pass `apply` and `input_shape`. A tree with the layout of a BiMoNN is taken for
one, so that these two are not needed.
"""

import html
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from morphax import _checks
from morphax.binarization import binarize, nearest
from morphax.certificates.neuron import certify_node
from morphax.explain import Explanation, explain
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, BiSE, Node, leaves, named_nodes
from morphax.program import Cost, Program, build, count, simplify
from morphax.program.cost import scratch

_HEAD = ("bank", "weight", "neurons", "certified", "operations", "distance", "bits", "ops/px")
_SIDE = 64  # side of the images whose cost is counted if no size is given


@dataclass(frozen=True)
class Row:
    """Hold the line of one bank of neurons.

    Attributes:
        name: path of the bank in the params tree.
        shape: shape of its weight.
        neurons: number of neurons.
        certified: number of neurons that are certified, each by itself on binary inputs; -1 for a
            binary bank.
        operations: number of neurons of the binary bank by operation; "not ..." is complemented.
        distance: mean distance of the uncertified neurons to their binary neurons; 0 if there are
            none.
        bits: size of the binary bank: one bit for each weight, two for each neuron.
        binary_operations: number of AND, OR and NOT for one output position, all outputs together.
    """

    name: str
    shape: tuple[int, ...]
    neurons: int
    certified: int
    operations: dict[str, int]
    distance: float
    bits: int
    binary_operations: int


@dataclass(frozen=True)
class NetworkSummary:
    """Hold the part of a summary that needs the wiring of the network.

    Attributes:
        title: source of the wiring, and the size of images for which cost is counted.
        explanation: what the binary network computes.
        plain: cost of the program as built, for one image.
        simplified: cost of the simplified program.
        scratch: working memory of the two programs in bits.
    """

    title: str
    explanation: Explanation
    plain: Cost
    simplified: Cost
    scratch: tuple[int, int]

    def __str__(self) -> str:
        """Return the text."""
        head = (
            *("bit operations", "AND/px", "OR/px", "NOT/px", "all/px"),
            *("per image", "wiring bits", "scratch bits"),
        )
        lines: list[tuple[str, ...]] = [head]
        for name, cost, bits in zip(
            ("as built", "simplified"), (self.plain, self.simplified), self.scratch, strict=True
        ):
            pixels = cost.total / cost.per_pixel if cost.total else 1
            each = (_short(part / pixels) for part in (*cost[:3], cost.total))
            lines.append((name, *each, f"{cost.total:,}", f"{cost.wiring:,}", f"{bits:,}"))
        return f"{self.title}:\n{self.explanation}\n\n" + "\n".join(_aligned(lines, left=(0,)))


@dataclass(frozen=True)
class Summary:
    """Hold what `summary` returns; print it to read it.

    Attributes:
        rows: a row for each bank.
        network: what the network computes and costs; None if its wiring is not known.
    """

    rows: tuple[Row, ...]
    network: NetworkSummary | None = None

    def __str__(self) -> str:
        """Return the text."""
        lines = [_HEAD, *(self._line(row) for row in self.rows), self._total()]
        texts = _aligned(lines, left=(0, 1, 4))
        rule = "-" * len(texts[0])
        table = "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])
        return table if self.network is None else f"{table}\n\n{self.network}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table as HTML, for notebooks; the network as preformatted text below it."""
        table = html_table(_HEAD, [*map(self._line, self.rows), self._total()])
        below = "" if self.network is None else f"<pre>{html.escape(str(self.network))}</pre>"
        return f"<div>{table}{below}</div>"

    @staticmethod
    def _line(row: Row) -> tuple[str, ...]:
        operations = ", ".join(f"{number} {name}" for name, number in row.operations.items())
        certified = "-" if row.certified < 0 else f"{row.certified}/{row.neurons}"
        return (
            *(row.name, "x".join(map(str, row.shape)), str(row.neurons), certified, operations),
            *(f"{row.distance:.3f}", str(row.bits), str(row.binary_operations)),
        )

    def _total(self) -> tuple[str, ...]:
        neurons = sum(row.neurons for row in self.rows)
        real = all(row.certified >= 0 for row in self.rows)
        certified = sum(row.certified for row in self.rows)
        bits = sum(row.bits for row in self.rows)
        operations = sum(row.binary_operations for row in self.rows)
        share = f"{certified / max(neurons, 1):.1%}" if real else "-"
        return ("total", "", str(neurons), share, "", "", str(bits), str(operations))


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts as HTML.

    Args:
        head: titles of the columns.
        rows: cells of each row.

    Returns:
        The element `<table>`; all texts are escaped.

    Example:
        >>> html_table(["n"], [["< 3"]])
        '<table><thead><tr><th>n</th></tr></thead><tbody><tr><td>&lt; 3</td></tr></tbody></table>'
    """

    def row(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<table><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def _aligned(lines: Sequence[tuple[str, ...]], *, left: Sequence[int]) -> list[str]:
    """Align rows of cells as lines of one length, the columns `left` to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def summary(
    params: Any,
    *,
    apply: Callable[[Any, Any], Any] | None = None,
    input_shape: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    method: str = "projection",
) -> Summary:
    """Summarise a params tree, real or binary; with its wiring, also what the network computes.

    The second part gives the binary network as an expression (`morphax.explain`) and its cost
    before and after `morphax.program.simplify`: bit operations, bits of wiring, and working memory.
    A list of BiSELs is taken for a BiMoNN, as `morphax.models.bimonn` runs it.

    Args:
        params: any pytree that holds `BiSE` or `BinaryBiSE` nodes.
        apply: function `(params, x) -> y`, as for `morphax.trace`; needs `input_shape`.
        input_shape: shape of x, batch included.
        names: names of the input channels, such as ["x ≥ 10", "x ≥ 37"].
        method: method that binarizes uncertified neurons (`morphax.binarize`).

    Returns:
        A `Summary`; print it to read it.

    Raises:
        ValueError: for an unknown method, `apply` without `input_shape`, a model that is no binary
            network, or names that do not match the input channels.

    Example:
        >>> import jax.numpy as jnp
        >>> from morphax.neurons.nodes import Spec
        >>> spec = Spec("dense", "identity", "raw")
        >>> node = BiSE(jnp.ones((4, 1)), jnp.full(1, 0.5), jnp.ones(1), spec)
        >>> summary({"union": node}).rows[0].operations
        {'dilation': 1}
    """
    has_shape = apply is None or input_shape is not None
    _checks.require(has_shape, "input_shape", "a shape beside apply, batch included", input_shape)
    binary = binarize(params, method=method)
    twins = named_nodes(binary)
    rows = _rows(named_nodes(params), twins, method)
    title = "binary network"
    if apply is None and _is_bimonn(binary):
        apply, title = models.bimonn, "binary network, taken for a BiMoNN"
        *window, channels, _ = leaves(binary[0]["bise"])[0].shape
        input_shape = input_shape or (1, *(_SIDE,) * len(window), channels)
    if apply is None or input_shape is None:
        _checks.require(names is None, "names", "None where the wiring is not known", names)
        return Summary(rows)
    size = " x ".join(map(str, input_shape[1:]))
    return Summary(rows, _network(f"{title}, on {size}", build(apply, binary, input_shape), names))


def _network(title: str, program: Program, names: Sequence[str] | None) -> NetworkSummary:
    small = simplify(program)
    explanation = explain(small, names=names)
    if not explanation.outputs:
        explanation = explain(program, names=names)  # its layers are those of the model
    return NetworkSummary(
        title, explanation, count(program), count(small), (scratch(program), scratch(small))
    )


def _is_bimonn(params: Any) -> bool:
    """Return whether a tree has the layout of `morphax.models.init_bimonn`.

    It is a list of BiSELs {"bise": spatial, "lui": lui if there are several inputs}, where each
    layer has as many inputs as the one before has outputs.
    """
    shapes = []
    for layer in params if isinstance(params, (list, tuple)) else ():
        if not isinstance(layer, Mapping) or not {"bise"} <= set(layer) <= {"bise", "lui"}:
            return False
        nodes = {name: node for name, node in layer.items() if isinstance(node, BinaryBiSE)}
        shape = np.shape(leaves(nodes["bise"])[0]) if "bise" in nodes else ()
        roles = {name: node.spec.role for name, node in nodes.items()}
        expected = {"bise": "spatial"} | (
            {"lui": "lui"} if len(shape) > 2 and shape[-2] > 1 else {}
        )
        is_bank = "bise" in nodes and np.ndim(leaves(nodes["bise"])[1]) == 2
        if not is_bank or roles != expected or len(nodes) != len(layer):
            return False
        if "lui" in nodes and np.shape(leaves(nodes["lui"])[0]) != shape[-2:]:
            return False
        shapes.append(shape)
    same = len({len(shape) for shape in shapes}) == 1
    return same and all(one[-1] == other[-2] for one, other in pairwise(shapes))


def _rows(nodes: dict[str, Node], twins: dict[str, Node], method: str) -> tuple[Row, ...]:
    """Return the rows of banks, from the banks and their binary ones, both by name."""
    real = {name: node for name, node in nodes.items() if isinstance(node, BiSE)}
    exact = {name: np.asarray(certify_node(node)[0].exact) for name, node in real.items()}
    # As `binarize` does, project all of them in one call: the programs are compiled already.
    outside = [name for name in real if not exact[name].all()]
    near = nearest([real[name] for name in outside], method=method)
    distances = {
        name: float(np.asarray(projection.distance)[~exact[name]].mean())
        for name, projection in zip(outside, near, strict=True)
    }
    return tuple(
        _row(name, twin, exact.get(name), distances.get(name, 0.0)) for name, twin in twins.items()
    )


def _row(name: str, binary: Node, exact: np.ndarray | None, distance: float) -> Row:
    """Return the row of a bank; `exact` is None where it was binary from the start."""
    selem, erosion, complement = (np.asarray(leaf) for leaf in leaves(binary))
    neurons = int(erosion.size)
    names = [
        ("not " if c else "") + ("erosion" if e else "dilation")
        for e, c in zip(erosion.ravel(), complement.ravel(), strict=True)
    ]
    return Row(
        name,
        shape=selem.shape,
        neurons=neurons,
        certified=-1 if exact is None else int(exact.sum()),
        operations=dict(sorted(Counter(names).items())),
        distance=distance,
        bits=selem.size + 2 * neurons,
        # |S| - 1 to join the pixels of a set S, one more to complement.
        binary_operations=int(selem.sum()) - neurons + int(complement.sum()),
    )
