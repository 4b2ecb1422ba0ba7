"""Training: reproducible, logged line by line, stopped when asked; losses, metrics, transforms."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.networks import built_bimonn, random_images

import morphax
from morphax import training
from morphax.neurons import models
from morphax.neurons.nodes import BiSE, Spec
from morphax.objectives import losses, metrics
from morphax.training import RunOptions, transforms

SHAPE = (24, 8, 8, 1)
STEPS = 10


@pytest.fixture(scope="module")
def data():
    x = jnp.asarray(random_images(np.random.default_rng(0), SHAPE))
    y = morphax.dilation(x[..., 0], np.ones((1, 3), bool))[..., None]
    return x, y


@pytest.fixture(scope="module")
def params():
    return models.init_bimonn(
        jax.random.key(0), [1, 1], kernel_size=3, weight_map="identity", bias_map="centred"
    )


OPTIMIZER = optax.adam(1e-2)


@pytest.fixture(scope="module")
def programs():
    """One compiled program each for the steps and the metrics of all runs here."""
    step = training.make_step(models.bimonn, OPTIMIZER)
    return {
        "chunk": training.make_chunk(step, batch_size=4, length=STEPS),
        "evaluate": training.make_evaluate(models.bimonn, method="constant-exact"),
    }


def fit(key, params, data, programs, **options):
    options = {"steps": 3 * STEPS} | options
    return training.fit(
        jax.random.key(key),
        models.bimonn,
        params,
        data,
        valid=data,
        optimizer=OPTIMIZER,
        log_every=STEPS,
        **programs,
        **options,
    )


def test_a_run_is_a_function_of_its_key(params, data, programs):
    first, again, other = (fit(key, params, data, programs) for key in (0, 0, 1))
    equal = jax.tree.map(jnp.array_equal, first.state, again.state)
    assert all(jax.tree.leaves(equal))
    assert not jnp.array_equal(
        first.state.params[0]["bise"].weight, other.state.params[0]["bise"].weight
    )
    drop = lambda run: [{k: v for k, v in r.items() if k != "seconds"} for r in run.history]  # noqa: E731
    assert drop(first) == drop(again)
    assert drop(first) != drop(other)


def test_records_and_log(params, data, programs, tmp_path):
    log = tmp_path / "log.jsonl"
    run = fit(0, params, data, programs, steps=25, run=RunOptions(log=log))  # rounded up to 30
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines == run.history
    assert [r["step"] for r in lines] == [10, 20, 30]
    assert int(run.state.step) == 30
    names = {"step", "loss", "seconds", "float", "binary", "gap", "certified", "exact"}
    assert set(lines[0]) == names
    assert lines[-1]["loss"] < lines[0]["loss"]
    last = run.state.params
    expected = programs["evaluate"](last, data)
    for name, value in expected.items():
        assert lines[-1][name] == pytest.approx(float(value))


def test_early_stops(params, data, programs):
    run = fit(0, params, data, programs, until=lambda record: record["step"] >= 2 * STEPS)
    assert len(run.history) == 2
    scripted = iter([3.0, 2.0, 2.0, 5.0, 1.0])

    def chunk(key, state, data):
        return state._replace(step=state.step + STEPS), jnp.float32(next(scripted))

    run = fit(0, params, data, programs | {"chunk": chunk}, steps=50, patience=2)
    assert [r["loss"] for r in run.history] == [3.0, 2.0, 2.0, 5.0]


KILLED = """
import sys, time
import jax, jax.numpy as jnp, optax
from morphax import training

def slow(params, data):
    time.sleep(0.05)
    return {"float": 0.5}

x = jnp.zeros((2, 3, 3, 1), bool)
training.fit(jax.random.key(0), lambda p, x: x * p, jnp.ones(()), (x, x), valid=(x, x),
             optimizer=optax.sgd(0.1), steps=10**6, log_every=1, batch_size=2, evaluate=slow,
             run=training.RunOptions(log=sys.argv[1]))
