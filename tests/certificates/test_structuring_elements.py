"""Textbook structuring elements of certified neurons, and the shapes that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import image_oracle as oracle
from helpers.networks import dense_bank
from helpers.neuron_oracle import DILATION, EROSION

import morphax
from morphax import binarize
from morphax.neurons.nodes import BiSE, Spec

certify = jax.jit(morphax.certify)
run = jax.jit(morphax.apply)


def asymmetric(rng, shape):
    """A window that differs from its reflection, of every orientation."""
    while True:
        window = rng.random(shape) < 0.35
        if window.sum() > 1 and (window != window[::-1, ::-1]).any():
            return window


def spatial_bank(rng, border, window=(3, 5), channels=(2, 3)):
    """A certified bank and the windows it looks at, (kh, kw, in, out); half of it erosions."""
    weight, bias = np.zeros((*window, *channels)), np.zeros(channels)
    selem = np.zeros(weight.shape, bool)
    erosion = np.arange(np.prod(channels)).reshape(channels) % 2 == 0
    for index in np.ndindex(*channels):
        selem[(..., *index)] = asymmetric(rng, window)
        w = np.where(
            selem[(..., *index)], rng.uniform(0.9, 1.1, window), rng.uniform(-0.01, 0.01, window)
        )
        weight[(..., *index)] = w
        bias[index] = np.maximum(w, 0).sum() - 0.4 if erosion[index] else 0.4
    node = BiSE(
        jnp.asarray(weight, jnp.float32),
        jnp.asarray(bias, jnp.float32),
        jnp.full(channels, 20.0),
        Spec("spatial", "identity", "raw", border=border),
    )
    return node, selem, erosion


@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
def test_textbook_structuring_elements_reproduce_the_neurons(border, rng):
    node, selem, erosion = spatial_bank(rng, border)
    certificate = certify(node)
    assert certificate.exact.all()
    np.testing.assert_array_equal(certificate.selem, selem)
    binary = binarize(node)
    images = rng.random((4, 11, 16, 2)) < rng.random((4, 1, 1, 1))
    output = np.asarray(run(node, jnp.asarray(images, jnp.float32))) > 0.5
    np.testing.assert_array_equal(output, run(binary, jnp.asarray(images)))
    for i, o in np.ndindex(2, 3):
        textbook = np.asarray(morphax.structuring_element(certificate, i, o))
        np.testing.assert_array_equal(textbook, morphax.structuring_element(binary, i, o))
        operator = oracle.erosion if erosion[i, o] else oracle.dilation
        for image, result in zip(images, output, strict=True):
            np.testing.assert_array_equal(
                result[..., i, o], operator(image[..., i], textbook, border)
            )


def test_structuring_element_refuses():
    node, _, _ = spatial_bank(np.random.default_rng(0), "ignore")
    certificate = certify(node)
    for index in [(2, 0), (0, 3), (-1, 0)]:
        with pytest.raises(ValueError, match="index"):
            morphax.structuring_element(certificate, *index)
    with pytest.raises(ValueError, match="index"):
        morphax.structuring_element(certificate, 0)
    with pytest.raises(ValueError, match="found"):
        morphax.structuring_element(morphax.certify_neurons(jnp.ones(3), jnp.array(0.5)), 0, 0)


@pytest.mark.parametrize(
    "weights, bias, argument",
    [
        (jnp.ones((2, 3)), jnp.ones(3), "bias"),
        (jnp.ones((2, 3)), jnp.ones(()), "bias"),
        (jnp.ones((2, 0)), jnp.ones(2), "weights"),
        (jnp.ones(()), jnp.ones(()), "weights"),
    ],
)
def test_shapes_that_do_not_fit(weights, bias, argument):
    with pytest.raises(ValueError, match=f"^{argument}: expected"):
        morphax.certify_neurons(weights, bias)


def test_certify_keeps_the_tree():
    node = dense_bank(np.ones((2, 3)), [0.5, 2.5], [1, 1])
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), node)
    found = morphax.certify({"a": [node], "b": stacked, "step": 3})
    assert found["step"] == 3
    assert found["a"][0].selem.shape == node.weight.shape
    assert found["b"].selem.shape == (4, 3, 2)
    assert found["b"].exact.shape == (4, 2)
    assert found["a"][0].operation.tolist() == [DILATION, EROSION]


@pytest.mark.parametrize("field", ["weight", "bias", "scale"])
def test_complex_parameters_are_refused(field):
    """Found by fuzzing: JAX's own errors came from the depths, or none came."""
    arrays = {"weight": np.ones((3, 2)), "bias": np.ones(2), "scale": np.ones(2)}
    arrays[field] = arrays[field].astype(np.complex64)
    node = morphax.BiSE(**arrays, spec=Spec("dense", "identity", "raw"))
    uses = (
        lambda: morphax.certify(node),
        lambda: morphax.certify([node]),
        lambda: morphax.binarize([node]),
        lambda: morphax.apply(node, np.ones((4, 3), np.float32)),
        lambda: morphax.summary([node]),
    )
    for use in uses:
        with pytest.raises(ValueError, match=rf"{field}: expected real numbers, got .*complex64"):
            use()
