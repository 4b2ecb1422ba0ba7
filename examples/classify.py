# %% [markdown]
# # A classifier that is binary to the end, every neuron certified
#
# Level sets of an image, erosions of literals ("these pixels are set and those are not"), unions over
# regions ("somewhere here"), and votes that are counted. Nothing in it is a number before the counts.
#
#     python examples/classify.py --dataset mnist --data-dir DIR           # or set MORPHAX_DATA
#     python examples/classify.py --dataset fashion_mnist
#     python examples/classify.py --training smooth --clauses 256 --epochs 3   # trained smoothly, then proved
#     python examples/classify.py --dataset cifar10_jpeg                   # colour differences, contrast
#     python examples/classify.py --smoke                                  # generated images, no data
#
# Any image data set of TFDS that is prepared in the array_record format will do. A run that was
# interrupted goes on: give the same options and the same `--out`. To try something, leave the test set
# alone and judge on training images held out, and keep the row:
#
#     python examples/classify.py --dataset cifar10_jpeg --hold-out 5000 \
#         --change '{"epochs": 2, "recipe": {"regions": 3}}' --add explored.json

# %%
import argparse
import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from morphax import data
from morphax.classification import LearnedClassifier, clauses, learn_classifier, model
from morphax.morphology import contrast, levelsets
from morphax.training import RunOptions, json_text

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _lib import common

# %% [markdown]
# ## One recipe
#
# The same losses, steps and certificate for all data sets; what differs is what the data ask for: of
# which channels level sets are taken and how many (one for ink on paper), the sides of the windows, how
# finely positions matter (`regions`), and how images may be moved in training.
#
# Channels: "gray" (the values of the image), "opponents" (brightness and two colour differences), and
# "gray:5" or "opponents:5", their contrast in windows of that side (`morphax.contrast`; arithmetic on
# gray values, ahead of the binary network). Level sets are of quantiles where a number is given.

# %%
WHOLE = {"rotation": 0.0, "scale": 0.0, "shear": 0.0}  # moves by whole pixels, nothing blurred
DATASETS: dict[str, dict[str, Any]] = {
    "mnist": {"levels": [128], "banks": ((7, 512), (11, 512)), "epochs": 6},
    "fashion_mnist": {
        "channels": ["gray", "gray:5"],
        "levels": 5,
        "banks": ((5, 512),),
        "epochs": 4,
        "recipe": {"flip": True, "regions": 6, "rates": (0.03, 0.02), "shift": 1.0, **WHOLE},
    },
    "cifar10_jpeg": {
        "channels": ["opponents", "opponents:7"],
        "levels": 4,
        "banks": ((5, 1024),),
        "epochs": 6,
        "recipe": {
            "flip": True,
            "stride": 3,
            "regions": 5,
            "rates": (0.03, 0.02),
            "shift": 2.0,
            **WHOLE,
        },
    },
}
DATASETS["cifar10"] = DATASETS["cifar10_jpeg"]
OTHERS: dict[str, Any] = {**DATASETS["fashion_mnist"], "levels": 3}


def shapes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Generated images of four classes for the smoke run: bars, squares and crosses, with noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, (count, 16, 16, 1)).astype(np.uint8)
    labels = rng.integers(0, 4, count)
    marks = np.zeros((4, 7, 7), bool)
    marks[0, 3], marks[1, :, 3], marks[2, 1:6, 1:6] = True, True, True
    marks[3] = np.eye(7, dtype=bool) | np.eye(7, dtype=bool)[::-1]
    for image, label in zip(images, labels, strict=True):
        y, x = rng.integers(0, 10, 2)
        image[y : y + 7, x : x + 7, 0][marks[label]] = 200
    return images, labels.astype(np.int32)


