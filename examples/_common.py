"""Pieces that the examples share: command lines, data sets, whole files.

`python examples/NAME.py` finds this module beside the script. What every result says about its
origin (`metadata`) and the format of its rows (`write_rows`) are those of the benchmarks, whose
package `_lib` can be imported once this module is.
"""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from morphax import data
from morphax.training import json_text, keep_compiled

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _lib.common import metadata, row_metadata, write_rows

__all__ = [
    "UNUSABLE",
    "at_least",
    "certified_share",
    "command",
    "fill",
    "flag",
    "load",
    "metadata",
    "odd",
    "new_parser",
    "refuse",
    "row_metadata",
    "write",
    "write_json",
    "write_rows",
]

# What options, data or folders raise that cannot be used: the user's to mend, no traceback.
UNUSABLE = (ImportError, ValueError, OSError)

# Command lines


def new_parser(name: str, description: str, *, data_dir: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that the examples share: --data-dir, --out and --smoke.

    What the example compiles is kept on disk (`keep_compiled`).
    """
    keep_compiled()
    options = argparse.ArgumentParser(description=description)
    if data_dir:
        words = "folder of the data sets (default: the variable MORPHAX_DATA)"
        options.add_argument("--data-dir", type=Path, help=words)
    words = f"folder for the results (out/{name})"
    options.add_argument("--out", type=Path, default=Path("out") / name, help=words)
    words = "run for seconds, on generated images; the figures mean nothing"
    options.add_argument("--smoke", action="store_true", help=words)
    return options


def flag(name: str) -> str:
    """Return the option of an attribute: `train_images` is `--train-images`."""
    return f"--{name.replace('_', '-')}"


def fill(args: argparse.Namespace, **values: tuple[Any, Any]) -> None:
    """Fill in options that were not given, each by its value (with --smoke, without)."""
    for name, (smoke, usual) in values.items():
        if getattr(args, name, None) is None:
            setattr(args, name, smoke if args.smoke else usual)


def at_least(options: argparse.ArgumentParser, args: argparse.Namespace, **least: int) -> None:
    """End the program with a message unless each of these options is large enough."""
    for name, bound in least.items():
        if (value := getattr(args, name)) < bound:
            options.error(f"{flag(name)}: expected {bound} or more, got {value}")


def odd(options: argparse.ArgumentParser, size: int) -> None:
    """End the program with a message unless the side of a window is odd."""
    if size % 2 == 0:
        options.error(f"--size: expected an odd number (a window has a centre), got {size}")


def refuse(name: str, error: Exception) -> int:
    """Print in one line why an example cannot run; return its exit status."""
    print(f"{name}:", " ".join(str(error).split()), file=sys.stderr)
    return 2


def command(name: str, options: Mapping[str, Any]) -> str:
    """Return the command that runs an example with these options, quoted for a shell.

    Options that are None or False are left out; lists become several words.
    """
    words = ["python", f"examples/{name}.py"]
    for key, value in options.items():
        if value is None or value is False:
            continue
        values = value if isinstance(value, list | tuple) else [] if value is True else [value]
        words += [flag(key), *(f"{v:g}" if isinstance(v, float) else str(v) for v in values)]
    return shlex.join(words)


# Data and results


def load(name: str, split: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels as `data.load` does, without the advice of TFDS on OpenCV."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    return data.load(name, split, **options)


def certified_share(neurons: Mapping[str, Any]) -> float:
    """Return the share of certified neurons in the certificate of a network."""
    return float(np.concatenate([np.ravel(each.exact) for each in neurons.values()]).mean())


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Write a file under another name, then rename it: it is there as a whole or not at all."""
    temporary = path.with_name(f"tmp-{path.name}")
    save(temporary)
    os.replace(temporary, path)


def write_json(path: Path, document: Any, *, indent: int | None = 1) -> None:
    """Write a JSON document, as a whole or not at all."""
    text = json_text(document, indent=indent) + "\n"
    write(path, lambda temporary: temporary.write_text(text))
