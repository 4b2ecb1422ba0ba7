# %% [markdown]
# # Learn a gray operator, and a colour one, from binary samples
#
# A flat gray opening is the binary opening of every level set, so it can be learned from level sets, each
# one a separate binary sample, and the learned binary operator works on gray images: threshold, apply,
# add up again. Two operators are learned from images and what the operator made of them:
#
# - *gray*: the opening by a disk of Fashion-MNIST (removes what is thin and bright),
# - *colour*: closing of the brightest of R, G, B (removes what is thin and dark in all three, such as
#   hairs on skin), from the three channels of CIFAR-10 (JPEG copy) at once.
#
# The targets are made by `scipy.ndimage` on gray values; the result is compared with them value by value.
#
#     python examples/gray_operator.py --data-dir DIR        # or MORPHAX_DATA; TFDS folders
#     python examples/gray_operator.py --smoke               # seconds, on made-up images
#
# It needs `pip install 'morphax[examples,data]'`. What was tried and what failed: docs/notes/images.md.

# %%
import argparse
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import ndimage

import morphax
from morphax import data, viz
from morphax.explain.describe import describe
from morphax.morphology import elements, levelsets
from morphax.neurons import models
from morphax.recipes import Learned, learn_operator
from morphax.training import RunOptions, json_text

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _lib import common

# %% [markdown]
# ## The operators, by scipy
#
# Beyond the frame an erosion sees 255 and a dilation 0, so that the frame never decides
# (`border="ignore"` of docs/conventions.md). scipy's own `grey_opening` extends the image in one way for
# both halves; away from the frame it is the same operator, which is checked too.


# %%
class Operator(NamedTuple):
    """An operator on uint8 images `(N, H, W, C)`, with what is needed to learn it."""

    name: str
    dataset: str
    channels: tuple[int, ...]
    apply: Callable[[np.ndarray, np.ndarray], np.ndarray]
    plain: Callable[[np.ndarray, np.ndarray], np.ndarray]


def erosion(image: np.ndarray, selem: np.ndarray) -> np.ndarray:
    """Of one gray image."""
    return ndimage.grey_erosion(image, footprint=selem, mode="constant", cval=255)


def dilation(image: np.ndarray, selem: np.ndarray) -> np.ndarray:
    """Of one gray image."""
    return ndimage.grey_dilation(image, footprint=selem, mode="constant", cval=0)


OPERATORS = {
    "gray": Operator(
        "opening", "fashion_mnist", (1, 1, 1),
        lambda image, selem: dilation(erosion(image[..., 0], selem), selem),
        lambda image, selem: ndimage.grey_opening(image[..., 0], footprint=selem)),
    "colour": Operator(
        "closing of max(R, G, B)", "cifar10_jpeg", (3, 1, 1),
        lambda image, selem: erosion(dilation(image.max(-1), selem), selem),
        lambda image, selem: ndimage.grey_closing(image.max(-1), footprint=selem)),
}  # fmt: skip


def targets(operator: Operator, images: np.ndarray, selem: np.ndarray) -> np.ndarray:
    """The operator on every image: uint8 `(N, H, W, 1)`."""
    return np.stack([operator.apply(image, selem) for image in images])[..., None]


# %% [markdown]
# ## Level sets as samples
#
# From each image a few values are drawn; the level sets of image and target at one value are one sample.


# %%
def samples(rng: np.random.Generator, images: np.ndarray, wanted: np.ndarray, count: int) -> tuple:
    """Binary samples (inputs, targets), `count` thresholds an image drawn from its own pixels."""
    flat = images.reshape(len(images), -1)
    drawn = np.take_along_axis(flat, rng.integers(0, flat.shape[1], (len(flat), count)), 1)
    values = np.maximum(drawn, 1)[..., None, None, None]
    return tuple(
        (part[:, None] >= values).reshape(-1, *part.shape[1:]) for part in (images, wanted)
    )


THRESHOLDS = np.arange(1, 256, dtype=np.int32)
run = jax.jit(models.bimonn)


def on_gray(params: Any, images: np.ndarray, *, real: bool) -> np.ndarray:
    """A binary operator at work on gray or colour images, through all 255 level sets."""
    made = []
    for image in images:
        count, shape = image.shape[-1], image.shape[:2]
        table = np.broadcast_to(THRESHOLDS, (count, 255))
        levels = np.asarray(levelsets.decompose(image[None].astype(np.int32), table))
        stack = levels.reshape(*shape, count, 255).transpose(3, 0, 1, 2)
        out = run(params, stack * np.float32(1)) > 0.5 if real else run(params, stack)
        levels = np.asarray(out)[..., 0].transpose(1, 2, 0)[None]
        made.append(np.asarray(levelsets.reconstruct(levels, THRESHOLDS[None]))[0])
    return np.stack(made)


