"""`morphax demo`: a small folder of pairs to try the command on."""

import argparse
import shlex
from pathlib import Path

import jax

from morphax.data import ruled_pages, save_mask

_PAGES = {"train": 24, "test": 8}
_SIZES = ((64, 80), (72, 64))  # pairs may have several sizes


def demo(options: argparse.Namespace) -> int:
    """Write pairs of pages: shapes under ruled lines, and the shapes alone.

    Args:
        options: arguments of `morphax demo`.

    Returns:
        0.

    Raises:
        ValueError: there are other files in the folder.
        OSError: a file cannot be written.
    """
    place = Path(options.out).expanduser()
    names = [f"{k:02d}.png" for k in range(max(_PAGES.values()))]
    there = [path for path in place.rglob("*") if path.is_file() and path.name not in names]
    if there:
        raise ValueError(f"{place} holds other files, such as {there[0]}; give another folder")
    for number, (split, count) in enumerate(_PAGES.items()):
        for side in ("input", "target"):
            (place / split / side).mkdir(parents=True, exist_ok=True)
        for part, size in enumerate(_SIZES):
            key = jax.random.fold_in(jax.random.key(number), part)
            pages, shapes = ruled_pages(key, count // 2, size=size)
            for name, *pair in zip(names[part:count:2], pages, shapes, strict=True):
                for side, image in zip(("input", "target"), pair, strict=True):
                    save_mask(place / split / side / name, image[..., 0], durable=False)
    shown, test = shlex.quote(str(place)), shlex.quote(str(place / "test/input"))
    print(f"Wrote {_PAGES['train']} pairs to {place}/train and {_PAGES['test']} to {place}/test:")
    print("shapes under ruled lines (input/), and the shapes alone (target/).")
    print(f"Next: morphax learn {shown} -o model --minutes 1, then morphax evaluate model {shown},")
    print(f"or morphax apply model {test} -o masks")
    return 0
