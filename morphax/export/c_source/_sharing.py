"""Pairs of literals that many joins hold, at any place of their windows, computed once.

The pair that saves the most is taken, again and again: two literals at a fixed distance become one
literal of a new plane. As x & x = x, pairs may overlap, so that a row of n pixels takes n / 2
pairs, then n / 4 pairs of pairs, and so on: a disk takes few operations, and hundreds of
hit-or-misses share what they have in common.
"""

from collections import Counter
from dataclasses import replace

from morphax.export.c_source._planes import Join, Literal, Plane, Term

_LEAST = 3  # literals that a pair has to save: it costs an operation and a pass
_EXACT = 8  # pairs of the most places whose savings are computed
_LARGE = 300  # literals of a join from which on only pairs along rows and columns are looked at

Kind = tuple[int, bool]
Key = tuple[Kind, Kind, int, int]


def share_pairs(planes: list[Plane], *, most: int) -> list[Plane]:
    """Return planes in which shared pairs are planes of their own.

    Args:
        planes: as of `morphax.export.c_source._planes.plan`.
        most: number of pairs at most.

    Returns:
        The planes, with new ones at the end (so numbers are not in the order of evaluation).
    """
    sets: dict[Join, set[Literal]] = {}
    for plane in planes:
        for term in (plane.term, *(term for term, _ in plane.members)):
            _collect(term, sets)
    groups = list(sets.values())
    pairs: list[Plane] = []
    counts: Counter[Key] = Counter()
    for group in groups:
        counts.update(_keys(group))
    while len(pairs) < most:
        best = max(
            (
                (sum(_saved(group, key) for group in groups), key)
                for key, _ in counts.most_common(_EXACT)
            ),
            default=(0, None),
            key=lambda one: one[0],
        )
        if best[0] < _LEAST or best[1] is None:
            break
        number, key = len(planes) + len(pairs), best[1]
        (a, negated), (b, inverse), down, right = key
        pairs.append(
            Plane(
                "join", -1, term=Join((Literal(a, 0, 0, negated), Literal(b, down, right, inverse)))
            )
        )
        for group in groups:
            found = _matches(group, key)
            if _gain(found, group, key) <= 0:
                continue
            counts.subtract(_keys(group))
            for one in found:
                group -= {one, _other(one, key)}
            group |= {Literal(number, one.down, one.right) for one in found}
            counts.update(_keys(group))
    if not pairs:
        return planes
    return [*(_rebuilt(plane, sets) for plane in planes), *pairs]


def _collect(term: Term | None, sets: dict[Join, set[Literal]]) -> None:
    """Add the literals of each join in a term to `sets`."""
    if isinstance(term, Join):
        sets[term] = {part for part in term.terms if isinstance(part, Literal)}
        for part in term.terms:
            _collect(part, sets)


def _keys(group: set[Literal]) -> list[Key]:
    """Return the pairs in a set of literals: their kinds, and the place of the second one."""
    ordered = sorted((one.plane, one.negated, one.down, one.right) for one in group)
    keys: list[Key] = []
    for i, (a, negated, y, x) in enumerate(ordered):
        for b, inverse, down, right in ordered[i + 1 :]:
            if len(ordered) < _LARGE or down == y or right == x:
                keys.append(((a, negated), (b, inverse), down - y, right - x))
    return keys


def _other(one: Literal, key: Key) -> Literal:
    """Return the literal that makes a pair with the first one."""
    (plane, negated), down, right = key[1], key[2], key[3]
    return Literal(plane, one.down + down, one.right + right, negated)


def _matches(group: set[Literal], key: Key) -> list[Literal]:
    """Return first literals of pairs that cover as many literals as a few pairs can."""
    kind, found, covered = key[0], [], set()
    for one in sorted(group):
        pair = {one, _other(one, key)}
        if (one.plane, one.negated) == kind and pair <= group and not pair <= covered:
            # Along a chain, the second literal of a pair may begin the last pair only.
            if one in covered and _other(_other(one, key), key) in group and key[0] == key[1]:
                continue
            found.append(one)
            covered |= pair
    return found


def _gain(found: list[Literal], group: set[Literal], key: Key) -> int:
    """Return how many literals less a set has when these pairs are one literal each."""
    covered = {*found, *(_other(one, key) for one in found)}
    return len(covered) - len(found)


def _saved(group: set[Literal], key: Key) -> int:
    """Return how many literals less a set has with a pair."""
    found = _matches(group, key)
    return _gain(found, group, key)


def _rebuilt(plane: Plane, sets: dict[Join, set[Literal]]) -> Plane:
    """Return a plane with the new literals."""

    def again(term: Term) -> Term:
        if isinstance(term, Literal):
            return term
        nested = [again(part) for part in term.terms if isinstance(part, Join)]
        return Join((*sorted(sets[term]), *nested), term.negated)

    if plane.kind == "frame" or plane.term is None:
        return replace(plane, members=tuple((again(term), vote) for term, vote in plane.members))
    return replace(plane, term=again(plane.term))
