"""A params tree with nodes is an ordinary pytree: jit, vmap, grad, scan, float64, Optax, Orbax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from helpers.networks import built_bimonn, random_images

import morphax
from morphax import binarize
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, BiSE, Spec, is_node

SHAPE = (4, 7, 8, 2)
CHANNELS = (2, 2, 1)

run = jax.jit(models.bimonn)
certify = jax.jit(morphax.certify)


def loss(params, x):
    return ((models.bimonn(params, x) - 0.3) ** 2).mean()


gradient = jax.jit(jax.value_and_grad(loss))


@pytest.fixture(scope="module")
def params():
    return built_bimonn(np.random.default_rng(0), CHANNELS, scale=2.0)


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(random_images(np.random.default_rng(1), SHAPE), jnp.float32)


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(jnp.array_equal, a, b)))


def test_gradients_are_nodes_and_right(params, x):
    value, found = gradient(params, x)
    assert jax.tree.structure(found, is_leaf=is_node) == jax.tree.structure(params, is_leaf=is_node)
    assert isinstance(found[0]["bise"], BiSE)
    assert found[0]["bise"].spec == params[0]["bise"].spec
    with jax.enable_x64(True):
        wide, z = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (params, x))
        direction = jax.tree.map(lambda a: jnp.cos(jnp.arange(a.size)).reshape(a.shape), wide)

        def along(t):
            return loss(jax.tree.map(lambda a, d: a + t * d, wide, direction), z)

        slope = jax.jit(jax.grad(along))(0.0)
        steps = jax.jit(jax.vmap(along))(jnp.array([-1e-5, 1e-5]))
        assert slope.dtype == jnp.float64
        numeric = float(steps[1] - steps[0]) / 2e-5
        np.testing.assert_allclose(slope, numeric, rtol=1e-5)
        assert float(loss(wide, z)) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.first(6)
@pytest.mark.parametrize("weight_map", ["identity", "positive", "dual"])
@pytest.mark.parametrize("bias_map", ["raw", "centred", "positive", "interval_reparametrised"])
def test_gradients_are_finite_from_the_start(weight_map, bias_map):
    if weight_map == "identity" and bias_map not in ("raw", "centred"):
        pytest.skip("refused by Spec")
    node = models.init_dense_lui(
        jax.random.key(0), 6, 4, weight_map=weight_map, bias_map=bias_map, scale=0.0
    )
    slope = jax.grad(lambda n: morphax.apply(n, jnp.eye(6)).sum())(node)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(slope))
    assert bool((slope.scale != 0).any())  # p = 0 trains p first


@pytest.mark.slow
def test_sweeps_by_vmap(x):
    """A stack of params: apply, certify, binarize and the network's verdict, each in one
    program."""
    trees = [
        built_bimonn(np.random.default_rng(s), CHANNELS, noise=n)
        for s, n in [(0, 0.01), (1, 0.3), (2, 0.02)]
    ]
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    outputs = jax.jit(jax.vmap(models.bimonn, in_axes=(0, None)))(stack, x)
    verdicts = jax.jit(
        jax.vmap(lambda p: morphax.certify_network(models.bimonn, p, (1, *SHAPE[1:])).exact)
    )(stack)
    certificates, mapped = certify(stack), jax.jit(jax.vmap(morphax.certify))(stack)
    twins = binarize(stack)
    for i, tree in enumerate(trees):
        np.testing.assert_allclose(outputs[i], run(tree, x), atol=1e-6)
        alone = certify(tree)
        for many in (certificates, mapped):
            one = jax.tree.map(lambda leaf, i=i: leaf[i], many)
            for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(alone), strict=True):
                if jnp.issubdtype(a.dtype, jnp.floating):
                    np.testing.assert_allclose(a, b, atol=1e-6)
                else:
                    np.testing.assert_array_equal(a, b)
        assert same(jax.tree.map(lambda leaf, i=i: leaf[i], twins), binarize(tree))
        expected = morphax.certify_network(models.bimonn, tree, (1, *SHAPE[1:])).exact
        assert bool(verdicts[i]) == bool(expected)
    assert verdicts.tolist() == [True, False, True]


def test_vmap_over_images(params, x):
    single = jax.jit(jax.vmap(lambda image: models.bimonn(params, image[None])[0]))
    np.testing.assert_allclose(single(x), run(params, x), atol=1e-6)
    twin, bits = binarize(params), x > 0.5
    result = jax.vmap(lambda image: models.bimonn(twin, image[None])[0])(bits)
    np.testing.assert_array_equal(result, run(twin, bits))


def test_float64(params, x):
    with jax.enable_x64(True):
        wide, z = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (params, x))
        output = run(wide, z)
        assert output.dtype == jnp.float64
        np.testing.assert_allclose(output, run(params, x), atol=1e-5)
        margins = [c["bise"].margin for c in certify(wide)]
        assert {m.dtype for m in margins} == {jnp.dtype("float64")}
        # Twice the digits, a smaller allowance: a bias that float32 cannot tell is settled.
        weights = jnp.ones((1, 2))
        close = morphax.certify_neurons(weights, jnp.array([2 - 1e-6]))
        assert bool(close.exact[0])
    assert not bool(morphax.certify_neurons(jnp.ones((1, 2)), jnp.array([2 - 1e-6])).exact[0])


@pytest.mark.usefixtures("standard_promotion")
def test_scan_and_adamw(params, x):
    optimizer = optax.adamw(1e-2)

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            value, slope = jax.value_and_grad(loss)(params, x)
            updates, state = optimizer.update(slope, state, params)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, optimizer.init(params)), length=8)

    (trained, state), losses = train(params)
    assert losses[-1] < losses[0]
    assert isinstance(trained[0]["bise"], BiSE)
    assert isinstance(state[0].mu[0]["bise"], BiSE)
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), params, trained)
    assert all(jax.tree.leaves(changed))


@pytest.mark.parametrize("kind", ["real", "binary"])
def test_orbax_round_trip(params, kind, tmp_path):
    tree = {"model": params if kind == "real" else binarize(params), "step": jnp.array(3)}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "params", tree)
        checkpointer.wait_until_finished()
        target = jax.tree.map(jnp.zeros_like, tree)
        restored = checkpointer.restore(tmp_path / "params", target)
    assert same(restored, tree)
    node = restored["model"][0]["bise"]
    assert isinstance(node, BiSE if kind == "real" else BinaryBiSE)
    assert node.spec == params[0]["bise"].spec
    assert jax.tree.structure(restored) == jax.tree.structure(tree)


def test_nodes_are_static_where_they_should_be(params):
    """Another spec is another program; other numbers are not."""
    count = []

    @jax.jit
    def program(node):
        count.append(1)
        return node.weight.sum()

    node = params[0]["bise"]
    program(node)
    program(jax.tree.map(lambda leaf: leaf + 1, node))
    assert len(count) == 1
    program(BiSE(node.weight, node.bias, node.scale, Spec("spatial", "identity", "centred")))
    assert len(count) == 2
    assert len(jax.tree.leaves(node)) == 3
