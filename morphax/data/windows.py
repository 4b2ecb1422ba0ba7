"""Windows of operators: the offsets of the pixels that an operator looks at.

A *window* is an int array `(n, axes + 1)`: an offset along each axis of the image and the number of
a plane. Users give it as an odd side, as an odd side for each axis, or as a bool array of pixels.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from morphax import _checks

Window = int | Sequence[int] | np.ndarray
"""A window as users give it: an odd side, an odd side for each axis, or a bool array of pixels."""


def square_window(size: Window, *planes: int, axes: int = 2) -> np.ndarray:
    """Return the window of the same pixels of each of the given planes, such as a square.

    Args:
        size: odd side of a square or cube; or an odd side for each axis; or a bool array with odd
            sides, whose set pixels are looked at, with its centre as origin.
        *planes: numbers of the planes that are looked at; plane 0 by default.
        axes: number of axes of the images: 2, or 3 for volumes.

    Returns:
        int `(pixels * planes, axes + 1)`, row by row, plane by plane.

    Raises:
        ValueError: a side is even or not positive, there is not one for each axis, or no pixel.

    Example:
        >>> square_window(3)[[0, 4, 8]].tolist()
        [[-1, -1, 0], [0, 0, 0], [1, 1, 0]]
        >>> square_window((1, 1, 3), axes=3).tolist()
        [[0, 0, -1, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    """
    sides = window_sides(size, axes, argument="size")
    pixels = size if is_mask(size) else np.ones(sides, bool)
    _checks.require(bool(np.any(pixels)), "size", "a window with a pixel", "none")
    offsets = np.argwhere(pixels) - np.array(sides) // 2
    chosen = np.repeat(planes or (0,), len(offsets))
    return np.column_stack([np.tile(offsets, (len(planes) or 1, 1)), chosen])


def is_mask(window: Window) -> bool:
    """Return whether a window is given as a bool array of its pixels."""
    return isinstance(window, np.ndarray) and window.dtype == bool


def window_sides(
    window: Window,
    axes: int,
    *,
    argument: str = "window",
    within: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Return the sides of a window, after checking them.

    Args:
        window: an odd side, an odd side for each axis, or a bool array with odd sides.
        axes: number of axes of the images.
        argument: name of the argument, for messages.
        within: least size of the images along each axis, which no side may exceed.

    Returns:
        One side for each axis.

    Raises:
        ValueError: a side that is even or too large, or not one for each axis.

    Example:
        >>> window_sides(5, 3), window_sides((1, 3, 3), 3)
        ((5, 5, 5), (1, 3, 3))
    """
    expected, got = f"an odd side, or {axes} odd sides", window
    sides: tuple[Any, ...] = (window,) * axes
    if is_mask(window):
        sides, got = np.shape(window), f"an array of {np.ndim(window)} axes, {np.shape(window)}"
    elif not isinstance(window, int | np.integer):
        sides = tuple(window)
    if within is not None and np.ndim(window) == 0:
        expected = f"an odd side of at most {min(within)}, the least side of the {named(axes)}"
    elif within is not None:
        most = ", ".join(map(str, within))
        expected = f"{axes} odd sides of at most {most}, the least sides of the {named(axes)}"
    fits = len(sides) == axes and all(isinstance(side, int | np.integer) for side in sides)
    fits = fits and all(side % 2 == 1 and side > 0 for side in sides)
    fits = fits and (within is None or all(np.array(sides) <= within))
    _checks.require(fits, argument, expected, got)
    return tuple(map(int, sides))


def named(axes: int) -> str:
    """Return the word for images of so many axes: "rows", "images" or "volumes"."""
    return ("rows", "images", "volumes")[axes - 1]


def least_sizes(planes: Iterable[np.ndarray]) -> tuple[int, ...]:
    """Return the least size of images along each axis.

    Args:
        planes: arrays `(H, W, C)`, or of other axes before the channels.

    Returns:
        One size for each axis, such as (rows, columns).

    Example:
        >>> least_sizes([np.zeros((5, 9, 1)), np.zeros((7, 4, 1))])
        (5, 4)
    """
    return tuple(map(min, zip(*(each.shape[:-1] for each in planes), strict=True)))
