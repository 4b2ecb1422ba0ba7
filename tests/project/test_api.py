"""The public face: keyword-only options, docstrings, a light import, no traces of this machine."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest
from helpers.repository import ROOT

import morphax

MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(morphax.__path__, "morphax.")
    if not any(part.startswith("_") for part in name.split("."))
)
# Arguments with a default that read better in place.
POSITIONAL = {
    ("threshold", "name"),
    ("threshold_inverse", "name"),
    ("check_shapes", "name"),
    ("keep_weights_in", "low"),
    ("keep_weights_in", "high"),
    ("pad", "value"),
    ("shift", "count"),
    ("c", "path"),
    ("verilog", "path"),
    ("verilog_stream", "path"),
    ("stablehlo", "path"),
    ("python", "path"),
    ("main", "arguments"),
}


def public(module):
    """Functions and classes that a module defines for others."""
    for name, thing in vars(importlib.import_module(module)).items():
        known = inspect.isfunction(thing) or inspect.isclass(thing)
        if known and not name.startswith("_") and thing.__module__ == module:
            yield name, thing


FUNCTIONS = sorted(
    (f"{module}.{name}", thing)
    for module in MODULES
    for name, thing in public(module)
    if inspect.isfunction(thing)
)
CLASSES = sorted(
    (f"{module}.{name}", thing)
    for module in MODULES
    for name, thing in public(module)
    if inspect.isclass(thing)
)


def test_there_is_something_to_look_at():
    assert len(FUNCTIONS) > 40
    assert len(CLASSES) > 10


@pytest.mark.parametrize("name, function", FUNCTIONS, ids=[n for n, _ in FUNCTIONS])
def test_options_are_keyword_only(name, function):
    for parameter in inspect.signature(function).parameters.values():
        placed = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        optional = parameter.default is not parameter.empty
        allowed = (function.__name__, parameter.name) in POSITIONAL
        assert allowed or not (placed and optional), f"{name}: {parameter.name} is an option"


@pytest.mark.parametrize(
    "name, thing", FUNCTIONS + CLASSES, ids=[n for n, _ in FUNCTIONS + CLASSES]
)
def test_docstrings(name, thing):
    text = inspect.getdoc(thing)
    assert text, f"{name} has no docstring"
    assert text.splitlines()[0].strip()
    if inspect.isfunction(thing):
        shown = "Example" in text or ">>>" in text
        silent = inspect.signature(thing).return_annotation is None
        told = "Args:" in text and ("Returns:" in text or silent)
        alone = len(inspect.signature(thing).parameters) <= 2
        assert shown or told or alone, f"{name}: neither an example nor Args and Returns"


EXPORTED = sorted(
    name
    for name, thing in vars(morphax).items()
    if inspect.isfunction(thing) and not name.startswith("_")
)


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_functions_show_an_example(name):
    assert ">>>" in inspect.getdoc(getattr(morphax, name))


def test_exports():
    wanted = """erosion dilation opening closing white_top_hat black_top_hat hit_or_miss elements
    BiSE BinaryBiSE Spec apply complement concatenate flatten union_pool certify_neurons certify
    trace certify_network Certificate structuring_element binarize nearest summary"""
    wanted = wanted.split()
    assert [name for name in wanted if not hasattr(morphax, name)] == []


HEAVY = (
    "flax",
    "cvxpy",
    "osqp",
    "tensorflow_datasets",
    "tensorflow",
    "matplotlib",
    "PIL",
    "orbax",
    "tqdm",
    "torch",
)


def test_import_is_light():
    code = f"import sys, morphax; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def tracked():
    """Tracked files of a checkout; the package alone where there is none."""
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        return sorted((ROOT / "morphax").rglob("*.py"))
    return [ROOT / line for line in done.stdout.splitlines()]


def test_no_paths_of_one_machine():
    """A clone works anywhere: nothing points outside of it (the project's own CI may)."""
    # Put together here, so that this file does not hold what it looks for.
    pattern = re.compile(
        "|".join(["/" + "work/", r"\.\./" + "shared", "/" + "home/", "/" + "root/"])
    )
    found = []
    for path in tracked():
        if path.relative_to(ROOT).as_posix() == ".ci/run" or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.name}:{i}"
            for i, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    assert found == []
