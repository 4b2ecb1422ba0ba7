"""Finished steps of a search in a folder, so that a search that was stopped goes on."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import jax
import numpy as np

from morphax import _checks, _files
from morphax._version import __version__
from morphax.data.image_lists import Example


class Shelf:
    """Keep results of steps by name, one file for each.

    The files are pickles: use a folder that nobody else writes to.
    """

    def __init__(self, folder: Any, print_: str) -> None:
        """Open a folder, or none, for results of the search with a fingerprint."""
        is_folder = folder is None or isinstance(folder, str | Path)
        _checks.require(is_folder, "run.checkpoint", "a folder", folder)
        self.folder = None if folder is None else Path(folder).expanduser()
        self.print_ = print_
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> Any:
        """Return the result of a step of the same search, or None."""
        path = self._path(name)
        if path is None or not path.is_file():
            return None
        return pickle.loads(path.read_bytes())

    def put(self, name: str, result: Any) -> None:
        """Keep the result of a step, completely or not at all."""
        path = self._path(name)
        if path is not None:
            _files.write(path, pickle.dumps(result))

    def _path(self, name: str) -> Path | None:
        """Return the file of a step; another search, in the same folder, has other files."""
        if self.folder is None:
            return None
        letters = "".join(c if c.isalnum() else "-" for c in name)
        return self.folder / f"{self.print_[:12]}-{letters}.step"


def fingerprint(key: jax.Array, examples: list[Example], given: Any) -> str:
    """Return a hash of the key, the pairs, the options and the version."""
    found = hashlib.sha256(repr((__version__, given)).encode())
    found.update(np.asarray(jax.random.key_data(key)).tobytes())
    for arrays in examples:
        for array in arrays:
            found.update(repr((array.shape, array.dtype.str)).encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
