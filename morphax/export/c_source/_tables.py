"""Neurons as lines of C or as tables of indices, for both layouts of words.

Few neurons become one line of C each. Many become a table of indices and a loop. A list of indices
is read four at a time; the last index is repeated until four divides their number, because
x | x = x & x = x. Neurons of one kind and size stand side by side (a *run*), so that the branches
of the loop are predictable.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np

from morphax.export.c_source import _text
from morphax.program import Op, Program


def index_lists(op: Op) -> list[np.ndarray]:
    """Return the planes that each neuron of a "combine" op reads."""
    ends = op.arrays["offsets"]
    return [op.arrays["indices"][a:b] for a, b in pairwise(ends)]


def is_small(op: Op) -> bool:
    """Return whether the neurons of an op are written as lines, not as tables."""
    return op.shape[0] + _text.work(op)[1] <= _text.UNROLLED


def combine_lines(op: Op, to: Callable[[int], str], term: Callable[[int], str]) -> str:
    """Write a "combine" op as assignments, one for each plane.

    Args:
        op: the op.
        to: expression for the word of plane o of the result.
        term: expression for the word of plane k of the input.

    Returns:
        Lines of C.
    """
    lines = []
    for o, (part, erosion, complement) in enumerate(
        zip(index_lists(op), op.arrays["erosion"], op.arrays["complement"], strict=True)
    ):
        terms = [term(k) for k in part.tolist()]
        value = _text.joined(terms, erosion=bool(erosion), complement=bool(complement))
        lines.append(_text.statement(f"{to(o)} = {value};", 8))
    return "\n".join(lines)


def combine_tables(number: int, op: Op, lists: list[np.ndarray]) -> tuple[list[str], int]:
    """Write the tables of a "combine" op: members, planes of the result, and runs of neurons.

    Args:
        number: number of the op.
        op: the op.
        lists: the index of each member of each neuron, from `quads`.

    Returns:
        Definitions of `op.._index`, `op.._plane` and `op.._runs`, and the number of runs. A run
        holds its number of neurons, the quads of each, and 1 for intersections + 2 for complements.
    """
    sizes = np.array([len(part) // 4 for part in lists])
    erosion, complement = (op.arrays[k].astype(int) for k in ("erosion", "complement"))
    # Sort the neurons by kind and size, and find the runs of equal ones.
    order = np.lexsort((sizes, complement, erosion))
    kinds = np.stack([sizes, erosion + 2 * complement], axis=1)[order]
    starts = np.flatnonzero(np.r_[True, (kinds[1:] != kinds[:-1]).any(1)])
    lengths = np.diff(np.r_[starts, len(order)])
    index = np.concatenate([lists[o] for o in order])
    runs = np.column_stack([lengths, kinds[starts]])
    tables = [
        _text.constant_table("index_type", f"op{number}_index", index),
        _text.constant_table("index_type", f"op{number}_plane", order),
        _text.constant_table("uint32_t", f"op{number}_runs", runs),
    ]
    return tables, len(starts)


def quads(lists: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Fill each list up to a multiple of four by repeating its last entry.

    Example:
        >>> [part.tolist() for part in quads([np.arange(5), np.arange(0)])]
        [[0, 1, 2, 3, 4, 4, 4, 4], []]
    """
    return [
        np.concatenate([part, np.repeat(part[-1:], -len(part) % 4)]).astype(int) for part in lists
    ]


def with_index_type(program: Program, parts: list[str]) -> list[str]:
    """Return definitions after that of the type of their indices, if they have any."""
    if not any("index_type" in part for part in parts):
        return parts
    # Indices of planes are as narrow as they can be: tables are read more often than words.
    kind = "uint16_t" if max(op.shape[0] for op in program.ops) < 2**16 else "uint32_t"
    return [f"typedef {kind} index_type;", *parts]


def chunk(pixels: int, most: int) -> int:
    """Return the number of pixels to work on at once: the largest divisor of `pixels` up to `most`.

    Example:
        >>> chunk(28 * 28, 16), chunk(1, 16), chunk(49, 16)
        (16, 1, 7)
    """
    return max(d for d in range(1, most + 1) if pixels % d == 0)


def offsets(window: np.ndarray) -> np.ndarray:
    """Return the pixels of a window as offsets from its centre, int `(|S|, axes)`."""
    return np.argwhere(window) - np.array(window.shape) // 2


def groups(window: np.ndarray, down: int, across: int) -> list[list[int]]:
    """Encode a window as groups of columns that hold the same rows.

    Args:
        window: bool `(kh, kw)`.
        down: rows from the corner of the framed plane to the frame.
        across: columns from the corner of the framed plane to the frame.

    Returns:
        For each group the integers that `dilate` reads: 1 if its rows contain those of the group
        before, else 0; number of its (further) rows, these rows, number of runs of adjacent
        columns, and for each run its first column and its number of columns.

    Example:
        >>> groups(np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool), 1, 64)
        [[0, 1, 1, 2, 63, 1, 65, 1], [1, 2, 0, 2, 1, 64, 1]]
    """
    # Columns of the window with the same rows share one join of these rows.
    rows_of: dict[int, list[int]] = {}
    for dy, dx in offsets(window).tolist():
        rows_of.setdefault(dx, []).append(dy + down)
    columns_of: dict[tuple[int, ...], list[int]] = {}
    for dx, rows in sorted(rows_of.items()):
        columns_of.setdefault(tuple(rows), []).append(dx + across)
    encoded, before = [], frozenset[int]()
    # Few rows first: in a convex window, each group contains the one before.
    for rows, columns in sorted(columns_of.items(), key=lambda group: len(group[0])):
        is_larger = bool(before) and before <= set(rows)
        added = [row for row in rows if not (is_larger and row in before)]
        before = frozenset(rows)
        # A run ends where the next column is not the neighbour.
        ends = np.flatnonzero(np.diff(columns, prepend=-2, append=1 << 20) != 1)
        runs = [(columns[a], int(b - a)) for a, b in pairwise(ends)]
        one = [int(is_larger), len(added), *added, len(runs), *(n for run in runs for n in run)]
        encoded.append(one)
    return encoded


def window_radius(op: Op) -> tuple[int, int]:
    """Return the greatest distance of a pixel of any window from its centre, (rows, columns).

    In volumes, these are rows and columns of one slice.
    """
    away = np.abs(offsets(np.logical_or.reduce(op.arrays["selem"])))
    return tuple(int(n) for n in away.max(0, initial=0)[-2:])  # type: ignore[return-value]


def spatial_order(op: Op) -> list[int]:
    """Order the planes of a "spatial" op so that those on one framed plane are adjacent."""
    return np.lexsort((op.arrays["erosion"], op.arrays["source"])).tolist()
