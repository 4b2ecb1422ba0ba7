"""Text of expressions, without ambiguity, for `morphax.explain`.

- A prefix ("opening by disk(5) of x", "not x") applies to everything up to the next ∪ or ∩. "of x"
  is left out if x is the only input.
- "at least 2 of (a, b, c)" is 1 where two of the parts are, or more; "at least 3 votes of (a: 2, b:
  2, c)" is 1 where the votes of the parts that are 1 (2 for a and for b, 1 for c) are 3 or more.
- A part that is used several times is written once and called a, b, ...
- Elements without a name are called S1, S2, ..., those of a hit-or-miss H1, ..., and constant
  images P1, ...; their pictures are drawn below. In them # is a hit, o a miss and . neither; at the
  origin these are @, O and +.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from morphax.explain.describe import SUM, name_selem, nearly
from morphax.explain.expression import BY, UNNAMED, Expression

_WORTH_A_LETTER = 4  # words of an expression that is written once and then called by a letter
_PREFIXES = (*BY, "not", "count", "union pool", "intersection pool")


@dataclass(frozen=True)
class Words:
    """Hold the names that expressions are written with.

    Attributes:
        names: names of the inputs.
        border: border that is not mentioned.
        elide: True to leave out "of x".
        letters: id of an expression -> its letter.
        pictures: picture of an element without a name -> its name; grows while writing.
        notes: remarks on these elements; grows while writing.
    """

    names: Sequence[str]
    border: str = "ignore"
    elide: bool = False
    letters: dict[int, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def quantity(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1.

    Args:
        number: the number.
        noun: a noun whose plural ends in "s".

    Returns:
        The text.

    Example:
        >>> quantity(1, "plane"), quantity(2, "plane")
        ('1 plane', '2 planes')
    """
    return f"{number} {noun}" + "s" * (number != 1)


def shared(outputs: Sequence[Expression]) -> list[Expression]:
    """Find long expressions that occur more than once.

    Args:
        outputs: expressions to look into.

    Returns:
        The parts that should get a letter, inner ones first.

    Example:
        >>> x = Expression("input", detail=0)
        >>> long = Expression("opening", (x,), np.ones((3, 3), bool), words=4)
        >>> [e.kind for e in shared([Expression("not", (long,)), Expression("union", (long, x))])]
        ['opening']
    """
    uses: dict[int, int] = {}
    order: list[Expression] = []

    def visit(expression: Expression) -> None:
        while expression.kind == "not":  # "not a" needs no letter of its own
            expression = expression.args[0]
        uses[id(expression)] = uses.get(id(expression), 0) + 1
        if uses[id(expression)] == 1:
            for arg in expression.args:
                visit(arg)
            order.append(expression)

    for output in outputs:
        visit(output)
    return [e for e in order if uses[id(e)] > 1 and e.words >= _WORTH_A_LETTER]


def letters(expressions: Sequence[Expression], *, taken: Sequence[str]) -> dict[int, str]:
    """Choose a letter for each expression: a to h, then a2, b2, ...

    Args:
        expressions: expressions that get a letter.
        taken: names that are not free, such as those of inputs and outputs.

    Returns:
        id of an expression -> its letter.

    Example:
        >>> list(letters([Expression("input"), Expression("input")], taken=["a"]).values())
        ['b', 'c']
    """
    numbers = ("", *map(str, range(2, len(expressions) + len(taken) + 2)))
    free = iter([c + n for n in numbers for c in "abcdefgh" if c + n not in taken])
    return {id(expression): next(free) for expression in expressions}


def write(expression: Expression, words: Words, *, whole: bool = False) -> str:
    """Write an expression as text, in one line.

    Args:
        expression: the expression.
        words: names to use; its pictures and notes may grow.
        whole: True to write it out even if it has a letter.

    Returns:
        Text such as "x ∩ not opening by disk(5)".

    Example:
        >>> inner = Expression("not", (Expression("input", detail=0),))
        >>> print(write(Expression("erosion", (inner,), np.ones((3, 3), bool)), Words("x")))
        erosion by square(3) of not x
    """
    kind, args = expression.kind, expression.args
    if id(expression) in words.letters and not whole:
        return words.letters[id(expression)]
    if kind == "input":
        return str(words.names[expression.detail])
    if kind == "constant":
        return "everything" if expression.detail else "nothing"
    if kind == "count":
        votes, cut = expression.detail
        parts = [
            _bracketed(arg, words, _PREFIXES) + f": {vote}" * (vote != 1)
            for arg, vote in zip(args, votes, strict=True)
        ]
        noun = "votes of" if max(votes) > 1 else "of"
        return f"at least {cut} {noun} ({', '.join(parts)})"
    if kind == "bits":
        return _picture(expression.detail.astype(np.int8), "P", words)
    if kind in ("union", "intersection"):
        sign = " ∪ " if kind == "union" else " ∩ "
        return sign.join(_bracketed(arg, words, _PREFIXES) for arg in args)
    if kind == "pixel":
        return f"{_bracketed(args[0], words, ())}[{', '.join(map(str, expression.detail))}]"
    if kind == "shift":
        *offset, entering = expression.detail
        usual = "nearest" if words.border == "replicate" else 0
        note = {0: ", 0s entering", 1: ", 1s entering", "nearest": ", edges repeated"}[entering]
        moved = f"{_bracketed(args[0], words, ())} shifted by ({', '.join(map(str, offset))})"
        return moved + note * (entering != usual)
    prefix = "not" if kind == "not" else _prefix(expression, words)
    if kind != "not" and words.elide and args[0].kind == "input":
        return prefix
    of = "" if kind == "not" else " of"
    return f"{prefix}{of} {_bracketed(args[0], words, _PREFIXES)}"


