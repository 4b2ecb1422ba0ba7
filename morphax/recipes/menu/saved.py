"""Menus and entries as files: `save_entry`, `load_entry`, `save_menu`, `load_model`.

An entry is an archive (docs/format.md) whose metadata say, under "entry", what stands before the
network and what is known about it. A menu is a folder: `entry-0.npz`, `entry-1.npz`, ... and
`menu.json`, written last. Reading runs no code of the files: no pickle.
"""

import datetime
import json
import math
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from morphax import _checks, _files
from morphax._version import __version__
from morphax.certificates.network import NetworkCertificate
from morphax.data.gray_planes import GrayPlanes
from morphax.data.image_lists import Scores
from morphax.export.archive import load, save
from morphax.program import simplify
from morphax.recipes.menu.entries import MenuEntry
from morphax.recipes.menu.menu import Menu

MENU_FILE = "menu.json"
"""Name of the file that makes a folder a saved menu."""

_TEXTS = ("name", "border", "learned_from")


def save_entry(path: str | os.PathLike[str], entry: MenuEntry) -> None:
    """Save an entry as one archive, completely or not at all.

    The archive holds the binary network, not the real neurons that it was proved equal to.

    Args:
        path: the file; ".npz" is usual.
        entry: an entry of a menu.

    Raises:
        ValueError: options that JSON cannot hold.
        OSError: the file cannot be written; an existing file is not changed.

    Example:
        See `load_entry`.
    """
    about: dict[str, Any] = {name: getattr(entry, name) for name in _TEXTS}
    about |= {
        "planes": None if entry.planes is None else entry.planes._asdict(),
        "channels": entry.channels,
        "certified": bool(entry.certificate.exact),
        "scores": entry.scores._asdict(),
        "image_scores": [scores._asdict() for scores in entry.image_scores],
        "operations": entry.operations,
        "properties": entry.properties,
        "options": entry.options,
        "seconds": entry.seconds,
    }
    about = _plain(about)
    if entry.apply is None:  # loaded from an archive: its program is all there is
        save(path, entry.program, metadata={"entry": about})
        return
    shape = (1, *entry.program.input_shape)
    save(path, entry.binary, apply=entry.apply, input_shape=shape, metadata={"entry": about})


def load_entry(path: str | os.PathLike[str]) -> MenuEntry:
    """Load an entry that `save_entry` wrote; nothing in the file is executed.

    Args:
        path: the file.

    Returns:
        `MenuEntry`. It gives the same answers; `apply` and `params`, which no archive holds, are
        None, and `certificate` has only `exact`, as the file states it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no archive of an entry, or it is damaged.

    Example:
        >>> import jax, tempfile
        >>> from morphax.recipes import learn
        >>> x = np.random.default_rng(0).random((8, 24, 24)) < 0.6
        >>> below = np.pad(x, ((0, 0), (0, 1), (0, 0)), constant_values=True)[:, 1:]
        >>> menu = learn(jax.random.key(0), (x, x & below), window=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_entry(f"{folder}/model.npz", menu.best)
        ...     again = load_entry(f"{folder}/model.npz")
        >>> again.name == menu.best.name, bool((again(x) == menu.best(x)).all())
        (True, True)
    """
    archive = load(path)
    about: Any = (archive.metadata or {}).get("entry")
    expected = "an archive of a menu entry (morphax learn, recipes.save_entry)"
    _checks.require(isinstance(about, dict), "path", expected, os.fspath(path))
    try:
        planes = about["planes"]
        if planes is not None:
            lists: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in planes.items()}
            planes = GrayPlanes(**lists)
        # A file holds no margins of neurons, so the certificate is its verdict alone.
        certificate = NetworkCertificate(np.asarray(bool(about["certified"])), {}, (None, None))  # type: ignore[arg-type]
        return MenuEntry(
            apply=None,  # type: ignore[arg-type]
            params=None,
            binary=archive.params,
            certificate=certificate,
            program=simplify(archive.program),
            planes=planes,
            channels=int(about["channels"]),
            scores=Scores(**about["scores"]),
            image_scores=tuple(Scores(**scores) for scores in about["image_scores"]),
            operations=float(about["operations"]),
            properties=tuple(about["properties"]),
            options=dict(about["options"]),
            seconds=float(about["seconds"]),
            **{name: str(about[name]) for name in _TEXTS},
        )
    except (KeyError, TypeError, AttributeError) as error:
        got = f"{os.fspath(path)} ({type(error).__name__}: {error})"
        raise ValueError(f"path: expected {expected}, got {got}") from error


