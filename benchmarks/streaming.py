"""Measure whether training on a set larger than memory grows.

    python benchmarks/streaming.py [--smoke] [--out DIR] [--gigabytes 20] [--limit 2]

Trains a dilation by 3x3 on generated Diskorect, read by number through `morphax.data.stream`: bool
pairs of 50x50 images, 5 kB a pair, none of them twice. `--limit` (in GB of resident memory) is
enforced during the run: a thread looks at the process ten times a second and ends it at once when
it is above. The limit is on resident memory because XLA and threads reserve address space that they
never use, which a limit on addresses would count. Writes `streaming.json`: how much was streamed
and how much was resident, in rows.
"""

import argparse
import os
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import optax
from _lib import common

from morphax import training
from morphax.data.stream import DiskorectBlocks, batches
from morphax.neurons import models

GB = 1e9
PAIR = 2 * 50 * 50  # bytes


def resident() -> float:
    """Return the bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def guard(limit: float, peak: list[float]) -> None:
    """End the process at once when it holds more than it may."""
    while True:
        peak[0] = max(peak[0], resident())
        if peak[0] > limit:
            print(f"{peak[0] / GB:.2f} GB resident, the limit is {limit / GB} GB", file=sys.stderr)
            os._exit(1)
        time.sleep(0.1)


def memory_now(peak: float, start: float, cpu: float) -> dict[str, float]:
    """Return what is resident, and the seconds since `start` (on the CPU since `cpu`)."""
    return {
        "resident_gb": round(resident() / GB, 3),
        "peak_gb": round(peak / GB, 3),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    parser.add_argument("--gigabytes", type=float, default=20, help="to stream")
    parser.add_argument("--limit", type=float, default=2, help="GB of resident memory")
    parser.add_argument("--batch", type=int, default=1024, help="pairs a step")
    parser.add_argument("--rows", type=int, default=20, help="of the table")
    parser.add_argument("--smoke", action="store_true", help="50 MB in batches of 256")
    options = parser.parse_args()
    if options.smoke:
        options.gigabytes, options.batch, options.rows = 0.05, 256, 4
    return options


def main() -> None:
    """Stream and train; write down how much was resident."""
    options = parse()
    peak = [0.0]
    threading.Thread(target=guard, args=(options.limit * GB, peak), daemon=True).start()
    about = common.metadata("streaming", unit="", reference="", smoke=options.smoke)
    about |= {"limit_gb": options.limit, "batch": options.batch, "bytes_a_pair": PAIR}
    about |= {"wanted_gb": options.gigabytes}
    steps = int(options.gigabytes * GB / PAIR / options.batch)
    every = max(1, steps // options.rows)

    given = {"operation": "dilation", "selem": np.ones((3, 3), bool)}
    source = DiskorectBlocks(steps, rows=options.batch, **given)
    valid = DiskorectBlocks(1, rows=64, seed=1, **given)[0]
    params = models.init_bimonn(
        jax.random.key(0), [1, 1], kernel_size=3, weight_map="identity", bias_map="centred"
    )
    evaluate = training.make_evaluate(models.bimonn)
    rows, clocks = [], (time.perf_counter(), time.process_time())

    def evaluate_and_record(params, valid):
        streamed = (len(rows) + 1) * every * options.batch * PAIR
        rows.append({"streamed_gb": round(streamed / GB, 3), **memory_now(peak[0], *clocks)})
        write()
        print(rows[-1], flush=True)
        return {"binary": evaluate(params, valid)["binary"]}

    def write():  # at every row: a run that is stopped leaves its rows
        common.write_rows(options.out / "streaming.json", about, rows)

    size = {"batch_size": options.batch, "block": options.batch}
    run = training.fit_stream(
        models.bimonn,
        params,
        lambda first: batches(source, start=first, threads=1, ahead=2, **size),
        valid=valid,
        optimizer=optax.adam(1e-2),
        steps=steps,
        log_every=every,
        evaluate=evaluate_and_record,
    )
    for row, record in zip(rows, run.history, strict=True):
        row["loss"], row["binary"] = record["loss"], record["binary"]
    write()


if __name__ == "__main__":
    main()
