"""Page: certified neurons at the edge of their bounds, and hostile input."""

import shlex
from typing import Any

from _lib.pages.formats import table
from _lib.pages.shared import Page, heading, reads, results

SUMS = ("neurons", "certified", "inputs", "wrong")
BOUNDS = {
    "n": "inputs of the neuron",
    "neurons": "neurons",
    "certified": "certified",
    "inputs": "images of inputs tried",
    "wrong": "certified, but wrong",
    "float32": "largest error, float32",
    "float64": "largest error, float64",
}
FUZZ = {
    "target": "target",
    "inputs": "inputs",
    "right": "right, by an oracle",
    "refused": "refused by the documented error",
    "failed": "failed",
}


def _totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return the sums over rows."""
    return {key: sum(row[key] for row in rows) for key in SUMS}


@reads("soundness")
def at_the_bounds(document: dict[str, Any]) -> str:
    """Return a sentence on certified neurons at the edge of their bounds."""
    total = _totals(document["results"])
    return (
        f"Of {total['neurons']:,} neurons, most of them within a few roundings of a bound, "
        f"{total['certified']:,} were certified, and {total['wrong'] or 'none'} of these gave a "
        "wrong "
        f"bit on any of {total['inputs']:,} inputs."
    )


@reads("fuzz")
def hostile(document: dict[str, Any]) -> str:
    """Return a sentence on hostile input."""
    rows = document["results"]
    failed = sum(row["failed"] for row in rows)
    return (
        f"{sum(row['inputs'] for row in rows):,} damaged or hostile archives, images and "
        "parameters "
        "all ended in a right answer or in the documented error"
        f"{f', except {failed}' if failed else ''}."
    )


@reads("soundness")
def bounds(document: dict[str, Any]) -> str:
    """Write the section on certificates at the edge of their bounds."""
    rows = document["results"]
    lines = []
    for n in sorted({row["n"] for row in rows}):
        group = [row for row in rows if row["n"] == n]
        errors = {
            dtype: max((r["largest error"] for r in group if r["dtype"] == dtype), default=None)
            for dtype in ("float32", "float64")
        }
        lines.append({"n": n, **_totals(group), **errors})
    functions = [{"dtype": k, **v} for k, v in document["metadata"]["functions"].items()]
    return f"""{heading("Neurons at the edge of their bounds", document)}

*Largest error* says how far inside its bounds a neuron was that floats got wrong, in units of the
rounding allowance t; the proof needs it to be below 1. [soundness.csv](soundness.csv) has all
parametrisations.

{table(lines, BOUNDS)}

Errors of the elementary functions, in unit roundoffs (softplus relative, thresholds absolute); the
[proof](../numerics.md) assumes 5 and 8:

{table(functions)}"""


@reads("fuzz")
def fuzzing(document: dict[str, Any]) -> str:
    """Write the section on hostile files, images and parameters."""
    return f"""{heading("Fuzzing", document, _fuzz_command(document))}

{table(document["results"], FUZZ)}"""


def _fuzz_command(document: dict[str, Any]) -> str:
    """Return the command of the fuzzer with its seed."""
    about = document["metadata"]
    words = ["python", "tests/fuzz/run.py", "--seed", str(about["seed"])]
    return about.get("command") or shlex.join(words)


PAGE = Page(
    "soundness",
    "Soundness and fuzzing",
    (at_the_bounds, hostile),
    (bounds, fuzzing),
    {"soundness": lambda: results("soundness")},
)
