"""Generated images, targets, TFDS without TensorFlow, folders of pairs."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import image_oracle as oracle
from PIL import Image

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


def test_right_angles_are_exact(rng):
    """Sticks at 0, 45 and 90 degrees equal Pillow's: rounding does not move a vertex."""
    x, y = (v.ravel() for v in np.mgrid[:20, :20])
    length = rng.integers(12, 16, x.shape)
    for angle in (0, 45, 90):
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


# --- TFDS without TensorFlow ---


@pytest.mark.realdata
def test_mnist(data_dir, monkeypatch):
    monkeypatch.delenv("MORPHAX_DATA", raising=False)
    images, labels = data.load("mnist", "train", data_dir=data_dir, limit=100)
    assert "tensorflow" not in sys.modules
    assert images.shape == (100, 28, 28, 1)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    assert labels[:8].tolist() == [4, 1, 0, 7, 8, 1, 2, 7]
    binary = data.binary_images(images, size=(50, 50))
    assert binary.shape == (100, 50, 50, 1)
    assert binary.dtype == bool
    assert 0.1 < binary.mean() < 0.3
    inverted = data.binary_images(images, size=(50, 50), invert=True)
    np.testing.assert_array_equal(inverted, ~binary)


@pytest.mark.realdata
def test_mnist_from_the_variable_and_its_splits(data_dir, monkeypatch):
    inner = data_dir / "tfds" if (data_dir / "tfds").is_dir() else data_dir
    monkeypatch.setenv("MORPHAX_DATA", str(inner))
    _, labels = data.load("mnist", "test")
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    with pytest.raises(ValueError, match=r"split: .*'nowhere'"):
        data.load("mnist", "nowhere")
    with pytest.raises(ValueError, match=r"(?s)name: no data set 'emnist'.*mnist.*array_record"):
        data.load("emnist", "train")


def test_load_without_data(tmp_path, monkeypatch):
    monkeypatch.delenv("MORPHAX_DATA", raising=False)
    both_ways = r"[\s\S]*importlib_resources[\s\S]*array_record[\s\S]*--data-dir[\s\S]*MORPHAX_DATA"
    with pytest.raises(ValueError, match=r"data_dir: not given" + both_ways):
        data.load("mnist", "train")
    with pytest.raises(ValueError, match=r"data_dir: .*existing folder.*nowhere" + both_ways):
        data.load("mnist", "train", data_dir=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"name: no data set 'mnist'.*there: none" + both_ways):
        data.load("mnist", "train", data_dir=tmp_path)
    monkeypatch.setenv("MORPHAX_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"MORPHAX_DATA: .*existing folder"):
        data.load("mnist", "train")


def test_load_of_an_unprepared_data_set(tmp_path, tfds):
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"name: 'mnist' in .* not prepared .*array_record"):
        data.load("mnist", "train", data_dir=tmp_path)


def test_missing_extra(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "PIL", None)  # importing it fails now
    with pytest.raises(ImportError, match=r"pip install 'morphax\[data\]'"):
        data.binary_images(np.zeros((1, 28, 28, 1), np.uint8), size=(50, 50))
    with pytest.raises(ImportError, match=r"pip install 'morphax\[data\]'"):
        data.save_pairs(tmp_path, np.zeros((1, 4, 4, 1), bool), np.zeros((1, 4, 4, 1), bool))
    with pytest.raises(ImportError, match=r"pip install 'morphax\[data\]'"):
        data.load("mnist", "train", data_dir=tmp_path)


def test_binary_images_threshold_without_resizing():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(data.binary_images(levels), levels >= 30)
    np.testing.assert_array_equal(data.binary_images(levels, threshold=200), levels >= 200)


@pytest.mark.parametrize(
    "images, settings, message",
    [
        (np.zeros((1, 8, 8, 3), np.uint8), {}, r"images: .*\(N, H, W, 1\).*\(1, 8, 8, 3\)"),
        (np.zeros((1, 8, 8, 1)), {}, r"images: .*uint8.*float64"),
        (np.zeros((1, 8, 8, 1), np.uint8), dict(threshold=0), r"threshold: .*1\.\.255.*0"),
        (np.zeros((1, 8, 8, 1), np.uint8), dict(size=(0, 8)), r"size: .*\(0, 8\)"),
    ],
)
def test_binary_images_refuses(images, settings, message):
    with pytest.raises(ValueError, match=message):
        data.binary_images(images, **settings)


# --- folders of pairs ---


@pytest.fixture
def pairs(tmp_path, rng):
    """A folder of three pairs, with its arrays."""
    inputs, targets = rng.random((2, 3, 7, 9, 1)) < 0.5
    data.save_pairs(tmp_path, inputs, targets)
    return tmp_path, inputs, targets


def save(folder, name, values, mode=None):
    image = Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(folder / name)


def test_pairs_round_trip(pairs):
    folder, inputs, targets = pairs
    loaded = data.load_pairs(folder)
    assert loaded[0].dtype == loaded[1].dtype == bool
    np.testing.assert_array_equal(loaded[0], inputs)
    np.testing.assert_array_equal(loaded[1], targets)


