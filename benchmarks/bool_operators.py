"""What does an operator cost from bool to bool, on images against OpenCV, on volumes against scipy?

    python benchmarks/bool_operators.py [--smoke] [--out DIR]

Bool images in, bool images out: packing, where there is any, is inside. `morphax, bool` is the call
of a user, not under `jit`; `morphax, not packed` is the same formula on one byte a pixel, which
small images and other devices use. Images are smoothed noise above its median. Every result is
compared with the reference, bit for bit (`error` is the share of pixels that differ; scikit-image's
decomposed balls are other sets). `memory` is what a program allocates beside image and result, over
the size of the image packed at one bit a pixel.

One core, CPU time of the process, after a first call (`first_s` in the metadata has the median and
the most CPU seconds of our first calls, with what they compile). Calls go by turns; `ratio` is the
median over that of the reference: OpenCV for images, scipy for volumes, `jit(x & x)` for a warm
call on an image of 32 x 32. Each size of images has a process of its own, which keeps the memory
that it has freed (`MALLOC`), as a loop over one operator does: where contenders go by turns, the C
library would hand memory back after some of them, and the next result would pay for new pages,
which takes longer than an operator. The rows of two cores are times by the clock.
"""

import os
import sys

from _lib.one_core import MALLOC, one_core

os.environ.update({} if "--two" in sys.argv else one_core())  # before jax is imported

import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common, operator_forms
from _lib.operator_forms import ELEMENTS, smoothed_noise

import morphax
from morphax.morphology import elements, formulas
from morphax.morphology.shift import PLANES
from morphax.training import json_text

CORES = 2 if "--two" in sys.argv else 1
OURS, UNPACKED, BARE = "morphax, bool", "morphax, not packed", "jit(x & x)"
COLUMNS = ("image", "cores", "operation", "element", "contender", "median_s", "ratio", "error")
SHAPES = ((32, 32), (128, 128), (512, 512), (1003, 777), (4096, 4096), (256, 256, 256))
SETS = {"square 3": ELEMENTS["square 3"], **ELEMENTS}  # the small ones first
VOLUMES = {"ball 7": elements.ball(7), "ball 15": elements.ball(15), "cube 9": elements.cube(9)}
LARGE, BATCH = "4096 x 4096", "256 x 256 x 256"
WARM, VOLUME = "warm call", "volumes"
ON_TWO = "square 3", "disk 7", "disk 21"
GOALS = (  # image, element, reference, what it required and what was wanted (ratios of erosions)
    (LARGE, "disk 7", "OpenCV", 0.6, 0.45),
    (BATCH, "disk 7", "OpenCV", 0.45, 0.3),
    (LARGE, "disk 21", "OpenCV", 0.12, 0.08),
    (BATCH, "disk 21", "OpenCV", 0.09, 0.06),
    (LARGE, "square 3", "OpenCV", 1.0, 0.8),
    (BATCH, "square 3", "OpenCV", 0.65, 0.5),
    ("512 x 512", "disk 7", "OpenCV", 1.0, 0.7),
    ("32 x 32", "disk 7", BARE, 2.0, 1.5),
    *((f"volume {BATCH}", name, "scipy", 1 / 100, 1 / 300) for name in VOLUMES),
)
Run = Callable[[], Any]


def ours(x: np.ndarray, operation: str, selem: np.ndarray) -> dict[str, Run]:
    """The operator as users call it, and on one byte a pixel."""
    device, operator = jnp.asarray(x), getattr(morphax, operation)
    formula = getattr(formulas, operation)
    return {
        OURS: lambda: operator(device, selem),
        UNPACKED: lambda: formulas.operate(formula, device, selem, border="ignore", layout=PLANES),
    }


