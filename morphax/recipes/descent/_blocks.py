"""Put pairs of images of any size into blocks of words, for `_bit_errors`.

Images of one small size are packed as they are, 32 to a word. Others are cut into tiles of one size
that overlap by the reach of the networks: only the pixels of a tile that see all they need are
counted. The frame of an image stays a frame; what lies outside of it is not inside any tile.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax.recipes.descent._bit_errors import Block

_WORDS = 11_000
"""Words of a plane: more are slower for each pixel (caches, threads), fewer pay for their loops."""
_SIDES = {2: 64, 3: 16}
"""Side of the tiles of larger images and volumes, without what they overlap."""


class Geometry(NamedTuple):
    """Say how planes are laid out (`_bit_errors`).

    Attributes:
        side: of the windows.
        pitches: distance of neighbours along each axis, in words.
        words: words at a pixel.
        origin: offset of the first pixel in a plane.
        stride: words of a plane in the buffer.
        inputs: channels.
        shape: rows and columns of an image or tile; slices, rows and columns of a volume.
    """

    side: int
    pitches: tuple[int, ...]
    words: int
    origin: int
    stride: int
    inputs: int
    shape: tuple[int, ...]

    @property
    def axes(self) -> int:
        """Return the number of axes of an image."""
        return len(self.shape)

    @property
    def pixels(self) -> int:
        """Return the number of pixels of a window."""
        return self.side**self.axes


class Pairs(NamedTuple):
    """Hold pairs of images in words.

    Attributes:
        blocks: of `Block`, on the device.
        geometry: how they are laid out.
        pixels: pixels that count, of each block, int64 `(blocks,)`.
        positives: of these, those of which the target is set.
    """

    blocks: tuple[Block, ...]
    geometry: Geometry
    pixels: np.ndarray
    positives: np.ndarray


def pairs_in_words(
    images: Sequence[np.ndarray] | np.ndarray,
    targets: Sequence[np.ndarray] | np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray | None = None,
    *,
    side: int,
    reach: int,
    like: Pairs | None = None,
) -> Pairs:
    """Pack pairs of images.

    Args:
        images: bool `(N, H, W, C)`, or a sequence of `(H, W, C)` of any sizes; volumes have an
            axis more.
        targets: bool `(N, H, W)`, or a sequence of `(H, W)`.
        masks: the pixels that count, as `targets`; all by default.
        side: of the windows, odd.
        reach: how far a network may look.
        like: other pairs, whose layout is taken over: the compiled programs then serve both.

    Returns:
        `Pairs`.
    """
    masks = [np.ones(target.shape, bool) for target in targets] if masks is None else masks
    sizes = {image.shape[:-1] for image in images}
    shape = _shape_of_tiles(sizes, reach) if like is None else like.geometry.shape
    if sizes == {shape}:
        x, y, counts = (np.asarray(part) for part in (images, targets, masks))
        inside = np.ones(y.shape, bool)
    else:
        x, y, inside, counts = _tiles(images, targets, masks, shape, reach)
    radius = side // 2
    # As many images side by side as make a plane of about `_WORDS`, but no more than there are.
    words = int(np.clip(_WORDS // math.prod(shape), 1, -(-len(x) // 32)))
    words = words if like is None else like.geometry.words
    # Each row is padded by what a window reaches beyond it, at both ends; so is each slice.
    padded = [length + 2 * radius for length in shape]
    pitches = tuple(math.prod(padded[axis + 1 :]) * words for axis in range(len(shape)))
    origin, stride = radius * sum(pitches), padded[0] * pitches[0]
    geometry = Geometry(side, pitches, words, origin, stride, x.shape[-1], shape)

    def flat(planes: np.ndarray) -> np.ndarray:
        return _pack(planes, words, 2 * radius)

    def flat_mask(mask: np.ndarray) -> np.ndarray:
        # Where all pixels count, all blocks but the last one are alike.
        count, rest = divmod(len(mask), 32 * words)
        if count < 2 or not mask.all():
            return flat(mask)
        full = flat(mask[: 32 * words])
        last = [flat(mask[-rest:])] if rest else []
        return np.concatenate([np.broadcast_to(full, (count, full.shape[1])), *last])

    channels = np.stack([flat(x[..., c]) for c in range(x.shape[-1])], 1)
    parts = (channels, flat(y), flat_mask(inside), flat_mask(counts & inside))
    blocks = tuple(Block(*jax.device_put(one)) for one in zip(*parts, strict=True))
    # Count once what every loss divides by.
    pixels = np.array([np.bitwise_count(c).sum() for c in parts[3]], np.int64)
    positives = [np.bitwise_count(c & t).sum() for c, t in zip(parts[3], parts[1], strict=True)]
    return Pairs(blocks, geometry, pixels, np.array(positives, np.int64))


def _shape_of_tiles(sizes: set[tuple[int, ...]], reach: int) -> tuple[int, ...]:
    """Return the size of the images, if all are small and alike; else that of tiles."""
    side = _SIDES[len(next(iter(sizes)))]
    if len(sizes) == 1 and max(next(iter(sizes))) <= 2 * side:
        return next(iter(sizes))
    # A tile is not larger than the images, or it would be mostly empty.
    most = side + 2 * reach
    return tuple(min(most, max(lengths)) for lengths in zip(*sizes, strict=True))


def _pack(planes: np.ndarray, words: int, padding: int) -> np.ndarray:
    """Pack bool `(N, H, W)` into uint32 `(blocks, H (W + padding) words)`; volumes likewise."""
    # Empty images fill the last block up; nothing of them is inside, so they do not count.
    total = -(-len(planes) // (32 * words)) * 32 * words
    filled = np.zeros((total, *planes.shape[1:]), bool)
    filled[: len(planes)] = planes
    grouped = filled.reshape(-1, 32, *planes.shape[1:])
    bytes_ = np.packbits(grouped, axis=1, bitorder="little")  # (all words, 4, H, W)
    # Four bytes of 8 images each are one word; words of a pixel lie side by side.
    packed = np.ascontiguousarray(np.moveaxis(bytes_, 1, -1)).view("<u4")[..., 0]
    packed = np.moveaxis(packed.reshape(-1, words, *planes.shape[1:]), 1, -1)
    widths = [(0, 0), (0, 0), *[(0, padding)] * (planes.ndim - 2), (0, 0)]
    return np.pad(packed, widths).reshape(len(packed), -1)


def _tiles(images: Any, targets: Any, masks: Any, shape: tuple[int, ...], reach: int) -> list[Any]:
    """Cut tiles of images, targets, of what is inside of an image, and of what counts."""
    found: list[list[np.ndarray]] = [[], [], [], []]
    for image, target, mask in zip(images, targets, masks, strict=True):
        size = image.shape[:-1]
        steps = [max(1, side - 2 * reach) for side in shape]
        starts = [range(0, max(1, n), step) for n, step in zip(size, steps, strict=True)]
        for corner in product(*starts):
            # The tile begins `reach` before the pixels that it counts.
            first = [max(0, start - reach) for start in corner]
            last = [min(f + s, whole) for f, s, whole in zip(first, shape, size, strict=True)]
            at = tuple(slice(f, e) for f, e in zip(first, last, strict=True))
            here = tuple(slice(0, e - f) for f, e in zip(first, last, strict=True))
            # Each pixel of the image counts in exactly one tile.
            counted = np.zeros(size, bool)
            counted[tuple(slice(c, c + step) for c, step in zip(corner, steps, strict=True))] = True
            for part, source in zip(
                found, (image, target, np.ones(size, bool), mask & counted), strict=True
            ):
                tile = np.zeros((*shape, *source.shape[len(size) :]), bool)
                tile[here] = source[at]
                part.append(tile)
    return [np.stack(part) for part in found]


def unpacked(words: jax.Array, geometry: Geometry) -> np.ndarray:
    """Return the images of a plane `(A,)`, bool `(32 * words, H, W)`; volumes likewise."""
    padded = [length + geometry.side - 1 for length in geometry.shape[1:]]
    planes = np.asarray(words).reshape(-1, *padded, geometry.words)
    inside = tuple(slice(0, length) for length in geometry.shape)
    planes = np.ascontiguousarray(planes[inside])
    bits = np.unpackbits(
        planes.view(np.uint8).reshape(*planes.shape, 4), axis=-1, bitorder="little"
    )
    return np.moveaxis(bits.reshape(*geometry.shape, -1), -1, 0).astype(bool)


def patterns(x: np.ndarray) -> np.ndarray:
    """Return the number of the pattern around each pixel, 0 to 511.

    Args:
        x: images, bool `(N, H, W)`, whose patterns are 3 x 3 pixels; or volumes, whose patterns
            are a voxel and the six that share a face with it.
    """
    axes = x.ndim - 1
    padded = np.pad(x, [(0, 0), *[(1, 1)] * axes])
    places = list(product(range(3), repeat=axes))
    if axes != 2:
        places = [place for place in places if sum(at != 1 for at in place) <= 1]
    code = np.zeros(x.shape, np.int16)
    for k, place in enumerate(places):
        view = tuple(slice(at, at + n) for at, n in zip(place, x.shape[1:], strict=True))
        code |= padded[(slice(None), *view)].astype(np.int16) << k
    return code


Loss = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]
"""(false positives, false negatives, pixels, positives) -> loss."""


def wrong(fp: Any, fn: Any, pixels: int, positives: int) -> Any:
    """Return the share of the pixels that are wrong."""
    return (fp + fn) / max(pixels, 1)


def one_minus_f1(fp: Any, fn: Any, pixels: int, positives: int) -> Any:
    """Return 1 - F1 of all pixels together."""
    return (fp + fn) / np.maximum(2 * (positives - fn) + fp + fn, 1)


def one_minus_iou(fp: Any, fn: Any, pixels: int, positives: int) -> Any:
    """Return 1 - intersection over union of all pixels together."""
    return (fp + fn) / np.maximum(positives + fp, 1)
