"""Section on regularisers with equal searches (`examples/sweep_mnist.py`), for classification."""

from collections import Counter
from statistics import median
from typing import Any

from _lib.pages.formats import percent, table
from _lib.pages.shared import heading, made, reads

RULES = ("end", "float error", "total loss")  # by which weights leave a search


def _searches(document: dict[str, Any], rule: str) -> dict[tuple[str, str], list[dict]]:
    """Return the rows of each group under one rule, without searches that diverged."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in document["results"]:
        if row["checkpoint"] == rule and row["diverged"] is None:
            groups.setdefault((row["weights"], row["regularizer"]), []).append(row)
    return groups


def _least(rows: list[dict], kind: str) -> dict:
    """Return the row of the least validation error of one kind: "float", "binary" or "refit"."""
    key = f"valid_{kind}_error"
    return min((row for row in rows if key in row), key=lambda row: row[key], default={})


def _median(rows: list[dict], key: str) -> str:
    """Return the median of a column as a percentage; a dash where it is not measured."""
    return percent(median(row[key] for row in rows) if key in rows[0] else None)


def _groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a line for each group of the sweep, at the end of training."""
    lines = []
    for (weights, regularizer), rows in _searches(document, RULES[0]).items():
        best = _least(rows, "refit")
        lines.append(
            {
                "weights": weights,
                "regulariser": regularizer,
                "hidden": rows[0]["hidden"],
                "searches": len(rows),
                "float": percent(_least(rows, "float").get("test_float_error")),
                "binary": percent(_least(rows, "binary").get("test_binary_error")),
                "refitted": percent(best.get("test_refit_error")),
                "certified": percent(best.get("certified")),
                "pixels in S": best.get("median_selem"),
                "constant": percent(best.get("constant")),
                "ORs and ANDs": best.get("ors_and_ands"),
                "median float": _median(rows, "test_float_error"),
                "median binary": _median(rows, "test_binary_error"),
                "median refitted": _median(rows, "test_refit_error"),
                "median certified": _median(rows, "certified"),
            }
        )
    return lines


