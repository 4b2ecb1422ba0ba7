"""Level sets: the way there and back, against `scipy.ndimage` in gray, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.image_oracle import images_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from morphax.morphology import operators
from morphax.morphology.levelsets import decompose, reconstruct, thresholds

NAMES = ("erosion", "dilation", "opening", "closing")
SELEM = np.array([[0, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 1]], bool)  # nothing symmetric


def grey(name, image, selem, border):
    """Gray morphology by scipy on one `(H, W)` channel, in float64 for the infinite frame."""
    x = image.astype(np.float64)
    frame = {"mode": "nearest"} if border == "replicate" else {"mode": "constant"}

    def erosion(x):
        return ndimage.grey_erosion(x, footprint=selem, cval=np.inf, **frame)

    def dilation(x):
        return ndimage.grey_dilation(x, footprint=selem, cval=-np.inf, **frame)

    steps = {"erosion": [erosion], "dilation": [dilation], "opening": [erosion, dilation]}
    for step in steps.get(name, [dilation, erosion]):
        x = step(x)
    return x


def on_levels(name, levels, selem, border):
    done = getattr(operators, name)(jnp.moveaxis(levels, -1, 1), selem, border=border)
    return jnp.moveaxis(done, 1, -1)


# --- commutation with flat operators ---


@pytest.mark.parametrize("border", ["ignore", "replicate"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype, channels", [(np.uint8, 1), (np.uint8, 3), (np.float32, 3)])
def test_flat_operators_commute(dtype, channels, name, border, rng):
    images = images_of(rng, dtype, channels)
    table, lowest = thresholds(images, None, method="distinct"), images.min((0, 1, 2))
    levels = on_levels(name, decompose(images, table), SELEM, border)
    result = np.asarray(reconstruct(levels, table, lowest=lowest))
    expected = np.empty(images.shape)
    for n, c in np.ndindex(len(images), channels):
        expected[n, :, :, c] = grey(name, images[n, :, :, c], SELEM, border)
    # An erosion (dilation) that sees the frame alone is +inf (-inf) there: SELEM looks beyond.
    expected = np.clip(expected, images.min((0, 1, 2)), images.max((0, 1, 2)))
    assert result.dtype == dtype
    assert (expected != images).mean() > 0.2
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", NAMES)
def test_they_equal_the_functions_of_scipy(name, rng):
    """No composition of ours: the interior and the nearest frame of scipy's own four."""
    image = images_of(rng, np.uint8, 1, (1, 20, 23))
    table = thresholds(image, None, method="distinct")
    levels = on_levels(name, decompose(image, table), SELEM, "replicate")
    result = reconstruct(levels, table, lowest=image.min())[0, ..., 0]
    oracle = getattr(ndimage, f"grey_{name}")
    expected = oracle(image[0, ..., 0], footprint=SELEM, mode="nearest")
    np.testing.assert_array_equal(result, expected)
    interior = (slice(4, -4), slice(8, -8))
    expected = oracle(image[0, ..., 0], footprint=SELEM)  # reflected beyond the frame
    ignored = on_levels(name, decompose(image, table), SELEM, "ignore")
    result = reconstruct(ignored, table, lowest=image.min())[0, ..., 0]
    np.testing.assert_array_equal(result[interior], expected[interior])


def test_few_levels_commute_with_their_quantisation(rng):
    images = images_of(rng, np.uint8, 1)
    table = thresholds(images, 4)
    quantised = np.asarray(reconstruct(decompose(images, table), table))
    levels = on_levels("opening", decompose(images, table), SELEM, "replicate")
    expected = np.stack([grey("opening", q[..., 0], SELEM, "replicate") for q in quantised])
    np.testing.assert_array_equal(reconstruct(levels, table)[..., 0], expected)


# --- there and back ---

FLOATS = st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)
STACKS = [
    (np.uint8, st.integers(0, 255)),
    (np.int8, st.integers(-128, 127)),
    (np.int32, st.integers(-(2**31), 2**31 - 1)),
    (np.float32, FLOATS),
]


