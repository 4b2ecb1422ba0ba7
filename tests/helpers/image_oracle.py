"""Independent references: `scipy.ndimage` for the operators, Pillow for drawn shapes."""

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage


def erosion(image, selem, border) -> np.ndarray:
    if border == "replicate":
        grey = ndimage.grey_erosion(image.astype(np.uint8), footprint=selem, mode="nearest")
        return np.asarray(grey, bool)
    return np.asarray(ndimage.binary_erosion(image, selem, border_value=border == "ignore"))


def dilation(image, selem, border) -> np.ndarray:
    if border == "replicate":
        grey = ndimage.grey_dilation(image.astype(np.uint8), footprint=selem, mode="nearest")
        return np.asarray(grey, bool)
    return np.asarray(ndimage.binary_dilation(image, selem))


def opening(image, selem, border) -> np.ndarray:
    if border == "constant":
        return np.asarray(ndimage.binary_opening(image, selem))
    return dilation(erosion(image, selem, border), selem, border)


def closing(image, selem, border) -> np.ndarray:
    if border == "constant":
        return np.asarray(ndimage.binary_closing(image, selem))
    return erosion(dilation(image, selem, border), selem, border)


def white_top_hat(image, selem, border) -> np.ndarray:
    return image & ~opening(image, selem, border)


def black_top_hat(image, selem, border) -> np.ndarray:
    return closing(image, selem, border) & ~image


def rectangle(x, y, width, length, angle, size):
    """A rectangle turned by `angle` degrees about its corner (x, y), drawn by Pillow."""
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    corners = [(0, 0), (width, 0), (width, length), (0, length)]
    polygon = [(x + p * cos + q * sin, y - p * sin + q * cos) for p, q in corners]
    return _drawn(size, lambda canvas: canvas.polygon(polygon, fill=1))


def ellipse(x, y, rx, ry, size):
    """An upright ellipse, drawn by Pillow."""
    box = (x - rx, y - ry, x + rx, y + ry)
    return _drawn(size, lambda canvas: canvas.ellipse(box, fill=1))


def _drawn(size, draw):
    image = Image.new("F", (size[1], size[0]), 0)
    draw(ImageDraw.Draw(image))
    return np.asarray(image) > 0


def images_of(rng, dtype, channels, shape=(2, 12, 15)):
    """Random images with ties, each channel over a range of its own that starts above 0."""
    steps = rng.integers(0, 20, (*shape, channels)) + 5 * np.arange(1, channels + 1)
    if np.issubdtype(dtype, np.integer):
        return (steps * 5).astype(dtype)
    return (steps / 7 - 3).astype(dtype)
