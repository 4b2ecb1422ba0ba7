"""Thresholds, weight and bias maps, and initialisations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from morphax.neurons import initializers, reparam, thresholds
from morphax.neurons.nodes import BiSE, Spec, effective

SCIPY = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 2 * special.expit(x) - 1,
    "arctan": lambda x: np.arctan(x) * 2 / np.pi,
    "erf": special.erf,
}
SIGNED = ("identity", "raw")


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", thresholds.THRESHOLDS)
def test_thresholds_and_inverses(name, symmetric):
    with jax.enable_x64(True):
        x = jnp.arange(-300, 301) / 100
        y = thresholds.threshold(x, name, symmetric=symmetric)
        expected = SCIPY[name](np.asarray(x))
        np.testing.assert_allclose(y, expected if symmetric else (1 + expected) / 2, atol=1e-14)
        back = thresholds.threshold_inverse(y, name, symmetric=symmetric)
        np.testing.assert_allclose(back, x, rtol=1e-9, atol=1e-12)
        slope = jax.vmap(jax.grad(lambda t: thresholds.threshold(t, name, symmetric=symmetric)))(x)
        y, slope = np.asarray(y), np.asarray(slope)
    assert (np.diff(y) > 0).all()
    assert y[300] == (0.0 if symmetric else 0.5)
    assert np.isfinite(slope).all()
    assert (slope > 0).all()


@pytest.mark.parametrize("name", thresholds.THRESHOLDS)
def test_thresholds_far_out(name):
    """No overflow, gradient included: training passes through such potentials."""
    x = jnp.array([-1e30, -1e4, 0.0, 1e4, 1e30])
    y = thresholds.threshold(x, name)
    np.testing.assert_allclose(y, [0, 0, 0.5, 1, 1], atol=1e-4)
    slope = jax.vmap(jax.grad(lambda t: thresholds.threshold(t, name)))(x)
    assert np.isfinite(slope).all()
    ends = thresholds.threshold_inverse(jnp.array([0.0, 1.0]), name)
    assert ends[0] < -1e6
    assert ends[1] > 1e6


def test_softplus_inverse():
    y = np.geomspace(2**-20, 1e4, 100_000, dtype=np.float32)
    x = np.asarray(reparam.softplus_inverse(jnp.asarray(y)), np.float64)
    np.testing.assert_allclose(np.logaddexp(x, 0), y, rtol=2e-6)


@pytest.mark.parametrize("weight_map", reparam.WEIGHT_MAPS)
def test_weight_maps_round_trip(weight_map, rng):
    weights = jnp.asarray(rng.uniform(0.05, 3, (4, 9)), jnp.float32)
    factor = 2.5
    if weight_map == "dual":
        weights = factor * weights / weights.sum(-1, keepdims=True)
    latent = reparam.latent_weights(weights, weight_map)
    back = reparam.effective_weights(latent, weight_map, factor=factor)
    np.testing.assert_allclose(back, weights, rtol=1e-5)
    latent = jnp.asarray(rng.normal(size=(4, 9)) * 20, jnp.float32)
    effective_ = reparam.effective_weights(latent, weight_map, factor=factor)
    if weight_map == "identity":
        np.testing.assert_array_equal(effective_, latent)
    else:
        assert (effective_ > 0).all()
    if weight_map == "dual":
        np.testing.assert_allclose(effective_.sum(-1), factor, rtol=1e-6)
    slope = jax.grad(lambda w: (reparam.effective_weights(w, weight_map) ** 2).sum())(latent)
    assert np.isfinite(slope).all()
    assert (slope != 0).any()


@pytest.mark.parametrize("bias_map", reparam.BIAS_MAPS)
def test_bias_maps_round_trip(bias_map, rng):
    weights = jnp.asarray(rng.uniform(0.5, 1.5, (50, 5)), jnp.float32)
    low, high = reparam.bias_interval(weights)
    bias = low + (high - low) * jnp.asarray(rng.random(50), jnp.float32)
    latent = reparam.latent_bias(bias, bias_map, weights, offset=0.3)
    back = reparam.effective_bias(latent, bias_map, weights, offset=0.3)
    np.testing.assert_allclose(back, bias, rtol=1e-5)


@pytest.mark.parametrize("bias_map", reparam.BIAS_MAPS)
def test_biases_and_weights_may_be_of_two_dtypes(bias_map):
    """Under strict promotion, too, as all tests are."""
    weights = jnp.array([[1.0, 0.5, 2.0]], jnp.float32)
    bias = jnp.array([1.5], jnp.float16)
    latent = reparam.latent_bias(bias, bias_map, weights)
    back = reparam.effective_bias(latent, bias_map, weights)
    np.testing.assert_allclose(back, bias, rtol=2e-3)


def test_what_the_bias_maps_are(rng):
    weights = jnp.array([[0.5, 0.2, 2.0], [1.0, 1.0, 1.0]])
    latent = jnp.array([-2.0, 7.0])
    found = {
        name: np.asarray(reparam.effective_bias(latent, name, weights, offset=0.5))
        for name in reparam.BIAS_MAPS
    }
    softplus = np.log1p(np.exp([-2.0, 7.0]))
    np.testing.assert_allclose(found["raw"], [-2, 7])
    np.testing.assert_allclose(found["centred"], [-2 + 1.35, 7 + 1.5], rtol=1e-6)
    np.testing.assert_allclose(found["positive"], softplus + 0.5, rtol=1e-6)
    for name in ("interval_projected", "interval_reparametrised"):  # both are clamped here
        np.testing.assert_allclose(found[name], [0.35, 2.5], rtol=1e-6)
    # At the ends of the interval a neuron with w >= 0 is not constant, just beyond it may be.
    low, high = reparam.bias_interval(weights)
    assert (low < weights.sum(-1)).all()
    assert (low >= weights.min(-1)).all()
    assert (high > weights.sum(-1) - weights.min(-1)).all()


def test_gradients_of_the_interval_maps():
    """Outside the interval: "projected" stops at the end, "reparametrised" moves it with w."""
    weights = jnp.array([0.5, 0.2, 2.0])

    def slopes(name, latent):
        function = lambda b, w: reparam.effective_bias(b, name, w)  # noqa: E731
        return jax.grad(function, argnums=(0, 1))(jnp.float32(latent), weights)

    for latent, moved in [(-5.0, [0.5, 0.5, 0.0]), (9.0, [1.0, 0.5, 1.0])]:
        by_bias, by_weights = slopes("interval_projected", latent)
        assert by_bias == 0
        np.testing.assert_array_equal(by_weights, 0)
        by_bias, by_weights = slopes("interval_reparametrised", latent)
        assert by_bias == 0
        np.testing.assert_allclose(by_weights, moved)
    for name in ("interval_projected", "interval_reparametrised"):  # inside they agree
        by_bias, by_weights = slopes(name, 1.0)
        np.testing.assert_allclose(by_bias, special.expit(1.0), rtol=1e-6)
        np.testing.assert_array_equal(by_weights, 0)


def test_unknown_names():
    w, b = jnp.ones(3), jnp.ones(())
    calls = {
        "weight_map": [
            lambda: reparam.effective_weights(w, "exp"),
            lambda: reparam.latent_weights(w, "exp"),
        ],
        "bias_map": [
            lambda: reparam.effective_bias(b, "exp", w),
            lambda: reparam.latent_bias(b, "exp", w),
        ],
        "name": [
            lambda: thresholds.threshold(w, "relu"),
            lambda: thresholds.threshold_inverse(w, "relu"),
        ],
        "weights": [
            lambda: reparam.bias_interval(jnp.ones(1)),
            lambda: initializers.variance_preserving(
                jax.random.key(0), (3, 2), Spec("dense"), weights="normal"
            ),
        ],
        "shape": [lambda: initializers.variance_preserving(jax.random.key(0), (3, 2), Spec())],
    }
    for argument, refused in calls.items():
        for call in refused:
            with pytest.raises(ValueError, match=f"^{argument}: expected"):
                call()


def spread_of(node, *, symmetric=False, samples=4000):
    """Standard deviation of the potential over random bits, over that of the bits themselves."""
    n = node.weight.shape[0]
    bits = np.random.default_rng(1).random((samples, n)) < 0.5
    weights, bias, scale = (np.asarray(a) for a in effective(node))
    potential = scale * ((2 * bits - 1 if symmetric else bits) @ weights.T - bias)
    return potential.std(0).mean() / (1.0 if symmetric else 0.5)


@pytest.mark.first(8)
@pytest.mark.parametrize("weights", ["uniform", "constant"])
@pytest.mark.parametrize("threshold", thresholds.THRESHOLDS)
@pytest.mark.parametrize("weight_map", reparam.WEIGHT_MAPS)
def test_initialisation_preserves_the_spread(weight_map, threshold, weights):
    """The potential varies as much as the input does, whatever the maps and the threshold."""
    bias_map = "raw" if weight_map == "identity" else "positive"
    spec = Spec("dense", weight_map, bias_map, threshold)
    node = initializers.variance_preserving(jax.random.key(0), (81, 60), spec, weights=weights)
    w, b, p = (np.asarray(a) for a in effective(node))
    a = float(thresholds.threshold_inverse(jnp.float32(0.95), threshold))
    np.testing.assert_allclose(w.mean(), 2 * a / 81, rtol=0.02)
    half = np.sqrt(3 * (16 / (np.sqrt(3) + 2) ** 2 - 1)) if weights == "uniform" else 0.0
    np.testing.assert_allclose(w.std() / w.mean(), half / np.sqrt(3), rtol=0.03, atol=1e-5)
    np.testing.assert_allclose(b, 0.5 * w.sum(-1), rtol=0.0101)
    np.testing.assert_allclose(p, (np.sqrt(3) + 2) * 9 / (8 * a), rtol=1e-5)
    if weight_map == "dual":
        np.testing.assert_allclose(node.spec.factor, 2 * a, rtol=1e-6)
        np.testing.assert_allclose(w.sum(-1), 2 * a, rtol=1e-5)
    # Constant weights are a little less spread: (sqrt(3) + 2) / 4.
    expected = 1.0 if weights == "uniform" else (np.sqrt(3) + 2) / 4
    np.testing.assert_allclose(spread_of(node), expected, rtol=0.02)


@pytest.mark.parametrize("n", [9, 225])
def test_spread_does_not_depend_on_the_size(n):
    node = initializers.variance_preserving(jax.random.key(3), (n, 60), Spec("dense", *SIGNED))
    np.testing.assert_allclose(spread_of(node), 1.0, rtol=0.03)


def test_symmetric_initialisation():
    spec = Spec("dense", *SIGNED, symmetric=True)
    node = initializers.variance_preserving(jax.random.key(0), (49, 80), spec, input_mean=0.0)
    w, b, p = effective(node)
    np.testing.assert_allclose((w**2).sum(-1).mean(), 1.0, rtol=0.02)
    np.testing.assert_array_equal(b, 0)
    np.testing.assert_array_equal(p, 1)
    np.testing.assert_allclose(spread_of(node, symmetric=True), 1.0, rtol=0.03)


@pytest.mark.parametrize("bias_map", reparam.BIAS_MAPS)
@pytest.mark.parametrize("weight_map", reparam.WEIGHT_MAPS)
def test_initial_parameters_are_what_was_asked(weight_map, bias_map):
    if weight_map == "identity" and bias_map not in ("raw", "centred"):
        pytest.skip("refused by Spec")
    spec = Spec("spatial", weight_map, bias_map)
    for node in (
        initializers.variance_preserving(
            jax.random.key(2), (5, 5, 2, 3), spec, bias_noise=0.0, scale=0.0, input_mean=0.4
        ),
        initializers.heuristic(jax.random.key(2), (5, 5, 2, 3), spec, bias=1.2, input_mean=0.4),
    ):
        w, b, p = effective(node)
        assert w.shape == (2, 3, 25)
        assert b.shape == p.shape == (2, 3)
        ratio = b / (0.4 * w.sum(-1))
        np.testing.assert_allclose(ratio, 1, atol=1e-5 if (p == 0).all() else 0.2)
    np.testing.assert_allclose(b, 1.2, rtol=1e-5)
    np.testing.assert_array_equal(p, 1)


def test_initialisation_by_key_and_dtype():
    make = lambda key, dtype: initializers.variance_preserving(  # noqa: E731
        jax.random.key(key), (9, 2), Spec("dense"), dtype=dtype
    )
    same = jax.tree.map(jnp.array_equal, make(0, jnp.float32), make(0, jnp.float32))
    assert all(jax.tree.leaves(same))
    assert not jnp.array_equal(make(0, jnp.float32).weight, make(1, jnp.float32).weight)
    with jax.enable_x64(True):
        assert {leaf.dtype for leaf in jax.tree.leaves(make(0, jnp.float64))} == {jnp.dtype("f8")}
    traced = jax.jit(lambda key: initializers.variance_preserving(key, (9, 2), Spec("dense")))
    node = traced(jax.random.key(0))
    assert isinstance(node, BiSE)
    np.testing.assert_allclose(node.weight, make(0, jnp.float32).weight, rtol=1e-5)


def test_softplus_is_as_accurate_as_that_of_jax():
    """Over all magnitudes: against float64, a few ulp of float32, as `jax.nn.softplus`."""
    size = np.geomspace(1e-6, 80, 20_001)
    x = np.float32(np.concatenate([-size, [0], size]))
    exact = np.logaddexp(x.astype(float), 0)
    for function in (reparam.softplus, jax.jit(reparam.softplus)):
        error = np.abs(np.asarray(function(x), float) / exact - 1)
        assert error.max() < 4 * np.finfo(np.float32).eps
    np.testing.assert_array_equal(
        reparam.softplus(jnp.array([-np.inf, -200, 200, np.inf, np.nan])),
        [0, 0, 200, np.inf, np.nan],
    )
    slope = jax.vmap(jax.grad(reparam.softplus))(x)
    np.testing.assert_allclose(slope, special.expit(x.astype(float)), rtol=1e-6)
    assert np.isfinite(jax.vmap(jax.grad(jax.grad(reparam.softplus)))(x)).all()
    with jax.enable_x64(True):
        wide = reparam.softplus(x.astype(float))
        np.testing.assert_allclose(wide, exact, rtol=1e-14)


@pytest.mark.parametrize("weight_map", reparam.WEIGHT_MAPS)
def test_weight_maps_along_another_axis(weight_map, rng):
    """As stored, `(inputs, outputs)`, or as a bank, `(outputs, inputs)`: the same weights."""
    latent = jnp.asarray(rng.normal(size=(7, 3)), jnp.float32)
    stored = reparam.effective_weights(latent, weight_map, factor=2.0, axis=-2)
    banked = reparam.effective_weights(latent.T, weight_map, factor=2.0)
    np.testing.assert_allclose(stored.T, banked, rtol=1e-6)
