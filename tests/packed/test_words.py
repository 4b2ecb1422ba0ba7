"""Words of 32 images: the same results as bool, bit for bit, in everything that takes bool."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.networks import built, built_bimonn, random_images, spec_for
from helpers.scanned import Deep
from hypothesis import given, settings
from hypothesis import strategies as st

import morphax
from morphax import binarize, pack, unpack
from morphax.layers import linen
from morphax.layers import nnx as layers
from morphax.morphology import operators
from morphax.neurons import models
from morphax.neurons.forward import apply, complement, concatenate, flatten, union_pool
from morphax.neurons.nodes import BinaryBiSE, Spec

BORDERS = ("ignore", "constant", "replicate")
COUNTS = (1, 31, 32, 33, 70)


def check_words(model, params, images):
    """One model on bool and on words of the same images."""
    expected = np.asarray(jax.jit(model)(params, jnp.asarray(images)))
    words = jax.jit(model)(params, pack(images))
    assert words.dtype == jnp.uint32
    np.testing.assert_array_equal(unpack(words, count=len(images)), expected)
    return expected


@pytest.mark.first(8)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("shape", [(), (3, 5), (2, 1, 4)])
def test_layout(shape, count, rng):
    images = rng.random((count, *shape)) < 0.5
    words = np.asarray(pack(images))
    assert words.dtype == np.uint32
    assert words.shape == (-(-count // 32), *shape)
    for j, i in np.ndindex(len(words), 32):
        bit = words[j] >> np.uint32(i) & np.uint32(1)
        image = images[32 * j + i] if 32 * j + i < count else np.zeros(shape)
        np.testing.assert_array_equal(bit, image)
    back = unpack(jnp.asarray(words), count=count)
    assert back.dtype == bool
    np.testing.assert_array_equal(back, images)
    np.testing.assert_array_equal(pack(jnp.asarray(images)), words)


def test_no_images_at_all():
    words = pack(np.zeros((0, 3), bool))
    assert words.shape == (0, 3)
    assert unpack(words, count=0).shape == (0, 3)


def test_packing_under_jit_and_vmap(rng):
    images = jnp.asarray(rng.random((4, 40, 3)) < 0.5)
    words = jax.jit(jax.vmap(pack))(images)
    for one, image in zip(words, images, strict=True):
        np.testing.assert_array_equal(one, pack(image))
    back = jax.jit(jax.vmap(lambda w: unpack(w, count=40)))(words)
    np.testing.assert_array_equal(back, images)


def test_words_of_64_images(rng):
    """Under x64 only: without it jax would cut them to 32 bits without a sound."""
    images, node = rng.random((70, 6)) < 0.5, random_binary(rng, (6, 4), "dense")
    with pytest.raises(ValueError, match=r"^dtype: expected uint32, or uint64 under"):
        pack(images, dtype=np.uint64)
    wide = np.full((2, 6), 1 << 63, np.uint64)
    for call in REFUSING.values():
        with pytest.raises(ValueError, match=r"uint32 words.*jax_enable_x64.* got 'dtype uint64'"):
            call(wide)
    with jax.enable_x64(True):
        words = pack(images, dtype=np.uint64)
        assert words.shape == (2, 6)
        assert words.dtype == np.uint64
        assert int(words[1, 0]) < 1 << 6
        found = unpack(apply(node, words), count=70)
        np.testing.assert_array_equal(
            morphax.group_sum(words, classes=2)[:70], images.reshape(70, 2, 3).sum(-1)
        )
    np.testing.assert_array_equal(found, apply(node, jnp.asarray(images)))


REFUSING = {
    "apply": lambda x: apply(random_binary(np.random.default_rng(0), (6, 4), "dense"), x),
    "complement": complement,
    "union_pool": lambda x: union_pool(x.reshape(1, 1, 2, 6), window=(1, 2)),
    "group_sum": lambda x: morphax.group_sum(x, classes=2),
    "predict": lambda x: morphax.predict(x, classes=2),
    "erosion": lambda x: morphax.erosion(x, np.ones((1, 3), bool)),
    "unpack": lambda x: unpack(x, count=40),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("name", REFUSING)
def test_integers_are_not_taken_for_words(name, dtype):
    """An image of bytes that comes by accident is an error that says what to do."""
    for x in (np.ones((2, 6), dtype), jnp.ones((2, 6), dtype)):
        with pytest.raises(ValueError, match=rf"uint32 words.*got 'dtype {np.dtype(dtype)}'"):
            REFUSING[name](x)


def test_words_are_no_floats():
    real = built(np.random.default_rng(0), (6, 4), spec_for("dense"))
    with pytest.raises(ValueError, match=r"^x: expected floats for real neurons"):
        apply(real, jnp.ones((2, 6), jnp.uint32))


WORDS = jnp.zeros((2, 3), jnp.uint32)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: pack(np.zeros((4, 3), np.uint8)), r"images: .*bool.*images > 0\.5.*uint8"),
        (lambda: pack(np.zeros((4, 3))), r"images: .*bool.*float64"),
        (lambda: pack(WORDS), r"images: .*bool.*uint32"),
        (lambda: pack(np.bool_(True)), r"images: expected a batch"),
        (lambda: pack(np.zeros((4, 3), bool), dtype=np.uint8), r"dtype: .*uint32.*'uint8'"),
        (lambda: unpack(WORDS, count=32), r"count: .*33 to 64 in 2 words, got 32"),
        (lambda: unpack(WORDS, count=65), r"count: .*33 to 64"),
        (lambda: unpack(WORDS, count=-1), r"count: .*33 to 64"),
        (lambda: unpack(WORDS, count=40.0), r"count: .*got 40\.0"),
        (lambda: unpack(WORDS[:0], count=1), r"count: .*0 to 0 in 0 words"),
        (lambda: unpack(WORDS > 0, count=40), r"words: .*uint32 words.*bool"),
        (lambda: unpack([1, 2], count=40), r"words: .*uint32 words.*list"),
        (lambda: unpack(WORDS[0, 0], count=1), r"words: expected a batch"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(
    "name",
    ["erosion", "dilation", "opening", "closing", "white_top_hat", "black_top_hat", "hit_or_miss"],
)
def test_operators(name, border, rng):
    images = random_images(rng, (33, 7, 9))
    selem = rng.random((3, 5)) < 0.4
    selem[0, 1] = True
    if name == "hit_or_miss":
        selem = np.array([[0, 0, 1, 0, -1], [0, 0, 1, 0, 0], [-1, 0, 0, 1, 0]])
    operator = getattr(operators, name)
    expected = np.asarray(operator(images, selem, border=border))
    assert expected.any()
    for window in (selem, jnp.asarray(selem)):
        words = operator(pack(images), window, border=border)
        np.testing.assert_array_equal(unpack(words, count=33), expected)


def random_binary(rng, shape, role, border="ignore"):
    """A binary bank of any sets, empty ones among them."""
    reduced = shape[2:] if role == "spatial" else shape[1:]
    selem = rng.random(shape) < 0.3
    selem[..., 0] = False
    bits = [jnp.asarray(rng.random(reduced) < 0.5) for _ in range(2)]
    return BinaryBiSE(jnp.asarray(selem), *bits, spec_for(role, border=border))


@pytest.mark.first(3)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("window", [(3, 5), (13, 11)])  # the second one is looped over rows
def test_windows_of_neurons(window, border, rng):
    node = random_binary(rng, (*window, 2, 3), "spatial", border)
    check_words(apply, node, random_images(rng, (35, 9, 8, 2)))


@pytest.mark.first(4)
@pytest.mark.parametrize("n", [1, 5, 16, 17, 50])
@pytest.mark.parametrize("role", ["lui", "dense"])
def test_unions_and_intersections(role, n, rng):
    node = random_binary(rng, (n, 7), role)
    shape = (40, 2, n, 7) if role == "lui" else (40, 2, n)
    check_words(
        apply, node, rng.random(shape) < rng.choice([0.05, 0.95], (40,) + (1,) * len(shape[1:]))
    )


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.data())
def test_bimonns(data):
    """Random networks, all roles: any border, window, size of image and number of images."""
    draw = data.draw
    seed = draw(st.integers(0, 1000))
    channels = draw(st.sampled_from([[1, 1], [1, 2, 1], [2, 3, 2]]))
    window = draw(st.sampled_from([(1, 3), (3, 3), (5, 3)]))
    border, symmetric = draw(st.sampled_from(BORDERS)), draw(st.booleans())
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    rng = np.random.default_rng(seed)
    params = built_bimonn(rng, channels, window=window, border=border, symmetric=symmetric)
    count = draw(st.integers(1, 70))
    check_words(models.bimonn, binarize(params), random_images(rng, (count, *size, channels[0])))


def classifier(params, x):
    """Everything that a model may be made of, the same line for floats, bool and words."""
    always = complement(jnp.zeros((*x.shape[:-1], 1), x.dtype))
    x = concatenate([x, complement(x), always])
    x = models.bisel(params["layer"], x)
    x = union_pool(x, window=(2, 3), strides=(2, 2))
    return apply(params["dense"], flatten(x)[:, ::-1])


def classifier_params(rng):
    return {
        "layer": built_bimonn(rng, [3, 4])[0],
        "dense": built(rng, (3 * 3 * 4, 12), spec_for("dense"), size=1.6, noise=0.005),
    }


def test_complements_constants_pools_and_dense(rng):
    params = classifier_params(rng)
    images = random_images(rng, (45, 6, 7, 1))
    expected = check_words(classifier, binarize(params), images)
    assert 0.03 < expected.mean() < 0.97
    assert bool(morphax.certify_network(classifier, params, (1, 6, 7, 1)).exact)
    real = jax.jit(classifier)(params, jnp.asarray(images, jnp.float32))
    np.testing.assert_array_equal(np.asarray(real) > 0.5, expected)


def test_linen_and_nnx(rng):
    """The same model code: `model.apply({"params": binary}, words)`."""
    channels = (2, 3, 1)
    params = built_bimonn(rng, channels)
    binary = binarize(params)
    images = random_images(rng, (37, 6, 5, 2))
    expected = check_words(models.bimonn, binary, images)
    model = linen.BiMoNN(channels, kernel_size=3)
    tree = {f"layers_{i}": layer for i, layer in enumerate(binary)}
    found = jax.jit(model.apply)({"params": tree}, pack(images))
    np.testing.assert_array_equal(unpack(found, count=37), expected)
    module = layers.BiMoNN(list(channels), kernel_size=3, rngs=nnx.Rngs(0))
    for layer, nodes in zip(module.layers, binary, strict=True):
        for name, node in nodes.items():
            getattr(layer, name).set_value(node)
    found = nnx.jit(lambda m, x: m(x))(module, pack(images))
    np.testing.assert_array_equal(unpack(found, count=37), expected)


def test_scanned_layers(rng):
    model = Deep()
    init = binarize(model.init(jax.random.key(0), jnp.zeros((1, 9)))["params"])
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.random(leaf.shape) < 0.3), init)
    check_words(lambda p, x: model.apply({"params": p}, x), params, random_images(rng, (50, 9)))


def test_many_networks_at_once(rng):
    """vmap over a stack of networks, and over words that are stacked themselves."""
    node = random_binary(rng, (3, 3, 2, 3), "spatial")
    dense = random_binary(rng, (6, 4), "dense")
    images = random_images(rng, (40, 5, 6, 2))
    stack = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[..., ::-1], ~leaf]), node)
    found = jax.jit(jax.vmap(apply, (0, None)))(stack, pack(images))
    for i, words in enumerate(found):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], stack)
        np.testing.assert_array_equal(unpack(words, count=40), apply(one, jnp.asarray(images)))
    groups = rng.random((3, 40, 6)) < 0.5
    found = jax.jit(jax.vmap(lambda x: complement(apply(dense, x))))(jax.vmap(pack)(groups))
    for words, bits in zip(found, groups, strict=True):
        np.testing.assert_array_equal(
            unpack(words, count=40), ~np.asarray(apply(dense, jnp.asarray(bits)))
        )
    pools = jax.vmap(lambda x: union_pool(x, window=(2, 2)))(pack(images)[None])
    expected = union_pool(jnp.asarray(images), window=(2, 2))
    np.testing.assert_array_equal(unpack(pools[0], count=40), expected)


def test_complement_fills_the_last_word():
    """Why `unpack` is told the count: what no image is in turns to 1."""
    words = complement(pack(np.zeros((3, 1), bool)))
    assert int(words[0, 0]) == 0xFFFFFFFF
    assert unpack(words, count=3).tolist() == [[True]] * 3


def test_the_spec_travels(rng):
    """Border "replicate" and "ignore" differ on words as they do on bool."""
    node = random_binary(rng, (3, 3, 1, 2), "spatial", "replicate")
    images = random_images(rng, (40, 6, 6, 1))
    other = dataclasses.replace(node, spec=Spec(**{**vars(node.spec), "border": "ignore"}))
    assert (check_words(apply, node, images) != check_words(apply, other, images)).any()
