"""Expressions of morphology: the shortest way to say a term.

`morphax.explain._terms` has rules for half of the operations and complements for the others; here each term
is said in whichever way is shorter, itself or as the complement of its complement, with top-hats and
hit-or-misses put back together. `morphax.explain.wording` writes expressions as text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from morphax.explain._sets import ORIGIN, Set, box, reflect
from morphax.explain._terms import Terms, opposite
from morphax.explain.describe import SUM, name_selem

BY = ("dilation", "erosion", "opening", "closing", "white top-hat", "black top-hat", "hit-or-miss")
"""Kinds of expressions that have an element: the operators of `morphax.operators`, in words."""
UNNAMED = "a set of "
"""How `name_selem` begins when a set has no name."""
_STEPS = {"dilation": "d", "erosion": "e", "opening": "ed", "closing": "de",
          "white top-hat": "ed", "black top-hat": "de"}  # fmt: skip
_BEYOND = {"ignore": {"d": 0, "e": 1}, "constant": {"d": 0, "e": 0},
           "replicate": {"d": "nearest", "e": "nearest"}}  # fmt: skip
# Beyond the frame of a hit-or-miss: of the image for hits, of its complement for misses.
_HIT_AND_MISS = {"ignore": (1, 1), "constant": (0, 1), "replicate": ("nearest", "nearest")}


@dataclass(frozen=True, eq=False)
class Expression:
    """An expression of morphology, a tree; what is used more than once is one object.

    Attributes:
        kind: one of `BY`, "input", "not", "union", "intersection", "shift", "union pool",
            "intersection pool", "pixel", "constant" or "bits".
        args: what it is made of.
        element: textbook structuring element, bool `(kh, kw)`; int8 with 1 for hits and -1 for misses
            for a hit-or-miss; None for kinds that have none.
        detail: "input": the channel. "shift": (rows, columns, what enters). Pools: (window, strides).
            "pixel": (row, column). "constant": whether 1. "bits": the picture.
        border: of an operator, as in `morphax.operators`.
        words: how many it takes to say it, roughly.
    """

    kind: str
    args: tuple["Expression", ...] = ()
    element: np.ndarray | None = None
    detail: Any = None
    border: str = "ignore"
    words: float = 1


def say(terms: Terms, outputs: Sequence[int], *, border: str = "ignore") -> list[Expression]:
    """Terms as expressions, each in the shortest way.

    Args:
        terms: where they are.
        outputs: their numbers.
        border: the one to say where it makes no difference.

    Returns:
        An expression for each output.

    Example:
        >>> terms = Terms()
        >>> x, line = terms.make("input", (0, False)), frozenset({(0, 0), (0, 1)})
        >>> found = terms.dilation(line, 0, terms.erosion(line, 1, x))
        >>> [e.kind for e in say(terms, [found, terms.complement(found)])]
        ['opening', 'not']
    """
    known: dict[int, Expression] = {}
    return [_say(terms, output, border, known) for output in outputs]


def _say(terms: Terms, term: int, border: str, known: dict[int, Expression]) -> Expression:
    if term not in known:
        other = terms.complement(term)
        plain, dual = (_say_as_it_is(terms, t, border, known) for t in (term, other))
        known[term] = _shortest(_turned(dual), plain)
        known[other] = _shortest(_turned(plain), dual)
    return known[term]


def _turned(said: Expression) -> Expression:
    brackets = said.kind in ("union", "intersection", "shift")
    return Expression("not", (said,), words=said.words + 1 + brackets)


def _shortest(*found: Expression) -> Expression:
    return min(found, key=lambda expression: expression.words)


def _say_as_it_is(terms: Terms, term: int, border: str, known: dict[int, Expression]) -> Expression:
    kind, data, args = terms.nodes[term]
    if kind == "input":
        return Expression("input", detail=data[0], words=float("inf") if data[1] else 1)
    if kind == "constant":
        return Expression("constant", detail=data)
    if kind == "bits":
        return Expression("bits", detail=np.frombuffer(data[1], bool).reshape(data[0]))
    inner = [_say(terms, arg, border, known) for arg in args]
    if kind in ("union", "intersection"):
        best = _joined(kind, inner)
        if kind == "intersection":
            pairs = _top_hats(terms, args, border, known) + _hits(terms, args, border, known)
            for pair, said in pairs:
                rest = [s for s, arg in zip(inner, args, strict=True) if arg not in pair]
                best = _shortest(best, _joined(kind, [said, *rest]))
        return best
    if kind == "shift":
        (down, right), fill = data
        entering = _BEYOND[border]["d"] if fill is None else fill
        words = inner[0].words + 2 + (entering == 1)
        return Expression(kind, (inner[0],), detail=(down, right, entering), words=words)
    if kind in ("union pool", "intersection pool", "pixel"):
        return Expression(kind, (inner[0],), detail=data, words=inner[0].words + 3)
    return _operator(kind, data, inner[0], border)


def _operator(kind: str, data: Any, inner: Expression, border: str) -> Expression:
    """An operator, if it is one of the library's: the others are said by their complements."""
    element, fills = as_array(data[0]), data[1:]
    for name in (border, *_BEYOND):
        if set(fills) == {None} or fills == tuple(_BEYOND[name][step] for step in _STEPS[kind]):
            words = inner.words + 2 + _words(element) + 2 * (name != border)
            return Expression(kind, (inner,), element, border=name, words=words)
    return Expression(kind, (inner,), element, words=float("inf"))


