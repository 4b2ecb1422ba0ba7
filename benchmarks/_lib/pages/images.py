"""Page: operators on gray and colour images through their level sets, and nuclei."""

from typing import Any

from _lib.pages.formats import dice, percent, table
from _lib.pages.shared import Page, heading, reads

GRAY = {
    "operator": "operator",
    "data": "data",
    "float": "float network",
    "binary": "binary network",
    "certified": "neurons certified",
    "exact": "network proved",
    "wrong_images": "wrong images",
    "images": "of",
    "restarts": "runs",
    "seed": "seed",
    "seconds": "seconds",
}
NUCLEI = {
    "method": "method",
    "float": "float",
    "binary": "binary",
    "certified": "neurons certified",
    "parameters": "parameters",
    "held_out": "on held-out training images",
}


def _nuclei_rows(document: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return Otsu's threshold, the best single level, the chosen network and the CNN."""
    rows = document["results"]
    otsu = rows[0]
    level = max((r for r in rows if r["method"].startswith("best factor")), key=_binary)
    chosen = next(r for r in rows if "chosen" in r["method"])
    return otsu, level, chosen, rows[-1]


def _binary(row: dict[str, Any]) -> float:
    return row["binary"]


@reads("gray_operator")
def recovered(document: dict[str, Any]) -> str:
    """Return a sentence on operators on gray and colour images that were recovered."""
    rows = document["results"]
    right = sum(row["exact"] and not row["wrong_images"] for row in rows)
    return (
        f"{right} of {len(rows)} flat operators on gray and colour images were recovered through "
        "level sets, certified and without a wrong pixel on unseen images."
    )


@reads("segment_nuclei")
def segmented(document: dict[str, Any]) -> str:
    """Return a sentence on nuclei, beside a threshold and a CNN."""
    otsu, level, chosen, cnn = _nuclei_rows(document)
    return (
        f"On nuclei the certified network reaches a Dice of {dice(chosen['binary'])} "
        f"(Otsu's threshold: {dice(otsu['binary'])}), but one better threshold alone reaches "
        f"{dice(level['binary'])} and a CNN of as many parameters {dice(cnn['float'])}."
    )


@reads("gray_operator")
def gray_and_colour(document: dict[str, Any]) -> str:
    """Write the section on operators on gray and colour values."""
    styles = dict.fromkeys(("float", "binary", "certified"), percent)
    return f"""{heading("Gray and colour operators", document)}

Share of pixels equal to `scipy.ndimage` on gray values, through all level sets.

{table(document["results"], GRAY, **styles)}

![Inputs, targets and what the binary operators made](../figures/gray_operator.png)"""


@reads("segment_nuclei")
def nuclei(document: dict[str, Any]) -> str:
    """Write the section on the segmentation of nuclei."""
    about = document["metadata"]
    styles = dict.fromkeys(("float", "binary", "held_out"), dice)
    return f"""{heading("Nuclei", document)}

Mean Dice on the {about["test_images"]} test images. Everything was fitted on
{about["split"]["fitted"]} images and chosen on {about["split"]["held_out"]} held-out ones. Read
[the note](../notes/images.md) before you quote it.

{table(document["results"], NUCLEI, certified=percent, **styles)}

![Test images at fixed quantiles of Dice](../figures/segment_nuclei.png)"""


PAGE = Page(
    "images", "Gray, colour and medical images", (recovered, segmented), (gray_and_colour, nuclei)
)
