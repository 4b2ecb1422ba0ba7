"""Page: operators learned from image pairs, and the union of openings that removes noise."""

from statistics import median
from typing import Any

from _lib.pages.formats import dice, percent, pivot, table
from _lib.pages.shared import Page, heading, reads, results

UNIONS = {
    "seed": "seed",
    "noisy": "noisy images",
    "by_hand": "union made by hand",
    "float": "float network",
    "binary": "binary network",
    "pixels_that_differ": "pixels where the two differ",
    "certified": "neurons certified",
    "exact": "network proved",
    "sticks": "sticks found",
    "steps": "steps",
}
MISSED = {
    "dataset": "data",
    "operation": "operation",
    "element": "element",
    "seed": "seed",
    "binary": "binary Dice",
    "certified": "neurons certified",
    "selem": "elements",
    "restarts": "runs",
}


def _success(row: dict[str, Any]) -> bool:
    """Return whether a run is certified, has the target's elements, and no wrong pixel."""
    return row["exact"] and row["selem"] == "exact" and row["binary"] == 1.0


def _counts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Count the runs that were certified, exact and right, for each data set."""
    lines = []
    for dataset in dict.fromkeys(row["dataset"] for row in document["results"]):
        rows = [row for row in document["results"] if row["dataset"] == dataset]
        lines.append(
            {
                "data": dataset,
                "runs": len(rows),
                "network certified": sum(r["exact"] for r in rows),
                "exact elements": sum(r["selem"] == "exact" for r in rows),
                "no wrong pixel": sum(r["binary"] == 1.0 for r in rows),
                "all three": sum(map(_success, rows)),
                "certified, but float and binary differ": sum(
                    r["exact"] and not r["agree"] for r in rows
                ),
            }
        )
    return lines


def _shares(document: dict[str, Any]) -> list[dict[str, str]]:
    """Return the recovered runs for each operation and element, over seeds and data sets."""
    groups: dict[tuple[str, str, str], list[bool]] = {}
    for row in document["results"]:
        key = f"{row['operation'].replace('_', ' ')}, {row['element']}", row["dataset"]
        groups.setdefault(key, []).append(_success(row))
    return [
        {"operator": operator, "data": data, "share": f"{sum(found)} of {len(found)}"}
        for (operator, data), found in groups.items()
    ]


@reads("recover_operators")
def found(document: dict[str, Any]) -> str:
    """Return a sentence on known operators that were recovered."""
    rows = document["results"]
    return (
        f"One fixed recipe found {sum(map(_success, rows))} of {len(rows)} known operators from "
        "image pairs alone: network certified, exact structuring elements, no wrong pixel on "
        "unseen images."
    )


@reads("recover_operators")
def agreed(document: dict[str, Any]) -> str:
    """Return a sentence on certified networks whose float and binary outputs were compared."""
    rows = [row for row in document["results"] if row["exact"]]
    wrong = sum(not row["agree"] for row in rows)
    return (
        f"Of {len(rows)} certified networks, {wrong or 'none'} gave a pixel on unseen images in "
        "which the float and the binary network differ."
    )


@reads("denoise")
def denoised(document: dict[str, Any]) -> str:
    """Return a sentence on the union that removes noise."""
    rows = document["results"]
    return (
        "A union of openings that removes noise was learned and proved in "
        f"{sum(row['exact'] for row in rows)} of {len(rows)} runs, with a Dice of "
        f"{dice(min(row['binary'] for row in rows))} where the union made by hand reaches "
        f"{dice(rows[0]['by_hand'])}."
    )


@reads("recover_operators")
def recovered(document: dict[str, Any]) -> str:
    """Write the section on known operators, recovered from image pairs."""
    missed = [row for row in document["results"] if not _success(row)]
    command = "python benchmarks/recover_operators.py --data-dir DATA"
    parts = [
        f"""{heading("Recovering known operators", document, command)}

Operators with elements of side 7. In *diskorect_symmetric* the neurons are symmetric, on {{-1, 1}}.
A run
is *recovered* when the whole network is certified, its structuring elements are those of the target
(up to a
translation that cancels), and no pixel of 1000 unseen images is wrong.

{table(_counts(document))}

Recovered runs, over seeds:

{pivot(_shares(document), "operator", "data", lambda row: row["share"], "operator and element")}"""
    ]
    told = [row for row in document["results"] if row.get("found_by")]
    if told:
        by_descent = sum(row["found_by"] == "descent" for row in told)
        cpu = median(row["cpu"] for row in told)
        parts.append(
            f"A descent on bits found {by_descent} of {len(told)} networks, training by gradients "
            f"{len(told) - by_descent}; median {cpu:.1f} s of processor time a run, compilation "
            "included."
        )
    if missed:
        parts.append(
            f"""Runs that were not recovered:

{table(missed, MISSED, binary=dice, certified=percent)}"""
        )
    parts.append(
        """[recovered-operators.csv](recovered-operators.csv) has every run: steps, Dice, elements,
