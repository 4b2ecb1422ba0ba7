"""What a user reads of a params tree: one table, a line per bank of neurons."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from morphax.binarize import binarize, nearest
from morphax.certificate import certify_node
from morphax.nodes import BinaryBiSE, BiSE, Node, leaves, named_nodes


@dataclass(frozen=True)
class Row:
    """One bank of neurons.

    Attributes:
        name: path in the params tree.
        shape: of its weight.
        neurons: how many.
        certified: how many are certified, each by itself on binary inputs; -1 for a binary bank.
        operations: operation -> how many neurons of the binary bank; "not ..." is complemented.
        distance: mean distance of the uncertified neurons to what they become; 0 without any.
        bits: of the binary bank: one for each weight, two for each neuron.
        binary_operations: AND, OR and NOT for one output position, all outputs together.
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
class Summary:
    """Rows of `summary`; its text is a table."""

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        head = (
            "bank",
            "weight",
            "neurons",
            "certified",
            "operations",
            "distance",
            "bits",
            "ops/px",
        )
        lines = [head, *(self._line(row) for row in self.rows), self._total()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        left = (0, 1, 4)
        texts = [
            "  ".join(
                c.ljust(w) if i in left else c.rjust(w)
                for i, (c, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        rule = "-" * len(texts[0])
        return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])

    @staticmethod
    def _line(row: Row) -> tuple[str, ...]:
        found = ", ".join(f"{count} {name}" for name, count in row.operations.items())
        certified = "-" if row.certified < 0 else f"{row.certified}/{row.neurons}"
        return (row.name, "x".join(map(str, row.shape)), str(row.neurons), certified, found,
                f"{row.distance:.3f}", str(row.bits), str(row.binary_operations))  # fmt: skip

    def _total(self) -> tuple[str, ...]:
        neurons = sum(row.neurons for row in self.rows)
        real = all(row.certified >= 0 for row in self.rows)
        certified = sum(row.certified for row in self.rows)
        return ("total", "", str(neurons), f"{certified / max(neurons, 1):.1%}" if real else "-", "", "",
                str(sum(row.bits for row in self.rows)),
                str(sum(row.binary_operations for row in self.rows)))  # fmt: skip


def summary(params: Any, *, method: str = "projection") -> Summary:
    """Summarise the neurons of a params tree, real or binary.

    Args:
        params: any pytree holding `BiSE` or `BinaryBiSE` nodes.
        method: how uncertified neurons are binarised (`morphax.binarize`).

    Returns:
        A `Summary`; print it.

    Raises:
        ValueError: unknown method.

    Example:
        >>> import jax.numpy as jnp
        >>> from morphax.nodes import Spec
        >>> node = BiSE(jnp.ones((4, 1)), jnp.full(1, 0.5), jnp.ones(1), Spec("dense", "identity", "raw"))
        >>> summary({"union": node}).rows[0].operations
        {'dilation': 1}
    """
    return Summary(tuple(_row(name, node, method) for name, node in named_nodes(params).items()))


def _row(name: str, node: Node, method: str) -> Row:
    binary: BinaryBiSE = binarize(node, method=method) if isinstance(node, BiSE) else node
    certified, distance = -1, 0.0
    if isinstance(node, BiSE):
        exact = np.asarray(certify_node(node)[0].exact)
        certified = int(exact.sum())
        if not exact.all():
            distance = float(np.asarray(nearest(node, method=method).distance)[~exact].mean())
    selem, erosion, complement = (np.asarray(leaf) for leaf in leaves(binary))
    count = int(erosion.size)
    kinds: dict[str, int] = {}
    for e, c in zip(erosion.ravel(), complement.ravel(), strict=True):
        kind = ("not " if c else "") + ("erosion" if e else "dilation")
        kinds[kind] = kinds.get(kind, 0) + 1
    # |S| - 1 to join the pixels of S, one more to complement.
    operations = int(selem.sum()) - count + int(complement.sum())
    return Row(name, selem.shape, count, certified, dict(sorted(kinds.items())), distance,
               selem.size + 2 * count, operations)  # fmt: skip
