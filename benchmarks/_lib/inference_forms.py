"""Forms of a network that `inference.py` times: JAX, words, specialised, C and PyTorch."""

import ctypes
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from _lib.c_library import at, library
from _lib.inference_networks import Net
from morphax import program

REFERENCE, TORCH = "float JAX", "float PyTorch"
Timed = tuple[
    Callable[[], Any], Callable[[Any], np.ndarray]
]  # what is timed; its result, for `wanted`


def in_jax(net: Net) -> dict[str, Timed]:
    """Floats, bool and words through the model."""
    x, count = jnp.asarray(net.x), len(net.x)

    @jax.jit
    def chunks(params: Any, x: jax.Array) -> jax.Array:
        y = jax.lax.map(
            lambda part: net.apply(params, part), x.reshape(-1, net.chunk, *x.shape[1:])
        )
        return y.reshape(count, *y.shape[2:])

    @jax.jit
    def packing(params: Any, x: jax.Array) -> jax.Array:
        return back(net.apply(params, morphax.pack(x)))

    def back(y: jax.Array) -> jax.Array:
        return y[:count] if y.dtype == jnp.int32 else morphax.unpack(y, count=count)

    floats, words, model = x.astype(jnp.float32), morphax.pack(x), jax.jit(net.apply)
    return {
        REFERENCE: (lambda: chunks(net.real, floats), rounded),
        "bool": (lambda: chunks(net.binary, x), np.asarray),
        "packed words": (lambda: model(net.binary, words), lambda y: np.asarray(back(y))),
        "packed words, with packing": (lambda: packing(net.binary, x), np.asarray),
    }


def rounded(y: Any) -> np.ndarray:
    """Floats as bits or counts."""
    return np.rint(np.asarray(y)).astype(np.int64)


def specialised(net: Net) -> dict[str, Timed]:
    """The network compiled for itself."""
    from morphax.specialized.compiler import specialize

    x, count = jnp.asarray(net.x), len(net.x)
    run, words = specialize(net.apply, net.binary, (1, *x.shape[1:])), morphax.pack(x)

    def back(y: jax.Array) -> np.ndarray:
        return np.asarray(y[:count] if y.dtype == jnp.int32 else morphax.unpack(y, count=count))

    return {
        "specialised": (lambda: run(words), back),
        "specialised, with packing": (lambda: run(x), np.asarray),
    }


def pytorch(net: Net) -> dict[str, Timed]:
    """The float network in PyTorch."""
    import torch

    torch.set_num_threads(1)
    forward, parts = net.torch(torch), torch.tensor(net.x).float().split(net.chunk)

    def run() -> Any:
        with torch.inference_mode():
            return torch.cat([forward(part) for part in parts])

    return {TORCH: (run, lambda y: rounded(y.numpy()))}


def in_c(net: Net, simple: program.Program, compiler: str, folder: str) -> dict[str, Timed]:
    """Generated C, called through ctypes."""
    lib, header = library(simple, folder, layout="batch", compiler=compiler)
    counts = simple.ops[-1].kind == "group_sum"
    lanes = int(re.search(r"_LANES (\d+)", header).group(1))  # type: ignore[union-attr]
    bits = simple.ops[-1].options["per"].bit_length() if counts else 1
    count, images = len(net.x), 64 * lanes
    turns = -(-count // images)
    inner = _aligned(lib.net_workspace_words())
    words = _aligned(turns * math.prod(simple.input_shape) * lanes).reshape(turns, -1)
    out = _aligned(turns * math.prod(simple.output_shape) * bits * lanes).reshape(turns, -1)
    pixels = net.x.reshape(count, -1).astype(np.uint8)
    kind, size = (np.int32, 1) if counts else (np.uint8, math.prod(simple.output_shape))
    result = np.empty((count, size), kind)
    sizes = [min(images, count - i * images) for i in range(turns)]

    for i, n in enumerate(sizes):
        lib.net_pack(at(pixels[i * images :]), ctypes.c_size_t(n), at(words[i]))
    calls = [
        (at(words[i]), at(out[i]), ctypes.c_size_t(n), at(result[i * images :]))
        for i, n in enumerate(sizes)
    ]
    workspace, every = at(inner), (at(pixels), ctypes.c_size_t(count), at(result))

    def on_words() -> None:
        for given, found, n, labels in calls:
            lib.net_run(given, found, workspace)
            if counts:
                lib.net_labels(found, n, labels)

    def on_bytes() -> None:
        (lib.net_classify if counts else lib.net_apply)(*every, workspace)

    def unpacked(_: Any) -> np.ndarray:
        table = np.empty((count, *simple.output_shape), np.int32 if counts else np.uint8)
        for i, n in enumerate(sizes):
            function = lib.net_counts if counts else lib.net_unpack
            function(at(out[i]), ctypes.c_size_t(n), at(table[i * images :]))
        if counts and (result[:, 0] != table.argmax(-1)).any():
            table[:] = -1  # labels that are not those of the counts
        return table if counts else table.astype(bool)

    def bytes_as(_: Any) -> np.ndarray:
        return result[:, 0] if counts else result.reshape(count, *simple.output_shape).astype(bool)

    return {"C, words": (on_words, unpacked), "C, bytes": (on_bytes, bytes_as)}


def counting(
    simple: program.Program, compiler: str, folder: str
) -> tuple[Callable[[], Any], int, float]:
    """The counts of a classifier alone, in C: a run, its images, and the share that is wrong.

    The planes that are counted are the input, by their complements: an input is copied to be
    counted, results of ops are not.
    """
    select, count = simple.ops[-2:]
    planes = sum(simple.ops[i].shape[0] for i in select.inputs)
    shape = (planes, 1, 1)
    ops = (
        program.Op("input", (), shape),
        program.Op("complement", (0,), shape),
        replace(select, inputs=(1,)),
        replace(count, inputs=(2,)),
    )
    alone = program.Program(ops, (planes,), (count.shape[0],))
    lib, header = library(alone, folder, layout="batch", compiler=compiler)
    images = 64 * int(re.search(r"_LANES (\d+)", header).group(1))  # type: ignore[union-attr]
    x = np.random.default_rng(0).random((images, planes)) < 0.5
    bits = count.options["per"].bit_length()
    words, out = _aligned(planes * images // 64), _aligned(count.shape[0] * bits * images // 64)
    inner, found = _aligned(lib.net_workspace_words()), np.empty((images, count.shape[0]), np.int32)
    pixels = x.astype(np.uint8)
    lib.net_pack(at(pixels), ctypes.c_size_t(images), at(words))

    def run() -> None:
        lib.net_run(at(words), at(out), at(inner))

    run()
    lib.net_counts(at(out), ctypes.c_size_t(images), at(found))
    few = slice(0, images, 16)
    return run, images, float((found[few] != program.run(alone, x[few])).mean())


def _aligned(words: int) -> np.ndarray:
    """uint64 words at the start of a cache line."""
    memory = np.zeros(words + 8, np.uint64)
    return memory[(-memory.ctypes.data // 8) % 8 :][:words]
