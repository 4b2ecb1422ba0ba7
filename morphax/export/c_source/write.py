"""A binary network as C: one file and its header, C99, no allocation, for any compiler.

| layout | a word of 64 bits holds | for |
|---|---|---|
| "batch" | one pixel of 64 images | every network; classifiers |
| "pixels" | 64 pixels of a row | operators on images that keep their size; images of any size |

The comment at the top of the header documents the functions; nothing of morphax is needed to use it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from morphax import _checks, _files
from morphax.export.c_source import _batch, _pixels, _text
from morphax.program import Program, build, simplify
from morphax.program.validate import check_program

LAYOUTS = {"batch": _batch, "pixels": _pixels}


class CFiles(NamedTuple):
    """The two files of a network in C.

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
) -> CFiles:
    """Write a binary network as C: `name.c`, with tables and functions, and `name.h`.

    Args:
        program: of `morphax.program.build`, written as it is; or what `build` takes, (apply,
            binary_params, input_shape), which is simplified first in the batch layout. For the pixel
            layout, a program that was simplified holds for the size it was built for: where a window
            reads a constant plane, the frame of that size became part of the picture.
        path: folder to write the two files to; made if it is not there. None: nowhere.
        name: prefix of the files, functions and (in capitals) macros.
        layout: "batch" or "pixels", see the module.
        main: whether the source is a program as well: raw images in, labels or raw images out in the
            batch layout, PBM images in and out in the pixel layout.

    Returns:
        The texts.

    Raises:
        ValueError: `name` is not an identifier of C, an unknown layout, a program that makes no sense,
            or one that is not an operator on images of any size, for the pixel layout.
        OSError: a file cannot be written; what was there before is there again.

    Example:
        >>> from morphax.program import Op, Program
        >>> flip = Program((Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))), (2,), (2,))
        >>> "void flip_run(const uint64_t *in, uint64_t *out" in c(flip, name="flip").header
        True
    """
    _text.checked_name(name)
    _checks.one_of("layout", layout, LAYOUTS)
    if not isinstance(program, Program):
        program = build(*program)
        if layout == "batch":  # `simplify` computes constant planes for one size of images
            program = simplify(program)
    check_program(program)
    if layout == "pixels":
        _pixels.check(program)
    emit = LAYOUTS[layout]
    declared, defined = emit.source(program, name, main=main)
    usage = emit.usage(program, name) if main else ""
    files = CFiles(
        _text.header(program, name, layout, usage, declared),
        f"/* Written by morphax; {name}.h says what it is. */\n{defined}\n",
    )
    if path is not None:
        _write(Path(path), {f"{name}.h": files.header, f"{name}.c": files.source})
    return files


def _write(folder: Path, files: dict[str, str]) -> None:
    """All files of a folder or none: those written before one fails become what they were."""
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
            if old is None:
                target.unlink(missing_ok=True)
            else:
                _files.write(target, old)
        raise
