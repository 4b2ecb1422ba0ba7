"""Planes by value, and the program they make: what `morphax.program.simplify` works with.

A *literal* is `2 * value + flip`: which plane, and whether it is complemented. Value 0 is the constant
plane, so the literals 0 and 1 are the planes that are 0 and 1 everywhere. A `Table` holds the planes that
one op adds, a row each: `reads` are literals, the rest is what `morphax.program.Op` says.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from morphax.program.ops import Op, Program, pruned


class Table(NamedTuple):
    """Planes of one op; `arrays` have a row for each, `reads` (literals) among them."""

    kind: str
    shape: tuple[int, int, int]
    path: str
    arrays: dict[str, np.ndarray]
    options: dict[str, Any]


@dataclass
class Values:
    """All planes so far: their tables, what each computes, which are constant."""

    tables: list[Table] = field(default_factory=list)
    size: int = 1
    known: dict[Hashable, int] = field(default_factory=dict)
    constants: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, table: Table) -> np.ndarray:
        """The literals of the planes of a new table."""
        self.tables.append(table)
        self.size += table.shape[0]
        return 2 * np.arange(self.size - table.shape[0], self.size, dtype=np.int64)

    def constant(self, bits: np.ndarray) -> int:
        """The literal of a constant plane `(H, W)`."""
        if (bits == bits[:1, :1]).all():
            return int(bits[0, 0])
        key = ("constant", bits.shape, bits.tobytes())
        if key not in self.known:
            table = Table("constant", (1, *bits.shape), "", {"bits": bits[None]}, {})
            self.known[key] = int(self.add(table)[0])
            self.constants[self.known[key]] = bits
        return self.known[key]

    def bits(self, literal: int, frame: tuple[int, ...]) -> np.ndarray | None:
        """The plane of a literal, where it is constant."""
        if literal < 2:
            return np.full(frame, bool(literal))
        bits = self.constants.get(literal & ~1)
        return None if bits is None else bits ^ bool(literal & 1)


@dataclass
class _Writer:
    """Ops written so far, and where each literal is found: number of the op, plane of its result."""

    ops: list[Op]
    op_of: np.ndarray
    plane_of: np.ndarray
    constants: dict[Hashable, int] = field(default_factory=dict)

    def write(self, *op: Any) -> int:
        self.ops.append(Op(*op))
        return len(self.ops) - 1

    def place(self, literals: np.ndarray, number: int) -> None:
        """Say that an op's planes are these literals."""
        self.op_of[literals], self.plane_of[literals] = number, np.arange(len(literals))


def rewrite(values: Values, output: np.ndarray, program: Program) -> Program:
    """The program that computes the literals `output`: of all tables, what they need.

    Args:
        values: all planes.
        output: literals of the planes of the result.
        program: gives the shapes of input and output, and of the result's planes.

    Returns:
        The program.
    """
    used = np.zeros(2 * values.size, bool)
    used[output] = True
    firsts = np.cumsum([1, *(table.shape[0] for table in values.tables)])
    kept: list[tuple[Table, np.ndarray]] = []
    for table, first in zip(values.tables[::-1], firsts[-2::-1], strict=True):
        rows = np.arange(first, first + table.shape[0])
        alive = used[2 * rows] | used[2 * rows + 1]
        if table.kind == "input" or (table.kind == "group_sum" and alive.any()):
            alive[:] = True
        arrays = table.arrays
        if table.kind != "group_sum":  # one row of it reads many
            arrays = {name: array[alive] for name, array in arrays.items()}
        reads = arrays.get("reads", np.zeros(0, np.int64))
        if reads.dtype == object:
            reads = np.concatenate([*reads, np.zeros(0, np.int64)])
        used[reads] = True
        shape = (int(alive.sum()), *table.shape[1:])
        kept.append((table._replace(arrays=arrays, shape=shape), rows[alive]))
    writer = _Writer([], np.full(len(used), -1), np.zeros(len(used), np.int64))
    for table, rows in kept[::-1]:
        if len(rows):
            _write(writer, table, rows, used)
    last = _aligned(writer, output, program.ops[-1].shape[1:])
    return pruned(writer.ops, last, program.input_shape, program.output_shape)


