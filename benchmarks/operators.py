"""What do binary operators cost on one core, against OpenCV, scipy, scikit-image and PyTorch?

    python benchmarks/operators.py [--smoke] [--budget SECONDS] [--out DIR]

Erosions and an opening by several elements, on 256 images of 256 x 256 and on one image of 4096 x
4096 (the same pixels): smoothed noise above its median, so that erosions neither lose nor keep
everything. Every result is compared with scipy's, bit for bit, before anything is timed; `error` is
the share of pixels that differ (0 in every row that is timed). `ratio` is to OpenCV in the same
case.

One core: XLA_FLAGS and OMP_NUM_THREADS are set, and the process is bound to one core, before jax is
imported (the flags alone left XLA 1.3 to 1.9 cores); OpenCV and PyTorch are told. Where a process
cannot be bound, morphax is not held to one core. `cores_used` in the
metadata is the largest CPU time a second of each contender: what it says is what happened. The
process keeps the memory that it has freed (`MALLOC`), so that no contender pays for the page faults
of another.

Contenders get what they work on: bool, bytes or words, on the device before the clock starts. "with
packing" starts and ends at bool. OpenCV has a row for images one by one, as it is meant to be
called, and one for images as the channels of a single one, which is faster for small elements;
goals are given against both. PyTorch joins shifted views (no operator of its own takes an element),
in blocks that fit the cache. scipy visits fewer pixels where images are empty: its time depends on
the images, the others' does not.
"""

import os

from _lib.one_core import MALLOC, keep_freed_memory, one_core

os.environ.update(one_core())  # before jax is imported

import importlib.metadata
import time
from collections.abc import Callable

import jax
import numpy as np
from _lib import common
from _lib.operator_forms import (
    CHANNELS,
    ELEMENTS,
    ONE_BY_ONE,
    PACKED,
    PIXELS,
    REFERENCE,
    SPECIAL,
    SPECIAL_PIXELS,
    Run,
    opencv,
    ours,
    pytorch,
    scipy,
    skimage,
    smoothed_noise,
    specialised,
)

COLUMNS = ("images", "operation", "element", "contender", "median_s", "iqr_s", "repeats", "ratio")
GOALS = (  # images, contender, peers (the fastest counts), times faster; of the erosion by the disk
    (256, SPECIAL, (ONE_BY_ONE,), 15),
    (256, SPECIAL, (ONE_BY_ONE, CHANNELS), 15),
    (256, PACKED, (ONE_BY_ONE,), 15),
    (256, f"{PACKED}, with packing", (ONE_BY_ONE,), 15),
    (256, SPECIAL, ("scipy",), 150),
    (256, PACKED, ("scipy",), 150),
    (256, f"{PACKED}, with packing", ("scipy",), 150),
    (1, SPECIAL_PIXELS, (ONE_BY_ONE,), 6),
    (1, PIXELS, (ONE_BY_ONE,), 6),
    (1, f"{PIXELS}, with packing", (ONE_BY_ONE,), 6),
)
DISK = ("erosion", "disk 7, 29 px")


def targets(smoke: bool) -> list[tuple[str, str, np.ndarray]]:
    """Operations, names of the elements, elements."""
    noise = np.random.default_rng(0).random((7, 7)) < 0.5
    noise[3, 3] = True
    sets = {**ELEMENTS, "random 7x7": noise}
    named = [(f"{name}, {selem.sum()} px", selem) for name, selem in sets.items()]
    erosions = [("erosion", *pair) for pair in (named[:1] if smoke else named)]
    return [*erosions, ("opening", *named[0])]


MAKERS = (ours, specialised, opencv, skimage, pytorch)
NEEDS = {
    "opencv": "opencv-python-headless",
    "skimage": "scikit-image",
    "pytorch": "torch, shifted views",
    "specialised": "morphax.specialized.compiler",
}


