"""Operators on images: recovered, learned as unions, on gray and colour values, on nuclei."""

from _lib.sections.shared import load, note, shares, table, where

UNIONS = {"seed": "seed", "noisy": "noisy", "by_hand": "by hand", "float": "float", "binary": "binary",
          "pixels_that_differ": "pixels that differ", "certified": "certified", "exact": "network proved",
          "sticks": "sticks found", "steps": "steps"}  # fmt: skip
GRAY = {"operator": "operator", "data": "data", "float": "float", "binary": "binary",
        "certified": "certified", "exact": "network proved", "wrong_images": "wrong images",
        "images": "of", "restarts": "runs", "seed": "seed", "seconds": "seconds"}  # fmt: skip
NUCLEI = {"method": "method", "float": "float", "binary": "binary", "certified": "certified",
          "parameters": "parameters", "held_out": "on held-out training images"}  # fmt: skip


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


def recovered_operators() -> str:
    """Known operators from image pairs, by one recipe."""
    if not (document := load("recover_operators")):
        return ""
    return f"""## Recovering operators
`python benchmarks/recover_operators.py --data-dir DATA`; {where(document)}

Operators of size 7, one recipe; *diskorect_symmetric*: with symmetric neurons on {{-1, 1}}.
*Recovered* means: the whole network certified, the target's structuring elements (up to a translation
that cancels), and not one wrong pixel on 1000 unseen images. *Undetermined* pixels of the window change
no output on the whole training set, layer by layer; the
column beside it is the number of images, of the first 8192 (4096 for Diskorect), that tell the
pixel that is told least.

{table(counts(document))}

{table(recovery(document))}"""


def recovered_in_short() -> str:
    """The same for the README: counts only."""
    if not (document := load("recover_operators")):
        return ""
    return f"""Operators learned from image pairs by one fixed recipe
(`python benchmarks/recover_operators.py`{note(document["metadata"])}):

{table(counts(document))}"""


def strokes() -> str:
    """The denoiser, a union of openings."""
    if not (document := load("denoise")):
        return ""
    rows = shares(
        [{**row, "sticks": ", ".join(row["sticks"]) or "-"} for row in document["results"]], UNIONS
    )
    return f"""## Strokes in noise
`{document["metadata"]["command"]}`; {where(document)}

Mean Dice with the clean drawings on 500 unseen Noisti images; *by hand* is the union of openings by the
three sticks. A stick counts as found when the erosion of a map is by it, whole.

{table(rows)}

![Noisy, clean, by hand, learned](figures/denoise.png)

![The learned network](figures/denoise_network.png)"""


def gray_and_colour() -> str:
    """Operators on gray and colour values, through level sets."""
    if not (document := load("gray_operator")):
        return ""
    return f"""## Gray and colour operators
`{document["metadata"]["command"]}`; {where(document)}

Share of pixels equal to `scipy.ndimage` on gray values, through all level sets.

{table(shares(document["results"], GRAY))}"""


def nuclei() -> str:
    """Segmentation of nuclei, beside rules by hand and a CNN."""
    if not (document := load("segment_nuclei")):
        return ""
    about = document["metadata"]
    return f"""## Nuclei
`{about["command"]}`; {where(document)}

Mean Dice on the {about["test_images"]} test images. Everything was
fitted on {about["split"]["fitted"]} images and chosen on
{about["split"]["held_out"]} held-out ones; read [images.md](images.md) before quoting it.

{table(shares(document["results"], NUCLEI))}"""