# %% [markdown]
# ## One operator from start to end


# %%
def learn(kind: str, args: argparse.Namespace) -> tuple[dict[str, Any], Learned, tuple]:
    """Learn and judge: a row of the table, what was learned, and images to show."""
    operator, selem, began = OPERATORS[kind], elements.disk(args.size), time.perf_counter()
    train, test = images_for(operator, args)
    rng = np.random.default_rng(args.seed)
    wanted = [targets(operator, part, selem) for part in (train, test)]
    held_out = len(train) // 8
    fitted = samples(rng, train[held_out:], wanted[0][held_out:], 8)
    valid = samples(rng, train[:held_out], wanted[0][:held_out], 8)
    print(
        f"{kind}: {operator.name} by disk({args.size}), {operator.dataset}, {len(fitted[0])} level sets"
    )
    learned = learn_operator(
        jax.random.key(args.seed), fitted, valid=valid, channels=operator.channels,
        kernel_size=args.size, steps=args.steps, restarts=args.restarts,
        run=RunOptions(log=args.out / "metrics.jsonl"))  # fmt: skip
    outputs = {name: on_gray(params, test, real=name == "float")
               for name, params in (("float", learned.params), ("binary", learned.binary))}  # fmt: skip
    inner = (slice(None), slice(args.size, -args.size), slice(args.size, -args.size))
    plain = np.stack([operator.plain(image, selem) for image in test])
    shares = [np.ravel(each.exact) for each in learned.certificate.neurons.values()]
    row = {
        "operator": f"{kind}: {operator.name} by disk({args.size})",
        "data": "made up" if args.smoke else operator.dataset,
        "float": float((outputs["float"] == wanted[1]).mean()),
        "binary": float((outputs["binary"] == wanted[1]).mean()),
        "certified": float(np.concatenate(shares).mean()),
        "exact": bool(learned.certificate.exact),
        "wrong_images": int((outputs["binary"] != wanted[1]).any((1, 2, 3)).sum()),
        "images": len(test),
        "largest_error": int(np.abs(outputs["binary"].astype(int) - wanted[1]).max()),
        "inside_equals_scipy": float((outputs["binary"][..., 0][inner] == plain[inner]).mean()),
        "restarts": learned.runs,
        "warning": learned.warning,
        "steps": args.steps,
        "seed": args.seed,
        "seconds": round(time.perf_counter() - began, 1),
        "learned": describe(learned.binary, learned.certificate.neurons),
    }
    return row, learned, (test, wanted[1], outputs["binary"])


def images_for(operator: Operator, args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images of the two splits; made-up ones with `--smoke`."""
    if args.smoke:
        rng = np.random.default_rng(0)
        return tuple(made_up(rng, count, operator.channels[0]) for count in (64, 3))  # type: ignore
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS advises to install OpenCV
    counts = {"train": args.train_images, "test": args.test_images}
    parts = [data.load(operator.dataset, split, data_dir=args.data_dir, limit=count)[0]
             for split, count in counts.items()]  # fmt: skip
    for part in parts:
        if part.shape[-1] != operator.channels[0]:
            raise ValueError(f"{operator.dataset}: expected {operator.channels[0]} channel(s), no "
                             f"alpha, got images of {part.shape[1:]}")  # fmt: skip
    return parts[0], parts[1]


def made_up(rng: np.random.Generator, count: int, channels: int) -> np.ndarray:
    """Gray or colour rectangles on each other, with specks."""
    images = np.zeros((count, 28, 28, channels), np.uint8)
    for image in images:
        for _ in range(12):
            r, c = rng.integers(0, 24, 2)
            h, w = rng.integers(2, 12, 2)
            image[r : r + h, c : c + w] = rng.integers(0, 256, channels)
    specks = rng.random(images.shape) < 0.05
    return np.where(specks, rng.integers(0, 256, images.shape), images).astype(np.uint8)


def gallery(kinds: list[str], shown: list[tuple]) -> Any:
    """Inputs, targets and what the binary operators made, for the first test images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * len(kinds) * 1.5), layout="constrained")
    axes = figure.subplots(3 * len(kinds), 6)
    for k, (kind, (images, wanted, found)) in enumerate(zip(kinds, shown, strict=True)):
        for j in range(6):
            column = axes[3 * k : 3 * k + 3, j]
            for ax in column:
                ax.set_axis_off()
            if j < len(images):
                pictures = (np.squeeze(images[j]), wanted[j, ..., 0], found[j, ..., 0])
                wrong = int((found[j] != wanted[j]).sum())
                names = (f"{kind}: input", "target (scipy)", f"binary, {wrong} px differ")
                for ax, picture, name in zip(column, pictures, names, strict=True):
                    ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                    ax.set_title(name, fontsize=8)
    return figure


