"""Unions of hit-or-misses as a model: certified, equal to scipy, and learned by gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import ndimage

import morphax
from morphax import models
from morphax.neurons.nodes import BiSE, Spec

HITS = np.array([[[0, 1, 0], [0, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 1], [0, 0, 0]]], bool)
MISSES = np.array([[[0, 0, 0], [0, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 0, 0], [1, 0, 0]]], bool)


def bank(weight, bias, role):
    scale = jnp.full(np.shape(bias), 20.0)
    spec = Spec(role, "identity", "raw", border="constant")
    return BiSE(jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32), scale, spec)


def two_hit_or_misses():
    """Return params of the two patterns, by hand."""
    weight = np.stack([HITS, MISSES], 1).transpose(2, 3, 1, 0)
    bise = bank(weight, weight.sum((0, 1)) - 0.5, "spatial")
    return {
        "bise": bise,
        "lui": bank(np.ones((2, 2)), [1.5, 1.5], "lui"),
        "union": bank(np.ones((2, 1)), [0.5], "dense"),
    }


def test_all_windows_equal_scipy_as_floats_and_bits():
    params = two_hit_or_misses()
    x = np.array([*itertools.product([False, True], repeat=9)]).reshape(512, 3, 3)
    # Beyond the frame an image is 0, and so is its complement: only whole windows are compared.
    expected = [
        any(
            ndimage.binary_hit_or_miss(image, h, m)[1, 1] for h, m in zip(HITS, MISSES, strict=True)
        )
        for image in x
    ]
    assert bool(morphax.certify_network(models.hit_or_misses, params, (1, 3, 3, 1)).exact)
    floats = models.hit_or_misses(params, jnp.asarray(x[..., None], jnp.float32))
    bits = models.hit_or_misses(morphax.binarize(params), jnp.asarray(x[..., None]))
    assert ((np.asarray(floats)[:, 1, 1, 0] > 0.5) == expected).all()
    assert (np.asarray(bits)[:, 1, 1, 0] == expected).all()


def test_it_is_written_as_a_program_and_explained():
    binary = morphax.binarize(two_hit_or_misses())
    x = np.random.default_rng(0).random((4, 6, 7, 1)) < 0.5
    built = morphax.program.build(models.hit_or_misses, binary, x.shape)
    expected = np.asarray(models.hit_or_misses(binary, jnp.asarray(x)))
    np.testing.assert_array_equal(morphax.program.run(built, x), expected)
    assert "hit-or-miss" in str(morphax.explain.explain(built))


@pytest.mark.slow
def test_gradients_find_a_hit_or_miss():
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.random((64, 12, 12, 1)) < 0.5)
    y = models.hit_or_misses(morphax.binarize(two_hit_or_misses()), x)
    params = models.init_hit_or_misses(
        jax.random.key(0), 1, 6, kernel_size=3, border="constant", weight_map="positive"
    )
    run = morphax.training.fit(
        jax.random.key(1), models.hit_or_misses, params, (x, y), valid=(x, y),
        optimizer=optax.adam(0.05), steps=600, batch_size=16, log_every=600,
    )  # fmt: skip
    assert run.history[-1]["float"] > 0.95


@pytest.mark.parametrize("symmetric", [False, True])
def test_symmetric_networks_complement_by_sign(symmetric):
    params = models.init_hit_or_misses(jax.random.key(0), 2, 3, kernel_size=3, symmetric=symmetric)
    x = jnp.zeros((1, 5, 6, 2)) if symmetric else jnp.full((1, 5, 6, 2), 0.5)
    y = models.hit_or_misses(params, x)
    assert y.shape == (1, 5, 6, 1)
    with pytest.raises(ValueError, match="maps: expected an integer of at least 1, got 0"):
        models.init_hit_or_misses(jax.random.key(0), 1, 0)
