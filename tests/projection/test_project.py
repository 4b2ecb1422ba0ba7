"""The one entry to all projections, and what sits on it: binarize by projection, nearest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import morphax
from morphax.neurons.nodes import BiSE, Spec
from morphax.projection import project_constant, project_exact, project_symmetric

W = jnp.array([[1.0, 0.9, 0.3, 0.3], [0.5, 0.5, 0.4, -0.6]])
B = jnp.array([0.5, 0.9])


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_dispatch():
    assert same(morphax.project(W, B), project_exact(W, B))
    assert same(morphax.project(W, B, nonnegative=False), project_exact(W, B, nonnegative=False))
    assert not same(morphax.project(W, B), morphax.project(W, B, nonnegative=False))
    symmetric = project_symmetric(W, B, margin=0.01)
    assert same(morphax.project(W, B, symmetric=True, margin=0.01), symmetric)
    uniform = project_constant(W, B, threshold="uniform")
    assert same(morphax.project(W, B, onto="constant", threshold="uniform"), uniform)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"onto": "nearest"}, "onto: expected one of"),
        ({"solver": "clarabel"}, "solver: expected one of"),
        ({"operation": "opening"}, "operation: expected one of"),
        ({"tolerance": 1e-3}, "solver_options"),
        ({"solver": "osqp", "symmetric": True}, "solver: expected 'exact' for symmetric"),
        ({"solver": "osqp", "onto": "constant"}, "solver: expected 'exact' for constant"),
        ({"onto": "constant", "threshold": "otsu"}, "threshold: expected one of"),
        ({"margin": -1.0}, "margin: expected a finite number"),
        ({"bias_weight": 0.0}, "bias_weight: expected a finite number"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        morphax.project(W, B, **options)


@pytest.mark.slow
def test_binarize_and_nearest_use_the_projection_of_the_right_kind():
    """Free sign for identity weights, own coordinates for symmetric ones; certified ones as
    proved."""
    banks = {
        "free": Spec("dense", "identity", "raw"),
        "symmetric": Spec("dense", "identity", "raw", symmetric=True),
    }
    params = {k: BiSE(W.T, B, jnp.ones(2), spec) for k, spec in banks.items()}
    near, binary = morphax.nearest(params), morphax.binarize(params)
    for name, spec in banks.items():
        expected = morphax.project(W, B, nonnegative=False, symmetric=spec.symmetric)
        assert same(
            near[name], expected._replace(weights=expected.weights.T, selem=expected.selem.T)
        )
        certificate = morphax.certify(params)[name]
        chosen = np.where(certificate.margin > 0, certificate.selem, expected.selem.T)
        np.testing.assert_array_equal(binary[name].selem, chosen)
    positive = BiSE(jnp.log(jnp.expm1(jnp.abs(W.T))), B, jnp.ones(2), Spec("dense", bias_map="raw"))
    expected = morphax.project(jnp.abs(W), B)
    np.testing.assert_allclose(morphax.nearest(positive).weights, expected.weights.T, rtol=1e-4)


def test_a_binary_network_is_certified_when_its_projection_has_a_margin():
    """Project with a margin, put the result back: every neuron is certified, whatever it was."""
    key = jax.random.key(0)
    weights = jax.random.normal(key, (50, 9))
    bias = jax.random.normal(jax.random.fold_in(key, 1), (50,)) * 2
    assert not morphax.certify_neurons(weights, bias).exact.all()
    near = morphax.project(weights, bias, nonnegative=False, relative_margin=1e-3)
    certificate = morphax.certify_neurons(near.weights, near.bias)
    assert certificate.exact.all()
    np.testing.assert_array_equal(certificate.selem, near.selem)
    np.testing.assert_array_equal(certificate.operation, near.operation)
