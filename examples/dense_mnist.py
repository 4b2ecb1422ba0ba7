# %% [markdown]
# # The papers' dense network, binary without loss
#
# One DenseLUI of binary pixels, 4096 erosions and dilations, and a last layer of ten: real weights
# as in the papers (`linear_head`), or the same weights rounded and counted (`group_sum` of wires),
# which is binary to the end. Inputs are not complemented: half of the neurons are erosions (all of
# these pixels are set), half are complemented dilations (none of these pixels is set).
#
#     python examples/dense_mnist.py --data-dir DATA               # smooth, then proved
#     python examples/dense_mnist.py --training straight-through
#     python examples/dense_mnist.py --smoke                       # generated images, seconds
#
# A run that was interrupted goes on: give the same options and the same `--out`, which gets
# `dense_mnist.json` and a figure, `neurons.png`. It needs `pip install ".[examples,data]"`.

# %%
import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import UNUSABLE, command, load, metadata, new_parser, refuse, write, write_json
from _dense_training import BOUND, SHARPNESS, SLOPE, THRESHOLD, fit, node

import morphax
from morphax import program, viz
from morphax.classification import model
from morphax.classification.config import GAIN, TRAININGS
from morphax.classification.latent import fold_empty, whole_votes

MOST = 15  # the largest |vote| once rounded

# %% [markdown]
# ## The network
#
# `_dense_training.py` has its neurons (`node`) and trains them. Two heads read them: real weights,
# and counts of bits.


# %%
def classifier(params: Any, x: jax.Array) -> jax.Array:
    """Return scores: the DenseLUI, then real weights."""
    return morphax.linear_head(morphax.apply(params["lui"], x), params["votes"], params["bias"])


def counting(wiring: np.ndarray) -> Callable[[Any, jax.Array], jax.Array]:
    """Return a model: the DenseLUI, then wires from its bits and complements, counted by class."""

    def apply(params: Any, x: jax.Array) -> jax.Array:
        bits = morphax.apply(params["lui"], x)
        zero = jnp.zeros((*bits.shape[:-1], 1), bits.dtype)
        every = [bits, morphax.complement(bits), zero, morphax.complement(zero)]
        voters = jnp.take(morphax.concatenate(every), wiring.reshape(-1), axis=-1, mode="clip")
        return morphax.group_sum(voters, classes=len(wiring))

    return apply


# %% [markdown]
# ## The verdict


# %%
def labels_of(apply: Callable[..., jax.Array], params: Any, x: np.ndarray) -> np.ndarray:
    """Return the labels of images, 1000 at a time."""
    run = jax.jit(lambda part: apply(params, part).argmax(-1))
    return np.concatenate(
        [np.asarray(run(jnp.asarray(x[i : i + 1000]))) for i in range(0, len(x), 1000)]
    )


def settle(latent: Any) -> tuple[Any, int]:
    """Fold neurons that have lost every pixel into the bias; return parameters and their number."""
    folded = int((latent["q"] <= 0).all(0).sum())
    clauses = fold_empty({**latent, "clauses": [latent["q"]]}, bound=BOUND)
    return {"q": clauses["clauses"][0], "votes": clauses["votes"], "bias": clauses["bias"]}, folded


def judge(latent: Any, test: Any, training: str) -> list[dict]:
    """Return a row for each head: errors, gap, certificate, operations."""
    latent, folded = settle(latent)
    images, answers = test
    x = (images >= THRESHOLD).reshape(len(images), -1)
    slope = 40.0 if training == "straight-through" else SLOPE[1]
    lui = node(latent["q"], training=training, sharpness=SHARPNESS[1], slope=slope)
    real = {"lui": lui, "votes": latent["votes"] * GAIN, "bias": latent["bias"]}
    binary = morphax.binarize(real, method="constant-exact")
    verdict = morphax.certify_network(classifier, real, (1, x.shape[1]))

    # The head that counts: votes rounded to at most MOST wires.
    whole, whole_bias = whole_votes(latent, most=MOST)
    wiring = model.wires(whole, whole_bias)

    plain = program.build(lambda p, x: morphax.apply(p, x), binary["lui"], (1, x.shape[1]))
    cost = program.count(program.simplify(plain))
    facts = {
        "certified": float(np.asarray(verdict.neurons["lui"].exact).mean()),
        "network_certified": bool(verdict.exact),
        "operations": cost.total,
        "folded": folded,
        "mean_size": float(np.asarray(binary["lui"].selem).sum(0).mean()),
        "test_images": len(answers),
    }
    rows = []
    for head, apply in (("real weights", classifier), ("counted bits", counting(wiring))):
        soft = labels_of(apply, real, x.astype(np.float32))
        hard = labels_of(apply, binary, x)
        rows.append(
            {
                "training": training,
                "head": head,
                "neurons": int(lui.weight.shape[1]),
                "float_error": float((soft != answers).mean()),
                "binary_error": float((hard != answers).mean()),
                "gap": float((soft != hard).mean()),
                "counted": int(np.abs(whole).sum()) if head == "counted bits" else None,
                **facts,
            }
        )
    return rows


