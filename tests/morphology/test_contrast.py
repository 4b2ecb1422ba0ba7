"""Colour differences, local contrast and directions of edges, against NumPy, pixel by pixel."""

import itertools

import jax
import numpy as np
import pytest
from scipy import ndimage

from morphax.morphology import contrast, levelsets


def plain(image, side, floor):
    """The contrast of one gray image, one window at a time, in whole numbers of any size."""
    height, width = image.shape
    n, half = side * side, side // 2

    def window(plane, y, x):
        rows = [min(max(y + i, 0), height - 1) for i in range(-half, half + 1)]
        columns = [min(max(x + i, 0), width - 1) for i in range(-half, half + 1)]
        return [int(plane[i, j]) for i, j in itertools.product(rows, columns)]

    places = list(itertools.product(range(height), range(width)))
    away = np.zeros(image.shape, np.int64)
    for y, x in places:
        away[y, x] = n * int(image[y, x]) - sum(window(image, y, x))
    found = np.zeros(image.shape, np.int64)
    for y, x in places:
        spread = sum(abs(d) for d in window(away, y, x)) // n
        found[y, x] = 64 * int(away[y, x]) // (spread + n * floor)
    return found


@pytest.mark.parametrize(("side", "floor"), [(3, 1), (5, 8), (7, 20)])
def test_contrast_is_what_it_says(rng, side, floor):
    images = rng.integers(0, 256, (2, 9, 8, 3)).astype(np.uint8)
    images[0, :4] //= 16
    found = np.asarray(contrast.local_contrast(images, side=side, floor=floor))
    for i, c in itertools.product(range(2), range(3)):
        np.testing.assert_array_equal(found[i, ..., c], plain(images[i, ..., c], side, floor))


def test_nothing_overflows():
    low = -1023
    board = np.where(np.indices((24, 24)).sum(0) % 2, 1023, low)
    for image in (board, np.pad(np.array([[1023 - low]]), 12) + low):
        found = np.asarray(contrast.local_contrast(image[None, ..., None], side=21, floor=1))
        np.testing.assert_array_equal(found[0, ..., 0], plain(image, 21, 1))


def test_contrast_forgets_brightness_and_most_of_the_scale(rng):
    images = rng.integers(0, 100, (1, 12, 12, 1))
    found = contrast.local_contrast(images, side=5)
    np.testing.assert_array_equal(contrast.local_contrast(images + 90, side=5), found)
    doubled = np.asarray(contrast.local_contrast(2 * images, side=5, floor=16))
    assert np.abs(doubled - found).max() <= 1  # what rounding the spread down may change
    assert not np.asarray(contrast.local_contrast(np.full((1, 6, 6, 2), 77), side=3)).any()


def test_a_level_set_of_the_contrast_is_an_adaptive_threshold(rng):
    images = rng.integers(0, 256, (1, 16, 16, 1))
    bits = levelsets.decompose(contrast.local_contrast(images, side=7), np.array([[0]]))
    padded = np.pad(images[0, ..., 0], 3, mode="edge")
    sums = np.lib.stride_tricks.sliding_window_view(padded, (7, 7)).sum((2, 3))
    np.testing.assert_array_equal(bits[0, ..., 0], 49 * images[0, ..., 0] >= sums)


def test_opponents_are_the_sums_and_differences(rng):
    images = rng.integers(0, 256, (2, 5, 4, 3)).astype(np.uint8)
    r, g, b = np.moveaxis(images.astype(int), -1, 0)
    wanted = np.stack([r + g + b, r - b, 2 * g - r - b], -1)
    np.testing.assert_array_equal(contrast.opponents(images), wanted)


COMPASS = np.array([
    [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]],
    [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    [[2, 1, 0], [1, 0, -1], [0, -1, -2]],
])  # fmt: skip
"""Robinson's masks of the directions right, up right, up and up left."""


@pytest.mark.parametrize("colours", [1, 3])
def test_directions_are_correlations_with_the_compass_masks(rng, colours):
    images = rng.integers(0, 256, (2, 7, 9, colours)).astype(np.uint8)
    found = np.asarray(jax.jit(contrast.directions)(images))
    for image, planes in zip(images.astype(int).sum(-1), found, strict=True):
        for k, mask in enumerate([*COMPASS, *-COMPASS]):
            wanted = ndimage.correlate(image, mask, mode="nearest")
            np.testing.assert_array_equal(planes[..., k], wanted)


def test_directions_of_a_mirrored_image(rng):
    images = rng.integers(-1023, 1024, (2, 7, 9, 3))
    mirrored = np.asarray(contrast.directions(images))[:, :, ::-1]
    swapped = mirrored[..., [4, 3, 2, 1, 0, 7, 6, 5]]
    np.testing.assert_array_equal(jax.jit(contrast.directions)(images[:, :, ::-1]), swapped)


def test_channels_one_kind_after_the_other(rng):
    images = rng.integers(0, 256, (2, 7, 9, 3)).astype(np.uint8)
    kinds = ["gray", "opponents", "directions", "opponents:3"]
    found = jax.jit(lambda x: contrast.channels(x, kinds))(images)
    colours = np.asarray(contrast.opponents(images))
    parts = [
        images,
        colours,
        contrast.directions(images),
        contrast.local_contrast(colours, side=3),
    ]
    np.testing.assert_array_equal(found, np.concatenate(parts, -1))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("images", lambda: contrast.opponents(np.zeros((1, 4, 4, 1), int))),
        ("images", lambda: contrast.local_contrast(np.zeros((1, 4, 4, 1)), side=3)),
        ("side", lambda: contrast.local_contrast(np.zeros((1, 4, 4, 1), int), side=4)),
        ("floor", lambda: contrast.local_contrast(np.zeros((1, 4, 4, 1), int), side=3, floor=0)),
        ("images", lambda: contrast.directions(np.zeros((1, 4, 4, 1)))),
        ("images", lambda: contrast.channels(np.zeros((1, 4, 4, 1), int), ["opponents"])),
        ("kinds", lambda: contrast.channels(np.zeros((1, 4, 4, 1), int), [])),
        ("kinds", lambda: contrast.channels(np.zeros((1, 4, 4, 1), int), ["edges"])),
        ("kinds", lambda: contrast.channels(np.zeros((1, 4, 4, 1), int), ["gray:x"])),
        ("kinds", lambda: contrast.channels(np.zeros((1, 4, 4, 1), int), ["directions:3"])),
    ],
)
def test_bad_input_is_named(name, call):
    with pytest.raises(ValueError, match=rf"^{name}: expected"):
        call()
