"""Checkpoints: whole or not there, kept as asked, refused when foreign; runs and logs that go
on."""

import resource

import jax
import jax.numpy as jnp
import optax
import pytest
from helpers.repository import run_python
from helpers.trees import same

from morphax.neurons import models
from morphax.training import TrainState
from morphax.training.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def state():
    params = models.init_bimonn(jax.random.key(0), [1, 2, 1], kernel_size=3)
    return TrainState(params, optax.adam(1e-2).init(params), jnp.array(7, jnp.int32))


def blank(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def test_a_state_comes_back_bit_for_bit(state, tmp_path):
    odd = jnp.array([jnp.nan, -0.0, 1e-40, jnp.inf])
    keys = jax.random.split(jax.random.key(3), 4)
    with Checkpoints(tmp_path / "new" / "run") as checkpoints:
        assert checkpoints.restore(state) is None
        notes = {"history": [{"loss": 0.1}], "text": "é"}
        checkpoints.save(3, {"state": state, "odd": odd, "keys": keys}, notes=notes)
    like = {
        "state": blank(state),
        "odd": jnp.ones(4),
        "keys": jax.random.split(jax.random.key(0), 4),
    }
    with Checkpoints(tmp_path / "new" / "run") as checkpoints:
        found = checkpoints.restore(like)
    assert (found.step, found.notes) == (3, notes)
    same(found.state["state"], state)
    same(found.state["odd"], odd)
    assert (jax.random.key_data(found.state["keys"]) == jax.random.key_data(keys)).all()


def test_what_was_read_is_compiled_for_only_once(tmp_path):
    double = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2, tree))
    tree = {"x": jnp.arange(3.0), "n": jnp.array(1, jnp.int32)}
    double(tree)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree)
        found = checkpoints.restore(tree).state
        there = jax.device_put(tree, jax.devices()[0])
        bound = checkpoints.restore(there).state
    double(found)
    assert double._cache_size() == 1
    assert bound["x"].committed  # as it was asked for


@pytest.mark.parametrize("mode, best", [("max", 2), ("min", 4)])
def test_newest_and_best_are_kept(tmp_path, mode, best):
    values = [float("nan"), 0.5, 0.9, 0.5, 0.1, 0.7, 0.6]
    with Checkpoints(tmp_path, keep=2, best="dice", mode=mode) as checkpoints:
        for step, value in enumerate(values):
            checkpoints.save(step, jnp.array(step), metrics={"dice": value, "other": 3})
    with Checkpoints(tmp_path, keep=2, best="dice", mode=mode) as checkpoints:
        assert checkpoints.steps() == sorted({best, 5, 6})
        assert int(checkpoints.restore(jnp.array(0), step=best).state) == best
        checkpoints.save(7, jnp.array(7), metrics={"dice": [0.4, 0.6]})  # members: their mean
        checkpoints.wait()
        assert checkpoints.steps() == sorted({best, 6, 7})
        with pytest.raises(ValueError, match=r"^step: expected one of"):
            checkpoints.restore(jnp.array(0), step=3)
        with pytest.raises(ValueError, match=r"^metrics: expected a value of 'dice'"):
            checkpoints.save(8, jnp.array(8))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {str(step) for step in (best, 6, 7)}, "nothing is left lying about"


def test_another_model_is_refused(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        wider = models.init_bimonn(jax.random.key(0), [1, 2, 1], kernel_size=5)
        others = {
            r"float32\[3, 3, 1, 2\] there, float32\[5, 5, 1, 2\] here": state._replace(
                params=wider
            ),
            "there, nothing here": state._replace(opt_state=()),
            r"int32\[\] there, float32\[\] here": state._replace(step=jnp.zeros(())),
        }
        for message, like in others.items():
            with pytest.raises(ValueError, match=rf"^like: expected a state as in .*{message}"):
                checkpoints.restore(like)
        same(checkpoints.restore(blank(state)).state, state)


def test_a_damaged_checkpoint_is_named(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state)
    for path in (tmp_path / "2" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(OSError, match=r"2 is damaged .* delete that folder to go on from 1"):
            checkpoints.restore(state)
        same(checkpoints.restore(blank(state), step=1).state, state)


def test_what_a_killed_process_left_is_no_checkpoint(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
    half = tmp_path / "2.orbax-checkpoint-tmp-0"
    (half / "state").mkdir(parents=True)
    (tmp_path / "aside" / "0").mkdir(parents=True)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        same(checkpoints.restore(blank(state)).state, state)
        checkpoints.save(2, state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_folder_that_cannot_be_written_in(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"^checkpoint: cannot write in .*; choose a folder"):
            Checkpoints(place)
    with pytest.raises(ValueError, match=r"^keep: expected at least 1"):
        Checkpoints(tmp_path, keep=0)
    with pytest.raises(ValueError, match=r"^mode: expected one of 'max', 'min'"):
        Checkpoints(tmp_path, mode="most")


FULL = """
import resource, signal, sys
import jax.numpy as jnp
from morphax.checkpoint import Checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing too much is an error, not a death
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(1, jnp.arange(1000.0))
checkpoints.wait()
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    checkpoints.save(2, jnp.arange(1e6) ** 0.5)
    checkpoints.wait()
except OSError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on the size of files")
def test_a_full_disk_is_an_error_and_the_last_checkpoint_is_whole(tmp_path):
    done = run_python("-c", FULL, tmp_path)
    assert "could not be written in" in done.stdout, done.stderr
    assert "The last whole one is 1; make room" in done.stdout
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        same(checkpoints.restore(jnp.zeros(1000)).state, jnp.arange(1000.0))
