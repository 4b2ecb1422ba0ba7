"""How many images a second does a binary network do on one core, in each form that morphax gives it?

    python benchmarks/inference.py [--smoke] [--budget SECONDS] [--network FILE ...] [--dense FILE]
                                   [--out DIR]

| network | |
|---|---|
| "opening" | channels [1, 3, 1], windows 5 x 5, on Noisti 70 x 70: the union of openings by three sticks |
| "dense" | 784 inputs, 4000 erosions and dilations, a popcount head of 10 classes |
| "convolutional" | `classification.model` on 28 x 28: 512 clauses of 7 x 7, 512 of 11 x 11, votes |

Wiring is random unless files are given: `--network` takes the `network.npz` that `examples/classify.py`
writes, `--dense` an npz with `selem` (784, n) and `erosion` (n,). Random dense sets have 12 inputs on
average; a random clause holds 20 literals, on average, of a window of one of the images. Mean |S| and
the plain bit operations an image (`morphax.program.cost`, of the simplified program) are in
`metadata["networks"]`, for every network (`total`; the counts of a head are `additions`, beside them);
`operations a ns` in the printed table divides by them.

Contenders: the float network in JAX (hard weights: the sets), the same model on bool and on words, the
model specialised, generated C, and the float network in plain PyTorch. "float" forms run in chunks
that fit the caches. Outputs (bits, or counts by class) are compared with those on bool before anything is
timed; `error` is the share that differs. `ratio` is to float JAX; seconds are per image. "with packing"
starts at bool and ends at bool or counts. C: "words" runs from words to words, and to labels where
there are classes; "bytes" from a byte a pixel to labels, or to a byte a pixel.

One core: XLA_FLAGS and OMP_NUM_THREADS are set, and the process is bound to one core, before jax is
imported (the flags alone left XLA 1.2 to 1.8 cores); PyTorch is told. Where a process cannot be bound,
JAX is not held to one core: see `cores_used` in the metadata for what happened.
What was compiled how long is in `build_s`.
"""

import os

os.environ["XLA_FLAGS"] = (
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"  # before jax is imported
)
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):  # the flags alone leave XLA several threads
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse
import ctypes
import math
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common

import morphax
from morphax import BinaryBiSE, BiSE, Spec, data, program
from morphax.classification import model
from morphax.export import c
from morphax.morphology import elements
from morphax.neurons import models
from morphax.program import simplify

REFERENCE, TORCH = "float JAX", "float PyTorch"
SCALE = 40.0
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
RATES = {("dense", "C, words"): 2e6, ("dense", "C, bytes"): 2e6}  # images a second that are wanted
FASTER = ("packed words", "packed words, with packing", "specialised", "specialised, with packing")
TIMES = 50  # faster than floats, that is
Timed = tuple[
    Callable[[], Any], Callable[[Any], np.ndarray]
]  # what is timed; its result, for `wanted`


class Net(NamedTuple):
    """A network, real and binary.

    Attributes:
        name: of the case.
        apply: model.
        real, binary: its params.
        x: bool images.
        chunk: images at a time for floats.
        torch: of torch, makes the float forward of a chunk.
        wiring: how it was made.
    """

    name: str
    apply: Callable[[Any, jax.Array], jax.Array]
    real: Any
    binary: Any
    x: np.ndarray
    chunk: int
    torch: Callable[[Any], Callable[[Any], Any]]
    wiring: str


def bank(selem: np.ndarray, erosion: np.ndarray, role: str) -> tuple[BiSE, BinaryBiSE]:
    """The same neurons twice: floats with hard weights, and sets."""
    spec = Spec(role, "identity", "raw", "sigmoid")
    size = selem.sum((0, 1) if role == "spatial" else -2)
    bias = jnp.asarray(np.where(erosion, size - 0.5, 0.5), jnp.float32)
    real = BiSE(jnp.asarray(selem, jnp.float32), bias, jnp.full(bias.shape, SCALE), spec)
    return real, BinaryBiSE(
        jnp.asarray(selem), jnp.asarray(erosion), jnp.zeros(bias.shape, bool), spec
    )


