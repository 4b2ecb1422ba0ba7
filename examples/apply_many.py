# %% [markdown]
# # Apply a learned operator on a cluster
#
# Workers of a Dask cluster map an operator over more images than one machine can do.
#
#     python examples/apply_many.py MODEL IMAGES --out OUT [--scheduler tcp://HOST:8786]
#     python examples/apply_many.py --smoke
#
# MODEL is what `morphax learn` wrote. IMAGES and OUT are folders that all workers see, or folders
# of an object store that fsspec knows, such as s3://BUCKET/scans (`pip install s3fs`). Without
# `--scheduler`, `--workers` processes on this machine do the work.
#
# The operator is an ordinary function that can be pickled, so any engine can map it. This example
# uses Dask, because it is small (Ray is 80 MB a machine), runs on a laptop, Slurm and Kubernetes
# alike, and sends the tasks of a worker that dies to another one. `morphax apply --shard K/N` needs
# no engine: it is for the job arrays of a batch system.
#
# Each mask is written completely or not at all, and masks that are there are left alone, so the
# same command goes on after anything. What could not be done is listed in OUT/skipped.txt, and the
# exit status is then 2. It needs `pip install ".[cluster,data]"` from a clone of the repository,
# and with `--smoke`, which draws what it did in OUT/apply_many.png, the extra `viz`, too.

# %%
import argparse
import pickle
import sys
import tempfile
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

import jax
import numpy as np
from _common import at_least, refuse, write

from morphax import data, elements, erosion, recipes, viz

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".pbm", ".pgm", ".jpg", ".jpeg")
TASK = 8  # images a task, so that the scheduler is asked less often
PART = ".part"  # ending of masks that are being written
AHEAD = 4  # tasks a thread of the workers that wait there, so that memory is bounded


# %% [markdown]
# ## The job


# %%
def main(argv: list[str] | None = None) -> int:
    """Write the mask of each image; return 0, or 2 if something could not be used."""
    options = argparse.ArgumentParser(
        description="Apply a learned operator to many images, on the workers of a Dask cluster."
    )
    add = options.add_argument
    add("model", nargs="?", help="folder or archive of morphax learn")
    add("images", nargs="?", help="folder of images, or its URL")
    add("--out", default="out/apply_many", help="folder of the masks, or its URL")
    add("--pick", default="best", help="row of the menu (best)")
    add("--scheduler", help="address of a Dask cluster; one is started without")
    add("--workers", type=int, default=2, help="processes of that one (2)")
    add("--smoke", action="store_true", help="learn from generated pairs, and use threads")
    args = options.parse_args(argv)
    at_least(options, args, workers=1)
    if args.smoke:
        return smoke(args)
    if args.model is None or args.images is None:
        options.error("MODEL and IMAGES are needed")
    return with_workers(args)


def with_workers(args: argparse.Namespace) -> int:
    """Find or start the workers, and apply the operator; return the exit status."""
    try:
        from distributed import Client, LocalCluster

        if args.scheduler:
            with Client(args.scheduler) as client:
                return apply_many(client, args)
        local = {"n_workers": args.workers, "processes": not args.smoke, "dashboard_address": None}
        with LocalCluster(**local) as cluster, Client(cluster) as client:
            return apply_many(client, args)
    except (ImportError, ValueError, OSError) as error:
        return refuse("apply_many", error)


def apply_many(client, args: argparse.Namespace) -> int:
    """Map the operator over the images that have no mask yet; return the exit status."""
    import fsspec

    entry = recipes.load_model(args.model, pick=args.pick)
    source, images = fsspec.core.url_to_fs(args.images)
    target, out = fsspec.core.url_to_fs(args.out)
    target.makedirs(out, exist_ok=True)
    pairs, there = to_do(source, images, target, out)
    # The operator goes to each worker once, not with each task. It is the result of a task itself,
    # so Dask makes it anew when the worker that holds it dies, which it cannot do with `scatter`.
    operator = client.submit(pickle.loads, pickle.dumps(entry), pure=False)
    written, failed = 0, {}
    total = there + len(pairs)
    for results in mapped(client, pairs, operator, source, target):
        written += sum(error is None for _, error in results)
        failed |= {path: error for path, error in results if error is not None}
        print(f"{there + written + len(failed)} of {total} images", file=sys.stderr)
    # Nothing is left out silently: what is not written is named, and the sum is checked.
    assert there + written + len(failed) == total
    target.invalidate_cache()
    for path in target.ls(out, detail=False):  # of workers that died
        if path.endswith(PART):
            target.rm_file(path)
    report = f"{out}/skipped.txt"
    if failed:
        lines = "".join(f"{path}\t{error}\n" for path, error in sorted(failed.items()))
        target.pipe_file(report, lines.encode())
    elif target.exists(report):
        target.rm_file(report)
    skipped = f", {len(failed)} skipped ({report} says why)" if failed else ""
    print(f"{args.out}: {written} masks written, {there} there already{skipped}")
    return 2 if failed else 0


