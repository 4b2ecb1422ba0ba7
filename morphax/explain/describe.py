"""Descriptions of single neurons: operation, name of the structuring element, certificate."""

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
from morphax.neurons.nodes import BinaryBiSE, Node, input_axes, leaves, named_nodes

SPATIAL = ("dilation", "erosion")
"""Names of the operations of a spatial bank; those of a LUI are union and intersection."""
SUM = " ⊕ "
"""Text between the two terms of a Minkowski sum."""
ANGLES = (45, 135, 30, 60, 120, 150, 15, 75, 105, 165)
"""Angles of the sticks that have a name. Common ones come first, as two may give one set."""


def describe(binary: Any, certificates: Mapping[str, Certificate]) -> list[str]:
    """Describe the neurons of a binary network, in a line of text for each.

    Args:
        binary: params tree of `BinaryBiSE` nodes, such as `morphax.binarize` returns.
        certificates: certificate of each bank by its path, such as `certify_network(...).neurons`.

    Returns:
        Lines such as "layer 1: erosion by disk(7) - certified, margin 0.07".

    Raises:
        ValueError: if there are real or stacked banks.

    Example:
        >>> import jax
        >>> from morphax import binarize, certify_network, models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=1)
        >>> certificate = certify_network(models.bimonn, params, (1, 5, 5, 1))
        >>> describe(binarize(params), certificate.neurons)[0].split(" - ")[0]
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
    """Return name, operation and set of one neuron."""
    if node.spec.role == "spatial":
        selem = name_selem(structuring_element(node, *index))
        return f"{row_name(path, node, index)}: {operation_name(node, index, SPATIAL)} by {selem}"
    chosen = np.flatnonzero(node.selem[:, index[0]]) + 1
    few = ", ".join(map(str, chosen)) if len(chosen) <= 8 else f"({len(chosen)} of them)"
    operation = operation_name(node, index, ("union", "intersection"))
    return f"{row_name(path, node, ())}, output {index[0] + 1}: {operation} of maps {few}"


def name_selem(selem: ArrayLike) -> str:
    """Name a structuring element, as in `morphax.elements` if it is one of those.

    Rectangles, sticks at common angles, and Minkowski sums of two named elements have names too.

    Args:
        selem: textbook structuring element, bool `(kh, kw)`, origin at the centre; or with one or
            three axes.

    Returns:
        Text such as "disk(7)", "stick(5, 45)", "rectangle 3 x 5", "disk(5) ⊕ disk(3)" (`SUM`), or
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
    shift = f" shifted by ({', '.join(str(o // 2) for o in offset)})" if any(offset) else ""
    if shape.size == 1:
        return f"one pixel{shift}" if shift else "one pixel, changing nothing"
    # A set of an even side has no centre pixel, and no named set is like that.
    name = None if any(o % 2 for o in offset) else _name_of(shape.shape, shape.tobytes())
    return f"{name}{shift}" if name else f"a set of {int(selem.sum())} pixels"


