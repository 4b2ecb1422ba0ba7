"""Morphological terms and the rules that shorten them: what `morphax.explain` reads a network into.

A term is a number in a `Terms`, so that equal terms are one term. Complements are pushed down to the
inputs: every kind has a dual, and only one of the two has rules here; the other comes by complement.

| kind | data | dual |
|---|---|---|
| "input" | (channel, whether complemented) | "input" |
| "bits" | constant picture, as (shape, bytes); all 0 or all 1 for "constant" | "bits" |
| "dilation" | (set, fill), two pixels or more | "erosion" |
| "shift" | ((dy, dx), fill): a dilation by one pixel | "shift" |
| "closing" | (set, fill of the dilation, fill of the erosion) | "opening", (set, erosion's, dilation's) |
| "union" | - | "intersection" |
| "union pool" | (window, strides) | "intersection pool" |
| "pixel" | (y, x): that pixel of a plane, as a 1 x 1 plane | "pixel" |

Sets are textbook structuring elements: frozen sets of (dy, dx), `dilation[p] = OR x[p - s]`,
`erosion[p] = AND x[p + s]`. `fill` is what lies beyond the frame: 0, 1 or "nearest".

With `plane=True`, fills are None and the image is taken for an infinite plane: then translations
commute with everything, and dilations always compose. Otherwise every rule holds at every pixel of
every image, frame included.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from morphax.explain._sets import (
    ORIGIN,
    Set,
    add,
    compose,
    middle,
    minus,
    reflect,
    sum_of,
    translate,
)

DUAL = {"dilation": "erosion", "closing": "opening", "union": "intersection",
        "union pool": "intersection pool"}  # fmt: skip
DUAL |= {dual: kind for kind, dual in DUAL.items()}
OPENINGS = {(1, 0), (0, 0), (1, 1), ("nearest", "nearest"), (None, None)}
"""Fills of erosion and dilation that one border gives, or gives to the complement: the others are two
borders, and no opening of the library."""


class Node(NamedTuple):
    """What a term is: its kind, its data (see the module) and the terms that it is made of."""

    kind: str
    data: Any = None
    args: tuple[int, ...] = ()


class Terms:
    """A growing table of terms; every method takes and returns their numbers."""

    def __init__(self, *, plane: bool = False):
        self.plane = plane
        self.nodes: list[Node] = []
        self._numbers: dict[Node, int] = {}
        self._complements: dict[int, int] = {}

    def make(self, kind: str, data: Any = None, args: tuple[int, ...] = ()) -> int:
        """The number of a term, as it is: no rule is applied."""
        node = Node(kind, data, args)
        if node not in self._numbers:
            self._numbers[node] = len(self.nodes)
            self.nodes.append(node)
        return self._numbers[node]

    def constant(self, bits: np.ndarray) -> int:
        """A constant picture, bool `(H, W)`."""
        if bits.all() or not bits.any():
            return self.make("constant", bool(bits.all()))
        return self.make("bits", (bits.shape, bits.tobytes()))

    def complement(self, term: int) -> int:
        """The complement, by De Morgan's laws."""
        if term not in self._complements:
            kind, data, args = self.nodes[term]
            inner = tuple(self.complement(arg) for arg in args)
            if kind == "constant":
                other = self.make(kind, not data)
            elif kind == "bits":
                other = self.constant(~np.frombuffer(data[1], bool).reshape(data[0]))
            elif kind == "input":
                other = self.make(kind, (data[0], not data[1]))
            elif kind in ("union", "intersection"):
                other = self.make(DUAL[kind], None, tuple(sorted(inner)))
            elif kind in ("dilation", "erosion", "opening", "closing"):
                other = self.make(DUAL[kind], (reflect(data[0]), *map(opposite, data[1:])), inner)
            elif kind == "shift":
                other = self.make(kind, (data[0], opposite(data[1])), inner)
            else:
                other = self.make(DUAL.get(kind, kind), data, inner)
            self._complements |= {term: other, other: term}
        return self._complements[term]

    def erosion(self, selem: Set, fill: Any, term: int) -> int:
        """Erosion by a set."""
        inner = self.complement(term)
        return self.complement(self.dilation(reflect(selem), opposite(fill), inner))

    def dilation(self, selem: Set, fill: Any, term: int) -> int:
        """Dilation by a set."""
        if self.plane:
            fill = None
        node = self.nodes[term]
        if not selem:
            return self.make("constant", False)
        if selem == ORIGIN:
            return term
        if node.kind == "constant" and (
            fill in (None, "nearest", int(node.data)) or (node.data and (0, 0) in selem)
        ):
            return term
        if self.plane:
            # Translations go outwards, and sets are centred, so that equal shapes are equal sets.
            away = middle(selem)
            if node.kind == "shift":
                away, term = add(away, node.data[0]), node.args[0]
            inner = self._dilate(translate(selem, minus(middle(selem))), None, term)
            return self._shift(away, None, inner)
        return self._dilate(selem, fill, term)

    def _shift(self, offset: tuple[int, int], fill: Any, term: int) -> int:
        node = self.nodes[term]
        if self.plane and node.kind == "shift":
            offset, term = add(offset, node.data[0]), node.args[0]
        return self.make("shift", (offset, fill), (term,)) if offset != (0, 0) else term

    def _dilate(self, selem: Set, fill: Any, term: int) -> int:
        kind, data, args = self.nodes[term]
        if kind in ("dilation", "shift") and data[1] == fill:
            first = data[0] if kind == "dilation" else frozenset({data[0]})
            if self.plane or compose(selem, first, fill):
                return self.dilation(sum_of(selem, first), fill, args[0])
        closed = kind == "closing" and data[1] == fill and _adjoint(fill, data[2])
        if closed and self._moved(data[0], selem) is not None:
            return self.dilation(selem, fill, args[0])  # dilation of closing = dilation
        pair = kind == "erosion" and (data[1], fill) in OPENINGS
        away = self._moved(data[0], selem) if pair else None
        if away is not None:
            return self._shift(away, fill, self._opening(data[0], data[1], fill, args[0]))
        if len(selem) == 1:
            return self._shift(next(iter(selem)), fill, term)
        return self.make("dilation", (selem, fill), (term,))

    def _opening(self, selem: Set, inner: Any, outer: Any, term: int) -> int:
        kind, data, _ = self.nodes[term]
        done = {"dilation": (outer,), "opening": (inner, outer)}  # both are open already
        opened = _adjoint(outer, inner) and done.get(kind) == data[1:]
        if opened and self._moved(selem, data[0]) is not None:
            return term
        return self.make("opening", (selem, inner, outer), (term,))

    def _moved(self, one: Set, other: Set) -> tuple[int, int] | None:
        """The offset from one set to the other, if it is that set moved; only (0, 0) on a frame."""
        away = add(middle(other), minus(middle(one)))
        same = other == translate(one, away) and (self.plane or away == (0, 0))
        return away if same else None

    def pool(self, window: tuple[int, int], strides: tuple[int, int], term: int) -> int:
        """Union over windows of a plane, every `strides`."""
        constant = self.nodes[term].kind == "constant"
        return term if constant else self.make("union pool", (window, strides), (term,))

    def pixel(self, place: tuple[int, int], term: int) -> int:
        """One pixel of a plane."""
        constant = self.nodes[term].kind == "constant"
        return term if constant else self.make("pixel", place, (term,))

    def intersection(self, terms: Iterable[int]) -> int:
        """Intersection of any number of terms; 1 of none."""
        return self.complement(self.union([self.complement(term) for term in terms]))

    def union(self, terms: Iterable[int]) -> int:
        """Union of any number of terms; 0 of none."""
        found: set[int] = set()
        for term in terms:
            node = self.nodes[term]
            found.update(node.args if node.kind == "union" else (term,))
        found = self._merged(found)
        found.discard(self.make("constant", False))
        if self.make("constant", True) in found or any(self.complement(t) in found for t in found):
            return self.make("constant", True)
        found = {term for term in found if not self._covered(term, found)}
        if len(found) <= 1:
            return next(iter(found), self.make("constant", False))
        moves = [self.nodes[t] for t in found if self.nodes[t].kind == "shift"]
        if self.plane and len(moves) == len(found) and len({node.data for node in moves}) == 1:
            return self._shift(moves[0].data[0], None, self.union(node.args[0] for node in moves))
        return self.make("union", None, tuple(sorted(found)))

    def _covered(self, term: int, others: set[int]) -> bool:
        """Whether one of the others contains the term for every image."""
        kind, data, args = self.nodes[term]
        if kind == "intersection":
            return bool(others & set(args))
        if kind == "opening" and _adjoint(data[2], data[1]):
            return args[0] in others
        return any(
            node.kind == "closing" and _adjoint(node.data[1], node.data[2]) and node.args[0] == term
            for node in (self.nodes[other] for other in others)
        )

    def _merged(self, terms: set[int]) -> set[int]:
        """Dilations of one term joined into one dilation."""
        groups: dict[tuple[int, Any], set[int]] = {}
        for term in terms:
            base, _, fill = self.as_dilation(term)
            if base != term:
                groups.setdefault((base, fill), set()).add(term)
        for (base, fill), members in groups.items():
            if base in terms:
                members.add(base)
            if len(members) > 1:
                sets = [self.as_dilation(term, base=base)[1] for term in members]
                terms = terms - members | {self.dilation(frozenset().union(*sets), fill, base)}
        return terms

    def as_dilation(self, term: int, *, base: int | None = None) -> tuple[int, Set, Any]:
        """A term as a dilation: (what is dilated, set, fill); of itself if it is none, or `base`."""
        kind, data, args = self.nodes[term]
        if term == base or kind not in ("dilation", "shift"):
            return term, ORIGIN, None
        if kind == "dilation":
            return args[0], data[0], data[1]
        inner = self.nodes[args[0]]
        if self.plane and inner.kind == "dilation":
            return inner.args[0], translate(inner.data[0], data[0]), None
        return args[0], frozenset({data[0]}), data[1]


def opposite(fill: Any) -> Any:
    """What lies beyond the frame of the complement."""
    return 1 - fill if fill in (0, 1) else fill


def _adjoint(dilation: Any, erosion: Any) -> bool:
    """Whether the two fills make dilation and erosion by a set adjoint on the frame's own domain."""
    return (dilation, erosion) in ((0, 1), (None, None))
