"""Page: the speed of textbook operators, and of the correlation inside a neuron."""

from typing import Any

from _lib.pages.formats import number, pivot, seconds, table, tiny
from _lib.pages.shared import Page, heading, left_out, load, reads, timings

CHANNELS = "OpenCV or OpenCV, images as channels"
GOALS = {
    "contender": "form",
    "peer": "against",
    "wanted": "wanted, times as fast",
    "found": "measured",
    "met": "goal met",
}
CORRELATE = {
    "contender": "method",
    "side": "image side",
    "in": "channels in",
    "out": "channels out",
    "batch": "batch",
    "median_s": "time",
    "ratio": "relative to banded",
    "error": "largest difference",
}


@reads("bool_operators")
def conclusion_on_bools(document: dict[str, Any]) -> str:
    """Return what a user of bool images gets."""
    found = {(g["image"], g["element"]): g["found"] for g in document["metadata"]["goals"]}
    image, batch = "4096 x 4096", "256 x 256 x 256"
    volume = [1 / ratio for (where, _), ratio in found.items() if where.startswith("volume")]
    return (
        "On one core, from bool to bool, an erosion by a disk of 7 takes "
        f"{number(found[image, 'disk 7'])} of OpenCV's time on an image of {image} and "
        f"{number(found[batch, 'disk 7'])} on a batch of {batch}, by a disk of 21 "
        f"{number(found[image, 'disk 21'])} and {number(found[batch, 'disk 21'])}; a volume of "
        f"256 x 256 x 256 is eroded {number(min(volume))} to {number(max(volume))} times as fast "
        "as by scipy."
    )


@reads("operators")
def conclusion(document: dict[str, Any]) -> str:
    """Return what images gain that stay packed."""
    goals = {(g["contender"], g["peer"]): g["found"] for g in document["metadata"]["goals"]}
    words, pixels = "morphax specialised, 32 images a word", "morphax specialised, 32 pixels a word"
    if not {(words, "OpenCV"), (words, CHANNELS), (pixels, "OpenCV")} <= set(goals):
        return ""
    return (
        f"Images that stay packed gain more: {number(goals[words, 'OpenCV'])} times OpenCV's speed "
        f"on 256 packed images ({number(goals[words, CHANNELS])} times where OpenCV takes images "
        f"as channels), and {number(goals[pixels, 'OpenCV'])} times on one large packed image."
    )


@reads("operators")
def operators(document: dict[str, Any]) -> str:
    """Write the section on textbook operators on one core."""
    parts = []
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in timings(document):
        column = f"{row['operation']}, {row['element']}"
        groups.setdefault((row["images"], row["side"]), []).append({**row, "column": column})
    for (images, side), rows in groups.items():
        what = (
            f"{images} images of {side} x {side}" if images > 1 else f"One image of {side} x {side}"
        )
        speeds = pivot(rows, "contender", "column", lambda r: number(1 / r["ratio"]), "form")
        parts.append(f"{what}:\n\n{speeds}")
    tables = "\n\n".join(parts)
    return f"""{heading("Textbook operators on one core", document)}

Speed relative to {document["metadata"]["reference"]} (larger is faster) for each operation and
element.
"32 images a word" and "32 pixels a word" take packed images; "with packing" takes and returns bool
images; "specialised" is a program compiled for this operator.

{tables}

Goals, for the erosion by the disk of side 7:

{_goals(document)}

[operators.csv](operators.csv) has the seconds for a megapixel, with their spread.
{left_out(document)}"""


def _goals(document: dict[str, Any]) -> str:
    """Return the table of the goals of the benchmark."""
    goals = document["metadata"]["goals"]
    return table(goals, GOALS) if goals else "No goal could be judged."


