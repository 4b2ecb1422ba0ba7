"""Structuring elements as sets of offsets (dy, dx) from the origin, in textbook orientation.

In volumes an offset is (dz, dy, dx), in rows (dx,).
"""

from functools import cache
from typing import Any

import numpy as np

Offset = tuple[int, ...]
Set = frozenset[Offset]


def origin(axes: int) -> Set:
    """Return the set that holds the origin alone."""
    return frozenset({(0,) * axes})


@cache
def reflect(selem: Set) -> Set:
    """Reflect a set through the origin."""
    return frozenset(minus(s) for s in selem)


@cache
def sum_of(one: Set, other: Set) -> Set:
    """Return the Minkowski sum of two sets."""
    return frozenset(add(s, t) for s in one for t in other)


def translate(selem: Set, offset: Offset) -> Set:
    """Move a set by an offset."""
    return frozenset(add(s, offset) for s in selem)


def add(one: Offset, other: Offset) -> Offset:
    """Return the sum of two offsets."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def minus(offset: Offset) -> Offset:
    """Return the opposite offset."""
    return tuple(-part for part in offset)


def box(selem: Set) -> list[tuple[int, int]]:
    """Return the bounds of a set: the least and the greatest offset along each axis."""
    return [(min(parts), max(parts)) for parts in zip(*selem, strict=True)]


def middle(selem: Set) -> Offset:
    """Return the centre of the bounds of a set, rounded down."""
    return tuple((low + high) // 2 for low, high in box(selem))


def radius(selem: Set) -> int:
    """Return the greatest offset of a set, in rows or columns; 0 for the empty set."""
    return max((max(map(abs, offset)) for offset in selem), default=0)


def offsets(window: np.ndarray) -> Set:
    """Return the pixels of a window as offsets from its centre.

    Args:
        window: bool `(kh, kw)`, or of other axes, odd sides.

    Returns:
        A set of (dy, dx).
    """
    middle = np.array(window.shape) // 2
    return frozenset(map(tuple, (np.argwhere(window) - middle).tolist()))


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
        return all(low <= 0 <= high for low, high in box(inner))
    return False


def _between(a: Offset, u: Offset) -> bool:
    """Return whether offset `a` lies in the rectangle from the origin to `u`."""
    return all(min(0, end) <= part <= max(0, end) for part, end in zip(a, u, strict=True))
