"""Binary networks in words: what each neuron is, with its structuring element by name."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax.certificates.neuron import Certificate, structuring_element
from morphax.morphology import elements
from morphax.neurons.nodes import BinaryBiSE, Node, leaves, named_nodes

SPATIAL = ("dilation", "erosion")
"""Names of the operations of a spatial bank; a LUI's are union and intersection."""
SUM = " ⊕ "
"""Between the two terms of a Minkowski sum."""
ANGLES = (45, 135, 30, 60, 120, 150, 15, 75, 105, 165)
"""Of the sticks that have a name, the commoner first: two angles may give one set of pixels."""


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

    Rectangles, sticks at the usual angles and Minkowski sums of two known elements are named too.

    Args:
        selem: textbook structuring element, bool `(kh, kw)`, origin at the centre.

    Returns:
        Such as "disk(7)", "stick(5, 45)", "rectangle 3 x 5", "disk(5) ⊕ disk(3)" (`SUM`), or
        "hstick(5) shifted by (1, 0)" (rows downwards, columns to the right).

    Example:
        >>> name_selem(np.pad(elements.disk(5), ((0, 2), (1, 1))))
        'disk(5) shifted by (-1, 0)'
        >>> name_selem(1 - (abs(np.outer(range(-2, 3), range(-2, 3))) == 4))
        'disk(3) ⊕ square(3)'
    """
    selem = np.asarray(selem).astype(bool)
    if not selem.any():
        return "the empty set"
    shape, offset = _place(selem)
    shift = f" shifted by ({offset[0] // 2}, {offset[1] // 2})" if any(offset) else ""
    if shape.size == 1:
        return f"one pixel{shift}" if shift else "one pixel, changing nothing"
    known = None if any(o % 2 for o in offset) else _known(shape.shape, shape.tobytes())
    return f"{known}{shift}" if known else f"a set of {int(selem.sum())} pixels"


def nearly(selem: ArrayLike) -> tuple[str, int] | None:
    """The known element that a set is but for a few pixels.

    Args:
        selem: textbook structuring element, bool `(kh, kw)`, origin at the centre.

    Returns:
        (its name, how many pixels differ), at most a quarter of the element's; None if there is none.

    Example:
        >>> nearly(elements.disk(7) ^ (elements.disk(7) & np.eye(7, dtype=bool)))
        ('disk(7)', 5)
    """
    selem = np.asarray(selem).astype(bool)
    found = []
    for (shape, content), name in _names(max(selem.shape)).items():
        window = np.zeros([max(pair) for pair in zip(shape, selem.shape, strict=True)], bool)
        for part in (selem, np.frombuffer(content, bool).reshape(shape)):
            sides = [(n - side) // 2 for n, side in zip(window.shape, part.shape, strict=True)]
            window[tuple(slice(s, n - s) for s, n in zip(sides, window.shape, strict=True))] ^= part
        differ = int(window.sum())
        if 4 * differ <= sum(content):
            found.append((differ, name))
    differ, name = min(found, key=lambda pair: pair[0], default=(0, ""))
    return (name, differ) if name else None


@cache
def _known(shape: tuple[int, ...], content: bytes) -> str | None:
    """The name of a set without margins, if it has one; both its sides are odd."""
    table = _names(max(shape))
    if (shape, content) in table:
        return table[shape, content]
    selem = np.frombuffer(content, bool).reshape(shape)
    # Sums: what is left of the set, eroded by a known one, must be known and give it back.
    for (size, part), name in table.items():
        if size[0] > shape[0] or size[1] > shape[1]:
            continue
        one = np.frombuffer(part, bool).reshape(size)
        views = np.lib.stride_tricks.sliding_window_view(selem, size)
        rest = np.asarray(views[:, :, one].all(-1))
        other = table.get((rest.shape, rest.tobytes()))
        if other and np.array_equal(_sum(one, rest), selem):
            return f"{name}{SUM}{other}"
    return None


def _sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    out = np.zeros(tuple(a + b - 1 for a, b in zip(one.shape, other.shape, strict=True)), bool)
    for i, j in np.argwhere(other):
        out[i : i + one.shape[0], j : j + one.shape[1]] |= one
    return out


@cache
def _names(limit: int) -> dict[tuple[tuple[int, ...], bytes], str]:
    """(shape, content) of each known set without its margins -> its name, the largest first."""
    table: dict[tuple[tuple[int, ...], bytes], str] = {}
    for size in range(limit if limit % 2 else limit - 1, 2, -2):
        found = [(f"{name}({size})", elements.named(name, size)) for name in elements.NAMES]
        found += [(f"stick({size}, {angle})", elements.stick(size, angle)) for angle in ANGLES]
        for side in range(3, size, 2):
            found += [(f"rectangle {size} x {side}", np.ones((size, side), bool))]
            found += [(f"rectangle {side} x {size}", np.ones((side, size), bool))]
        for name, selem in found:
            shape, _ = _place(selem)
            table.setdefault((shape.shape, shape.tobytes()), name)
    return table


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
    _checks.require(len(shape) == rank, f"{argument}[{path}]",
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