# %% [markdown]
# ## What the neurons look for
#
# Red: an erosion, all of these pixels must be set. Blue: a complemented dilation, none of these
# pixels may be set.


# %%
def figure(latent: Any, train: Any, *, each: int = 3) -> Any:
    """Draw the neurons with the largest votes for each class, over the mean image of the class."""
    from matplotlib.figure import Figure

    images, labels = train
    selem, votes = np.asarray(latent["q"]) > 0, np.asarray(latent["votes"])
    sheet = Figure(figsize=(10, each + 0.4), layout="constrained")
    sheet.get_layout_engine().set(h_pad=0.01, w_pad=0.01)
    # A neuron that has lost its pixels says nothing.
    order = np.argsort(np.where(selem.any(0)[:, None], -votes, np.inf), axis=0)[:each]
    for (row, label), axis in np.ndenumerate(sheet.subplots(each, 10)):
        number = order[row, label]
        mean = images[labels == label].mean((0, 3)) / 255
        colour = (0.8, 0.1, 0.1) if number < selem.shape[1] // 2 else (0.1, 0.3, 0.8)
        picture = np.repeat(1 - 0.35 * mean[..., None], 3, axis=-1)
        picture[selem[:, number].reshape(mean.shape)] = colour
        axis.imshow(picture, interpolation="nearest")
        axis.set_axis_off()
        if row == 0:
            axis.set_title(f"for {label}", fontsize=9)
    return sheet


# %% [markdown]
# ## The main job


# %%
def read(options: argparse.Namespace) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return training and test images with labels."""
    if options.smoke:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 10, 600).astype(np.int32)
        images = rng.integers(0, 140, (600, 14, 14, 1))
        images[np.arange(600), labels + 2, 3:11] = 220
        images = images.astype(np.uint8)
        return [(images[:400], labels[:400]), (images[400:], labels[400:])]
    given = {"data_dir": options.data_dir, "limit": options.limit}
    return [load("mnist", split, **given) for split in ("train", "test")]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = new_parser("dense_mnist", "Train a network of 784-4096-10, binary and certified.")
    add = parser.add_argument
    add("--training", choices=TRAININGS, default="smooth", help="way of training (smooth)")
    add("--neurons", type=int, default=4096, help="neurons of the hidden layer (4096)")
    add("--epochs", type=float, default=12, help="passes over the training images (12)")
    add("--limit", type=int, help="use only so many images of each set")
    add("--seed", type=int, default=0, help="the same seed gives the same network (0)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train, certify, binarize, test, draw; dense_mnist.json keeps the other training."""
    options = parse(argv)
    try:
        viz.require_matplotlib()
        train, test = read(options)
        options.out.mkdir(parents=True, exist_ok=True)
    except UNUSABLE as error:
        return refuse("dense_mnist", error)
    about = metadata("dense_mnist", unit="error", reference="none", smoke=options.smoke)
    size = {"neurons": options.neurons, "epochs": options.epochs, "batch": 200}
    if options.smoke:
        size = {"neurons": 64, "epochs": 5.0, "batch": 50}
    training, seed = options.training, options.seed
    try:
        latent, history = fit(
            jax.random.key(seed), train, training=training, folder=options.out, **size
        )
    except UNUSABLE as error:  # such as the checkpoints of other settings
        return refuse("dense_mnist", error)
    given = {"training": training, "neurons": size["neurons"], "epochs": size["epochs"]}
    seconds = round(sum(record["cpu_seconds"] for record in history), 1)
    more = {**size, "seed": seed, "cpu_seconds": seconds}
    more["command"] = command("dense_mnist", {**given, "seed": seed})
    rows = [{**row, **more} for row in judge(latent, test, training)]

    # The rows of the other way of training stay in the file.
    path, others = options.out / "dense_mnist.json", []
    if path.exists():
        results = json.loads(path.read_text())["results"]
        others = [row for row in results if row["training"] != training]
    commands = sorted({row["command"] for row in [*others, *rows]})
    about |= {"commands": commands, "load_end": os.getloadavg()[0]}
    document = {"metadata": about, "results": others + rows, "history": history, "skipped": []}
    write_json(path, document)
    sheet = figure(latent, train)
    write(options.out / "neurons.png", lambda path: sheet.savefig(path, dpi=90))
    for row in rows:
        print(
            f"{row['training']}, {row['head']}: float error {row['float_error']:.2%}, binary "
            f"{row['binary_error']:.2%}, gap {row['gap']:.3%}, certified {row['certified']:.2%}, "
            f"{row['operations']:,} bit operations, mean |S| {row['mean_size']:.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
