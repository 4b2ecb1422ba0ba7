"""Taps of a stream as text: delayed nets, and the values that stand for them beyond the frame.

While gates are written they ask for delays, positions and wires; `Text` collects what must be
declared. A delay of a net by (rows, columns) consists of one bit of the line memory for each row
(`line_out`), and a shift register behind it for the columns (`d<net>_<row>`).
"""

from dataclasses import dataclass, field
from typing import Any

from morphax.export.hdl._counts import added
from morphax.export.hdl._stream_gates import Gate, Stream, Tap, Time, time_of
from morphax.export.hdl._text import TRUE, joined, statement

VALID = 0  # number of the net `in_valid`, which is delayed like a plane
# Side of the frame -> axis of the position, and the sign of a step away from that side.
_SIDES = {"top": ("y", 1), "bottom": ("y", -1), "left": ("x", 1), "right": ("x", -1)}


@dataclass
class Text:
    """Collect the declarations that gates need while they are written.

    Attributes:
        stream: the operator.
        rows: (net, row) -> its bit of the line memory.
        columns: (net, row) -> length of the shift register behind that row.
        wires: name -> declaration, in the order of first use.
        positions: times at which the position of the middle pixel is counted; a dict as an
            ordered set.
        sums: time, taps and votes of a count -> its sum and the bits of it.
        registers: name of a register among adders -> what it takes at each step.
    """

    stream: Stream
    rows: dict[tuple[int, int], int] = field(default_factory=dict)
    columns: dict[tuple[int, int], int] = field(default_factory=dict)
    wires: dict[str, str] = field(default_factory=dict)
    positions: dict[Time, None] = field(default_factory=dict)
    sums: dict[tuple[Any, ...], tuple[str, int]] = field(default_factory=dict)
    registers: dict[str, str] = field(default_factory=dict)

    def head(self, net: int, row: int) -> str:
        """Return a net `row` rows later."""
        if row == 0:
            gate = net - self.stream.inputs
            if net == VALID:
                return "in_valid"
            return f"n{gate}" if gate > 0 else f"in_pixel[{net - 1}]"
        # A row is a bit of the line memory, whose input is the row before it.
        if (net, row) not in self.rows:
            self.head(net, row - 1)
            self.rows[net, row] = len(self.rows)
        return f"line_out[{self.rows[net, row]}]"

    def delayed(self, net: int, rows: int, columns: int) -> str:
        """Return a net `rows * WIDTH + columns` steps later."""
        head = self.head(net, rows)
        if columns == 0:
            return head
        # One register serves all delays behind a row; the longest one sets its length.
        self.columns[net, rows] = max(columns, self.columns.get((net, rows), 0))
        return f"{register(net, rows)}[{columns}]"

    def wire(self, name: str, value: str) -> str:
        """Declare a wire with a value, unless there is one of that name, and return the name."""
        self.wires.setdefault(name, statement(f"wire {name} = {value};"))
        return name


def register(net: int, row: int) -> str:
    """Return the name of a shift register, whose bit k is k steps behind its row.

    Example:
        >>> register(3, 1)
        'd3_1'
    """
    return f"d{net}_{row}" if net != VALID else f"dv_{row}"