def load(options: argparse.Namespace) -> tuple[Any, Any]:
    """Training and test images with labels; with --hold-out, the last training images are the test."""
    if options.smoke:
        return shapes(600, 0), shapes(300, 1)
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS advises to install OpenCV

    def read(split: str) -> Any:
        return data.load(options.dataset, split, data_dir=options.data_dir, limit=options.limit)

    train = read("train")
    if not options.hold_out:
        return train, read("test")
    count = options.hold_out
    if not 1 <= count <= len(train[1]) - 100:
        raise ValueError(f"--hold-out: expected 1 to {len(train[1]) - 100} images, got {count}")
    return tuple(part[:-count] for part in train), tuple(part[-count:] for part in train)


def channels(images: np.ndarray, kinds: list[str]) -> np.ndarray:
    """The channels that level sets are taken of, one kind after the other, 1000 images at a time."""

    @jax.jit
    def build(part: jax.Array) -> jax.Array:
        found = []
        for kind in kinds:
            base, _, side = kind.partition(":")
            planes = {"gray": lambda x: x.astype(jnp.int32), "opponents": contrast.opponents}[base]
            planes = planes(part)
            found.append(contrast.local_contrast(planes, side=int(side)) if side else planes)
        return jnp.concatenate(found, -1).astype(jnp.int16)

    parts = [np.asarray(build(images[i : i + 1000])) for i in range(0, len(images), 1000)]
    return np.concatenate(parts)


