"""Compiled programs on disk: where, when not, and that a second process uses them."""

import os

import jax
import pytest
from helpers.repository import run_python

from morphax.training import keep_compiled


@pytest.fixture
def no_cache(monkeypatch):
    """Take away the cache of the tests, and give it back at the end."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.delenv("MORPHAX_CACHE", raising=False)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_folder_is_the_one_that_was_named(no_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("MORPHAX_CACHE", str(tmp_path / "named"))
    places = [tmp_path / "given", tmp_path / "named", tmp_path / "caches/morphax"]
    for folder, place in zip((places[0], None, None), places, strict=True):
        used = keep_compiled(folder=folder)
        assert used.parent == place
        assert used.is_dir()
        assert jax.config.jax_compilation_cache_dir == str(used)
        jax.config.update("jax_compilation_cache_dir", None)
        if folder is None:
            monkeypatch.delenv("MORPHAX_CACHE", raising=False)


def test_nothing_changes_where_there_is_a_cache_or_none_is_wanted(no_cache, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    assert keep_compiled(folder=tmp_path / "file") is None
    monkeypatch.setenv("MORPHAX_CACHE", "off")
    assert keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir is None
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert keep_compiled(folder=tmp_path / "other") is None
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)


@pytest.mark.slow
def test_a_second_process_compiles_nothing_again(tmp_path):
    code = """
import jax, morphax, morphax.training
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
morphax.training.keep_compiled()
morphax.project(jax.numpy.ones((2, 9)), jax.numpy.ones(2))
print(hits.count("/jax/compilation_cache/cache_hits"))
"""
    caches = {"MORPHAX_CACHE": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": ""}
    assert os.environ["JAX_COMPILATION_CACHE_DIR"]  # that of the tests, which is not used here
    hits = [int(run_python("-c", code, **caches).stdout) for _ in range(2)]
    assert hits[0] == 0
    assert hits[1] > 0