def shown(text: Text, literal: int, time: Time, place: tuple[int, int]) -> str:
    """Return a literal at a place relative to the pixel that is in the middle at a time.

    Args:
        text: declarations; may grow.
        literal: literal of a plane.
        time: time of the pixel in the middle.
        place: (rows down, columns right).

    Returns:
        An expression of one bit.
    """
    if literal <= TRUE:
        return f"1'b{literal}"
    # The pixel at the place is known some steps before `time`: delay it by the difference.
    since = time_of(text.stream.inputs, text.stream.gates, literal)
    rows, columns = (t - s - p for t, s, p in zip(time, since, place, strict=True))
    return ("~" if literal % 2 else "") + text.delayed(literal // 2, rows, columns)


def formula(text: Text, gate: Gate) -> str:
    """Return the expression of a gate.

    Args:
        text: declarations; may grow.
        gate: a gate of `text.stream`.

    Returns:
        An expression of one bit.
    """
    terms = [_term(text, gate, tap) for tap in gate.taps]
    if gate.votes:  # cuts of the same votes share the adders
        key = (gate.time, gate.taps, gate.votes)
        if key not in text.sums:
            prefix = f"sum{len(text.sums)}_"
            sums, value, size = added(list(zip(terms, gate.votes, strict=True)), prefix)
            for name, (bits, sum_) in sums.items():
                if name.endswith("r"):
                    text.wires[name] = f"  reg {bits} {name};"
                    text.registers[name] = sum_
                else:
                    text.wires[name] = f"  wire {bits} {name} = {sum_};"
            text.sums[key] = value, size
        value, size = text.sums[key]
        return f"{value} >= {size}'d{gate.cut}"
    return joined(terms, erosion=gate.erosion, complement=gate.complement)


def _term(text: Text, gate: Gate, tap: Tap) -> str:
    """Return a tap, with the value of the border where it lies beyond the frame."""
    literal, down, right = tap
    if gate.border == "replicate":
        return _nearest(text, gate.time, literal, down, right)
    raw = shown(text, literal, gate.time, (down, right))
    # A place can lie beyond a side only if it is on that side of the middle.
    outside = [
        _flag(text, gate.time, side, distance)
        for side, distance in (("top", -down), ("bottom", down), ("left", -right), ("right", right))
        if distance > 0
    ]
    if not outside:
        return raw
    ones = gate.erosion and gate.border == "ignore"
    beyond = " | ".join(outside)
    value = f"{raw} | {beyond}" if ones else f"{raw} & ~({beyond})"
    return text.wire(_named("m1" if ones else "m0", gate.time, literal, down, right), value)


def _nearest(text: Text, time: Time, literal: int, down: int, right: int) -> str:
    """Return the pixel at a place, or the nearest one inside the frame.

    If the place lies beyond a side, the answer is that of the place one column nearer to the
    middle, and so on; each of these is a wire of its own, shared by all taps that pass it.
    """
    if right:
        inner = right - (1 if right > 0 else -1)
        outside = _flag(text, time, "right" if right > 0 else "left", abs(right))
        near = _nearest(text, time, literal, down, inner)
        here = _nearest_row(text, time, literal, down, right)
        value = f"{outside} ? {near} : {here}"
        return text.wire(_named("c", time, literal, down, right), value)
    return _nearest_row(text, time, literal, down, right)


def _nearest_row(text: Text, time: Time, literal: int, down: int, right: int) -> str:
    """Return the same for rows only: the column of the place is inside the frame."""
    here = shown(text, literal, time, (down, right))
    if not down:
        return here
    inner = down - (1 if down > 0 else -1)
    outside = _flag(text, time, "bottom" if down > 0 else "top", abs(down))
    near = _nearest_row(text, time, literal, inner, right)
    return text.wire(_named("r", time, literal, down, right), f"{outside} ? {near} : {here}")


def _named(kind: str, time: Time, literal: int, down: int, right: int) -> str:
    """Return a name for a tap: its border, literal, place and time."""
    numbers = (literal, down, right, *time)
    return "_".join([kind, *(f"{-n}m" if n < 0 else f"{n}" for n in numbers)])


def _flag(text: Text, time: Time, side: str, distance: int) -> str:
    """Return a wire that is 1 if the place at a distance lies beyond a side of the frame."""
    text.positions[time] = None
    axis, sign = _SIDES[side]
    position, size = f"{axis}_{time[0]}_{time[1]}", "W" if axis == "x" else "H"
    value = f"{position} < 16'd{distance}"
    if sign < 0:  # one bit more, so that the sum cannot overflow
        value = f"{{1'b0, {position}}} + 17'd{distance} >= {{1'b0, {size}}}"
    return text.wire(f"{side}{distance}_{time[0]}_{time[1]}", value)


def valid(text: Text, time: Time) -> str:
    """Return a signal that is 1 if there is a pixel in the middle at a time.

    Example:
        >>> valid(Text(Stream(1, (), (), ())), (0, 2))
        'valid_0_2'
    """
    if time == (0, 0):
        return "in_valid"
    # `in_valid`, delayed. The first steps after a reset still see what the memory held before it.
    full = f"filled >= {clocks(time)}"
    return text.wire(f"valid_{time[0]}_{time[1]}", f"{text.delayed(VALID, *time)} & ({full})")


def clocks(time: Time) -> str:
    """Return a time in steps, as a constant expression of 32 bits.

    Example:
        >>> clocks((0, 3))
        "32'd3"
    """
    columns = f"32'd{time[1]}"
    return f"32'd{time[0]} * WIDTH + {columns}" if time[0] else columns
