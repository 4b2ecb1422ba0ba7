"""Otsu's threshold of an image and of its places, to say how bright a pixel is relative to them.

Gray images are uint8 `(H, W)`; the foreground is bright.
Source: N. Otsu, "A threshold selection method from gray-level histograms" (IEEE SMC 1979).
"""

import numpy as np

from morphax import _checks


def otsu(image: np.ndarray) -> int:
    """Return Otsu's threshold, the least level of the foreground.

    Args:
        image: uint8, any shape, not empty.

    Returns:
        From 1 to 255: the least one of the best. `ValueError` for another dtype.

    Example:
        >>> otsu(np.array([[10, 12, 200]], np.uint8))
        13
    """
    _checks.require(image.dtype == np.uint8 and image.size > 0, "image", "uint8", image.dtype)
    count = np.bincount(image.ravel(), minlength=256).astype(float)
    below, total = np.cumsum(count), np.cumsum(count * np.arange(256))
    product = below * (below[-1] - below)
    between = (total[-1] * below - below[-1] * total) ** 2 / np.maximum(product, 1)
    return min(int(np.argmax(np.where(product > 0, between, -1))) + 1, 255)


def root_otsu(image: np.ndarray) -> float:
    """Return Otsu's threshold of the square roots of the levels, as a gray value.

    The noise of photons grows with the brightness; square roots make it even.

    Args:
        image: uint8, any shape, not empty.

    Returns:
        A positive gray value.

    Example:
        >>> 12 < root_otsu(np.array([[10, 12, 200]], np.uint8)) < 200
        True
    """
    root = np.sqrt(np.maximum(image, 1).astype(float))
    return float((otsu((root / root.max() * 255).astype(np.uint8)) / 255 * root.max()) ** 2)


def local_threshold(image: np.ndarray, *, window: int = 64) -> np.ndarray:
    """Compute `root_otsu` of overlapping square tiles, interpolated between their centres.

    Args:
        image: uint8 `(H, W)`, no side below `window`.
        window: side of the tiles, even; they overlap by half.

    Returns:
        float64 `(H, W)`; beyond the outer centres it is constant. `ValueError` for a smaller image.

    Example:
        >>> local_threshold(np.full((64, 80), 9, np.uint8)).shape
        (64, 80)
    """
    fits = image.ndim == 2 and min(image.shape) >= window
    _checks.require(fits, "image", f"(H, W), sides of {window} or more", image.shape)
    half = window // 2
    centres = [np.arange(half, side - half + 1, half) for side in image.shape]
    rows = [image[r - half : r + half] for r in centres[0]]
    tiles = [[root_otsu(row[:, c - half : c + half]) for c in centres[1]] for row in rows]

    def weights(side: int, points: np.ndarray) -> np.ndarray:
        return np.stack(
            [np.interp(np.arange(side), points, row) for row in np.eye(len(points))], -1
        )

    height, width = image.shape
    return weights(height, centres[0]) @ np.array(tiles) @ weights(width, centres[1]).T


def relative_brightness(images: np.ndarray) -> np.ndarray:
    """Compute how bright each pixel is relative to its image, and to its place.

    Args:
        images: uint8 `(N, H, W, 1)`, no side below 64.

    Returns: float32 `(N, H, W, 2)`: the image over its `root_otsu`, and over its `local_threshold`,
        which is taken as half of the former where it is less (a tile of noise has no say).
        `ValueError` for others.

    Example:
        >>> relative_brightness(np.full((1, 64, 64, 1), 200, np.uint8)).shape
        (1, 64, 64, 2)
    """
    gray = images.ndim == 4 and images.shape[-1] == 1
    _checks.require(gray, "images", "shape (N, H, W, 1)", images.shape)
    made = []
    for image in images[..., 0]:
        whole = root_otsu(image)
        place = np.maximum(local_threshold(image), whole / 2)
        made.append(np.stack([image / whole, image / place], -1))
    return np.stack(made).astype(np.float32)
