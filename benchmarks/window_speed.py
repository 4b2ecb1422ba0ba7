"""How fast are hit-or-misses with votes on a large image, beside 20 extra-trees of scikit-learn?

    python benchmarks/window_speed.py [--set FOLDER] [--side 4096] [--maps 256] [--out DIR]
        [--smoke]

Both learn one task in a 9 x 9 window: the pairs of `--set` (FOLDER/train/input|target|mask), or the
boundary of noisy drawings (Diskorect, 2 % salt and pepper); the votes in one level of `--maps`
hit-or-misses, the trees with their defaults. The votes answer a `--side` x `--side` image in two
ways, bool in and bool out, packing included: through the entry of a menu, in bands of rows, and by
`net_apply` of the exported C (pixel layout, `cc -O3 -march=native`), in tiles. The trees answer
some of its pixels (`see` and `predict`, also in parts), and their time for all pixels is in
proportion. One core, CPU
time of the process, medians of five runs (three of the trees) after one to warm up. `memory` is
what the runs of the entry added to the largest resident size, in MiB. Writes `window_speed.json`
and `.md`. Needs scikit-learn and a C compiler.
"""

import ctypes
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _lib import common
from _lib.c_library import at, library
from _lib.one_core import bind
from PIL import Image

from morphax import data
from morphax.data.image_lists import Example, read_pairs
from morphax.data.window_patterns import count_patterns, see, square_window
from morphax.recipes import learn_window_votes, menu_entry, window_network
from morphax.recipes.menu.entries import MenuEntry

SIDE = 9
COLUMNS = ("contender", "pixels", "seconds", "spread", "ns_per_pixel", "ratio", "memory")


def pairs_of(rng: np.random.Generator, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images, and the inner boundaries of the clean ones."""
    below, right = np.roll(images, -1, 1), np.roll(images, -1, 2)
    targets = images & ~(below & right)
    noisy = np.where(rng.random(images.shape) < 0.02, rng.random(images.shape) < 0.5, images)
    return noisy, targets


def read_set(folder: Path) -> list[Example]:
    """Return the training pairs of a folder, masks included."""
    sides: dict[str, list[np.ndarray]] = {"input": [], "target": [], "mask": []}
    for side, images in sides.items():
        paths = sorted((folder / "train" / side).glob("*.png"))
        images += [np.asarray(Image.open(path).convert("L")) > 127 for path in paths]
    return read_pairs((sides["input"], sides["target"]), masks=sides["mask"] or None)


def in_c(entry: MenuEntry, folder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the exported C, which works in bands of rows, as a function of bool `(H, W)`."""
    lib, _ = library(entry.program, folder, layout="pixels")
    workspaces: dict[tuple[int, ...], np.ndarray] = {}

    def run(image: np.ndarray) -> np.ndarray:
        size = ctypes.c_size_t(image.shape[1]), ctypes.c_size_t(image.shape[0])
        if image.shape not in workspaces:
            workspaces[image.shape] = np.zeros(lib.net_apply_words(*size), np.uint64)
        answer = np.empty(image.shape, np.uint8)
        lib.net_apply(at(image), *size, at(answer), at(workspaces[image.shape]))
        return answer.view(bool)

    return run


def timed(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return median and spread of the CPU seconds of a call, after one call to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return float(np.median(times)), float(max(times) - min(times))


def learn_entry(examples: list[Example], *, maps: int, steps: int) -> tuple[MenuEntry, dict]:
    """Learn votes; return them as an entry of a menu, and what is to be said about them."""
    sides: list[list[np.ndarray]] = [list(side) for side in zip(*examples, strict=True)]
    inputs, targets, masks = sides
    options = {"clauses": maps, "window": SIDE, "steps": steps, "masks": masks}
    found = learn_window_votes(jax.random.key(0), (inputs, targets), **options)
    network = window_network(found.levels, border=found.border)
    held = (inputs[:4], targets[:4])
    entry = menu_entry("votes", network.apply, network.params, held, border=found.border)
    literals = found.levels[0].literals
    exact = bool(entry.certificate.exact)
    return entry, {"maps": len(literals), "literals": int(literals.sum()), "certified": exact}


def trees_of(
    examples: list[Example], image: np.ndarray, pixels: np.ndarray
) -> Callable[[], np.ndarray]:
    """Fit 20 extra-trees; return their answer to some pixels of an image as a function."""
    from sklearn.ensemble import ExtraTreesClassifier

    window = square_window(SIDE)
    patterns = count_patterns(examples, window)
    # Each pattern comes twice, with the weights of its positive and of its negative pixels.
    weight = np.concatenate([patterns.positive, patterns.negative])
    bits, side = np.concatenate([patterns.bits] * 2), np.repeat([True, False], len(patterns.bits))
    trees = ExtraTreesClassifier(n_estimators=20, random_state=0)
    trees.fit(bits[weight > 0], side[weight > 0], weight[weight > 0])

    def run() -> np.ndarray:
        parts = np.array_split(pixels, -(-len(pixels) // 50_000))
        return np.concatenate([trees.predict(see(image[..., None], window, p)) for p in parts])

    return run


def main() -> None:
    """Learn both, time both, write the table."""
    parser = common.options_parser(__doc__, smoke="small images and few maps; it means nothing")
    parser.add_argument("--set", type=Path, help="folder of pairs; generated ones by default")
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--maps", type=int, default=256)
    options = parser.parse_args()
    if options.smoke:
        options.side, options.maps = 96, 8
    bind()
    about = common.metadata("window_speed", unit="s", reference="extra-trees", smoke=options.smoke)
    if options.set is None:
        drawn = jax.jit(data.diskorect, static_argnums=1)(jax.random.key(0), 256)
        examples = read_pairs(pairs_of(np.random.default_rng(0), np.asarray(drawn)[..., 0]))
    else:
        examples = read_set(options.set)
    steps = 100 if options.smoke else 2000
    entry, votes = learn_entry(examples, maps=options.maps, steps=steps)
    one = examples[0][0][..., 0]
    tiles = [-(-options.side // side) for side in one.shape]
    image = np.ascontiguousarray(np.tile(one, tiles)[: options.side, : options.side])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = entry(image)
    in_jax = timed(lambda: entry(image), 5)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    with tempfile.TemporaryDirectory() as folder:
        run_c = in_c(entry, folder)
        assert (run_c(image) == answer).all()
        in_c_times = timed(lambda: run_c(image), 5)
    pixels = np.arange(min(image.size, 1 << 18))
    run_trees = trees_of(examples, image, pixels)
    theirs = timed(run_trees, 3)
    same = float((run_trees() == answer.ravel()[pixels]).mean())
    each = theirs[0] / len(pixels)

    def row(name: str, count: int, times: tuple[float, float], **more: Any) -> dict[str, Any]:
        seconds, spread = times
        return {
            "contender": name,
            "pixels": count,
            "seconds": round(seconds, 4),
            "spread": round(spread, 4),
            "ns_per_pixel": round(1e9 * seconds / count, 2),
            "ratio": round(each * count / seconds, 1),
            **more,
            **common.row_metadata(about),
        }

    rows = [
        row("votes, entry of a menu", image.size, in_jax, memory=round(memory, 1)),
        row("votes, exported C", image.size, in_c_times),
        row("20 extra-trees", len(pixels), theirs),
    ]
    about |= votes | {"same_answers": round(same, 4)}
    print(common.write_table(options.out / "window_speed.json", about, rows, COLUMNS))


if __name__ == "__main__":
    main()
