"""Expressions of morphology: the shortest way to express a term.

`morphax.explain._terms` has rules for half of the operations and complements for the others. Here
each term is expressed in the shorter of two ways, directly or as the complement of its complement;
top-hats and hit-or-miss transforms are recognised. `morphax.explain.wording` writes expressions as
text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from morphax.explain._sets import Set, box, origin, reflect
from morphax.explain._terms import Terms, opposite
from morphax.explain.describe import SUM, name_selem

BY = ("dilation", "erosion", "opening", "closing", "white top-hat", "black top-hat", "hit-or-miss")
"""Kinds of expressions that have a structuring element: the operators of `morphax.operators`."""
UNNAMED = "a set of "
"""Beginning of the text of `name_selem` for a set without a name."""
# Operator -> its steps, in order: "d" a dilation, "e" an erosion.
_STEPS = {
    "dilation": "d",
    "erosion": "e",
    "opening": "ed",
    "closing": "de",
    "white top-hat": "ed",
    "black top-hat": "de",
}
# Border -> value beyond the frame, by step.
_BEYOND = {
    "ignore": {"d": 0, "e": 1},
    "constant": {"d": 0, "e": 0},
    "replicate": {"d": "nearest", "e": "nearest"},
}
# Border -> value beyond the frame of a hit-or-miss: for the image, and for its complement.
_HIT_AND_MISS = {"ignore": (1, 1), "constant": (0, 1), "replicate": ("nearest", "nearest")}


@dataclass(frozen=True, eq=False)
class Expression:
    """Hold an expression of morphology as a tree; a part that is used twice is one object.

    Attributes:
        kind: one of `BY`, "input", "not", "union", "intersection", "count", "shift", "union pool",
            "intersection pool", "pixel", "constant" or "bits".
        args: the expressions that it is made of.
        element: textbook structuring element, bool `(kh, kw)`; for a hit-or-miss int8, 1 for hits
            and -1 for misses; None for kinds that have none.
        detail: "input": the channel. "count": (votes of the args, least sum). "shift": (rows,
            columns, value that enters). Pools: (window, strides). "pixel": (row, column).
            "constant": True for 1. "bits": the image.
        border: border of an operator, as in `morphax.operators`.
        words: approximate number of words of its text.
    """

    kind: str
    args: tuple["Expression", ...] = ()
    element: np.ndarray | None = None
    detail: Any = None
    border: str = "ignore"
    words: float = 1


def say(terms: Terms, outputs: Sequence[int], *, border: str = "ignore") -> list[Expression]:
    """Express terms, each in the shortest way.

    Args:
        terms: table of terms.
        outputs: numbers of the terms to express.
        border: border that operators get where any border would do.

    Returns:
        An expression for each output.

    Example:
        >>> terms = Terms()
        >>> x, line = terms.make("input", (0, False)), frozenset({(0, 0), (0, 1)})
        >>> opened = terms.dilation(line, 0, terms.erosion(line, 1, x))
        >>> [e.kind for e in say(terms, [opened, terms.complement(opened)])]
        ['opening', 'not']
    """
    said: dict[int, Expression] = {}
    return [_say(terms, output, border, said) for output in outputs]


def _say(terms: Terms, term: int, border: str, said: dict[int, Expression]) -> Expression:
    """Return the shortest expression of a term; `said` holds those found before."""
    if term not in said:
        other = terms.complement(term)
        plain, dual = (_say_directly(terms, t, border, said) for t in (term, other))
        said[term] = _shortest(_complemented(dual), plain)
        said[other] = _shortest(_complemented(plain), dual)
    return said[term]


def _complemented(expression: Expression) -> Expression:
    brackets = expression.kind in ("union", "intersection", "shift")
    return Expression("not", (expression,), words=expression.words + 1 + brackets)


def _shortest(*expressions: Expression) -> Expression:
    return min(expressions, key=lambda expression: expression.words)


def _say_directly(terms: Terms, term: int, border: str, said: dict[int, Expression]) -> Expression:
    """Return an expression of a term that does not begin with "not".

    It has infinitely many words if there is none, such as for a complemented input.
    """
    kind, data, args = terms.entries[term]
    if kind == "input":
        return Expression("input", detail=data[0], words=float("inf") if data[1] else 1)
    if kind == "constant":
        return Expression("constant", detail=data)
    if kind == "bits":
        return Expression("bits", detail=np.frombuffer(data[1], bool).reshape(data[0]))
    inner = [_say(terms, arg, border, said) for arg in args]
    if kind in ("union", "intersection"):
        best = _joined(kind, inner)
        # Two members of an intersection may be a top-hat or a hit-or-miss together.
        if kind == "intersection":
            pairs = _top_hats(terms, args, border, said) + _hits(terms, args, border, said)
            for pair, operator in pairs:
                rest = [e for e, arg in zip(inner, args, strict=True) if arg not in pair]
                best = _shortest(best, _joined(kind, [operator, *rest]))
        return best
    if kind == "count":
        words = sum(part.words for part in inner) + 3 + sum(vote != 1 for vote in data[0])
        return Expression(kind, tuple(inner), detail=data, words=words)
    if kind == "shift":
        offset, fill = data
        entering = _BEYOND[border]["d"] if fill is None else fill
        words = inner[0].words + 2 + (entering == 1)
        return Expression(kind, (inner[0],), detail=(*offset, entering), words=words)
    if kind in ("union pool", "intersection pool", "pixel"):
        return Expression(kind, (inner[0],), detail=data, words=inner[0].words + 3)
    return _operator(kind, data, inner[0], border)


def _operator(kind: str, data: Any, inner: Expression, border: str) -> Expression:
    """Return an operator, with infinitely many words if no border of the library gives its fills.

    Then its complement is an operator of the library.
    """
    element, fills = as_array(data[0]), data[1:]
    # On an infinite plane (fills None) any border will do; take the usual one.
    for name in (border, *_BEYOND):
        if set(fills) == {None} or fills == tuple(_BEYOND[name][step] for step in _STEPS[kind]):
            words = inner.words + 2 + _words(element) + 2 * (name != border)
            return Expression(kind, (inner,), element, border=name, words=words)
    return Expression(kind, (inner,), element, words=float("inf"))


def _joined(kind: str, parts: Sequence[Expression]) -> Expression:
    """Return the union or intersection of one part or more."""
    words = sum(part.words for part in parts) + len(parts) - 1
    return parts[0] if len(parts) == 1 else Expression(kind, tuple(parts), words=words)


# Two members of an intersection, and the operator that they are together.
_Pair = tuple[tuple[int, int], Expression]


def _top_hats(
    terms: Terms, args: Sequence[int], border: str, said: dict[int, Expression]
) -> list[_Pair]:
    """Find pairs of u and a closing of not u: a white top-hat of u, or a black one of not u."""
    pairs = []
    for arg in args:
        kind, data, inner = terms.entries[arg]
        if kind != "closing" or terms.complement(inner[0]) not in args:
            continue
        dark, light = inner[0], terms.complement(inner[0])
        dual = (reflect(data[0]), *map(opposite, data[1:]))
        white = _operator("white top-hat", dual, _say(terms, light, border, said), border)
        black = _operator("black top-hat", data, _say(terms, dark, border, said), border)
        pairs.append(((light, arg), _shortest(white, black)))
    return pairs


def _hits(
    terms: Terms, args: Sequence[int], border: str, said: dict[int, Expression]
) -> list[_Pair]:
    """Find pairs of an erosion of u and an erosion of not u, by sets without a common pixel."""
    # Each member as an erosion: an erosion is the complement of a dilation of the complement, by
    # the reflected set.
    erosions = []
    for arg in args:
        base, selem, fill = terms.as_dilation(terms.complement(arg))
        erosions.append((arg, terms.complement(base), reflect(selem), opposite(fill)))
    pairs = []
    for i, base, hit, inside in erosions:
        for j, other, miss, outside in erosions:
            if other != terms.complement(base) or hit & miss or len(hit | miss) < 3:
                continue
            names = (border, *_HIT_AND_MISS)
            name = next((n for n in names if _fills_agree((inside, outside), n)), None)
            if name is not None:
                inner = _say(terms, base, border, said)
                element, words = as_array(hit, missed=miss), inner.words + 4
                operator = Expression("hit-or-miss", (inner,), element, border=name, words=words)
                pairs.append(((i, j), operator))
    return pairs


def _fills_agree(fills: tuple[Any, Any], border: str) -> bool:
    """Return whether a hit-or-miss with a border has these fills; None agrees with any."""
    return all(a in (None, b) for a, b in zip(fills, _HIT_AND_MISS[border], strict=True))


def as_array(selem: Set, *, missed: Set = frozenset()) -> np.ndarray:
    """Convert a set of offsets to an array with its origin at the centre.

    Args:
        selem: offsets (dy, dx).
        missed: offsets of a hit-or-miss that must be 0.

    Returns:
        `(kh, kw)`, or with as many axes as offsets have, the smallest odd sides that hold the sets:
        bool, or int8 with -1 for the missed offsets if there are any.

    Example:
        >>> as_array(frozenset({(0, 0), (0, 1)})).astype(int).tolist()
        [[0, 1, 1]]
    """
    axes = len(next(iter(selem | missed), (0, 0)))
    reach = [max(-low, high) for low, high in box(selem | missed | origin(axes))]
    array = np.zeros([2 * side + 1 for side in reach], np.int8)
    for offsets, value in ((selem, 1), (missed, -1)):
        for offset in offsets:
            array[tuple(side + part for side, part in zip(reach, offset, strict=True))] = value
    return array if missed else array.astype(bool)


def _words(element: np.ndarray) -> int:
    """Count the words of an element's name; a picture counts as 3."""
    name = name_selem(element)
    return 3 if name.startswith(UNNAMED) else 2 if " shifted " in name or SUM in name else 1
