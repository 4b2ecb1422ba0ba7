"""Classifiers that are binary to the end: wiring, carriers, certificates, training and its
resumption."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bars import shapes

import morphax
from morphax import BinaryBiSE, BiSE, Spec, certify, certify_network
from morphax.classification import ClauseConfig, clauses, learn_classifier, model
from morphax.classification import train as training
from morphax.classification.config import TRAININGS
from morphax.classification.latent import init_latent, to_network
from morphax.morphology import levelsets
from morphax.training import RunOptions, loop

TINY = ClauseConfig(banks=((3, 6), (5, 5)), literals=4.0)


def bank(rng, size, channels, count):
    """Erosions of a few literals of a window, with hard weights."""
    selem = rng.random((size * size * 2 * channels, count)) < 3 / (size * size * channels)
    selem[0] |= ~selem.any(0)
    weight = jnp.asarray(selem, jnp.float32)
    return BiSE(
        weight,
        weight.sum(0) - 0.5,
        jnp.full(count, 40.0),
        Spec("dense", "identity", "raw", "sigmoid"),
    )


def plain(selem, levels, size, regions=3):
    """Steps 1 to 4 of the network, one window at a time."""
    where = model.centres(levels.shape[1], regions=regions)
    part = len(where) // regions
    planes = np.concatenate([levels, ~levels], -1)
    half = size // 2
    planes = np.pad(planes, ((0, 0), (half, half), (half, half), (0, 0)), mode="edge")
    found = np.zeros((len(levels), regions, regions, selem.shape[1]), bool)
    for (i, y), (j, x) in itertools.product(enumerate(where), enumerate(where)):
        seen = planes[:, y : y + size, x : x + size].reshape(len(levels), -1)
        for o in range(selem.shape[1]):
            found[:, i // part, j // part, o] |= seen[:, selem[:, o]].all(1)
    return found.reshape(len(levels), -1)


@pytest.fixture
def network(rng):
    params = {"erosions": [bank(rng, 3, 2, 4), bank(rng, 5, 2, 3)]}
    votes, bias = rng.integers(-3, 4, (9 * 7, 4)), rng.integers(-5, 6, 4)
    return params, votes, bias, model.classifier(model.wires(votes, bias))


def test_features_are_conjunctions_somewhere_in_a_region(rng, network):
    params = network[0]
    levels = rng.random((5, 14, 14, 2)) < np.linspace(0.2, 0.9, 5)[:, None, None, None]
    binary = morphax.binarize(params)["erosions"]
    found = np.asarray(model.features(binary, jnp.asarray(levels)))
    wanted = [
        plain(np.asarray(b.weight) > 0, levels, n)
        for b, n in zip(params["erosions"], (3, 5), strict=True)
    ]
    assert (found == np.concatenate(wanted, 1)).all()
    assert 0.02 < found.mean() < 0.98


def test_all_carriers_give_the_same_counts(rng, network):
    params, votes, bias, net = network
    levels = rng.random((40, 14, 14, 2)) < rng.random((40, 1, 1, 1))
    binary = morphax.binarize(params)
    counts = np.asarray(net(binary, jnp.asarray(levels)))
    found = np.asarray(model.features(binary["erosions"], jnp.asarray(levels)))
    offset = counts - (found @ votes + bias)
    assert (offset == offset[0, 0]).all()
    assert len(set(counts.argmax(1))) > 1
    real = np.asarray(net(params, jnp.asarray(levels, jnp.float32)))
    assert (np.round(real) == counts).all()
    words = np.asarray(net(binary, morphax.pack(levels)))[:40]
    assert (words == counts).all()


def test_certified_from_the_parameters(network):
    params, _, _, net = network
    assert bool(certify_network(net, params, (1, 14, 14, 2)).exact)
    first = params["erosions"][0]
    weight = first.weight.at[:, 0].set(0.4)  # three of them break a bias of sum - 1/2
    broken = [
        BiSE(weight, weight.sum(0) - 0.5, first.scale, first.spec),
        params["erosions"][1],
    ]
    assert not bool(certify_network(net, {"erosions": broken}, (1, 14, 14, 2)).exact)


def test_wires_pad_every_class_to_the_same_length(rng):
    votes, bias = rng.integers(-4, 5, (20, 3)), np.array([-7, 0, 5])
    table = model.wires(votes, bias)
    bits = rng.random((50, 20)) < 0.5
    all_bits = np.concatenate([bits, ~bits, np.zeros((50, 1), bool), np.ones((50, 1), bool)], 1)
    counts = all_bits[:, table].sum(-1)
    offset = counts - (bits @ votes + bias)
    assert (offset == offset[0, 0]).all()


@pytest.mark.parametrize("length, stride, regions", [(28, 2, 3), (32, 2, 3), (28, 1, 2), (9, 2, 2)])
def test_centres_are_symmetric_and_inside(length, stride, regions):
    found = model.centres(length, stride=stride, regions=regions)
    assert len(found) % regions == 0
    assert (np.diff(found) == stride).all()
    assert found[0] >= 0
    assert 0 <= (length - 1 - found[-1]) - found[0] <= 1


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: model.centres(4, regions=3), "regions"),
        (lambda: model.windows(jnp.zeros((1, 28, 28, 1)), size=4), "size"),
        (lambda: model.wires(np.zeros((2, 2)), np.zeros(2, int)), "votes"),
        (lambda: model.wires(np.zeros((2, 2), int), np.zeros(3, int)), "bias"),
        (lambda: model.classifier(np.zeros(3, int)), "wiring"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: expected"):
        call()


def test_operations_count_by_hand(network):
    params, votes, bias, _ = network
    binary = morphax.binarize(params)["erosions"]
    counts = model.operations(binary, model.wires(votes, bias), positions=36)
    sizes = np.concatenate([np.asarray(b.weight).sum(0) for b in params["erosions"]])
    assert counts["ands"] == (sizes - 1).sum() * 36
    assert counts["ors"] == 7 * (36 - 9)
    assert counts["counted"] == np.abs(votes).sum()


THRESHOLDS = np.array([[100.0]], np.float32)


@pytest.mark.slow
@pytest.mark.first(1)
@pytest.mark.parametrize("how", TRAININGS)
def test_both_ways_learn_and_lose_nothing(how):
    images, labels = shapes(400)
    recipe = TINY._replace(
        training=how, **({"penalty": 1e-3, "sharpness": (4.0, 32.0)} if how == "smooth" else {})
    )
    recipe = recipe._replace(rotation=0.0, shear=0.0, rates=(0.03, 0.02))
    trained = learn_classifier(
        jax.random.key(0),
        (images, labels),
        thresholds=THRESHOLDS,
        config=recipe,
        epochs=12,
        batch_size=40,
    )
    assert bool(trained.certificate.exact)
    found = certify(trained.params)["erosions"]
    assert all(bool(part.exact.all()) for part in found)
    # An erosion by one pixel is a dilation, too.
    assert all(bool(((part.operation == 0) | (part.selem.sum(0) == 1)).all()) for part in found)
    net = model.classifier(model.wires(trained.votes, trained.bias))
    assert bool(certify_network(net, trained.params, (1, 14, 14, 1)).exact)
    tests, answers = shapes(700)
    levels = levelsets.decompose(tests[400:], THRESHOLDS.astype(int))
    real = net(trained.params, levels.astype(jnp.float32)).argmax(-1)
    binary = net(morphax.binarize(trained.params), levels).argmax(-1)
    assert (real == binary).all()
    assert (np.asarray(binary) == answers[400:]).mean() > 0.9


@pytest.mark.parametrize("how", TRAININGS)
def test_training_and_the_shipped_network_agree(how):
    images, _ = shapes(60)
    recipe = TINY._replace(training=how)
    latent = init_latent(jax.random.key(3), images, THRESHOLDS, classes=2, config=recipe)
    levels = levelsets.decompose(images, THRESHOLDS.astype(int)).astype(jnp.float32)
    weights = clauses.real_weights(latent, config=recipe, sharpness=recipe.sharpness[1])
    least = clauses.violations(weights, levels, config=recipe)
    params, _, _ = to_network(latent, config=recipe)
    shipped = model.features(params["erosions"], levels)
    slope = 40.0 if how == "straight-through" else recipe.slope[1]
    trained = [jax.nn.sigmoid(slope * (0.5 - v)).reshape(len(v), -1) for v in least]
    np.testing.assert_allclose(shipped, jnp.concatenate(trained, 1), atol=2e-5)
    assert 0.01 < float((shipped > 0.5).mean()) < 0.99 or how == "smooth"


def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    """Killed at any record, also within an epoch; the log is cut back to the checkpoint."""
    images, labels = shapes(100)
    options = {
        "thresholds": THRESHOLDS,
        "config": TINY,
        "epochs": 4,
        "batch_size": 20,
        "log_every": 6,
    }
    key, pairs = jax.random.key(1), (images, labels)
    log = tmp_path / "log.jsonl"
    saved = RunOptions(log=log, checkpoint=tmp_path / "run", checkpoint_every=2)
    whole = learn_classifier(key, pairs, **options)

    class Killed(BaseException):
        pass

    real, seen = loop.append_jsonl, []

    def dies(path, record):
        real(path, record)
        seen.append(record["step"])
        if seen == [6, 12, 18]:
            raise Killed

    monkeypatch.setattr(loop, "append_jsonl", dies)
    with pytest.raises(Killed):
        learn_classifier(key, pairs, run=saved, **options)
    resumed = learn_classifier(key, pairs, run=saved, **options)
    assert seen == [6, 12, 18, 18, 20], "only what was missing is made again"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines == resumed.history
    assert [record["step"] for record in lines] == [6, 12, 18, 20]
    for a, b in zip(whole.history, lines, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    jax.tree.map(np.testing.assert_array_equal, whole[:2], resumed[:2])
    np.testing.assert_array_equal(whole.votes, resumed.votes)
    with pytest.raises(ValueError, match=r"^settings: expected .* as in the checkpoint"):
        learn_classifier(key, pairs, run=saved, **{**options, "epochs": 5})


def test_a_classifier_that_is_trivial_says_so():
    images, labels = shapes(100)
    config = TINY._replace(channels=("gray",))
    options = {"thresholds": [[100]], "config": config, "batch_size": 20}
    blank = np.zeros_like(images)
    learned = learn_classifier(
        jax.random.key(0), (blank, labels), valid=(blank, labels), epochs=0.2, **options
    )
    assert learned.accuracy <= learned.trivial == 0.5
    assert learned.warning.startswith("No better than a trivial answer: 50.0% of the held-out")
    cut = learn_classifier(
        jax.random.key(0), (images, labels), log_every=1, run=RunOptions(time_limit=1e-9), **options
    )
    assert len(cut.history) == 1
    assert "cut short" in cut.warning


def test_what_is_not_finite_changes_nothing():
    images, labels = shapes(40)
    optimizer, step = training.make_step(TINY, THRESHOLDS, steps=10)
    latent = init_latent(jax.random.key(0), images, THRESHOLDS, classes=2, config=TINY)
    poisoned = {**latent, "bias": jnp.array([jnp.nan, 0.0])}
    after, _, loss, _ = step(
        poisoned, optimizer.init(latent), images[:20], labels[:20], jax.random.key(0), 0.0
    )
    assert not np.isfinite(float(loss))
    for a, b in zip(after["clauses"], latent["clauses"], strict=True):
        np.testing.assert_array_equal(a, b.clip(-TINY.bound, TINY.bound))
    np.testing.assert_array_equal(after["votes"], latent["votes"])


@pytest.mark.parametrize("shape, stride, regions", [((14, 17), 2, 3), ((10, 10), 3, 3)])
def test_training_sees_the_windows_of_the_network_region_by_region(rng, shape, stride, regions):
    levels = jnp.asarray(rng.random((2, *shape, 3)), jnp.float32)
    recipe = TINY._replace(stride=stride, regions=regions)
    seen = np.asarray(clauses.region_windows(levels, 5, recipe))
    wanted = np.asarray(model.windows(levels, size=5, stride=stride, regions=regions))
    rows, columns = (n // regions for n in wanted.shape[1:3])
    for i, j in itertools.product(range(regions), repeat=2):
        part = wanted[:, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        np.testing.assert_array_equal(seen[:, i * regions + j], part.reshape(2, rows * columns, -1))


def test_unknown_binary_bank_shape_is_named():
    node = BinaryBiSE(jnp.ones((19, 1), bool), jnp.ones(1, bool), jnp.zeros(1, bool), Spec("dense"))
    with pytest.raises(ValueError, match=r"^erosions: expected 2 literals"):
        model.features([node], jnp.zeros((1, 28, 28, 1), bool))


@pytest.mark.slow
def test_how_many_images_are_evaluated_at_a_time_changes_rounding_only(rng, monkeypatch):
    """An accelerator takes more of a batch at a time than a CPU."""
    images = jnp.asarray(rng.integers(0, 256, (40, 10, 10, 1)), jnp.uint8)
    labels = jnp.asarray(rng.integers(0, 3, 40), jnp.int32)
    config, cuts = TINY._replace(dropout=0.0), np.array([[100.0]])
    key, number = jax.random.key(0), np.float32(1)
    latent = init_latent(key, images, cuts, classes=3, config=config)
    found = []
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        found.append(training._at_once(40))
        optimizer, step = training.make_step(config, cuts, steps=9)
        found.append(step(latent, optimizer.init(latent), images, labels, key, number)[2:])
    (few, (loss, right)), (many, (same_loss, same_right)) = found[:2], found[2:]
    assert (few, many) == (10, 20)
    np.testing.assert_allclose(loss, same_loss, rtol=1e-5)
    assert right == same_right
