"""Entry of the Python source: `python` writes an operator as a file of named calls.

The file has one function, `operator(image)`, helper functions for the calls in it, and structuring
elements and patterns as pictures in rows of #, . and -; slices of volumes stand between bars.
"""

import os
import re
from collections import Counter
from typing import Any

import numpy as np

from morphax import _checks, _files
from morphax.data.gray_planes import UNIT, GrayPlanes
from morphax.export.python_source import _texts
from morphax.export.python_source.terms import Term, read_terms, terms_of
from morphax.program import Program
from morphax.program.resize import resized
from morphax.program.validate import check_images

_WIDTH = 96  # letters of a line
_NEEDS = {
    "erosion": ("FRAMED", "EROSION"),
    "dilation": ("FRAMED", "DILATION"),
    "opening": ("FRAMED", "EROSION", "DILATION", "OPENING"),
    "closing": ("FRAMED", "EROSION", "DILATION", "CLOSING"),
    "hit_or_miss": ("FRAMED", "EROSION", "DILATION", "HIT_OR_MISS"),
    "votes": ("VOTES",),
}
_ORDER = [
    *(
        "PATTERN",
        "PATTERN_OF_SLICES",
        "FRAMED",
        "EROSION",
        "DILATION",
        "OPENING",
        "CLOSING",
        "HIT_OR_MISS",
    ),
    *("UNION", "INTERSECTION", "VOTES", "GRAY_PLANES"),
]


def python(
    program: Program,
    path: str | os.PathLike[str] | None = None,
    *,
    planes: GrayPlanes | None = None,
    channels: int = 1,
    threshold: float | None = None,
    about: str = "Apply a binary morphological operator.",
) -> str:
    """Write an operator on images of any size as Python that needs numpy and scipy alone.

    Args:
        program: an operator whose planes all have the size of the image, with one plane of output;
            on images, or on volumes `(D, H, W)`.
        path: file to write, completely or not at all; None to write none.
        planes: how planes are made of gray images, such as the `planes` of a menu entry; None for
            bool images.
        channels: channels of an image; with several, `operator` reads `(H, W, C)`.
        threshold: least level that is set of images that are not bool; None refuses them. Not with
            `planes`.
        about: docstring of the file; the first line should be a sentence.

    Returns:
        The text of the file.

    Raises:
        ValueError: the program is no such operator.
        OSError: the file cannot be written; an existing file is not changed.

    Example:
        >>> from morphax.program import Op
        >>> ops = Op("input", (), (1, 4, 4)), Op("complement", (0,), (1, 4, 4))
        >>> names = {}
        >>> exec(python(Program(ops, (4, 4, 1), (4, 4, 1))), names)
        >>> names["operator"](np.array([[True, False]])).tolist()
        [[False, True]]
    """
    axes = program.axes
    if axes == 1:
        check_images(program, "Python")  # refuses rows
    resized(program, (1,) * axes)
    outputs = program.output_shape[-1] if len(program.output_shape) == axes + 1 else 0
    _checks.require(outputs == 1, "program", "one plane of output", program.output_shape)
    both = planes is not None and threshold is not None
    _checks.require(not both, "threshold", "None with planes", threshold)
    terms, (output,) = terms_of(program)
    body = _Body(terms, output, program.input_shape[-1] > 1)
    quotes = about.replace("\\", "\\\\").replace('"""', "'''")
    needs = body.needs | ({"GRAY_PLANES"} if planes is not None else set())
    helpers = [getattr(_texts, name) for name in _ORDER if name in needs]
    constants = _gray_constants(planes)
    if "FRAMED" in needs:
        constants.append(f'BORDER = "{body.border}"  # beyond the frame: {_BORDERS[body.border]}')
    scipy = "FRAMED" in needs or planes is not None
    parts = [f'"""{quotes}\n"""\n' if "\n" in quotes else f'"""{quotes}"""\n']
    parts.append("import numpy as np\n" + ("from scipy import ndimage\n" if scipy else ""))
    parts += ["\n".join(constants) + "\n"] if constants else []
    parts += [f"{text}\n" for text in helpers]
    parts += ["\n" + "\n".join(body.pictures()) + "\n"] if body.names else []
    parts.append(_operator(body, planes, channels, threshold, axes))
    text = re.sub("\n{4,}", "\n\n\n", "\n".join(parts))
    if path is not None:
        _files.write(path, text.encode())
    return text


_BORDERS = {
    "ignore": "1 for erosions, 0 for dilations",
    "constant": "0",
    "replicate": "the nearest pixel",
}


