"""C in the pixel layout: a word holds 64 pixels of a row of one image, of a size known at run time.

Bit x % 64 of word x / 64 of a row is pixel x; a plane is `height` rows, and planes lie one after
the other. The layout is for networks whose planes all have the size of the image: windows, unions
and intersections of planes, complements, votes. Large images are worked on in bands of rows, so
that the memory does not grow with their height.

A window runs on blocks of rows as one array of words. It is decomposed into groups of columns that
hold the same rows: the rows of a group are joined once, starting from those of the group before if
they are among them, and a run of n adjacent columns takes log2(n) shifted joins, by doubling.
"""

import numpy as np

from morphax import _checks
from morphax.data.gray_planes import GrayPlanes
from morphax.export.c_source import _bytes, _bytes_templates, _gray, _tables, _text, _votes
from morphax.export.c_source import _pixels_main_templates as ends
from morphax.export.c_source import _pixels_templates as text
from morphax.export.c_source._text import fill
from morphax.export.c_source._window_templates import WINDOWS
from morphax.program import Op, Program
from morphax.program.bands import row_reach

KINDS = ("input", "constant", "spatial", "combine", "complement", "select", "at_least")
"""Kinds of ops that the layout has."""

_BAND = 64  # rows of a band at least
_ONE_PLANE = {"source": "const uint64_t *pad", "row": "pad + (y + (k)) * stride"}  # of `dilate`


def check(program: Program) -> None:
    """Check that a program has a meaning on images of any size.

    Raises:
        ValueError: if a plane has another size than the image, or an op depends on the place of a
            pixel.
    """
    for number, op in enumerate(program.ops):
        got = f"op {number}, {op.kind} {op.shape}"
        expected = (
            "'batch' for all but operators on images that keep their size (no moves of pixels, "
            "pools or counts)"
        )
        _checks.require(op.kind in KINDS, "layout", expected, got)
        same_size = op.shape[1:] == program.ops[0].shape[1:]
        _checks.require(same_size, "layout", "'batch' where the size of images changes", got)
        if op.kind == "constant":
            bits = op.arrays["bits"]
            is_plain = bool((bits == bits[:, :1, :1]).all())
            expected = "'batch' for constant pictures that are not plain"
            _checks.require(is_plain, "layout", expected, got)


