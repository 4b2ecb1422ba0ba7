"""Read one image file: its levels as an array, and what kind of file it is.

A `Picture` is bool or has levels that are not negative, `(H, W)`, rows running downwards. White is
high in every format: a PBM, whose 1 is black, gives the bits of the PNG that looks the same.
What cannot be read without a guess (pages, rotation tags, colour beside alpha) is refused.
"""

import io
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from morphax import _checks

SUFFIXES = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".pbm": "PBM",
    ".pgm": "PGM",
    ".pnm": "PNM",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
}
_FORMATS = ("PNG", "TIFF", "BMP", "PPM", "JPEG")
MAGIC = b"\x89PNG\r\n\x1a\n"
"""The first bytes of a PNG."""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type -> samples a pixel
_ORIENTATION = 0x0112  # the EXIF tag
_TIFF_BITS = 258  # the TIFF tag BitsPerSample
_COPY = "read it and write a copy, 8-bit gray or 1 bit, into another folder of pairs"


class Picture(NamedTuple):
    """Hold one image file.

    Attributes: path: of the file. values: bool, or levels of any other dtype, `(H, W)`. kind: the
        file in words, for messages. source: where the values come from: "gray", "opaque" (gray,
        beside an alpha channel that is 255
            everywhere), "alpha", "palette" (indices) or "colour" (codes of colours; black is 0).
        lossy: whether the levels are only nearly those that were saved.
    """

    path: Path
    values: np.ndarray
    kind: str
    source: str
    lossy: bool


def read(path: Path) -> Picture:
    """Return the image of a file.

    Raises:
        ImportError: Pillow (extra "data") is missing.
        ValueError: the file is damaged, too large, or cannot be read as one gray image.
    """
    image, pages, turned = _opened(path)
    _refuse_several(path, pages, turned)
    lossy = image.format not in ("PNG", "TIFF", "BMP", "PPM") or (
        image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    )
    values, kind, source = interpreted(path, image)
    return Picture(path, values, kind + (", lossy" if lossy else ""), source, lossy)


def require_size(picture: Picture, like: Picture) -> None:
    """Refuse a picture of another size than `like`."""
    if picture.values.shape != like.values.shape:
        raise ValueError(
            f"folder: expected images of one size, got {_size(like.values.shape)} in {like.path} "
            "and "
            f"{_size(picture.values.shape)} in {picture.path}; crop or pad them to one size, in "
            "another folder of pairs"
        )


def _size(shape: tuple[int, ...]) -> str:
    axes = "slices x rows x columns" if len(shape) == 3 else "rows x columns"
    return f"{'x'.join(map(str, shape))} ({axes})"


