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
from tqdm import tqdm

import morphax
from morphax.classification import model
from morphax.neurons import models, reparam

sweep, dense = load_example("sweep_mnist"), load_example("dense_mnist")
networks, training = sys.modules["_sweep_networks"], sys.modules["_sweep_training"]
dense_training = sys.modules["_dense_training"]
# Optax's Adam mixes dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")
SMALL = networks.Protocol(hidden=5, searches=3, epochs=2, batch=10, every=2)


@pytest.fixture(scope="module")
def digits():
    """Images of 12 pixels, labels 0 to 9, for training, validation and test."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 120).astype(np.int32)
    images = (np.arange(12)[None] >= labels[:, None]) ^ (rng.random((120, 12)) < 0.05)
    parts = {"train": slice(0, 80), "valid": slice(80, 100), "test": slice(100, 120)}
    return {name: (images[part], labels[part]) for name, part in parts.items()}


@cache
def network(group, settings):
    """One object a group, so that its program is compiled once."""
    return networks.network(group, settings, 12, 0.5)


def train(
    digits, folder=None, *, hypers=None, group=("positive", "L_uni"), settings=SMALL, bar=None
):
    """Latent parameters and verdicts of a group of 16 steps."""
    images, labels = digits["train"]
    hypers = sweep.draw(group, settings, 0, 16) if hypers is None else hypers
    net = network(group, settings)
    device = jnp.asarray(images), jnp.asarray(labels)
    return training.train(
        net,
        hypers,
        device,
        settings,
        seed=0,
        steps=16,
        folder=folder,
        name="run",
        bar=bar or tqdm(disable=True),
    )


def assert_same(a, b):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(one, other)


class Bar:
    """A progress bar that keeps what it is told, and at one call kills the run."""

    def __init__(self, kill_at=None):
        self.n, self.told, self.kill_at = 0, [], kill_at

    def update(self, steps):
        self.n += steps
        self.told.append(steps)
        if len(self.told) == self.kill_at:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_group_ends_as_if_it_had_not_been(digits, tmp_path):
    whole, _ = train(digits)
    with pytest.raises(KeyboardInterrupt):
        train(digits, tmp_path / "group", bar=Bar(kill_at=3))
    bar = Bar()
    resumed, _ = train(digits, tmp_path / "group", bar=bar)
    assert bar.told == [12, 4]  # steps 1 to 8 were saved, and are not taken again
    assert_same(whole, resumed)


@pytest.mark.slow
def test_a_diverging_member_is_recorded_and_poisons_no_other(digits):
    group = ("positive", "L_uni")
    hypers = sweep.draw(group, SMALL, 0, 16)
    sound, fine = train(digits, hypers=hypers)
    bad = {**hypers, "rate": np.array([hypers["rate"][0], np.nan, hypers["rate"][2]], np.float32)}
    lost, broken = train(digits, hypers=bad)
    assert fine.tolist() == [-1, -1, -1]
    assert broken[1] > 0
    assert [broken[0], broken[2]] == [-1, -1]
    for one, other in zip(jax.tree.leaves(sound), jax.tree.leaves(lost), strict=True):
        np.testing.assert_array_equal(one[::2], other[::2])
        assert not np.isfinite(other[1]).any()


@pytest.mark.slow
def test_rows_of_a_group_with_a_lost_member(digits, tmp_path, monkeypatch):
    draw = sweep.draw

    def lost(*args):
        hypers = draw(*args)
        hypers["rate"][1] = np.inf
        return hypers

    monkeypatch.setattr(sweep, "draw", lost)
    rows = sweep.run_group(
        ("dual", "none"), digits, SMALL, seed=0, folder=tmp_path, name="x", bar=tqdm(disable=True)
    )
    assert [row["diverged"] is None for row in rows] == [True, False, True]
    assert rows[1]["test_binary_error"] is None
    assert [row["best"] for row in rows].count(True) == 1
    assert not rows[1]["best"]
    best = next(row for row in rows if row["best"])
    assert best["valid_binary_error"] == min(rows[i]["valid_binary_error"] for i in (0, 2))
    assert best["operations"] >= 0
    rows[1]["rate"] = 0.0  # infinite by this test's doing
    json.dumps(rows, allow_nan=False)


@pytest.mark.slow
def test_all_members_at_once_or_alone(digits, monkeypatch):
    """A member does not depend on its company."""
    monkeypatch.setattr(training, "AT_ONCE", 2)
    many, _ = train(digits, group=("identity", "none"))
    alone, _ = train(digits, group=("identity", "none"), settings=SMALL._replace(searches=1))
    for one, other in zip(jax.tree.leaves(many), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one[:1], other, rtol=2e-4, atol=2e-5)


def test_searches_are_equal_and_in_the_ranges_of_the_papers():
    groups = [(w, r) for w in sweep.WEIGHT_MAPS for r in sweep.REGULARIZERS]
    settings = sweep.PROTOCOLS["full"]
    drawn = {group: sweep.draw(group, settings, 0, 50_000) for group in groups}
    rates = np.stack([hypers["rate"] for hypers in drawn.values()])
    assert (rates == rates[:1]).all()
    assert rates.min() >= 1e-3
    assert rates.max() <= 1e-1
    assert set(drawn["positive", "L_uni"]["delay"].tolist()) == {0, 1000, 5000, 10000}
    assert set(drawn["dual", "L_nor"]["delay"].tolist()) == {10000, 15000, 20000}
    assert set(drawn["dual", "none"]["bias_map"].tolist()) == {0, 1, 2, 3}
    assert not drawn["identity", "none"]["bias_map"].any()
    assert not drawn["positive", "none"]["coefficient"].any()
    short = sweep.draw(("positive", "L_uni"), settings, 0, 2500)["delay"]
    np.testing.assert_array_equal(short, drawn["positive", "L_uni"]["delay"] // 10)


@pytest.mark.first(2)
@pytest.mark.parametrize("weight_map", sweep.WEIGHT_MAPS)
@pytest.mark.parametrize("bias_map", [0, 1])
def test_the_network_is_the_papers_classifier(weight_map, bias_map, rng):
    """Written out in numpy: two DenseLUIs, the last one without its threshold."""
    net = networks.network((weight_map, "none"), SMALL, 12, 0.3)
    hyper = {"bias_map": jnp.int32(0 if weight_map == "identity" else bias_map)}
    latent = jax.tree.map(
        lambda a: a + jnp.asarray(rng.normal(0, 0.1, a.shape), a.dtype),
        net.init(jax.random.key(0), hyper),
    )
    x = rng.random((7, 12)) < 0.4
    specs = {}
    for name, shape in (("hidden", (12, 5)), ("last", (5, 10))):
        node = models.init_dense_lui(
            jax.random.key(0), *shape, weight_map=weight_map, bias_map="raw"
        )
        specs[name] = node.spec.factor

    def potential(name, x):
        w, b, p = (np.asarray(latent[name][k], float) for k in ("weight", "bias", "scale"))
        if weight_map != "identity":
            w = np.logaddexp(w, 0)
            if weight_map == "dual":
                w = specs[name] * w / w.sum(0)
            b = np.logaddexp(b, 0) if bias_map else b
        return p * (x @ w - b)

    expected = potential("last", np.tanh(potential("hidden", x)) / 2 + 0.5)
    scores = net.scores(latent, hyper, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_interval_biases_are_those_of_reparam(rng):
    latent = {
        "weight": jnp.asarray(rng.normal(size=(12, 5)), jnp.float32),
        "bias": jnp.asarray(rng.normal(0, 9, 5), jnp.float32),
        "scale": jnp.ones(5),
    }
    spec = morphax.Spec("dense", "positive", "raw")
    weights = morphax.effective(morphax.BiSE(**latent, spec=spec))[0]
    for number, name in enumerate(sweep.BIAS_MAPS):
        node = networks.to_node(latent, spec, jnp.int32(number), 4)
        expected = reparam.effective_bias(latent["bias"], name, weights)
        np.testing.assert_array_equal(node.bias, expected)


def test_a_journal_forgets_a_line_cut_short_and_other_settings(tmp_path):
    path = tmp_path / "journal.jsonl"
    lines = [
        {"settings": s, "group": g, "rows": [i]} for i, (s, g) in enumerate(("xa", "ya", "xb"))
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text + '{"settings": "x", "gro')
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