def source(
    program: Program, name: str, *, main: bool, planes: GrayPlanes | None = None, channels: int = 1
) -> tuple[str, str]:
    """Write the declarations of the header and the definitions of the source.

    Args:
        program: a program that passes `check_program` and `check`.
        name: prefix of the functions.
        main: True to add a program for PBM images, or for PGM images.
        planes: which planes are made of gray images; None where the input is bits.
        channels: channels of a gray image.

    Returns:
        `(declarations, definitions)`.
    """
    ops, last = program.ops, program.ops[-1]
    place_of, room = _text.places(program, lambda op: op.shape[0])
    windows = [op for op in ops if op.kind == "spatial"]
    radii = [_tables.window_radius(op) for op in windows]
    helpers: dict[str, str] = {"windows": fill(WINDOWS, **_ONE_PLANE)} if windows else {}
    reach = row_reach(program)
    parts, calls = [], []
    # A function for each op, and the statement of the run function that calls it.
    for number, op in enumerate(ops):
        if op.kind == "input" and op is not last:
            continue
        reads = [f"workspace + {place_of[i]} * words" if i else "in" for i in op.inputs]
        # Op 0 lies in the caller's input, the last one in the caller's output.
        writes = "out" if op is last else f"workspace + {place_of[number]} * words"
        counts = [ops[i].shape[0] for i in op.inputs]
        if op.kind == "spatial":
            defined = _spatial(op, number)
            scratch = f"workspace + {room} * words"
            called = [f"    op{number}({reads[0]}, {writes}, width, height, {scratch});"]
        else:
            defined, called = on_pixels(op, number, reads, counts, writes, helpers)
        calls += [f"    /* op {number}: {op.kind} */", *called]
        parts += [f"{_text.noted(number, op)}\n{defined}"] if defined else []
    names = {
        "name": name,
        "NAME": name.upper(),
        # Planes of the input, of the output, of the workspace, and of all together: the workspace
        # has room for five framed planes more, and for a band of the input and output.
        "planes_in": ops[0].shape[0],
        "planes_out": last.shape[0],
        "planes": room,
        "most": 2 * (ops[0].shape[0] + last.shape[0]) + room + 5,
        # Bands of rows: with 2 reach rows too many in each, a quarter of the work at most.
        "reach": reach,
        "band": max(_BAND, 8 * reach),
        # Size of the largest frame around a plane: rows above, words at the left.
        "rows": max((rows for rows, _ in radii), default=0),
        "margin": max((_margin(op) for op in windows), default=0),
        "calls": "\n".join(_text.unused(calls) + calls),
        "stdio": _text.STDIO.lstrip("\n") if main else "",
        "restrict": _text.RESTRICT.strip("\n"),
        "binary": _text.BINARY.strip("\n"),
    }
    inner = _tables.with_index_type(program, [*helpers.values(), *parts])
    body = [fill(text.PRELUDE, **names), *inner, fill(text.PACK, **names), fill(text.RUN, **names)]
    body.append(_bytes.source(program, names))
    head = [fill(part, **names) for part in (text.HEADER, _bytes_templates.HEADER)]
    if planes is not None:
        head.append(_gray.header(channels, names))
        body.append(_gray.source(planes, channels, names))
    if main:
        is_gray = planes is not None
        names["kind"] = "PGM" if is_gray else "PBM"
        names["header"] = "width, height and largest value" if is_gray else "width and height"
        names |= {"group": "result", "same": f"the {ops[0].shape[0]} images of one result"}
        reader = _gray.reader(channels, names) if is_gray else fill(ends.READ_PBM, **names)
        parts = ends.READ, reader, ends.WRITE_PBM, ends.FILTER, ends.MAIN
        body += [fill(part, **names) for part in parts]
    return "\n\n".join(head), "\n\n".join(body)


def usage_gray(program: Program, name: str, channels: int) -> str:
    """Describe how to use the program for gray images that `main` adds."""
    one = "each PGM image of stdin" if channels == 1 else f"{channels} PGM images of stdin"
    return (
        f"The program makes {program.ops[-1].shape[0]} PBM image (P4) of {one} (P5 or P2, 8 or 16 "
        f"bits), of any size; a pixel that is set is black:\n    cc -O3 {name}.c -o {name} && "
        f"./{name} < image.pgm > result.pbm"
    )


def usage(program: Program, name: str) -> str:
    """Describe how to use the program that `main` adds."""
    planes = (program.ops[0].shape[0], program.ops[-1].shape[0])
    one = "each PBM image of stdin" if planes[0] == 1 else f"{planes[0]} PBM images of stdin"
    return (
        f"The program makes {planes[1]} of {one} (P4 or P1), of any size. A pixel "
        "that is set is black in a PBM image and white in the PNG images of "
        "morphax.data.load_pairs: what a converter makes of such a PNG has to be inverted. Planes "
        f"are images one after the other:\n    cc -O3 {name}.c -o {name} && ./{name} < image.pbm "
        "> result.pbm"
    )


