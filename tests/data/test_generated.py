"""Generated images, targets, TFDS without TensorFlow, folders of pairs."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import PIL
import pytest
from helpers import image_oracle as oracle

from morphax import data
from morphax.data import _draw
from morphax.morphology import elements


def test_importing_data_imports_no_extra():
    code = (
        "import sys, morphax.data; print(sorted({'PIL', 'tensorflow_datasets'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- drawing, against Pillow ---


@partial(jax.jit, static_argnums=1)
def pixels(intervals, width):
    return _draw.pixels(_draw.words(*intervals, width), width)


@partial(jax.jit, static_argnums=1)
def rectangles(settings, size):
    return pixels(_draw.rectangle(*settings, size[0]), size[1])


@partial(jax.jit, static_argnums=1)
def ellipses(settings, size):
    return pixels(_draw.ellipse(*settings, size[0], (20, 20)), size[1])


def test_rectangles_agree_with_pillow(rng):
    count, size = 1000, (50, 70)
    x, y = rng.integers(0, 48, (2, count))
    width, length = rng.integers(1, 20, (2, count))
    angle = rng.uniform(0, 45, count)
    settings = (x, y, width, length, angle)
    ours = np.asarray(rectangles(settings, size))
    theirs = np.stack([oracle.rectangle(*each, size) for each in zip(*settings, strict=True)])
    # Measured: 0.08 % of the pixels of the shapes differ, all at corners of thin rectangles.
    assert (ours != theirs).sum() <= 0.003 * theirs.sum()


def test_ellipses_equal_pillow():
    size = (41, 41)
    rx, ry = (r.ravel() for r in np.mgrid[1:19, 1:19])
    x, y = np.full_like(rx, 22), np.full_like(rx, 18)
    settings = (x, y, rx, ry)
    ours = ellipses(settings, size)
    theirs = np.stack(
        [oracle.ellipse(*map(int, each), size) for each in zip(*settings, strict=True)]
    )
    np.testing.assert_array_equal(ours, theirs)


def test_known_shapes():
    rectangle = np.asarray(rectangles([np.array(v) for v in (3, 3, 4, 6, 0.0)], (20, 40)))
    assert rectangle[3:10, 3:8].all()
    assert rectangle.sum() == 35
    ellipse = np.asarray(ellipses([np.array(v) for v in (9, 9, 2, 3)], (20, 40)))
    assert ellipse[6:13, 7:12].sum() == ellipse.sum() == 23


@pytest.mark.parametrize("width", [1, 31, 32, 33, 64, 70])
def test_words_hold_any_interval(width, rng):
    first, last = rng.integers(-40, 110, (2, 200))
    columns = np.arange(width)
    expected = (columns >= first[:, None]) & (columns <= last[:, None])
    np.testing.assert_array_equal(pixels((first, last), width), expected)


# --- Diskorect and Noisti ---


def test_diskorect_is_a_function_of_its_key():
    keys = jax.random.split(jax.random.key(3), 3)
    images = data.diskorect(keys[0], 2)
    assert images.shape == (2, 50, 50, 1)
    assert images.dtype == bool
    assert (images[0] != images[1]).any()
    assert (images != data.diskorect(keys[1], 2)).any()
    np.testing.assert_array_equal(images, data.diskorect(keys[0], 2))
    batches = jax.jit(jax.vmap(lambda key: data.diskorect(key, 2)))(keys)
    np.testing.assert_array_equal(images, batches[0])


@pytest.mark.slow
def test_diskorect_means():
    """The published means (datasets of 200 images: +- 0.01), and ours on many more."""
    framed = data.diskorect(jax.random.key(0), 3000)
    assert float(framed.mean()) == pytest.approx(0.357, abs=0.01)
    quantiles = np.quantile(framed.mean((1, 2, 3)), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, [0.284, 0.358, 0.432], atol=0.015)
    bare = data.diskorect(jax.random.key(0), 3000, border=(0, 0), p_invert=0)
    assert float(bare.mean()) == pytest.approx(0.453, abs=0.01)


def test_diskorect_border_and_size():
    images = np.asarray(data.diskorect(jax.random.key(0), 30, size=(40, 66), border=(3, 5)))
    assert images.shape == (30, 40, 66, 1)
    inside = np.zeros((40, 66), bool)
    inside[3:-3, 5:-5] = True
    assert not images[:, ~inside].any()
    assert images[:, 3].any()
    assert images[:, :, 5].any()


def test_diskorect_draws_both_positions_from_the_rows():
    """x, y <= rows - 3 = 7; a 3x3 rectangle turned by 45 degrees reaches 4 columns further."""
    settings = dict(size=(10, 40), n_shapes=1, n_holes=0, max_shape=(4, 4), noise=0, p_invert=0)
    images = np.asarray(data.diskorect(jax.random.key(0), 4000, border=(0, 0), **settings))
    assert np.flatnonzero(images.any((0, 1, 3))).tolist() == list(range(12))


def test_diskorect_noise_inversion_and_sides():
    """Each setting changes what it says: one key draws the same shapes under all of them."""

    def draw(**settings):
        settings = dict(noise=0, p_invert=0, border=(0, 0), max_shape=(4, 4)) | settings
        return np.asarray(data.diskorect(jax.random.key(0), 40, n_shapes=1, n_holes=2, **settings))

    images = draw()
    assert 0 < images.sum((1, 2, 3)).max() <= 16
    np.testing.assert_array_equal(draw(p_invert=1), ~images)
    noisy = draw(noise=0.1)
    assert not (images & ~noisy).any()
    assert noisy.mean() - images.mean() == pytest.approx(0.1, abs=0.01)
    assert draw(max_shape=(20, 20)).mean() > 4 * images.mean()


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(batch=-1), r"batch: .*-1"),
        (dict(size=(50,)), r"size: .*two integers.*\(50,\)"),
        (dict(size=(2, 50)), r"size: .*at least 3"),
        (dict(n_shapes=1.5), r"n_shapes: .*integer.*1\.5"),
        (dict(n_holes=-2), r"n_holes: .*-2"),
        (dict(max_shape=(3, 20)), r"max_shape: .*at least 4"),
        (dict(max_shape_holes=(10, 2)), r"max_shape_holes: .*at least 4"),
        (dict(noise=1.2), r"noise: .*\[0, 1\].*1\.2"),
        (dict(p_invert=-0.1), r"p_invert: .*-0\.1"),
        (dict(border=(-1, 0)), r"border: .*at least 0"),
    ],
)
def test_diskorect_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        data.diskorect(jax.random.key(0), **{"batch": 2, **settings})


@pytest.mark.parametrize("angle", [0, 45, 90])
def test_right_angles_are_exact(angle, rng):
    """Sticks at 0, 45 and 90 degrees equal Pillow's: rounding does not move a vertex."""
    if angle == 45 and tuple(int(part) for part in PIL.__version__.split(".")[:2]) < (11, 1):
        pytest.skip("Pillow before 11.1 draws lines at 45 degrees otherwise")
    x, y = (v.ravel() for v in np.mgrid[:20, :20])
    length = rng.integers(12, 16, x.shape)
    settings = (x, y, np.zeros_like(x), length, np.full(x.shape, float(angle)))
    ours = rectangles(settings, (40, 40))
    theirs = [oracle.rectangle(*each, (40, 40)) for each in zip(*settings, strict=True)]
    np.testing.assert_array_equal(ours, np.stack(theirs))


