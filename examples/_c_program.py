"""Running of a C program on images: PBM files, and the C compiler of the system.

The program reads PBM images (P4), one after the other, and writes as many. A set bit, a pixel of an
object, is *white* in the PNG files of export_operator.py and *black* in PBM files: the PBM format
defines it so.
"""

import importlib
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np

COMPILERS = ("cc", "gcc", "clang")


def to_pbm(planes: np.ndarray) -> bytes:
    """Return planes, bool (..., H, W), as PBM images one after the other."""
    height, width = planes.shape[-2:]
    rows = np.packbits(planes, axis=-1).reshape(-1, height * -(-width // 8))
    return b"".join(b"P4\n%d %d\n" % (width, height) + plane.tobytes() for plane in rows)


def from_pbm(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Return planes of that shape from PBM images; raise `ValueError` if the size differs."""
    height, width = shape[-2:]
    images = np.frombuffer(content, np.uint8).reshape(int(np.prod(shape[:-2])), -1)
    bits = images[:, len(b"P4\n%d %d\n" % (width, height)) :].reshape(*shape[:-1], -(-width // 8))
    return np.unpackbits(bits, axis=-1, count=width).astype(bool)


def write_images(folder: Path, inputs: np.ndarray, outputs: np.ndarray) -> None:
    """Write a few test images to look at, the planes of each side by side."""
    image = importlib.import_module("PIL.Image")
    for i in range(min(4, len(inputs))):
        (folder / f"test_{i}_input.pbm").write_bytes(to_pbm(inputs[i]))
        for side, planes in (("input", inputs[i]), ("output", outputs[i])):
            picture = image.fromarray(np.concatenate(planes, axis=1))
            picture.save(folder / f"test_{i}_{side}.png")


def compile_and_run(
    source: Path, images: bytes, shape: tuple[int, ...]
) -> tuple[np.ndarray, float]:
    """Return the output of the compiled program on PBM images, and the seconds that it took.

    Args:
        source: path of the C file; the program is written beside it.
        images: PBM images, one after the other.
        shape: shape of the output as planes.

    Raises:
        LookupError: if there is no compiler.
        RuntimeError: if the compiler or the program fails.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise LookupError(
            f"no C compiler: none of {', '.join(COMPILERS)} is on the PATH, so {source.name} was "
            "not compiled; everything else was written"
        )
    command = [compiler, "-std=c99", "-O3", source.name, "-o", source.stem]
    try:
        done = subprocess.run(command, cwd=source.parent, capture_output=True)
        start = time.perf_counter()
        if not done.returncode:
            program = source.with_suffix("").resolve()
            done = subprocess.run([program], input=images, capture_output=True)
        seconds = time.perf_counter() - start
        if not done.returncode:
            return from_pbm(done.stdout, shape), seconds
    except (OSError, ValueError) as error:
        raise RuntimeError(f"the compiled program did not run: {error}") from error
    message = done.stderr.decode(errors="replace").strip().splitlines() or ["without a message"]
    raise RuntimeError(
        f"{Path(done.args[0]).name} ended with status {done.returncode}: {message[0]}"
    )
