"""Render what was measured: docs/results.md and the "Measured" part of the README, from JSON alone.

    python benchmarks/report.py

Reads `docs/results/*.json` as the benchmarks and examples wrote them (copy them there), and never
computes anything but counts and ratios of what is in them.
"""

import json
from pathlib import Path
from statistics import median

import common

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
BEGIN, END = "<!-- measured: written by benchmarks/report.py -->", "<!-- end of measured -->"


def load(name: str) -> dict:
    """One JSON document."""
    return json.loads((RESULTS / f"{name}.json").read_text())


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
          "parameters": "parameters", "held_out": "on held-out training images"}  # fmt: skip
CLASSES = {"dataset": "data", "road": "road", "clauses": "clauses", "epochs": "epochs",
           "float_accuracy": "float", "binary_accuracy": "binary",
           "decisions_that_differ": "decisions that differ", "certified_share": "certified",
           "network_certified": "network proved", "ands": "ANDs", "ors": "ORs",
           "counted": "bits counted", "seed": "seed", "train_cpu_seconds": "CPU s"}  # fmt: skip
SHORT = ("data", "road", "float", "binary", "certified", "decisions that differ")
DENSE = {"road": "road", "head": "last layer", "neurons": "hidden", "float_error": "float error",
         "binary_error": "binary error", "gap": "decisions that differ", "certified": "certified",
         "network_certified": "network proved", "operations": "bit operations",
         "counted": "bits counted", "mean_size": "mean size of S", "epochs": "epochs", "seed": "seed",
         "cpu_seconds": "CPU s"}  # fmt: skip
REGIMES = {
    "init": "as initialised, b = sum/2",
    "max": "b near the largest weight",
    "trained": "trained-like, few large weights",
    "free": "free sign",
}


def optional(name: str) -> dict | None:
    """A JSON document, if it was made."""
    return load(name) if (RESULTS / f"{name}.json").exists() else None


def percent(value: float | None) -> str:
    """A share as per cent."""
    return "-" if value is None else f"{100 * value:.2f} %"


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


def dense_errors(document: dict) -> list[dict]:
    """The rows of the dense classifier, errors as per cent."""
    shown = ("float_error", "binary_error", "gap", "certified")
    rows = [{**row, **{key: percent(row[key]) for key in shown}, "mean_size": f"{row['mean_size']:.1f}"}
            for row in document["results"]]  # fmt: skip
    return shares(rows, DENSE)


def caption(document: dict) -> str:
    """What the protocol of a sweep was."""
    about = document["metadata"]
    s = about["settings"]
    return (f"Protocol *{about['protocol']}*: {s['hidden']} hidden neurons (the papers: 4096), "
            f"{s['searches']} searches a group, {s['epochs']:g} epochs of {about['train_images']} images "
            f"in batches of {s['batch']} ({about['steps']} steps); penalties every {s['every']} steps, "
            f"that much stronger, L_exact on {s['neurons']} neurons in turn.")  # fmt: skip


def classification_extra() -> str:
    """The papers' experiment, the same layer sizes without the gap, and where neurons fail."""
    text = ""
    if document := optional("dense_mnist"):
        commands = "\n".join(document["metadata"]["commands"])
        rows = dense_errors(document)
        text += f"""
### The papers' layer sizes
{where(document)}

```
{commands}
```

784 binary pixels, 4096 erosions and complemented dilations, ten outputs; MNIST's 10 000 test images.

{table(rows, tuple(DENSE.values()))}
"""
    if document := optional("sweep_mnist"):
        rows = sweep(document)
        text += f"""
### Regularisers, with equal searches
`{document["metadata"]["command"]}`; {where(document)}

{caption(document)} Each group: the member with the least validation error as float network, and the one
with the least as binary network; errors on the 10 000 test images. MLP and STE (weights and activations
+-1) have the same sizes; the last layer is real in all.

{table(rows, tuple(rows[0]))}

![Float and binary error of every search](figures/sweep_mnist.png)
"""
    if document := optional("where_neurons_fail"):
        text += f"""
### Where neurons fail
`{document["metadata"]["command"]}`; {where(document)}

![Certified share of each layer through training](figures/where_neurons_fail.png)

![Margins of each layer, and shares over strengths](figures/where_neurons_fail_margins.png)
"""
    return text


