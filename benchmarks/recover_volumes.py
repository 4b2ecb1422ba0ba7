"""Are known operators recovered from pairs of volumes, exactly and with a proof?

Erosion, dilation, opening and closing by `elements.ball(5)`, several seeds, on generated volumes
(`data.solids`), without noise and with a share of the target voxels flipped, in training and in
validation: `morphax.recipes.learn_operator` with its defaults, which on volumes is the descent on
bits. Textbook balls are among its starts, as disks are in `recover_operators.py`.

    python benchmarks/recover_volumes.py [--seeds 3] [--noise 0,0.02] [--out DIR] [--smoke]

Writes `recover_volumes.json` and `.md`: certified or not, wrong voxels of the binary network on
unseen volumes without noise, whether the structuring elements are the target's (up to a translation
that cancels), seconds. Not a timing benchmark: seconds are only a hint.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common
from recover_operators import same_up_to_translation

import morphax
from morphax import data, elements, models, recipes

SIZE = 5
OPERATORS = {
    "erosion": morphax.erosion,
    "dilation": morphax.dilation,
    "opening": morphax.opening,
    "closing": morphax.closing,
}
COLUMNS = ("operation", "noise", "seed", "certified", "wrong", "element", "found_by", "seconds")


def row_of(operation: str, noise: float, seed: int, counts: tuple[int, int, int]) -> dict:
    """Learn one operator from volumes of its own seed; what came out."""
    ball, keys = elements.ball(SIZE), jax.random.split(jax.random.key(seed), 4)
    rng = np.random.default_rng(seed)
    pairs = []
    for key, count in zip(keys, counts, strict=False):
        x = data.solids(key, count)
        pairs.append((x, np.asarray(OPERATORS[operation](x[..., 0], ball))[..., None]))
    train, valid = ((x, y ^ (rng.random(y.shape) < noise)) for x, y in pairs[:2])
    channels = (1, 1) if operation in ("erosion", "dilation") else (1, 1, 1)
    begin = time.perf_counter()
    learned = recipes.learn_operator(
        keys[3], train, valid=valid, channels=channels, kernel_size=SIZE
    )
    seconds = time.perf_counter() - begin
    x, y = pairs[2]
    answer = np.asarray(jax.jit(models.bimonn)(learned.binary, jnp.asarray(x)))
    found = [np.asarray(morphax.structuring_element(one["bise"], 0, 0)) for one in learned.binary]
    return {
        "operation": operation,
        "noise": noise,
        "seed": seed,
        "certified": bool(learned.certificate.exact),
        "wrong": int((answer != y).sum()),
        "voxels": int(y.size),
        "element": "exact" if same_up_to_translation(found, ball) else "another",
        "found_by": learned.found_by,
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Learn all operators, print the rows and write them."""
    parser = common.options_parser(__doc__, smoke="one row of few volumes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", default="0,0.02", help="shares of flipped target voxels")
    options = parser.parse_args()
    about = common.metadata("recover_volumes", unit="", reference="", smoke=options.smoke)
    about["data"] = "data.solids: 96 volumes of 20 x 20 x 20 to learn from, 32 held out, 32 unseen"
    counts = (32, 8, 8) if options.smoke else (96, 32, 32)
    cases = [
        (operation, noise, seed)
        for noise in map(float, options.noise.split(","))
        for operation in OPERATORS
        for seed in range(options.seeds)
    ]
    rows = []
    for case in cases[:1] if options.smoke else cases:
        rows.append(row_of(*case, counts))
        print(rows[-1], flush=True)
    print(common.write_table(options.out / "recover_volumes.json", about, rows, COLUMNS))


if __name__ == "__main__":
    main()
