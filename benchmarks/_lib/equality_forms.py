"""One binary network in each form that morphax gives it: `form(net, x)` is what it makes of bool
images.

A form gives `Output`s of the first n images, all of them where nothing else is said. The networks
of `equality.py` are `Net`s. Programs of other languages are made in a temporary folder and run
there.
"""

import ctypes
import math
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from _lib.c_library import at, library
from morphax import export, program

FLOATS, TURN = 50, 500  # images at a time, of floats and of bits
COMPILERS = ("cc", "gcc", "clang")


class Net(NamedTuple):
    """A network.

    Attributes:
        name: what it is.
        bits: the model up to its last bits, `(params, x) -> (N, ...)`.
        counts: the model with the head that counts them, or None.
        real: the trained params, or None.
        binary: the params of bits.
        images: batches, bool `(N, H, W, C)`, of any sizes.
        answers: the true labels, or None.
        certified: the verdict on `real`, or None.
    """

    name: str
    bits: Callable[[Any, jax.Array], jax.Array]
    counts: Callable[[Any, jax.Array], jax.Array] | None
    real: Any
    binary: Any
    images: list[np.ndarray]
    answers: np.ndarray | None
    certified: bool | None


class Output(NamedTuple):
    """What a form makes of the first n images; None: it does not tell.

    Attributes:
        bits: bool `(n, ...)`.
        counts: `(n, classes)`.
        labels: int `(n,)`.
    """

    bits: np.ndarray | None = None
    counts: np.ndarray | None = None
    labels: np.ndarray | None = None


Form = Callable[[Net, np.ndarray], Output]


class Absent(Exception):
    """Why a form was not run."""


def in_turns(function: Callable[[jax.Array], Any], x: np.ndarray, turn: int) -> Any:
    """A jitted function on `turn` images at a time; the last turn is filled up with the first
    images."""
    turn = min(turn, len(x))
    filled = np.concatenate([x, x[: -len(x) % turn]])
    parts = [
        jax.tree.map(np.asarray, function(jnp.asarray(filled[i : i + turn])))
        for i in range(0, len(x), turn)
    ]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[: len(x)], *parts)


def both(net: Net, made: Callable[[Any], np.ndarray]) -> Output:
    """Bits, and counts with their labels where there are any."""
    counts = made(net.counts) if net.counts else None
    return Output(made(net.bits), counts, None if counts is None else counts.argmax(-1))


def floats(net: Net, x: np.ndarray) -> Output:
    """The trained network on numbers, thresholded at 1/2; labels are those of its graded sums."""
    if net.real is None:
        raise Absent("the file has no trained parameters")
    bits, counts = in_turns(jax.jit(lambda x: _both(net, net.real, x * 1.0)), x, FLOATS)
    return Output(bits > 0.5, None, None if counts is None else counts.argmax(-1))


def bools(net: Net, x: np.ndarray) -> Output:
    """The same model on bits: what the others are compared with."""
    bits, counts = in_turns(jax.jit(lambda x: _both(net, net.binary, x)), x, FLOATS)
    return Output(bits, counts, None if counts is None else counts.argmax(-1))


