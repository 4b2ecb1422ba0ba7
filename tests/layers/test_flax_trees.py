"""Nodes in containers of Flax: state dictionaries, bytes, frozen dicts, pure dicts, optimizers."""

import flax
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training import train_state
from helpers.scanned import Deep

import morphax
from morphax.layers import linen
from morphax.layers import nnx as layers
from morphax.training import transforms

IMAGE = jnp.zeros((1, 9, 9, 1))


def same(a, b):
    """Whether two trees have the same structure (specs too), dtypes and values."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and np.array_equal(x, y) for x, y in leaves
    )


def linen_params():
    return linen.BiMoNN([1, 2, 1], kernel_size=3).init(jax.random.key(0), IMAGE)["params"]


def scanned_params():
    return Deep().init(jax.random.key(0), jnp.zeros((1, 4)))["params"]


def plain_params():
    return morphax.models.init_bimonn(jax.random.key(0), [1, 2, 1], kernel_size=3)


def nnx_params():
    model = layers.BiMoNN([1, 2, 1], kernel_size=3, rngs=nnx.Rngs(0))
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


TREES = [linen_params, scanned_params, plain_params, nnx_params]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("make", TREES)
def test_bytes_and_back(make, binary):
    tree = morphax.binarize(make()) if binary else make()
    target = jax.tree.map(jnp.zeros_like, tree)
    assert same(flax.serialization.from_bytes(target, flax.serialization.to_bytes(tree)), tree)
    state = flax.serialization.to_state_dict(tree)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert same(flax.serialization.from_state_dict(target, state), tree)


@pytest.mark.usefixtures("standard_promotion")
def test_a_train_state_with_moments_and_masks_comes_back():
    """Moments of Adam are nodes; under a mask of arrays some of their fields are empty."""
    mask = lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 2, tree)  # noqa: E731
    optimizer = optax.chain(optax.adam(0.1), optax.masked(optax.trace(0.9), mask))
    start = train_state.TrainState.create(apply_fn=None, params=linen_params(), tx=optimizer)
    gone = start.apply_gradients(grads=jax.tree.map(jnp.ones_like, start.params))
    back = flax.serialization.from_bytes(start, flax.serialization.to_bytes(gone))
    assert same(back.params, gone.params)
    assert same(back.opt_state, gone.opt_state)
    assert not same(back.params, start.params)
    assert int(back.step) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s | {"selem": s["weight"]}, "expected .*'weight'.* of a BiSE, got .*'selem'"),
        (lambda s: {"weight": s["weight"]}, r"expected .*'scale'.*, got \['weight'\]"),
        (lambda s: s["weight"], "of a BiSE, got 'ArrayImpl'"),
        (
            lambda s: s | {"weight": s["bias"]},
            r"weight: expected shape \(3, 3, 1, 2\), got \(1, 2\)",
        ),
    ],
)
def test_another_state_is_refused(change, message):
    params = {"net": {"bise": plain_params()[0]["bise"]}}
    state = flax.serialization.to_state_dict(params)
    state["net"]["bise"] = change(state["net"]["bise"])
    with pytest.raises(ValueError, match=rf"state at \./net/bise.*{message}"):
        flax.serialization.from_state_dict(params, state)


def test_binary_bits_do_not_become_real_parameters():
    params = plain_params()
    content = flax.serialization.to_bytes(morphax.binarize(params))
    with pytest.raises(ValueError, match=r"of a BiSE, got .*'selem'"):
        flax.serialization.from_bytes(params, content)


def test_frozen_dicts_hold_nodes():
    params = linen_params()
    frozen = flax.core.freeze({"params": params})
    assert same(flax.core.unfreeze(frozen)["params"], params)
    assert same(flax.core.unfreeze(morphax.binarize(frozen["params"])), morphax.binarize(params))
    net = linen.BiMoNN([1, 2, 1], kernel_size=3)
    verdicts = [
        morphax.certify_network(lambda p, x: net.apply({"params": p}, x), tree, IMAGE.shape).exact
        for tree in (params, frozen["params"])
    ]
    assert bool(verdicts[0]) == bool(verdicts[1])


def test_pure_dicts_and_back():
    model = layers.BiMoNN([1, 2, 1], kernel_size=3, rngs=nnx.Rngs(0))
    other = layers.BiMoNN([1, 2, 1], kernel_size=3, rngs=nnx.Rngs(1))
    state = nnx.state(other, nnx.Param)
    nnx.replace_by_pure_dict(state, nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    nnx.update(other, state)
    x = jax.random.uniform(jax.random.key(2), (2, 9, 9, 1))
    np.testing.assert_array_equal(model(x), other(x))


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("jitted", [False, True])
def test_the_nnx_optimizer_equals_optax_by_hand(jitted):
    def loss(model, x):
        return (model(x) ** 2).mean()

    def step(model, optimizer, x):
        optimizer.update(model, nnx.grad(loss)(model, x))

    model = layers.BiMoNN([1, 1], kernel_size=3, rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(model)
    params = jax.tree.map(jnp.copy, state)  # a model shares its variables with its state
    x = jax.random.uniform(jax.random.key(1), (2, 8, 8, 1))
    chain = optax.chain(optax.adam(0.1), transforms.set_scale(3.0))
    optimizer = layers.Optimizer(model, chain, wrt=nnx.Param)
    advance = nnx.jit(step) if jitted else step
    by_hand = chain.init(params)
    for _ in range(3):
        advance(model, optimizer, x)
        updates, by_hand = chain.update(
            nnx.grad(loss)(nnx.merge(graphdef, params), x), by_hand, params
        )
        params = optax.apply_updates(params, updates)
    found = nnx.state(model, nnx.Param)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, params)
    assert morphax.neurons.nodes.named_nodes(found)
    assert int(optimizer.step[...]) == 3
