"""The benchmarks keep their written contract: schema, ratios, atomic writing, a smoke run."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import common

    return common


@pytest.fixture
def document(common):
    about = common.metadata("test", unit="call", reference="ours", smoke=True)
    rows = [
        common.result("ours", {"n": 2}, common.measure(jnp.sort, jnp.ones(2), repeats=3)),
        common.result("peer", {"n": 2}, {"median_s": 1.0, "iqr_s": 0.0, "repeats": 1}, samples=4),
    ]
    common.add_ratios(rows, "ours")
    return {"metadata": {**about, "load_end": 0.0}, "results": rows, "skipped": []}


def test_document_keeps_the_schema(common, document):
    common.check(document)
    ours, peer = document["results"]
    assert ours["ratio"] == 1.0
    assert peer["ratio"] == pytest.approx(1.0 / ours["median_s"])
    assert (ours["extrapolated"], peer["extrapolated"]) == (False, True)


@pytest.mark.parametrize(
    "key", ["median_s", "iqr_s", "repeats", "extrapolated", "samples", "error"]
)
def test_a_row_without_a_field_is_refused(common, document, key):
    broken = copy.deepcopy(document)
    del broken["results"][0][key]
    with pytest.raises(ValueError, match=key):
        common.check(broken)


@pytest.mark.parametrize("key", ["commit", "versions", "device", "threads", "load_start"])
def test_metadata_must_be_complete(common, document, key):
    del document["metadata"][key]
    with pytest.raises(ValueError, match=key):
        common.check(document)


def test_an_unmarked_extrapolation_is_refused(common, document):
    document["results"][1]["extrapolated"] = False
    with pytest.raises(ValueError, match="row"):
        common.check(document)


def test_written_whole_or_not_at_all(common, document, tmp_path):
    path = tmp_path / "new" / "test.json"
    common.write(path, document["metadata"], document["results"])
    common.check(json.loads(path.read_text()))
    with pytest.raises(ValueError):
        common.write(path, {}, [])
    assert [p.name for p in path.parent.iterdir()] == ["test.json"]
    common.check(json.loads(path.read_text()))


def test_table_marks_extrapolations(common, document):
    text = common.table(document["results"], ("n", "contender", "median_s"))
    assert "| 2 | peer | ~1 |" in text.splitlines()


@pytest.mark.parametrize("script", ["projection.py"])
def test_smoke_run(common, script, tmp_path):
    command = [sys.executable, str(FOLDER / script), "--smoke", "--out", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert run.returncode == 0, run.stderr
    common.check(json.loads((tmp_path / script).with_suffix(".json").read_text()))
