"""Does a certified network of volumes segment noisy gray volumes better than slice by slice?

Generated solids (`data.solids`, without flipped voxels) are bright on a dark ground, under strong
Gaussian noise. The input of both networks is the volume above one threshold of Otsu, chosen on the
training volumes. `morphax.recipes.learn_chain` learns a network of windows of 3 x 3 x 3 voxels from
volumes, and one of 3 x 3 pixels from their slices, each in the same time.

    python benchmarks/segment_volumes.py [--seeds 3] [--seconds 30] [--out DIR] [--smoke]

Writes `segment_volumes.json` and `.md`: Dice on unseen volumes of Otsu's threshold, of the
threshold that is best on the training volumes, of the network of slices and of the network of
volumes; both networks are certified or not. The search has a limit of time, so that another machine
may find other networks.
"""

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common

from morphax import data, models, recipes
from morphax.data.otsu import otsu
from morphax.training import RunOptions

SIZE = (24, 24, 24)
GROUND, BRIGHT, NOISE = 100, 155, 30  # gray levels
COLUMNS = ("seed", "otsu", "best_threshold", "slices", "volumes")
COLUMNS += ("slices_certified", "volumes_certified")


def draw(key: jax.Array, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return gray volumes, uint8 `(N, D, H, W, 1)`, and the solids in them, bool."""
    solids = data.solids(key, count, size=SIZE, noise=0.0)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    gray = rng.normal(np.where(solids, BRIGHT, GROUND), NOISE)
    return np.clip(gray, 0, 255).astype(np.uint8), solids


def dice(answer: np.ndarray, target: np.ndarray) -> float:
    """Return the Dice coefficient of all voxels together."""
    return round(float(2 * (answer & target).sum() / (answer.sum() + target.sum())), 4)


def row_of(seed: int, seconds: float, counts: tuple[int, int]) -> dict:
    """Learn both networks from one draw of volumes."""
    keys = jax.random.split(jax.random.key(seed), 3)
    (gray, target), (unseen, wanted) = (
        draw(key, count) for key, count in zip(keys, counts, strict=False)
    )
    threshold = otsu(gray)
    x, test = gray >= threshold, unseen >= threshold
    best = max(range(256), key=lambda level: dice(gray >= level, target))
    row = {"seed": seed, "threshold": threshold, "otsu": dice(test, wanted)}
    row["best_threshold"] = dice(unseen >= best, wanted)
    for name in ("slices", "volumes"):
        shape = (-1, *SIZE[1:], 1) if name == "slices" else (-1, *SIZE, 1)
        learned = recipes.learn_chain(
            keys[2],
            (x.reshape(shape), target.reshape(shape)),
            kernel_size=3,
            run=RunOptions(time_limit=seconds),
        )
        answer = jax.jit(models.bimonn)(learned.binary, jnp.asarray(test.reshape(shape)))
        row[name] = dice(np.asarray(answer).reshape(wanted.shape), wanted)
        row[f"{name}_certified"] = bool(learned.certificate.exact)
        row[f"{name}_stopped"] = learned.stopped
    return row


def main() -> None:
    """Learn for all seeds, print the rows and write them."""
    parser = common.options_parser(__doc__, smoke="one row of few volumes, in seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="of one search")
    options = parser.parse_args()
    about = common.metadata("segment_volumes", unit="", reference="", smoke=options.smoke)
    seconds, counts = (1.0, (8, 2)) if options.smoke else (options.seconds, (48, 16))
    about["data"] = f"{counts[0]} volumes of 24 x 24 x 24 to learn from, {counts[1]} unseen"
    about["seconds"] = seconds
    rows = []
    for seed in range(1 if options.smoke else options.seeds):
        rows.append(row_of(seed, seconds, counts))
        print(rows[-1], flush=True)
    print(common.write_table(options.out / "segment_volumes.json", about, rows, COLUMNS))


if __name__ == "__main__":
    main()
