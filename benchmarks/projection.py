"""What does the exact projection onto activable neurons cost, and how does it grow?

    python benchmarks/projection.py [--smoke] [--sizes 9 49 ...] [--out DIR]

Every row is the projection of one neuron of n inputs over all structuring elements and both
operations, in seconds per neuron of a bank of `neurons`; `ratio` is against morphax's exact solver
(float32) in the same regime. `error` is the largest relative error of the squared distance against
the exact solver in float64. Peers that solve one candidate (an operation and a size of S) at a time
are timed on a sample of the 2n candidates of one neuron and extrapolated; the sample holds the
optimal candidate, on which their error is measured. `growth` rows vary the number of neurons. The
last part projects a full 4096 x 4096 layer in a fresh process per regime and reports its peak
memory above that of the inputs. Regimes: `REGIMES` below.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common
from _lib.common import add_ratios, measure, metadata, options_parser, result, skip, table, write

from morphax.projection._exact import project_exact
from morphax.projection._qp import project_osqp
from morphax.training import json_text

SIZES = (9, 25, 49, 144, 784, 1568, 4096)
EXACT = "morphax exact"
COLUMNS = ("n", "regime", "neurons", "contender", "median_s", "ratio", "error", "samples")


def init(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """As initialised: weights uniform in m (1 +- 0.668), b half their sum (prunes well)."""
    w = rng.uniform(0.332, 1.668, shape) / shape[1]
    return w, w.sum(1) / 2


def near_max(rng, shape):
    """Uniform weights, b near the largest (prunes badly)."""
    w = rng.uniform(0, 1, shape)
    return w, w.max(1) * rng.uniform(0.8, 1.2, shape[0])


def trained(rng, shape):
    """A fifth of the weights near 1, the rest in [0, 0.1], b in [0.6, 1.1]."""
    large = rng.random(shape) < 0.2
    w = np.where(large, rng.uniform(0.9, 1.1, shape), rng.uniform(0, 0.1, shape))
    return w, rng.uniform(0.6, 1.1, shape[0])


def free(rng, shape):
    """Normal weights, free sign; b near half the positive sum or anywhere up to the largest."""
    w = rng.normal(size=shape)
    half = np.maximum(w, 0).sum(1) / 2
    return w, np.where(rng.random(shape[0]) < 0.5, half, rng.uniform(0, 1, shape[0]) * w.max(1))


REGIMES = {"init": init, "max": near_max, "trained": trained, "free": free}


def bank(regime: str, count: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A seeded bank of `count` neurons, float32: weights `(count, n)`, bias `(count,)`."""
    w, b = REGIMES[regime](np.random.default_rng(n), (count, n))
    return w.astype(np.float32), b.astype(np.float32)


def reference(w: np.ndarray, b: np.ndarray, nonnegative: bool):
    """The exact projection of the same numbers in float64."""
    with jax.enable_x64(True):
        found = project_exact(w.astype(np.float64), b.astype(np.float64), nonnegative=nonnegative)
        return jax.tree.map(np.asarray, found)


def relative(squared, distance) -> float:
    """Largest relative error of squared distances."""
    exact = np.asarray(distance, np.float64) ** 2
    return float(np.max(np.abs(np.asarray(squared, np.float64) - exact) / np.maximum(exact, 1e-12)))


def banks(case: dict, w: np.ndarray, b: np.ndarray, repeats: int, truth=None) -> list[dict]:
    """Our exact solver on a bank, and two sorts of the same matrix as yardsticks."""
    nonnegative = case["regime"] != "free"
    device = jnp.asarray(w), jnp.asarray(b)
    exact = jax.jit(lambda w, b: project_exact(w, b, nonnegative=nonnegative))
    error = None
    if truth is not None:
        error = relative(exact(*device).distance[: len(truth.distance)] ** 2, truth.distance)
    again = {"repeats": repeats, "units": len(b)}
    return [
        result(EXACT, case, measure(exact, *device, **again), error=error),
        result("jnp.sort", case, measure(jax.jit(jnp.sort), device[0], **again)),
        result("np.sort", case, measure(np.sort, w, **again)),
    ]


