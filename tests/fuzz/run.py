"""Fuzzing, in one command: hostile files, images, level sets and parameters.

    python tests/fuzz/run.py [--inputs 100000] [--seed 0] [--out runs/fuzz] [--only params --start
    17]

Every input must end in a right answer, checked by an independent oracle, or in the documented
`ValueError`; a crash, a hang (a limit of CPU time for each input), a wrong answer or any other
exception is a failure, reported with the number that repeats it (`--only TARGET --start NUMBER
--inputs 1`). Writes `fuzz.json`: counts for each target, failures, and how much memory the process
needed. `tests/fuzz/test_fuzz.py` runs a small slice.
"""

import argparse
import collections
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import jax
import numpy as np

from morphax.training import json_text

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0  # of CPU for one input; the first ones compile
KEPT = 20  # failures in the JSON


class Hang(BaseException):
    """An input took too long; no `except Exception` swallows it."""


def targets() -> dict:
    """Name -> (function of a generator and a folder, share of the inputs)."""
    from fuzz.archives import archives
    from fuzz.images import folders, level_sets
    from fuzz.params import params

    return {
        "archives": (archives, 0.3),
        "images": (folders, 0.25),
        "level sets": (level_sets, 0.2),
        "params": (params, 0.25),
    }


def _hang(*_) -> None:
    raise Hang("more CPU time than an input may take")


def fuzz(name: str, function, count: int, *, seed: int, start: int = 0) -> dict:
    """Run one target on so many inputs; a row of the JSON."""
    outcomes, failures = collections.Counter(), []
    number = list(targets()).index(name)
    before = signal.signal(signal.SIGVTALRM, _hang)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(start, start + count):
            rng = np.random.default_rng([seed, number, i])
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
            try:
                outcomes[function(rng, Path(folder))] += 1
            except (Exception, Hang) as error:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                outcomes["failed"] += 1
                where = traceback.extract_tb(error.__traceback__)[-1]
                text = f"{type(error).__name__}: {str(error)[:300]}"
                place = f"{Path(where.filename).name}:{where.lineno}"
                failures.append({"number": i, "error": text, "place": place})
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "target": name,
        "inputs": count,
        **{k: outcomes[k] for k in ("right", "refused", "failed")},
        "failures": failures[:KEPT],
        "peak_mib_so_far": peak,
    }


def main() -> None:
    """Run all targets, write `fuzz.json`, print a table."""
    parser = argparse.ArgumentParser(description="Fuzz morphax.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--only", choices=list(targets()))
    parser.add_argument("--start", type=int, default=0, help="number of the first input")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from _lib import common

    about = common.metadata("fuzz", unit="", reference="", smoke=options.inputs < 100_000)
    rows = []
    for name, (function, share) in targets().items():
        if options.only in (None, name):
            count = options.inputs if options.only else round(options.inputs * share)
            rows.append(fuzz(name, function, count, seed=options.seed, start=options.start))
            print(json_text(rows[-1], indent=1), flush=True)
    common.write_rows(options.out / "fuzz.json", {**about, "seed": options.seed}, rows)
    columns = ("target", "inputs", "right", "refused", "failed")
    print(common.table([{"extrapolated": False, "case": {}} | row for row in rows], columns))
    if any(row["failed"] for row in rows):
        raise SystemExit("an input was answered wrongly, or not at all")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    jax.config.update("jax_numpy_rank_promotion", "raise")
    main()
