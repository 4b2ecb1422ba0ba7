"""Intermediate representation of binary networks: a list of ops on bit planes.

The same data runs a network without the code of its model, is stored in archives, is exported,
and is explained. Everything is numpy: no closures, no jax, nothing that a file could not hold.

A *plane* is an image of bits, H x W. A signal of shape (batch, H, W, c1, c2, ...) is a stack of
c1 * c2 * ... planes (row-major over the channel axes). A flat signal (batch, n) is n planes of
1 x 1. In a program of rows or volumes, a plane has one axis or three, and the same holds with
their sizes in place of H, W. All planes of a program have as many axes.

| kind | reads | planes of the result |
|---|---|---|
| "input" | - | the channels of the image |
| "constant" | - | `bits` |
| "spatial" | one signal | plane o: plane `source[o]`, dilated or eroded by `selem[o]` |
| "combine" | one signal | plane o: union or intersection of the planes of set o, see below |
| "complement" | one signal | the complement of each plane |
| "union_pool" | one signal | OR over `window`, every `strides` pixels (only whole windows) |
| "select" | signals | plane o: plane `source[o]` of all signals, numbered in order |
| "rearrange" | signals | pixel (o, y, x): pixel `index[o, y, x]` of all signals, flattened |
| "at_least" | one signal | plane g * k + t: do the votes of group g reach `cuts[t]`, see below |
| "group_sum" | one signal | counts, int32: plane o counts `per` consecutive planes |

Set o of a "combine" holds the planes `indices[offsets[o]:offsets[o + 1]]`. `erosion[o]` is True
for an erosion or intersection and False for a dilation or union; `complement[o]` complements the
result. Windows are correlated, not flipped, as in `morphax.neurons.nodes`, and have odd sides: an
even side of a bank gets an empty row at its end, which leaves its origin in place. `border` is one
of `morphax.morphology.shift.BORDERS`. The empty set gives the neutral element: an empty union is 0,
an empty intersection 1.

An "at_least" has n `votes` and k `cuts`, whole numbers of any sign. Group g of its input is the
planes g * n to (g + 1) * n - 1 (there often is one group): at each pixel the votes of the planes
that are set are added, and plane g * k + t of the result is 1 where the sum is at least `cuts[t]`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from morphax import _checks
from morphax.morphology import bit_arrays

Kind = Literal[
    "input",
    "constant",
    "spatial",
    "combine",
    "complement",
    "union_pool",
    "select",
    "rearrange",
    "at_least",
    "group_sum",
]
"""Kinds of ops; the table above defines them."""


@dataclass(frozen=True)
class Op:
    """Hold one step of a program.

    Attributes:
        kind: one of `Kind`; the table in the module docstring defines each.
        inputs: numbers of the ops whose results it reads.
        shape: (planes, height, width) of its result, or `(planes, *sizes)` in rows and volumes.
        path: path of its bank of neurons in the params tree; "" if it comes from no bank.
        arrays: numpy arrays by name. P, H, W are the sizes of `shape`:
            "constant": bits bool (P, H, W).
            "spatial": source int32 (P,), selem bool (P, kh, kw), odd sides, erosion bool (P,),
            complement bool (P,).
            "combine": offsets int32 (P + 1,), indices int32, erosion bool (P,),
            complement bool (P,).
            "select": source int32 (P,). "rearrange": index int32 (P, H, W).
            "at_least": votes int32, cuts int32.
        options: plain values by name. "spatial": border. "union_pool": window, strides.
            "group_sum": per.
    """

    kind: Kind
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    path: str = ""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """Hold a binary network as a list of ops in the order of evaluation.

    Attributes:
        ops: the first op is the only "input"; the last op is the output.
        input_shape: shape of one input without the batch: (H, W, C), (n,), or (D, H, W, C).
        output_shape: shape of one output without the batch.
    """

    ops: tuple[Op, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def axes(self) -> int:
        """Return the number of axes of a plane."""
        return len(self.ops[0].shape) - 1


def to_planes(signal: np.ndarray, *, axes: int = 2) -> np.ndarray:
    """Convert signals to stacks of planes; inverse of `from_planes`.

    Args:
        signal: `(N, H, W, c1, ...)` or `(N, n)`.
        axes: number of axes of a plane.

    Returns:
        `(N, P, H, W)` where P is c1 * c2 * ..., or `(N, n, 1, 1)`.

    Example:
        >>> to_planes(np.zeros((2, 5, 4, 3))).shape, to_planes(np.zeros((2, 7))).shape
        ((2, 3, 5, 4), (2, 7, 1, 1))
    """
    shape = (len(signal), *plane_shape(signal.shape[1:], axes=axes))
    if signal.ndim < axes + 2:
        return signal.reshape(shape)
    return np.moveaxis(signal.reshape(*signal.shape[: axes + 1], shape[1]), -1, 1)


def from_planes(planes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Convert stacks of planes to signals; inverse of `to_planes`.

    Args:
        planes: `(N, P, H, W)`.
        shape: shape of one signal, without the batch.

    Returns:
        `(N, *shape)`.

    Example:
        >>> from_planes(np.zeros((2, 3, 5, 4)), (5, 4, 3)).shape
        (2, 5, 4, 3)
    """
    return np.moveaxis(planes, 1, -1).reshape(len(planes), *shape)


