"""Files that every reader accepts: JSON without NaN, a newline at the end, quoted commands."""

import ast
import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.repository import ROOT, load_example

from morphax import _files, training

SOURCES = [
    path
    for folder in ("morphax", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def strict(text):
    """Read JSON as a reader does that knows no NaN."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_numbers_that_are_not_finite_become_null(number):
    record = {"loss": number, "each": [1.5, (number, 2)], "deep": {"x": {"y": number}}}
    expected = {"loss": None, "each": [1.5, [None, 2]], "deep": {"x": {"y": None}}}
    assert strict(_files.json_text(record)) == expected
    assert strict(_files.json_text(record, indent=2)) == expected
    assert np.isnan(record["loss"]) or np.isinf(record["loss"])  # the record is as it was


def test_finite_values_are_written_as_json_writes_them():
    value = {"a": [1, 2.5, True, None, "NaN"], "b": {"c": 1e300, "ä": -0.0}, "d": []}
    assert _files.json_text(value) == json.dumps(value)
    assert _files.json_text(value, indent=1) == json.dumps(value, indent=1)
    with pytest.raises(TypeError):
        _files.json_text({"x": {1, 2}})


def test_a_log_of_a_diverging_run_is_json(tmp_path):
    log = tmp_path / "log.jsonl"
    for step, loss in enumerate((1.0, float("inf"), float("nan"))):
        training.append_jsonl(log, {"step": step, "loss": loss, "per_layer": [loss, 0.5]})
    text = log.read_text()
    assert text.endswith("\n")
    assert [strict(line)["loss"] for line in text.splitlines()] == [1.0, None, None]


def test_no_other_json_is_written():
    """Every `json.dump` of the library, the examples and the benchmarks refuses NaN."""
    calls = 0
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            is_dump = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_dump and ast.unparse(node.func) in ("json.dump", "json.dumps"):
                calls += 1
                refuses = [k.value for k in node.keywords if k.arg == "allow_nan"]
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert refuses, f"{where}: write `json_text(...)`"
                assert refuses[0].value is False, where
    assert calls >= 3


def test_files_of_the_repository_end_in_one_newline():
    """The results among them, which commands of the repository wrote."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.*")]:
        if path.suffix in (".md", ".json", ".csv"):
            content = path.read_bytes()
            assert content.endswith(b"\n"), path.relative_to(ROOT)
            assert not content.endswith(b"\n\n"), path.relative_to(ROOT)
            if path.suffix == ".json":
                strict(content)


def test_json_files_end_in_one_newline():
    """A `write_text(json_text(...))` without a newline is found by reading the code."""
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if "write_text(json_text(" in line or "file.write(json_text(" in line:
                assert '+ "\\n")' in line, f"{path.relative_to(ROOT)}:{number}"


def words_of(command):
    """The words that a shell makes of a command."""
    done = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_commands_of_examples_are_quoted():
    command = load_example("_common").command
    kinds = ["a b", "$HOME"]
    words = words_of(command("gray_operator", {"kinds": kinds, "smoke": True, "train_images": 5}))
    flags = ["--kinds", "a b", "$HOME", "--smoke", "--train-images", "5"]
    assert words == ["python", "examples/gray_operator.py", *flags]
    options = {"attempt": "it's; ls", "limit": None, "smoke": False, "seed": 0, "epochs": 8.0}
    words = words_of(command("segment_nuclei", options))
    assert words[2:] == ["--attempt", "it's; ls", "--seed", "0", "--epochs", "8"]


@pytest.mark.parametrize("folder", ["out", "my results", "it's", "$HOME & co", "-o"])
def test_the_command_of_export_operator_can_be_pasted(folder, tmp_path, monkeypatch, capsys):
    example = load_example("export_operator")
    monkeypatch.chdir(tmp_path)
    out = Path(folder)
    (out / "images").mkdir(parents=True)
    (out / "images/test_0_input.pbm").write_bytes(b"P4\n8 1\n\xaa")
    (out / example.NAME).write_text("#!/bin/sh\ncat\n")
    (out / example.NAME).chmod(0o755)
    result = {"bytes": {}, "missing": [], "test_images": (1, 1, 8), "not_compiled": None}
    result |= {"bits_that_differ": {example.COMPILED: 0}, "seconds": {example.COMPILED: 0.0}}
    result |= {"images_equal_to_target": None, "exact": None}
    example.report(out, result)
    command = capsys.readouterr().out.splitlines()[-1].strip()
    subprocess.run(["sh", "-c", command], check=True)
    assert Path("result.pbm").read_bytes() == b"P4\n8 1\n\xaa"
    assert shlex.split(command)[1] == "<"


def test_no_command_is_joined_by_hand():
    """A command is a list of words that `shlex.join` joins."""
    for path in SOURCES:
        text = path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            joined = '"python ' in line and ("join(" in line or " + " in line)
            assert not joined, f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
