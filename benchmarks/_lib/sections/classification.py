"""Classification: binary to the end, the papers' layer sizes, their regularisers, where neurons fail."""

from statistics import median

from _lib.sections.shared import load, percent, shares, table, where

CLASSES = {"dataset": "data", "road": "road", "clauses": "clauses", "epochs": "epochs",
           "float_accuracy": "float", "binary_accuracy": "binary",
           "decisions_that_differ": "decisions that differ", "certified_share": "certified",
           "network_certified": "network proved", "ands": "ANDs", "ors": "ORs",
           "counted": "bits counted", "seed": "seed", "train_cpu_seconds": "CPU s",
           "made": "date, commit"}  # fmt: skip
EXPLORED = {"dataset": "data", "tried": "tried", "test_images": "images held out",
            "train_accuracy": "in training", "binary_accuracy": "binary, held out",
            "float_accuracy": "float, held out", "certified_share": "certified", "ands": "ANDs",
            "counted": "bits counted", "train_cpu_seconds": "CPU s", "made": "date, commit"}  # fmt: skip
SHORT = ("data", "road", "float", "binary", "certified", "decisions that differ")
DENSE = {"road": "road", "head": "last layer", "neurons": "hidden", "float_error": "float error",
         "binary_error": "binary error", "gap": "decisions that differ", "certified": "certified",
         "network_certified": "network proved", "operations": "bit operations",
         "counted": "bits counted", "mean_size": "mean size of S", "epochs": "epochs", "seed": "seed",
         "cpu_seconds": "CPU s"}  # fmt: skip


def binary_to_the_end() -> str:
    """Classifiers whose last layer counts bits."""
    if not (document := load("classify")):
        return ""
    commands = "\n".join(row["command"] for row in document["results"])
    return f"""## Classification, binary to the end
{where(document)}

```
{commands}
```

{table(shares(dated(document["results"]), CLASSES))}"""


def dated(rows: list[dict]) -> list[dict]:
    """Rows with the date and the commit they were made on, if they say so, and passes as 6, not 6.0."""

    def made(row: dict) -> str | None:
        commit = row.get("commit", "")[:7] + ("+" if row.get("dirty") else "")
        return f"{row['date'][:10]}, {commit}" if "date" in row else None

    return [{**row, "made": made(row), "epochs": f"{row['epochs']:g}"} for row in rows]


def explored() -> str:
    """What the classifiers' settings were chosen by."""
    if not (document := load("classify_explored")):
        return ""
    rows = [{**row, "tried": row["command"].removeprefix("python examples/classify.py ").replace("|", "/")}
            for row in document["results"]]  # fmt: skip
    return f"""### Settings tried
{where(document)}

Short runs of `python examples/classify.py`, on few training images, judged on others held out; the test
sets were not read. Commands are those of the row's commit: what they leave out is its entry in `DATASETS`.
"In training" is of the last steps: on moved images, with features dropped.

{table(shares(dated(rows), EXPLORED))}"""


def classifiers_in_short() -> str:
    """The same for the README: accuracies and certificates only."""
    if not (document := load("classify")):
        return ""
    return f"""Classifiers binary to the end, accuracy on the full test sets (`python examples/classify.py`):

{table(shares(dated(document["results"]), CLASSES), SHORT)}"""


def dense_errors(document: dict) -> list[dict]:
    """The rows of the dense classifier, errors as per cent."""
    shown = ("float_error", "binary_error", "gap", "certified")
    rows = [{**row, **{key: percent(row[key]) for key in shown}, "mean_size": f"{row['mean_size']:.1f}"}
            for row in document["results"]]  # fmt: skip
    return shares(rows, DENSE)


def layer_sizes_of_the_papers() -> str:
    """The papers' layer sizes, without the gap."""
    if not (document := load("dense_mnist")):
        return ""
    commands = "\n".join(document["metadata"]["commands"])
    return f"""### The papers' layer sizes
{where(document)}

```
{commands}
```

784 binary pixels, 4096 erosions and complemented dilations, ten outputs; MNIST's 10 000 test images.

{table(dense_errors(document))}"""


def sweep(document: dict) -> list[dict]:
    """A line for each group of the sweep: its best float and its best binary network."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in document["results"]:
        groups.setdefault((row["weights"], row["regularizer"]), []).append(row)
    lines = []
    for (weights, regularizer), rows in groups.items():
        best = next((row for row in rows if row["best"]), {})
        floats = next((row for row in rows if row["best_float"]), {})
        binary = [row["test_binary_error"] for row in rows if row["test_binary_error"] is not None]
        lines.append({
            "weights": weights,
            "regulariser": regularizer,
            "best float error": percent(floats.get("test_float_error")),
            "best binary error": percent(best.get("test_binary_error")),
            "float error of the same": percent(best.get("test_float_error")) if binary else "-",
            "decisions that differ": percent(best.get("test_gap")),
            "certified": percent(best.get("test_certified")),
            "median binary error": percent(median(binary)) if binary else "-",
            "bit operations": best.get("operations", "-"),
            "searches": len(rows),
            "diverged": sum(row["diverged"] is not None for row in rows),
        })  # fmt: skip
    return lines


def caption(document: dict) -> str:
    """What the protocol of a sweep was."""
    about = document["metadata"]
    s = about["settings"]
    return (f"Protocol *{about['protocol']}*: {s['hidden']} hidden neurons (the papers: 4096), "
            f"{s['searches']} searches a group, {s['epochs']:g} epochs of {about['train_images']} images "
            f"in batches of {s['batch']} ({about['steps']} steps); penalties every {s['every']} steps, "
            f"that much stronger, L_exact on {s['neurons']} neurons in turn.")  # fmt: skip


def regularisers() -> str:
    """Regularisers, with equal searches."""
    if not (document := load("sweep_mnist")):
        return ""
    return f"""### Regularisers, with equal searches
`{document["metadata"]["command"]}`; {where(document)}

{caption(document)} Each group: the member with the least validation error as float network, and the one
with the least as binary network; errors on the 10 000 test images. MLP and STE (weights and activations
+-1) have the same sizes; the last layer is real in all.

{table(sweep(document))}

![Float and binary error of every search](figures/sweep_mnist.png)"""


def where_neurons_fail() -> str:
    """Certified shares and margins through training: figures."""
    if not (document := load("where_neurons_fail")):
        return ""
    return f"""### Where neurons fail
`{document["metadata"]["command"]}`; {where(document)}

![Certified share of each layer through training](figures/where_neurons_fail.png)

![Margins of each layer, and shares over strengths](figures/where_neurons_fail_margins.png)"""
