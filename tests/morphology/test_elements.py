"""Structuring elements: the papers' pixel counts, their symmetries, sticks at any angle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from morphax.morphology import elements

ODD = st.integers(0, 12).map(lambda r: 2 * r + 1)


@pytest.mark.parametrize(
    "name, size, pixels",
    [
        ("disk", 7, 29),
        ("disk", 5, 13),
        ("disk", 1, 1),
        ("square", 7, 49),
        ("diamond", 7, 25),
        ("hstick", 7, 7),
        ("vstick", 7, 7),
        ("dcross", 7, 13),
        ("dcross", 5, 9),
        ("scross", 7, 13),
    ],
)
def test_pixel_counts_of_the_papers(name, size, pixels):
    element = elements.named(name, size)
    assert element.shape == (size, size)
    assert element.dtype == bool
    assert element.sum() == pixels


@pytest.mark.parametrize("name", elements.NAMES)
def test_elements_are_point_symmetric(name):
    element = elements.named(name, 9)
    np.testing.assert_array_equal(element, element[::-1, ::-1])


def test_named_sticks_and_crosses():
    rows, columns = np.indices((7, 7)) - 3
    np.testing.assert_array_equal(elements.named("hstick", 7), rows == 0)
    np.testing.assert_array_equal(elements.named("vstick", 7), columns == 0)
    np.testing.assert_array_equal(elements.named("scross", 7), (rows == 0) | (columns == 0))
    np.testing.assert_array_equal(elements.named("dcross", 7), np.eye(7) + np.eye(7)[::-1] > 0)


def test_stick_turns_counter_clockwise():
    np.testing.assert_array_equal(elements.stick(5, 45), np.eye(5, dtype=bool)[::-1])
    np.testing.assert_array_equal(elements.stick(5, -45), np.eye(5, dtype=bool))
    assert elements.stick(9, 20)[:4, 5:].any()  # to the right it goes up
    np.testing.assert_array_equal(elements.stick(9, 110), np.rot90(elements.stick(9, 20)))


@given(ODD, st.floats(-720, 720))
def test_stick_is_a_connected_symmetric_line(size, angle):
    line = elements.stick(size, angle)
    assert line.sum() == size
    np.testing.assert_array_equal(line, line[::-1, ::-1])
    labels = np.zeros((size, size), int)
    assert ndimage.label(line, np.ones((3, 3)), output=labels) == 1
    assert line.any(0).all() or line.any(1).all()  # across the window


@pytest.mark.parametrize("size", [0, 4, -3, 2.0, True, "7"])
@pytest.mark.parametrize("name", elements.NAMES)
def test_bad_size(name, size):
    with pytest.raises(ValueError, match=f"size: expected an odd positive integer, got {size!r}"):
        elements.named(name, size)


def test_bad_name_and_angle():
    with pytest.raises(ValueError, match=r"name: .*'hstick'.*'hexagon'"):
        elements.named("hexagon", 7)
    with pytest.raises(ValueError, match=r"angle: .*nan"):
        elements.stick(7, float("nan"))


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 1, 1), (0.1, 0.3, 0.7), (5, 1, 2)])
def test_volumes_by_their_distances(spacing):
    """Every voxel whose centre is near enough belongs to the element, and no other."""
    size, radius = 9, 4
    counts = [int(radius // side + 1) for side in spacing]
    places = np.indices([2 * c + 1 for c in counts]) - np.array(counts).reshape(3, 1, 1, 1)
    distances = places * np.array(spacing, float).reshape(3, 1, 1, 1)
    wanted = {
        elements.ball: np.sqrt((distances**2).sum(0)),
        elements.octahedron: abs(distances).sum(0),
        elements.cube: abs(distances).max(0),
    }
    for make, distance in wanted.items():
        element = make(size, spacing=spacing)
        assert all(side % 2 for side in element.shape)
        wide = [(c - side // 2,) * 2 for c, side in zip(counts, element.shape, strict=True)]
        np.testing.assert_array_equal(np.pad(element, wide), distance <= radius + 1e-9)
    assert elements.ball(7).sum() == 123


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 0, -2), (1, 2, -3), (1, 1, 1), (0, 3, 1)])
def test_lines_of_volumes(direction):
    """One voxel for each step, symmetric, each at most half a voxel beside the line."""
    element = elements.line(9, direction)
    assert element.sum() == max(element.shape) == 9
    np.testing.assert_array_equal(element, element[::-1, ::-1, ::-1])
    voxels = np.argwhere(element) - np.array(element.shape) // 2
    unit = np.array(direction) / np.abs(direction).max()
    steps = voxels[:, np.abs(direction).argmax()] * np.sign(unit[np.abs(direction).argmax()])
    assert (abs(voxels - steps[:, None] * unit) <= 0.5).all()
    assert elements.line(9, direction, spacing=(9, 9, 9)).sum() == 1


def test_rectangle():
    assert elements.rectangle(2, 3).shape == (2, 3)
    assert elements.rectangle(2, 3).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: elements.ball(4), r"size: .*odd"),
        (lambda: elements.ball(3, spacing=(1, 1)), r"spacing: .*three positive"),
        (lambda: elements.cube(3, spacing=(1, 0, 1)), r"spacing: .*three positive"),
        (lambda: elements.line(3, (0, 0, 0)), r"direction: .*three finite"),
        (lambda: elements.rectangle(0, 3), r"rows: .*at least 1"),
    ],
)
def test_bad_volumes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
