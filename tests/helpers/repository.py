"""Paths of the checkout, and its scripts as modules and as processes."""

import os
import subprocess
import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@cache
def load_example(name: str) -> ModuleType:
    """Import `examples/NAME.py` as the module `NAME_example`; importing has no side effects."""
    if str(EXAMPLES) not in sys.path:  # as for a script, which imports what is beside it
        sys.path.insert(0, str(EXAMPLES))
    spec = spec_from_file_location(f"{name}_example", EXAMPLES / f"{name}.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for the module of their annotations
    spec.loader.exec_module(module)
    return module


def run_python(*command, timeout=600, **env) -> subprocess.CompletedProcess:
    """Run `python COMMAND...` in a process of its own, which imports this checkout.

    Flags of XLA are added to those that the tests set.
    """
    if "XLA_FLAGS" in env:
        env["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {env['XLA_FLAGS']}".strip()
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": paths, **env},
    )


def tracked(*patterns) -> list[Path]:
    """Return the files that git tracks; in a source distribution, all files that it holds."""
    done = subprocess.run(
        ["git", "ls-files", "--", *patterns], capture_output=True, text=True, cwd=ROOT
    )
    if done.returncode:
        folders = (ROOT / name for name in ("morphax", "tests", "benchmarks", "examples", "docs"))
        found = {path for p in patterns for folder in folders for path in folder.rglob(p)}
        return sorted(found | {path for p in patterns for path in ROOT.glob(p)})
    paths = [ROOT / line for line in done.stdout.splitlines()]
    return [path for path in paths if path.is_file()]
