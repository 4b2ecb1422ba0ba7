"""`learn_operator` by descent on bits: channels, noise, frames, and the better one of two ways."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import built_bimonn

import morphax
from morphax import binarize, data, recipes
from morphax.morphology import elements
from morphax.neurons import models
from morphax.recipes.descent import operators as descent
from morphax.recipes.descent._descent import is_whole
from morphax.recipes.descent._forms import chain, restructured
from morphax.recipes.descent._layers_of import layers_of
from morphax.recipes.descent._net_of import net_of
from morphax.recipes.gradients import operators

KEY = jax.random.key(1)


@pytest.fixture(scope="module")
def images():
    """160 drawings to learn from, 40 held out, 60 unseen ones."""
    drawn = np.asarray(data.diskorect(jax.random.key(0), 260, size=(24, 24), n_shapes=6, n_holes=6))
    return drawn[:160], drawn[160:200], drawn[200:]


def learn(images, operation, channels, *, flips=0.0, seed=0, element=None, **options):
    """Learn an operator of size 3; return it, and its wrong pixels on unseen images."""
    element = elements.disk(3) if element is None else element
    targets = [np.asarray(data.target(part, operation, element)) for part in images]
    rng = np.random.default_rng(seed)
    pairs = [(x, y ^ (rng.random(y.shape) < flips)) for x, y in zip(images, targets, strict=True)]
    learned = recipes.learn_operator(
        KEY, pairs[0], valid=pairs[1], channels=channels, kernel_size=3, **options
    )
    outputs = (
        np.asarray(models.bimonn(learned.binary, images[2])),
        np.asarray(models.bimonn(learned.params, images[2].astype(np.float32))) > 0.5,
        np.asarray(models.bimonn(binarize(learned.params), images[2])),
    )
    return learned, [int((output != targets[2]).sum()) for output in outputs]


@pytest.mark.first(2)
@pytest.mark.parametrize(
    ("operation", "channels"),
    [
        ("erosion", (1, 1)),
        ("dilation", (1, 1, 1)),
        ("erosion", (1, 3, 2, 1)),
        ("opening", (1, 2, 1)),
        ("white_top_hat", (1, 2, 1)),
    ],
)
@pytest.mark.parametrize("flips", [0.0, 0.03])
def test_the_network_has_the_channels_that_were_asked_for(images, operation, channels, flips):
    learned, wrong = learn(images, operation, channels, flips=flips)
    assert wrong == [0, 0, 0]
    assert learned.found_by == "descent"
    assert bool(learned.certificate.exact)
    assert learned.warning is None
    like = models.init_bimonn(
        KEY, channels, kernel_size=3, weight_map="identity", bias_map="centred"
    )
    assert jax.tree.map(np.shape, learned.params) == jax.tree.map(np.shape, like)
    assert jax.tree.structure(learned.params) == jax.tree.structure(like)
    assert learned.history[-1]["binary"] == pytest.approx(learned.verdict.dice)
    assert any("% of the target pixels contradict" in r for r in learned.remarks) == (flips > 0)


@pytest.mark.slow
def test_a_network_that_needs_more_channels_says_so(images):
    learned, wrong = learn(images, "white_top_hat", (1, 1, 1))
    assert wrong == [0, 0, 0]
    (remark,) = learned.remarks
    assert remark == (
        "Channels (1, 1, 1) were asked for; the network that was found needs (1, 2, 1)."
    )


def test_targets_along_the_frame_are_not_read(images):
    element = elements.disk(3)
    inside = np.zeros((1, 24, 24, 1), bool)
    inside[:, 2:-2, 2:-2] = True
    targets = [np.asarray(data.target(x, "opening", element)) for x in images]
    noise = np.random.default_rng(0).random(targets[0].shape) < 0.5
    learned = recipes.learn_operator(
        KEY,
        (images[0], np.where(inside, targets[0], noise)),
        valid=(images[1], targets[1]),
        kernel_size=3,
        frame=(2, 2),
    )
    assert learned.found_by == "descent"
    assert (np.asarray(models.bimonn(learned.binary, images[2])) == targets[2]).all()


@pytest.mark.slow
def test_what_a_descent_cannot_make_is_trained(images):
    few = [part[:8] for part in images]
    learned, _ = learn(few, "erosion", (1, 1), border="constant", steps=50, restarts=1)
    assert learned.found_by == "gradients"
    with pytest.raises(ValueError, match='method: expected "gradients", or border "ignore"'):
        learn(few, "erosion", (1, 1), method="descent", border="constant")


@pytest.mark.parametrize("operation, channels", [("opening", (1, 1, 1)), ("dilation", (1, 1))])
def test_symmetric_neurons_are_made_of_the_bits(images, operation, channels):
    learned, (wrong, _, _) = learn(images, operation, channels, symmetric=True)
    assert learned.found_by == "descent"
    assert wrong == 0
    assert bool(learned.certificate.exact)
    assert all(node.spec.symmetric for layer in learned.params for node in layer.values())
    signed = models.bimonn(learned.params, jnp.where(jnp.asarray(images[2]), 1.0, -1.0))
    bits = models.bimonn(learned.binary, jnp.asarray(images[2]))
    np.testing.assert_array_equal(np.asarray(signed) > 0, bits)


@pytest.mark.slow
@pytest.mark.parametrize("trained_error", [0.0, 0.5])
def test_the_better_one_by_held_out_pairs_is_returned(images, monkeypatch, trained_error):
    """Where a descent is not right, gradients are tried too."""
    rng = np.random.default_rng(0)
    pairs = (images[0][:40], images[0][:40] & (rng.random(images[0][:40].shape) < 0.5))
    params = models.init_bimonn(KEY, [1, 1], kernel_size=3)
    certificate = morphax.certify_network(models.bimonn, params, (1, 24, 24, 1))
    verdict = recipes.Verdict(trained_error, 0.5, {})
    result = recipes.Learned(params, binarize(params), certificate, [], verdict)
    monkeypatch.setattr(operators, "_train", lambda *args: result)
    monkeypatch.setattr(
        operators,
        "learn_by_descent",
        lambda *args, **options: descent.learn_by_descent(*args, **options)._replace(
            is_right=False
        ),
    )
    learned = recipes.learn_operator(KEY, pairs, valid=pairs, channels=(1, 1), kernel_size=3)
    assert learned.found_by == ("gradients" if trained_error == 0 else "descent")
    alone = recipes.learn_operator(
        KEY, pairs, valid=pairs, channels=(1, 1), kernel_size=3, method="descent"
    )
    assert alone.found_by == "descent"


def test_a_descent_begins_with_given_layers(images):
    """An opening with a pixel missing in each layer; nothing but what is given is tried."""
    targets = np.asarray(data.target(images[0], "opening", elements.square(3)))
    found = recipes.learn_chain(KEY, (images[0], targets), kernel_size=3, depth=2)
    assert found.loss == 0
    spoiled = []
    for layer in found.binary:
        selem = np.asarray(layer["bise"].selem).copy()
        selem[0, 0] = False
        spoiled.append({"bise": replace(layer["bise"], selem=selem)})
    again = recipes.learn_chain(KEY, (images[0], targets), kernel_size=3, depth=2, start=spoiled)
    assert {record["form"] for record in again.history} <= {"given start", "changed at random"}
    assert (np.asarray(models.bimonn(again.binary, images[0])) == targets).all()
    with pytest.raises(ValueError, match=r"start: expected binary layers .* of 5 x 5 windows"):
        recipes.learn_chain(KEY, (images[0], targets), kernel_size=5, start=spoiled)


@pytest.mark.first(3)
@pytest.mark.parametrize("channels", [(1, 1), (1, 1, 1), (2, 2, 1), (1, 3, 1), (3, 1)])
def test_layers_and_networks_of_bits_are_inverse(channels):
    rng = np.random.default_rng(0)
    for _ in range(6):
        layers = [
            {
                name: replace(node, complement=rng.random(np.shape(node.complement)) < 0.4)
                for name, node in layer.items()
            }
            for layer in binarize(built_bimonn(rng, channels))
        ]
        net = net_of(layers)
        again = layers_of(net, channels[0])
        x = rng.random((2, 9, 8, channels[0])) < rng.random()
        expected = models.bimonn(layers, jnp.asarray(x))
        np.testing.assert_array_equal(models.bimonn(again, jnp.asarray(x)), expected)


def test_changes_of_form_keep_networks_whole_and_reach_each_other():
    """From an opening: every network is one of bits, and the closing is among them."""
    disk, rng = elements.disk(3), np.random.default_rng(0)
    opening, closing = chain("ed", (disk, disk)), chain("de", (disk, disk))
    x = rng.random((4, 9, 9, 1)) < 0.6
    run = lambda net: np.asarray(models.bimonn(layers_of(net, 1), jnp.asarray(x)))  # noqa: E731
    forms, seen = [opening], set()
    for _ in range(60):
        net = restructured(forms[rng.integers(len(forms))], 1, rng)
        if len(net.source) == 2 and is_whole(net):
            forms.append(net)
            seen.add(run(net).tobytes())
    assert run(closing).tobytes() in seen
    assert len(seen) > 5


def test_odd_pairs_are_warned_of_at_once(images):
    pairs = images[0], images[0]
    with pytest.warns(UserWarning, match="targets are equal to the inputs on every pixel"):
        recipes.learn_operator(KEY, pairs, valid=pairs, channels=(1, 1), kernel_size=3)
    with pytest.warns(UserWarning, match="targets are equal to the inputs on every pixel"):
        recipes.learn_chain(KEY, pairs, kernel_size=3)
