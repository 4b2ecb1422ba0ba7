"""The classifier's script: what its options choose, what it judges on, and the rows it keeps."""

import json

import numpy as np
import pytest
from helpers.repository import ROOT, load_example

from morphax import data
from morphax.classification.config import SMOOTH
from morphax.morphology import contrast, levelsets


@pytest.fixture(scope="module")
def script():
    return load_example("classify")


def options(script, *words):
    return script.arguments().parse_args(list(map(str, words)))


def test_level_tables_of_kinds_with_numbers_of_their_own(script, rng):
    images = rng.integers(0, 256, (3, 8, 9, 3)).astype(np.uint8)
    kinds = ("gray", "directions", "opponents")
    table = script.level_table(images, kinds, {"gray": [100, 200], "directions": 1, "opponents": 3})
    assert table[:3] == [[100, 200]] * 3
    assert table[3:11] == [table[3]] * 8
    sizes = np.abs(np.asarray(contrast.directions(images)))
    assert 0.45 < (sizes >= table[3][0]).mean() < 0.55
    wanted = levelsets.thresholds(np.asarray(contrast.opponents(images)), 3)
    assert table[11:] == wanted.tolist()


def test_changes_go_over_the_entry_of_the_data_set(script):
    plain = script.choices(options(script, "--dataset", "cifar10"))
    change = {"levels": 2, "recipe": {"regions": 3, "rates": [0.1, 0.2]}}
    words = ("--dataset", "cifar10", "--epochs", 0.5, "--change", json.dumps(change))
    found = script.choices(options(script, *words))
    assert (found["levels"], found["epochs"]) == (2, 0.5)
    assert found["recipe"] == plain["recipe"]._replace(regions=3, rates=(0.1, 0.2))
    with pytest.raises(ValueError, match="--change: expected some of"):
        script.choices(options(script, "--change", '{"sides": 3}'))


def test_smooth_changes_the_training_and_clauses_keep_their_shares(script):
    found = script.choices(options(script, "--training", "smooth", "--clauses", 64))["recipe"]
    assert found.banks == ((5, 32), (7, 32))
    assert {key: getattr(found, key) for key in SMOOTH} == SMOOTH


def test_held_out_images_are_the_last_of_training(script, monkeypatch):
    def load(name, split, **_):
        assert split == "train", "the test set is left alone"
        return np.arange(300)[:, None, None, None], np.arange(300)

    monkeypatch.setattr(data, "load", load)
    train, test = script.load(options(script, "--hold-out", 120))
    assert train[1].tolist() == list(range(180))
    assert test[0].ravel().tolist() == list(range(180, 300))
    with pytest.raises(ValueError, match="--hold-out: expected 1 to 200 images, got 250"):
        script.load(options(script, "--hold-out", 250))


def test_a_row_says_its_command_and_replaces_its_older_self(script, tmp_path):
    words = ("--dataset", "cifar10", "--hold-out", 50, "--change", '{"levels": 2}', "--epochs", 4)
    given = options(script, *words, "--out", tmp_path / "x", "--add", tmp_path / "rows.json")
    command = script.command_of(given)
    assert command == (
        "python examples/classify.py --dataset cifar10 --epochs 4 --change '{\"levels\": 2}' "
        "--hold-out 50"
    )
    for row in ({"command": command, "n": 1}, {"command": "b"}, {"command": command, "n": 2}):
        script.add(given.add, {"smoke": True}, row)
    rows = json.loads(given.add.read_text())["results"]
    assert rows == [{"command": "b"}, {"command": command, "n": 2}]


def test_the_report_says_when_a_row_was_made(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from _lib.pages import classification

    rows = [
        {"epochs": 6.0, "date": "2026-11-22T23:06:51+00:00", "commit": "7435bd0dad", "dirty": True},
    ]
    assert [row["made"] for row in classification.dated(rows)] == [
        "2026-11-22, commit 7435bd0 with local changes"
    ]
    with pytest.raises(ValueError, match="no date and no commit"):
        classification.dated([{"epochs": 3, "command": "python examples/classify.py"}])
