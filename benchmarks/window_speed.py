"""How fast are hit-or-misses with votes on a large image, beside 20 extra-trees of scikit-learn?

    python benchmarks/window_speed.py [--side 4096] [--maps 256] [--out DIR] [--smoke]

Both learn the boundary of noisy drawings (Diskorect, 2 % salt and pepper) in a 9 x 9 window: the
votes in one level of `--maps` hit-or-misses, the trees with their defaults. The votes answer a
`--side` x `--side` image through the entry of a menu: bool in, bool out, packed inside, in bands of
rows. The trees answer some of its pixels (`see` and `predict`, also in parts), and their time for
all pixels is in proportion. One core (`taskset`), CPU time of the process, medians of five runs
(three of the trees) after one to warm up. `memory` is the largest resident size that the run of the
votes added, in MiB. Writes `window_speed.json` and `.md`. Needs scikit-learn.
"""

import os
import resource
import time
from collections.abc import Callable

import jax
import numpy as np
from _lib import common

from morphax import data
from morphax.data.window_patterns import count_patterns, see, square_window
from morphax.recipes import learn_window_votes, menu_entry, window_network

SIDE = 9
COLUMNS = ("contender", "pixels", "seconds", "spread", "ns_per_pixel", "ratio", "memory")


def pairs_of(rng: np.random.Generator, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images, and the inner boundaries of the clean ones."""
    below, right = np.roll(images, -1, 1), np.roll(images, -1, 2)
    targets = images & ~(below & right)
    noisy = np.where(rng.random(images.shape) < 0.02, rng.random(images.shape) < 0.5, images)
    return noisy, targets


def timed(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return median and spread of the CPU seconds of a call, after one call to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return float(np.median(times)), float(max(times) - min(times))


def main() -> None:
    """Learn both, time both, write the table."""
    parser = common.options_parser(__doc__, smoke="small images and few maps; it means nothing")
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--maps", type=int, default=256)
    options = parser.parse_args()
    if options.smoke:
        options.side, options.maps = 96, 8
    from sklearn.ensemble import ExtraTreesClassifier

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    about = common.metadata("window_speed", unit="s", reference="extra-trees", smoke=options.smoke)
    rng = np.random.default_rng(0)
    drawn = jax.jit(data.diskorect, static_argnums=1)(jax.random.key(0), 256)
    inputs, targets = pairs_of(rng, np.asarray(drawn)[..., 0])
    steps = 100 if options.smoke else 2000
    found = learn_window_votes(
        jax.random.key(0), (inputs, targets), clauses=options.maps, window=SIDE, steps=steps
    )
    network = window_network(found.levels, border=found.border)
    held = (inputs[:16], targets[:16])
    entry = menu_entry("votes", network.apply, network.params, held, border=found.border)
    tile = -(-options.side // inputs.shape[1])
    image = np.tile(inputs[:1], (1, tile, tile))[0, : options.side, : options.side]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = entry(image)
    seconds, spread = timed(lambda: entry(image), 5)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    # The trees learn each pattern twice, with the weights of its two targets.
    window = square_window(SIDE)
    examples = [(x[..., None], y, np.ones_like(y)) for x, y in zip(inputs, targets, strict=True)]
    patterns = count_patterns(examples, window)
    weight = np.concatenate([patterns.positive, patterns.negative])
    bits, side = np.concatenate([patterns.bits] * 2), np.repeat([True, False], len(patterns.bits))
    trees = ExtraTreesClassifier(n_estimators=20, random_state=0)
    trees.fit(bits[weight > 0], side[weight > 0], weight[weight > 0])
    pixels = np.arange(min(image.size, 1 << 18))

    def run_trees() -> np.ndarray:
        parts = np.array_split(pixels, -(-len(pixels) // 50_000))
        return np.concatenate([trees.predict(see(image[..., None], window, p)) for p in parts])

    theirs, their_spread = timed(run_trees, 3)
    same = float((run_trees() == answer.ravel()[pixels]).mean())
    ours, trees_each = seconds / image.size, theirs / len(pixels)
    rows = [
        {
            "contender": f"votes of {len(found.levels[0].literals)} hit-or-misses",
            "pixels": image.size,
            "seconds": round(seconds, 4),
            "spread": round(spread, 4),
            "ns_per_pixel": round(1e9 * ours, 2),
            "ratio": round(trees_each / ours, 1),
            "memory": round(memory, 1),
            "literals": int(found.levels[0].literals.sum()),
            "certified": bool(entry.certificate.exact),
        },
        {
            "contender": "20 extra-trees",
            "pixels": len(pixels),
            "seconds": round(theirs, 4),
            "spread": round(their_spread, 4),
            "ns_per_pixel": round(1e9 * trees_each, 2),
            "ratio": 1.0,
        },
    ]
    about["same_answers"] = round(same, 4)
    rows = [{**row, **common.row_metadata(about)} for row in rows]
    print(common.write_table(options.out / "window_speed.json", about, rows, COLUMNS))


if __name__ == "__main__":
    main()
