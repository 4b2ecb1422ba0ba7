# %% [markdown]
# # Train on more than one device, and lose nothing
#
# One script for every machine: a CPU, a CPU that acts as several devices, several processes, a
# cluster of GPUs or a TPU pod. Only the command that starts it changes; the batches, and up to
# rounding the losses, are the same. It saves its state as it goes: killed at any moment and started
# again with the same command, it ends where it would have ended (delete the output folder to begin
# anew).
#
#     python examples/train_distributed.py                   # all devices of this machine
#     python examples/train_distributed.py --devices 8       # one CPU that acts as eight devices
#     python examples/train_distributed.py --processes 2 --devices 4      # four devices each
#
# On several machines start the same command on each, with the address of the first
#
#     JAX_COORDINATOR_ADDRESS=HOST:1234 JAX_NUM_PROCESSES=4 JAX_PROCESS_ID=0 \
#         python examples/train_distributed.py --out /shared/run
#
# and under Slurm, on Kubernetes or on a TPU pod, where JAX finds all this by itself,
#
#     srun python examples/train_distributed.py --cluster --out /shared/run
#
# `--out` must then be on a file system that all of them share. It gets `result.json` and a figure,
# `training.png`. It needs `pip install ".[examples,stream]"`.

# %%
import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from _common import new_parser, refuse, write, write_json

import morphax
from morphax import training, viz
from morphax.data.stream import DiskorectBlocks, batches
from morphax.morphology import elements
from morphax.neurons import models
from morphax.training import distributed
from morphax.training.checkpoint import Checkpoints

# %% [markdown]
# ## The job
#
# An opening is learned from pairs that are generated as they are needed: a set without end, read by
# number. Every process generates its own rows of a batch, and every device works on its own part of
# them. Only the mean of the gradients travels.


# %%
def train(
    out: Path, *, steps: int, every: int, batch: int, size: int, x64: bool
) -> tuple[dict, list[tuple[str, np.ndarray]]]:
    """Train on all devices of all processes.

    Returns:
        The result, the same in each process, and for each device of this process its name and an
        image of its part of the first batch.
    """
    dtype = "float64" if x64 else "float32"
    window = elements.disk(5)
    rows = 8  # in a record: few, so that many processes can share a batch
    given = {"operation": "opening", "selem": window, "size": (size, size)}
    source = DiskorectBlocks(1 << 20, rows=rows, **given)
    valid = DiskorectBlocks(1, rows=64, seed=1, **given)[0]
    maps = {"weight_map": "identity", "bias_map": "centred"}
    params = models.init_bimonn(jax.random.key(0), [1, 1, 1], kernel_size=5, dtype=dtype, **maps)
    out.mkdir(parents=True, exist_ok=True)
    with Checkpoints(out / "checkpoints", keep=2, best="binary") as checkpoints:
        run = training.fit_stream(
            models.bimonn,
            params,
            lambda start: batches(source, batch_size=batch, block=rows, start=start),
            valid=valid,
            optimizer=optax.adam(1e-2),
            steps=steps,
            log_every=every,
            mesh=distributed.mesh(),
            run=training.RunOptions(log=out / "metrics.jsonl", checkpoint=checkpoints),
        )
    binary = morphax.binarize(run.state.params)
    bits = b"".join(np.packbits(np.asarray(leaf)).tobytes() for leaf in jax.tree.leaves(binary))
    result = {
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "device": jax.devices()[0].device_kind,
        "dtype": dtype,
        "batch": batch,
        "steps": steps,
        "step": [record["step"] for record in run.history],
        "loss": [record["loss"] for record in run.history],
        "seconds": [record["seconds"] for record in run.history],
        "dice": run.history[-1]["binary"],
        "certified": run.history[-1]["certified"],
        "binary": hashlib.sha256(bits).hexdigest(),
    }
    images, _ = next(batches(source, batch_size=batch, block=rows))
    parts = distributed.rows_of_process(distributed.mesh(), images).addressable_shards
    return result, [(str(part.device), np.asarray(part.data)[0, ..., 0]) for part in parts]