UNIONS = {"seed": "seed", "noisy": "noisy", "by_hand": "by hand", "float": "float", "binary": "binary",
          "pixels_that_differ": "pixels that differ", "certified": "certified", "exact": "network proved",
          "sticks": "sticks found", "steps": "steps"}  # fmt: skip


def unions() -> str:
    """The denoiser, if it was run."""
    if not (document := optional("denoise")):
        return ""
    rows = shares(
        [{**row, "sticks": ", ".join(row["sticks"]) or "-"} for row in document["results"]], UNIONS
    )
    return f"""
## Strokes in noise
`{document["metadata"]["command"]}`; {where(document)}

Mean Dice with the clean drawings on 500 unseen Noisti images; *by hand* is the union of openings by the
three sticks. A stick counts as found when the erosion of a map is by it, whole.

{table(rows, tuple(UNIONS.values()))}

![Noisy, clean, by hand, learned](figures/denoise.png)

![The learned network](figures/denoise_network.png)
"""


EQUAL = {"network": "network", "certified": "certified", "form": "form", "images": "images",
         "bits_differ": "bits differ", "counts_differ": "counts differ", "labels_differ": "labels differ",
         "right": "labels right", "note": "note"}  # fmt: skip


def met(document: dict) -> str:
    """The goals of a benchmark of speed, and what was found."""
    rows = [
        {**goal, "met": "yes" if goal["met"] else "no"} for goal in document["metadata"]["goals"]
    ]
    return table(rows, tuple(rows[0])) if rows else "No goal could be judged."


def shipped() -> str:
    """Equality of all forms of a network, and what they cost: of the documents that are there."""
    text = ""
    if document := optional("equality"):
        rows = shares(document["results"], EQUAL)
        text += f"""
## The same network in other hands
`{document["metadata"]["command"]}`; {where(document)}

Images, of those that were run, that differ from the network on bool anywhere: in their bits, in the counts
of a head, in the label. "-": the form does not tell. Operators run on images of five odd sizes.

{table(rows, tuple(EQUAL.values()))}
"""
    if document := optional("operators"):
        columns = (
            "images",
            "side",
            "operation",
            "element",
            "contender",
            "median_s",
            "iqr_s",
            "ratio",
        )
        text += f"""
## Operators on one core
`python benchmarks/operators.py`; {where(document)}

Seconds a megapixel; ratio to {document["metadata"]["reference"]}. Goals, in times faster, of the erosion by
the disk:

{met(document)}

{common.table(document["results"], columns)}

{left_out(document)}
"""
    if document := optional("inference"):
        nets = document["metadata"]["networks"]
        facts = [{"network": name, **about} for name, about in nets.items()]
        rows = [{**row, "case": {**row["case"], "ns": 1e9 * row["median_s"], "images/s": 1 / row["median_s"],
                 "operations a ns": nets[row["case"]["network"]]["total"] / (1e9 * row["median_s"])}}
                for row in document["results"]]  # fmt: skip
        columns = ("network", "contender", "ns", "images/s", "ratio", "operations a ns")
        text += f"""
## Networks on one core
`python benchmarks/inference.py`; {where(document)}

Nanoseconds an image; ratio to {document["metadata"]["reference"]}. *operations a ns*: the plain bit
operations of the simplified network (`total`; the additions of a head beside them) over the time.

{table(facts, tuple(facts[0]))}

{met(document)}

{common.table(rows, columns)}

{left_out(document)}
"""
    return text


def left_out(document: dict) -> str:
    """What a benchmark skipped, in a line."""
    return f"Left out: {'; '.join(document['skipped']) or 'nothing'}."


