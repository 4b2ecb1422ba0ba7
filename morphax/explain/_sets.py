"""Structuring elements as sets of offsets (dy, dx), seen from the origin; textbook orientation."""

from functools import cache
from typing import Any

import numpy as np

Set = frozenset[tuple[int, int]]
ORIGIN: Set = frozenset({(0, 0)})


@cache
def reflect(selem: Set) -> Set:
    """The set through the origin."""
    return frozenset(minus(s) for s in selem)


@cache
def sum_of(one: Set, other: Set) -> Set:
    """Minkowski sum."""
    return frozenset(add(s, t) for s in one for t in other)


def translate(selem: Set, offset: tuple[int, int]) -> Set:
    """The set moved by an offset."""
    return frozenset(add(s, offset) for s in selem)


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Sum of two offsets."""
    return one[0] + other[0], one[1] + other[1]


def minus(offset: tuple[int, int]) -> tuple[int, int]:
    """The opposite offset."""
    return -offset[0], -offset[1]


def box(selem: Set) -> tuple[int, int, int, int]:
    """Bounds of a set: first and last row, first and last column."""
    rows, columns = zip(*selem, strict=True)
    return min(rows), max(rows), min(columns), max(columns)


def middle(selem: Set) -> tuple[int, int]:
    """The centre of the bounds, rounded down."""
    top, bottom, left, right = box(selem)
    return (top + bottom) // 2, (left + right) // 2


def radius(selem: Set) -> int:
    """The greatest offset of a set, in rows or columns; 0 of none."""
    return max((max(abs(y), abs(x)) for y, x in selem), default=0)


def offsets(window: np.ndarray) -> Set:
    """The pixels of a window, seen from its centre.

    Args:
        window: bool `(kh, kw)`, odd sides.

    Returns:
        A set of (dy, dx).
    """
    middle = np.array(window.shape) // 2
    return frozenset((int(y), int(x)) for y, x in np.argwhere(window) - middle)


def compose(outer: Set, inner: Set, fill: Any) -> bool:
    """Whether two dilations on a frame are one, by the sum: nothing gets lost beyond the frame."""
    if fill == 0:  # each sum is reached by a way that stays between its ends
        within = {add(a, b) for a in outer for b in inner if _between(a, add(a, b))}
        return within == sum_of(outer, inner)
    if fill == 1:  # pixels beyond the frame are 1 already: so is what the sum finds there
        top, bottom, left, right = box(inner)
        return top <= 0 <= bottom and left <= 0 <= right
    return False


def _between(a: tuple[int, int], u: tuple[int, int]) -> bool:
    return all(min(0, end) <= part <= max(0, end) for part, end in zip(a, u, strict=True))
