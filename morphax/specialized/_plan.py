"""From the ops of a program to the stages that XLA compiles."""

from collections.abc import Callable
from typing import Any

import numpy as np

from morphax.program import Program
from morphax.specialized._planes import Grid, kept
from morphax.specialized._stages import STAGES, tabled, unrolls
from morphax.specialized._tables import Sets, merged
from morphax.specialized._values import Stage, stacked


def plan(program: Program, *, pixels: bool) -> list[Stage]:
    """Stages of a simplified program, one for each op; that of the input has nothing to run.

    A combination of windows that are joined the same way becomes one bank of its own (`merged`); the
    windows' op then has no stage either.
    """
    whole = _merges(program)
    inner = {program.ops[number].inputs[0] for number in whole}
    reads = _reads(program)
    stages: list[Stage] = []
    for number, op in enumerate(program.ops):
        if op.kind == "input" or number in inner:
            stages.append(Stage((), (), None, stacked(op.shape[0], op.shape[1:])))
            continue
        if number in whole:
            windows = program.ops[op.inputs[0]]
            inputs, border = windows.inputs, windows.options["border"]
            made = tabled(op, whole[number], stages[inputs[0]].held, border)
        else:
            inputs = op.inputs
            made = STAGES[op.kind](op, [stages[i].held for i in inputs], pixels)
        run, arrays, held = made
        run = _kept(run) if reads[number].max(initial=0) > 1 else run
        stages.append(Stage(inputs, arrays, run, held))
    return stages


def _merges(program: Program) -> dict[int, Sets]:
    """Ops that combine large banks of windows, as one bank each."""
    found = {}
    for number, op in enumerate(program.ops):
        windows = program.ops[op.inputs[0]] if op.kind == "combine" else op
        if op.kind != "combine" or windows.kind != "spatial" or unrolls(windows):
            continue
        readers = sum(op.inputs[0] in other.inputs for other in program.ops)
        sets = merged(windows, op) if readers == 1 else None
        found.update({} if sets is None else {number: sets})
    return found


def _reads(program: Program) -> list[np.ndarray]:
    """How often each plane of each op is read by what computes; a selection hands reads on."""
    reads = [np.zeros(op.shape[0], int) for op in program.ops]
    reads[-1] += 1
    for number in range(len(program.ops) - 1, 0, -1):
        op, sizes = (
            program.ops[number],
            [program.ops[i].shape[0] for i in program.ops[number].inputs],
        )
        for i, start, size in zip(op.inputs, np.cumsum([0, *sizes]), sizes, strict=False):
            if op.kind == "spatial":
                # Each plane is padded once for each thing beyond its frame.
                pairs = np.unique(np.stack([op.arrays["source"], op.arrays["erosion"]]), axis=1)
                reads[i] += np.bincount(pairs[0], minlength=size)
            elif op.kind == "combine":
                reads[i] += np.bincount(op.arrays["indices"], minlength=size)
            elif op.kind == "select":
                inside = (op.arrays["source"] >= start) & (op.arrays["source"] < start + size)
                source = op.arrays["source"][inside] - start
                np.add.at(reads[i], source, reads[number][inside])
            else:
                reads[i] += 1
    return reads


def _kept(run: Callable[..., Any]) -> Callable[..., Any]:
    """A stage whose planes are read more than once: computed once, not again by every reader."""

    def run_once(grid: Grid, arrays: Any, *values: Any) -> Any:
        return kept(grid, lambda: run(grid, arrays, *values))

    return run_once
