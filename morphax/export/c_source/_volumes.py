"""C of volumes in the pixel layout: slice by slice, with memory that does not grow with the depth.

A slice is an image of the pixel layout, and all that has no window runs on it as on an image. A
"spatial" op keeps the slices of its input that its windows see, each with a frame, in a ring. A
window of volumes is then a window of an image, whose rows are those of all its slices: row y of
slice z has the number z * side + y, where `side` is the number of rows of a slice of the window.
So the code of the window, and the function `dilate` that runs it, are those of images.

An op that looks at slices ahead runs so many slices behind its input. Branches of different delays
meet in a "select", which reads older slices of those that are ahead: what it reads is kept as long.
"""

from typing import NamedTuple

import numpy as np

from morphax import _checks
from morphax.export.c_source import _pixels, _tables, _text
from morphax.export.c_source import _pixels_main_templates as ends
from morphax.export.c_source import _pixels_templates as images
from morphax.export.c_source import _volumes_templates as text
from morphax.export.c_source._text import fill
from morphax.export.c_source._window_templates import WINDOWS
from morphax.program import Op, Program

# `dilate` finds its rows in the slices that a window sees.
_SLICES = {
    "source": "const uint64_t *const *slices, size_t side",
    "row": "slices[(k) / side] + (y + (k) % side) * stride",
}


class _Frame(NamedTuple):
    """Hold how far the windows of a "spatial" op see: slices, rows, and words of a row."""

    before: int
    after: int
    rows: int
    margin: int


class _Plan(NamedTuple):
    """Hold when the ops run, and where their slices are kept.

    Attributes:
        frames: how far the windows of each "spatial" op see, by its number.
        behind: how many slices behind the input each op runs.
        kept: how many slices of its result are kept.
        place_of: planes that lie before its slices, by the number of an op that has a place.
        planes: planes of all these slices.
    """

    frames: dict[int, _Frame]
    behind: list[int]
    kept: list[int]
    place_of: dict[int, int]
    planes: int


def check(program: Program) -> None:
    """Check that a program has a meaning on volumes of any size.

    Raises:
        ValueError: if a plane has another size than the volume, or an op depends on the place of a
            voxel.
    """
    expected = (
        "operators on volumes that keep their size (no moves of voxels, pools or counts), as C of "
        "other programs of volumes is not written"
    )
    for number, op in enumerate(program.ops):
        got = f"op {number}, {op.kind} {op.shape}"
        is_operator = op.kind in _pixels.KINDS and op.shape[1:] == program.ops[0].shape[1:]
        _checks.require(is_operator, "program", expected, got)
        if op.kind == "constant":
            bits = op.arrays["bits"].reshape(op.shape[0], -1)
            is_plain = bool((bits == bits[:, :1]).all())
            _checks.require(is_plain, "program", "constant volumes of one value", got)


def source(program: Program, name: str, *, main: bool) -> tuple[str, str]:
    """Write the declarations of the header and the definitions of the source.

    Args:
        program: a program of volumes that passes `check_program` and `check`.
        name: prefix of the functions.
        main: True to add a program for volumes whose slices are PBM images.

    Returns:
        `(declarations, definitions)`.
    """
    ops, last = program.ops, program.ops[-1]
    plan = _plan(program)
    helpers: dict[str, str] = {}
    if plan.frames:
        helpers["windows"] = fill(WINDOWS, **_SLICES)
        helpers["slices"] = text.SLICE_OF.strip("\n")
    parts, calls, slots = [], [], 0
    for number, op in enumerate(ops):
        delay = plan.behind[number]
        if number == 0 and 0 not in plan.place_of and op is not last:
            continue  # it is read where the caller has it
        writes = "out" if op is last else _slice(program, plan, number, delay)
        if number in plan.frames:
            # A slice of the input comes in as soon as it is there, before it is in the middle.
            source, taken = op.inputs[0], plan.behind[op.inputs[0]]
            defined, used = _spatial(op, number, plan.frames[number], (taken, delay), slots)
            called = [f"    op{number}({_slice(program, plan, source, taken)}, {writes}, &s);"]
            slots += used
        else:
            reads = [_slice(program, plan, i, delay) for i in op.inputs]
            counts = [ops[i].shape[0] for i in op.inputs]
            defined, called = _pixels.on_pixels(op, number, reads, counts, writes, helpers)
            called = [f"    if (has(&s, {delay})) {{", *(f"    {one}" for one in called), "    }"]
        calls += [f"    /* op {number}: {op.kind}, {delay} slices behind */", *called]
        parts += [f"{_text.noted(number, op)}\n{defined}"] if defined else []
    names = _names(program, name, plan, slots) | {
        "calls": "\n".join(_text.unused(calls) + calls),
        "stdio": _text.STDIO.lstrip("\n") if main else "",
    }
    inner = _tables.with_index_type(program, [*helpers.values(), *parts])
    body = [fill(text.PRELUDE, **names), *inner]
    body += [fill(part, **names) for part in (images.PACK, text.STEP, text.APPLY)]
    if main:
        ending = ends.READ, ends.READ_PBM, ends.WRITE_PBM, text.FILTER, ends.MAIN
        body += [fill(part, **names) for part in ending]
    return fill(text.HEADER, **names), "\n\n".join(body)


def usage(program: Program, name: str) -> str:
    """Describe how to use the program that `main` adds."""
    planes = (program.ops[0].shape[0], program.ops[-1].shape[0])
    inner = "one PBM image" if planes[0] == 1 else f"{planes[0]} PBM images"
    outer = "one" if planes[1] == 1 else f"{planes[1]}"
    return (
        f"The program reads a volume from stdin: for each slice {inner} (P4 or P1), one after the "
        f"other, all of one size. It writes {outer} for each slice of the result (P4), as soon as "
        "the slices that it depends on are there. A voxel that is set is black in a PBM image:\n"
        f"    cc -O3 {name}.c -o {name} && cat slice_*.pbm | ./{name} > result.pbm"
    )


