"""The errors of extras that are missing, and of those that are there and fail inside."""

import subprocess
import sys

import pytest

from morphax import _checks


def imported(name):
    try:
        __import__(name)
    except ImportError as error:
        return error
    return None


@pytest.mark.parametrize(
    "module, names",
    [("flax", ["flax", "flax.nnx"]), ("pillow", ["PIL"]), ("orbax-checkpoint", ["orbax"])],
)
def test_what_is_missing_is_named_with_its_extra(module, names, monkeypatch):
    for name in names:
        monkeypatch.setitem(sys.modules, names[0], None)
        error = _checks.extra(module, "all", imported(name))
        assert str(error) == (
            f'{module} is not installed; it comes with: pip install ".[all]" in a clone of morphax'
        )


@pytest.mark.parametrize(
    "text, cause",
    [
        ("import a_part_that_is_missing", "No module named 'a_part_that_is_missing'"),
        ("from math import nothing", "cannot import name 'nothing' from 'math'"),
        ("raise ImportError('needs jax >= 9')", "needs jax >= 9"),
    ],
)
@pytest.mark.parametrize("module", ["grain", "tqdm", "matplotlib"])
def test_what_fails_inside_says_why(module, text, cause, tmp_path, monkeypatch):
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    error = _checks.extra(module, "all", imported(module))
    assert str(error).startswith(f"{module} is installed, but its import fails: {cause}")


def test_layers_say_why_flax_does_not_import(tmp_path):
    (tmp_path / "flax").mkdir()
    (tmp_path / "flax/__init__.py").write_text("from jax import something_of_the_past\n")
    done = subprocess.run(
        [sys.executable, "-c", "import morphax.layers.linen"],
        env={"PYTHONPATH": f"{tmp_path}:{':'.join(filter(None, sys.path))}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode
    last = done.stderr.strip().splitlines()[-1]
    assert "flax is installed, but its import fails: cannot import name" in last
