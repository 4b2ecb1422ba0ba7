"""Page: classifiers that are binary to the end, the papers' layer sizes, regularisers."""

from statistics import median
from typing import Any

from _lib.pages.formats import percent, seconds, table
from _lib.pages.shared import Page, heading, made, reads, timings, where

CLASSES = {
    "dataset": "data",
    "training": "training",
    "clauses": "clauses",
    "epochs": "epochs",
    "float_accuracy": "float",
    "binary_accuracy": "binary",
    "decisions_that_differ": "decisions that differ",
    "certified_share": "neurons certified",
    "network_certified": "network proved",
    "ands": "ANDs",
    "ors": "ORs",
    "counted": "bits counted",
    "seed": "seed",
    "train_cpu_seconds": "CPU seconds",
    "made": "made",
}
EXPLORED = {
    "dataset": "data",
    "tried": "tried",
    "test_images": "images held out",
    "train_accuracy": "in training",
    "float_accuracy": "float, held out",
    "binary_accuracy": "binary, held out",
    "certified_share": "neurons certified",
    "ands": "ANDs",
    "counted": "bits counted",
    "train_cpu_seconds": "CPU seconds",
    "made": "made",
}
DENSE = {
    "training": "training",
    "head": "last layer",
    "neurons": "hidden neurons",
    "float_error": "float error",
    "binary_error": "binary error",
    "gap": "decisions that differ",
    "certified": "neurons certified",
    "network_certified": "network proved",
    "operations": "bit operations",
    "counted": "bits counted",
    "mean_size": "mean pixels in S",
    "epochs": "epochs",
    "seed": "seed",
    "cpu_seconds": "CPU seconds",
}
STEP = {
    "network": "network",
    "contender": "implementation",
    "median_s": "a step",
    "iqr_s": "spread",
    "ratio": "relative to morphax",
}
SHARES = dict.fromkeys(
    ("float_accuracy", "binary_accuracy", "train_accuracy", "certified_share"), percent
)
ERRORS = dict.fromkeys(("float_error", "binary_error", "gap", "certified"), percent)


NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar10_jpeg": "CIFAR-10 (JPEG copy)",
}


def _name(dataset: str) -> str:
    """Return the usual name of a data set."""
    return NAMES.get(dataset, dataset)


def _whole(value: float) -> str:
    """Return passes over the data as 6, not 6.0."""
    return f"{value:g}"


def dated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with a column on the date and the commit that they were made on."""
    return [{**row, "made": made(row)} for row in rows]


@reads("classify")
def accuracies(document: dict[str, Any]) -> str:
    """Return a sentence on classifiers whose last layer counts bits."""
    best: dict[str, float] = {}
    for row in document["results"]:
        name = _name(row["dataset"])
        best[name] = max(best.get(name, 0), row["binary_accuracy"])
    certified = min(row["certified_share"] for row in document["results"])
    lost = max(row["float_accuracy"] - row["binary_accuracy"] for row in document["results"])
    figures = ", ".join(f"{percent(value)} on {name}" for name, value in best.items())
    return (
        f"Classifiers that are binary to the last count of bits reach {figures}, with "
        f"{percent(certified)} of their neurons certified, and at most {percent(max(lost, 0))} "
        "below the trained float network."
    )


@reads("sweep_mnist")
def searched(document: dict[str, Any]) -> str:
    """Return a sentence on regularisers with equal searches."""
    groups = _searches(document, RULES[0])
    plain, ours = (_least(groups.get(("positive", k), []), "refit") for k in ("none", "L_bounds"))
    if not plain or not ours:
        return ""
    return (
        "The papers' dense classifier needs no regulariser to binarize well, but a wide layer, a "
        "large rate and a last layer that is refitted to the bits: "
        f"{percent(plain['test_float_error'])} error as float network, "
        f"{percent(plain['test_refit_error'])} as binary one, {percent(plain['certified'])} of the "
        f"neurons certified; a penalty on the certificate makes it "
        f"{percent(ours['test_refit_error'])} with {percent(ours['certified'])} certified."
    )


@reads("classify")
def binary_to_the_end(document: dict[str, Any]) -> str:
    """Write the section on classifiers whose last layer counts bits."""
    rows = document["results"]
    commands = "\n".join(row["command"] for row in rows)
    return f"""## Binary to the end
