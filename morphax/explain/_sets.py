"""Structuring elements as sets of offsets (dy, dx) from the origin, in textbook orientation."""

from functools import cache
from typing import Any

import numpy as np

Set = frozenset[tuple[int, int]]
ORIGIN: Set = frozenset({(0, 0)})


@cache
def reflect(selem: Set) -> Set:
    """Reflect a set through the origin."""
    return frozenset(minus(s) for s in selem)


@cache
def sum_of(one: Set, other: Set) -> Set:
    """Return the Minkowski sum of two sets."""
    return frozenset(add(s, t) for s in one for t in other)


def translate(selem: Set, offset: tuple[int, int]) -> Set:
    """Move a set by an offset."""
    return frozenset(add(s, offset) for s in selem)


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Return the sum of two offsets."""
    return one[0] + other[0], one[1] + other[1]


def minus(offset: tuple[int, int]) -> tuple[int, int]:
    """Return the opposite offset."""
    return -offset[0], -offset[1]


def box(selem: Set) -> tuple[int, int, int, int]:
    """Return the bounds of a set: first and last row, first and last column."""
    rows, columns = zip(*selem, strict=True)
    return min(rows), max(rows), min(columns), max(columns)


def middle(selem: Set) -> tuple[int, int]:
    """Return the centre of the bounds of a set, rounded down."""
    top, bottom, left, right = box(selem)
    return (top + bottom) // 2, (left + right) // 2


def radius(selem: Set) -> int:
    """Return the greatest offset of a set, in rows or columns; 0 for the empty set."""
    return max((max(abs(y), abs(x)) for y, x in selem), default=0)


def offsets(window: np.ndarray) -> Set:
    """Return the pixels of a window as offsets from its centre.

    Args:
        window: bool `(kh, kw)`, odd sides.

    Returns:
        A set of (dy, dx).
    """
    middle = np.array(window.shape) // 2
    return frozenset((int(y), int(x)) for y, x in np.argwhere(window) - middle)


def compose(outer: Set, inner: Set, fill: Any) -> bool:
    """Return whether two dilations on a frame equal one dilation by the sum of their sets.

    On an infinite plane they always do. On a frame, the value between the two steps may lie beyond
    it, where it is lost.

    Args:
        outer: set of the second dilation.
        inner: set of the first dilation.
        fill: value beyond the frame.
    """
    # Each element of the sum must be reached in two steps whose intermediate pixel lies between
    # the two ends, and so inside the frame.
    if fill == 0:
        within = {add(a, b) for a in outer for b in inner if _between(a, add(a, b))}
        return within == sum_of(outer, inner)
    # Where a step leaves the frame it finds a 1. The sum finds it too if the inner set has pixels
    # on both sides of the origin, or on it.
    if fill == 1:
        top, bottom, left, right = box(inner)
        return top <= 0 <= bottom and left <= 0 <= right
    return False


def _between(a: tuple[int, int], u: tuple[int, int]) -> bool:
    """Return whether offset `a` lies in the rectangle from the origin to `u`."""
    return all(min(0, end) <= part <= max(0, end) for part, end in zip(a, u, strict=True))