class _Body:
    """Write the terms that an output needs as statements, and name their pictures."""

    def __init__(self, terms: list[Term], output: int, several: bool) -> None:
        self.terms, self.several = terms, several
        self.names: dict[str, str] = {}  # of the pictures
        self.needs: set[str] = set()
        self.used: set[int] = set()
        reads = Counter()  # how often each term is read
        waiting = [output]
        while waiting:
            number = waiting.pop()
            if number not in self.used:
                self.used.add(number)
                below = read_terms(terms[number])
                reads.update(below)
                waiting += below
        windows = [terms[n] for n in self.used if terms[n][0] in _NEEDS]
        borders = Counter(term[-1] for term in windows if term[0] != "votes")
        self.border = borders.most_common(1)[0][0] if borders else "constant"
        self.lines: list[str] = []
        self._variables: dict[int, str] = {}
        # Terms come after those that they read.
        for number in sorted(self.used):
            shared = reads[number] > 1 or terms[number][0] == "votes"
            if shared and terms[number][0] not in ("input", "constant"):
                name = f"{'total' if terms[number][0] == 'votes' else 'a'}{len(self._variables)}"
                self.lines += _laid_out(f"{name} = ", self._text(number))
                self._variables[number] = name
        self.lines += _laid_out("return ", self._text(output))

    def _text(self, number: int) -> Any:
        """Return a term as text, or as (name of a function, arguments)."""
        if number in self._variables:
            return self._variables[number]
        kind, *values = self.terms[number]
        self.needs.update(_NEEDS.get(kind, ()))
        if kind == "input":
            return f"x[{values[0]}]" if self.several else "x"
        if kind == "constant":
            first = "x[0]" if self.several else "x"
            return f"np.full({first}.shape, {values[0]})"
        if kind == "not":
            return ("~", [self._text(values[0])])
        if kind in ("and", "or"):
            name = {"and": "intersection", "or": "union"}[kind]
            self.needs.add(name.upper())
            return (name, [self._text(value) for value in values])
        if kind == "votes":
            return ("votes", [("", [str(vote), self._text(term)]) for vote, term in values])
        if kind == "reach":
            return f"{self._text(values[0])} >= {values[1]}"
        *pictures, border = values[1:]
        words = [self._text(values[0]), self._picture(*pictures)]
        return (kind, words if border == self.border else [*words, f'"{border}"'])

    def _picture(self, on: Any, off: Any = None) -> str:
        """Return the name of a structuring element, or of a pattern."""
        letters = np.where(np.array(on), "#", "-")
        letters = letters if off is None else np.where(np.array(off), ".", letters)
        flat = letters.ndim == 2
        slices = [
            " ".join("".join(row) for row in rows)
            for rows in letters.reshape(-1, *letters.shape[-2:])
        ]
        rows, kind = " | ".join(slices), "E" if off is None else "H"
        self.needs.add("PATTERN" if flat else "PATTERN_OF_SLICES")
        return self.names.setdefault(rows, f"{kind}{len(self.names) + 1}")

    def pictures(self) -> list[str]:
        """Return the definitions of the pictures."""
        lines = []
        for rows, name in self.names.items():
            if len(rows) + 20 <= _WIDTH:
                lines.append(f'{name} = pattern("{rows}")')
            else:
                inner = "\n".join(f"    {row}" for row in rows.split())
                lines.append(f'{name} = pattern("""\n{inner}\n""")')
        return lines


def _flat(text: Any) -> str:
    """Return a text on one line."""
    if isinstance(text, str):
        return text
    name, words = text
    inner = ", ".join(map(_flat, words))
    if name == "~":
        return f"~({inner})" if " " in inner and not inner.endswith(")") else f"~{inner}"
    return f"{name}({inner})"


def _laid_out(start: str, text: Any, indent: str = "    ", end: str = "") -> list[str]:
    """Return a statement as lines, broken between arguments where it is too long."""
    line = indent + start + _flat(text) + end
    if isinstance(text, str) or len(line) <= _WIDTH:
        return [line]
    name, words = text
    if name == "~":
        return _laid_out(f"{start}~", words[0], indent, end)
    lines = [f"{indent}{start}{name}("]
    for word in words:
        lines += _laid_out("", word, indent + "    ", ",")
    return [*lines, f"{indent}){end}"]


def _gray_constants(planes: GrayPlanes | None) -> list[str]:
    """Return the numbers of the gray planes as assignments."""
    if planes is None:
        return []
    values = {
        "SHARES": (tuple(map(float, planes.shares)), "quantiles"),
        "OFFSETS": (tuple(map(int, planes.offsets)), "gray levels from the local mean"),
        "CONTRASTS": (tuple(map(int, planes.contrasts)), f"{UNIT}ths of the local spread"),
        "OFFSET_SIDE": (int(planes.offset_side), "of the windows, in pixels"),
        "CONTRAST_SIDE": (int(planes.contrast_side), "of the windows, in pixels"),
    }
    return [f"{name} = {value}  # {text}" for name, (value, text) in values.items()]


def _operator(
    body: _Body, planes: GrayPlanes | None, channels: int, threshold: float | None, axes: int
) -> str:
    """Return the function `operator`."""
    size, noun = ("H, W", "an image") if axes == 2 else ("D, H, W", "a volume")
    shape = f"({size})" if channels == 1 else f"({size}, {channels})"
    kind = "whole numbers" if planes is not None else "bool"
    lines = ["\ndef operator(image):"]
    if threshold is not None:
        kind = f"bool, or gray levels, of which {threshold:g} and more are set"
    lines.append(f'    """Return the answer, bool ({size}), for {noun} {shape}: {kind}."""')
    lines.append("    image = np.asarray(image)")
    if channels == 1:
        lines += _refusal(f"image.ndim != {axes}", f'f"expected ({size}), got {{image.shape}}"')
    if planes is not None:
        wrong = 'f"expected whole numbers, got {image.dtype}"'
        lines += _refusal('image.dtype.kind not in "ui"', wrong)
        many = "[p for c in np.moveaxis(image, -1, 0) for p in gray_planes(c)]"
        lines.append(f"    x = {'gray_planes(image)' if channels == 1 else many}")
        lines += [] if body.several else ["    x = x[0]"]
        return "\n".join([*lines, *body.lines]) + "\n"
    if threshold is not None:
        lines.append(f"    image = image if image.dtype == bool else image >= {threshold:g}")
    else:
        lines += _refusal("image.dtype != bool", '"expected bool, such as image > 127"')
    lines.append("    x = image" if channels == 1 else "    x = np.moveaxis(image, -1, 0)")
    return "\n".join([*lines, *body.lines]) + "\n"


def _refusal(condition: str, message: str) -> list[str]:
    """Return the lines that refuse an image."""
    return [f"    if {condition}:", f"        raise ValueError({message})"]
