# %% [markdown]
# # A classifier that is binary to the end, every neuron certified
#
# Level sets of an image, erosions of literals ("these pixels are set and those are not"), unions
# over regions ("somewhere here"), and votes that are counted. Nothing in it is a number before the
# counts.
#
#     python examples/classify.py --dataset mnist --data-dir DIR       # or set MORPHAX_DATA
#     python examples/classify.py --dataset fashion_mnist
#     python examples/classify.py --training smooth --clauses 256 --epochs 3
#     python examples/classify.py --dataset cifar10_jpeg               # colour, contrast
#     python examples/classify.py --smoke                              # generated images, no data
#
# Any image data set of TFDS that is prepared in the array_record format will do. A run that was
# interrupted goes on: give the same options and the same `--out`. To try something, leave the test
# set alone: judge on training images held out, and keep the row:
#
#     python examples/classify.py --dataset cifar10_jpeg --hold-out 5000 \
#         --change '{"epochs": 2, "recipe": {"regions": 3}}' --add explored.json
#
# `_classify_settings.py` has the settings of each data set.

# %%
import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _classify_settings import add_options, choices, level_table, load
from _common import (
    UNUSABLE,
    certified_share,
    command,
    metadata,
    new_parser,
    refuse,
    write_rows,
)

import morphax
from morphax.classification import (
    ClauseConfig,
    LearnedClassifier,
    clauses,
    learn_classifier,
    model,
)
from morphax.classification.config import Thresholds
from morphax.training import RunOptions

# %% [markdown]
# ## Float and binary network
#
# One function runs both: on numbers with the trained parameters, on bits with the binary ones. The
# certificate is computed from the parameters alone; the test images only say how good the network
# is.


# %%
def predictions(
    net: Callable[..., jax.Array],
    params: Any,
    images: np.ndarray,
    thresholds: Thresholds,
    *,
    channels: tuple[str, ...],
    real: bool,
) -> np.ndarray:
    """Return the labels of images, 50 at a time."""
    dtype = jnp.float32 if real else bool

    @jax.jit
    def labels(part: jax.Array) -> jax.Array:
        levels = clauses.level_sets(part, thresholds, channels=channels)
        return jnp.argmax(net(params, levels.astype(dtype)), -1)

    # All parts have the same size, so that there is one program.
    short = -len(images) % 50
    padded = np.concatenate([images, images[:1].repeat(short, 0)]) if short else images
    parts = [np.asarray(labels(jnp.asarray(padded[i : i + 50]))) for i in range(0, len(padded), 50)]
    return np.concatenate(parts)[: len(images)]


def judge(
    trained: LearnedClassifier,
    recipe: ClauseConfig,
    test: Any,
    thresholds: Thresholds,
) -> dict:
    """Return accuracies on the test set, verdicts of the certificate, and the cost of an image."""
    images, answers = test
    where = {"stride": recipe.stride, "regions": recipe.regions}
    wiring = model.wires(trained.votes, trained.bias)
    net = model.classifier(wiring, **where)
    given = {"channels": recipe.channels}
    soft = predictions(net, trained.params, images, thresholds, real=True, **given)
    hard = predictions(net, trained.binary, images, thresholds, real=False, **given)
    sides = [len(model.centres(n, **where)) for n in images.shape[1:3]]
    cost = model.operations(
        trained.binary["erosions"], wiring, positions=sides[0] * sides[1], regions=recipe.regions
    )
    return {
        "float_accuracy": float((soft == answers).mean()),
        "binary_accuracy": float((hard == answers).mean()),
        "test_images": len(answers),
        "decisions_that_differ": int((soft != hard).sum()),
        "certified_share": certified_share(trained.certificate.neurons),
        "network_certified": bool(trained.certificate.exact),
        **cost,
        "largest_vote": int(np.abs(trained.votes).max()),
    }


def save_network(
    path: Path,
    trained: LearnedClassifier,
    thresholds: Thresholds,
    channels: tuple[str, ...],
) -> None:
    """Write a network: its bits, and the trained numbers to which they are proved equal.

    "thresholds" are those of all channels in a row, "levels" says how many each channel has, and
    "channels" are the kinds of channels.
    """
    arrays: dict[str, Any] = {
        "votes": trained.votes,
        "bias": trained.bias,
        "thresholds": np.concatenate(thresholds),
        "levels": np.array([len(row) for row in thresholds]),
        "channels": np.array(channels),
    }
    for i, bank in enumerate(trained.params["erosions"]):
        weight, threshold, scale = morphax.neurons.nodes.leaves(bank)
        arrays |= {f"weight{i}": weight, f"threshold{i}": threshold, f"scale{i}": scale}
    for i, bank in enumerate(trained.binary["erosions"]):
        arrays[f"selem{i}"] = bank.selem
    np.savez_compressed(path, **arrays)


