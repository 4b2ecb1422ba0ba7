# %% [markdown]
# # Learn a morphological operator from pairs of images
#
# A network of *binary structuring element* neurons (BiSE) sees images and what an unknown operator
# made of them. It is trained by gradient descent like any other network. Then each neuron is
# *certified* to be exactly an erosion or a dilation, and the network becomes a binary one, made of
# bits.
#
#     python examples/learn_operator.py                       # opening by a disk, 1 minute
#     python examples/learn_operator.py --operation closing --element hstick
#     python examples/learn_operator.py --dataset mnist --data-dir DIR
#     python examples/learn_operator.py --pairs DIR           # your own input/ and target/ images
#
# It needs `pip install ".[examples]"`, and the extra "data" for MNIST.

# %%
import argparse
import itertools
import platform
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from _common import (
    UNUSABLE,
    at_least,
    certified_share,
    fill,
    flag,
    new_parser,
    odd,
    refuse,
    write,
    write_json,
)
from _operator_tasks import (
    LAYERS,
    Task,
    add_thresholds,
    channels_of,
    folder_option,
    learn_task,
    only_with_pairs,
    pixels_seen,
    prepare,
)

import morphax
from morphax import viz
from morphax.explain.describe import describe
from morphax.morphology import elements
from morphax.neurons import models
from morphax.neurons.nodes import named_nodes
from morphax.objectives.metrics import dice
from morphax.recipes import Learned

# %% [markdown]
# ## What there is to learn
#
# An opening is an erosion followed by a dilation with the same structuring element, so its network
# has two layers. We only tell the network how many layers it has: which of them erode, and by what,
# it must find out from the images. `_operator_tasks.py` makes the images, or reads yours.
#
# ## Running a network
#
# One model takes two kinds of parameters: with trained ones it computes on numbers in [0, 1], with
# binary ones on bits. The model code (`models.bimonn`) is the same.

# %%
run = jax.jit(models.bimonn)


def predict(params: Any, images: Any) -> np.ndarray:
    """Return the bool predictions of a real or binary network, 64 images at a time."""
    real = any(isinstance(node, morphax.BiSE) for node in named_nodes(params).values())
    parts = (images[i : i + 64] for i in range(0, len(images), 64))
    return np.concatenate(
        [np.asarray(run(params, part * 1.0) > 0.5 if real else run(params, part)) for part in parts]
    )


# %% [markdown]
# ## Has it found the operator?
#
# `morphax.structuring_element` gives the textbook structuring element of a neuron, the one that
# `scipy.ndimage` takes. A translation by one layer that the next layer undoes changes nothing.


# %%
def recovered(binary: Any, known: list[tuple[str, np.ndarray]]) -> bool:
    """Return whether a binary network is the known operator, layer by layer."""
    nodes = [layer["bise"] for layer in binary]
    operations = [["dilation", "erosion"][int(node.erosion[0, 0])] for node in nodes]
    if operations != [operation for operation, _ in known] or any("lui" in each for each in binary):
        return False
    # Padded, so that a roll by a shift is a translation.
    side = len(known[0][1])
    learned = [np.pad(morphax.structuring_element(node, 0, 0), side) for node in nodes]
    wanted = [np.pad(selem, side) for _, selem in known]
    shifts = range(-side, side + 1) if len(known) > 1 else [0]
    return any(
        all(np.array_equal(a, np.roll(b, by, (0, 1))) for a, b in zip(learned, wanted, strict=True))
        for by in itertools.product(shifts, repeat=2)
    )


# %% [markdown]
# ## The result
#
# `model.npz` is an archive (`docs/format.md`): bits and wiring, for images of the size of the test
# images. `morphax.load("model.npz").run(images)` runs it without any model code, and `np.load`
# reads it; `.params` is for `models.bimonn`, on images of any size. `result.json` holds the figures
# of merit and what is needed to repeat the run.


# %%
def measure(learned: Learned, task: Task, *, soft: np.ndarray, hard: np.ndarray) -> dict[str, Any]:
    """Return the figures of merit of the trained network (soft) and the binary one (hard)."""
    targets, neurons = np.asarray(task.test[1]), learned.certificate.neurons
    return {
        "float_dice": float(dice(soft, targets)),
        "binary_dice": float(dice(hard, targets)),
        "test_images": len(targets),
        "wrong_images": int((hard != targets).any((1, 2, 3)).sum()),
        "pixels_that_differ": int((soft != hard).sum()),
        "certified_share": certified_share(neurons),
        "exact": bool(learned.certificate.exact),
        "selem_recovered": None if task.known is None else recovered(learned.binary, task.known),
        "learned": describe(learned.binary, neurons),
        "steps": learned.history[-1]["step"],
        "restarts": learned.runs,
        "trivial_errors": learned.verdict.trivial,
        "warning": learned.warning,
    }


