"""Nuclei: the reader and its errors, the stand-ins, and Otsu's threshold of image and place."""

import numpy as np
import pytest
from scipy import ndimage

from morphax import data
from morphax.data.otsu import local_threshold, otsu, relative_brightness, root_otsu


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
        for images, masks in (data.load_nuclei(split), data.load_nuclei(split, data_dir=tmp_path)):
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


def test_stand_ins_are_bright_disks():
    images, masks = data.draw_nuclei(np.random.default_rng(0), 5, side=48)
    assert images.shape == masks.shape == (5, 48, 48, 1)
    assert images.dtype == np.uint8
    for image, mask in zip(images, masks, strict=True):
        assert 1 <= ndimage.label(mask)[1] <= 4
        assert image[mask].mean() > image[~mask].mean() + 10
    with pytest.raises(ValueError, match="side: expected 20 or more"):
        data.draw_nuclei(np.random.default_rng(0), 1, side=8)


def test_otsu_is_the_best_split(rng):
    image = np.concatenate([rng.normal(40, 9, 300), rng.normal(150, 20, 200)])
    image = np.clip(image, 0, 255).astype(np.uint8).reshape(20, 25)

    def within(threshold):
        parts = image[image < threshold], image[image >= threshold]
        return sum(part.size * part.astype(float).var() for part in parts if part.size)

    least = min(within(t) for t in range(1, 256))
    assert within(otsu(image)) == pytest.approx(least)
    for value in (0, 7, 255):  # nothing to split, no error
        assert 1 <= otsu(np.full((4, 4), value, np.uint8)) <= 255
    with pytest.raises(ValueError, match="image: expected uint8"):
        otsu(image.astype(float))


def test_brightness_of_image_and_place(rng):
    image = rng.integers(0, 256, (128, 160), dtype=np.uint8)
    place = local_threshold(image)
    assert place.shape == image.shape
    assert place[32, 64] == pytest.approx(root_otsu(image[:64, 32:96]))
    assert place[0, 0] == pytest.approx(root_otsu(image[:64, :64]))
    made = relative_brightness(np.stack([image, np.zeros_like(image)])[..., None])
    assert np.isfinite(made).all()  # a black image too
    np.testing.assert_allclose(made[0, ..., 0], image / root_otsu(image), rtol=1e-6)
    np.testing.assert_allclose(made[0, 32, 64, 1], image[32, 64] / place[32, 64], rtol=1e-6)
    # the same light, twice as bright: the same brightness relative to it, but for whole gray values
    dim = (image // 2)[None, ..., None]
    np.testing.assert_allclose(
        relative_brightness(dim * 2), relative_brightness(dim), rtol=0.06, atol=0.03
    )
    with pytest.raises(ValueError, match="sides of 64 or more"):
        local_threshold(image[:40])
    with pytest.raises(ValueError, match=r"images: expected shape \(N, H, W, 1\)"):
        relative_brightness(image)


@pytest.mark.realdata
def test_the_real_set(data_dir):
    for split, count in (("train", 260), ("test", 74)):
        images, masks = data.load_nuclei(split, data_dir=data_dir)
        assert images.shape == masks.shape == (count, 256, 256, 1)
        assert 0.05 < masks.mean() < 0.15
