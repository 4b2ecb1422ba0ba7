"""What does a first call cost, with what it compiles, and what is that with JAX's own options?

    python benchmarks/first_calls.py [--smoke] [--out DIR]

CPU seconds of the first call and of the second one, each in a fresh process without a cache of
compiled programs: `project` of a bank of 8 neurons of 49 inputs, `binarize` and `summary` of two
layers of 7 x 7 windows, 1 to 3 to 2 channels. "JAX's options" compiles the same programs as
`jax.jit` does by itself; `ratio` is to that. One process a row (`repeats` is 1).
"""

import json
import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common

import morphax
from morphax import _compiling, models
from morphax.explain.summary import summary
from morphax.training import json_text

OURS, PLAIN = "morphax", "JAX's options"
COLUMNS = ("call", "which", "contender", "median_s", "ratio")


def calls() -> dict:
    """The calls, by name; what they need is made here."""
    params = models.init_bimonn(jax.random.key(0), [1, 3, 2], kernel_size=7)
    weights = jnp.asarray(np.random.default_rng(0).random((8, 49)), jnp.float32)
    bias = jax.block_until_ready(weights.sum(-1) / 2)
    return {
        "project": lambda: morphax.project(weights, bias),
        "binarize": lambda: morphax.binarize(params),
        "summary": lambda: summary(params),
    }


def measured(name: str, contender: str) -> list[float]:
    """CPU seconds of two calls in this process."""
    if contender == PLAIN:
        _compiling._are_known = lambda: False
    call, seconds = calls()[name], []
    for _ in range(2):
        start = time.process_time()
        arrays = [x for x in jax.tree.leaves(call()) if isinstance(x, jax.Array)]
        jax.block_until_ready(arrays)
        seconds.append(time.process_time() - start)
    return seconds


def main() -> None:
    """Start a process for each call and contender."""
    parser = common.options_parser(__doc__, smoke="project only")
    parser.add_argument("--one", nargs=2, help="call and contender, in a process of its own")
    options = parser.parse_args()
    if options.one:
        print(json_text(measured(*options.one)))
        return
    about = common.metadata("first_calls", unit="call", reference=PLAIN, smoke=options.smoke)
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    rows = []
    for name in ("project",) if options.smoke else ("project", "binarize", "summary"):
        for contender in (OURS, PLAIN):
            command = [sys.executable, __file__, "--one", name, contender]
            run = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            )
            for which, seconds in zip(
                ("first", "second"), json.loads(run.stdout.splitlines()[-1]), strict=True
            ):
                timing = {"median_s": seconds, "iqr_s": 0.0, "repeats": 1}
                rows.append(common.result(contender, {"call": name, "which": which}, timing))
    common.add_ratios(rows, PLAIN)
    common.write(options.out / "first_calls.json", about, rows)
    print(common.table(rows, COLUMNS))


if __name__ == "__main__":
    main()
