"""C in the pixel layout: a word holds 64 pixels of a row of one image, whose size is known at run time.

For networks that keep the frame of the image: windows, unions and intersections of planes,
complements. A window works on blocks of rows as one array of words: the columns of the window that hold
the same rows are treated together, runs of columns by doubling.
"""

from itertools import pairwise

import numpy as np

from morphax import _checks
from morphax.export.c_source import _pixels_main_templates as ends
from morphax.export.c_source import _pixels_templates as text
from morphax.export.c_source import _tables, _text
from morphax.export.c_source._text import fill
from morphax.program import Op, Program

_KINDS = ("input", "constant", "spatial", "combine", "complement", "select")


def check(program: Program) -> None:
    """Raise `ValueError` unless a program keeps the frame and is the same wherever the frame lies."""
    for number, op in enumerate(program.ops):
        came = f"op {number}, {op.kind} {op.shape}"
        _checks.require(op.kind in _KINDS, "layout", "'batch' for all but operators on images that "
                       "keep their size (no moves of pixels, pools or counts)", came)  # fmt: skip
        same = op.shape[1:] == program.ops[0].shape[1:]
        _checks.require(same, "layout", "'batch' where the size of images changes", came)
        if op.kind == "constant":
            bits = op.arrays["bits"]
            even = bool((bits == bits[:, :1, :1]).all())
            _checks.require(
                even, "layout", "'batch' for constant pictures that are not plain", came
            )


def source(program: Program, name: str, *, main: bool) -> tuple[str, str]:
    """Declarations for the header and definitions for the source, without the comment above them.

    Args:
        program: one that `check_program` and `check` approve of.
        name: prefix of the functions.
        main: whether to append a program for PBM images.

    Returns:
        (declarations, definitions).
    """
    ops, last = program.ops, program.ops[-1]
    found, room = _text.places(program, lambda op: op.shape[0])
    windows = [op for op in ops if op.kind == "spatial"]
    reaches = [_tables.reach(op) for op in windows]
    helpers: dict[str, str] = {"windows": text.WINDOWS.strip("\n")} if windows else {}
    parts, calls = [], []
    for number, op in enumerate(ops):
        if op.kind == "input" and op is not last:
            continue
        reads = [f"workspace + {found[i]} * words" if i else "in" for i in op.inputs]
        writes = "out" if op is last else f"workspace + {found[number]} * words"
        planes = [ops[i].shape[0] for i in op.inputs]
        defined, called = _emit(op, number, reads, planes, writes, room, helpers)
        calls += [f"    /* op {number}: {op.kind} */", *called]
        parts += [f"{_text.noted(number, op)}\n{defined}"] if defined else []
    names = {
        "name": name, "NAME": name.upper(),
        "planes_in": ops[0].shape[0], "planes_out": last.shape[0], "planes": room,
        "most": ops[0].shape[0] + last.shape[0] + room + 1,
        "rows": max((rows for rows, _ in reaches), default=0),
        "margin": max((_margin(op) for op in windows), default=0),
        "calls": "\n".join(_text.unused(calls) + calls),
        "stdio": _text.STDIO.lstrip("\n") if main else "", "binary": _text.BINARY.strip("\n"),
    }  # fmt: skip
    inner = [*helpers.values(), *parts]
    if any("index_type" in part for part in inner):
        kind = "uint16_t" if max(op.shape[0] for op in ops) < 2**16 else "uint32_t"
        inner.insert(0, f"typedef {kind} index_type;")
    outer = [text.PACK, text.RUN, *([ends.MAIN] if main else [])]
    body = [fill(text.PRELUDE, **names), *inner, *(fill(part, **names) for part in outer)]
    return fill(text.HEADER, **names), "\n\n".join(body)


def usage(program: Program, name: str) -> str:
    """How to use the program that `main` makes."""
    planes = (program.ops[0].shape[0], program.ops[-1].shape[0])
    one = "each PBM image (P4) of stdin" if planes[0] == 1 else f"{planes[0]} PBM images (P4) each"
    return (
        f"The program makes {planes[1]} of {one}, of any size. A pixel that is set is black in a PBM "
        "image and white in the PNG images of morphax.data.load_pairs: what a converter makes of such "
        "a PNG has to be inverted. Planes are images "
        f"one after the other:\n    cc -O3 {name}.c -o {name} && ./{name} < image.pbm > result.pbm"
    )


