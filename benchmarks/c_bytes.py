"""What does the exported C cost from bytes to bytes, against OpenCV, by compiler and options?

    python benchmarks/c_bytes.py [--smoke] [--out DIR]

Erosions and an opening by several elements, on one image of smoothed noise above its median, a byte
a pixel in and out. `apply` is the function of that name in the pixel layout; `words` packs, runs on
words and unpacks. Every result is compared with OpenCV's, bit for bit, before anything is timed
(`error` is the share of pixels that differ). Each is compiled by gcc and clang, where they are
there, at -O2 and at -O3 -march=native; `build_s` is the time of that. One core, CPU time of the
process, results and workspaces kept between calls, calls of C and of OpenCV by turns: medians, and
`ratio` to OpenCV in the same turn.
"""

import ctypes
import shutil
import tempfile
import time
from collections.abc import Callable

import numpy as np
from _lib import common
from _lib.c_library import at, load
from _lib.one_core import bind

from morphax.export import c
from morphax.morphology import elements
from morphax.program import Op, Program

FLAGS = ("-O3 -march=native", "-O2")
COLUMNS = ("side", "operation", "element", "contender", "compiler", "flags", "median_s", "ratio")
GOALS = {"-O3 -march=native": (0.4, 0.25), "-O2": (1.0, 0.8)}  # required and wanted, disk 7


def program_of(operation: str, selem: np.ndarray) -> Program:
    """Return an erosion or an opening as a program; beyond the frame lies what changes nothing.

    It is one of images or of volumes, as the element has two axes or three.
    """
    size = (8,) * selem.ndim
    ops = [Op("input", (), (1, *size))]
    for i in range(2 if operation == "opening" else 1):
        arrays = {
            "source": np.zeros(1, np.int32),
            "selem": selem[None],
            "erosion": np.array([not i]),
        }
        arrays["complement"] = np.array([False])
        ops.append(Op("spatial", (i,), (1, *size), "", arrays, {"border": "ignore"}))
    return Program(tuple(ops), (*size, 1), (*size, 1))


def compiled(
    program: Program, compiler: str, flags: str, image: np.ndarray
) -> tuple[dict[str, Callable[[], object]], np.ndarray, float]:
    """Return what is timed, the array that it fills, and the seconds of the compiler."""
    size = ctypes.c_size_t(image.shape[1]), ctypes.c_size_t(image.shape[0])
    result = np.zeros_like(image)
    with tempfile.TemporaryDirectory() as folder:
        c(program, folder, name="net", layout="pixels")
        start = time.perf_counter()
        lib = load(folder, compiler=compiler, flags=flags.split())
        build = time.perf_counter() - start
    sizes = [lib.net_apply_words(*size), *[lib.net_plane_words(*size)] * 2]
    arrays = [np.zeros(n, np.uint64) for n in (*sizes, lib.net_workspace_words(*size))]
    memory, packed, out, workspace = map(at, arrays)
    source, target = at(image), at(result)

    def by_words() -> None:
        lib.net_pack(source, *size, packed)
        lib.net_run(packed, out, *size, workspace)
        lib.net_unpack(out, *size, target)

    def apply(_: list[np.ndarray] = arrays) -> None:
        lib.net_apply(source, *size, target, memory)

    return {"C, apply": apply, "C, words": by_words}, result, build


def by_turns(run: Callable[[], object], peer: Callable[[], object], repeats: int) -> np.ndarray:
    """Return CPU seconds of both, `(repeats, 2)`, after a call of each."""
    times = np.zeros((repeats + 1, 2))
    for row in times:
        for k, one in enumerate((run, peer)):
            start = time.process_time()
            one()
            row[k] = time.process_time() - start
    return times[1:]


def main() -> None:
    """Check and time all elements, compilers and options."""
    parser = common.options_parser(__doc__, smoke="a small image, one element")
    options = parser.parse_args()
    bind()
    import cv2
    from scipy import ndimage

    cv2.setNumThreads(1)
    about = common.metadata("c_bytes", unit="pixel", reference="OpenCV", smoke=options.smoke)
    sets = {
        "disk 7": elements.disk(7),
        "square 3": elements.square(3),
        "disk 21": elements.disk(21),
    }
    cases = [("erosion", name) for name in sets] + [("opening", "disk 7")]
    compilers = [name for name in ("gcc", "clang") if shutil.which(name)]
    rows, skipped, builds = [], [], {}
    for side in (256,) if options.smoke else (512, 4096):
        noise = np.random.default_rng(1).standard_normal((side, side)).astype(np.float32)
        image = (ndimage.gaussian_filter(noise, 8.0) > 0).astype(np.uint8)
        repeats = 3 if options.smoke else max(11, (1 << 26) // image.size)
        for operation, name in cases[:1] if options.smoke else cases:
            code = {"erosion": cv2.MORPH_ERODE, "opening": cv2.MORPH_OPEN}[operation]
            kernel, answer = np.asarray(sets[name]).astype(np.uint8), np.zeros_like(image)

            def peer(image=image, code=code, kernel=kernel, answer=answer) -> None:
                cv2.morphologyEx(image, code, kernel, dst=answer)

            case = {"side": side, "operation": operation, "element": name}
            peers = []
            for compiler in compilers:
                for flags in FLAGS:
                    program = program_of(operation, np.asarray(sets[name]))
                    runs, result, build = compiled(program, compiler, flags, image)
                    builds[f"{compiler} {flags}"] = round(build, 2)
                    for contender, run in runs.items():
                        times = by_turns(run, peer, repeats) / image.size
                        wrong = float((result != answer).mean())
                        peers.append(times[:, 1])
                        row = case | {"compiler": compiler, "flags": flags}
                        rows.append(result_of(contender, row, times[:, 0], wrong))
                        rows[-1]["ratio"] = round(float(np.median(times[:, 0] / times[:, 1])), 3)
            rows.append(result_of("OpenCV", case, np.concatenate(peers), 0.0) | {"ratio": 1.0})
    about |= {"build_s": builds, "goals": goals(rows)}
    common.write(options.out / "c_bytes.json", about, rows, skipped)
    print(common.table(rows, COLUMNS))
    for goal in about["goals"]:
        print(goal)


def result_of(contender: str, case: dict, seconds: np.ndarray, wrong: float) -> dict:
    """Return a row of results."""
    return common.result(contender, case, common.spread(seconds), error=wrong)


def goals(rows: list[dict]) -> list[dict]:
    """Return what was required and wanted of the erosion by the disk, and what was measured."""
    found = []
    for row in rows:
        case = row["case"]
        disk = (case["operation"], case["element"], case["side"]) == ("erosion", "disk 7", 4096)
        if disk and row["contender"] == "C, apply":
            required, wanted = GOALS[case["flags"]]
            compiler = f"{case['compiler']} {case['flags']}"
            goal = {"compiler": compiler, "required": required, "wanted": wanted}
            found.append(goal | {"found": row["ratio"]})
    return found


if __name__ == "__main__":
    main()
