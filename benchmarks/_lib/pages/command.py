"""Page: the command `morphax`, as a new user meets it and on a folder of many images."""

from typing import Any

from _lib.pages.formats import number, percent, table
from _lib.pages.shared import Page, heading, made, reads, results

DOOR = {
    "set": "set",
    "learn": "learn, s",
    "evaluate": "evaluate, s",
    "apply": "apply, s",
    "error": "error",
    "f1": "F1",
    "images": "test images",
    "pixels": "their pixels",
    "python_different": "Python differs",
    "c_different": "C differs",
    "made": "made",
}
FOLDER = {
    "operator": "operator",
    "contender": "contender",
    "images": "images",
    "timed": "timed",
    "seconds": "seconds",
    "cpu": "CPU seconds",
    "ratio": "times as long",
    "cpu_ratio": "times the CPU",
    "memory": "memory, MiB",
    "different": "pixels that differ",
}


@reads("front_door")
def same_bits(document: dict[str, Any]) -> str:
    """Return a sentence on exported operators."""
    rows = document["results"]
    pixels = sum(row["pixels"] for row in rows)
    wrong = sum(row["python_different"] + (row["c_different"] or 0) for row in rows)
    in_c = sum(row["c_different"] is not None for row in rows)
    return (
        f"Learned from {len(rows)} sets of real pairs by one command each, and exported to Python "
        f"({len(rows)} sets) and C ({in_c}): of {number(pixels)} test pixels "
        f"{'none differs' if not wrong else f'{number(wrong)} differ'}."
    )


@reads("apply_folder")
def speed(document: dict[str, Any]) -> str:
    """Return a sentence on a folder of images."""
    rows = document["results"]
    one = [row for row in rows if "scipy, 1 " in row["contender"]]
    parts = [
        f"{number(row['ratio'])} times as long ({number(row['cpu_ratio'])} times the CPU time) for "
        f"the {row['operator']}"
        for row in one
    ]
    return (
        f"A script with Pillow and scipy.ndimage, in one process, takes {' and '.join(parts)} as "
        f"`morphax apply`, on all cores, for {number(rows[0]['images'])} images."
    )


@reads("front_door")
def door(document: dict[str, Any]) -> str:
    """Write the section on a new user's commands."""
    about = document["metadata"]
    shown = [
        f"The terminal on {name} (lines of progress that are written over are left out):\n\n"
        # A line with a space: blank lines would end the block.
        + "```\n"
        + text.strip().replace("\n\n", "\n \n")
        + "\n```"
        for name, text in about["screens"].items()
    ]
    rows = [{**row, "f1": f"{row['f1']:.3f}", "made": made(row)} for row in document["results"]]
    loads = sorted(row["load"] for row in rows)
    return f"""{heading("From an empty folder", document)}

A new virtual environment and `pip install` took {number(about["install_seconds"])} s. `learn` with
its defaults stops after about five minutes. Error and F1 are those of the test pairs, which `learn`
does not read. The last columns count the pixels of all test images in which the exported Python
and the compiled C differ from the masks of `apply`; "-" where C took no such operator at this
commit. Others worked on the machine (load {loads[0]} to {loads[-1]}), so times are long.

{table(rows, DOOR, error=percent)}

{chr(10).join([*(f"{chr(10)}{text}" for text in shown)]).strip()}"""


@reads("apply_folder")
def folder(document: dict[str, Any]) -> str:
    """Write the section on a folder of many images."""
    about = document["metadata"]
    side = about["side"]
    return f"""{heading("A folder of many images", document)}

{side} x {side} pixels, 8-bit PNG. Whole processes, start and compilation included: `morphax
apply` on all cores, and a loop of Pillow and the exported Python, in one process and in two.
"timed" is how many images a contender did; its time for all is in proportion. Memory is that of the
first process. The load of the machine was {about["load_start"]:.1f} at the start and
{about["load_end"]:.1f} at the end; where it is more than the number of cores, only the CPU times
can be compared.

{table(document["results"], FOLDER)}"""


PAGE = Page(
    "command",
    "The command `morphax`",
    (same_bits, speed),
    (door, folder),
    {"apply_folder": lambda: results("apply_folder")},
)