def plane_shape(shape: Sequence[int], *, axes: int = 2) -> tuple[int, ...]:
    """Return the planes of a signal as (planes, height, width).

    Args:
        shape: shape of one signal, without the batch.
        axes: number of axes of a plane.

    Returns:
        The number of planes, and the sizes of one.

    Example:
        >>> plane_shape((5, 4, 3)), plane_shape((7,)), plane_shape((5, 4, 3, 2), axes=3)
        ((3, 5, 4), (7, 1, 1), (2, 5, 4, 3))
    """
    if len(shape) <= axes:
        return math.prod(shape), *(1,) * axes
    return math.prod(shape[axes:]), *shape[:axes]


def run(program: Program, x: np.ndarray) -> np.ndarray:
    """Run a program with plain numpy; this defines the meaning of the ops.

    It favours clarity over speed: `morphax.specialized` runs the same program fast.

    Args:
        program: a program, such as `build` returns.
        x: bool `(N, *program.input_shape)`.

    Returns:
        bool `(N, *program.output_shape)`; int32 when the last op is "group_sum".

    Raises:
        ValueError: if `x` has the wrong shape or dtype.

    Example:
        >>> ops = Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))
        >>> run(Program(ops, (2,), (2,)), np.array([[True, False]])).tolist()
        [[False, True]]
    """
    x = bit_arrays.native(np.asarray(x))
    is_batch = x.ndim > 0 and x.shape[1:] == program.input_shape
    _checks.require(is_batch, "x", f"shape (N, *{program.input_shape})", x.shape)
    _checks.require(x.dtype == np.bool_, "x", "bool", x.dtype)
    results = [to_planes(x, axes=program.axes)]
    for op in program.ops[1:]:
        result = run_op(op, *(results[i] for i in op.inputs))
        # A constant has a batch of 1: give it the batch of the others.
        results.append(np.broadcast_to(result, (len(x), *result.shape[1:])))
    return from_planes(results[-1], program.output_shape)


def run_op(op: Op, *stacks: np.ndarray) -> np.ndarray:
    """Run one op of any kind except "input".

    Args:
        op: the op.
        *stacks: bool `(N, P, H, W)`, one array for each input of the op.

    Returns:
        `(N, *op.shape)`; N is 1 for a "constant".

    Example:
        >>> run_op(Op("complement", (0,), (1, 1, 2)), np.array([[[[True, False]]]])).tolist()
        [[[[False, True]]]]
    """
    return _RUN[op.kind](op, *stacks)