# %% [markdown]
# ## The main job


# %%
def main(argv: list[str] | None = None) -> int:
    """Learn both operators, print the table, write JSON and figures; returns the exit status."""
    args = parse(argv)
    try:
        viz.require_matplotlib()
        for kind in args.kinds:  # all data is there before anything is trained
            images_for(OPERATORS[kind], args)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        print(f"gray_operator: {error}", file=sys.stderr)
        return 2
    (args.out / "metrics.jsonl").unlink(missing_ok=True)
    if args.smoke:
        print(
            "SMOKE: made-up images stand in for Fashion-MNIST and CIFAR-10; the figures mean nothing."
        )
    about = common.metadata("gray_operator", unit="share of equal pixels", reference="scipy.ndimage",
                            smoke=args.smoke)  # fmt: skip
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
        save(args.out / name, lambda path, figure=figure: figure.savefig(path, dpi=80))
    about |= {"command": command(args),
              "seed": args.seed, "morphax": morphax.__version__, "load_end": os.getloadavg()[0]}  # fmt: skip
    document = {"metadata": about, "results": rows, "skipped": []}
    save(
        args.out / "gray_operator.json",
        lambda path: path.write_text(json_text(document, indent=1) + "\n"),
    )
    print(f"\nWritten to {args.out}: {', '.join(figures)}, gray_operator.json, metrics.jsonl")
    for row in rows:
        if row["warning"]:
            print(f"WARNING, {row['operator']}: {row['warning']}", file=sys.stderr)
    return 1 if any(row["warning"] for row in rows) and not args.smoke else 0


def say(row: dict[str, Any]) -> None:
    """Print a row."""
    print(f"  equal pixels: float {row['float']:.6f}  binary {row['binary']:.6f}  certified "
          f"{row['certified']:.2f}, network {'proved' if row['exact'] else 'not proved'}")  # fmt: skip
    print(
        f"  images with a wrong pixel: {row['wrong_images']} of {row['images']}, largest error "
        f"{row['largest_error']}; inside, equal to scipy's own: {row['inside_equals_scipy']:.6f}"
    )
    print("\n".join(f"  {line}" for line in row["learned"]), flush=True)


def command(args: argparse.Namespace) -> str:
    """The command that repeats the run, without the folders of this machine."""
    words = ["python", "examples/gray_operator.py", "--kinds", *args.kinds]
    words += ["--smoke"] if args.smoke else []
    for name in ("size", "train_images", "test_images", "steps", "restarts", "seed"):
        words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return shlex.join(words)


def save(path: Path, write: Callable[[Path], object]) -> None:
    """Write under another name, then rename: the file is there as a whole or not at all."""
    temporary = path.with_name(f"tmp-{path.name}")
    write(temporary)
    os.replace(temporary, path)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Options, checked."""
    parser = argparse.ArgumentParser(description="Learn gray and colour operators from level sets.")
    add = parser.add_argument
    add("--data-dir", type=Path, help="where the TFDS folders lie (default: MORPHAX_DATA)")
    add("--kinds", nargs="+", choices=OPERATORS, default=list(OPERATORS), help="which (both)")
    add("--size", type=int, default=5, help="side of the disk and of the windows, odd (5)")
    add("--train-images", type=int, default=400, help="(400)")
    add("--test-images", type=int, default=20, help="(20)")
    add("--steps", type=int, help="steps of a run (800)")
    add("--restarts", type=int, help="runs at most (8)")
    add("--seed", type=int, default=0, help="(0)")
    add("--out", type=Path, default=Path("out/gray_operator"), help="folder for the results")
    add("--smoke", action="store_true", help="a tiny run on made-up images")
    args = parser.parse_args(argv)
    if args.steps is None:
        args.steps = 16 if args.smoke else 800
    if args.restarts is None:
        args.restarts = 1 if args.smoke else 8
    for name, least in (("size", 3), ("train_images", 16), ("test_images", 1), ("steps", 1),
                        ("restarts", 1)):  # fmt: skip
        if getattr(args, name) < least:
            parser.error(
                f"--{name.replace('_', '-')}: expected {least} or more, got {getattr(args, name)}"
            )
    if args.size % 2 == 0 or args.size > 11:
        parser.error(f"--size: expected an odd number up to 11, got {args.size}")
    return args


if __name__ == "__main__":
    sys.exit(main())
