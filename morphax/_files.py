"""Writing of files that no reader sees half of, and of JSON that every reader accepts."""

import json
import math
import os
import re
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)
_BINARY = getattr(os, "O_BINARY", 0)  # only Windows has this flag


def write(path: str | os.PathLike[str], content: bytes, *, durable: bool = True) -> None:
    """Write a file as a whole or not at all: under a temporary name in its folder, then rename it.

    Args:
        path: path of the file; a link is followed.
        content: content of the file.
        durable: wait until the disk has it. Without, a process that is killed still leaves all or
            nothing, but after a power cut the file may be empty; many small files are written
            several times as fast.

    Raises:
        OSError: if the file cannot be written. A file that was there before is unchanged.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
            with open(descriptor, "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        kept = "; the file that was there is untouched" if os.path.isfile(target) else ""
        reason = f"{error.strerror or error} (nothing was saved{kept})"
        raise OSError(error.errno, reason, str(path)) from error


def leftovers(folder: Path, names: Collection[str]) -> list[Path]:
    """Return the temporary files that a killed `write` of these names has left in a folder.

    Args:
        folder: an existing folder.
        names: names of the files that were written; those of other programs are not looked at.

    Returns:
        Paths.
    """
    begun = {name[:64] for name in names}
    paths = [path for path in folder.iterdir() if path.name.endswith(".tmp")]
    return [p for p in paths if (match := _TEMPORARY.fullmatch(p.name)) and match[1] in begun]


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON text, where NaN and infinite numbers become null.

    JSON (RFC 8259) has no such numbers; what Python writes for them, `NaN` and `Infinity`, is
    refused by other readers.

    Args:
        value: dicts with text as keys, lists, tuples, texts, numbers, bools and None, nested.
        indent: spaces of each level; None writes one line.

    Returns:
        The text, without a newline at the end.

    Raises:
        TypeError: if a value is of another type.

    Example:
        >>> json_text({"loss": float("nan"), "steps": (1, 2)})
        '{"loss": null, "steps": [1, 2]}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