"""


def test_a_killed_run_keeps_its_records(tmp_path):
    log = tmp_path / "log.jsonl"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(log)], env=os.environ)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (not log.exists() or log.read_text().count("\n") < 3):
            assert process.poll() is None, "the run ended by itself"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) >= 3
    assert [record["step"] for record in lines] == list(range(1, len(lines) + 1))


def bad(data, **changes):
    x, y = data
    return {
        "rank": (x[..., 0], y),
        "empty": (x[:0], y[:0]),
        "counts": (x, y[:3]),
        "above": (jnp.where(x, 1.5, 0.0), y),
        "far below": (jnp.where(x, -1.5, 0.0), y),
        "nan": (jnp.where(x, jnp.nan, 0.0), y),
        "nan target": (x, jnp.where(y, jnp.nan, 0.0)),
        "integers": (x.astype(jnp.uint8) * 255, y),
    }


@pytest.mark.parametrize("name", bad((jnp.ones((2, 3, 3, 1)), jnp.ones((2, 3, 3, 1)))))
@pytest.mark.parametrize("which", ["train", "valid"])
def test_bad_data(name, which, params, data, programs):
    given = {"train": data, "valid": data} | {which: bad(data)[name]}
    with pytest.raises(ValueError, match=rf"^{which}\[[01]\]: expected .+, got"):
        training.fit(
            jax.random.key(0),
            models.bimonn,
            params,
            given["train"],
            valid=given["valid"],
            optimizer=OPTIMIZER,
            steps=1,
            **programs,
        )


def test_unknown_loss(params, data):
    with pytest.raises(ValueError, match=r"^loss: expected one of 'mse', 'bce', 'dice'"):
        training.make_step(models.bimonn, OPTIMIZER, loss="l1")


@pytest.mark.parametrize("name", losses.LOSSES)
def test_losses(name, rng):
    loss = losses.loss_named(name)
    y = jnp.asarray(rng.random((3, 5, 5, 1)) < 0.5, jnp.float32)
    p = jnp.asarray(rng.random((3, 5, 5, 1)), jnp.float32)
    assert float(loss(y, y)) == pytest.approx(0, abs=1e-5)
    assert float(loss(p, y)) > 0.1
    # Best at the target, for each pixel; finite at and beyond the ends.
    slope = jax.grad(loss)(p, y)
    assert (jnp.sign(slope) == jnp.where(y > 0.5, -1, 1)).mean() > (
        0.7 if name == "dice" else 0.999
    )
    assert jnp.isfinite(jax.grad(loss)(1 - y, y)).all()
    empty = jnp.zeros((1, 4))
    assert np.isfinite(float(loss(empty, empty)))
    expected = {
        "mse": lambda p, y: ((p - y) ** 2).mean(),
        "bce": lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(),
        "dice": lambda p, y: np.mean(
            [
                1 - 2 * (a * b).sum() / ((a**2).sum() + (b**2).sum())
                for a, b in zip(p, y, strict=True)
            ]
        ),
    }[name](np.asarray(p, float), np.asarray(y, float))
    assert float(loss(p, y)) == pytest.approx(expected, rel=1e-4)


def test_metrics(rng):
    a, b = (jnp.asarray(rng.random((4, 6, 5, 1)) < 0.5) for _ in range(2))
    for metric, formula in [
        (metrics.dice, lambda p, t: 2 * (p & t).sum() / (p.sum() + t.sum())),
        (metrics.iou, lambda p, t: (p & t).sum() / (p | t).sum()),
    ]:
        expected = np.mean(
            [formula(p, t) for p, t in zip(np.asarray(a), np.asarray(b), strict=True)]
        )
        assert float(metric(a, b)) == pytest.approx(expected, rel=1e-5)
        assert float(metric(a, a)) == 1.0
        assert float(metric(a, ~a)) == pytest.approx(0, abs=1e-6)
        assert float(metric(a & ~a, a & ~a)) == 1.0  # nothing to find, nothing found
    scores = jnp.asarray([[0.1, 0.9], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]])
    assert float(metrics.accuracy(scores, jnp.array([1, 0, 0, 0]))) == 0.75
    soft = jnp.array([[0.9, 0.5, 0.1, 0.6]])
    assert float(metrics.soft_hard_gap(soft, jnp.array([[True, True, False, False]]))) == 0.5
    assert float(metrics.soft_hard_gap(soft, soft > 0.5)) == 0
    assert float(metrics.soft_hard_gap(soft - 0.5, soft > 0.5, threshold=0.0)) == 0


def test_certified_share():
    good = built_bimonn(np.random.default_rng(0), [2, 2])
    node = good[0]["bise"]
    half = BiSE(node.weight, node.bias, node.scale * jnp.array([[1.0, 0.0]] * 2), node.spec)
    share = jax.jit(metrics.certified_share)
    assert float(share(good)) == 1.0
    assert float(share([half])) == 0.5


NODE = BiSE(
    jnp.array([[0.5, 0.95], [0.02, 0.4]]),
    jnp.array([0.5, 0.6]),
    jnp.array([2.0, -2.0]),
    Spec("dense", "identity", "raw"),
)


def steps_of(optimizer, *, steps=5, toward=3.0):
    """Params after each step of gradients that push every array far out."""
    params = {"node": NODE, "head": jnp.ones(2)}
    state, seen = optimizer.init(params), []
    for i in range(steps):
        gradient = jax.tree.map(lambda leaf, i=i: (leaf - toward * (-1) ** i) * 10, params)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen


def test_weights_stay_in_the_box():
    optimizer = optax.chain(optax.sgd(0.1), transforms.keep_weights_in())
    seen = steps_of(optimizer)
    weights = np.array([p["node"].weight for p in seen])
    assert weights.min() == 0.0  # exactly: zeros are what makes elements crisp
    assert weights.max() == 1.0
    other = optax.chain(optax.sgd(0.1), transforms.keep_weights_in(-0.1, 0.9))
    weights = np.array([p["node"].weight for p in steps_of(other)])
    np.testing.assert_allclose([weights.min(), weights.max()], [-0.1, 0.9], rtol=1e-6)
    assert np.abs([p["node"].bias for p in seen]).max() > 1  # the rest is free
    assert np.abs([p["head"] for p in seen]).max() > 1


def test_scale_follows_its_schedule_and_keeps_its_sign():
    schedule = optax.linear_schedule(3.0, 7.0, 4)
    optimizer = optax.chain(optax.sgd(0.0), transforms.set_scale(schedule))
    seen = [np.asarray(p["node"].scale) for p in steps_of(optimizer)]
    np.testing.assert_allclose(seen, [[v, -v] for v in (3.0, 4.0, 5.0, 6.0, 7.0)], rtol=1e-6)
    np.testing.assert_array_equal(steps_of(optimizer)[-1]["head"], 1)


def test_updates_scaled_by_kind():
    plain = optax.sgd(0.1)
    scaled = optax.chain(plain, transforms.scale_updates(weight=2.0, bias=3.0, scale=0.0))
    before = {"node": NODE, "head": jnp.ones(2)}
    a, b = (steps_of(o, steps=1)[0] for o in (plain, scaled))
    move = lambda tree: jax.tree.map(lambda x, y: x - y, tree, before)  # noqa: E731
    a, b = move(a), move(b)
    np.testing.assert_allclose(b["node"].weight, 2 * a["node"].weight, rtol=1e-5)
    np.testing.assert_allclose(b["node"].bias, 3 * a["node"].bias, rtol=1e-5)
    np.testing.assert_array_equal(b["node"].scale, 0)
    np.testing.assert_array_equal(b["head"], a["head"])


def test_transforms_refuse():
    with pytest.raises(ValueError, match=r"^low: expected"):
        transforms.keep_weights_in(1.0, 1.0)
    for transform in (transforms.keep_weights_in(), transforms.set_scale(lambda step: 1.0)):
        with pytest.raises(ValueError, match=r"^params: expected"):
            transform.update([NODE], transform.init([NODE]))


def test_log_is_appended(tmp_path):
    path = Path(tmp_path) / "log.jsonl"
    for i in range(2):
        training.append_jsonl(path, {"i": i})
    assert path.read_text() == '{"i": 0}\n{"i": 1}\n'
