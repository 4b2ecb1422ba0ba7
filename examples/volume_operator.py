# %% [markdown]
# # An operator on volumes, as a C program
#
# An opening by a ball is learned from pairs of small volumes, certified and explained. Then it is
# written as C, compiled by the C compiler of the system, and run on a volume larger than all that
# it was learned from. The program reads and writes slices, one PBM image each, and keeps a few of
# them in memory. Every voxel is compared with the network's, and with those of `scipy.ndimage`.
#
#     python examples/volume_operator.py      # ten seconds
#     python examples/volume_operator.py --operation closing --size 3 --shape 20 300 400
#
# It needs `pip install ".[examples]"` and one of cc, gcc, clang. The exit status is
#
# - 0 if all forms of the operator gave the same bits on the large volume,
# - 1 if they did not,
# - 2 if options or folders are wrong; nothing was written,
# - 3 if nothing was compiled or the program did not run; the rest is written (0 without a compiler
#   under `--smoke`).

# %%
import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _c_program import compile_and_run, to_pbm
from _common import UNUSABLE, at_least, fill, metadata, new_parser, odd, refuse, write, write_json
from scipy import ndimage

import morphax
from morphax import data, elements, export, models, recipes, viz
from morphax.explain import explain
from morphax.program import Program, build, run
from morphax.program.resize import resized

NAME = "learned"  # of the C files, and of the functions in them
REFERENCE, COMPILED = "learned network, numpy", "learned network, C"
LAYERS = {  # of each operator: an erosion and a dilation in this order
    "erosion": ("erosion",),
    "dilation": ("dilation",),
    "opening": ("erosion", "dilation"),
    "closing": ("dilation", "erosion"),
}

# %% [markdown]
# ## Volumes and their targets
#
# `data.solids` draws balls and boxes in a volume, and flips single voxels. The target is what an
# operator by a ball makes of it. For the large volume, many drawings are put together.


# %%
def pairs(args: argparse.Namespace, part: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return volumes and their targets, bool `(count, 20, 20, 20, 1)`."""
    x = data.solids(jax.random.key(10 * args.seed + part), count, noise=args.noise)
    operator = getattr(morphax, args.operation)
    return x, np.asarray(operator(x[..., 0], elements.ball(args.size)))[..., None]


def large_volume(args: argparse.Namespace) -> np.ndarray:
    """Return the volume for the C program, bool `(slices, rows, columns)`."""
    many = max(1, int(np.prod(args.shape)) // 20_000)
    drawn = data.solids(jax.random.key(10 * args.seed + 9), many, size=args.shape, noise=0.0)
    rng = np.random.default_rng(args.seed)
    return drawn[..., 0].any(0) ^ (rng.random(args.shape) < args.noise)


def by_scipy(args: argparse.Namespace, volume: np.ndarray) -> np.ndarray:
    """Return what `scipy.ndimage` makes of a volume; beyond it lies what changes nothing."""
    ball = np.asarray(elements.ball(args.size))
    for layer in LAYERS[args.operation]:
        operator = getattr(ndimage, f"binary_{layer}")
        volume = operator(volume, ball, border_value=int(layer == "erosion"))
    return volume


# %% [markdown]
# ## The main job


# %%
def main(argv: list[str] | None = None) -> int:
    """Learn, certify, write as C, compile, run, compare; return the exit status."""
    args = parse(argv)
    try:
        viz.require_matplotlib()
        args.out.mkdir(parents=True, exist_ok=True)
    except UNUSABLE as error:
        return refuse("volume_operator", error)
    train, valid = pairs(args, 0, args.volumes), pairs(args, 1, max(8, args.volumes // 3))
    start = time.perf_counter()
    learned = recipes.learn_operator(
        jax.random.key(args.seed),
        train,
        valid=valid,
        channels=(1,) * (len(LAYERS[args.operation]) + 1),
        kernel_size=args.size,
    )
    seconds = time.perf_counter() - start
    program = build(models.bimonn, learned.binary, train[0].shape)
    exact = bool(learned.certificate.exact)
    print(f"Learned from {args.volumes} volumes of 20 x 20 x 20 in {seconds:.1f} s:")
    print(*(f"  {line}" for line in str(explain(program)).splitlines()), sep="\n")
    print(f"Certified: {exact}. Wrong voxels of held-out volumes: {learned.verdict.error:.2%}\n")
    if learned.warning:
        print(f"WARNING: {learned.warning}", file=sys.stderr)
    morphax.save(
        args.out / "model.npz",
        learned.binary,
        apply=models.bimonn,
        input_shape=train[0].shape,
        metadata={"learned": args.operation, "exact": exact, "seed": args.seed},
    )
    export.c(program, args.out, name=NAME, layout="pixels", main=True)
    result = compare(args, program) | {
        "about": metadata("volume_operator", unit="s", reference=REFERENCE, smoke=args.smoke),
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        "expression": str(explain(program)),
        "exact": exact,
        "seconds_to_learn": round(seconds, 1),
    }
    write_json(args.out / "result.json", result)
    print(f"Written to {args.out}: {NAME}.c, {NAME}.h, model.npz, volume_operator.png, result.json")
    return result["status"]


def compare(args: argparse.Namespace, program: Program) -> dict[str, Any]:
    """Run all forms of the operator on the large volume, and compare their bits."""
    volume = large_volume(args)
    ball, operator = elements.ball(args.size), getattr(morphax, args.operation)
    network = resized(program, volume.shape)
    forms: dict[str, Callable[[], np.ndarray]] = {
        REFERENCE: lambda: run(network, volume[None, ..., None])[0, ..., 0],
        f"morphax.{args.operation}": lambda: np.asarray(operator(volume, ball)),
        "scipy.ndimage": lambda: by_scipy(args, volume),
    }
    outputs, seconds = {}, {}
    for name, form in forms.items():
        start = time.perf_counter()
        outputs[name] = form()
        seconds[name] = time.perf_counter() - start
    reason, status = None, 0
    try:
        # Slices in, slices out: the program does not know how many there will be.
        outputs[COMPILED], seconds[COMPILED] = compile_and_run(
            args.out / f"{NAME}.c", to_pbm(volume), volume.shape
        )
    except (LookupError, RuntimeError) as error:
        reason, status = str(error), 0 if args.smoke and isinstance(error, LookupError) else 3
    differ = {name: int((bits != outputs[REFERENCE]).sum()) for name, bits in outputs.items()}
    print(f"{f'A volume of {volume.shape}':28}voxels that differ   seconds")
    for name, count in differ.items():
        print(f"  {name:26}{count:18,}{seconds[name]:10.3f}")
    if reason:
        print(f"volume_operator: {reason} (exit status {status})", file=sys.stderr)
    last = outputs.get(COMPILED, outputs[REFERENCE])
    figure = draw(volume, outputs["scipy.ndimage"], last, args.operation)
    write(args.out / "volume_operator.png", lambda path: figure.savefig(path, dpi=90))
    return {
        "bits_that_differ": differ,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "not_compiled": reason,
        "status": 1 if any(differ.values()) else status,
    }


# %% [markdown]
# ## The figure
#
# Two slices, and a section across all slices, which shows that the operator is one of volumes: a
# solid that is thin across the slices is removed, too.


# %%
def draw(volume: np.ndarray, target: np.ndarray, result: np.ndarray, operation: str) -> Any:
    """Draw slices of the volume, of its target, and of what the program makes of it."""
    from matplotlib.figure import Figure

    depth, height, width = volume.shape
    cuts = {
        f"slice {depth // 3}": np.s_[depth // 3],
        f"slice {2 * depth // 3}": np.s_[2 * depth // 3],
        f"row {height // 2}": np.s_[:, height // 2],
    }
    wrong = int((target != result).sum())
    output = f"output: {wrong} voxels differ"
    titles = f"input: {depth} slices", f"target: {operation} by scipy", output
    tall = [volume[cut].shape[0] for cut in cuts.values()]
    size = 10.0, 0.7 + 3.15 * sum(tall) / width
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(3, 3, squeeze=False, height_ratios=tall)
    for row, (label, cut) in zip(axes, cuts.items(), strict=True):
        for ax, solid in zip(row, (volume, target, result), strict=True):
            ax.imshow(~solid[cut], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(label, fontsize=10)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=11)
    return figure


# %% [markdown]
# ## Options


# %%
def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the checked options."""
    parser = new_parser(
        "volume_operator", "From pairs of volumes to a compiled C program.", data_dir=False
    )
    add = parser.add_argument
    add("--operation", choices=LAYERS, default="opening", help="operator to learn (opening)")
    add("--size", type=int, help="diameter of its ball, odd (5)")
    add("--noise", type=float, default=0.005, help="share of the voxels that are flipped (0.005)")
    add("--volumes", type=int, help="pairs to learn from (96)")
    sides = ("SLICES", "ROWS", "COLUMNS")
    add("--shape", type=int, nargs=3, metavar=sides, help="of the large volume (48 96 128)")
    add("--seed", type=int, default=0, help="the same seed gives the same network (0)")
    args = parser.parse_args(argv)
    fill(args, size=(3, 5), volumes=(24, 96), shape=((12, 40, 70), (48, 96, 128)))
    args.shape = tuple(args.shape)
    at_least(parser, args, size=3, volumes=1)
    odd(parser, args.size)
    if min(args.shape) < 1:
        parser.error(f"--shape: expected sizes of 1 or more, got {args.shape}")
    if not 0 <= args.noise <= 1:
        parser.error(f"--noise: expected a share from 0 to 1, got {args.noise}")
    return args


if __name__ == "__main__":
    sys.exit(main())