def nearly(selem: ArrayLike) -> tuple[str, int] | None:
    """Find the named element that differs from a set in the fewest pixels.

    Args:
        selem: textbook structuring element, bool `(kh, kw)`, origin at the centre.

    Returns:
        `(name, number of pixels that differ)`; None if more than a quarter of the pixels of every
        named element differ.

    Example:
        >>> nearly(elements.disk(7) ^ (elements.disk(7) & np.eye(7, dtype=bool)))
        ('disk(7)', 5)
    """
    selem = np.asarray(selem).astype(bool)
    candidates = []
    for (shape, content), name in _names(max(selem.shape), selem.ndim).items():
        # The symmetric difference of the two, with their centres on each other.
        window = np.zeros([max(pair) for pair in zip(shape, selem.shape, strict=True)], bool)
        for part in (selem, np.frombuffer(content, bool).reshape(shape)):
            sides = [(n - side) // 2 for n, side in zip(window.shape, part.shape, strict=True)]
            window[tuple(slice(s, n - s) for s, n in zip(sides, window.shape, strict=True))] ^= part
        differ = int(window.sum())
        if 4 * differ <= sum(content):
            candidates.append((differ, name))
    differ, name = min(candidates, key=lambda pair: pair[0], default=(0, ""))
    return (name, differ) if name else None


@cache
def _name_of(shape: tuple[int, ...], content: bytes) -> str | None:
    """Return the name of a set without margins and with odd sides, or None."""
    names = _names(max(shape), len(shape))
    if (shape, content) in names:
        return names[shape, content]
    selem = np.frombuffer(content, bool).reshape(shape)
    # Minkowski sums: erode the set by a named one; the result must be named too, and its sum with
    # the named one must be the set.
    for (size, part), name in names.items():
        if any(part > side for part, side in zip(size, shape, strict=True)):
            continue
        one = np.frombuffer(part, bool).reshape(size)
        views = np.lib.stride_tricks.sliding_window_view(selem, size)
        rest = np.asarray(views[(..., one)].all(-1))
        other = names.get((rest.shape, rest.tobytes()))
        if other and np.array_equal(_sum(one, rest), selem):
            return f"{name}{SUM}{other}"
    return None


def _sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Minkowski sum of two sets as an array."""
    out = np.zeros(tuple(a + b - 1 for a, b in zip(one.shape, other.shape, strict=True)), bool)
    for place in np.argwhere(other).tolist():
        out[tuple(slice(i, i + n) for i, n in zip(place, one.shape, strict=True))] |= one
    return out


@cache
def _names(limit: int, axes: int) -> dict[tuple[tuple[int, ...], bytes], str]:
    """Return the names of sets up to a size: (shape, content) without margins -> name.

    Larger sets come first; of two names for one set, the first one counts.
    """
    names: dict[tuple[tuple[int, ...], bytes], str] = {}
    for size in range(limit if limit % 2 else limit - 1, 2, -2):
        if axes != 2:
            sets = _of_rows_and_volumes(size, axes)
            names |= {(selem.shape, selem.tobytes()): name for name, selem in sets}
            continue
        sets = [(f"{name}({size})", elements.named(name, size)) for name in elements.NAMES]
        sets += [(f"stick({size}, {angle})", elements.stick(size, angle)) for angle in ANGLES]
        for side in range(3, size, 2):
            sets += [(f"rectangle {size} x {side}", np.ones((size, side), bool))]
            sets += [(f"rectangle {side} x {size}", np.ones((side, size), bool))]
        for name, selem in sets:
            shape, _ = _place(selem)
            names.setdefault((shape.shape, shape.tobytes()), name)
    return names


def _of_rows_and_volumes(size: int, axes: int) -> list[tuple[str, np.ndarray]]:
    """Return the named sets of one or three axes of a size; of equal sets the last name counts."""
    if axes == 1:
        return [(f"segment({size})", np.ones(size, bool))]
    shapes = {"octahedron": elements.octahedron, "ball": elements.ball, "cube": elements.cube}
    return [(f"{name}({size})", shape(size)) for name, shape in shapes.items()]


def _place(selem: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Cut off the empty margins of a set, and return it with twice the offset of its centre."""
    axes = range(selem.ndim)
    hit = [np.flatnonzero(selem.any(tuple(i for i in axes if i != axis))) for axis in axes]
    ends = [(int(places[0]), int(places[-1])) for places in hit]
    offset = tuple(a + b + 1 - side for (a, b), side in zip(ends, selem.shape, strict=True))
    return selem[tuple(slice(a, b + 1) for a, b in ends)], offset


def check_unstacked(argument: str, path: str, node: Node) -> None:
    """Check that a bank has no leading axes (of a scan or a sweep).

    Args:
        argument: name of the argument that holds the bank.
        path: path of the bank in its params tree.
        node: the bank.

    Raises:
        ValueError: if the weights have more axes than the role of the bank.

    Example:
        >>> from morphax import BiSE, Spec
        >>> node = BiSE(np.ones((2, 3)), np.ones(3), np.ones(3), Spec("dense"))
        >>> check_unstacked("params", "head", node)
    """
    shape = np.shape(leaves(node)[0])
    rank = 2 + (len(input_axes(node)) if node.spec.role == "spatial" else 0)
    expected = f"an unstacked bank, weights of rank {rank}"
    _checks.require(len(shape) == rank, f"{argument}[{path}]", expected, shape)


def row_name(path: str, node: BinaryBiSE, index: tuple[int, ...]) -> str:
    """Name a neuron by its place in the network.

    Args:
        path: path of its bank in the params tree.
        node: the bank.
        index: (input channel, output channel), or () for a whole LUI.

    Returns:
        Text such as "layer 2, map 1 to 3" or "layer 2, LUI"; the path for a model of another form.

    Example:
        >>> from morphax import BinaryBiSE, Spec
        >>> bits = np.ones((3, 3, 1, 2), bool), np.ones((1, 2), bool), np.zeros((1, 2), bool)
        >>> row_name("1/bise", BinaryBiSE(*bits, Spec()), (0, 1))
        'layer 2, map 1 to 2'
    """
    numbered = re.fullmatch(r"(?:layers_)?(\d+)/(bise|lui)", path)
    name = f"layer {int(numbered[1]) + 1}" if numbered else path
    if index and node.erosion.size > 1:
        name += f", map {index[0] + 1} to {index[1] + 1}"
    if index == () and numbered:
        name += ", LUI"
    return name


def operation_name(twin: BinaryBiSE, index: tuple[int, ...], words: tuple[str, str]) -> str:
    """Name the operation of a neuron.

    Args:
        twin: its binary bank.
        index: index of the neuron.
        words: (word for a dilation, word for an erosion).

    Returns:
        One of the words, after "not " if the neuron complements.
    """
    return ("not " if twin.complement[index] else "") + words[bool(twin.erosion[index])]