def _both(net: Net, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    return net.bits(params, x), net.counts(params, x) if net.counts else None


def back(y: jax.Array, count: int) -> jax.Array:
    """Words as bool, counts as they are, of so many images."""
    return y[:count] if y.dtype == jnp.int32 else morphax.unpack(y, count=count)


def words(net: Net, x: np.ndarray) -> Output:
    """The same model on words, 32 images in each."""

    def made(model: Any) -> np.ndarray:
        run = jax.jit(lambda x: back(model(net.binary, morphax.pack(x)), len(x)))
        return in_turns(run, x, TURN)

    return both(net, made)


def specialised(net: Net, x: np.ndarray, *, layout: str = "batch") -> Output:
    """The network compiled for itself."""

    def made(model: Any) -> np.ndarray:
        run = morphax.specialize(model, net.binary, (1, *x.shape[1:]), layout=layout)
        return in_turns(run, x, TURN)

    return both(net, made)


def archive(net: Net, x: np.ndarray, *, most: int = 500) -> Output:
    """Saved, loaded, and run by numpy alone; `most` images of a classifier."""
    x = x[:most] if net.counts else x

    def made(model: Any) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.npz"
            morphax.save(path, net.binary, apply=model, input_shape=(1, *x.shape[1:]))
            run = morphax.load(path).run
        return np.concatenate([run(x[i : i + 50]) for i in range(0, len(x), 50)])

    return both(net, made)


def stablehlo(net: Net, x: np.ndarray) -> Output:
    """Written as StableHLO, read again and called, on words."""

    def made(model: Any) -> np.ndarray:
        shape = (-(-min(TURN, len(x)) // 32), *x.shape[1:])
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "net.stablehlo"
                export.stablehlo(model, net.binary, shape, path, packed=True)
                call = jax.jit(export.load_stablehlo(path).call)
        except ImportError as error:
            raise Absent(str(error)) from error
        return in_turns(lambda x: back(call(morphax.pack(x)), len(x)), x, TURN)

    return both(net, made)


def simple(net: Net, model: Any, x: np.ndarray) -> program.Program:
    """The simplified program for images as x."""
    return program.simplify(program.build(model, net.binary, (1, *x.shape[1:])))


def compiled(net: program.Program, folder: str, layout: str) -> tuple[ctypes.CDLL, str]:
    """A network in C, compiled and loaded, and its header."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise Absent(f"no C compiler: none of {', '.join(COMPILERS)}")
    return library(net, folder, layout=layout, compiler=compiler, flags=["-O1"])


def in_c(net: Net, x: np.ndarray) -> Output:
    """C, a word for 64 images: bytes to bits, or to counts and to labels."""

    pixels, every = x.astype(np.uint8), ctypes.c_size_t(len(x))

    def made(model: Any) -> tuple[ctypes.CDLL, str, program.Program, np.ndarray]:
        found = simple(net, model, x)
        with tempfile.TemporaryDirectory() as folder:
            lib, header = compiled(found, folder, "batch")
        return lib, header, found, np.zeros(lib.net_workspace_words(), np.uint64)

    lib, _, found, room = made(net.bits)
    bits = np.zeros((len(x), *found.output_shape), np.uint8)
    lib.net_apply(at(pixels), every, at(bits), at(room))
    if net.counts is None:
        return Output(bits.astype(bool))
    lib, header, found, room = made(net.counts)
    labels, counts = (
        np.zeros(shape, np.int32) for shape in ((len(x),), (len(x), *found.output_shape))
    )
    lib.net_classify(at(pixels), every, at(labels), at(room))
    lanes = int(re.search(r"_LANES (\d+)", header).group(1))  # type: ignore[union-attr]
    sliced = found.output_shape[0] * found.ops[-1].options["per"].bit_length()
    inner, outer = (np.zeros(n * lanes, np.uint64) for n in (math.prod(found.input_shape), sliced))
    for i in range(0, len(x), 64 * lanes):
        n = ctypes.c_size_t(min(64 * lanes, len(x) - i))
        lib.net_pack(at(pixels[i:]), n, at(inner))
        lib.net_run(at(inner), at(outer), at(room))
        lib.net_counts(at(outer), n, at(counts[i:]))
    return Output(bits.astype(bool), counts, labels)


def in_c_rows(net: Net, x: np.ndarray) -> Output:
    """C, a word for 64 pixels of a row; made once for images of any size."""
    built = program.build(net.bits, net.binary, (1, 9, 9, x.shape[-1]))
    with tempfile.TemporaryDirectory() as folder:
        lib, _ = compiled(built, folder, "pixels")
    height, width, planes = *x.shape[1:3], built.output_shape[-1]
    sizes = ctypes.c_size_t(width), ctypes.c_size_t(height)
    area = lib.net_plane_words(*sizes)
    inner, outer, room = (
        np.zeros(n, np.uint64)
        for n in (x.shape[-1] * area, planes * area, lib.net_workspace_words(*sizes))
    )
    out = np.zeros((len(x), height, width, planes), np.uint8)
    for image, result in zip(x.astype(np.uint8), out, strict=True):
        lib.net_pack(at(image), *sizes, at(inner))
        lib.net_run(at(inner), at(outer), *sizes, at(room))
        lib.net_unpack(at(outer), *sizes, at(result))
    return Output(out.astype(bool))
