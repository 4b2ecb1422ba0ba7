"""What is said of pairs before training; operators of scipy make the pairs that nothing is said
of."""

import numpy as np
import pytest
from scipy import ndimage

from morphax.data import check_pairs

IMAGES = np.random.default_rng(0).random((3, 40, 50, 1)) < 0.6
BOX = np.ones((1, 3, 3, 1), bool)
NAMES = ("binary_erosion", "binary_dilation", "binary_opening", "binary_closing")


def rare(count, size=(2, 200, 100, 1)):
    targets = np.zeros(size, bool)
    targets.reshape(-1)[:count] = True
    return targets


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_of_operators(name):
    density = 0.1 if name == "binary_dilation" else 0.9
    images = np.random.default_rng(0).random((3, 40, 50, 1)) < density
    assert check_pairs(images, getattr(ndimage, name)(images, BOX)) == []


@pytest.mark.parametrize(
    "name, density",
    [
        ("binary_erosion", 0.9),
        ("binary_dilation", 0.1),
        ("binary_opening", 0.9),
        ("binary_opening", 0.6),
        ("binary_closing", 0.1),
        ("binary_closing", 0.4),
    ],
)
def test_complemented_targets(name, density):
    images = np.random.default_rng(0).random((3, 40, 50, 1)) < density
    targets = getattr(ndimage, name)(images, BOX[:, :1])  # a line of three
    assert check_pairs(images, targets) == []
    (line,) = check_pairs(images, ~targets)
    assert line.startswith("targets look complemented: they differ from the inputs on ")
    assert f"{(targets == images).mean():.1%}" in line


@pytest.mark.parametrize("value, says", [(False, "no pixel is set"), (True, "every pixel is set")])
def test_constant_sides(value, says):
    constant = np.full_like(IMAGES, value)
    (line,) = check_pairs(IMAGES, constant)
    assert line.startswith(f"targets are constant: {says}")
    (line,) = check_pairs(constant, IMAGES)
    assert line == f"inputs are constant: {says} in any image"
    assert len(check_pairs(constant, constant)) == 2


def test_equal_sides():
    (line,) = check_pairs(IMAGES, IMAGES)
    assert line.startswith("targets are equal to the inputs")
    changed = IMAGES.copy()
    changed[1, 3, 4] ^= True
    assert check_pairs(IMAGES, changed) == []


@pytest.mark.parametrize("count, said", [(1, True), (3, True), (4, False), (400, False)])
@pytest.mark.parametrize("flip", [False, True])
def test_rare_classes(count, said, flip):
    """40 000 pixels: a class is rare on fewer than 4."""
    targets = rare(count) ^ flip
    images = np.random.default_rng(0).random(targets.shape) < 0.5
    lines = check_pairs(images, targets)
    assert len(lines) == said
    if said:
        assert lines[0].startswith(
            f"targets are {'clear' if flip else 'set'} on {count} of 40000 pixels only"
        )


def test_masks_say_what_counts():
    masks = np.zeros_like(IMAGES)
    assert "masks are empty" in check_pairs(IMAGES, ~IMAGES, masks=masks)[0]
    masks[:, 5:20, 5:20] = True
    targets = np.where(masks, IMAGES, ~IMAGES)  # equal where it counts
    assert "equal to the inputs" in check_pairs(IMAGES, targets, masks=masks)[0]
    assert "targets are constant" in check_pairs(IMAGES, masks, masks=masks)[0]
    ink = np.random.default_rng(1).random(IMAGES.shape) < 0.5
    assert (
        check_pairs(IMAGES, ink, masks=IMAGES) == []
    )  # a mask of the ink, as for recognition of letters


def test_ragged_and_gray_pairs():
    inputs = [np.eye(5, 7, dtype=bool)[..., None], np.eye(9, 4, dtype=bool)[..., None]]
    assert "equal" in check_pairs(inputs, inputs)[0]
    assert "look complemented" in check_pairs(inputs, [~x for x in inputs])[0]
    gray = [x * np.uint8(200) for x in inputs]
    assert check_pairs(gray, inputs) == []
    assert "constant" in check_pairs(gray, [x & False for x in inputs])[0]


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(targets=IMAGES[:2]), r"^inputs: expected 2 images, got 3"),
        (dict(targets=IMAGES[:0]), r"^targets: expected one image or more"),
        (dict(targets=IMAGES * 1), r"^targets: expected bool"),
        (dict(targets=IMAGES[:, :9]), r"^inputs and masks: expected the size of the target"),
        (dict(masks=IMAGES[:1]), r"^masks: expected 3 images or None, got 1"),
        (dict(masks=IMAGES[:, 1:]), r"^inputs and masks: expected the size of the target"),
    ],
)
def test_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check_pairs(**(dict(inputs=IMAGES, targets=IMAGES, masks=None) | change))
