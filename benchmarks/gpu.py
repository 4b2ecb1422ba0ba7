"""Does all of it work on an accelerator, and how fast? Five minutes on whatever JAX finds.

    python benchmarks/gpu.py [--smoke] [--out DIR]

In this order, so that a machine that is lent for minutes gives the most: tests in a process of
their own (certificates, projection, operators), `soundness.py --smoke` likewise (certified neurons
against the float forward pass), then times: projections of 4096 x 4096 in the regimes of
`projection.py`, operators on bools, a classifier's training step, an opening that is learned from
256 pairs and checked on all pixels. Every row is written as soon as it is there. `device` of the
metadata names the accelerator; on a CPU the times say little. A row of a check has `error` 0.0 if
it holds, and its time is that of one run (`repeats` is 1); a projection's `error` is the largest
relative one against the CPU, and `goals` has what was required and wanted on an H100.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common
from _lib.operator_forms import ELEMENTS, smoothed_noise
from projection import REGIMES

import morphax
from morphax import classification, data, elements, models, recipes
from morphax.classification import train

ROOT = Path(__file__).resolve().parents[1]
OURS = "morphax"
COLUMNS = ("what", "contender", "median_s", "error")
TESTS = ("tests/certificates", "tests/projection", "tests/morphology/test_operators.py")
GOALS = {  # seconds of a projection, or images a second: required, wanted
    **{f"project, {regime}": (0.1, 0.02) for regime in REGIMES},
    "images a second of a classifier's training": (150_000, 300_000),
}


def checked(command: list[str]) -> tuple[float, bool]:
    """Seconds of a command, and whether it ended well."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True)
    print(done.stdout.decode()[-300:], done.stderr.decode()[-300:])
    return time.perf_counter() - start, done.returncode == 0


def projections(side: int) -> dict[str, tuple[Callable[[], Any], Callable[[Any], float]]]:
    """A projection of a square bank in each regime, and its error against the CPU."""
    found = {}
    for regime, draw in REGIMES.items():
        w, b = (jnp.asarray(a, jnp.float32) for a in draw(np.random.default_rng(0), (side, side)))
        nonnegative = regime != "free"

        def run(w=w, b=b, nonnegative=nonnegative):
            return morphax.project(w, b, nonnegative=nonnegative).distance

        def error(distance, w=w, b=b, nonnegative=nonnegative) -> float:
            few = slice(0, 16)
            with jax.default_device(jax.devices("cpu")[0]):
                cpu = (np.asarray(w[few]), np.asarray(b[few]))
                right = np.asarray(morphax.project(*cpu, nonnegative=nonnegative).distance)
            return float(np.max(np.abs(np.asarray(distance[few]) - right) / right))

        found[f"project, {regime}"] = run, error
    return found


def operators(side: int) -> dict[str, tuple[Callable[[], Any], Callable[[Any], float]]]:
    """Erosions of bool images, and the share of pixels that differ from scipy."""
    from scipy import ndimage

    x = smoothed_noise((side, side))
    device, found = jnp.asarray(x), {}
    for name in ("disk 7", "disk 21"):
        selem = ELEMENTS[name]

        def error(y, selem=selem) -> float:
            return float((np.asarray(y) != ndimage.binary_erosion(x, selem, border_value=1)).mean())

        def run(selem=selem):
            return morphax.erosion(device, selem)

        found[f"erosion, {side} x {side}, {name}"] = run, error
    return found


def training_step(smoke: bool) -> tuple[Callable[[], Any], int]:
    """A step of a classifier of 1024 clauses on images of 28 x 28, and its images."""
    batch, side = (20, 12) if smoke else (500, 28)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (batch, side, side, 1)), jnp.uint8)
    labels = jnp.asarray(rng.integers(0, 10, batch), jnp.int32)
    thresholds = np.array([[100.0]])
    config = classification.ClauseConfig(banks=((3, 8),) if smoke else ((7, 512), (11, 512)))
    optimizer, step = train.make_step(config, thresholds, steps=1000, chunk=batch // 5)
    key = jax.random.key(0)
    latent = classification.latent.init_latent(key, images, thresholds, classes=10, config=config)
    state = optimizer.init(latent)
    return lambda: step(latent, state, images, labels, key, np.float32(1)), batch


def learned_opening() -> tuple[float, bool]:
    """Seconds until an opening by a disk of 7 is learned, and whether it is right everywhere."""
    x = data.diskorect(jax.random.key(0), 256)
    y = data.target(x, "opening", elements.disk(7))
    start = time.perf_counter()
    learned = recipes.learn_chain(jax.random.key(0), (x, y), kernel_size=7)
    seconds = time.perf_counter() - start
    exact = bool(learned.certificate.exact) and bool((models.bimonn(learned.binary, x) == y).all())
    return seconds, exact


def main() -> None:
    """Run all parts, and write after each."""
    parser = common.options_parser(__doc__, smoke="small sizes; no tests, no soundness")
    options = parser.parse_args()
    about = common.metadata("gpu", unit="call", reference="", smoke=options.smoke)
    about["goals"], rows = [], []

    def add(what: str, timing: dict[str, Any], error: float | None = None) -> None:
        rows.append(common.result(OURS, {"what": what}, timing, error=error))
        common.write(options.out / "gpu.json", about, rows)

    def once(seconds: float) -> dict[str, Any]:
        return {"median_s": seconds, "iqr_s": 0.0, "repeats": 1}

    def goal(what: str, found: float) -> None:
        required, wanted = GOALS[what]
        about["goals"].append(
            {"what": what, "required": required, "wanted": wanted, "found": found}
        )

    if not options.smoke:
        seconds, fine = checked(["-m", "pytest", "-q", "-x", *TESTS])
        add("tests", once(seconds), float(not fine))
        seconds, fine = checked(["benchmarks/soundness.py", "--smoke", "--out", str(options.out)])
        add("soundness", once(seconds), float(not fine))
    side = 64 if options.smoke else 4096
    for what, (run, error) in {**projections(side), **operators(side)}.items():
        timing = common.measure(run, repeats=3)
        add(what, timing, error(run()))
        if what in GOALS:
            goal(what, timing["median_s"])
    run, batch = training_step(options.smoke)
    timing = common.measure(run, repeats=5)
    add(f"training step of a classifier, {batch} images", timing)
    goal("images a second of a classifier's training", batch / timing["median_s"])
    seconds, fine = learned_opening()
    add("an opening learned from 256 pairs", once(seconds), float(not fine))
    common.write(options.out / "gpu.json", about, rows)
    print(about["device"])
    print(common.table(rows, COLUMNS))


if __name__ == "__main__":
    main()
