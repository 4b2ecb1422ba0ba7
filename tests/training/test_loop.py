"""Runs that are stopped, killed or limited go on as if nothing had happened; their logs too."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.repository import ROOT, run_python
from helpers.trees import same

from morphax import data, training
from morphax.neurons import models
from morphax.recipes.gradients.operators import learn_operator
from morphax.training import RunOptions, TrainState
from morphax.training.checkpoint import Checkpoints
from morphax.training.loop import drive


def count(state):
    """Two steps; the loss is the number of the first."""
    return state._replace(params=state.params * 1.5, step=state.step + 2), state.step


START = TrainState(jnp.ones(3), (), jnp.zeros((), jnp.int32))


class Stop(Exception):
    """A run that is interrupted."""


def interrupted(at):
    def advance(state):
        if int(state.step) == at:
            raise Stop
        return count(state)

    return advance


def steps_of(log):
    return [json.loads(line)["step"] for line in log.read_text().splitlines()]


@pytest.mark.first(1)
@pytest.mark.parametrize("every", [1, 3])
def test_a_run_goes_on_and_its_log_has_every_step_once(tmp_path, every):
    log = tmp_path / "log.jsonl"
    log.write_text('{"of": "another run"}\n{"torn')
    saved = RunOptions(log=log, checkpoint=tmp_path / "run", checkpoint_every=every)
    options = {"steps": 20, "every": 2, "key": jax.random.key(5), "run": saved}
    for at in (0, 6, 10, 18):
        with pytest.raises(Stop):
            drive(interrupted(at), START, **options)
    with log.open("a") as file:
        file.write('{"step": 1')  # torn by the kill
    run = drive(count, START, **options)
    whole = drive(count, START, steps=20, every=2)
    same(run.state, whole.state)
    assert [r["loss"] for r in run.history] == [r["loss"] for r in whole.history]
    lines = log.read_text().splitlines()
    assert lines[0] == '{"of": "another run"}'
    assert [json.loads(line) for line in lines[1:]] == run.history
    # A finished run is returned as it is, and what follows it in the log stays.
    with log.open("a") as file:
        file.write('{"of": "the next run"}\n')
    again = drive(interrupted(20), START, **options)
    same(again.state, whole.state)
    assert again.history == run.history
    assert log.read_text().splitlines()[-1] == '{"of": "the next run"}'
    longer = drive(count, START, **{**options, "steps": 24, "run": replace(saved, log=None)})
    assert int(longer.state.step) == 24


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    options = {
        "steps": 20,
        "every": 2,
        "until": lambda r: r["step"] >= 6,
        "run": RunOptions(checkpoint=tmp_path),
    }
    first = drive(count, START, **options)
    assert int(drive(interrupted(6), START, **options).state.step) == 6 == len(first.history) * 2


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    def make(key, restart, settings):
        run = RunOptions(checkpoint=tmp_path, tags={"restart": restart})
        options = {"steps": 2, "every": 2, "settings": settings, "run": run}
        return drive(count, START, key=jax.random.key(key), **options)

    make(1, 0, {"sizes": (3, 5)})
    make(1, 0, {"sizes": (3, 5)})  # a tuple is a list in JSON
    for name, given in {
        "key": (2, 0, {"sizes": (3, 5)}),
        "tags": (1, 1, {"sizes": (3, 5)}),
        "settings": (1, 0, {"sizes": (3, 7)}),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: expected .* as in the checkpoint"):
            make(*given)


def test_a_log_that_cannot_be_written(tmp_path):
    run = RunOptions(log=tmp_path, checkpoint=tmp_path / "run")
    with pytest.raises(OSError):
        drive(count, START, steps=2, every=2, run=run)
    run = RunOptions(checkpoint=tmp_path / "run")
    assert int(drive(count, START, steps=2, every=2, run=run).state.step) == 2


def test_a_time_limit_and_control_c_leave_what_can_be_resumed(tmp_path):
    whole = drive(count, START, steps=8, every=2)
    limited = RunOptions(checkpoint=tmp_path / "limit", time_limit=1e-9)
    run = drive(count, START, steps=8, every=2, run=limited)
    assert (run.stopped, run.is_cut_short, int(run.state.step)) == ("time limit", True, 2)
    run = drive(count, START, steps=8, every=2, run=replace(limited, time_limit=None))
    assert (run.stopped, len(run.history)) == (None, 4)
    same(run.state, whole.state)

    def pressed(state):
        if int(state.step) == at:
            raise KeyboardInterrupt
        return count(state)

    at = 4
    options = RunOptions(checkpoint=tmp_path / "pressed", on_interrupt="return")
    with pytest.raises(KeyboardInterrupt):
        drive(pressed, START, steps=8, every=2)
    run = drive(pressed, START, steps=8, every=2, run=options)
    assert (run.stopped, int(run.state.step), len(run.history)) == ("interrupt", 4, 2)
    same(drive(count, START, steps=8, every=2, run=options).state, whole.state)
    at = 0
    with pytest.raises(KeyboardInterrupt):  # there is no record to return
        drive(pressed, START, steps=8, every=2, run=RunOptions(on_interrupt="return"))


def test_progress_is_plain_lines_outside_a_terminal(capsys, monkeypatch):
    drive(count, START, steps=8, every=2, run=RunOptions(progress=True, tags={"restart": 3}))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["step 2 of 8", "step 8 of 8"]
    assert "restart 3" in lines[0]
    monkeypatch.setattr("morphax.training.progress.SECONDS", 0.0)
    drive(count, START, steps=8, every=2, run=RunOptions(progress=True))
    assert len(capsys.readouterr().err.splitlines()) == 4
    drive(count, START, steps=8, every=2)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    drive(count, START, steps=8, every=2, run=RunOptions(progress=True))
    assert "8/8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, message",
    [
        ({"checkpoint_every": 0}, "checkpoint_every: expected 1 or more"),
        ({"time_limit": 0.0}, "time_limit: expected more than 0 seconds"),
        ({"on_interrupt": "stop"}, "on_interrupt: expected one of"),
    ],
)
def test_bad_run_options(options, message):
    with pytest.raises(ValueError, match=message):
        RunOptions(**options)


def test_the_runs_of_a_search_have_folders_of_their_own(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        options = RunOptions(checkpoint=checkpoints)
    with pytest.raises(ValueError, match=r"run\.checkpoint: expected a folder"):
        options.part("run_0", start=0.0)
    run = RunOptions(checkpoint=tmp_path, time_limit=9.0, tags={"a": 1}).part("x", start=0.0, b=2)
    assert (run.checkpoint, run.tags) == (tmp_path / "x", {"a": 1, "b": 2})
    assert run.time_limit == 1e-3  # what began long ago is over


def test_patience_counts_the_same_after_an_interruption(tmp_path):
    losses = {0: 3.0, 2: 2.0, 4: 2.0, 6: float("nan"), 8: 1.0}

    def advance(state):
        if int(state.step) == 6 and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            raise Stop
        return state._replace(step=state.step + 2), losses[int(state.step)]

    options = {
        "steps": 10,
        "every": 2,
        "patience": 2,
        "run": RunOptions(checkpoint=tmp_path / "run"),
    }
    with pytest.raises(Stop):
        drive(advance, START, **options)
    run = drive(advance, START, **options)
    assert [r["step"] for r in run.history] == [2, 4, 6, 8]


def test_the_members_of_a_sweep_are_one_state(tmp_path):
    states = jax.vmap(lambda x: START._replace(params=x * START.params))(jnp.arange(1.0, 4.0))
    checkpoints = Checkpoints(tmp_path, best="loss", mode="min")
    options = {"steps": 8, "every": 2, "run": RunOptions(checkpoint=checkpoints)}
    many = jax.jit(jax.vmap(count))
    evaluate = lambda states: {"norm": jnp.abs(states.params).max(-1)}  # noqa: E731

    def until_four(states):
        if int(states.step[0]) == 4:
            raise Stop
        return many(states)

    with pytest.raises(Stop):
        drive(until_four, states, evaluate=evaluate, **options)
    run = drive(many, states, evaluate=evaluate, **options)
    checkpoints.close()
    same(run.state, drive(many, states, steps=8, every=2).state)
    assert [record["step"] for record in run.history] == [2, 4, 6, 8]
    assert run.history[0]["norm"] == [1.5, 3.0, 4.5]


@pytest.mark.slow
def test_killed_at_a_random_moment(tmp_path):
    """A SIGKILL of a real run; the benchmark makes forty."""
    script = ROOT / "benchmarks" / "kill_resume.py"
    done = run_python(script, "--smoke", "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "kill_resume.json").read_text())["results"]
    assert row["same state"]
    assert row["same records"]
    assert row["same log"]
    assert row["kills"] == 1


def test_fit_goes_on(tmp_path):
    pairs = (jnp.zeros((4, 5, 5, 1), bool),) * 2
    params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
    chunk = training.make_chunk(
        training.make_step(models.bimonn, optax.adam(1e-2)), batch_size=2, length=2
    )

    options = {
        "valid": pairs,
        "optimizer": optax.adam(1e-2),
        "chunk": chunk,
        "evaluate": lambda params, data: {},
        "log_every": 2,
    }

    def fit(steps, folder):
        options["run"] = RunOptions(checkpoint=folder)
        return training.fit(jax.random.key(1), models.bimonn, params, pairs, steps=steps, **options)

    fit(4, tmp_path / "a")
    same(fit(8, tmp_path / "a").state, fit(8, tmp_path / "b").state)


@pytest.mark.slow
def test_a_search_goes_on(tmp_path, monkeypatch):
    """`learn_operator` reads the runs it has finished and goes on within the one it has not."""
    x = jax.random.uniform(jax.random.key(0), (64, 8, 8, 1)) < 0.4
    y = data.target(x, "dilation", np.ones((1, 3), bool))
    options = {
        "channels": (1, 1),
        "kernel_size": 3,
        "steps": 100,
        "restarts": 2,
        "goal": 1.01,
        "method": "gradients",
    }
    learn = lambda **run: learn_operator(  # noqa: E731
        jax.random.key(1), (x, y), valid=(x, y), **options, run=RunOptions(**run)
    )
    whole = learn(log=tmp_path / "whole.jsonl")
    real, seen = training.append_jsonl, []

    def dies(path, record):
        seen.append((record["restart"], record["step"]))
        if seen == [(0, 50), (0, 100), (1, 50), (1, 100)]:
            raise Stop
        real(path, record)

    monkeypatch.setattr("morphax.training.loop.append_jsonl", dies)
    with pytest.raises(Stop):
        learn(log=tmp_path / "log.jsonl", checkpoint=tmp_path / "search")
    run = learn(log=tmp_path / "log.jsonl", checkpoint=tmp_path / "search")
    assert seen[4:] == [(1, 100)], "only what was missing is made again"
    same(run.params, whole.params)
    steps = [steps_of(tmp_path / name) for name in ("log.jsonl", "whole.jsonl")]
    assert steps == [[50, 100, 50, 100]] * 2