def _run_spatial(op: Op, planes: np.ndarray) -> np.ndarray:
    _, *frame = op.shape
    windows, border = op.arrays["selem"], op.options["border"]
    sides = ((0, 0), *((side // 2, side // 2) for side in windows.shape[1:]))
    out = np.empty((len(planes), *op.shape), bool)
    if out.size == 0:  # an empty image has no nearest pixel for "replicate"
        return out
    for o, (window, source, erosion, complement) in enumerate(
        zip(windows, *(op.arrays[k] for k in ("source", "erosion", "complement")), strict=True)
    ):
        plane = planes[:, source]
        if border == "replicate":
            padded = np.pad(plane, sides, mode="edge")
        else:  # "constant" pads with 0; "ignore" with the value that cannot decide the result
            padded = np.pad(plane, sides, constant_values=bool(erosion) and border == "ignore")
        # Start from the neutral element, so that an empty window needs no case of its own.
        joined = np.full((len(planes), *frame), erosion)
        for place in np.argwhere(window).tolist():
            cut = (slice(i, i + length) for i, length in zip(place, frame, strict=True))
            seen = padded[(slice(None), *cut)]
            joined = joined & seen if erosion else joined | seen
        out[:, o] = joined ^ complement
    return out


def _run_combine(op: Op, planes: np.ndarray) -> np.ndarray:
    out = np.empty((len(planes), *op.shape), bool)
    offsets, indices = op.arrays["offsets"], op.arrays["indices"]
    for o in range(op.shape[0]):
        read = planes[:, indices[offsets[o] : offsets[o + 1]]]
        joined = read.all(1) if op.arrays["erosion"][o] else read.any(1)
        out[:, o] = joined ^ op.arrays["complement"][o]
    return out


def _run_pool(op: Op, planes: np.ndarray) -> np.ndarray:
    window, strides = op.options["window"], op.options["strides"]
    axes = tuple(range(2, planes.ndim))
    views = np.lib.stride_tricks.sliding_window_view(planes, window, axis=axes)
    steps = (slice(None), slice(None), *(slice(None, None, step) for step in strides))
    return np.asarray(views[steps].any(tuple(range(-len(window), 0))))


def _run_rearrange(op: Op, *stacks: np.ndarray) -> np.ndarray:
    flat = np.concatenate(
        [planes.reshape(len(planes), math.prod(planes.shape[1:])) for planes in stacks], axis=1
    )
    return flat[:, op.arrays["index"]]


def _run_group_sum(op: Op, planes: np.ndarray) -> np.ndarray:
    groups = planes.reshape(len(planes), op.shape[0], op.options["per"], *op.shape[1:])
    return groups.sum(2, dtype=np.int32)


def _run_at_least(op: Op, planes: np.ndarray) -> np.ndarray:
    votes, cuts = op.arrays["votes"], op.arrays["cuts"]
    groups = planes.reshape(len(planes), planes.shape[1] // len(votes), len(votes), *op.shape[1:])
    # Plane by plane, since whole numbers take 32 times the memory of the planes.
    total = np.zeros((*groups.shape[:2], *op.shape[1:]), np.int32)
    for i, vote in enumerate(votes):
        total += groups[:, :, i] * vote
    cuts = cuts.reshape(-1, *(1,) * (len(op.shape) - 1))
    return (total[:, :, None] >= cuts).reshape(len(planes), *op.shape)


_RUN: dict[str, Callable[..., np.ndarray]] = {
    "constant": lambda op: op.arrays["bits"][None],
    "spatial": _run_spatial,
    "combine": _run_combine,
    "complement": lambda op, planes: ~planes,
    "union_pool": _run_pool,
    "select": lambda op, *stacks: np.concatenate(stacks, axis=1)[:, op.arrays["source"]],
    "rearrange": _run_rearrange,
    "at_least": _run_at_least,
    "group_sum": _run_group_sum,
}


def pruned(
    ops: Sequence[Op], output: int, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> Program:
    """Return a program of only the ops that `output` depends on, numbered anew.

    Args:
        ops: ops in the order of evaluation; the first is the input, which always stays.
        output: number of the op whose result is the program's output.
        input_shape: as in `Program`.
        output_shape: as in `Program`.

    Returns:
        The program.

    Example:
        >>> flips = [Op("complement", (0,), (1, 1, 1)) for _ in range(3)]
        >>> [op.kind for op in pruned([Op("input", (), (1, 1, 1)), *flips], 2, (1,), (1,)).ops]
        ['input', 'complement']
    """
    needed = {0, output}
    # Inputs have smaller numbers, so one pass from the output backwards finds all of them.
    for i in range(output, 0, -1):
        needed |= set(ops[i].inputs) if i in needed else set()
    order = {old: new for new, old in enumerate(sorted(needed))}
    needed_ops = (
        replace(ops[i], inputs=tuple(order[j] for j in ops[i].inputs)) for i in sorted(needed)
    )
    return Program(tuple(needed_ops), input_shape, output_shape)
