"""Data sets of TFDS without TensorFlow, and their binary images."""

import sys

import numpy as np
import pytest

from morphax import data


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
    with pytest.raises(ImportError, match=r'pip install "\.\[data\]"'):
        data.binary_images(np.zeros((1, 28, 28, 1), np.uint8), size=(50, 50))
    with pytest.raises(ImportError, match=r'pip install "\.\[data\]"'):
        data.save_pairs(tmp_path, np.zeros((1, 4, 4, 1), bool), np.zeros((1, 4, 4, 1), bool))
    with pytest.raises(ImportError, match=r'pip install "\.\[data\]"'):
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
