"""Single images: find the image files of a folder, read one, write a mask.

They are read like those of `load_pairs`: bool, or gray levels as they are in the file.
"""

import os
import struct
import zlib
from pathlib import Path

import numpy as np

from morphax import _checks, _files
from morphax.data import _image_files, _names
from morphax.data._bits import Threshold, bits, gray_levels, rule_of, thresholds_of

_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk: no content, and its checksum


def find_images(place: str | os.PathLike[str]) -> list[Path]:
    """Return the image files of a folder, sorted; hidden files and folders are left out.

    Args:
        place: a folder, or one file, which is returned whatever its name.

    Returns:
        Paths of PNG, TIFF, BMP, PBM, PGM and JPEG files.

    Raises:
        ValueError: there is no such folder or file, or no image in it, or an image of a format that
            is not read.
    """
    path = Path(place).expanduser()
    if path.is_file():
        return [path]
    _checks.require(path.is_dir(), "images", "an existing folder or file", str(path))
    _names.refuse_other_formats(path)
    files = _names.images(path)
    inner = sorted(p.name for p in path.iterdir() if p.is_dir() and _names.images(p))
    advice = f" (there are images in {', '.join(f'{path / name}' for name in inner[:3])})"
    got = f"none in {path}{advice if inner else ''}"
    _checks.require(len(files) > 0, "images", "image files", got)
    return files


def load_image(
    path: str | os.PathLike[str], *, gray: bool = False, threshold: Threshold = None
) -> np.ndarray:
    """Read one image.

    Args:
        path: the file.
        gray: return gray levels, instead of bits.
        threshold: a pixel of a gray file is set when its level is at least this; binary files need
            none. "otsu" chooses one for this image. Not used with `gray`.

    Returns:
        bool `(H, W)`, or uint8 or uint16 `(H, W)` with `gray`.

    Raises:
        ImportError: Pillow (extra "data") is missing.
        ValueError: the file is damaged, too large, in colour, or gray without a threshold.

    Example:
        >>> import tempfile
        >>> mask = np.eye(3, dtype=bool)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_mask(f"{folder}/a.png", mask)
        ...     bool((load_image(f"{folder}/a.png") == mask).all())
        True
    """
    picture = _image_files.read(Path(path))
    if gray:
        return gray_levels(picture)
    limit = thresholds_of(None, threshold, None)["input"]
    return bits(picture, rule_of("input", [picture], limit))


def save_mask(path: str | os.PathLike[str], mask: np.ndarray, *, durable: bool = True) -> None:
    """Write a mask as an 8-bit PNG of levels 0 and 255, completely or not at all.

    Args:
        path: the file.
        mask: bool `(H, W)`, not empty.
        durable: wait until the disk has it, so that a power cut leaves all or nothing, too.

    Raises:
        ValueError: it is no mask.
        OSError: the file cannot be written.

    Example:
        See `load_image`.
    """
    fits = mask.ndim == 2 and mask.dtype == bool and mask.size > 0
    _checks.require(fits, "mask", "bool (H, W), not empty", f"{mask.dtype} {mask.shape}")
    _files.write(path, _png(mask), durable=durable)


def _png(mask: np.ndarray) -> bytes:
    """Return a mask as the content of a PNG file; Pillow takes two to five times as long."""
    height, width = mask.shape
    rows = np.zeros((height, 1 + width), np.uint8)  # first in each row: 0, no filter
    np.multiply(mask, np.uint8(255), out=rows[:, 1:])
    # Runs of equal levels are all that there is to compress in a mask.
    deflate = zlib.compressobj(1, zlib.DEFLATED, 15, 8, zlib.Z_RLE)
    pixels = deflate.compress(rows.data) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bits, gray
    parts = [_image_files.MAGIC]
    for kind, content in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")):
        checksum = zlib.crc32(kind + content)
        parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)]
    return b"".join(parts)


def is_whole_png(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file begins and ends like a PNG: a power cut may have left an empty one.

    Args:
        path: the file, which need not be there.

    Returns:
        False if it is missing, empty or cut off.

    Example:
        >>> is_whole_png("nowhere.png")
        False
    """
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            file.seek(-12, os.SEEK_END)
            return start == _image_files.MAGIC and file.read() == _END
    except OSError:
        return False
