"""From a program to the gates of a stream: which tap of which plane each gate reads, and when.

Time is `(rows, columns)`: the age of the pixel in the middle, in steps, is `rows * WIDTH + columns`.
Where branches meet, the larger of the rows and the larger of the columns are taken, which is late
enough whatever WIDTH is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from morphax import _checks
from morphax.export.hdl._text import FALSE, TRUE
from morphax.program import Op, Program

Time = tuple[int, int]


class Tap(NamedTuple):
    """What a gate reads: a literal, `down` rows below and `right` columns right of the middle."""

    literal: int
    down: int
    right: int


class Gate(NamedTuple):
    """A union or intersection of taps; a register holds it from the step after `time` on.

    Attributes:
        time: of the middle pixel when the gate is computed.
        erosion: intersection (or union).
        complement: of the result.
        border: of `morphax.neurons.nodes.BORDERS`; "ignore" where all taps are in the middle.
        taps: one or more.
    """

    time: Time
    erosion: bool
    complement: bool
    border: str
    taps: tuple[Tap, ...]


class Stream(NamedTuple):
    """An operator as gates.

    Attributes:
        inputs: input planes: nets 1 to `inputs`; the gates are the nets after them.
        gates: in the order of evaluation.
        owner: the op that each gate is of.
        outputs: literals of the output planes.
    """

    inputs: int
    gates: tuple[Gate, ...]
    owner: tuple[int, ...]
    outputs: tuple[int, ...]


def later(times: Sequence[Time]) -> Time:
    """The time when all are there.

    >>> later([(1, 2), (0, 5)])
    (1, 5)
    """
    return max((t[0] for t in times), default=0), max((t[1] for t in times), default=0)


def time_of(stream_inputs: int, gates: Sequence[Gate], literal: int) -> Time:
    """When a literal is there for the first time: at the input, or a step after its gate."""
    number = literal // 2
    if number <= stream_inputs:
        return 0, 0
    rows, columns = gates[number - stream_inputs - 1].time
    return rows, columns + 1


def elaborate(program: Program) -> Stream:
    """The gates of an operator.

    Args:
        program: whose planes all have the size of the image.

    Returns:
        A `Stream`; gates that nothing reads are among them.

    Raises:
        ValueError: an op that changes the size of the image, moves pixels, or counts.
    """
    size = program.ops[0].shape[1:]
    inputs = program.ops[0].shape[0]
    known: dict[Gate, int] = {}
    owner: list[int] = []
    planes: list[np.ndarray] = []
    for i, op in enumerate(program.ops):
        same = op.shape[1:] == size
        _checks.require(
            same, "program", f"planes of the size of the image {size} (or use verilog)",
            f"op {i}, {op.kind}, of {op.shape[1:]}",
        )  # fmt: skip
        stacked = np.concatenate([planes[j] for j in op.inputs]) if op.inputs else np.zeros(0, int)
        if op.kind == "input":
            planes.append(2 * np.arange(1, inputs + 1))
        elif op.kind == "complement":
            planes.append(stacked ^ 1)
        elif op.kind in ("select", "rearrange", "constant"):
            planes.append(_moved(op, i, stacked))
        else:
            fits = op.kind in ("spatial", "combine")
            expected = "ops that keep images (spatial, combine, complement, select; or use verilog)"
            _checks.require(fits, "program", expected, f"op {i}, {op.kind}")
            wanted = _spatial(op, stacked) if op.kind == "spatial" else _combine(op, stacked)
            gates = list(known)
            ready = later(
                [time_of(inputs, gates, tap.literal)
                 for gate in wanted if isinstance(gate, Gate)
                 for tap in gate.taps if tap.literal > TRUE]
            )  # fmt: skip
            literals = []
            for gate in wanted:
                if isinstance(gate, Gate):
                    ahead = gate.time
                    gate = gate._replace(time=(ready[0] + ahead[0], ready[1] + ahead[1]))
                    if gate not in known:
                        known[gate] = inputs + len(known) + 1
                        owner.append(i)
                    gate = 2 * known[gate]
                literals.append(gate)
            planes.append(np.array(literals, int))
    return Stream(inputs, tuple(known), tuple(owner), tuple(planes[-1].tolist()))


def _moved(op: Op, number: int, literals: np.ndarray) -> np.ndarray:
    """The planes of an op that only names planes, or is constant."""
    if op.kind == "select":
        return literals[op.arrays["source"]]
    count, height, width = op.shape
    if op.kind == "constant":
        bits = op.arrays["bits"].reshape(count, -1)
        plain = bool((bits == bits[:, :1]).all())
        _checks.require(plain, "program", "constant planes of one value", f"op {number}")
        return np.where(bits[:, 0], TRUE, FALSE)
    index = op.arrays["index"].reshape(count, -1)
    source = index[:, 0] // (height * width)
    whole = index == source[:, None] * (height * width) + np.arange(height * width)[None]
    expected = "moves of whole planes (or use verilog)"
    _checks.require(bool(whole.all()), "program", expected, f"op {number}, rearrange")
    return literals[source]


def _spatial(op: Op, literals: np.ndarray) -> list[Gate | int]:
    """Gates (times relative to the input: how far they look ahead), or literals."""
    windows, erosion, flip = (op.arrays[k] for k in ("selem", "erosion", "complement"))
    middle = np.array(windows.shape[1:]) // 2
    used = np.argwhere(windows.any(0)) - middle
    ahead = tuple(np.maximum(used, 0).max(0).tolist()) if len(used) else (0, 0)
    gates: list[Gate | int] = []
    for o, source in enumerate(op.arrays["source"].tolist()):
        literal = int(literals[source])
        places = (np.argwhere(windows[o]) - middle).tolist()
        if not places:
            gates.append((TRUE if erosion[o] else FALSE) ^ int(flip[o]))
        elif places == [[0, 0]]:
            gates.append(literal ^ int(flip[o]))
        else:
            taps = tuple(Tap(literal, *place) for place in places)
            border = op.options["border"]
            gates.append(Gate(ahead, bool(erosion[o]), bool(flip[o]), border, taps))
    return gates


def _combine(op: Op, literals: np.ndarray) -> list[Gate | int]:
    offsets, erosion, flip = (op.arrays[k] for k in ("offsets", "erosion", "complement"))
    gates: list[Gate | int] = []
    for o in range(op.shape[0]):
        neutral = TRUE if erosion[o] else FALSE
        read = literals[op.arrays["indices"][offsets[o] : offsets[o + 1]]].tolist()
        found = sorted({*read} - {neutral})
        if any(x ^ 1 in found for x in found) or neutral ^ 1 in found:
            gates.append(neutral ^ 1 ^ int(flip[o]))
        elif len(found) < 2:
            gates.append((found[0] if found else neutral) ^ int(flip[o]))
        else:
            taps = tuple(Tap(x, 0, 0) for x in found)
            gates.append(Gate((0, 0), bool(erosion[o]), bool(flip[o]), "ignore", taps))
    return gates


def alive(stream: Stream) -> set[int]:
    """Numbers of the nets that the outputs depend on.

    >>> alive(Stream(3, (), (), (4,)))
    {2}
    """
    found: set[int] = set()
    waiting = [x // 2 for x in stream.outputs if x > TRUE]
    while waiting:
        net = waiting.pop()
        if net not in found:
            found.add(net)
            taps = stream.gates[net - stream.inputs - 1].taps if net > stream.inputs else ()
            waiting += [tap.literal // 2 for tap in taps if tap.literal > TRUE]
    return found
