"""Models, Linen and NNX layers: one model, the same numbers in all three, real and binary."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.networks import built, built_bimonn, random_images, spec_for
from helpers.scanned import Deep

import morphax
from morphax import binarize
from morphax.layers import linen
from morphax.layers import nnx as layers
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, BiSE, is_node

SHAPE = (2, 7, 8, 2)
CHANNELS = (2, 3, 1)


def as_linen(params):
    return {f"layers_{i}": layer for i, layer in enumerate(params)}


def nnx_model(params):
    """An NNX BiMoNN holding the given nodes."""
    model = layers.BiMoNN(list(CHANNELS), kernel_size=3, rngs=nnx.Rngs(0))
    for module, layer in zip(model.layers, params, strict=True):
        for name, node in layer.items():
            getattr(module, name).set_value(node)
    return model


@pytest.fixture(scope="module")
def params():
    return built_bimonn(np.random.default_rng(0), CHANNELS)


@pytest.fixture(scope="module")
def images():
    return random_images(np.random.default_rng(1), SHAPE)


def test_linen_nnx_and_functions_are_bit_identical(params, images):
    model = linen.BiMoNN(CHANNELS, kernel_size=3)
    run_linen = jax.jit(lambda p, x: model.apply({"params": p}, x))
    run_nnx = nnx.jit(lambda m, x: m(x))
    run = jax.jit(models.bimonn)
    x = jnp.asarray(images, jnp.float32) * 0.9 + 0.03
    plain = np.asarray(run(params, x))
    np.testing.assert_array_equal(run_linen(as_linen(params), x), plain)
    np.testing.assert_array_equal(run_nnx(nnx_model(params), x), plain)
    bits = jnp.asarray(images)
    twin = np.asarray(run(binarize(params), bits))
    assert twin.dtype == bool
    np.testing.assert_array_equal(run_linen(binarize(as_linen(params)), bits), twin)
    flax_model = nnx_model(params)
    nnx.update(flax_model, binarize(nnx.state(flax_model, nnx.Param)))
    np.testing.assert_array_equal(run_nnx(flax_model, bits), twin)
    np.testing.assert_array_equal(
        np.asarray(run(params, jnp.asarray(images, jnp.float32))) > 0.5, twin
    )


def test_linen_init_and_options():
    options = {"weight_map": "identity", "threshold": "erf", "border": "constant", "scale": 3.0}
    model = linen.BiMoNN(CHANNELS, kernel_size=(3, 5), options=options)
    params = model.init(jax.random.key(0), jnp.zeros(SHAPE))["params"]
    assert sorted(params) == ["layers_0", "layers_1"]
    node = params["layers_0"]["bise"]
    assert isinstance(node, BiSE)
    assert node.weight.shape == (3, 3, 2, 3)
    assert params["layers_1"]["bise"].weight.shape == (5, 5, 3, 1)
    assert (node.spec.threshold, node.spec.border, node.spec.bias_map) == ("erf", "constant", "raw")
    assert (node.scale == 3).all()
    assert sorted(model.init(jax.random.key(0), jnp.zeros((1, 7, 8, 2)))["params"]["layers_1"]) == [
        "bise",
        "lui",
    ]


@pytest.mark.first(2)
@pytest.mark.parametrize("make", [linen.BiSE, linen.DenseLUI, linen.BiSEL])
def test_single_linen_layers(make, images):
    layer = make(kernel_size=3) if make is linen.BiSE else make(4)
    x = jnp.asarray(images, jnp.float32)
    output, variables = layer.init_with_output(jax.random.key(0), x)
    expected = (*SHAPE[:-1], 2 if make is linen.BiSE else 4)
    assert output.shape == expected
    twin = layer.apply({"params": binarize(variables["params"])}, jnp.asarray(images))
    assert twin.dtype == bool
    assert twin.shape == expected


def test_single_nnx_layers(images):
    x = jnp.asarray(images, jnp.float32)
    rngs = nnx.Rngs(0)
    cases = [
        (layers.BiSE(2, kernel_size=3, rngs=rngs), 2),
        (layers.BiSEL(2, 4, kernel_size=3, rngs=rngs), 4),
        (layers.BiSEL(2, 1, kernel_size=(3, 1), rngs=rngs, border="replicate"), 1),
        (layers.DenseLUI(2, 4, rngs=rngs), 4),
    ]
    for layer, channels in cases:
        assert layer(x).shape == (*SHAPE[:-1], channels)
        nnx.update(layer, binarize(nnx.state(layer, nnx.Param)))
        assert layer(jnp.asarray(images)).dtype == bool


def test_nnx_split_merge_and_certify(params, images):
    model = nnx_model(params)
    graphdef, state = nnx.split(model)
    x = jnp.asarray(images, jnp.float32)
    again = nnx.merge(graphdef, state)
    np.testing.assert_array_equal(again(x), model(x))
    run = lambda p, x: nnx.merge(graphdef, p)(x)  # noqa: E731
    verdict = morphax.certify_network(run, state, (1, *SHAPE[1:]))
    plain = morphax.certify_network(models.bimonn, params, (1, *SHAPE[1:]))
    assert bool(verdict.exact)
    assert bool(plain.exact)
    assert len(verdict.neurons) == len(plain.neurons)
    for a, b in zip(verdict.dead_zone, plain.dead_zone, strict=True):
        np.testing.assert_array_equal(a, b)
    names = {row.name for row in morphax.summary(state, method="constant-exact").rows}
    assert names == {f"layers/{i}/{bank}" for i in (0, 1) for bank in ("bise", "lui")}
    certificates = morphax.certify(state)
    assert all(c.all() for c in [certificates["layers"][0]["bise"].get_value().exact])


def test_linen_certify_network(params):
    model = linen.BiMoNN(CHANNELS, kernel_size=3)
    verdict = morphax.certify_network(
        lambda p, x: model.apply({"params": p}, x), as_linen(params), (1, *SHAPE[1:])
    )
    assert bool(verdict.exact)
    assert "layers_1/lui" in verdict.neurons


@pytest.mark.slow
def test_scanned_linen_layers():
    model = Deep()
    params = model.init(jax.random.key(0), jnp.zeros((1, 5)))["params"]
    node = built(np.random.default_rng(2), (5, 5), spec_for("dense"), stack=(3,), size=1.7)
    flat, tree = jax.tree.flatten(params, is_leaf=is_node)
    assert [leaf.weight.shape for leaf in flat] == [(3, 5, 5)]
    params = jax.tree.unflatten(tree, [node])
    run = lambda p, x: model.apply({"params": p}, x)  # noqa: E731
    verdict = morphax.certify_network(run, params, (1, 5))
    assert bool(verdict.exact)
    bits = random_images(np.random.default_rng(0), (500, 5))
    real = np.asarray(jax.jit(run)(params, jnp.asarray(bits, jnp.float32))) > 0.5
    twin = np.asarray(jax.jit(run)(binarize(params), jnp.asarray(bits)))
    np.testing.assert_array_equal(real, twin)
    assert twin.dtype == bool
    np.testing.assert_array_equal(
        morphax.certify_network(lambda p, x: by_hand(p, x), node, (1, 5)).dead_zone[0],
        verdict.dead_zone[0],
    )


def by_hand(node, x):
    return jax.lax.scan(lambda x, n: (morphax.apply(n, x), None), x, node)[0]


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_optimizer_steps_in_nnx(images):
    """Optax on the state of a model."""
    graphdef, before = nnx.split(
        layers.BiMoNN(list(CHANNELS), kernel_size=3, border="constant", rngs=nnx.Rngs(1))
    )
    optimizer = optax.adamw(1e-3)
    x = jnp.asarray(images, jnp.float32)

    @jax.jit
    def step(state, opt_state):
        loss, gradient = jax.value_and_grad(
            lambda p: ((nnx.merge(graphdef, p)(x) - 1) ** 2).mean()
        )(state)
        updates, opt_state = optimizer.update(gradient, opt_state, state)
        return optax.apply_updates(state, updates), opt_state, loss

    state, opt_state, losses = before, optimizer.init(before), []
    for _ in range(3):
        state, opt_state, loss = step(state, opt_state)
        losses.append(float(loss))
    assert losses[2] < losses[0]
    model = nnx.merge(graphdef, state)
    assert isinstance(model.layers[0].bise.get_value(), BiSE)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), before, state)))
    nnx.update(model, binarize(state))
    assert model(jnp.asarray(images)).dtype == bool


def test_models_by_key_and_shape():
    params = models.init_bimonn(jax.random.key(0), [2, 3, 1], kernel_size=[3, (1, 5)])
    assert [p["bise"].weight.shape for p in params] == [(3, 3, 2, 3), (1, 5, 3, 1)]
    same = models.init_bimonn(jax.random.key(0), [2, 3, 1], kernel_size=[3, (1, 5)])
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, params, same)))
    symmetric = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3, symmetric=True)
    assert symmetric[0]["bise"].spec.symmetric
    assert (symmetric[0]["bise"].bias == 0).all()


def test_a_single_bise_keeps_channels_apart(images):
    node = built(np.random.default_rng(0), (3, 3, 2, 1), spec_for("spatial"))
    x = jnp.asarray(images, jnp.float32)
    other = models.bise(node, x.at[..., 1].set(0.0))
    np.testing.assert_array_equal(other[..., 0], models.bise(node, x)[..., 0])


@pytest.mark.parametrize("size", [0, -3, (3, 0), (), (3, 3, 3, 3), 3.0, "3"])
def test_sizes_of_windows(size):
    with pytest.raises((ValueError, TypeError)):
        models.window(size)
    assert models.window((3, 4)) == (3, 4)


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda key: models.init_bimonn(key, [1, 1], kernel_size=0), "kernel_size"),
        (lambda key: models.init_bise(key, 1, kernel_size=(3, -2)), "kernel_size"),
        (lambda key: models.init_bimonn(key, [1, 1, 1], kernel_size=[3]), "kernel_size"),
        (lambda key: models.init_bimonn(key, [1]), "channels"),
        (lambda key: models.init_bisel(key, 1, 1, stride=2), "options"),
        (lambda key: models.init_bisel(key, 1, 1, border="wrap"), "border"),
        (lambda key: models.init_dense_lui(key, 3, 1, threshold="relu"), "threshold"),
        (lambda key: models.init_dense_lui(key, 3, 1, weight_map="exp"), "weight_map"),
        (lambda key: models.init_dense_lui(key, 3, 1, bias_map="exp"), "bias_map"),
        (
            lambda key: linen.BiMoNN((2, 1), kernel_size=3).init(key, jnp.zeros((1, 5, 5, 3))),
            "x",
        ),
        (
            lambda key: linen.BiMoNN((1, 1), kernel_size=(3, 3, 3)).init(
                key, jnp.zeros((1, 5, 5, 1))
            ),
            "kernel_size",
        ),
        (lambda key: layers.BiMoNN([1, 1], kernel_size=0, rngs=nnx.Rngs(0)), "kernel_size"),
        (
            lambda key: layers.BiMoNN([2, 1], kernel_size=3, rngs=nnx.Rngs(0))(
                jnp.zeros((1, 5, 5, 3))
            ),
            "x",
        ),
        (
            lambda key: layers.BiMoNN([1, 1], kernel_size=3, rngs=nnx.Rngs(0))(
                jnp.zeros((5, 5, 1))
            ),
            "x",
        ),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(ValueError, match=f"^{argument}: expected"):
        call(jax.random.key(0))


def test_binary_trees_have_no_floats(params):
    for tree in (binarize(params), binarize(as_linen(params))):
        nodes = jax.tree.leaves(tree, is_leaf=is_node)
        assert all(isinstance(node, BinaryBiSE) for node in nodes)
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype(bool)}
