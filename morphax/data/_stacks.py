"""Read one file of a volume: a numpy array, a TIFF of several pages, or NIfTI.

A volume is a `Picture` whose values are `(D, H, W)`: slices, rows, columns. NIfTI stores (x, y, z),
so its axes are reversed. Headers are not applied: voxels stay in the order of the file.
"""

from pathlib import Path
from typing import Any

import numpy as np

from morphax import _checks
from morphax.data._image_files import Picture, interpreted, pillow
from morphax.morphology import bit_arrays

SUFFIXES = {
    ".npy": "numpy",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
}
"""What files of volumes end in, and their formats."""


def suffix_of(path: Path) -> str | None:
    """Return what the name of a file of a volume ends in, one of `SUFFIXES`; None for others."""
    name = path.name.lower()
    return next(
        (suffix for suffix in sorted(SUFFIXES, reverse=True) if name.endswith(suffix)), None
    )


def read_stack(path: Path) -> Picture:
    """Return the volume of a file.

    Raises:
        ImportError: Pillow (extra "data") or nibabel (extra "volumes") is missing.
        ValueError: the file is damaged, or holds no volume of levels that are not negative.
    """
    suffix = suffix_of(path)
    if suffix is None:
        formats = ", ".join(dict.fromkeys(SUFFIXES.values()))
        raise ValueError(f"folder: {path} is no file of a volume, expected {formats}")
    if suffix == ".npy":
        values, kind = _read_array(path)
    elif suffix in (".tif", ".tiff"):
        values, kind = _read_pages(path)
    else:
        values, kind = _read_nifti(path)
    is_volume = values.ndim == 3 and values.size > 0 and values.dtype.kind in "buif"
    if not is_volume:
        got = f"{values.dtype} {values.shape}"
        raise ValueError(f"folder: {path} holds {got}, expected levels (slices, rows, columns)")
    finite = values.dtype.kind != "f" or bool(np.isfinite(values).all())
    if values.dtype.kind in "if" and not (finite and values.min() >= 0):
        raise ValueError(f"folder: {path} holds negative or infinite levels, expected 0 or more")
    return Picture(path, values, kind, "gray", False)


def _read_array(path: Path) -> tuple[np.ndarray, str]:
    try:
        values = bit_arrays.native(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"folder: {path} is not a readable numpy file ({error})") from error
    if not isinstance(values, np.ndarray):
        raise ValueError(f"folder: {path} is an npz file, expected one array (.npy)")
    return values, f"an array of {values.dtype}"


def _read_pages(path: Path) -> tuple[np.ndarray, str]:
    """Return the pages of a TIFF as slices."""
    pillow()
    from PIL import Image, ImageSequence

    try:
        with Image.open(path, formats=("TIFF",)) as image:
            pages = [interpreted(path, page.copy()) for page in ImageSequence.Iterator(image)]
    except Exception as error:  # of many kinds for damaged files
        raise ValueError(f"folder: {path} is not a readable TIFF ({error})") from error
    if len(pages) == 1:
        raise ValueError(
            f"folder: {path} is a single image, expected a stack of several pages; "
            "images are read without volumes=True (in a terminal: without --volumes)"
        )
    kinds = {(values.shape, values.dtype, kind, source) for values, kind, source in pages}
    _, kind, source = pages[0]
    if len(kinds) > 1 or source != "gray":
        got = f"{len(pages)} pages of several sizes or kinds" if len(kinds) > 1 else kind
        raise ValueError(f"folder: {path} holds {got}, expected gray pages of one size")
    return np.stack([values for values, _, _ in pages]), kind


def nibabel() -> Any:
    """Return the module `nibabel`; `ImportError` names the extra that brings it."""
    try:
        import nibabel  # type: ignore[import-not-found]
    except ImportError as error:
        raise _checks.extra("nibabel", "volumes", error) from error
    return nibabel


def _read_nifti(path: Path) -> tuple[np.ndarray, str]:
    module = nibabel()
    try:
        stored: Any = module.load(path)
        values = np.asarray(stored.dataobj)
    except Exception as error:  # of many kinds for damaged files
        raise ValueError(f"folder: {path} is not a readable NIfTI file ({error})") from error
    # A fourth axis of one volume (time, channel) is common.
    values = values[..., 0] if values.ndim == 4 and values.shape[-1] == 1 else values
    return bit_arrays.native(np.ascontiguousarray(values.T)), f"NIfTI of {values.dtype}"