def peers(regime: str, w: np.ndarray, b: np.ndarray, truth, samples: int, skipped: list) -> list:
    """QP solvers, candidate by candidate, on the first neuron, extrapolated to all candidates."""
    from _lib import projection_peers

    n, nonnegative = w.shape[1], regime != "free"
    winner = int(truth.operation[0]), int(truth.selem[0].sum())
    every = [(op, k) for op in (1, 0) for k in range(1, n + 1) if (op, k) != winner]
    neuron = np.sort(w[0].astype(np.float64))[::-1].copy(), float(b[0])

    def sample(count: int) -> list[tuple[int, int]]:
        """Runs of four neighbours (a warm start is worth something), and the winner."""
        if count >= 2 * n:
            return [winner, *every]
        starts = np.linspace(0, len(every) - 4, count // 4).astype(int)
        return [winner, *(every[i + j] for i in starts for j in range(4))]

    def row(name: str, solve, *arguments, used: int) -> dict:
        error = relative(np.asarray(solve(*arguments))[0], truth.distance[0])  # and warm-up
        timing = measure(solve, *arguments, repeats=1, units=used / (2 * n), warmup=0)
        case = {"n": n, "regime": regime, "neurons": 1}
        return result(name, case, timing, error=error, samples=used if used < 2 * n else None)

    few, many = sample(samples), sample(16 * samples if n <= 144 else samples)
    papers, raw = projection_peers.papers_way, projection_peers.raw_osqp(n, many, nonnegative)
    rows = [
        row("cvxpy + OSQP", papers, *neuron, few, nonnegative, used=len(few)),
        row("raw OSQP, updates", raw, *neuron, used=len(many)),
    ]
    try:
        box = projection_peers.box_osqp(n, many, nonnegative)
    except ImportError:
        skip(skipped, f"jaxopt.BoxOSQP at n = {n}: pip install jaxopt (a benchmark extra)")
        return rows
    single = jnp.asarray(neuron[0], jnp.float32), jnp.float32(neuron[1])
    return [*rows, row("jaxopt.BoxOSQP 1e-3", box, *single, used=len(many))]


def batched(regime: str, w: np.ndarray, b: np.ndarray, truth) -> dict:
    """Our batched OSQP path on a few neurons: every candidate, proven optimal."""
    count = max(1, min(16, 400 // w.shape[1]))
    nonnegative = regime != "free"
    w, b, found = w[:count], b[:count], []
    project_osqp(w[:1], b[:1], nonnegative=nonnegative, candidates=(1,))  # warm-up: cvxpy compiles
    timing = measure(
        lambda: found.append(project_osqp(w, b, nonnegative=nonnegative)),
        repeats=1,
        warmup=0,
        units=count,
    )
    error = relative(found[0].distance ** 2, truth.distance[:count])
    case = {"n": w.shape[1], "regime": regime, "neurons": count}
    return result("morphax OSQP, batched", case, timing, error=error)


def peak_mib(reset: bool = False) -> float:
    """Peak resident memory of this process, from now on after a reset (Linux; NaN elsewhere)."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return float("nan")
    return common.peak_memory()


def layer(regime: str, count: int, n: int) -> dict:
    """Time and extra memory of one layer, meant for a fresh process: see `--layer`."""
    warm = jax.jit(lambda w, b: project_exact(w, b, nonnegative=regime != "free"))
    w, b = map(jnp.asarray, bank(regime, count, n))
    jax.block_until_ready((jnp.sort(w[:2]), w, b))
    before = peak_mib(reset=True)
    start = time.perf_counter()
    jax.block_until_ready(warm(w, b))
    first = time.perf_counter() - start
    extra = peak_mib() - before
    timing = measure(warm, w, b, repeats=3, warmup=0, units=count)
    sort = measure(jax.jit(jnp.sort), w, repeats=3, units=count)
    case = {"n": n, "regime": regime, "neurons": count, "layer": True}
    about = {"extra_mib": round(extra) if extra == extra else None, "first_call_s": round(first, 1)}
    return {
        "rows": [result(EXACT, case, timing), result("jnp.sort", case, sort)],
        "about": about,
    }


def layers(regimes, count: int, n: int, skipped: list[str]) -> tuple[list[dict], dict]:
    """`layer` in one fresh process per regime, so that peak memory is its own."""
    rows, memory = [], {}
    for regime in regimes:
        command = [sys.executable, __file__, "--layer", regime, str(count), str(n)]
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        if run.returncode:
            skip(skipped, f"layer {count} x {n} in regime {regime}: {run.stderr[-300:]}")
            continue
        found = json.loads(run.stdout.splitlines()[-1])
        rows += found["rows"]
        memory[f"{regime} {count} x {n}"] = found["about"]
    return rows, memory


def main() -> None:
    parser = options_parser(
        __doc__, smoke="tiny sizes, seconds; proves it runs", out="benchmarks/results"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=None, help="numbers of inputs n")
    parser.add_argument("--layer", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.layer:
        regime, count, n = arguments.layer
        print(json_text(layer(regime, int(count), int(n))))
        return
    smoke = arguments.smoke
    sizes = arguments.sizes or ((9,) if smoke else SIZES)
    about = metadata("projection", unit="neuron", reference=EXACT, smoke=smoke)
    results, skipped = [], []
    for n in sizes:
        for regime in ("init",) if smoke else REGIMES:
            print(f"n = {n}, {regime}", file=sys.stderr, flush=True)
            w, b = bank(regime, 64 if smoke else int(np.clip(2**20 // n, 64, 4096)), n)
            truth = reference(w[:64], b[:64], regime != "free")
            case = {"n": n, "regime": regime, "neurons": len(b)}
            results += banks(case, w, b, 1 if smoke else 3, truth)
            if n <= 784 or regime in ("init", "trained"):
                results += peers(regime, w, b, truth, 4 if smoke else 8, skipped)
            if n <= 144 or (n <= 784 and regime in ("init", "trained")):
                results.append(batched(regime, w, b, truth))
        add_ratios(results, EXACT)
        write(arguments.out / "projection.json", about | {"complete": False}, results, skipped)
    for count in () if smoke else (1, 16, 256, 4096):
        case = {"n": 784, "regime": "trained", "neurons": count, "growth": True}
        results += banks(case, *bank("trained", count, 784), 3)
    full = (64, 9) if smoke else (4096, 4096)
    rows, about["layer"] = layers(("init",) if smoke else REGIMES, *full, skipped)
    results += rows
    add_ratios(results, EXACT)
    write(arguments.out / "projection.json", about | {"complete": True}, results, skipped)
    print(table(results, COLUMNS))
    for name, numbers in about["layer"].items():
        print(f"layer {name}: {numbers}")
    try:
        from projection_figure import figure
    except ImportError:
        skip(skipped, "the figure: pip install matplotlib")
    else:
        figure(results, arguments.out / "projection.png")


if __name__ == "__main__":
    main()
