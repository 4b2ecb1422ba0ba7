"""Structuring elements: numpy bool arrays with the origin at the centre, of images and of volumes.

Those of images are `(size, size)`, `size` odd. Rows run downwards and columns to the right; angles
are counter-clockwise, as seen on the image. The names and sizes are those of Aouad & Talbot (ICIP
2022; DGMM 2022, arXiv 2204.08768; arXiv 2401.03830), whose experiments use `disk`, `hstick` and
`dcross` of size 7.

Those of volumes are `(slices, rows, columns)`. Where voxels are no cubes, `spacing` gives their
sides along these axes, in the unit of `size`: an element has the same extent along each axis, and
fewer voxels where they are longer.

All of them are symmetric about their centre, so that reflecting them changes nothing (a `rectangle`
with odd sides, too). All functions raise `ValueError` for a size that is not odd and positive.
"""

from collections.abc import Sequence

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


def rectangle(rows: int, columns: int) -> np.ndarray:
    """Return a full rectangle; its sides may be even.

    Args:
        rows: number of rows, 1 or more.
        columns: number of columns, 1 or more.

    Returns:
        bool `(rows, columns)`.

    Raises:
        ValueError: if a side is no whole number of at least 1.

    Example:
        >>> rectangle(1, 4).astype(int).tolist()
        [[1, 1, 1, 1]]
    """
    _checks.at_least("rows", rows, 1)
    _checks.at_least("columns", columns, 1)
    return np.ones((rows, columns), bool)


def ball(size: int, *, spacing: Sequence[float] = (1, 1, 1)) -> np.ndarray:
    """Return the Euclidean ball of radius `size // 2`; size 7 has 123 voxels.

    Args:
        size: diameter, odd and positive: the side of the array where voxels are unit cubes.
        spacing: sides of a voxel (slices, rows, columns), positive, in the unit of `size`.

    Returns:
        bool `(slices, rows, columns)`, with `2 * floor(size // 2 / side) + 1` voxels along an axis.

    Raises:
        ValueError: if `size` is not odd and positive, or `spacing` is not three positive numbers.

    Example:
        >>> ball(3)[1].astype(int).tolist()
        [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
        >>> ball(7, spacing=(3, 1, 1)).shape  # slices are three times as thick
        (3, 7, 7)
    """
    radius, (slices, rows, columns) = _voxels(size, spacing)
    return slices**2 + rows**2 + columns**2 <= radius**2 + _ROUNDING


def cube(size: int, *, spacing: Sequence[float] = (1, 1, 1)) -> np.ndarray:
    """Return the full cube of side `size`.

    Arguments, result and errors are those of `ball`.

    Example:
        >>> int(cube(3).sum())
        27
    """
    _, distances = _voxels(size, spacing)
    return np.ones(np.broadcast_shapes(*(distance.shape for distance in distances)), bool)


def octahedron(size: int, *, spacing: Sequence[float] = (1, 1, 1)) -> np.ndarray:
    """Return the city-block ball of radius `size // 2`; size 3 has 7 voxels.

    Arguments, result and errors are those of `ball`.

    Example:
        >>> int(octahedron(3).sum())
        7
    """
    radius, (slices, rows, columns) = _voxels(size, spacing)
    return abs(slices) + abs(rows) + abs(columns) <= radius + _ROUNDING


def line(
    size: int, direction: Sequence[float], *, spacing: Sequence[float] = (1, 1, 1)
) -> np.ndarray:
    """Return a line one voxel thick through the centre of a volume.

    It has one voxel for each step along the axis that it crosses fastest.

    Args:
        size: extent along the longest part of the direction, odd and positive, as for `ball`.
        direction: (slices, rows, columns), in the unit of `size`; not zero.
        spacing: sides of a voxel, as for `ball`.

    Returns:
        bool `(slices, rows, columns)`, as small as the line allows.

    Raises:
        ValueError: under the conditions of `ball`, or if `direction` is not three finite numbers
            with one that is not 0.

    Example:
        >>> line(3, (1, 0, 0)).shape
        (3, 1, 1)
        >>> np.argwhere(line(3, (0, 1, 1))).tolist()
        [[0, 0, 0], [0, 1, 1], [0, 2, 2]]
    """
    radius, _ = _voxels(size, spacing)
    part = np.asarray(direction, float)
    is_direction = part.shape == (3,) and bool(np.isfinite(part).all() and part.any())
    _checks.require(is_direction, "direction", "three finite numbers, not all 0", direction)
    reach = radius * part / abs(part).max() / np.asarray(spacing, float)  # in voxels
    count = int(abs(reach).max() + _ROUNDING)
    # `rint` is an odd function, so the line is symmetric.
    steps = np.arange(-count, count + 1)[:, None]
    voxels = np.rint(steps * reach / max(abs(reach).max(), 1e-300)).astype(int)
    sides = 2 * voxels.max(0) + 1
    result = np.zeros(sides, bool)
    result[tuple((voxels + sides // 2).T)] = True
    return result


_ROUNDING = 1e-9  # multiples of a spacing that should be a radius may miss it by this
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


def _voxels(size: int, spacing: Sequence[float]) -> tuple[int, list[np.ndarray]]:
    """Return the radius of an element, and its distances from the centre along each axis."""
    _grid(size)
    sides = np.asarray(spacing, float)
    positive = sides.shape == (3,) and bool((sides > 0).all() and np.isfinite(sides).all())
    _checks.require(positive, "spacing", "three positive numbers", spacing)
    radius = int(size) // 2
    counts = [int(radius / side + _ROUNDING) for side in sides]
    offsets = np.ogrid[tuple(slice(-count, count + 1) for count in counts)]
    return radius, [offset * side for offset, side in zip(offsets, sides, strict=True)]
