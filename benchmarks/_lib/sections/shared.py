"""What all sections need: the JSON of a benchmark, where it was made, tables of its rows."""

import json
from pathlib import Path

from _lib import common

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "docs" / "results"


def load(name: str) -> dict:
    """One JSON document, empty if it was not made."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def where(document: dict) -> str:
    """A line on where and when a document was made."""
    about = document["metadata"]
    commit = (about.get("commit") or "?")[:7] + ("+" if about.get("dirty") else "")
    machine = about.get("cpu") or about["device"]
    return f"*{about.get('date', '?')[:10]}, commit {commit}, {machine}, {about.get('cores', '?')} cores, " \
           f"jax {about['versions']['jax']}{note(about)}.*"  # fmt: skip


def note(about: dict) -> str:
    """What the run wants to be known, if anything."""
    return f"; {about['note'].rstrip('.')}" if about.get("note") else ""


def left_out(document: dict) -> str:
    """What a benchmark skipped, in a line."""
    return f"Left out: {'; '.join(document['skipped']) or 'nothing'}."


def shares(rows: list[dict], names: dict[str, str]) -> list[dict]:
    """Rows with chosen columns under their heads: shares to four digits, no value as a dash."""

    def text(value: object) -> object:
        if value is None:
            return "-"
        return f"{value:.4f}" if isinstance(value, float) else value

    return [{head: text(row.get(key)) for key, head in names.items()} for row in rows]


def percent(value: float | None) -> str:
    """A share as per cent."""
    return "-" if value is None else f"{100 * value:.2f} %"


def table(rows: list[dict], columns: tuple[str, ...] | None = None) -> str:
    """Rows that are no timings, through the one table of the benchmarks; all columns, or some."""
    return common.table(
        [{"extrapolated": False, "case": {}} | row for row in rows], columns or tuple(rows[0])
    )
