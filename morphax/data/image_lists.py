"""Pairs of images of any sizes as examples: planes of bits, target and mask of each image.

Inputs are bool or whole numbers, targets and masks bool, each an array `(N, H, W)` or `(N, H, W,
C)` or a list of images. What cannot be learned from is refused at once, in one line.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from morphax import _checks
from morphax.data.window_patterns import Example
from morphax.morphology import bit_arrays


class Scores(NamedTuple):
    """Hold how well an operator does on the pixels that count.

    Attributes:
        error: share of wrong pixels.
        precision: share of the pixels answered 1 whose target is set; 1 where none is answered.
        recall: share of the pixels whose target is set that are answered 1; 1 where there is none.
        f1: harmonic mean of the two (the Dice coefficient).
        iou: intersection over union.
        pixels: number of pixels that count.
    """

    error: float
    precision: float
    recall: float
    f1: float
    iou: float
    pixels: int


def score_answers(answers: Sequence[np.ndarray], examples: Sequence[Example]) -> Scores:
    """Score answers bool `(H, W)` on all pixels of the masks of the examples together."""
    hits = extra = missed = pixels = 0
    for answer, (_, target, mask) in zip(answers, examples, strict=True):
        hits += int((answer & target & mask).sum())
        extra += int((answer & ~target & mask).sum())
        missed += int((~answer & target & mask).sum())
        pixels += int(mask.sum())
    wrong = extra + missed

    def share(part: int, whole: int) -> float:
        return part / whole if whole else 1.0

    return Scores(
        wrong / max(pixels, 1),
        share(hits, hits + extra),
        share(hits, hits + missed),
        share(2 * hits, 2 * hits + wrong),
        share(hits, hits + wrong),
        pixels,
    )


def read_pairs(pairs: Any, *, masks: Any = None) -> list[Example]:
    """Return the images of pairs as (input `(H, W, C)`, target `(H, W)`, mask `(H, W)`).

    Args:
        pairs: (inputs, targets), arrays or lists; its attribute `masks` counts where `masks` is
            None.
        masks: pixels that count; all where None.

    Returns:
        One example for each image; inputs of several gray levels keep their dtype.

    Raises:
        ValueError: sides of different lengths or sizes, gray targets or masks, no pixel that
            counts, or targets that are all set or all unset.
    """
    inputs, targets = pairs
    masks = getattr(pairs, "masks", None) if masks is None else masks
    counts = (len(inputs), len(targets))
    fits = counts[0] == counts[1] > 0
    _checks.require(fits, "pairs", "as many targets as inputs, at least one", counts)
    masks = [None] * len(inputs) if masks is None else masks
    _checks.require(len(masks) == len(inputs), "masks", f"{len(inputs)} masks", len(masks))
    examples = [
        _read(i, *three) for i, three in enumerate(zip(inputs, targets, masks, strict=True))
    ]
    channels = {x.shape[-1] for x, _, _ in examples}
    _checks.require(len(channels) == 1, "inputs", "images of as many channels", sorted(channels))
    pixels = sum(int(mask.sum()) for _, _, mask in examples)
    _checks.require(pixels > 0, "masks", "a pixel that counts", "masks without a set pixel")
    positive = sum(int((target & mask).sum()) for _, target, mask in examples)
    mixed = 0 < positive < pixels
    _checks.require(
        mixed,
        "targets",
        "set and unset pixels among those that count",
        "only set ones" if positive else "only unset ones",
    )
    return examples


def _read(number: int, image: Any, target: Any, mask: Any) -> Example:
    """Return one example with the right axes and kinds."""
    image = bit_arrays.native(np.asarray(image))
    image = image[..., None] if image.ndim == 2 else image
    whole = image.ndim == 3 and image.dtype.kind in "bui"
    _checks.require(
        whole,
        f"inputs[{number}]",
        "bool or whole numbers (H, W) or (H, W, C)",
        f"{image.dtype} {image.shape}",
    )
    sides = [_plane(f"targets[{number}]", target, image.shape[:2])]
    full = np.ones(image.shape[:2], bool)
    sides.append(full if mask is None else _plane(f"masks[{number}]", mask, image.shape[:2]))
    return image, sides[0], sides[1]


def _plane(argument: str, plane: Any, shape: tuple[int, ...]) -> np.ndarray:
    plane = bit_arrays.native(np.asarray(plane))
    plane = plane[..., 0] if plane.ndim == 3 and plane.shape[-1] == 1 else plane
    fits = plane.dtype == bool and plane.shape == shape
    _checks.require(fits, argument, f"bool {shape}", f"{plane.dtype} {plane.shape}")
    return plane


def hold_out(examples: Sequence[Any], *, parts: int = 4) -> tuple[list[Any], list[Any]]:
    """Split examples: every `parts`-th is held out, at least one; a single one is on both sides."""
    if len(examples) == 1:
        return list(examples), list(examples)
    parts = min(parts, len(examples))
    held = [e for i, e in enumerate(examples) if i % parts == parts - 1]
    return [e for i, e in enumerate(examples) if i % parts != parts - 1], held