def _margin(op: Op) -> int:
    """Return the number of words left (or right) of a row that hold the pixels beyond the frame."""
    return -(-_tables.window_radius(op)[1] // 64)


def on_pixels(
    op: Op,
    number: int,
    reads: list[str],
    planes: list[int],
    writes: str,
    helpers: dict[str, str],
) -> tuple[str, list[str]]:
    """Return (definitions, statements of the run function) of an op that has no window.

    Args:
        op: the op.
        number: its number.
        reads: pointers to its inputs, as C.
        planes: number of planes of each input.
        writes: pointer to its result, as C.
        helpers: functions that several ops share, by name; grows.
    """
    call = [f"    op{number}({', '.join([*reads, writes, 'words'])});"]
    if op.kind == "input":
        return "", [f"    memcpy({writes}, in, {op.shape[0]} * words * sizeof *out);"]
    if op.kind == "constant":
        bits = op.arrays["bits"].reshape(op.shape[0], -1)[:, 0].tolist()
        return "", [
            f"    memset({writes} + {o} * words, {255 * bit}, words * sizeof *out);"
            for o, bit in enumerate(bits)
        ]
    if op.kind == "select":  # a copy of each plane
        begins = np.cumsum([0, *planes])
        calls = []
        for o, k in enumerate(op.arrays["source"].tolist()):
            signal = int(np.searchsorted(begins, k, side="right")) - 1
            to = f"{writes} + {o} * words"
            source = f"{reads[signal]} + {k - begins[signal]} * words"
            calls.append(f"    memcpy({to}, {source}, words * sizeof *out);")
        return "", calls
    if op.kind == "complement":
        return fill(text.COMPLEMENT, n=number, planes=op.shape[0]), call
    if op.kind == "at_least":
        options = {"unit": "words", "extra": ", size_t words", "helpers": helpers}
        return _votes.at_least(op, number, **options), call
    if _tables.is_small(op):
        lines = _tables.combine_lines(
            op, lambda o: f"out[{o} * words + i]", lambda k: f"x[{k} * words + i]"
        )
        unused = "" if len(op.arrays["indices"]) else "    (void)x;\n"
        return fill(text.COMBINE_LINES, n=number, lines=lines, unused=unused), call
    # By tables, in blocks of words that stay in the first cache.
    helpers["any"] = fill(text.JOIN, what="any", start="0", sign="|")
    helpers["all"] = fill(text.JOIN, what="all", start="~(uint64_t)0", sign="&")
    tables, runs = _tables.combine_tables(number, op, _tables.quads(_tables.index_lists(op)))
    return "\n\n".join([*tables, fill(text.COMBINE_TABLE, n=number, runs=runs)]), call


def _spatial(op: Op, number: int) -> str:
    """Return the tables and the function of a "spatial" op.

    An erosion is the complement of a dilation of the complement: `frame` copies the plane,
    complemented for erosions, and `dilate` runs the code of the window on it.
    """
    (rows, columns), margin = _tables.window_radius(op), _margin(op)
    width = 64 * margin + columns + 1
    sides = op.arrays["selem"].shape[1:]
    is_encodable = max(width, 2 * rows) < 2**16
    _checks.require(is_encodable, "program", "windows of at most 65000 pixels a side", sides)
    erosion, complement = (op.arrays[k].astype(int) for k in ("erosion", "complement"))
    codes, windows = [], []
    # A row of the table of windows: plane read, erosion, plane written, complemented, groups, and
    # the length of their code.
    for o in _tables.spatial_order(op):
        groups = _tables.groups(op.arrays["selem"][o], rows, 64 * margin)
        code = [part for group in groups for part in group]
        # The complement that makes a dilation an erosion, and that of the neuron, may cancel.
        flip = erosion[o] ^ complement[o]
        windows.append((op.arrays["source"][o], erosion[o], o, flip, len(groups), len(code)))
        codes += code
    name = f"op{number}_windows"
    tables = [
        _text.constant_table("uint16_t", f"op{number}_code", np.array(codes, int)),
        _text.constant_table("uint32_t", name, np.array(windows)),
    ]
    names = {"n": number, "rows": rows, "margin": margin, "windows": name, "count": len(windows)}
    replicate = int(op.options["border"] == "replicate")
    beyond = "flip" if op.options["border"] == "constant" else "0"
    function = fill(text.SPATIAL, nearest=replicate, fill=beyond, **names)
    return "\n\n".join([*tables, function])
