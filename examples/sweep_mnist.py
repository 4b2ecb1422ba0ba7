# %% [markdown]
# # The papers' experiment: which regulariser, with equal searches?
#
# MNIST, a DenseLUI of binary pixels and a real last layer (784-4096-10 in the papers). Three weight
# maps times five regularisers, an MLP, and a binary network trained straight through (weights +-1)
# get the same number of random searches each. The members of a group are one vmapped, jitted
# program. `_sweep_networks.py` has the networks and what is searched, `_sweep_training.py` trains a
# group.
#
#     python examples/sweep_mnist.py --data-dir DATA         # reduced: two cores, narrower, fewer
#     python examples/sweep_mnist.py --protocol full         # the papers' sizes, for a GPU
#     python examples/sweep_mnist.py --smoke                 # generated images, seconds
#
# A run that was interrupted goes on: give the same options and the same `--out`. Finished groups
# are in `journal.jsonl`, the group in progress is in `checkpoints/`.

# %%
import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import UNUSABLE, command, load, metadata, new_parser, refuse, write, write_rows
from _sweep_networks import (
    BASELINES,
    BIAS_MAPS,
    PROTOCOLS,
    REGULARIZERS,
    WEIGHT_MAPS,
    Protocol,
    draw,
    network,
)
from _sweep_training import evaluate, train
from tqdm import tqdm

import morphax
from morphax import data, program
from morphax.training import json_text

# %% [markdown]
# ## One group
#
# Validation images choose the best member of a group. Its binary network is simplified and counted.


