"""Images and settings of classify.py: one recipe for all data sets, and what the data ask for.

The losses, steps and certificate are the same for all data sets. Settings differ in the channels of
which level sets are taken and how many there are (one for ink on paper), the sides of the windows,
how finely positions matter (`regions`), and how images may be moved in training.

Channels are those of `morphax.contrast.channels`: "gray" (the values of the image), "opponents"
(brightness and two colour differences), "gray:5" or "opponents:5", their contrast in windows of
that side, and "directions", by how much the image gets brighter in eight directions. All of it is
arithmetic on gray values, ahead of the binary network, and is computed anew for every image that is
moved in training. Level sets are of quantiles where a number is given; "levels" may give each kind
a number of its own.
"""

import argparse
import json
from typing import Any

import numpy as np
from _common import load as load_split

from morphax.classification.config import SMOOTH, TRAININGS, ClauseConfig
from morphax.morphology import contrast, levelsets

# Training images move by whole pixels, and nothing is blurred.
WHOLE = {"rotation": 0.0, "scale": 0.0, "shear": 0.0}
DATASETS: dict[str, dict[str, Any]] = {
    "mnist": {
        "channels": ["gray", "directions"],
        "levels": {"gray": [128], "directions": 1},
        "banks": ((5, 512), (7, 512)),
        "epochs": 13,
        "recipe": {
            "regions": 4,
            "rates": (0.03, 0.02),
            "literal_penalty": 1e-5,
            "free_literals": 18,
            "vote_penalty": 3e-6,
            "precision": "bfloat16",
        },
    },
    "fashion_mnist": {
        "channels": ["gray", "directions"],
        "levels": {"gray": 5, "directions": 1},
        "banks": ((5, 1024),),
        "epochs": 8,
        "recipe": {
            "flip": True,
            "regions": 6,
            "rates": (0.03, 0.02),
            "literal_penalty": 1e-5,
            "vote_penalty": 1e-5,
            "shift": 1.0,
            "precision": "bfloat16",
            **WHOLE,
        },
    },
    "cifar10_jpeg": {
        "channels": ["opponents", "directions"],
        "levels": {"opponents": 4, "directions": 1},
        "banks": ((5, 1024),),
        "epochs": 8,
        "recipe": {
            "flip": True,
            "stride": 2,
            "regions": 4,
            "rates": (0.03, 0.02),
            "most": 7,
            "literal_penalty": 1e-5,
            "free_literals": 3,
            "vote_penalty": 1e-5,
            "shift": 2.0,
            "precision": "bfloat16",
            **WHOLE,
        },
    },
}
DATASETS["cifar10"] = DATASETS["cifar10_jpeg"]
OTHERS: dict[str, Any] = {
    **DATASETS["fashion_mnist"],
    "levels": {"gray": 3, "directions": 1},
    "banks": ((5, 512),),
    "epochs": 4,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose images and settings."""
    add = parser.add_argument
    add("--dataset", default="mnist", help="mnist, fashion_mnist, or any other of TFDS (mnist)")
    words = "way of training (straight-through)"
    add("--training", choices=TRAININGS, default="straight-through", help=words)
    add("--clauses", type=int, help="clauses in all (default: by data set)")
    add("--epochs", type=float, help="passes over the training images (default: by data set)")
    add("--change", default="{}", help="changes to the settings of the data set, as JSON")
    add("--hold-out", type=int, help="judge on so many training images, held out")
    add("--limit", type=int, help="use only so many images of each set")


def shapes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return generated images of four classes, bars, squares and crosses with noise, and labels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, (count, 16, 16, 1)).astype(np.uint8)
    labels = rng.integers(0, 4, count)
    marks = np.zeros((4, 7, 7), bool)
    marks[0, 3], marks[1, :, 3], marks[2, 1:6, 1:6] = True, True, True
    marks[3] = np.eye(7, dtype=bool) | np.eye(7, dtype=bool)[::-1]
    for image, label in zip(images, labels, strict=True):
        y, x = rng.integers(0, 10, 2)
        image[y : y + 7, x : x + 7, 0][marks[label]] = 200
    return images, labels.astype(np.int32)


def load(options: argparse.Namespace) -> tuple[Any, Any]:
    """Return training and test images with labels.

    With --hold-out, the last training images are the test.
    """
    if options.smoke:
        return shapes(600, 0), shapes(300, 1)
    given = {"data_dir": options.data_dir, "limit": options.limit}
    train = load_split(options.dataset, "train", **given)
    if not options.hold_out:
        return train, load_split(options.dataset, "test", **given)
    count = options.hold_out
    if not 1 <= count <= len(train[1]) - 100:
        raise ValueError(f"--hold-out: expected 1 to {len(train[1]) - 100} images, got {count}")
    return tuple(part[:-count] for part in train), tuple(part[-count:] for part in train)


def choices(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the data set, with the changes that the options ask for."""
    chosen = {"channels": ["gray"], "recipe": {}, **DATASETS.get(options.dataset, OTHERS)}
    if options.smoke:
        chosen |= {"channels": ["gray"], "levels": [128], "banks": ((5, 16), (7, 16)), "epochs": 10}
        chosen["recipe"] = {"rates": (0.03, 0.03), "rotation": 0.0, "shear": 0.0, "dropout": 0.0}
    change = json.loads(options.change)
    unknown = set(change) - set(chosen)
    if unknown:
        raise ValueError(f"--change: expected some of {sorted(chosen)}, got {sorted(unknown)}")
    chosen = chosen | change | {"recipe": {**chosen["recipe"], **change.get("recipe", {})}}
    # Banks keep their shares of the clauses.
    banks = chosen["banks"]
    if options.clauses:
        total = sum(count for _, count in banks)
        banks = [(size, max(1, count * options.clauses // total)) for size, count in banks]
    extra: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in chosen["recipe"].items()
    }
    if options.training == "smooth":
        extra |= {k: v for k, v in SMOOTH.items() if k not in change.get("recipe", {})}
    chosen["recipe"] = ClauseConfig(
        banks=tuple((size, count) for size, count in banks),
        channels=tuple(chosen["channels"]),
        **extra,
    )
    chosen["epochs"] = options.epochs or chosen["epochs"]
    return chosen


Levels = int | list[int] | dict[str, int | list[int]]


def level_table(images: np.ndarray, kinds: tuple[str, ...], levels: Levels) -> list[list[int]]:
    """Return the thresholds of each channel: given, or quantiles of the first 5000 images.

    The eight directions share one row, of the quantiles of what is not negative in all of them.
    """
    rows: list[list[int]] = []
    for kind in kinds:
        found = [
            np.asarray(contrast.channels(images[i : i + 500], (kind,)))
            for i in range(0, min(len(images), 5000), 500)
        ]
        planes = np.concatenate(found)
        given = levels[kind] if isinstance(levels, dict) else levels
        if isinstance(given, list):
            rows += [given] * planes.shape[-1]
        elif kind == "directions":
            rows += levelsets.thresholds(np.abs(planes).reshape(1, 1, -1, 1), given).tolist() * 8
        else:
            rows += levelsets.thresholds(planes, given).tolist()
    return rows
