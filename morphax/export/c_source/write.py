"""Entry of the C export: one source file and its header, whose functions allocate nothing.

| layout | a word of 64 bits holds | for |
|---|---|---|
| "batch" | one pixel of 64 images | all networks; classifiers |
| "pixels" | 64 pixels of a row | operators that keep the size of images or volumes, of any size |

In the pixel layout, `..._run` works on words, `..._apply` from bytes to bytes, which is faster than
to pack, run and unpack. Operators on volumes have this layout, too; they run slice by slice, and
`..._step` works on a stream of slices. Rows are images of height 1. The comment at the top of the
header documents the functions. Using the files needs no morphax.
Compilers for C99 and later, for C++, and for C89 with `stdint.h` accept both.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from morphax import _checks, _files
from morphax.data.gray_planes import GrayPlanes
from morphax.export.c_source import _batch, _batch_reads, _gray, _pixels, _text, _volumes
from morphax.program import Program, build, simplify
from morphax.program.resize import rows_as_images
from morphax.program.validate import check_program

LAYOUTS = {"batch": _batch, "pixels": _pixels}


class CFiles(NamedTuple):
    """Hold the two files of a network in C.

    Attributes:
        header: text of `name.h`.
        source: text of `name.c`.
    """

    header: str
    source: str


def c(
    program: Program | tuple[Callable[[Any, Any], Any], Any, tuple[int, ...]],
    path: str | os.PathLike[str] | None = None,
    *,
    name: str = "model",
    layout: str = "batch",
    main: bool = False,
    planes: GrayPlanes | None = None,
    channels: int = 1,
) -> CFiles:
    """Write a binary network as C: `name.c`, with tables and functions, and `name.h`.

    Args:
        program: a program, such as `morphax.program.build` returns, which is written as it is; or
            the arguments of `build`, (apply, binary_params, input_shape). Then the batch layout
            simplifies the program first. Programs of volumes need the pixel layout; the batch
            layout takes images and rows. Simplify a program for the pixel layout with
            `any_size=True`, if it should run on other sizes than that it was built for.
        path: folder to write the two files to, created if it does not exist; None to write none.
        name: prefix of the files, functions and (in capitals) macros.
        layout: "batch" or "pixels"; the module docstring defines them.
        main: True to add a `main` function. In the batch layout it reads raw images and writes
            labels or raw images; in the pixel layout it reads and writes PBM images, which are the
            slices of a volume in a program of volumes, or reads PGM images where `planes` are
            given.
        planes: how planes are made of gray images, such as the `planes` of a menu entry; None for
            an input of bits. In the pixel layout only.
        channels: channels of a gray image.

    Returns:
        The texts of the two files.

    Raises:
        ValueError: if `name` is no identifier of C, the layout is unknown, the program cannot run,
            or, for the pixel layout, it is no operator on images or volumes of any size; it is one
            of volumes in the batch layout; or `planes` are not those that the program reads.
        OSError: if a file cannot be written; existing files are restored.

    Example:
        >>> from morphax.program import Op, Program
        >>> ops = Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))
        >>> files = c(Program(ops, (2,), (2,)), name="flip")
        >>> "void flip_run(const uint64_t *in, uint64_t *out" in files.header
        True
    """
    _text.checked_name(name)
    _checks.one_of("layout", layout, LAYOUTS)
    if not isinstance(program, Program):
        program = build(*program)
        if layout == "batch":  # in the pixel layout, copies of planes cost what this would save
            program = simplify(program)
    check_program(program)
    program = rows_as_images(program)
    emit, gray = LAYOUTS[layout], {}
    if program.axes == 3:
        _checks.require(layout == "pixels", "layout", "'pixels' for a program of volumes", layout)
        _checks.require(planes is None, "planes", "None for a program of volumes", planes)
        emit = _volumes
    if layout == "pixels":
        emit.check(program)
    else:
        program = _batch_reads.without_selects(program)
    if planes is not None:
        _gray.check(program, planes, channels, layout)
        gray = {"planes": planes, "channels": channels}
    declared, defined = emit.source(program, name, main=main, **gray)
    # Only `main` makes a program, so only then does the header say how to use one.
    usage = emit.usage(program, name) if main else ""
    usage = _pixels.usage_gray(program, name, channels) if main and gray else usage
    files = CFiles(
        _text.header(program, name, layout, usage, declared),
        f"/* Written by morphax; {name}.h says what it is. */\n{defined}\n",
    )
    if path is not None:
        _write(Path(path), {f"{name}.h": files.header, f"{name}.c": files.source})
    return files


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write all files of a folder or none: if one fails, restore those written before."""
    folder.mkdir(parents=True, exist_ok=True)
    before: dict[Path, bytes | None] = {}
    try:
        for name, content in files.items():
            target = folder / name
            old = target.read_bytes() if target.is_file() else None
            _files.write(target, content.encode("ascii"))
            before[target] = old
    except BaseException:
        for target, old in before.items():
            # A file that did not exist before is removed, others get their old content.
            if old is None:
                target.unlink(missing_ok=True)
            else:
                _files.write(target, old)
        raise
