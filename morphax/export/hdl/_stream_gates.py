"""Gates of a stream: the unions and intersections of a program, their taps, and their times.

A pixel enters at step 0. A gate computes the result for that pixel, the *middle* pixel, some steps
later, when all pixels that its window sees have entered. This time is a pair (rows, columns) that
stands for `rows * WIDTH + columns` steps. Where branches meet, the maximum of the rows and the
maximum of the columns is taken, which is late enough for any WIDTH.

Planes are literals: see `morphax.export.hdl._text`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from morphax import _checks
from morphax.export.hdl._counts import stages
from morphax.export.hdl._text import FALSE, TRUE
from morphax.program import Op, Program

Time = tuple[int, int]


class Tap(NamedTuple):
    """Hold one input of a gate: a plane at an offset from the middle pixel.

    Attributes:
        literal: the plane, plain or complemented.
        down: rows below the middle.
        right: columns to the right of the middle.
    """

    literal: int
    down: int
    right: int


class Gate(NamedTuple):
    """Hold a union, intersection or count of taps; a register holds its result one step later.

    Attributes:
        time: time of the middle pixel when the gate is computed.
        erosion: True for an intersection, False for a union.
        complement: True if the result is complemented.
        border: one of `morphax.morphology.shift.BORDERS`; "ignore" if all taps are in the middle.
        taps: one tap or more.
        votes: what each tap adds to a count, 1 or more; empty for a union or intersection.
        cut: the result of a count is whether the votes of the taps that are set reach it.
    """

    time: Time
    erosion: bool
    complement: bool
    border: str
    taps: tuple[Tap, ...]
    votes: tuple[int, ...] = ()
    cut: int = 0


class Stream(NamedTuple):
    """Hold an operator as gates.

    Attributes:
        inputs: number of input planes; they are the nets 1 to `inputs`, and gates the nets after.
        gates: gates in the order of evaluation.
        owner: number of the op of each gate.
        outputs: literals of the output planes.
    """

    inputs: int
    gates: tuple[Gate, ...]
    owner: tuple[int, ...]
    outputs: tuple[int, ...]


def later(times: Sequence[Time]) -> Time:
    """Return a time that is late enough for all of these times, for any WIDTH.

    Example:
        >>> later([(1, 2), (0, 5)])
        (1, 5)
    """
    return max((t[0] for t in times), default=0), max((t[1] for t in times), default=0)


def time_of(stream_inputs: int, gates: Sequence[Gate], literal: int) -> Time:
    """Return the time from which a literal is known: at once for an input, else after its gate."""
    number = literal // 2
    if number <= stream_inputs:
        return 0, 0
    gate = gates[number - stream_inputs - 1]
    # Adders of many votes have registers of their own on the way.
    return gate.time[0], gate.time[1] + 1 + stages(len(gate.votes))


def elaborate(program: Program) -> Stream:
    """Turn a program into the gates of a stream.

    Args:
        program: a program whose planes all have the size of the image.

    Returns:
        A `Stream`. It may hold gates that nothing reads, see `alive`.

    Raises:
        ValueError: if an op changes the size of the image, moves pixels, or counts.
    """
    size = program.ops[0].shape[1:]
    inputs = program.ops[0].shape[0]
    net_of: dict[Gate, int] = {}
    owner: list[int] = []
    planes: list[np.ndarray] = []  # literals of the planes of each op
    for i, op in enumerate(program.ops):
        expected = f"planes of the size of the image {size} (or use verilog)"
        got = f"op {i}, {op.kind}, of {op.shape[1:]}"
        _checks.require(op.shape[1:] == size, "program", expected, got)
        # Planes are numbered through all the ops that are read.
        stacked = np.concatenate([planes[j] for j in op.inputs]) if op.inputs else np.zeros(0, int)
        if op.kind == "input":
            planes.append(2 * np.arange(1, inputs + 1))
        elif op.kind == "complement":
            # Bit 0 of a literal says whether it is complemented, so no gate is needed.
            planes.append(stacked ^ 1)
        elif op.kind in ("select", "rearrange", "constant"):
            planes.append(_moved(op, i, stacked))
        else:
            expected = f"ops that keep images ({', '.join(_GATES)}, ...; or use verilog)"
            _checks.require(op.kind in _GATES, "program", expected, f"op {i}, {op.kind}")
            results = _GATES[op.kind](op, stacked)
            # All gates of an op run at the same time, when all that they read is known.
            gates = list(net_of)
            taps = [tap for gate in results if isinstance(gate, Gate) for tap in gate.taps]
            ready = later([time_of(inputs, gates, t.literal) for t in taps if t.literal > TRUE])
            literals = []
            for gate in results:
                if isinstance(gate, Gate):
                    ahead = gate.time
                    gate = gate._replace(time=(ready[0] + ahead[0], ready[1] + ahead[1]))
                    if gate not in net_of:  # equal gates are one
                        net_of[gate] = inputs + len(net_of) + 1
                        owner.append(i)
                    gate = 2 * net_of[gate]
                literals.append(gate)
            planes.append(np.array(literals, int))
    return Stream(inputs, tuple(net_of), tuple(owner), tuple(planes[-1].tolist()))


def _moved(op: Op, number: int, literals: np.ndarray) -> np.ndarray:
    """Return the literals of an op that needs no gate: it moves whole planes or is constant."""
    if op.kind == "select":
        return literals[op.arrays["source"]]
    planes, height, width = op.shape
    if op.kind == "constant":
        bits = op.arrays["bits"].reshape(planes, -1)
        is_plain = bool((bits == bits[:, :1]).all())
        _checks.require(is_plain, "program", "constant planes of one value", f"op {number}")
        return np.where(bits[:, 0], TRUE, FALSE)
    index = op.arrays["index"].reshape(planes, -1)
    source = index[:, 0] // (height * width)
    # A move of whole planes keeps each pixel at its place in its plane.
    whole = index == source[:, None] * (height * width) + np.arange(height * width)[None]
    expected = "moves of whole planes (or use verilog)"
    _checks.require(bool(whole.all()), "program", expected, f"op {number}, rearrange")
    return literals[source]


def _spatial(op: Op, literals: np.ndarray) -> list[Gate | int]:
    """Return the gates of a bank of windows, or literals where no gate is needed.

    Their times are relative to the input: how far the windows look ahead.
    """
    windows, erosion, flip = (op.arrays[k] for k in ("selem", "erosion", "complement"))
    middle = np.array(windows.shape[1:]) // 2
    # A pixel below or right of the middle enters after it.
    used = np.argwhere(windows.any(0)) - middle
    ahead = tuple(np.maximum(used, 0).max(0).tolist()) if len(used) else (0, 0)
    gates: list[Gate | int] = []
    for o, source in enumerate(op.arrays["source"].tolist()):
        literal = int(literals[source])
        places = (np.argwhere(windows[o]) - middle).tolist()
        if not places:
            gates.append((TRUE if erosion[o] else FALSE) ^ int(flip[o]))
        elif places == [[0, 0]]:
            # A window of the middle pixel alone copies the plane, so no gate is needed.
            gates.append(literal ^ int(flip[o]))
        else:
            taps = tuple(Tap(literal, *place) for place in places)
            border = op.options["border"]
            gates.append(Gate(ahead, bool(erosion[o]), bool(flip[o]), border, taps))
    return gates


def _combine(op: Op, literals: np.ndarray) -> list[Gate | int]:
    """Return the gates of unions and intersections, or literals where no gate is needed."""
    offsets, erosion, flip = (op.arrays[k] for k in ("offsets", "erosion", "complement"))
    gates: list[Gate | int] = []
    for o in range(op.shape[0]):
        neutral = TRUE if erosion[o] else FALSE
        read = literals[op.arrays["indices"][offsets[o] : offsets[o + 1]]].tolist()
        # Equal members count once, and the neutral constant changes nothing.
        members = sorted({*read} - {neutral})
        # A plane beside its complement, or the other constant, decides the result.
        if any(x ^ 1 in members for x in members) or neutral ^ 1 in members:
            gates.append(neutral ^ 1 ^ int(flip[o]))
        elif len(members) < 2:
            gates.append((members[0] if members else neutral) ^ int(flip[o]))
        else:
            taps = tuple(Tap(x, 0, 0) for x in members)
            gates.append(Gate((0, 0), bool(erosion[o]), bool(flip[o]), "ignore", taps))
    return gates


def _at_least(op: Op, literals: np.ndarray) -> list[Gate | int]:
    """Return the gates of counts, one for each cut, or literals where no gate is needed."""
    votes, cuts = op.arrays["votes"].tolist(), op.arrays["cuts"].tolist()
    gates: list[Gate | int] = []
    for group in literals.reshape(-1, len(votes)).tolist():
        # A vote on a complement is one on the plane the other way round; so is the constant 1.
        base, vote_of = 0, dict.fromkeys((literal & ~1 for literal in group), 0)
        for literal, vote in zip(group, votes, strict=True):
            base += vote * (literal & 1)
            vote_of[literal & ~1] += -vote if literal & 1 else vote
        counted = {x: vote for x, vote in vote_of.items() if vote and x > TRUE}
        base += sum(vote for vote in counted.values() if vote < 0)
        taps = tuple(Tap(x ^ int(vote < 0), 0, 0) for x, vote in counted.items())
        sizes = tuple(abs(vote) for vote in counted.values())
        for cut in (cut - base for cut in cuts):
            if cut <= 0 or cut > sum(sizes):
                gates.append(TRUE if cut <= 0 else FALSE)
            elif len(taps) == 1:
                gates.append(taps[0].literal)
            else:
                gates.append(Gate((0, 0), False, False, "ignore", taps, sizes, cut))
    return gates


_GATES = {"spatial": _spatial, "combine": _combine, "at_least": _at_least}
"""Kinds that need gates."""


def alive(stream: Stream) -> set[int]:
    """Return the numbers of the nets that the outputs depend on.

    Example:
        >>> alive(Stream(3, (), (), (4,)))
        {2}
    """
    nets: set[int] = set()
    stack = [x // 2 for x in stream.outputs if x > TRUE]
    while stack:
        # Walk from the outputs back to the inputs.
        net = stack.pop()
        if net not in nets:
            nets.add(net)
            taps = stream.gates[net - stream.inputs - 1].taps if net > stream.inputs else ()
            stack += [tap.literal // 2 for tap in taps if tap.literal > TRUE]
    return nets