def neuron(torch: Any, total: Any, bias: Any) -> Any:
    """The activation in PyTorch."""
    return torch.sigmoid(SCALE * (total - bias))


def opening(count: int) -> Net:
    """The union of openings by sticks at 0, 45 and 90 degrees."""
    sticks = np.stack([elements.stick(5, angle) for angle in (0, 45, 90)], -1)
    ones, zeros = np.ones((1, 3), bool), np.zeros((3, 1), bool)
    parts = {
        "erosions": bank(sticks[:, :, None], ones, "spatial"),
        "dilations": bank(sticks[..., None], zeros, "spatial"),
        "union": bank(np.ones((3, 1), bool), np.zeros(1, bool), "lui"),
    }
    real, binary = (
        [{"bise": parts["erosions"][i]}, {"bise": parts["dilations"][i], "lui": parts["union"][i]}]
        for i in range(2)
    )

    def build(torch: Any) -> Callable[[Any], Any]:
        pad, conv = torch.nn.functional.pad, torch.nn.functional.conv2d
        weight = torch.tensor(sticks.astype(np.float32)).permute(2, 0, 1)[:, None].contiguous()

        def run(x: Any) -> Any:  # 1 beyond the frame for erosions, 0 for dilations
            x = pad(x.permute(0, 3, 1, 2), (2, 2, 2, 2), value=1.0)
            x = neuron(torch, conv(x, weight), 4.5)
            x = neuron(torch, conv(x, weight, padding=2, groups=3), 0.5)
            return neuron(torch, x.sum(1), 0.5)[..., None]

        return run

    x = np.asarray(data.noisti(jax.random.key(0), count)[0])
    return Net("opening", models.bimonn, real, binary, x, 32, build, "three sticks of 5 pixels")


def dense(count: int, width: int, path: Path | None) -> Net:
    """A dense bank and a popcount head."""
    rng = np.random.default_rng(0)
    if path:
        found = np.load(path)
        selem, erosion = found["selem"], found["erosion"]
    else:
        selem, erosion = rng.random((784, width)) < 12 / 784, rng.random(width) < 0.5
        selem[0] |= ~selem.any(0)
    real, binary = bank(selem, erosion, "dense")

    def build(torch: Any) -> Callable[[Any], Any]:
        weight, bias = (torch.tensor(np.asarray(a)) for a in (real.weight, real.bias))

        def run(x: Any) -> Any:
            return neuron(torch, x @ weight, bias).reshape(len(x), 10, -1).sum(-1)

        return run

    # Densities near 0 and 1, where unions and intersections of a dozen are not constant.
    share = rng.choice([0.03, 0.1, 0.5, 0.9, 0.97], (count, 1))
    return Net(
        "dense", lambda node, x: morphax.group_sum(morphax.apply(node, x), classes=10), real, binary,
        rng.random((count, 784)) < share, min(count, 1024), build, "from a file" if path else "random",
    )  # fmt: skip