def test_noisti():
    noisy, clean = data.noisti(jax.random.key(0), 500)
    assert noisy.shape == clean.shape == (500, 70, 70, 1)
    assert not (clean & ~noisy).any()
    assert float(clean.mean()) == pytest.approx(0.071, abs=0.003)
    assert float(noisy.mean()) == pytest.approx(0.164, abs=0.003)
    dice = 2 * (noisy & clean).sum((1, 2, 3)) / (noisy.sum((1, 2, 3)) + clean.sum((1, 2, 3)))
    assert float(dice.mean()) == pytest.approx(0.605, abs=0.01)


@pytest.mark.parametrize("angle, pixels", [(0, 16), (45, 11), (90, 16)])
def test_one_stick_has_the_published_pixels(angle, pixels):
    settings = dict(n_shapes=1, angles=[angle], lengths=(15, 15), noise=0)
    _, clean = data.noisti(jax.random.key(1), 64, **settings)
    assert np.asarray(clean).sum((1, 2, 3)).max() == pixels  # the others stick out of the image


def test_noisti_refuses():
    with pytest.raises(ValueError, match=r"lengths: .*\(9, 3\)"):
        data.noisti(jax.random.key(0), 1, lengths=(9, 3))
    with pytest.raises(ValueError, match=r"angles: .*at least one"):
        data.noisti(jax.random.key(0), 1, angles=())


# --- targets ---


@pytest.mark.parametrize("operation", data.OPERATIONS)
def test_target_works_on_every_image_and_channel(operation, rng):
    images = rng.random((2, 9, 12, 3)) < 0.6
    selem = np.array([[1, 1, 0]], bool)
    result = np.asarray(data.target(images, operation, selem, border="replicate"))
    assert result.shape == images.shape
    for i, c in np.ndindex(2, 3):
        expected = getattr(oracle, operation)(images[i, :, :, c], selem, "replicate")
        np.testing.assert_array_equal(result[i, :, :, c], expected)


@pytest.mark.slow
def test_target_means_on_diskorect():
    """Table of the reference: means of the targets by disk, stick and cross, replicate border."""
    images = data.diskorect(jax.random.key(0), 300)
    table = {
        "dilation": (0.74, 0.58, 0.76),
        "erosion": (0.065, 0.151, 0.057),
        "opening": (0.223, 0.277, 0.205),
        "closing": (0.439, 0.409, 0.448),
        "white_top_hat": (0.133, 0.078, 0.151),
        "black_top_hat": (0.083, 0.053, 0.092),
    }
    for operation, means in table.items():
        for name, mean in zip(("disk", "hstick", "dcross"), means, strict=True):
            selem = jnp.asarray(elements.named(name, 7))
            ours = data.target(images, operation, selem, border="replicate").mean()
            assert float(ours) == pytest.approx(mean, abs=0.02), (operation, name)


@pytest.mark.parametrize(
    "images, operation, message",
    [
        (np.zeros((1, 5, 5, 1), bool), "thinning", r"operation: .*'erosion'.*'thinning'"),
        (np.zeros((5, 5, 1), bool), "erosion", r"images: .*\(batch, H, W, channels\).*\(5, 5, 1\)"),
        (np.zeros((1, 5, 5, 1)), "erosion", r"images: .*images > 0\.5.*float"),
    ],
)
def test_target_refuses(images, operation, message):
    with pytest.raises(ValueError, match=message):
        data.target(images, operation, elements.disk(3))
