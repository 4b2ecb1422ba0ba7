"""A binary network as plain data: what runs it without its model's code, ships it, and explains it.

A `Program` is a list of ops on *planes*. A signal of shape (batch, H, W, c1, c2, ...) is a stack of
c1*c2*... planes H x W (row-major over the channel axes); a flat signal (batch, n) is n planes of
1 x 1. Everything is numpy: no closures, no jax, nothing that a file could not hold.

| kind | reads | planes of the result |
|---|---|---|
| "input" | - | the channels of the image |
| "constant" | - | `bits` |
| "spatial" | one signal | plane o: dilation or erosion of plane `source[o]` by the window `selem[o]` |
| "combine" | one signal | plane o: union or intersection of planes `indices[offsets[o]:offsets[o+1]]` |
| "complement" | one signal | the complement of each plane |
| "union_pool" | one signal | OR over `window`, every `strides` ("valid") |
| "select" | signals | plane o: plane `source[o]` of its signals, numbered one after the other |
| "rearrange" | signals | pixel (o, y, x): pixel `index[o, y, x]` of its signals, flattened and joined |
| "group_sum" | one signal | counts, int32: plane o counts `per` consecutive planes of its signal |

`erosion[o]` chooses between the two operations, `complement[o]` complements the result. Windows are
those of `morphax.neurons.nodes` (correlation, not flipped); `border` is one of `morphax.neurons.nodes.BORDERS`. The
empty set gives the neutral element: an empty union is 0, an empty intersection 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from morphax import _checks


@dataclass(frozen=True)
class Op:
    """One step of a program.

    Attributes:
        kind: see the module.
        inputs: numbers of the ops it reads.
        shape: (planes, height, width) of its result.
        path: of the bank in the params tree, "" where there is none.
        arrays: name -> numpy array, by kind:
            "constant": bits bool (P, H, W).
            "spatial": source int32 (P,), selem bool (P, kh, kw), erosion bool (P,), complement bool (P,).
            "combine": offsets int32 (P + 1,), indices int32, erosion bool (P,), complement bool (P,).
            "select": source int32 (P,). "rearrange": index int32 (P, H, W).
        options: plain values, by kind: "spatial": border. "union_pool": window, strides.
            "group_sum": per.
    """

    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, int, int]
    path: str = ""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A binary network: its ops in the order of evaluation; the last one is the output.

    Attributes:
        ops: the first is the only "input".
        input_shape: of one input, without the batch: (H, W, C) or (n,).
        output_shape: of one output, without the batch.
    """

    ops: tuple[Op, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


def to_planes(signal: np.ndarray) -> np.ndarray:
    """Signals as stacks of planes: `(N, H, W, c1, ...)` or `(N, n)` to `(N, P, H, W)`.

    Example:
        >>> to_planes(np.zeros((2, 5, 4, 3))).shape, to_planes(np.zeros((2, 7))).shape
        ((2, 3, 5, 4), (2, 7, 1, 1))
    """
    shape = (len(signal), *plane_shape(signal.shape[1:]))
    if signal.ndim < 4:
        return signal.reshape(shape)
    return np.moveaxis(signal.reshape(*signal.shape[:3], shape[1]), -1, 1)


def from_planes(planes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Stacks of planes `(N, P, H, W)` as signals `(N, *shape)`; inverse of `to_planes`.

    Example:
        >>> from_planes(np.zeros((2, 3, 5, 4)), (5, 4, 3)).shape
        (2, 5, 4, 3)
    """
    return np.moveaxis(planes, 1, -1).reshape(len(planes), *shape)


def plane_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """(planes, height, width) of a signal of that shape, batch left out.

    Example:
        >>> plane_shape((5, 4, 3)), plane_shape((7,))
        ((3, 5, 4), (7, 1, 1))
    """
    if len(shape) < 3:
        return math.prod(shape), 1, 1
    return math.prod(shape[2:]), shape[0], shape[1]


def run(program: Program, x: np.ndarray) -> np.ndarray:
    """Run a program, slowly and plainly: the meaning of its ops.

    Args:
        program: what `build` returns.
        x: bool `(N, *program.input_shape)`.

    Returns:
        bool `(N, *program.output_shape)`; int32 when the last op is "group_sum".

    Raises:
        ValueError: wrong shape or dtype of `x`.

    Example:
        >>> flip = Program((Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))), (2,), (2,))
        >>> run(flip, np.array([[True, False]])).tolist()
        [[False, True]]
    """
    x = np.asarray(x)
    fits = x.ndim > 0 and x.shape[1:] == program.input_shape
    _checks.require(fits, "x", f"shape (N, *{program.input_shape})", x.shape)
    _checks.require(x.dtype == np.bool_, "x", "bool", x.dtype)
    results = [to_planes(x)]
    for op in program.ops[1:]:
        result = run_op(op, *(results[i] for i in op.inputs))
        results.append(np.broadcast_to(result, (len(x), *result.shape[1:])))
    return from_planes(results[-1], program.output_shape)


def run_op(op: Op, *stacks: np.ndarray) -> np.ndarray:
    """Run one op, of any kind but "input".

    Args:
        op: the op.
        *stacks: bool `(N, P, H, W)`, one for each of its inputs.

    Returns:
        `(N, *op.shape)`, N = 1 for a "constant".

    Example:
        >>> run_op(Op("complement", (0,), (1, 1, 2)), np.array([[[[True, False]]]])).tolist()
        [[[[False, True]]]]
    """
    return _RUN[op.kind](op, *stacks)


def _run_spatial(op: Op, planes: np.ndarray) -> np.ndarray:
    _, height, width = op.shape
    windows, border = op.arrays["selem"], op.options["border"]
    kh, kw = windows.shape[1:]
    sides = ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2))
    out = np.empty((len(planes), *op.shape), bool)
    for o, (window, source, erosion, complement) in enumerate(
        zip(windows, *(op.arrays[k] for k in ("source", "erosion", "complement")), strict=True)
    ):
        plane = planes[:, source]
        if border == "replicate":
            padded = np.pad(plane, sides, mode="edge")
        else:  # "ignore": beyond the frame lies what does not decide
            padded = np.pad(plane, sides, constant_values=bool(erosion) and border == "ignore")
        joined = np.full((len(planes), height, width), erosion)
        for i, j in np.argwhere(window):
            seen = padded[:, i : i + height, j : j + width]
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
    views = np.lib.stride_tricks.sliding_window_view(planes, op.options["window"], axis=(2, 3))
    down, across = op.options["strides"]
    return np.asarray(views[:, :, ::down, ::across].any((-1, -2)))


def _run_rearrange(op: Op, *stacks: np.ndarray) -> np.ndarray:
    flat = np.concatenate([planes.reshape(len(planes), -1) for planes in stacks], axis=1)
    return flat[:, op.arrays["index"]]


_RUN: dict[str, Callable[..., np.ndarray]] = {
    "constant": lambda op: op.arrays["bits"][None],
    "spatial": _run_spatial,
    "combine": _run_combine,
    "complement": lambda op, planes: ~planes,
    "union_pool": _run_pool,
    "select": lambda op, *stacks: np.concatenate(stacks, axis=1)[:, op.arrays["source"]],
    "rearrange": _run_rearrange,
    "group_sum": lambda op, planes: planes.reshape(len(planes), op.shape[0], -1, *op.shape[1:])
    .sum(2, dtype=np.int32),
}  # fmt: skip


def pruned(
    ops: Sequence[Op], output: int, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> Program:
    """A program of the ops that `output` depends on, renumbered; the input always stays.

    Args:
        ops: in the order of evaluation, the input first.
        output: number of the op whose result is the program's.
        input_shape: as in `Program`.
        output_shape: as in `Program`.

    Returns:
        The program.
    """
    needed = {0, output}
    for i in range(output, 0, -1):
        needed |= set(ops[i].inputs) if i in needed else set()
    order = {old: new for new, old in enumerate(sorted(needed))}
    kept = [replace(ops[i], inputs=tuple(order[j] for j in ops[i].inputs)) for i in sorted(needed)]
    return Program(tuple(kept), input_shape, output_shape)
