"""Models whose wiring or parameters no certificate may be given for: each is named, none
guessed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import almost_binary, spec_for

import morphax
from morphax import binarize
from morphax.neurons.forward import apply, complement, concatenate
from morphax.neurons.nodes import BiSE, Spec

UNION = BiSE(jnp.ones((2, 1)), jnp.full(1, 0.5), jnp.full(1, 20.0), spec_for("dense"))


WIDER = BiSE(jnp.ones((3, 1)), jnp.full(1, 0.5), jnp.full(1, 20.0), spec_for("dense"))


SYMMETRIC = dataclasses.replace(
    WIDER, bias=jnp.full(1, -2.0), spec=spec_for("dense", symmetric=True)
)


SQUARE = BiSE(jnp.eye(2), jnp.full(2, 0.5), jnp.full(2, 20.0), spec_for("dense"))


def with_constant(value):
    return lambda node, x: apply(
        node, concatenate([x, jnp.full((*x.shape[:-1], 1), value, x.dtype)])
    )


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda p, x: apply(p, x) * 2, id="mul"),
        pytest.param(lambda p, x: apply(p, x).mean(-1, keepdims=True), id="mean"),
        pytest.param(lambda p, x: jax.nn.relu(apply(p, x)), id="relu"),
        pytest.param(lambda p, x: apply(p, jnp.maximum(x, x[:, ::-1])), id="max"),
        pytest.param(lambda p, x: jnp.pad(apply(p, x), ((0, 0), (0, 1))), id="pad"),
        pytest.param(lambda p, x: (apply(p, x) > 0.5).astype(x.dtype), id="threshold"),
        pytest.param(lambda p, x: apply(p, x.astype(jnp.bfloat16)), id="half"),
        pytest.param(lambda p, x: (apply(p, x), x), id="two outputs"),
        pytest.param(lambda p, x: jnp.zeros((1, 1)), id="no signal"),
        pytest.param(lambda p, x: p.bias, id="a parameter"),
        pytest.param(lambda p, x: apply(UNION, x), id="closed over"),
        pytest.param(lambda p, x: apply(jax.tree.map(lambda a: a * 1.5, p), x), id="scaled"),
        pytest.param(
            lambda p, x: apply(dataclasses.replace(p, scale=p.scale * 0), x), id="no scale"
        ),
        pytest.param(
            lambda p, x: apply(dataclasses.replace(p, bias=p.scale, scale=p.bias), x), id="swapped"
        ),
        pytest.param(
            lambda p, x: apply(dataclasses.replace(p, spec=Spec("dense")), x), id="other spec"
        ),
        pytest.param(lambda p, x: apply(p, concatenate([x[:, :1], p.bias[None]])), id="param in"),
        pytest.param(
            lambda p, x: jax.lax.cond(True, lambda x: apply(p, x), lambda x: x[:, :1], x), id="cond"
        ),
    ],
)
def test_steps_that_no_binary_network_has(model):
    with pytest.raises(ValueError, match=r"^apply: expected .+, got"):
        morphax.certify_network(model, UNION, (1, 2))


def test_parameters_of_two_banks_do_not_mix():
    """The verdict would be on the first bank's bias, the network runs with the second's."""
    other = dataclasses.replace(UNION, bias=jnp.full(1, 5.0))

    def model(params, x):
        return apply(dataclasses.replace(params[0], bias=params[1].bias), x)

    with pytest.raises(ValueError, match=r"^apply: expected neurons whose parameters are stored"):
        morphax.certify_network(model, [UNION, other], (1, 2))


def test_paths_that_collide():
    tree = {"a": {"value": UNION, "raw_value": dataclasses.replace(UNION, scale=jnp.zeros(1))}}
    with pytest.raises(ValueError, match=r"^params: expected another path"):
        morphax.certify_network(lambda p, x: apply(p["a"]["raw_value"], x), tree, (1, 2))


@pytest.mark.parametrize("axis", [1, 2])
def test_vmap_inside_a_model_is_refused(axis):
    """Its axes would be taken for channels."""
    run = jax.vmap(apply, in_axes=(None, axis), out_axes=axis)
    with pytest.raises(ValueError, match="without vmap"):
        morphax.certify_network(run, SQUARE, (1, 2, 2))
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), SQUARE)
    with pytest.raises(ValueError):
        morphax.certify_network(jax.vmap(apply, in_axes=(0, None)), stacked, (1, 2))


@pytest.mark.parametrize("value", [-1.0, 0.5, 2.0, np.nan])
def test_constants_are_bits(value):
    with pytest.raises(ValueError, match=r"^apply: expected binary constants"):
        morphax.certify_network(with_constant(value), WIDER, (1, 2))


def test_constants_beside_symmetric_signals():
    """0 is in the middle of the dead zone; 1 is a bit, and the binary network reads it as one."""
    with pytest.raises(ValueError, match=r"^apply: expected no constants but 1"):
        morphax.certify_network(with_constant(0.0), SYMMETRIC, (1, 2))
    model = with_constant(1.0)
    assert bool(jax.jit(lambda p: morphax.certify_network(model, p, (1, 2)).exact)(SYMMETRIC))
    bits = jnp.array([[False, False], [True, False]])
    real = model(SYMMETRIC, jnp.where(bits, 1.0, -1.0)) > 0
    np.testing.assert_array_equal(real, model(binarize(SYMMETRIC), bits))


def test_symmetric_and_other_neurons_do_not_mix():
    plain = BiSE(jnp.ones((1, 1)), jnp.full(1, 0.5), jnp.ones(1), spec_for("dense"))
    model = lambda p, x: apply(p[1], apply(p[0], x))  # noqa: E731
    with pytest.raises(ValueError, match=r"^params: expected all neurons"):
        morphax.certify_network(model, [SYMMETRIC, plain], (1, 3))
    with pytest.raises(ValueError, match=r"^params: expected all neurons"):
        morphax.certify_network(lambda p, x: complement(apply(p, x)), SYMMETRIC, (1, 3))
    model = lambda p, x: complement(apply(p, x), symmetric=True)  # noqa: E731
    assert bool(morphax.certify_network(model, SYMMETRIC, (1, 3)).exact)


def test_no_neurons():
    with pytest.raises(ValueError, match=r"^params: expected a tree that holds banks"):
        morphax.trace(lambda p, x: x, {"w": jnp.ones(3)}, (1, 2))


def test_a_bank_used_twice_reports_its_worst_use():
    soft = BiSE(jnp.ones((1, 1)), jnp.full(1, 0.5), jnp.full(1, 0.2), spec_for("dense"))
    params = {"node": dataclasses.replace(UNION, bias=jnp.full(1, 0.6)), "soft": soft}

    def model(p, x):
        y = apply(p["node"], x)
        return apply(p["node"], concatenate([y, apply(p["soft"], y)]))

    once = morphax.certify_network(lambda p, x: apply(p["node"], x), params, (1, 2))
    twice = morphax.certify_network(model, params, (1, 2))
    assert bool(once.exact)
    assert not bool(twice.exact)
    assert not bool(twice.neurons["node"].exact[0])
    assert float(twice.neurons["node"].margin[0]) < float(once.neurons["node"].margin[0])


def test_almost_binary_helper_reaches_the_edges():
    bits = np.arange(64).reshape(8, 8) % 2 == 0
    values = almost_binary(np.random.default_rng(0), bits, 0.25, 0.75)
    assert set(np.unique(values)) == {0.0, 0.125, 0.25, 0.75, 0.875, 1.0}
