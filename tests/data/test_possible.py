"""Single operators and label noise read off pairs, against brute force over every 3 x 3 set."""

import numpy as np
import pytest
from scipy import ndimage

from morphax.data.possible import label_noise, single_operators

SETS = np.array([list(np.binary_repr(i, 9)) for i in range(1, 512)]) == "1"
SETS = SETS.reshape(-1, 3, 3)


def eroded(images, selem):
    return np.stack([ndimage.binary_erosion(x, selem, border_value=1) for x in images])


def dilated(images, selem):
    return np.stack([ndimage.binary_dilation(x, selem) for x in images])


def best(images, targets, kind, complement, masks=None):
    found = single_operators(images, targets, kernel_size=3, masks=masks)
    return [one for one in found if (one.kind, one.complement) == (kind, complement)]


@pytest.mark.parametrize("kind", ["erosion", "dilation"])
@pytest.mark.parametrize("complement", [False, True])
def test_a_single_operator_fits_exactly_when_some_set_does(rng, kind, complement):
    """Whether any of the 511 sets fits, for targets that one makes and for targets with a wrong
    pixel."""
    operate = eroded if kind == "erosion" else dilated
    images = rng.random((3, 7, 6)) < 0.6
    every = np.stack([operate(images, s) ^ complement for s in SETS])
    verdicts = set()
    for selem in SETS[rng.integers(len(SETS), size=6)]:
        right = operate(images, selem) ^ complement
        for flipped in (0, 1):
            targets = right.copy()
            targets.reshape(-1)[rng.choice(targets.size, flipped, replace=False)] ^= True
            fits = (every == targets).all((1, 2, 3)).any()
            found = best(images, targets, kind, complement)
            assert (found[0].wrong == 0 if found else False) == fits
            if fits:
                assert (operate(images, found[0].hit) ^ complement == targets).all()
            verdicts.add(bool(fits))
    assert verdicts == {True, False}


@pytest.mark.parametrize("complement", [False, True])
def test_a_hit_or_miss_is_read_off(rng, complement):
    hit, miss = np.zeros((2, 3, 3), bool)
    hit[1, 1] = hit[1, 2] = miss[0, 1] = miss[2, 0] = True
    images = rng.random((20, 12, 12)) < 0.5
    targets = eroded(images, hit) & ~dilated(images, miss[::-1, ::-1])
    found = best(images, targets ^ complement, "hit-or-miss", complement)[0]
    assert found.wrong == 0
    assert (found.hit == hit).all()
    assert (found.miss == miss).all()


def test_masked_pixels_do_not_count(rng):
    images = rng.random((20, 12, 12)) < 0.8
    selem = SETS[200]
    targets, masks = eroded(images, selem), rng.random(images.shape) < 0.7
    found = best(images, targets ^ ~masks, "erosion", False, masks)[0]
    assert found.wrong == 0
    assert (found.hit == selem).all()


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.2])
def test_label_noise_is_estimated(rng, rate):
    images = rng.random((40, 60, 60)) < 0.5
    targets = eroded(images, SETS[100]) ^ (rng.random(images.shape) < rate)
    found = label_noise(images, targets, kernel_size=3)
    assert found.flips == pytest.approx(rate, abs=0.003)
    # Every pattern of 9 pixels comes often: the majority of each has about `rate` against it.
    assert found.least_error == pytest.approx(rate, abs=0.01)
    assert found.repeated > 0.99


def test_the_least_error_is_that_of_the_majority_of_each_window(rng):
    """Against a table of windows as strings of digits; 2 stands for what is outside of the
    image."""
    images, targets = rng.random((6, 9, 8)) < 0.5, rng.random((6, 9, 8)) < 0.5
    padded = np.pad(images.astype(int), ((0, 0), (1, 1), (1, 1)), constant_values=2)
    table = {}
    for i, r, c in np.ndindex(images.shape):
        counts = table.setdefault(padded[i, r : r + 3, c : c + 3].tobytes(), [0, 0])
        counts[int(targets[i, r, c])] += 1
    least = sum(min(counts) for counts in table.values()) / images.size
    again = sum(sum(counts) for counts in table.values() if sum(counts) > 1) / images.size
    found = label_noise(images, targets, kernel_size=3)
    assert found.least_error == pytest.approx(least)
    assert found.repeated == pytest.approx(again)
    assert found.flips is None  # too few pixels to say


@pytest.mark.parametrize(
    ("images", "targets", "options", "message"),
    [
        (np.zeros((2, 5, 5)), np.zeros((2, 5, 5), bool), {}, "images: expected bool"),
        (np.zeros((2, 5, 5), bool), np.zeros((2, 5, 4), bool), {}, "images: expected shape"),
        (
            np.zeros((2, 5, 5), bool),
            np.zeros((2, 5, 5), bool),
            {"kernel_size": 4},
            "kernel_size: expected",
        ),
    ],
)
def test_what_does_not_fit_is_said(images, targets, options, message):
    for function in (single_operators, label_noise):
        with pytest.raises(ValueError, match=message):
            function(images, targets, **options)
