"""Operators against `scipy.ndimage`, their algebra, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import image_oracle as oracle
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from morphax.morphology import elements, operators
from morphax.morphology.shift import shift_or

NAMES = ("erosion", "dilation", "opening", "closing", "white_top_hat", "black_top_hat")
SIDES = [(1, 1), (1, 5), (3, 3), (3, 7), (5, 5), (7, 3), (9, 9), (11, 11), (11, 1)]


def random_selem(rng, shape):
    """Random and asymmetric (when it can be), never empty."""
    while True:
        selem = rng.random(shape) < 0.4
        if selem.any() and (selem.size == 1 or (selem != selem[::-1, ::-1]).any()):
            return selem


def check_against_scipy(name, border, selem, rng):
    # Dense enough that erosions keep something, sparse enough that dilations leave something.
    density = 0.9 if name in ("erosion", "opening", "white_top_hat") else 0.1
    image = rng.random((13, 22)) < density
    expected = getattr(oracle, name)(image, np.asarray(selem), border)
    result = getattr(operators, name)(image, selem, border=border)
    assert result.dtype == bool
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("border", operators.BORDERS)
@pytest.mark.parametrize("name", ["erosion", "dilation"])
@pytest.mark.parametrize("shape", SIDES)
def test_erosion_and_dilation_equal_scipy(shape, name, border, rng):
    check_against_scipy(name, border, random_selem(rng, shape), rng)


@pytest.mark.parametrize("border", operators.BORDERS)
@pytest.mark.parametrize("name", ["erosion", "dilation"])
@pytest.mark.parametrize("shape", [(3, 7), (5, 5), (13, 11)])  # the last one is looped over rows
def test_selem_as_data_equals_scipy(shape, name, border, rng):
    for _ in range(5):
        check_against_scipy(name, border, jnp.asarray(random_selem(rng, shape)), rng)


@pytest.mark.parametrize("border", operators.BORDERS)
@pytest.mark.parametrize("name", NAMES[2:])
def test_compositions_equal_scipy(name, border, rng):
    check_against_scipy(name, border, random_selem(rng, (5, 3)), rng)
    for _ in range(10):
        check_against_scipy(name, border, jnp.asarray(random_selem(rng, (3, 7))), rng)


def test_default_border_is_ignore(rng):
    image, selem = rng.random((9, 14)) < 0.8, elements.disk(5)
    assert (ndimage.binary_erosion(image, selem) != operators.erosion(image, selem)).any()
    expected = ndimage.binary_erosion(image, selem, border_value=1)
    np.testing.assert_array_equal(operators.erosion(image, selem), expected)


@pytest.mark.parametrize("data", [False, True])
def test_hit_or_miss_bool_equals_scipy(data, rng):
    for shape in [(1, 3), (3, 3), (3, 1)]:
        selem = random_selem(rng, shape)
        image = rng.random((40, 51)) < 0.5
        window = jnp.asarray(selem) if data else selem
        result = operators.hit_or_miss(image, window, border="constant")
        expected = np.asarray(ndimage.binary_hit_or_miss(image, selem))
        assert expected.any()
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("border", operators.BORDERS)
def test_hit_or_miss_integers(border, data, rng):
    selem = np.array([[0, 1, -1], [1, 1, 0], [0, -1, -1]])
    image = rng.random((40, 51)) < 0.5
    hit, miss = selem == 1, selem == -1
    if border == "constant":
        expected = np.asarray(ndimage.binary_hit_or_miss(image, hit, miss))
    else:
        expected = oracle.erosion(image, hit, border) & oracle.erosion(~image, miss, border)
    result = operators.hit_or_miss(image, jnp.asarray(selem) if data else selem, border=border)
    assert expected.any()
    np.testing.assert_array_equal(result, expected)


def test_hit_or_miss_of_hits_alone_is_an_erosion(rng):
    image, selem = rng.random((12, 17)) < 0.8, random_selem(rng, (3, 5))
    result = operators.hit_or_miss(image, selem.astype(int))
    np.testing.assert_array_equal(result, operators.erosion(image, selem))


@pytest.mark.parametrize(
    "selem", [elements.disk(21), elements.stick(41, 0), elements.stick(41, 60), elements.square(41)]
)
def test_large_elements(selem, rng):
    image = rng.random((70, 90)) < 0.001
    expected = ndimage.binary_dilation(image, selem)
    assert 0 < expected.mean() < 1
    for window in (selem, jnp.asarray(selem)):
        np.testing.assert_array_equal(operators.dilation(image, window), expected)


# Any of these compiles once: the window is data, and images share one shape.
IMAGE = arrays(bool, (7, 10))
SELEM = arrays(bool, (3, 5)).filter(lambda s: s.any())


def with_origin(selem):
    selem = selem.copy()
    selem[1, 2] = True
    return jnp.asarray(selem)


@settings(deadline=None, max_examples=60)
@given(IMAGE, SELEM)
def test_order_with_border_ignore(image, selem):
    """Openings and erosions only remove, closings and dilations only add, up to the frame."""
    window = jnp.asarray(selem)
    assert not (np.asarray(operators.opening(image, window)) & ~image).any()
    assert not (image & ~np.asarray(operators.closing(image, window))).any()
    window = with_origin(selem)
    assert not (np.asarray(operators.erosion(image, window)) & ~image).any()
    assert not (image & ~np.asarray(operators.dilation(image, window))).any()


@settings(deadline=None, max_examples=60)
@given(IMAGE, SELEM)
def test_opening_and_closing_are_idempotent(image, selem):
    window = jnp.asarray(selem)
    for operator in (operators.opening, operators.closing):
        once = operator(image, window)
        np.testing.assert_array_equal(operator(once, window), once)


@settings(deadline=None, max_examples=60)
@given(IMAGE, SELEM)
def test_duality(image, selem):
    reflected = jnp.asarray(selem[::-1, ::-1])
    for border in ("ignore", "replicate"):
        dilated = operators.dilation(image, jnp.asarray(selem), border=border)
        dual = ~operators.erosion(~image, reflected, border=border)
        np.testing.assert_array_equal(dilated, dual)


@pytest.mark.parametrize("border", operators.BORDERS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 2)])
def test_images_smaller_than_the_window(shape, border, rng):
    selem = random_selem(rng, (7, 5))
    for name in ("erosion", "dilation"):
        for image in (np.zeros(shape, bool), np.ones(shape, bool), rng.random(shape) < 0.5):
            result = getattr(operators, name)(image, selem, border=border)
            np.testing.assert_array_equal(result, getattr(oracle, name)(image, selem, border))


@pytest.mark.first(3)
@pytest.mark.parametrize("name", [*NAMES, "hit_or_miss"])
def test_jit_and_vmap(name, rng):
    operator = getattr(operators, name)
    batch = rng.random((3, 2, 9, 14)) < 0.6
    selems = np.stack([random_selem(rng, (3, 5)) for _ in range(4)])
    expected = np.stack([[operator(image, selem) for image in batch] for selem in selems])
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(jax.jit(operator)(batch, selems[0]), expected[0])
    over_images = jax.vmap(lambda image: operator(image, selems[0]))(jnp.asarray(batch))
    np.testing.assert_array_equal(over_images, expected[0])
    over_selems = jax.vmap(lambda selem: operator(batch, selem))(jnp.asarray(selems))
    np.testing.assert_array_equal(over_selems, expected)


def test_a_numpy_selem_is_read_when_called(rng):
    """The constant is known by its content: changing the array changes the result."""
    image, selem = rng.random((9, 9)) < 0.2, elements.disk(3)
    first = operators.dilation(image, selem)
    selem[:] = True
    expected = ndimage.binary_dilation(image, selem)
    assert (np.asarray(first) != expected).any()
    np.testing.assert_array_equal(operators.dilation(image, selem), expected)


@pytest.mark.parametrize("shape", [(5, 3), (13, 11)])  # unrolled, and looped over rows when data
def test_shift_or_on_words(shape, rng):
    """32 images packed in the bits of a word go through the same primitive."""
    window = random_selem(rng, shape)
    planes = rng.random((32, 20, 25)) < 0.05
    places = np.arange(32, dtype=np.uint32)[:, None, None]
    words = jnp.asarray((planes.astype(np.uint32) << places).sum(0, dtype=np.uint32))
    for selem in (window, jnp.asarray(window)):
        packed = np.asarray(shift_or(words, selem))
        assert packed.dtype == np.uint32
        expected = shift_or(jnp.asarray(planes), selem)
        np.testing.assert_array_equal((packed[None] >> places) & 1, expected)
    assert 0 < np.asarray(expected).mean() < 1


IMAGE_OK, SELEM_OK = np.zeros((5, 5), bool), np.ones((3, 3), bool)


@pytest.mark.parametrize(
    "image, selem, border, message",
    [
        (IMAGE_OK.astype(float), SELEM_OK, "ignore", r"image: .*image > 0\.5.*float"),
        (IMAGE_OK.astype(np.uint8), SELEM_OK, "ignore", r"image: .*bool.*uint8"),
        (np.zeros(5, bool), SELEM_OK, "ignore", r"selem: .*those of the image, 1.*\(3, 3\)"),
        (IMAGE_OK, np.ones((0, 3), bool), "ignore", r"selem: .*no empty axis.*\(0, 3\)"),
        (IMAGE_OK, np.zeros((3, 3), bool), "ignore", r"selem: .*empty"),
        (IMAGE_OK, jnp.zeros((3, 3), bool), "ignore", r"selem: .*empty"),
        (IMAGE_OK, np.ones((1, 3, 3), bool), "ignore", r"selem: .*three axes.*\(1, 3, 3\)"),
        (IMAGE_OK, np.ones((3, 3)), "ignore", r"selem: .*bool or integers.*float64"),
        (IMAGE_OK, np.full((3, 3), 7), "ignore", r"selem: .*integers among.*7"),
        (IMAGE_OK, SELEM_OK, "reflect", r"border: .*'ignore', 'constant', 'replicate'.*'reflect'"),
    ],
)
@pytest.mark.parametrize("name", [*NAMES, "hit_or_miss"])
def test_bad_input(name, image, selem, border, message):
    with pytest.raises(ValueError, match=message):
        getattr(operators, name)(image, selem, border=border)


def test_minus_one_is_for_hit_or_miss_only():
    selem = np.array([[-1, 1, 0]])
    assert not operators.hit_or_miss(IMAGE_OK, selem).any()
    with pytest.raises(ValueError, match=r"selem: .*\(0, 1\).*-1"):
        operators.erosion(IMAGE_OK, selem)


def test_shape_errors_come_while_tracing():
    with pytest.raises(ValueError, match=r"selem: .*axes"):
        jax.jit(operators.erosion)(IMAGE_OK, np.ones((2, 2, 2), bool))
