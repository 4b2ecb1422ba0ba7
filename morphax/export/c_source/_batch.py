"""C in the batch layout: a word holds one pixel of 64 images, and L words are worked on together.

Word `(plane * H + row) * W + column` of a signal is an array of L lanes; image i is bit i % 64 of lane
i / 64. Every inner loop runs over lanes, so that any compiler makes vector code of it. Ops that read
little are written out; the others are tables of indices. The counts of a "group_sum" are bit-sliced:
plane `class * bits + b` holds bit b of the counts.
"""

import math
from typing import NamedTuple

import numpy as np

from morphax import _checks
from morphax.export.c_source import _batch_templates as text
from morphax.export.c_source import _batch_wrapper_templates as ends
from morphax.export.c_source import _tables, _text
from morphax.export.c_source._text import fill
from morphax.program import Op, Program

_LARGE = 2**14  # pixels of a plane from which one lane is enough to fill vectors, and caches
_PIECES = 32  # moves of at most so many pieces are written out


class _Place(NamedTuple):  # of an op in the C function that runs the network
    number: int
    shapes: list[tuple[int, int, int]]  # of what it reads
    reads: list[str]  # where that lies
    writes: str
    scratch: str
    helpers: dict[str, str]  # functions that several ops share; grows


def source(program: Program, name: str, *, main: bool) -> tuple[str, str]:
    """Declarations for the header and definitions for the source, without the comment above them.

    Args:
        program: one that `check_program` approves of.
        name: prefix of the functions.
        main: whether to append a program for stdin and stdout.

    Returns:
        (declarations, definitions).
    """
    ops = program.ops
    last, sizes = ops[-1], [math.prod(op.shape) for op in ops]
    found, room = _text.places(program, lambda op: math.prod(op.shape))
    helpers: dict[str, str] = {}
    parts, calls = [], []
    for number, op in enumerate(ops):
        if op.kind == "input" and op is not last:
            continue
        place = _Place(
            number,
            [ops[i].shape for i in op.inputs],
            [f"workspace + {found[i]} * L" if i else "in" for i in op.inputs],
            "out" if op is last else f"workspace + {found[number]} * L",
            f"workspace + {room} * L",
            helpers,
        )
        defined, called = _emit(op, place)
        calls += [f"    /* op {number}: {op.kind} */", *called]
        parts += [f"{_text.noted(number, op)}\n{defined}"] if defined else []
    counts = last.kind == "group_sum"
    bits = last.options["per"].bit_length() if counts else 1
    pads = [_padded(op) for op in ops if op.kind == "spatial"]
    names = {
        "name": name, "NAME": name.upper(),
        "lanes": 8 if max(op.shape[1] * op.shape[2] for op in ops) < _LARGE else 1,
        "words_in": sizes[0], "words_out": sizes[-1] * bits,
        "scratch": room + max(pads, default=0),
        "classes": last.shape[0], "bits": bits,
        "label_bits": max(1, (last.shape[0] - 1).bit_length()),
        "place_in": _word(ops[0]), "place_out": _word(last),
        "kind": "int32_t" if counts else "uint8_t",
        "results": "labels" if counts else "results",
        "each": "" if counts else f" * {sizes[-1]}",
        "verb": "classify" if counts else "apply",
        "then": "labels" if counts else "unpack",
        "calls": "\n".join(_text.unused(calls) + calls),
        "stdio": _text.STDIO.lstrip("\n") if main else "", "binary": _text.BINARY.strip("\n"),
    }  # fmt: skip
    names["write"] = fill(ends.WRITE_LABELS if counts else ends.WRITE_BYTES, **names)
    helpers |= {"ADD": text.ADD.strip("\n")} if counts and last.options["per"] >= 8 else {}
    inner = [*helpers.values(), *parts]
    if any("index_type" in part for part in inner):
        inner.insert(0, fill(text.INDEX, kind=_index_kind(program)))
    outer = [ends.PACK, ends.RUN, *([ends.COUNTS, ends.LABELS] if counts else [ends.UNPACK])]
    outer += [ends.APPLY, *([ends.MAIN] if main else [])]
    head = [ends.HEADER, ends.HEADER_LABELS if counts else ends.HEADER_BYTES]
    body = [fill(ends.PRELUDE, **names), *inner, *(fill(part, **names) for part in outer)]
    return "\n\n".join(fill(part, **names) for part in head), "\n\n".join(body)


