# %% [markdown]
# # Learn a morphological operator from pairs of images
#
# A network of *binary structuring element* neurons (BiSE) sees images and what an unknown operator
# made of them. It is trained by gradient descent as any network; then each neuron is *certified* to
# be exactly an erosion or a dilation, and the network becomes a binary one, made of bits.
#
#     python examples/learn_operator.py                                   # opening by a disk, 1 minute
#     python examples/learn_operator.py --operation closing --element hstick
#     python examples/learn_operator.py --dataset mnist --data-dir DIR
#     python examples/learn_operator.py --pairs DIR          # your own input/ and target/ images
#
# It needs `pip install 'morphax[examples]'`, and `morphax[data]` for MNIST.

# %%
import argparse
import itertools
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import morphax
from morphax import data, viz
from morphax.explain.describe import describe
from morphax.morphology import elements
from morphax.neurons import models
from morphax.neurons.nodes import named_nodes
from morphax.objectives.metrics import dice
from morphax.recipes import Learned, learn_operator
from morphax.training import RunOptions, json_text

# %% [markdown]
# ## What there is to learn
#
# An opening is an erosion followed by a dilation with the same structuring element, so its network
# has two layers. We only tell the network how many layers it has: which of them erode, and by what,
# it must find out from the images.

# %%
LAYERS = {
    "erosion": ("erosion",),
    "dilation": ("dilation",),
    "opening": ("erosion", "dilation"),
    "closing": ("dilation", "erosion"),
}


class Task(NamedTuple):
    """Images with their targets, bool (N, H, W, 1), and what is known about the operator."""

    train: tuple[Any, Any]
    valid: tuple[Any, Any]  # decides whether a run has succeeded
    test: tuple[Any, Any]  # never seen in training
    title: str
    known: list[tuple[str, np.ndarray]] | None  # (operation, structuring element) of each layer
    batch_size: int = 16
    frame: tuple[int, int] = (0, 0)  # of the training images, where targets are not looked at


def generated_or_mnist(args: argparse.Namespace) -> Task:
    """Images from a generator, or MNIST, and an operator that we choose."""
    counts = (args.train_images, 256, args.test_images)
    if args.dataset == "diskorect":
        keys = jax.random.split(jax.random.key(args.seed), 3)
        images = [data.diskorect(key, count) for key, count in zip(keys, counts, strict=True)]
    else:
        logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS advises to install OpenCV
        train, _ = data.load("mnist", "train", data_dir=args.data_dir, limit=sum(counts[:2]))
        test, _ = data.load("mnist", "test", data_dir=args.data_dir, limit=counts[2])
        grey = (train[: -counts[1]], train[-counts[1] :], test)
        invert = args.dataset == "inverted_mnist"
        images = [data.binary_images(part, size=(50, 50), invert=invert) for part in grey]
    selem = elements.named(args.element, args.size)
    parts = [(part, data.target(part, args.operation, selem)) for part in images]
    known = [(operation, selem) for operation in LAYERS[args.operation]]
    title = f"{args.operation} by {args.element}({args.size}) on {args.dataset}"
    return Task(*parts, title=title, known=known)


def pairs_in_a_folder(args: argparse.Namespace) -> Task:
    """Your own images. A fifth of them, drawn by lot (always the same ones), is kept for the test.

    Large images are trained on in random crops: many small ones teach faster than few large ones. At
    the frame of a crop the target depends on pixels that were cut away, so it is not looked at there, and
    success is judged on whole images.
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


# %% [markdown]
# Gray pairs need thresholds; their options are those of `data.load_pairs`.


# %%
def add_thresholds(parser: argparse.ArgumentParser) -> None:
    """Add the options with which gray images of `--pairs` become binary."""
    parser.add_argument("--threshold", type=float, metavar="LEVEL",
                        help="with --pairs: gray pixels of this level or above are set")  # fmt: skip
    for side in ("input", "target", "mask"):
        parser.add_argument(f"--{side}-threshold", type=float, metavar="LEVEL",
                            help=f"the same for DIR/{side} alone")  # fmt: skip


def thresholds(args: argparse.Namespace) -> dict[str, float | None]:
    """Return these options as keywords of `data.load_pairs`."""
    names = ("threshold", "input_threshold", "target_threshold", "mask_threshold")
    return {name: getattr(args, name) for name in names}


# %% [markdown]
# ## Running a network
#
# One model, two kinds of parameters: with trained ones it computes on numbers in [0, 1], with binary
# ones on bits. The model code (`models.bimonn`) is the same.

# %%
run = jax.jit(models.bimonn)


def predict(params: Any, images: Any) -> np.ndarray:
    """Bool predictions of a real or binary network, 64 images at a time."""
    real = any(isinstance(node, morphax.BiSE) for node in named_nodes(params).values())
    parts = (images[i : i + 64] for i in range(0, len(images), 64))
    return np.concatenate(
        [np.asarray(run(params, part * 1.0) > 0.5 if real else run(params, part)) for part in parts]
    )


# %% [markdown]
# ## Has it found the operator?
#
# `morphax.structuring_element` gives the textbook structuring element of a neuron, the one that
# `scipy.ndimage` takes. A translation of one layer that the next takes back changes nothing.


# %%
def recovered(binary: Any, known: list[tuple[str, np.ndarray]]) -> bool:
    """Whether a binary network is the known operator: its operations, its structuring elements."""
    nodes = [layer["bise"] for layer in binary]
    operations = [["dilation", "erosion"][int(node.erosion[0, 0])] for node in nodes]
    if operations != [operation for operation, _ in known] or any("lui" in each for each in binary):
        return False
    side = len(known[0][1])
    found = [np.pad(morphax.structuring_element(node, 0, 0), side) for node in nodes]
    wanted = [np.pad(selem, side) for _, selem in known]
    reach = range(-side, side + 1) if len(known) > 1 else [0]
    return any(
        all(
            np.array_equal(f, np.roll(w, shift, (0, 1))) for f, w in zip(found, wanted, strict=True)
        )
        for shift in itertools.product(reach, repeat=2)
    )


# %% [markdown]
# ## Keeping the result
#
# `model.npz` is an archive (`docs/format.md`): bits and wiring, for images of the size of the test
# images. `morphax.load("model.npz").run(images)` runs it without any model code, and `np.load` reads
# it; `.params` is for `models.bimonn`, on images of any size. `result.json` holds the figures of merit
# and what is needed to repeat the run.


# %%
def write(path: Path, save: Callable[[Path], object]) -> None:
    """Write a file under another name, then rename it: it is there as a whole or not at all."""
    temporary = path.with_name(f"tmp-{path.name}")
    save(temporary)
    os.replace(temporary, path)


# %% [markdown]
# ## The main job


# %%
def main(argv: list[str] | None = None) -> int:
    """Learn, certify, binarize, show; return the exit status: 1 where the result is trivial."""
    args, channels = parse(argv)
    start = time.perf_counter()
    try:
        viz.require_matplotlib()
        task = prepare(args)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        print(f"learn_operator: {error}", file=sys.stderr)
        return 2
    log = args.out / "metrics.jsonl"
    log.unlink(missing_ok=True)

    (count, height, width, _), network = task.train[0].shape, "-".join(map(str, channels))
    print(f"Learning {task.title}: {count} images of {height}x{width}.")
    print(f"Network of channels {network}, windows {args.size}x{args.size}, up to {args.restarts} "
          f"run(s) of {args.steps} steps on {jax.devices()[0].platform}.", flush=True)  # fmt: skip
    learned = learn_operator(
        jax.random.key(args.seed), task.train, valid=task.valid, channels=channels,
        kernel_size=args.size, steps=args.steps, restarts=args.restarts, batch_size=task.batch_size,
        frame=task.frame, run=RunOptions(log=log, progress=not args.smoke),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    steps = learned.history[-1]["step"]
    print(f"Trained in {seconds:.0f} s: {learned.runs} run(s) of {steps} steps.\n")

    # The same images through the trained network and through its binary twin.
    images, targets = (np.asarray(part) for part in task.test)
    soft, hard = predict(learned.params, images), predict(learned.binary, images)
    certificates = learned.certificate.neurons
    found = None if task.known is None else recovered(learned.binary, task.known)
    metrics = {
        "float_dice": float(dice(soft, targets)),
        "binary_dice": float(dice(hard, targets)),
        "test_images": len(images),
        "wrong_images": int((hard != targets).any((1, 2, 3)).sum()),
        "pixels_that_differ": int((soft != hard).sum()),
        "certified_share": float(np.mean(np.concatenate(
            [np.ravel(each.exact) for each in certificates.values()]))),
        "exact": bool(learned.certificate.exact),
        "selem_recovered": found,
        "learned": describe(learned.binary, certificates),
        "steps": steps,
        "restarts": learned.runs,
        "seconds": round(seconds, 1),
        "trivial_errors": learned.verdict.trivial,
        "warning": learned.warning,
    }  # fmt: skip
    report(learned, metrics)

    figures = {
        "operator.png": viz.operator_figure(
            learned.params, learned.binary, certificates=certificates,
            targets=task.known if task.known and len(channels) == len(task.known) + 1 else None),
        "predictions.png": viz.prediction_figure(images, targets, hard),
    }  # fmt: skip
    for name, figure in figures.items():
        write(args.out / name, lambda path, figure=figure: figure.savefig(path, dpi=120))
    morphax.save(
        args.out / "model.npz", learned.binary, apply=models.bimonn, input_shape=images.shape,
        metadata={"learned": task.title, "exact": metrics["exact"], "seed": args.seed},
    )  # fmt: skip
    result = {
        "config": {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()},
        "channels": channels,
        "seed": args.seed,
        "versions": {"morphax": morphax.__version__, "jax": jax.__version__,
                     "optax": optax.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "metrics": metrics,
    }  # fmt: skip
    text = json_text(result, indent=2) + "\n"
    write(args.out / "result.json", lambda path: path.write_text(text))
    print(f"\nWritten to {args.out}: {', '.join(figures)}, model.npz, metrics.jsonl, result.json")
    if args.smoke:
        check(args.out, metrics, images, hard)
        return 0
    return 1 if learned.warning else 0


def report(learned: Learned, metrics: dict[str, Any]) -> None:
    """Print the verdict."""
    images, wrong = metrics["test_images"], metrics["wrong_images"]
    print(morphax.summary(learned.params), "\n\nWhat it learned", sep="")
    for line in metrics["learned"]:
        print(f"  {line}")
    if metrics["selem_recovered"]:
        print("  This is the target, exactly.")
    elif metrics["selem_recovered"] is not None:
        print("  These are not the target's own structuring elements" + (
            "." if wrong else ",\n  but no test image tells the two apart."))  # fmt: skip
    print("Proof")
    if metrics["exact"]:
        print("  Certified: on every binary image, the binary network gives the output")
        print("  of the trained one (thresholded at 1/2).")
    else:
        print("  None: the network is not certified, the binary one is only the nearest.")
    print(f"On {images} unseen images")
    print(
        f"  Dice: trained network {metrics['float_dice']:.6f}, binary {metrics['binary_dice']:.6f}."
    )
    print(f"  The binary one is right on every pixel of {images - wrong} of {images} images;")
    print(f"  the two differ in {metrics['pixels_that_differ']} pixels.")
    if learned.warning:
        print(f"WARNING: {learned.warning}")


def check(out: Path, metrics: dict[str, Any], images: np.ndarray, hard: np.ndarray) -> None:
    """Of `--smoke`: everything is there, and what is certified holds on the test images."""
    for name in ("operator.png", "predictions.png", "model.npz", "metrics.jsonl", "result.json"):
        assert (out / name).stat().st_size > 0, name
    assert not (metrics["exact"] and metrics["pixels_that_differ"]), "the certificate is wrong"
    saved = morphax.load(out / "model.npz")
    assert np.array_equal(saved.run(images[:20]), hard[:20]), "the archive is another network"
    print("Smoke test passed.")


# %% [markdown]
# ## Options


# %%
def parse(argv: list[str] | None) -> tuple[argparse.Namespace, list[int]]:
    """Options, checked, and the channels of the network."""
    parser = argparse.ArgumentParser(description="Learn a morphological operator from image pairs.")
    add = parser.add_argument
    add("--operation", choices=LAYERS, help="the operator to learn (default opening)")
    add("--element", choices=elements.NAMES, help="its structuring element (default disk)")
    add("--size", type=int, default=7, help="side of the element and of the windows, odd (7)")
    add("--dataset", choices=("diskorect", "mnist", "inverted_mnist"), help="(default diskorect)")
    add("--data-dir", type=Path, help="where MNIST lies (default: the variable MORPHAX_DATA)")
    add(
        "--pairs",
        type=Path,
        metavar="DIR",
        help="learn from the images in DIR/input and DIR/target",
    )
    add(
        "--crop", type=int, help="with --pairs: side of the crops to train on, 0: none (64 or more)"
    )
    add_thresholds(parser)
    add("--channels", help="shape of the network, such as 1,1,1 (default: that of the operation)")
    add("--train-images", type=int, help="images, or crops, to train on (4096)")
    add("--steps", type=int, help="steps of a run (2000)")
    add("--restarts", type=int, help="runs at most, until one is certified and right (6)")
    add("--seed", type=int, default=0, help="the same seed gives the same network (0)")
    add("--out", type=Path, default=Path("out/learn_operator"), help="folder for the results")
    add("--smoke", action="store_true", help="a tiny run that checks itself")
    args = parser.parse_args(argv)

    chosen = [
        name for name in ("operation", "element", "dataset", "data_dir") if getattr(args, name)
    ]
    if args.pairs and chosen:
        parser.error(
            f"--pairs brings its own images and targets: drop --{chosen[0].replace('_', '-')}"
        )
    for name, value in {"crop": args.crop, **thresholds(args)}.items():
        if value is not None and not args.pairs:
            parser.error(f"--{name.replace('_', '-')} goes with --pairs")
    args.dataset = None if args.pairs else args.dataset or "diskorect"
    if args.data_dir and args.dataset == "diskorect":
        parser.error("--data-dir goes with --dataset mnist or inverted_mnist")
    smoke = args.smoke
    if not args.pairs:
        args.operation = args.operation or ("dilation" if smoke else "opening")
        args.element = args.element or "disk"
    defaults = {"train_images": 256 if smoke else 4096, "steps": 400 if smoke else 2000,
                "restarts": 1 if smoke else 6}  # fmt: skip
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.test_images = 100 if smoke else 1000
    for name in ("size", "train_images", "steps", "restarts"):
        if getattr(args, name) < 1:
            parser.error(
                f"--{name.replace('_', '-')}: expected 1 or more, got {getattr(args, name)}"
            )
    if args.size % 2 == 0:
        parser.error(f"--size: expected an odd number (a window has a centre), got {args.size}")
    layers = LAYERS[args.operation] if args.operation else (None,) * 2
    try:
        channels = [int(part) for part in (args.channels or "1" + ",1" * len(layers)).split(",")]
    except ValueError:
        channels = []
    if len(channels) < 2 or min(channels) < 1 or channels[0] != 1 or channels[-1] != 1:
        parser.error(f"--channels: expected 1,...,1 such as 1,2,1, got {args.channels!r}")
    args.reach, _ = models.reach(channels, kernel_size=args.size)
    if args.crop and args.crop <= 2 * args.reach:
        expected = f"0 or more than {2 * args.reach} (the network sees {args.reach} pixels away)"
        parser.error(f"--crop: expected {expected}, got {args.crop}")
    return args, channels


def prepare(args: argparse.Namespace) -> Task:
    """The images of a run."""
    return pairs_in_a_folder(args) if args.pairs else generated_or_mnist(args)


if __name__ == "__main__":
    sys.exit(main())
