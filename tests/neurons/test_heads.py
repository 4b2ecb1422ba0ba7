"""Heads and bit-sliced counters against sums, comparisons and arg-maxima of unpacked bits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import built, built_bimonn, random_images, spec_for

import morphax
from morphax import binarize, group_sum, linear_head, pack, predict
from morphax.neurons.forward import apply, complement, concatenate, flatten
from morphax.packed import counters

count, greater = jax.jit(counters.count), jax.jit(counters.greater)
argmax, numbers = jax.jit(counters.argmax), jax.jit(counters.numbers)


def planes_of(values, size):
    """Planes of integers `(images, ...)`, by definition."""
    return jnp.stack([pack(values >> j & 1 == 1) for j in range(size)])


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 8, 33])
def test_counters_count(n, rng):
    """Every density, so that every plane is used: up to all n."""
    bits = rng.random((70, 3, n)) < np.linspace(0, 1, 70)[:, None, None]
    planes = count(pack(bits))
    assert planes.shape == (n.bit_length(), 3, 3)
    found = numbers(planes)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found[:70], bits.sum(-1))
    assert not found[70:].any()


def test_counters_count_exhaustively():
    bits = np.array(list(itertools.product([False, True], repeat=9)))
    np.testing.assert_array_equal(numbers(count(pack(bits))), bits.sum(-1))


def test_no_words_are_a_count_of_zero():
    assert numbers(counters.count(jnp.zeros((1, 0), jnp.uint32))).tolist() == [0] * 32


def test_greater_exhaustively():
    a, b = np.array(list(itertools.product(range(8), repeat=2))).T
    found = greater(planes_of(a, 3), planes_of(b, 3))
    np.testing.assert_array_equal(morphax.unpack(found, count=64), a > b)


@pytest.mark.first(3)
@pytest.mark.parametrize("classes", [1, 2, 3, 5, 8])
def test_argmax_with_ties(classes, rng):
    """Of equals the first, as `jnp.argmax`: small scores, so that ties abound."""
    scores = rng.integers(0, 4, (200, classes))
    planes = argmax(planes_of(scores, 3))
    assert planes.shape == (max((classes - 1).bit_length(), 1), 7)
    np.testing.assert_array_equal(numbers(planes)[:200], scores.argmax(-1))


@pytest.mark.first(6)
@pytest.mark.parametrize("images", [1, 32, 45])
@pytest.mark.parametrize("shape, classes", [((30,), 10), ((2, 12), 3), ((7,), 1), ((5,), 5)])
def test_heads_on_every_carrier(shape, classes, images, rng):
    bits = rng.random((images, *shape)) < 0.5
    groups = bits.reshape(*bits.shape[:-1], classes, -1)
    expected = groups.sum(-1)
    counts = group_sum(jnp.asarray(bits), classes=classes)
    words = group_sum(pack(bits), classes=classes)
    assert counts.dtype == words.dtype == jnp.int32
    assert words.shape == (32 * -(-images // 32), *expected.shape[1:])
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(words[:images], expected)
    floats = rng.normal(size=bits.shape).astype(np.float32)
    sums = group_sum(jnp.asarray(floats), classes=classes)
    assert sums.dtype == jnp.float32
    np.testing.assert_allclose(sums, floats.reshape(groups.shape).sum(-1), atol=1e-5)
    for x in (jnp.asarray(bits), pack(bits)):
        labels = predict(x, classes=classes)
        assert labels.dtype == jnp.int32
        np.testing.assert_array_equal(labels[:images], expected.argmax(-1))
    np.testing.assert_array_equal(
        predict(jnp.asarray(floats), classes=classes), np.asarray(sums).argmax(-1)
    )


def test_counts_do_not_stop_where_half_precision_does():
    assert int(group_sum(jnp.ones((1, 70_000), bool), classes=1)[0, 0]) == 70_000


def test_heads_under_jit_and_vmap(rng):
    bits = rng.random((3, 40, 6)) < 0.5
    words = jax.vmap(pack)(bits)
    for head in (group_sum, predict):
        run = jax.jit(jax.vmap(lambda x, head=head: head(x, classes=2)))
        np.testing.assert_array_equal(run(words)[:, :40], run(jnp.asarray(bits)))


def model(params, x):
    """A classifier: windows, literals, dense neurons, counts by class."""
    x = morphax.models.bisel(params["layer"], x)
    x = flatten(concatenate([x, complement(x)]))
    return group_sum(apply(params["dense"], x), classes=3)


def bits_of_model(params, x):
    x = morphax.models.bisel(params["layer"], x)
    return apply(params["dense"], flatten(concatenate([x, complement(x)])))


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    dense = built(rng, (4 * 5 * 4, 12), spec_for("dense"), size=1.6, noise=0.005)
    return {"layer": built_bimonn(rng, [1, 2])[0], "dense": dense}


def test_one_model_three_carriers(params, rng):
    images = random_images(rng, (45, 4, 5, 1))
    binary = binarize(params)
    run = jax.jit(model)
    counts = np.asarray(run(binary, jnp.asarray(images)))
    np.testing.assert_array_equal(run(binary, pack(images))[:45], counts)
    real = np.asarray(run(params, jnp.asarray(images, jnp.float32)))
    assert real.dtype == np.float32
    np.testing.assert_allclose(real, counts, atol=0.5)  # scales of 30: nearly binary


def test_trace_ends_in_the_head(params):
    for tree in (params, binarize(params)):
        steps = morphax.trace(model, tree, (1, 4, 5, 1)).steps
        assert [step.kind for step in steps].count("group_sum") == 1
        assert (steps[-1].kind, steps[-1].options, steps[-1].shape) == (
            "group_sum",
            "classes=3",
            (1, 3),
        )


def test_the_certificate_is_about_the_bits_that_enter(params):
    with_head = morphax.certify_network(model, params, (1, 4, 5, 1))
    without = morphax.certify_network(bits_of_model, params, (1, 4, 5, 1))
    assert bool(with_head.exact)
    for a, b in zip(with_head.dead_zone, without.dead_zone, strict=True):
        assert a.shape == (12,)
        np.testing.assert_array_equal(a, b)
    wide = morphax.certify_network(model, params, (1, 4, 5, 1), dead_zone=(0.45, 0.55))
    assert not bool(wide.exact)


@pytest.mark.parametrize(
    "after",
    [
        lambda x: group_sum(x, classes=1),
        complement,
        lambda x: x[:, :2],
        lambda x: x.astype(float) / 2,
        lambda x: jnp.argmax(x, -1),
    ],
    ids=["group_sum", "complement", "slice", "division", "argmax"],
)
def test_nothing_follows_a_head(after, params):
    with pytest.raises(ValueError, match=r"^apply: expected .*group_sum"):
        morphax.trace(lambda p, x: after(model(p, x)), params, (1, 4, 5, 1))


def test_a_complement_of_constants_is_a_constant(params):
    """The constant 1 that floats, bool and words share: `complement` of zeros."""

    def with_constant(params, x):
        ones = complement(jnp.zeros((*x.shape[:-1], 1), x.dtype))
        return apply(params, concatenate([x, ones]))

    node = built(np.random.default_rng(0), (4, 2), spec_for("dense"))
    for tree in (node, binarize(node)):
        steps = morphax.trace(with_constant, tree, (1, 3)).steps
        constants = [step.run() for step in steps if step.kind == "constant"]
        assert len(constants) == 1
        assert np.asarray(constants[0]).tolist() == [[1]]


@pytest.mark.parametrize("head", [group_sum, predict])
@pytest.mark.parametrize(
    "x, classes, message",
    [
        (jnp.ones((2, 6)), 4, r"classes: expected a divisor of the 6 features, got 4"),
        (jnp.ones((2, 6)), 0, r"classes: expected a divisor of the 6 features, got 0"),
        (jnp.ones((2, 6)), 2.0, r"classes: expected a divisor of the 6 features, got 2\.0"),
        (jnp.ones((2, 0)), 1, r"classes: expected a divisor of the 0 features"),
        (jnp.ones((2, 6), int), 2, r"x: expected bool .* or uint32 words"),
        (jnp.ones(6, jnp.uint32), 2, r"x: expected shape .* words \(B, \.\.\., n\)"),
    ],
)
def test_bad_input(head, x, classes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        head(x, classes=classes)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: counters.count(jnp.ones((2, 3), bool)), r"words: expected uint32 words"),
        (
            lambda: counters.greater(jnp.ones((2, 3), jnp.uint32), jnp.ones((1, 3), jnp.uint32)),
            r"b: expected planes of the shape of a",
        ),
        (lambda: counters.argmax(jnp.ones((2, 0), jnp.uint32)), r"planes: .*one class or more"),
        (lambda: counters.numbers(jnp.ones(2, jnp.uint32)), r"planes: expected shape"),
        (lambda: counters.numbers(jnp.ones((32, 1), jnp.uint32)), r"planes: expected shape"),
    ],
)
def test_counters_refuse(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def real_head(params, x):
    """The papers' classifier: neurons, then real weights."""
    return linear_head(bits_of_model(params, x), params["weight"], params["bias"])


