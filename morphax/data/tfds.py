"""Data sets prepared by TensorFlow Datasets, read without TensorFlow, and made binary.

Reading goes through `tfds.data_source`, which needs a folder prepared in the `array_record` format.
The extra "data" brings all that reading takes, preparing takes TensorFlow (once, anywhere).
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from morphax import _checks

_PREPARE = """
Either prepare it once, online (this alone needs TensorFlow):
    pip install ".[data]" tensorflow importlib_resources
    python -c "import tensorflow_datasets as tfds; tfds.data_source('{name}', data_dir='DIR',
        download=True, builder_kwargs=dict(file_format='array_record'))"
or point data_dir (--data-dir) or the variable MORPHAX_DATA at a folder where that was done."""


def load(
    name: str,
    split: str,
    *,
    data_dir: str | Path | None = None,
    limit: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Load images and labels of one split of a prepared data set.

    Args:
        name: name of the data set, such as `"mnist"`.
        split: `"train"`, `"test"`, or a slice such as `"train[90%:]"`.
        data_dir: the folder that holds the data sets, or that holds such a folder named `tfds`;
            by default the environment variable `MORPHAX_DATA`.
        limit: read only the first so many records.

    Returns:
        Images, uint8 `(N, H, W, C)`, and labels, int32 `(N,)`.

    Raises:
        ImportError: the extra "data" is not installed.
        ValueError: the folder or the data set in it is missing or not in the array_record format,
            the split is unknown, or the records are not images of one size with a label.

    >>> load("mnist", "train", data_dir="/no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: data_dir: expected an existing folder, got '/no/such/folder'...
    """
    if limit is not None:
        _checks.require(limit >= 1, "limit", "at least 1", limit)
    source = tfds_source(name, split, data_dir=data_dir)
    records = source.__getitems__(range(len(source))[:limit])
    shapes = {np.shape(record.get("image")) for record in records}
    labelled = all("label" in record for record in records)
    _checks.require(
        len(shapes) == 1 and len(min(shapes)) == 3 and labelled,
        "name",
        "a data set of labelled images (H, W, C) of one size",
        name,
    )
    images = np.stack([record["image"] for record in records])
    return images, np.array([record["label"] for record in records], np.int32)


def tfds_source(name: str, split: str, *, data_dir: str | Path | None = None) -> Any:
    """Return the records of one split by their number, for `morphax.data.stream.batches`.

    No record is read before it is asked for.

    Args:
        name: as for `load`.
        split: as for `load`.
        data_dir: as for `load`.

    Returns:
        TFDS's `data_source`: `len(source)`, and `source[i]` a dict such as `{"image", "label"}`.

    Raises:
        ImportError, ValueError: as `load` does.
    """
    folder = _folder(name, data_dir)
    for module in ("tensorflow_datasets", "array_record", "PIL"):
        if find_spec(module) is None:
            raise _checks.extra(module, "data")
    import tensorflow_datasets as tfds

    try:
        return tfds.data_source(name, split=split, data_dir=folder, download=False)
    except (NotImplementedError, LookupError) as error:
        raise ValueError(
            f"name: {name!r} in {folder} is not prepared in the array_record format."
            + _PREPARE.format(name=name)
        ) from error
    except ValueError as error:
        raise ValueError(f"split: {error}") from error


def binary_images(
    images: np.ndarray,
    *,
    threshold: int = 30,
    size: tuple[int, int] | None = None,
    invert: bool = False,
) -> np.ndarray:
    """Turn gray images into binary ones, resized first: the papers' treatment of MNIST.

    They use `size=(50, 50)` and the threshold 30, and `invert` for "inverted MNIST" (Aouad &
    Talbot, ICIP 2022; DGMM 2022, arXiv 2204.08768; arXiv 2401.03830). Resizing is Pillow's bicubic
    on uint8, as in the last paper; the first two use OpenCV's, which differs slightly. The last one
    also stretches each image to 0..255 before; MNIST images reach 0 and 254 or 255 by themselves.

    Args:
        images: uint8 `(N, H, W, 1)`.
        threshold: a pixel is set when it is at least this, in 1..255.
        size: new rows and columns; None leaves the size.
        invert: complement the result.

    Returns:
        A bool array `(N, H, W, 1)`.

    Raises:
        ImportError: `size` is given and Pillow (extra "data") is missing.
        ValueError: an argument is out of its range.

    >>> import numpy as np
    >>> binary_images(np.full((2, 28, 28, 1), 200, np.uint8), size=(50, 50)).mean().item()
    1.0
    """
    images = np.asarray(images)
    fits = images.ndim == 4 and images.shape[-1] == 1 and images.dtype == np.uint8
    came = f"{images.dtype} {images.shape}"
    _checks.require(fits, "images", "grey images uint8 (N, H, W, 1)", came)
    _checks.require(1 <= threshold <= 255, "threshold", "a value in 1..255", threshold)
    planes = images[..., 0]
    if size is not None:
        fits = len(size) == 2 and min(size) >= 1
        _checks.require(fits, "size", "two positive integers (rows, columns)", size)
        planes = _resized(planes, (int(size[0]), int(size[1])))
    return ((planes >= threshold) ^ invert)[..., None]


def _folder(name: str, data_dir: str | Path | None) -> Path:
    """Return the folder that holds the data set's own folder."""
    chosen = data_dir or os.environ.get("MORPHAX_DATA")
    argument = "data_dir" if data_dir else "MORPHAX_DATA"
    hint = _PREPARE.format(name=name)
    if not chosen:
        raise ValueError(f"data_dir: not given, and MORPHAX_DATA is not set.{hint}")
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{argument}: expected an existing folder, got {str(chosen)!r}{hint}")
    if (folder / "tfds").is_dir():
        folder = folder / "tfds"
    if not (folder / name.split(":")[0].split("/")[0]).is_dir():
        there = ", ".join(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
        raise ValueError(
            f"name: no data set {name!r} in {folder} (there: {there or 'none'}).{hint}"
        )
    return folder


def _resized(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise _checks.extra("pillow", "data", error) from error
    resized = np.empty((len(planes), *size), np.uint8)
    for out, plane in zip(resized, planes, strict=True):
        grey = Image.fromarray(plane)
        out[:] = np.asarray(grey.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return resized