def _write(writer: _Writer, table: Table, rows: np.ndarray, used: np.ndarray) -> None:
    """Write one table as an op, and the complements of its planes where they are read."""
    plain, flipped = used[2 * rows], used[2 * rows + 1]
    kind, shape, path, arrays, _ = table
    if kind == "constant":
        literals = np.concatenate([2 * rows[plain], 2 * rows[flipped] + 1])
        bits = np.concatenate([arrays["bits"][plain], ~arrays["bits"][flipped]])
        number = writer.write(kind, (), (len(bits), *shape[1:]), path, {"bits": bits})
        return writer.place(literals, number)
    only = flipped & ~plain if kind in ("spatial", "combine") else np.zeros_like(plain)
    writer.place(2 * rows + only, _write_op(writer, table, only))
    rest = np.flatnonzero(flipped & ~only)
    if len(rest):
        source = _aligned(writer, 2 * rows[rest], shape[1:])
        number = writer.write("complement", (source,), (len(rest), *shape[1:]))
        writer.place(2 * rows[rest] + 1, number)
    return None


def _write_op(writer: _Writer, table: Table, flip: np.ndarray) -> int:
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
    # "union_pool", "group_sum"
    source = _aligned(writer, arrays["reads"], frame if kind == "group_sum" else ())
    return writer.write(kind, (source,), shape, path, {}, options)


def _write_rearrange(writer: _Writer, table: Table) -> int:
    reads, place = table.arrays["reads"], table.arrays["place"]
    _ground(writer, reads, (1, 1))
    inputs, which = np.unique(writer.op_of[reads], return_inverse=True)
    shapes = np.array([writer.ops[i].shape for i in inputs])
    areas, starts = shapes[:, 1] * shapes[:, 2], np.cumsum([0, *shapes.prod(1)])
    which = which.reshape(reads.shape)
    index = starts[which] + writer.plane_of[reads] * areas[which] + place
    index = index.reshape(table.shape).astype(np.int32)
    numbers = tuple(int(i) for i in inputs)
    return writer.write("rearrange", numbers, table.shape, "", {"index": index})


def _trimmed(windows: np.ndarray) -> np.ndarray:
    """Windows without the margins that none of them needs, the same on both sides."""
    for axis in (1, 2):
        hit = np.flatnonzero(windows.any(tuple({0, 1, 2} - {axis})))
        margin = min(hit[0], windows.shape[axis] - 1 - hit[-1])
        windows = windows.take(range(margin, windows.shape[axis] - margin), axis)
    return windows


def _ground(writer: _Writer, literals: np.ndarray, frame: tuple[int, ...]) -> None:
    """Point the literals 0 and 1 at planes of that frame, where they are read."""
    for value in {0, 1} & set(np.unique(literals[literals < 2]).tolist()):
        if (value, frame) not in writer.constants:
            bits = np.full((1, *frame), bool(value))
            writer.constants[value, frame] = writer.write(
                "constant", (), bits.shape, "", {"bits": bits}
            )
        writer.place(np.array([value]), writer.constants[value, frame])


def _merged(writer: _Writer, literals: np.ndarray) -> tuple[int, np.ndarray]:
    """One op that holds all these literals, and where each lies in it."""
    distinct, index = np.unique(literals, return_inverse=True)
    numbers = writer.op_of[distinct]
    if (numbers == numbers[0]).all():
        return int(numbers[0]), writer.plane_of[literals].astype(np.int32)
    frame = writer.ops[numbers[0]].shape[1:]
    return _aligned(writer, distinct, frame), index.reshape(-1).astype(np.int32)


def _aligned(writer: _Writer, literals: np.ndarray, frame: tuple[int, ...]) -> int:
    """An op whose planes are these literals, in order."""
    _ground(writer, literals, frame)
    numbers, planes = writer.op_of[literals], writer.plane_of[literals]
    first = writer.ops[numbers[0]]
    if (numbers == numbers[0]).all() and np.array_equal(planes, np.arange(first.shape[0])):
        return int(numbers[0])
    inputs, which = np.unique(numbers, return_inverse=True)
    starts = np.cumsum([0, *(writer.ops[i].shape[0] for i in inputs)])
    source = (starts[which] + planes).astype(np.int32)
    shape = (len(literals), *first.shape[1:])
    key = ("select", tuple(inputs.tolist()), source.tobytes())
    if key not in writer.constants:
        numbers = tuple(int(i) for i in inputs)
        writer.constants[key] = writer.write("select", numbers, shape, "", {"source": source})
    return writer.constants[key]
