"""Common sub-expressions of sets: lines, rectangles, and shapes that several sets share.

A plane of the result is the union (or intersection) of a *set* of terms `(part, row, column)`: the
input plane (part 0) or an intermediate plane (part 1, 2, ...), seen at an offset. `share`
introduces intermediate planes greedily as long as that saves joins: of all lines and all shapes
that two sets have in common, it takes the one that saves most. A 41 x 41 square becomes 4 steps of
6 or 7 joins instead of 1680 joins.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Term = tuple[int, int, int]
Terms = frozenset[Term]

PASS = 8
"""Cost of an intermediate plane, written and read again, in joins (measured on CPU)."""

_ROUNDS = 24  # intermediate planes at most
_PAIRS = 64  # sets at most that are compared with each other
_DIRECTIONS = (
    (0, 1),
    (1, 0),
    (1, 1),
    (1, -1),
)  # (rows, columns) from one pixel of a line to the next


def share(
    sets: Sequence[Terms], *, cost: Callable[[int], int] = lambda column: 1
) -> tuple[list[Terms], list[Terms]]:
    """Rewrite sets with intermediate parts.

    Args:
        sets: sets of terms of part 0.
        cost: function from the column offset of a term to its cost in joins.

    Returns:
        `(parts, sets)`: part k is the union of `parts[k - 1]`, in any order; the sets, rewritten.

    Example:
        >>> parts, (square,) = share([frozenset((0, i, j) for i in range(9) for j in range(9))])
        >>> len(parts), sum(map(len, parts)) + len(square)
        (1, 18)
    """
    # The sets, followed by the parts made so far: parts are rewritten like sets.
    bodies, total = list(sets), _total(sets, len(sets), cost)
    for _ in range(_ROUNDS):
        best = None
        for pattern in _patterns(bodies):
            candidate = _replace(bodies, pattern, 1 + len(bodies) - len(sets))
            candidate_total = _total(candidate, len(sets), cost)
            if candidate_total < total:
                best, total = candidate, candidate_total
        if best is None:
            break
        bodies = best
    return bodies[len(sets) :], bodies[: len(sets)]


def order(parts: Sequence[Terms]) -> list[int]:
    """Return the numbers of the parts, each after the parts that it reads.

    Example:
        >>> order([frozenset({(2, 0, 0), (2, 0, 2)}), frozenset({(0, 0, 0), (0, 0, 1)})])
        [2, 1]
    """
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
    """Return the cost of all terms, and of the planes of the parts (bodies after the sets)."""
    terms = sum(cost(column) for body in bodies for _, _, column in body)
    return terms + PASS * (len(bodies) - sets)


def _patterns(bodies: Sequence[Terms]) -> Iterator[Terms]:
    """Yield shapes that may be worth a plane of their own."""
    # Lines as long as those there are, and of 2 to 8 pixels: a long line is made of short ones.
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
    """Yield (part, length) of the maximal lines of a set in a direction."""
    dy, dx = direction
    for part, y, x in body:
        # Only the first pixel of a line, which has none before it, measures it.
        if (part, y - dy, x - dx) not in body:
            run = 1
            while (part, y + run * dy, x + run * dx) in body:
                run += 1
            yield part, run


def _common(bodies: Sequence[Terms]) -> Iterator[Terms]:
    """Yield for each two sets the largest shape that both contain, at any shift."""
    large = [body for body in bodies if len(body) > PASS + 2]  # two uses must pay for a plane
    # A term as one integer: the difference of two codes is the shift between two terms, so the most
    # frequent difference is the shift at which two sets agree most.
    codes = [np.array([(p << 40) + (y << 20) + x for p, y, x in body]) for body in large]
    for i, one in enumerate(large):
        for j in range(i + 1, len(large)):
            shifts, counts = np.unique(np.subtract.outer(codes[j], codes[i]), return_counts=True)
            if counts.max() > PASS + 2:
                shift = int(shifts[counts.argmax()])
                # Take rows and columns apart; a column offset may be negative.
                dy = (shift + (1 << 19)) >> 20
                dx = shift - (dy << 20)
                yield frozenset(t for t in one if (t[0], t[1] + dy, t[2] + dx) in large[j])


def _replace(bodies: Sequence[Terms], pattern: Terms, part: int) -> list[Terms]:
    """Return all bodies with the pattern replaced by part number `part`, and the part itself.

    A pattern is replaced wherever that saves terms. The caller compares the costs.
    """
    covers = [_cover(body, pattern) for body in bodies]
    columns = Counter(dx for cover in covers for _, dx in cover)
    rows = Counter(dy for cover in covers for dy, _ in cover)
    if not rows:
        return list(bodies)
    # Shift the part by the most frequent offset of its uses, so that most uses need no shift.
    oy, ox = rows.most_common(1)[0][0], columns.most_common(1)[0][0]
    replaced: list[Terms] = []
    for body, cover in zip(bodies, covers, strict=True):
        # Each use takes the terms of the pattern away and puts one term of the part there.
        covered = {(p, y + dy, x + dx) for dy, dx in cover for p, y, x in pattern}
        uses = {(part, dy - oy, dx - ox) for dy, dx in cover}
        replaced.append((body - covered) | uses)
    return [*replaced, frozenset((p, y + oy, x + ox) for p, y, x in pattern)]


def _cover(body: Terms, pattern: Terms) -> list[tuple[int, int]]:
    """Return the offsets at which to use a pattern in a set.

    Uses may overlap, because joining a term twice changes nothing; a use must only cover two terms
    or more that no other use covers, or it would save nothing.
    """
    if len(pattern) > len(body):
        return []
    # All offsets at which the pattern is contained in the set.
    part, y0, x0 = min(pattern)
    offsets = [
        (y - y0, x - x0)
        for p, y, x in sorted(body)
        if p == part and all((q, b + y - y0, a + x - x0) in body for q, b, a in pattern)
    ]
    uncovered, chosen = set(body), []
    at = {d: {(p, y + d[0], x + d[1]) for p, y, x in pattern} for d in offsets}
    # First without overlap, from the first row and column on ...
    for d in offsets:
        if at[d] <= uncovered:
            chosen.append(d)
            uncovered -= at[d]
    # ... then where it covers most of what is left.
    while offsets:
        best = max(offsets, key=lambda d: len(at[d] & uncovered))
        if len(at[best] & uncovered) < 2:
            break
        chosen.append(best)
        uncovered -= at[best]
    return chosen