@pytest.fixture(scope="module")
def with_head(params):
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(12, 3)), rng.normal(size=3)
    return {**params, "weight": jnp.float32(weight), "bias": jnp.float32(bias)}


@pytest.mark.parametrize("images", [1, 45])
@pytest.mark.parametrize("shape", [(6,), (2, 6)])
def test_linear_head_on_every_carrier(shape, images, rng):
    bits = rng.random((images, *shape)) < 0.5
    weight, bias = np.float32(rng.normal(size=(6, 4))), np.float32(rng.normal(size=4))
    expected = np.einsum("...n,nc->...c", bits.astype(float), weight.astype(float)) + bias
    for x in (jnp.asarray(bits), pack(bits), jnp.asarray(bits, jnp.float32)):
        scores = linear_head(x, jnp.asarray(weight), jnp.asarray(bias))
        assert scores.dtype == jnp.float32
        np.testing.assert_allclose(scores[:images], expected, atol=1e-5)
    assert scores.shape == expected.shape


def test_linear_head_is_binarized_around_and_certified_up_to(with_head, params, rng):
    images = random_images(rng, (45, 4, 5, 1))
    binary = binarize(with_head)
    for name in ("weight", "bias"):
        np.testing.assert_array_equal(binary[name], with_head[name])
    bits = np.asarray(bits_of_model(binary, jnp.asarray(images)))
    expected = bits @ np.asarray(with_head["weight"]) + np.asarray(with_head["bias"])
    run = jax.jit(real_head)
    np.testing.assert_allclose(run(binary, jnp.asarray(images)), expected, atol=1e-5)
    np.testing.assert_allclose(run(binary, pack(images))[:45], expected, atol=1e-5)
    for tree in (with_head, binary):
        steps = morphax.trace(real_head, tree, (1, 4, 5, 1)).steps
        assert [steps[-1].kind, steps[-1].shape] == ["linear_head", (1, 3)]
    verdict = morphax.certify_network(real_head, with_head, (1, 4, 5, 1))
    without = morphax.certify_network(bits_of_model, params, (1, 4, 5, 1))
    assert bool(verdict.exact)
    np.testing.assert_array_equal(verdict.dead_zone[0], without.dead_zone[0])


