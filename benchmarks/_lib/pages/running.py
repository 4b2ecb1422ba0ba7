"""Page: several devices, runs that are killed and resumed, sets larger than memory."""

from typing import Any

from _lib.pages.shared import Page, load, number, octets, seconds, table, tiny, where

BANKS = {
    "function": "function",
    "neurons": "neurons",
    "inputs": "inputs",
    "devices": "devices",
    "same_bits": "same bits as on one device",
    "seconds": "time",
}
STEPS = {
    "cut": "divided",
    "devices": "devices",
    "batch": "batch",
    "widths": "network",
    "step_s": "a step",
    "collective_bytes": "sent, as compiled",
    "on_paper": "sent, on paper",
}
MODEL = {
    "cut": "divided",
    "devices": "devices",
    "batch": "batch",
    "widths": "network",
    "held_bytes": "held by a device",
    "sent_bytes": "sent by a device",
}
CURVES = {
    "processes": "processes",
    "devices": "devices",
    "steps": "steps",
    "loss_difference": "largest difference of the loss",
    "same_binary": "same binary network",
    "step_s": "a step",
    "ratio": "relative to one device",
}
STREAM = {
    "streamed_gb": "streamed, GB",
    "resident_gb": "resident, GB",
    "peak_gb": "peak, GB",
    "seconds": "seconds",
    "cpu_seconds": "CPU seconds",
}
EVERY = 5  # rows of the stream between two that the page shows


def _rows(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the rows of one of the tables of a benchmark that wrote several."""
    return [row for row in document["results"] if row.get("table") == name]


def conclusion() -> str:
    """Return the conclusion of the page."""
    sentences = []
    if document := load("scaling"):
        curves = _rows(document, "curves")
        same = all(row["same_binary"] for row in curves)
        sentences.append(
            f"Training on 1 to {max(r['devices'] for r in curves)} virtual devices ends in "
            f"{'the same binary network' if same else 'binary networks that differ'}; on two "
            "shared "
            "cores this shows the overhead, not a gain."
        )
    if document := load("kill_resume"):
        rows = document["results"]
        same = sum(r["same state"] and r["same records"] and r["same log"] for r in rows)
        sentences.append(
            f"{same} of {len(rows)} jobs that were killed {rows[0]['kills']} times each ended "
            "bit for bit like "
            "the run that was never killed."
        )
    if document := load("streaming"):
        last = document["results"][-1]
        sentences.append(
            f"Training on {number(last['streamed_gb'])} GB of images never took more than "
            f"{number(last['peak_gb'])} GB of memory."
        )
    return " ".join(sentences)


def devices() -> str:
    """Write the section on several devices."""
    if not (document := load("scaling")):
        return ""
    return f"""## Several devices
`python benchmarks/scaling.py`
{where(document)}

All devices are virtual, on two cores. Functions that treat neurons one by one:

{table(_rows(document, "banks"), BANKS, seconds=seconds)}

A training step, with the batch or the banks of neurons divided over the devices:

{table(_rows(document, "steps"), STEPS, step_s=seconds, collective_bytes=octets, on_paper=octets)}

The same on paper for a large network ([formulas](../guides/distributed.md#what-it-costs)):

{table(_rows(document, "model"), MODEL, held_bytes=octets, sent_bytes=octets)}

Whole runs:

{table(_rows(document, "curves"), CURVES, step_s=seconds, loss_difference=tiny)}"""


def kills() -> str:
    """Write the section on runs that were killed and resumed."""
    if not (document := load("kill_resume")):
        return ""
    return f"""## Killed and resumed
`python benchmarks/kill_resume.py`
{where(document)}

{table(document["results"])}"""


def streams() -> str:
    """Write the section on a set that does not fit in memory."""
    if not (document := load("streaming")):
        return ""
    rows = document["results"]
    return f"""## A set larger than memory
`python benchmarks/streaming.py`
{where(document)}

A guard ends the process above {document["metadata"]["limit_gb"]} GB of resident memory. Every fifth
row
([streaming.csv](streaming.csv) has all):

{table([rows[0], *rows[EVERY - 1 :: EVERY]], STREAM)}"""


PAGE = Page(
    "running",
    "Devices, kills and streams",
    conclusion,
    (devices, kills, streams),
    {"streaming": lambda: load("streaming").get("results", [])},
)
