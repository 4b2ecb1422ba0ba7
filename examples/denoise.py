# %% [markdown]
# # Learn to find strokes in noise: a union of openings
#
# Noisti (arXiv 2401.03830): sticks in three directions, drowned in noise; the target is the clean
# drawing, which is not the output of any operator. A union of three openings by sticks comes close, and
# is what a BiMoNN of channels [1, 3, 1] can express. `recipes.learn_union` learns the three maps one
# after the other; why: docs/notes/learning.md.
#
#     python examples/denoise.py                 # five seeds
#     python examples/denoise.py --smoke         # seconds; its figures mean nothing
#
# It needs `pip install 'morphax[examples]'`.

# %%
import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from morphax import data, viz
from morphax.explain import explain
from morphax.morphology import elements, operators
from morphax.neurons import models
from morphax.objectives import metrics
from morphax.program import build
from morphax.recipes import Learned, learn_union

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _lib import common

DIRECTIONS = {"vertical": 90, "horizontal": 0, "diagonal": 135}
SIZE = 5  # pixels of the sticks of the hand-made operator, and side of the windows

# %% [markdown]
# ## The operator made by hand, to compare with


# %%
def by_hand(images: jax.Array) -> jax.Array:
    """Union of the openings by the three sticks of five pixels: bool `(N, H, W, 1)` to the same."""
    planes = images[..., 0]
    opened = [
        operators.opening(planes, elements.stick(SIZE, angle)) for angle in DIRECTIONS.values()
    ]
    return jnp.stack(opened).any(0)[..., None]


def sticks_found(binary: Any) -> list[str]:
    """Directions of the maps whose erosion is by the whole stick, wherever it lies in the window."""
    found = []
    for i in range(np.asarray(binary[0]["bise"].selem).shape[-1]):
        selem = np.asarray(morphax.structuring_element(binary[0]["bise"], 0, i))
        pixels = np.argwhere(selem) - np.argwhere(selem).min(0) if selem.any() else selem
        for name, angle in DIRECTIONS.items():
            stick = np.argwhere(elements.stick(SIZE, angle))
            if bool(binary[0]["bise"].erosion[0, i]) and np.array_equal(
                pixels, stick - stick.min(0)
            ):
                found.append(name)
    return sorted(set(found))


# %% [markdown]
# ## One seed


# %%
def judge(learned: Learned, test: tuple, seed: int, seconds: float) -> dict[str, Any]:
    """A row of the table, on images that no one has seen."""
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
    """Noisy, clean, by hand and learned, for three images."""
    from matplotlib.figure import Figure

    noisy, clean = (part[:3] for part in test)
    pictures = {"noisy": noisy, "clean": clean, "by hand": by_hand(noisy),
                "learned, binary": models.bimonn(binary, noisy)}  # fmt: skip
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
    """Learn from several seeds, print the table, write JSON and figures; returns the exit status."""
    args = parse(argv)
    try:
        viz.require_matplotlib()
        args.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, OSError) as error:
        print(f"denoise: {error}", file=sys.stderr)
        return 2
    size = (24, 24) if args.smoke else (70, 70)
    shapes = 5 if args.smoke else 30
    counts = (64, 16, 16) if args.smoke else (4096, 128, 500)
    train, valid, test = (
        data.noisti(jax.random.key(1000 + i), count, size=size, n_shapes=shapes)
        for i, count in enumerate(counts)
    )
    options = {"steps": 20, "starts": 2, "joint_steps": 20} if args.smoke else {}
    about = common.metadata("denoise", unit="Dice", reference="the operator made by hand",
                            smoke=args.smoke)  # fmt: skip
    words = ["python", "examples/denoise.py", "--seeds", str(args.seeds), *["--smoke"] * args.smoke]
    about["command"] = shlex.join(words)
    print(
        f"{'seed':>4} {'noisy':>7} {'by hand':>8} {'float':>7} {'binary':>7} {'certified':>9}  sticks"
    )
    rows, best = [], None
    for seed in range(args.seeds):
        began = time.perf_counter()
        learned = learn_union(jax.random.key(seed), train, valid=valid, kernel_size=SIZE, **options)
        row = judge(learned, test, seed, time.perf_counter() - began)
        rows.append(row)
        print(f"{seed:>4} {row['noisy']:>7.4f} {row['by_hand']:>8.4f} {row['float']:>7.4f} "
              f"{row['binary']:>7.4f} {row['certified']:>9.2f}  {', '.join(row['sticks']) or '-'}"
              f"{'' if row['exact'] else '  (network not certified)'}", flush=True)  # fmt: skip
        common.write_rows(args.out / "denoise.json", about, rows)
        if best is None or row["binary"] > best[0]:
            best = (row["binary"], learned)
    assert best is not None
    binary = best[1].binary
    figures = {
        "denoise.png": gallery(test, binary),
        "denoise_network.png": viz.network_figure((models.bimonn, binary, (1, *size, 1))),
    }
    for name, figure in figures.items():
        save(args.out / name, lambda path, figure=figure: figure.savefig(path, dpi=90))
    morphax.save(args.out / "model.npz", binary, apply=models.bimonn, input_shape=(1, *size, 1))
    print(explain(build(models.bimonn, binary, (1, *size, 1))))
    print(f"\nWritten to {args.out}: denoise.json, {', '.join(figures)}, model.npz (the best seed)")
    if best[1].warning:
        print(f"WARNING: {best[1].warning}", file=sys.stderr)
    return 1 if best[1].warning and not args.smoke else 0


def save(path: Path, write: Callable[[Path], object]) -> None:
    """Write under another name, then rename: the file is there as a whole or not at all."""
    temporary = path.with_name(f"tmp-{path.name}")
    write(temporary)
    os.replace(temporary, path)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Options, checked."""
    parser = argparse.ArgumentParser(description="Learn to denoise sticks by a union of openings.")
    parser.add_argument("--seeds", type=int, help="how many (5)")
    parser.add_argument("--out", type=Path, default=Path("out/denoise"), help="for the results")
    parser.add_argument("--smoke", action="store_true", help="a tiny run")
    args = parser.parse_args(argv)
    if args.seeds is None:
        args.seeds = 1 if args.smoke else 5
    if args.seeds < 1:
        parser.error(f"--seeds: expected 1 or more, got {args.seeds}")
    return args


if __name__ == "__main__":
    sys.exit(main())
