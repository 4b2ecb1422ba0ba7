"""Morphological terms and the rules that shorten them, for `morphax.explain`.

A term is named by its number in a `Terms`, so that equal terms have one number. Complements are
pushed down to the inputs. Every kind has a dual; only one kind of the two has rules here, and the
other is handled by complementing, applying the rules, and complementing again.

| kind | data | dual |
|---|---|---|
| "input" | (channel, is complemented) | "input" |
| "constant" | True or False, at every pixel | "constant" |
| "bits" | any other constant image, as (shape, bytes) | "bits" |
| "dilation" | (set, fill), a set of two pixels or more | "erosion" |
| "shift" | ((dy, dx), fill): a dilation by one pixel | "shift" |
| "closing" | (set, fill of the dilation, fill of the erosion) | "opening" |
| "union" | - | "intersection" |
| "count" | (votes, cut): positive votes of the arguments; do they reach the cut? | "count" |
| "union pool" | (window, strides) | "intersection pool" |
| "pixel" | (y, x): that pixel of a plane, as a 1 x 1 plane | "pixel" |

The data of an "opening" is (set, fill of the erosion, fill of the dilation). Sets are textbook
structuring elements: frozen sets of (dy, dx), `dilation[p] = OR x[p - s]`,
`erosion[p] = AND x[p + s]`. `fill` is the value beyond the frame: 0, 1 or "nearest".

With `plane=True`, the image is taken for an infinite plane and fills are None: then translations
commute with everything, and dilations always compose. Otherwise every rule holds at every pixel of
every image, frame included.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from morphax.explain._sets import (
    Offset,
    Set,
    add,
    compose,
    middle,
    minus,
    origin,
    reflect,
    sum_of,
    translate,
)

DUAL = {
    "dilation": "erosion",
    "closing": "opening",
    "union": "intersection",
    "union pool": "intersection pool",
}
DUAL |= {dual: kind for kind, dual in DUAL.items()}
OPENINGS = {(1, 0), (0, 0), (1, 1), ("nearest", "nearest"), (None, None)}
"""Pairs of fills (erosion, dilation) that belong to one border, for an image or its complement.

