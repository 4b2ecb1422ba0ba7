"""Forward passes against plain numpy sums and scipy, real and binary, every role and border."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import image_oracle as oracle
from helpers.networks import built, random_images, spec_for
from scipy import ndimage, special

import morphax
from morphax.neurons import _correlate
from morphax.neurons.forward import (
    apply,
    complement,
    concatenate,
    flatten,
    guess_erosion,
    union_pool,
)
from morphax.neurons.nodes import BinaryBiSE, BiSE, Spec, bank, map_nodes, named_nodes, unbank

BORDERS = ("ignore", "constant", "replicate")
XI = {
    "tanh": lambda x: np.tanh(x) / 2 + 0.5,
    "sigmoid": special.expit,
    "arctan": lambda x: np.arctan(x) / np.pi + 0.5,
    "erf": lambda x: special.erf(x) / 2 + 0.5,
}
run = jax.jit(apply)


def padded(image, border, symmetric, erosion):
    """One image, one neuron, padded as documented for a 3x5 window."""
    if border == "replicate":
        return np.pad(image, ((1, 1), (2, 2)), mode="edge")
    background = -1.0 if symmetric else 0.0
    value = 1.0 if erosion and border == "ignore" else background
    return np.pad(image, ((1, 1), (2, 2)), constant_values=value)


@pytest.mark.parametrize("threshold", XI)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("border", BORDERS)
def test_spatial_neurons_are_the_formula(border, symmetric, threshold, rng):
    """xi(p (I * w - b)), summed by numpy over the windows of scipy-free loops."""
    shape, spec = (
        (3, 5, 2, 3),
        spec_for("spatial", symmetric=symmetric, border=border, threshold=threshold),
    )
    w, b, p = rng.normal(size=shape), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    x = rng.uniform(-1 if symmetric else 0, 1, (2, 6, 9, 2))
    with jax.enable_x64(True):
        node = BiSE(jnp.asarray(w), jnp.asarray(b), jnp.asarray(p), spec)
        result = np.asarray(run(node, jnp.asarray(x)))
    assert result.shape == (2, 6, 9, 2, 3)
    for i, o, k in np.ndindex(2, 3, 2):
        unit_bias = (b[i, o] + w[..., i, o].sum()) / 2 if symmetric else b[i, o]
        erosion = unit_bias > np.maximum(w[..., i, o], 0).sum() / 2
        frame = padded(x[k, ..., i], border, symmetric, erosion)
        seen = np.lib.stride_tricks.sliding_window_view(frame, (3, 5))
        potential = p[i, o] * ((seen * w[..., i, o]).sum((-1, -2)) - b[i, o])
        expected = XI[threshold](potential)
        expected = 2 * expected - 1 if symmetric else expected
        np.testing.assert_allclose(result[k, ..., i, o], expected, atol=1e-12)


@pytest.mark.parametrize("symmetric", [False, True])
def test_lui_and_dense_are_the_formula(symmetric, rng):
    w, b, p = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=3)
    with jax.enable_x64(True):
        arrays = [jnp.asarray(a) for a in (w, b, p)]
        x = rng.random((2, 5, 4))
        dense = run(BiSE(*arrays, spec_for("dense", symmetric=symmetric)), jnp.asarray(x))
        maps = rng.random((2, 5, 4, 3))
        lui = run(BiSE(*arrays, spec_for("lui", symmetric=symmetric)), jnp.asarray(maps))
    for result, total in [
        (dense, np.einsum("abi,io->abo", x, w)),
        (lui, np.einsum("abio,io->abo", maps, w)),
    ]:
        expected = np.tanh(p * (total - b))
        np.testing.assert_allclose(
            result, expected if symmetric else expected / 2 + 0.5, atol=1e-12
        )


def random_binary(rng, shape, role, border="ignore"):
    """A binary bank that no real one need have made."""
    reduced = shape[2:] if role == "spatial" else shape[1:]
    selem = rng.random(shape) < 0.4
    selem[(0,) * (2 if role == "spatial" else 1)] |= ~selem.any((0, 1) if role == "spatial" else 0)
    erosion, negated = (rng.random(reduced) < 0.5 for _ in range(2))
    return BinaryBiSE(
        jnp.asarray(selem),
        jnp.asarray(erosion),
        jnp.asarray(negated),
        spec_for(role, border=border),
    )


@pytest.mark.parametrize("window", [(1, 1), (3, 5), (5, 3)])
@pytest.mark.parametrize("border", BORDERS)
def test_binary_neurons_equal_scipy(border, window, rng):
    node = random_binary(rng, (*window, 2, 3), "spatial", border)
    images = random_images(rng, (3, 9, 12, 2))
    result = np.asarray(run(node, jnp.asarray(images)))
    assert result.dtype == bool
    for i, o in np.ndindex(2, 3):
        textbook = np.asarray(morphax.structuring_element(node, i, o))
        operator = oracle.erosion if node.erosion[i, o] else oracle.dilation
        for image, found in zip(images, result, strict=True):
            expected = operator(image[..., i], textbook, border) ^ bool(node.complement[i, o])
            np.testing.assert_array_equal(found[..., i, o], expected)


@pytest.mark.parametrize("role", ["lui", "dense"])
def test_binary_unions_and_intersections(role, rng):
    node = random_binary(rng, (5, 6), role)
    bits = np.array(list(itertools.product([False, True], repeat=5)))
    x = np.repeat(bits[..., None], 6, -1) if role == "lui" else bits
    result = run(node, jnp.asarray(x))
    for o in range(6):
        seen = bits[:, np.asarray(node.selem)[:, o]]
        expected = seen.all(1) if node.erosion[o] else seen.any(1)
        np.testing.assert_array_equal(result[:, o], expected ^ bool(node.complement[o]))


@pytest.mark.parametrize("role, shape, x", [("lui", (4, 3), (4, 3)), ("dense", (4, 3), (4,))])
def test_leading_axes_are_free(role, shape, x, rng):
    node = built(rng, shape, spec_for(role))
    values = jnp.asarray(rng.random((2, 3, *x)), jnp.float32)
    one = jnp.stack([jnp.stack([apply(node, v) for v in row]) for row in values])
    np.testing.assert_allclose(run(node, values), one, atol=1e-6)


def test_correlation_on_cpu_equals_the_convolution_elsewhere(rng):
    """Both forms of `correlate`, also on images wider than one tile."""
    for width, window in [(7, (3, 3)), (150, (3, 7)), (64, (1, 5)), (65, (5, 1))]:
        kh, kw = window
        images = jnp.asarray(rng.random((2, 4 + kh - 1, width + kw - 1, 2)), jnp.float32)
        bank_ = jnp.asarray(rng.normal(size=(kh, kw, 2, 3)), jnp.float32)
        fast = _correlate._correlate_banded(images, bank_)
        assert fast.shape == (2, 4, width, 2, 3)
        np.testing.assert_allclose(fast, _correlate._correlate_conv(images, bank_), atol=2e-5)
    expected = ndimage.correlate(np.asarray(images)[0, ..., 1], np.asarray(bank_)[..., 1, 2])
    np.testing.assert_allclose(fast[0, ..., 1, 2], expected[2:-2], atol=2e-5)


@pytest.mark.usefixtures("standard_promotion")
def test_output_is_as_precise_as_the_parameters():
    """1/2 + 1e-9 survives: a narrower image does not narrow the output (the certificate needs
    it)."""
    with jax.enable_x64(True):
        node = BiSE(
            *(jnp.asarray(v, jnp.float64) for v in ([[1.0]], [0.5], [1e-8])), spec_for("dense")
        )
        assert bool(morphax.certify(node).exact[0])
        output = apply(node, jnp.ones((1, 1), jnp.float32))
        assert output.dtype == jnp.float64
        assert output[0, 0] > 0.5
    node = BiSE(jnp.ones((1, 1)), jnp.full(1, 0.5), jnp.full(1, 1e-3), spec_for("dense"))
    assert bool(morphax.certify(node).exact[0])
    assert apply(node, jnp.ones((1, 1), jnp.bfloat16))[0, 0] > 0.5


def test_guess_is_one_rule():
    weights = jnp.array([[1.0, 1.0, -4.0]] * 3)
    assert guess_erosion(weights, jnp.array([0.9, 1.0, 1.1])).tolist() == [False, False, True]
    # x = 2 y - 1: b = 2 b_unit - sum(w)
    symmetric = 2 * jnp.array([0.9, 1.0, 1.1]) + 2
    assert guess_erosion(weights, symmetric, symmetric=True).tolist() == [False, False, True]


def test_complement_concatenate_flatten(rng):
    x = jnp.asarray(rng.random((2, 3)), jnp.float32)
    np.testing.assert_array_equal(complement(x), 1 - x)
    np.testing.assert_array_equal(complement(x, symmetric=True), -x)
    np.testing.assert_array_equal(complement(x > 0.5), x <= 0.5)
    assert complement(x > 0.5, symmetric=True).dtype == bool
    np.testing.assert_array_equal(concatenate([x, x], axis=0), np.concatenate([x, x]))
    assert flatten(jnp.zeros((2, 3, 4, 5))).shape == (2, 60)


@pytest.mark.parametrize("window, strides", [((2, 2), None), ((3, 2), (1, 2)), ((1, 4), (2, 1))])
def test_union_pool(window, strides, rng):
    x = rng.random((2, 7, 8, 3)).astype(np.float32)
    steps = strides or window
    seen = np.lib.stride_tricks.sliding_window_view(x, window, axis=(1, 2))
    expected = seen.max((-1, -2))[:, :: steps[0], :: steps[1]]
    np.testing.assert_array_equal(union_pool(x, window=window, strides=strides), expected)
    bits = union_pool(jnp.asarray(x > 0.8), window=window, strides=strides)
    np.testing.assert_array_equal(bits, expected > 0.8)


@pytest.mark.parametrize(
    "role, shape, n", [("spatial", (3, 5, 2, 4), 15), ("lui", (6, 4), 6), ("dense", (6, 4), 6)]
)
def test_bank_and_unbank(role, shape, n, rng):
    weight = jnp.asarray(rng.random((7, *shape)))
    lead = jnp.zeros((7, *(shape[2:] if role == "spatial" else shape[1:])))
    node = BiSE(weight, lead, lead, spec_for(role))
    banked = bank(node, weight)
    assert banked.shape[-1] == n
    np.testing.assert_array_equal(unbank(node, banked), weight)
    if role == "spatial":
        np.testing.assert_array_equal(banked[3, 1, 2], weight[3, :, :, 1, 2].reshape(-1))
    else:
        np.testing.assert_array_equal(banked[3, 2], weight[3, :, 2])


def test_map_and_names():
    node = BiSE(jnp.ones((2, 1)), jnp.ones(1), jnp.ones(1), spec_for("dense"))
    tree = {"a": [node, 4.0], "b": {"c": node, "d": jnp.ones(2)}}
    assert sorted(named_nodes(tree)) == ["a/0", "b/c"]
    doubled = map_nodes(lambda n, m: n.weight + m.weight, tree, tree)
    assert doubled["a"][1] == 4.0
    np.testing.assert_array_equal(doubled["b"]["c"], 2 * node.weight)


SPATIAL = BiSE(jnp.ones((3, 3, 2, 1)), jnp.ones((2, 1)), jnp.ones((2, 1)), spec_for("spatial"))
LUI = BiSE(jnp.ones((2, 3)), jnp.ones(3), jnp.ones(3), spec_for("lui"))
BITS = BinaryBiSE(jnp.ones((2, 1), bool), jnp.ones(1, bool), jnp.ones(1, bool), spec_for("dense"))


def changed(node, **arrays):
    return BiSE(
        **({"weight": node.weight, "bias": node.bias, "scale": node.scale} | arrays), spec=node.spec
    )


@pytest.mark.parametrize(
    "node, x, argument",
    [
        pytest.param(SPATIAL, jnp.ones((8, 8, 2)), "x", id="rank"),
        pytest.param(SPATIAL, jnp.ones((1, 8, 8, 3)), "x", id="channels"),
        pytest.param(SPATIAL, jnp.ones((1, 8, 8, 2), bool), "x", id="bool to real"),
        pytest.param(SPATIAL, jnp.ones((1, 8, 8, 2), int), "x", id="int to real"),
        pytest.param(LUI, jnp.ones((5, 3, 2)), "x", id="lui channels"),
        pytest.param(LUI, jnp.ones(3), "x", id="lui rank"),
        pytest.param(BITS, jnp.ones((1, 2)), "x", id="float to binary"),
        pytest.param(BITS, jnp.ones((1, 3), bool), "x", id="binary channels"),
        pytest.param(
            changed(SPATIAL, weight=jnp.ones((3, 2))),
            jnp.ones((1, 8, 8, 2)),
            "node.weight",
            id="weight rank",
        ),
        pytest.param(
            changed(SPATIAL, bias=jnp.ones(2)), jnp.ones((1, 8, 8, 2)), "node.bias", id="bias"
        ),
        pytest.param(
            changed(SPATIAL, scale=jnp.ones(())), jnp.ones((1, 8, 8, 2)), "node.scale", id="scale"
        ),
    ],
)
def test_bad_input(node, x, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: expected .+, got"):
        apply(node, x)


@pytest.mark.parametrize(
    "option, value",
    [
        ("role", "conv"),
        ("weight_map", "softplus"),
        ("bias_map", "free"),
        ("threshold", "relu"),
        ("border", "reflect"),
    ],
)
def test_unknown_options_of_a_spec(option, value):
    with pytest.raises(ValueError, match=f"^{option}: expected one of .+ got '{value}'"):
        Spec(**{option: value})


@pytest.mark.parametrize("options", [{"weight_map": "identity"}, {"symmetric": True}])
def test_maps_that_do_not_go_together(options):
    for bias_map in ("positive", "interval_projected", "interval_reparametrised"):
        with pytest.raises(ValueError, match=r"^bias_map: expected 'raw' or 'centred'"):
            Spec(bias_map=bias_map, **options)
        assert Spec(bias_map="raw", **options).bias_map == "raw"


def test_union_pool_refuses():
    with pytest.raises(ValueError, match=r"^x: expected shape \(batch, H, W, channels\)"):
        union_pool(jnp.ones((8, 8, 1)), window=(2, 2))
