"""C as text: names, tables, comments, the header file, and the places of results in memory.

Nothing here depends on the layout of words; `_batch` and `_pixels` do.
"""

import math
import re
import textwrap
from collections.abc import Callable, Sequence
from string import Template

import numpy as np

from morphax import _checks
from morphax._version import __version__
from morphax.program import Op, Program
from morphax.program.cost import vote_operations

UNROLLED = 256
"""Ops that read at most this many planes or window pixels are written as lines of C, not tables."""

# Of C99, C11 and C23, and of C++, whose compilers may read the header.
_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
char32_t class co_await co_return co_yield compl complex concept const const_cast consteval
constexpr constinit continue decltype default delete do double dynamic_cast else enum explicit
export extern false float for friend goto if imaginary inline int long mutable namespace new
noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast
requires restrict return short signed sizeof static static_assert static_cast struct switch template
this thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using
virtual void volatile wchar_t while xor xor_eq
"""


def checked_name(name: str) -> str:
    """Check that the functions and files of a model can begin with a name, and return it.

    Raises:
        ValueError: if they cannot.

    Example:
        >>> checked_name("digits")
        'digits'
    """
    legal = isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,39}", name)
    expected = "a C identifier of at most 40 letters, digits and _, a letter first"
    _checks.require(bool(legal), "name", expected, name)
    _checks.require(name not in _KEYWORDS.split(), "name", "no keyword of C or C++", name)
    return name


def fill(template: str, **names: object) -> str:
    """Fill in the `$names` of a C template.

    Example:
        >>> fill("x[$i] = 0;", i=3)
        'x[3] = 0;'
    """
    return Template(template.strip("\n")).substitute({k: str(v) for k, v in names.items()})


def comment(text: str) -> str:
    """Make text that comes from the user safe inside a C comment, such as a path of a params tree.

    Example:
        >>> comment("layers/0 */ #")
        'layers/0 _/ _'
    """
    # Neither */ nor a backslash at the end of a line may get into the comment.
    return re.sub(r"[^A-Za-z0-9 _.,:/()=|+-]", "_", text)[:120]


def constant_table(kind: str, name: str, values: np.ndarray) -> str:
    """Write a constant array of C, of one or two axes; an empty one gets a 0, as C needs an entry.

    Args:
        kind: type of the entries.
        name: name of the array.
        values: integers.

    Returns:
        The definition.

    Example:
        >>> print(constant_table("uint8_t", "bits", np.array([1, 0])))
        static const uint8_t bits[] = {
            1, 0
        };
    """
    rows = values.ndim == 2
    cells = ["{" + ", ".join(map(str, row)) + "}" if rows else str(row) for row in values.tolist()]
    # As many cells in a line as fit, each with its comma and blank.
    many = 94 // (max(map(len, cells), default=1) + 2) or 1
    lines = [", ".join(cells[i : i + many]) for i in range(0, len(cells), many)] or ["0"]
    size = f"[][{values.shape[1]}]" if rows else "[]"
    body = ",\n    ".join(lines)
    return f"static const {kind} {name}{size} = {{\n    {body}\n}};"


def joined(terms: Sequence[str], *, erosion: bool, complement: bool) -> str:
    """Write the intersection (`erosion`) or union of terms, complemented or not, as an expression.

    Example:
        >>> joined(["a", "b"], erosion=True, complement=True)
        '~(a & b)'
    """
    if not terms:
        # The empty intersection is 1 everywhere, the empty union 0.
        return "~(uint64_t)0" if erosion != complement else "0"
    text = (" & " if erosion else " | ").join(terms)
    if complement:
        return f"~({text})" if len(terms) > 1 else f"~{text}"
    return text


def statement(text: str, indent: int) -> str:
    """Wrap one statement to lines of at most about 100 characters."""
    return textwrap.fill(
        text,
        99,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4),
        break_long_words=False,
        break_on_hyphens=False,
    )


def unused(calls: Sequence[str]) -> list[str]:
    """Return statements that mark the unused arguments of a run function for the compiler.

    Args:
        calls: statements of the function.

    Returns:
        Statements to put before them.

    Example:
        >>> unused(["    op1(in, out);"])
        ['    (void)workspace;']
    """
    # A comment may hold the name of an argument without using it.
    code = " ".join(call for call in calls if not call.lstrip().startswith("/*"))
    return [
        f"    (void){name};" for name in ("in", "workspace") if not re.search(rf"\b{name}\b", code)
    ]


def places(program: Program, size: Callable[[Op], int]) -> tuple[dict[int, int], int]:
    """Place the result of each op in a workspace, where space is reused once it is free.

    Args:
        program: a program. Its first op lies in the caller's input, its last in the output.
        size: function from an op to the size of its result.

    Returns:
        `(places, total)`: place of each other op by its number; size of the workspace.
    """
    # A result may be overwritten once the last op that reads it has run.
    last_use = {i: n for n, op in enumerate(program.ops) for i in op.inputs}
    live: list[tuple[int, int, int]] = []  # place, end, number of the op
    place_of, total = {}, 0
    for number, op in enumerate(program.ops[1:-1], 1):
        # Results that this op or a later one reads are in the way; take the first gap between.
        live = sorted(entry for entry in live if last_use.get(entry[2], 0) >= number)
        place = 0
        for start, end, _ in live:
            if place + size(op) <= start:
                break
            place = max(place, end)
        place_of[number] = place
        live.append((place, place + size(op), number))
        total = max(total, place + size(op))
    return place_of, total


def work(op: Op) -> tuple[int, int]:
    """Count the bit operations of an op for one image, and the planes or pixels that it reads."""
    pixels = math.prod(op.shape[1:])
    if op.kind == "at_least":
        votes, cuts = op.arrays["votes"].tolist(), op.arrays["cuts"].tolist()
        groups = op.shape[0] // len(cuts)
        return sum(vote_operations(votes, cuts)) * groups * pixels, len(votes)
    if op.kind not in ("spatial", "combine"):
        return 0, 0
    arrays = op.arrays
    if op.kind == "spatial":
        sizes = arrays["selem"].reshape(op.shape[0], -1).sum(1)
    else:
        sizes = np.diff(arrays["offsets"])
    # A neuron that reads n planes joins them n - 1 times; a complement is one operation more.
    each = np.maximum(sizes - 1, 0).sum() + arrays["complement"].sum()
    return int(each) * pixels, int(sizes.sum())


def noted(number: int, op: Op) -> str:
    """Write the comment above the function of an op."""
    return textwrap.fill(f"/* {about(number, op)} */", 100, subsequent_indent="   ")


def about(number: int, op: Op) -> str:
    """Describe an op in one line, for a comment."""
    planes = op.shape[0]
    text = f"op {number}: {op.kind}, {planes} of {' x '.join(map(str, op.shape[1:]))}"
    if op.kind in ("spatial", "combine"):
        erosions = int(op.arrays["erosion"].sum())
        names = ("erosions", "dilations") if op.kind == "spatial" else ("intersections", "unions")
        text += (
            f": {erosions} {names[0]}, {planes - erosions} {names[1]}, "
            f"{int(op.arrays['complement'].sum())} complemented, |S| {work(op)[1] / planes:.1f} on "
            "average"
        )
    if op.kind == "at_least":
        votes, cuts = op.arrays["votes"], op.arrays["cuts"].tolist()
        text += f": {len(votes)} votes of {votes.min()} to {votes.max()}, cuts {cuts}"
    options = ", ".join(f"{key} {value}" for key, value in op.options.items())
    return comment(", ".join(part for part in (text, options, op.path) if part))


RESTRICT = """
/* C99 spells it `restrict`; C89 and C++ have it only as an extension, or not at all. */
#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 199901L
#define RESTRICT restrict
#elif defined(__GNUC__) || defined(_MSC_VER)
#define RESTRICT __restrict
#else
#define RESTRICT
#endif
"""
"""Promise to the compiler that arrays do not overlap, for every C and C++ compiler."""

STDIO = """
#include <stdio.h>
#include <stdlib.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif
"""

BINARY = """
#ifdef _WIN32
    _setmode(0, _O_BINARY);
    _setmode(1, _O_BINARY);
