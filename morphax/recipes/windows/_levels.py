"""Run levels of hit-or-misses on images: count the maps that fit, and cut the count into planes.

A *level* looks at a window of planes with hit-or-misses, adds up the votes of those that fit, and
compares the count with whole numbers, its cuts: plane t of its result is `count >= cuts[t]`. A
union is the case of votes 1 and cut 1; with the cut 2 besides it also says where at least two maps
fit. The next level sees the planes of the image and behind them the planes of the level before. Cut
0 of the last level is the answer.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from morphax.data.window_patterns import Example, padded_planes, shifted


class Level(NamedTuple):
    """Hold one level of a window operator.

    Attributes:
        window: int `(n, 3)`, see `morphax.data.window_patterns`; `(n, 4)` for volumes.
        literals: bool `(maps, 2 n)`: pixels that must be set, then pixels that must not be set.
        votes: int32 `(maps,)`.
        cuts: int32 `(planes,)`.
    """

    window: np.ndarray
    literals: np.ndarray
    votes: np.ndarray
    cuts: np.ndarray


def count_votes(level: Level, planes: np.ndarray, *, border: str = "constant") -> np.ndarray:
    """Count the votes of the maps that fit at each pixel of an image.

    Args:
        level: the level.
        planes: bool `(H, W, C)`, or a volume `(D, H, W, C)`.
        border: "constant" or "replicate".

    Returns:
        int32 `(H, W)`, or `(D, H, W)`.
    """
    size = planes.shape[:-1]
    padded, reach = padded_planes(planes, level.window, border)
    # A literal reads one contiguous plane, plain or complemented.
    by_plane = np.ascontiguousarray(np.moveaxis(padded, -1, 0))
    both = (by_plane, ~by_plane)
    n, counts = len(level.window), np.zeros(size, np.int32)
    places = [(pixel[-1], shifted(size, pixel[:-1], reach)) for pixel in level.window.tolist()]
    for literals, vote in zip(level.literals, level.votes, strict=True):
        fits = np.ones(size, bool)
        for literal in np.flatnonzero(literals):
            # Shift the plane by the pixel's offset, and keep where the literal holds.
            plane, moved = places[literal % n]
            fits &= both[literal // n][plane][moved]
        counts += vote * fits
    return counts


def add_planes(level: Level, planes: np.ndarray, image_planes: int, *, border: str) -> np.ndarray:
    """Return the planes that the next level sees: those of the image, then those of this level."""
    counts = count_votes(level, planes, border=border)
    return np.concatenate([planes[..., :image_planes], counts[..., None] >= level.cuts], -1)


def next_examples(
    learn: Callable[[list[Example]], Level],
    examples: list[Example],
    level: Level,
    image_planes: int,
    *,
    border: str,
    folds: int,
) -> list[Example]:
    """Return what the next level learns from.

    On the images that it was learned from, a level is right more often than elsewhere, and the next
    level would trust it too much. So each image gets the planes of a level that has not seen it
    (cross-fitting, as in stacked generalisation: Wolpert, Neural Networks 5, 1992).

    Args:
        learn: learns a level from examples.
        examples: what `level` was learned from: planes, target and mask of each image.
        level: the level, used where `folds` is below 2.
        image_planes: number of planes of the image.
        border: "constant" or "replicate".
        folds: parts of the images; each gets the planes of a level that was learned from others.

    Returns:
        The examples, with the planes of the level behind those of the image.
    """
    folds = min(folds, len(examples))
    if folds < 2:
        levels = [level] * len(examples)
    else:
        # Part f of the images gets a level that was learned without it.
        parts = [[e for i, e in enumerate(examples) if i % folds != f] for f in range(folds)]
        learned = [learn(part) for part in parts]
        levels = [learned[i % folds] for i in range(len(examples))]
    return [
        (add_planes(one, planes, image_planes, border=border), target, mask)
        for one, (planes, target, mask) in zip(levels, examples, strict=True)
    ]


def run_levels(
    levels: Sequence[Level], planes: np.ndarray, *, border: str = "constant"
) -> np.ndarray:
    """Run all levels on an image.

    Args:
        levels: the first one sees the planes of the image.
        planes: bool `(H, W, C)`, or a volume `(D, H, W, C)`.
        border: "constant" or "replicate".

    Returns:
        The answer, bool `(H, W)`, or `(D, H, W)`.

    Example:
        >>> window = np.array([[0, 0, 0], [0, 1, 0]])
        >>> both = np.array([[True, True, False, False]])
        >>> pair = Level(window, both, np.array([1]), np.array([1]))
        >>> image = np.array([[True, True, False, True]])[..., None]
        >>> run_levels([pair], image).astype(int).tolist()
        [[1, 0, 0, 0]]
    """
    # Every level sees the planes of the image, then those of the level before.
    seen = planes
    for level in levels[:-1]:
        seen = add_planes(level, seen, planes.shape[-1], border=border)
    return count_votes(levels[-1], seen, border=border) >= levels[-1].cuts[0]
