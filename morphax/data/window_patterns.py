"""Count the window patterns of image pairs: what an operator on a window can learn from.

A *window* is an int array `(n, 3)` of (row offset, column offset, plane): pixel i of the window of
(y, x) is `planes[y + window[i, 0], x + window[i, 1], window[i, 2]]`. It may be sparse, and it may
look at each plane in another way. Beyond the frame lies the nearest pixel (border "replicate") or 0
("constant"). Planes are bool `(H, W, C)`, targets and masks bool `(H, W)`; sizes may differ between
images. Volumes have an axis of slices in front: windows `(n, 4)`, planes `(D, H, W, C)`, targets
and masks `(D, H, W)`; rows have an axis less.

Many pixels see the same pattern. All that matters about a set of pairs is therefore each pattern
once, with how often the target is set there and how often it is not.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from morphax.data.windows import square_window as square_window

_WORD = 64


class Patterns(NamedTuple):
    """Hold different patterns of a window with the number of pixels that show them.

    Attributes:
        bits: the patterns, bool `(patterns, n)`.
        positive: pixels with the pattern whose target is set, int64 `(patterns,)`.
        negative: pixels with the pattern whose target is not set, int64 `(patterns,)`.
    """

    bits: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


Example = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Planes bool `(H, W, C)`, target bool `(H, W)` and mask bool `(H, W)` of one image or volume."""


def see(
    planes: np.ndarray, window: np.ndarray, pixels: np.ndarray, *, border: str = "constant"
) -> np.ndarray:
    """Return what the window shows at some pixels.

    Args:
        planes: bool `(H, W, C)`.
        window: int `(n, 3)`.
        pixels: int `(k,)`, numbers of pixels, row by row.
        border: "replicate" or "constant".

    Returns:
        bool `(k, n)`.

    Example:
        >>> diagonal = np.eye(3, dtype=bool)[..., None]
        >>> see(diagonal, square_window(3), np.array([4])).astype(int).tolist()
        [[1, 0, 0, 0, 1, 0, 0, 0, 1]]
    """
    padded, reach = padded_planes(planes, window, border)
    # An offset in the image is an offset in the flattened image, the same for all pixels.
    steps = np.cumprod((1, *padded.shape[:0:-1]))[::-1]
    places = np.stack(np.unravel_index(pixels, planes.shape[:-1]), -1)
    start = (places + reach) @ steps[:-1]
    return padded.reshape(-1)[start[:, None] + (window @ steps)[None]]


def count_patterns(
    examples: Iterable[Example], window: np.ndarray, *, border: str = "constant"
) -> Patterns:
    """Count the different patterns that a window shows in image pairs.

    Args:
        examples: (planes, target, mask) of each image; only pixels of the mask count.
        window: int `(n, 3)`.
        border: "replicate" or "constant".

    Returns:
        `Patterns`, the most frequent first.

    Example:
        >>> image = np.array([[False, True, True]])
        >>> found = count_patterns([(image[..., None], ~image, image | True)], square_window(1))
        >>> found.bits.tolist(), found.positive.tolist(), found.negative.tolist()
        ([[True], [False]], [0, 1], [2, 0])
    """
    parts = [_count_one(example, window, border) for example in examples]
    codes, positive, negative = (np.concatenate(part) for part in zip(*parts, strict=True))
    codes, positive, negative = _merged(codes, positive, negative)
    order = np.argsort(-(positive + negative), kind="stable")
    return Patterns(_unpacked(codes[order], len(window)), positive[order], negative[order])