def _pairs(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return, for each group with a penalty, in how many pairs of searches it is better."""
    groups, lines = _searches(document, RULES[0]), []
    for (weights, regularizer), rows in groups.items():
        if not rows[0]["coefficient"]:
            continue
        line: dict[str, Any] = {"weights": weights, "regulariser": regularizer}
        for other in ("none", "L_exact"):
            # Search i has the same start, rate and batches in all groups of one weight map.
            twins = {row["number"]: row for row in groups.get((weights, other), [])}
            pairs = [(row, twins[row["number"]]) for row in rows if row["number"] in twins]
            for kind, name in (("float", "float"), ("binary", "binary"), ("refit", "refitted")):
                key = f"test_{kind}_error"
                better = sum(row[key] < twin[key] for row, twin in pairs)
                is_asked = pairs and regularizer != other
                line[f"than {other}: {name}"] = f"{better} of {len(pairs)}" if is_asked else None
        lines.append(line)
    return lines


def _rules(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return, for each group with a penalty, what each rule of choosing weights hands out."""
    lines = []
    for group in _searches(document, RULES[0]):
        line: dict[str, Any] = {"weights": group[0], "regulariser": group[1]}
        for rule in RULES:
            rows = _searches(document, rule)[group]
            if not rows[0]["coefficient"]:
                break
            line["searches"] = len(rows)
            line["of these, penalty after an epoch"] = sum(_is_late(row, document) for row in rows)
            if rule != RULES[0]:
                line[f"{rule}: from before it"] = sum(row["before_penalty"] for row in rows)
            line[f"{rule}: binary"] = percent(_least(rows, "binary").get("test_binary_error"))
        else:
            lines.append(line)
    return lines


def _is_late(row: dict[str, Any], document: dict[str, Any]) -> bool:
    """Return whether weights could be chosen before the penalty of a search set in."""
    about = document["metadata"]
    return row["delay"] >= about["steps"] // about["settings"]["epochs"]


def _undone(document: dict[str, Any]) -> str:
    """Return in how many searches each rule hands out weights from before the penalty."""
    asked = [row for row in document["results"] if row["coefficient"] and _is_late(row, document)]
    late = sum(row["checkpoint"] == RULES[0] for row in asked)
    counts = Counter(row["checkpoint"] for row in asked if row["before_penalty"])
    told = " and ".join(f"by {rule} in {counts[rule]}" for rule in RULES[1:])
    return f"{told} of {late} such searches"


def _origins(document: dict[str, Any]) -> str:
    """Return how many searches are of which day and commit."""
    ends = [row for row in document["results"] if row["checkpoint"] == RULES[0]]
    return "; ".join(f"{n} of {origin}" for origin, n in Counter(map(made, ends)).items())


def _protocol(document: dict[str, Any]) -> str:
    """Return sentences on the protocol of the sweep, and on how far it has come."""
    about = document["metadata"]
    s, left = about["settings"], about["searches_left"]
    state = (
        f"**{left} of the searches were not run yet when this was written**; the columns say how "
        "many each group has."
        if left
        else "All searches are finished."
    )
    state += f" The searches are {_origins(document)}."
    return (
        f"784-{s['hidden']}-10 with positive weights ({s['narrow']} hidden neurons with the other "
        f"weight maps), scales that start at 0, {s['searches']} searches for each group, "
        f"{s['epochs']} epochs of {about['train_images']:,} images in batches of {s['batch']} "
        f"({about['steps']:,} steps). The papers' penalties act once in {s['every']} steps with "
        f"{s['every']} times their strength, L_exact on {s['neurons']} neurons in turn; L_bounds "
        "(`morphax.regularizers.bounds`) acts in every step. *Tied* are positive weights whose "
        "biases follow from them, so that a neuron is an erosion or a dilation of few pixels from "
        "the start (`examples/_sweep_tied.py`). *MLP* has rectified units; *STE* has weights and "
        "activations of +-1, is binary as it is trained, and stands under *float*. "
        f"{state}"
    )


@reads("sweep_mnist")
def regularisers(document: dict[str, Any]) -> str:
    """Write the section on regularisers with equal searches."""
    return f"""{heading("Regularisers, with equal searches", document)}

{_protocol(document)}

Errors on the 10,000 test images, weights of the end of training. *Float*, *binary* and *refitted*
(the binary network, its last layer refitted to the bits) are each of the search with the least
validation error of that kind; the columns up to ORs and ANDs are of the search under *refitted*.
*Constant* neurons say the same on 999 of 1000 validation images; operations are those of the other
hidden neurons, nothing shared.

{table(_groups(document))}

In how many pairs of searches a penalty gives a lower error than none, and than L_exact:

{table(_pairs(document))}

Which weights leave a search: those of the end, those of the least validation error of the float
network, or those of the least total validation loss, penalty included, as a training loop that
keeps the best weights does. The last two may be from before the penalty set in, where it sets in
after an epoch or more: {_undone(document)}.

{table(_rules(document))}

![Float and binary error of every search](../figures/sweep_mnist.png)"""


@reads("sweep_mnist")
def searched(document: dict[str, Any]) -> str:
    """Return a sentence on regularisers with equal searches."""
    groups = _searches(document, RULES[0])
    asked = ("positive", "none"), ("tied", "L_bounds")
    plain, ours = (_least(groups.get(group, []), "refit") for group in asked)
    if not plain or not ours:
        return ""
    return (
        "The papers' dense classifier needs no regulariser to binarize well, but a wide layer, a "
        "large rate and a last layer that is refitted to the bits: "
        f"{percent(plain['test_float_error'])} error as float network, "
        f"{percent(plain['test_refit_error'])} as binary one, {percent(plain['certified'])} of the "
        f"neurons certified; with biases tied to the weights and a penalty on the certificate it "
        f"is {percent(ours['test_refit_error'])} with {percent(ours['certified'])} certified."
    )
