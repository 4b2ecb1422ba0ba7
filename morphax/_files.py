"""Writing of files such that a reader never sees half of one."""

import os
import secrets
from pathlib import Path

_BINARY = getattr(os, "O_BINARY", 0)  # only Windows has this flag


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file as a whole or not at all: under a temporary name in its folder, then rename it.

    Args:
        path: path of the file; a link is followed.
        content: content of the file.

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
