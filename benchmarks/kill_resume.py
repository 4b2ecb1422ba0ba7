"""Is a run that is killed at random moments the run it would have been?

    python benchmarks/kill_resume.py [--smoke] [--out DIR] [--kills 20] [--seed 0]

A training run (an opening, batches drawn from memory) and a sweep over learning rates (vmapped, one
checkpoint for all members) are each made once without interruption, and once while SIGKILL strikes
`--kills` times: at random steps all over the run, and while the process starts. Each time the same
command is started again. At the end params, optimizer state, records and log are compared bit by
bit. A checkpoint is written every few steps, so that many kills fall into the writing of one: those
that left a half-written folder behind are counted. Writes `kill_resume.json`; exits with 1 if any
bit differs.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _lib import common

from morphax import data, training
from morphax.morphology import elements
from morphax.neurons import models
from morphax.objectives import metrics
from morphax.training import json_text
from morphax.training.loop import TrainState, drive

KINDS = ("training run", "sweep")
MEMBERS = 4
EVERY = 10


def problem():
    """Images, targets and first params of a 7x7 opening."""
    x = data.diskorect(jax.random.key(0), 64, size=(24, 24))
    params = models.init_bimonn(
        jax.random.key(1), [1, 1, 1], kernel_size=7, weight_map="identity", bias_map="centred"
    )
    return (x, data.target(x, "opening", elements.disk(7))), params


def dice(params, pairs):
    """A metric that compiles quickly: what is tested is the coming back."""
    return {"float": metrics.dice(models.bimonn(params, pairs[0] * 1.0) > 0.5, pairs[1])}


def training_run(folder: Path, steps: int):
    """`fit` with a checkpoint every few steps."""
    pairs, params = problem()
    return training.fit(
        jax.random.key(2),
        models.bimonn,
        params,
        pairs,
        valid=pairs,
        optimizer=optax.adam(1e-2),
        steps=steps,
        batch_size=8,
        evaluate=jax.jit(dice),
        log_every=EVERY,
        run=training.RunOptions(log=folder / "metrics.jsonl", checkpoint=folder / "checkpoints"),
    )


def sweep(folder: Path, steps: int):
    """Members side by side, each with its own learning rate and key, in one state."""
    pairs, params = problem()
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=1e-2)
    chunk = training.make_chunk(
        training.make_step(models.bimonn, optimizer), batch_size=8, length=EVERY
    )
    keys = jax.random.split(jax.random.key(3), MEMBERS)

    def begin(rate):
        state = optimizer.init(params)
        state.hyperparams["learning_rate"] = rate
        return TrainState(params, state, jnp.zeros((), jnp.int32))

    many = jax.jit(jax.vmap(chunk, in_axes=(0, 0, None)))
    return drive(
        lambda states: many(keys, states, pairs),
        jax.vmap(begin)(jnp.geomspace(1e-3, 1e-1, MEMBERS)),
        steps=steps,
        every=EVERY,
        run=training.RunOptions(log=folder / "metrics.jsonl", checkpoint=folder / "checkpoints"),
    )


def work(kind: str, folder: Path, steps: int) -> None:
    """What is killed: make the run and leave its end beside it."""
    run = {"training run": training_run, "sweep": sweep}[kind](folder, steps)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(run.state)]
    bits = b"".join(leaf.tobytes() for leaf in leaves)
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in run.history]
    end = {"state": hashlib.sha256(bits).hexdigest(), "records": records}
    (folder / "end.json").write_text(json_text(end) + "\n")


def start(kind: str, folder: Path, steps: int) -> subprocess.Popen:
    """The same command each time."""
    command = [
        sys.executable,
        __file__,
        "--worker",
        kind,
        "--out",
        str(folder),
        "--steps",
        str(steps),
    ]
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    folder.mkdir(parents=True, exist_ok=True)
    errors = (folder / "stderr.txt").open("ab")
    with errors:
        return subprocess.Popen(command, env={**os.environ, **cache}, stderr=errors)


def finished(process: subprocess.Popen, folder: Path) -> dict:
    """Wait for a run; its end, with the log."""
    if process.wait() != 0:
        raise RuntimeError((folder / "stderr.txt").read_text()[-2000:])
    end = json.loads((folder / "end.json").read_text())
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    end["log"] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
    return end


def strike(kind: str, folder: Path, steps: int, target: float, rng: random.Random) -> dict:
    """Start, wait until the log says `target` steps and then a random while, kill; where it
    struck."""
    left = half_written(folder)
    process = start(kind, folder, steps)
    log, early = folder / "metrics.jsonl", rng.random() < 0.2
    while not early and process.poll() is None and logged(log) < target:
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 5) if early else rng.uniform(0, 0.5))
    process.kill()
    ended = process.wait() == 0
    names = [p.name for p in (folder / "checkpoints").glob("*")]
    return {
        "while starting": early,
        "writing": bool(half_written(folder) - left),
        "too late": ended,
        "steps": max((int(name) for name in names if name.isdigit()), default=0),
    }


def half_written(folder: Path) -> set[int]:
    """Folders, by their number on disk, of checkpoints that nobody will finish."""
    return {p.stat().st_ino for p in (folder / "checkpoints").glob("*tmp*")}


def logged(log: Path) -> int:
    """Steps that the log has, whole lines only."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return json.loads(lines[-1])["step"] if lines else -1


def one(kind: str, root: Path, steps: int, kills: int, rng: random.Random) -> dict:
    """A row: the run that was killed against the one that was not."""
    folder = root / kind.replace(" ", "_")
    whole = finished(start(kind, folder / "whole", steps), folder / "whole")
    shutil.rmtree(folder / "killed", ignore_errors=True)
    began = time.perf_counter()
    strikes: list[dict] = []
    for target in sorted(rng.uniform(0, 0.95 * steps) for _ in range(kills)):
        struck = strike(kind, folder / "killed", steps, target, rng)
        strikes.append(struck)
        print(f"{kind}: kill {len(strikes)} at step {struck['steps']} {struck}", flush=True)
        if struck["too late"]:
            raise RuntimeError(f"{kind}: finished after {len(strikes)} kills; give more --steps")
    end = finished(start(kind, folder / "killed", steps), folder / "killed")
    return {
        "run": kind,
        "steps": steps,
        "kills": kills,
        "while starting": sum(s["while starting"] for s in strikes),
        "while writing a checkpoint": sum(s["writing"] for s in strikes),
        "first kill at step": strikes[0]["steps"],
        "last kill at step": strikes[-1]["steps"],
        "same state": end["state"] == whole["state"],
        "same records": end["records"] == whole["records"] == whole["log"],
        "same log": end["log"] == whole["log"],
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> int:
    """Kill, compare, write."""
    parser = common.options_parser(__doc__, smoke="one kill of the training run")
    parser.add_argument("--kills", type=int, default=20, help="of the run, and of the sweep")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.out, options.steps)
        return 0
    kinds, kills, steps = KINDS, options.kills, options.steps
    if options.smoke:
        kinds, kills, steps = KINDS[:1], 1, 120
    about = common.metadata("kill_resume", unit="", reference="", smoke=options.smoke)
    rng = random.Random(options.seed)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as root:
        for kind in kinds:
            rows.append(one(kind, Path(root), steps, kills, rng))
            print(rows[-1], flush=True)
            common.write_rows(options.out / "kill_resume.json", about, rows)
    good = all(row["same state"] and row["same records"] and row["same log"] for row in rows)
    print("every bit the same" if good else "DIFFERENT")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