def _bracketed(arg: Expression, words: Words, bare: Sequence[str]) -> str:
    """Write a part of an expression, in brackets unless it is a name or its kind is in `bare`."""
    is_name = arg.kind in ("input", "constant", "bits", "pixel") or id(arg) in words.letters
    text = write(arg, words)
    return text if is_name or arg.kind in bare else f"({text})"


def _prefix(expression: Expression, words: Words) -> str:
    """Write an operator or pool without its argument."""
    if expression.element is None:
        (window, strides), kind = expression.detail, expression.kind.removesuffix(" pool")
        size, steps = (" x ".join(map(str, pair)) for pair in (window, strides))
        over = f"{size} blocks" if size == steps else f"{size} windows every {steps}"
        return f"{kind} over {over}"
    note = f" (border {expression.border})" if expression.border != words.border else ""
    return f"{expression.kind} by {element_name(expression.element, words)}{note}"


def element_name(element: np.ndarray, words: Words) -> str:
    """Return the name of an element, in brackets if it has several words, or its letter.

    Args:
        element: as in `Expression`.
        words: names in use; its pictures and notes may grow.

    Returns:
        Text such as "disk(5)", "(disk(5) shifted by (1, 0))" or "S1".

    Example:
        >>> element_name(np.ones((3, 3), bool), Words("x"))
        'square(3)'
    """
    if element.dtype != bool:
        return _picture(element, "H", words)
    name = name_selem(element)
    if name.startswith(UNNAMED):
        before, letter = len(words.pictures), _picture(element.astype(np.int8), "S", words)
        # Say once, when its picture is new, which named element it is close to.
        near = nearly(element) if len(words.pictures) > before else None
        if near:
            words.notes.append(f"{letter} is {near[0]} but for {quantity(near[1], 'pixel')}")
        return letter
    return f"({name})" if " shifted " in name or SUM in name else name


def _picture(picture: np.ndarray, letter: str, words: Words) -> str:
    """Return the name of a picture, such as S1; a new picture gets the next free number."""
    text = draw(picture, origin=letter != "P")
    if text not in words.pictures:
        taken = {*words.names, *words.pictures.values()}
        names = (f"{letter}{i}" for i in range(1, len(taken) + 2))
        words.pictures[text] = next(name for name in names if name not in taken)
    return words.pictures[text]


def draw(element: np.ndarray, *, origin: bool = True) -> str:
    """Draw an element as text: # a pixel (a hit), o a miss, . neither; @, O and + at the origin.

    Args:
        element: bool, or integers 1 (a hit), -1 (a miss) and 0, `(kh, kw)`; the slices of one of
            three axes are drawn side by side, the first one at the left.
        origin: True to mark the pixel at the centre.

    Returns:
        A line of text for each row.

    Example:
        >>> print(draw(np.array([[0, 1, 0], [1, 1, 1], [0, 0, -1]])))
        . # .
        # @ #
        . . o
    """
    element = np.atleast_2d(np.asarray(element))
    if element.ndim == 3:
        middle = len(element) // 2
        slices = [draw(part, origin=origin and z == middle) for z, part in enumerate(element)]
        lines = zip(*(part.splitlines() for part in slices), strict=True)
        return "\n".join(" | ".join(line) for line in lines)
    rows = [["o.#"[int(value) + 1] for value in row] for row in element]
    if origin:
        y, x = len(rows) // 2, len(rows[0]) // 2
        rows[y][x] = {"#": "@", "o": "O", ".": "+"}[rows[y][x]]
    return "\n".join(" ".join(row) for row in rows)


def gallery(pictures: Mapping[str, str], *, width: int = 96) -> list[str]:
    """Arrange pictures with their names above, side by side where there is room.

    Args:
        pictures: picture -> its name, as in `Words`.
        width: greatest number of characters of a line.

    Returns:
        Lines of text, with an empty one before each row of pictures.

    Example:
        >>> gallery({"# @": "S1", "@ #": "S2"})
        ['', 'S1:   S2:', '# @   @ #']
    """
    # Each picture is a block of lines of equal length; a row holds as many as the width allows.
    rows: list[list[list[str]]] = [[]]
    for picture, name in pictures.items():
        block = [f"{name}:", *picture.splitlines()]
        side = max(map(len, block))
        block = [line.ljust(side) for line in block]
        if rows[-1] and sum(len(other[0]) + 3 for other in rows[-1]) + side > width:
            rows.append([])
        rows[-1].append(block)
    lines = []
    for row in filter(None, rows):
        spread = zip_longest(*row)
        blank = [" " * len(block[0]) for block in row]
        lines.append("")
        for parts in spread:
            cells = [part or empty for part, empty in zip(parts, blank, strict=True)]
            lines.append("   ".join(cells).rstrip())
    return lines
