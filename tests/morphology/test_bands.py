"""Bool images in bands of bytes give the bits of bool images, however they are cut."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import image_oracle as oracle

from morphax.morphology import _bands, elements, formulas, operators
from morphax.morphology.shift import PLANES, Element


@pytest.fixture
def small_images_too(monkeypatch):
    """Cut small images into bands, so that many cases are quick."""
    monkeypatch.setattr(_bands, "_SMALLEST", 1)
    formulas._program_for_constant.cache_clear()
    formulas._program_for_data.cache_clear()
    yield
    formulas._program_for_constant.cache_clear()
    formulas._program_for_data.cache_clear()


def axis_of_bands(shape, reaches):
    """Return along which axis an image is cut: 0 is the batch, None is nothing."""
    cut = _bands._cut(shape, reaches)
    return cut and cut.axis


@pytest.mark.first(4)
@pytest.mark.parametrize("length", [8, 9, 15, 61, 14, 16, 23, 103])
def test_bands_cover_the_axis_and_come_back(length, rng):
    """What is packed along an axis is unpacked, whatever its length."""
    for axis in (0, 1):
        shape = tuple(length if i == axis else 2 for i in range(3))
        size = -(-length // 8)
        starts = tuple(min(g * size, length - size) for g in range(8))
        cut = _bands._Cut(shape, axis, starts, size)
        image = rng.random(shape) < 0.5
        words = _bands._packed(cut, jnp.asarray(image))
        assert words.size == image.size // length * size
        np.testing.assert_array_equal(_bands._unpacked(cut, words), image)


# The batch, rows that 8 divides and does not, columns; windows with and without a margin.
CASES = [
    ((9, 7, 5), (3, 5), 0),
    ((1, 32, 9), (5, 3), 1),
    ((2, 61, 9), (5, 3), 1),
    ((1, 6, 77), (3, 7), 2),
    ((1, 17, 12), (1, 3), 1),
]


@pytest.mark.first(2 * len(CASES))
@pytest.mark.parametrize("shape, sides, axis", CASES)
@pytest.mark.parametrize("name", ["erosion", "closing", "white_top_hat"])
def test_every_cut_equals_scipy(shape, sides, axis, name, rng, small_images_too):
    reaches = [side // 2 for side in sides]
    assert axis_of_bands(shape, reaches) == axis
    selem = rng.random(sides) < 0.5
    selem[0, -1] = True
    density = 0.15 if name == "closing" else 0.8
    images = rng.random(shape) < density
    borders = operators.BORDERS if name == "erosion" else ("replicate",)
    for border in borders:
        result = getattr(operators, name)(images, selem, border=border)
        expected = [getattr(oracle, name)(image, selem, border) for image in images]
        np.testing.assert_array_equal(result, expected)


@pytest.mark.first(1)
@pytest.mark.parametrize("border", operators.BORDERS)
def test_elements_as_data_and_large_ones(border, rng, small_images_too):
    """Masks, and spans that are kept in memory, on bands."""
    image = rng.random((85, 30)) < 0.97
    selem = elements.disk(11)
    expected = oracle.erosion(image, selem, border)
    for window in (selem, jnp.asarray(selem)):
        np.testing.assert_array_equal(operators.erosion(image, window, border=border), expected)


@pytest.mark.first(2)
@pytest.mark.parametrize(
    "shape, border",
    [
        ((1, 19, 66, 12), "replicate"),
        ((37, 5, 6, 7), "ignore"),
        ((1, 131, 9), "replicate"),
        ((1, 19, 66, 12), "ignore"),
    ],
)
def test_blocks(shape, border, rng, small_images_too, monkeypatch):
    """Large arrays are worked on block by block, in place; the last block need not be full."""
    monkeypatch.setattr(_bands, "_LARGE", 0)
    monkeypatch.setattr(_bands, "_BLOCK", 1 << 9)
    selem = elements.ball(7) if len(shape) == 4 else elements.disk(11)
    images = rng.random(shape) < 0.97
    result = operators.opening(images, selem, border=border)
    expected = [oracle.opening(image, selem, border) for image in images]
    np.testing.assert_array_equal(result, expected)
    assert 0 < result.mean() < 1


@pytest.mark.parametrize("border", operators.BORDERS)
def test_hit_or_miss(border, rng, small_images_too):
    selem = np.array([[0, 1, -1], [1, 1, 0], [0, -1, -1]])
    image = rng.random((40, 21)) < 0.5
    result = operators.hit_or_miss(image, selem, border=border)
    # Beyond a constant frame the image is 0, so that misses match there.
    beyond = "ignore" if border == "constant" else border
    hit = oracle.erosion(image, selem == 1, border)
    expected = hit & oracle.erosion(~image, selem == -1, beyond)
    np.testing.assert_array_equal(result, expected)
    assert expected.any()


def test_every_image_of_one_byte_of_rows(small_images_too):
    """All 2^8 images of a column of eight pixels, by all windows of three: each band is one row."""
    images = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)
    for code in (3, 5, 7):
        selem = (code >> np.arange(3) & 1).astype(bool)[:, None]
        for border in operators.BORDERS:
            run = partial(operators.erosion, selem=selem, border=border)
            one = jax.jit(lambda columns, run=run: jax.lax.map(lambda c: run(c[:, None]), columns))
            expected = oracle.erosion(images.T, selem, border).T
            np.testing.assert_array_equal(one(images)[..., 0], expected)


def test_mapped_images_become_a_batch(rng, small_images_too):
    selem, images = elements.disk(3), rng.random((4, 3, 9, 8)) < 0.7
    expected = operators.erosion(images, selem)
    run = partial(operators.erosion, selem=selem)
    mapped = jax.vmap(jax.vmap(run, in_axes=1, out_axes=1), out_axes=2)
    result = jnp.moveaxis(jax.jit(mapped)(images.swapaxes(1, 2)), 2, 0)
    np.testing.assert_array_equal(result.swapaxes(1, 2), expected)
    # One element for all images, as data; then one for each.
    both = jax.vmap(operators.erosion, in_axes=(0, None))(images, jnp.asarray(selem))
    np.testing.assert_array_equal(both, expected)
    selems = jnp.stack([jnp.asarray(selem), jnp.asarray(elements.square(3))] * 2)
    each = jax.vmap(operators.erosion)(images, selems)
    np.testing.assert_array_equal(each[0], expected[0])
    np.testing.assert_array_equal(each[1], operators.erosion(images[1], elements.square(3)))


def test_gradients_pass_by_the_bits(small_images_too):
    """A loss that looks at an operator of its bits has a gradient as before."""

    def loss(x):
        return (x * operators.opening(x > 0.5, elements.square(3)).astype(x.dtype)).sum()

    x = jnp.ones((16, 9)).at[3, 4].set(0.0)
    kept = operators.opening(x > 0.5, elements.square(3))
    np.testing.assert_array_equal(jax.jit(jax.grad(loss))(x), kept)


def test_which_images_are_cut():
    """Small images, words, and elements that reach beyond a band stay as they are."""
    element = Element(np.ones((3, 3), bool), (1, 1))
    large, small = jnp.zeros((128, 128), bool), jnp.zeros((32, 32), bool)
    assert _bands.layout_for(small, element) is PLANES
    assert _bands.layout_for(large.astype(jnp.uint32), element) is PLANES
    wide = Element(np.ones((99, 99), bool), (49, 49))
    assert _bands.layout_for(large, wide) is PLANES
    assert axis_of_bands((3, 304, 304), [1, 9]) == 1, "columns are cut only if rows cannot be"
    if jax.default_backend() == "cpu":
        assert _bands.layout_for(large, element) is not PLANES
