# %% [markdown]
# # Learn a gray operator, and a colour one, from binary samples
#
# A flat gray opening is the binary opening of every level set, so it can be learned from level
# sets, each one a separate binary sample. The learned binary operator works on gray images:
# threshold, apply, add up again. Two operators are learned from images and the output of the
# operator on them:
#
# - *gray*: the opening by a disk of Fashion-MNIST (removes what is thin and bright),
# - *colour*: closing of the brightest of R, G, B (removes what is thin and dark in all three, such
#   as hairs on skin), from the three channels of CIFAR-10 (JPEG copy) at once.
#
# `scipy.ndimage` computes the targets on gray values; the result is compared with them value by
# value.
#
#     python examples/gray_operator.py --data-dir DIR      # or MORPHAX_DATA; TFDS folders
#     python examples/gray_operator.py --smoke             # seconds, on generated images
#
# It needs `pip install ".[examples,data]"`. What was tried and failed: docs/notes/images.md.

# %%
import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from _common import (
    UNUSABLE,
    at_least,
    certified_share,
    command,
    fill,
    load,
    metadata,
    new_parser,
    refuse,
    write,
    write_rows,
)
from scipy import ndimage

import morphax
from morphax import viz
from morphax.explain.describe import describe
from morphax.morphology import elements, levelsets
from morphax.neurons import models
from morphax.recipes import Learned, learn_operator
from morphax.training import RunOptions

# %% [markdown]
# ## The operators, by scipy
#
# Beyond the frame an erosion sees 255 and a dilation 0, so that the frame never decides
# (`border="ignore"` of docs/conventions.md). The `grey_opening` of scipy extends the image in one
# way for both halves. Away from the frame it is the same operator, which is checked too.


# %%
class Operator(NamedTuple):
    """Hold an operator on uint8 images, with what is needed to learn it.

    Attributes:
        name: the operator in words.
        dataset: data set of the images.
        channels: channels of the network.
        apply: (image `(H, W, C)`, structuring element) -> image `(H, W)`, as described above.
        plain: the same by one function of scipy, equal away from the frame.
    """

    name: str
    dataset: str
    channels: tuple[int, ...]
    apply: Callable[[np.ndarray, np.ndarray], np.ndarray]
    plain: Callable[[np.ndarray, np.ndarray], np.ndarray]


def erosion(image: np.ndarray, selem: np.ndarray) -> np.ndarray:
    """Erode one gray image."""
    return ndimage.grey_erosion(image, footprint=selem, mode="constant", cval=255)


def dilation(image: np.ndarray, selem: np.ndarray) -> np.ndarray:
    """Dilate one gray image."""
    return ndimage.grey_dilation(image, footprint=selem, mode="constant", cval=0)


OPERATORS = {
    "gray": Operator(
        "opening",
        "fashion_mnist",
        (1, 1, 1),
        lambda image, selem: dilation(erosion(image[..., 0], selem), selem),
        lambda image, selem: ndimage.grey_opening(image[..., 0], footprint=selem),
    ),
    "colour": Operator(
        "closing of max(R, G, B)",
        "cifar10_jpeg",
        (3, 1, 1),
        lambda image, selem: erosion(dilation(image.max(-1), selem), selem),
        lambda image, selem: ndimage.grey_closing(image.max(-1), footprint=selem),
    ),
}


def targets(operator: Operator, images: np.ndarray, selem: np.ndarray) -> np.ndarray:
    """Return the operator on every image: uint8 `(N, H, W, 1)`."""
    return np.stack([operator.apply(image, selem) for image in images])[..., None]


# %% [markdown]
# ## Level sets as samples
#
# From each image a few values are drawn. The level sets of image and target at one value are a
# sample.


# %%
def samples(rng: np.random.Generator, images: np.ndarray, wanted: np.ndarray, count: int) -> tuple:
    """Return binary samples (inputs, targets) at `count` pixel values of each image."""
    flat = images.reshape(len(images), -1)
    drawn = np.take_along_axis(flat, rng.integers(0, flat.shape[1], (len(flat), count)), 1)
    values = np.maximum(drawn, 1)[..., None, None, None]
    return tuple(
        (part[:, None] >= values).reshape(-1, *part.shape[1:]) for part in (images, wanted)
    )


THRESHOLDS = np.arange(1, 256, dtype=np.int32)
run = jax.jit(models.bimonn)


def on_gray(params: Any, images: np.ndarray, *, real: bool) -> np.ndarray:
    """Return the output of a binary operator on gray or colour images, through all level sets."""
    outputs = []
    for image in images:
        count, shape = image.shape[-1], image.shape[:2]
        table = np.broadcast_to(THRESHOLDS, (count, 255))
        levels = np.asarray(levelsets.decompose(image[None].astype(np.int32), table))
        # The level sets are a batch of binary images.
        stack = levels.reshape(*shape, count, 255).transpose(3, 0, 1, 2)
        bits = run(params, stack * np.float32(1)) > 0.5 if real else run(params, stack)
        levels = np.asarray(bits)[..., 0].transpose(1, 2, 0)[None]
        outputs.append(np.asarray(levelsets.reconstruct(levels, THRESHOLDS[None]))[0])
    return np.stack(outputs)


# %% [markdown]
# ## One operator from start to end


# %%
def learn(kind: str, args: argparse.Namespace) -> tuple[dict[str, Any], Learned, tuple]:
    """Learn an operator; return a row of the table, what was learned, and images to show."""
    operator, selem, start = OPERATORS[kind], elements.disk(args.size), time.perf_counter()
    title = f"{kind}: {operator.name} by disk({args.size})"
    train, test = images_for(operator, args)
    rng = np.random.default_rng(args.seed)
    train_targets, wanted = (targets(operator, part, selem) for part in (train, test))
    held_out = len(train) // 8
    fitted = samples(rng, train[held_out:], train_targets[held_out:], 8)
    valid = samples(rng, train[:held_out], train_targets[:held_out], 8)
    print(f"{title}, {operator.dataset}, {len(fitted[0])} level sets")
    learned = learn_operator(
        jax.random.key(args.seed),
        fitted,
        valid=valid,
        channels=operator.channels,
        kernel_size=args.size,
        steps=args.steps,
        restarts=args.restarts,
        run=RunOptions(log=args.out / "metrics.jsonl"),
    )
    soft = on_gray(learned.params, test, real=True)
    hard = on_gray(learned.binary, test, real=False)
    # Away from the frame, the operator is scipy's own.
    inner = (slice(None), slice(args.size, -args.size), slice(args.size, -args.size))
    plain = np.stack([operator.plain(image, selem) for image in test])
    row = {
        "operator": title,
        "data": "generated" if args.smoke else operator.dataset,
        "float": float((soft == wanted).mean()),
        "binary": float((hard == wanted).mean()),
        "certified": certified_share(learned.certificate.neurons),
        "exact": bool(learned.certificate.exact),
        "wrong_images": int((hard != wanted).any((1, 2, 3)).sum()),
        "images": len(test),
        "largest_error": int(np.abs(hard.astype(int) - wanted).max()),
        "inside_equals_scipy": float((hard[..., 0][inner] == plain[inner]).mean()),
        "restarts": learned.runs,
        "warning": learned.warning,
        "steps": args.steps,
        "seed": args.seed,
        "seconds": round(time.perf_counter() - start, 1),
        "learned": describe(learned.binary, learned.certificate.neurons),
    }
    return row, learned, (test, wanted, hard)


def images_for(operator: Operator, args: argparse.Namespace) -> list[np.ndarray]:
    """Return uint8 images of the two splits; generated ones with --smoke."""
    if args.smoke:
        rng = np.random.default_rng(0)
        return [rectangles(rng, count, operator.channels[0]) for count in (24, 2)]
    counts = {"train": args.train_images, "test": args.test_images}
    parts = [
        load(operator.dataset, split, data_dir=args.data_dir, limit=count)[0]
        for split, count in counts.items()
    ]
    for part in parts:
        if part.shape[-1] != operator.channels[0]:
            raise ValueError(
                f"{operator.dataset}: expected {operator.channels[0]} channel(s) without alpha, "
                f"got images of {part.shape[1:]}"
            )
    return parts


def rectangles(rng: np.random.Generator, count: int, channels: int) -> np.ndarray:
    """Return gray or colour rectangles on each other, with specks."""
    images = np.zeros((count, 28, 28, channels), np.uint8)
    for image in images:
        for _ in range(12):
            r, c = rng.integers(0, 24, 2)
            h, w = rng.integers(2, 12, 2)
            image[r : r + h, c : c + w] = rng.integers(0, 256, channels)
    specks = rng.random(images.shape) < 0.05
    return np.where(specks, rng.integers(0, 256, images.shape), images).astype(np.uint8)