# %%
def steps_of(settings: Protocol, images: int) -> int:
    """Return the steps of a run on so many images."""
    return max(1, round(settings.epochs * (images // settings.batch)))


def run_group(
    group: tuple[str, str],
    sets: dict[str, Any],
    settings: Protocol,
    *,
    seed: int,
    folder: Path,
    name: str,
    bar: Any,
) -> list[dict]:
    """Train and evaluate one group; return a row for each member, the chosen one marked."""
    images, labels = sets["train"]
    steps = steps_of(settings, len(images))
    hypers = draw(group, settings, seed, steps)
    net = network(group, settings, images.shape[1], float(images.mean()))
    start = time.perf_counter()
    latent, broken = train(
        net,
        hypers,
        (jnp.asarray(images), jnp.asarray(labels)),
        settings,
        seed=seed,
        steps=steps,
        folder=folder / "checkpoints" / "-".join(group),
        name=f"{name} {group}",
        bar=bar,
    )
    records = {split: evaluate(net, latent, hypers, *sets[split]) for split in ("valid", "test")}
    rows = [member_row(group, hypers, broken, records, i) for i in range(settings.searches)]
    choose(rows)
    best = next((row for row in rows if row["best"]), None)
    if best is not None and net.judge is not None:
        one, hyper = jax.tree.map(lambda leaf: leaf[best["member"]], (latent, hypers))
        best["operations"] = operations(net.judge(one, hyper)[1], images.shape[1])
    for row in rows:
        row["seconds"] = round(time.perf_counter() - start, 1)
    return rows


def member_row(
    group: tuple[str, str], hypers: Any, broken: np.ndarray, records: dict, member: int
) -> dict:
    """Return the row of a member; the errors of one that diverged are None."""
    hyper = {key: value[member].item() for key, value in hypers.items()}
    diverged = int(broken[member]) if broken[member] >= 0 else None
    row = {"weights": group[0], "regularizer": group[1], "member": member, **hyper}
    row |= {"bias_map": BIAS_MAPS[hyper["bias_map"]], "diverged": diverged}
    for split, members in records.items():
        values = dict.fromkeys(members[member]) if diverged is not None else members[member]
        row |= {f"{split}_{key}": value for key, value in values.items()}
    return row


def choose(rows: list[dict]) -> None:
    """Mark the members of least validation error: "best_float", and "best" as it is shipped."""
    sound = [row for row in rows if row["diverged"] is None]
    shipped = "valid_float_error" if rows[0]["weights"] in BASELINES else "valid_binary_error"
    for mark, key in (("best", shipped), ("best_float", "valid_float_error")):
        for row in rows:
            row[mark] = False
        if sound:
            min(sound, key=lambda row: row[key])[mark] = True


def operations(binary: Any, inputs: int) -> int:
    """Return the two-input bit operations of the binary hidden layer, simplified."""
    plain = program.build(lambda p, x: morphax.apply(p, x), binary["hidden"], (1, inputs))
    return program.count(program.simplify(plain)).total


def say(rows: list[dict]) -> None:
    """Print a line for a group."""
    label = f"{rows[0]['weights']:9s} {rows[0]['regularizer']:14s}"
    best = next((row for row in rows if row["best"]), None)
    if best is None:
        print(f"{label} all diverged", flush=True)
        return
    floats = next(row["test_float_error"] for row in rows if row["best_float"])
    columns = {"best binary": "binary_error", "its float": "float_error", "certified": "certified"}
    numbers = "  ".join(
        f"{name} {best[f'test_{key}']:.2%}"
        for name, key in columns.items()
        if best[f"test_{key}"] is not None
    )
    seconds = rows[0]["seconds"]
    print(f"{label} best float {floats:.2%}  {numbers}  ({seconds} s)", flush=True)


def journal(path: Path, name: str) -> dict[str, list[dict]]:
    """Return the finished groups of these settings: group -> rows.

    A line that was cut short when the run was killed is dropped from the file.
    """
    done: dict[str, list[dict]] = {}
    if not path.exists():
        return done
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    for line in whole:
        record = json.loads(line)
        if record["settings"] == name:
            done[record["group"]] = record["rows"]
    write(path, lambda temporary: temporary.write_text("".join(whole)))
    return done


# %% [markdown]
# ## The figure: every search, as float and as binary network


# %%
def figure(rows: list[dict]) -> Any:
    """Draw the float against the binary error of each member, a panel for each weight map."""
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(10.5, 3.9), layout="constrained")
    axes = sheet.subplots(1, len(WEIGHT_MAPS), sharex=True, sharey=True)
    marks = dict(zip(REGULARIZERS, "osD^v", strict=True))
    for axis, weight_map in zip(axes, WEIGHT_MAPS, strict=True):
        for name, mark in marks.items():
            group = (weight_map, name)
            members = [row for row in rows if (row["weights"], row["regularizer"]) == group]
            sound = [row for row in members if row["diverged"] is None]
            errors = [
                [100 * row[f"test_{kind}_error"] for row in sound] for kind in ("float", "binary")
            ]
            axis.scatter(*errors, marker=mark, s=34, alpha=0.75, label=name)
        axis.axline((2, 2), (90, 90), color="0.7", linewidth=0.8, zorder=0)
        axis.set(xscale="log", yscale="log", title=weight_map, xlabel="float error, %")
        for each in (axis.xaxis, axis.yaxis):
            each.set_major_formatter("{x:g}")
    axes[0].set_ylabel("binary error, %")
    axes[-1].legend(fontsize=8, loc="lower right")
    title = "Each mark is one search; on the line the binary network is as good"
    sheet.suptitle(title, fontsize=10)
    return sheet


# %% [markdown]
# ## The main job


# %%
def read(options: argparse.Namespace) -> dict[str, Any]:
    """Return flat binary images and labels: train, valid (the last of the training set), test."""
    if options.smoke:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 10, 600)
        images = (rng.random((600, 64)) < 0.1) | (np.arange(64)[None] // 6 == labels[:, None])
        parts = {"train": slice(0, 400), "valid": slice(400, 500), "test": slice(500, 600)}
        return {name: (images[part], labels[part].astype(np.int32)) for name, part in parts.items()}
    sets = {}
    for split in ("train", "test"):
        images, labels = load("mnist", split, data_dir=options.data_dir, limit=options.limit)
        sets[split] = data.binary_images(images, threshold=128).reshape(len(images), -1), labels
    images, labels = sets["train"]
    held = len(images) // 6
    sets["train"], sets["valid"] = (
        (images[part], labels[part]) for part in (slice(0, -held), slice(-held, None))
    )
    return sets


def main(argv: list[str] | None = None) -> int:
    """Run all groups; write journal.jsonl, sweep_mnist.json and sweep_mnist.png."""
    options = parse(argv)
    settings = PROTOCOLS[options.protocol]
    if options.smoke:
        settings = settings._replace(hidden=16, searches=2, epochs=3, batch=50, every=4)
    given = {name: getattr(options, name) for name in ("hidden", "searches", "epochs")}
    settings = settings._replace(**{k: v for k, v in given.items() if v is not None})
    try:
        sets = read(options)
        options.out.mkdir(parents=True, exist_ok=True)
    except UNUSABLE as error:
        return refuse("sweep_mnist", error)
    about = metadata("sweep_mnist", unit="error", reference="none", smoke=options.smoke)
    count = len(sets["train"][0])
    try:
        rows = run_groups(groups(options), sets, settings, options)
    except UNUSABLE as error:  # such as the checkpoints of other settings
        return refuse("sweep_mnist", error)
    about |= {
        "command": command(
            "sweep_mnist", {"protocol": options.protocol, **given, "seed": options.seed}
        ),
        "protocol": options.protocol,
        "settings": settings._asdict(),
        "steps": steps_of(settings, count),
        "train_images": count,
        "seed": options.seed,
    }
    write_rows(options.out / "sweep_mnist.json", about, rows)
    figure(rows).savefig(options.out / "sweep_mnist.png", dpi=120)
    return 0


def groups(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the groups to run: (weight map, regulariser), and the baselines."""
    if options.smoke:
        chosen = [("dual", "L_uni"), ("STE", "none")]
    else:
        chosen = [(weights, name) for weights in WEIGHT_MAPS for name in REGULARIZERS]
        chosen += [(name, "none") for name in BASELINES]
    return [group for group in chosen if not options.only or group[0] in options.only]


def run_groups(
    chosen: list[tuple[str, str]],
    sets: dict[str, Any],
    settings: Protocol,
    options: argparse.Namespace,
) -> list[dict]:
    """Run the groups that the journal does not have; return the rows of all of them."""
    path, count = options.out / "journal.jsonl", len(sets["train"][0])
    name = json_text([*settings, options.seed, count, options.smoke])
    done = journal(path, name)
    for group in chosen:
        label = " ".join(group)
        if label in done:
            continue
        bar = tqdm(
            total=steps_of(settings, count), desc=label, unit="step", disable=None, leave=False
        )
        how = {"seed": options.seed, "folder": options.out, "name": name, "bar": bar}
        done[label] = run_group(group, sets, settings, **how)
        bar.close()
        with path.open("a", encoding="utf-8") as file:
            file.write(json_text({"settings": name, "group": label, "rows": done[label]}) + "\n")
        shutil.rmtree(options.out / "checkpoints" / "-".join(group))  # the journal has it
        say(done[label])
    for group in chosen:
        choose(done[" ".join(group)])
    return [row for group in chosen for row in done[" ".join(group)]]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = new_parser("sweep_mnist", "Compare regularisers with equal random searches.")
    add = parser.add_argument
    add("--protocol", choices=PROTOCOLS, default="reduced", help="size of the experiment (reduced)")
    add("--hidden", type=int, help="hidden neurons, instead of the protocol's")
    add("--searches", type=int, help="members of a group, instead of the protocol's")
    add("--epochs", type=float, help="passes over the images, instead of the protocol's")
    words = "run a part of the table; the journals of parts can be joined"
    add("--only", nargs="+", choices=(*WEIGHT_MAPS, *BASELINES), help=words)
    add("--limit", type=int, help="use only so many images of each set")
    add("--seed", type=int, default=0, help="the same seed gives the same networks (0)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
