"""A folder of image pairs: `input/NAME.png` and `target/NAME.png`, matched by name.

Files are grey or one-bit PNGs, all of one size; arrays are bool `(N, H, W, 1)`, sorted by name.
"""

import struct
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from morphax import _checks

_SIDES = ("input", "target")


def load_pairs(
    folder: str | Path, *, threshold: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets from a folder of pairs.

    Args:
        folder: holds `input/*.png` and `target/*.png`; a pair bears one name.
        threshold: a pixel is set when it is at least this, in 1..255. By default images must be
            binary already: two levels, 0 and 255, or 0 and 1.

    Returns:
        `(inputs, targets)`, bool `(N, H, W, 1)`, in the order of their names.

    Raises:
        ImportError: Pillow (`morphax[data]`) is missing.
        ValueError: the folder or a half of it is missing or empty, a name has no partner, an image
            is damaged, has another size, colour or alpha, or more than two levels without a `threshold`.

    >>> import tempfile
    >>> import numpy as np
    >>> images = np.eye(5, dtype=bool)[None, :, :, None]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_pairs(folder, images, ~images)
    ...     inputs, targets = load_pairs(folder)
    >>> inputs.shape, bool((inputs ^ targets).all())
    ((1, 5, 5, 1), True)
    """
    files = matched(folder, threshold)
    stacks = [[read(path, threshold) for path in side] for side in zip(*files, strict=True)]
    size = stacks[0][0].shape
    for i, stack in enumerate(stacks):
        for pair, image in zip(files, stack, strict=True):
            if image.shape != size:
                raise ValueError(
                    f"folder: expected images of one size, got {_size(size)} in {files[0][0]} and "
                    f"{_size(image.shape)} in {pair[i]}; crop or pad them to one size"
                )
    inputs, targets = (np.stack(stack)[..., None] for stack in stacks)
    return inputs, targets


def save_pairs(folder: str | Path, inputs: np.ndarray, targets: np.ndarray) -> None:
    """Write pairs as one-bit PNGs that `load_pairs` reads back.

    Args:
        folder: made if needed; its `input/` and `target/` must not hold PNG files yet.
        inputs, targets: bool `(N, H, W, 1)`, of one shape.

    Raises:
        ImportError: Pillow (`morphax[data]`) is missing.
        ValueError: the arrays are not such pairs, or the folder holds pairs already.

    See `load_pairs` for an example.
    """
    Image = _pillow()
    inputs, targets = np.asarray(inputs), np.asarray(targets)
    for argument, images in (("inputs", inputs), ("targets", targets)):
        fits = images.ndim == 4 and images.shape[-1] == 1 and images.dtype == bool
        _checks.require(fits, argument, "bool (N, H, W, 1)", f"{images.dtype} {images.shape}")
    same = inputs.shape == targets.shape
    _checks.require(same, "targets", f"the shape of inputs, {inputs.shape}", targets.shape)
    for side in _SIDES:
        place = Path(folder).expanduser() / side
        place.mkdir(parents=True, exist_ok=True)
        _checks.require(not _pngs(place), "folder", "no PNG files there yet", str(place))
    for side, images in zip(_SIDES, (inputs, targets), strict=True):
        for index, image in enumerate(images[..., 0]):
            Image.fromarray(image).save(Path(folder).expanduser() / side / f"{index:06d}.png")


def crops(
    key: jax.Array,
    images: ArrayLike,
    targets: ArrayLike,
    *,
    size: tuple[int, int],
    count: int,
) -> tuple[jax.Array, jax.Array]:
    """Random crops of pairs, the same window from an image and its target.

    Within the reach of an operator of the frame of a crop, the target depends on pixels that were cut
    away: `frame=` of `morphax.recipes.learn_operator` leaves them out.

    Args:
        key: a PRNG key; the same key gives the same crops.
        images, targets: `(N, H, W, C)` of the same N, H and W.
        size: rows and columns of a crop.
        count: number of crops; images and positions are drawn with replacement.

    Returns:
        `(images, targets)`, `(count, *size, C)`.

    Raises:
        ValueError: arrays that do not fit, a size larger than the images, `count` below 1.

    >>> import jax, numpy as np
    >>> images = np.eye(9, dtype=bool)[None, :, :, None]
    >>> x, y = crops(jax.random.key(0), images, ~images, size=(4, 5), count=3)
    >>> x.shape, bool((x ^ y).all())
    ((3, 4, 5, 1), True)
    """
    images, targets = jnp.asarray(images), jnp.asarray(targets)
    fits = images.ndim == 4 and len(images) > 0
    _checks.require(fits, "images", "one image or more (N, H, W, C)", images.shape)
    fits = targets.ndim == 4 and targets.shape[:3] == images.shape[:3]
    _checks.require(fits, "targets", f"shape {images.shape[:3]} + (C,)", targets.shape)
    height, width = images.shape[1:3]
    fits = len(size) == 2 and 1 <= size[0] <= height and 1 <= size[1] <= width
    _checks.require(fits, "size", f"rows in 1..{height} and columns in 1..{width}", size)
    _checks.require(count >= 1, "count", "1 or more", count)
    key_image, key_row, key_column = jax.random.split(key, 3)
    image = jax.random.randint(key_image, (count,), 0, len(images))
    row = jax.random.randint(key_row, (count,), 0, height - size[0] + 1)
    column = jax.random.randint(key_column, (count,), 0, width - size[1] + 1)

    def cut(stack: jax.Array, i: jax.Array, r: jax.Array, c: jax.Array) -> jax.Array:
        return lax.dynamic_slice(stack, (i, r, c, 0), (1, *size, stack.shape[-1]))[0]

    many = jax.jit(jax.vmap(cut, in_axes=(None, 0, 0, 0)))
    return many(images, image, row, column), many(targets, image, row, column)


def matched(folder: str | Path, threshold: int | None) -> list[tuple[Path, Path]]:
    """Paths of the pairs of a folder, in the order of their names; raises as `load_pairs` does."""
    if threshold is not None:
        _checks.require(1 <= threshold <= 255, "threshold", "a value in 1..255 or None", threshold)
    folder = Path(folder).expanduser()
    _checks.require(folder.is_dir(), "folder", "an existing folder", str(folder))
    files = {side: _files(folder / side) for side in _SIDES}
    for side, other in (_SIDES, _SIDES[::-1]):
        alone = sorted(set(files[side]) - set(files[other]))
        if alone:
            listed = ", ".join(alone[:5]) + (" ..." if len(alone) > 5 else "")
            raise ValueError(
                f"folder: {len(alone)} file(s) in {folder / side} have no partner "
                f"of the same name in {other}/: {listed}"
            )
    return [(path, files["target"][name]) for name, path in files["input"].items()]


def _files(place: Path) -> dict[str, Path]:
    if not place.is_dir():
        raise ValueError(
            f"folder: expected the sub-folders input/ and target/, but {place} is missing"
        )
    found = _pngs(place)
    if not found:
        raise ValueError(f"folder: expected PNG files, but there are none in {place}")
    return found


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


def _pngs(place: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(place.iterdir()) if path.suffix.lower() == ".png"}


def read(path: Path, threshold: int | None) -> np.ndarray:
    """One image as bool `(H, W)`; raises as `load_pairs` does."""
    _pillow()
    try:
        mode, values = _gray(path)
    except Exception as error:  # of many kinds for damaged and absurd PNGs; not all name the file
        raise ValueError(f"folder: {path} is not a readable PNG ({error})") from error
    if mode not in ("1", "L"):
        raise ValueError(
            f"folder: {path} has mode {mode!r} (colour, palette, alpha or 16 bits), "
            "expected 8-bit grey or 1 bit; convert it: "
            "PIL.Image.open(path).convert('L').save(path)"
        )
    if threshold is not None:
        return values >= threshold
    levels = np.unique(values)
    if not (np.isin(levels, (0, 1)).all() or np.isin(levels, (0, 255)).all()):
        raise ValueError(
            f"folder: {path} is not binary: {len(levels)} levels from {levels[0]} to {levels[-1]}, "
            "expected 0 and 255, or 0 and 1; give a threshold, e.g. threshold=128"
        )
    return values > 0


def _gray(path: Path) -> tuple[str, np.ndarray]:
    """Mode of an image, and its gray levels where it is a gray one."""
    with _pillow().open(path, formats=("PNG",)) as image:
        mode = "alpha" if "transparency" in image.info else image.mode
        pixels = image.width * image.height
        image.verify()  # checksums: reading alone lets damaged pixels pass
    # Deflate makes at most 1032 bytes, of 8 pixels each, of one.
    if pixels > 8 * 1032 * path.stat().st_size:
        raise ValueError(f"{pixels} pixels cannot be in so small a file")
    if mode not in ("1", "L"):
        return mode, np.zeros((0, 0), np.uint8)
    if not _whole(path.read_bytes()):
        raise ValueError("its pixels end early")
    with _pillow().open(path, formats=("PNG",)) as image:
        return mode, np.asarray(image.convert("L"))


def _whole(content: bytes) -> bool:
    """Whether a gray PNG holds all rows that its header announces; Pillow makes up what is missing."""
    at, kind, packed = 8, b"", []
    while at < len(content) and kind != b"IEND":
        size, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if kind == b"IDAT":
            packed.append(content[at + 8 : at + 8 + size])
        at += 12 + size
    width, height, depth, *_, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    wanted = sum(rows * (-(-columns * depth // 8) + 1) for columns, rows in sizes if columns > 0)
    return len(zlib.decompressobj().decompress(b"".join(packed), wanted)) == wanted


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]} (rows x columns)"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise _checks.extra("pillow", "data") from error
    return Image
