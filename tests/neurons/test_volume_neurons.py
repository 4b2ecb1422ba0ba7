"""Neurons of rows and volumes, and windows of even sides, against scipy and by exhaustion."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.networks import built
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import morphax
from morphax import BinaryBiSE, BiSE, Spec, apply, models
from morphax.certificates.neuron import certify_node
from morphax.layers import linen as layers_linen
from morphax.layers import nnx as layers_nnx
from morphax.morphology.shift import BORDERS
from morphax.program.trace import trace

# Windows of one to three axes, even and odd, with images that are no squares or cubes.
SHAPES = [
    ((3, 3, 3), (5, 4, 6)),
    ((2, 3, 4), (4, 5, 6)),
    ((5,), (9,)),
    ((4,), (7,)),
    ((2, 4), (5, 7)),
]
seeds = st.integers(0, 2**32 - 1)
run = jax.jit(apply)
run_network = jax.jit(models.bimonn)


def spatial(**options):
    return Spec("spatial", "identity", "raw", **options)


def random_binary(rng, window, border="ignore"):
    """Return two windows on one channel: an erosion and a dilation, neither empty."""
    selem = rng.random((*window, 1, 2)) < 0.4
    selem[(0,) * len(window)] = True
    bits = jnp.array([[True, False]]), jnp.asarray(rng.random((1, 2)) < 0.5)
    return BinaryBiSE(jnp.asarray(selem), *bits, Spec(border=border))


def with_scipy(node, x, border):
    """Compute what a binary bank of one channel computes, by `scipy.ndimage`."""
    maps = []
    for o in range(2):
        selem = np.asarray(morphax.structuring_element(node, 0, o))
        erosion = bool(node.erosion[0, o])
        origin = [0 if erosion or side % 2 else -1 for side in selem.shape]
        result = []
        for image in np.asarray(x)[..., 0]:
            inside = tuple(slice(s, s + n) for s, n in zip(selem.shape, image.shape, strict=True))
            if border == "replicate":
                image = np.pad(image, [(s, s) for s in selem.shape], mode="edge")
            f = ndimage.binary_erosion if erosion else ndimage.binary_dilation
            beyond = int(erosion and border == "ignore")
            y = f(image, selem, origin=origin, border_value=beyond)
            result.append((y[inside] if border == "replicate" else y) ^ bool(node.complement[0, o]))
        maps.append(np.stack(result))
    return np.stack(maps, -1)


@pytest.mark.parametrize("window, frame", SHAPES)
@settings(max_examples=6, deadline=None)
@given(seed=seeds, border=st.sampled_from(BORDERS))
def test_binary_neurons_are_those_of_scipy(window, frame, seed, border):
    """The window that a neuron looks at has its origin where erosions of scipy have it; the set
    that `structuring_element` returns is moved by one pixel along even sides of dilations."""
    rng = np.random.default_rng(seed)
    node = random_binary(rng, window, border)
    x = jnp.asarray(rng.random((3, *frame, 1)) < 0.5)
    expected = with_scipy(node, x, border)
    np.testing.assert_array_equal(run(node, x)[..., 0, :], expected)
    words = morphax.unpack(run(node, morphax.pack(x)), count=3)
    np.testing.assert_array_equal(words[..., 0, :], expected)


@pytest.mark.parametrize("window, frame", SHAPES)
@settings(max_examples=3, deadline=None)
@given(seed=seeds, border=st.sampled_from(("constant", "replicate")))
def test_real_neurons_correlate_as_scipy_does(window, frame, seed, border):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(*window, 2, 3)).astype(np.float32)
    bias, scale = rng.normal(size=(2, 2, 3)).astype(np.float32)
    x = rng.random((2, *frame, 2)).astype(np.float32)
    node = BiSE(*map(jnp.asarray, (weight, bias, scale)), spatial(border=border))
    mode = "nearest" if border == "replicate" else "constant"
    result = run(node, jnp.asarray(x))
    for i, o in itertools.product(range(2), range(3)):
        total = [ndimage.correlate(v, weight[..., i, o], mode=mode) for v in x[..., i]]
        expected = np.tanh(scale[i, o] * (np.stack(total) - bias[i, o])) / 2 + 0.5
        np.testing.assert_allclose(result[..., i, o], expected, atol=1e-5)


def test_certificates_of_all_inputs_of_cubes_of_two():
    """On 2x2x2 windows all 256 inputs are tried: a neuron is certified just if it is an erosion or
    dilation on all of them, and then the binary neuron equals it, on the frame too."""
    rng = np.random.default_rng(0)
    inputs = np.array(list(itertools.product([False, True], repeat=8)))
    weight = rng.normal(0.4, 0.5, (2, 2, 2, 1, 300)).astype(np.float32)
    flat = weight.reshape(8, 300)
    selem = rng.random((8, 300)) < 0.4  # half of the neurons are near an operation
    near = selem + 0.1 * rng.normal(size=(8, 300))
    flat[:, ::2] = near[:, ::2]
    share = rng.random((1, 300))
    low, high = np.minimum(flat, 0).sum(0), np.maximum(flat, 0).sum(0)
    bias = (low + share * (high - low)).astype(np.float32)
    node = BiSE(jnp.asarray(weight), jnp.asarray(bias), jnp.full((1, 300), 20.0), spatial())
    certificate = morphax.certify(node)
    # A function is a dilation if it is the union of the inputs that it answers alone.
    above = inputs.astype(float) @ flat.astype(float) > bias.astype(float)
    units = inputs.sum(1) == 1
    order = inputs[units].argmax(1)
    alone = np.zeros((8, 300), bool)
    alone[order] = above[units]
    missing = inputs.sum(1) == 7
    needed = np.zeros((8, 300), bool)
    needed[(~inputs[missing]).argmax(1)] = ~above[missing]
    dilation = (inputs.astype(int) @ alone.astype(int) > 0) == above
    erosion = ((~inputs).astype(int) @ needed.astype(int) == 0) == above
    is_operation = (dilation.all(0) & alone.any(0)) | (erosion.all(0) & needed.any(0))
    exact = np.asarray(certificate.exact)[0]
    np.testing.assert_array_equal(exact, is_operation)
    assert 30 < exact.sum() < 270
    # All inputs fill the one window that lies inside; the others see the frame.
    x = inputs.reshape(256, 2, 2, 2, 1)
    real = run(node, jnp.asarray(x, jnp.float32)) > 0.5
    np.testing.assert_array_equal(real[:, 1, 1, 1, 0], above)
    binary = run(morphax.binarize(node), jnp.asarray(x))
    np.testing.assert_array_equal(np.asarray(binary)[..., exact], np.asarray(real)[..., exact])


@pytest.mark.parametrize("window", [(3, 3, 3), (8,)])
def test_certificates_and_projections_do_not_see_the_window(window):
    """A spatial bank gets what a flat bank with the same weights gets."""
    rng = np.random.default_rng(1)
    weight = rng.normal(0.3, 0.4, (*window, 2, 10)).astype(np.float32)
    bias = rng.normal(1.5, 1, (2, 10)).astype(np.float32)
    node = BiSE(jnp.asarray(weight), jnp.asarray(bias), jnp.full((2, 10), 5.0), spatial())
    flat = Spec("dense", "identity", "raw")
    dense = BiSE(weight.reshape(-1, 20), bias.reshape(20), jnp.full(20, 5.0), flat)
    one, other = certify_node(node)[0], certify_node(dense)[0]
    np.testing.assert_array_equal(one.exact.reshape(20), other.exact)
    np.testing.assert_array_equal(one.margin.reshape(20), other.margin)
    np.testing.assert_array_equal(one.selem.reshape(-1, 20), other.selem)
    one, other = morphax.binarize(node), morphax.binarize(dense)
    np.testing.assert_array_equal(one.selem.reshape(-1, 20), other.selem)
    np.testing.assert_array_equal(one.erosion.reshape(20), other.erosion)
    again = morphax.binarize(morphax.realize(one))
    np.testing.assert_array_equal(again.selem, one.selem)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(seed=seeds, border=st.sampled_from(BORDERS))
def test_certified_networks_of_volumes_equal_their_binary_ones(seed, border):
    """Two BiSELs of 3x3x3 windows, on random binary volumes."""
    rng = np.random.default_rng(seed)
    layers = [
        {"bise": built(rng, (3, 3, 3, 1, 2), spatial(border=border), size=4)},
        {
            "bise": built(rng, (3, 3, 3, 2, 1), spatial(border=border), size=4),
            "lui": built(rng, (2, 1), Spec("lui", "identity", "raw")),
        },
    ]
    x = rng.random((2, 5, 4, 6, 1)) < 0.5
    assert morphax.certify_network(models.bimonn, layers, (1, 5, 4, 6, 1)).exact
    real = run_network(layers, jnp.asarray(x, jnp.float32)) > 0.5
    np.testing.assert_array_equal(real, run_network(morphax.binarize(layers), jnp.asarray(x)))


@pytest.mark.slow
def test_models_and_layers_take_rows_and_volumes():
    key, volume, row = jax.random.key(0), jnp.zeros((2, 6, 5, 4, 1)), jnp.zeros((2, 9, 2))
    params = jax.eval_shape(lambda: models.init_bimonn(key, [1, 2, 1], kernel_size=3, axes=3))
    assert jax.eval_shape(models.bimonn, params, volume).shape == (2, 6, 5, 4, 1)
    assert models.reach([1, 2, 1], kernel_size=3, axes=3) == (2, 2, 2)
    union = jax.eval_shape(lambda: models.init_hit_or_misses(key, 2, 3, kernel_size=5, axes=1))
    assert jax.eval_shape(models.hit_or_misses, union, row).shape == (2, 9, 1)
    model = layers_nnx.BiMoNN([1, 2, 1], kernel_size=3, axes=3, rngs=nnx.Rngs(0))
    nnx.update(model, morphax.binarize(nnx.state(model, nnx.Param)))
    assert jax.eval_shape(model, volume > 0.5).dtype == bool
    shell = layers_linen.BiSEL(3, kernel_size=(2, 3, 3))
    assert jax.eval_shape(shell.init_with_output, key, volume)[0].shape == (2, 6, 5, 4, 3)
    pooled = morphax.union_pool(volume, window=(2, 1, 2))
    assert pooled.shape == (2, 3, 5, 2, 1)


def test_stacks_of_banks_of_images_are_no_banks_of_volumes():
    """The bias tells a stack from a window of three axes."""
    stack = built(np.random.default_rng(0), (3, 3, 1, 2), spatial(), stack=(4,))
    volumes = built(np.random.default_rng(0), (4, 3, 3, 1, 2), spatial())
    assert stack.weight.shape == volumes.weight.shape
    assert morphax.certify(stack).exact.shape == (4, 1, 2)
    assert morphax.certify(volumes).exact.shape == (1, 2)
    mapped = jax.vmap(apply, in_axes=(0, None))(stack, jnp.zeros((2, 5, 5, 1)))
    assert mapped.shape == (4, 2, 5, 5, 1, 2)
    over_weights = BiSE(0, None, None, stack.spec)
    alone = BiSE(volumes.weight, volumes.bias, volumes.scale, stack.spec)

    def model(node, x):
        return jax.vmap(apply, in_axes=(over_weights, None))(node, x)

    with pytest.raises(ValueError, match=r"expected morphax\.apply on stored nodes"):
        trace(model, alone, (2, 5, 5, 1))


ones = jnp.ones
WRONG = [
    (
        lambda: apply(
            BiSE(ones((3,) * 4 + (1, 1)), ones((1, 1)), ones((1, 1)), Spec()), ones((1,) * 6)
        ),
        r"node.weight: expected windows of one to three axes",
    ),
    (
        lambda: apply(
            BiSE(ones((3, 3, 3, 1, 1)), ones((1, 1)), ones((1, 1)), Spec()), ones((2, 5, 5, 1))
        ),
        r"x: expected shape \(batch, D, H, W, in\), got",
    ),
    (
        lambda: apply(
            BiSE(ones((3, 0, 1, 1)), ones((1, 1)), ones((1, 1)), Spec()), ones((2, 5, 5, 1))
        ),
        r"node.weight: expected windows without empty sides",
    ),
    (lambda: models.window(3, axes=4), "axes: expected 1, 2 or 3, got 4"),
    (lambda: models.window((3, 3, 3, 3)), "kernel_size: expected a positive side, or one to"),
    (lambda: models.window(0), "kernel_size: expected a positive side"),
    (
        lambda: models.init_bimonn(jax.random.key(0), [1, 1, 1], kernel_size=[3, (3, 3, 3)]),
        "kernel_size: expected windows of one number of axes",
    ),
    (
        lambda: morphax.union_pool(ones((1, 4, 4, 1)), window=(2, 2, 2)),
        r"x: expected shape \(batch, D, H, W, channels\)",
    ),
    (
        lambda: morphax.union_pool(ones((1, 4, 4, 1)), window=(2, 2), strides=(1,)),
        "strides: expected 2 steps",
    ),
]


@pytest.mark.parametrize("call, message", WRONG)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
