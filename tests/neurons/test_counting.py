"""Votes compared with cuts: `at_least` on floats, bool and words against sums of plain numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphax import at_least, pack, unpack
from morphax.packed import counters


def _expected(bits, votes, cuts):
    return (bits.astype(int) @ np.array(votes))[..., None] >= np.array(cuts)


def _check_all_carriers(bits, votes, cuts):
    """Compare bool, words, floats of three widths, plain and symmetric."""
    expected = _expected(bits, votes, cuts)
    out = at_least(jnp.asarray(bits), votes, cuts)
    assert out.dtype == bool
    assert np.array_equal(out, expected)
    words = at_least(pack(jnp.asarray(bits)), votes, cuts)
    assert np.array_equal(unpack(words, count=len(bits)), expected)
    for dtype in (jnp.float32, jnp.float16, jnp.bfloat16):
        graded = at_least(jnp.asarray(bits, dtype), votes, cuts)
        assert graded.dtype == dtype
        assert np.array_equal(graded, expected.astype(dtype))
        signs = at_least(jnp.asarray(2 * bits - 1.0, dtype), votes, cuts, symmetric=True)
        assert signs.dtype == dtype
        assert np.array_equal(signs, 2 * expected.astype(dtype) - 1)


@pytest.mark.parametrize(
    "votes, cuts",
    [
        ((1,), (0, 1, 2)),
        ((-3,), (-3, -2, 0, 1)),
        ((2, 1, -1), tuple(range(-3, 6))),
        ((0, 0), (0, 1)),
        ((5, -7, 1, 1, 3, -2), tuple(range(-10, 12))),
    ],
)
def test_every_input_and_every_cut(votes, cuts):
    bits = np.array(list(itertools.product([False, True], repeat=len(votes))))
    _check_all_carriers(bits, votes, cuts)


_SETS = st.lists(
    st.tuples(st.integers(-40, 40), st.integers(0, 2**20 - 1)), min_size=1, max_size=12
)


@settings(max_examples=8, deadline=None)
@given(_SETS, st.lists(st.integers(-200, 200), min_size=1, max_size=3))
def test_votes_and_cuts_of_chance(members, cuts):
    votes = [vote for vote, _ in members]
    bits = np.array([[mask >> image & 1 for _, mask in members] for image in range(20)], bool)
    expected = _expected(bits, votes, cuts)
    assert np.array_equal(at_least(bits, votes, cuts), expected)
    assert np.array_equal(
        unpack(at_least(pack(jnp.asarray(bits)), votes, cuts), count=20), expected
    )
    assert np.array_equal(at_least(bits.astype(np.float32), votes, cuts), expected)


def test_leading_axes_and_many_votes():
    rng = np.random.default_rng(0)
    bits = rng.random((3, 4, 5, 256)) < 0.5
    votes = rng.integers(-31, 32, 256)
    cuts = _expected(bits, votes, [0]).astype(int).reshape(-1)[:1] + np.array([-40, 0, 40])
    _check_all_carriers(bits, votes, cuts)


def test_float_sums_of_whole_votes_are_exact():
    """Every bit as far from 0 or 1 as an output of a neuron, sums just below the limit 2^22."""
    votes = np.array([2**21, 2**21 - 2, 1] + [0] * 5)
    bits = np.array([[1, 1, 1], [1, 1, 0]], bool)
    bits = np.concatenate([bits, np.zeros((2, 5), bool)], 1)
    graded = np.where(bits, 1 - 2.0**-24, 2.0**-24).astype(np.float32)
    assert at_least(graded, votes, (2**22 - 1,)).tolist() == [[1.0], [0.0]]


def test_graded_values_are_added():
    x = jnp.array([[0.9, 0.8, 0.1], [0.6, 0.6, 0.6]])
    assert at_least(x, (1, 1, 1), (1, 2)).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert at_least(x[1:] - 0.2, (1, 1, 1), (1, 2)).tolist() == [[1.0, 0.0]]


def test_the_slope_is_that_of_a_logistic():
    votes, cuts = (3, -1, 2), (1, 4)
    width = max(0.5, np.linalg.norm(votes) / 2)

    def soft(x):
        total = x @ jnp.array(votes, x.dtype)
        return jax.nn.sigmoid((total[..., None] - jnp.array([cuts], x.dtype) + 0.5) / width).sum()

    x = jax.random.uniform(jax.random.key(0), (4, 3))
    hard = jax.grad(lambda x: at_least(x, votes, cuts).sum())
    np.testing.assert_allclose(hard(x), jax.grad(soft)(x), rtol=1e-5)
    # Under jit, vmap and scan, and in symmetric coordinates, where the same bits are twice as far.
    np.testing.assert_allclose(jax.jit(jax.vmap(hard))(x), hard(x), rtol=1e-6)
    scanned = jax.lax.scan(lambda carry, row: (carry, hard(row)), 0, x)[1]
    np.testing.assert_allclose(scanned, hard(x), rtol=1e-6)
    mirrored = jax.grad(lambda x: at_least(x, votes, cuts, symmetric=True).sum())
    np.testing.assert_allclose(mirrored(2 * x - 1), hard(x), rtol=1e-5)


@pytest.mark.slow
def test_strict_promotion_and_double_precision():
    with jax.numpy_dtype_promotion("strict"), jax.enable_x64(True):
        for dtype in (jnp.float16, jnp.float32, jnp.float64):
            x = jnp.asarray([[1, 0, 1]], dtype)
            assert at_least(x, (2, 1, 1), (3,)).dtype == dtype
            assert jax.grad(lambda x: at_least(x, (2, 1, 1), (3,)).sum())(x).dtype == dtype
        words = pack(jnp.ones((70, 3), bool), dtype=jnp.uint64)
        assert bool(unpack(at_least(words, (2, 1, -1), (2,)), count=70).all())


def test_weighted_counts_are_sums():
    rng = np.random.default_rng(2)
    for weights in ([0], [1], [3, 0, 5], list(range(8))):
        bits = rng.random((32, len(weights))) < 0.5
        planes = counters.count(pack(jnp.asarray(bits)), weights=weights)
        assert len(planes) == max(1, sum(weights).bit_length())
        total = bits @ np.array(weights)
        assert np.array_equal(counters.numbers(planes), total)
        for cut in range(-1, sum(weights) + 3):
            word = counters.reaches(planes, cut)
            assert np.array_equal(unpack(word, count=32), total >= cut)
    with pytest.raises(ValueError, match="weights: expected 2 whole numbers, 0 or more"):
        counters.count(jnp.zeros((1, 2), jnp.uint32), weights=(1, -1))


@pytest.mark.parametrize(
    "votes, cuts, message",
    [
        ((1, 2), (1,), r"votes: expected shape \(3,\), got \(2,\)"),
        ((1, 2, 0.5), (1,), "votes: expected whole numbers from"),
        ((1, 2, np.nan), (1,), "votes: expected whole numbers from"),
        ((2**30, 2**30, 2**30), (1,), "votes: expected absolute values with a sum"),
        ((1, 2, 3), (), r"cuts: expected shape \(k,\), one number or more"),
        ((1, 2, 3), 1, r"cuts: expected shape \(k,\), one number or more"),
        ((1, 2, 3), (2**31,), "cuts: expected whole numbers from"),
        ((True, False, True), (1,), "votes: expected whole numbers, got dtype"),
    ],
)
def test_wrong_votes_and_cuts(votes, cuts, message):
    with pytest.raises(ValueError, match=message):
        at_least(jnp.zeros((2, 3)), votes, cuts)


def test_traced_votes_are_refused():
    with pytest.raises(ValueError, match="votes: expected whole numbers that are known while trac"):
        jax.jit(lambda votes: at_least(jnp.zeros((2, 3)), votes, (1,)))(jnp.ones(3, int))
    with pytest.raises(ValueError, match="cuts: expected whole numbers that are known while trac"):
        jax.jit(lambda cut: at_least(jnp.zeros((2, 1)), (1,), [cut]))(1)
    with pytest.raises(ValueError, match="x: expected bool"):
        at_least(jnp.zeros((2, 3), int), (1, 1, 1), (1,))
