"""The system's C compiler for the tests: skipped loudly where there is none."""

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from morphax.program import Program

STRICT = [
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
    "-Wconversion",
    "-Wshadow",
    "-Wundef",
]


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


def resized(program, size):
    """The same operator on images of another size."""
    ops = []
    for op in program.ops:
        arrays = dict(op.arrays)
        if op.kind == "constant":
            plain = arrays["bits"][:, :1, :1]
            arrays["bits"] = np.broadcast_to(plain, (op.shape[0], *size)).copy()
        ops.append(replace(op, shape=(op.shape[0], *size), arrays=arrays))
    shapes = [(*size, *s[2:]) for s in (program.input_shape, program.output_shape)]
    return Program(tuple(ops), *shapes)


def pbm(image, *, comment=b""):
    """An image `(H, W)` as a P4 file."""
    height, width = image.shape
    return b"P4\n%s%d %d\n" % (comment, width, height) + np.packbits(image, axis=1).tobytes()


def execute(program, data):
    """(exit status, stdout, stderr) of a compiled program."""
    done = subprocess.run([program], input=data, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr
