"""Page: how long a user waits for first calls and the next ones, and what is done in a second."""

from typing import Any

from _lib.pages.formats import number, pivot, seconds, table
from _lib.pages.shared import Page, heading, load, made, reads, timings

OURS = "morphax"
GOALS = {
    "call": "call",
    "which": "which",
    "required": "required, s",
    "wanted": "wanted, s",
    "found": "measured, s",
}
THROUGHPUT = {"what": "what", "rate": "in a second", "run": "made"}


@reads("first_calls")
def conclusion(document: dict[str, Any]) -> str:
    """Return the conclusion of the page."""
    of = {
        (row["call"], row["which"]): row["median_s"]
        for row in timings(document)
        if row["contender"] == OURS
    }
    longest, first = max((of[key], key[0]) for key in of if key[1] == "first")
    kept = max(of[key] for key in of if key[1] == "first, kept")
    return (
        f"A first call costs {seconds(min(of[key] for key in of if key[1] == 'first'))} to "
        f"{seconds(longest)} of CPU time (`{first}`), compiling included; with programs that an "
        f"earlier run has kept, {seconds(kept)} at most."
    )


@reads("first_calls")
def calls(document: dict[str, Any]) -> str:
    """Write the section on first calls."""
    rows = [
        {**row, "column": row["which"] + (", JAX's options" * (row["contender"] != OURS))}
        for row in timings(document)
        if row["contender"] == OURS or row["which"] == "first"
    ]
    times = pivot(rows, "call", "column", lambda r: seconds(r["median_s"]), "call")
    return f"""{heading("First calls and the next ones", document)}

CPU seconds, default options. "First" compiles; "first, kept" is the first call of a later process,
where `morphax.training.keep_compiled` was called, as the command and the examples do; "next" is a
second call of the same process. JAX's options are those of a plain `jax.jit`.

{times}

What was required and wanted:

{table(document["metadata"]["goals"], GOALS)}"""


def throughput() -> str:
    """Write the section on what is done in a second, from the JSON of other benchmarks."""
    rows = [*_operators(), *_in_c(), *_networks()]
    if not rows:
        return ""
    return f"""## In a second, on one core

From the benchmarks of [operators](operators.md) and [inference](inference.md), which have the
ratios to other libraries; images are bool or bytes in and out.

{table(rows, THROUGHPUT)}"""


def _row(document: dict[str, Any], what: str, rate: float, unit: str) -> dict[str, str]:
    """Return a row of the table of throughput."""
    made_at = made(document["metadata"])
    return {"what": what, "rate": f"{number(rate)} {unit}", "run": made_at}


def _operators() -> list[dict[str, str]]:
    """Return rows of erosions of bool images."""
    document = load("bool_operators")
    cases = {
        ("4096 x 4096", "disk 7"): ("megapixels", 4096**2),
        ("volume 256 x 256 x 256", "ball 7"): ("megavoxels", 256**3),
    }
    rows = []
    for row in timings(document):
        unit, size = cases.get((row["image"], row["element"]), ("", 0))
        if unit and (row["contender"], row["operation"]) == ("morphax, bool", "erosion"):
            what = f"erosion of {row['image']} by {row['element']}"
            rows.append(_row(document, what, size / row["median_s"] / 1e6, unit))
    return rows


def _in_c() -> list[dict[str, str]]:
    """Return rows of erosions in exported C."""
    document = load("c_bytes")
    return [
        _row(
            document,
            f"erosion of 4096 x 4096 by disk 7 in exported C, {row['compiler']} {row['flags']}",
            1e-6 / row["median_s"],
            "megapixels",
        )
        for row in timings(document)
        if (row.get("side"), row["operation"], row["element"]) == (4096, "erosion", "disk 7")
        and (row["contender"], row.get("compiler")) == ("C, apply", "gcc")
    ]


def _networks() -> list[dict[str, str]]:
    """Return rows of networks in exported C."""
    document = load("inference")
    return [
        _row(document, f"network {row['network']!r} in C", 1 / row["median_s"], "images")
        for row in timings(document)
        if row["contender"] == "C, bytes"
    ]


PAGE = Page(
    "waiting",
    "What you will see: first calls and throughput",
    (conclusion,),
    (calls, throughput),
)
