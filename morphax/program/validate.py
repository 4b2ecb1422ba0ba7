"""Validation of programs, before one is exported and after one is read from a file.

The checks cover everything that `morphax.program.run` and the compiled forms take for granted:
ops read only earlier ops, arrays have the dtypes and shapes of their kind, and indices point
inside what they index. A file can declare any size, so nothing of the size of a result is
allocated here.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from morphax import _checks
from morphax.morphology.shift import BORDERS
from morphax.neurons.counting import LIMIT
from morphax.program import Op, Program, plane_shape

Shape = tuple[int, ...]

MAX_SIDE = 2**31 - 1
"""Largest side of an array, because indices are int32."""

# Kind -> name of an array -> dtype and axes. P: planes of the result, "frame": the sizes of one;
# "?": any size, "window": any size for each axis of a plane.
ARRAYS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "input": {},
    "constant": {"bits": ("bool", ("P", "frame"))},
    "spatial": {
        "source": ("int32", ("P",)),
        "selem": ("bool", ("P", "window")),
        "erosion": ("bool", ("P",)),
        "complement": ("bool", ("P",)),
    },
    "combine": {
        "offsets": ("int32", ("P+1",)),
        "indices": ("int32", ("?",)),
        "erosion": ("bool", ("P",)),
        "complement": ("bool", ("P",)),
    },
    "complement": {},
    "union_pool": {},
    "select": {"source": ("int32", ("P",))},
    "rearrange": {"index": ("int32", ("P", "frame"))},
    "at_least": {"votes": ("int32", ("?",)), "cuts": ("int32", ("?",))},
    "group_sum": {},
}
OPTIONS = {"spatial": {"border"}, "union_pool": {"window", "strides"}, "group_sum": {"per"}}
_NUMBERS = {2: "two", 3: "three", 4: "four"}
# Kind -> how many signals it reads: None for one or more, 1 for kinds that are not listed.
_READS = {"input": 0, "constant": 0, "select": None, "rearrange": None}


def check_program(program: Program) -> None:
    """Check that a program can run.

    Args:
        program: any program.

    Raises:
        ValueError: if it cannot run; the message names the op and its field.

    Example:
        >>> wrong = Op("complement", (5,), (1, 1, 1))
        >>> check_program(Program((Op("input", (), (1, 1, 1)), wrong), (1,), (1,)))
        Traceback (most recent call last):
        ValueError: ops[1].inputs: expected earlier ops, 0 to 0, got (5,)
    """
    ops = program.ops
    _checks.require(len(ops) > 0, "ops", "one op or more", ops)
    for i, op in enumerate(ops):
        _check_op(f"ops[{i}]", i, op, ops)
    ends = (
        ("input_shape", program.input_shape, ops[0]),
        ("output_shape", program.output_shape, ops[-1]),
    )
    for name, shape, op in ends:
        planes = plane_shape(sizes(name, shape, low=1), axes=program.axes)
        _checks.require(planes == op.shape, name, f"the planes {op.shape} of its op", shape)


def check_images(program: Program, writer: str) -> None:
    """Check that the planes of a program are images, for a writer of images only.

    Args:
        program: any program.
        writer: what would be written, for the message.

    Raises:
        ValueError: if they are rows or volumes.

    Example:
        >>> check_images(Program((Op("input", (), (1, 4, 5)),), (4, 5, 1), (4, 5, 1)), "Python")
    """
    if program.axes != 2:
        kind = "rows" if program.axes == 1 else "volumes"
        expected = f"a program of images, as {writer} of {kind} is not written"
        _checks.require(False, "program", expected, program.ops[0].shape[1:])


def _check_op(name: str, number: int, op: Op, ops: Sequence[Op]) -> None:
    kind = op.kind
    _checks.require(isinstance(kind, str), f"{name}.kind", "text", kind)
    _checks.one_of(f"{name}.kind", kind, ARRAYS)
    _checks.require(
        (kind == "input") == (number == 0), f"{name}.kind", "one input, the first op", kind
    )
    reads = _READS.get(kind, 1)
    integers = all(type(i) is int and 0 <= i < number for i in op.inputs)
    _checks.require(integers, f"{name}.inputs", f"earlier ops, 0 to {number - 1}", op.inputs)
    is_number = len(op.inputs) == reads if reads is not None else len(op.inputs) > 0
    _checks.require(is_number, f"{name}.inputs", f"{reads or '1 or more'} for {kind!r}", op.inputs)
    # Counts are int32 and no planes of bits, so no op can read them.
    counted = [i for i in op.inputs if ops[i].kind == "group_sum"]
    _checks.require(not counted, f"{name}.inputs", "no op after the counts", counted)
    shape = sizes(f"{name}.shape", op.shape, low=1)
    rank = len(ops[0].shape)  # that of the input, which is checked first
    is_shape = 2 <= len(shape) <= 4 and len(shape) == rank and math.prod(shape) <= MAX_SIDE
    expected = f"{_NUMBERS.get(rank, 'two to four')} sizes, at most {MAX_SIDE} pixels"
    _checks.require(is_shape, f"{name}.shape", expected, shape)
    _checks.require(isinstance(op.path, str), f"{name}.path", "text", op.path)
    _check_arrays(name, op)
    options = OPTIONS.get(kind, set())
    _checks.require(set(op.options) == options, f"{name}.options", f"{sorted(options)}", op.options)
    if kind in _RULES:
        _RULES[kind](name, op, [ops[i].shape for i in op.inputs])


def _check_arrays(name: str, op: Op) -> None:
    wanted = ARRAYS[op.kind]
    _checks.require(
        set(op.arrays) == set(wanted), f"{name}.arrays", f"{sorted(wanted)}", sorted(op.arrays)
    )
    planes, *frame = op.shape
    sides_of: dict[str, tuple[int | None, ...]] = {"P": (planes,), "P+1": (planes + 1,)}
    sides_of |= {"frame": tuple(frame), "?": (None,), "window": (None,) * len(frame)}
    for array, (dtype, axes) in wanted.items():
        value = op.arrays[array]
        is_dtype = isinstance(value, np.ndarray) and value.dtype == np.dtype(dtype)
        got = getattr(value, "dtype", type(value))
        _checks.require(is_dtype, f"{name}.{array}", f"a numpy array of {dtype}", got)
        sides = tuple(side for axis in axes for side in sides_of[axis])
        is_shape = len(sides) == value.ndim
        is_shape = is_shape and all(s in (None, v) for s, v in zip(sides, value.shape, strict=True))
        text = str(sides).replace("None", "any")
        _checks.require(is_shape, f"{name}.{array}", f"shape {text}", value.shape)


def _check_indices(argument: str, indices: np.ndarray, limit: int) -> None:
    outside = indices[(indices < 0) | (indices >= limit)]
    _checks.require(
        not outside.size, argument, f"indices from 0 to {limit - 1}", outside[:4].tolist()
    )


def _check_frame(name: str, op: Op, shapes: list[Shape]) -> None:
    """Check that all inputs have the frame of the result."""
    for shape in shapes:
        _checks.require(
            shape[1:] == op.shape[1:], f"{name}.shape", f"the frame {shape[1:]}", op.shape
        )


# One function for each kind: the name of the op in messages, the op, the shapes of its inputs.


def _check_spatial(name: str, op: Op, shapes: list[Shape]) -> None:
    _check_frame(name, op, shapes)
    _check_indices(f"{name}.source", op.arrays["source"], shapes[0][0])
    window = op.arrays["selem"].shape[1:]
    _checks.require(all(side % 2 for side in window), f"{name}.selem", "odd window sides", window)
    border = op.options["border"]
    _checks.require(isinstance(border, str), f"{name}.border", "text", border)
    _checks.one_of(f"{name}.border", border, BORDERS)


def _check_combine(name: str, op: Op, shapes: list[Shape]) -> None:
    _check_frame(name, op, shapes)
    offsets, indices = op.arrays["offsets"], op.arrays["indices"]
    is_rising = offsets[0] == 0 and offsets[-1] == len(indices)
    is_rising = is_rising and bool((offsets[1:] >= offsets[:-1]).all())
    _checks.require(
        is_rising, f"{name}.offsets", f"rising from 0 to {len(indices)}", offsets[:4].tolist()
    )
    _check_indices(f"{name}.indices", indices, shapes[0][0])


def _check_pool(name: str, op: Op, shapes: list[Shape]) -> None:
    planes, *frame = shapes[0]
    steps = {}
    for option in ("window", "strides"):
        steps[option] = sizes(f"{name}.{option}", op.options[option], low=1)
        is_sides = len(steps[option]) == len(frame)
        expected = f"{len(frame)} sizes"
        _checks.require(is_sides, f"{name}.{option}", expected, op.options[option])
    window = steps["window"]
    inside = all(side <= length for side, length in zip(window, frame, strict=True))
    _checks.require(inside, f"{name}.window", f"at most {tuple(frame)}", window)
    sides = zip(frame, window, steps["strides"], strict=True)
    expected = (planes, *((length - side) // step + 1 for length, side, step in sides))
    _checks.require(tuple(op.shape) == expected, f"{name}.shape", f"{expected}", op.shape)


def _check_select(name: str, op: Op, shapes: list[Shape]) -> None:
    _check_frame(name, op, shapes)
    _check_indices(f"{name}.source", op.arrays["source"], sum(shape[0] for shape in shapes))


def _check_rearrange(name: str, op: Op, shapes: list[Shape]) -> None:
    _check_indices(f"{name}.index", op.arrays["index"], sum(math.prod(shape) for shape in shapes))


def _check_complement(name: str, op: Op, shapes: list[Shape]) -> None:
    _checks.require(op.shape == shapes[0], f"{name}.shape", f"{shapes[0]}", op.shape)


def _check_group_sum(name: str, op: Op, shapes: list[Shape]) -> None:
    per = op.options["per"]
    _checks.require(type(per) is int and per > 0, f"{name}.per", "an integer, 1 or more", per)
    _check_frame(name, op, shapes)
    divides = op.shape[0] * per == shapes[0][0]
    _checks.require(divides, f"{name}.shape", f"{shapes[0][0]} / {per} planes", op.shape)


def _check_at_least(name: str, op: Op, shapes: list[Shape]) -> None:
    _check_frame(name, op, shapes)
    votes, cuts = op.arrays["votes"].astype(np.int64), op.arrays["cuts"].astype(np.int64)
    for numbers, array in (("votes", votes), ("cuts", cuts)):
        _checks.require(len(array) > 0, f"{name}.{numbers}", "one number or more", array.shape)
    # The sums are int32, and so is a cut, less or more one.
    total, most = int(np.abs(votes).sum()), int(np.abs(cuts).max())
    _checks.require(total <= LIMIT, f"{name}.votes", f"a sum of at most {LIMIT}", total)
    _checks.require(most <= LIMIT, f"{name}.cuts", f"whole numbers up to {LIMIT}", most)
    groups, rest = divmod(shapes[0][0], len(votes))
    expected = f"groups of {len(votes)} planes, and {len(cuts)} planes for each"
    is_whole = not rest and op.shape[0] == groups * len(cuts)
    _checks.require(is_whole, f"{name}.shape", expected, (shapes[0][0], op.shape[0]))


_RULES: dict[str, Callable[[str, Op, list[Shape]], Any]] = {
    "spatial": _check_spatial,
    "combine": _check_combine,
    "complement": _check_complement,
    "union_pool": _check_pool,
    "select": _check_select,
    "rearrange": _check_rearrange,
    "at_least": _check_at_least,
    "group_sum": _check_group_sum,
}


def sizes(argument: str, value: Any, *, low: int) -> tuple[int, ...]:
    """Return a shape that was read from JSON as a tuple, after checking it.

    Args:
        argument: name of the value in the message.
        value: a list or tuple of at most 32 integers from `low` to `MAX_SIDE`.
        low: smallest size.

    Returns:
        A tuple of integers.

    Raises:
        ValueError: if it is anything else.

    Example:
        >>> sizes("shape", [2, 3], low=1)
        (2, 3)
    """
    is_shape = isinstance(value, list | tuple) and len(value) <= 32
    is_shape = is_shape and all(type(side) is int and low <= side <= MAX_SIDE for side in value)
    _checks.require(is_shape, argument, f"a list of integers from {low} to {MAX_SIDE}", value)
    return tuple(value)