@pytest.mark.first(2)
@pytest.mark.parametrize("dtype, values", STACKS, ids=[d.__name__ for d, _ in STACKS])
def test_invertible_exactly_when_all_values_are_there(dtype, values):
    @settings(deadline=None, max_examples=20)
    @given(arrays(dtype, (1, 2, 3, 1), elements=values), st.data())
    def check(images, data):
        distinct = np.unique(images)
        if len(distinct) > 1:
            images_table = thresholds(images, None, method="distinct")
            np.testing.assert_array_equal(images_table, distinct[None, 1:])
        # The lowest value may be a threshold or not: both ways are exact.
        table = distinct[None, len(distinct) > 1 :]
        back = reconstruct(decompose(images, table), table, lowest=distinct[0])
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, images)
        if table.size > 1:  # one value less: not invertible, but the greatest threshold <= x
            lost = data.draw(st.integers(0, table.size - 1))
            fewer = np.delete(table, lost, axis=1)
            back = np.asarray(reconstruct(decompose(images, fewer), fewer, lowest=distinct[0]))
            known = np.concatenate([distinct[:1], fewer[0]])
            expected = known[np.searchsorted(known, images, side="right") - 1]
            np.testing.assert_array_equal(back, expected)
            assert (back != images).any()

    check()


@pytest.mark.parametrize("method", ["quantile", "uniform", "distinct"])
def test_as_many_thresholds_as_values_invert(method, rng):
    image = np.arange(17, 17 + 24).astype(np.uint8)
    image = rng.permutation(image).reshape(1, 4, 6, 1)
    table = thresholds(image, 23, method=method)
    back = reconstruct(decompose(image, table), table, lowest=17)
    np.testing.assert_array_equal(back, image)


def test_the_whole_range_of_uint8_does_not_overflow():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    table = thresholds(image, 255)
    back = reconstruct(decompose(image, table), table)
    assert (table.dtype, back.dtype) == (np.uint8, np.uint8)
    np.testing.assert_array_equal(back, image)


def test_layout_is_input_channel_major(rng):
    images = images_of(rng, np.uint8, 3)
    table = thresholds(images, 4)
    assert table.shape == (3, 4)
    levels = decompose(images, table)
    assert (levels.shape, levels.dtype) == ((2, 12, 15, 12), bool)
    for c, k in np.ndindex(3, 4):
        np.testing.assert_array_equal(levels[..., c * 4 + k], images[..., c] >= table[c, k])


@settings(deadline=None, max_examples=40)
@given(arrays(np.uint8, (2, 3, 4, 2)), arrays(np.uint8, (2, 3), unique=True))
def test_levels_are_nested(images, table):
    levels = np.asarray(decompose(images, np.sort(table, 1))).reshape(2, 3, 4, 2, 3)
    assert (levels[..., :-1] >= levels[..., 1:]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float32])
def test_any_levels_obey_the_sum(dtype, rng):
    """Levels that are not nested: the sum of increments, without overflow on the way."""
    table = np.sort(rng.choice(125, (2, 6), replace=False), 1) + 1
    table = (2 * table - (126 if dtype == np.int8 else 0)).astype(dtype)
    lowest = table[:, 0] - np.array([1, 0], dtype)
    levels = rng.random((2, 4, 5, 12)) < 0.5
    rises = np.diff(np.concatenate([lowest[:, None], table], 1).astype(float))
    expected = lowest + (levels.reshape(2, 4, 5, 2, 6) * rises).sum(-1)
    result = reconstruct(levels, table, lowest=lowest)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)


def test_dtypes(rng):
    images = images_of(rng, np.uint8, 1)
    for dtype, kept in [
        (np.uint8, np.uint8),
        (np.uint16, np.uint16),
        (np.int64, np.int32),
        (np.uint32, np.int32),
        (np.float16, np.float16),
        (np.float64, np.float32),
    ]:
        for method in ("quantile", "uniform", "distinct"):
            table = thresholds(images.astype(dtype), 5, method=method)
            assert table.dtype == kept
        assert reconstruct(decompose(images.astype(dtype), table), table).dtype == kept
    # A threshold that uint8 cannot hold is a level that stays empty.
    assert not decompose(images, [[300]]).any()
    assert reconstruct(decompose(images, [[300]]), [[300]], lowest=-7).max() == -7
    # Wide integers are compared as such, not as floats.
    near = np.array([2**24, 2**24 + 1]).reshape(1, 1, 2, 1)
    assert decompose(near, [[2**24 + 1]]).ravel().tolist() == [False, True]