def test_pairs_are_matched_by_name(pairs):
    folder, inputs, targets = pairs
    for side, images in (("input", inputs), ("target", targets)):
        save(folder / side, "a.png", 255 * images[1, ..., 0].astype(np.uint8))  # 8 bits, 0 and 255
        save(folder / side, "B.PNG", images[2, ..., 0].astype(np.uint8))  # 8 bits, 0 and 1
        (folder / side / "notes.txt").write_text("not an image")
    loaded = data.load_pairs(folder)
    np.testing.assert_array_equal(loaded[0], inputs[[0, 1, 2, 2, 1]])
    np.testing.assert_array_equal(loaded[1], targets[[0, 1, 2, 2, 1]])


def test_grey_pairs_need_a_threshold(pairs):
    folder, _, targets = pairs
    grey = np.arange(63, dtype=np.uint8).reshape(7, 9) * 4
    save(folder / "input", "000001.png", grey)
    with pytest.raises(
        ValueError, match=r"000001\.png is not binary: .*63 level.*input_threshold=122"
    ):
        data.load_pairs(folder)
    loaded = data.load_pairs(folder, threshold=100)
    np.testing.assert_array_equal(loaded[0][1, ..., 0], grey >= 100)
    np.testing.assert_array_equal(loaded[1], targets)
    with pytest.raises(ValueError, match=r"no pixel reaches input_threshold=300.*0 to 248"):
        data.load_pairs(folder, threshold=300)
    with pytest.raises(ValueError, match=r"^target_threshold: expected a positive level.*got 0"):
        data.load_pairs(folder, target_threshold=0)


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(ValueError, match=r"folder: expected an existing folder.*nowhere"):
        data.load_pairs(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"folder: .*input/ and target/.*input is missing"):
        data.load_pairs(tmp_path)
    (tmp_path / "input").mkdir()
    (tmp_path / "target").mkdir()
    with pytest.raises(ValueError, match=r"folder: .*none in .*input"):
        data.load_pairs(tmp_path)
    save(tmp_path / "input", "a.png", np.ones((4, 4), bool))
    with pytest.raises(ValueError, match=r"folder: .*none in .*target"):
        data.load_pairs(tmp_path)


@pytest.mark.parametrize("side, other", [("input", "target"), ("target", "input")])
def test_unpaired_names(pairs, side, other):
    folder = pairs[0]
    (folder / other / "000001.png").unlink()
    with pytest.raises(ValueError, match=rf"1 file.*{side} .*partner.*in {other}/: 000001\.png"):
        data.load_pairs(folder)


@pytest.mark.parametrize("side", ["input", "target"])
def test_sizes_differ(pairs, side):
    folder = pairs[0]
    save(folder / side, "000002.png", np.ones((7, 8), bool))
    with pytest.raises(ValueError, match=rf"one size.*7x9.*7x8.*{side}.000002\.png"):
        data.load_pairs(folder)


def test_save_pairs_refuses(pairs):
    folder, inputs, targets = pairs
    with pytest.raises(ValueError, match=r"folder: .*no image files there yet"):
        data.save_pairs(folder, inputs, targets)
    with pytest.raises(ValueError, match=r"inputs: .*bool.*uint8"):
        data.save_pairs(folder / "new", inputs.astype(np.uint8), targets)
    with pytest.raises(ValueError, match=r"targets: .*shape of inputs"):
        data.save_pairs(folder / "new", inputs, targets[:2])


# --- crops ---


def test_crops_take_the_same_window_of_both():
    numbers = np.arange(3 * 8 * 11).reshape(3, 8, 11, 1)
    x, y = data.crops(jax.random.key(0), numbers, -numbers, size=(3, 5), count=200)
    assert x.shape == y.shape == (200, 3, 5, 1)
    np.testing.assert_array_equal(x, -y)
    x = np.asarray(x)[..., 0]
    np.testing.assert_array_equal(np.diff(x, axis=1), 11)  # windows of one image, not scattered
    np.testing.assert_array_equal(np.diff(x, axis=2), 1)
    image, row, column = np.unravel_index(x[:, 0, 0], (3, 8, 11))
    assert set(image) == {0, 1, 2}
    assert set(row) == set(range(6))
    assert set(column) == set(range(7))
    again, _ = data.crops(jax.random.key(0), numbers, -numbers, size=(3, 5), count=200)
    np.testing.assert_array_equal(again[..., 0], x)


def test_crops_of_the_whole_image():
    images = np.eye(4, 6, dtype=bool)[None, :, :, None]
    x, _ = data.crops(jax.random.key(0), images, images, size=(4, 6), count=2)
    assert x.dtype == bool
    np.testing.assert_array_equal(x, np.repeat(images, 2, 0))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(images=np.zeros((5, 6), bool)), r"images: .*\(N, H, W, C\).*\(5, 6\)"),
        (dict(images=np.zeros((0, 5, 6, 1), bool)), r"images: .*one image or more"),
        (dict(targets=np.zeros((1, 5, 6, 1), bool)), r"targets: .*\(2, 5, 6\).*\(1, 5, 6, 1\)"),
        (dict(size=(5, 7)), r"size: .*rows in 1\.\.5 and columns in 1\.\.6.*\(5, 7\)"),
        (dict(size=(0, 3)), r"size: .*\(0, 3\)"),
        (dict(count=0), r"count: .*1 or more.*0"),
    ],
)
def test_crops_refuse(change, message):
    images = np.zeros((2, 5, 6, 1), bool)
    settings = dict(images=images, targets=images, size=(3, 3), count=4) | change
    with pytest.raises(ValueError, match=message):
        data.crops(jax.random.key(0), **settings)