def _joined(kind: str, parts: Sequence[Expression]) -> Expression:
    words = sum(part.words for part in parts) + len(parts) - 1
    return parts[0] if len(parts) == 1 else Expression(kind, tuple(parts), words=words)


_Pair = tuple[tuple[int, int], Expression]


def _top_hats(
    terms: Terms, args: Sequence[int], border: str, known: dict[int, Expression]
) -> list[_Pair]:
    """Pairs u, closing of not u: the white top-hat of u, or the black top-hat of its complement."""
    found = []
    for arg in args:
        kind, data, inner = terms.nodes[arg]
        if kind != "closing" or terms.complement(inner[0]) not in args:
            continue
        dark, light = inner[0], terms.complement(inner[0])
        dual = (reflect(data[0]), *map(opposite, data[1:]))
        white = _operator("white top-hat", dual, _say(terms, light, border, known), border)
        black = _operator("black top-hat", data, _say(terms, dark, border, known), border)
        found.append(((light, arg), _shortest(white, black)))
    return found


def _hits(
    terms: Terms, args: Sequence[int], border: str, known: dict[int, Expression]
) -> list[_Pair]:
    """Pairs of an erosion of u and an erosion of its complement, by sets that are apart."""
    erosions = []
    for arg in args:
        base, selem, fill = terms.as_dilation(terms.complement(arg))
        erosions.append((arg, terms.complement(base), reflect(selem), opposite(fill)))
    found = []
    for i, base, hit, inside in erosions:
        for j, other, miss, outside in erosions:
            if other != terms.complement(base) or hit & miss or len(hit | miss) < 3:
                continue
            for name in (border, *_HIT_AND_MISS):  # a fill of None serves them all
                if all(
                    a in (None, b)
                    for a, b in zip((inside, outside), _HIT_AND_MISS[name], strict=True)
                ):
                    said = _say(terms, base, border, known)
                    element = as_array(hit, missed=miss)
                    made = Expression(
                        "hit-or-miss", (said,), element, border=name, words=said.words + 4
                    )
                    found.append(((i, j), made))
                    break
    return found


def as_array(selem: Set, *, missed: Set = frozenset()) -> np.ndarray:
    """A set as an array with its origin at the centre: bool, or int8 with -1 for those missed.

    Args:
        selem: offsets (dy, dx).
        missed: those of a hit-or-miss that must be off.

    Returns:
        `(kh, kw)`, odd sides, the smallest that hold the sets.
    """
    top, bottom, left, right = box(selem | missed | ORIGIN)
    down, across = max(-top, bottom), max(-left, right)
    array = np.zeros((2 * down + 1, 2 * across + 1), np.int8)
    for offsets, value in ((selem, 1), (missed, -1)):
        for y, x in offsets:
            array[down + y, across + x] = value
    return array if missed else array.astype(bool)


def _words(element: np.ndarray) -> int:
    name = name_selem(element)
    return 3 if name.startswith(UNNAMED) else 2 if " shifted " in name or SUM in name else 1
