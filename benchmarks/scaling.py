"""What do more devices change, and what do they cost?

    python benchmarks/scaling.py [--smoke] [--out DIR]

Four tables in `scaling.json`, told apart by the column "table":

- "curves": `examples/train_distributed.py` in float64 on 1, 2, 4, 8 virtual devices of one CPU and
  in 2 processes: the largest difference of a loss from that of 1 device, whether the binary network
  is the same, and the time of a step. Virtual devices share the cores there are: beyond their
  number they cannot be faster, and what is measured is the overhead.
- "banks": `project` and `certify_neurons` of a bank on 1 and on 8 devices: the same bits?
- "steps": one training step of a dense classifier, its batch or its neurons cut over 8 devices:
  seconds, and the bytes of all collectives in the compiled program, beside what the model on paper
  says.
- "model": that model on paper (docs/guides/distributed.md), up to 1000 devices.
"""

import argparse
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _lib import common

import morphax
from morphax.neurons import models
from morphax.training import TrainState, distributed, json_text, make_step

EXAMPLE = Path(__file__).parent.parent / "examples" / "train_distributed.py"
SETTINGS = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (2, 4))
"""(processes, devices in each)."""
WIDTHS = (784, 2048, 2048, 10)
DEVICES = (1, 2, 8, 64, 256, 1000)


def curves(root: Path, smoke: bool) -> Iterator[dict]:
    """The same run, started in all ways; a row for each as it is done."""
    settings = ((1, 1), (1, 2)) if smoke else SETTINGS
    sizes = (
        ["--steps", "6", "--every", "2", "--size", "16"]
        if smoke
        else ["--steps", "200", "--every", "20", "--size", "32"]
    )
    first: dict = {}
    base = 0.0
    for processes, devices in settings:
        out = root / f"{processes}x{devices}"
        command = [sys.executable, EXAMPLE, "--processes", processes, "--devices", devices]
        run([*command, "--x64", "--out", out, *sizes], root)
        result = json.loads((out / "result.json").read_text())
        first = first or result
        spent = np.diff(result["seconds"]) / (result["steps"] / len(result["seconds"]))
        seconds = float(np.median(spent))
        base = base or seconds
        yield {
            "table": "curves",
            "processes": processes,
            "devices": processes * devices,
            "steps": result["steps"],
            "loss_difference": float(np.abs(np.subtract(result["loss"], first["loss"])).max()),
            "same_binary": result["binary"] == first["binary"],
            "step_s": seconds,
            "ratio": seconds / base,
        }


