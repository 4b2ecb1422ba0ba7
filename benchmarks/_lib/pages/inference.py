"""Page: equality of all forms of a network, their speed, and the bit operations that they run."""

from typing import Any

from _lib.pages.formats import number, pivot, seconds, table
from _lib.pages.shared import Page, heading, left_out, load, reads, results, timings

PARTS = ("bits_differ", "counts_differ", "labels_differ")
FACTS = {
    "network": "network",
    "made": "elements",
    "neurons": "neurons",
    "mean_size": "mean pixels in S",
    "ands": "ANDs",
    "ors": "ORs",
    "nots": "NOTs",
    "total": "bit operations",
    "additions": "additions of the head",
}
WORK = {
    "network": "network",
    "form": "form",
    "operations": "operations",
    "over_plain": "over plain, on paper",
    "over_simplified": "over simplified, on paper",
}


def _differing(row: dict[str, Any]) -> int:
    """Return the number of images on which a form differs from the network on bool in any way."""
    return max((row[part] or 0 for part in PARTS), default=0)


def _speeds(document: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return times as fast as float JAX, for each network and contender."""
    speeds: dict[str, dict[str, float]] = {}
    for row in timings(document):
        speeds.setdefault(row["network"], {})[row["contender"]] = 1 / row["ratio"]
    return speeds


@reads("equality")
def equal(document: dict[str, Any]) -> str:
    """Return a sentence on the equality of all forms."""
    rows = document["results"]
    networks, forms = ({row[key] for row in rows} for key in ("network", "form"))
    return (
        f"{len(networks)} networks in {len(forms)} forms, from floats to C and Verilog, were "
        "compared "
        f"with the binary network on {sum(row['images'] for row in rows):,} images: "
        f"{sum(map(_differing, rows)) or 'none'} differed."
    )


@reads("inference")
def fast(document: dict[str, Any]) -> str:
    """Return a sentence on the speed of binary networks."""
    speeds = [found["specialised"] for found in _speeds(document).values()]
    low, high = number(min(speeds)), number(max(speeds))
    return (
        f"On one core, compiled for itself, a binary network is {low} to {high} times as fast as "
        "the float network in JAX; a convolutional classifier gains least."
    )


@reads("equality")
def equal_forms(document: dict[str, Any]) -> str:
    """Write the section on the equality of all forms of a network."""

    def cell(row: dict[str, Any]) -> str:
        return f"{_differing(row):,} of {row['images']:,}" if row["images"] else row["note"]

    return f"""{heading("The same network in every form", document)}

Images on which a form differs from the network on bool in any bit, count or label, of the images
that were run. Operators run on images of five odd sizes, the classifiers on the test set of MNIST;
these were read from files, and this report does not say at which commit they were trained.

{pivot(document["results"], "form", "network", cell, "form")}

{_right(document)}[equality.csv](equality.csv) has bits, counts and labels apart."""


def _right(document: dict[str, Any]) -> str:
    """Return a sentence on the right labels of the classifiers, if there are any."""
    rows = [r for r in document["results"] if r["form"] == "bool" and r["right"] is not None]
    labels = [f"{r['network']} {r['right']:,} of {r['images']:,}" for r in rows]
    return f"Right labels: {', '.join(labels)}. " if labels else ""


@reads("inference")
def networks(document: dict[str, Any]) -> str:
    """Write the section on the speed of a network in each of its forms."""
    facts = [{"network": name, **about} for name, about in document["metadata"]["networks"].items()]
    rows = timings(document)

    def cell(row: dict[str, Any]) -> str:
        return f"{seconds(row['median_s'])} ({number(1 / row['ratio'])})"

    return f"""{heading("Speed of a network on one core", document)}

The networks, with the plain bit operations of the simplified network for one image:

{table(facts, FACTS)}

Time for an image, and in brackets the speed relative to {document["metadata"]["reference"]}
(larger is faster):

{pivot(rows, "contender", "network", cell, "form")}

Goals:

{_goals(document)}

[inference.csv](inference.csv) has the spread of each time. {left_out(document)}"""


def _goals(document: dict[str, Any]) -> str:
    """Return the goals as a table, with what was measured and whether it was met."""
    goals = [
        {**goal, "column": f"{goal['network']}: {goal['unit']} (wanted: {number(goal['wanted'])})"}
        for goal in document["metadata"]["goals"]
    ]
    if not goals:
        return "No goal could be judged."

    def cell(goal: dict[str, Any]) -> str:
        return f"{number(goal['found'])}, {'met' if goal['met'] else 'not met'}"

    return pivot(goals, "contender", "column", cell, "form")


@reads("operations")
def work(document: dict[str, Any]) -> str:
    """Write the section on bit operations that run, over those on paper."""
    return f"""{heading("Bit operations, as run and on paper", document)}

Operations on a word of 32 images, relative to those that the network needs for one image on paper.
Heads are
counted where they run, not on paper.

{table(document["results"], WORK)}"""


PAGE = Page(
    "inference",
    "Inference and export",
    (equal, fast),
    (equal_forms, networks, work),
    {
        "equality": lambda: results("equality"),
        "inference": lambda: timings(load("inference")),
    },
)