With any other pair, a dilation of an erosion uses two borders and is no opening of the library.
"""


class Term(NamedTuple):
    """Hold one term.

    Attributes:
        kind: its kind, see the module docstring.
        data: its data, by kind.
        args: numbers of the terms that it is made of.
    """

    kind: str
    data: Any = None
    args: tuple[int, ...] = ()


class Terms:
    """Hold a growing table of terms; every method takes and returns numbers of terms.

    Attributes:
        plane: True if the image is taken for an infinite plane.
        axes: number of axes of an image.
        entries: the terms by number.
    """

    def __init__(self, *, plane: bool = False, axes: int = 2):
        """Begin an empty table."""
        self.plane, self.axes = plane, axes
        self.entries: list[Term] = []
        self._numbers: dict[Term, int] = {}
        self._complements: dict[int, int] = {}

    def make(self, kind: str, data: Any = None, args: tuple[int, ...] = ()) -> int:
        """Return the number of a term exactly as given; no rule is applied."""
        entry = Term(kind, data, args)
        if entry not in self._numbers:
            self._numbers[entry] = len(self.entries)
            self.entries.append(entry)
        return self._numbers[entry]

    def constant(self, bits: np.ndarray) -> int:
        """Return the term of a constant image, bool `(H, W)`."""
        if bits.all() or not bits.any():
            return self.make("constant", bool(bits.all()))
        return self.make("bits", (bits.shape, bits.tobytes()))

    def complement(self, term: int) -> int:
        """Return the complement, pushed down to the inputs by De Morgan's laws."""
        if term not in self._complements:
            kind, data, args = self.entries[term]
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
            elif kind == "count":
                # Votes of complements below the cut: as many votes are not there.
                other = self._count(
                    dict(zip(inner, data[0], strict=True)), sum(data[0]) + 1 - data[1]
                )
            else:
                other = self.make(DUAL.get(kind, kind), data, inner)
            self._complements |= {term: other, other: term}
        return self._complements[term]

    def erosion(self, selem: Set, fill: Any, term: int) -> int:
        """Return the erosion of a term by a set."""
        inner = self.complement(term)
        return self.complement(self.dilation(reflect(selem), opposite(fill), inner))

    def dilation(self, selem: Set, fill: Any, term: int) -> int:
        """Return the dilation of a term by a set."""
        if self.plane:
            fill = None
        entry = self.entries[term]
        if not selem:
            return self.make("constant", False)
        if selem == origin(self.axes):
            return term
        # A constant image stays what it is, unless another value enters from beyond the frame.
        if entry.kind == "constant" and (
            fill in (None, "nearest", int(entry.data)) or (entry.data and (0, 0) in selem)
        ):
            return term
        if self.plane:
            # Translations go outwards, and sets are centred, so that equal shapes are equal sets.
            away = middle(selem)
            if entry.kind == "shift":
                away, term = add(away, entry.data[0]), entry.args[0]
            inner = self._dilate(translate(selem, minus(middle(selem))), None, term)
            return self._shift(away, None, inner)
        return self._dilate(selem, fill, term)

    def _shift(self, offset: Offset, fill: Any, term: int) -> int:
        """Return a term moved by an offset; on a plane, two shifts are one."""
        entry = self.entries[term]
        if self.plane and entry.kind == "shift":
            offset, term = add(offset, entry.data[0]), entry.args[0]
        return self.make("shift", (offset, fill), (term,)) if any(offset) else term

    def _dilate(self, selem: Set, fill: Any, term: int) -> int:
        """Return a dilation, after the rules that look at what is dilated."""
        kind, data, args = self.entries[term]
        # The dilation of a dilation is one by the sum of the sets, where nothing is lost between.
        if kind in ("dilation", "shift") and data[1] == fill:
            first = data[0] if kind == "dilation" else frozenset({data[0]})
            if self.plane or compose(selem, first, fill):
                return self.dilation(sum_of(selem, first), fill, args[0])
        # The dilation of a closing by the same set is the dilation alone.
        closed = kind == "closing" and data[1] == fill and _adjoint(fill, data[2])
        if closed and self._moved(data[0], selem) is not None:
            return self.dilation(selem, fill, args[0])
        # The dilation of an erosion by the same set is an opening, by the set moved a moved one.
        pair = kind == "erosion" and (data[1], fill) in OPENINGS
        away = self._moved(data[0], selem) if pair else None
        if away is not None:
            return self._shift(away, fill, self._opening(data[0], data[1], fill, args[0]))
        if len(selem) == 1:
            return self._shift(next(iter(selem)), fill, term)
        return self.make("dilation", (selem, fill), (term,))

    def _opening(self, selem: Set, inner: Any, outer: Any, term: int) -> int:
        """Return an opening, from the fills of its erosion and of its dilation."""
        kind, data, _ = self.entries[term]
        # A dilation or opening by the same set is open already: opening it changes nothing.
        fills_if_open = {"dilation": (outer,), "opening": (inner, outer)}
        is_open = _adjoint(outer, inner) and fills_if_open.get(kind) == data[1:]
        if is_open and self._moved(selem, data[0]) is not None:
            return term
        return self.make("opening", (selem, inner, outer), (term,))

    def _moved(self, one: Set, other: Set) -> Offset | None:
        """Return the offset that moves one set to the other, or None; on a frame only zeros."""
        away = add(middle(other), minus(middle(one)))
        same = other == translate(one, away) and (self.plane or not any(away))
        return away if same else None

    def pool(self, window: tuple[int, ...], strides: tuple[int, ...], term: int) -> int:
        """Return the union over windows of a plane, every `strides` pixels."""
        constant = self.entries[term].kind == "constant"
        return term if constant else self.make("union pool", (window, strides), (term,))

    def pixel(self, place: Offset, term: int) -> int:
        """Return one pixel of a plane, as a plane of 1 x 1."""
        constant = self.entries[term].kind == "constant"
        return term if constant else self.make("pixel", place, (term,))

    def intersection(self, terms: Iterable[int]) -> int:
        """Return the intersection of any number of terms; 1 for no term."""
        return self.complement(self.union([self.complement(term) for term in terms]))

    def union(self, terms: Iterable[int]) -> int:
        """Return the union of any number of terms; 0 for no term."""
        # A union of unions is one union.
        members: set[int] = set()
        for term in terms:
            entry = self.entries[term]
            members.update(entry.args if entry.kind == "union" else (term,))
        members = self._merged(members)
        # 0 is neutral; 1, or a term beside its complement, makes everything 1.
        members.discard(self.make("constant", False))
        if self.make("constant", True) in members or any(
            self.complement(term) in members for term in members
        ):
            return self.make("constant", True)
        members = {term for term in members if not self._covered(term, members)}
        if len(members) <= 1:
            return next(iter(members), self.make("constant", False))
        # On a plane, a translation that all members share goes outwards.
        entries = [self.entries[term] for term in members]
        moves = {entry.data for entry in entries if entry.kind == "shift"}
        if self.plane and len(moves) == 1 and all(entry.kind == "shift" for entry in entries):
            inner = self.union(entry.args[0] for entry in entries)
            return self._shift(entries[0].data[0], None, inner)
        return self.make("union", None, tuple(sorted(members)))

    def count(self, votes: Iterable[int], cut: int, terms: Iterable[int]) -> int:
        """Return where the votes of terms, whole numbers of any sign, add up to a cut."""
        vote_of: dict[int, int] = {}
        for vote, term in zip(votes, terms, strict=True):
            base = min(term, self.complement(term))
            # v on a complement is v for every pixel, less v on the term.
            cut -= vote * (term != base)
            vote_of[base] = vote_of.get(base, 0) + (vote if term == base else -vote)
        positive: dict[int, int] = {}
        for base, vote in vote_of.items():
            term = base if vote > 0 else self.complement(base)
            cut -= min(vote, 0)
            if self.entries[term].kind == "constant":
                cut -= abs(vote) * bool(self.entries[term].data)
            elif vote:
                positive[term] = abs(vote)
        divisor = math.gcd(*positive.values()) or 1
        positive = {term: vote // divisor for term, vote in positive.items()}
        return self._count(positive, -(-cut // divisor))

    def _count(self, vote_of: dict[int, int], cut: int) -> int:
        """Return a count of distinct terms with positive votes."""
        total, least = sum(vote_of.values()), min(vote_of.values(), default=0)
        if cut <= 0 or cut > total:
            return self.make("constant", cut <= 0)
        if cut <= least:  # any one of them is enough
            return self.union(vote_of)
        if total - least < cut:  # all of them are needed
            return self.intersection(vote_of)
        terms = tuple(sorted(vote_of))
        return self.make("count", (tuple(vote_of[term] for term in terms), cut), terms)

    def _covered(self, term: int, others: set[int]) -> bool:
        """Return whether one of the others contains the term for every image."""
        kind, data, args = self.entries[term]
        if kind == "intersection":
            return bool(others & set(args))
        # An opening is contained in its image, and an image in its closing.
        if kind == "opening" and _adjoint(data[2], data[1]):
            return args[0] in others
        closings = (self.entries[other] for other in others)
        return any(
            other.kind == "closing"
            and _adjoint(other.data[1], other.data[2])
            and other.args[0] == term
            for other in closings
        )

    def _merged(self, terms: set[int]) -> set[int]:
        """Replace several dilations of one term by one dilation, by the union of their sets."""
        groups: dict[tuple[int, Any], set[int]] = {}
        for term in terms:
            base, _, fill = self.as_dilation(term)
            if base != term:
                groups.setdefault((base, fill), set()).add(term)
        for (base, fill), members in groups.items():
            if base in terms:  # the term itself is its dilation by the origin
                members.add(base)
            if len(members) > 1:
                sets = [self.as_dilation(term, base=base)[1] for term in members]
                terms = terms - members | {self.dilation(frozenset().union(*sets), fill, base)}
        return terms

    def as_dilation(self, term: int, *, base: int | None = None) -> tuple[int, Set, Any]:
        """Return a term as a dilation (term that is dilated, set, fill).

        A term that is no dilation or shift, or that is `base`, is its own dilation by the origin.
        """
        kind, data, args = self.entries[term]
        if term == base or kind not in ("dilation", "shift"):
            return term, origin(self.axes), None
        if kind == "dilation":
            return args[0], data[0], data[1]
        inner = self.entries[args[0]]
        if self.plane and inner.kind == "dilation":
            return inner.args[0], translate(inner.data[0], data[0]), None
        return args[0], frozenset({data[0]}), data[1]


def opposite(fill: Any) -> Any:
    """Return the value beyond the frame of the complement of an image."""
    return 1 - fill if fill in (0, 1) else fill


def _adjoint(dilation: Any, erosion: Any) -> bool:
    """Return whether dilation and erosion with these fills are adjoint on images of the frame.

    Only then an opening is contained in its image and idempotent, and dually for a closing.
    """
    return (dilation, erosion) in ((0, 1), (None, None))
