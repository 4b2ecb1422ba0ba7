"""Draw accuracy against bit operations and against counted bits, beside published networks.

    python benchmarks/frontier_figure.py [--out docs/figures]

Writes frontier.png. Our points are the rows of docs/results/classify.json, the mean and the range
over seeds; published points are those of `_lib/published.py`. Nothing is measured here.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from _lib.pages.classification import NAMES, by_recipe
from _lib.pages.shared import ROOT, results
from _lib.published import PUBLISHED
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

SETS = {"mnist": ("mnist",), "fashion_mnist": ("fashion_mnist",), "cifar10": ("cifar10_jpeg",)}
OURS = "morphax (hollow: not all neurons certified)"
STYLE = {
    OURS: ("#0b7a3b", "o"),
    "DiffLogic": ("#888888", "v"),
    "LILogicNet": ("#7b5ea7", "s"),
    "LogicTreeNet": ("#e09f3e", "^"),
    "LogicTreeNet, teacher": ("#9e2a2b", "^"),
    "BitLogic": ("#335c67", "D"),
    "TTnet": ("#c77dba", "P"),
}


def settings(rows: list[dict]) -> list[dict[str, np.ndarray]]:
    """Return accuracies, operations and counted bits of each setting, over its seeds."""
    return [
        {
            "accuracy": np.array([100 * row["binary_accuracy"] for row in group]),
            "operations": np.array([row["ands"] + row["ors"] for row in group]),
            "counted": np.array([row["counted"] for row in group]),
            "certified": np.array([row["certified_share"] for row in group]),
        }
        for group in by_recipe(rows)
    ]


def draw_ours(axis: plt.Axes, groups: list[dict[str, np.ndarray]], size: str) -> None:
    """Draw our settings over "operations" or "counted" bits: means, and ranges over seeds."""
    colour, marker = STYLE[OURS]
    for number, group in enumerate(groups):
        accuracy = group["accuracy"]
        middle = accuracy.mean()
        reach = [[middle - accuracy.min()], [accuracy.max() - middle]]
        look: dict[str, Any] = {"color": colour, "marker": marker, "capsize": 3}
        look |= {} if group["certified"].min() == 1 else {"mfc": "white"}
        label = OURS if number == 0 else None
        axis.errorbar(group[size].mean(), middle, reach, label=label, **look)


def draw_published(axis: plt.Axes, dataset: str) -> None:
    """Draw published networks: points by gates, a line where gates are not counted."""
    of_set = [point for point in PUBLISHED if point.dataset == dataset]
    for network, (colour, marker) in STYLE.items():
        points = sorted((p.gates, p.accuracy) for p in of_set if p.gates and p.network == network)
        if points:
            # Networks of one kind and several sizes are joined; those of BitLogic differ in kind.
            style = "" if network == "BitLogic" else ":"
            line = {"color": colour, "marker": marker, "ls": style, "ms": 5, "lw": 1}
            axis.plot(*zip(*points, strict=True), label=network, **line)
    for point in of_set:
        if point.gates is None:
            axis.axhline(point.accuracy, color="#555555", lw=0.8, ls="--")
            axis.annotate(
                f"{point.network} (size not published)",
                (0.02, point.accuracy),
                xycoords=("axes fraction", "data"),
                va="bottom",
                fontsize=7,
                color="#555555",
            )


def figure(path: Path) -> None:
    """Draw a column for each data set: bit operations above, counted bits below."""
    sheet, axes = plt.subplots(2, len(SETS), figsize=(12, 7), layout="constrained")
    for column, (dataset, ours) in zip(axes.T, SETS.items(), strict=True):
        groups = settings([row for row in results("classify") if row["dataset"] in ours])
        draw_ours(column[0], groups, "operations")
        draw_published(column[0], dataset)
        draw_ours(column[1], groups, "counted")
        column[0].set(title=NAMES[dataset], xlabel="bit operations an image (gates, as published)")
        column[1].set(xlabel="bits counted by the votes of an image")
        for axis in column:
            axis.set(xscale="log", ylabel="accuracy, %")
            low, high = axis.get_xlim()
            steps = (1, 2, 5) if high < 30 * low else (1,)
            axis.xaxis.set_major_locator(LogLocator(subs=steps))
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
    entries: dict[str, object] = {}
    for axis in axes[0]:
        entries |= {
            text: line for line, text in zip(*axis.get_legend_handles_labels(), strict=True)
        }
    sheet.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=7, fontsize=8)
    note = "Bits counted by votes come on top of bit operations. CIFAR-10: ours on a JPEG copy."
    sheet.suptitle(note, fontsize=8, color="#555555", x=0.01, ha="left")
    sheet.savefig(path, dpi=120)
    plt.close(sheet)


def main() -> None:
    """Read the options and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures", help="folder")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    figure(options.out / "frontier.png")
    print(f"wrote {options.out / 'frontier.png'}")


if __name__ == "__main__":
    main()