def run(command: list, root: Path) -> str:
    """A command of its own, with compiled programs kept between them."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(root / "cache")}
    paths = {
        "PYTHONPATH": os.pathsep.join([str(EXAMPLE.parent.parent), str(Path(__file__).parent)])
    }
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        env={**os.environ, **cache, **paths},
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def banks(size: int) -> list[dict]:
    """Project and certify a square bank on 1 and on 8 devices."""
    keys = jax.random.split(jax.random.key(0), 2)
    weights = jax.random.uniform(keys[0], (size, size))
    bias = weights.sum(-1) * jax.random.uniform(keys[1], (size,))
    rows = []
    for name, function in (
        ("project", morphax.project),
        ("certify_neurons", morphax.certify_neurons),
    ):
        found = {}
        for devices in (1, 8):
            grid = distributed.mesh(devices=jax.devices()[:devices], neurons=devices)
            cut = distributed.rows(grid, (weights, bias), over="neurons")
            call = distributed.per_device(function, grid, over="neurons")
            timing = common.measure(call, *cut, repeats=3)
            found[devices] = jax.tree.map(np.asarray, call(*cut))
            pairs = zip(jax.tree.leaves(found[1]), jax.tree.leaves(found[devices]), strict=True)
            rows.append(
                {
                    "table": "banks",
                    "function": name,
                    "neurons": size,
                    "inputs": size,
                    "devices": devices,
                    "same_bits": all(a.tobytes() == b.tobytes() for a, b in pairs),
                    "seconds": timing["median_s"],
                }
            )
    return rows


def classifier(params, x):
    """Banks one after the other."""
    for node in params:
        x = morphax.apply(node, x)
    return x


def steps(batch: int, width: int) -> list[dict]:
    """One step of a dense classifier on 1 device, and cut over 8 in both ways."""
    keys = jax.random.split(jax.random.key(0), 4)
    widths = (WIDTHS[0], width, width, WIDTHS[-1])
    params = [
        models.init_dense_lui(key, *pair)
        for key, pair in zip(jax.random.split(keys[0], 3), itertools.pairwise(widths), strict=True)
    ]
    x = jax.random.uniform(keys[2], (batch, widths[0])) < 0.2
    y = jax.nn.one_hot(jax.random.randint(keys[3], (batch,), 0, 10), 10)
    optimizer = optax.adam(1e-2)
    step = make_step(classifier, optimizer, loss="bce")
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    rows = []
    for cut, axes in (("-", {"data": 1}), ("batch", {"data": 8}), ("neurons", {"neurons": 8})):
        devices = math.prod(axes.values())
        grid = distributed.mesh(devices=jax.devices()[:devices], **axes)

        def take(state, batch, grid=grid):
            state, value = step(*distributed.constrain(grid, state, batch=batch))
            return distributed.constrain(grid, state), value

        placed = distributed.banks(grid, state), distributed.rows(grid, (x, y))
        program = jax.jit(take).lower(*placed).compile()
        timing = common.measure(program, *placed, repeats=5)
        rows.append(
            {
                "table": "steps",
                "cut": cut,
                "devices": devices,
                "batch": batch,
                "widths": "-".join(map(str, widths)),
                "step_s": timing["median_s"],
                "collective_bytes": collectives(program.as_text()),
                "on_paper": paper(cut, devices, batch, widths)["result_bytes"],
            }
        )
    return rows


def collectives(program: str) -> int:
    """Bytes of the results of all collectives of a compiled program."""
    kinds = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
    total, program = 0, re.sub(r"/\*.*?\*/", "", program)
    for shapes in re.findall(rf"= ([^=\n]*?) (?:{kinds})(?:-start)?\(", program):
        for dtype, shape in re.findall(r"\b([a-z]+\d+|pred)\[([\d,]*)\]", shapes):
            bits = 8 if dtype == "pred" else int(re.sub(r"\D", "", dtype))
            total += math.prod(int(n) for n in shape.split(",") if n) * bits // 8
    return total


def paper(cut: str, devices: int, batch: int, widths: tuple[int, ...]) -> dict:
    """The model on paper: what a device holds, and what it sends in a step, in bytes (float32).

    `batch` is that of the whole step. Weights, bias and scale of a layer are n m + 2 m numbers,
    held four times (value, gradient, two moments of Adam); a device keeps its inputs and outputs of
    every layer.
    """
    layers = list(itertools.pairwise(widths))
    numbers = [4 * (n * m + 2 * m) for n, m in layers]
    divides = [cut == "neurons" and m % devices == 0 for _, m in layers]
    held = sum(
        4 * size // (devices if cuts else 1) for size, cuts in zip(numbers, divides, strict=True)
    )
    rows = batch // devices if cut == "batch" else batch
    held += 4 * rows * sum(widths)
    if devices == 1 or cut == "-":
        return {"held_bytes": held, "result_bytes": 0, "sent_bytes": 0}
    if cut == "batch":  # the gradients, and the loss
        result = sum(numbers) + 4
        return {
            "held_bytes": held,
            "result_bytes": result,
            "sent_bytes": 2 * (devices - 1) * result // devices,
        }
    # A layer after one that is cut wants all its inputs, and gives their gradients back; one that
    # is held whole, and narrow, adds up the partial sums of its outputs instead.
    result = 0
    for (n, m), before, cuts in zip(layers[1:], divides[:-1], divides[1:], strict=True):
        if before:
            result += 4 * batch * (2 * n if cuts else m)
    return {
        "held_bytes": held,
        "result_bytes": result,
        "sent_bytes": 2 * (devices - 1) * result // devices,
    }


def model() -> list[dict]:
    """The model on paper for a wide network, 64 images a device or 4096 in all."""
    widths = (784, 64000, 64000, 10)
    rows = []
    for devices in DEVICES:
        for cut, batch in (("batch", 64 * devices), ("neurons", 4096)):
            rows.append(
                {
                    "table": "model",
                    "cut": cut,
                    "devices": devices,
                    "batch": batch,
                    "widths": "-".join(map(str, widths)),
                    **paper(cut, devices, batch, widths),
                }
            )
    return rows


def main() -> None:
    """Measure in processes of their own, and write all four tables."""
    parser = common.options_parser(__doc__, smoke="small banks, 1 and 2 devices")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        jax.config.update("jax_num_cpu_devices", 8)
        size, batch, width = (64, 64, 64) if options.smoke else (4096, 512, WIDTHS[1])
        print(json_text([*banks(size), *steps(batch, width)]))
        return
    about = common.metadata("scaling", unit="", reference="", smoke=options.smoke)
    smoke = ["--smoke"] if options.smoke else []
    with tempfile.TemporaryDirectory() as root:
        text = run([sys.executable, __file__, "--worker", *smoke], Path(root))
        rows = [*json.loads(text.splitlines()[-1]), *model()]
        common.write_rows(options.out / "scaling.json", about, rows)
        for row in curves(Path(root), options.smoke):
            print(row, flush=True)
            rows.append(row)
            common.write_rows(options.out / "scaling.json", about, rows)


if __name__ == "__main__":
    main()
