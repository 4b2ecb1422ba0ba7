"""Pairs as the commands take them: a folder of pairs, one of train/ and test/, or a list file."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morphax.data import Pairs, load_pairs


def pairs_of(
    options: argparse.Namespace,
    split: str,
    *,
    gray: bool | None,
    thresholds: Mapping[str, Any] | None = None,
    volumes: bool = False,
) -> Pairs:
    """Return the pairs that a command names, and say which thresholds gray files were given.

    Args:
        options: arguments with `pairs` and a threshold of each side.
        split: sub-folder that is read where there is no input/: "train" or "test".
        gray: see `load_pairs`.
        volumes: see `load_pairs`.
        thresholds: of a model, "input_threshold" and so on, where the options have none. Targets
            and masks without any get Otsu's.

    Returns:
        `Pairs` of images of any sizes.

    Raises:
        ValueError: pairs that cannot be read.
    """
    place = Path(options.pairs).expanduser()
    if not (place / "input").is_dir() and (place / split / "input").is_dir():
        place = place / split
        print(f"Reading {place}", file=sys.stderr)
    # What is given counts, then what was learned with, then Otsu where bits are needed.
    defaults = {"input_threshold": None, "target_threshold": "otsu", "mask_threshold": "otsu"}
    defaults |= {k: v for k, v in (thresholds or {}).items() if k in defaults}
    given = {name: getattr(options, name) for name in defaults}
    taken = {name: defaults[name] if value is None else value for name, value in given.items()}
    pairs = load_pairs(place, **taken, ragged=True, gray=gray, volumes=volumes)
    for side, level in pairs.thresholds.items():
        if given[f"{side}_threshold"] in (None, "otsu"):
            origin = "Otsu" if taken[f"{side}_threshold"] == "otsu" else "as learned"
            text = f"the {side}s are gray: levels of at least {level:g} count as set ({origin};"
            print(f"{text} --{side}-threshold T changes it)", file=sys.stderr)
    return pairs
