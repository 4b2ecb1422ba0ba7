"""Bool images in the bits of bytes: eight bands of an image, or eight images of a batch.

Bit g of a byte is a pixel of band g. Bands are parts of the image along one axis (rows of an image,
slices of a volume), or of the batch, which is axis 0. Packing reads eight streams, each shift is a
plain slice, and unpacking writes eight streams; all that lies between touches an eighth of the
memory. Where eight does not divide the axis, the last bands overlap and what they share is computed
twice.

This pays on a CPU, and for images that are not small (`layout_for`); elsewhere, pixels stay in
bools (`morphax.morphology.shift.PLANES`), as they do for words.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from morphax._compiling import computed_once, unknown_true
from morphax.morphology.shift import IN_ONE_LOOP, PLANES, Element, Layout, shift_or

_ONES, _NONE, _ONE = np.uint8(255), np.uint8(0), np.uint8(1)
_SMALLEST = 1 << 14  # pixels; below, bools are about as fast and quicker to compile
_LARGE = 1 << 20  # bytes of an array from which on it is worked on in blocks
_BLOCK = 1 << 18  # bytes of a block


class _Cut(NamedTuple):
    """Describe how images are cut into bands.

    Attributes:
        shape: (images, *sides) of the bool array.
        axis: axis of that shape along which bands are cut; 0 is the batch.
        starts: first index of each band.
        size: length of a band.
    """

    shape: tuple[int, ...]
    axis: int
    starts: tuple[int, ...]
    size: int


def layout_for(image: jax.Array, element: Element) -> Layout:
    """Return the layout that an image is best operated on.

    Args:
        image: bool or words `(..., H, W)`, or with more or less axes, as the window has.
        element: element of all steps, or its reflection.

    Returns:
        Bands for bool images of at least 128 x 128 pixels in all, on a CPU; else `PLANES`, also
        where the number of images is a symbol (`jax.export`).
    """
    if image.dtype != bool or jax.default_backend() != "cpu":
        return PLANES
    if not all(isinstance(side, int) for side in image.shape) or image.size < _SMALLEST:
        return PLANES
    sides = image.shape[image.ndim - len(element.centre) :]
    images = image.size // int(np.prod(sides))
    reaches = [max(margins) for margins in element.margins]
    cut = _cut((images, *sides), reaches)
    if cut is None:
        return PLANES
    return Layout(
        partial(_packed, cut),
        partial(_match, cut, partial(computed_once, unknown_true(image))),
        lambda words: _unpacked(cut, words).reshape(image.shape),
    )


def _cut(shape: tuple[int, ...], reaches: list[int]) -> _Cut | None:
    """Return the cut with the least to compute, or None if bands would be too short."""
    cuts = []
    for axis, (length, reach) in enumerate(zip(shape, [0, *reaches], strict=True)):
        size = -(-length // 8)
        starts = tuple(min(g * size, length - size) for g in range(8))
        # The frame of a band comes from its neighbours: it must not reach beyond them.
        if length >= 8 and all(b - a >= reach for a, b in pairwise(starts)):
            # Bands of columns are short streams: they cost about twice as much to pack.
            streams = 2 if axis == len(shape) - 1 else 1
            cuts.append((streams * (size + 2 * reach) / length, _Cut(shape, axis, starts, size)))
    return min(cuts, key=lambda pair: pair[0])[1] if cuts else None


def _packed(cut: _Cut, image: jax.Array) -> jax.Array:
    """Pack bands of bool images into bytes."""
    image = image.reshape(cut.shape)
    words = None
    for g, start in enumerate(cut.starts):
        band = lax.slice_in_dim(image, start, start + cut.size, axis=cut.axis)
        bit = jnp.where(band, np.uint8(1 << g), _NONE)
        words = bit if words is None else words | bit
    assert words is not None
    return words


def _unpacked(cut: _Cut, words: jax.Array) -> jax.Array:
    """Unpack bands of bytes into bool images."""
    axis, size, length = cut.axis, cut.size, cut.shape[cut.axis]
    bits = np.left_shift(_ONE, np.arange(8, dtype=np.uint8))
    # Bands that overlap no other are written by one loop; the rest of the axis is in the last one.
    whole = length // size
    shape = (1,) * axis + (whole,) + (1,) * (words.ndim - axis)
    pixels = jnp.expand_dims(words, axis) & bits[:whole].reshape(shape) != _NONE
    pixels = pixels.reshape(*words.shape[:axis], whole * size, *words.shape[axis + 1 :])
    if whole * size == length:
        return pixels
    last = lax.slice_in_dim(words, size - (length - whole * size), size, axis=axis)
    return jnp.concatenate([pixels, last & bits[7] != _NONE], axis)


def _match(
    cut: _Cut, keep: Callable, words: jax.Array, element: Element, border: str, erosion: bool
) -> jax.Array:
    """Match an element in bands, as `Layout` says."""
    beyond = None if border == "replicate" else _ONES if erosion and border == "ignore" else _NONE
    # Without the barrier XLA puts the frame together anew for some of the slices.
    framed = lax.optimization_barrier(_framed(cut, words, element, beyond))
    window = element.window

    def match(x: jax.Array) -> jax.Array:
        if isinstance(window, np.ndarray):
            return shift_or(x, window, erosion=erosion, keep=keep)
        return keep(lambda: shift_or(x, window, erosion=erosion))

    # One loop has no array between that should stay in the cache.
    if framed.size <= _LARGE or (isinstance(window, np.ndarray) and window.sum() <= IN_ONE_LOOP):
        return match(framed)
    return _in_blocks(match, framed, words.shape)


def _in_blocks(
    match: Callable[[jax.Array], jax.Array], framed: jax.Array, shape: tuple[int, ...]
) -> jax.Array:
    """Match a framed array block by block, so that what lies between stays in the cache.

    The axis of the blocks is the one where they share least. A result takes the place of its
    block, whose first part no later block reads.
    """
    margins = [whole - side for whole, side in zip(framed.shape, shape, strict=True)]
    axes = [axis for axis in range(max(1, len(shape) - 1)) if shape[axis] > 1]
    if not axes:
        return match(framed)
    axis = min(axes, key=lambda axis: margins[axis] / shape[axis])
    length, margin = shape[axis], margins[axis]
    size = max(_BLOCK * framed.shape[axis] // framed.size - margin, margin, 1)
    count = -(-length // size)
    size = -(-length // count)
    # The last block may end beyond the array: it gets rows that nobody reads.
    spare = [(0, count * size - length if i == axis else 0) for i in range(len(shape))]
    framed = jnp.pad(framed, spare) if count * size > length else framed

    def block(i: jax.Array, x: jax.Array) -> jax.Array:
        start = i * size
        result = match(lax.dynamic_slice_in_dim(x, start, size + margin, axis))
        starts = [start if j == axis else jnp.zeros_like(start) for j in range(x.ndim)]
        return lax.dynamic_update_slice(x, result, starts)

    return lax.slice(lax.fori_loop(0, count, block, framed), (0,) * len(shape), shape)


def _framed(cut: _Cut, words: jax.Array, element: Element, beyond: np.uint8 | None) -> jax.Array:
    """Add the margins of an element; `beyond` is the value there, None the nearest pixel."""
    for axis, (before, after) in reversed(list(enumerate(element.margins, start=1))):
        if axis == cut.axis:
            parts = _neighbours(cut, words, before, after, beyond)
        else:
            length = words.shape[axis]
            ends = [lax.slice_in_dim(words, i, i + 1, axis=axis) for i in (0, length - 1)]
            parts = [
                _wide(end if beyond is None else jnp.full_like(end, beyond), count, axis)
                for end, count in zip(ends, (before, after), strict=True)
            ]
        words = jnp.concatenate([parts[0], words, parts[1]], axis)
    return words


def _neighbours(
    cut: _Cut, words: jax.Array, before: int, after: int, beyond: np.uint8 | None
) -> list[jax.Array]:
    """Return what lies before and after each band: parts of its neighbours, one bit along."""
    steps = np.diff(cut.starts)
    parts = []
    for count, first, end in ((before, True, 0), (after, False, cut.size - 1)):
        edge = lax.slice_in_dim(words, end, end + 1, axis=cut.axis)
        edge = edge if beyond is None else jnp.full_like(edge, beyond)
        # Bit 0 has nothing before it, bit 7 nothing after it: the frame of the image.
        part = _wide(edge & np.uint8(1 if first else 128), count, cut.axis)
        for step in set(steps.tolist()):
            start = step - count if first else cut.size - step
            near = lax.slice_in_dim(words, start, start + count, axis=cut.axis)
            near = near << _ONE if first else near >> _ONE
            bands = np.flatnonzero(steps == step) + first
            part = part | (near & np.uint8(sum(1 << int(g) for g in bands)))
        parts.append(part)
    return parts


def _wide(edge: jax.Array, count: int, axis: int) -> jax.Array:
    """Repeat an array of length 1 along an axis."""
    return jnp.broadcast_to(edge, (*edge.shape[:axis], count, *edge.shape[axis + 1 :]))
