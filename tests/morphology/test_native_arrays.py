"""Arrays that numpy allows and JAX does not expect: bools of other bytes, other byte orders."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import morphax
from morphax import levelsets, models, operators, program
from morphax.morphology import bit_arrays, contrast, elements
from morphax.packed import pixels
from morphax.training import fit

SHAPE = (3, 9, 33, 1)
GOOD = np.random.default_rng(0).random(SHAPE) < 0.5


def odd_bools(bits, byte=255):
    """Return the same bools, true ones with another byte than 1."""
    odd = np.where(bits, np.uint8(byte), np.uint8(0)).view(bool)
    assert (odd == bits).all()
    assert odd.view(np.uint8).max() == byte
    return odd


def swapped(array):
    """Return the same numbers in the byte order of other machines."""
    array = np.asarray(array)
    other = array.astype(array.dtype.newbyteorder(">" if np.little_endian else "<"))
    assert not other.dtype.isnative
    return other


def params():
    return models.init_bimonn(jax.random.key(0), [1, 2, 1], kernel_size=3)


def binary():
    return morphax.binarize(params())


BOOLS = {
    "apply": lambda x: models.bimonn(binary(), x),
    "complement": morphax.complement,
    "union_pool": lambda x: morphax.union_pool(x, window=(2, 2)),
    "group_sum": lambda x: morphax.group_sum(x[..., 0], classes=3),
    "pack": morphax.pack,
    "pack_pixels": lambda x: pixels.pack_pixels(x[..., 0]),
    "erosion": lambda x: operators.erosion(x[..., 0], elements.disk(3)),
    "white_top_hat": lambda x: operators.white_top_hat(x[..., 0], elements.square(3)),
    "selem": lambda x: operators.dilation(GOOD[..., 0], x[0, :, :9, 0]),
    "program.run": lambda x: program.run(program.build(models.bimonn, binary(), SHAPE), x),
    "Archive.run": lambda x: morphax.Archive(
        program.build(models.bimonn, binary(), SHAPE), None
    ).run(x),
    "specialize": lambda x: morphax.specialize(models.bimonn, binary(), SHAPE)(x),
    "fit": lambda x: fit(
        jax.random.key(0), models.bimonn, params(), (x, x), valid=(x, x), steps=2, log_every=2,
        batch_size=2, optimizer=optax.sgd(0.1),
    ).state.params[0]["bise"].weight,
}  # fmt: skip


@pytest.mark.first(10)
@pytest.mark.parametrize("name", BOOLS)
def test_bools_of_other_bytes_are_bools(name):
    found, expected = (np.asarray(BOOLS[name](x)) for x in (odd_bools(GOOD), GOOD))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.view(np.uint8), expected.view(np.uint8))


def test_bools_of_a_one_bit_image_are_packed_rightly():
    image = Image.fromarray(np.where(GOOD[0, ..., 0], np.uint8(255), np.uint8(0))).convert("1")
    words = morphax.pack(np.asarray(image)[None])
    np.testing.assert_array_equal(words, morphax.pack(GOOD[:1, ..., 0]))


def test_the_two_bytes_of_the_issue():
    assert morphax.pack(np.frombuffer(b"\xff\x00", bool)).tolist() == [1]


@pytest.mark.parametrize("byte", [2, 128, 254])
def test_binary_params_of_other_bytes(byte):
    odd = jax.tree.map(lambda leaf: odd_bools(np.asarray(leaf), byte) if leaf.any() else leaf,
                       binary())  # fmt: skip
    np.testing.assert_array_equal(models.bimonn(odd, GOOD), models.bimonn(binary(), GOOD))


GRAY = np.random.default_rng(1).integers(0, 4000, SHAPE)


@pytest.mark.parametrize(
    "name, array",
    [
        ("levels of 16 bits", GRAY.astype(np.int16)),
        ("levels of 32 bits", GRAY.astype(np.uint32)),
        ("levels of floats", GRAY.astype(np.float32)),
        ("contrast", GRAY.astype(np.uint16)),
        ("words", np.asarray(morphax.pack(GOOD))),
        ("words of pixels", np.asarray(pixels.pack_pixels(GOOD[..., 0]))),
        ("operator on words", np.asarray(morphax.pack(GOOD))[..., 0]),
        ("network on words", np.asarray(morphax.pack(GOOD))),
        ("network", GRAY.astype(np.float32) / 4000),
        ("hit_or_miss", np.array([[-1, 1, 0]], np.int16)),
    ],
)
def test_numbers_of_other_machines(name, array):
    calls = {
        "contrast": lambda x: contrast.local_contrast(x, side=3),
        "words": lambda x: morphax.unpack(x, count=3),
        "words of pixels": lambda x: pixels.unpack_pixels(x, width=33),
        "operator on words": lambda x: operators.erosion(x, elements.disk(3)),
        "network on words": lambda x: models.bimonn(binary(), x),
        "network": lambda x: models.bimonn(params(), x),
        "hit_or_miss": lambda x: operators.hit_or_miss(GOOD[..., 0], x),
    }
    decompose = lambda x: levelsets.decompose(x, levelsets.thresholds(x, 4))  # noqa: E731
    call = calls.get(name, decompose)
    np.testing.assert_array_equal(call(swapped(array)), call(array))


@pytest.mark.slow
def test_params_of_other_machines():
    other = jax.tree.map(swapped, params())
    x = jnp.asarray(GOOD, jnp.float32)
    np.testing.assert_array_equal(models.bimonn(other, x), models.bimonn(params(), x))
    found, expected = (morphax.certify_network(models.bimonn, p, SHAPE) for p in (other, params()))
    assert bool(found.exact) == bool(expected.exact)
    np.testing.assert_array_equal(found.dead_zone[0], expected.dead_zone[0])
    jax.tree.map(np.testing.assert_array_equal, morphax.binarize(other), binary())
    assert str(morphax.summary(other)) == str(morphax.summary(params()))


def test_native_arrays_are_not_copied():
    for array in (GOOD, GRAY, GRAY.astype(np.float32)):
        assert bit_arrays.native(array) is array
    traced = jax.jit(lambda x: bit_arrays.native(x) + 1)(jnp.ones(2))
    assert traced.tolist() == [2, 2]
