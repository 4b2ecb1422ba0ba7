"""Fuzzed folders of images and fuzzed level sets: refused, or what an independent decoder says."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from fuzz.archives import check_message

from morphax.data import load_pairs
from morphax.morphology import levelsets

MAGIC = b"\x89PNG\r\n\x1a\n"
SIDES = ("input", "target")
COLOURS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type -> samples a pixel


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its CRC."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(header: tuple[int, ...], rows: bytes, *more: bytes) -> bytes:
    """A PNG file: IHDR fields, filtered rows, more chunks before the pixels."""
    ihdr = struct.pack(">IIBBBBB", *header)
    return (
        MAGIC
        + chunk(b"IHDR", ihdr)
        + b"".join(more)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def draw_png(rng, size: tuple[int, int]) -> bytes:
    """A whole image, mostly gray and binary."""
    height, width = size
    depth = int(rng.choice([1, 1, 8, 8, 8, 8, 2, 4, 16]))
    colour = int(rng.choice([0] * 20 + [2, 3, 4, 6]))
    depth = depth if colour == 0 else 8
    length = -(-width * COLOURS[colour] * depth // 8)
    rows = rng.choice([0, 255] if rng.random() < 0.7 else [0, 1], (height, length)).astype(np.uint8)
    if rng.random() < 0.1:
        rows = rng.integers(0, 256, (height, length)).astype(np.uint8)
    filters = np.zeros((height, 1), np.uint8)
    if rng.random() < 0.15:
        filters = rng.integers(0, 5, (height, 1)).astype(np.uint8)
    palette = [chunk(b"PLTE", bytes(range(6)))] if colour == 3 else []
    alpha = [chunk(b"tRNS", b"\x00\x00")] if colour == 0 and rng.random() < 0.05 else []
    header = (width, height, depth, colour, 0, 0, 0)
    return png(header, np.hstack([filters, rows]).tobytes(), *palette, *alpha)


def decode(content: bytes) -> tuple[np.ndarray | None, bool]:
    """Gray levels of a gray PNG of at most 8 bits, by the specification; None for anything else.

    And whether it is a plain one, which must not be refused: no chunks but the necessary ones.
    """
    at, pixels, header, plain = len(MAGIC), b"", None, True
    if content[:at] != MAGIC:
        return None, False
    while True:
        size, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        data, crc = content[at + 8 : at + 8 + size], content[at + 8 + size : at + 12 + size]
        whole = len(crc) == 4 and int.from_bytes(crc) == zlib.crc32(kind + data)
        if kind == b"IEND":  # nothing hangs on its checksum
            plain &= whole
            break
        plain &= whole and kind in (b"IHDR", b"IDAT")
        if (not whole and kind[:1].isupper()) or kind == b"tRNS" or at > len(content):
            return None, False
        if kind == b"IHDR":
            if size != 13 or header is not None:
                return None, False
            header = struct.unpack(">IIBBBBB", data)
        pixels += data if kind == b"IDAT" else b""
        at += 12 + size
    if header is None:
        return None, False
    width, height, depth, colour, *methods, interlaced = header
    plain &= not any(methods)  # Pillow does not look at them
    if colour or depth not in (1, 2, 4, 8) or interlaced or not 0 < width * height < 10**6:
        return None, False
    try:
        raw = zlib.decompress(pixels)
    except zlib.error:
        return None, False
    length = -(-width * depth // 8)
    if len(raw) < height * (length + 1):
        return None, False
    above, rows = [0] * length, []
    for row in range(height):
        kind, *line = raw[row * (length + 1) : (row + 1) * (length + 1)]
        if kind > 4:
            return None, False
        for i in range(length):
            a, b, c = (line[i - 1], above[i], above[i - 1]) if i else (0, above[i], 0)
            paeth = min((a, b, c), key=lambda v: abs(a + b - c - v))
            line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth)[kind]) & 255
        rows.append(line)
        above = line
    bits = np.unpackbits(np.array(rows, np.uint8), axis=1).reshape(height, -1, depth)[:, :width]
    levels = (bits * 2 ** np.arange(depth)[::-1]).sum(2)
    return levels * (255 // (2**depth - 1)), plain


def damage(rng, content: bytes) -> bytes:
    """Bytes changed or cut; or an absurd header, sealed with its right CRC; or no PNG at all."""
    data, kind = bytearray(content), rng.integers(6)
    if kind == 0:
        return bytes(data[: rng.integers(0, len(data))])
    if kind in (1, 2):
        for spot in rng.integers(0, len(data), int(rng.integers(1, 5))):
            data[spot] = int(rng.integers(256))
        return bytes(data)
    if kind == 3:  # size, depth, colour, interlace
        spot = 16 + int(rng.choice([0, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]))
        data[spot] = int(rng.choice([0, 1, 2, 3, 4, 8, 16, 127, 255]))
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        return bytes(data)
    if kind == 4:
        names = [
            b"tEXt",
            b"zTXt",
            b"iCCP",
            b"tRNS",
            b"PLTE",
            b"IHDR",
            b"gAMA",
            b"eXIf",
            b"acTL",
            b"fdAT",
        ]
        extra = chunk(names[rng.integers(len(names))], rng.bytes(int(rng.integers(0, 30))))
        return bytes(data[:33]) + extra + bytes(data[33:])
    starts = [
        b"",
        b"GIF89a",
        b"BM",
        b"P5\n2 2\n255\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"II*\x00",
        MAGIC,
        b"\xff\xd8\xff\xe0",
    ]
    return starts[rng.integers(len(starts))] + rng.bytes(int(rng.integers(0, 60)))


def folders(rng, folder: Path) -> str:
    """A folder of one pair, both images fuzzed or not, read with or without a threshold."""
    size = (int(rng.integers(1, 9)), int(rng.integers(1, 20)))
    threshold = None if rng.random() < 0.6 else int(rng.integers(1, 256))
    contents = []
    for side in SIDES:
        content = draw_png(rng, size if rng.random() < 0.97 else (3, 3))
        if rng.random() < 0.25:
            content = damage(rng, content)
        (folder / side).mkdir(exist_ok=True)
        (folder / side / "a.png").write_bytes(content)
        contents.append(decode(content))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of chunks that do not matter
            found = load_pairs(folder, threshold=threshold)
    except ValueError as error:
        check_refusal(error, contents, threshold)
        return "refused"
    for side, image, (levels, _) in zip(SIDES, found, contents, strict=True):
        content = (folder / side / "a.png").read_bytes()
        if content[28:29] != b"\0" or content[25:26] != b"\0" or content[24:25] == b"\x10":
            continue  # interlaced, in colour or of 16 bits, which the oracle does not read
        if b"tRNS" in content:
            continue
        assert levels is not None, "a damaged image was read"
        np.testing.assert_array_equal(image[0, ..., 0], bits_of(levels, threshold))
    return "right"


def check_refusal(error: ValueError, contents: list, threshold: int | None) -> None:
    """Whole gray images of one size, binary where they must be, are not refused."""
    check_message(error, "folder: ")
    levels = [levels for levels, plain in contents if plain]
    if len(levels) == 2 and levels[0].shape == levels[1].shape:
        readable = all(bits_of(each, threshold) is not None for each in levels)
        assert not readable, f"refused: {error}"


def bits_of(levels: np.ndarray, threshold: int | None) -> np.ndarray | None:
    """What the levels of the only file of a side mean; None where it must be refused."""
    values = np.unique(levels)
    if {*values} <= {0, 255} or {*values} <= {0, 1}:
        return levels > 0
    if threshold is None:
        return levels == values[1] if len(values) == 2 else None
    return levels >= threshold if values[0] < threshold <= values[-1] else None


SHAPES = ((1, 2, 3, 1), (2, 1, 2, 2), (1, 4, 4, 3), (0, 2, 2, 1), (2, 3, 1), ())
DTYPES = (
    "uint8",
    "int16",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bool",
    "complex64",
    "U1",
    "O",
)


def draw_values(rng, shape, dtype: str) -> np.ndarray:
    """An array of any dtype, tame or wild."""
    if dtype in ("U1", "O", "bool", "complex64"):
        return rng.integers(0, 2, shape).astype(dtype)
    if "int" in dtype:
        info = np.iinfo(dtype)
        high = rng.choice([2, 9, 200, 2**31, 2**62])
        values = rng.integers(0, high, shape) - rng.choice([0, 1, 100])
        return np.clip(values, max(info.min, -(2**62)), min(info.max, 2**62)).astype(dtype)
    values = np.asarray(rng.normal(size=shape) * 10.0 ** rng.integers(-30, 31))
    if rng.random() < 0.3:
        values = np.round(np.asarray(rng.normal(size=shape)))
    if rng.random() < 0.2 and values.size:
        values.reshape(-1)[rng.integers(values.size)] = rng.choice([np.nan, np.inf, -np.inf])
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def level_sets(rng, folder: Path) -> str:
    """Thresholds of an image, or drawn ones; its level sets; the image again."""
    shape = SHAPES[min(int(rng.integers(9)), 5) if rng.random() < 0.4 else rng.integers(3)]
    dtype = DTYPES[rng.integers(12 if rng.random() < 0.2 else 8)]
    images = draw_values(rng, shape, dtype)
    try:
        if rng.random() < 0.5:
            method = str(rng.choice(["quantile", "uniform", "distinct"]))
            count = int(rng.choice([-1, 0, 1, 2, 3]))
            table = levelsets.thresholds(images, count, method=method)
            values = np.asarray(images, table.dtype)
            assert (np.diff(table, axis=1) > 0).all(), "thresholds that do not increase"
            assert (table > values.min((0, 1, 2))[:, None]).all(), "a threshold below all"
        else:
            rows = shape[-1] if shape and rng.random() < 0.9 else 2
            table = draw_values(rng, (rows, int(rng.integers(1, 4))), dtype)
            table = np.sort(table, 1) if rng.random() < 0.9 else table
        levels = np.asarray(levelsets.decompose(images, table))
        lowest = table[:, 0] - (1 if table.dtype.kind == "i" else 0)
        back = np.asarray(levelsets.reconstruct(levels, table, lowest=lowest))
    except ValueError as error:
        return check_message(error, ": expected ")
    kept = np.float32 if images.dtype.kind == "f" and images.dtype.itemsize == 8 else images.dtype
    with np.errstate(over="ignore"):
        x, t = images.astype(kept), table.astype(kept if images.dtype.kind == "f" else table.dtype)
    expected = x[..., None] >= t
    np.testing.assert_array_equal(levels, expected.reshape(levels.shape))
    ladder = np.concatenate([np.asarray(lowest, t.dtype)[:, None], t], 1)
    steps = expected.sum(-1)
    np.testing.assert_array_equal(back, ladder[np.arange(len(t)), steps])
    return "right"
