"""Structuring elements as numpy bool arrays `(size, size)`, `size` odd, origin at the centre.

All of them are symmetric about their centre, so that reflecting them changes nothing. Rows run
downwards, columns to the right; angles are counter-clockwise, as seen on the image. The names and
sizes are those of Aouad & Talbot (ICIP 2022; DGMM 2022, arXiv 2204.08768; arXiv 2401.03830), whose
experiments use `disk`, `hstick` and `dcross` of size 7.
"""

import numpy as np

from morphax import _checks


def disk(size: int) -> np.ndarray:
    """The Euclidean disk of radius `size // 2`; size 7 has 29 pixels, size 5 has 13.

    Args:
        size: side of the array, odd and positive; `ValueError` otherwise, as everywhere here.

    >>> disk(5).astype(int)
    array([[0, 0, 1, 0, 0],
           [0, 1, 1, 1, 0],
           [1, 1, 1, 1, 1],
           [0, 1, 1, 1, 0],
           [0, 0, 1, 0, 0]])
    """
    rows, columns = _grid(size)
    return rows**2 + columns**2 <= (size // 2) ** 2


def square(size: int) -> np.ndarray:
    """The full `size` x `size` square.

    >>> int(square(3).sum())
    9
    """
    _grid(size)
    return np.ones((size, size), bool)


def diamond(size: int) -> np.ndarray:
    """The city-block disk of radius `size // 2`; size 7 has 25 pixels.

    >>> diamond(3).astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])
    """
    rows, columns = _grid(size)
    return abs(rows) + abs(columns) <= size // 2


def stick(size: int, angle: float) -> np.ndarray:
    """A line one pixel thick through the centre, across the whole window.

    Args:
        size: side of the array, odd and positive: the line has `size` pixels at every angle.
        angle: degrees, finite, counter-clockwise from the horizontal: 0 is the papers' `hstick`,
            90 their `vstick`. The line is 8-connected and symmetric about the centre.

    >>> stick(5, 30).astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 0, 0, 1, 1],
           [0, 0, 1, 0, 0],
           [1, 1, 0, 0, 0],
           [0, 0, 0, 0, 0]])
    """
    _grid(size)
    _checks.require(bool(np.isfinite(angle)), "angle", "a finite number of degrees", angle)
    radius = size // 2
    right, up = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    # One pixel per step along the longer direction, rounded across it (rint is odd: symmetric).
    steps = np.arange(-radius, radius + 1)
    reach = steps / max(abs(right), abs(up))
    rows, columns = (np.rint(reach * part).astype(int) for part in (-up, right))
    line = np.zeros((size, size), bool)
    line[radius + rows, radius + columns] = True
    return line


def cross(size: int, *, diagonal: bool = False) -> np.ndarray:
    """Middle row and middle column, or with `diagonal` both diagonals; 2 * size - 1 pixels.

    >>> cross(3, diagonal=True).astype(int)
    array([[1, 0, 1],
           [0, 1, 0],
           [1, 0, 1]])
    """
    rows, columns = _grid(size)
    return abs(rows) == abs(columns) if diagonal else rows * columns == 0


_NAMED = {
    "disk": disk,
    "square": square,
    "diamond": diamond,
    "hstick": lambda size: stick(size, 0),
    "vstick": lambda size: stick(size, 90),
    "dcross": lambda size: cross(size, diagonal=True),
    "scross": cross,
}
NAMES = tuple(_NAMED)


def named(name: str, size: int) -> np.ndarray:
    """The element of that name: one of `NAMES`.

    Args:
        name: `"disk"`, `"square"`, `"diamond"`, `"hstick"`, `"vstick"`, `"dcross"` (diagonal
            cross) or `"scross"` (straight cross); `ValueError` for any other.
        size: side of the array, odd and positive.

    >>> [int(named(name, 7).sum()) for name in ("disk", "hstick", "dcross")]
    [29, 7, 13]
    """
    _checks.one_of("name", name, NAMES)
    return _NAMED[name](size)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column offsets from the centre, `(size, 1)` and `(1, size)`."""
    whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    _checks.require(whole and size > 0 and size % 2 == 1, "size", "an odd positive integer", size)
    radius = int(size) // 2
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return rows, columns
