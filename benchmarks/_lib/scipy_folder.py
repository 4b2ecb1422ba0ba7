"""Apply an exported operator to a folder as a short script does it: Pillow and scipy.ndimage.

python benchmarks/_lib/scipy_folder.py OPERATOR.py IMAGES OUT [--processes 2] [--first N]
"""

import argparse
import multiprocessing
import runpy
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image


def one(path: Path, operator: str, out: Path, cache: dict = {}) -> None:  # noqa: B006
    """Write the mask of one image."""
    if not cache:
        cache.update(runpy.run_path(operator))
    image = np.asarray(Image.open(path)) > 127
    answer = cache["operator"](image)
    Image.fromarray(answer.astype(np.uint8) * 255).save(out / path.name)


def main() -> None:
    """Write the mask of each image."""
    parser = argparse.ArgumentParser()
    parser.add_argument("operator")
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--first", type=int)
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    paths = sorted(options.images.glob("*.png"))[: options.first]
    work = partial(one, operator=options.operator, out=options.out)
    if options.processes == 1:
        for path in paths:
            work(path)
    else:
        with multiprocessing.Pool(options.processes) as pool:
            pool.map(work, paths)


if __name__ == "__main__":
    main()
