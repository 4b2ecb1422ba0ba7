"""C in the batch layout: a word holds one pixel of 64 images, and L words are worked on together.

Word `(plane * H + row) * W + column` of a signal is an array of L words, the *lanes*; image i is
bit i % 64 of lane i / 64. Every inner loop runs over lanes, so that any compiler makes vector code
of it. Ops that read little are written as lines of C, others as tables of indices. The counts of a
"group_sum" are bit-sliced: plane `class * bits + b` holds bit b of the counts.

The source consists of a prelude, helpers, one function for each op (`op1`, `op2`, ...), and the
functions of the header, of which `..._run` calls the ops in order. Results of ops lie in the
caller's workspace.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from morphax.export.c_source import _batch_counts, _batch_reads, _tables, _text, _votes
from morphax.export.c_source import _batch_templates as text
from morphax.export.c_source import _batch_wrapper_templates as ends
from morphax.export.c_source._text import fill
from morphax.program import Op, Program

_LARGE = 2**14  # planes of at least this many pixels fill vectors and caches with one lane
_PIECES = 32  # a move of at most this many pieces is written as one `memcpy` for each


class _Place(NamedTuple):
    """Hold the place of an op in the C code, as C expressions."""

    number: int
    shapes: list[tuple[int, ...]]  # shapes of its inputs
    reads: list[str]  # pointers to its inputs
    at: list[int | None]  # places of its inputs in the workspace; None is the network's input
    writes: str  # pointer to its result
    scratch: str  # pointer to the padded plane of a "spatial" op
    helpers: dict[str, str]  # functions that several ops share, by name; grows
    entries: list[int]  # largest entries of the tables of indices; grows


def source(program: Program, name: str, *, main: bool) -> tuple[str, str]:
    """Write the declarations of the header and the definitions of the source.

    Args:
        program: a program that passes `check_program`.
        name: prefix of the functions.
        main: True to add a program for stdin and stdout.

    Returns:
        `(declarations, definitions)`.
    """
    ops, last = program.ops, program.ops[-1]
    place_of, room = _text.places(program, lambda op: math.prod(op.shape))
    helpers: dict[str, str] = {}
    entries = [0]
    parts, calls = [], []
    # A function for each op, and the statement of the run function that calls it.
    for number, op in enumerate(ops):
        if op.kind == "input" and op is not last:
            continue
        place = _Place(
            number,
            [ops[i].shape for i in op.inputs],
            [f"workspace + {place_of[i]} * L" if i else "in" for i in op.inputs],
            [place_of[i] if i else None for i in op.inputs],
            "out" if op is last else f"workspace + {place_of[number]} * L",
            f"workspace + {room} * L",
            helpers,
            entries,
        )
        defined, called = _emit(op, place)
        calls += [f"    /* op {number}: {op.kind} */", *called]
        parts += [f"{_text.noted(number, op)}\n{defined}"] if defined else []
    names = _names(program, name, room, calls, main=main)
    # Helpers stand before the ops that call them, and the type of the indices before both.
    counts = last.kind == "group_sum"
    inner = [*helpers.values(), *parts]
    if any("index_type" in part for part in inner):
        kind = "uint16_t" if max(entries) < 2**16 else "uint32_t"
        inner.insert(0, fill(text.INDEX, kind=kind))
    # A network that counts has functions for counts and labels, any other one for bits.
    outer = [ends.PACK, ends.RUN, *([ends.COUNTS, ends.LABELS] if counts else [ends.UNPACK])]
    outer += [ends.APPLY, *([ends.MAIN] if main else [])]
    head = [ends.HEADER, ends.HEADER_LABELS if counts else ends.HEADER_BYTES]
    body = [fill(ends.PRELUDE, **names), *inner, *(fill(part, **names) for part in outer)]
    return "\n\n".join(fill(part, **names) for part in head), "\n\n".join(body)


def _names(
    program: Program, name: str, room: int, calls: list[str], *, main: bool
) -> dict[str, object]:
    """Return the `$names` of the templates around the ops.

    Args:
        program: the program.
        name: prefix of the functions.
        room: words of the workspace that hold results of ops.
        calls: statements of the run function.
        main: True if there is a `main`.
    """
    first, last = program.ops[0], program.ops[-1]
    counts = last.kind == "group_sum"
    bits = last.options["per"].bit_length() if counts else 1
    pads = [_padded(op) for op in program.ops if op.kind == "spatial"]
    area = max(op.shape[1] * op.shape[2] for op in program.ops)
    words_out = math.prod(last.shape)
    names: dict[str, object] = {
        "name": name,
        "NAME": name.upper(),
        "lanes": 8 if area < _LARGE else 1,
        # Sizes in words, for one lane.
        "words_in": math.prod(first.shape),
        "words_out": words_out * bits,
        "scratch": room + max(pads, default=0),
        # Counts: their number, and the bits of a count and of the number of a class.
        "classes": last.shape[0],
        "bits": bits,
        "label_bits": max(1, (last.shape[0] - 1).bit_length()),
        # Word of value j of an image, in the input and in the output.
        "place_in": _word(first),
        "place_out": _word(last),
        # Functions for any number of images: a label or `words_out` bytes for each image.
        "kind": "int32_t" if counts else "uint8_t",
        "results": "labels" if counts else "results",
        "each": "" if counts else f" * {words_out}",
        "verb": "classify" if counts else "apply",
        "then": "labels" if counts else "unpack",
        "calls": "\n".join(_text.unused(calls) + calls),
        "stdio": _text.STDIO.lstrip("\n") if main else "",
        "restrict": _text.RESTRICT.strip("\n"),
        "binary": _text.BINARY.strip("\n"),
    }
    names["write"] = fill(ends.WRITE_LABELS if counts else ends.WRITE_BYTES, **names)
    return names


def usage(program: Program, name: str) -> str:
    """Describe how to use the program that `main` adds."""
    counts = program.ops[-1].kind == "group_sum"
    result = "a label a line" if counts else f"{math.prod(program.output_shape)} bytes each"
    return (
        f"The program reads images of {math.prod(program.input_shape)} bytes from stdin until it "
        f"ends, and writes {result}:\n    cc -O3 {name}.c -o {name} && ./{name} < images > results"
    )


def _padded(op: Op) -> int:
    """Return the number of pixels of a plane with the frame that the windows of an op need."""
    rows, columns = _tables.window_radius(op)
    return (op.shape[1] + 2 * rows) * (op.shape[2] + 2 * columns)


def _word(op: Op) -> str:
    """Return the word of value j of an image, where bytes have the channels last, as C."""
    planes, area = op.shape[0], op.shape[1] * op.shape[2]
    return "j" if planes == 1 or area == 1 else f"(j % {planes} * {area} + j / {planes})"


def _emit(op: Op, place: _Place) -> tuple[str, list[str]]:
    """Return (definitions, statements of the run function) of an op."""
    number, size = place.number, math.prod(op.shape)
    call = [f"    op{number}({', '.join([*place.reads, place.writes])});"]
    if op.kind == "input":  # a network of no layers at all
        return "", [f"    memcpy({place.writes}, in, {size} * L * sizeof *in);"]
    if op.kind in ("select", "rearrange"):
        return _moves(op, place)
    if op.kind in ("combine", "group_sum"):
        reads = _batch_reads.reads_of(op, place.shapes, place.at)
        call = [f"    op{number}({reads.base}, {place.writes});"]
        if op.kind == "combine":
            return _combine(op, place, reads.words), call
        defined, index = _batch_counts.group_sum(op, number, reads.words, place.helpers)
        place.entries.append(int(index.max(initial=0)))
        return defined, call
    if op.kind == "spatial":
        call = f"    op{number}({place.reads[0]}, {place.writes}, {place.scratch});"
        return _spatial(op, place), [call]
    if op.kind == "complement":
        return fill(text.COMPLEMENT, n=number, words=size), call
    if op.kind == "constant":
        bits = op.arrays["bits"].reshape(-1).astype(int)
        values = _text.constant_table("uint8_t", f"op{number}_bits", bits)
        return f"{values}\n\n{fill(text.CONSTANT, n=number, words=size)}", call
    if op.kind == "union_pool":
        planes, height, width = place.shapes[0]
        (rows, columns), (down, across) = op.options["window"], op.options["strides"]
        sizes = {"planes": planes, "height": height, "width": width}
        sizes |= {"out_height": op.shape[1], "out_width": op.shape[2]}
        sizes |= {"rows": rows, "columns": columns, "down": down, "across": across}
        return fill(text.POOL, n=number, **sizes), call
    if op.kind == "at_least":
        unit = f"(size_t){op.shape[1] * op.shape[2]} * L"
        return _votes.at_least(op, number, unit=unit, extra="", helpers=place.helpers), call
    raise AssertionError(op.kind)


def _combine(op: Op, place: _Place, words: np.ndarray) -> str:
    """Return the function of a "combine" op; `words` are the places of the planes that it reads."""
    number, area = place.number, op.shape[1] * op.shape[2]
    if _tables.is_small(op):
        lines = _tables.combine_lines(
            op, lambda o: f"out[{o * area} * L + i]", lambda k: f"x[{words[k]} * L + i]"
        )
        unused = "" if len(op.arrays["indices"]) else "    (void)x;\n"
        return fill(text.COMBINE_LINES, n=number, words=area, lines=lines, unused=unused)
    # By tables: `size` pixels of a plane at once, so that the result stays in registers.
    size = _joins(place.helpers, area, ("any", "all"))
    lists = _tables.quads([words[part] for part in _tables.index_lists(op)])
    place.entries.extend([int(words.max(initial=0)), op.shape[0]])
    tables, runs = _tables.combine_tables(number, op, lists)
    names = {"n": number, "words": area, "chunk": size, "runs": runs}
    return "\n\n".join([*tables, fill(text.COMBINE_TABLE, **names)])


def _joins(helpers: dict[str, str], pixels: int, which: tuple[str, ...]) -> int:
    """Add the helpers that join words, and return how many pixels they work on at once."""
    size = _tables.chunk(pixels, 4 if pixels < _LARGE else 16)
    for how in which:
        # Each byte of the join of no words, and of its complement.
        start, sign = (0, "|") if how == "any" else (255, "&")
        names = {"start": start, "complemented": 255 - start, "sign": sign}
        helpers.setdefault(f"{how}_{size}", fill(text.JOIN, how=how, chunk=size, **names))
    return size


def _spatial(op: Op, place: _Place) -> str:
    """Return the function of a "spatial" op.

    An erosion is the complement of a dilation of the complement, so there are only unions: `frame`
    copies a plane into `pad`, complemented for erosions and with pixels around it, and each window
    is the OR of a few words of `pad`. With border "ignore" the pixels around are 0, the neutral
    element of OR; with "constant" they are 0 before the complement; with "replicate" they are the
    nearest pixels.
    """
    place.helpers.setdefault("frame", text.FRAME.strip("\n"))
    _, height, width = op.shape
    rows, columns = _tables.window_radius(op)
    stride, border = width + 2 * columns, op.options["border"]
    # For each window, the positions of its pixels in `pad`, seen from the first pixel of a row.
    positions = [
        _tables.offsets(window) @ (stride, 1) + rows * stride + columns
        for window in op.arrays["selem"]
    ]
    erosion = op.arrays["erosion"].astype(int).tolist()
    flip = (op.arrays["erosion"] ^ op.arrays["complement"]).astype(int).tolist()
    names = {"n": place.number, "height": height, "width": width, "rows": rows, "columns": columns}
    names |= {"area": height * width, "stride": stride, "replicate": int(border == "replicate")}
    order = _tables.spatial_order(op)
    if _tables.is_small(op):
        return _spatial_lines(op, order, positions, names)
    size = _joins(place.helpers, width, ("any",))
    place.entries.append(_padded(op))
    lists = _tables.quads([positions[o] for o in order])
    # A row of the table: plane read, erosion, plane written, complemented, quads of its pixels.
    sources = op.arrays["source"].tolist()
    windows = [
        (sources[o], erosion[o], o, flip[o], len(part) // 4)
        for o, part in zip(order, lists, strict=True)
    ]
    tables = [
        _text.constant_table("index_type", f"op{place.number}_index", np.concatenate(lists)),
        _text.constant_table("uint32_t", f"op{place.number}_windows", np.array(windows)),
    ]
    names |= {"count": len(order), "chunk": size, "windows": f"op{place.number}_windows"}
    beyond = "flip" if border == "constant" else "0"
    return "\n\n".join([*tables, fill(text.SPATIAL_TABLE, fill=beyond, **names)])


def _spatial_lines(
    op: Op, order: list[int], positions: list[np.ndarray], names: dict[str, Any]
) -> str:
    """Return the function of a small "spatial" op: a call of `frame` and a loop for each window."""
    area, lines, framed = names["area"], [], None
    for o in order:
        source, erosion, flip = (
            int(op.arrays["source"][o]),
            bool(op.arrays["erosion"][o]),
            bool(op.arrays["erosion"][o] ^ op.arrays["complement"][o]),
        )
        # Windows on the same framed plane follow each other: frame it once.
        if framed != (framed := (source, erosion)):
            flipped = "~(uint64_t)0" if erosion else "0"
            beyond = flipped if op.options["border"] == "constant" else "0"
            lines.append(fill(text.FRAMED, x=source * area, flip=flipped, fill=beyond, **names))
        terms = [f"p[{k} * L + i]" for k in positions[o].tolist()]
        value = _text.joined(terms, erosion=False, complement=flip)
        line = _text.statement(f"d[i] = {value};", 12)
        unused = "" if terms else "        (void)p;\n"
        lines.append(fill(text.WINDOW, o=o * area, line=line, unused=unused, **names))
    return fill(text.SPATIAL_LINES, n=names["n"], lines="\n".join(lines))


def _moves(op: Op, place: _Place) -> tuple[str, list[str]]:
    """Return a "select" or "rearrange": copies of pieces of memory, or tables of single words."""
    # `index`: where each unit (a plane or a word) of the result comes from, in all inputs.
    if op.kind == "select":  # whole planes
        unit, sizes = op.shape[1] * op.shape[2], [shape[0] for shape in place.shapes]
        index = op.arrays["source"].astype(int)
    else:
        unit, sizes = 1, [math.prod(shape) for shape in place.shapes]
        index = op.arrays["index"].reshape(-1).astype(int)
    begins = np.cumsum([0, *sizes])
    signal = np.searchsorted(begins, index, side="right") - 1
    # Pieces: runs of units that are consecutive in one input.
    begin = np.flatnonzero(np.r_[True, (np.diff(index) != 1) | (np.diff(signal) != 0)])
    if len(begin) <= _PIECES:
        calls = []
        for a, b in zip(begin.tolist(), [*begin[1:].tolist(), len(index)], strict=True):
            k = int(signal[a])
            to = f"{place.writes} + {a * unit} * L"
            source = f"{place.reads[k]} + {int(index[a] - begins[k]) * unit} * L"
            size = f"{(b - a) * unit} * L * sizeof *out"
            calls.append(f"    memcpy({to}, {source},\n           {size});")
        return "", calls
    # Many pieces: for each input a table of (unit written, unit read).
    place.helpers.setdefault("move", text.MOVE.strip("\n"))
    tables, calls = [], []
    for k, read in enumerate(place.reads):
        mine = np.flatnonzero(signal == k)
        if mine.size:
            name = f"op{place.number}_moves{k}"
            pairs = np.column_stack([mine, index[mine] - begins[k]])
            tables.append(_text.constant_table("uint32_t", name, pairs))
            calls.append(f"    move({read}, {place.writes}, {name}, {len(mine)}, {unit} * L);")
    return "\n\n".join(tables), calls