commit,
*undetermined* (pixels of the window that change no output on the whole training set, layer by
layer) and
*weakest* (the number of images, of the first 8192, or 4096 for Diskorect, that show the pixel with
the
thinnest evidence)."""
    )
    return "\n\n".join(parts)


@reads("recover_volumes")
def volumes(document: dict[str, Any]) -> str:
    """Write the section on operators that were recovered from pairs of volumes."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in document["results"]:
        groups.setdefault((row["operation"], row["noise"]), []).append(row)
    lines = [
        {
            "operator": f"{operation}, ball(5)",
            "target voxels flipped": percent(noise),
            "recovered": f"{sum(map(_right_on_volumes, rows))} of {len(rows)}",
            "slowest, seconds": float(max(row["seconds"] for row in rows)),
        }
        for (operation, noise), rows in groups.items()
    ]
    command = "python benchmarks/recover_volumes.py"
    return f"""{heading("Operators on volumes", document, command)}

Operators by a ball of diameter 5, from generated pairs ({document["metadata"]["data"]}).
*Recovered* means what it means for images: certified, the exact structuring elements, no wrong
voxel on unseen volumes without noise. On volumes, the recipe is the descent on bits; textbook balls
are among its starts.

{table(lines)}"""


@reads("segment_volumes")
def segmented(document: dict[str, Any]) -> str:
    """Write the section on noisy gray volumes that were segmented."""
    rows = [
        {
            "seed": row["seed"],
            "Otsu's threshold": dice(row["otsu"]),
            "best threshold": dice(row["best_threshold"]),
            "network of slices": dice(row["slices"]),
            "network of volumes": dice(row["volumes"]),
            "both certified": row["slices_certified"] and row["volumes_certified"],
        }
        for row in document["results"]
    ]
    return f"""{heading("Noisy gray volumes", document)}

Generated solids under Gaussian noise ({document["metadata"]["data"]}); Dice on the unseen ones.
Both networks read the bits above Otsu's threshold, see 3 voxels or pixels along each axis in a
window, and are learned by `learn_chain` in {document["metadata"]["seconds"]:g} s at most. The best
threshold is that with the greatest Dice on the training volumes.

{table(rows)}

![Middle slices of unseen volumes: truth, threshold, networks](../figures/segment_volumes.png)"""


def _right_on_volumes(row: dict[str, Any]) -> bool:
    """Return whether an operator on volumes was recovered."""
    return row["certified"] and row["wrong"] == 0 and row["element"] == "exact"


def _noise_lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each part and noise: runs that are right, and their times."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["part"], row["flips"], row["input_noise"]), []).append(row)
    return [
        {
            "operators": part,
            "target pixels flipped": percent(flips),
            "input pixels replaced": percent(salt),
            "right on unseen images": f"{sum(row['right'] for row in some)} of {len(some)}",
            "certified": sum(row["certified"] for row in some),
            "median seconds": float(median(row["seconds"] for row in some)),
            "slowest": float(max(row["seconds"] for row in some)),
            "median seconds of processor": float(median(row["cpu"] for row in some)),
        }
        for (part, flips, salt), some in groups.items()
    ]


@reads("noise")
def noise(document: dict[str, Any]) -> str:
    """Write the section on noisy targets and inputs."""
    rows = document["results"]
    text = f"""{heading("Noisy pairs", document)}

`recipes.learn_chain` with its defaults, from 1024 noisy pairs; neither the order of operations nor
the noise is told. A run is *right* when its binary network has no wrong pixel on 1000 unseen images
with clean targets, or, where the inputs are noisy, no more than the known operator.

{table(_noise_lines(rows))}"""
    missed = [row for row in rows if not row["right"]]
    if missed:
        heads = {
            name: name for name in ("operator", "flips", "input_noise", "seed", "wrong", "known")
        }
        text += f"\n\nRuns that are not right:\n\n{table(missed, {**heads, 'stopped': 'ended by'})}"
    return text


@reads("denoise")
def strokes(document: dict[str, Any]) -> str:
    """Write the section on the denoiser, a union of openings."""
    rows = [{**row, "sticks": ", ".join(row["sticks"])} for row in document["results"]]
    styles = dict.fromkeys(("noisy", "by_hand", "float", "binary"), dice)
    return f"""{heading("A union of openings that removes noise", document)}

Mean Dice with the clean drawings on 500 unseen Noisti images. *Made by hand* is the union of the
openings by
the three sticks. A stick counts as found when the erosion of a map is by exactly this stick.

{table(rows, UNIONS, certified=percent, **styles)}

![Noisy, clean, by hand, learned](../figures/denoise.png)

![The learned network](../figures/denoise_network.png)"""


METHODS = ("projection", "constant-exact", "constant-uniform", "constant-normal")


@reads("binarize_methods")
def methods(document: dict[str, Any]) -> str:
    """Write the section on the methods of `binarize` where no certificate holds."""
    rows = [row for row in document["results"] if not row["certified"]]
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in METHODS}
    wins = {name: sum(row["chosen"] == name for row in rows) for name in METHODS}
    heads = {name: name for name in rows[0] if name != "certified"}
    styles = dict.fromkeys(("float", *METHODS), dice)
    said = ", ".join(f"`{n}` {dice(mean[n])} (chosen {wins[n]} times)" for n in METHODS)
    return f"""{heading("Binarizing networks without a certificate", document)}

Dice on unseen pairs of {len(rows)} networks that are not certified, because they were trained
briefly, or on noisy inputs. Mean by method: {said}. No method is best for all of them, and the
exact projection can be far worse than the others. The method that held-out pairs choose, as recipes
do, is {dice(max(row["lost"] for row in rows))} below the best one at most.

{table(rows, heads, **styles)}"""


PAGE = Page(
    "learning-operators",
    "Learning operators from image pairs",
    (found, agreed, denoised),
    (recovered, volumes, segmented, noise, methods, strokes),
    {
        "recovered-operators": lambda: results("recover_operators"),
        "noise": lambda: results("noise"),
    },
)
