"""`morphax apply`: masks of a folder of images or volumes, on all cores, resumable.

The mask of an image is a PNG, that of a volume a file in the format of the volume.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from morphax import _checks, _files
from morphax.cli.main import one_line
from morphax.data import find_images, find_volumes, load_image, load_volume, save_mask, save_volume
from morphax.data.images import is_whole_png
from morphax.recipes import MenuEntry, load_model, load_record
from morphax.training import keep_compiled
from morphax.training.progress import reporter

_AHEAD = 2  # images a thread that wait for it, so that memory is bounded


def apply(options: argparse.Namespace) -> int:
    """Write the mask of each image as OUT/NAME.png; masks that are there are left alone.

    Those of volumes have the format of the volume: OUT/NAME.npy, .tif or .nii.gz.

    Args:
        options: arguments of `morphax apply`.

    Returns:
        0; 2 if an image could not be read or written: these are listed in OUT/skipped.txt.

    Raises:
        ValueError: no model, no images, or two images of one name.
        OSError: a file of the model cannot be read, or a mask or its folder cannot be written;
            masks that are finished stay.
    """
    keep_compiled()
    entry = load_model(options.model, pick=options.pick)
    if not options.anyway:
        require_useful(options.model)
    volumes = entry.program.axes == 3
    found = find_volumes(options.images) if volumes else find_images(options.images)
    images, shard = _part(found, options.shard)
    out = Path(options.out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    targets = _targets(images, out, volumes)
    for path in _files.leftovers(out, {target.name for target in targets.values()}):
        path.unlink(missing_ok=True)  # of a run of these images that was killed
    todo = [pair for pair in targets.items() if options.overwrite or not _is_whole(pair[1])]
    threads = options.threads or os.cpu_count() or 1
    _checks.at_least("--threads", threads, 1)
    start, pixels, failed = time.perf_counter(), 0, {}
    threshold = options.input_threshold
    threshold = entry.options.get("input_threshold") if threshold is None else threshold
    work = _results(entry, todo, threads, threshold)
    with reporter(len(todo), show=True, unit="volume" if volumes else "image") as report:
        for number, (path, size, error) in enumerate(work, 1):
            pixels += size
            if error is not None:
                failed[path] = error
                print(f"morphax: {error}", file=sys.stderr)
            report({"step": number})
    listed = out / f"skipped{shard}.txt"
    if failed:
        text = "".join(f"{path}\t{error}\n" for path, error in failed.items())
        _files.write(listed, text.encode())
    else:
        listed.unlink(missing_ok=True)
    seconds = max(time.perf_counter() - start, 1e-9)
    there = len(images) - len(todo)
    parts = [f"{len(todo) - len(failed)} masks written"]
    parts += [f"{there} there already"] if there else []
    parts += [f"{len(failed)} skipped ({listed} says why)"] if failed else []
    unit = "Mvoxel" if volumes else "Mpixel"
    print(f"{out}: {', '.join(parts)}; {pixels / seconds / 1e6:.3g} {unit}/s")
    return 2 if failed else 0


def require_useful(model: str) -> None:
    """Refuse a menu that is no better than answers that need no learning."""
    if Path(model).expanduser().is_dir():
        record = load_record(model)
        text = record.get("warning")
        if text and record.get("stopped") != "interrupted":
            raise ValueError(f"{model}: {text} Give --anyway to apply it all the same")


def _part(images: list[Path], shard: str | None) -> tuple[list[Path], str]:
    """Return the images of a shard "K/N", and a text that names it in a file name."""
    if shard is None:
        return images, ""
    numbers = shard.split("/")
    fits = len(numbers) == 2 and all(number.isdecimal() for number in numbers)
    fits = fits and 1 <= int(numbers[0]) <= int(numbers[1])
    _checks.require(fits, "--shard", "K/N with K from 1 to N, such as 1/4", shard)
    k, n = map(int, numbers)
    return images[k - 1 :: n], f"-{k}-of-{n}"


def _is_whole(path: Path) -> bool:
    """Return whether a mask is there; files of volumes are on the disk before they are renamed."""
    if path.suffix == ".png":
        return is_whole_png(path)
    return path.is_file() and path.stat().st_size > 0


def _targets(images: Iterable[Path], out: Path, volumes: bool) -> dict[Path, Path]:
    """Return the file of each mask; no two images share one, and none is an image itself."""
    targets: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    for path in images:
        target = out / (path.name if volumes else f"{path.stem}.png")
        if target.name in taken:
            raise ValueError(
                f"{path} and {taken[target.name]} would both become {target}; "
                "move one of them to another folder"
            )
        if target.exists() and target.samefile(path):
            raise ValueError(f"{path} would be overwritten by its mask; give another folder to -o")
        targets[path], taken[target.name] = target, path
    return targets


def _results(
    entry: MenuEntry, todo: Sequence[tuple[Path, Path]], threads: int, threshold: float | None
) -> Iterator[tuple[Path, int, str | None]]:
    """Yield path, number of pixels and error of each image, in the order of finishing."""

    def one(path: Path, target: Path) -> tuple[Path, int, str | None]:
        try:
            load = load_volume if entry.program.axes == 3 else load_image
            image = load(path, gray=entry.planes is not None, threshold=threshold)
            answer = np.asarray(entry(image))
        except (ValueError, OSError, MemoryError) as error:
            text = one_line(error)
            return path, 0, text if str(path) in text else f"{path}: {text}"
        try:
            if answer.ndim == 3:
                save_volume(target, answer, like=path)
            else:
                save_mask(target, answer, durable=False)
        except OSError as error:  # a full disk, for one, fails for all others, too
            advice = "make room or give another -o, then the same command goes on"
            raise OSError(error.errno, f"{error.strerror}; {advice}", str(target)) from error
        return path, image.size, None

    with ThreadPoolExecutor(threads) as pool:
        waiting: set[Future[tuple[Path, int, str | None]]] = set()
        try:
            for pair in todo:
                waiting.add(pool.submit(one, *pair))
                if len(waiting) >= _AHEAD * threads:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in wait(waiting).done)
        except BaseException:  # such as Ctrl-C: those that run are finished, the others not begun
            pool.shutdown(cancel_futures=True)
            raise
