"""Words of 32 neighbouring pixels: the layout of `np.packbits`, and the operators of scipy."""

from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import image_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from morphax.morphology import elements, operators
from morphax.packed import pixels
from morphax.packed.pixels import pack_pixels, unpack_pixels

WIDTHS = (1, 31, 32, 33, 70)
BORDERS = operators.BORDERS
NAMES = ("erosion", "dilation", "opening", "closing", "white_top_hat", "black_top_hat")


def in_words(name, image, selem, border):
    """An operator on packed rows; what lies beyond the width is nonsense before and 0 after."""
    width, rest = image.shape[-1], -image.shape[-1] % 32
    words = np.array(pack_pixels(image))
    words[..., -1] |= np.uint32(((1 << rest) - 1) << (32 - rest) if rest else 0)
    result = getattr(pixels, name)(jnp.asarray(words), selem, width=width, border=border)
    assert result.dtype == jnp.uint32
    assert result.shape == words.shape
    if rest:
        assert (np.asarray(result)[..., -1] >> np.uint32(32 - rest) == 0).all()
    return np.asarray(unpack_pixels(result, width=width))


def random_selem(rng, shape, density):
    selem = rng.random(shape) < density
    selem[rng.integers(shape[0]), rng.integers(shape[1])] = True
    return selem


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("lead", [(), (2, 1)])
def test_layout_is_that_of_packbits(width, lead, rng):
    images = rng.random((*lead, 5, width)) < 0.5
    row = -(-width // 32)
    data = np.packbits(images, axis=-1, bitorder="little")
    expected = np.zeros((*lead, 5, 4 * row), np.uint8)
    expected[..., : data.shape[-1]] = data
    for given_as in (images, jnp.asarray(images)):
        words = pack_pixels(given_as)
        assert words.dtype == jnp.uint32
        np.testing.assert_array_equal(words, expected.view("<u4"))
    j, i = divmod(width - 1, 32)
    np.testing.assert_array_equal(words[..., j] >> i & 1, images[..., -1])
    np.testing.assert_array_equal(unpack_pixels(words, width=width), images)
    back = jax.jit(jax.vmap(lambda x: unpack_pixels(pack_pixels(x), width=width)))(images[None])
    np.testing.assert_array_equal(back[0], images)


@pytest.mark.first(4)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("width", WIDTHS)
def test_windows_of_all_widths_equal_scipy(width, border, rng):
    """Narrower than a word, wider than one, wider than two, wider than the image."""
    for shape, density in [((3, 5), 0.4), ((1, 41), 0.1), ((5, 71), 0.01), ((3, 131), 0.01)]:
        selem = random_selem(rng, shape, density)
        for name, on in [("erosion", 0.95), ("dilation", 0.05)]:
            image = rng.random((6, width)) < on
            expected = getattr(oracle, name)(image, selem, border)
            np.testing.assert_array_equal(in_words(name, image, selem, border), expected)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("name", NAMES)
def test_compositions_equal_scipy(name, border, rng):
    selem = random_selem(rng, (3, 5), 0.4)
    image = rng.random((9, 70)) < (0.9 if name in ("erosion", "opening", "white_top_hat") else 0.1)
    expected = getattr(oracle, name)(image, selem, border)
    assert expected.any()
    np.testing.assert_array_equal(in_words(name, image, selem, border), expected)


@pytest.mark.parametrize("border", BORDERS)
def test_hit_or_miss(border, rng):
    selem = np.array([[0, 1, -1], [1, 1, 0], [0, -1, -1]])
    image = rng.random((20, 70)) < 0.5
    expected = operators.hit_or_miss(image, selem, border=border)
    assert expected.any()
    for window in (selem, jnp.asarray(selem)):
        np.testing.assert_array_equal(in_words("hit_or_miss", image, window, border), expected)
    alone = in_words("hit_or_miss", image, (selem == 1).astype(int), border)
    np.testing.assert_array_equal(alone, operators.erosion(image, selem == 1, border=border))


@pytest.mark.first(2)
@pytest.mark.parametrize(
    "selem",
    [elements.disk(29), elements.square(41), elements.stick(41, 60), elements.stick(201, 0)],
    ids=["disk(29)", "square(41)", "stick(41)", "stick(201)"],
)
def test_large_elements(selem, rng):
    image = rng.random((60, 230)) < 0.001
    expected = oracle.dilation(image, selem, "ignore")
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(in_words("dilation", image, selem, "ignore"), expected)
    np.testing.assert_array_equal(in_words("erosion", ~image, selem, "ignore"), ~expected)


WINDOWS = [random_selem(np.random.default_rng(seed), (5, 37), 0.03) for seed in range(20)]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(WINDOWS),
    st.integers(0, 1000),
    st.sampled_from(BORDERS),
    st.booleans(),
)
def test_windows_as_data(selem, seed, border, eroded):
    """One program for all windows of a shape: the words agree with the bool operator."""
    rng = np.random.default_rng(seed)
    image = rng.random((4, 45)) < rng.random()
    name = "erosion" if eroded else "dilation"
    expected = getattr(operators, name)(image, jnp.asarray(selem), border=border)
    np.testing.assert_array_equal(in_words(name, image, jnp.asarray(selem), border), expected)