def test_jit_and_traced_thresholds(rng):
    for dtype in (np.uint8, np.float32):
        images = images_of(rng, dtype, 3)
        table, lowest = thresholds(images, 6), images.min((0, 1, 2))
        levels = decompose(images, table)
        np.testing.assert_array_equal(jax.jit(decompose)(images, table), levels)
        np.testing.assert_array_equal(jax.jit(lambda x, t=table: decompose(x, t))(images), levels)
        back = reconstruct(levels, table, lowest=lowest)
        jitted = jax.jit(lambda x, t, low=lowest: reconstruct(x, t, lowest=low))(levels, table)
        np.testing.assert_array_equal(jitted, back)
    with pytest.raises(ValueError, match=r"thresholds: .*3 rows.*\(1, 6\)"):
        jax.jit(decompose)(images, table[:1])
    # Thresholds of known images may be asked for while tracing, not those of traced ones.
    np.testing.assert_array_equal(
        jax.jit(lambda: decompose(images, thresholds(images, 6)))(), levels
    )
    with pytest.raises(ValueError, match=r"images: .*outside jit.*traced"):
        jax.jit(lambda x: thresholds(x, 6))(images)


# --- thresholds ---


# --- what is refused ---

GRAY = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
COLOUR = np.stack([GRAY[..., 0], np.full((1, 3, 4), 9, np.uint8)], -1)
UNEVEN = np.stack([GRAY[..., 0], GRAY[..., 0] // 2], -1)
NAN, INF = GRAY * 1.0, GRAY * 1.0
NAN[0, 0, 0, 0], INF[0, 0, 0, 0] = np.nan, np.inf


@pytest.mark.parametrize(
    "images, table, message",
    [
        (GRAY[0], [[3]], r"images: .*four axes.*\(3, 4, 1\)"),
        (GRAY > 3, [[3]], r"images: .*bool"),
        (NAN, [[3.0]], r"images: .*NaN"),
        (jnp.asarray(NAN), [[3.0]], r"images: .*NaN"),
        (GRAY, [3, 5], r"thresholds: .*\(channels, count\).*\(2,\)"),
        (GRAY, [[]], r"thresholds: .*not empty.*\(1, 0\)"),
        (GRAY, [[3], [5]], r"thresholds: .*1 rows.*\(2, 1\)"),
        (GRAY, [[5, 3]], r"thresholds: .*increasing.*\[\[5, 3\]\]"),
        (GRAY, np.array([[5, 3]], np.uint8), r"thresholds: .*increasing"),
        (GRAY, jnp.array([[3, 3]]), r"thresholds: .*increasing"),
        (GRAY * 1.0, [[1.0, 1.0 + 1e-12]], r"thresholds: .*increasing"),  # one in float32
        (GRAY * 1.0, [[3.0, np.inf]], r"thresholds: .*finite"),
        (GRAY * 1.0, [[3.0, np.nan]], r"thresholds: .*NaN"),
        (GRAY, [[2**33]], r"thresholds: .*int32.*8589934592"),
        (GRAY, [[2.5]], r"thresholds: .*integers for images of uint8.*float"),
        (GRAY / 12, [[3]], r"thresholds: .*floats for images of float32.*int"),
    ],
)
def test_decompose_refuses(images, table, message):
    with pytest.raises(ValueError, match=message):
        decompose(images, table)


LEVELS = np.zeros((1, 3, 4, 2), bool)


@pytest.mark.parametrize(
    "levels, table, lowest, message",
    [
        (LEVELS * 1.0, [[1, 2]], 0, r"levels: .*output > 0\.5.*float"),
        (LEVELS[0], [[1, 2]], 0, r"levels: .*\(N, H, W, 2\).*\(3, 4, 2\)"),
        (LEVELS, [[1, 2, 3]], 0, r"levels: .*\(N, H, W, 3\).*\(1, 3, 4, 2\)"),
        (LEVELS, [[2, 1]], 0, r"thresholds: .*increasing"),
        (LEVELS, [1, 2], 0, r"thresholds: .*\(channels, count\)"),
        (LEVELS, [[1, 2]], 2, r"lowest: .*<= \[1\].*2"),
        (LEVELS, [[1, 2]], 0.5, r"lowest: .*int32.*0\.5"),
        (LEVELS, [[1, 2]], [0, 0], r"lowest: .*one a channel.*\[0, 0\]"),
        (LEVELS, np.array([[1, 2]], np.uint8), -1, r"lowest: .*uint8.*-1"),
        (LEVELS, [[1.0, 2.0]], np.nan, r"lowest: .*nan"),
        (LEVELS, [[-2.0, -1.0]], 0, r"lowest: .*<= \[-2\.\].*0"),
    ],
)
def test_reconstruct_refuses(levels, table, lowest, message):
    with pytest.raises(ValueError, match=message):
        reconstruct(levels, table, lowest=lowest)
