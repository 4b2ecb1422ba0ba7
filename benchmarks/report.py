"""Render what was measured: docs/results.md and the "Measured" part of the README, from JSON alone.

    python benchmarks/report.py

Reads `docs/results/*.json` as the benchmarks and examples wrote them (copy them there), and never
computes anything but counts and ratios of what is in them.
"""

import json
from pathlib import Path

import common

DATASETS = ("diskorect", "mnist", "inverted_mnist", "diskorect_symmetric")
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
BEGIN, END = "<!-- measured: written by benchmarks/report.py -->", "<!-- end of measured -->"


def load(name: str) -> dict:
    """One JSON document."""
    document = json.loads((RESULTS / f"{name}.json").read_text())
    if name == "recover_operators":
        document["results"].sort(key=lambda row: DATASETS.index(row["dataset"]))
    return document


def where(document: dict) -> str:
    """A line on where and when a document was made."""
    about = document["metadata"]
    commit = (about.get("commit") or "?")[:7] + ("+" if about.get("dirty") else "")
    machine = about.get("cpu") or about["device"]
    return f"*{about.get('date', '?')[:10]}, commit {commit}, {machine}, {about.get('cores', '?')} cores, " \
           f"jax {about['versions']['jax']}{note(about)}.*"  # fmt: skip


def note(about: dict) -> str:
    """What the run wants to be known, if anything."""
    return f"; {about['note'].rstrip('.')}" if about.get("note") else ""


def shares(rows: list[dict], names: dict[str, str]) -> list[dict]:
    """Rows with chosen columns under their heads: shares to four digits, no value as a dash."""

    def text(value: object) -> object:
        if value is None:
            return "-"
        return f"{value:.4f}" if isinstance(value, float) else value

    return [{head: text(row.get(key)) for key, head in names.items()} for row in rows]


def table(rows: list[dict], columns: tuple[str, ...]) -> str:
    """Rows that are no timings, through the one table of the benchmarks."""
    return common.table([{"extrapolated": False, "case": {}} | row for row in rows], columns)


def success(row: dict) -> bool:
    """Certified throughout, the target's elements, and no wrong pixel on unseen images."""
    return row["exact"] and row["selem"] == "exact" and row["binary"] == 1.0


def recovery(document: dict) -> list[dict]:
    """One line for each operator and data set, over seeds."""
    groups: dict[tuple[str, str, str], list[dict]] = {}
    for row in document["results"]:
        groups.setdefault((row["dataset"], row["operation"], row["element"]), []).append(row)
    lines = []
    for (dataset, operation, element), rows in groups.items():
        steps = [row["steps"] for row in rows if row["steps"] is not None]
        lines.append({
            "dataset": dataset,
            "operation": operation,
            "element": element,
            "recovered": f"{sum(map(success, rows))}/{len(rows)}",
            "float Dice (worst)": f"{min(r['float'] for r in rows):.5f}",
            "binary Dice (worst)": f"{min(r['binary'] for r in rows):.5f}",
            "certified": f"{sum(r['certified'] for r in rows) / len(rows):.0%}",
            "elements": ", ".join(sorted({r["selem"] for r in rows})),
            "undetermined px": "+".join(map(str, rows[0]["undetermined"])),
            "weakest px told by": rows[0]["weakest"],
            "steps": f"{min(steps)}-{max(steps)}" if steps else "-",
            "commit": ", ".join(sorted({r["commit"] for r in rows})),
        })  # fmt: skip
    return lines


def counts(document: dict) -> list[dict]:
    """Runs recovered, certified and right, for each data set."""
    lines = []
    for dataset in dict.fromkeys(row["dataset"] for row in document["results"]):
        rows = [row for row in document["results"] if row["dataset"] == dataset]
        lines.append({
            "data": dataset,
            "runs": len(rows),
            "network certified": sum(r["exact"] for r in rows),
            "exact elements": sum(r["selem"] == "exact" for r in rows),
            "no wrong pixel": sum(r["binary"] == 1.0 for r in rows),
            "all three": sum(map(success, rows)),
            "certified and float != binary": sum(r["exact"] and not r["agree"] for r in rows),
        })  # fmt: skip
    return lines


def layer(document: dict) -> list[dict]:
    """The 4096 x 4096 layer: seconds of the projection, against the sort and the papers' 28 days."""
    found: dict[str, dict[str, dict]] = {}
    for row in document["results"]:
        if row["case"].get("layer"):
            found.setdefault(row["case"]["regime"], {})[row["contender"]] = row
    lines = []
    for regime, rows in found.items():
        exact, sort = rows["morphax exact"], rows["jnp.sort"]
        count = exact["case"]["neurons"]
        extra = document["metadata"]["layer"][f"{regime} {count} x {exact['case']['n']}"]
        lines.append({
            "regime": REGIMES[regime],
            "projection, s": f"{exact['median_s'] * count:.2f}",
            "jnp.sort, s": f"{sort['median_s'] * count:.2f}",
            "ratio": f"{exact['median_s'] / sort['median_s']:.2f}",
            "extra memory, MiB": extra["extra_mib"],
        })  # fmt: skip
    return lines


