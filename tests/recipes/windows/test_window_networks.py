"""Window operators as networks: certified, the same as floats, bits, words and programs."""

import jax.numpy as jnp
import numpy as np
import pytest

import morphax
from morphax.data.window_patterns import square_window
from morphax.program import build, run, simplify
from morphax.recipes.windows._levels import Level, run_levels
from morphax.recipes.windows.networks import window_network


def _level(
    seed: int, planes: int, *, votes: bool = False, maps: int = 5, cuts: tuple[int, ...] = (1,)
) -> Level:
    rng = np.random.default_rng(seed)
    window = square_window(3, *range(planes))
    literals = rng.random((maps, 2 * len(window))) < 1.1 / len(window)
    literals[:, len(window) :] &= ~literals[:, : len(window)]
    literals[:, seed % len(window)] |= ~literals.any(1)
    values = rng.integers(-3, 4, maps) if votes else np.ones(maps)
    values[0] = 2 if votes else 1
    return Level(window, literals, values.astype(np.int32), np.array(cuts, np.int32))


CASES = {
    "union, then votes": [_level(5, 1), _level(6, 2, votes=True)],
    "votes with several cuts, then votes": [
        _level(8, 1, votes=True, cuts=(1, -1, 2)),
        _level(9, 4, votes=True, maps=9),
    ],
    "two levels of unions": [_level(2, 1), _level(3, 2)],
    "union": [_level(0, 1)],
    "union of two planes": [_level(1, 2)],
    "votes": [_level(4, 1, votes=True)],
    "three levels": [
        _level(10, 2, cuts=(1, 2)),
        _level(11, 4, votes=True, cuts=(0, 1)),
        _level(12, 4),
    ],
}


@pytest.mark.first(1)
@pytest.mark.parametrize(
    "name, border", [(name, ("constant", "replicate")[i % 2]) for i, name in enumerate(CASES)]
)
def test_networks_are_certified_and_equal_the_levels(name: str, border: str) -> None:
    levels = CASES[name]
    planes = int(levels[0].window[:, 2].max()) + 1
    images = np.random.default_rng(7).random((40, 8, 9, planes)) < 0.5
    expected = np.stack([run_levels(levels, x, border=border) for x in images])
    net = window_network(levels, planes=planes, border=border)

    def decide(y: np.ndarray) -> np.ndarray:
        return np.asarray(y)[..., 0] > 0.5

    assert 0 < expected.mean() < 1
    assert bool(morphax.certify_network(net.apply, net.params, images.shape).exact)
    assert (decide(net.apply(net.params, jnp.asarray(images, jnp.float32))) == expected).all()
    binary = morphax.binarize(net.params)
    assert (decide(net.apply(binary, jnp.asarray(images))) == expected).all()
    words = net.apply(binary, morphax.pack(jnp.asarray(images)))
    assert (decide(morphax.unpack(words, count=40)) == expected).all()
    program = build(net.apply, binary, images.shape)
    assert (decide(run(program, images)) == expected).all()
    assert (decide(run(simplify(program), images)) == expected).all()


@pytest.mark.parametrize("layout", ["batch", "pixels"])
def test_two_levels_of_votes_run_specialised(layout: str) -> None:
    levels = CASES["votes with several cuts, then votes"]
    net = window_network(levels)
    images = np.random.default_rng(3).random((5, 8, 9, 1)) < 0.5
    fast = morphax.specialize(net.apply, morphax.binarize(net.params), images.shape, layout=layout)
    expected = np.stack([run_levels(levels, x) for x in images])
    assert (np.asarray(fast(images))[..., 0] == expected).all()


def test_the_maps_of_a_level_are_evaluated_once() -> None:
    levels = CASES["votes with several cuts, then votes"]
    net = window_network(levels)
    ops = simplify(build(net.apply, morphax.binarize(net.params), (1, 8, 9, 1))).ops
    assert [len(op.arrays["cuts"]) for op in ops if op.kind == "at_least"] == [3, 1]


def test_levels_that_no_network_has_are_refused() -> None:
    level = _level(0, 1)
    for levels, message in (
        ([], "levels: expected one level or more"),
        ([level._replace(literals=level.literals[:0])], "a level without maps"),
        ([level._replace(literals=level.literals & False)], "a map without literals"),
        ([_level(1, 2)], "windows of 1 planes, got 'plane 1'"),
        ([level, _level(1, 3)], "windows of 2 planes, got 'plane 2'"),
    ):
        with pytest.raises(ValueError, match=message):
            window_network(levels)


@pytest.mark.slow
def test_many_maps_and_planes_that_nothing_reads() -> None:
    """Banks of more than 16 parts of a plane are filled up, and unread planes are left out."""
    first = _level(20, 1, votes=True, maps=13, cuts=(0, 1))
    second = _level(21, 3, votes=True, maps=18)
    seen = np.tile(second.window[:, 2] != 1, 2)
    literals = second.literals & seen
    literals[:, np.flatnonzero(seen)[0]] |= ~literals.any(1)
    second = second._replace(literals=literals)
    levels = [first, second]
    net = window_network(levels)
    assert [banks["parts"].weight.shape[-2:] for banks in net.params] == [(1, 32), (2, 32)]
    images = np.random.default_rng(4).random((6, 8, 9, 1)) < 0.5
    expected = np.stack([run_levels(levels, x) for x in images])
    assert 0 < expected.mean() < 1
    program = build(net.apply, morphax.binarize(net.params), images.shape)
    assert (run(simplify(program), images)[..., 0] == expected).all()
    assert bool(morphax.certify_network(net.apply, net.params, images.shape).exact)
