"""Shared test set-up: ranks never promote silently, and real data is skipped loudly."""

import os
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

# Sets up eight devices in float64 when it is imported, which looking for doctests would do.
collect_ignore = ["helpers/on_devices.py"]


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded numpy generator."""
    return np.random.default_rng(0)


@pytest.fixture
def tfds() -> None:
    """What reads data sets; the test is skipped, and says so, where it is not installed."""
    if find_spec("tensorflow_datasets") is None:
        pytest.skip("needs tensorflow_datasets: pip install 'morphax[data]'")


@pytest.fixture
def data_dir(tfds: None) -> Path:
    """The folder of real data sets (`MORPHAX_DATA`); the test is skipped, and says so, without."""
    folder = os.environ.get("MORPHAX_DATA")
    if not folder:
        pytest.skip("needs the real data sets: set MORPHAX_DATA to their folder")
    return Path(folder)


@pytest.fixture(autouse=True, scope="module")
def _few_memory_maps():
    """Forget compiled programs when there are many: each holds memory maps, and Linux allows 65 530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > 25_000:
        jax.clear_caches()
