"""The default tests with the lowest versions that pyproject.toml declares, in a fresh environment.

    python tests/lowest.py            # everything that plain `pytest` runs
    python tests/lowest.py --quick    # one test file for each dependency
    python tests/lowest.py tests/layers -k nnx

Needs `uv` (`pip install uv`). The environment lies in a temporary folder unless `--env` names one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What stands first is the dependency that the file after it leans on.
QUICK = {
    "flax": "tests/layers",
    "optax": "tests/training/test_optax_wrappers.py",
    "orbax-checkpoint": "tests/training/test_checkpoint.py",
    "grain": "tests/data/test_stream.py",
    "tensorflow-datasets, pillow": "tests/data",
    "cvxpy, osqp, clarabel": "tests/projection/test_qp.py",
    "scipy": "tests/morphology/test_operators.py",
    "matplotlib": "tests/viz/test_figures.py",
    "flatbuffers": "tests/export/test_stablehlo.py",
    "tqdm": "tests/training/test_fitting.py",
    "distributed": "tests/examples/test_apply_many.py",
    "hypothesis": "tests/morphology/test_levelsets.py",
}


def main() -> int:
    """Install, say what was installed, and run pytest; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one test file for each dependency")
    parser.add_argument("--env", type=Path, help="folder of the environment (kept, and used again)")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment")
    options, arguments = parser.parse_known_args()
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        parser.error("uv is not installed: pip install uv")
    with tempfile.TemporaryDirectory() as folder:
        env = (options.env or Path(folder) / "env").resolve()
        python = env / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not python.exists():
            subprocess.run([uv, "venv", "-q", "--python", options.python, str(env)], check=True)
        # "lowest-direct": what we declare at its lowest, what that needs as new as it may be.
        lowest = ["--resolution", "lowest-direct", "-e", f"{ROOT}[test]"]
        subprocess.run([uv, "pip", "install", "--python", str(python), *lowest], check=True)
        subprocess.run([uv, "pip", "list", "--python", str(python)], check=True)
        if options.quick:
            arguments = [*QUICK.values(), *arguments]
        # Old releases warn of what they use of each other, which is not ours to mend.
        command = [str(python), "-m", "pytest", "-q", "-W", "ignore::DeprecationWarning"]
        done = subprocess.run([*command, *arguments], cwd=ROOT, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
