"""Eight devices do what one does; two processes do what one does; and what is refused."""

import json

import jax
import numpy as np
import pytest
from helpers.repository import EXAMPLES, ROOT, run_python

import morphax
from morphax import training
from morphax.training import distributed


@pytest.fixture(scope="module")
def verdicts():
    done = run_python(ROOT / "tests/helpers/on_devices.py")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_same_curve_on_every_number_of_devices(verdicts):
    assert verdicts["curves"] < 1e-12
    for name in ("learns", "binary", "on eight", "float64"):
        assert verdicts[name], name


@pytest.mark.slow
def test_banks_cut_over_their_neurons(verdicts):
    for name in (
        "project",
        "project stays",
        "nothing travels",
        "certify",
        "binarize",
        "left alone",
    ):
        assert verdicts[name], name
    assert verdicts["layout"] == [[None, "neurons"], []]


@pytest.mark.slow
def test_training_with_batch_and_neurons_cut(verdicts):
    assert verdicts["wide loss"] < 1e-12
    assert verdicts["wide params"] < 1e-9
    assert verdicts["wide layout"] == [None, "neurons"]
    assert verdicts["moments layout"] == [None, "neurons"]
    assert verdicts["bytes a device"]


@pytest.mark.slow
def test_words_and_members(verdicts):
    assert verdicts["packed"]
    assert verdicts["words stay"] == ["data"]
    assert verdicts["members"]


@pytest.mark.slow
def test_two_processes_and_one(tmp_path):
    """The example, which also saves and logs, as one process with two devices and as two with
    one."""
    results = []
    for name, options in {
        "one": ("--devices", 2),
        "two": ("--processes", 2, "--devices", 1),
    }.items():
        done = run_python(
            EXAMPLES / "train_distributed.py",
            "--smoke",
            "--x64",
            *options,
            "--out",
            tmp_path / name,
        )
        assert done.returncode == 0, done.stderr
        results.append(json.loads((tmp_path / name / "result.json").read_text()))
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [2, 4]
        assert {p.name for p in (tmp_path / name / "checkpoints").iterdir()} >= {"2", "4"}
    one, two = results
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["devices"] == two["devices"] == 2
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=0, atol=1e-12)
    assert two["binary"] == one["binary"]


@pytest.mark.slow
def test_on_one_device():
    """Everything here runs on a mesh of one device too, in this process."""
    grid = distributed.mesh(devices=jax.devices()[:1], data=1)
    bank = np.eye(3, 4, dtype=np.float32) + 0.1, np.full(3, 0.3, np.float32)
    near, expected = distributed.per_device(morphax.project, grid)(*bank), morphax.project(*bank)
    assert (near.selem == expected.selem).all()
    np.testing.assert_array_equal(near.weights, expected.weights)
    tree = distributed.banks(grid, {"a": np.ones(3), "key": jax.random.key(0)})
    assert (jax.random.key_data(tree["key"]) == jax.random.key_data(jax.random.key(0))).all()
    assert distributed.rows(grid, np.ones(3), over="members").sharding.is_fully_replicated


def test_refused(monkeypatch):
    grid = distributed.mesh(devices=jax.devices()[:1], data=1)
    count = jax.device_count()
    with pytest.raises(
        ValueError, match=rf"^axes: expected sizes whose product is {count} devices"
    ):
        distributed.mesh(data=count + 1)
    with pytest.raises(ValueError, match=r"^axes: expected"):
        distributed.mesh(data=0)
    for given in ({"processes": 2}, {"coordinator": "a:1"}, {"process": 0, "processes": 1}):
        with pytest.raises(ValueError, match=r"^coordinator: expected all three"):
            distributed.start(**given)
    with pytest.raises(ValueError, match=r"^process: expected 0 to 1"):
        distributed.start(coordinator="a:1", processes=2, process=2)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ValueError, match=r"^JAX_NUM_PROCESSES: expected a whole number"):
        distributed.start()
    fake = type("Grid", (), {"shape": {"data": 3}})()
    with pytest.raises(ValueError, match=r"^rows: expected a multiple of 3 devices, got 4"):
        distributed._first(fake, "data", np.ones(4))
    assert grid.shape == {"data": 1}
    assert training.make_chunk(lambda state, batch: (state, 0.0), mesh=grid) is not None