def usage(program: Program, name: str) -> str:
    """How to use the program that `main` makes."""
    counts = program.ops[-1].kind == "group_sum"
    result = "a label a line" if counts else f"{math.prod(program.output_shape)} bytes each"
    return (
        f"The program reads images of {math.prod(program.input_shape)} bytes from stdin until it "
        f"ends, and writes {result}:\n    cc -O3 {name}.c -o {name} && ./{name} < images > results"
    )


def _padded(op: Op) -> int:
    rows, columns = _tables.reach(op)
    return (op.shape[1] + 2 * rows) * (op.shape[2] + 2 * columns)


def _word(op: Op) -> str:
    """The word of value j of an image, whose bytes have the channels last."""
    planes, area = op.shape[0], op.shape[1] * op.shape[2]
    return "j" if planes == 1 or area == 1 else f"(j % {planes} * {area} + j / {planes})"


def _index_kind(program: Program) -> str:
    """The type that the entries of all index tables fit in."""
    limits = [op.shape[0] for op in program.ops]
    limits += [_padded(op) for op in program.ops if op.kind == "spatial"]
    return "uint16_t" if max(limits) < 2**16 else "uint32_t"


def _emit(op: Op, place: _Place) -> tuple[str, list[str]]:
    """(definitions, statements of the run function) of an op."""
    number, size = place.number, math.prod(op.shape)
    call = [f"    op{number}({', '.join([*place.reads, place.writes])});"]
    if op.kind == "input":  # a network of no layers at all
        return "", [f"    memcpy({place.writes}, in, {size} * L * sizeof *in);"]
    if op.kind in ("select", "rearrange"):
        return _moves(op, place)
    if op.kind == "combine":
        return _combine(op, place), call
    if op.kind == "spatial":
        call = f"    op{number}({place.reads[0]}, {place.writes}, {place.scratch});"
        return _spatial(op, place), [call]
    if op.kind == "complement":
        return fill(text.COMPLEMENT, n=number, words=size), call
    if op.kind == "constant":
        bits = op.arrays["bits"].reshape(-1).astype(int)
        table = _text.table("uint8_t", f"op{number}_bits", bits)
        return f"{table}\n\n{fill(text.CONSTANT, n=number, words=size)}", call
    if op.kind == "union_pool":
        planes, height, width = place.shapes[0]
        (rows, columns), (down, across) = op.options["window"], op.options["strides"]
        return fill(text.POOL, n=number, planes=planes, height=height, width=width,
                    out_height=op.shape[1], out_width=op.shape[2], rows=rows, columns=columns,
                    down=down, across=across), call  # fmt: skip
    _checks.require(op.kind == "group_sum", "program", "ops of morphax.program", op.kind)
    return _group_sum(op, number), call


def _combine(op: Op, place: _Place) -> str:
    number, words = place.number, op.shape[1] * op.shape[2]
    if _tables.is_small(op):
        lines = _tables.combine_lines(
            op, lambda o: f"out[{o * words} * L + i]", lambda k: f"x[{k * words} * L + i]"
        )
        unused = "" if len(op.arrays["indices"]) else "    (void)x;\n"
        return fill(text.COMBINE_LINES, n=number, words=words, lines=lines, unused=unused)
    size = _tables.chunk(words)
    place.helpers.setdefault(f"any_{size}", _join("any", size))
    place.helpers.setdefault(f"all_{size}", _join("all", size))
    return _tables.combine_by_table(number, op, extra="", unit=f"({words} * L)",
                                      block=f"{size} * L", of=size, size="")  # fmt: skip


def _join(what: str, size: int) -> str:
    start, sign = ("0", "|") if what == "any" else ("~(uint64_t)0", "&")
    return fill(text.JOIN, what=what, chunk=size, start=start, sign=sign)