def test_batches_jit_vmap_and_scan(rng):
    images, selem = rng.random((3, 2, 5, 40)) < 0.8, elements.disk(5)
    words, expected = pack_pixels(images), pack_pixels(np.asarray(operators.erosion(images, selem)))
    np.testing.assert_array_equal(pixels.erosion(words, selem, width=40), expected)
    one = lambda w: pixels.erosion(w, selem, width=40)  # noqa: E731
    np.testing.assert_array_equal(jax.jit(jax.vmap(one))(words), expected)
    scanned = jax.lax.scan(lambda _, w: (None, one(w)), None, words)[1]
    np.testing.assert_array_equal(scanned, expected)
    both = jax.vmap(lambda s: pixels.dilation(words, s, width=40))(jnp.stack([selem, ~selem]))
    for result, window in zip(both, (selem, ~selem), strict=True):
        np.testing.assert_array_equal(
            unpack_pixels(result, width=40), operators.dilation(images, window)
        )


def test_duality_on_words(rng):
    """Erosion by S is the complement of the dilation of the complement by S reflected."""
    image, selem = rng.random((9, 50)) < 0.6, random_selem(rng, (5, 7), 0.3)
    a = in_words("erosion", image, selem, "ignore")
    b = in_words("dilation", ~image, selem[::-1, ::-1], "ignore")
    np.testing.assert_array_equal(a, ~b)


OK = jnp.zeros((4, 2), jnp.uint32)
SELEM = np.ones((1, 3), bool)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: pack_pixels(np.zeros((3, 4), np.uint8)), r"images: .*bool.*uint8"),
        (lambda: pack_pixels(np.zeros(4, bool)), r"images: .*two axes"),
        (lambda: unpack_pixels(OK, width=65), r"words: expected 3 words a row for width=65"),
        (lambda: unpack_pixels(OK, width=32), r"words: expected 1 words a row for width=32"),
        (lambda: unpack_pixels(OK, width=0), r"width: expected the number of pixels"),
        (lambda: unpack_pixels(OK, width=cast(int, 40.5)), r"width: expected the number of pixels"),
        (lambda: unpack_pixels(OK > 0, width=40), r"words: expected uint32 words.*bool"),
        (lambda: pixels.erosion(OK.astype(np.uint8), SELEM, width=40), r"words: .*uint8"),
        (lambda: pixels.erosion(OK[0], SELEM, width=40), r"selem: .*those of the image, 1"),
        (lambda: pixels.erosion(OK, SELEM, width=65), r"words: expected 3 words"),
        (lambda: pixels.erosion(OK, SELEM[:, :0], width=40), r"selem: .*no empty axis"),
        (lambda: pixels.erosion(OK, SELEM & False, width=40), r"selem: .*at least one pixel"),
        (lambda: pixels.erosion(OK, SELEM, width=40, border="wrap"), r"border: .*'wrap'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


@pytest.mark.parametrize("width", [1, 33, 70])
def test_packs_arrays_in_any_memory_order(width):
    images = np.random.default_rng(0).random((3, 5, width)) < 0.5
    expected = np.asarray(pack_pixels(images))
    for same in (np.asfortranarray(images), images[..., ::-1].copy()[..., ::-1]):
        np.testing.assert_array_equal(pack_pixels(same), expected)
