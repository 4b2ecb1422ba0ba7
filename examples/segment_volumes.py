# %% [markdown]
# # Segment noisy volumes
#
# Does a certified network of volumes segment noisy gray volumes better than slice by slice?
#
# Generated solids (`data.solids`, without flipped voxels) are bright on a dark ground, under strong
# Gaussian noise. The input of both networks is the volume above one threshold of Otsu, chosen on
# the training volumes. `recipes.learn_chain` learns a network of windows of 3 x 3 x 3 voxels from
# volumes, and one of 3 x 3 pixels from their slices, each in the same time.
#
#     python examples/segment_volumes.py      # five minutes
#     python examples/segment_volumes.py --seeds 1 --seconds 10
#
# It needs `pip install ".[examples]"`, no data set. The search has a limit of time, so that another
# machine may find other networks. The exit status is
#
# - 0 if every network is certified, and the one of volumes is better than both thresholds,
# - 1 if not,
# - 2 if options or folders are wrong; nothing was written.

# %%
import argparse
import sys
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

from morphax import data, models, recipes, viz
from morphax.data.otsu import otsu
from morphax.explain import explain
from morphax.program import build
from morphax.training import RunOptions

SIZE = (24, 24, 24)
GROUND, BRIGHT, NOISE = 100, 155, 30  # gray levels

# %% [markdown]
# ## Gray volumes and the solids in them


# %%
def draw(key: jax.Array, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return gray volumes, uint8 `(N, D, H, W, 1)`, and the solids in them, bool."""
    solids = data.solids(key, count, size=SIZE, noise=0.0)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    gray = rng.normal(np.where(solids, BRIGHT, GROUND), NOISE)
    return np.clip(gray, 0, 255).astype(np.uint8), solids


def dice(answer: np.ndarray, target: np.ndarray) -> float:
    """Return the Dice coefficient of all voxels together."""
    return round(float(2 * (answer & target).sum() / (answer.sum() + target.sum())), 4)


# %% [markdown]
# ## Both networks
#
# Slices are images of their own: `(N, D, H, W, 1)` becomes `(N D, H, W, 1)`. The same recipe learns
# from both.


# %%
def row_of(
    seed: int, seconds: float, counts: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn from one draw of volumes; return the scores on unseen ones, and what was made there."""
    keys = jax.random.split(jax.random.key(seed), 3)
    gray, target = draw(keys[0], counts[0])
    unseen, wanted = draw(keys[1], counts[1])
    threshold = otsu(gray)
    x, test = gray >= threshold, unseen >= threshold
    best = max(range(256), key=lambda level: dice(gray >= level, target))
    row = {"seed": seed, "threshold": threshold, "otsu": dice(test, wanted)}
    row["best_threshold"] = dice(unseen >= best, wanted)
    made = {"gray": unseen, "truth": wanted, "Otsu": test}
    for name in ("slices", "volumes"):
        shape = (-1, *SIZE[1:], 1) if name == "slices" else (-1, *SIZE, 1)
        learned = recipes.learn_chain(
            keys[2],
            (x.reshape(shape), target.reshape(shape)),
            kernel_size=3,
            run=RunOptions(time_limit=seconds),
        )
        answer = jax.jit(models.bimonn)(learned.binary, jnp.asarray(test.reshape(shape)))
        made[name] = np.asarray(answer).reshape(wanted.shape)
        row[name] = dice(made[name], wanted)
        row[f"{name}_certified"] = bool(learned.certificate.exact)
        row[f"{name}_stopped"] = learned.stopped
        program = build(models.bimonn, learned.binary, (1, *x.reshape(shape).shape[1:]))
        row[f"{name}_network"] = str(explain(program)).splitlines()[0]
    return row, made


# %% [markdown]
# ## The figure
#
# The middle slices of unseen volumes, at fixed quantiles of Dice of the network of volumes, so that
# none is picked by eye.


# %%
def figure_of(made: dict[str, np.ndarray]) -> Any:
    """Draw middle slices: gray, truth, Otsu's threshold, and both networks with their errors."""
    middle = {name: part[:, SIZE[0] // 2] for name, part in made.items()}
    names = {"Otsu": "Otsu", "slices": "by slices", "volumes": "by volumes"}
    predictions = {shown: middle[name] for name, shown in names.items()}
    return viz.segmentation_figure(
        middle["gray"], middle["truth"], predictions, quantiles=(0.1, 0.35, 0.6, 0.85)
    )


# %% [markdown]
# ## The main job


# %%
def main(argv: list[str] | None = None) -> int:
    """Learn for all seeds, print the rows and write them; return the exit status."""
    args = parse(argv)
    try:
        viz.require_matplotlib()
        args.out.mkdir(parents=True, exist_ok=True)
    except UNUSABLE as error:
        return refuse("segment_volumes", error)
    counts = (8, 2) if args.smoke else (48, 16)
    about = metadata("segment_volumes", unit="", reference="", smoke=args.smoke)
    about["command"] = command("segment_volumes", {"seeds": args.seeds, "seconds": args.seconds})
    about["data"] = f"{counts[0]} volumes of 24 x 24 x 24 to learn from, {counts[1]} unseen"
    about["seconds"] = args.seconds
    rows, figure = [], None
    print("Dice on unseen volumes:   seed   Otsu   best threshold   slices   volumes   certified")
    for seed in range(args.seeds):
        row, made = row_of(seed, args.seconds, counts)
        figure = figure or figure_of(made)
        certified = row["slices_certified"] and row["volumes_certified"]
        scores = f"{row['otsu']:.4f}{row['best_threshold']:17.4f}{row['slices']:9.4f}"
        print(f"{seed:30}   {scores}{row['volumes']:10.4f}   {'yes' if certified else 'no'}")
        rows.append(row)
    write_rows(args.out / "result.json", about, rows)
    write(args.out / "segment_volumes.png", lambda path: figure.savefig(path, dpi=70))
    print(f"Network of volumes of the last seed: {rows[-1]['volumes_network']}")
    print(f"Written to {args.out}: result.json, segment_volumes.png")
    proved = all(row["slices_certified"] and row["volumes_certified"] for row in rows)
    better = all(row["volumes"] > max(row["otsu"], row["best_threshold"]) for row in rows)
    return 0 if proved and better else 1


# %% [markdown]
# ## Options


# %%
def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the checked options."""
    parser = new_parser("segment_volumes", "Segment noisy volumes, and slices.", data_dir=False)
    parser.add_argument("--seeds", type=int, help="draws of volumes, one network each (3)")
    parser.add_argument("--seconds", type=float, help="limit of one search (30)")
    args = parser.parse_args(argv)
    fill(args, seeds=(1, 3), seconds=(1.0, 30.0))
    at_least(parser, args, seeds=1)
    if not args.seconds > 0:
        parser.error(f"--seconds: expected more than 0, got {args.seconds}")
    return args


if __name__ == "__main__":
    sys.exit(main())
