"""Operators in one to three dimensions, with any sides and origin, against `scipy.ndimage`."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import morphax
from morphax.morphology import operators
from morphax.morphology.shift import BORDERS
from morphax.packed import pixels

NAMES = ("erosion", "dilation", "opening", "closing")


def in_scipy(name, image, selem, border, origin: Any = 0, iterations=1):
    """Return what `scipy.ndimage` computes; "replicate" by its gray operators, once."""
    if border == "replicate":
        steps = {
            "erosion": ["erosion"],
            "dilation": ["dilation"],
            "opening": ["erosion", "dilation"],
            "closing": ["dilation", "erosion"],
        }[name]
        for step in steps:
            image = _replicate(step, image, selem, origin)
        return image
    beyond = border == "ignore"
    options: dict[str, Any] = {"origin": origin, "iterations": iterations}
    erode: dict[str, Any] = {**options, "border_value": int(beyond)}
    if name == "erosion":
        return ndimage.binary_erosion(image, selem, **erode)
    if name == "dilation":
        return ndimage.binary_dilation(image, selem, **options)
    if name == "opening":
        return ndimage.binary_dilation(
            ndimage.binary_erosion(image, selem, **erode), selem, **options
        )
    return ndimage.binary_erosion(ndimage.binary_dilation(image, selem, **options), selem, **erode)


def _replicate(step, image, selem, origin):
    """Extend the image by its own edge, operate, and cut: no pixel of the frame plays a part."""
    reach = [(side, side) for side in selem.shape]
    inside = tuple(slice(side, side + n) for side, n in zip(selem.shape, image.shape, strict=True))
    return in_scipy(step, np.pad(image, reach, mode="edge"), selem, "constant", origin)[inside]


def check(name, image, selem, border, origin: Any = 0, iterations=1):
    """Compare bools, words of images and words of pixels with scipy."""
    expected = in_scipy(name, image, selem, border, origin, iterations)
    options = {"border": border, "origin": origin, "iterations": iterations}
    for window in (selem, jnp.asarray(selem)):
        result = getattr(operators, name)(image, window, **options)
        np.testing.assert_array_equal(result, expected)
    words = getattr(operators, name)(morphax.pack(image[None]), selem, **options)
    np.testing.assert_array_equal(morphax.unpack(words, count=1)[0], expected)
    if image.ndim > 1:
        width = image.shape[-1]
        packed = getattr(pixels, name)(pixels.pack_pixels(image), selem, width=width, **options)
        np.testing.assert_array_equal(pixels.unpack_pixels(packed, width=width), expected)


# The last element is larger than its image.
SHAPES = [((11, 6, 34), (2, 3, 4)), ((9, 12), (4, 2)), ((37,), (6,)), ((3, 2, 5), (4, 5, 3))]
# All combinations; the first eight have each shape, border and operator at least twice.
CASES = [(*SHAPES[i % 4], BORDERS[i % 3], NAMES[i // 4 % 2]) for i in range(24)]


@pytest.mark.first(8)
@pytest.mark.parametrize("image_shape, sides, border, name", CASES)
def test_sides_and_origins_equal_scipy(image_shape, sides, border, name, rng):
    origin = [int(rng.integers(-(side // 2), (side - 1) // 2 + 1)) for side in sides]
    selem = rng.random(sides) < 0.6
    selem[(0,) * len(sides)] = True
    density = 0.9 if name == "erosion" else 0.1
    check(name, rng.random(image_shape) < density, selem, border, tuple(origin))


SIDES = (2, 3, 4)


# Each combination of what is drawn besides the seed compiles, so there are few.
@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(-1, 0, 1), (-1, -1, -2)]),
    st.sampled_from(["erosion", "closing"]),
    st.sampled_from(BORDERS),
)
def test_volumes_with_elements_as_data(seed, origin, name, border):
    """Random volumes that are no cubes, asymmetric elements with even sides and other origins."""
    rng = np.random.default_rng(seed)
    selem = rng.random(SIDES) < rng.choice([0.2, 0.6])
    selem[tuple(rng.integers(0, SIDES))] = True
    image = rng.random((7, 5, 9)) < rng.choice([0.2, 0.8])
    result = getattr(operators, name)(image, jnp.asarray(selem), border=border, origin=origin)
    expected = in_scipy(name, image, selem, border, origin)
    np.testing.assert_array_equal(result, expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_erosion_and_dilation_of_one_origin_are_adjoint(seed):
    """dilation(x) lies in y exactly where x lies in erosion(y)."""
    rng = np.random.default_rng(seed)
    selem = np.zeros(SIDES, bool)
    selem[tuple(rng.integers(0, SIDES))] = selem[tuple(rng.integers(0, SIDES))] = True
    x, y = rng.random((7, 5, 9)) < 0.01, rng.random((7, 5, 9)) < 0.95
    dilated = operators.dilation(x, jnp.asarray(selem), origin=(-1, 0, 1))
    eroded = operators.erosion(y, jnp.asarray(selem), origin=(-1, 0, 1))
    assert (np.asarray(dilated) & ~y).any() == (x & ~np.asarray(eroded)).any()


@pytest.mark.parametrize("iterations", [3, 0])
@pytest.mark.parametrize("name", ["dilation", "opening"])
def test_iterations_equal_scipy(name, iterations, rng):
    image = rng.random((12, 17)) < (0.03 if name == "dilation" else 0.97)
    selem = np.array([[0, 1, 0], [1, 1, 0], [0, 1, 1]], bool)
    check(name, image, selem, "constant", iterations=iterations)


def test_hit_or_miss_of_a_volume(rng):
    image = rng.random((8, 9, 10)) < 0.5
    hit, miss = rng.random((2, 2, 3, 2)) < 0.2
    hit[0, 0, 0], miss = True, miss & ~hit
    selem = hit.astype(int) - miss
    origin: Any = (0, 1, -1)
    expected = np.asarray(ndimage.binary_hit_or_miss(image, hit, miss, origin1=origin))
    result = operators.hit_or_miss(image, selem, border="constant", origin=origin)
    np.testing.assert_array_equal(result, expected)
    assert expected.any()


IMAGE = np.zeros((5, 5), bool)


@pytest.mark.parametrize(
    "selem, options, message",
    [
        (np.ones((3, 3, 3), bool), {}, r"selem: .*those of the image, 2.*\(3, 3, 3\)"),
        (np.ones((), bool), {}, r"selem: .*one to three axes"),
        (np.ones((3, 0), bool), {}, r"selem: .*no empty axis.*\(3, 0\)"),
        (np.ones((3, 4), bool), {"origin": 2}, r"origin: .*-1 to 1, -2 to 1.*2"),
        (np.ones((3, 4), bool), {"origin": (0, -3)}, r"origin: .*-1 to 1, -2 to 1.*-3"),
        (np.ones((3, 4), bool), {"origin": (0, 0, 0)}, r"origin: .*2 of them"),
        (np.ones((3, 4), bool), {"origin": 0.5}, r"origin: .*whole number.*0\.5"),
        (np.ones((3, 4), bool), {"origin": (0.0, 0.0)}, r"origin: .*whole number"),
        (np.ones((3, 4), bool), {"iterations": 1.5}, r"iterations: .*whole number.*1\.5"),
    ],
)
def test_bad_input(selem, options, message):
    for window in (selem, jnp.asarray(selem)):
        with pytest.raises(ValueError, match=message):
            operators.erosion(IMAGE, window, **options)
