"""Page: several devices, runs that are killed and resumed, sets larger than memory."""

from typing import Any

from _lib.pages.formats import number, octets, seconds, table, tiny
from _lib.pages.shared import Page, heading, reads, results

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


@reads("scaling")
def divided(document: dict[str, Any]) -> str:
    """Return a sentence on training on several devices."""
    curves = _rows(document, "curves")
    same = all(row["same_binary"] for row in curves)
    return (
        f"Training on 1 to {max(r['devices'] for r in curves)} virtual devices ends in "
        f"{'the same binary network' if same else 'binary networks that differ'}; on two "
        "shared cores this shows the overhead, not a gain."
    )


@reads("kill_resume")
def resumed(document: dict[str, Any]) -> str:
    """Return a sentence on runs that were killed and resumed."""
    rows = document["results"]
    same = sum(r["same state"] and r["same records"] and r["same log"] for r in rows)
    return (
        f"{same} of {len(rows)} jobs that were killed {rows[0]['kills']} times each ended "
        "bit for bit like the run that was never killed."
    )


@reads("streaming")
def streamed(document: dict[str, Any]) -> str:
    """Return a sentence on training on a set larger than memory."""
    last = document["results"][-1]
    return (
        f"Training on {number(last['streamed_gb'])} GB of images never took more than "
        f"{number(last['peak_gb'])} GB of memory."
    )


@reads("scaling")
def devices(document: dict[str, Any]) -> str:
    """Write the section on several devices."""
    return f"""{heading("Several devices", document)}

All devices are virtual, on two cores. Functions that treat neurons one by one:

{table(_rows(document, "banks"), BANKS, seconds=seconds)}

A training step, with the batch or the banks of neurons divided over the devices:

{table(_rows(document, "steps"), STEPS, step_s=seconds, collective_bytes=octets, on_paper=octets)}

The same on paper for a large network ([formulas](../guides/distributed.md#what-it-costs)):

{table(_rows(document, "model"), MODEL, held_bytes=octets, sent_bytes=octets)}

Whole runs:

{table(_rows(document, "curves"), CURVES, step_s=seconds, loss_difference=tiny)}"""


@reads("kill_resume")
def kills(document: dict[str, Any]) -> str:
    """Write the section on runs that were killed and resumed."""
    return f"""{heading("Killed and resumed", document)}

{table(document["results"])}"""


@reads("streaming")
def streams(document: dict[str, Any]) -> str:
    """Write the section on a set that does not fit in memory."""
    rows = document["results"]
    return f"""{heading("A set larger than memory", document)}

A guard ends the process above {document["metadata"]["limit_gb"]} GB of resident memory. Every fifth
row
([streaming.csv](streaming.csv) has all):

{table([rows[0], *rows[EVERY - 1 :: EVERY]], STREAM)}"""


PAGE = Page(
    "running",
    "Devices, kills and streams",
    (divided, resumed, streamed),
    (devices, kills, streams),
    {"streaming": lambda: results("streaming")},
)