def draw(result: dict, parts: list[tuple[str, np.ndarray]], other: dict | None) -> Any:
    """Draw an image of the first batch for each device (eight at most), and the loss of runs."""
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(8, 4.4), layout="constrained")
    sheet.suptitle("From the part of a batch that each device generates and works on", fontsize=10)
    grid = sheet.add_gridspec(2, len(parts[:8]), height_ratios=(1, 2))
    for place, (device, image) in enumerate(parts[:8]):
        axis = sheet.add_subplot(grid[0, place])
        axis.imshow(~image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(device, fontsize=8)
        axis.set_axis_off()
    axis = sheet.add_subplot(grid[1, :])
    for number, run in enumerate([other, result] if other else [result]):
        label = f"devices: {run['devices']}, processes: {run['processes']}"
        look = {"linewidth": 5, "alpha": 0.35} if other and not number else {"marker": "."}
        axis.plot(run["step"], run["loss"], label=label, **look)
    axis.set(xlabel="step", ylabel="loss over all devices", yscale="log")
    axis.yaxis.set_minor_formatter("{x:.2f}")
    axis.legend()
    return sheet


# %% [markdown]
# ## Several processes on one machine
#
# As on several machines, each is given the address of the first, their number, and its own number.


# %%
def start_processes(count: int, argv: list[str]) -> int:
    """Run this command in `count` processes that find each other; return the worst exit status."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    job = {**os.environ, "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
    command = [sys.executable, __file__, *argv]
    running = [
        subprocess.Popen(command, env={**job, "JAX_PROCESS_ID": str(number)})
        for number in range(count)
    ]
    try:
        while any(process.poll() is None for process in running):
            if any(process.poll() for process in running):  # the others would wait for it
                break
            time.sleep(0.1)
        return max(abs(process.poll() or 0) for process in running)
    finally:
        for process in running:  # none is left behind when one of them, or we, are stopped
            process.kill()


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = new_parser(
        "train_distributed",
        "Train on several devices, processes or machines, and go on when interrupted.",
        data_dir=False,
    )
    add = parser.add_argument
    add("--processes", type=int, default=1, help="processes to start on this machine (1)")
    add("--devices", type=int, help="devices that one CPU acts as, in each process")
    add("--cluster", action="store_true", help="JAX finds the other processes")
    add("--steps", type=int, default=1000, help="steps to train (1000)")
    add("--every", type=int, default=50, help="steps between two checkpoints (50)")
    add("--batch", type=int, default=64, help="images in a step, over all devices (64)")
    add("--size", type=int, default=50, help="side of an image (50)")
    add("--x64", action="store_true", help="train in float64")
    add("--beside", type=Path, help="results of another run, whose loss is drawn, too")
    options = parser.parse_args(argv)
    if options.smoke:
        options.steps, options.every, options.size = 4, 2, 16
        options.devices = options.devices or 2
    return options


def main(argv: list[str] | None = None) -> int:
    """Start the processes, train, and print the result; return the exit status."""
    options = parse(argv)
    if options.processes > 1 and "JAX_PROCESS_ID" not in os.environ:
        return start_processes(options.processes, sys.argv[1:] if argv is None else argv)
    if options.devices:
        jax.config.update("jax_num_cpu_devices", options.devices)
    if options.x64:
        jax.config.update("jax_enable_x64", True)
    distributed.start(coordinator="auto" if options.cluster else None)
    sizes = {name: getattr(options, name) for name in ("steps", "every", "batch", "size", "x64")}
    try:
        viz.require_matplotlib()
        other = json.loads((options.beside / "result.json").read_text()) if options.beside else None
        result, parts = train(options.out, **sizes)
    except (ImportError, OSError, ValueError) as error:
        return refuse("train_distributed", error)
    if jax.process_index() == 0:
        write_json(options.out / "result.json", result)
        figure = draw(result, parts, other)
        write(options.out / "training.png", lambda path: figure.savefig(path, dpi=90))
        print(
            f"{result['steps']} steps on {result['devices']} devices of {result['processes']} "
            f"processes: loss {result['loss'][-1]:.6f}, binary Dice {result['dice']:.4f}, "
            f"certified {result['certified']:.0%}; {options.out / 'result.json'}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
