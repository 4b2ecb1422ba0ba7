"""The system's C compiler for the tests: skipped loudly where there is none."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wshadow",
          "-Wundef"]  # fmt: skip


def need(*tools):
    """The path of the first of these programs; the test is skipped, and says so, without."""
    for tool in tools:
        if found := shutil.which(tool):
            return found
    pytest.skip(f"needs a compiler on the PATH: one of {', '.join(tools)}")


def compile_c(source, *options, strict=True, level="-O1"):
    """Compile `name.c`, without a word from the compiler; gives the path of what was made."""
    compiler = need("cc", "gcc", "clang")
    # Another name each time: a library that was loaded once is not loaded again.
    source = Path(source)
    target = source.with_suffix(f".{len(list(source.parent.iterdir()))}.out")
    command = [
        compiler,
        level,
        *(STRICT if strict else []),
        *options,
        str(source),
        "-o",
        str(target),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return target


def library(source, *options):
    """Compile and load a shared library."""
    return ctypes.CDLL(str(compile_c(source, "-shared", "-fPIC", *options)))


def pointer(array):
    """An array as an argument."""
    assert array.flags.c_contiguous
    return array.ctypes.data_as(ctypes.c_void_p)


def guarded(rng, words):
    """Memory of so many words, full of noise, and a function that tells whether it was left."""
    memory = rng.integers(0, 2**63, words + 16).astype(np.uint64)
    before = memory[words:].copy()

    def kept():
        return np.array_equal(memory[words:], before)

    return memory, kept
