"""Window operators on volumes: patterns, counts, unions and their networks, against scipy."""

from itertools import product

import jax
import numpy as np
import pytest
from scipy import ndimage

import morphax
from morphax import data, program
from morphax.data.gray_planes import GrayPlanes, gray_planes
from morphax.data.window_patterns import count_patterns, see
from morphax.data.windows import square_window
from morphax.recipes import (
    Properties,
    learn_window_union,
    learn_window_votes,
    window_network,
)
from morphax.recipes.windows._levels import Level, count_votes, run_levels
from morphax.recipes.windows.properties import closed_level, with_input

KEY = jax.random.key(0)
HITS = np.zeros((2, 3, 3, 3), bool)
HITS[0, 1, 1, 1] = HITS[0, 0, 1, 1] = HITS[1, 1, 2, 1] = True
MISSES = np.zeros((2, 3, 3, 3), bool)
MISSES[0, 1, 1, 2] = MISSES[1, 2, 1, 1] = MISSES[1, 1, 1, 1] = True


def fits(volumes, hits, misses):
    """Where each hit-or-miss fits, by scipy; beyond the frame nothing is set."""
    return np.array(
        [
            [ndimage.binary_hit_or_miss(v, hit, miss) for v in volumes]
            for hit, miss in zip(hits, misses, strict=True)
        ]
    )


def volumes(seed, count=6, size=(8, 9, 7)):
    return np.random.default_rng(seed).random((count, *size)) < 0.5


def test_a_union_of_hit_or_misses_is_recovered():
    x, other = volumes(0), volumes(1)
    pairs = x[..., None], fits(x, HITS, MISSES).any(0)
    found = learn_window_union(KEY, pairs, maps=4, window=3, least_gain=1, guess=0.0)
    assert len(found.levels[0].literals) == 2
    answers = np.stack([found(volume) for volume in other])
    expected = fits(other, HITS, MISSES).any(0)
    np.testing.assert_array_equal(answers, expected)
    net = window_network(found.levels)
    assert bool(morphax.certify_network(net.apply, net.params, (1, 8, 9, 7, 1)).exact)
    binary = program.build(net.apply, morphax.binarize(net.params), (1, 8, 9, 7, 1))
    np.testing.assert_array_equal(program.run(binary, other[..., None])[..., 0], expected)


@pytest.mark.parametrize("border", ["constant", "replicate"])
def test_votes_are_counts_of_brute_force(border):
    rng, image = np.random.default_rng(2), volumes(2, 1)[0]
    literals = rng.random((5, 54)) < 0.1
    literals[:, 27:] &= ~literals[:, :27]
    votes = rng.integers(-3, 4, 5).astype(np.int32)
    mode = "edge" if border == "replicate" else "constant"
    hits, misses = literals.reshape(5, 2, 3, 3, 3).swapaxes(0, 1)
    wide = fits([np.pad(image, 2, mode=mode)], hits, misses)[:, 0, 2:-2, 2:-2, 2:-2]
    expected = (votes[:, None, None, None] * wide).sum(0)
    level = Level(square_window(3, axes=3), literals, votes, np.array([1, -1], np.int32))
    counts = count_votes(level, image[..., None], border=border)
    np.testing.assert_array_equal(counts, expected)
    # A second level reads both cuts, in windows of another form.
    second = Level(
        square_window((1, 3, 1), 1, 2, axes=3),
        np.eye(2, 12, 4, bool),
        *[np.ones(k, int) for k in (2, 1)],
    )
    levels = [level, second]
    net = window_network(levels, border=border)
    binary = program.build(net.apply, morphax.binarize(net.params), (1, *image.shape, 1))
    answer = program.run(binary, image[None, ..., None])[0, ..., 0]
    np.testing.assert_array_equal(answer, run_levels(levels, image[..., None], border=border))


