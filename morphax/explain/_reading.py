"""A program read into terms: an output plane each, or nothing where there is no reading."""

from itertools import pairwise

import numpy as np

from morphax.explain._sets import offsets, radius, reflect
from morphax.explain._terms import Terms
from morphax.program import Op, Program

_WIRES = 4096  # planes and connections of a program that is read at all
_FLAT = {"input", "constant", "spatial", "combine", "complement", "select"}
# Beyond the frame: what a dilation sees there, and an erosion.
_BEYOND = {"ignore": (0, 1), "constant": (0, 0), "replicate": ("nearest", "nearest")}


def read(program: Program, *, plane: bool) -> tuple[Terms, list[int]] | None:
    """A program as terms.

    Args:
        program: any.
        plane: whether images are taken for infinite planes (`Terms`).

    Returns:
        The terms and the number of each output plane; None for a program that is too large, counts
        (that is no binary plane), moves pixels in ways that have no name, or, on infinite planes,
        pools (they know where the frame begins).
    """
    wires = sum(op.shape[0] + len(op.arrays.get("indices", ())) for op in program.ops)
    kinds = {op.kind for op in program.ops}
    if wires > _WIRES or "group_sum" in kinds or (plane and not kinds <= _FLAT):
        return None
    terms = Terms(plane=plane)
    found: list[list[int]] = []
    for op in program.ops:
        given = [term for i in op.inputs for term in found[i]]
        shapes = [program.ops[i].shape for i in op.inputs]
        planes = _read_op(terms, op, given, shapes)
        if planes is None:
            return None
        found.append(planes)
    return terms, found[-1]


def _read_op(
    terms: Terms, op: Op, given: list[int], shapes: list[tuple[int, int, int]]
) -> list[int] | None:
    arrays = op.arrays
    if op.kind == "input":
        return [terms.make("input", (channel, False)) for channel in range(op.shape[0])]
    if op.kind == "constant":
        return [terms.constant(bits) for bits in arrays["bits"]]
    if op.kind == "complement":
        return [terms.complement(term) for term in given]
    if op.kind == "select":
        return [given[source] for source in arrays["source"]]
    if op.kind == "union_pool":
        how = tuple(op.options["window"]), tuple(op.options["strides"])
        return [terms.pool(*how, term) for term in given]
    if op.kind == "rearrange":
        return _read_rearrange(terms, op, given, shapes)
    if op.kind == "combine":
        read = [arrays["indices"][slice(*ends)] for ends in pairwise(arrays["offsets"])]
        joined = [
            (terms.intersection if erosion else terms.union)(given[i] for i in chosen)
            for chosen, erosion in zip(read, arrays["erosion"], strict=True)
        ]
    else:
        fills = _BEYOND[op.options["border"]]
        windows = [offsets(window) for window in arrays["selem"]]
        sources = [given[source] for source in arrays["source"]]
        joined = [
            terms.erosion(window, fills[1], term)
            if erosion
            else terms.dilation(reflect(window), fills[0], term)
            for window, term, erosion in zip(windows, sources, arrays["erosion"], strict=True)
        ]
    flips = arrays["complement"]
    return [terms.complement(t) if flip else t for t, flip in zip(joined, flips, strict=True)]


def _read_rearrange(
    terms: Terms, op: Op, given: list[int], shapes: list[tuple[int, int, int]]
) -> list[int] | None:
    """Whole planes, or single pixels of them."""
    owner, where, start = [], [], 0
    for planes, height, width in shapes:
        owner.append(np.repeat(np.arange(start, start + planes), height * width))
        where.append(np.tile(np.arange(height * width), planes))
        start += planes
    sources, places = (np.concatenate(part)[op.arrays["index"]] for part in (owner, where))
    sizes = [shape[1:] for shape in shapes for _ in range(shape[0])]
    out = []
    for source, place in zip(sources, places, strict=True):
        size = sizes[source.flat[0]]
        same = size == source.shape and np.array_equal(place.ravel(), np.arange(place.size))
        if (source == source.flat[0]).all() and same:
            out.append(given[source.flat[0]])
        elif source.size == 1:
            y, x = divmod(int(place.flat[0]), size[1])
            out.append(terms.pixel((y, x), given[source.flat[0]]))
        else:
            return None
    return out


def reach(program: Program) -> int:
    """How far from a pixel of the output, in rows or columns, the pixels that decide it may lie."""
    far: list[np.ndarray] = []
    for op in program.ops:
        given = np.concatenate([far[i] for i in op.inputs]) if op.inputs else np.zeros(op.shape[0])
        if op.kind == "spatial":
            radii = [radius(offsets(window)) for window in op.arrays["selem"]]
            far.append(given[op.arrays["source"]] + np.array(radii))
        elif op.kind == "select":
            far.append(given[op.arrays["source"]])
        elif op.kind == "combine":
            ends = pairwise(op.arrays["offsets"])
            read = [given[op.arrays["indices"][slice(*pair)]] for pair in ends]
            far.append(np.array([planes.max(initial=0) for planes in read]))
        else:
            far.append(given)
    return int(far[-1].max())


def reach_of(terms: Terms, outputs: list[int]) -> int:
    """The same for terms."""
    known: dict[int, int] = {}

    def far(term: int) -> int:
        if term not in known:
            kind, data, args = terms.nodes[term]
            own = 0
            if kind in ("dilation", "erosion", "opening", "closing"):
                own = radius(data[0]) * (1 + (kind in ("opening", "closing")))
            elif kind == "shift":
                own = radius(frozenset({data[0]}))
            known[term] = own + max(map(far, args), default=0)
        return known[term]

    return max(map(far, outputs))
