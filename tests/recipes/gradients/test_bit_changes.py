"""Training on bits: the derivatives against every change tried one by one; certified, never
worse."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import morphax
from morphax import BinaryBiSE, Spec
from morphax.morphology import elements
from morphax.neurons import models
from morphax.recipes.gradients import _bit_changes
from morphax.recipes.gradients.bits import learn_bits
from morphax.training import RunOptions

SPEC = Spec("spatial", "identity", "centred")

pytestmark = pytest.mark.filterwarnings("ignore:(inputs|targets) are constant")


def network(rng, channels=2, maps=2, size=3):
    """A random binary BiMoNN of two layers, complements in the first only; no set is empty."""

    def layer(inputs, outputs, complements):
        window = rng.random((size, size, inputs, outputs)) < 0.3
        window[size // 2, size // 2] = True
        window = np.stack([window[..., i, :] for i in range(inputs)], 2)
        used = rng.random((inputs, outputs)) < 0.5
        used[rng.integers(inputs), :] = True
        flags = [
            rng.random((inputs, outputs)) < 0.5,
            complements & (rng.random((inputs, outputs)) < 0.4),
        ]
        return {
            "bise": BinaryBiSE(window, *flags, SPEC),
            "lui": BinaryBiSE(
                used,
                rng.random(outputs) < 0.5,
                np.zeros(outputs, bool),
                Spec("lui", "identity", "centred"),
            ),
        }

    return [layer(channels, maps, True), layer(maps, 1, False)]


def loss(layers, x, y):
    """Minus the Dice as `slopes` has it."""
    out = np.asarray(models.bimonn(layers, jnp.asarray(x)))
    both, total = (out & y).sum((1, 2, 3)), out.sum((1, 2, 3)) + y.sum((1, 2, 3))
    return -(2 * both / (total + 1)).mean()


def toggled(node, where):
    selem = np.array(node.selem)
    selem[where] ^= True
    return BinaryBiSE(selem, node.erosion, node.complement, node.spec)


def test_slopes_are_the_first_order_of_a_change_of_one_output(rng):
    """A single neuron: what a change does to each pixel is exact, so the loss is to first order."""
    x, y = rng.random((2, 6, 24, 24, 1)) < 0.5
    for erosion in (False, True):
        for complement in (False, True):
            node = BinaryBiSE(
                elements.disk(3)[:, :, None, None],
                np.full((1, 1), erosion),
                np.full((1, 1), complement),
                SPEC,
            )
            layers = [{"bise": node}]
            up, down = (part[0]["bise"] for part in _bit_changes.slopes(layers, x, y))
            before = np.asarray(models.bimonn(layers, jnp.asarray(x))).astype(float)
            axes = (1, 2, 3)
            size = before.sum(axes) + y.sum(axes) + 1
            both = 2 * (before * y).sum(axes)
            # by hand: derivative of the loss by a pixel, times how the change moves it
            by_pixel = (
                -(2 * y / size[:, None, None, None] - (both / size**2)[:, None, None, None]) / 6
            )
            for r, c in np.ndindex(3, 3):
                new = models.bimonn([{"bise": toggled(node, (r, c, 0, 0))}], jnp.asarray(x))
                wanted = (by_pixel * (np.asarray(new) - before)).sum()
                sign = -1 if node.selem[r, c, 0, 0] else 1
                raised = (
                    sign > 0
                ) != erosion  # a larger set raises a dilation and lowers an erosion
                part = up if raised else down
                made = sign * (part.weight[r, c, 0, 0] + float(erosion) * part.bias[0, 0])
                assert float(made) == pytest.approx(wanted, rel=0.02, abs=2e-5)


@pytest.mark.slow
def test_ranked_goes_with_what_the_changes_do(rng):
    layers = network(rng)
    x = rng.random((8, 20, 20, 2)) < 0.6
    y = np.asarray(models.bimonn(network(rng), jnp.asarray(x)))
    found = _bit_changes.ranked(layers, _bit_changes.slopes(layers, x, y))
    falls = np.array([fall for fall, _ in found])
    assert (np.diff(falls) <= 0).all()
    before = loss(layers, x, y)
    real = np.array(
        [before - loss(_bit_changes.with_changes(layers, (change,)), x, y) for _, change in found]
    )
    small = np.abs(real) < 0.02  # first order
    assert small.sum() > 5
    assert np.corrcoef(falls[small], real[small])[0, 1] > 0.5


def test_ranked_never_empties_a_set(rng):
    layers = network(rng)
    x = rng.random((2, 9, 9, 2)) < 0.5
    for _, change in _bit_changes.ranked(layers, _bit_changes.slopes(layers, x, x[..., :1])):
        for layer in _bit_changes.with_changes(layers, (change,)):
            assert np.asarray(layer["bise"].selem).any((0, 1)).all()
            assert np.asarray(layer["lui"].selem).any(0).all()


@pytest.mark.parametrize("side", [1, 3, 5, 7])
def test_orbits_are_those_of_the_turns_and_mirrors(side):
    parts = _bit_changes.orbits(side)
    assert (parts.sum(0) == 1).all()
    for part in parts:
        point = np.argwhere(part)[0]
        image = np.zeros((side, side), bool)
        image[tuple(point)] = True
        turns = [np.rot90(view, k) for k in range(4) for view in (image, image.T)]
        np.testing.assert_array_equal(np.any(turns, 0), part)


@pytest.mark.first(1)
@pytest.mark.parametrize("symmetric", [False, True])
def test_realize_is_certified_and_binarize_goes_back(rng, symmetric):
    layers = network(rng, channels=3, maps=3, size=5)
    if symmetric:
        layers = [
            {name: replace(n, spec=replace(n.spec, symmetric=True)) for name, n in layer.items()}
            for layer in layers
        ]
    real = morphax.realize(layers)
    assert bool(morphax.certify_network(models.bimonn, real, (1, 9, 9, 3)).exact)
    x = rng.random((4, 17, 15, 3)) < 0.5
    wanted = np.asarray(models.bimonn(layers, jnp.asarray(x)))
    low = -1.0 if symmetric else 0.0
    soft = np.asarray(models.bimonn(real, jnp.where(jnp.asarray(x), 1.0, low))) > (low + 1) / 2
    np.testing.assert_array_equal(soft, wanted)
    back = morphax.binarize(real)
    for i, name in ((0, "bise"), (0, "lui"), (1, "bise"), (1, "lui")):
        np.testing.assert_array_equal(back[i][name].selem, layers[i][name].selem)
        np.testing.assert_array_equal(back[i][name].complement, layers[i][name].complement)


@pytest.mark.slow
def test_learns_a_planted_operator_and_never_falls(rng, tmp_path):
    """From `the second level` to `the first, where the third is not near`."""
    gray = rng.random((40, 24, 24, 1))
    x = gray >= np.array([0.5, 0.7, 0.97])
    near = np.asarray(morphax.dilation(jnp.asarray(x[..., 2]), elements.disk(3)))
    y = (x[..., 0] & ~near)[..., None]
    point = np.zeros((3, 3, 3, 1), bool)
    point[1, 1] = True
    no, one = np.zeros((3, 1), bool), np.zeros(1, bool)
    last = np.zeros((3, 3, 1, 1), bool)
    last[1, 1] = True
    layers = [
        {
            "bise": BinaryBiSE(point, no, np.array([[0], [0], [1]], bool), SPEC),
            "lui": BinaryBiSE(
                np.array([[0], [1], [0]], bool), ~one, one, Spec("lui", "identity", "centred")
            ),
        },
        {"bise": BinaryBiSE(last, np.zeros((1, 1), bool), np.zeros((1, 1), bool), SPEC)},
    ]

    def learn(**more):
        return learn_bits(
            jax.random.key(0), (x, y), valid=(x, y), initial=layers, rounds=12, tries=6, **more
        )

    learned = learn()
    values = [record["train"] for record in learned.history]
    assert (np.diff(values) >= 0).all()
    np.testing.assert_array_equal(np.asarray(models.bimonn(learned.binary, jnp.asarray(x))), y)
    assert values[-1] == pytest.approx(1.0, abs=1e-6)
    assert bool(learned.certificate.exact)
    assert learned.verdict.error == 0
    assert learned.warning is None
    same = lambda a, b: np.testing.assert_array_equal(a, b)  # noqa: E731
    jax.tree.map(same, morphax.binarize(learned.params), learned.binary)
    # A function of its key, also when it is resumed: the generator and what waits are in the
    # checkpoint.
    cut = learn(run=RunOptions(checkpoint=tmp_path, time_limit=1e-9))
    assert len(cut.history) == 1
    assert "cut short" in cut.warning
    again = learn(run=RunOptions(checkpoint=tmp_path))
    jax.tree.map(same, again.binary, learned.binary)
    assert [r["train"] for r in again.history] == values


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"x": np.zeros((2, 8, 8, 2), np.float32)}, r"train\[0\]: expected a bool array"),
        ({"y": np.zeros((3, 8, 8, 1), bool)}, r"train\[1\]: expected images"),
        ({"rounds": 0}, "rounds, tries: expected 1 or more"),
    ],
)
def test_bad_input(rng, changes, message):
    given = {
        "x": np.zeros((2, 8, 8, 2), bool),
        "y": np.zeros((2, 8, 8, 1), bool),
        "rounds": 1,
    } | changes
    pair = given["x"], given["y"]
    with pytest.raises(ValueError, match=message):
        learn_bits(
            jax.random.key(0), pair, valid=pair, initial=network(rng), rounds=given["rounds"]
        )
