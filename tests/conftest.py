"""Shared set-up: the option --runslow, a cache of compiled programs, and real data skipped
loudly."""

import contextlib
import functools
import gc
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np
import pytest

# Compile two to four times faster; what is compiled runs slower. CI runs what is about rounding,
# and about equal bits, without them too (--optimized).
QUICK = (
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"
    " --xla_cpu_parallel_codegen_split_count=1"
)

# Examples in docstrings that compile for seconds are left out with the tests marked slow.
SLOW_EXAMPLES = {"morphax.recipes.gradients.unions.learn_union"}

# Needs eight devices in float64, which it sets up when it is imported.
collect_ignore = ["helpers/on_devices.py"]


def pytest_addoption(parser):
    parser.addoption(
        "--runslow", action="store_true", help="run the tests marked slow and first too"
    )
    parser.addoption(
        "--optimized", action="store_true", help="let XLA optimize, as it does for users"
    )


def pytest_configure(config):
    """Set JAX up for this process, its workers, and the processes that tests start."""
    if not config.getoption("--optimized") and not hasattr(config, "workerinput"):
        compile_quickly()
    if not config.getoption("--optimized"):
        lower_quickly()
    if hasattr(config, "cache") and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # Compiled programs are kept on disk: a second run compiles nothing.
        options = {
            "jax_compilation_cache_dir": str(config.cache.mkdir("jax")),
            "jax_persistent_cache_min_compile_time_secs": 0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }
        for name, value in options.items():
            os.environ[name.upper()] = str(value)
            jax.config.update(name, value)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    # Traces are full of short-lived objects: by default a tenth of the time goes into looking for
    # cycles among them.
    gc.set_threshold(100_000, 20, 50)


def compile_quickly():
    """Add `QUICK` to the flags of XLA, where this version of XLA knows them."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip()
    # An unknown flag would end the process: another one tries.
    command = [sys.executable, "-c", "import jax; jax.devices('cpu')"]
    tried = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True)
    if tried.returncode == 0:
        os.environ["XLA_FLAGS"] = flags


def lower_quickly():
    """Lower to StableHLO twice as fast: one MLIR context for all programs, no lines of Python.

    JAX makes a context for each program, because contexts grow; making it takes longer than
    lowering most programs of the tests. The function is private to JAX: without it tests are slow.
    """
    jax.config.update("jax_traceback_in_locations_limit", 0)
    with contextlib.suppress(ImportError, AttributeError):
        from jax._src.interpreters import mlir

        mlir.make_ir_context = functools.cache(mlir.make_ir_context)


def pytest_collection_finish():
    """Leave what was imported out of all further garbage collections."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config, items):
    """Leave out what is slow, and members beyond the first n of tests marked first(n)."""
    if config.getoption("--runslow"):
        return
    kept, left_out, seen = [], [], Counter()
    for item in items:
        mark = item.get_closest_marker("first")
        name = (item.path, getattr(item, "originalname", item.name))
        seen[name] += 1
        is_beyond = mark is not None and seen[name] > mark.args[0]
        is_slow = "slow" in item.keywords or item.name in SLOW_EXAMPLES
        (left_out if is_slow or is_beyond else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded numpy generator."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True, scope="module")
def _strict_promotion():
    """Raise where JAX would promote two dtypes silently; nothing else differs."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def standard_promotion():
    """Let JAX promote dtypes, in tests of what mixes them on purpose, as Optax's Adam does."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def tfds() -> None:
    """Skip the test, visibly, where what reads data sets is not installed."""
    if find_spec("tensorflow_datasets") is None:
        pytest.skip('needs tensorflow_datasets: pip install ".[data]"')


@pytest.fixture
def data_dir(tfds: None) -> Path:
    """The folder of real data sets (`MORPHAX_DATA`); the test is skipped, visibly, without."""
    folder = os.environ.get("MORPHAX_DATA")
    if not folder:
        pytest.skip("needs the real data sets: set MORPHAX_DATA to their folder")
    return Path(folder)


@pytest.fixture(autouse=True, scope="module")
def _few_memory_maps():
    """Forget compiled programs when there are many: each holds memory maps, and Linux allows 65
    530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > 25_000:
        jax.clear_caches()
