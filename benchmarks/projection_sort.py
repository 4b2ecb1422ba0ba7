"""How many sorts of its weights does the projection of a bank take?

    python benchmarks/projection_sort.py [--smoke] [--out DIR]

`morphax.project` is called as a user calls it, not under `jit`, on a float32 bank on the CPU, over
all structuring elements and both operations. `ratio` is its median time over that of `np.sort` of
the same weights; calls go by turns. On one core it is CPU time, and each regime and size has a
process of its own, bound to one core; on two cores it is time by the clock. `error` is the largest
relative error of the squared distance of 64 neurons against the projection in float64. The regimes
are those of `projection.py`.
"""

import os
import sys

from _lib.one_core import one_core

os.environ.update({} if "--two" in sys.argv else one_core())  # before jax is imported

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common
from projection import REGIMES, bank, reference, relative

import morphax
from morphax.training import json_text

CORES = 2 if "--two" in sys.argv else 1
OURS, SORT = "morphax.project", "np.sort"
SIZES = ((256, 144), (1024, 784), (1024, 4096))
COLUMNS = ("neurons", "n", "regime", "cores", "contender", "median_s", "ratio", "error")
REQUIRED, WANTED = 17, 8
JUDGED = "init", "trained"


def measured(regime: str, count: int, n: int, repeats: int) -> list[dict[str, Any]]:
    """Time both contenders by turns, in this process."""
    w, b = bank(regime, count, n)
    truth = reference(w[:64], b[:64], regime != "free")
    device = jax.block_until_ready((jnp.asarray(w), jnp.asarray(b)))
    runs = {
        OURS: lambda: morphax.project(*device, nonnegative=regime != "free"),
        SORT: lambda: np.sort(w),
    }
    clock = time.process_time if CORES == 1 else time.perf_counter
    squared = np.asarray(jax.block_until_ready(runs[OURS]()).distance[:64]) ** 2
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = clock()
            jax.block_until_ready(run())
            times[name].append(clock() - start)
    case = {"neurons": count, "n": n, "regime": regime, "cores": CORES}
    rows = []
    for name, seconds in times.items():
        error = relative(squared, truth.distance) if name == OURS else None
        rows.append(common.result(name, case, common.spread(seconds), error=error))
        rows[-1]["ratio"] = round(float(np.median(seconds) / np.median(times[SORT])), 2)
    return rows


def goals(rows: list[dict]) -> list[dict]:
    """Return what was required and wanted of the largest bank on one core, and what was found."""
    found = []
    for row in rows:
        case = row["case"]
        is_judged = (case["neurons"], case["n"]) == SIZES[-1] and case["regime"] in JUDGED
        if row["contender"] == OURS and is_judged and case["cores"] == 1:
            about = {"regime": case["regime"], "required": REQUIRED, "wanted": WANTED}
            found.append(about | {"found": row["ratio"]})
    return found


def main() -> None:
    """Start a process for each size, regime and number of cores."""
    parser = common.options_parser(__doc__, smoke="a small bank, once")
    parser.add_argument("--one", nargs=3, help="regime, neurons, inputs: in this process")
    parser.add_argument("--two", action="store_true", help="with --one: on two cores")
    options = parser.parse_args()
    repeats = 1 if options.smoke else 15
    if options.one:
        regime, count, n = options.one
        print(json_text(measured(regime, int(count), int(n), repeats)))
        return
    about = common.metadata("projection_sort", unit="call", reference=SORT, smoke=options.smoke)
    rows: list[dict] = []
    for cores in (1,) if options.smoke else (1, 2):
        for count, n in ((64, 40),) if options.smoke else SIZES:
            for regime in ("init",) if options.smoke else REGIMES:
                words = ["--one", regime, str(count), str(n)]
                words += ["--two"] * (cores == 2) + ["--smoke"] * options.smoke
                rows += common.in_own_process(__file__, *words)
    about["goals"] = goals(rows)
    common.write(options.out / "projection_sort.json", about, rows)
    print(common.table(rows, COLUMNS))
    for goal in about["goals"]:
        print(goal)


if __name__ == "__main__":
    main()
