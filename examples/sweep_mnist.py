# %% [markdown]
# # The papers' experiment: which regulariser, with equal searches?
#
# MNIST, a DenseLUI of binary pixels and a real last layer: 784-4096-10, as in the papers. Three
# weight maps times the regularisers, neurons that stay alive (`_sweep_tied.py`), an MLP, and a
# binary network trained straight through (weights +-1) get the same number of random searches each.
# `_sweep_networks.py` has the networks and what is searched, `_sweep_training.py` trains and judges
# a search.
#
#     python examples/sweep_mnist.py --data-dir DATA                # hours on two cores
#     python examples/sweep_mnist.py --data-dir DATA --minutes 30   # a slice of it
#     python examples/sweep_mnist.py --smoke                        # generated images, seconds
#
# The sweep is made of slices: give the same options and the same `--out`, and it goes on where it
# ended or was killed. Finished searches are in `journal.jsonl`, the search in progress is in
# `checkpoints/`. Published searches are taken over with `--begin docs/results/sweep_mnist.json`.
# Positive weights come first, and one search of each group before the second of any, so that the
# table is fair whenever it is stopped.

# %%
import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _common import (
    UNUSABLE,
    command,
    load,
    metadata,
    new_parser,
    refuse,
    row_metadata,
    write_rows,
)
from _sweep_journal import journal, published, search_label
from _sweep_networks import (
    BASELINES,
    REGULARIZERS,
    TIED,
    WEIGHT_MAPS,
    Network,
    Protocol,
    draw,
    network,
    width,
)
from _sweep_training import CHECKPOINTS, chosen, evaluate, train

from morphax import data
from morphax.training import RunOptions, json_text

# %% [markdown]
# ## One search


# %%
class Search(NamedTuple):
    """Hold one search: its weight map (or baseline), its regulariser and its number."""

    weights: str
    regularizer: str
    number: int

    @property
    def label(self) -> str:
        """Return the name under which the journal has it."""
        return search_label(self._asdict())


def run_search(
    search: Search,
    net: Network,
    sets: dict[str, Any],
    settings: Protocol,
    *,
    seed: int,
    run: RunOptions,
    name: str,
) -> list[dict] | None:
    """Train and evaluate one search; return a row for each checkpoint, None if it was cut short."""
    group, images = search[:2], sets["train"][0]
    steps = len(images) // settings.batch * settings.epochs
    hyper = draw(group, seed=seed, search=search.number, steps=steps)
    start = time.process_time()
    how = {"seed": seed, "search": search.number, "run": run, "name": f"{name} {search.label}"}
    done = train(net, hyper, sets, settings, **how)
    if done.is_cut_short:
        return None
    trained = time.process_time() - start
    drawn = {key: value.item() for key, value in hyper._asdict().items()}
    lost = [record["step"] for record in done.history if not np.isfinite(record["loss"])]
    head = {**search._asdict(), "hidden": width(group, settings), **drawn}
    head |= {"diverged": lost[0] if lost else None, "cpu_seconds": round(trained)}
    rows, known = [], {}
    for checkpoint, (latent, step) in chosen(done.state).items():
        if step not in known:  # two rules often choose the same weights
            known[step] = evaluate(net, latent, sets, settings)
        before = hyper.coefficient > 0 and step <= hyper.delay
        about = {"checkpoint": checkpoint, "step": step, "before_penalty": bool(before)}
        rows.append({**head, **about, **known[step]})
    return rows


def say(rows: list[dict]) -> None:
    """Print a line for each checkpoint of a search."""
    for row in rows:
        names = (
            "test_float_error",
            "test_binary_error",
            "test_refit_error",
            "certified",
            "constant",
        )
        numbers = "  ".join(f"{name} {row[name]:.2%}" for name in names if name in row)
        where = f"{row['checkpoint']} ({row['step']})"
        print(
            f"{search_label(row):26s} {where:18s} {numbers}  S {row.get('median_selem')}",
            flush=True,
        )


# %% [markdown]
# ## The figure: every search, as float and as binary network


