"""List the image files of the folders of a set of pairs, and match them by name.

Files match by their stem in Unicode form NFC, whatever their format. Names that begin with a dot
are hidden files, and no images.
"""

import difflib
import unicodedata
from pathlib import Path

from morphax import _checks
from morphax.data import _image_files, _stacks


def matched(
    folder: str | Path, sides: tuple[str, ...], *, volumes: bool = False
) -> dict[str, tuple[Path, ...]]:
    """Return the paths of each name, one a side, in the order of the names.

    Args:
        folder: holds a folder of each side.
        sides: their names; the first one is compared with each of the others.
        volumes: whether the files are stacks (`_stacks`).

    Raises:
        ValueError: a folder is missing or empty, or a name has no partner or two.
    """
    folder = Path(folder).expanduser()
    _checks.require(folder.is_dir(), "folder", "an existing folder", str(folder))
    files = {side: _files(folder, side, volumes) for side in sides}
    first = files[sides[0]]
    for side in sides[1:]:
        _require_partners(folder / sides[0], first, side, {*files[side]})
        _require_partners(folder / side, files[side], sides[0], {*first})
    return {name: tuple(files[side][name] for side in sides) for name in sorted(first)}


def images(place: Path, *, volumes: bool = False) -> list[Path]:
    """Return the image files of a folder, sorted; hidden files and folders are none."""
    suffixes = tuple(_stacks.SUFFIXES if volumes else _image_files.SUFFIXES)
    return sorted(
        path
        for path in place.iterdir()
        if path.name.lower().endswith(suffixes)
        and not path.name.startswith(".")
        and not path.is_dir()
    )


def _files(folder: Path, side: str, volumes: bool) -> dict[str, Path]:
    """Return the image files of a side by their names."""
    place = folder / side
    if not place.is_dir():
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise ValueError(
            "folder: expected the sub-folders input/ and target/, but "
            f"{place} is missing (there: {', '.join(there[:5]) or 'no folder'})"
        )
    found: dict[str, Path] = {}
    for path in images(place, volumes=volumes):
        stem = Path(path.stem).stem if path.name.lower().endswith(".nii.gz") else path.stem
        name = unicodedata.normalize("NFC", stem)
        if name in found:
            raise ValueError(
                f"folder: {found[name]} and {path.name!a} bear one name; leave one of them there"
            )
        found[name] = path
    if not volumes:
        refuse_other_formats(place)
    if not found:
        known = _stacks.SUFFIXES if volumes else _image_files.SUFFIXES
        kind = "files of volumes" if volumes else "image files"
        formats = ", ".join(dict.fromkeys(known.values()))
        advice = ""
        if not volumes and images(place, volumes=True):
            advice = "; volumes are read with volumes=True (in a terminal: morphax learn --volumes)"
        expected = f"folder: expected {kind} ({formats}), but there are none in {place}{advice}"
        raise ValueError(expected)
    return found


def refuse_other_formats(place: Path) -> None:
    """Refuse images in formats that are not read, instead of leaving them out in silence."""
    Image = _image_files.pillow()
    Image.init()
    for path in sorted(place.iterdir()):
        name = Image.EXTENSION.get(path.suffix.lower())
        known = path.suffix.lower() in _image_files.SUFFIXES or path.name.startswith(".")
        if name in Image.OPEN and not known and not path.is_dir():
            formats = ", ".join(dict.fromkeys(_image_files.SUFFIXES.values()))
            raise ValueError(
                f"folder: {path} is a {name} file, expected {formats}; "
                "write a PNG copy of it into another folder of pairs"
            )


def _require_partners(place: Path, files: dict[str, Path], other: str, others: set[str]) -> None:
    """Refuse files in `place` without a partner on the other side; name the nearest ones."""
    alone = sorted(files.keys() - others)
    if alone:
        free = sorted(others - files.keys())
        listed = ", ".join(files[name].name + _nearest(name, free) for name in alone[:5])
        raise ValueError(
            f"folder: {len(alone)} file(s) in {place} have no partner of the same name in "
            f"{other}/: {listed}{' ...' if len(alone) > 5 else ''}"
        )


def _nearest(name: str, others: list[str]) -> str:
    """Say in brackets which unpaired name of the other side is near, and how it differs."""
    folded = {_folded(other): other for other in others}
    if _folded(name) in folded:
        other = folded[_folded(name)]
        kind = "capitals" if name.casefold() == other.casefold() else "Unicode characters"
        return f" (there: {other!a}, which differs from {name!a} in {kind})"
    near = difflib.get_close_matches(name, others, 1)
    near += [other for other in others if name in other or other in name]
    return f" (the nearest there: {near[0]!a})" if near else ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()
