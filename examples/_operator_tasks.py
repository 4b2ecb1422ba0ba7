"""Images and targets from which learn_operator.py and export_operator.py learn an operator."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from _common import flag, load

from morphax import data
from morphax.morphology import elements
from morphax.neurons import models
from morphax.recipes import Learned, learn_operator
from morphax.training import RunOptions

# Layers that an operator needs. A network is told how many there are, not which.
LAYERS = {
    "erosion": ("erosion",),
    "dilation": ("dilation",),
    "opening": ("erosion", "dilation"),
    "closing": ("dilation", "erosion"),
}
THRESHOLDS = ("threshold", "input_threshold", "target_threshold", "mask_threshold")


class Task(NamedTuple):
    """Hold images with their targets, bool (N, H, W, 1), and what is known about the operator.

    Attributes:
        train: the pairs that the network learns from.
        valid: the pairs that decide whether a run has succeeded.
        test: pairs that training never sees.
        title: the operator and the images in words.
        known: the operation and the structuring element of each layer, if they are known.
        batch_size: pairs in a step.
        frame: rows and columns along the frame of training images where targets are ignored.
    """

    train: tuple[Any, Any]
    valid: tuple[Any, Any]
    test: tuple[Any, Any]
    title: str
    known: list[tuple[str, np.ndarray]] | None
    batch_size: int = 16
    frame: tuple[int, int] = (0, 0)


def learn_task(
    task: Task, channels: list[int], args: argparse.Namespace, *, log: Path | None = None
) -> Learned:
    """Learn the operator of a task; a second run starts only where the first has failed."""
    return learn_operator(
        jax.random.key(args.seed),
        task.train,
        valid=task.valid,
        channels=channels,
        kernel_size=args.size,
        steps=args.steps,
        restarts=args.restarts,
        batch_size=task.batch_size,
        frame=task.frame,
        run=RunOptions(log=log, progress=not args.smoke),
    )


# Options


def folder_option(parser: argparse.ArgumentParser) -> None:
    """Add --pairs, the folder of a user's own images."""
    words = "learn from the images in DIR/input and DIR/target"
    parser.add_argument("--pairs", type=Path, metavar="DIR", help=words)


def add_thresholds(parser: argparse.ArgumentParser) -> None:
    """Add the options with which gray images of --pairs become binary."""
    words = "with --pairs: gray pixels of this level or above are set"
    parser.add_argument("--threshold", type=float, metavar="LEVEL", help=words)
    for side in ("input", "target", "mask"):
        words = f"the same for DIR/{side} alone"
        parser.add_argument(f"--{side}-threshold", type=float, metavar="LEVEL", help=words)


def thresholds(args: argparse.Namespace) -> dict[str, float | None]:
    """Return these options as keywords of `data.load_pairs`."""
    return {name: getattr(args, name) for name in THRESHOLDS}


def only_with_pairs(parser: argparse.ArgumentParser, args: argparse.Namespace, *names: str) -> None:
    """End the program with a message where an option of --pairs is given without it."""
    for name in (*names, *THRESHOLDS):
        if getattr(args, name) is not None and not args.pairs:
            parser.error(f"{flag(name)} goes with --pairs")


def channels_of(parser: argparse.ArgumentParser, text: str | None, *, depth: int) -> list[int]:
    """Return the channels of the network, of `depth` layers by default; refuse what is none."""
    text = text or ",".join("1" * (depth + 1))
    channels = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if len(channels) < 2 or 0 in channels or channels[0] * channels[-1] != 1:
        parser.error(f"--channels: expected 1,...,1 such as 1,2,1, got {text!r}")
    return channels


def pixels_seen(channels: list[int], size: int) -> int:
    """Return how many pixels away from a pixel the network looks."""
    return models.reach(channels, kernel_size=size)[0]


# Data


def prepare(args: argparse.Namespace) -> Task:
    """Return the images of a run."""
    return pairs_in_a_folder(args) if args.pairs else generated_or_mnist(args)


def generated_or_mnist(args: argparse.Namespace) -> Task:
    """Return generated images, or MNIST, and their images under an operator that we choose."""
    counts = (args.train_images, 256, args.test_images)
    if args.dataset == "diskorect":
        keys = jax.random.split(jax.random.key(args.seed), 3)
        images = [data.diskorect(key, count) for key, count in zip(keys, counts, strict=True)]
    else:
        train, _ = load("mnist", "train", data_dir=args.data_dir, limit=sum(counts[:2]))
        test, _ = load("mnist", "test", data_dir=args.data_dir, limit=counts[2])
        gray = (train[: -counts[1]], train[-counts[1] :], test)
        invert = args.dataset == "inverted_mnist"
        images = [data.binary_images(part, size=(50, 50), invert=invert) for part in gray]
    selem = elements.named(args.element, args.size)
    parts = [(part, data.target(part, args.operation, selem)) for part in images]
    known = [(operation, selem) for operation in LAYERS[args.operation]]
    title = f"{args.operation} by {args.element}({args.size}) on {args.dataset}"
    return Task(*parts, title=title, known=known)


def pairs_in_a_folder(args: argparse.Namespace) -> Task:
    """Return the images of a folder; a fifth of them, always the same ones, are for the test.

    Large images are cut into random crops for training: many small images teach faster than few
    large ones. Along the frame of a crop the target depends on pixels that were cut away, so it is
    ignored there. Success is judged on whole images.
    """
    pairs = data.load_pairs(args.pairs, **thresholds(args))
    inputs, targets = pairs
    for line in data.check_pairs(*pairs):
        print(f"Note: {line}.", flush=True)
    if pairs.masks is not None:
        print("Note: the masks of the pairs are not used, all pixels count.", flush=True)
    if len(inputs) < 2:
        raise ValueError(f"--pairs: expected 2 pairs or more, got {len(inputs)} in {args.pairs}")
    order = np.random.default_rng(0).permutation(len(inputs))
    held_out = max(1, len(order) // 5)
    (train, test) = ((inputs[i], targets[i]) for i in (order[held_out:], order[:held_out]))
    height, width = inputs.shape[1:3]
    valid = tuple(part[: max(1, 2**20 // (height * width))] for part in train)

    # Crops have room for what the network sees around a pixel.
    crop = max(64, 6 * args.reach) if args.crop is None else args.crop
    size = (min(height, crop or height), min(width, crop or width))
    if size != (height, width):
        count = min(args.train_images, 2**26 // (size[0] * size[1]))
        train = data.crops(jax.random.key(args.seed), *train, size=size, count=count)
    batch_size = int(np.clip(2**16 // (size[0] * size[1]), 1, 16))
    rows, columns = (
        args.reach * (part < whole) for part, whole in zip(size, (height, width), strict=True)
    )
    title = f"the operator of the pairs in {args.pairs}"
    return Task(train, valid, test, title, None, batch_size, (rows, columns))