# %% [markdown]
# ## What the clauses look for
#
# Red: the literal must hold at the pixel. Blue: its complement must hold.


# %%
def figure(trained: LearnedClassifier, recipe: ClauseConfig, channels: int) -> Any:
    """Draw the clauses with the largest votes of the first bank, and the training curve."""
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
        literals = window[:, :, 0, clause] - window[:, :, 1, clause]
        axis.imshow(literals, cmap="RdBu_r", vmin=-channels, vmax=channels)
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
def command_of(options: argparse.Namespace) -> str:
    """Return the command that makes this row, without folders and defaults."""
    defaults = arguments().parse_args([])
    changed = {name: v for name, v in vars(options).items() if v != getattr(defaults, name)}
    return command(
        "classify", {n: v for n, v in changed.items() if n not in ("out", "data_dir", "add")}
    )


def add(path: Path, about: dict[str, Any], row: dict[str, Any]) -> None:
    """Put the row among those of a file; a row of the same command is replaced."""
    rows = json.loads(path.read_text())["results"] if path.exists() else []
    rows = [old for old in rows if old.get("command") != row["command"]]
    write_rows(path, about, [*rows, row])


def say(row: dict[str, Any]) -> None:
    """Print a row."""
    print(
        f"{row['dataset']}, {row['training']}, {row['clauses']} clauses, {row['test_images']} "
        f"images of the {row['judged_on']}"
    )
    print(f"  float network   {row['float_accuracy']:.2%}")
    differ, certified = row["decisions_that_differ"], row["network_certified"]
    print(f"  binary network  {row['binary_accuracy']:.2%}, {differ} decisions differ")
    print(f"  certified       {row['certified_share']:.1%} of the neurons, network: {certified}")
    print(
        f"  an image costs  {row['ands']:,} ANDs, {row['ors']:,} ORs, {row['counted']:,} bits "
        "counted"
    )


# %% [markdown]
# ## The main job


# %%
def arguments() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = new_parser("classify", "Train a classifier that is binary to the end.")
    add_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same network (0)")
    parser.add_argument("--add", type=Path, help="a JSON file to add the row to")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train, certify, binarize, test; write result.json, network.npz and a figure."""
    options = arguments().parse_args(argv)
    start, cpu = time.perf_counter(), time.process_time()
    about = metadata("classify", unit="accuracy", reference="none", smoke=options.smoke)
    try:
        chosen = choices(options)
        train, test = load(options)
        thresholds = level_table(train[0], chosen["recipe"].channels, chosen["levels"])
    except UNUSABLE as error:
        return refuse("classify", error)
    recipe, out = chosen["recipe"], options.out
    trained = learn_classifier(
        jax.random.key(options.seed),
        train,
        thresholds=thresholds,
        config=recipe,
        epochs=chosen["epochs"],
        batch_size=50 if options.smoke else 100,
        run=RunOptions(
            log=out / "metrics.jsonl",
            checkpoint=out / "checkpoints",
            progress=not options.smoke,
        ),
    )
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    row = {
        "dataset": "generated" if options.smoke else options.dataset,
        "training": options.training,
        "clauses": sum(count for _, count in recipe.banks),
        "epochs": chosen["epochs"],
        "seed": options.seed,
        "judged_on": "held-out training images" if options.hold_out else "test set",
        **judge(trained, recipe, test, thresholds),
        "train_accuracy": trained.history[-1]["train_accuracy"],
        "train_cpu_seconds": round(cpu),
        "train_wall_seconds": round(wall),
        "command": command_of(options),
        **{key: about[key] for key in ("date", "commit", "dirty")},
        "channels": chosen["channels"],
        "recipe": recipe._asdict(),
        "thresholds": thresholds,
    }
    about["morphax"] = morphax.__version__
    write_rows(out / "result.json", about, [row])
    if options.add:
        add(options.add, about, row)
    save_network(out / "network.npz", trained, thresholds, recipe.channels)
    planes = sum(len(row) for row in thresholds)
    figure(trained, recipe, planes).savefig(out / "clauses.png", dpi=120)
    say(row)
    if trained.warning:
        print(f"WARNING: {trained.warning}", file=sys.stderr)
    return 1 if trained.warning and not options.smoke else 0


if __name__ == "__main__":
    sys.exit(main())
