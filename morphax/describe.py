"""Binary networks in words: what each neuron is, with its structuring element by name."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from morphax import _check, elements
from morphax.certificate import Certificate, structuring_element
from morphax.nodes import BinaryBiSE, Node, leaves, named_nodes

SPATIAL = ("dilation", "erosion")
"""Names of the operations of a spatial bank; a LUI's are union and intersection."""


def describe(binary: Any, certificates: Mapping[str, Certificate]) -> list[str]:
    """What the neurons of a binary network are, in words: a line for each.

    Args:
        binary: params tree of `BinaryBiSE` nodes, from `morphax.binarize`.
        certificates: path of a bank -> its certificate, such as `certify_network(...).neurons`.

    Returns:
        Lines such as "layer 1: erosion by disk(7) - certified, margin 0.07".

    Raises:
        ValueError: real banks, or stacked ones.

    Example:
        >>> import jax
        >>> from morphax import binarize, certify_network, models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=1)
        >>> found = certify_network(models.bimonn, params, (1, 5, 5, 1))
        >>> describe(binarize(params), found.neurons)[0].split(" - ")[0]
        'layer 1: dilation by one pixel, changing nothing'
    """
    lines = []
    for path, node in named_nodes(binary).items():
        if not isinstance(node, BinaryBiSE):
            raise ValueError(
                f"binary: expected morphax.binarize(params), got a real bank at {path}"
            )
        check_unstacked("binary", path, node)
        node = jax.tree.map(np.asarray, node)
        exact, margin = (np.asarray(v) for v in certificates[path][2:])
        for index in np.ndindex(*node.erosion.shape):
            proof = f"certified, margin {float(margin[index]):.2g}"
            proof = proof if exact[index] else "not certified, the nearest one"
            lines.append(f"{_in_words(path, node, index)} - {proof}")
    return lines


def _in_words(path: str, node: BinaryBiSE, index: tuple[int, ...]) -> str:
    if node.spec.role == "spatial":
        selem = name_selem(structuring_element(node, *index))
        return f"{row_name(path, node, index)}: {operation_name(node, index, SPATIAL)} by {selem}"
    chosen = np.flatnonzero(node.selem[:, index[0]]) + 1
    few = ", ".join(map(str, chosen)) if len(chosen) <= 8 else f"({len(chosen)} of them)"
    operation = operation_name(node, index, ("union", "intersection"))
    return f"{row_name(path, node, ())}, output {index[0] + 1}: {operation} of maps {few}"


def name_selem(selem: ArrayLike) -> str:
    """A structuring element in words, by its name in `morphax.elements` if it has one.

    Args:
        selem: textbook structuring element, bool `(kh, kw)`, origin at the centre.

    Returns:
        Such as "disk(7)", or "hstick(5) shifted by (1, 0)" (rows downwards, columns to the right).

    Example:
        >>> name_selem(np.pad(elements.disk(5), ((0, 2), (1, 1))))
        'disk(5) shifted by (-1, 0)'
    """
    selem = np.asarray(selem)
    if not selem.any():
        return "the empty set"
    box, offset = _place(selem)
    shift = f" shifted by ({offset[0] // 2}, {offset[1] // 2})" if any(offset) else ""
    if box.size == 1:
        return f"one pixel{shift}" if shift else "one pixel, changing nothing"
    for size in range(3, max(selem.shape) + 1, 2):
        for name in elements.NAMES:
            known = _place(elements.named(name, size))[0]
            if not any(o % 2 for o in offset) and np.array_equal(known, box):
                return f"{name}({size}){shift}"
    return f"a set of {int(selem.sum())} pixels"


def _place(selem: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """A set without its empty margins, and twice the offset of their centre."""
    rows, columns = (np.flatnonzero(selem.any(axis)) for axis in (1, 0))
    top, bottom, left, right = (int(v) for v in (rows[0], rows[-1], columns[0], columns[-1]))
    offset = (top + bottom + 1 - selem.shape[0], left + right + 1 - selem.shape[1])
    return selem[top : bottom + 1, left : right + 1], offset


def check_unstacked(argument: str, path: str, node: Node) -> None:
    """Refuse a bank with leading axes (of a scan or a sweep).

    Args:
        argument: name of the argument that holds the bank.
        path: of the bank in its params tree.
        node: the bank.

    Raises:
        ValueError: weights of more axes than the role of the bank has.
    """
    rank, shape = 4 if node.spec.role == "spatial" else 2, np.shape(leaves(node)[0])
    _check.require(len(shape) == rank, f"{argument}[{path}]",
                   f"an unstacked bank, weights of rank {rank}", shape)  # fmt: skip


def row_name(path: str, node: BinaryBiSE, index: tuple[int, ...]) -> str:
    """What to call a neuron.

    Args:
        path: of its bank in the params tree.
        node: the bank.
        index: (input channel, output channel), or () for a whole LUI.

    Returns:
        Such as "layer 2, map 1 to 3", or "layer 2, LUI".
    """
    numbered = re.fullmatch(r"(?:layers_)?(\d+)/(bise|lui)", path)
    name = f"layer {int(numbered[1]) + 1}" if numbered else path
    if index and node.erosion.size > 1:
        name += f", map {index[0] + 1} to {index[1] + 1}"
    if index == () and numbered:
        name += ", LUI"
    return name


def operation_name(twin: BinaryBiSE, index: tuple[int, ...], words: tuple[str, str]) -> str:
    """The operation of a neuron.

    Args:
        twin: its bank.
        index: of the neuron.
        words: for a dilation and for an erosion.

    Returns:
        One of the words, behind "not " where the neuron complements.
    """
    return ("not " if twin.complement[index] else "") + words[bool(twin.erosion[index])]