@pytest.mark.parametrize("border", ["constant", "replicate"])
def test_patterns_are_those_of_plain_loops(border):
    rng = np.random.default_rng(3)
    size, mask = (3, 4, 5), np.zeros((3, 1, 3), bool)
    mask[[0, 1, 2], 0, [0, 1, 1]] = True
    window = square_window(mask, 1, 0, axes=3)
    planes, target = rng.random((*size, 2)) < 0.4, rng.random(size) < 0.5
    shown, expected = see(planes, window, np.arange(60), border=border), {}
    for number, place in enumerate(product(*map(range, size))):
        bits = []
        for *offset, plane in window:
            at = np.add(place, offset)
            near = np.clip(at, 0, np.array(size) - 1)
            beyond = (at != near).any() and border == "constant"
            bits.append(bool(planes[(*near, plane)]) and not beyond)
        assert shown[number].tolist() == bits
        expected.setdefault(np.array(bits).tobytes(), [0, 0])[0 if target[place] else 1] += 1
    found = count_patterns([(planes, target, target | True)], window, border=border)
    assert {b.tobytes(): [p, q] for b, p, q in zip(*found, strict=True)} == expected


def test_closed_levels_commute_with_the_turns_of_the_cube():
    rng, image = np.random.default_rng(4), volumes(4, 1, (6, 6, 6))[0][..., None]
    literals = rng.random((2, 54)) < 0.05
    level = Level(square_window(3, axes=3), literals, np.array([1, -1]), np.array([1]))
    for union in (True, False):
        closed = closed_level(
            level._replace(votes=np.ones(2, int)) if union else level, union=union
        )
        closed = with_input((closed,), Properties(extensive=True))
        answer = run_levels(closed, image)
        assert (answer & ~image[..., 0]).any() or not union
        for axes in ((0, 1), (0, 2), (1, 2)):
            turned = run_levels(closed, np.rot90(image, axes=axes))
            np.testing.assert_array_equal(turned, np.rot90(answer, axes=axes))
        np.testing.assert_array_equal(run_levels(closed, image[:, ::-1]), answer[:, ::-1])


def test_gray_planes_of_volumes_are_thresholds_of_means():
    image = np.random.default_rng(5).integers(0, 256, (5, 6, 7)).astype(np.uint8)
    found = gray_planes(image[..., None], GrayPlanes((0.5,), (-5,), (), 3, 3))
    sums = ndimage.correlate(image.astype(int), np.ones((3, 3, 3), int), mode="nearest")
    expected = [
        image >= np.quantile(image, 0.5, method="higher"),
        27 * image.astype(int) - sums >= -135,
    ]
    np.testing.assert_array_equal(found, np.stack(expected, -1))


def test_bounds_of_volumes_count_windows():
    x = volumes(6, 2, (5, 5, 5))[..., None]
    found = data.window_bounds((x, fits(x[..., 0], HITS, MISSES).any(0)), window=3)
    assert (found.table, found.contradictory, found.pixels) == (0.0, 0.0, 250)
    assert data.window_bounds((x, ~x), window=1).increasing == pytest.approx(
        min(x.mean(), 1 - x.mean())
    )


def test_what_is_refused():
    x = volumes(7, 2, (8, 9, 10))[..., None]
    y = x[..., 0] ^ np.roll(x[..., 0], 1, 1)
    image = x[0, 0], y[0, 0]
    cases = [
        ((x, y), 11, "window: expected an odd side of at most 8, the least side of the volumes"),
        ((x, y), (3, 3, 11), "window: expected 3 odd sides of at most 8, 9, 10, the least sides"),
        ((x, y), np.ones((3, 3), bool), "window: expected 3 odd sides of at most 8, 9, 10"),
        ((x[..., 0], y), 3, r"targets\[0\]: expected bool \(8, 9\) \(volumes have an axis of chan"),
        (([x[0], image[0]], [y[0], image[1]]), 3, "inputs: expected images or volumes alone"),
    ]
    for pairs, window, words in cases:
        with pytest.raises(ValueError, match=f"^{words}") as error:
            learn_window_union(KEY, pairs, maps=1, window=window)
        assert "\n" not in str(error.value)
    level = Level(square_window(1, axes=3), np.eye(1, 2, dtype=bool), np.array([1]), np.array([1]))
    with pytest.raises(ValueError, match="plane 3"):
        window_network([level._replace(window=level.window + 3)])


@pytest.mark.slow
def test_votes_in_two_levels_are_learned():
    x, other = volumes(8, 16, (12, 12, 12)), volumes(9)
    pairs = x[..., None], fits(x, HITS, MISSES).sum(0) == 1
    found = learn_window_votes(KEY, pairs, clauses=(64, 8), window=3, steps=600)
    answers = np.stack([found(volume) for volume in other])
    assert (answers != (fits(other, HITS, MISSES).sum(0) == 1)).mean() < 0.01
    assert found.options["further"] == 5
