"""Regularisers: the gradient of L_exact, its cheap forms, and the Optax transforms around them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import morphax
from morphax.neurons.nodes import BiSE, Spec, map_nodes, named_nodes
from morphax.objectives import regularizers
from morphax.training import transforms

SPEC = Spec("dense", "identity", "raw")
MAPS = [("identity", "raw"), ("identity", "centred"), ("positive", "positive"), ("dual", "raw")]


def dense(rng, n=6, neurons=5, spec=SPEC, dtype=jnp.float32):
    return BiSE(
        jnp.asarray(rng.normal(size=(n, neurons)), dtype),
        jnp.asarray(rng.normal(size=neurons), dtype),
        jnp.ones(neurons, dtype),
        spec,
    )


@pytest.mark.first(2)
@pytest.mark.parametrize("options", [{}, {"bias_weight": 0.1}, {"margin": 0.05}])
@pytest.mark.parametrize("maps", MAPS[1:3])
def test_gradient_of_exact_equals_finite_differences(rng, maps, options):
    with jax.enable_x64(True):
        node = dense(rng, spec=Spec("dense", *maps), dtype=jnp.float64)
        value = jax.jit(lambda node: regularizers.exact([node], **options))
        gradient = jax.grad(value)(node)
        for name in ("weight", "bias"):
            direction = jnp.asarray(rng.normal(size=getattr(node, name).shape))

            def moved(t, name=name, direction=direction):
                fields = {"weight": node.weight, "bias": node.bias}
                fields[name] = fields[name] + t * direction
                return float(value(BiSE(**fields, scale=node.scale, spec=node.spec)))

            h = 1e-6
            numeric = (moved(h) - moved(-h)) / (2 * h)
            np.testing.assert_allclose(
                (getattr(gradient, name) * direction).sum(), numeric, rtol=1e-5
            )


@pytest.mark.parametrize(
    "weights, bias",
    [
        ([1.0, 0.0, 1.0], 0.5),  # activable: distance zero
        ([1.0, 1.0, 1.0], 1.5),  # ties, on the fence between the operations
        ([0.0, 0.0, 0.0], 0.0),
        ([-1.0, -2.0, -1.0], -0.5),
        ([2.0], -3.0),  # n = 1
        ([0.0], 0.0),
    ],
)
def test_gradient_of_exact_is_finite_at_the_kinks(weights, bias):
    node = BiSE(jnp.array(weights)[:, None], jnp.array([bias]), jnp.ones(1), SPEC)
    gradient = jax.grad(lambda node: regularizers.exact([node]))(node)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_exact_is_zero_exactly_on_activable_neurons_and_skips_nan():
    node = BiSE(
        jnp.array([[1.0, 1.0, jnp.nan], [0.1, 0.8, 1.0]]),
        jnp.array([0.5, 1.4, 0.5]),
        jnp.ones(3),
        SPEC,
    )
    assert float(regularizers.exact([node])) == pytest.approx(0, abs=1e-12)
    far = BiSE(node.weight, jnp.array([-1.0, 1.4, 0.5]), node.scale, SPEC)
    value, gradient = jax.value_and_grad(lambda node: regularizers.exact([node]))(far)
    expected = (
        morphax.project(jnp.array([1.0, 0.1]), jnp.array(-1.0), nonnegative=False).distance ** 2
    )
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    assert np.isfinite(gradient.weight).all()


@pytest.mark.slow
def test_rotating_blocks_add_up_to_the_whole(rng):
    node = dense(rng, neurons=6)
    whole = jax.grad(lambda n: regularizers.exact([n]))(node)
    parts = [
        jax.grad(lambda n, s=s: regularizers.exact([n], neurons=2, step=s))(node) for s in range(3)
    ]
    mean = jax.tree.map(lambda *g: sum(g) / 3, *parts)
    np.testing.assert_allclose(mean.weight, whole.weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean.bias, whole.bias, rtol=1e-4, atol=1e-5)


def test_constant_penalty_against_brute_force(rng):
    node = dense(rng, n=5, neurons=8)
    total = 0.0
    for w in np.asarray(node.weight, np.float64).T:
        sets = [np.array(list(np.binary_repr(i, 5))) == "1" for i in range(1, 32)]
        total += min((w**2).sum() - max(w[s].sum(), 0) ** 2 / s.sum() for s in sets)
    assert float(regularizers.constant([node])) == pytest.approx(total, rel=1e-5)


def test_add_regularizer_delay_every_mask_and_schedule(rng):
    params = {"a": dense(rng), "b": dense(rng)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    optimizer = transforms.add_regularizer(
        "constant-exact", lambda step: 0.5, delay=2, every=2, mask=lambda path: path == "b"
    )
    gradient = jax.grad(regularizers.constant)(params)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for step in range(5):
        updates, state = update(zeros, state, params)
        assert not updates["a"].weight.any()
        active = step in (2, 4)
        expected = 2 * 0.5 * gradient["b"].weight * float(active)  # every=2: twice as strong
        np.testing.assert_allclose(updates["b"].weight, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("standard_promotion")
def test_add_regularizer_descends_in_a_chain(rng):
    params = [dense(rng)]
    optimizer = optax.chain(transforms.add_regularizer("exact", 1.0), optax.adam(0.05))
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
        return optax.apply_updates(params, updates), state

    before = float(regularizers.exact(params))
    for _ in range(60):
        params, state = step(params, state)
    assert before > 0.5
    assert float(regularizers.exact(params)) < 0.05 * before


@pytest.mark.first(1)
@pytest.mark.parametrize("maps", MAPS)
def test_keep_activable_certifies_every_neuron(rng, maps):
    key = jax.random.key(0)
    params = morphax.models.init_bimonn(
        key, [1, 2, 1], kernel_size=3, weight_map=maps[0], bias_map=maps[1]
    )
    noisy = map_nodes(
        lambda n: BiSE(
            n.weight + 0.3 * jnp.cos(jnp.arange(n.weight.size)).reshape(n.weight.shape),
            n.bias,
            jnp.full_like(n.scale, 9.0),
            n.spec,
        ),
        params,
    )
    optimizer = transforms.keep_activable(every=2)
    zeros = jax.tree.map(jnp.zeros_like, noisy)
    state, update = optimizer.init(noisy), jax.jit(optimizer.update)
    updates, state = update(zeros, state, noisy)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates))  # not this step
    updates, state = update(zeros, state, noisy)
    landed = optax.apply_updates(noisy, updates)
    verdicts = [
        c.exact
        for c in jax.tree.leaves(
            morphax.certify(landed), is_leaf=lambda c: isinstance(c, morphax.Certificate)
        )
    ]
    assert len(verdicts) == len(named_nodes(landed)) == 3
    assert all(v.all() for v in verdicts)
    assert not all(
        c.exact.all()
        for c in jax.tree.leaves(
            morphax.certify(noisy), is_leaf=lambda c: isinstance(c, morphax.Certificate)
        )
    )


def test_bad_options():
    with pytest.raises(ValueError, match="penalty: expected one of"):
        transforms.add_regularizer("l2", 1.0)
    with pytest.raises(ValueError, match="every"):
        transforms.add_regularizer("exact", 1.0, every=0)
    with pytest.raises(ValueError, match="every"):
        transforms.keep_activable(every=0)
    with pytest.raises(ValueError, match="params"):
        transforms.keep_activable().update({}, optax.EmptyState(), None)
