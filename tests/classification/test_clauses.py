"""Clauses in training: gradients, the penalty on literals, clauses that have lost all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bars import shapes

import morphax
from morphax.classification import ClauseConfig, clauses, learn_classifier
from morphax.classification.config import GAIN, PRECISIONS
from morphax.classification.latent import fold_empty, init_latent, to_network

CONFIG = ClauseConfig(banks=((3, 6), (5, 5)), literals=4.0)
THRESHOLDS = np.array([[100.0]])


@pytest.fixture
def bars(rng):
    return shapes(120, rng=rng)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_of_violations_are_those_of_a_minimum(rng, bars, precision):
    """As JAX differentiates a minimum: ties, of which bits have many, share the gradient."""
    levels = clauses.level_sets(jnp.asarray(bars[0][:6]), THRESHOLDS)
    seen = clauses.region_windows(levels, 3, CONFIG)
    config = CONFIG._replace(banks=((3, 8),))
    weights = jnp.asarray(rng.integers(-1, 2, (seen.shape[-1], 8)), jnp.float32)
    pull = jnp.asarray(rng.normal(size=(6, CONFIG.regions**2, 8)), jnp.float32)

    def ours(weights):
        given = levels.astype(precision)
        (least,) = clauses.violations([(weights, jnp.zeros(8))], given, config=config)
        return (least * pull).sum(), least

    expected = jax.grad(lambda weights: ((seen @ weights).min(2) * pull).sum())(weights)
    found, least = jax.grad(ours, has_aux=True)(weights)
    # bfloat16 rounds each share of the gradient to 8 bits.
    rounded = 1e-4 if precision == "float32" else 0.02 * float(jnp.abs(expected).max())
    np.testing.assert_allclose(found, expected, atol=rounded)
    np.testing.assert_array_equal(least, (seen @ weights).min(2))  # sums of whole numbers are exact


@pytest.mark.parametrize("field", ["training", "precision"])
def test_unknown_choices_are_refused_by_name(bars, field):
    config = CONFIG._replace(**{field: "float8"})
    with pytest.raises(ValueError, match=f"config.{field}: expected .* got 'float8'"):
        learn_classifier(jax.random.key(0), bars, thresholds=THRESHOLDS, config=config)


def test_penalties_make_clauses_small_and_votes_zero(bars):
    config = CONFIG._replace(literals=20.0, literal_penalty=1e-2, free_literals=4)
    config = config._replace(vote_penalty=1e-2, rates=(0.03, 0.02))
    key, options = jax.random.key(0), {"thresholds": THRESHOLDS, "config": config}
    start = init_latent(key, bars[0], THRESHOLDS, classes=2, config=config)
    sizes = np.concatenate([(q > 0).sum((0, 1)) for q in start["clauses"]])
    assert np.median(sizes) > 6
    learned = learn_classifier(key, bars, **options, epochs=11, batch_size=20)
    assert bool(learned.certificate.exact)
    sizes = np.concatenate([np.asarray(b.selem).sum(0) for b in learned.binary["erosions"]])
    assert 2 <= np.median(sizes) <= 5
    assert (learned.votes == 0).mean() > 0.5


def test_a_clause_that_lost_its_literals_is_part_of_the_bias(bars):
    images = jnp.asarray(bars[0])
    latent = init_latent(jax.random.key(3), images, THRESHOLDS, classes=2, config=CONFIG)
    latent["clauses"][1] = latent["clauses"][1].at[:, :, 2].set(-1.0)
    levels = clauses.level_sets(images, THRESHOLDS)

    def scores(latent):
        weights = clauses.real_weights(latent, config=CONFIG)
        held = [v < 0.5 for v in clauses.violations(weights, levels, config=CONFIG)]
        bits = jnp.concatenate([part.reshape(len(part), -1) for part in held], -1)
        assert 0.05 < bits.mean() < 0.95
        return bits.astype(jnp.float32) @ latent["votes"] * GAIN + latent["bias"][None]

    settled = fold_empty(latent, bound=CONFIG.bound, regions=CONFIG.regions)
    np.testing.assert_allclose(scores(settled), scores(latent), atol=1e-5)
    params, votes, _ = to_network(latent, config=CONFIG)
    assert all(bank.exact.all() for bank in morphax.certify(params)["erosions"])
    assert (votes != 0).any(1).sum() < len(votes)
