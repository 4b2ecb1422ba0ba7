"""Page: classifiers that are binary to the end, the papers' layer sizes, regularisers."""

import re
from statistics import mean
from typing import Any

from _lib.pages.formats import percent, seconds, table
from _lib.pages.regularisers import regularisers, searched
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


def by_recipe(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the rows of each recipe: those whose commands differ in the seed only."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        recipe = re.sub(r" --seed \d+", "", row["command"])
        groups.setdefault(recipe, []).append(row)
    return list(groups.values())


def _over_seeds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each recipe that was run with several seeds: means, and the range."""
    lines = []
    for group in (group for group in by_recipe(rows) if len(group) > 1):
        accuracies = [row["binary_accuracy"] for row in group]
        operations = [row["ands"] + row["ors"] for row in group]
        line = {
            "data": _name(group[0]["dataset"]),
            "clauses": group[0]["clauses"],
            "epochs": _whole(group[0]["epochs"]),
            "seeds": len(group),
            "binary, mean": percent(_binary(group)),
            "range": f"{percent(min(accuracies))} to {percent(max(accuracies))}",
            "float, mean": percent(mean(row["float_accuracy"] for row in group)),
            "neurons certified": percent(min(row["certified_share"] for row in group)),
            "ANDs and ORs, at most": max(operations),
            "bits counted, at most": max(row["counted"] for row in group),
        }
        lines.append(line)
    return lines


@reads("classify")
def accuracies(document: dict[str, Any]) -> str:
    """Return a sentence on the best recipe of each set, among classifiers that count bits."""
    best: dict[str, list[dict[str, Any]]] = {}
    for group in by_recipe(document["results"]):
        name = _name(group[0]["dataset"])
        if name not in best or _binary(group) > _binary(best[name]):
            best[name] = group
    rows = [row for group in best.values() for row in group]
    certified = min(row["certified_share"] for row in rows)
    lost = max(row["float_accuracy"] - row["binary_accuracy"] for row in rows)
    figures = ", ".join(
        f"{percent(_binary(group))} on {name} ({_seeds(group)})" for name, group in best.items()
    )
    return (
        f"Classifiers that are binary to the last count of bits reach {figures}, with "
        f"{percent(certified)} of their neurons certified, and at most {percent(max(lost, 0))} "
        "below the trained float network."
    )


def _binary(group: list[dict[str, Any]]) -> float:
    """Return the mean accuracy of a recipe as a binary network."""
    return mean(row["binary_accuracy"] for row in group)


def _seeds(group: list[dict[str, Any]]) -> str:
    """Say how many seeds a figure is the mean of."""
    return "one seed" if len(group) == 1 else f"mean of {len(group)} seeds"


@reads("classify")
def binary_to_the_end(document: dict[str, Any]) -> str:
    """Write the section on classifiers whose last layer counts bits."""
    rows = document["results"]
    commands = "\n".join(row["command"] for row in rows)
    recipes = _over_seeds(rows)
    over_seeds = f"Recipes of several seeds:\n\n{table(recipes)}\n\n" if recipes else ""
    over_seeds += "Every run:\n\n"
    return f"""## Binary to the end
Each row names its date and commit; commands are written with the option names of today.

```
{commands}
```

Accuracy on the full test sets of {rows[0]["test_images"]:,} images. An image costs the ANDs and
ORs named, and so many bits to count.

![Accuracy against bit operations and counted bits](../figures/frontier.png)

*`python benchmarks/frontier_figure.py`: these rows (mean and range over seeds) beside published
networks (`benchmarks/_lib/published.py` names the sources).*

{over_seeds}{table(dated(rows), CLASSES, dataset=_name, epochs=_whole, **SHARES)}"""


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


@reads("training_images")
def images_a_second(document: dict[str, Any]) -> str:
    """Write the section on images a second, beside a small CNN."""
    rows = [
        {
            "network": row["network"],
            "implementation": row["contender"],
            "a step": seconds(row["median_s"]),
            "spread": seconds(row["iqr_s"]),
            "images a second and core": round(row["batch"] / row["median_s"] / row["cores"]),
            "relative to morphax": row["ratio"],
        }
        for row in timings(document)
    ]
    return f"""{heading("Images a second in training", document)}

Images of 28x28 in batches of {document["results"][0]["case"]["batch"]}. *morphax* is the
classifier that is binary to the end, as `learn_classifier` trains it straight through, augmentation
included, with matrix products of float32 or of bfloat16; the CNN has two convolutions (16 and 32
channels) and a linear layer. Ratios are to the classifier of as many clauses, in float32.

{table(rows)}"""


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
