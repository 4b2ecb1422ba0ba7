"""Single volumes: find the files of a folder, read one, write the answer to one.

Files are numpy arrays, TIFF of several pages and NIfTI, as in `load_pairs(volumes=True)`; volumes
are `(D, H, W)`: slices, rows, columns. `morphax.data.images` does the same for images.
"""

import gzip
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from morphax import _checks, _files
from morphax.data import _image_files, _names, _stacks
from morphax.data._bits import Threshold, bits, gray_levels, rule_of, thresholds_of


def find_volumes(place: str | os.PathLike[str]) -> list[Path]:
    """Return the files of volumes of a folder, sorted; hidden files and folders are left out.

    Args:
        place: a folder, or one file, which is returned whatever its name.

    Returns:
        Paths of `.npy`, TIFF and NIfTI files.

    Raises:
        ValueError: there is no such folder or file, or no volume in it.
    """
    path = Path(place).expanduser()
    if path.is_file():
        return [path]
    _checks.require(path.is_dir(), "images", "an existing folder or file", str(path))
    files = _names.images(path, volumes=True)
    formats = ", ".join(dict.fromkeys(_stacks.SUFFIXES.values()))
    _checks.require(len(files) > 0, "images", f"files of volumes ({formats})", f"none in {path}")
    return files


def load_volume(
    path: str | os.PathLike[str], *, gray: bool = False, threshold: Threshold = None
) -> np.ndarray:
    """Read one volume.

    Args:
        path: the file: `.npy`, TIFF of several pages, or NIfTI (extra "volumes").
        gray: return gray levels, instead of bits.
        threshold: a voxel of a gray file is set when its level is at least this; binary files need
            none. "otsu" chooses one for this volume. Not used with `gray`.

    Returns:
        bool `(D, H, W)`, or uint8 or uint16 `(D, H, W)` with `gray`.

    Raises:
        ImportError: Pillow (extra "data"), or nibabel (extra "volumes"), is missing.
        ValueError: the file is damaged, holds no volume, or is gray without a threshold.

    Example:
        >>> import tempfile
        >>> volume = np.eye(3, dtype=bool)[None].repeat(2, 0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_volume(f"{folder}/a.tif", volume)
        ...     bool((load_volume(f"{folder}/a.tif") == volume).all())
        True
    """
    picture = _stacks.read_stack(Path(path))
    if gray:
        return gray_levels(picture)
    limit = thresholds_of(None, threshold, None)["input"]
    return bits(picture, rule_of("input", [picture], limit))


def save_volume(
    path: str | os.PathLike[str],
    volume: np.ndarray,
    *,
    like: str | os.PathLike[str] | None = None,
) -> None:
    """Write a bool volume in the format of its name, completely or not at all.

    Args:
        path: the file: `.npy` (bool), `.tif` or `.tiff` (pages of 8 bits, 0 and 255), `.nii` or
            `.nii.gz` (levels 0 and 1; extra "volumes").
        volume: bool `(D, H, W)`, not empty.
        like: a NIfTI file whose places and sizes of voxels a NIfTI file takes over; without it, the
            sides of a voxel are 1. Files of other formats have none.

    Raises:
        ImportError: Pillow (extra "data"), or nibabel (extra "volumes"), is missing.
        ValueError: it is no such volume, or another format.
        OSError: the file cannot be written.

    Example:
        See `load_volume`.
    """
    fits = volume.ndim == 3 and volume.dtype == bool and volume.size > 0
    got = f"{volume.dtype} {volume.shape}"
    _checks.require(fits, "volume", "bool (D, H, W), not empty", got)
    suffix = _stacks.suffix_of(Path(path))
    formats = ", ".join(_stacks.SUFFIXES)
    _checks.require(suffix is not None, "path", f"a name that ends in {formats}", str(path))
    if suffix == ".npy":
        content = io.BytesIO()
        np.save(content, volume)
        _files.write(path, content.getvalue())
    elif suffix in (".tif", ".tiff"):
        _files.write(path, _pages(volume))
    else:
        nifti = _nifti(volume, like)
        _files.write(path, gzip.compress(nifti) if suffix == ".nii.gz" else nifti)


def _pages(volume: np.ndarray) -> bytes:
    """Return a volume as the content of a TIFF with a page for each slice."""
    image_of = _image_files.pillow().fromarray
    pages = [image_of(page.astype(np.uint8) * 255) for page in volume]
    content = io.BytesIO()
    pages[0].save(
        content, "TIFF", save_all=True, append_images=pages[1:], compression="tiff_deflate"
    )
    return content.getvalue()


def _nifti(volume: np.ndarray, like: Any) -> bytes:
    """Return a volume as the content of a NIfTI file, whose axes are x, y, z."""
    nibabel = _stacks.nibabel()
    affine = np.eye(4)
    if like is not None and (_stacks.suffix_of(Path(like)) or "").startswith(".nii"):
        affine = nibabel.load(like).affine
    return nibabel.Nifti1Image(volume.T.astype(np.uint8), affine).to_bytes()
