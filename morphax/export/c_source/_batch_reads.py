"""Reads of the batch layout: an op reads planes where they lie, and no plane is copied to be read.

A "select" lists planes of several signals. Where a "combine" or a "group_sum" reads it, that op
takes over the list and reads the signals themselves: a classifier of many votes would otherwise
copy each plane once for each vote. After `without_selects` such ops have several inputs, whose
planes are numbered in order, and a "group_sum" may have an array `source`: the planes that it
counts.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from morphax.program import Op, Program
from morphax.program.ops import pruned


class Reads(NamedTuple):
    """Hold where the planes that an op reads lie.

    Attributes:
        base: pointer to words, as C.
        words: for each plane, its first word after `base`, for one lane.
    """

    base: str
    words: np.ndarray


def without_selects(program: Program) -> Program:
    """Let ops read what a "select" before them lists, and leave out the selects that no op reads.

    Selects of the input of the program stay, for the input has a memory of its own.

    Args:
        program: a valid program.

    Returns:
        A program for this package: ops of other packages do not have several inputs.
    """
    ops = list(program.ops)
    for number, op in enumerate(ops):
        select = ops[op.inputs[0]] if op.inputs else op
        if op.kind not in ("combine", "group_sum") or select.kind != "select":
            continue
        if 0 in select.inputs:
            continue
        source = select.arrays["source"]
        if op.kind == "combine":
            arrays = {**op.arrays, "indices": source[op.arrays["indices"]]}
        else:
            arrays = {"source": source}
        ops[number] = replace(op, inputs=select.inputs, arrays=arrays)
    return pruned(ops, len(ops) - 1, program.input_shape, program.output_shape)


def reads_of(op: Op, shapes: Sequence[tuple[int, ...]], places: Sequence[int | None]) -> Reads:
    """Return where the planes of the inputs of an op lie.

    Args:
        op: an op whose inputs all have planes of one size.
        shapes: shapes of its inputs.
        places: for each input the place in the workspace; None for the input of the program.

    Returns:
        Pointer and words. A single input is the pointer itself, so that its words are small.
    """
    area = shapes[0][1] * shapes[0][2]
    if len(op.inputs) == 1:
        base = "in" if places[0] is None else f"workspace + {places[0]} * L"
        return Reads(base, np.arange(shapes[0][0]) * area)
    planes = [
        int(place or 0) + np.arange(shape[0]) * area
        for place, shape in zip(places, shapes, strict=True)
    ]
    return Reads("workspace", np.concatenate(planes))