GRAY = {"operator": "operator", "data": "data", "float": "float", "binary": "binary",
        "certified": "certified", "exact": "network proved", "wrong_images": "wrong images",
        "images": "of", "restarts": "runs", "seed": "seed", "seconds": "seconds"}  # fmt: skip
NUCLEI = {"method": "method", "float": "float", "binary": "binary", "certified": "certified",
          "parameters": "parameters", "train": "binary, on train"}  # fmt: skip
CLASSES = {"dataset": "data", "road": "road", "clauses": "clauses", "epochs": "epochs",
           "float_accuracy": "float", "binary_accuracy": "binary",
           "decisions_that_differ": "decisions that differ", "certified_share": "certified",
           "network_certified": "network proved", "ands": "ANDs", "ors": "ORs",
           "counted": "bits counted", "seed": "seed", "train_cpu_seconds": "CPU s"}  # fmt: skip
SHORT = ("data", "road", "float", "binary", "certified", "decisions that differ")
REGIMES = {
    "init": "as initialised, b = sum/2",
    "max": "b near the largest weight",
    "trained": "trained-like, few large weights",
    "free": "free sign",
}


def main() -> None:
    """Write docs/results.md and the block of the README."""
    recover, projection = load("recover_operators"), load("projection")
    regularizers, correlate, training = map(load, ("regularizers", "correlate", "training"))
    gray, nuclei, classes = map(load, ("gray_operator", "segment_nuclei", "classify"))
    gray_rows = shares(gray["results"], GRAY)
    nuclei_rows = shares(nuclei["results"], NUCLEI)
    class_rows = shares(classes["results"], CLASSES)
    commands = "\n".join(row["command"] for row in classes["results"])
    recover_columns = tuple(recovery(recover)[0])
    count_table = table(counts(recover), tuple(counts(recover)[0]))
    seconds = ("n", "regime", "neurons", "contender", "median_s", "ratio", "error", "samples")
    shapes = ("contender", "side", "in", "out", "batch", "median_s", "ratio", "error")
    cost = ("contender", "neurons", "median_s", "iqr_s", "ratio")
    layer_table = table(layer(projection), tuple(layer(projection)[0]))
    per_neuron = [row for row in projection["results"] if not row["case"].get("layer")]
    text = f"""# Results

Written by `python benchmarks/report.py` from the JSON in `docs/results/`; nothing here is typed. Seconds
are of two shared cores: read the ratios.

## Recovering operators
`python benchmarks/recover_operators.py --data-dir DATA`; {where(recover)}

Operators of size 7, one recipe; *diskorect_symmetric*: with symmetric neurons on {{-1, 1}}.
*Recovered* means: the whole network certified, the target's structuring elements (up to a translation
that cancels), and not one wrong pixel on 1000 unseen images. *Undetermined* pixels of the window change
no output on the whole training set, layer by layer; the
column beside it is the number of images, of the first 8192 (4096 for Diskorect), that tell the
pixel that is told least.

{count_table}

{table(recovery(recover), recover_columns)}

## Gray and colour operators
`{gray["metadata"]["command"]}`; {where(gray)}

Share of pixels equal to `scipy.ndimage` on gray values, through all level sets.

{table(gray_rows, tuple(GRAY.values()))}

## Nuclei
`{nuclei["metadata"]["command"]}`; {where(nuclei)}

Mean Dice on the {nuclei["metadata"]["test_images"]} test images; read [images.md](images.md) before
quoting it.

{table(nuclei_rows, tuple(NUCLEI.values()))}

## Classification, binary to the end
{where(classes)}

```
{commands}
```

{table(class_rows, tuple(CLASSES.values()))}

## The exact projection
`python benchmarks/projection.py`; {where(projection)}

A layer of 4096 neurons with 4096 inputs, float32, all structuring elements, both operations, against
`jnp.sort` of the same matrix in the same process.

{layer_table}

Seconds a neuron; ratio to morphax exact; `~` is extrapolated from `samples` of the 2n candidates.

![Cost of the projection](figures/projection.png)

{common.table(per_neuron, seconds)}

Left out: {"; ".join(projection["skipped"]) or "nothing"}.

## L_exact in training
`python benchmarks/regularizers.py`; {where(regularizers)}

{common.table(regularizers["results"], cost)}

## A training step
`python benchmarks/training.py`; {where(training)}

Seconds a step, batch 64; ratio to morphax on the same network.

{common.table(training["results"], ("network", "contender", "median_s", "iqr_s", "ratio"))}

## Correlating images
`python benchmarks/correlate.py`; {where(correlate)}

{common.table(correlate["results"], shapes)}
"""
    (ROOT / "docs" / "results.md").write_text(text)
    readme = (ROOT / "README.md").read_text()
    before, rest = readme.split(BEGIN)
    block = f"""
Operators learned from image pairs by one fixed recipe
(`python benchmarks/recover_operators.py`{note(recover["metadata"])}):

{count_table}

The exact projection of a layer of 4096 neurons with 4096 inputs (the papers: 28 days), against
`jnp.sort` of the same matrix in the same run (`python benchmarks/projection.py`):

{layer_table}

Classifiers binary to the end, accuracy on the full test sets (`python examples/classify.py`):

{table(class_rows, SHORT)}

All tables, with what was lost: [docs/results.md](docs/results.md).
"""
    (ROOT / "README.md").write_text(before + BEGIN + block + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