def merged_patterns(bits: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> Patterns:
    """Add up the counts of equal patterns.

    Args:
        bits: patterns, bool `(k, n)`, in any order.
        positive: pixels whose target is set, `(k,)`.
        negative: pixels whose target is not set, `(k,)`.

    Returns:
        `Patterns`, each pattern once, the most frequent first.

    Example:
        >>> merged_patterns(np.array([[True], [True]]), np.array([1, 2]), np.array([0, 5]))[1:]
        (array([3]), array([5]))
    """
    codes, positive, negative = _merged(_packed(bits), positive, negative)
    order = np.argsort(-(positive + negative), kind="stable")
    return Patterns(_unpacked(codes[order], bits.shape[1]), positive[order], negative[order])


def _count_one(
    example: Example, window: np.ndarray, border: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    planes, target, mask = example
    codes = _codes(planes, window, border)[mask]
    hit = target[mask].astype(np.int64)
    return _merged(codes, hit, 1 - hit)


def padded_planes(planes: np.ndarray, window: np.ndarray, border: str) -> tuple[np.ndarray, int]:
    """Return planes with a frame as wide as a window reaches, and the width of the frame.

    Args:
        planes: bool `(H, W, C)`, or of other axes.
        window: int `(n, axes + 1)`.
        border: "replicate" or "constant".

    Returns:
        The padded planes, and how far the window reaches.
    """
    reach = int(np.abs(window[:, :-1]).max(initial=0))
    sides = (*((reach, reach),) * (planes.ndim - 1), (0, 0))
    return np.pad(planes, sides, mode="edge" if border == "replicate" else "constant"), reach


def shifted(size: Sequence[int], offset: Sequence[int], reach: int) -> tuple[slice, ...]:
    """Return where the pixels of an image lie in its padded planes, moved by an offset.

    Args:
        size: sizes of the image.
        offset: one step for each axis.
        reach: width of the frame of the planes, at least as large as the steps.

    Returns:
        One slice for each axis.
    """
    return tuple(
        slice(reach + step, reach + step + length)
        for length, step in zip(size, offset, strict=True)
    )


def _codes(planes: np.ndarray, window: np.ndarray, border: str) -> np.ndarray:
    """Return the pattern of each pixel as words of 64 bits, `(H, W, words)`."""
    size = planes.shape[:-1]
    padded, reach = padded_planes(planes, window, border)
    by_plane = np.ascontiguousarray(np.moveaxis(padded, -1, 0)).astype(np.uint64)
    words = np.zeros((-(-len(window) // _WORD), *size), np.uint64)
    for i, pixel in enumerate(window):
        seen = by_plane[pixel[-1]][shifted(size, pixel[:-1], reach)]
        words[i // _WORD] |= seen << np.uint64(i % _WORD)
    return np.ascontiguousarray(np.moveaxis(words, 0, -1))


def _merged(
    codes: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add up the counts of equal codes."""
    _, first, inverse = np.unique(_hashes(codes), return_index=True, return_inverse=True)
    inverse, n = inverse.reshape(-1), len(first)
    sums = (np.bincount(inverse, side, n).astype(side.dtype) for side in (positive, negative))
    return (codes[first], *sums)  # type: ignore[return-value]


def _hashes(codes: np.ndarray) -> np.ndarray:
    """Return one word for each row of words: sorting words is ten times as fast as sorting rows.

    Of 10 million different rows two have the same hash with a probability of about 3e-6; their
    counts would be added. The mixing is that of SplitMix64 (Steele et al., OOPSLA 2014).
    """
    mixed = codes[:, 0].copy() if codes.shape[1] else np.zeros(len(codes), np.uint64)
    for word in codes.T[1:]:
        mixed += np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = (mixed ^ (mixed >> np.uint64(31))) ^ word
    return mixed


def with_neighbours(
    patterns: Patterns, *, weight: float, flips: int, rng: np.random.Generator
) -> Patterns:
    """Add unseen patterns that differ from seen ones in one pixel, with the targets of those.

    A union that is learned from seen patterns only is free to answer anything beside them. Near a
    seen pattern, its target is the best guess, and the closest thing to what noise in a pixel would
    show.

    Args:
        patterns: seen patterns; their own counts stay.
        weight: of a pixel that is guessed, in seen pixels; nothing is added for 0.
        flips: changes of a pixel that are tried for each pattern, drawn without repetition; all of
            them where `flips` is at least n.
        rng: draws the pixels.

    Returns:
        `Patterns` with float counts, the seen ones first.

    Example:
        >>> seen = Patterns(np.array([[True, False]]), np.array([8]), np.array([0]))
        >>> more = with_neighbours(seen, weight=0.25, flips=2, rng=np.random.default_rng(0))
        >>> more.positive.tolist()
        [8.0, 2.0, 2.0]
    """
    seen, n = len(patterns.bits), patterns.bits.shape[1]
    flips = min(flips, n) if weight > 0 else 0
    if not flips:
        return patterns
    # A random order of the pixels, begun at another place for each pattern: no pixel comes twice.
    pixels = (rng.integers(0, n, seen)[:, None] + rng.permutation(n)[None, :flips]) % n
    near = np.repeat(patterns.bits, flips, axis=0)
    near[np.arange(len(near)), pixels.reshape(-1)] ^= True
    codes = _packed(np.concatenate([patterns.bits, near]))
    known = np.isin(_hashes(codes[seen:]), _hashes(codes[:seen]))
    guessed = [np.repeat(side, flips)[~known] * weight for side in patterns[1:]]
    codes, positive, negative = _merged(codes[seen:][~known], *guessed)
    sides = ((patterns.positive, positive), (patterns.negative, negative))
    counts = (np.concatenate(side).astype(np.float64) for side in sides)
    return Patterns(np.concatenate([patterns.bits, _unpacked(codes, n)]), *counts)


def _packed(bits: np.ndarray) -> np.ndarray:
    """Return patterns bool `(patterns, n)` as words `(patterns, words)`."""
    packed = np.packbits(bits, axis=1, bitorder="little")
    missing = -packed.shape[1] % (_WORD // 8)
    return np.ascontiguousarray(np.pad(packed, ((0, 0), (0, missing)))).view(np.uint64)


def _unpacked(codes: np.ndarray, n: int) -> np.ndarray:
    bits = np.unpackbits(np.ascontiguousarray(codes).view(np.uint8), axis=1, bitorder="little")
    return bits[:, :n].astype(bool)


def sample_patterns(
    examples: Iterable[Example],
    window: np.ndarray,
    *,
    pixels: int,
    rng: np.random.Generator,
    border: str = "constant",
) -> Patterns:
    """Draw pixels of image pairs, and return what the window shows there.

    For wide windows of many planes, where hardly two pixels see the same.

    Args:
        examples: (planes, target, mask) of each image; only pixels of the mask are drawn.
        window: int `(n, 3)`.
        pixels: drawn from each image, without repetition; all where there are fewer.
        rng: draws them.
        border: "replicate" or "constant".

    Returns:
        `Patterns`, one for each pixel, with counts 0 and 1.
    """
    bits, hits = [], []
    for planes, target, mask in examples:
        inside = np.flatnonzero(mask)
        drawn = rng.choice(inside, min(pixels, len(inside)), replace=False)
        bits.append(see(planes, window, drawn, border=border))
        hits.append(target.reshape(-1)[drawn])
    positive = np.concatenate(hits).astype(np.int64)
    return Patterns(np.concatenate(bits), positive, 1 - positive)
