"""Thresholds by Otsu for gray sides of folders of pairs, where they are asked for."""

import numpy as np
import pytest
from PIL import Image

from morphax import data
from morphax.data.stream import PairFiles


def _write(folder, side, images):
    (folder / side).mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / side / f"{number}.png")


def _variance_between(levels, threshold):
    """Return Otsu's criterion by its definition."""
    low, high = levels[levels < threshold], levels[levels >= threshold]
    if not len(low) or not len(high):
        return -1.0
    return len(low) * len(high) * (low.mean() - high.mean()) ** 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_threshold_of_a_side_is_the_best_one_for_all_its_files(tmp_path, rng, dtype) -> None:
    binary = [rng.random((9, 10)) < 0.5 for _ in range(4)]
    scale = 1 if dtype == np.uint8 else 200
    levels = [
        (np.where(x, 150 + 10 * k, 60) * scale + rng.integers(0, 30, x.shape) * scale).astype(dtype)
        for k, x in enumerate(binary)
    ]
    _write(tmp_path, "input", [x.astype(np.uint8) * 255 for x in binary])
    _write(tmp_path, "target", levels)
    with pytest.raises(ValueError, match="is not binary"):
        data.load_pairs(tmp_path)
    pairs = data.load_pairs(tmp_path, target_threshold="otsu")
    assert {*pairs.thresholds} == {"target"}  # the inputs are binary
    everything = np.concatenate([one.ravel() for one in levels]).astype(float)
    best = max(_variance_between(everything, t) for t in np.unique(everything))
    taken = pairs.thresholds["target"]
    assert np.isclose(_variance_between(everything, taken), best)
    np.testing.assert_array_equal(pairs.targets[..., 0], np.stack(levels) >= taken)
    np.testing.assert_array_equal(pairs.targets, pairs.inputs)
    streamed = PairFiles(tmp_path, target_threshold="otsu")
    np.testing.assert_array_equal(streamed[2][1], pairs.targets[2])
    assert pairs.split()[0].thresholds == pairs.thresholds
    one = data.load_image(tmp_path / "target/0.png", threshold="otsu")
    np.testing.assert_array_equal(one, binary[0])


def test_labels_of_classes_are_refused_with_otsu_too(tmp_path, rng) -> None:
    _write(tmp_path, "input", [np.eye(9, dtype=np.uint8)])
    _write(tmp_path, "target", [rng.integers(0, 4, (9, 9), np.uint8)])
    with pytest.raises(ValueError, match="is not binary"):
        data.load_pairs(tmp_path, target_threshold="otsu")


def test_binary_files_stay_as_they_are(tmp_path) -> None:
    _write(tmp_path, "input", [np.eye(9, dtype=np.uint8) * 255])
    _write(tmp_path, "target", [np.eye(9, dtype=np.uint8)])
    pairs = data.load_pairs(tmp_path, threshold="otsu")
    assert pairs.thresholds == {}
    np.testing.assert_array_equal(pairs.inputs, pairs.targets)


def test_other_words_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r'^input_threshold: expected a positive level, "otsu"'):
        data.load_pairs(tmp_path, input_threshold="mean")
