"""`morphax export`: an operator as C, Verilog, StableHLO, an archive, or Python."""

import argparse
import re
from pathlib import Path

from morphax import _checks
from morphax import export as formats
from morphax._version import __version__
from morphax.data.windows import named
from morphax.program.resize import resized
from morphax.recipes import MenuEntry, load_model, save_entry

# Formats that hold what is done to gray values, by the number of axes of the images.
_GRAY = {2: ("python", "c", "archive"), 3: ("python", "archive")}


def export(options: argparse.Namespace) -> int:
    """Write an operator in a format.

    Args:
        options: arguments of `morphax export`.

    Returns:
        0.

    Raises:
        ValueError: an operator on gray images in a format for bits, or a missing size.
        OSError: a file cannot be read or written.
    """
    entry = load_model(options.model, pick=options.pick)
    out, to = Path(options.out).expanduser(), options.to
    axes = entry.program.axes
    if entry.planes is not None and to not in _GRAY[axes]:
        *first, last = (f"--to {name}" for name in _GRAY[axes])
        raise ValueError(
            f"{options.model}: this operator reads gray {named(axes)}, and {to} takes "
            f"{named(axes)} of bits only; use {', '.join(first)} or {last}"
        )
    if to == "archive":
        save_entry(out, entry)
    elif to == "python":
        threshold = entry.options.get("input_threshold") if entry.planes is None else None
        formats.python(
            entry.program,
            out,
            planes=entry.planes,
            channels=entry.channels,
            threshold=threshold,
            about=_about(entry),
        )
    elif to == "c":
        name = re.sub(r"\W", "_", out.resolve().name, flags=re.ASCII)
        name = name if name[:1].isalpha() else f"operator_{name}"
        gray = {"planes": entry.planes, "channels": entry.channels}
        gray = gray if entry.planes is not None else {}
        formats.c(entry.program, out, name=name, layout="pixels", main=True, **gray)
    elif to == "verilog":
        height, width = _size(options.size, 2) or (None, None)
        formats.verilog_stream(entry.program, out, width=width, height=height)
    else:
        size = _size(options.size, axes)
        expected = f"{_letters(axes)}, such as --size {_example(axes)}"
        _checks.require(size is not None, "--size", expected, "none")
        formats.stablehlo_program(resized(entry.program, size or ()), out)
    print(f"Wrote {out}")
    if to == "c":
        print(
            "In the PBM images of this program, set pixels are black: invert white-on-black masks."
        )
    return 0


def _size(text: str | None, axes: int) -> tuple[int, ...] | None:
    """Return the numbers of a text such as "512x640", one for each axis."""
    if text is None:
        return None
    is_size = re.fullmatch(r"\d+(x\d+)*", text) is not None
    size = tuple(map(int, text.split("x"))) if is_size else (0,)
    fits = len(size) == axes and min(size) > 0
    _checks.require(fits, "--size", f"{_letters(axes)}, such as {_example(axes)}", text)
    return size


def _letters(axes: int) -> str:
    return "x".join("DHW"[3 - axes :])


def _example(axes: int) -> str:
    return "x".join(["64", "512", "512"][3 - axes :])


def _about(entry: MenuEntry) -> str:
    """Return the docstring of a Python file."""
    proof = "It was proved to equal the trained network." if bool(entry.certificate.exact) else ""
    lines = [
        f"Apply a learned operator: {entry.name}.",
        "",
        f"Wrong on {100 * entry.scores.error:.3g} % of the held-out pixels, F1 "
        f"{entry.scores.f1:.3f}. {proof}".rstrip(),
        f"Written by morphax {__version__}; it needs numpy and scipy alone.",
    ]
    return "\n".join(lines)
