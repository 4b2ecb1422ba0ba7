"""Structuring elements: numpy bool arrays `(size, size)`, `size` odd, the origin at the centre.

All of them are symmetric about their centre, so that reflecting them changes nothing. Rows run
downwards and columns to the right; angles are counter-clockwise, as seen on the image. The names
and sizes are those of Aouad & Talbot (ICIP 2022; DGMM 2022, arXiv 2204.08768; arXiv 2401.03830),
whose experiments use `disk`, `hstick` and `dcross` of size 7. All functions raise `ValueError` for
a size that is not odd and positive.
"""

import numpy as np

from morphax import _checks


def disk(size: int) -> np.ndarray:
    """Return the Euclidean disk of radius `size // 2`; size 7 has 29 pixels, size 5 has 13.

    Args:
        size: side of the array, odd and positive.

    Returns:
        bool `(size, size)`.

    Example:
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
    """Return the full `size` x `size` square.

    Arguments and result are those of `disk`.

    Example:
        >>> int(square(3).sum())
        9
    """
    _grid(size)
    return np.ones((size, size), bool)


def diamond(size: int) -> np.ndarray:
    """Return the city-block disk of radius `size // 2`; size 7 has 25 pixels.

    Arguments and result are those of `disk`.

    Example:
        >>> diamond(3).astype(int)
        array([[0, 1, 0],
               [1, 1, 1],
               [0, 1, 0]])
    """
    rows, columns = _grid(size)
    return abs(rows) + abs(columns) <= size // 2


def stick(size: int, angle: float) -> np.ndarray:
    """Return a line one pixel thick through the centre, across the whole window.

    The line is 8-connected and symmetric about the centre.

    Args:
        size: side of the array, odd and positive: the line has `size` pixels at every angle.
        angle: finite angle in degrees, counter-clockwise from the horizontal: 0 is the papers'
            `hstick`, 90 their `vstick`.

    Returns:
        bool `(size, size)`.

    Raises:
        ValueError: if `size` is not odd and positive, or `angle` is not finite.

    Example:
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
    # One pixel for each step along the longer direction, rounded across it. `rint` is an odd
    # function, so the line is symmetric.
    steps = np.arange(-radius, radius + 1)
    along = steps / max(abs(right), abs(up))
    rows, columns = (np.rint(along * part).astype(int) for part in (-up, right))
    line = np.zeros((size, size), bool)
    line[radius + rows, radius + columns] = True
    return line


def cross(size: int, *, diagonal: bool = False) -> np.ndarray:
    """Return a cross of 2 * size - 1 pixels.

    Args:
        size: side of the array, odd and positive.
        diagonal: return both diagonals instead of the middle row and the middle column.

    Returns:
        bool `(size, size)`.

    Example:
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
    """Return the structuring element of a given name.

    Args:
        name: one of `NAMES`: "disk", "square", "diamond", "hstick" (horizontal stick), "vstick"
            (vertical stick), "dcross" (diagonal cross) or "scross" (straight cross).
        size: side of the array, odd and positive.

    Returns:
        bool `(size, size)`.

    Raises:
        ValueError: if the name is unknown, or `size` is not odd and positive.

    Example:
        >>> [int(named(name, 7).sum()) for name in ("disk", "hstick", "dcross")]
        [29, 7, 13]
    """
    _checks.one_of("name", name, NAMES)
    return _NAMED[name](size)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column offsets from the centre, `(size, 1)` and `(1, size)`."""
    whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    _checks.require(whole and size > 0 and size % 2 == 1, "size", "an odd positive integer", size)
    radius = int(size) // 2
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return rows, columns
