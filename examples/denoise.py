# %% [markdown]
# # Learn to find strokes in noise: a union of openings
#
# Noisti (arXiv 2401.03830): sticks in three directions under strong noise. The target is the clean
# drawing, which is not the output of any operator. A union of three openings by sticks comes close,
# and a BiMoNN of channels [1, 3, 1] can express it. `recipes.learn_union` learns the three maps one
# after the other; docs/notes/learning.md says why.
#
#     python examples/denoise.py              # five seeds
#     python examples/denoise.py --smoke      # seconds; its figures mean nothing
#
# It needs `pip install ".[examples]"`.

# %%
import argparse
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import (
    UNUSABLE,
    at_least,
    command,
    fill,
    metadata,
    new_parser,
    refuse,
    write,
    write_rows,
)

import morphax
from morphax import data, viz
from morphax.explain import explain
from morphax.morphology import elements, operators
from morphax.neurons import models
from morphax.objectives import metrics
from morphax.program import build
from morphax.recipes import Learned, learn_union

DIRECTIONS = {"vertical": 90, "horizontal": 0, "diagonal": 135}
SIZE = 5  # pixels of the sticks of the hand-made operator, and side of the windows

# %% [markdown]
# ## The operator made by hand, to compare with


# %%
def by_hand(images: jax.Array) -> jax.Array:
    """Return the union of the openings by the three sticks, bool `(N, H, W, 1)` as the images."""
    planes = images[..., 0]
    opened = [
        operators.opening(planes, elements.stick(SIZE, angle)) for angle in DIRECTIONS.values()
    ]
    return jnp.stack(opened).any(0)[..., None]


def pixels_of(selem: np.ndarray) -> np.ndarray:
    """Return the pixels of a structuring element, counted from its first row and column."""
    pixels = np.argwhere(selem)
    return pixels - pixels.min(0) if len(pixels) else pixels


def sticks_found(binary: Any) -> list[str]:
    """Return the directions of the maps that erode by a whole stick, anywhere in the window."""
    bank, directions = binary[0]["bise"], set()
    for i in np.flatnonzero(np.asarray(bank.erosion[0])):
        pixels = pixels_of(np.asarray(morphax.structuring_element(bank, 0, int(i))))
        for name, angle in DIRECTIONS.items():
            if np.array_equal(pixels, pixels_of(elements.stick(SIZE, angle))):
                directions.add(name)
    return sorted(directions)


# %% [markdown]
# ## One seed


# %%
def judge(learned: Learned, test: tuple, seed: int, seconds: float) -> dict[str, Any]:
    """Return a row of the table, on images that training has not seen."""
    noisy, clean = test
    predicted = models.bimonn(learned.params, noisy.astype(jnp.float32)) > 0.5
    binary = models.bimonn(learned.binary, noisy)
    hand = by_hand(noisy)
    program = build(models.bimonn, learned.binary, (1, *noisy.shape[1:]))
    return {
        "seed": seed,
        "noisy": float(metrics.dice(noisy, clean)),
        "by_hand": float(metrics.dice(hand, clean)),
        "float": float(metrics.dice(predicted, clean)),
        "binary": float(metrics.dice(binary, clean)),
        "pixels_that_differ": int((predicted != binary).sum()),
        "certified": float(metrics.certified_share(learned.params)),
        "exact": bool(learned.certificate.exact),
        "sticks": sticks_found(learned.binary),
        "says": str(explain(program)).splitlines()[0],
        "steps": int(sum(record["steps"] for record in learned.history)),
        "seconds": round(seconds, 1),
    }


