"""Bound the error of operators on a window of image pairs, before anything is trained.

An operator on a window answers the same wherever the window shows the same. So the majority of the
targets of each pattern, the *table*, is the best that any operator can do on the pairs it was
counted on; on other pairs the table shows how much of it is chance. An increasing operator (a union
of erosions) also answers 1 to every pattern that contains a pattern it answers 1 to, which costs at
least the errors that `increasing` gives.
"""

from typing import Any, NamedTuple

import numpy as np

from morphax import _checks
from morphax.data.image_lists import Example, hold_out, read_pairs
from morphax.data.window_patterns import Patterns, count_patterns
from morphax.data.windows import Window, least_sizes, square_window, window_sides

_MOST = 3000  # most frequent patterns of each kind in the bound of increasing operators


class WindowBounds(NamedTuple):
    """Hold the errors that anything learned should be compared with, as shares of pixels.

    Attributes:
        copy: of the input as answer; None where inputs have several planes.
        constant: of the better one of the answers 0 and 1.
        table: of the majority table on the pairs that it was counted on: no operator on this window
            has a smaller error there.
        contradictory: share of the pixels whose pattern has both targets.
        increasing: no increasing operator on this window has a smaller error on these pairs.
        held_out: of a majority table on pairs that it has not seen; unseen patterns take the
            majority of their 3x3 centre. None for a single pair.
        unseen: share of these held-out pixels whose pattern the other pairs do not show; None
            likewise.
        patterns: number of different patterns.
        pixels: number of pixels that count.
    """

    copy: float | None
    constant: float
    table: float
    contradictory: float
    increasing: float
    held_out: float | None
    unseen: float | None
    patterns: int
    pixels: int


def window_bounds(
    pairs: Any, *, window: Window = 5, masks: Any = None, border: str = "constant"
) -> WindowBounds:
    """Compute what operators on a window can reach on image pairs, and what trivial answers do.

    Args:
        pairs: (inputs, targets), bool arrays `(N, H, W)`, `(N, H, W, C)` or lists of images of any
            sizes; or volumes `(N, D, H, W, C)` with their axis of channels.
        window: odd side of the window, or one for each axis.
        masks: pixels that count, bool; by default those of `pairs` (its third part, or its
            attribute `masks`), or all.
        border: "constant" (0) or "replicate": what lies beyond the frame.

    Returns:
        `WindowBounds`.

    Raises:
        ValueError: pairs that `morphax.data.image_lists.read_pairs` refuses, gray inputs, or a
            window that is even or larger than the images.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> images = rng.random((4, 32, 32)) < 0.5
        >>> found = window_bounds((images, ~images), window=3)
        >>> found.copy, found.table, found.contradictory
        (1.0, 0.0, 0.0)
        >>> found.increasing > 0.4
        True
    """
    examples = read_pairs(pairs, masks=masks, binary=True)
    _checks.one_of("border", border, ("constant", "replicate"))
    *size, channels = examples[0][0].shape
    sides = window_sides(window, len(size), within=least_sizes(x for x, _, _ in examples))
    wide = square_window(sides, *range(channels), axes=len(size))
    patterns = count_patterns(examples, wide, border=border)
    counts = patterns.positive + patterns.negative
    pixels, fewer = int(counts.sum()), np.minimum(patterns.positive, patterns.negative)
    copied = sum(
        int(((planes[..., 0] != target) & mask).sum()) for planes, target, mask in examples
    )
    positive = int(patterns.positive.sum())
    held_out, unseen = _on_others(examples, sides, wide, border)
    return WindowBounds(
        copy=copied / pixels if channels == 1 else None,
        constant=min(positive, pixels - positive) / pixels,
        table=int(fewer.sum()) / pixels,
        contradictory=int(counts[fewer > 0].sum()) / pixels,
        increasing=(int(fewer.sum()) + _conflicts(patterns)) / pixels,
        held_out=held_out,
        unseen=unseen,
        patterns=len(counts),
        pixels=pixels,
    )


def _conflicts(patterns: Patterns) -> int:
    """Return a number of further errors that no increasing operator avoids.

    Where a pattern with more positive pixels lies inside one with more negative pixels, an
    increasing operator is wrong on the surplus of one of the two. Surpluses are matched greedily,
    each pixel once: a flow, and by duality no cut, that is no increasing operator, costs less.
    """
    gain = patterns.positive - patterns.negative
    lower, upper = (np.flatnonzero(side)[:_MOST] for side in (gain > 0, gain < 0))
    if not len(lower) or not len(upper):
        return 0
    inside = patterns.bits[lower].astype(np.float32) @ (~patterns.bits[upper]).astype(np.float32).T
    contained = inside == 0  # nothing of the lower pattern is missing in the upper one
    surplus, left, matched = gain[lower].copy(), -gain[upper], 0
    for i in np.argsort(contained.sum(1), kind="stable"):  # those with the fewest partners first
        partners = np.flatnonzero(contained[i] & (left > 0))
        before = np.cumsum(left[partners])
        taken = np.diff(np.minimum(before, surplus[i]), prepend=0)
        left[partners] -= taken
        matched += int(taken.sum())
    return matched


def _on_others(
    examples: list[Example], sides: tuple[int, ...], wide: np.ndarray, border: str
) -> tuple[float | None, float | None]:
    """Return the error of the table on held-out pairs, and the share of unseen patterns there."""
    if len(examples) < 2:
        return None, None
    part, held = hold_out(examples)
    channels = range(examples[0][0].shape[-1])
    small = square_window([min(side, 3) for side in sides], *channels, axes=len(sides))
    # Where the pixels of the small window lie in the large one.
    centre = [int(np.flatnonzero((wide == pixel).all(1))[0]) for pixel in small]
    table = _majority(count_patterns(part, wide, border=border))
    narrow = _majority(count_patterns(part, small, border=border))
    seen = count_patterns(held, wide, border=border)
    answers = [table.get(bits.tobytes()) for bits in seen.bits]
    unknown = np.array([answer is None for answer in answers])
    guesses = [narrow.get(bits[centre].tobytes(), False) for bits in seen.bits]
    answered = np.array([g if a is None else a for a, g in zip(answers, guesses, strict=True)])
    counts = seen.positive + seen.negative
    wrong = np.where(answered, seen.negative, seen.positive).sum()
    return int(wrong) / int(counts.sum()), int(counts[unknown].sum()) / int(counts.sum())


def _majority(patterns: Patterns) -> dict[bytes, bool]:
    return {
        bits.tobytes(): bool(p > n)
        for bits, p, n in zip(patterns.bits, patterns.positive, patterns.negative, strict=True)
    }
