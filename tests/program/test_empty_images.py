"""Images without rows, columns or a batch: empty results of the same shape, whatever the border."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.random_programs import classifier

import morphax
from morphax import binarize, program
from morphax.export.c_source.write import c
from morphax.morphology import operators
from morphax.morphology.shift import BORDERS
from morphax.neurons import models
from morphax.packed import pixels
from morphax.specialized.compiler import specialize_program

EMPTY = [(0, 5), (5, 0), (0, 0), (2, 0, 40), (2, 40, 0), (0, 4, 40)]
NAMES = ("erosion", "dilation", "opening", "closing", "white_top_hat", "black_top_hat")
SELEM = np.array([[0, 1, 1], [0, 1, 0], [1, 0, 0]], bool)

each_border = pytest.mark.parametrize("border", BORDERS)


@each_border
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_operators(shape, border):
    for dtype in (bool, np.uint32):
        for selem in (SELEM, jnp.asarray(SELEM)):
            for name in (*NAMES, "hit_or_miss"):
                for image in (np.zeros(shape, dtype), jnp.zeros(shape, dtype)):
                    result = getattr(operators, name)(image, selem, border=border)
                    assert (result.shape, result.dtype) == (shape, dtype), name
    one = lambda image: operators.opening(image, SELEM, border=border)  # noqa: E731
    assert jax.jit(one)(jnp.zeros(shape, bool)).shape == shape
    assert jax.vmap(one)(jnp.zeros((3, *shape), bool)).shape == (3, *shape)


@each_border
def test_operators_still_check_their_arguments(border):
    image = np.zeros((0, 5), bool)
    with pytest.raises(ValueError, match="selem: expected no empty axis"):
        operators.erosion(image, np.ones((0, 3), bool), border=border)
    with pytest.raises(ValueError, match="border"):
        operators.erosion(image, SELEM, border="mirror")
    with pytest.raises(ValueError, match="image"):
        operators.erosion(np.zeros((0, 5)), SELEM, border=border)


@each_border
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_operators_on_words_of_pixels(shape, border):
    width = shape[-1]
    for images in (np.zeros(shape, bool), jnp.zeros(shape, bool)):
        words = pixels.pack_pixels(images)
        assert (words.shape, words.dtype) == ((*shape[:-1], -(-width // 32)), np.uint32)
        assert pixels.unpack_pixels(words, width=width).shape == shape
    for name in (*NAMES, "hit_or_miss"):
        result = getattr(pixels, name)(words, SELEM, width=width, border=border)
        assert (result.shape, result.dtype) == (words.shape, np.uint32), name


SHAPES = [(2, 0, 8, 1), (2, 8, 0, 1), (1, 0, 0, 1)]


@pytest.mark.first(1)
@pytest.mark.parametrize(
    "shape, border",
    [*(((0, 8, 8, 1), border) for border in BORDERS), *((shape, "ignore") for shape in SHAPES)],
    ids=str,
)
def test_networks_programs_and_compiled_programs(shape, border):
    params = models.init_bimonn(jax.random.key(0), [1, 3, 2], kernel_size=3, border=border)
    binary, expected = binarize(params), (*shape[:-1], 2)
    x = np.zeros(shape, bool)
    assert models.bimonn(params, jnp.asarray(x, jnp.float32)).shape == expected
    assert models.bimonn(binary, jnp.asarray(x)).shape == expected
    assert models.bimonn(binary, jnp.zeros(shape, jnp.uint32)).shape == expected
    assert morphax.unpack(morphax.pack(x), count=len(x)).shape == shape
    total = lambda params: models.bimonn(params, jnp.zeros(shape)).sum()  # noqa: E731
    gradients = jax.tree.leaves(jax.grad(total)(params))
    assert all(np.isfinite(gradient).all() for gradient in gradients)

    net = program.build(models.bimonn, binary, (1, *shape[1:]))
    for form in (net, program.simplify(net)):
        result = program.run(form, x)
        assert (result.shape, result.dtype) == (expected, bool)
    for layout in ("batch", "pixels"):
        result = specialize_program(net, layout=layout)(x)
        assert (result.shape, result.dtype) == (expected, bool), layout


def test_an_empty_batch_of_counts():
    """Programs of every kind of op: pools, moved pixels, counts."""
    net = classifier(np.random.default_rng(2), (6, 8), classes=3, per=5)
    x = np.zeros((0, 6, 8, 2), bool)
    for form in (net, program.simplify(net)):
        result = program.run(form, x)
        assert (result.shape, result.dtype) == ((0, 3), np.int32)
    for words in (x, jnp.zeros((0, 6, 8, 2), jnp.uint32)):
        result = specialize_program(net)(words)
        assert (result.shape, result.dtype) == ((0, 3), np.int32)


@pytest.mark.parametrize("dtype", [bool, np.uint32, np.float32])
def test_an_empty_batch_through_dense_layers(dtype):
    spec = morphax.Spec("dense", border="ignore")
    node = morphax.BinaryBiSE(np.ones((8, 6), bool), np.arange(6) % 2 == 0, np.zeros(6, bool), spec)
    images = jnp.zeros((0, 2, 2, 2), dtype)
    features = morphax.flatten(images)
    assert features.shape == (0, 8)
    pooled = morphax.union_pool(images, window=(2, 2))
    assert pooled.shape == (0, 1, 1, 2)
    if dtype != np.float32:
        result = morphax.apply(node, features)
        assert (result.shape, result.dtype) == ((0, 6), dtype)


@each_border
@pytest.mark.parametrize("shape", [(1, 0, 8, 1), (1, 8, 0, 1), (0, 8, 8, 1)], ids=str)
def test_no_certificate_without_pixels(shape, border):
    params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3, border=border)
    with pytest.raises(ValueError, match="input_shape: expected an image or more, with pixels"):
        morphax.certify_network(models.bimonn, params, shape)


@each_border
@pytest.mark.parametrize("layout", ["batch", "pixels"])
def test_no_code_for_a_size_without_pixels(layout, border):
    """C is written for a size (the pixel layout runs on any other, `tests/export/test_c.py`)."""
    params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3, border=border)
    net = program.build(models.bimonn, binarize(params), (1, 0, 8, 1))
    with pytest.raises(ValueError, match=r"ops\[0\].shape: expected a list of integers from 1"):
        c(net, layout=layout)
