"""Binarisation, the nearest constant sets by brute force, and the summary."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neuron_oracle
from helpers.networks import built_bimonn, spec_for

import morphax
from morphax.binarization import METHODS
from morphax.neurons.nodes import BinaryBiSE, BiSE, Spec, is_node
from morphax.projection.constant import constant_selem, project_constant
from morphax.projection.result import DEGENERATE, INVALID, OK

project = jax.jit(project_constant, static_argnames="threshold")


def brute_force(weights):
    """Distance to the nearest constant set, and every S that attains it, neuron by neuron."""
    n = weights.shape[1]
    selems = neuron_oracle.binary_inputs(n)[1:]
    sums, sizes = weights @ selems.T, selems.sum(1)
    squares = (weights**2).sum(1)[:, None] - np.maximum(sums, 0) ** 2 / sizes
    best = squares.min(1)
    return np.sqrt(np.maximum(best, 0)), selems, squares <= best[:, None] + 1e-9


def sample(rng, kind, n=6, count=200):
    if kind == "gaussian":
        return rng.normal(size=(count, n))
    if kind == "positive":
        return rng.random((count, n))
    return rng.integers(-2, 3, (count, n)) / 2.0  # repeated weights


@pytest.mark.parametrize("kind", ["gaussian", "positive", "repeated"])
def test_constant_projection_is_the_nearest_of_all_sets(kind, rng):
    weights = sample(rng, kind)
    weights = weights[weights.max(1) > 0]
    bias = rng.normal(size=len(weights))
    with jax.enable_x64(True):
        found = jax.device_get(project(jnp.asarray(weights), jnp.asarray(bias)))
    distance, selems, attained = brute_force(weights)
    np.testing.assert_allclose(found.distance, distance, atol=1e-7)
    code = (found.selem * 2 ** np.arange(weights.shape[1])[::-1]).sum(1) - 1
    assert (selems[code] == found.selem).all()
    assert attained[np.arange(len(weights)), code].all()
    assert (found.status == OK).all()
    # The point returned is in the set, and as far as it says.
    np.testing.assert_allclose(
        np.linalg.norm(found.weights - weights, axis=1), found.distance, atol=1e-9
    )
    theta = found.weights.max(1, keepdims=True)
    np.testing.assert_array_equal(found.weights, theta * found.selem)
    size = found.selem.sum(1)
    low = np.where(found.operation == 0, (size - 1) * theta[:, 0], 0)
    high = np.where(found.operation == 0, size * theta[:, 0], theta[:, 0])
    assert ((low - 1e-12 <= found.bias) & (found.bias <= high + 1e-12)).all()
    positive = np.maximum(weights, 0).sum(1)
    np.testing.assert_array_equal(found.operation, bias <= positive / 2)


@pytest.mark.parametrize("threshold, factor", [("uniform", 2 / 3), ("normal", 3 / 4)])
def test_statistical_thresholds(threshold, factor, rng):
    weights = rng.normal(size=(50, 9)).astype(np.float32)
    found = np.asarray(constant_selem(jnp.asarray(weights), threshold=threshold))
    level = factor * np.abs(weights).mean(1, keepdims=True)
    kept = (weights >= level).any(1)
    np.testing.assert_array_equal(found[kept], (weights >= level)[kept])
    exact = project(jnp.asarray(weights), jnp.zeros(50))
    other = project(jnp.asarray(weights), jnp.zeros(50), threshold=threshold)
    assert (other.distance >= exact.distance - 1e-6).all()
    assert (other.distance > exact.distance + 1e-3).any()


def test_statistical_thresholds_never_empty():
    """One large negative weight lifts tau above every positive one."""
    weights = jnp.array([[-9.0, 0.5, 0.4, 0.1]])
    for threshold in ("uniform", "normal"):
        found = project(weights, jnp.zeros(1), threshold=threshold)
        assert found.selem.any()
        assert float(found.weights.max()) > 0


def test_degenerate_and_invalid_neurons_say_so():
    weights = jnp.array(
        [
            [-3.0, -1.0, -2.0],
            [0.0, 0.0, 0.0],
            [1.0, jnp.nan, 1.0],
            [1.0, 1.0, 0.0],
            [1.0, jnp.inf, 0.0],
        ]
    )
    found = project(weights, jnp.array([0.5, 0.5, 0.5, jnp.nan, 0.5]))
    assert found.status.tolist() == [DEGENERATE, DEGENERATE, INVALID, INVALID, INVALID]
    assert found.selem[:2].tolist() == [[False, True, False], [True, False, False]]
    np.testing.assert_allclose(found.distance[:2], [np.sqrt(14), 0], rtol=1e-6)
    assert np.isnan(found.distance[2:]).all()


def tree_of(rng):
    """Certified neurons in one bank, sloppy ones in another, and a leaf that is no neuron."""
    layers = built_bimonn(rng, [2, 2, 1])
    sloppy = dataclasses.replace(
        layers[1]["bise"], weight=jnp.asarray(rng.normal(size=(3, 3, 2, 1)), jnp.float32)
    )
    return {"layers": [layers[0], {"bise": sloppy}], "head": jnp.ones(4)}


@pytest.mark.first(2)
@pytest.mark.parametrize("method", METHODS)
def test_binarize_takes_the_certified_set_else_the_nearest(method, rng):
    params = tree_of(rng)
    binary = jax.jit(lambda p: morphax.binarize(p, method=method))(params)
    eager = morphax.binarize(params, method=method)
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, binary, eager)))
    certificate = morphax.certify(params)
    nearest = morphax.nearest(params, method=method)
    np.testing.assert_array_equal(binary["head"], 1)
    for bank in ("bise", "lui"):
        found, real = binary["layers"][0][bank], params["layers"][0][bank]
        proof = certificate["layers"][0][bank]
        assert proof.exact.all()
        np.testing.assert_array_equal(found.selem, proof.selem)
        np.testing.assert_array_equal(found.erosion, proof.operation == 0)
        np.testing.assert_array_equal(found.complement, real.scale < 0)
        assert found.spec == real.spec
    found, other = binary["layers"][1]["bise"], nearest["layers"][1]["bise"]
    assert not certificate["layers"][1]["bise"].exact.any()
    np.testing.assert_array_equal(found.selem, other.selem)
    np.testing.assert_array_equal(found.erosion, other.operation == 0)
    assert (other.distance > 0).all()
    # Real bits, the same containers.
    for leaf in jax.tree.leaves(binary, is_leaf=is_node):
        if isinstance(leaf, BinaryBiSE):
            assert {a.dtype for a in jax.tree.leaves(leaf)} == {jnp.dtype(bool)}
    before, after = (jax.tree.structure(t, is_leaf=is_node) for t in (params, binary))
    assert before == after


def test_banks_that_are_projected_together_are_projected_as_alone(rng):
    """Banks of the same number of inputs share a program; layouts and signs of weights differ."""

    def node(shape, axes, role, weight_map="identity"):
        outputs = tuple(shape[axis] for axis in axes)
        weight, bias = rng.normal(size=shape), rng.normal(size=outputs) + 1
        leaves = (jnp.asarray(x, jnp.float32) for x in (weight, bias, np.ones(outputs)))
        return BiSE(*leaves, Spec(role, weight_map, "raw"))

    nodes = [
        node((3, 3, 2, 1), (2, 3), "spatial"),
        node((9, 4), (1,), "dense"),
        node((4, 2), (1,), "dense"),
        node((9, 2), (1,), "dense", "positive"),
    ]
    together = morphax.nearest(nodes)
    for found, bank in zip(together, nodes, strict=True):
        alone = morphax.nearest(bank)
        assert found.weights.shape == bank.weight.shape
        assert jax.tree.all(jax.tree.map(np.array_equal, found, alone))


def test_a_hair_of_rounding_does_not_change_the_bits():
    """A neuron that is exact by a hair gets the certified S even where `exact` says no here."""
    weights = np.array([1.0, 0.9], np.float32)  # dilation by {0} for 0.9 < b < 1
    bias = np.float32(0.9) + np.float32(2e-7)  # inside, within the allowance
    node = BiSE(
        jnp.asarray(weights)[:, None], jnp.full(1, bias), jnp.full(1, 1e6), spec_for("dense")
    )
    certificate = morphax.certify(node)
    assert not bool(certificate.exact[0])
    assert float(certificate.margin[0]) > 0
    # Asked alone, this method says otherwise.
    assert morphax.nearest(node, method="constant-exact").selem[:, 0].tolist() == [True, True]
    for method in METHODS:
        binary = morphax.binarize(node, method=method)
        assert binary.selem[:, 0].tolist() == [True, False]
        assert not bool(binary.erosion[0])


@pytest.mark.parametrize("function", [morphax.binarize, morphax.nearest, morphax.summary])
def test_unknown_method(function, rng):
    with pytest.raises(ValueError, match=r"^method: expected one of .+ got 'ternary'"):
        function(tree_of(rng), method="ternary")


def test_summary_counts(rng):
    spec = spec_for("dense")
    weights = jnp.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.6], [1.0, 0.0, -1.0]])
    node = BiSE(weights, jnp.array([2.5, 0.5, 2.0]), jnp.array([-9.0, 9.0, 9.0]), spec)
    table = morphax.summary({"x": {"node": node}, "other": jnp.ones(2)}, method="constant-exact")
    (row,) = table.rows
    assert (row.name, row.shape, row.neurons, row.certified) == ("x/node", (3, 3), 3, 2)
    assert row.operations == {"dilation": 1, "erosion": 1, "not erosion": 1}
    binary = morphax.binarize(node, method="constant-exact")
    assert row.bits == 9 + 6
    sizes = np.asarray(binary.selem).sum(0)
    assert row.binary_operations == (sizes - 1).sum() + 1
    theta = 0.8  # the nearest constant set of (1, 0.6, -1) is {0, 1}
    expected = np.sqrt(2 * (1 - theta) ** 2 + 1)
    np.testing.assert_allclose(row.distance, expected, rtol=1e-5)
    text = str(table)
    assert "x/node" in text
    assert "2/3" in text
    assert "66.7%" in text
    assert len({len(line) for line in text.splitlines()}) == 1
    twin = morphax.summary({"x": {"node": binary}})
    assert twin.rows[0].certified == -1
    assert twin.rows[0].operations == row.operations
    assert twin.rows[0].binary_operations == row.binary_operations
    assert "%" not in str(twin)


@pytest.mark.first(6)
@pytest.mark.parametrize("erosion", [False, True])
@pytest.mark.parametrize("pixel", [0, 1, 4, 5, 8])
def test_a_translation_is_realized_with_its_frame(erosion, pixel):
    """One pixel is an erosion and a dilation at once; along the frame the two differ."""
    selem = jnp.zeros((9, 1, 1), bool).at[pixel].set(True).reshape(3, 3, 1, 1)
    flags = [jnp.full((1, 1), flag) for flag in (erosion, False)]
    binary = [{"bise": morphax.BinaryBiSE(selem, *flags, morphax.Spec("spatial"))}]
    params = morphax.realize(binary)
    x = jax.random.bernoulli(jax.random.key(0), 0.5, (4, 6, 7, 1))
    expected = morphax.models.bimonn(binary, x)
    assert bool(morphax.certify_network(morphax.models.bimonn, params, (1, 6, 7, 1)).exact)
    assert bool((morphax.models.bimonn(morphax.binarize(params), x) == expected).all())
    soft = morphax.models.bimonn(params, x.astype(jnp.float32))
    assert bool(((soft > 0.5) == expected).all())
