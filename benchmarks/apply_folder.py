"""How fast does `morphax apply` write the masks of a folder, beside a script with scipy.ndimage?

    python benchmarks/apply_folder.py [--images 1000] [--side 512] [--first 20] [--repeats 3]
        [--out DIR] [--smoke]

The images are drawn: blobs with 2 % of the pixels flipped, 8-bit PNG as Pillow writes it. Two
learned operators: an opening by disk(7), and 64 hit-or-misses with votes in a 7 x 7 window. Each
contender is a process of its own, its start and its compilation included, that reads the folder and
writes the masks: `morphax apply`, on all cores, and `_lib/scipy_folder.py`, a loop over the images
with Pillow and the operator as `morphax export --to python` writes it, in one process and in one
for each core. Where that takes long, it does the first `--first` images, and its time for all of
them is in proportion. `memory` is the largest resident size of the first process, in
MiB. All masks that both wrote are compared. Writes `apply_folder.json` and `.md`.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _lib import common
from PIL import Image
from scipy import ndimage

from morphax import export
from morphax.morphology import elements
from morphax.neurons import models
from morphax.recipes import (
    MenuEntry,
    learn_chain,
    learn_window_votes,
    menu_entry,
    save_entry,
    window_network,
)

COLUMNS = ("operator", "contender", "images", "seconds", "cpu", "ratio", "memory", "different")
SCRIPT = Path(__file__).parent / "_lib" / "scipy_folder.py"


def blobs(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return blobs, with 2 % of the pixels flipped."""
    clean = ndimage.gaussian_filter(rng.normal(size=(side, side)), 4) > 0
    return clean ^ (rng.random(clean.shape) < 0.02)


def opening(rng: np.random.Generator) -> MenuEntry:
    """Return an opening by disk(7), learned from 16 pairs."""
    disk = np.asarray(elements.disk(7))
    x = np.stack([ndimage.gaussian_filter(rng.normal(size=(64, 64)), 2) > 0 for _ in range(16)])
    eroded = [ndimage.binary_erosion(one, disk, border_value=1) for one in x]
    y = np.stack([ndimage.binary_dilation(one, disk) for one in eroded])
    pairs = x[..., None], y[..., None]
    learned = learn_chain(jax.random.key(0), pairs, kernel_size=7, depth=2)
    return menu_entry("", models.bimonn, learned.params, pairs)


def votes(rng: np.random.Generator, steps: int) -> MenuEntry:
    """Return hit-or-misses with votes that remove the noise of blobs, learned from 8 pairs."""
    clean = [ndimage.gaussian_filter(rng.normal(size=(96, 96)), 4) > 0 for _ in range(8)]
    noisy = [one ^ (rng.random(one.shape) < 0.02) for one in clean]
    learned = learn_window_votes(
        jax.random.key(1), (noisy, clean), clauses=64, window=7, steps=steps
    )
    net = window_network(learned.levels)
    return menu_entry("votes of 64 hit-or-misses", net.apply, net.params, (noisy[:2], clean[:2]))


def run(command: list[str]) -> dict[str, float]:
    """Run a process; return its seconds, those of its processors, and its memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    memory, ended = float("nan"), 0
    while not ended:
        memory = np.fmax(memory, common.peak_memory(process.pid))
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        time.sleep(0 if ended else 0.02)
    if status:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    return {
        "seconds": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": memory,
    }


def different(first: Path, second: Path) -> int:
    """Return the number of pixels that differ in the masks that are in both folders."""
    names = sorted({p.name for p in first.glob("*.png")} & {p.name for p in second.glob("*.png")})
    if not names:
        raise SystemExit("no masks to compare")
    pairs = ((np.asarray(Image.open(place / name)) for place in (first, second)) for name in names)
    return sum(int((a != b).sum()) for a, b in pairs)


def compare(name: str, entry: MenuEntry, place: Path, options: Any) -> list[dict[str, Any]]:
    """Return the rows of an operator: ours first, then the script in one and in more processes."""
    count, cores = options.images, os.cpu_count() or 1
    model, code = place / f"{name}.npz", place / f"{name}.py"
    save_entry(model, entry)
    export.python(entry.program, code)
    rows, ours = [], place / name
    first = count if name == "opening" else options.first
    contenders = {"morphax apply": (None, count)}
    contenders |= {f"scipy, {n} process{'es' * (n > 1)}": (n, first) for n in sorted({1, cores})}
    for contender, (processes, images) in contenders.items():
        folder = ours if processes is None else place / f"{name}-{processes}"
        script = [str(SCRIPT), str(code), str(place / "images"), str(folder)]
        command = [*script, "--first", str(images), "--processes", str(processes)]
        if processes is None:
            words = ["apply", str(model), str(place / "images"), "-o", str(ours), "--overwrite"]
            command = ["-m", "morphax", *words]
        repeats = options.repeats if processes is None else 1
        times = [run(command) for _ in range(repeats)]
        middle = {key: float(np.median([one[key] for one in times])) for key in times[0]}
        scale = count / images
        row = {
            "operator": entry.name,
            "contender": contender,
            "images": count,
            "timed": images,
            "seconds": round(middle["seconds"] * scale, 2),
            "cpu": round(middle["cpu"] * scale, 2),
            "memory": round(middle["memory"], 0),
            "repeats": repeats,
            "different": different(ours, folder),
        }
        # How many times as long as `morphax apply` it takes.
        row["ratio"] = round(row["seconds"] / (rows or [row])[0]["seconds"], 2)
        row["cpu_ratio"] = round(row["cpu"] / (rows or [row])[0]["cpu"], 2)
        rows.append(row)
    return rows


def main() -> None:
    """Run it."""
    parser = common.options_parser(__doc__, smoke="8 images of 64 x 64")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--first", type=int, default=20, help="images of the script with votes")
    parser.add_argument("--repeats", type=int, default=3, help="runs of `morphax apply`")
    options = parser.parse_args()
    if options.smoke:
        options.images, options.side, options.first, options.repeats = 8, 64, 4, 1
    about = common.metadata("apply_folder", unit="folder", reference="", smoke=options.smoke)
    rng = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "images").mkdir()
        for number in range(options.images):
            image = blobs(rng, options.side).astype(np.uint8) * 255
            Image.fromarray(image).save(place / f"images/{number:05d}.png")
        steps = 50 if options.smoke else 400
        for name, entry in (("opening", opening(rng)), ("votes", votes(rng, steps))):
            rows += [
                {**row, **common.row_metadata(about)}
                for row in compare(name, entry, place, options)
            ]
    about["side"] = options.side
    print(common.write_table(options.out / "apply_folder.json", about, rows, COLUMNS))


if __name__ == "__main__":
    main()