def scale_out() -> str:
    """Devices, kills and streams: the tables of what has been measured."""
    parts = []
    for name, title in (("scaling", "More devices"), ("kill_resume", "Killed and resumed"),
                        ("streaming", "A set larger than memory")):  # fmt: skip
        if not (RESULTS / f"{name}.json").exists():
            continue
        document = load(name)
        parts.append(f"## {title}\n`python benchmarks/{name}.py`; {where(document)}")
        tables: dict[str, list[dict]] = {}
        for row in document["results"]:
            tables.setdefault(row.get("table", ""), []).append(row)
        for head, rows in tables.items():
            columns = tuple(column for column in rows[0] if column != "table")
            parts.append((f"*{head}*\n\n" if head else "") + table(rows, columns))
    return "\n\n".join(parts)


SOUND = (
    "dtype",
    "n",
    "parametrisations",
    "neurons",
    "certified",
    "inputs",
    "wrong",
    "largest error",
)
FUZZ = ("target", "inputs", "right", "refused", "failed")


def hostile() -> str:
    """Certificates at the edge of their bounds, and fuzzing: what has been run."""
    text = ""
    if document := optional("soundness"):
        groups: dict[tuple[str, int], list[dict]] = {}
        for row in document["results"]:
            groups.setdefault((row["dtype"], row["n"]), []).append(row)
        rows = [{"dtype": dtype, "n": n, "parametrisations": len(group),
                 **{key: sum(row[key] for row in group) for key in SOUND[3:7]},
                 "largest error": max(row["largest error"] for row in group)}
                for (dtype, n), group in groups.items()]  # fmt: skip
        total = {key: sum(row[key] for row in rows) for key in SOUND[3:7]}
        errors = [
            {"dtype": dtype, **found} for dtype, found in document["metadata"]["functions"].items()
        ]
        text += f"""
## Neurons at the edge of their bounds
`python benchmarks/soundness.py`; {where(document)}

{total["neurons"]:,} neurons, most of them within a few roundings or allowances of a bound,
{total["certified"]:,}
certified, on {total["inputs"]:,} inputs, the worst ones among them: {total["wrong"]} certified neurons wrong.
*Largest error*: how far inside its bounds, in units of the allowance, a neuron was that floats got wrong.

{table(rows, SOUND)}

Errors of the elementary functions, in unit roundoffs (softplus relative, thresholds absolute):

{table(errors, tuple(errors[0]))}
"""
    if document := optional("fuzz"):
        rows = document["results"]
        text += f"""
## Fuzzing
`python tests/fuzz.py --seed {document["metadata"]["seed"]}`; {where(document)}

{sum(row["inputs"] for row in rows):,} inputs; right: an oracle agrees; refused: by the documented error.

{table(rows, FUZZ)}
"""
    return text


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
{unions()}
## Gray and colour operators
`{gray["metadata"]["command"]}`; {where(gray)}

Share of pixels equal to `scipy.ndimage` on gray values, through all level sets.

{table(gray_rows, tuple(GRAY.values()))}

## Nuclei
`{nuclei["metadata"]["command"]}`; {where(nuclei)}

Mean Dice on the {nuclei["metadata"]["test_images"]} test images. Everything was
fitted on {nuclei["metadata"]["split"]["fitted"]} images and chosen on
{nuclei["metadata"]["split"]["held_out"]} held-out ones; read [images.md](images.md) before quoting it.

{table(nuclei_rows, tuple(NUCLEI.values()))}

## Classification, binary to the end
{where(classes)}

```
{commands}
```

{table(class_rows, tuple(CLASSES.values()))}
{classification_extra()}{shipped()}
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

Seconds a step, batch 64; ratio to morphax on the same network. For 16 members in one program it is the
cost of all of them over the cost of one.

{common.table(training["results"], ("network", "contender", "median_s", "iqr_s", "ratio"))}

## Correlating images
`python benchmarks/correlate.py`; {where(correlate)}

{common.table(correlate["results"], shapes)}

{scale_out()}
{hostile()}"""
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