def save_menu(
    folder: str | os.PathLike[str], menu: Menu, *, about: Mapping[str, Any] | None = None
) -> None:
    """Save a menu as a folder: an archive for each entry, then `menu.json`.

    Args:
        folder: made if needed; files of an earlier menu are replaced.
        menu: as `learn` returns it.
        about: further JSON values to keep, such as the command and the seed.

    Raises:
        OSError: a file cannot be written.

    Example:
        See `load_model`.
    """
    place = Path(folder).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    for row, entry in zip(menu.rows(), menu, strict=True):
        file = f"entry-{row['number']}.npz"
        save_entry(place / file, entry)
        text = entry.expression
        rows.append({**row, "file": file, "expression": text, "learned_from": entry.learned_from})
    record = {
        "format": "morphax menu",
        "version": 1,
        "entries": rows,
        "pairs": menu.possible.pairs,
        "trivial": menu.possible.trivial,
        "lines": menu.possible.lines(),
        "table": str(menu),
        "warning": menu.warning,
        "stopped": menu.stopped,
        "remarks": menu.remarks,
        "seconds": menu.seconds,
        "history": menu.history,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        **(about or {}),
    }
    text = _files.json_text(_plain(record), 1)
    _files.write(place / MENU_FILE, f"{text}\n".encode())
    for file in place.glob("entry-*.npz"):  # of an earlier, longer menu
        if file.name not in {row["file"] for row in rows}:
            file.unlink()


def load_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the contents of the `menu.json` of a folder.

    Args:
        folder: as `save_menu` wrote it.

    Returns:
        Its JSON values.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no menu.

    Example:
        See `load_model`.
    """
    path = Path(folder).expanduser() / MENU_FILE
    try:
        record = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"folder: expected a saved menu, got {path}: {error}") from error
    fits = isinstance(record, dict) and record.get("format") == "morphax menu"
    fits = fits and isinstance(record.get("entries"), list)
    _checks.require(fits, "folder", "a saved menu", str(path))
    _checks.require(record.get("version") == 1, "folder", "version 1", record.get("version"))
    return record


def load_model(model: str | os.PathLike[str], *, pick: str = "best") -> MenuEntry:
    """Load an entry from the folder of a menu, or from one archive.

    Args:
        model: a folder that `save_menu` or `morphax learn` wrote, or one file of it.
        pick: "best", "simplest" (fewest bit operations with at most 1.2 times the best error), or
            the number of a row; only for folders.

    Returns:
        `MenuEntry`, see `load_entry`.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: it is no menu and no archive, or has no such row.

    Example:
        >>> import jax, tempfile
        >>> from morphax.recipes import learn
        >>> x = np.random.default_rng(0).random((8, 24, 24)) < 0.6
        >>> below = np.pad(x, ((0, 0), (0, 1), (0, 0)), constant_values=True)[:, 1:]
        >>> menu = learn(jax.random.key(0), (x, x & below), window=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_menu(folder, menu)
        ...     load_model(folder).name == menu.best.name
        True
    """
    path = Path(model).expanduser()
    if not path.is_dir():
        return load_entry(path)
    rows = load_record(path)["entries"]
    _checks.require(len(rows) > 0, "model", "a menu with an entry", f"none in {path}")
    numbers = [str(row["number"]) for row in rows]
    _checks.one_of("pick", pick, ("best", "simplest", *numbers))
    row = rows[-1]
    if pick == "simplest":
        row = next(r for r in rows if r["error"] <= 1.2 * rows[-1]["error"])
    elif pick != "best":
        row = rows[numbers.index(pick)]
    name = os.path.basename(row["file"])  # a menu names no file elsewhere
    return load_entry(path / name)


def _plain(value: Any) -> Any:
    """Return nested values of numpy, jax and other kinds as values that JSON has."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _versions() -> dict[str, str]:
    """Return the versions of morphax and of what it computes with."""
    names = ("jax", "jaxlib", "numpy")
    own = {"morphax": __version__, "python": platform.python_version()}
    return own | {name: metadata.version(name) for name in names}
