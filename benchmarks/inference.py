"""How many images a second does a binary network do on one core, in each form that morphax gives
it?

    python benchmarks/inference.py [--smoke] [--budget SECONDS] [--network FILE ...] [--dense FILE]
                                   [--out DIR]

| network | |
|---|---|
| "opening" | channels [1, 3, 1], windows 5 x 5, on Noisti 70 x 70: a union of openings by sticks |
| "dense" | 784 inputs, 4000 erosions and dilations, a popcount head of 10 classes |
| "convolutional" | `classification.model` on 28 x 28: 512 clauses of 7 x 7, 512 of 11 x 11, votes |

Wiring is random unless files are given: `--network` takes the `network.npz` that
`examples/classify.py` writes, `--dense` an npz with `selem` (784, n) and `erosion` (n,). Random
dense sets have 12 inputs on average; a random clause holds 20 literals, on average, of a window of
one of the images. Mean |S| and the plain bit operations an image (`morphax.program.cost`, of the
simplified program) are in `metadata["networks"]`, for every network (`total`; the counts of a head
are `additions`, beside them); `operations a ns` in the printed table divides by them.

Contenders: the float network in JAX (hard weights: the sets), the same model on bool and on words,
the model specialised, generated C, and the float network in plain PyTorch. "float" forms run in
chunks that fit the caches. Outputs (bits, or counts by class) are compared with those on bool
before anything is timed; `error` is the share that differs. `ratio` is to float JAX; seconds are
per image. "with packing" starts at bool and ends at bool or counts. C: "words" runs from words to
words, and to labels where there are classes; "bytes" from a byte a pixel to labels, or to a byte a
pixel; "counting alone" counts the votes of a classifier, from words to counts.

One core: XLA_FLAGS and OMP_NUM_THREADS are set, and the process is bound to one core, before jax is
imported (the flags alone left XLA 1.2 to 1.8 cores); PyTorch is told. Where a process cannot be
bound, JAX is not held to one core: see `cores_used` in the metadata for what happened. What was
compiled how long is in `build_s`.
"""

import os

from _lib.one_core import one_core

os.environ.update(one_core())  # before jax is imported

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common
from _lib.inference_forms import (
    REFERENCE,
    TORCH,
    Timed,
    counting,
    in_c,
    in_jax,
    pytorch,
    specialised,
)
from _lib.inference_networks import Net, networks

import morphax
from morphax import program
from morphax.program import simplify

COUNTS = "C, counting alone"
RATES = {  # images a second that are wanted
    ("dense", "C, words"): 2e6,
    ("dense", "C, bytes"): 2e6,
    ("convolutional, 1 level", COUNTS): 1e6,
}
FASTER = ("packed words", "packed words, with packing", "specialised", "specialised, with packing")
TIMES = 50  # faster than floats, that is
# Packed words of a classifier with convolutions are as fast as they can be: C is what counts.
TIMES_IN_C = {"convolutional, 1 level": 100}


def facts(net: Net, simple: program.Program) -> dict[str, Any]:
    """What is in a network, and its plain cost."""
    banks = morphax.neurons.nodes.named_nodes(net.binary).values()
    sizes = np.concatenate(
        [np.asarray(b.selem).sum((0, 1) if b.spec.role == "spatial" else -2).ravel() for b in banks]
    )
    return {
        "made": net.wiring,
        "neurons": len(sizes),
        "mean_size": round(float(sizes.mean()), 2),
        **program.count(simple)._asdict(),
    }


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
        in_c = TIMES_IN_C.get(network)
        is_one = (
            contender.startswith("C, ") and contender != COUNTS if in_c else contender in FASTER
        )
        for peer in (REFERENCE, TORCH):
            if is_one and (network, peer) in seconds:
                times = round(seconds[network, peer] / median, 1)
                wanted = in_c or TIMES
                found.append({**about, "unit": f"times {peer}", "wanted": wanted, "found": times})
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


def main() -> None:
    """Check and time every form of every network."""
    parser = common.options_parser(__doc__, smoke="narrow networks, short")
    parser.add_argument("--budget", type=float, default=3.0, help="seconds a contender and network")
    parser.add_argument("--network", type=Path, nargs="+", help="npz of a trained classifier")
    parser.add_argument("--dense", type=Path, help="npz of a dense bank")
    options = parser.parse_args()
    budget = 0.05 if options.smoke else options.budget
    about = common.metadata("inference", unit="image", reference=REFERENCE, smoke=options.smoke)
    rows, skipped, built = [], [], {}
    about |= {"networks": {}, "cores_used": {}, "build_s": built}
    about["command"] = common.command("inference", options.network)
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
            compiler = shutil.which("gcc") or shutil.which("cc")
            if compiler and net.name.startswith("convolutional"):
                run, images, wrong = counting(simple, compiler, f"{folder}/counting")
                timing, _ = timed(run, budget, images)
                rows.append(common.result(COUNTS, case, timing, error=wrong))
    common.add_ratios(rows, REFERENCE)
    about["goals"] = goals(rows)
    common.write(options.out / "inference.json", about, rows, skipped)
    show(rows, about)


def show(rows: list[dict], about: dict) -> None:
    """The table, with what follows from the medians."""
    lines = []
    for row in rows:
        work = about["networks"][row["case"]["network"]]["total"]
        more = {
            "ns": row["median_s"] * 1e9,
            "images/s": 1 / row["median_s"],
            "operations a ns": work / row["median_s"] / 1e9,
        }
        lines.append({**row, "case": row["case"] | more})
    columns = (
        "network",
        "contender",
        "images",
        "ns",
        "iqr_s",
        "repeats",
        "images/s",
        "ratio",
        "operations a ns",
    )
    print(common.table(lines, columns))
    for line in (*about["networks"].items(), *about["goals"]):
        print(line)


if __name__ == "__main__":
    main()