def record(args: argparse.Namespace, channels: list[int], metrics: dict[str, Any]) -> dict:
    """Return the content of result.json."""
    versions = {module.__name__: module.__version__ for module in (morphax, jax, optax, np)}
    return {
        "config": {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()},
        "channels": channels,
        "seed": args.seed,
        "versions": versions | {"python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "metrics": metrics,
    }


def draw(out: Path, learned: Learned, task: Task, hard: np.ndarray) -> list[str]:
    """Write the figures of the network and of its predictions; return their names."""
    same_depth = task.known and len(task.known) == len(learned.binary)
    figures = {
        "operator.png": viz.operator_figure(
            learned.params,
            learned.binary,
            certificates=learned.certificate.neurons,
            targets=task.known if same_depth else None,
        ),
        "predictions.png": viz.prediction_figure(*map(np.asarray, task.test), hard),
    }
    for name, figure in figures.items():
        write(out / name, lambda path, figure=figure: figure.savefig(path, dpi=120))
    return list(figures)


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
    except UNUSABLE as error:
        return refuse("learn_operator", error)
    log = args.out / "metrics.jsonl"
    log.unlink(missing_ok=True)

    (count, height, width, _), network = task.train[0].shape, "-".join(map(str, channels))
    print(f"Learning {task.title}: {count} images of {height}x{width}.")
    print(
        f"Network of channels {network}, windows {args.size}x{args.size}, up to {args.restarts} "
        f"run(s) of {args.steps} steps on {jax.devices()[0].platform}.",
        flush=True,
    )
    learned = learn_task(task, channels, args, log=log)
    seconds = round(time.perf_counter() - start, 1)
    steps = learned.history[-1]["step"]
    print(f"Trained in {seconds:.0f} s: {learned.runs} run(s) of {steps} steps.\n")

    # The same images through the trained network and through its binary twin.
    images = np.asarray(task.test[0])
    soft, hard = predict(learned.params, images), predict(learned.binary, images)
    metrics = measure(learned, task, soft=soft, hard=hard) | {"seconds": seconds}
    report(learned, metrics)

    figures = draw(args.out, learned, task, hard)
    morphax.save(
        args.out / "model.npz",
        learned.binary,
        apply=models.bimonn,
        input_shape=images.shape,
        metadata={"learned": task.title, "exact": metrics["exact"], "seed": args.seed},
    )
    write_json(args.out / "result.json", record(args, channels, metrics), indent=2)
    print(f"\nWritten to {args.out}: {', '.join(figures)}, model.npz, metrics.jsonl, result.json")
    if args.smoke:
        check(args.out, metrics, images, hard)
        return 0
    return 1 if learned.warning else 0


def report(learned: Learned, metrics: dict[str, Any]) -> None:
    """Print what was learned, what is proved, and how good it is."""
    images, wrong = metrics["test_images"], metrics["wrong_images"]
    print(morphax.summary(learned.params), "\n\nWhat it learned", sep="")
    for line in metrics["learned"]:
        print(f"  {line}")
    if metrics["selem_recovered"]:
        print("  This is the target, exactly.")
    elif metrics["selem_recovered"] is not None:
        print(f"  These are not the target's own structuring elements{',' if not wrong else '.'}")
        if not wrong:
            print("  but no test image tells the two apart.")
    print("Proof")
    if metrics["exact"]:
        print("  Certified: on every binary image, the binary network gives the output")
        print("  of the trained one (thresholded at 1/2).")
    else:
        print("  None: the network is not certified; the binary network is only the nearest one.")
    trained, binary = metrics["float_dice"], metrics["binary_dice"]
    print(f"On {images} unseen images")
    print(f"  Dice: trained network {trained:.6f}, binary {binary:.6f}.")
    print(f"  The binary one is right on every pixel of {images - wrong} of {images} images;")
    print(f"  the two differ in {metrics['pixels_that_differ']} pixels.")
    if learned.warning:
        print(f"WARNING: {learned.warning}")


def check(out: Path, metrics: dict[str, Any], images: np.ndarray, hard: np.ndarray) -> None:
    """Check that all files of a smoke run are there, and that its certificate and archive hold."""
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
    """Return the checked options and the channels of the network."""
    parser = new_parser("learn_operator", "Learn a morphological operator from image pairs.")
    add = parser.add_argument
    add("--operation", choices=LAYERS, help="operator to learn (opening)")
    add("--element", choices=elements.NAMES, help="its structuring element (disk)")
    add("--size", type=int, default=7, help="side of the element and of the windows, odd (7)")
    sets = ("diskorect", "mnist", "inverted_mnist")
    add("--dataset", choices=sets, help="images to apply the operator to (diskorect)")
    folder_option(parser)
    words = "with --pairs: side of the crops to train on, 0 for whole images (64 or more)"
    add("--crop", type=int, help=words)
    add_thresholds(parser)
    add("--channels", help="shape of the network, such as 1,1,1 (that of the operation)")
    add("--train-images", type=int, help="images, or crops, to train on (4096)")
    add("--steps", type=int, help="steps of a run (2000)")
    add("--restarts", type=int, help="runs at most, until one is certified and right (6)")
    add("--seed", type=int, default=0, help="the same seed gives the same network (0)")
    args = parser.parse_args(argv)

    # Options that exclude one another.
    chosen = [n for n in ("operation", "element", "dataset", "data_dir") if getattr(args, n)]
    if args.pairs and chosen:
        parser.error(f"--pairs brings its own images and targets: drop {flag(chosen[0])}")
    only_with_pairs(parser, args, "crop")
    args.dataset = None if args.pairs else args.dataset or "diskorect"
    if args.data_dir and args.dataset == "diskorect":
        parser.error("--data-dir goes with --dataset mnist or inverted_mnist")

    fill(args, train_images=(256, 4096), steps=(400, 2000), restarts=(1, 6))
    fill(args, test_images=(100, 1000))
    if not args.pairs:
        fill(args, operation=("dilation", "opening"), element=("disk", "disk"))
    at_least(parser, args, size=1, train_images=1, steps=1, restarts=1)
    odd(parser, args.size)
    depth = 2 if args.pairs else len(LAYERS[args.operation])
    channels = channels_of(parser, args.channels, depth=depth)
    args.reach = pixels_seen(channels, args.size)
    if args.crop and args.crop <= 2 * args.reach:
        expected = f"0 or more than {2 * args.reach} (the network sees {args.reach} pixels away)"
        parser.error(f"--crop: expected {expected}, got {args.crop}")
    return args, channels


if __name__ == "__main__":
    sys.exit(main())
