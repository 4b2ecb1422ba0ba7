"""List files of pairs: a text file with the paths of input, target and perhaps mask on each line.

Paths are relative to the folder of the list; one with spaces stands in quotes. Empty lines and
lines that begin with # do not count.

Image sets of TRIOSlib (.set) are read too: a line IMGSET, then .n (number of groups), .f (files of
a group), .d with a folder for each file of a group, and the names, group by group.
"""

import shlex
from pathlib import Path

_SIDES = ("input", "target", "mask")


def listed(path: Path) -> tuple[tuple[str, ...], dict[str, tuple[Path, ...]]]:
    """Return the sides of a list file, and the paths of each pair by its name.

    Args:
        path: the list.

    Returns:
        "input", "target" and perhaps "mask"; paths in the order of the list, by the name of the
        input without its extension (with its folder where names repeat).

    Raises:
        ValueError: the file is no such list, or a file of it is missing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"folder: expected a folder, or a text file with lines of input, target and perhaps "
            f"mask, got {path}"
        ) from error
    rows = _image_set(path, text) if text.startswith("IMGSET") else _lines(path, text)
    if not rows:
        raise ValueError(
            f"folder: expected lines of input and target, but there are none in {path}"
        )
    count = len(rows[0])
    files: dict[str, tuple[Path, ...]] = {}
    short = len({Path(row[0]).stem for row in rows}) == len(rows)
    for row in rows:
        if len(row) != count or count not in (2, 3):
            raise ValueError(
                f"folder: expected input and target, or input, target and mask, on every line of "
                f"{path}, got {' '.join(row)!r}"
            )
        paths = tuple(path.parent / Path(name).expanduser() for name in row)
        for one in paths:
            if not one.is_file():
                raise ValueError(f"folder: {one}, which {path} names, is no file")
        name = Path(row[0]).stem if short else Path(row[0]).with_suffix("").as_posix()
        if name in files:
            raise ValueError(f"folder: {path} names the input {row[0]} twice; leave one of them")
        files[name] = paths
    return _SIDES[:count], files


def _lines(path: Path, text: str) -> list[list[str]]:
    """Return the paths of each line."""
    lines = [line.strip() for line in text.splitlines()]
    try:
        return [shlex.split(line) for line in lines if line and not line.startswith("#")]
    except ValueError as error:  # a quote without an end
        raise ValueError(f"folder: {path} is no list of pairs ({error})") from error


def _image_set(path: Path, text: str) -> list[list[str]]:
    """Return the paths of each group of an image set of TRIOSlib."""
    words = text.split("\n", 1)[1].split() if "\n" in text else []
    try:
        groups, size = (int(words[words.index(key) + 1]) for key in (".n", ".f"))
        first = words.index(".d") + 1
    except (ValueError, IndexError) as error:
        raise ValueError(f"folder: expected .n, .f and .d in the image set {path}") from error
    folders, names = words[first : first + size], words[first + size :]
    if size < 2 or len(names) != groups * size:
        raise ValueError(
            f"folder: expected {groups} groups of {size} files in {path}, got {len(names)} names"
        )
    paths = [f"{folders[k % size]}/{name}" for k, name in enumerate(names)]
    return [paths[k : k + size] for k in range(0, len(paths), size)]
