"""Planes by value, and the program that is written from them, for `morphax.program.simplify`.

A *literal* is `2 * value + flip`: the number of a plane, and whether it is complemented. Value 0
is the constant plane, so the literals 0 and 1 are the planes that are 0 and 1 everywhere. A
`Table` holds the new planes of one op, a row each: `reads` are literals, and the other arrays are
those of `morphax.program.Op`.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from morphax.program.ops import Kind, Op, Program, pruned


class Table(NamedTuple):
    """Hold the planes of one op; `arrays` have a row for each, `reads` (literals) among them."""

    kind: Kind
    shape: tuple[int, ...]
    path: str
    arrays: dict[str, np.ndarray]
    options: dict[str, Any]


@dataclass
class Values:
    """Hold all planes so far.

    Attributes:
        tables: the planes, op by op.
        size: number of values, the constant one included.
        literal_of: what a plane computes, as a key -> its literal.
        constants: literal of a constant plane that is neither 0 nor 1 everywhere -> its bits.
        sized: True if a window was computed on a constant plane, which holds for one size of
            images only.
    """

    tables: list[Table] = field(default_factory=list)
    size: int = 1
    literal_of: dict[Hashable, int] = field(default_factory=dict)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    sized: bool = False

    def add(self, table: Table) -> np.ndarray:
        """Add a table and return the literals of its planes."""
        self.tables.append(table)
        self.size += table.shape[0]
        return 2 * np.arange(self.size - table.shape[0], self.size, dtype=np.int64)

    def constant(self, bits: np.ndarray) -> int:
        """Return the literal of a constant plane `(H, W)`, and add the plane if it is new."""
        if bits.all() or not bits.any():
            return int(bits.flat[0])
        key = ("constant", bits.shape, bits.tobytes())
        if key not in self.literal_of:
            table = Table("constant", (1, *bits.shape), "", {"bits": bits[None]}, {})
            self.literal_of[key] = int(self.add(table)[0])
            self.constants[self.literal_of[key]] = bits
        return self.literal_of[key]

    def bits(self, literal: int, frame: tuple[int, ...]) -> np.ndarray | None:
        """Return the plane of a literal, `frame` large, if it is constant, and None if not."""
        if literal < 2:
            return np.full(frame, bool(literal))
        bits = self.constants.get(literal & ~1)
        return None if bits is None else bits ^ bool(literal & 1)


@dataclass
class _Writer:
    """Collect the ops written so far.

    Attributes:
        ops: the ops.
        op_of: literal -> number of the op that holds it, -1 for none yet.
        plane_of: literal -> its plane in that op.
        shared: key -> number of a constant or "select" op that is written once and read often.
    """

    ops: list[Op]
    op_of: np.ndarray
    plane_of: np.ndarray
    shared: dict[Hashable, int] = field(default_factory=dict)

    def write(self, *op: Any) -> int:
        """Append an op and return its number."""
        self.ops.append(Op(*op))
        return len(self.ops) - 1

    def place(self, literals: np.ndarray, number: int) -> None:
        """Record that the planes of an op are these literals, in order."""
        self.op_of[literals], self.plane_of[literals] = number, np.arange(len(literals))


def rewrite(values: Values, output: np.ndarray, program: Program) -> Program:
    """Write the program that computes given literals.

    Args:
        values: all planes.
        output: literals of the planes of the result, in order.
        program: a program with the same input, output and planes of the result.

    Returns:
        The program, without the planes that the result does not depend on.
    """
    used = np.zeros(2 * values.size, bool)  # literals that something reads
    used[output] = True
    firsts = np.cumsum([1, *(table.shape[0] for table in values.tables)])  # value of row 0 of each
    alive_tables: list[tuple[Table, np.ndarray]] = []
    # Backwards, so that all readers of a table have been seen before the table is.
    for table, first in zip(values.tables[::-1], firsts[-2::-1], strict=True):
        rows = np.arange(first, first + table.shape[0])
        alive = used[2 * rows] | used[2 * rows + 1]
        # The input stays as it is, and so do counts, whose planes are all of the output.
        if table.kind == "input" or (table.kind == "group_sum" and alive.any()):
            alive[:] = True
        arrays = table.arrays
        if table.kind != "group_sum":  # its `reads` are not row by row: each count reads many
            arrays = {name: array[alive] for name, array in arrays.items()}
        reads = arrays.get("reads", np.zeros(0, np.int64))
        if reads.dtype == object:  # sets of different sizes
            reads = np.concatenate([*reads, np.zeros(0, np.int64)])
        used[reads] = True
        shape = (int(alive.sum()), *table.shape[1:])
        alive_tables.append((table._replace(arrays=arrays, shape=shape), rows[alive]))
    # Forwards again: write the rows that are left.
    writer = _Writer([], np.full(len(used), -1), np.zeros(len(used), np.int64))
    for table, rows in alive_tables[::-1]:
        if len(rows):
            _write(writer, table, rows, used)
    last = _aligned(writer, output, program.ops[-1].shape[1:])
    return pruned(writer.ops, last, program.input_shape, program.output_shape)


def _write(writer: _Writer, table: Table, rows: np.ndarray, used: np.ndarray) -> None:
    """Write one table as an op, and the complements of its planes that are read.

    Args:
        writer: the ops so far; grows.
        table: planes that are read, plain or complemented or both.
        rows: value of each row of the table.
        used: which literals are read.
    """
    plain, flipped = used[2 * rows], used[2 * rows + 1]
    kind, shape, path, arrays, _ = table
    # The complement of a constant is a constant: it is written beside it.
    if kind == "constant":
        literals = np.concatenate([2 * rows[plain], 2 * rows[flipped] + 1])
        bits = np.concatenate([arrays["bits"][plain], ~arrays["bits"][flipped]])
        number = writer.write(kind, (), (len(bits), *shape[1:]), path, {"bits": bits})
        return writer.place(literals, number)
    # A neuron that is read complemented only complements its own result, by its flag.
    by_flag = flipped & ~plain if kind in ("spatial", "combine") else np.zeros_like(plain)
    writer.place(2 * rows + by_flag, _write_op(writer, table, by_flag))
    # Planes that are read both ways, and kinds that have no flag, need a "complement".
    rest = np.flatnonzero(flipped & ~by_flag)
    if len(rest):
        source = _aligned(writer, 2 * rows[rest], shape[1:])
        number = writer.write("complement", (source,), (len(rest), *shape[1:]))
        writer.place(2 * rows[rest] + 1, number)
    return None


def _write_op(writer: _Writer, table: Table, flip: np.ndarray) -> int:
    """Write the op of a table, with `flip` as its flags, and return its number."""
    kind, shape, path, arrays, options = table
    frame = shape[1:]
    if kind == "input":
        return writer.write(kind, (), shape)
    if kind == "spatial":
        source, index = _merged(writer, arrays["reads"])
        rest = {
            "selem": _trimmed(arrays["selem"]),
            "erosion": arrays["erosion"],
            "complement": flip,
        }
        return writer.write(kind, (source,), shape, path, {"source": index, **rest}, options)
    if kind == "combine":
        sizes = [len(reads) for reads in arrays["reads"]]
        source, index = _merged(writer, np.concatenate(arrays["reads"]))
        offsets = np.cumsum([0, *sizes]).astype(np.int32)
        rest = {
            "offsets": offsets,
            "indices": index,
            "erosion": arrays["erosion"],
            "complement": flip,
        }
        return writer.write(kind, (source,), shape, path, rest)
    if kind == "rearrange":
        return _write_rearrange(writer, table)
    if kind == "at_least":  # its rows have the reads and votes in common
        source = _aligned(writer, arrays["reads"][0], frame)
        rest = {"votes": arrays["votes"][0], "cuts": arrays["cuts"]}
        rest = {name: numbers.astype(np.int32) for name, numbers in rest.items()}
        return writer.write(kind, (source,), shape, path, rest)
    # "union_pool", "group_sum"
    source = _aligned(writer, arrays["reads"], frame if kind == "group_sum" else ())
    return writer.write(kind, (source,), shape, path, {}, options)


def _write_rearrange(writer: _Writer, table: Table) -> int:
    """Write an op that takes each pixel from `place` in the plane `reads`."""
    reads, place = table.arrays["reads"], table.arrays["place"]
    _write_constants(writer, reads, (1,) * (len(table.shape) - 1))
    # Its inputs are all ops that hold one of the planes; `starts`: their first pixel when joined.
    inputs, which = np.unique(writer.op_of[reads], return_inverse=True)
    shapes = np.array([writer.ops[i].shape for i in inputs])
    areas, starts = shapes[:, 1:].prod(1), np.cumsum([0, *shapes.prod(1)])
    which = which.reshape(reads.shape)
    index = starts[which] + writer.plane_of[reads] * areas[which] + place
    index = index.reshape(table.shape).astype(np.int32)
    numbers = tuple(int(i) for i in inputs)
    return writer.write("rearrange", numbers, table.shape, "", {"index": index})


def _trimmed(windows: np.ndarray) -> np.ndarray:
    """Cut off margins that no window needs, the same on both sides so that centres stay."""
    for axis in range(1, windows.ndim):
        hit = np.flatnonzero(windows.any(tuple(set(range(windows.ndim)) - {axis})))
        margin = min(hit[0], windows.shape[axis] - 1 - hit[-1])
        windows = windows.take(range(margin, windows.shape[axis] - margin), axis)
    return windows


def _write_constants(writer: _Writer, literals: np.ndarray, frame: tuple[int, ...]) -> None:
    """Place the literals 0 and 1, if they are among `literals`, at planes of size `frame`."""
    for value in {0, 1} & set(np.unique(literals[literals < 2]).tolist()):
        if (value, frame) not in writer.shared:
            arrays = {"bits": np.full((1, *frame), bool(value))}
            writer.shared[value, frame] = writer.write("constant", (), (1, *frame), "", arrays)
        writer.place(np.array([value]), writer.shared[value, frame])


def _merged(writer: _Writer, literals: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the number of one op that holds all these literals, and the plane of each in it.

    The literals may have any order and repeat; an op that holds more planes will do.
    """
    distinct, index = np.unique(literals, return_inverse=True)
    numbers = writer.op_of[distinct]
    if (numbers == numbers[0]).all():
        return int(numbers[0]), writer.plane_of[literals].astype(np.int32)
    frame = writer.ops[numbers[0]].shape[1:]
    return _aligned(writer, distinct, frame), index.reshape(-1).astype(np.int32)


def _aligned(writer: _Writer, literals: np.ndarray, frame: tuple[int, ...]) -> int:
    """Return the number of an op whose planes are exactly these literals, in order."""
    _write_constants(writer, literals, frame)
    numbers, planes = writer.op_of[literals], writer.plane_of[literals]
    first = writer.ops[numbers[0]]
    if (numbers == numbers[0]).all() and np.array_equal(planes, np.arange(first.shape[0])):
        return int(numbers[0])
    inputs, which = np.unique(numbers, return_inverse=True)
    starts = np.cumsum([0, *(writer.ops[i].shape[0] for i in inputs)])
    source = (starts[which] + planes).astype(np.int32)
    shape = (len(literals), *first.shape[1:])
    key = ("select", tuple(inputs.tolist()), source.tobytes())
    if key not in writer.shared:
        numbers = tuple(int(i) for i in inputs)
        writer.shared[key] = writer.write("select", numbers, shape, "", {"source": source})
    return writer.shared[key]
