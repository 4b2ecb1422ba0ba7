"""What does the exported C of volumes cost from bytes to bytes, against scipy, by compiler?

    python benchmarks/c_volumes.py [--smoke] [--out DIR]

Erosions and openings by balls, on a volume of smoothed noise above its median, a byte a voxel in
and out. Each is compiled by gcc and clang, where they are there, at -O2 and at -O3 -march=native.
`apply` is the function from bytes to bytes, which streams the slices; `step` is the network alone,
on slices that are packed. Every result is compared with scipy's, bit for bit, before anything is
timed (`error` is the share of voxels that differ). One core, CPU time of the process, results and
workspaces kept between calls. scipy runs once or a few times a case, between the others: medians,
and `ratio` to scipy's. `memory` is the workspace over the volume at one bit a voxel.
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
from c_bytes import FLAGS, program_of, result_of

from morphax.export import c
from morphax.morphology import elements
from morphax.program import Program

COLUMNS = ("operation", "element", "contender", "compiler", "flags", "median_s", "ratio")
CASES = (("erosion", "ball 7"), ("opening", "ball 7"), ("opening", "ball 15"))


def compiled(
    program: Program, compiler: str, flags: str, volume: np.ndarray
) -> tuple[dict[str, Callable[[], object]], np.ndarray, float]:
    """Return what is timed, the array that `apply` fills, and the memory of the workspace."""
    depth, height, width = volume.shape
    size = ctypes.c_size_t(width), ctypes.c_size_t(height)
    result = np.zeros_like(volume)
    with tempfile.TemporaryDirectory() as folder:
        header = c(program, folder, name="net", layout="pixels").header
        lib = load(folder, compiler=compiler, flags=flags.split())
    delay = int(header.split("NET_DELAY ")[1].split()[0])
    words = lib.net_plane_words(*size)
    memory = np.zeros(lib.net_apply_words(*size), np.uint64)
    workspace = np.zeros(lib.net_workspace_words(*size), np.uint64)
    packed, out = np.zeros((depth, words), np.uint64), np.zeros((depth, words), np.uint64)
    for k, image in enumerate(volume):
        lib.net_pack(at(image), *size, at(packed[k]))
    slices = [at(part) for part in packed], [at(part) for part in out]
    whole, target, place, state = at(volume), at(result), at(memory), at(workspace)

    def apply() -> None:
        lib.net_apply(whole, *size, ctypes.c_size_t(depth), target, place)

    def step() -> None:
        for number in range(depth + delay):
            taken, made = slices[0][min(number, depth - 1)], slices[1][max(number - delay, 0)]
            numbers = ctypes.c_size_t(number), *size, ctypes.c_size_t(depth)
            lib.net_step(taken, made, *numbers, state)

    share = 8 * memory.nbytes / volume.size
    return {"C, apply": apply, "C, step": step}, result, share


def seconds_of(function: Callable[[], object], repeats: int) -> np.ndarray:
    """Return CPU seconds of calls."""
    times = np.zeros(repeats)
    for k in range(repeats):
        start = time.process_time()
        function()
        times[k] = time.process_time() - start
    return times


def main() -> None:
    """Check and time all operators, compilers and options."""
    parser = common.options_parser(__doc__, smoke="a small volume, one operator")
    options = parser.parse_args()
    bind()
    from scipy import ndimage

    side = 40 if options.smoke else 256
    about = common.metadata("c_volumes", unit="voxel", reference="scipy", smoke=options.smoke)
    about |= {"side": side, "memory": {}}
    noise = np.random.default_rng(1).standard_normal((side,) * 3).astype(np.float32)
    volume = (ndimage.gaussian_filter(noise, 4.0) > 0).astype(np.uint8)
    rows, compilers = [], [name for name in ("gcc", "clang") if shutil.which(name)]
    for operation, element in CASES[:1] if options.smoke else CASES:
        ball = np.asarray(elements.ball(int(element.split()[1])))

        def peer(operation=operation, ball=ball) -> np.ndarray:
            eroded = ndimage.binary_erosion(volume, ball, border_value=1)
            return eroded if operation == "erosion" else ndimage.binary_dilation(eroded, ball)

        answer, case = peer(), {"operation": operation, "element": element}
        # Calls of scipy before, between and after those of C.
        peers = [seconds_of(peer, 1)]
        timed = []
        for compiler in compilers:
            for flags in FLAGS:
                program = program_of(operation, ball)
                runs, result, share = compiled(program, compiler, flags, volume)
                about["memory"][f"{operation}, {element}"] = round(share, 3)
                for contender, run in runs.items():
                    times = seconds_of(run, 4 if options.smoke else 12)[1:] / volume.size
                    wrong = float((result != answer).mean())
                    timed.append((contender, {"compiler": compiler, "flags": flags}, times, wrong))
            peers.append(seconds_of(peer, 1))
        base = np.concatenate(peers) / volume.size
        rows.append(result_of("scipy", case, base, 0.0) | {"ratio": 1.0})
        for contender, how, times, wrong in timed:
            ratio = float(np.median(times) / np.median(base))
            rows.append(result_of(contender, case | how, times, wrong) | {"ratio": ratio})
    common.write(options.out / "c_volumes.json", about, rows, [])
    print(common.table(rows, COLUMNS))
    print("memory:", about["memory"])


if __name__ == "__main__":
    main()
