"""Thresholds of level sets: by quantiles, evenly, by values; and what is refused."""

import numpy as np
import pytest
from helpers.image_oracle import images_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from morphax.morphology import levelsets
from morphax.morphology.levelsets import decompose, thresholds

GRAY = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
COLOUR = np.stack([GRAY[..., 0], np.full((1, 3, 4), 9, np.uint8)], -1)
UNEVEN = np.stack([GRAY[..., 0], GRAY[..., 0] // 2], -1)
NAN, INF = GRAY * 1.0, GRAY * 1.0
NAN[0, 0, 0, 0], INF[0, 0, 0, 0] = np.nan, np.inf


def shares(images, table):
    """Pixels in each of the count + 1 gray levels of channel 0."""
    return np.bincount(np.searchsorted(table[0], images[..., 0].ravel(), side="right"))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_quantiles_balance_counts(count, rng):
    images = rng.permutation(2 * 11 * 13).reshape(2, 11, 13, 1).astype(np.float32)
    parts = shares(images, thresholds(images, count))
    assert len(parts) == count + 1
    assert np.ptp(parts) <= 1


@pytest.mark.parametrize("background", [0, 100, 255])
def test_quantiles_set_a_background_apart(background, rng):
    """Most pixels are one value, as in MNIST and its inverse: the rest is still balanced."""
    pixels = np.full(4000, background)
    pixels[:1020] = np.repeat(np.arange(256), 4)[:1020][rng.permutation(1020)]
    table = thresholds(pixels.reshape(1, 40, 100, 1).astype(np.uint8), 5)
    parts = shares(pixels.reshape(1, 40, 100, 1), table)
    rest = np.delete(parts, parts.argmax())
    assert parts.max() >= 2980
    if background != 100:
        assert rest.max() - rest.min() <= 8  # two gray values of four pixels
    assert rest.max() < 300


@settings(deadline=None, max_examples=100)
@given(arrays(np.uint8, (1, 4, 6, 1), elements=st.integers(0, 40) | st.just(7)), st.data())
def test_any_thresholds_increase_above_the_lowest(images, data):
    distinct = np.unique(images)
    if len(distinct) < 2:
        return
    for method in ("quantile", "uniform", "distinct"):
        # At most max - min "uniform" ones: more distinct values there cannot be.
        table = thresholds(images, data.draw(st.integers(1, len(distinct) - 1)), method=method)
        row = table[0].astype(int)
        assert (np.diff(row) > 0).all()
        assert distinct[0] < row[0]
        assert row[-1] <= distinct[-1]
        assert method == "uniform" or np.isin(row, distinct).all()


def test_uniform_is_the_same_for_integers_and_floats(rng):
    images = rng.integers(10, 90, (2, 9, 9, 1)).astype(np.uint8)
    whole = thresholds(images, 6, method="uniform")
    exact = thresholds(images.astype(np.float32), 6, method="uniform")
    low, high = float(images.min()), float(images.max())
    np.testing.assert_allclose(exact[0], np.linspace(low, high, 8)[1:-1], rtol=1e-6)
    levels = decompose(images.astype(np.float32), exact)
    np.testing.assert_array_equal(decompose(images, whole), levels)


def test_distinct_values_are_spaced_by_index():
    images = np.array([5, 7, 11, 60, 61, 200], np.uint8).reshape(1, 2, 3, 1)
    assert thresholds(images, 1, method="distinct").tolist() == [[7]]
    assert thresholds(images, 3, method="distinct").tolist() == [[7, 60, 200]]
    assert thresholds(images, None, method="distinct").tolist() == [[7, 11, 60, 61, 200]]


def test_channels_have_their_own_thresholds(rng):
    images = images_of(rng, np.float32, 3)
    for method in ("quantile", "uniform", "distinct"):
        table = thresholds(images, 4, method=method)
        alone = [thresholds(images[..., c : c + 1], 4, method=method)[0] for c in range(3)]
        np.testing.assert_array_equal(table, alone)


@pytest.mark.parametrize(
    "images, count, method, message",
    [
        (GRAY, 3, "otsu", r"method: .*'quantile', 'uniform', 'distinct'.*'otsu'"),
        (GRAY[0], 3, "quantile", r"images: .*four axes \(N, H, W, C\).*\(3, 4, 1\)"),
        (GRAY[:0], 3, "quantile", r"images: .*not empty.*\(0, 3, 4, 1\)"),
        (GRAY > 3, 3, "quantile", r"images: .*integers or floats.*bool"),
        (GRAY * 1j, 3, "quantile", r"images: .*integers or floats.*complex"),
        (NAN, 3, "quantile", r"images: .*NaN.*nan"),
        (INF, 3, "uniform", r"images: .*finite"),
        (GRAY + np.int64(2**40), 3, "quantile", r"images: .*int32.*1099511627776"),
        (COLOUR, 3, "quantile", r"images: .*constant.*\[12, 1\]"),
        (GRAY, 0, "quantile", r"count: .*1 to 11.*0"),
        (GRAY, 12, "quantile", r"count: .*1 to 11.*\[12\].*got 12"),
        (GRAY, 12, "distinct", r"count: .*1 to 11.*got 12"),
        (GRAY, 12, "uniform", r"count: .*uint8 tells apart.*12"),
        (GRAY, 2.0, "quantile", r"count: .*integer.*2\.0"),
        (GRAY, True, "quantile", r"count: .*integer.*True"),
        (GRAY, None, "quantile", r"count: .*integer.*None"),
        (UNEVEN, None, "distinct", r"count: .*\[12, 6\].*None"),
        (np.float32(1) + GRAY % 2 * np.float32(1e-7), 4, "uniform", r"count: .*float32 tells"),
    ],
)
def test_thresholds_refuse(images, count, method, message):
    with pytest.raises(ValueError, match=message):
        levelsets.thresholds(images, count, method=method)
