"""Crops of pairs of several sizes, in memory and in streams, and the pixels of them that count."""

import shutil
from itertools import islice

import jax
import numpy as np
import optax
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy import ndimage

from morphax import data, training
from morphax.data.image_lists import hold_out, read_pairs
from morphax.data.stream import PairFiles, batches
from morphax.neurons import models


def take(count, *args, **options):
    return list(islice(batches(*args, **options), count))


@pytest.fixture
def several_sizes(tmp_path, rng):
    """A folder of pairs of several sizes with masks: targets are complements, masks are mixed."""
    for k in range(5):
        x = rng.random((14 + k, 17 - k)) < 0.5
        for side, image in (("input", x), ("target", ~x), ("mask", rng.random(x.shape) < 0.7)):
            (tmp_path / side).mkdir(exist_ok=True)
            data.save_mask(tmp_path / side / f"{k}.png", image)
    return tmp_path


def test_crops_are_windows_of_all_sides_and_change_with_each_pass(several_sizes):
    source = PairFiles(several_sizes, ragged=True, masks=True)
    assert len(source[0]) == 3
    assert len(PairFiles(several_sizes, ragged=True)[0]) == 2
    got = take(4, source, batch_size=5, crop=(6, 7), seed=3)
    places = []
    for batch in got:
        numbers = []
        for x, y, mask in zip(*batch, strict=True):
            assert (x ^ y).all()
            for number in range(5):
                whole = np.concatenate([*source[number]], -1).transpose(2, 0, 1)
                windows = sliding_window_view(whole, (3, 6, 7))[0]
                one = np.concatenate([x, y, mask], -1).transpose(2, 0, 1)
                at = np.argwhere((windows == one).all((2, 3, 4)))
                if len(at):
                    numbers.append(number)
                    places.append((number, *at[0]))
        assert sorted(numbers) == [0, 1, 2, 3, 4]
    assert len({*places}) > 10  # of 20: a new window in each pass


def test_crops_are_the_same_for_every_number_of_processes(several_sizes):
    source = PairFiles(several_sizes, ragged=True, masks=None)
    options = {"batch_size": 4, "crop": (5, 5), "frame": (1, 1), "seed": 1}
    whole = take(4, source, **options)[2:]
    parts = [take(2, source, **options, start=2, process=p, processes=2) for p in (0, 1)]
    for i, batch in enumerate(whole):
        for side, (a, b) in enumerate(zip(parts[0][i], parts[1][i], strict=True)):
            np.testing.assert_array_equal(np.concatenate([a, b]), batch[side])


def test_a_frame_leaves_out_what_depends_on_pixels_that_were_cut_away(rng):
    # Targets are dilations by a line of 5 pixels: within 2 columns of a cut they cannot be known.
    x = [rng.random((9, 9 + 3 * k, 1)) < 0.3 for k in range(6)]
    pairs = data.Pairs(x, [_dilated(one) for one in x], None, tuple("abcdef"))
    drawn = pairs.crops(jax.random.key(0), size=(4, 9), count=60, frame=(0, 2))
    wrong = np.array([_dilated(one) for one in drawn.inputs]) ^ drawn.targets
    assert wrong.any()
    assert not (wrong & drawn.masks).any()
    inside = np.array([name == "a" for name in drawn.names])  # as wide as the crop: nothing cut
    assert drawn.masks[inside].all()
    assert not drawn.masks[~inside].all()
    assert drawn.masks[:, :, 2:-2].all()


def _dilated(image):
    return ndimage.binary_dilation(image[..., 0], np.ones((1, 5)))[..., None]


def test_pairs_are_split_as_learn_splits_them_and_cropped(several_sizes):
    pairs = data.load_pairs(several_sizes, ragged=True)
    part, held = pairs.split()
    assert (part.names, held.names) == (("0", "1", "2", "4"), ("3",))
    examples = hold_out(read_pairs(pairs))[1]
    np.testing.assert_array_equal(read_pairs(held)[0][0], examples[0][0])
    np.testing.assert_array_equal(held.masks[0], pairs.masks[3])
    drawn = pairs.crops(jax.random.key(1), size=(6, 8), count=40)
    assert drawn.inputs.shape == drawn.masks.shape == (40, 6, 8, 1)
    assert {*drawn.names} == {*"01234"}
    for name, x, mask in zip(drawn.names, drawn.inputs, drawn.masks, strict=True):
        both = np.concatenate([pairs.inputs[int(name)], pairs.masks[int(name)]], -1)
        windows = sliding_window_view(both.transpose(2, 0, 1), (2, 6, 8))[0]
        one = np.concatenate([x, mask], -1).transpose(2, 0, 1)
        assert (windows == one).all((2, 3, 4)).any()