def gallery(test: tuple, binary: Any) -> Any:
    """Draw three images: noisy, clean, by hand and learned."""
    from matplotlib.figure import Figure

    noisy, clean = (part[:3] for part in test)
    pictures = {
        "noisy": noisy,
        "clean": clean,
        "by hand": by_hand(noisy),
        "learned, binary": models.bimonn(binary, noisy),
    }
    figure = Figure(figsize=(10, 7.4), layout="constrained")
    axes = figure.subplots(len(noisy), len(pictures), squeeze=False)
    for row, (name, images) in enumerate(pictures.items()):
        for i, image in enumerate(np.asarray(images)):
            ax = axes[i, row]
            ax.set_axis_off()
            ax.imshow(~image[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            dice = float(metrics.dice(jnp.asarray(image[None]), clean[i : i + 1]))
            ax.set_title(f"{name}, Dice {dice:.3f}" if name != "clean" else name, fontsize=9)
    return figure


# %% [markdown]
# ## The main job


# %%
def main(argv: list[str] | None = None) -> int:
    """Learn from several seeds, print the table, write JSON and figures; return the exit status."""
    args = parse(argv)
    try:
        viz.require_matplotlib()
        args.out.mkdir(parents=True, exist_ok=True)
    except UNUSABLE as error:
        return refuse("denoise", error)
    size = (24, 24) if args.smoke else (70, 70)
    shapes = 5 if args.smoke else 30
    counts = (32, 8, 8) if args.smoke else (4096, 128, 500)
    train, valid, test = (
        data.noisti(jax.random.key(1000 + i), count, size=size, n_shapes=shapes)
        for i, count in enumerate(counts)
    )
    options = {"steps": 10, "starts": 1, "joint_steps": 10} if args.smoke else {}
    about = metadata(
        "denoise", unit="Dice", reference="the operator made by hand", smoke=args.smoke
    )
    about["command"] = command("denoise", {"seeds": args.seeds, "smoke": args.smoke})
    print(" ".join(f"{name:>{width}}" for name, width in COLUMNS.items()), " sticks")
    rows, results = [], []
    for seed in range(args.seeds):
        start = time.perf_counter()
        learned = learn_union(jax.random.key(seed), train, valid=valid, kernel_size=SIZE, **options)
        results.append(learned)
        rows.append(judge(learned, test, seed, time.perf_counter() - start))
        say(rows[-1])
        write_rows(args.out / "denoise.json", about, rows)

    # The seed that is best on the test images is shown; the table has all of them.
    best = results[max(range(args.seeds), key=lambda i: rows[i]["binary"])]
    figures = {
        "denoise.png": gallery(test, best.binary),
        "denoise_network.png": viz.network_figure((models.bimonn, best.binary, (1, *size, 1))),
    }
    for name, figure in figures.items():
        write(args.out / name, lambda path, figure=figure: figure.savefig(path, dpi=90))
    shape = (1, *size, 1)
    morphax.save(args.out / "model.npz", best.binary, apply=models.bimonn, input_shape=shape)
    print(explain(build(models.bimonn, best.binary, shape)))
    print(f"\nWritten to {args.out}: denoise.json, {', '.join(figures)}, model.npz (the best seed)")
    if best.warning:
        print(f"WARNING: {best.warning}", file=sys.stderr)
    return 1 if best.warning and not args.smoke else 0


COLUMNS = {"seed": 4, "noisy": 7, "by hand": 8, "float": 7, "binary": 7, "certified": 9}


def say(row: dict[str, Any]) -> None:
    """Print a row."""
    dice = f"{row['noisy']:>7.4f} {row['by_hand']:>8.4f} {row['float']:>7.4f} {row['binary']:>7.4f}"
    sticks = ", ".join(row["sticks"]) or "-"
    note = "" if row["exact"] else "  (network not certified)"
    print(f"{row['seed']:>4} {dice} {row['certified']:>9.2f}  {sticks}{note}", flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the checked options."""
    parser = new_parser(
        "denoise", "Learn to denoise sticks by a union of openings.", data_dir=False
    )
    parser.add_argument("--seeds", type=int, help="number of seeds to learn from (5)")
    args = parser.parse_args(argv)
    fill(args, seeds=(1, 5))
    at_least(parser, args, seeds=1)
    return args


if __name__ == "__main__":
    sys.exit(main())
