# %% [markdown]
# # Why do the cheap regularisers beat the exact one?
#
# Open question 2 of Aouad & Talbot (arXiv 2401.03830): drawing neurons towards *constant* sets
# works better than drawing them towards the *activable* set, of which the former are
# approximations. This script looks at what the exact projection asks for: how many inputs, |S|, has
# the nearest erosion or dilation of each neuron of a DenseLUI, at initialisation and as it learns
# MNIST? And what if the bias counts less in the metric |x - w|^2 + rho (beta - b)^2?
#
#     python examples/selem_size.py --data-dir DATA    # or set MORPHAX_DATA
#     python examples/selem_size.py --smoke            # random images, seconds

# %%
import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _common import UNUSABLE, command, load, metadata, new_parser, refuse, write, write_rows

import morphax
from morphax import data
from morphax.neurons import models
from morphax.training import TrainState, make_chunk, make_step

METRICS = {"rho = 1 (the papers')": 1.0, "rho = 0.1": 0.1, "rho = 1/n": None}


# %% [markdown]
# The papers' classifier, narrower: binary pixels, a DenseLUI, and a last DenseLUI read as scores.


# %%
def classifier(params, x):
    """Return the scores `(batch, 10)` of flat images `(batch, 784)`."""
    return morphax.apply(params["last"], morphax.apply(params["hidden"], x))


def mnist(data_dir: Path | None, *, smoke: bool) -> tuple[jax.Array, jax.Array]:
    """Return flat binary digits and one-hot labels; noise of the same shape for the smoke run."""
    if smoke:
        keys = jax.random.split(jax.random.key(0))
        labels = jax.random.randint(keys[1], (512,), 0, 10)
        return jax.random.uniform(keys[0], (512, 784)) < 0.2, jax.nn.one_hot(labels, 10)
    images, labels = load("mnist", "train", data_dir=data_dir)
    binary = data.binary_images(images, threshold=1)
    return jnp.asarray(binary.reshape(len(binary), -1)), jax.nn.one_hot(labels, 10)


# %% [markdown]
# For every neuron and metric: the nearest erosion or dilation, its |S|, how far it is, and whether
# it is alive, that is, takes both values on digits. The same for the nearest constant set, towards
# which the cheap regularisers pull.


# %%
def measure(params, x, step: int) -> list[dict]:
    """Return |S| of the sets nearest to the hidden neurons: a record for each metric."""
    weights, bias, _ = morphax.effective(params["hidden"])
    n = weights.shape[-1]
    records = []
    for name, rho in METRICS.items():
        near = morphax.project(weights, bias, bias_weight=1 / n if rho is None else rho)
        records.append(record_of(name, step, near, x))
    near = morphax.project(weights, bias, onto="constant")
    return [*records, record_of("constant set", step, near, x)]


def record_of(name: str, step: int, near: morphax.Projection, x: jax.Array) -> dict:
    """Return the record of one metric: |S|, and the share of neurons that are alive."""
    sizes = np.asarray(near.selem.sum(-1))
    hits = x.astype(np.float32) @ np.asarray(near.selem, np.float32).T
    fires = np.where(np.asarray(near.operation) == 1, hits > 0, hits == sizes)
    return {
        "metric": name,
        "step": step,
        "sizes": sizes.tolist(),
        "quantiles": np.quantile(sizes, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist(),
        "median": float(np.median(sizes)),
        "single": float((sizes == 1).mean()),
        "alive": float((fires.any(0) & ~fires.all(0)).mean()),
        "dilations": float(np.asarray(near.operation).mean()),
        "distance": float(np.asarray(near.distance).mean()),
    }


def train(key, x, y, *, width: int, steps: int, looks: int) -> tuple[list[dict], list[float]]:
    """Train the classifier without a regulariser; return records and losses of each measurement."""
    keys = jax.random.split(key, 3)
    params = {
        "hidden": models.init_dense_lui(keys[0], x.shape[-1], width, input_mean=0.2),
        "last": models.init_dense_lui(keys[1], width, 10),
    }
    optimizer = optax.adam(1e-2)
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    chunk = make_chunk(make_step(classifier, optimizer, loss="bce"), batch_size=64, length=steps)
    digits = np.asarray(x[:1000])
    records, losses = measure(params, digits, 0), []
    for _ in range(looks):
        state, loss = chunk(keys[2], state, (x, y))
        losses.append(float(loss))
        records += measure(state.params, digits, int(state.step))
        print(f"step {int(state.step):6d}  loss {losses[-1]:.4f}", flush=True)
    return records, losses


# %% [markdown]
# One panel for each metric: the distribution of |S| (log scale) at every measurement.


# %%
def figure(records: list[dict]):
    """Draw box plots of |S| against training, a panel for each metric."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(r["metric"] for r in records))
    fig = Figure(figsize=(3.2 * len(names), 3.6), layout="constrained")
    axes = fig.subplots(1, len(names), sharey=True)
    for ax, name in zip(axes, names, strict=True):
        mine = [r for r in records if r["metric"] == name]
        steps = [r["step"] for r in mine]
        ax.boxplot([r["sizes"] for r in mine], tick_labels=steps, whis=(5, 95), showfliers=False)
        ax.set_yscale("log")
        ax.set_yticks([25, 50, 100, 200, 400, 784], ["25", "50", "100", "200", "400", "784"])
        ax.minorticks_off()
        alive = mine[-1]["alive"]
        ax.set_title(f"{name}\nnot constant on digits at the end: {alive:.0%}", fontsize=9)
        ax.set_xlabel("training step")
    axes[0].set_ylabel("|S| of the nearest set (5-95 %)")
    fig.suptitle("Size of the structuring element that each projection asks for")
    return fig


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = new_parser("selem_size", "Measure |S| of the exact projection in training.")
    add = parser.add_argument
    add("--width", type=int, default=512, help="hidden neurons (512)")
    add("--steps", type=int, default=500, help="steps between two measurements (500)")
    add("--looks", type=int, default=4, help="measurements after the first one (4)")
    add("--seed", type=int, default=0, help="the same seed gives the same network (0)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the experiment; write selem_size.json and selem_size.png."""
    options = parse(argv)
    about = metadata("selem_size", unit="|S|", reference="none", smoke=options.smoke)
    try:
        x, y = mnist(options.data_dir, smoke=options.smoke)
        options.out.mkdir(parents=True, exist_ok=True)
    except UNUSABLE as error:
        return refuse("selem_size", error)
    sizes: dict[str, Any] = {name: getattr(options, name) for name in ("width", "steps", "looks")}
    if options.smoke:
        sizes = {"width": 16, "steps": 5, "looks": 1}
    records, losses = train(jax.random.key(options.seed), x, y, **sizes)
    given = {**sizes, "seed": options.seed}
    about |= {"command": command("selem_size", given), **given, "losses": losses}
    rows = [{key: value for key, value in row.items() if key != "sizes"} for row in records]
    write_rows(options.out / "selem_size.json", about, rows)
    write(options.out / "selem_size.png", lambda path: figure(records).savefig(path, dpi=120))
    for r in records:
        print(
            f"step {r['step']:5d}  {r['metric']:21s} median |S| {r['median']:6.1f}"
            f"  |S| = 1 {r['single']:5.1%}  dilations {r['dilations']:6.1%}"
            f"  distance {r['distance']:.3f}  alive {r['alive']:6.1%}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