def opencv(x: np.ndarray, operation: str, selem: np.ndarray, threads: int) -> Run:
    """OpenCV on bytes, image by image, into a result that is kept."""
    import cv2

    forms = operator_forms.opencv(x.reshape(-1, *x.shape[-2:]), operation, selem)
    run, _ = forms[operator_forms.ONE_BY_ONE]
    cv2.setNumThreads(threads)
    return lambda: run().reshape(x.shape)


def skimage(x: np.ndarray, name: str) -> Run:
    """scikit-image with the element of that name as a sequence of small ones."""
    from skimage import morphology

    kind, size = name.split()
    side = int(size)
    if kind == "ball":
        steps = morphology.ball(side // 2, decomposition="sequence")
    else:
        steps = morphology.footprint_rectangle((side,) * 3, decomposition="separable")

    def run() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the operators on bool are named anew from 0.26 on
            operator = getattr(morphology, "binary_erosion", morphology.erosion)
            return operator(x, steps, mode="ignore")

    return run


def memory(x: np.ndarray, selem: np.ndarray) -> float:
    """Bytes that an erosion allocates beside image and result, over those of the packed image."""
    program = jax.jit(lambda x: morphax.erosion(x, selem))
    about = program.lower(jax.ShapeDtypeStruct(x.shape, bool)).compile().memory_analysis()
    assert about is not None
    return round(about.temp_size_in_bytes / (x.size / 8), 2)


def timed(run: Run) -> tuple[float, Any]:
    """Seconds of a call, CPU time on one core, and its result."""
    clock = time.process_time if CORES == 1 else time.perf_counter
    start = clock()
    result = jax.block_until_ready(run())
    return clock() - start, result


def compare(
    case: dict, runs: dict[str, Run], reference: str, budget: float, first_s: list[float]
) -> list[dict]:
    """Check all contenders against the reference, then time them by turns.

    The seconds of our first call are added to `first_s`.
    """
    rows, firsts, wrong = [], {}, {}
    answer = np.asarray(runs[reference]())
    for name, run in runs.items():
        firsts[name], result = timed(run)
        if reference != BARE:  # which computes something else
            wrong[name] = float((np.asarray(result) != answer).mean())
    if reference != BARE:  # that case was compiled before
        first_s.append(firsts[OURS])
    once = sum(timed(run)[0] for run in runs.values())
    # What takes seconds is called once.
    repeats = int(np.clip(budget / once, 5, 301))
    slow = [name for name in runs if budget < 4 * firsts[name] and name not in (OURS, UNPACKED)]
    times = {name: [firsts[name]] if name in slow else [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            if name not in slow:
                times[name].append(timed(run)[0])
    for name, seconds in times.items():
        rows.append(common.result(name, case, common.spread(seconds), error=wrong.get(name)))
        rows[-1]["ratio"] = round(float(np.median(seconds) / np.median(times[reference])), 4)
    return rows


def goals(rows: list[dict]) -> list[dict]:
    """What was required and wanted of erosions, and what was measured."""
    found = []
    for image, element, reference, required, wanted in GOALS:
        for row in rows:
            case = {"image": image, "operation": "erosion", "element": element, "cores": 1}
            if row["contender"] == OURS and row["case"] == case | {"reference": reference}:
                goal = {"image": image, "element": element, "reference": reference}
                ratios = {"required": required, "wanted": wanted, "found": row["ratio"]}
                found.append(goal | {name: round(value, 4) for name, value in ratios.items()})
    return found


def images(shape: tuple[int, ...], smoke: bool, budget: float) -> tuple[list, list]:
    """Rows of all operators on images of a shape, and the seconds of our first calls."""
    x, rows, first_s = smoothed_noise(shape), [], []
    sets = dict(list(SETS.items())[: 2 if smoke else None])
    if CORES > 1:
        sets = {name: sets[name] for name in sets if name in ON_TWO}
    for name, selem in sets.items():
        operations = ("erosion", "opening") if name == "disk 7" and CORES == 1 else ("erosion",)
        for operation in operations:
            case = {"image": " x ".join(map(str, shape)), "operation": operation}
            case |= {"element": name, "reference": "OpenCV", "cores": CORES}
            runs = ours(x, operation, selem)
            runs["OpenCV"] = opencv(x, operation, selem, threads=CORES)
            rows += compare(case, runs, "OpenCV", budget, first_s)
    return rows, first_s


def warm_call(budget: float) -> list[dict]:
    """Rows of an eager call on a small image, against the least that jax can do."""
    small = jnp.asarray(smoothed_noise((32, 32)))
    least = jax.jit(lambda x: x & x)
    case = {"image": "32 x 32", "operation": "erosion", "element": "disk 7"}
    case |= {"reference": BARE, "cores": CORES}
    runs = ours(np.asarray(small), "erosion", SETS["disk 7"]) | {BARE: lambda: least(small)}
    return compare(case, runs, BARE, budget, [])


def part(name: str, smoke: bool) -> dict[str, Any]:
    """Measure one part, in this process: images of a shape, a warm call, or volumes."""
    budget, memory_of = 0.02 if smoke else 4.0, {}
    first_s: list[float] = []
    if name == WARM:
        rows = warm_call(budget)
    elif name == VOLUME:
        rows, memory_of = volumes(32 if smoke else 256, budget, first_s)
    else:
        rows, first_s = images(tuple(map(int, name.split(" x "))), smoke, budget)
    return {"rows": rows, "first_s": first_s, "memory": memory_of}


def main() -> None:
    """Check and time all contenders on all cases, each part in a process."""
    parser = common.options_parser(__doc__, smoke="small images, two elements")
    parser.add_argument("--part", help="the shape of images, or another part: in this process")
    parser.add_argument("--two", action="store_true", help="with --part: on two cores")
    options = parser.parse_args()
    if options.part:
        print(json_text(part(options.part, options.smoke)))
        return
    about = common.metadata("bool_operators", unit="call", reference="", smoke=options.smoke)
    rows: list[dict] = []
    first_s: list[float] = []
    shapes = [" x ".join(map(str, shape)) for shape in SHAPES]
    parts = [(1, name) for name in (*(shapes[:2] if options.smoke else shapes), WARM, VOLUME)]
    for cores, name in parts if options.smoke else [*parts, (2, LARGE), (2, BATCH)]:
        words = ["--part", name, *["--two"] * (cores == 2), *["--smoke"] * options.smoke]
        found = common.in_own_process(__file__, *words, variables=MALLOC)
        rows, about["memory"] = rows + found["rows"], about.get("memory") or found["memory"]
        first_s += found["first_s"] if cores == 1 else []
    first = [round(float(seconds), 3) for seconds in (np.median(first_s), max(first_s))]
    about |= {"first_s": first, "goals": goals(rows), "malloc": MALLOC}
    common.write(options.out / "bool_operators.json", about, rows)
    print(common.table(rows, COLUMNS))
    for goal in about["goals"]:
        print(goal)


def volumes(side: int, budget: float, first_s: list[float]) -> tuple[list, dict[str, float]]:
    """Rows of erosions of a volume, against scipy and scikit-image, and the memory they take."""
    from scipy import ndimage

    values = np.random.default_rng(1).standard_normal((side,) * 3).astype(np.float32)
    x = ndimage.gaussian_filter(values, 4) > -0.01
    rows, memory_of = [], {}
    for name, selem in VOLUMES.items():
        case = {"image": "volume " + " x ".join([str(side)] * 3), "operation": "erosion"}
        case |= {"element": name, "reference": "scipy", "cores": CORES}
        runs = ours(x, "erosion", selem)
        del runs[UNPACKED]
        runs["scipy"] = lambda selem=selem: ndimage.binary_erosion(x, selem, border_value=1)
        runs["scikit-image, decomposed"] = skimage(x, name)
        rows += compare(case, runs, "scipy", budget, first_s)
        memory_of[name] = memory(x, selem)
    return rows, memory_of


if __name__ == "__main__":
    main()
