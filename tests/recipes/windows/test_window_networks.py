"""Window operators as networks: certified, the same as floats, bits, words and programs."""

import jax.numpy as jnp
import numpy as np
import pytest

import morphax
from morphax.data.window_patterns import square_window
from morphax.program import build, run
from morphax.recipes.windows._levels import Level, count_votes, run_levels
from morphax.recipes.windows.networks import window_network


def _level(seed: int, planes: int, *, votes: bool = False, maps: int = 5) -> Level:
    rng = np.random.default_rng(seed)
    window = square_window(3, *range(planes))
    literals = rng.random((maps, 2 * len(window))) < 0.12
    literals[:, len(window) :] &= ~literals[:, : len(window)]
    literals[:, seed % len(window)] |= ~literals.any(1)
    values = rng.integers(-3, 4, maps) if votes else np.ones(maps)
    values[0] = 2 if votes else 1
    return Level(window, literals, values.astype(np.int32), np.array([1], np.int32))


CASES = {
    "union": [_level(0, 1)],
    "union of two planes": [_level(1, 2)],
    "two levels of unions": [_level(2, 1), _level(3, 2)],
    "votes": [_level(4, 1, votes=True)],
    "union, then votes": [_level(5, 1), _level(6, 2, votes=True)],
}


@pytest.mark.parametrize("border", ["constant", "replicate"])
@pytest.mark.parametrize("name", CASES)
def test_networks_are_certified_and_equal_the_levels(name: str, border: str) -> None:
    levels = CASES[name]
    planes = int(levels[0].window[:, 2].max()) + 1
    images = np.random.default_rng(7).random((40, 8, 9, planes)) < 0.5
    expected = np.stack([run_levels(levels, x, border=border) for x in images])
    net = window_network(levels, planes=planes, border=border)

    def decide(y: np.ndarray) -> np.ndarray:
        y = np.asarray(y)[..., 0]
        return y > 0.5 if net.least is None else y > net.least - 0.5

    assert bool(morphax.certify_network(net.apply, net.params, images.shape).exact)
    assert (decide(net.apply(net.params, jnp.asarray(images, jnp.float32))) == expected).all()
    binary = morphax.binarize(net.params)
    assert (decide(net.apply(binary, jnp.asarray(images))) == expected).all()
    words = net.apply(binary, morphax.pack(jnp.asarray(images)))
    bits = morphax.unpack(words, count=40) if net.least is None else words[:40]
    assert (decide(bits) == expected).all()
    assert (decide(run(build(net.apply, binary, images.shape), images)) == expected).all()


def test_counts_are_those_of_the_votes() -> None:
    level = CASES["votes"][0]
    net = window_network([level])
    image = np.random.default_rng(1).random((1, 12, 10, 1)) < 0.5
    counts = np.asarray(net.apply(morphax.binarize(net.params), jnp.asarray(image)))[0, ..., 0]
    assert (counts - net.least == count_votes(level, image[0]) - level.cuts[0]).all()


def test_levels_that_no_network_has_are_refused() -> None:
    level = _level(0, 1)
    for levels, message in (
        ([], "levels: expected one level or more"),
        ([level._replace(literals=level.literals[:0])], "a level without maps"),
        ([level._replace(literals=level.literals & False)], "a map without literals"),
        ([level._replace(cuts=np.array([1, 2])), _level(1, 2)], "unions with the cut 1"),
        ([_level(4, 1, votes=True), _level(1, 2)], "unions with the cut 1"),
    ):
        with pytest.raises(ValueError, match=message):
            window_network(levels)
