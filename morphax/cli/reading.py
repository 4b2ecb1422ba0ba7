"""Pairs as the commands take them: a folder of pairs, one of train/ and test/, or a list file."""

import argparse
import sys
from pathlib import Path

from morphax.data import Pairs, load_pairs


def pairs_of(
    options: argparse.Namespace, split: str, *, gray: bool | None, threshold: float | None
) -> Pairs:
    """Return the pairs that a command names.

    Args:
        options: arguments with `pairs` and `target_threshold`.
        split: sub-folder that is read where there is no input/: "train" or "test".
        gray: see `load_pairs`.
        threshold: of the inputs.

    Returns:
        `Pairs` of images of any sizes.

    Raises:
        ValueError: pairs that cannot be read.
    """
    place = Path(options.pairs).expanduser()
    if not (place / "input").is_dir() and (place / split / "input").is_dir():
        place = place / split
        print(f"Reading {place}", file=sys.stderr)
    return load_pairs(
        place,
        input_threshold=threshold,
        target_threshold=options.target_threshold,
        ragged=True,
        gray=gray,
    )
