"""Parts shared by all pages: what a page is, reading JSON, and provenance."""

import functools
import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "docs" / "results"
PROVENANCE = ("date", "commit")


class Page(NamedTuple):
    """Hold one page of docs/results: its file name, title, and what writes its parts."""

    name: str
    title: str
    conclusion: tuple[Callable[[], str], ...]
    sections: tuple[Callable[[], str], ...]
    csv: Mapping[str, Callable[[], list[dict[str, Any]]]] = {}


def load(name: str) -> dict[str, Any]:
    """Return one JSON document, or an empty dictionary if it was never made."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def results(name: str) -> list[dict[str, Any]]:
    """Return the rows of one JSON document, none if it was never made."""
    return load(name).get("results", [])


def timings(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a benchmark of speed with their case unfolded, for a CSV file."""
    return [
        {**row["case"], **{k: v for k, v in row.items() if k != "case"}}
        for row in document.get("results", [])
    ]


def reads(name: str) -> Callable[[Callable[[dict[str, Any]], str]], Callable[[], str]]:
    """Decorate a part of a page, which takes the JSON document `name`: it is "" without that."""

    def decorate(part: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
        @functools.wraps(part)
        def write() -> str:
            document = load(name)
            return part(document) if document else ""

        return write

    return decorate


# --- provenance


def made(about: Mapping[str, Any]) -> str:
    """Return the date and commit of metadata or of a row; raise `ValueError` without them."""
    missing = [key for key in PROVENANCE if not about.get(key)]
    if missing:
        source = about.get("benchmark") or about.get("command") or "a row"
        raise ValueError(
            f"{source}: expected {' and '.join(PROVENANCE)} of the run, got no "
            f"{' and no '.join(missing)}; "
            "run it again, or take it out of docs/results"
        )
    changed = " with local changes" if about.get("dirty") else ""
    return f"{about['date'][:10]}, commit {about['commit'][:7]}{changed}"


def where(document: Mapping[str, Any]) -> str:
    """Return the line under a heading: when, from which commit and where numbers were made."""
    about = document["metadata"]
    machine = f"{about['cpu']}, {about['cores']} cores, jax {about['versions']['jax']}"
    return f"*Made {made(about)}; {machine}{note(about)}.*"


def heading(title: str, document: Mapping[str, Any], command: str = "") -> str:
    """Return the head of a section: title, command and `where`.

    The command is the one that was recorded, or that of the benchmark without options.
    """
    about = document["metadata"]
    command = command or about.get("command") or _command(about["benchmark"])
    return f"## {title}\n`{command}`\n{where(document)}"


def note(about: Mapping[str, Any]) -> str:
    """Return the remark that a run left in its metadata, if any."""
    return f"; {about['note'].rstrip('.')}" if about.get("note") else ""


def left_out(document: Mapping[str, Any]) -> str:
    """Return a sentence on the contenders that a benchmark skipped."""
    return f"Left out: {'; '.join(document['skipped']) or 'nothing'}."


def _command(benchmark: str) -> str:
    """Return the command that runs a benchmark with its defaults."""
    return shlex.join(["python", f"benchmarks/{benchmark}.py"])
