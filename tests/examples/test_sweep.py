"""The sweep and the dense classifier of the examples: resumed runs, lost members, networks,
heads."""

import json
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.repository import load_example

import morphax
from morphax.classification import model
from morphax.training import RunOptions

sweep, dense = load_example("sweep_mnist"), load_example("dense_mnist")
networks, training = sys.modules["_sweep_networks"], sys.modules["_sweep_training"]
journals = sys.modules["_sweep_journal"]
dense_training = sys.modules["_dense_training"]
# Optax's Adam mixes dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")
SMALL = networks.Protocol(hidden=5, narrow=4, searches=2, epochs=3, batch=10, every=2, refit=20)
ABOUT = {"commit": "0" * 40, "device": "cpu: cpu"}
LATE = networks.Hyper(np.float32(0.05), np.float32(0.5), np.int32(8))


@pytest.fixture(scope="module")
def digits():
    """Images of 12 pixels, labels 0 to 9, for training, validation and test."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 120).astype(np.int32)
    images = (np.arange(12)[None] >= labels[:, None]) ^ (rng.random((120, 12)) < 0.05)
    parts = {"train": slice(0, 80), "valid": slice(80, 100), "test": slice(100, 120)}
    return {name: (images[part], labels[part]) for name, part in parts.items()}


@cache
def network(group):
    """One object a group, so that its programs are compiled once."""
    return networks.network(group, SMALL, np.arange(24).reshape(2, 12) % 2 == 0)


def train(digits, *, hyper=LATE, group=("positive", "L_uni"), **run):
    """A search of 24 steps, three epochs; the penalty sets in after the first."""
    given = {"seed": 0, "search": 0, "name": "run", "run": RunOptions(**run)}
    return training.train(network(group), hyper, digits, SMALL, **given)


def assert_same(a, b):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_search_cut_short_ends_as_if_it_had_not_been(digits, tmp_path):
    whole = train(digits)
    cut = train(digits, checkpoint=tmp_path / "search", time_limit=1e-9)
    assert cut.is_cut_short
    assert int(cut.state.step) == 8
    resumed = train(digits, checkpoint=tmp_path / "search")
    assert_same(whole.state, resumed.state)
    assert [r["loss"] for r in whole.history] == [r["loss"] for r in resumed.history]


@pytest.mark.slow
def test_best_weights_are_those_of_the_least_record(digits):
    """By both rules; the total loss holds the penalty from the step on at which it sets in."""
    done = train(digits)
    for rule in training.CHECKPOINTS[1:]:
        records = [np.float32(record[rule]) for record in done.history]
        best = done.state.opt_state[1][rule]
        assert best.value == min(records)
        assert int(best.step) == 8 * (1 + int(np.argmin(records)))
    net, valid = network(("positive", "L_uni")), map(jnp.asarray, digits["valid"])
    images, labels = valid
    data_loss = training.loss(net, done.state.params, images.astype(jnp.float32), labels)
    penalty = net.penalty(done.state.params, 0)
    expected = float(data_loss + LATE.coefficient * penalty)
    assert done.history[-1]["total loss"] == pytest.approx(expected, rel=1e-4)
    picked = training.chosen(done.state)
    assert list(picked) == list(training.CHECKPOINTS)
    assert picked["end"][1] == 24


@pytest.mark.slow
def test_a_late_penalty_can_be_undone_by_the_choice_of_weights(digits, tmp_path, monkeypatch):
    """The least total loss is then of before the penalty, and the row says so."""
    monkeypatch.setattr(sweep, "draw", lambda *_, **__: LATE._replace(coefficient=np.float32(1e3)))
    search = sweep.Search("positive", "L_uni", 0)
    rows = sweep.run_search(
        search, network(search[:2]), digits, SMALL, seed=0, run=RunOptions(), name="x"
    )
    by_rule = {row["checkpoint"]: row for row in rows}
    assert by_rule["total loss"]["step"] == 8
    assert by_rule["total loss"]["before_penalty"]
    assert not by_rule["end"]["before_penalty"]
    assert 0 <= by_rule["end"]["test_refit_error"] <= 1
    assert by_rule["end"]["hidden"] == 5
    json.dumps(rows, allow_nan=False)


def test_a_slice_goes_on_where_the_last_one_ended(digits, tmp_path, monkeypatch):
    """One search of each group comes before the second of any; the journal is not run again."""
    options = sweep.parse(
        ["--out", str(tmp_path), "--only", "positive", "--groups", "none", "L_nor"]
    )
    ran = []

    def search(search, *_, run, **__):
        run.checkpoint.mkdir(parents=True, exist_ok=True)
        ran.append(search.label)
        return [] if len(ran) != 3 else None

    monkeypatch.setattr(sweep, "run_search", search)
    monkeypatch.setattr(sweep, "say", lambda rows: None)
    assert sweep.run_slice(digits, SMALL, options, ABOUT) == ([], 2)
    assert sweep.run_slice(digits, SMALL, options, ABOUT) == ([], 0)
    first = ["positive none 0", "positive L_nor 0", "positive none 1"]
    assert ran == [*first, "positive none 1", "positive L_nor 1"]


@pytest.mark.slow
def test_evaluation_against_the_networks_themselves(digits):
    group = ("positive", "none")
    net = network(group)
    done = train(digits, hyper=LATE._replace(coefficient=np.float32(0)), group=group)
    record = training.evaluate(net, done.state.params, digits, SMALL)
    exact, binary = net.judge(done.state.params)
    images, labels = digits["test"]
    answers = networks.classifier(binary, jnp.asarray(images)).argmax(-1)
    assert record["test_binary_error"] == pytest.approx((np.asarray(answers) != labels).mean())
    assert record["certified"] == pytest.approx(np.asarray(exact).mean())
    assert record["median_selem"] == np.median(np.asarray(binary["hidden"].selem).sum(0))


def test_searches_are_equal_and_in_the_ranges_of_the_papers():
    def drawn(group, steps=25_000):
        return [sweep.draw(group, seed=0, search=i, steps=steps) for i in range(40)]

    groups = [(w, r) for w in sweep.WEIGHT_MAPS for r in sweep.REGULARIZERS]
    rates = np.array([[hyper.rate for hyper in drawn(group)] for group in groups])
    assert (rates == rates[:1]).all()
    assert rates.min() >= 1e-2
    assert rates.max() <= 1e-1
    uniform = drawn(("positive", "L_uni"))
    assert {int(hyper.delay) for hyper in uniform} == {0, 1000, 5000, 10000}
    assert {round(float(hyper.coefficient), 6) for hyper in uniform} == {0.01, 0.001}
    assert uniform == drawn(("positive", "L_exact"))
    assert {int(hyper.delay) for hyper in drawn(("dual", "L_nor"))} == {10000, 15000, 20000}
    assert not any(hyper.coefficient for hyper in drawn(("positive", "none")))
    short = drawn(("positive", "L_uni"), steps=2500)
    assert [hyper.delay for hyper in short] == [hyper.delay // 10 for hyper in uniform]


def test_tied_neurons_start_as_pixels_of_an_image_and_certified(rng):
    """Erosions by pixels that are set in some image, dilations by pixels that are not."""
    images = rng.random((6, 25)) < 0.5
    net = networks.network((networks.TIED, "L_bounds"), SMALL._replace(hidden=8), images)
    latent = net.init(jax.random.key(0))
    assert not latent["hidden"]["scale"].any()
    latent["hidden"]["scale"] = jnp.full(8, 20.0)
    exact, binary = net.judge(latent)
    selem, erosion = np.asarray(binary["hidden"].selem).T, np.asarray(binary["hidden"].erosion)
    weights = np.asarray(morphax.effective(networks.tied.node(latent["hidden"]))[0])
    started = (weights > 0.1).sum(-1) > 1  # a neuron may have drawn none of its pixels, or one
    assert started.sum() >= 4
    assert np.asarray(exact)[started].all()
    assert erosion[started].tolist() == (np.arange(8) < 4)[started].tolist()
    for pixels, wanted in zip(selem[started], erosion[started], strict=True):
        assert (images[:, pixels] == wanted).all(1).any()


@pytest.mark.first(2)
@pytest.mark.parametrize("weight_map", sweep.WEIGHT_MAPS)
def test_the_network_is_the_papers_classifier(weight_map, rng):
    """Written out in numpy: two DenseLUIs, the last one without its threshold."""
    net = network((weight_map, "none"))
    latent = jax.tree.map(
        lambda a: a + jnp.asarray(rng.normal(0, 0.1, a.shape), a.dtype), net.init(jax.random.key(0))
    )
    assert not net.init(jax.random.key(0))["hidden"].scale.any()
    x = rng.random((7, 12)) < 0.4

    def potential(name, x):
        node = latent[name]
        w, b, p = (np.asarray(leaf, float) for leaf in (node.weight, node.bias, node.scale))
        if weight_map != "identity":
            w, b = np.logaddexp(w, 0), np.logaddexp(b, 0)
            if weight_map == "dual":
                w = node.spec.factor * w / w.sum(0)
        return p * (x @ w - b)

    expected = potential("last", np.tanh(potential("hidden", x)) / 2 + 0.5)
    scores = net.scores(latent, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("baseline", sweep.BASELINES)
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_baselines_learn_at_every_rate_of_the_sweep(digits, baseline, rate):
    """Where most pixels are never set, as around digits, too."""
    parts = {}
    for name, (images, labels) in digits.items():
        parts[name] = np.concatenate([images, np.zeros((len(images), 60), bool)], 1), labels
    net = networks.network((baseline, "none"), SMALL._replace(hidden=64), parts["train"][0])
    hyper = networks.Hyper(np.float32(rate), np.float32(0), np.int32(0))
    settings = SMALL._replace(hidden=64, epochs=20)
    done = training.train(
        net, hyper, parts, settings, seed=0, search=0, name="run", run=RunOptions()
    )
    images, labels = parts["train"]
    answers = net.scores(done.state.params, jnp.asarray(images, jnp.float32)).argmax(-1)
    assert (np.asarray(answers) != labels).mean() <= 0.2
    if baseline == "STE":
        assert float(jnp.abs(done.state.params["hidden"]).max()) <= 1


def test_published_searches_are_taken_over(digits, tmp_path, monkeypatch):
    """With where they were made; the journal goes first; other settings are refused in one line."""
    about = {**ABOUT, "date": "2026", "settings": SMALL._asdict(), "seed": 0, "train_images": 80}
    row = {"weights": "positive", "regularizer": "none", "number": 0}
    path = tmp_path / "published.json"
    path.write_text(json.dumps({"metadata": about, "results": [row, {**row, "number": 1}]}))
    only = ["--only", "positive", "--groups", "none"]
    options = sweep.parse(["--out", str(tmp_path), "--begin", str(path), *only])
    monkeypatch.setattr(sweep, "run_search", None)  # none is left to run
    rows, left = sweep.run_slice(digits, SMALL._replace(searches=2), options, about)
    made = {"date": "2026", "commit": "0000000", "device": "cpu: cpu"}
    assert (rows, left) == ([{**row, **made}, {**row, "number": 1, **made}], 0)
    with pytest.raises(ValueError, match=r"^--begin: expected searches with seed 1, got 0: .*"):
        journals.published(path, about | {"seed": 1})


def test_a_journal_forgets_a_line_cut_short_and_other_settings(tmp_path):
    path = tmp_path / "journal.jsonl"
    lines = [
        {"settings": s, "search": g, "rows": [i]} for i, (s, g) in enumerate(("xa", "ya", "xb"))
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text + '{"settings": "x", "sea')
    assert sweep.journal(path, "x") == {"a": [0], "b": [2]}
    assert path.read_text() == text
    assert sweep.journal(tmp_path / "none", "x") == {}


@pytest.mark.parametrize("example", [sweep, dense], ids=["sweep", "dense"])
def test_missing_data_is_one_line(example, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MORPHAX_DATA", raising=False)
    assert example.main(["--out", str(tmp_path / "out")]) == 2
    assert "data_dir: not given" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("training", ["smooth", "straight-through"])
def test_dense_neurons_are_erosions_and_complemented_dilations(training, rng):
    """On all images of 6 pixels, against the sets themselves."""
    q = np.where(rng.random((6, 8)) < 0.4, 0.9, -0.9).astype(np.float32)
    q[0] = 0.9  # no empty set
    node = dense.node(jnp.asarray(q), training=training, sharpness=32.0, slope=16.0)
    binary = morphax.binarize(node)
    x = (np.arange(64)[:, None] >> np.arange(6) & 1).astype(bool)
    every = np.stack([x[:, q[:, j] > 0].all(1) for j in range(4)], 1)
    none = np.stack([~x[:, q[:, j] > 0].any(1) for j in range(4, 8)], 1)
    np.testing.assert_array_equal(
        morphax.apply(binary, jnp.asarray(x)), np.concatenate([every, none], 1)
    )
    assert bool(morphax.certify_network(morphax.apply, node, (1, 6)).exact)
    real = morphax.apply(node, jnp.asarray(x, jnp.float32))
    np.testing.assert_array_equal(real > 0.5, np.concatenate([every, none], 1))


def test_dense_counts_are_integer_votes(rng):
    q = rng.normal(size=(6, 8)).astype(np.float32)
    lui = morphax.binarize(
        dense.node(jnp.asarray(q), training="straight-through", sharpness=1, slope=2.0)
    )
    votes, bias = rng.integers(-3, 4, (8, 10)), rng.integers(-5, 6, 10)
    x = jnp.asarray(rng.random((40, 6)) < 0.5)
    counts = np.asarray(dense.counting(model.wires(votes, bias))({"lui": lui}, x))
    expected = np.asarray(morphax.apply(lui, x)).astype(int) @ votes + bias[None]
    np.testing.assert_array_equal(counts - counts[:, :1], expected - expected[:, :1])


@pytest.mark.slow
def test_an_interrupted_dense_run_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 5, 5, 1)).astype(np.uint8)
    given = {"training": "smooth", "neurons": 4, "epochs": 2, "batch": 10, "length": 2}
    train_set = images, rng.integers(0, 10, 40).astype(np.int32)
    whole, history = dense.fit(jax.random.key(0), train_set, folder=tmp_path / "whole", **given)
    place, steps = dense_training.place, []

    def placed_then_killed(count, batch, step):
        if step == 5 and 5 not in steps:
            steps.append(step)
            raise KeyboardInterrupt
        steps.append(step)
        return place(count, batch, step)

    monkeypatch.setattr(dense_training, "place", placed_then_killed)
    with pytest.raises(KeyboardInterrupt):
        dense.fit(jax.random.key(0), train_set, folder=tmp_path / "cut", **given)
    resumed, after = dense.fit(jax.random.key(0), train_set, folder=tmp_path / "cut", **given)
    assert steps == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7]
    assert_same(whole, resumed)
    assert [r["step"] for r in after] == [r["step"] for r in history] == [2, 4, 6, 8]
    with pytest.raises(ValueError, match=r"settings: expected .* as in the checkpoint"):
        dense.fit(jax.random.key(0), train_set, folder=tmp_path / "cut", **{**given, "epochs": 3})


def test_neurons_without_pixels_become_a_bias(rng):
    """What they always said is kept; a certificate knows no constant neurons."""
    q = np.where(rng.random((6, 8)) < 0.5, 0.9, -0.9).astype(np.float32)
    q[0], q[:, [1, 6]] = 0.9, -np.linspace(0.2, 0.9, 6)[:, None]
    latent = {"q": q, "votes": rng.normal(size=(8, 10)), "bias": rng.normal(size=10)}
    latent = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), latent)
    settled, count = dense.settle(latent)
    assert count == 2
    given = {"training": "straight-through", "sharpness": 1.0, "slope": 40.0}
    x = rng.random((20, 6)) < 0.5
    scores = []
    for tree in (latent, settled):
        params = {
            "lui": dense.node(tree["q"], **given),
            "votes": tree["votes"],
            "bias": tree["bias"],
        }
        params["votes"] = params["votes"] * 0.1  # the gain of training
        scores.append(dense.classifier(params, jnp.asarray(x, jnp.float32)))
    np.testing.assert_allclose(*scores, atol=1e-5)
    verdict = morphax.certify_network(dense.classifier, params, (1, 6))
    assert bool(verdict.exact)
    bits = morphax.binarize(params)
    np.testing.assert_allclose(dense.classifier(bits, jnp.asarray(x)), scores[0], atol=1e-5)
