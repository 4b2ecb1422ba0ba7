"""A slice of `python tests/fuzz/run.py`: every target, a few inputs that the full run does not
draw."""

import json
import sys

import numpy as np
import pytest
from fuzz import run as fuzz
from fuzz.images import decode, draw_png
from PIL import Image

COUNTS = {"archives": 250, "images": 200, "level sets": 60}


@pytest.mark.parametrize("name", COUNTS)
def test_no_input_is_answered_wrongly(name):
    function, _ = fuzz.targets()[name]
    row = fuzz.fuzz(name, function, COUNTS[name], seed=1)
    assert row["failures"] == []
    assert row["right"] + row["refused"] == COUNTS[name]
    assert min(row["right"], row["refused"]) >= 5


def test_no_params_are_answered_wrongly(monkeypatch):
    """One bank of all kinds: each more must be compiled."""
    from fuzz import params as fuzz_params

    monkeypatch.setattr(fuzz_params, "CASES", fuzz_params.CASES[:1])
    row = fuzz.fuzz("params", fuzz_params.params, 60, seed=1)
    assert row["failures"] == []
    assert row["right"] > 30


def test_failures_are_found_counted_and_named():
    def target(rng, folder):
        if rng.random() < 0.5:
            raise OverflowError("too much")
        return "right"

    row = fuzz.fuzz("params", target, 50, seed=0)
    assert row["right"] + row["failed"] == 50
    assert 10 < row["failed"] < 40
    first = row["failures"][0]
    assert first["error"] == "OverflowError: too much"
    again = fuzz.fuzz("params", target, 1, seed=0, start=first["number"])
    assert again["failures"] == [first]


def test_a_hang_is_a_failure(monkeypatch):
    def target(rng, folder):
        while True:
            pass

    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    row = fuzz.fuzz("params", target, 2, seed=0)
    assert row["failed"] == 2
    assert row["failures"][0]["error"].startswith("Hang")


def test_the_oracle_of_images_reads_what_pillow_reads(tmp_path):
    rng, read = np.random.default_rng(0), 0
    for _ in range(40):
        content = draw_png(rng, (5, 9))
        levels, plain = decode(content)
        if levels is not None and plain:
            (tmp_path / "a.png").write_bytes(content)
            with Image.open(tmp_path / "a.png") as image:
                np.testing.assert_array_equal(levels, np.asarray(image.convert("L")))
            read += 1
    assert read > 10


def test_the_command_writes_its_counts(tmp_path, monkeypatch):
    command = ["fuzz.py", "--only", "archives", "--inputs", "5", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(sys, "path", list(sys.path))
    fuzz.main()
    document = json.loads((tmp_path / "fuzz.json").read_text())
    (row,) = document["results"]
    assert (row["target"], row["inputs"], row["failed"]) == ("archives", 5, 0)
    assert document["metadata"]["commit"]