# %%
def figure(rows: list[dict]) -> Any:
    """Draw the float against the binary error of each search, a panel for each weight map."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["checkpoint"] == CHECKPOINTS[0] and row["diverged"] is None]
    shown = [name for name in (*WEIGHT_MAPS, TIED) if any(row["weights"] == name for row in rows)]
    sheet = Figure(figsize=(1 + 3.4 * max(len(shown), 1), 3.9), layout="constrained")
    axes = sheet.subplots(1, max(len(shown), 1), sharex=True, sharey=True, squeeze=False)[0]
    for axis, weight_map in zip(axes, shown, strict=False):
        for name, mark in zip(REGULARIZERS, "osD^vP", strict=False):
            found = [
                row for row in rows if (row["weights"], row["regularizer"]) == (weight_map, name)
            ]
            floats = [100 * row["test_float_error"] for row in found]
            for kind, filled in (("binary", "none"), ("refit", None)):
                errors = [100 * row[f"test_{kind}_error"] for row in found]
                label = name if filled and found else None
                color = f"C{list(REGULARIZERS).index(name)}"
                axis.plot(floats, errors, mark, color=color, mfc=filled or color, label=label)
        axis.axline((2, 2), (90, 90), color="0.7", linewidth=0.8, zorder=0)
        axis.set(xscale="log", yscale="log", title=weight_map, xlabel="float error, %")
        for each in (axis.xaxis, axis.yaxis):
            each.set_major_formatter("{x:g}")
    axes[0].set_ylabel("binary error, %")
    entries: dict[str, Any] = {}  # of all panels, for a group may be in one only
    for axis in axes:
        entries |= {
            name: mark for mark, name in zip(*axis.get_legend_handles_labels(), strict=True)
        }
    axes[-1].legend(entries.values(), entries.keys(), fontsize=8, loc="upper right")
    title = "Every search; filled: last layer refitted\non the line binary is as good as float"
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
    held = len(images) // 60 * 10
    sets["train"], sets["valid"] = (
        (images[part], labels[part]) for part in (slice(0, -held), slice(-held, None))
    )
    return sets


def order(options: argparse.Namespace, searches: int) -> list[Search]:
    """Return the searches in the order in which they are run."""
    if options.smoke:
        return [Search("dual", "L_uni", i) for i in range(searches)] + [Search("STE", "none", 0)]
    tiers = [[("positive", name) for name in REGULARIZERS]]
    tiers += [[(TIED, "L_bounds"), (TIED, "none")], [(name, "none") for name in BASELINES]]
    tiers += [[(weights, name) for name in REGULARIZERS for weights in WEIGHT_MAPS[1:]]]
    listed = [Search(*group, i) for tier in tiers for i in range(searches) for group in tier]
    return [
        search
        for search in listed
        if (not options.only or search.weights in options.only)
        and (not options.groups or search.regularizer in options.groups)
    ]


def run_slice(
    sets: dict[str, Any], settings: Protocol, options: argparse.Namespace, about: dict[str, Any]
) -> tuple[list[dict], int]:
    """Run the searches that are not finished, for so many minutes; `about` is their metadata.

    Returns:
        The rows of all searches that are finished, and the number of those that are not.
    """
    path, start = options.out / "journal.jsonl", time.perf_counter()
    sized = settings._replace(searches=0)  # more searches do not change the first ones
    name = json_text([*sized, options.seed, len(sets["train"][0]), options.smoke])
    done = published(options.begin, about) if options.begin else {}
    done |= journal(path, name)
    searches = order(options, settings.searches)
    limit = RunOptions(time_limit=60 * options.minutes if options.minutes else None)
    nets: dict[tuple[str, str], Network] = {}  # all searches of a group share compiled programs
    for search in searches:
        if search.label in done:
            continue
        if options.minutes is not None and time.perf_counter() - start >= 60 * options.minutes:
            break
        folder = options.out / "checkpoints" / search.label.replace(" ", "-")
        run = RunOptions(checkpoint=options.out / "checkpoints", time_limit=limit.time_limit)
        run = run.part(folder.name, start=start)
        group = search[:2]
        if group not in nets:
            nets[group] = network(group, settings, sets["train"][0])
        rows = run_search(
            search, nets[group], sets, settings, seed=options.seed, run=run, name=name
        )
        if rows is None:
            break
        rows = [{**row, **row_metadata(about)} for row in rows]
        with path.open("a", encoding="utf-8") as file:
            file.write(json_text({"settings": name, "search": search.label, "rows": rows}) + "\n")
        shutil.rmtree(folder)  # the journal has it
        done[search.label] = rows
        say(rows)
    finished = [search for search in searches if search.label in done]
    return [row for search in finished for row in done[search.label]], len(searches) - len(finished)


def main(argv: list[str] | None = None) -> int:
    """Run a slice of the sweep; write journal.jsonl, sweep_mnist.json and sweep_mnist.png."""
    options = parse(argv)
    about = metadata("sweep_mnist", unit="error", reference="none", smoke=options.smoke)
    settings = Protocol()
    if options.smoke:
        settings = Protocol(16, 16, searches=2, epochs=3, batch=50, refit=50)
    given = {name: getattr(options, name) for name in ("hidden", "narrow", "searches", "epochs")}
    settings = settings._replace(**{k: v for k, v in given.items() if v is not None})
    try:
        sets = read(options)
        options.out.mkdir(parents=True, exist_ok=True)
        about |= {
            "command": command("sweep_mnist", {**given, "seed": options.seed}),
            "settings": settings._asdict(),
            "steps": len(sets["train"][0]) // settings.batch * settings.epochs,
            "train_images": len(sets["train"][0]),
            "seed": options.seed,
        }
        rows, left = run_slice(sets, settings, options, about)
    except UNUSABLE as error:  # such as the checkpoints of other settings
        return refuse("sweep_mnist", error)
    about["searches_left"] = left
    if rows:
        write_rows(options.out / "sweep_mnist.json", about, rows)
        figure(rows).savefig(options.out / "sweep_mnist.png", dpi=120)
    print(f"{left} searches are left" if left else "all searches are finished", flush=True)
    return 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = new_parser("sweep_mnist", "Compare regularisers with equal random searches.")
    add = parser.add_argument
    add(
        "--minutes",
        type=float,
        help="end after so many minutes (0: write what is finished); the same command goes on",
    )
    add("--hidden", type=int, help="neurons under positive weights, and of the baselines (4096)")
    add("--narrow", type=int, help="neurons under identity and dual weights (1024)")
    add("--searches", type=int, help="searches of each group (6)")
    add("--epochs", type=int, help="passes over the images (6)")
    add(
        "--only",
        nargs="+",
        choices=(*WEIGHT_MAPS, TIED, *BASELINES),
        help="run a part of the table",
    )
    add("--groups", nargs="+", choices=REGULARIZERS, help="run these regularisers only")
    words = "take over the searches of this sweep_mnist.json, such as that in docs/results"
    add("--begin", type=Path, metavar="FILE", help=words)
    add("--limit", type=int, help="use only so many images of each set")
    add("--seed", type=int, default=0, help="the same seed gives the same networks (0)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
