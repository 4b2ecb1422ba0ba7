"""Pairs of images of any sizes as examples: planes of bits, target and mask of each image.

Inputs are bool or whole numbers, targets and masks bool, each an array `(N, H, W)` or `(N, H, W,
C)` or a list of images. Volumes are inputs `(N, D, H, W, C)` with their axis of channels. What
cannot be learned from is refused at once, in one line.
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


def read_pairs(
    pairs: Any, *, masks: Any = None, name: str | None = None, binary: bool = False
) -> list[Example]:
    """Return the images of pairs as (input `(H, W, C)`, target `(H, W)`, mask `(H, W)`).

    Args:
        pairs: (inputs, targets) or (inputs, targets, masks), arrays or lists; where there are no
            masks, an attribute `masks` counts.
        masks: pixels that count, instead of those of `pairs`; all where there are none.
        name: name of the argument of the caller, for messages about `name[0]`, `name[1]` and
            `name[2]`; without it they are about "inputs", "targets" and "masks".
        binary: whether gray inputs are refused.

    Returns:
        One example for each image; inputs of several gray levels keep their dtype. Volumes are
        `(D, H, W, C)`, `(D, H, W)` and `(D, H, W)`.

    Raises:
        ValueError: sides of different lengths or sizes, gray targets or masks, no pixel that
            counts, or targets that are all set or all unset.

    Example:
        >>> images = np.eye(3, dtype=bool)[None]
        >>> [(image, target, mask)] = read_pairs((images, ~images))
        >>> image.shape, target.shape, int(mask.sum())
        ((3, 3, 1), (3, 3), 9)
    """
    names = [f"{name}[{k}]" for k in range(3)] if name else ["inputs", "targets", "masks"]
    inputs, targets, masks = sides_of(pairs, masks=masks, name=name)
    count = len(inputs)
    _checks.require(count > 0, names[0], "one image or more", "none")
    _checks.require(len(targets) == count, names[1], f"{count} targets", len(targets))
    _checks.require(len(masks) == count, names[2], f"{count} masks", len(masks))
    # Arrays are checked as a whole, which is much faster than image by image.
    whole = as_arrays(inputs, targets, masks, binary=binary)
    if whole is not None:
        examples = list(zip(*whole, strict=True))
        pixels, positive = int(whole[2].sum()), int((whole[1] & whole[2]).sum())
    else:
        examples = []
        for i, (image, target, mask) in enumerate(zip(inputs, targets, masks, strict=True)):
            image = _image(f"{names[0]}[{i}]", image, binary)
            shape = image.shape[:-1]
            mask = np.ones(shape, bool) if mask is None else _plane(f"{names[2]}[{i}]", mask, shape)
            examples.append((image, _plane(f"{names[1]}[{i}]", target, shape), mask))
        pixels = sum(int(mask.sum()) for _, _, mask in examples)
        positive = sum(int((target & mask).sum()) for _, target, mask in examples)
    axes = sorted({image.ndim - 1 for image, _, _ in examples})
    _checks.require(len(axes) == 1, names[0], "images or volumes alone", f"images of {axes} axes")
    channels = {image.shape[-1] for image, _, _ in examples}
    expected = "images of as many channels"
    _checks.require(len(channels) == 1, names[0], expected, sorted(channels))
    _checks.require(pixels > 0, names[2], "a pixel that counts", "masks without a set pixel")
    got = "only set ones" if positive else "only unset ones"
    expected = "set and unset pixels among those that count"
    _checks.require(0 < positive < pixels, names[1], expected, got)
    return examples


def sides_of(pairs: Any, *, masks: Any = None, name: str | None = None) -> tuple[Any, Any, Any]:
    """Return the three sides of pairs, unchecked; masks are a list of None where all pixels count.

    Args:
        pairs: as for `read_pairs`.
        masks: masks that take the place of those of `pairs`.
        name: name of the argument of the caller.

    Returns:
        Inputs, targets and masks: numpy arrays where arrays were given, else what was given.

    Raises:
        ValueError: neither two nor three sides.

    Example:
        >>> sides_of(([1], [2]))
        ([1], [2], [None])
    """
    parts = [np.asarray(part) if hasattr(part, "dtype") else part for part in pairs]
    expected = "(inputs, targets) or (inputs, targets, masks)"
    _checks.require(len(parts) in (2, 3), name or "pairs", expected, f"{len(parts)} parts")
    if masks is None:
        masks = parts[2] if len(parts) == 3 else getattr(pairs, "masks", None)
    return parts[0], parts[1], [None] * len(parts[0]) if masks is None else masks


def as_arrays(
    inputs: Any, targets: Any, masks: Any, *, binary: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return sides that are sound arrays of images of one size; None for anything else.

    Args:
        inputs: array `(N, H, W)` or `(N, H, W, C)`, or anything else.
        targets: bool `(N, H, W)` or `(N, H, W, 1)`.
        masks: the same, or a list of None where all pixels count.
        binary: whether gray inputs are refused.

    Returns:
        Inputs `(N, H, W, C)`, targets and masks `(N, H, W)`.

    Example:
        >>> images = np.eye(3, dtype=bool)[None]
        >>> [part.shape for part in as_arrays(images, ~images, [None])]
        [(1, 3, 3, 1), (1, 3, 3), (1, 3, 3)]
    """
    no_masks = not isinstance(masks, np.ndarray) and all(mask is None for mask in masks)
    sides = (inputs, targets) if no_masks else (inputs, targets, masks)
    if not all(isinstance(side, np.ndarray) and side.ndim in (3, 4, 5) for side in sides):
        return None
    x, *planes = (bit_arrays.native(side) for side in sides)
    x = x[..., None] if x.ndim == 3 else x
    planes = [p[..., 0] if p.ndim == x.ndim and p.shape[-1] == 1 else p for p in planes]
    fits = x.dtype.kind in ("b" if binary else "bui")
    if not fits or not all(p.dtype == bool and p.shape == x.shape[:-1] for p in planes):
        return None  # image by image, the message names the one that does not fit
    planes += [np.ones(x.shape[:-1], bool)] * no_masks
    return x, planes[0], planes[1]


