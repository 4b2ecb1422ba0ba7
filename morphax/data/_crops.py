"""Cut one window from all sides of a pair, and say which of its pixels count.

Sides are arrays `(H, W, C)` of one height and width: input, target and perhaps mask. Those of
volumes have an axis of slices in front, and their crops three sizes.
"""

from collections.abc import Sequence

import numpy as np

from morphax import _checks


def require_crop(
    size: tuple[int, ...], frame: tuple[int, ...], shape: tuple[int, ...], what: str
) -> None:
    """Refuse crops that do not fit into an image, or of which no pixel counts.

    Args:
        size: rows and columns of a crop; of a volume slices, rows and columns.
        frame: how many of them at its sides do not count.
        shape: those of the image.
        what: words for `shape`, for the message.

    Raises:
        ValueError: the image is smaller, or the frame leaves nothing.
    """
    _checks.integers("size", size, 1, count=len(shape))
    _checks.integers("frame", frame, 0, count=len(shape))
    inside = all(2 * cut < side for cut, side in zip(frame, size, strict=True))
    _checks.require(inside, "frame", f"less than half of the size {tuple(size)}", tuple(frame))
    fits = all(side <= whole for side, whole in zip(size, shape, strict=True))
    axes = "rows and columns" if len(shape) == 2 else "slices, rows and columns"
    _checks.require(fits, "size", f"{axes} of at most {shape}, {what}", tuple(size))


def crop(
    sides: Sequence[np.ndarray],
    corner: Sequence[int],
    size: Sequence[int],
    frame: Sequence[int],
) -> tuple[np.ndarray, ...]:
    """Return the same window of each side.

    Args:
        sides: input, target and perhaps mask, `(H, W, C)`.
        corner: first row and column; of a volume first slice, row and column.
        size: rows and columns; of a volume slices, rows and columns.
        frame: rows and columns near a cut that do not count.

    Returns:
        The windows, `(*size, C)`; with a frame, a mask is always among them.
    """
    window = tuple(slice(at, at + side) for at, side in zip(corner, size, strict=True))
    parts = tuple(side[window] for side in sides)
    if not any(frame):
        return parts
    # Where the crop ends at the border of the image, nothing was cut away.
    counts = np.zeros((*size, 1), bool)
    limits = zip(corner, size, frame, sides[0].shape[:-1], strict=True)
    kept = tuple(
        slice(0 if at == 0 else cut, side if at + side == whole else side - cut)
        for at, side, cut, whole in limits
    )
    counts[kept] = True
    return (*parts[:2], counts & parts[2] if len(parts) > 2 else counts)