#endif
"""
"""Statements for `main`: Windows needs them to read and write bytes unchanged."""


def _wrapped(line: str) -> list[str]:
    """Wrap a line of the header's comment; an empty line stays."""
    indent = "  " if line.startswith("- ") else ""
    return textwrap.wrap(line, 96, subsequent_indent=indent) or [""]


def header(program: Program, name: str, layout: str, usage: str, declared: str) -> str:
    """Write the header file: a comment on the network, then the declarations.

    Args:
        program: the network.
        name: prefix of its functions.
        layout: layout of the words.
        usage: text on the program that `main` adds, or "".
        declared: declarations.

    Returns:
        The text.
    """
    operations = sum(work(op)[0] for op in program.ops)
    is_volume = program.axes == 3
    sizes = "(slices, rows, columns, channels)" if is_volume else "(height, width, channels)"
    lines = [
        f"{name}: a binary network, written by morphax {__version__}, layout {layout!r}.",
        "",
        f"Input {program.input_shape}, output {program.output_shape}: flat, or {sizes}. Windows "
        "are looked at as they are, not reflected.",
        f"{operations} operations on bits for {'a volume' if is_volume else 'an image'} of that "
        "size:",
        *(f"- {about(number, op)}" for number, op in enumerate(program.ops)),
        "",
        *_WORDS["volumes" if is_volume else layout],
        "Workspaces are the caller's: nothing is allocated, nothing is kept "
        f"{'outside of them' if is_volume else 'between calls'}, and calls on different workspaces "
        "may run at the same time.",
        *(["", *usage.split("\n")] if usage else []),
    ]
    # Wrap each line by itself, so that the items of the list stay apart.
    wrapped = [part for line in lines for part in _wrapped(line)]
    above = "\n".join(f" * {line}".rstrip() for line in wrapped)
    return fill(_HEADER, above=above, NAME=name.upper(), declared=declared) + "\n"


# The word layout, as the header explains it to the user.
_WORDS = {
    "batch": [
        "A word holds one pixel of 64 images. Word (plane * height + row) * width + column of a "
        "signal is an array of LANES words, the lanes; image i is bit i % 64 of lane i / 64. "
        "Counts are bit-sliced: plane class * COUNT_BITS + b holds bit b of the count.",
    ],
    "pixels": [
        "A word holds 64 pixels of a row, for images of any size: pixel x is bit x % 64 of word "
        "x / 64. A plane is height rows; planes (channels) lie one after the other.",
    ],
    "volumes": [
        "A word holds 64 voxels of a row, for volumes of any size: voxel x is bit x % 64 of word "
        "x / 64. A slice is one plane for each channel, a plane is height rows; planes lie one "
        "after the other. Volumes run through the network slice by slice, so that memory does not "
        "grow with their depth.",
    ],
}

_HEADER = """
/*
$above
 */
#ifndef ${NAME}_H
#define ${NAME}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

$declared

#ifdef __cplusplus
}
#endif

#endif
"""