def convolutional(count: int, clauses: int, path: Path | None) -> Net:
    """`morphax.classification.model`: clauses, unions over regions, votes."""
    rng = np.random.default_rng(0)
    found = np.load(path) if path else {"thresholds": np.zeros((1, 1))}
    channels = found["thresholds"].size
    draws = [data.diskorect(jax.random.key(i), count, size=(28, 28), max_shape=(10, 10),
                            max_shape_holes=(5, 5), noise=0.02) for i in range(channels)]  # fmt: skip
    x = np.logical_and.accumulate(np.concatenate(draws, -1), axis=-1)  # level sets are nested
    if path:
        selems = [found[f"selem{i}"] for i in range(sum(k.startswith("selem") for k in found))]
        votes, bias = found["votes"], found["bias"]
    else:
        selems = [_clauses(rng, x, size, clauses) for size in (7, 11)]
        votes, bias = rng.integers(-5, 6, (9 * 2 * clauses, 10)), np.zeros(10, int)
    regions = math.isqrt(len(votes) // sum(s.shape[1] for s in selems))
    banks = [bank(s, np.ones(s.shape[1], bool), "dense") for s in selems]
    net = model.classifier(model.wires(votes, bias), regions=regions)

    def build(torch: Any) -> Callable[[Any], Any]:
        middle = model.centres(28, regions=regions)
        first, n, part = int(middle[0]), len(middle), len(middle) // regions
        least = (bias + np.minimum(votes, 0).sum(0)).min()  # see `model.wires`
        table, extra = (torch.tensor(np.asarray(a, np.float32)) for a in (votes, bias - least))
        kernels = []
        for s in selems:
            size = math.isqrt(len(s) // (2 * channels))
            w = s.reshape(size, size, 2 * channels, -1).transpose(3, 2, 0, 1).astype(np.float32)
            b = torch.tensor((s.sum(0) - 0.5).astype(np.float32))[:, None, None]
            kernels.append((size, torch.tensor(np.ascontiguousarray(w)), b))
        f = torch.nn.functional

        def run(x: Any) -> Any:
            planes = torch.cat([x, 1 - x], -1).permute(0, 3, 1, 2)
            held = []
            for size, w, b in kernels:
                seen = f.pad(planes, (size // 2,) * 4, mode="replicate")
                end = first + 2 * (n - 1) + size
                on = neuron(torch, f.conv2d(seen[:, :, first:end, first:end], w, stride=2), b)
                held.append(f.max_pool2d(on, part).permute(0, 2, 3, 1).flatten(1))
            return torch.cat(held, 1) @ table + extra

        return run

    real, binary = ({"erosions": [pair[i] for pair in banks]} for i in range(2))
    name = f"convolutional, {channels} level" + "s" * (channels > 1)
    return Net(name, net, real, binary, x, 8, build, "trained" if path else "random")


def _clauses(rng: np.random.Generator, x: np.ndarray, size: int, count: int) -> np.ndarray:
    """Clauses of 20 literals, on average, that hold in some window of the images."""
    seen = np.asarray(model.windows(model.literals(jnp.asarray(x[:64])), size=size))
    seen = seen.reshape(-1, seen.shape[-1])
    held = seen[rng.integers(0, len(seen), count)].T
    return held & (rng.random(held.shape) < 40 / len(held))


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
    files = c(simple, folder, name="net", layout="batch")
    source, made = Path(folder) / "net.c", Path(folder) / "net.so"
    subprocess.run([compiler, *FLAGS, str(source), "-o", str(made)], check=True)
    lib, counts = ctypes.CDLL(str(made)), simple.ops[-1].kind == "group_sum"
    lib.net_workspace_words.restype = ctypes.c_size_t
    lanes = int(re.search(r"_LANES (\d+)", files.header).group(1))  # type: ignore[union-attr]
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

    def at(array: np.ndarray) -> ctypes.c_void_p:
        return array.ctypes.data_as(ctypes.c_void_p)  # which keeps the array

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


def _aligned(words: int) -> np.ndarray:
    """uint64 words at the start of a cache line."""
    memory = np.zeros(words + 8, np.uint64)
    return memory[(-memory.ctypes.data // 8) % 8 :][:words]


def facts(net: Net, simple: program.Program) -> dict[str, Any]:
    """What is in a network, and its plain cost."""
    banks = morphax.neurons.nodes.named_nodes(net.binary).values()
    sizes = np.concatenate(
        [np.asarray(b.selem).sum((0, 1) if b.spec.role == "spatial" else -2).ravel() for b in banks]
    )
    return {"made": net.wiring, "neurons": len(sizes), "mean_size": round(float(sizes.mean()), 2),
            **program.count(simple)._asdict()}  # fmt: skip


def timed(run: Callable[[], Any], budget: float, count: int) -> tuple[dict, float]:
    """Timing for about `budget` seconds, after a first call; and the cores it used."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    once = time.perf_counter() - start
    repeats = int(np.clip(budget / max(once, 1e-6), 3, 51))
    start, used = time.perf_counter(), time.process_time()
    timing = common.measure(run, repeats=repeats, warmup=0, units=count)
    return timing, (time.process_time() - used) / (time.perf_counter() - start)


def goals(rows: list[dict]) -> list[dict]:
    """What was wanted and what was found."""
    seconds = {(r["case"]["network"], r["contender"]): r["median_s"] for r in rows}
    found = []
    for (network, contender), median in seconds.items():
        about = {"network": network, "contender": contender}
        if (network, contender) in RATES:
            wanted = RATES[network, contender]
            found.append(
                {**about, "unit": "images/s", "wanted": wanted, "found": round(1 / median)}
            )
        for peer in (REFERENCE, TORCH):
            if contender in FASTER and (network, peer) in seconds:
                times = round(seconds[network, peer] / median, 1)
                found.append({**about, "unit": f"times {peer}", "wanted": TIMES, "found": times})
    return [goal | {"met": goal["found"] >= goal["wanted"]} for goal in found]


def contenders(
    net: Net, simple: program.Program, skipped: list[str], folder: str
) -> dict[str, Timed]:
    """All that are there."""
    found = in_jax(net)
    try:
        found |= specialised(net)
    except ImportError:
        common.skip(skipped, "specialised: no morphax.specialized.compiler")
    if compiler := shutil.which("gcc") or shutil.which("cc"):
        found |= in_c(net, simple, compiler, folder)
    else:
        common.skip(skipped, "C: no compiler (gcc or cc)")
    try:
        found |= pytorch(net)
    except ImportError:
        common.skip(skipped, "PyTorch: pip install torch")
    return found


def networks(options: argparse.Namespace) -> list[Net]:
    """The networks to run."""
    few, many, width, clauses = (64, 128, 40, 8) if options.smoke else (512, 4096, 4000, 512)
    files = options.network or [None]
    return [opening(few), dense(many, width, options.dense),
            *(convolutional(few, clauses, path) for path in files)]  # fmt: skip


def main() -> None:
    """Check and time every form of every network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    parser.add_argument("--budget", type=float, default=3.0, help="seconds a contender and network")
    parser.add_argument("--network", type=Path, nargs="+", help="npz of a trained classifier")
    parser.add_argument("--dense", type=Path, help="npz of a dense bank")
    parser.add_argument("--smoke", action="store_true", help="narrow networks, short")
    options = parser.parse_args()
    budget = 0.05 if options.smoke else options.budget
    about = common.metadata("inference", unit="image", reference=REFERENCE, smoke=options.smoke)
    rows, skipped, built = [], [], {}
    about |= {"networks": {}, "cores_used": {}, "build_s": built}
    for net in networks(options):
        case, count = {"network": net.name, "images": len(net.x)}, len(net.x)
        simple = simplify(program.build(net.apply, net.binary, (1, *net.x.shape[1:])))
        about["networks"][net.name] = facts(net, simple)
        wanted = np.asarray(jax.jit(net.apply)(net.binary, jnp.asarray(net.x)))
        with tempfile.TemporaryDirectory() as folder:
            for name, (run, seen) in contenders(net, simple, skipped, folder).items():
                start = time.perf_counter()
                output = seen(jax.block_until_ready(run()))
                built[f"{net.name}, {name}"] = round(time.perf_counter() - start, 2)
                same = wanted.argmax(-1) if output.ndim < wanted.ndim else wanted
                wrong = float((output != same).mean())
                if wrong:
                    common.skip(skipped, f"{name}, {net.name}: {wrong:.3g} of the outputs differ")
                    continue
                timing, used = timed(run, budget, count)
                about["cores_used"][f"{net.name}, {name}"] = round(used, 2)
                rows.append(common.result(name, case, timing, error=wrong))
    common.add_ratios(rows, REFERENCE)
    about["goals"] = goals(rows)
    common.write(options.out / "inference.json", about, rows, skipped)
    show(rows, about)


def show(rows: list[dict], about: dict) -> None:
    """The table, with what follows from the medians."""
    lines = []
    for row in rows:
        work = about["networks"][row["case"]["network"]]["total"]
        more = {"ns": row["median_s"] * 1e9, "images/s": 1 / row["median_s"],
                "operations a ns": work / row["median_s"] / 1e9}  # fmt: skip
        lines.append({**row, "case": row["case"] | more})
    columns = ("network", "contender", "images", "ns", "iqr_s", "repeats", "images/s", "ratio",
               "operations a ns")  # fmt: skip
    print(common.table(lines, columns))
    for line in (*about["networks"].items(), *about["goals"]):
        print(line)


if __name__ == "__main__":
    main()
