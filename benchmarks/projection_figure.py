"""The figure of `projection.py`; also alone: `python projection_figure.py RESULTS.json`."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

NEURONS = 4096
PAPERS = 28 * 86400
STYLE = {
    "cvxpy + OSQP": ("cvxpy + OSQP, one problem per candidate\n(the papers' way)", "#9e2a2b"),
    "raw OSQP, updates": ("OSQP alone, updated per candidate", "#e09f3e"),
    "jaxopt.BoxOSQP 1e-3": ("jaxopt.BoxOSQP, vmapped (tolerance 1e-3)", "#7b5ea7"),
    "morphax OSQP, batched": ("morphax, OSQP batched", "#335c67"),
    "morphax exact": ("morphax, exact", "#0b7a3b"),
    "jnp.sort": ("jnp.sort of the weights", "#888888"),
}
TICKS = {
    1e-3: "1 ms",
    1e-2: "10 ms",
    1e-1: "0.1 s",
    1: "1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    36000: "10 h",
    86400: "1 day",
    PAPERS: "28 days",
    365 * 86400: "1 year",
}


def figure(results: list[dict], path: Path) -> None:
    """Seconds for a layer of 4096 neurons against n: medians over regimes, bands min to max."""
    fig, ax = plt.subplots(figsize=(9, 6), layout="constrained")
    plain = [r for r in results if not {"layer", "growth"} & set(r["case"])]
    for contender, (label, colour) in STYLE.items():
        rows = [r for r in plain if r["contender"] == contender]
        n = sorted({r["case"]["n"] for r in rows})
        if not n:
            continue
        times = [[NEURONS * r["median_s"] for r in rows if r["case"]["n"] == m] for m in n]
        middle = [np.median(t) for t in times]
        low, high = [min(t) for t in times], [max(t) for t in times]
        guessed = any(r["extrapolated"] for r in rows)
        line = dict(color=colour, marker="o", markersize=5, lw=2)
        if guessed:
            line |= dict(ls="--", markerfacecolor="white")
        if contender == "jnp.sort":
            line |= dict(lw=1.2, ls=":")
        ax.fill_between(n, low, high, color=colour, alpha=0.15, lw=0)
        ax.plot(n, middle, label=label + (" *" if guessed else ""), **line)
    ax.axhline(PAPERS, color="black", lw=1)
    text = "28 days: what the papers report for a 4096 x 4096 layer"
    ax.text(9, PAPERS * 1.15, text, va="bottom", fontsize=9)
    ax.set_xscale("log")
    ax.set_yscale("log")
    n = sorted({r["case"]["n"] for r in plain})
    ax.set_xticks(n, [str(m) for m in n])
    ax.set_yticks(list(TICKS), list(TICKS.values()))
    ax.minorticks_off()
    ax.set_ylim(top=2 * 365 * 86400)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("inputs of a neuron, n")
    ax.set_ylabel(f"time for a layer of {NEURONS} neurons")
    ax.set_title(
        "Projecting a layer onto exact morphological neurons\n(every structuring element, "
        "dilations and erosions)",
        loc="left",
    )
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    note = (
        "Line: median of the weight regimes; band: best to worst.   * extrapolated from a sample."
    )
    fig.supxlabel(note, fontsize=8, color="#555555", x=0.01, ha="left")
    fig.savefig(path, dpi=130)
    plt.close(fig)


if __name__ == "__main__":
    source = Path(sys.argv[1])
    figure(json.loads(source.read_text())["results"], source.with_suffix(".png"))
