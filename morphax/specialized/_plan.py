"""Plan of a specialised network: the ops of a program become the stages that XLA compiles.

Two decisions are taken here: a set of windows that one op joins is merged into one bank, and a
stage that is read more than once is written to memory.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from morphax.program import Program
from morphax.specialized._planes import Grid, materialized
from morphax.specialized._stages import STAGES, tabled, unrolls
from morphax.specialized._tables import Sets, merged
from morphax.specialized._values import Stage, stacked


def plan(program: Program, *, pixels: bool) -> list[Stage]:
    """Return the stages of a simplified program, one for each op.

    An op whose sets join windows by the same operation becomes one bank with its windows
    (`merged`). The stage of the windows then has nothing to run; neither has that of the input.

    Args:
        program: a simplified program.
        pixels: True if a word holds neighbouring pixels, False if it holds images.
    """
    merged_sets = _merged_sets(program)
    absorbed = {program.ops[number].inputs[0] for number in merged_sets}
    reads = _read_counts(program)
    stages: list[Stage] = []
    for number, op in enumerate(program.ops):
        if op.kind == "input" or number in absorbed:
            stages.append(Stage((), (), None, stacked(op.shape[0], op.shape[1:])))
            continue
        if number in merged_sets:  # it reads what its windows read
            windows = program.ops[op.inputs[0]]
            inputs, border = windows.inputs, windows.options["border"]
            run, arrays, held = tabled(op, merged_sets[number], stages[inputs[0]].held, border)
        else:
            inputs = op.inputs
            run, arrays, held = STAGES[op.kind](op, [stages[i].held for i in inputs], pixels)
        run = _materializing(run) if reads[number].max(initial=0) > 1 else run
        stages.append(Stage(inputs, arrays, run, held))
    return stages


def _merged_sets(program: Program) -> dict[int, Sets]:
    """Return the ops that can be merged with the large bank of windows they read, as one bank."""
    banks = {}
    for number, op in enumerate(program.ops):
        windows = program.ops[op.inputs[0]] if op.kind == "combine" else op
        if op.kind != "combine" or windows.kind != "spatial" or unrolls(windows):
            continue
        # Windows that another op reads too must exist as planes.
        readers = sum(op.inputs[0] in other.inputs for other in program.ops)
        sets = merged(windows, op) if readers == 1 else None
        if sets is not None:
            banks[number] = sets
    return banks


def _read_counts(program: Program) -> list[np.ndarray]:
    """Count for each plane of each op how many stages that compute something read it.

    A "select" computes nothing: its reads are those of the planes that it names.
    """
    reads = [np.zeros(op.shape[0], int) for op in program.ops]
    reads[-1] += 1  # by the output
    for number in range(len(program.ops) - 1, 0, -1):
        op = program.ops[number]
        sizes = [program.ops[i].shape[0] for i in op.inputs]
        for i, start, size in zip(op.inputs, np.cumsum([0, *sizes]), sizes, strict=False):
            if op.kind == "spatial":
                # A plane is padded once for erosions and once for dilations: two reads at most.
                pairs = np.unique(np.stack([op.arrays["source"], op.arrays["erosion"]]), axis=1)
                reads[i] += np.bincount(pairs[0], minlength=size)
            elif op.kind == "combine":
                reads[i] += np.bincount(op.arrays["indices"], minlength=size)
            elif op.kind == "select":  # `source` counts through all inputs: cut out this one
                inside = (op.arrays["source"] >= start) & (op.arrays["source"] < start + size)
                source = op.arrays["source"][inside] - start
                np.add.at(reads[i], source, reads[number][inside])
            else:
                reads[i] += 1
    return reads


def _materializing(run: Callable[..., Any]) -> Callable[..., Any]:
    """Make a stage write its result to memory, so that no reader computes it again."""

    def run_materialized(grid: Grid, arrays: Any, *values: Any) -> Any:
        return materialized(grid, lambda: run(grid, arrays, *values))

    return run_materialized