def test_linear_head_is_trained(with_head, rng):
    x = jnp.asarray(random_images(rng, (5, 4, 5, 1)), jnp.float32)
    gradient = jax.grad(lambda p: real_head(p, x).sum(), allow_int=True)(with_head)
    np.testing.assert_allclose(gradient["bias"], [5.0] * 3)
    np.testing.assert_allclose(
        gradient["weight"][:, 0], bits_of_model(with_head, x).sum(0), rtol=1e-5
    )


@pytest.mark.parametrize("after", [complement, lambda x: x[:, :2], lambda x: x > 0])
def test_nothing_follows_a_linear_head(after, with_head):
    with pytest.raises(ValueError, match=r"^apply: expected .*linear_head"):
        morphax.trace(lambda p, x: after(real_head(p, x)), with_head, (1, 4, 5, 1))


def test_a_program_refuses_a_linear_head(with_head, tmp_path):
    binary, why = binarize(with_head), r"^apply: expected bits, or group_sum.*linear_head"
    with pytest.raises(ValueError, match=why):
        morphax.program.build(real_head, binary, (1, 4, 5, 1))
    with pytest.raises(ValueError, match=why):
        morphax.specialize(real_head, binary, (1, 4, 5, 1))
    with pytest.raises(ValueError, match=why):
        morphax.save(tmp_path / "net.npz", binary, apply=real_head, input_shape=(1, 4, 5, 1))
    program = morphax.program.build(bits_of_model, binary, (1, 4, 5, 1))  # up to the head: fine
    assert program.output_shape == (12,)


@pytest.mark.parametrize(
    "x, weight, bias, message",
    [
        (jnp.ones((2, 6)), jnp.ones((5, 3)), jnp.ones(3), r"weight: expected shape \(6, classes\)"),
        (jnp.ones((2, 6)), jnp.ones((6, 3)), jnp.ones(2), r"bias: expected shape \(3,\)"),
        (jnp.ones((2, 6)), jnp.ones((6, 3), int), jnp.ones(3), r"weight: expected floats"),
        (jnp.ones((2, 6), int), jnp.ones((6, 3)), jnp.ones(3), r"x: expected bool"),
        (jnp.ones(6, jnp.uint32), jnp.ones((6, 3)), jnp.ones(3), r"x: expected shape .* words"),
    ],
)
def test_linear_head_refuses(x, weight, bias, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        linear_head(x, weight, bias)
