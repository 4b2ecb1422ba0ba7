"""The recipe: images drawn by error, starts, and small operators learned to the last pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import small_pictures

import morphax
from morphax import data, training
from morphax.binarization import binarize
from morphax.morphology import elements
from morphax.neurons import models
from morphax.neurons.nodes import effective
from morphax.recipes.gradients import _hard_examples, _starts, operators


def identity(symmetric=False, size=3):
    """A certified network of one erosion by the centre pixel."""
    centre = jnp.zeros((size, size, 1, 1)).at[size // 2, size // 2].set(1.0)
    spec = morphax.Spec("spatial", "identity", "raw", symmetric=symmetric)
    bias, scale = (0.0, 10.0) if symmetric else (0.5, 20.0)
    return [{"bise": morphax.BiSE(centre, jnp.full((1, 1), bias), jnp.full((1, 1), scale), spec)}]


@pytest.mark.parametrize("symmetric", [False, True])
def test_mine_draws_wrong_images_more_often(symmetric):
    images = jax.random.bernoulli(jax.random.key(0), 0.5, (512, 5, 5, 1))
    wrong = jnp.arange(512) == 100  # one image in 512 has another target
    targets = jnp.where(wrong[:, None, None, None], ~images, images)
    mine = jax.jit(_hard_examples.make_mine(models.bimonn, pool=2048))
    x, y = mine(jax.random.key(1), identity(symmetric), (images, targets))
    assert x.shape == y.shape == (4096, 5, 5, 1)
    differ = np.asarray((x != y).any((1, 2, 3)))
    assert 0 < differ[:2048].mean() < 0.01  # drawn evenly
    assert differ[2048:].mean() > 0.99  # drawn by error: all that is wrong is that image


def test_mine_keeps_pairs_together():
    images = jax.random.bernoulli(jax.random.key(0), 0.5, (64, 4, 4, 1))
    x, y = _hard_examples.make_mine(models.bimonn, pool=256)(
        jax.random.key(1), identity(), (images, ~images)
    )
    assert bool((x == ~y).all())
    with pytest.raises(ValueError, match="pool: expected a multiple of 64, got 100"):
        _hard_examples.make_mine(models.bimonn, pool=100)


def test_the_frame_is_not_looked_at():
    """Neither where images are drawn, nor where they are counted, nor in the loss."""
    images = jax.random.bernoulli(jax.random.key(0), 0.5, (64, 8, 9, 1))
    inside = jnp.zeros((1, 8, 9, 1), bool).at[:, 2:-2, 1:-1].set(True)
    targets = jnp.where(inside, images, ~images)
    one_wrong = targets.at[7, 3, 3].set(~images[7, 3, 3])
    for answers, count in ((targets, 0), (one_wrong, 1)):
        wrong = _hard_examples.make_wrong_images(models.bimonn, frame=(2, 1))
        assert int(wrong(binarize(identity()), (images, answers)).sum()) == count
        for by_kind in (False, True):
            loss = operators._loss(100, (2, 1), by_kind=by_kind)
            value = loss(
                *(a.astype(jnp.float32) for a in (images, answers, images)), jnp.array(100)
            )
            assert (float(value) < -13.8) == (count == 0)  # the logarithm of the floor
    x, y = _hard_examples.make_mine(models.bimonn, pool=256, frame=(2, 1))(
        jax.random.key(1), identity(), (images, one_wrong)
    )
    assert (x[256:] != y[256:])[:, 3, 3, 0].mean() > 0.99  # the others are right inside


@pytest.mark.slow
def test_targets_along_the_frame_change_nothing():
    """As in crops: what a target is there is not read, to the last bit of the params."""
    images = small_pictures(jax.random.key(0), 320, (24, 20))
    targets = data.target(images, "opening", elements.square(3))
    noise = jax.random.bernoulli(jax.random.key(1), 0.5, images.shape)
    inside = jnp.zeros((1, 24, 20, 1), bool).at[:, 2:-2, 2:-2].set(True)
    assert models.reach((1, 1, 1), kernel_size=3) == (2, 2)
    found = [
        operators.learn_operator(
            jax.random.key(2),
            (images[64:], y[64:]),
            valid=(images[:64], targets[:64]),
            kernel_size=3,
            steps=250,
            frame=(2, 2),
            method="gradients",
        )
        for y in (targets, jnp.where(inside, targets, noise))
    ]
    assert bool(found[0].certificate.exact)
    assert bool((models.bimonn(found[0].binary, images) == targets).all())
    assert [each.runs for each in found] == [1, 1]
    same = jax.tree.map(lambda a, b: bool((a == b).all()), found[0].params, found[1].params)
    assert jax.tree.all(same)


@pytest.mark.filterwarnings("ignore:targets look complemented")
def test_what_is_a_residue_is_not_judged_along_the_frame(monkeypatch):
    """The first search is for the changed pixels, as it is where all targets are top-hats."""
    images = jax.random.bernoulli(jax.random.key(0), 0.8, (64, 12, 13, 1))
    targets = data.target(images, "white_top_hat", elements.square(3))
    inside = jnp.zeros((1, 12, 13, 1), bool).at[:, 2:-2, 2:-2].set(True)
    crops = images, jnp.where(inside, targets, ~images)

    class Begun(Exception):
        pass

    def begin(*_, run, **__):
        raise Begun(run.tags["part"])

    monkeypatch.setattr(operators, "search", begin)
    options = {"channels": (1, 2, 1), "kernel_size": 3, "frame": (2, 2), "method": "gradients"}
    with pytest.raises(Begun, match="changed"):
        operators.learn_operator(jax.random.key(0), crops, valid=(images, targets), **options)


@pytest.mark.filterwarnings("ignore:(inputs|targets) are constant")
@pytest.mark.parametrize("frame", [(10, 0), (0, 12), (-1, 0), (1,)])
def test_a_frame_leaves_something(frame):
    images = jnp.zeros((4, 20, 24, 1), bool)
    with pytest.raises(ValueError, match="frame: expected two numbers from 0 to less than half of"):
        operators.learn_operator(
            jax.random.key(0), (images, images), valid=(images, images), frame=frame
        )


@pytest.mark.first(1)
@pytest.mark.parametrize(
    "channels, sizes", [((1, 1), [(3, 5)]), ((1, 2, 1), [5, 3]), ((1, 1, 1), 3)]
)
def test_reach_is_how_far_a_network_looks(channels, sizes):
    rows, columns = models.reach(channels, kernel_size=sizes)
    params = models.init_bimonn(jax.random.key(0), channels, kernel_size=sizes)

    def middle(x):
        return models.bimonn(params, x[None, :, :, None])[0, 12, 12, 0]

    seen = jax.grad(middle)(jax.random.uniform(jax.random.key(1), (25, 25))) != 0
    assert [int(jnp.abs(places - 12).max()) for places in jnp.nonzero(seen)] == [rows, columns]


@pytest.mark.slow
def test_chunk_mines_as_often_as_asked():
    seen = []

    def mine(key, params, data):
        jax.debug.callback(lambda k: seen.append(tuple(np.asarray(k))), jax.random.key_data(key))
        return data

    step = training.make_step(models.bimonn, operators._optimizer(10, 1e-2, False))
    with pytest.raises(ValueError, match="mine_every: expected a divisor of 10 steps, got 4"):
        training.make_chunk(step, length=10, mine=mine, mine_every=4)
    chunk = training.make_chunk(step, batch_size=2, length=10, mine=mine, mine_every=5)
    params = identity()
    opt_state = operators._optimizer(10, 1e-2, False).init(params)
    state = training.TrainState(params, opt_state, jnp.zeros((), jnp.int32))
    images = jnp.zeros((4, 5, 5, 1), bool)
    for _ in range(2):
        state, _ = chunk(jax.random.key(0), state, (images, images))
    jax.effects_barrier()
    assert int(state.step) == 20
    assert len(seen) == len(set(seen)) == 4  # a new key each time


@pytest.mark.slow
def test_symmetric_networks_are_trained_and_judged_on_the_same_bits():
    """A SyBiSE and the BiSE that it is give one prediction, one loss and one metric."""
    images = jax.random.bernoulli(jax.random.key(0), 0.5, (8, 6, 6, 1))
    for bits in (images, ~images):
        plain, symmetric = (
            training.as_unit(models.bimonn, identity(s), images, bits) for s in (False, True)
        )
        np.testing.assert_allclose(plain[0], symmetric[0], atol=1e-6)
        np.testing.assert_array_equal(plain[1], symmetric[1])
        records = [
            training.make_evaluate(models.bimonn)(identity(s), (images, bits))
            for s in (False, True)
        ]
        assert records[0] == records[1]
    floats = 2 * images.astype(jnp.float32) - 1
    np.testing.assert_array_equal(
        training.as_unit(models.bimonn, identity(True), floats, floats)[1], images
    )


def test_starts_go_through_the_known_ones_and_then_vary():
    several = models.init_bimonn(jax.random.key(0), [1, 2, 1])
    one = models.init_bimonn(jax.random.key(0), [1, 1, 1])
    for params, known in ((one, _starts.ONE_MAP), (several, _starts.SEVERAL_MAPS)):
        count = len(known)
        for round_ in (0, 1):
            found = [_starts.nth_start(params, r + round_ * count) for r in range(count)]
            assert found == [(start, round_) for start in known]
    assert _starts.nth_start(one, 7) == (_starts.Start(None, 0), 1)
    assert {_starts.nth_start(several, r)[0].skip for r in range(12, 18)} == {0, 1, -1}


@pytest.mark.parametrize("symmetric", [False, True])
def test_begin_puts_biases_where_it_says(symmetric):
    params = models.init_bimonn(
        jax.random.key(0),
        [1, 1, 1],
        kernel_size=3,
        weight_map="identity",
        symmetric=symmetric,
        bias_map="raw" if symmetric else "centred",
    )
    begun = _starts.initialise(jax.random.key(1), params, _starts.Start((0.8, 0.2)), scale=2.0)
    for layer, quantile in zip(begun, (0.8, 0.2), strict=True):
        weights, bias, scale = effective(layer["bise"])
        total = weights.sum(-1)
        low = (bias + total) / 2 if symmetric else bias  # the same neuron on [0, 1]
        np.testing.assert_allclose(low / total, quantile, rtol=1e-5)
        np.testing.assert_allclose(scale, 1.0 if symmetric else 2.0)
        np.testing.assert_allclose(weights.mean(), 0.5, rtol=1e-5)
    drawn = _starts.initialise(jax.random.key(1), params, _starts.Start(), scale=2.0)
    again = _starts.initialise(jax.random.key(2), params, _starts.Start(), scale=2.0)
    assert (drawn[0]["bise"].bias != again[0]["bise"].bias).all()


@pytest.mark.parametrize("skip", [1, -1])
def test_a_skip_map_starts_as_the_identity_and_meets_complements(skip):
    params = models.init_bimonn(
        jax.random.key(0), [1, 2, 1], kernel_size=5, weight_map="identity", bias_map="centred"
    )
    begun = _starts.initialise(
        jax.random.key(1), params, _starts.Start((0.8, 0.2), skip), scale=2.0
    )
    first, second = (layer["bise"] for layer in begun)
    for window in (first.weight[..., 0, 0], second.weight[..., 0, 0]):
        around = (window.sum() - window[2, 2]) / 24
        assert window[2, 2] == 0.5
        assert around < 0.1
    assert (first.scale > 0).all()
    assert np.sign(second.scale[:, 0]).tolist() == [skip, -skip]
    assert (begun[1]["lui"].scale > 0).all()


@pytest.mark.slow
def test_learns_a_small_operator_to_the_last_pixel():
    images = small_pictures(jax.random.key(0), 512, (20, 20))
    targets = data.target(images, "opening", elements.disk(3))
    learned = operators.learn_operator(
        jax.random.key(1),
        (images[256:], targets[256:]),
        valid=(images[:256], targets[:256]),
        channels=(1, 1, 1),
        kernel_size=3,
        steps=500,
        method="gradients",
    )
    assert bool(learned.certificate.exact)
    assert bool((models.bimonn(learned.binary, images) == targets).all())
    prediction, _ = training.as_unit(models.bimonn, learned.params, images, targets)
    assert bool(((prediction > 0.5) == targets).all())
    assert learned.history[-1]["binary"] == 1.0
    same = jax.tree.map(lambda a, b: bool((a == b).all()), learned.binary, binarize(learned.params))
    assert jax.tree.all(same)
