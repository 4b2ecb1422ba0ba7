"""Folders of image pairs, and crops of pairs."""

import jax
import numpy as np
import pytest
from PIL import Image

from morphax import data


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