def timed(run: Callable[[], object], budget: float, megapixels: float) -> tuple[dict, float]:
    """Timing for about `budget` seconds of a function that was called before; cores it used.

    A call that takes longer than that is the only one.
    """
    start, used = time.perf_counter(), time.process_time()
    jax.block_until_ready(run())
    once = time.perf_counter() - start
    if once > budget:
        timing = {"median_s": once / megapixels, "iqr_s": 0.0, "repeats": 1}
    else:
        repeats = int(np.clip(budget / max(once, 1e-6), 3, 25))
        start, used = time.perf_counter(), time.process_time()
        timing = common.measure(run, repeats=repeats, warmup=0, units=megapixels)
    return timing, (time.process_time() - used) / (time.perf_counter() - start)


def version(package: str) -> str | None:
    """Of a package, if it is there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def goals(rows: list[dict]) -> list[dict]:
    """What was wanted and what was found."""
    found = []
    disk = [r for r in rows if (r["case"]["operation"], r["case"]["element"]) == DISK]
    for count, contender, peers, wanted in GOALS:
        seconds = {
            r["contender"]: r["median_s"]
            for r in disk
            if (r["case"]["images"] == 1) == (count == 1)
        }
        known = [seconds[peer] for peer in peers if peer in seconds]
        if contender in seconds and known:
            factor = min(known) / seconds[contender]
            found.append(
                {
                    "contender": contender,
                    "peer": " or ".join(peers),
                    "wanted": wanted,
                    "found": round(factor, 2),
                    "met": factor >= wanted,
                }
            )
    return found


def main() -> None:
    """Check and time all contenders on all cases."""
    keep_freed_memory()
    parser = common.options_parser(__doc__, smoke="small images, two cases, short")
    parser.add_argument("--budget", type=float, default=2.0, help="seconds a contender and case")
    options = parser.parse_args()
    budget = 0.02 if options.smoke else options.budget
    about = common.metadata("operators", unit="megapixel", reference=REFERENCE, smoke=options.smoke)
    for package in ("opencv-python-headless", "scikit-image"):
        about["versions"][package] = version(package)
    large = smoothed_noise((256,) * 2 if options.smoke else (4096,) * 2)
    tile = 64 if options.smoke else 256
    tiles = large.reshape(len(large) // tile, tile, -1, tile).swapaxes(1, 2).reshape(-1, tile, tile)
    rows, skipped, cores = [], [], {}
    for x in (np.ascontiguousarray(tiles), large[None]):
        for operation, name, selem in targets(options.smoke):
            case = {"images": len(x), "side": x.shape[-1], "operation": operation, "element": name}
            contenders: dict[str, Run] = {"scipy": scipy(x, operation, selem)}
            wanted = contenders["scipy"][0]()
            for maker in MAKERS:
                title = maker.__name__
                try:
                    made = maker(x, operation, selem)
                except ImportError:
                    why = f"{title}: no {NEEDS.get(title, title)}"
                    if why not in skipped:
                        common.skip(skipped, why)
                    continue
                contenders |= made if isinstance(made, dict) else {NEEDS[title]: made}
            for contender, (run, bits) in contenders.items():
                # scipy was called, and is what the others are compared with.
                differ = contender != "scipy" and (bits(run()) != wanted).mean()
                wrong = float(differ)
                if wrong:
                    common.skip(skipped, f"{contender}, {case}: differs from scipy ({wrong:.3g})")
                    continue
                timing, used = timed(run, budget, x.size / 1e6)
                cores[contender] = max(cores.get(contender, 0.0), round(used, 2))
                rows.append(common.result(contender, case, timing, error=wrong))
    common.add_ratios(rows, REFERENCE)
    about |= {"cores_used": cores, "goals": goals(rows), "malloc": MALLOC}
    common.write(options.out / "operators.json", about, rows, skipped)
    print(common.table(rows, COLUMNS))
    for goal in about["goals"]:
        print(goal)


if __name__ == "__main__":
    main()