def _spatial(op: Op, place: _Place) -> str:
    place.helpers.setdefault("frame", text.FRAME.strip("\n"))
    _, height, width = op.shape
    rows, columns = _tables.reach(op)
    stride, border = width + 2 * columns, op.options["border"]
    # Pixels of the window, counted in the framed plane from the corner of the reach.
    away = [_tables.offsets(window) @ (stride, 1) + rows * stride + columns
            for window in op.arrays["selem"]]  # fmt: skip
    sources, erosion = op.arrays["source"].tolist(), op.arrays["erosion"].astype(int).tolist()
    flip = (op.arrays["erosion"] ^ op.arrays["complement"]).astype(int).tolist()
    names = {
        "n": place.number, "height": height, "width": width, "rows": rows, "columns": columns,
        "area": height * width, "stride": stride, "replicate": int(border == "replicate"),
    }  # fmt: skip
    order = _tables.spatial_order(op)
    if _tables.is_small(op):
        lines, framed = [], None
        for o in order:
            if framed != (framed := (sources[o], erosion[o])):
                flipped = "~(uint64_t)0" if erosion[o] else "0"
                beyond = flipped if border == "constant" else "0"
                start = sources[o] * height * width
                lines.append(fill(text.FRAMED, x=start, flip=flipped, fill=beyond, **names))
            terms = [f"p[{k} * L + i]" for k in away[o].tolist()]
            value = _text.joined(terms, erosion=False, complement=bool(flip[o]))
            line = _text.statement(f"d[i] = {value};", 12)
            unused = "" if terms else "        (void)p;\n"
            lines.append(fill(text.WINDOW, o=o * height * width, line=line, unused=unused, **names))
        return fill(text.SPATIAL_LINES, n=place.number, lines="\n".join(lines))
    size = _tables.chunk(width)
    place.helpers.setdefault(f"any_{size}", _join("any", size))
    filled = _tables.quads([away[o] for o in order])
    windows = [(sources[o], erosion[o], o, flip[o], len(part) // 4)
               for o, part in zip(order, filled, strict=True)]  # fmt: skip
    tables = [
        _text.table("index_type", f"op{place.number}_index", np.concatenate(filled)),
        _text.table("uint32_t", f"op{place.number}_windows", np.array(windows)),
    ]
    beyond = "flip" if border == "constant" else "0"
    function = fill(text.SPATIAL_TABLE, count=len(order), chunk=size, fill=beyond, **names)
    return "\n\n".join([*tables, function])


def _moves(op: Op, place: _Place) -> tuple[str, list[str]]:
    """A "select" or "rearrange": copies of pieces of memory, or tables of single words."""
    if op.kind == "select":  # whole planes
        unit, sizes = op.shape[1] * op.shape[2], [shape[0] for shape in place.shapes]
        index = op.arrays["source"].astype(int)
    else:
        unit, sizes = 1, [math.prod(shape) for shape in place.shapes]
        index = op.arrays["index"].reshape(-1).astype(int)
    begins = np.cumsum([0, *sizes])
    signal = np.searchsorted(begins, index, side="right") - 1
    begin = np.flatnonzero(np.r_[True, (np.diff(index) != 1) | (np.diff(signal) != 0)])
    if len(begin) <= _PIECES:
        calls = []
        for a, b in zip(begin.tolist(), [*begin[1:].tolist(), len(index)], strict=True):
            k = int(signal[a])
            start = int(index[a] - begins[k]) * unit
            calls.append(f"    memcpy({place.writes} + {a * unit} * L, {place.reads[k]} + "
                         f"{start} * L,\n           {(b - a) * unit} * L * sizeof *out);")  # fmt: skip
        return "", calls
    place.helpers.setdefault("move", text.MOVE.strip("\n"))
    tables, calls = [], []
    for k, read in enumerate(place.reads):
        mine = np.flatnonzero(signal == k)
        if mine.size:
            name = f"op{place.number}_moves{k}"
            pairs = np.column_stack([mine, index[mine] - begins[k]])
            tables.append(_text.table("uint32_t", name, pairs))
            calls.append(f"    move({read}, {place.writes}, {name}, {len(mine)}, {unit} * L);")
    return "\n\n".join(tables), calls


def _group_sum(op: Op, number: int) -> str:
    """Counts of `per` words each, by carry-save adders: five operations a word and a few more."""
    per = op.options["per"]
    bits = per.bit_length()
    carry = [f"{{ const uint64_t e = s{b} & c; s{b} ^= c; c = e; }}" for b in range(bits - 1)]
    carry.append(f"s{bits - 1} ^= c;")
    indent = "\n" + " " * 16
    names = {
        "n": number, "classes": op.shape[0], "per": per, "bits": bits, "eights": per // 8 * 8,
        "load": indent.join(f"s{b} = n[{b} * L + i];" for b in range(bits)),
        "store": indent.join(f"n[{b} * L + i] = s{b};" for b in range(bits)),
        "ripple": indent.join(carry), "ripple_eights": indent.join(carry[3:]),
        "names": ", ".join(f"s{b}" for b in range(bits)),
    }  # fmt: skip
    eight = [fill(text.COUNT_EIGHT, **names)] if per >= 8 else []
    one = [fill(text.COUNT_ONE, **names)] if per % 8 else []
    return fill(text.COUNT, lines="\n".join([*eight, *one]), **names)
