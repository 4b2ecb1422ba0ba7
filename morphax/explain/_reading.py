"""Translation of a program into morphological terms; it returns None if it cannot."""

from itertools import pairwise

import numpy as np

from morphax.explain._sets import offsets, radius, reflect
from morphax.explain._terms import Terms
from morphax.program import Op, Program

_WIRES = 4096  # largest program that is translated: its planes and connections
# Kinds that are the same at every pixel, so that they have a meaning on an infinite plane.
_UNIFORM_KINDS = {"input", "constant", "spatial", "combine", "complement", "select", "at_least"}
# Border -> value beyond the frame for a dilation, and for an erosion.
_BEYOND = {"ignore": (0, 1), "constant": (0, 0), "replicate": ("nearest", "nearest")}


def read(program: Program, *, plane: bool) -> tuple[Terms, list[int]] | None:
    """Translate a program into terms.

    Args:
        program: any program.
        plane: True to take images for infinite planes (`Terms`).

    Returns:
        The terms and the number of the term of each output plane. None if the program is too
        large, ends in counts, or moves pixels in a way that has no name; on infinite planes also
        if it pools, because a pool depends on where the frame begins.
    """
    wires = sum(
        op.shape[0] + sum(len(op.arrays.get(name, ())) for name in ("indices", "votes"))
        for op in program.ops
    )
    kinds = {op.kind for op in program.ops}
    if wires > _WIRES or "group_sum" in kinds or (plane and not kinds <= _UNIFORM_KINDS):
        return None
    terms = Terms(plane=plane, axes=program.axes)
    terms_of_ops: list[list[int]] = []
    for op in program.ops:
        inputs = [term for i in op.inputs for term in terms_of_ops[i]]
        shapes = [program.ops[i].shape for i in op.inputs]
        planes = _read_op(terms, op, inputs, shapes)
        if planes is None:
            return None
        terms_of_ops.append(planes)
    return terms, terms_of_ops[-1]


def _read_op(
    terms: Terms, op: Op, inputs: list[int], shapes: list[tuple[int, ...]]
) -> list[int] | None:
    """Return the terms of the planes of one op, from those of its inputs one after the other."""
    arrays = op.arrays
    if op.kind == "input":
        return [terms.make("input", (channel, False)) for channel in range(op.shape[0])]
    if op.kind == "constant":
        return [terms.constant(bits) for bits in arrays["bits"]]
    if op.kind == "complement":
        return [terms.complement(term) for term in inputs]
    if op.kind == "select":
        return [inputs[source] for source in arrays["source"]]
    if op.kind == "union_pool":
        how = tuple(op.options["window"]), tuple(op.options["strides"])
        return [terms.pool(*how, term) for term in inputs]
    if op.kind == "rearrange":
        return _read_rearrange(terms, op, inputs, shapes)
    if op.kind == "at_least":
        votes, cuts = arrays["votes"].tolist(), arrays["cuts"].tolist()
        groups = [inputs[i : i + len(votes)] for i in range(0, len(inputs), len(votes))]
        return [terms.count(votes, cut, group) for group in groups for cut in cuts]
    if op.kind == "combine":
        read = [arrays["indices"][slice(*ends)] for ends in pairwise(arrays["offsets"])]
        joined = [
            (terms.intersection if erosion else terms.union)(inputs[i] for i in chosen)
            for chosen, erosion in zip(read, arrays["erosion"], strict=True)
        ]
    else:
        # A window is correlated: as a textbook set it is itself for an erosion, and its reflection
        # for a dilation.
        fills = _BEYOND[op.options["border"]]
        windows = [offsets(window) for window in arrays["selem"]]
        sources = [inputs[source] for source in arrays["source"]]
        joined = [
            terms.erosion(window, fills[1], term)
            if erosion
            else terms.dilation(reflect(window), fills[0], term)
            for window, term, erosion in zip(windows, sources, arrays["erosion"], strict=True)
        ]
    flips = arrays["complement"]
    return [terms.complement(t) if flip else t for t, flip in zip(joined, flips, strict=True)]


def _read_rearrange(
    terms: Terms, op: Op, inputs: list[int], shapes: list[tuple[int, ...]]
) -> list[int] | None:
    """Return terms for moves of whole planes and of single pixels; None for any other move."""
    # For each pixel of the result: the plane it comes from, and its position in that plane.
    owner, where, start = [], [], 0
    for planes, *frame in shapes:
        area = int(np.prod(frame))
        owner.append(np.repeat(np.arange(start, start + planes), area))
        where.append(np.tile(np.arange(area), planes))
        start += planes
    sources, places = (np.concatenate(part)[op.arrays["index"]] for part in (owner, where))
    sizes = [shape[1:] for shape in shapes for _ in range(shape[0])]
    out = []
    for source, place in zip(sources, places, strict=True):
        size = sizes[source.flat[0]]
        same = size == source.shape and np.array_equal(place.ravel(), np.arange(place.size))
        if (source == source.flat[0]).all() and same:
            out.append(inputs[source.flat[0]])
        elif source.size == 1:
            position = np.array(np.unravel_index(int(place.flat[0]), size)).tolist()
            out.append(terms.pixel(tuple(position), inputs[source.flat[0]]))
        else:
            return None
    return out


def program_radius(program: Program) -> int:
    """Return the radius of the receptive field of a program.

    It is the greatest distance, in rows or columns, from a pixel of the output to a pixel of the
    input that it depends on.
    """
    radii: list[np.ndarray] = []  # of each op: the radius of each plane
    for op in program.ops:
        inputs = [radii[i] for i in op.inputs]
        below = np.concatenate(inputs) if inputs else np.zeros(op.shape[0])
        if op.kind == "spatial":
            own = [radius(offsets(window)) for window in op.arrays["selem"]]
            radii.append(below[op.arrays["source"]] + np.array(own))
        elif op.kind == "select":
            radii.append(below[op.arrays["source"]])
        elif op.kind == "combine":
            ends = pairwise(op.arrays["offsets"])
            sets = [below[op.arrays["indices"][slice(*pair)]] for pair in ends]
            radii.append(np.array([planes.max(initial=0) for planes in sets]))
        elif op.kind == "at_least":
            groups = below.reshape(-1, len(op.arrays["votes"])).max(1)
            radii.append(np.repeat(groups, len(op.arrays["cuts"])))
        else:
            radii.append(below)
    return int(radii[-1].max())


def terms_radius(terms: Terms, outputs: list[int]) -> int:
    """Return the radius of the receptive field of terms, as `program_radius` does for programs."""
    radii: dict[int, int] = {}

    def radius_of(term: int) -> int:
        if term not in radii:
            kind, data, args = terms.entries[term]
            own = 0
            if kind in ("dilation", "erosion", "opening", "closing"):
                own = radius(data[0]) * (1 + (kind in ("opening", "closing")))
            elif kind == "shift":
                own = radius(frozenset({data[0]}))
            radii[term] = own + max(map(radius_of, args), default=0)
        return radii[term]

    return max(map(radius_of, outputs))