def _frame(op: Op) -> _Frame:
    """Return how far the windows of a "spatial" op see."""
    windows = op.arrays["selem"]
    rows, columns = _tables.window_radius(op)
    slices = _tables.offsets(np.logical_or.reduce(windows))[:, 0]
    # The slice of the voxel itself is always among them: the nearest slice is then in the ring.
    before, after = int(-slices.min(initial=0)), int(slices.max(initial=0))
    frame = _Frame(before, after, rows, -(-columns // 64))
    sizes = (before + after + 1) * (2 * rows + 1), 64 * frame.margin + columns + 1
    expected = "windows of at most 65000 rows, in all their slices, and columns"
    _checks.require(max(sizes) < 2**16, "program", expected, windows.shape[1:])
    return frame


def _plan(program: Program) -> _Plan:
    """Return when each op runs, and where its slices are kept."""
    frames = {n: _frame(op) for n, op in enumerate(program.ops) if op.kind == "spatial"}
    behind: list[int] = []
    kept = [1] * len(program.ops)
    for number, op in enumerate(program.ops):
        delay = max((behind[i] for i in op.inputs), default=0)
        behind.append(delay + (frames[number].after if number in frames else 0))
        for i in op.inputs:
            kept[i] = max(kept[i], 1 + delay - behind[i])
    # The slices of the input and of the result are the caller's.
    place_of, planes = {}, 0
    for number, op in enumerate(program.ops[:-1]):
        if number > 0 or kept[0] > 1:
            place_of[number] = planes
            planes += op.shape[0] * kept[number]
    return _Plan(frames, behind, kept, place_of, planes)


def _slice(program: Program, plan: _Plan, number: int, delay: int) -> str:
    """Write the pointer to the slice of the result of an op that is so many slices behind."""
    if number not in plan.place_of:
        return "in"
    place, kept = plan.place_of[number], plan.kept[number]
    if kept == 1:
        return f"workspace + {place} * words"
    planes = program.ops[number].shape[0]
    return f"workspace + ({place} + (number - {delay}) % {kept} * {planes}) * words"


def _names(program: Program, name: str, plan: _Plan, slots: int) -> dict[str, object]:
    """Return what the templates name; `slots` is the number of planes with a frame."""
    planes_in, planes_out = program.ops[0].shape[0], program.ops[-1].shape[0]
    frames = plan.frames.values()
    return {
        "name": name,
        "NAME": name.upper(),
        "planes_in": planes_in,
        "planes_out": planes_out,
        "delay": plan.behind[-1],
        "planes": plan.planes,
        "slots": slots,
        "most": 2 * (planes_in + planes_out) + plan.planes + slots + 7,
        # All planes with a frame have the size of the largest one.
        "rows": max((frame.rows for frame in frames), default=0),
        "margin": max((frame.margin for frame in frames), default=0),
        "restrict": _text.RESTRICT.strip("\n"),
        # Of the program around the network.
        "binary": _text.BINARY.strip("\n"),
        "kind": "PBM",
        "header": "width and height",
        "group": "slice",
        "same": "the slices of a volume",
    }


def _spatial(
    op: Op, number: int, frame: _Frame, delays: tuple[int, int], place: int
) -> tuple[str, int]:
    """Return the tables and the function of a "spatial" op, and the planes of its rings.

    Args:
        op: the op.
        number: its number.
        frame: how far its windows see.
        delays: how many slices its input and its result are behind the input of the network.
        place: planes with a frame that lie before its own.

    Returns:
        `(definitions, planes)`.
    """
    side, rows = frame.before + frame.after + 1, 2 * frame.rows + 1
    slices, lines, _ = op.arrays["selem"].shape[1:]
    seen = (
        slice(slices // 2 - frame.before, slices // 2 + frame.after + 1),
        slice(lines // 2 - frame.rows, lines // 2 + frame.rows + 1),
    )
    rings: dict[tuple[int, int], int] = {}  # plane and erosion: number of the ring
    codes, windows = [], []
    for o in _tables.spatial_order(op):
        # The slices one below the other are an image; its rows are counted from the first one.
        image = op.arrays["selem"][(o, *seen)].reshape(side * rows, -1)
        groups = _tables.groups(image, side * rows // 2, 64 * frame.margin)
        code = [part for group in groups for part in group]
        erosion, complement = (int(op.arrays[key][o]) for key in ("erosion", "complement"))
        ring = rings.setdefault((int(op.arrays["source"][o]), erosion), len(rings))
        windows.append((ring, o, erosion ^ complement, len(groups), len(code)))
        codes += code
    name, border = f"op{number}", op.options["border"]
    # Beyond the volume are zeros, or what decides nothing: zeros in a dilation (of complements).
    table = [(*ring, int(border == "constant") * ring[1]) for ring in rings]
    tables = [
        _text.constant_table("uint16_t", f"{name}_code", np.array(codes, int)),
        _text.constant_table("uint32_t", f"{name}_rings", np.array(table)),
        _text.constant_table("uint32_t", f"{name}_windows", np.array(windows)),
    ]
    names = {"n": number, "count": len(windows), "rings": len(rings), "place": place}
    names |= {"before": frame.before, "side": side, "rows": frame.rows, "margin": frame.margin}
    names |= {"taken": delays[0], "behind": delays[1], "nearest": int(border == "replicate")}
    return "\n\n".join([*tables, fill(text.SPATIAL, **names)]), len(rings) * side