def pillow() -> Any:
    """Return the module `PIL.Image`; `ImportError` names the extra that brings it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise _checks.extra("pillow", "data", error) from error
    return Image


def _opened(path: Path) -> tuple[Any, int, int]:
    """Return the image of Pillow, fully read, the number of pages, and the EXIF orientation."""
    Image = pillow()
    from PIL import UnidentifiedImageError

    too_large = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with open(path, "rb") as file:
            start = file.read(33)
            content = start + file.read() if start[:8] == MAGIC else b""
        chunks = []
        if content:
            _require_possible_size(path, start)
            chunks = _chunks(content)  # reading alone lets damaged pixels pass
        with Image.open(io.BytesIO(content) if content else path, formats=_FORMATS) as image:
            pages = getattr(image, "n_frames", 1)
            image.load()
            # Rows that are missing in a PNG come out black, so an image that ends in black is
            # unpacked once more, to count them.
            last = image.crop((0, image.height - 1, image.width, image.height))
            unsure = start[28:29] != b"\0" or last.getbbox() is None  # byte 28: interlaced
            if chunks and unsure and not _whole(start, chunks):
                raise ValueError("its pixels end early")
            # Pillow turns TIFF images itself.
            turned = 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)
            return image, pages, turned
    except too_large as error:
        raise ValueError(
            f"folder: {path} is too large for Pillow, which reads it ({error}); cut it into "
            "images of "
            f"at most {Image.MAX_IMAGE_PIXELS} pixels, and its partner alike, in another folder "
            "of pairs"
        ) from error
    except Exception as error:  # of many kinds for damaged and absurd files
        name = SUFFIXES.get(path.suffix.lower(), "image")
        # Not all errors of Pillow name the file, and it is named here in any case.
        why = error.strerror if isinstance(error, OSError) and error.filename else str(error)
        why = "unknown content" if isinstance(error, UnidentifiedImageError) else why
        raise ValueError(f"folder: {path} is not a readable {name} ({why})") from error


def _refuse_several(path: Path, pages: int, turned: int) -> None:
    """Refuse files that hold several images, or one that programs show in several ways."""
    if pages > 1:
        raise ValueError(
            f"folder: {path} holds {pages} images (pages, frames or layers), expected one; "
            "save each under its own name in another folder of pairs, or read stacks with "
            "volumes=True (in a terminal: morphax learn --volumes)"
        )
    if turned not in (0, 1):
        raise ValueError(
            f"folder: {path} has an EXIF tag that turns or mirrors it (orientation {turned}), "
            "which "
            "some programs ignore; save a copy without such a tag in another folder of pairs"
        )


def interpreted(path: Path, image: Any) -> tuple[np.ndarray, str, str]:
    """Return the values of an image of Pillow, its kind in words, and their source (`Picture`)."""
    mode, transparent = image.mode, "transparency" in image.info
    if mode in ("LA", "PA", "RGB", "RGBA", "RGBa") and _deep(path, image):
        raise _refused(path, f"{mode} of 16 bits a channel, expected 8 bits", _COPY)
    if mode in ("LA", "PA", "RGBA", "RGBa") or (transparent and mode in ("1", "L", "P", "RGB")):
        return _with_alpha(path, np.asarray(image.convert("RGBA")), mode)
    if mode == "1":
        # The bools that Pillow makes of 1 bit are bytes of 255, which break arithmetic on them.
        return np.asarray(image.convert("L")) > 0, "1 bit", "gray"
    if mode == "L":
        return np.asarray(image), "8-bit gray", "gray"
    if mode in ("I", "F") or mode.startswith("I;16"):
        values = np.asarray(image)
        if transparent or not (np.isfinite(values) & (values >= 0)).all():
            what = f"gray of mode {mode} with negative, infinite or transparent values"
            raise _refused(path, what, _COPY)
        if mode != "F" and values.max() < 2**16:
            values = values.astype(np.uint16)
        return values, "32-bit gray" if values.itemsize == 4 else "16-bit gray", "gray"
    if mode == "P":
        return _with_palette(path, image)
    if mode == "RGB":
        return _gray_or_colour(np.asarray(image), "RGB")
    raise _refused(path, f"an image of mode {mode}, expected gray", _COPY)


def _deep(path: Path, image: Any) -> bool:
    """Tell whether Pillow has cut 16 bits a channel down to 8, which erases low levels."""
    if image.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24] == 16
    if image.format == "TIFF":
        return max(image.tag_v2.get(_TIFF_BITS, (8,))) > 8
    return False


def _gray_or_colour(rgb: np.ndarray, name: str) -> tuple[np.ndarray, str, str]:
    """Return gray levels where the three channels agree, and codes of the colours elsewhere."""
    if (rgb == rgb[..., :1]).all():
        return rgb[..., 0], f"{name} with equal channels", "gray"
    codes = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    return codes, f"{name} colour", "colour"


def _with_alpha(path: Path, rgba: np.ndarray, mode: str) -> tuple[np.ndarray, str, str]:
    """Return the colours of an opaque image, or the alpha of one that has one colour."""
    alpha = rgba[..., 3]
    values, kind, source = _gray_or_colour(rgba[..., :3], f"{mode} with alpha")
    if (alpha == 255).all():
        return values, kind, "opaque" if source == "gray" else source
    if (values == values[0, 0]).all():
        return alpha, f"the alpha of {mode}", "alpha"
    # A white or coloured shape on a transparent black ground: both say the same.
    levels = [np.unique(part) for part in (values, alpha)]
    two = all(len(each) == 2 and each[0] == 0 for each in levels)
    if two and ((values > 0) == (alpha > 0)).all():
        return alpha, f"the alpha of {mode}", "alpha"
    what = f"{mode} in which both the colours and alpha tell pixels apart"
    advice = (
        "write a copy of the one that is meant, as 8-bit gray or 1 bit, "
        "into another folder of pairs"
    )
    raise _refused(path, what, advice)


def _with_palette(path: Path, image: Any) -> tuple[np.ndarray, str, str]:
    """Return the gray levels of a gray palette, and the indices of a coloured one (label masks)."""
    indices = np.asarray(image)
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    if used[-1] >= len(palette):
        raise _refused(
            path, f"an image with index {used[-1]} of a palette of {len(palette)}", _COPY
        )
    colours = palette[used]
    if len(np.unique(colours, axis=0)) < len(used):
        raise _refused(path, "an image whose palette gives several indices one colour", _COPY)
    if (colours == colours[:, :1]).all():
        return palette[indices][..., 0], "gray with a palette", "gray"
    # Index and colour disagree on what the ground is where black does not come first.
    if (colours[1:] == 0).all(1).any():
        raise _refused(path, "an image with a palette in which black does not come first", _COPY)
    return indices, "indices of a colour palette", "palette"


def _refused(path: Path, what: str, way: str) -> ValueError:
    return ValueError(f"folder: {path} is {what}; {way}")


def _require_possible_size(path: Path, start: bytes) -> None:
    """Refuse a PNG header that claims more pixels than its file can hold."""
    width, height = struct.unpack(">II", start[16:24])
    # Deflate makes at most 1032 bytes, of 8 pixels each, of one.
    if width * height > 8 * 1032 * path.stat().st_size:
        raise ValueError(f"{width * height} pixels cannot be in so small a file")


# Of the seven images of an interlaced PNG: first column, first row, and the steps to the next ones.
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def _chunks(content: bytes) -> list[tuple[bytes, memoryview]]:
    """Return the kind and the content of each chunk of a PNG.

    Raises:
        ValueError: a part is missing, or a checksum does not fit.
    """
    at, kind, view, chunks = 8, b"", memoryview(content), []
    while kind != b"IEND":
        size, kind = int.from_bytes(view[at : at + 4]), bytes(view[at + 4 : at + 8])
        end = at + 8 + size
        if len(content) < end + 4:
            raise ValueError("it ends early")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ValueError("a checksum does not fit: it is damaged")
        chunks.append((kind, view[at + 8 : end]))
        at = end + 4
    return chunks


def _whole(start: bytes, chunks: list[tuple[bytes, memoryview]]) -> bool:
    """Tell whether a PNG holds all rows that its header announces; Pillow makes up missing ones."""
    packed = b"".join(part for kind, part in chunks if kind == b"IDAT")
    width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", start[16:29])
    bits = depth * _SAMPLES[colour]
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    wanted = sum(rows * (-(-columns * bits // 8) + 1) for columns, rows in sizes if columns > 0)
    return len(zlib.decompressobj().decompress(packed, wanted)) == wanted
