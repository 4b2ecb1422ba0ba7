"""Write a program as C, compile it as a shared library, and call it on numpy arrays."""

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from morphax.export import c
from morphax.program import Program

FASTEST = ("-O3", "-march=native")


def library(
    program: Program,
    folder: str,
    *,
    layout: str,
    compiler: str = "cc",
    flags: Sequence[str] = FASTEST,
) -> tuple[ctypes.CDLL, str]:
    """Return the loaded library, whose functions begin with `net_`, and the text of its header."""
    files = c(program, folder, name="net", layout=layout)
    return load(folder, compiler=compiler, flags=flags), files.header


def load(folder: str, *, compiler: str, flags: Sequence[str]) -> ctypes.CDLL:
    """Compile and load the `net.c` of a folder."""
    source, made = Path(folder) / "net.c", Path(folder) / "net.so"
    command = [compiler, "-std=c99", *flags, "-shared", "-fPIC", str(source), "-o", str(made)]
    subprocess.run(command, check=True)
    lib = ctypes.CDLL(str(made))
    # Functions return `int`, says ctypes where it is not told.
    for name in ("apply_words", "plane_words", "workspace_words"):
        if hasattr(lib, f"net_{name}"):
            getattr(lib, f"net_{name}").restype = ctypes.c_size_t
    return lib


def at(array: np.ndarray) -> ctypes.c_void_p:
    """Return an array as an argument, which keeps the array."""
    return array.ctypes.data_as(ctypes.c_void_p)
