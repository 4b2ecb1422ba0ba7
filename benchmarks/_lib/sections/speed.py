"""The forms that a network is shipped in, and what things cost."""

from _lib import common
from _lib.sections.shared import left_out, load, shares, table, where

EQUAL = {"network": "network", "certified": "certified", "form": "form", "images": "images",
         "bits_differ": "bits differ", "counts_differ": "counts differ", "labels_differ": "labels differ",
         "right": "labels right", "note": "note"}  # fmt: skip
REGIMES = {
    "init": "as initialised, b = sum/2",
    "max": "b near the largest weight",
    "trained": "trained-like, few large weights",
    "free": "free sign",
}


def equal_forms() -> str:
    """Equality of all forms of a network."""
    if not (document := load("equality")):
        return ""
    return f"""## The same network in other hands
`{document["metadata"]["command"]}`; {where(document)}

Images, of those that were run, that differ from the network on bool anywhere: in their bits, in the counts
of a head, in the label. "-": the form does not tell. Operators run on images of five odd sizes.

{table(shares(document["results"], EQUAL))}"""


def met(document: dict) -> str:
    """The goals of a benchmark of speed, and what was found."""
    rows = [
        {**goal, "met": "yes" if goal["met"] else "no"} for goal in document["metadata"]["goals"]
    ]
    return table(rows) if rows else "No goal could be judged."


def operators() -> str:
    """Textbook operators on one core, against other libraries."""
    if not (document := load("operators")):
        return ""
    columns = "images", "side", "operation", "element", "contender", "median_s", "iqr_s", "ratio"
    return f"""## Operators on one core
`python benchmarks/operators.py`; {where(document)}

Seconds a megapixel; ratio to {document["metadata"]["reference"]}. Goals, in times faster, of the erosion by
the disk:

{met(document)}

{common.table(document["results"], columns)}

{left_out(document)}"""


def networks() -> str:
    """A binary network on one core, in each of its forms."""
    if not (document := load("inference")):
        return ""
    nets = document["metadata"]["networks"]
    facts = [{"network": name, **about} for name, about in nets.items()]
    rows = [{**row, "case": {**row["case"], "ns": 1e9 * row["median_s"], "images/s": 1 / row["median_s"],
             "operations a ns": nets[row["case"]["network"]]["total"] / (1e9 * row["median_s"])}}
            for row in document["results"]]  # fmt: skip
    columns = "network", "contender", "ns", "images/s", "ratio", "operations a ns"
    return f"""## Networks on one core
`python benchmarks/inference.py`; {where(document)}

Nanoseconds an image; ratio to {document["metadata"]["reference"]}. *operations a ns*: the plain bit
operations of the simplified network (`total`; the additions of a head beside them) over the time.

{table(facts)}

{met(document)}

{common.table(rows, columns)}

{left_out(document)}"""


def work() -> str:
    """Bit operations that run, over those on paper."""
    if not (document := load("operations")):
        return ""
    columns = "network", "form", "operations", "over_plain", "over_simplified"
    return f"""## Bit operations, run and on paper
`{document["metadata"]["command"]}`; {where(document)}

Operations on a word of 32 images, over those that the network has for one image on paper; heads are counted
where they run, not on paper.

{common.table([{"extrapolated": False, "case": {}} | row for row in document["results"]], columns)}"""


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


def projection() -> str:
    """The exact projection: a large layer, then how its cost grows."""
    if not (document := load("projection")):
        return ""
    per_neuron = [row for row in document["results"] if not row["case"].get("layer")]
    columns = "n", "regime", "neurons", "contender", "median_s", "ratio", "error", "samples"
    return f"""## The exact projection
`python benchmarks/projection.py`; {where(document)}

A layer of 4096 neurons with 4096 inputs, float32, all structuring elements, both operations, against
`jnp.sort` of the same matrix in the same process.

{table(layer(document))}

Seconds a neuron; ratio to morphax exact; `~` is extrapolated from `samples` of the 2n candidates.

![Cost of the projection](figures/projection.png)

{common.table(per_neuron, columns)}

{left_out(document)}"""


def projection_in_short() -> str:
    """The same for the README: the large layer only."""
    if not (document := load("projection")):
        return ""
    return f"""The exact projection of a layer of 4096 neurons with 4096 inputs (the papers: 28 days), against
`jnp.sort` of the same matrix in the same run (`python benchmarks/projection.py`):

{table(layer(document))}"""


def penalties() -> str:
    """What L_exact costs in training."""
    if not (document := load("regularizers")):
        return ""
    return f"""## L_exact in training
`python benchmarks/regularizers.py`; {where(document)}

{common.table(document["results"], ("contender", "neurons", "median_s", "iqr_s", "ratio"))}"""


def training_step() -> str:
    """A step of training, against PyTorch."""
    if not (document := load("training")):
        return ""
    return f"""## A training step
`python benchmarks/training.py`; {where(document)}

Seconds a step, batch 64; ratio to morphax on the same network. For 16 members in one program it is the
cost of all of them over the cost of one.

{common.table(document["results"], ("network", "contender", "median_s", "iqr_s", "ratio"))}"""


def correlation() -> str:
    """Correlating few-channel images: banded product or convolution."""
    if not (document := load("correlate")):
        return ""
    columns = "contender", "side", "in", "out", "batch", "median_s", "ratio", "error"
    return f"""## Correlating images
`python benchmarks/correlate.py`; {where(document)}

{common.table(document["results"], columns)}"""