def test_crops_that_do_not_fit_are_refused(several_sizes):
    pairs = data.load_pairs(several_sizes, ragged=True)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"^size: .* at most \(18, 13\), the size of 4, got"):
        pairs.crops(key, size=(14, 14), count=1)
    with pytest.raises(ValueError, match=r"^frame: expected less than half"):
        pairs.crops(key, size=(4, 4), count=1, frame=(2, 0))
    with pytest.raises(ValueError, match=r"^masks: expected mask/ in"):
        PairFiles(_without_masks(several_sizes), ragged=True, masks=True)
    source = PairFiles(several_sizes, ragged=True)
    with pytest.raises(ValueError, match="the size of record"):
        take(2, source, batch_size=5, crop=(15, 9))
    with pytest.raises(ValueError, match=r"^block: expected 1 with crops"):
        take(1, source, batch_size=4, crop=(9, 9), block=2)


def _without_masks(folder):
    shutil.rmtree(folder / "mask")
    return folder


def test_gray_inputs_of_a_stream(tmp_path, rng):
    for side in ("input", "target"):
        (tmp_path / side).mkdir()
    for k in range(4):
        levels = rng.integers(0, 256, (8 + k, 9), np.uint8)
        Image.fromarray(levels).save(tmp_path / f"input/{k}.png")
        data.save_mask(tmp_path / f"target/{k}.png", levels >= 90)
    source = PairFiles(tmp_path, ragged=True, gray=True)
    ((x, y),) = take(
        1, source, batch_size=4, crop=(5, 5), transform=lambda r: (r[0] >= np.array([90]), r[1])
    )
    assert (x == y).all()


def test_a_stream_with_masks_learns_from_the_pixels_that_count(several_sizes):
    # Outside of the masks the targets are wrong: only masks lead to the right sign.
    for k in range(5):
        x = data.load_image(several_sizes / f"input/{k}.png")
        mask = data.load_image(several_sizes / f"mask/{k}.png")
        data.save_mask(several_sizes / f"target/{k}.png", np.where(mask, x, ~x))
    source = PairFiles(several_sizes, ragged=True, masks=True)

    def fit(drop):
        def stream(start):
            for batch in batches(source, batch_size=5, crop=(9, 9), start=start):
                yield batch[:drop]

        return training.fit_stream(
            lambda p, x: p[0] * x + p[1],
            (np.float32(0.0), np.float32(0.5)),
            stream,
            valid=next(batches(source, batch_size=5, crop=(9, 9)))[:drop],
            optimizer=optax.sgd(1.0),
            steps=24,
            log_every=8,
            evaluate=lambda params, pairs: {},
        )

    with_masks, without = fit(3).history[-1]["loss"], fit(2).history[-1]["loss"]
    assert with_masks < 1e-2 < without


def test_masks_that_do_not_fit_are_refused():
    x = np.zeros((2, 5, 5, 1), bool)
    for mask in (x[..., 0], x.astype(np.float32), x[:1]):
        with pytest.raises(ValueError, match=r"^valid\[2\]: expected bool \(2, 5, 5, 1\)"):
            training.fit_stream(
                models.bimonn,
                [],
                lambda start: iter([(x, x)]),
                valid=(x, x, mask),
                optimizer=optax.adam(1e-2),
                steps=1,
            )


@pytest.mark.parametrize("loss", ["mse", "bce", "dice"])
def test_what_is_outside_of_masks_does_not_matter(loss, rng):
    x, y, mask = (rng.random((3, 6, 6, 1)) < 0.5 for _ in range(3))
    step = training.make_step(lambda p, x: p * x + 0.1, optax.sgd(1.0), loss=loss)
    state = training.TrainState(np.float32(0.4), optax.sgd(1.0).init(0.0), np.int32(0))
    first, second = (step(state, (x, np.where(mask, y, other), mask)) for other in (y, ~y))
    assert float(first[0].params) == float(second[0].params) != 0.4
    assert float(first[1]) == float(second[1])


def test_crops_of_volumes_are_parts_of_them(rng):
    x = [rng.random((5 + k, 6, 7, 1)) < 0.5 for k in range(2)]
    pairs = data.Pairs(x, [~v for v in x], None, ("a", "b"))
    drawn = pairs.crops(jax.random.key(0), size=(3, 4, 2), count=5, frame=(1, 0, 0))
    for name, part, target, mask in zip(drawn.names, *drawn, drawn.masks, strict=True):
        assert (part ^ target).all()
        windows = sliding_window_view(x["ab".index(name)][..., 0], (3, 4, 2))
        assert (windows == part[..., 0]).all((-1, -2, -3)).any()
        assert mask[1].all()
    whole, targets = data.crops(jax.random.key(1), x[0][None], ~x[0][None], size=(5, 2, 3), count=4)
    assert whole.shape == (4, 5, 2, 3, 1)
    assert bool((whole ^ targets).all())
    with pytest.raises(ValueError, match=r"^size: expected three integers of at least 1"):
        pairs.crops(jax.random.key(0), size=(3, 4), count=1)
    with pytest.raises(ValueError, match=r"^size: expected slices in 1\.\.5 and rows in 1\.\.6"):
        data.crops(jax.random.key(0), x[0][None], x[0][None], size=(6, 1, 1), count=1)
