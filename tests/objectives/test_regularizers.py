"""Regularisers: the gradient of L_exact, its cheap forms, and the Optax transforms around them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import morphax
from morphax.certificates.neuron import certify_node
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


def all_sets(n):
    """Every non-empty set of n inputs, bool `(2^n - 1, n)`."""
    return (np.arange(1, 2**n)[:, None] >> np.arange(n) & 1).astype(bool)


def is_an_operation(w, b):
    """Whether a neuron is an erosion or a dilation by some set, by all its inputs."""
    x = (np.arange(2 ** len(w))[:, None] >> np.arange(len(w)) & 1).astype(bool)
    answers = x @ w > b
    return any(
        (answers == x[:, s].any(1)).all() or (answers == x[:, s].all(1)).all()
        for s in all_sets(len(w))
    )


def test_bounds_are_zero_exactly_on_certified_neurons(rng):
    """Without a margin, and against every input and every set; with one, 0 is inside."""
    weights = np.round(rng.normal(0.4, 0.7, (4, 300)), 1) + 0.013
    bias = np.round(rng.normal(0.5, 0.6, 300), 1) + 0.021
    value = jax.jit(
        jax.vmap(lambda w, b, m: regularizers.bounds(bank(w, b), margin=m), (1, 0, None))
    )
    free, kept = (np.asarray(value(jnp.float32(weights), jnp.float32(bias), m)) for m in (0, 0.3))
    expected = [is_an_operation(w, b) for w, b in zip(weights.T, bias, strict=True)]
    assert 20 < sum(expected) < 200
    np.testing.assert_array_equal(free == 0, expected)
    assert 0 < (kept == 0).sum() < sum(expected)
    assert not (kept == 0)[~np.array(expected)].any()


def bank(w, b, spec=SPEC):
    return BiSE(w[:, None], b[None], jnp.ones(1), spec)


def test_bounds_against_every_set(rng):
    """By the inequalities of both operations for the sets of largest weights, in plain numpy."""
    w, b = rng.random((5, 40)), rng.uniform(0.2, 0.8, 40)
    b *= w.sum(0)
    total = 0.0
    for column, bias in zip(w.T, b, strict=True):
        t = min(bias, column.sum() - bias)
        selem = (column > t) | (column == column.max())
        total += np.maximum(1.4 - column[selem] / t, 0).sum()
        total += max(column[~selem].sum() / t - 0.6, 0)
    node = BiSE(jnp.float32(w), jnp.float32(b), jnp.ones(40), SPEC)
    assert float(regularizers.bounds(node)) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("maps", [("identity", "raw"), ("positive", "positive")])
def test_descent_on_bounds_certifies_neurons_that_are_not_constant(rng, maps):
    """From weighted counts of many inputs, and from biases beyond all weights."""
    node = dense(rng, n=12, neurons=30, spec=Spec("dense", *maps))
    beyond = morphax.effective(node)[0].max(-1)[:4] * 12 + 1
    node = BiSE(node.weight, node.bias.at[:4].set(beyond), node.scale, node.spec)
    optimizer = optax.adam(0.02)

    @jax.jit
    def descend(node):
        def step(carry, _):
            node, state = carry
            updates, state = optimizer.update(jax.grad(regularizers.bounds)(node), state)
            return (optax.apply_updates(node, updates), state), None

        return jax.lax.scan(step, (node, optimizer.init(node)), length=2000)[0][0]

    with jax.numpy_dtype_promotion("standard"):
        after = descend(node)
    before, exact = (certify_node(each)[0].exact.mean() for each in (node, after))
    assert before < 0.2
    assert exact > 0.9


def test_bounds_do_not_depend_on_the_unit_and_are_finite_at_the_kinks():
    w = jnp.array([[1.0, 0.0, -1.0], [0.3, 0.0, -2.0], [0.2, 0.0, -0.5]])
    b = jnp.array([0.8, 0.0, 9.0])
    node, large = (BiSE(f * w, f * b, jnp.ones(3), SPEC) for f in (1.0, 1000.0))
    one, other = float(regularizers.bounds(node)), float(regularizers.bounds(large))
    assert one == pytest.approx(other, rel=1e-4)
    gradient = jax.grad(regularizers.bounds)(node)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    with pytest.raises(ValueError, match="margin: expected from 0 to below 1, got 1"):
        regularizers.bounds(node, margin=1.0)
