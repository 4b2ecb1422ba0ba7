"""Make planes of bits from gray images: level sets of values and of local contrasts.

Three kinds of planes, of each channel:

- `value >= q`, q a quantile of the values of the same image;
- `value - mean >= d`, with the mean of a square window around the pixel, and d in gray levels;
- `contrast >= c`, the contrast of `morphax.morphology.contrast.local_contrast` in units of a
  spread.

Whole numbers throughout, so that the planes are the same on every machine. Beyond the frame lies
the nearest pixel. A bool image is its own plane. In volumes the windows are cubes.
"""

from typing import NamedTuple

import numpy as np

from morphax import _checks

FLOOR = 6
"""Gray levels added to the spread, so that noise on flat ground stays small."""
UNIT = 64
"""A contrast of one spread."""


class GrayPlanes(NamedTuple):
    """Say which planes are made of a gray image.

    Attributes:
        shares: of the quantiles, from 0 to 1.
        offsets: thresholds d in gray levels.
        contrasts: thresholds c, in 64ths of the spread.
        offset_side, contrast_side: odd sides of the windows of the local mean.
    """

    shares: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9)
    offsets: tuple[int, ...] = (-40, -25, -12, -4, 4, 12)
    contrasts: tuple[int, ...] = ()
    offset_side: int = 31
    contrast_side: int = 31


def gray_planes(image: np.ndarray, kinds: GrayPlanes) -> np.ndarray:
    """Return the planes of an image.

    Args:
        image: bool or whole numbers `(H, W, C)` or `(D, H, W, C)`, of at most 16 bits.
        kinds: which planes are made of gray values.

    Returns:
        bool `(H, W, planes)` or `(D, H, W, planes)`, the planes of a channel one after the other.

    Example:
        >>> image = np.array([[[10], [20], [90]]], np.uint8)
        >>> kinds = GrayPlanes(shares=(0.5,), offsets=(0,), offset_side=3)
        >>> gray_planes(image, kinds)[0].astype(int).tolist()
        [[0, 0], [1, 0], [1, 1]]
    """
    if image.dtype == bool:
        return image
    planes = []
    for channel in np.moveaxis(image.astype(np.int64), -1, 0):
        # A quantile that is a value of the image: no rounding.
        cuts = np.quantile(channel, kinds.shares, method="higher") if kinds.shares else ()
        planes += [channel >= cut for cut in cuts]
        if kinds.offsets:
            away, n = _away(channel, kinds.offset_side)
            planes += [away >= n * offset for offset in kinds.offsets]
        if kinds.contrasts:
            away, n = _away(channel, kinds.contrast_side)
            spread = _box(np.abs(away), kinds.contrast_side) // n
            contrast = UNIT * away // (spread + n * FLOOR)
            planes += [contrast >= cut for cut in kinds.contrasts]
    _checks.require(len(planes) > 0, "kinds", "one plane or more", kinds)
    return np.stack(planes, -1)


def _away(channel: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """Return n times (value - mean of the n pixels around), and n."""
    n = side**channel.ndim
    return n * channel - _box(channel, side), n


def _box(values: np.ndarray, side: int) -> np.ndarray:
    """Add up the values of the window around each pixel, by differences of cumulated sums."""
    half = side // 2
    sums = np.pad(values, half, mode="edge")
    for axis in range(values.ndim):
        total = np.cumsum(sums, axis=axis)
        before = np.insert(np.delete(total, -1, axis), 0, 0, axis)
        length = values.shape[axis]
        sums = np.take(total, np.arange(side - 1, side - 1 + length), axis) - np.take(
            before, np.arange(length), axis
        )
    return sums