def _margin(op: Op) -> int:
    """Words left and right of a row that hold the pixels which windows reach beyond the frame."""
    return -(-_tables.reach(op)[1] // 64)


def _emit(
    op: Op,
    number: int,
    reads: list[str],
    planes: list[int],
    writes: str,
    room: int,
    helpers: dict[str, str],
) -> tuple[str, list[str]]:
    """(definitions, statements of the run function) of an op; `helpers` grows."""
    call = [f"    op{number}({', '.join([*reads, writes, 'words'])});"]
    if op.kind == "input":
        return "", [f"    memcpy({writes}, in, {op.shape[0]} * words * sizeof *out);"]
    if op.kind == "constant":
        bits = op.arrays["bits"][:, 0, 0].tolist()
        return "", [f"    memset({writes} + {o} * words, {255 * bit}, words * sizeof *out);"
                    for o, bit in enumerate(bits)]  # fmt: skip
    if op.kind == "select":
        begins = np.cumsum([0, *planes])
        calls = []
        for o, k in enumerate(op.arrays["source"].tolist()):
            signal = int(np.searchsorted(begins, k, side="right")) - 1
            calls.append(f"    memcpy({writes} + {o} * words, {reads[signal]} + "
                         f"{k - begins[signal]} * words, words * sizeof *out);")  # fmt: skip
        return "", calls
    if op.kind == "complement":
        return fill(text.COMPLEMENT, n=number, planes=op.shape[0]), call
    if op.kind == "spatial":
        call = f"    op{number}({reads[0]}, {writes}, width, height, workspace + {room} * words);"
        return _spatial(op, number), [call]
    if _tables.is_small(op):
        lines = _tables.combine_lines(
            op, lambda o: f"out[{o} * words + i]", lambda k: f"x[{k} * words + i]"
        )
        unused = "" if len(op.arrays["indices"]) else "    (void)x;\n"
        return fill(text.COMBINE_LINES, n=number, lines=lines, unused=unused), call
    helpers["any"] = fill(text.JOIN, what="any", start="0", sign="|")
    helpers["all"] = fill(text.JOIN, what="all", start="~(uint64_t)0", sign="&")
    defined = _tables.combine_by_table(number, op, extra=", size_t words", unit="words", block="BLOCK",
                                         of="of", size="words - w < BLOCK ? words - w : BLOCK, ")  # fmt: skip
    return defined, call


def _spatial(op: Op, number: int) -> str:
    (rows, columns), margin = _tables.reach(op), _margin(op)
    width = 64 * margin + columns + 1
    _checks.require(max(width, 2 * rows) < 2**16, "program", "windows of at most 65000 pixels a side",
                   op.arrays["selem"].shape[1:])  # fmt: skip
    erosion, complement = (op.arrays[k].astype(int) for k in ("erosion", "complement"))
    codes, windows = [], []
    for o in _tables.spatial_order(op):
        groups = _groups(op.arrays["selem"][o], rows, 64 * margin)
        code = [part for group in groups for part in group]
        windows.append((op.arrays["source"][o], erosion[o], o, erosion[o] ^ complement[o],
                        len(groups), len(code)))  # fmt: skip
        codes += code
    tables = [
        _text.table("uint16_t", f"op{number}_code", np.array(codes, int)),
        _text.table("uint32_t", f"op{number}_windows", np.array(windows)),
    ]
    border = op.options["border"]
    function = fill(text.SPATIAL, n=number, rows=rows, margin=margin, count=len(windows),
                    replicate=int(border == "replicate"),
                    fill="flip" if border == "constant" else "0")  # fmt: skip
    return "\n\n".join([*tables, function])


def _groups(window: np.ndarray, down: int, across: int) -> list[list[int]]:
    """A window as columns that hold the same rows: [rows, row..., runs, (first column, columns)...].

    >>> _groups(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool), 1, 64)
    [[2, 0, 1, 1, 63, 2], [1, 2, 1, 65, 1]]
    """
    columns: dict[tuple[int, ...], list[int]] = {}
    for dy, dx in _tables.offsets(window).tolist():
        columns.setdefault((dx,), []).append(dy + down)
    same: dict[tuple[int, ...], list[int]] = {}
    for (dx,), held in sorted(columns.items()):
        same.setdefault(tuple(held), []).append(dx + across)
    groups = []
    for held, members in same.items():
        ends = np.flatnonzero(np.diff(members, prepend=-2, append=1 << 20) != 1)
        runs = [(members[a], int(b - a)) for a, b in pairwise(ends)]
        groups.append([len(held), *held, len(runs), *(n for run in runs for n in run)])
    return groups
