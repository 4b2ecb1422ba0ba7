"""What recipes hand out: the binary network that was judged, trivial answers, starts in order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import small_pictures

import morphax
from morphax import data, recipes, training
from morphax.binarization import METHODS
from morphax.morphology import elements
from morphax.neurons import models
from morphax.objectives import metrics
from morphax.recipes import _judging
from morphax.recipes.gradients import _search, _starts, operators


def uncertified(seed, channels, size=5):
    """Return a network with random weights and biases near those of an opening or closing."""
    key = jax.random.key(seed)
    params = models.init_bimonn(
        key, channels, kernel_size=size, weight_map="identity", bias_map="centred"
    )
    start = _starts.nth_start(params, 1 + seed % 2)[0]
    params = _starts.initialise(key, params, start, scale=4.0)
    draw = jax.random.uniform(jax.random.fold_in(key, 1), (size, size, 1, 1))
    return jax.tree.map(lambda leaf: leaf * draw * 2 if leaf.ndim == 4 else leaf, params)


@pytest.mark.first(1)
@pytest.mark.parametrize("channels", [(1, 1), (1, 1, 1), (1, 3, 1)])
def test_the_best_of_the_four_methods_is_handed_out(channels):
    images = small_pictures(jax.random.key(0), 24, (24, 24))
    pairs = images, data.target(images, "opening", elements.disk(5))
    run, chosen = jax.jit(models.bimonn), set()
    for seed in range(3):
        params = uncertified(seed, channels)
        learned = _judging.learned_from(params, models.bimonn, pairs, pairs, history=[], runs=1)
        assert not bool(learned.certificate.exact)
        outputs = {m: run(morphax.binarize(params, method=m), images) for m in METHODS}
        scores = {m: float(metrics.dice(output, pairs[1])) for m, output in outputs.items()}
        assert learned.verdict.dice == pytest.approx(max(scores.values()), abs=1e-5)
        assert scores[learned.method] == max(scores.values())
        assert (run(learned.binary, images) == outputs[learned.method]).all()
        chosen.add(learned.method)
    assert chosen != {"projection"}, "these networks are those for which the choice matters"


@pytest.mark.slow
def test_a_run_is_scored_by_the_network_that_is_returned():
    images = jax.random.bernoulli(jax.random.key(1), 0.7, (96, 16, 16, 1))
    targets = data.target(images, "opening", elements.square(3))
    noisy = targets ^ jax.random.bernoulli(jax.random.key(2), 0.05, targets.shape)
    learned = recipes.learn_operator(
        jax.random.key(3),
        (images[32:], noisy[32:]),
        valid=(images[:32], noisy[:32]),
        kernel_size=3,
        steps=50,
        restarts=1,
        method="gradients",
    )
    dice = metrics.dice(models.bimonn(learned.binary, images[:32]), noisy[:32])
    assert learned.history[-1]["binary"] == pytest.approx(float(dice), abs=1e-6)
    assert learned.history[-1]["method"] == learned.method
    assert learned.verdict.dice == pytest.approx(float(dice), abs=1e-6)


def test_a_certified_network_is_binarized_in_one_way():
    images = jax.random.bernoulli(jax.random.key(1), 0.7, (4, 8, 8, 1))
    binary = morphax.binarize(models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3))
    best = recipes.best_binary(morphax.realize(binary), models.bimonn, (images, images))
    assert best.method == "projection"
    assert list(best.scores) == ["projection"]
    assert best.gap == 0
    pairs_of_leaves = zip(jax.tree.leaves(best.binary), jax.tree.leaves(binary), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs_of_leaves)  # their specs differ


def table_error(train, valid):
    """Count 3 x 3 windows in a dictionary, pixel by pixel; the error of their majority."""

    def windows(images):
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        for i, y, x in np.ndindex(images.shape[:3]):
            yield (i, y, x), padded[i, y : y + 3, x : x + 3].tobytes()

    votes = {}
    for place, window in windows(train[0]):
        votes[window] = votes.get(window, 0) + (1 if train[1][place][0] else -1)
    wrong = [
        (votes.get(window, 0) > 0) != valid[1][place][0] for place, window in windows(valid[0])
    ]
    return np.mean(wrong)


def test_trivial_answers_by_hand(rng):
    for channels in (1, 2):
        train, valid = (rng.random((3, 9, 8, channels)) < 0.6 for _ in range(2))
        near = [
            (x.sum(-1, keepdims=True) > 0) ^ (rng.random((*x.shape[:3], 1)) < 0.2)
            for x in (train, valid)
        ]
        errors = recipes.trivial_answers((train, near[0]), (valid, near[1]))
        assert errors["empty"] == pytest.approx(near[1].mean())
        assert errors["full"] == pytest.approx(1 - near[1].mean())
        assert errors["3x3 table"] == pytest.approx(table_error((train, near[0]), (valid, near[1])))
        assert ("copy" in errors) == (channels == 1)
    assert errors["empty"] != errors["3x3 table"]
    images = rng.random((200, 9, 8, 1)) < 0.5
    inside = np.zeros((1, 9, 8, 1), bool)
    inside[:, 2:-2, 1:-1] = True
    spoilt, whole = (images, np.where(inside, images, ~images)), (images, images)
    assert recipes.trivial_answers(spoilt, whole)["3x3 table"] > 0.3
    assert recipes.trivial_answers(spoilt, whole, frame=(2, 1))["3x3 table"] < 0.1
    three = np.zeros((1, 5, 5, 3), bool)
    assert "3x3 table" not in recipes.trivial_answers((three, three), (three, three))


@pytest.mark.parametrize(
    "error, trivial, name",
    [
        (0.0, {"copy": 0.0, "empty": 0.5}, None),
        (0.1, {"copy": 0.1, "empty": 0.5}, "copy"),
        (0.1, {"copy": 0.3, "empty": 0.1, "3x3 table": 0.2}, "empty"),
        (0.1, {"copy": 0.3, "3x3 table": 0.1}, None),
        (0.1004, {"copy": 0.3, "3x3 table": 0.1}, None),
        (0.11, {"copy": 0.3, "3x3 table": 0.1}, "3x3 table"),
        (0.1, {"empty": 0.1, "3x3 table": 0.0995}, "empty"),
    ],
)
def test_what_is_warned_of(error, trivial, name):
    warning = _judging.warning_of(recipes.Verdict(error, 0.5, trivial))
    assert (warning is None) == (name is None)
    assert name is None or f'with "{name}"' in warning
    cut = _judging.warning_of(recipes.Verdict(error, 0.5, trivial), cut_short=True)
    assert cut.endswith("The search was cut short; this is the best network so far.")


@pytest.mark.slow
def test_what_cannot_be_learned_says_so():
    """Targets that have nothing to do with the images: nothing beats the empty image."""
    images, targets = (
        jax.random.bernoulli(jax.random.key(i), p, (64, 12, 12, 1)) for i, p in ((0, 0.5), (1, 0.1))
    )
    pairs = (images[16:], targets[16:]), (images[:16], targets[:16])
    learned = recipes.learn_operator(
        jax.random.key(3),
        pairs[0],
        valid=pairs[1],
        kernel_size=3,
        steps=50,
        restarts=2,
        run=training.RunOptions(time_limit=1e-9),
    )
    assert learned.warning.startswith("No better than a trivial answer: ")
    assert "cut short" in learned.warning
    assert learned.runs == 1


@pytest.mark.slow
def test_a_repeated_run_does_not_use_up_the_next_start(monkeypatch):
    """The first run is nearly right and repeated; the known starts are still gone through twice."""
    images = jax.random.bernoulli(jax.random.key(0), 0.5, (64, 6, 6, 1))
    centre = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    spec = morphax.Spec("spatial", "identity", "raw")

    def network(scale):
        return [
            {"bise": morphax.BiSE(centre, jnp.full((1, 1), 0.5), jnp.full((1, 1), scale), spec)}
        ]

    targets = images.at[:2].set(~images[:2])  # two images in 64 are wrong: nearly right
    config = operators._run_config(50, 4, 1e-2, False, (0, 0))._replace(chunks=(0, 1))
    seen = []

    def fit(key, apply, params, pairs, *, chunk, **options):
        seen.append((params, chunk, bool((pairs[0] == images).all())))
        near = len(seen) in (1, 5)
        state = training.TrainState(network(20.0 if near else -20.0), None, jnp.array(50))
        record = {"step": 50, "loss": 0.0, "float": 0.9, "binary": 0.9, "exact": 1.0}
        return training.Run(state, [record])

    monkeypatch.setattr(_search, "fit", fit)
    monkeypatch.setattr(_search, "initialise", lambda key, params, start, scale: start)
    one = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
    pairs, run = (images, targets), training.RunOptions()
    arguments = (jax.random.key(0), lambda key: one, pairs, pairs, config)
    found = _search.search(*arguments, restarts=9, patience=9, goal=1.0, run=run)
    known = list(_starts.ONE_MAP)
    assert [start for start, _, _ in seen] == [
        known[0],
        known[0],
        known[1],
        known[2],
        known[0],
        known[0],
        known[1],
        known[2],
        _starts.Start(None, 0),
    ]
    assert [round_ for _, round_, _ in seen] == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert [whole for _, _, whole in seen] == [True, False, True, True, True, False, *[True] * 3]
    assert found.runs == 9
    assert int(found.wrong.sum()) == 2
    # The first run is the best: three more in a row are no better, and the search ends.
    seen.clear()
    assert _search.search(*arguments, restarts=9, patience=3, goal=1.0, run=run).runs == 4
