"""Certificates of networks with votes: sound at the ends of dead zones, tight where they can be."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import morphax
from morphax import BiSE, Spec, apply, at_least, complement


def _copies(n, *, symmetric=False):
    """A dense bank that copies n planes; its certificate is exact for every dead zone here."""
    bias = jnp.full(n, 0.0 if symmetric else 0.5)
    spec = Spec("dense", "identity", "raw", symmetric=symmetric)
    return BiSE(jnp.eye(n), bias, jnp.full(n, 50.0), spec)


def _model(votes, cuts, symmetric=False):
    return lambda params, x: apply(params, at_least(x, votes, cuts, symmetric=symmetric))


def _wrong(votes, cuts, distance):
    """Find by brute force whether some input with bits that far from 0 and 1 is counted wrongly."""
    bits = np.array(list(itertools.product([False, True], repeat=len(votes))))
    expected = np.asarray(at_least(jnp.asarray(bits), votes, cuts))
    # The worst inputs: everything moved to lower sums, or to higher ones.
    wrong = False
    for side in (-1, 1):
        moves = (np.sign(votes) * side > 0) ^ bits
        graded = np.where(bits, 1 - distance * moves, distance * moves).astype(np.float32)
        wrong |= not np.array_equal(np.asarray(at_least(graded, votes, cuts)) > 0.5, expected)
    return wrong


@pytest.mark.parametrize("votes", [(1, 1, 1), (2, -3, 1, 0), (5, 4, -7, 2, -1)])
def test_the_verdict_is_that_of_brute_force(votes):
    """Tight for the lowest cut above the least sum: there every vote may be moved upwards."""
    n, total = len(votes), np.abs(votes).sum()
    lowest = sum(min(vote, 0) for vote in votes)
    cuts = (lowest + 1, lowest + 2)
    for part in (0.2, 0.9, 0.999, 1.001, 1.1):
        distance = part / (2 * total)
        verdict = morphax.certify_network(
            _model(votes, cuts), _copies(2), (1, n), dead_zone=(distance, 1 - distance)
        )
        assert bool(verdict.exact) == (part < 1) == (not _wrong(votes, cuts, distance))
        (margin,) = verdict.counts
        assert float(margin) == pytest.approx(0.5 - total * distance, abs=1e-4)


def test_certified_counts_are_right_at_the_ends_of_the_zone():
    rng = np.random.default_rng(0)
    for seed in range(4):
        votes = rng.integers(-9, 10, 7)
        cuts = rng.integers(-8, 9, 3)
        distance = float(0.499 / max(np.abs(votes).sum(), 1))
        verdict = morphax.certify_network(
            _model(votes, cuts), _copies(3), (1, 7), dead_zone=(distance, 1 - distance)
        )
        assert bool(verdict.exact), seed
        assert not _wrong(votes, cuts, distance)


def test_results_are_exactly_binary():
    """The dead zone behind a count is that of bits, whatever graded values enter."""
    model = lambda p, x: at_least(apply(p, x), (1, 1), (1, 2))  # noqa: E731
    verdict = morphax.certify_network(model, _copies(2), (1, 2), dead_zone=(0.2, 0.8))
    assert bool(verdict.exact)
    assert [end.tolist() for end in verdict.dead_zone] == [[0, 0], [1, 1]]


def test_symmetric_networks():
    votes, cuts = (3, -1, 1), (0, 2)
    model, params = _model(votes, cuts, True), _copies(2, symmetric=True)
    assert bool(morphax.certify_network(model, params, (1, 3)).exact)
    bits = np.array(list(itertools.product([False, True], repeat=3)))
    real = model(params, jnp.asarray(2.0 * bits - 1))
    assert np.array_equal(np.asarray(real) > 0, model(morphax.binarize(params), jnp.asarray(bits)))
    with pytest.raises(ValueError, match=r"counts \(at_least\) symmetric, or none"):
        morphax.certify_network(_model(votes, cuts), params, (1, 3))


def test_sums_that_floats_cannot_hold_are_not_certified():
    votes = (2**23, 1)
    verdict = morphax.certify_network(_model(votes, (1,)), _copies(1), (1, 2))
    assert not bool(verdict.exact)
    assert float(verdict.counts[0]) == -np.inf
    assert bool(morphax.certify_network(_model((2**17, 1), (1,)), _copies(1), (1, 2)).exact)


def test_uncertified_neurons_before_a_count():
    """A bank that is not exact promises nothing (zone 1/2, 1/2): no count on it is certified."""
    node = dataclasses.replace(_copies(2), bias=jnp.array([0.5, 1.5]))
    model = lambda p, x: at_least(apply(p, x), (1, 1), (1,))  # noqa: E731
    verdict = jax.jit(lambda p: morphax.certify_network(model, p, (1, 2)))(node)
    assert not bool(verdict.exact)
    assert float(verdict.counts[0]) < 0


def test_complements_of_counts():
    model = lambda p, x: complement(at_least(apply(p, x), (1, -1), (1,)))  # noqa: E731
    params = _copies(2)
    assert bool(morphax.certify_network(model, params, (1, 2)).exact)
    bits = np.array(list(itertools.product([False, True], repeat=2)))
    real = np.asarray(model(params, jnp.asarray(bits, jnp.float32)))
    assert np.array_equal(real > 0.5, model(morphax.binarize(params), jnp.asarray(bits)))


def test_what_the_tracer_refuses():
    params = _copies(2)
    inner = lambda p, x: jax.vmap(lambda row: at_least(row, (1, 1), (1, 2)), -1, -1)(x)  # noqa: E731
    model = lambda p, x: apply(p, inner(p, x[:, None].repeat(2, 1)).reshape(-1, 4)[:, :2])  # noqa: E731
    with pytest.raises(ValueError, match="without vmap around it"):
        morphax.certify_network(model, params, (1, 2))
    voted = {"bank": params, "votes": jnp.ones(2, int)}
    model = lambda p, x: apply(p["bank"], at_least(x, p["votes"], (1, 2)))  # noqa: E731
    with pytest.raises(ValueError, match="votes: expected whole numbers that are known"):
        morphax.certify_network(model, voted, (1, 2))
    model = lambda p, x: apply(p, at_least(x, x[0], (1, 2)))  # noqa: E731
    with pytest.raises(ValueError, match="votes: expected whole numbers that are known"):
        morphax.certify_network(model, params, (1, 2))