def to_do(source, images: str, target, out: str) -> tuple[list[tuple[str, str]], int]:
    """Return the paths of images and masks that are not there, and how many are."""
    done = {PurePosixPath(one["name"]).name for one in target.ls(out, detail=True) if one["size"]}
    files = sorted(one["name"] for one in source.ls(images, detail=True) if one["type"] == "file")
    paths = [path for path in files if PurePosixPath(path).suffix.lower() in SUFFIXES]
    if others := sorted({*files} - {*paths}):
        print(
            f"left out, no images: {', '.join(others[:5])} ({len(others)} files)", file=sys.stderr
        )
    if not paths:
        raise ValueError(f"IMAGES: expected image files ({', '.join(SUFFIXES)}) in {images}")
    masks: dict[str, str] = {}
    for path in paths:
        name = f"{PurePosixPath(path).stem}.png"
        if name in masks:
            raise ValueError(f"{path} and {masks[name]} would both become {out}/{name}")
        masks[name] = path
    pairs = [(path, f"{out}/{name}") for name, path in masks.items() if name not in done]
    if any(path == mask for path, mask in pairs):
        raise ValueError(f"--out: expected another folder than that of the images, got {out}")
    return pairs, len(paths) - len(pairs)


def mapped(client, pairs, operator, source, target) -> Iterator[list[tuple[str, str | None]]]:
    """Yield the results of each task; only a few tasks wait at the workers at a time."""
    from distributed import as_completed

    tasks = (pairs[k : k + TASK] for k in range(0, len(pairs), TASK))
    waiting: dict[str, list[tuple[str, str]]] = {}

    def submit(task):
        # A worker that dies takes its tasks along: Dask gives each to others three times, and
        # ends it as an error then, which the images that kill workers deserve.
        future = client.submit(write_masks, task, operator, source, target, pure=False)
        waiting[future.key] = task
        return future

    many = AHEAD * max(sum(client.nthreads().values()), 1)
    queue = as_completed([submit(task) for task in islice(tasks, many)])
    for future in queue:
        task = waiting.pop(future.key)
        error = future.exception()
        if error is None:
            yield future.result()
        elif len(task) == 1:
            yield [(task[0][0], f"{type(error).__name__}: {' '.join(str(error).split())}")]
        else:  # one of these images kills workers: find out which, one task for each
            for pair in task:
                queue.add(submit([pair]))
        for task in islice(tasks, 1):
            queue.add(submit(task))


# %% [markdown]
# ## What a worker does


# %%
def write_masks(pairs, operator, source, target) -> list[tuple[str, str | None]]:
    """Read, apply and write some images, on a worker; return each path with its error or None."""
    threshold = operator.options.get("input_threshold")
    gray = operator.planes is not None
    results: list[tuple[str, str | None]] = []
    for path, mask in pairs:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / PurePosixPath(path).name
            try:
                source.get_file(path, str(copy))
                answer = operator(data.load_image(copy, gray=gray, threshold=threshold))
                data.save_mask(copy.with_name("mask"), answer, durable=False)
                # Under another name first: a worker that dies leaves no half of a mask.
                part = f"{mask}-{uuid.uuid4().hex}{PART}"
                target.put_file(str(copy.with_name("mask")), part)
                target.mv(part, mask)
                results.append((path, None))
            except (ValueError, OSError, MemoryError) as error:
                results.append((path, " ".join(str(error).split())))
    return results


# %% [markdown]
# ## A small run of it


# %%
def smoke(args: argparse.Namespace) -> int:
    """Learn from generated pairs, apply that to 20 images, and draw some; return the status."""
    folder = Path(args.out)
    args.model, args.images, args.out = (str(folder / n) for n in ("model", "images", "masks"))
    try:
        viz.require_matplotlib()
        make_example(args.model, args.images)
    except (ImportError, OSError) as error:
        return refuse("apply_many", error)
    if status := with_workers(args):
        return status
    numbered = (Path(there).glob("*.png") for there in (args.images, args.out))
    sheet = figure(*(sorted(paths, key=lambda path: int(path.stem)) for paths in numbered))
    write(folder / "apply_many.png", lambda path: sheet.savefig(path, dpi=90))
    return 0


def make_example(model: str, images: str) -> None:
    """Learn an erosion from generated pairs, and write 20 images to apply it to."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.random((28, 5, 5)) < 0.5, np.ones((8, 8), bool))
    x = blocks | (rng.random(blocks.shape) < 0.05)
    y = np.asarray(erosion(x, elements.disk(3)))
    menu = recipes.learn(jax.random.key(0), (x[:8], y[:8]), window=3)
    recipes.save_menu(model, menu)
    Path(images).mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(x[8:]):
        data.save_mask(f"{images}/{number}.png", image)


def figure(images: list[Path], masks: list[Path]):
    """Draw the first images above their masks."""
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(9, 2.8), layout="constrained")
    for row, paths in zip(sheet.subplots(2, 7), (images, masks), strict=True):
        for axis, path in zip(row, paths, strict=False):
            axis.imshow(data.load_image(path), cmap="gray", interpolation="nearest")
            axis.set_title(f"{path.parent.name}/{path.name}", fontsize=9)
            axis.set_axis_off()
    return sheet


if __name__ == "__main__":
    sys.exit(main())
