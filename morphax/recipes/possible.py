"""What is possible, said before training: the pairs in a line, and what needs no learning."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from morphax.data.bounds import WindowBounds, window_bounds
from morphax.data.image_lists import Example, score_answers
from morphax.data.windows import least_sizes

_PIXELS = 2_000_000
"""About as many pixels are looked at."""
_VOXELS = 400_000
"""The same of volumes, in whose windows hardly two voxels see the same."""
_SIDES = (3, 5)
TRIVIAL = {
    "copy": "copy of the input",
    "threshold": "best threshold",
    "empty": "empty image",
    "full": "full image",
    "3x3 table": "table of 3x3 windows",
    "3x3x3 table": "table of 3x3x3 windows",
}
"""Answers that need no learning, in words."""
TABLES = ("3x3 table", "3x3x3 table")
"""Those of them that are learned after all, by counting; the second one for volumes."""


class Possible(NamedTuple):
    """Hold what the pairs are and what can be reached on them.

    Attributes:
        pairs: the pairs in a sentence.
        trivial: errors on the held-out pairs of answers that need no learning: "copy" of the input
            (of gray inputs the best "threshold"), an "empty" and a "full" image, and the "3x3
            table" ("3x3x3 table" of volumes), the majority of each window.
        bounds: `morphax.data.window_bounds` of windows of 3x3 and 5x5 pixels, by side; none for
            gray inputs.
        axes: number of axes of the images: 2, or 3 for volumes.
    """

    pairs: str
    trivial: dict[str, float]
    bounds: dict[int, WindowBounds]
    axes: int = 2

    def lines(self) -> list[str]:
        """Return all of it in sentences."""
        trivial = ", ".join(
            f"{TRIVIAL.get(name, name)} {100 * e:.3g} %" for name, e in self.trivial.items()
        )
        pixels = "pixels" if self.axes == 2 else "voxels"
        lines = [self.pairs, f"Wrong on the held-out pairs without learning: {trivial}."]
        for side, bounds in self.bounds.items():
            unseen = ""
            if bounds.unseen is not None and bounds.held_out is not None:
                unseen = (
                    f" The table of the other pairs is wrong on {100 * bounds.held_out:.3g} % of "
                    f"the held-out {pixels}; {100 * bounds.unseen:.3g} % of them show a window "
                    "that it does not have."
                )
            lines.append(
                f"Windows of {times([side] * self.axes)} {pixels}: the same window has both "
                f"targets on {100 * bounds.contradictory:.3g} % of the {pixels}, so any operator "
                f"is wrong on at least {100 * bounds.table:.3g} %, and an increasing one on "
                f"{100 * bounds.increasing:.3g} %.{unseen}"
            )
        return lines


def look_at(part: list[Example], held: list[Example], *, masked: bool, border: str) -> Possible:
    """Look at pairs before anything is learned.

    Args:
        part: images to learn from: input, target, mask.
        held: held-out images.
        masked: whether masks were given.
        border: of windows.

    Returns:
        `Possible`, in a few seconds: of many large images the first are looked at.
    """
    gray = any(image.dtype != bool for image, _, _ in part + held)
    trivial = trivial_errors(part, held)
    bounds: dict[int, WindowBounds] = {}
    sizes = least_sizes(image for image, _, _ in part + held)
    if not gray and part[0][0].shape[-1] == 1:
        # The last of the images that are looked at is held out by `window_bounds`.
        pixels = _PIXELS if len(sizes) == 2 else _VOXELS
        some = [*_first(part, 3 * pixels // 4), *_first(held, pixels // 4)]
        some = [_middle(one, pixels) for one in some]
        inputs, targets, masks = (list(side) for side in zip(*some, strict=True))
        for side in _SIDES:
            if side <= min(sizes) and any((y & m).any() for _, y, m in some):
                bounds[side] = window_bounds(
                    (inputs, targets), window=side, masks=masks, border=border
                )
    if 3 in bounds and bounds[3].held_out is not None:
        trivial[TABLES[len(sizes) - 2]] = bounds[3].held_out
    return Possible(_sentence(part, held, gray=gray, masked=masked), trivial, bounds, len(sizes))


def _first(examples: list[Example], pixels: int) -> list[Example]:
    """Return the first examples, of about so many pixels."""
    total = np.cumsum([target.size for _, target, _ in examples])
    return examples[: int(np.searchsorted(total, pixels)) + 1]


def _middle(example: Example, voxels: int) -> Example:
    """Return the middle slices of a volume, of about so many voxels; an image as it is."""
    target = example[1]
    if target.ndim == 2 or target.size <= voxels:
        return example
    slices = max(voxels * len(target) // target.size, max(_SIDES))
    first = max(len(target) - slices, 0) // 2
    image, target, mask = (side[first : first + slices] for side in example)
    return image, target, mask


def trivial_errors(part: list[Example], held: list[Example]) -> dict[str, float]:
    """Return the held-out errors of a copy or a threshold, and of constant answers.

    Args:
        part: images to choose a threshold on: input, target, mask.
        held: held-out images.

    Returns:
        Shares of wrong pixels: "copy" of the input (of gray inputs the best "threshold"; neither
        for several channels), "empty" and "full".

    Example:
        >>> half = np.array([[False, True]])
        >>> one = [(half[..., None], half, half | True)]
        >>> trivial_errors(one, one)
        {'copy': 0.0, 'empty': 0.5, 'full': 0.5}
    """
    gray = any(image.dtype != bool for image, _, _ in part + held)

    def error(examples: list[Example], answer: Any) -> float:
        return score_answers([answer(x) for x, _, _ in examples], examples).error

    errors = {
        "empty": error(held, lambda x: np.zeros(x.shape[:-1], bool)),
        "full": error(held, lambda x: np.ones(x.shape[:-1], bool)),
    }
    if part[0][0].shape[-1] > 1:
        return errors
    if not gray:
        return {"copy": error(held, lambda x: x[..., 0]), **errors}
    some = _first(part, _PIXELS)
    levels = np.unique(np.concatenate([np.quantile(x, np.linspace(0, 1, 33)) for x, _, _ in some]))
    levels = levels[:: max(1, len(levels) // 64)]
    best = min(levels, key=lambda level: error(some, lambda x: x[..., 0] >= level))
    return {"threshold": error(held, lambda x: x[..., 0] >= best), **errors}


def _sentence(part: list[Example], held: list[Example], *, gray: bool, masked: bool) -> str:
    """Say in a sentence what the pairs are."""
    both = part + ([] if held is part else held)
    sizes = sorted({target.shape for _, target, _ in both})
    size = times(sizes[0], sign=" x ")
    if len(sizes) > 1:
        size = f"{len(sizes)} sizes from {size} to {times(sizes[-1], sign=' x ')}"
    counted = sum(int(mask.sum()) for _, _, mask in both)
    positive = sum(int((target & mask).sum()) for _, target, mask in both)
    volumes = len(sizes[0]) == 3
    unit = "voxels" if volumes else "pixels"
    said = [f"targets set on {100 * positive / counted:.3g} % of the {unit}"]
    if not gray and part[0][0].shape[-1] == 1:
        inside = all(not (y & m & ~x[..., 0]).any() for x, y, m in both)
        covers = all(not (x[..., 0] & m & ~y).any() for x, y, m in both)
        said += ["always inside the input"] * inside + ["always covering the input"] * covers
    kind = "gray" if gray else "binary"
    masks = "masks" if masked else "no masks"
    pairs = f"{len(both)} pairs{' of volumes' * volumes}"
    return f"{pairs}, {size}, {kind}; {', '.join(said)}; {masks}. Held out: {len(held)}."


def times(sizes: Sequence[int], *, sign: str = "x") -> str:
    """Return sizes as text, such as "3x3x3".

    Example:
        >>> times((12, 40), sign=" x ")
        '12 x 40'
    """
    return sign.join(map(str, sizes))