def gallery(kinds: list[str], shown: list[tuple]) -> Any:
    """Draw inputs, targets and the output of the binary operators for the first test images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * len(kinds) * 1.5), layout="constrained")
    axes = figure.subplots(3 * len(kinds), 6)
    for ax in axes.flat:
        ax.set_axis_off()
    for k, (kind, (images, wanted, outputs)) in enumerate(zip(kinds, shown, strict=True)):
        for j in range(min(6, len(images))):
            pictures = (np.squeeze(images[j]), wanted[j, ..., 0], outputs[j, ..., 0])
            wrong = int((outputs[j] != wanted[j]).sum())
            names = (f"{kind}: input", "target (scipy)", f"binary, {wrong} px differ")
            column = axes[3 * k : 3 * k + 3, j]
            for ax, picture, name in zip(column, pictures, names, strict=True):
                ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                ax.set_title(name, fontsize=8)
    return figure


# %% [markdown]
# ## The main job


# %%
def main(argv: list[str] | None = None) -> int:
    """Learn both operators, print the table, write JSON and figures; return the exit status."""
    args = parse(argv)
    try:
        viz.require_matplotlib()
        for kind in args.kinds:  # all data is there before anything is trained
            images_for(OPERATORS[kind], args)
        args.out.mkdir(parents=True, exist_ok=True)
    except UNUSABLE as error:
        return refuse("gray_operator", error)
    (args.out / "metrics.jsonl").unlink(missing_ok=True)
    if args.smoke:
        print("SMOKE: generated images stand in for Fashion-MNIST and CIFAR-10.")
        print("The figures mean nothing.")
    about = metadata(
        "gray_operator",
        unit="share of equal pixels",
        reference="scipy.ndimage",
        smoke=args.smoke,
    )
    rows, shown, figures = [], [], {}
    for kind in args.kinds:
        row, learned, pictures = learn(kind, args)
        rows.append(row)
        shown.append(pictures)
        say(row)
        figures[f"gray_operator_{kind}.png"] = viz.operator_figure(
            learned.params, learned.binary, certificates=learned.certificate.neurons
        )
    figures["gray_operator.png"] = gallery(args.kinds, shown)
    for name, figure in figures.items():
        write(args.out / name, lambda path, figure=figure: figure.savefig(path, dpi=80))
    options = ("kinds", "smoke", "size", "train_images", "test_images", "steps", "restarts", "seed")
    given = {name: getattr(args, name) for name in options}
    about |= {"command": command("gray_operator", given), "seed": args.seed}
    about["morphax"] = morphax.__version__
    write_rows(args.out / "gray_operator.json", about, rows)
    print(f"\nWritten to {args.out}: {', '.join(figures)}, gray_operator.json, metrics.jsonl")
    warnings = [f"WARNING, {row['operator']}: {row['warning']}" for row in rows if row["warning"]]
    for warning in warnings:
        print(warning, file=sys.stderr)
    return 1 if warnings and not args.smoke else 0


def say(row: dict[str, Any]) -> None:
    """Print a row."""
    proof = "proved" if row["exact"] else "not proved"
    print(
        f"  equal pixels: float {row['float']:.6f}  binary {row['binary']:.6f}  "
        f"certified {row['certified']:.2f}, network {proof}"
    )
    print(
        f"  images with a wrong pixel: {row['wrong_images']} of {row['images']}, largest error "
        f"{row['largest_error']}; inside, equal to scipy's own: {row['inside_equals_scipy']:.6f}"
    )
    print("\n".join(f"  {line}" for line in row["learned"]), flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the checked options."""
    parser = new_parser("gray_operator", "Learn gray and colour operators from level sets.")
    add = parser.add_argument
    add("--kinds", nargs="+", choices=OPERATORS, default=list(OPERATORS), help="operators (both)")
    add("--size", type=int, default=5, help="side of the disk and of the windows, odd (5)")
    add("--train-images", type=int, default=400, help="images to train on (400)")
    add("--test-images", type=int, default=20, help="images to judge on (20)")
    add("--steps", type=int, help="steps of a run (800)")
    add("--restarts", type=int, help="runs at most (8)")
    add("--seed", type=int, default=0, help="the same seed gives the same network (0)")
    args = parser.parse_args(argv)
    fill(args, steps=(16, 800), restarts=(1, 8))
    at_least(parser, args, size=3, train_images=16, test_images=1, steps=1, restarts=1)
    if args.size % 2 == 0 or args.size > 11:
        parser.error(f"--size: expected an odd number up to 11, got {args.size}")
    return args


if __name__ == "__main__":
    sys.exit(main())