@reads("bool_operators")
def on_bools(document: dict[str, Any]) -> str:
    """Write the section on operators from bool to bool, on images and on volumes."""
    parts = []
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in timings(document):
        if row["contender"] != row["reference"]:
            column = f"{row['operation']}, {row['element']}"
            if row["error"]:
                row = {**row, "contender": f"{row['contender']} (another set)"}
            where = f"{row['image']}, relative to {row['reference']}"
            if row["cores"] > 1:
                where = f"{row['image']} on two cores, by the clock, relative to {row['reference']}"
            groups.setdefault(where, []).append({**row, "column": column})
    for where, rows in groups.items():
        times = pivot(rows, "contender", "column", lambda r: number(r["ratio"]), "form")
        parts.append(f"{where}:\n\n{times}")
    tables = "\n\n".join(parts)
    heads = {
        "image": "image",
        "element": "element",
        "reference": "relative to",
        "required": "required",
        "wanted": "wanted",
        "found": "measured",
    }
    about = document["metadata"]
    memory = ", ".join(f"{name}: {number(value)}" for name, value in about["memory"].items())
    first, longest = map(number, about["first_s"])
    return f"""{heading("Operators from bool to bool", document)}

CPU time (smaller is faster), bool images in and out, one core, called outside of `jit`.

{tables}

Goals, for erosions:

{table(about["goals"], heads)}

A first call takes {first} s of CPU time (the median of all cases; {longest} s at most), compiling
included. Memory beside a volume and its result, over the size of the volume at one bit a voxel:
{memory}."""


@reads("c_bytes")
def in_c(document: dict[str, Any]) -> str:
    """Write the section on exported C from bytes to bytes."""
    parts = []
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in timings(document):
        if row["contender"] != document["metadata"]["reference"]:
            form = f"{row['contender']}, {row['compiler']} {row['flags']}"
            column = f"{row['operation']}, {row['element']}"
            groups.setdefault(row["side"], []).append({**row, "form": form, "column": column})
    for side, rows in groups.items():
        times = pivot(rows, "form", "column", lambda r: number(r["ratio"]), "form")
        parts.append(f"One image of {side} x {side}:\n\n{times}")
    tables = "\n\n".join(parts)
    heads = {
        "compiler": "compiler",
        "required": "required",
        "wanted": "wanted",
        "found": "measured",
    }
    return f"""{heading("Exported C from bytes to bytes", document)}

CPU time relative to {document["metadata"]["reference"]} (smaller is faster), a byte a pixel in and
out, one core. "apply" is the function of that name in the pixel layout, "words" packs, runs on
words and unpacks.

{tables}

Goals, for the erosion by the disk of side 7 on 4096 x 4096:

{table(document["metadata"]["goals"], heads)}"""


@reads("c_volumes")
def volumes_in_c(document: dict[str, Any]) -> str:
    """Write the section on exported C of volumes."""
    rows = []
    for row in timings(document):
        if row["contender"] != document["metadata"]["reference"]:
            form = f"{row['contender']}, {row['compiler']} {row['flags']}"
            rows.append({**row, "form": form, "column": f"{row['operation']}, {row['element']}"})
    speeds = pivot(rows, "form", "column", lambda r: number(1 / r["ratio"]), "form")
    about = document["metadata"]
    memory = ", ".join(f"{name}: {number(value)}" for name, value in about["memory"].items())
    return f"""{heading("Exported C of volumes", document)}

Speed relative to {about["reference"]} (CPU time; larger is faster) on a volume of
{" x ".join([str(about["side"])] * 3)}, one core. "apply" is the function from bytes to bytes, a
byte a voxel in and out; "step" is the network alone, on slices that are packed. Share of voxels
that differ from {about["reference"]}'s, at most: {number(max(row["error"] for row in rows))}.

{speeds}

Memory of "apply" beside the volume and its result, over the size of the volume at one bit a voxel:
{memory}. It does not grow with the number of slices."""


@reads("correlate")
def correlation(document: dict[str, Any]) -> str:
    """Write the section on correlating few-channel images."""
    return f"""{heading("Correlation of images with few channels", document)}

On CPU a spatial neuron multiplies by banded matrices instead of calling XLA's convolution:

{table(timings(document), CORRELATE, median_s=seconds, error=tiny)}"""


PAGE = Page(
    "operators",
    "Speed of operators",
    (conclusion_on_bools, conclusion),
    (on_bools, operators, in_c, volumes_in_c, correlation),
    {"operators": lambda: timings(load("operators"))},
)
