"""Bool images as words of a layout, and back, for specialised networks."""

import math
from typing import Any

import numpy as np

from morphax.packed.pixels import pack_on_host, pack_pixels, unpack_on_host, unpack_pixels
from morphax.packed.words import pack, unpack
from morphax.program import Program


def row_words(width: int) -> int:
    """Return how many words hold a row of pixels."""
    return -(-width // 32)


def to_words(program: Program, layout: str, images: Any) -> Any:
    """Pack bool images as words of a layout; numpy arrays stay numpy arrays in "pixels"."""
    if layout == "batch":
        return pack(images)
    # Rows are packed along the last axis: move the channels beside the batch, and back after.
    rank, forth, back = _channels_beside_batch(program)
    flat = images.reshape(*images.shape[:rank], math.prod(images.shape[rank:]))
    pack_rows = pack_on_host if isinstance(images, np.ndarray) else pack_pixels
    words = pack_rows(flat.transpose(forth)).transpose(back)
    return words.reshape(*words.shape[:rank], *images.shape[rank:])


def _channels_beside_batch(program: Program) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Return the rank of images without channels, and the transpositions forth and back."""
    rank = program.axes + 1
    return rank, (0, rank, *range(1, rank)), (0, *range(2, rank + 1), 1)


def from_words(program: Program, layout: str, result: Any, images: int) -> Any:
    """Unpack the result for `images` images: counts as they are, words as bool."""
    if program.ops[-1].kind == "group_sum":
        return result[:images]
    if layout == "batch":
        return unpack(result, count=images)
    rank, forth, back = _channels_beside_batch(program)
    flat = result.reshape(*result.shape[:rank], math.prod(result.shape[rank:])).transpose(forth)
    unpack_rows = unpack_on_host if isinstance(result, np.ndarray) else unpack_pixels
    bits = unpack_rows(flat, width=program.output_shape[rank - 2]).transpose(back)
    return bits.reshape(images, *program.output_shape)