def _image(argument: str, image: Any, binary: bool) -> np.ndarray:
    """Return one input with an axis of channels."""
    image = bit_arrays.native(np.asarray(image))
    image = image[..., None] if image.ndim == 2 else image
    is_image = image.ndim in (3, 4) and image.dtype.kind in ("b" if binary else "bui")
    expected = "bool or whole numbers (H, W) or (H, W, C)"
    if binary:
        expected = "bool images (H, W) or (H, W, C) (threshold gray ones, e.g. images > 127)"
    _checks.require(is_image, argument, expected, f"{image.dtype} {image.shape}")
    return image


def _plane(argument: str, plane: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a target or mask without an axis of channels."""
    plane = bit_arrays.native(np.asarray(plane))
    plane = plane[..., 0] if plane.ndim == len(shape) + 1 and plane.shape[-1] == 1 else plane
    is_plane = plane.dtype == bool and plane.shape == shape
    advice = " (volumes have an axis of channels: (D, H, W, C))" * (plane.ndim == 3 > len(shape))
    _checks.require(is_plane, argument, f"bool {shape}{advice}", f"{plane.dtype} {plane.shape}")
    return plane


def hold_out(examples: Sequence[Any], *, parts: int = 4) -> tuple[list[Any], list[Any]]:
    """Split examples: every `parts`-th is held out, at least one; a single one is on both sides."""
    if len(examples) == 1:
        return list(examples), list(examples)
    parts = min(parts, len(examples))
    held = [e for i, e in enumerate(examples) if i % parts == parts - 1]
    return [e for i, e in enumerate(examples) if i % parts != parts - 1], held
