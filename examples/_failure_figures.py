"""Figures of where_neurons_fail.py: certified shares through training, and margins at its end."""

from collections.abc import Sequence
from typing import Any

import numpy as np

PENALTIES = ("L_const-exact", "L_exact")
STRENGTHS = (0.01, 0.1, 1.0)
DELAYS = (0.0, 0.5)  # shares of the run


def having(rows: list[dict], **wanted: Any) -> list[dict]:
    """Return the rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def mean_over(rows: list[dict], key: str, **wanted: Any) -> float:
    """Return the mean over the neurons of the rows that have these values; NaN without any."""
    mine = having(rows, **wanted)
    total = sum(row["neurons"] for row in mine)
    return sum(row["neurons"] * row[key] for row in mine) / total if total else float("nan")


def share_figure(rows: list[dict]) -> Any:
    """Draw the certified share of each layer: a row for each depth, a column for each condition."""
    from matplotlib.figure import Figure

    depths = sorted({row["depth"] for row in rows})
    steps = sorted({row["step"] for row in rows})
    shown = [("none", 0.0, 0.0), *[(p, STRENGTHS[-1], d) for p in PENALTIES for d in DELAYS]]
    sheet = Figure(figsize=(2.5 * len(shown), 1.7 * len(depths) + 0.6), layout="constrained")
    axes = np.atleast_2d(sheet.subplots(len(depths), len(shown), sharex=True, sharey=True))
    for line, depth in zip(axes, depths, strict=True):
        for axis, (penalty, strength, delay) in zip(line, shown, strict=True):
            same = {"depth": depth, "penalty": penalty, "strength": strength, "delay": delay}
            for layer in range(1, depth + 1):
                shares = [
                    100 * mean_over(rows, "alone", step=s, layer=layer, **same) for s in steps
                ]
                axis.plot(steps, shares, marker="o", markersize=3, label=f"layer {layer}")
            if depth == depths[0]:
                late = f", {strength:g}" + (", from half" if delay else "") if strength else ""
                axis.set_title(f"{penalty}{late}", fontsize=9)
        line[0].set_ylabel(f"depth {depth}\ncertified, %", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("step", fontsize=9)
    axes[-1, 0].legend(fontsize=7)
    return sheet


def margin_figure(rows: list[dict]) -> Any:
    """Draw the end of training: margins of the deepest network, and shares over strengths."""
    from matplotlib.figure import Figure

    last = max(row["step"] for row in rows)
    ended = [row for row in rows if row["step"] == last]
    sheet = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = sheet.subplots(1, 2, width_ratios=(3, 2))
    draw_margins(left, ended)
    draw_shares(right, ended)
    return sheet


def draw_margins(axis: Any, rows: list[dict]) -> None:
    """Draw the quantiles of the margins of each layer of the deepest network, without a delay."""
    depth = max(row["depth"] for row in rows)
    shown = [("none", 0.0), *[(p, s) for p in PENALTIES for s in STRENGTHS]]
    for place, (penalty, strength) in enumerate(shown):
        same = {"depth": depth, "penalty": penalty, "strength": strength, "delay": 0.0}
        for layer in range(1, depth + 1):
            quantiles = [row["margins"] for row in having(rows, layer=layer, **same)]
            if quantiles:
                x = place + 0.16 * (layer - (depth + 1) / 2)
                label = f"layer {layer}" if place == 0 else None
                draw_box(axis, x, np.mean(quantiles, 0), color=f"C{layer - 1}", label=label)
    axis.axhline(0, color="0.5", linewidth=0.8)
    names = [f"{p}\n{s:g}" if s else p for p, s in shown]
    axis.set_xticks(range(len(shown)), names, fontsize=7)
    axis.set_ylabel("margin (5, 25, 50, 75, 95 %); -1: no set at all")
    axis.set_title(f"depth {depth}, end of training; certified above 0")
    axis.legend(fontsize=7)


def draw_box(
    axis: Any, x: float, quantiles: Sequence[float], *, color: str, label: str | None
) -> None:
    """Draw five quantiles as a thin line, a thick one, and a mark at the median."""
    low, quarter, middle, three, high = quantiles
    axis.plot([x, x], [low, high], color=color, linewidth=1)
    axis.plot([x, x], [quarter, three], color=color, linewidth=4, label=label)
    axis.plot(x, middle, "k_", markersize=6)


def draw_shares(axis: Any, rows: list[dict]) -> None:
    """Draw the certified share of all neurons over the strength of the penalty."""
    depths = sorted({row["depth"] for row in rows})
    for penalty, style in zip(PENALTIES, ("-", "--"), strict=True):
        for number, depth in enumerate(depths):
            for delay, mark in zip(DELAYS, "os", strict=True):
                same = {"depth": depth, "penalty": penalty, "delay": delay}
                shares = [100 * mean_over(rows, "alone", strength=s, **same) for s in STRENGTHS]
                label = f"{penalty}, depth {depth}" if not delay else None
                look = {"marker": mark, "color": f"C{number}", "markersize": 4, "linewidth": 1}
                axis.plot(STRENGTHS, shares, style, label=label, **look)
    axis.set_xscale("log")
    axis.set_xlabel("strength (squares: switched on at half)")
    axis.set_ylabel("certified, %")
    axis.set_title("all neurons, end of training")
    axis.legend(fontsize=6)
