"""What does a user wait for: a first call, a first call with what was kept, and the next call?

    python benchmarks/first_calls.py [--smoke] [--out DIR]

CPU seconds of calls with default options, each in fresh processes on one core: "first" compiles
everything, "first, kept" finds the compiled programs that the process before it kept
(`morphax.training.keep_compiled`, as examples and commands do), "next" is the second call of the
first process. The calls:

| call | |
|---|---|
| erosion | of a bool image of 512 x 512 by a disk of 7 |
| init_bimonn, certify_network, binarize, summary | layers of 7 x 7 windows, 1 to 3 to 2 channels |
| certify_neurons, project | of a bank of 8 neurons of 49 inputs |
| diskorect | 64 images of 50 x 50 |
| learn an opening | by a disk of 7, from 256 pairs of 50 x 50; that it is an opening is not told |

"JAX's options" compiles the same programs as `jax.jit` does by itself; `ratio` is to that, of the
same call. Medians of 3 processes. What was required and wanted of first calls is in `goals` of the
metadata.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common
from _lib.one_core import bind

import morphax
from morphax import _compiling, data, elements, models, recipes
from morphax.explain.summary import summary
from morphax.training import json_text, keep_compiled

OURS, PLAIN = "morphax", "JAX's options"
WHICH = ("first", "first, kept", "next")
COLUMNS = ("call", "which", "contender", "median_s", "ratio")
GOALS = {  # CPU seconds that are required and wanted
    ("project", "first"): (3, 1.5),
    ("binarize", "first"): (3, 1.5),
    ("summary", "first"): (3, 1.5),
    ("learn an opening", "first"): (5, 3),
    ("learn an opening", "first, kept"): (1, 0.3),
}
PROCESSES = 3
SHAPE = (1, 30, 30, 1)


def calls(name: str):
    """Return a call; what it needs is made here."""
    key = jax.random.key(0)
    weights = jnp.asarray(np.random.default_rng(0).random((8, 49)), jnp.float32)
    bias = weights.sum(-1) / 2
    image = jnp.asarray(np.random.default_rng(0).random((512, 512)) < 0.5)
    params = opened = None
    if name in ("certify_network", "binarize", "summary"):
        params = models.init_bimonn(key, [1, 3, 2], kernel_size=7)
    if name == "learn an opening":
        x = data.diskorect(key, 256)
        opened = jax.block_until_ready((x, data.target(x, "opening", elements.disk(7))))
    jax.block_until_ready((weights, bias, image, params))
    return {
        "erosion": lambda: morphax.erosion(image, elements.disk(7)),
        "init_bimonn": lambda: models.init_bimonn(key, [1, 3, 2], kernel_size=7),
        "certify_neurons": lambda: morphax.certify_neurons(weights, bias),
        "certify_network": lambda: morphax.certify_network(models.bimonn, params, SHAPE),
        "project": lambda: morphax.project(weights, bias),
        "binarize": lambda: morphax.binarize(params),
        "summary": lambda: summary(params),
        "diskorect": lambda: data.diskorect(key, 64),
        "learn an opening": lambda: recipes.learn_chain(key, opened, kernel_size=7).binary,
    }[name]


CALLS = (
    *("erosion", "init_bimonn", "diskorect", "certify_neurons", "certify_network"),
    *("project", "binarize", "summary", "learn an opening"),
)


def measured(name: str, contender: str) -> list[float]:
    """CPU seconds of two calls in this process."""
    if contender == PLAIN:
        _compiling._are_known = lambda: False
    call, seconds = calls(name), []
    for _ in range(2):
        start = time.process_time()
        arrays = [x for x in jax.tree.leaves(call()) if isinstance(x, jax.Array)]
        jax.block_until_ready(arrays)
        seconds.append(time.process_time() - start)
    return seconds


def seconds_of(name: str, contender: str, processes: int) -> dict[str, list[float]]:
    """CPU seconds of a call by `WHICH`, one for each process."""
    found: dict[str, list[float]] = {which: [] for which in WHICH}
    for _ in range(processes):
        with tempfile.TemporaryDirectory() as folder:
            environment = {k: v for k, v in os.environ.items() if "COMPILATION_CACHE" not in k}
            environment |= {"MORPHAX_CACHE": folder}
            for which in WHICH[:2]:
                run = subprocess.run(
                    [sys.executable, __file__, "--one", name, contender],
                    capture_output=True,
                    text=True,
                    check=True,
                    env=environment,
                )
                first, again = json.loads(run.stdout.splitlines()[-1])
                found[which].append(first)
                if which == WHICH[0]:
                    found["next"].append(again)
    return found


def goals(rows: list[dict]) -> list[dict]:
    """What was required and wanted of first calls, and what was measured."""
    found = []
    for row in rows:
        case = row["case"]["call"], row["case"]["which"]
        if row["contender"] == OURS and case in GOALS:
            required, wanted = GOALS[case]
            about = {"call": case[0], "which": case[1], "required": required, "wanted": wanted}
            found.append(about | {"found": round(row["median_s"], 2)})
    return found


def main() -> None:
    """Start processes for each call and contender."""
    parser = common.options_parser(__doc__, smoke="project only, once")
    parser.add_argument("--one", nargs=2, help="call and contender, in a process of its own")
    options = parser.parse_args()
    bind()
    if options.one:
        keep_compiled()
        print(json_text(measured(*options.one)))
        return
    about = common.metadata("first_calls", unit="call", reference=PLAIN, smoke=options.smoke)
    rows = []
    for name in ("project",) if options.smoke else CALLS:
        for contender in (OURS, PLAIN):
            found = seconds_of(name, contender, 1 if options.smoke else PROCESSES)
            for which, seconds in found.items():
                case = {"call": name, "which": which}
                rows.append(common.result(contender, case, common.spread(seconds)))
    common.add_ratios(rows, PLAIN)
    about["goals"] = goals(rows)
    common.write(options.out / "first_calls.json", about, rows)
    print(common.table(rows, COLUMNS))
    for goal in about["goals"]:
        print(goal)


if __name__ == "__main__":
    main()
