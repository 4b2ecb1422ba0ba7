"""Finished searches of sweep_mnist.py: those of its journal, and those that were published.

The journal has a line for each finished search, with the settings under which it was run. A search
has one row for each set of weights that leaves it.
"""

import json
from pathlib import Path
from typing import Any

from _common import write


def search_label(row: Any) -> str:
    """Return the name of a search: its weights, its regulariser and its number."""
    return f"{row['weights']} {row['regularizer']} {row['number']}"


def journal(path: Path, name: str) -> dict[str, list[dict]]:
    """Return the finished searches of these settings: label -> rows.

    A line that was cut short when the run was killed is dropped from the file.
    """
    done: dict[str, list[dict]] = {}
    if not path.exists():
        return done
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    for line in whole:
        record = json.loads(line)
        if record["settings"] == name:
            done[record["search"]] = record["rows"]
    if whole != lines:
        write(path, lambda temporary: temporary.write_text("".join(whole)))
    return done


def published(path: Path, about: dict[str, Any]) -> dict[str, list[dict]]:
    """Return the searches of a file that an earlier sweep wrote: label -> rows.

    Args:
        path: A `sweep_mnist.json`.
        about: Metadata of this sweep: "settings", "seed" and "train_images" must be the same, but
            for the number of searches.

    Raises:
        ValueError: A file of other settings.
        OSError: It cannot be read.
    """
    document = json.loads(path.read_text())
    for key in ("settings", "seed", "train_images"):
        ours, theirs = (_comparable(each.get(key)) for each in (about, document["metadata"]))
        if ours != theirs:
            raise ValueError(f"--begin: expected searches with {key} {ours}, got {theirs}: {path}")
    done: dict[str, list[dict]] = {}
    for row in document["results"]:
        # Rows that do not say where they were made are of the date and commit of their file.
        origin = {key: document["metadata"][key] for key in ("date", "commit", "device")}
        origin["commit"] = origin["commit"][:7]
        done.setdefault(search_label(row), []).append(origin | row)
    return done


def _comparable(value: Any) -> Any:
    """Return a value without the number of searches: more of them do not change the first ones."""
    return {k: v for k, v in value.items() if k != "searches"} if isinstance(value, dict) else value