Each row names its date and commit; commands are written with the option names of today.

```
{commands}
```

Accuracy on the full test sets of {rows[0]["test_images"]:,} images. An image costs the ANDs and
ORs named, and so many bits to count.

{table(dated(rows), CLASSES, dataset=_name, epochs=_whole, **SHARES)}"""


@reads("classify_explored")
def explored(document: dict[str, Any]) -> str:
    """Write the section on the short runs by which settings were chosen."""
    prefix = "python examples/classify.py "
    rows = [
        {**row, "tried": f"`{row['command'].removeprefix(prefix)}`".replace("|", "/")}
        for row in dated(document["results"])
    ]
    return f"""## Settings tried
Short runs of `python examples/classify.py` on few training images, judged on other training
images; the test sets were not read. Commands are written with the option names of today; what they
do not name is the entry in `DATASETS` of the row's commit. *In training* is the accuracy in the
last steps, on moved images with features dropped.

{table(rows, EXPLORED, dataset=_name, **SHARES)}"""


@reads("dense_mnist")
def layer_sizes_of_the_papers(document: dict[str, Any]) -> str:
    """Write the section on the papers' layer sizes, without the gap."""
    commands = "\n".join(document["metadata"]["commands"])
    return f"""## The papers' layer sizes
{where(document)}

```
{commands}
```

784 binary pixels, 4096 erosions and complemented dilations, ten outputs; the 10,000 test images of
MNIST.

{table(document["results"], DENSE, epochs=_whole, **ERRORS)}"""


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
    return (
        f"784-{s['hidden']}-10 with positive weights ({s['narrow']} hidden neurons with the other "
        f"weight maps), scales that start at 0, {s['searches']} searches for each group, "
        f"{s['epochs']} epochs of {about['train_images']:,} images in batches of {s['batch']} "
        f"({about['steps']:,} steps). The papers' penalties act once in {s['every']} steps with "
        f"{s['every']} times their strength, L_exact on {s['neurons']} neurons in turn; L_bounds "
        f"(`morphax.regularizers.bounds`) acts in every step. {state}"
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

Which weights leave a search: those of the end, those of the least validation error of the float
network, or those of the least total validation loss, penalty included, as a training loop that
keeps the best weights does. The last two may be from before the penalty set in, where it sets in
after an epoch or more.

{table(_rules(document))}

![Float and binary error of every search](../figures/sweep_mnist.png)"""


@reads("where_neurons_fail")
def where_neurons_fail(document: dict[str, Any]) -> str:
    """Write the section on certified shares and margins through training."""
    return f"""{heading("Where neurons fail", document)}

What the two figures show is discussed in [the note](../notes/classification.md#where-neurons-fail).

![Certified share of each layer through training](../figures/where_neurons_fail.png)

![Margins of each layer, and shares over strengths](../figures/where_neurons_fail_margins.png)"""


@reads("training")
def training_step(document: dict[str, Any]) -> str:
    """Write the section on the cost of a training step, against PyTorch."""
    return f"""{heading("Cost of a training step", document)}

Batch 64. For the 16 members in one program, the ratio is the cost of all of them over the cost of
one.

{table(timings(document), STEP, median_s=seconds, iqr_s=seconds)}"""


PAGE = Page(
    "classification",
    "Classification",
    (accuracies, searched),
    (
        binary_to_the_end,
        explored,
        layer_sizes_of_the_papers,
        regularisers,
        where_neurons_fail,
        training_step,
        images_a_second,
    ),
)
