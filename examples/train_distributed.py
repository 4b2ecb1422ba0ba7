# %% [markdown]
# # Train on more than one device, and lose nothing
#
# One script for every machine: a CPU, a CPU that plays several devices, several processes, a cluster of
# GPUs or a TPU pod. What changes is how it is started; the batches, and up to rounding the losses, are
# the same. It saves its state as it goes: killed at any moment and started again with the same command,
# it ends where it would have ended (delete the output folder to begin anew).
#
#     python examples/train_distributed.py                            # all devices of this machine
#     python examples/train_distributed.py --devices 8                # one CPU that plays eight
#     python examples/train_distributed.py --processes 2 --devices 4  # two processes, four devices each
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
# `--out` must then be on a file system that all of them share.

# %%
import argparse
import hashlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax

import morphax
from morphax import training
from morphax.data.stream import DiskorectBlocks, batches
from morphax.morphology import elements
from morphax.neurons import models
from morphax.training import distributed, json_text
from morphax.training.checkpoint import Checkpoints

# %% [markdown]
# ## The job
#
# An opening learned from pairs that are made as they are needed: a set without end, read by number.
# Every process makes its own rows of a batch, every device works on its own part of them, and the only
# thing that travels is the mean of the gradients.


# %%
def train(out: Path, *, steps: int, every: int, batch: int, size: int, x64: bool) -> dict:
    """Train on all devices of all processes; what came out, the same in each process."""
    dtype = "float64" if x64 else "float32"
    window = elements.disk(5)
    rows = 8  # a record: few rows, so that many processes can share a batch
    source = DiskorectBlocks(
        1 << 20, rows=rows, operation="opening", selem=window, size=(size, size)
    )
    valid = DiskorectBlocks(
        1, rows=64, operation="opening", selem=window, size=(size, size), seed=1
    )[0]
    params = models.init_bimonn(
        jax.random.key(0), [1, 1, 1], kernel_size=5, weight_map="identity", bias_map="centred",
        dtype=dtype,
    )  # fmt: skip
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
    return {
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "device": jax.devices()[0].device_kind,
        "dtype": dtype,
        "batch": batch,
        "steps": steps,
        "loss": [record["loss"] for record in run.history],
        "seconds": [record["seconds"] for record in run.history],
        "dice": run.history[-1]["binary"],
        "certified": run.history[-1]["certified"],
        "binary": hashlib.sha256(bits).hexdigest(),
    }


# %% [markdown]
# ## Several processes on one machine
#
# As on several machines: each is told the address of the first, how many they are, and its own number.


# %%
def start_processes(count: int) -> int:
    """Run this very command in `count` processes that find each other; the worst exit status."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    job = {**os.environ, "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
    running = [
        subprocess.Popen([sys.executable, *sys.argv], env={**job, "JAX_PROCESS_ID": str(number)})
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


def main() -> int:
    """Start what there is to start, train, and say what came out."""
    parser = argparse.ArgumentParser(
        description="Train on several devices, processes or machines, and go on when interrupted."
    )
    parser.add_argument("--processes", type=int, default=1, help="to start on this machine")
    parser.add_argument("--devices", type=int, help="that one CPU plays, in each process")
    parser.add_argument("--cluster", action="store_true", help="JAX finds the other processes")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=50, help="steps between two checkpoints")
    parser.add_argument("--batch", type=int, default=64, help="images a step, over all devices")
    parser.add_argument("--size", type=int, default=50, help="side of an image")
    parser.add_argument("--x64", action="store_true", help="in float64")
    parser.add_argument("--out", type=Path, default=Path("out/train_distributed"))
    parser.add_argument("--smoke", action="store_true", help="a few steps, on two devices")
    options = parser.parse_args()
    if options.smoke:
        options.steps, options.every, options.size = 4, 2, 16
        options.devices = options.devices or 2
    if options.processes > 1 and "JAX_PROCESS_ID" not in os.environ:
        return start_processes(options.processes)
    if options.devices:
        jax.config.update("jax_num_cpu_devices", options.devices)
    if options.x64:
        jax.config.update("jax_enable_x64", True)
    distributed.start(coordinator="auto" if options.cluster else None)
    try:
        result = train(options.out, steps=options.steps, every=options.every, batch=options.batch,
                       size=options.size, x64=options.x64)  # fmt: skip
    except (OSError, ValueError) as error:
        print(f"train_distributed: {error}", file=sys.stderr)
        return 1
    if jax.process_index() == 0:
        (options.out / "result.json").write_text(json_text(result, indent=1) + "\n")
        print(
            f"{result['steps']} steps on {result['devices']} devices of {result['processes']} "
            f"processes: loss {result['loss'][-1]:.6f}, binary Dice {result['dice']:.4f}, "
            f"certified {result['certified']:.0%}; {options.out / 'result.json'}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
