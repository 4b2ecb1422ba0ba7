"""Bad images are refused with one clear error, never used as something else."""

import struct
import tracemalloc
import zlib

import jax
import numpy as np
import pytest
from fuzz.images import MAGIC, chunk
from PIL import Image

from morphax import data
from morphax.recipes.gradients.operators import learn_operator


def pairs(folder):
    images = np.eye(40, dtype=bool)[None, :, :, None]
    data.save_pairs(folder, images, ~images)
    return folder / "input" / "000000.png"


@pytest.mark.parametrize("keep", [4, 40, 60])
def test_damaged_png_is_named(tmp_path, keep):
    path = pairs(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"folder: .*000000\.png is not a readable PNG"):
        data.load_pairs(tmp_path)


def test_damaged_pixels_are_not_read(tmp_path):
    """Pillow alone may read them: when it has all rows, it looks at no checksum."""
    path = pairs(tmp_path)
    rows = zlib.compress(bytes(40 * 41 + 70_000), 0)  # more than the image needs
    pixels = bytearray(chunk(b"IDAT", rows))
    pixels[40] ^= 0xFF
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 40, 8, 0, 0, 0, 0))
    path.write_bytes(MAGIC + header + pixels + chunk(b"IEND", b""))
    with Image.open(path) as image:
        assert np.asarray(image).sum() == 255  # one wrong pixel, and not a word
    with pytest.raises(ValueError, match=r"000000\.png is not a readable PNG"):
        data.load_pairs(tmp_path)


# Which of the seven passes of an interlaced PNG each pixel of a square of 8 x 8 is in (PNG, section
# 8).
PASSES = np.array(
    [
        [int(c) for c in row]
        for row in (
            "16462646",
            "77777777",
            "56565656",
            "77777777",
            "36463646",
            "77777777",
            "56565656",
            "77777777",
        )
    ]
)


def gray_png(image, depth, *, interlaced=False, less=0):
    """A bool image as a gray PNG, without the last bytes of its pixels."""
    height, width = image.shape
    parts = [image]
    if interlaced:
        number = np.tile(PASSES, (-(-height // 8), -(-width // 8)))[:height, :width]
        each = [number == k for k in range(1, 8)]
        parts = [image[np.ix_(k.any(1), k.any(0))] for k in each]
    rows = b""
    for part in parts:
        for row in part if part.shape[1] else ():
            line = np.packbits(row) if depth == 1 else row.astype(np.uint8) * 255
            rows += b"\0" + line.tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, int(interlaced))
    pixels = zlib.compress(rows[: len(rows) - less])
    return MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("size", [(8, 7), (2, 9), (1, 1), (5, 3), (19, 18)])
def test_pixels_that_end_early_are_not_made_up(tmp_path, size, depth, interlaced):
    """Every checksum is right, and rows are missing: found by fuzzing; Pillow fills them with 0."""
    image = np.random.default_rng(0).random(size) < 0.7
    for side in ("input", "target"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "a.png").write_bytes(gray_png(image, depth, interlaced=interlaced))
    np.testing.assert_array_equal(data.load_pairs(tmp_path)[0][0, ..., 0], image)
    short = gray_png(image, depth, interlaced=interlaced, less=1)
    (tmp_path / "input" / "a.png").write_bytes(short)
    with pytest.raises(ValueError, match=r"a\.png is not a readable PNG"):
        data.load_pairs(tmp_path)


@pytest.mark.filterwarnings("ignore:Image size")  # Pillow's, of a possible bomb
@pytest.mark.parametrize("side", [12_000, 20_000, 2**31 - 1])
def test_absurd_sizes_cost_nothing(tmp_path, side):
    """A file of 60 bytes that claims more pixels than Pillow likes, or than there is memory."""
    path = pairs(tmp_path)
    header = b"IHDR" + struct.pack(">IIBBBBB", side, 12_000, 8, 0, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    path.write_bytes(path.read_bytes()[:12] + header + crc + path.read_bytes()[33:])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="is not a readable PNG"):
            data.load_pairs(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_only_png(tmp_path):
    """Another format under the name of a PNG is not opened at all."""
    path = pairs(tmp_path)
    Image.new("L", (40, 40)).save(path, format="GIF")
    with pytest.raises(ValueError, match=r"000000\.png is not a readable PNG"):
        data.load_pairs(tmp_path)


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_learn_operator_wants_bits(which, dtype):
    parts = [np.zeros((2, 8, 8, 1), bool) for _ in range(4)]
    parts[which] = parts[which].astype(dtype)
    name = rf"{'train' if which < 2 else 'valid'}\[{which % 2}\]: expected a bool array"
    with pytest.raises(ValueError, match=name):
        learn_operator(jax.random.key(0), tuple(parts[:2]), valid=tuple(parts[2:]), steps=1)
