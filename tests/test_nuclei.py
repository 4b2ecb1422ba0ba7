"""The reader of nuclei: what it returns, and one clear error for every file that is not such a set."""

import numpy as np
import pytest

from morphax import data


def arrays(rng, **changes):
    good = {
        "images": rng.integers(0, 256, (5, 8, 6), dtype=np.uint8),
        "masks": rng.integers(0, 2, (5, 8, 6), dtype=np.uint8),
        "split": np.array([b"train", b"test", b"train", b"test", b"train"]),
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def save(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "nuclei256.npz", **content)


@pytest.mark.parametrize("inside", ["", "biomedical/dsb2018_nuclei256"])
@pytest.mark.parametrize("kind", [bytes, str])
def test_reads_each_split(tmp_path, rng, inside, kind, monkeypatch):
    content = arrays(rng)
    content["split"] = content["split"].astype("S5" if kind is bytes else "U5")
    save(tmp_path / inside, content)
    monkeypatch.setenv("MORPHAX_DATA", str(tmp_path))
    for split, rows in (("train", [0, 2, 4]), ("test", [1, 3])):
        for images, masks in (data.load_nuclei(split),
                              data.load_nuclei(split, data_dir=tmp_path)):  # fmt: skip
            assert images.dtype == np.uint8
            assert masks.dtype == bool
            np.testing.assert_array_equal(images, content["images"][rows][..., None])
            np.testing.assert_array_equal(masks, content["masks"][rows][..., None] == 1)


SHAPE = (5, 8, 6)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"split": None}, "expected arrays images, masks and split"),
        ({"images": np.zeros((*SHAPE, 3), np.uint8)}, "images: expected gray uint8"),
        ({"images": np.zeros((*SHAPE, 4), np.uint8)}, "no colour or alpha"),
        ({"images": np.zeros(SHAPE, np.float32)}, "images: expected gray uint8"),
        ({"masks": np.zeros((5, 6, 8), np.uint8)}, r"masks: expected .*\(5, 8, 6\)"),
        ({"masks": np.full(SHAPE, 255, np.uint8)}, "masks: expected 0 and 1 only.*up to 255"),
        ({"masks": np.full(SHAPE, -1, np.int8)}, "masks: expected 0 and 1 only"),
        ({"masks": np.zeros(SHAPE, np.float32)}, "masks: expected 0 and 1 only"),
        ({"split": np.array(["train"] * 4)}, "split: expected one an image"),
        ({"split": np.array(["train"] * 5)}, "split: expected images of 'test'"),
    ],
)
def test_bad_files_are_named(tmp_path, rng, changes, message):
    save(tmp_path, arrays(rng, **changes))
    with pytest.raises(ValueError, match=message) as error:
        data.load_nuclei("test", data_dir=tmp_path)
    assert "nuclei256.npz" in str(error.value)


def test_missing_and_broken(tmp_path, monkeypatch):
    monkeypatch.delenv("MORPHAX_DATA", raising=False)
    with pytest.raises(ValueError, match=r"MORPHAX_DATA is not set[^$]*BBBC038"):
        data.load_nuclei("test")
    with pytest.raises(ValueError, match=r"data_dir: expected a folder[^$]*BBBC038"):
        data.load_nuclei("test", data_dir=tmp_path)
    with pytest.raises(ValueError, match="split: expected one of"):
        data.load_nuclei("valid", data_dir=tmp_path)
    (tmp_path / "nuclei256.npz").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="not a readable npz"):
        data.load_nuclei("test", data_dir=tmp_path)


@pytest.mark.realdata
def test_the_real_set(data_dir):
    for split, count in (("train", 260), ("test", 74)):
        images, masks = data.load_nuclei(split, data_dir=data_dir)
        assert images.shape == masks.shape == (count, 256, 256, 1)
        assert 0.05 < masks.mean() < 0.15