def choices(options: argparse.Namespace) -> dict[str, Any]:
    """What the data set's entry says, with what the options change."""
    chosen = {"channels": ["gray"], "recipe": {}, **DATASETS.get(options.dataset, OTHERS)}
    if options.smoke:
        chosen |= {"channels": ["gray"], "levels": [128], "banks": ((5, 16), (7, 16)), "epochs": 10}
        chosen["recipe"] = {"rates": (0.03, 0.03), "rotation": 0.0, "shear": 0.0, "dropout": 0.0}
    change = json.loads(options.change)
    unknown = set(change) - set(chosen)
    if unknown:
        raise ValueError(f"--change: expected some of {sorted(chosen)}, got {sorted(unknown)}")
    chosen = chosen | change | {"recipe": {**chosen["recipe"], **change.get("recipe", {})}}
    banks = chosen["banks"]
    if options.clauses:
        total = sum(count for _, count in banks)
        banks = [(size, max(1, count * options.clauses // total)) for size, count in banks]
    extra: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in chosen["recipe"].items()
    }
    if options.training == "smooth":
        extra |= {k: v for k, v in clauses.SMOOTH.items() if k not in change.get("recipe", {})}
    chosen["recipe"] = clauses.ClauseConfig(
        banks=tuple((size, count) for size, count in banks), **extra
    )
    chosen["epochs"] = options.epochs or chosen["epochs"]
    return chosen


def level_table(images: np.ndarray, levels: int | list[int]) -> np.ndarray:
    """Thresholds of the level sets, int `(C, count)`: as given, or quantiles of 5000 images."""
    if isinstance(levels, int):
        return levelsets.thresholds(images[:5000], levels)
    return np.array([levels] * images.shape[-1])


# %% [markdown]
# ## Float and binary network
#
# One function runs both: on numbers with the trained parameters, on bits with the binary ones. The
# certificate is computed from the parameters alone; the test images only say how good the network is.


# %%
def predictions(
    net: Callable[..., jax.Array],
    params: Any,
    images: np.ndarray,
    thresholds: np.ndarray,
    *,
    real: bool,
) -> np.ndarray:
    """Labels of images, 50 at a time."""
    dtype = jnp.float32 if real else bool

    @jax.jit
    def labels(part: jax.Array) -> jax.Array:
        levels = levelsets.decompose(part.astype(jnp.int32), thresholds.astype(np.int32))
        return jnp.argmax(net(params, levels.astype(dtype)), -1)

    short = -len(images) % 50
    padded = np.concatenate([images, images[:1].repeat(short, 0)]) if short else images
    parts = [np.asarray(labels(jnp.asarray(padded[i : i + 50]))) for i in range(0, len(padded), 50)]
    return np.concatenate(parts)[: len(images)]


def judge(
    trained: LearnedClassifier, recipe: clauses.ClauseConfig, test: Any, thresholds: np.ndarray
) -> dict:
    """Accuracies on the test set, the verdicts of the certificate, and what an image costs."""
    images, answers = test
    where = {"stride": recipe.stride, "regions": recipe.regions}
    wiring = model.wires(trained.votes, trained.bias)
    net = model.classifier(wiring, **where)
    binary, verdict = trained.binary, trained.certificate
    height, width = images.shape[1:3]
    exact = np.concatenate([np.asarray(v.exact).ravel() for v in verdict.neurons.values()])
    real = predictions(net, trained.params, images, thresholds, real=True)
    bit = predictions(net, binary, images, thresholds, real=False)
    sides = [len(model.centres(n, **where)) for n in (height, width)]
    return {
        "float_accuracy": float((real == answers).mean()),
        "binary_accuracy": float((bit == answers).mean()),
        "test_images": len(answers),
        "decisions_that_differ": int((real != bit).sum()),
        "certified_share": float(exact.mean()),
        "network_certified": bool(verdict.exact),
        **model.operations(
            binary["erosions"], wiring, positions=sides[0] * sides[1], regions=recipe.regions
        ),
        "largest_vote": int(np.abs(trained.votes).max()),
    }


def save_network(path: Path, trained: LearnedClassifier, thresholds: np.ndarray) -> None:
    """Write a network: its bits, and the trained numbers that they are proved equal to."""
    arrays: dict[str, Any] = {
        "votes": trained.votes,
        "bias": trained.bias,
        "thresholds": thresholds,
    }
    for i, bank in enumerate(trained.params["erosions"]):
        weight, threshold, scale = morphax.neurons.nodes.leaves(bank)
        arrays |= {f"weight{i}": weight, f"threshold{i}": threshold, f"scale{i}": scale}
    for i, bank in enumerate(trained.binary["erosions"]):
        arrays[f"selem{i}"] = bank.selem
    np.savez_compressed(path, **jax.tree.map(np.asarray, arrays))


# %% [markdown]
# ## What the clauses look for
#
# Red: this literal must hold at the pixel; blue: its complement must.


# %%
def figure(trained: LearnedClassifier, recipe: clauses.ClauseConfig, channels: int) -> Any:
    """The clauses with the largest votes of the first bank, and the training curve."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    size, count = recipe.banks[0]
    weight = np.asarray(trained.params["erosions"][0].weight) > 0.5
    window = weight.reshape(size, size, 2, channels, count).sum(3)
    shown = np.abs(trained.votes[: recipe.regions**2 * count]).reshape(
        -1, count, trained.votes.shape[1]
    )
    order = np.argsort(-shown.sum((0, 2)))[:24]
    sheet = Figure(figsize=(9, 5), layout="constrained")
    grid = sheet.add_gridspec(4, 8)
    for place, clause in enumerate(order):
        axis = sheet.add_subplot(grid[place // 8, place % 8])
        axis.imshow(window[:, :, 0, clause] - window[:, :, 1, clause], cmap="RdBu_r",
                    vmin=-channels, vmax=channels)  # fmt: skip
        axis.set_axis_off()
    axis = sheet.add_subplot(grid[3, :])
    axis.plot([r["step"] for r in trained.history], [r["train_accuracy"] for r in trained.history])
    axis.set(xlabel="step", ylabel="accuracy in training")
    return sheet


# %% [markdown]
# ## Rows
#
# A row says what was run, on which commit, and what it cost; `--add` keeps it among others.


# %%
def told(options: argparse.Namespace) -> str:
    """The command that makes this row, without folders."""
    parser, words = arguments(), ["python", "examples/classify.py"]
    for name, value in vars(options).items():
        if name not in ("out", "data_dir", "add") and value != parser.get_default(name):
            flag = "--" + name.replace("_", "-")
            text = f"{value:g}" if isinstance(value, float) else str(value)
            words += [flag] if value is True else [flag, text]
    return shlex.join(words)


def add(path: Path, about: dict[str, Any], row: dict[str, Any]) -> None:
    """Put the row among those of a file; one of the same command is replaced."""
    rows = json.loads(path.read_text())["results"] if path.exists() else []
    rows = [old for old in rows if old.get("command") != row["command"]]
    common.write_rows(path, about, [*rows, row])


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description="a classifier that is binary to the end")
    parser.add_argument("--dataset", default="mnist", help="mnist, fashion_mnist, or any of TFDS")
    parser.add_argument("--data-dir", help="folder of the data sets (default: MORPHAX_DATA)")
    parser.add_argument("--training", choices=clauses.TRAININGS, default="straight-through")
    parser.add_argument("--clauses", type=int, help="how many in all (default: by data set)")
    parser.add_argument("--epochs", type=float, help="passes (default: by data set)")
    parser.add_argument("--change", default="{}", help="JSON, over the entry of the data set")
    parser.add_argument("--hold-out", type=int, help="judge on so many training images, held out")
    parser.add_argument("--limit", type=int, help="use only so many images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/classify"))
    parser.add_argument("--add", type=Path, help="a JSON file to add the row to")
    parser.add_argument("--smoke", action="store_true", help="generated images, seconds")
    return parser


def main() -> None:
    """Train, certify, binarize, test; write result.json, network.npz and a figure."""
    options = arguments().parse_args()
    begun, cpu = time.perf_counter(), time.process_time()
    about = common.metadata("classify", unit="accuracy", reference="none", smoke=options.smoke)
    chosen = choices(options)
    recipe, epochs = chosen["recipe"], chosen["epochs"]
    train, test = (
        (channels(images, chosen["channels"]), labels) for images, labels in load(options)
    )
    thresholds = level_table(train[0], chosen["levels"])
    trained = learn_classifier(
        jax.random.key(options.seed),
        train,
        thresholds=thresholds.astype(np.float32),
        config=recipe,
        epochs=epochs,
        batch_size=50 if options.smoke else 100,
        run=RunOptions(
            log=options.out / "metrics.jsonl",
            checkpoint=options.out / "checkpoints",
            progress=not options.smoke,
        ),
    )
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    row = {
        "dataset": "generated" if options.smoke else options.dataset,
        "training": options.training,
        "clauses": sum(count for _, count in recipe.banks),
        "epochs": epochs,
        "seed": options.seed,
        "judged_on": "held-out training images" if options.hold_out else "test set",
        **judge(trained, recipe, test, thresholds),
        "train_accuracy": trained.history[-1]["train_accuracy"],
        "train_cpu_seconds": round(cpu),
        "train_wall_seconds": round(wall),
        "command": told(options),
        **{key: about[key] for key in ("date", "commit", "dirty")},
        "channels": chosen["channels"],
        "recipe": recipe._asdict(),
        "thresholds": thresholds.tolist(),
    }
    about |= {"morphax": morphax.__version__, "load_end": os.getloadavg()[0]}
    text = json_text({"metadata": about, "results": [row]}, indent=1)
    (options.out / "result.json").write_text(text + "\n")
    if options.add:
        add(options.add, about, row)
    save_network(options.out / "network.npz", trained, thresholds)
    figure(trained, recipe, thresholds.size).savefig(options.out / "clauses.png", dpi=120)
    print(
        f"{row['dataset']}, {row['training']}, {row['clauses']} clauses, "
        f"{row['test_images']} images of the {row['judged_on']}"
    )
    print(f"  float network   {row['float_accuracy']:.2%}")
    print(
        f"  binary network  {row['binary_accuracy']:.2%}, {row['decisions_that_differ']} decisions differ"
    )
    print(
        f"  certified       {row['certified_share']:.1%} of the neurons, network: {row['network_certified']}"
    )
    print(
        f"  an image costs  {row['ands']:,} ANDs, {row['ors']:,} ORs, {row['counted']:,} bits counted"
    )


if __name__ == "__main__":
    main()
