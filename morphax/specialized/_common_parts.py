"""Fewer joins for the same unions: lines, rectangles and shapes that several sets have in common.

A *set* is what one plane is the union (or intersection) of: terms `(part, row, column)`, the plane itself
(part 0) or an intermediate plane seen at an offset. `share` makes intermediate planes as long as that
saves anything, greedily: of all lines of parts and all shapes that two sets share, the one that saves
most. A 41 x 41 square becomes 4 steps of 6 or 7 joins instead of 1680.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Term = tuple[int, int, int]
Terms = frozenset[Term]

PASS = 8
"""What writing and reading again an intermediate plane costs, in joins (measured on CPU)."""

_ROUNDS, _PAIRS = 24, 64
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


def share(
    sets: Sequence[Terms], *, cost: Callable[[int], int] = lambda column: 1
) -> tuple[list[Terms], list[Terms]]:
    """Rewrite sets with intermediate parts.

    Args:
        sets: of terms of part 0.
        cost: of a term, in joins, by its column offset.

    Returns:
        (parts 1, 2, ... in some order: part k is the union of `parts[k - 1]`; the sets, rewritten).

    Example:
        >>> parts, (square,) = share([frozenset((0, i, j) for i in range(9) for j in range(9))])
        >>> len(parts), sum(map(len, parts)) + len(square)
        (1, 18)
    """
    bodies, total = list(sets), _total(sets, len(sets), cost)
    for _ in range(_ROUNDS):
        best = None
        for pattern in _patterns(bodies):
            tried = _replace(bodies, pattern, 1 + len(bodies) - len(sets), cost)
            spent = _total(tried, len(sets), cost)
            if spent < total:
                best, total = tried, spent
        if best is None:
            break
        bodies = best
    return bodies[len(sets) :], bodies[: len(sets)]


def order(parts: Sequence[Terms]) -> list[int]:
    """Numbers of the parts, each after those it is made of."""
    done: list[int] = []

    def visit(part: int) -> None:
        if part and part not in done:
            for other, _, _ in sorted(parts[part - 1]):
                visit(other)
            done.append(part)

    for part in range(1, len(parts) + 1):
        visit(part)
    return done


def _total(bodies: Sequence[Terms], sets: int, cost: Callable[[int], int]) -> int:
    terms = sum(cost(column) for body in bodies for _, _, column in body)
    return terms + PASS * (len(bodies) - sets)


def _patterns(bodies: Sequence[Terms]) -> Iterator[Terms]:
    """Shapes that may be worth a plane of their own."""
    for direction in _DIRECTIONS:
        lengths: dict[int, set[int]] = {}
        for body in bodies:
            for part, run in _runs(body, direction):
                if run > 2:
                    lengths.setdefault(part, set()).update({run, *range(2, min(run, 9))})
        for part, runs in lengths.items():
            for run in sorted(runs):
                yield frozenset((part, i * direction[0], i * direction[1]) for i in range(run))
    if len(bodies) <= _PAIRS:
        yield from _common(bodies)


def _runs(body: Terms, direction: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """(part, length) of the maximal lines of a set in a direction."""
    dy, dx = direction
    for part, y, x in body:
        if (part, y - dy, x - dx) not in body:
            run = 1
            while (part, y + run * dy, x + run * dx) in body:
                run += 1
            yield part, run


def _common(bodies: Sequence[Terms]) -> Iterator[Terms]:
    """For each two sets, the largest shape that both have, maybe shifted."""
    large = [body for body in bodies if len(body) > PASS + 2]  # two uses must pay for a plane
    codes = [np.array([(p << 40) + (y << 20) + x for p, y, x in body]) for body in large]
    for i, one in enumerate(large):
        for j in range(i + 1, len(large)):
            shifts, counts = np.unique(np.subtract.outer(codes[j], codes[i]), return_counts=True)
            if counts.max() > PASS + 2:
                shift = int(shifts[counts.argmax()])
                dy = (shift + (1 << 19)) >> 20
                dx = shift - (dy << 20)
                yield frozenset(t for t in one if (t[0], t[1] + dy, t[2] + dx) in large[j])


def _replace(
    bodies: Sequence[Terms], pattern: Terms, part: int, cost: Callable[[int], int]
) -> list[Terms]:
    """All sets with the pattern as a new part wherever it saves terms, and the part itself."""
    covers = [_cover(body, pattern) for body in bodies]
    columns = Counter(dx for cover in covers for _, dx in cover)
    rows = Counter(dy for cover in covers for dy, _ in cover)
    if not rows:
        return list(bodies)
    # The part is placed so that most of its uses need no shift.
    oy, ox = rows.most_common(1)[0][0], columns.most_common(1)[0][0]
    out: list[Terms] = []
    for body, cover in zip(bodies, covers, strict=True):
        gone = {(p, y + dy, x + dx) for dy, dx in cover for p, y, x in pattern}
        placed = {(part, dy - oy, dx - ox) for dy, dx in cover}
        out.append((body - gone) | placed)
    return [*out, frozenset((p, y + oy, x + ox) for p, y, x in pattern)]


def _cover(body: Terms, pattern: Terms) -> list[tuple[int, int]]:
    """Where the pattern fits in a set: first side by side, then where it covers two more terms."""
    if len(pattern) > len(body):
        return []
    part, y0, x0 = min(pattern)
    fits = [(y - y0, x - x0) for p, y, x in sorted(body) if p == part
            and all((q, b + y - y0, a + x - x0) in body for q, b, a in pattern)]  # fmt: skip
    left, chosen = set(body), []
    at = {d: {(p, y + d[0], x + d[1]) for p, y, x in pattern} for d in fits}
    for d in fits:
        if at[d] <= left:
            chosen.append(d)
            left -= at[d]
    while fits:
        best = max(fits, key=lambda d: len(at[d] & left))
        if len(at[best] & left) < 2:
            break
        chosen.append(best)
        left -= at[best]
    return chosen
