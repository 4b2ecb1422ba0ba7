"""Properties that a window operator has by construction: increasing, inside the input, symmetric.

- *Increasing*: no pixel must be unset and no vote is negative, so more set pixels never clear one.
- *Anti-extensive* (the answer lies inside the input) and *extensive* (it covers the input): one
  more level intersects the answer with the input, or unites the two.
- *Symmetric*: the maps of each level are closed under the eight mirrors and quarter turns of the
  square, or the 48 of the cube, each with the votes of its copies, so that the answer to a turned
  image is the turned answer. The maps are learned from the patterns of all turned copies of the
  images.
"""

import math
from itertools import permutations, product
from typing import NamedTuple

import numpy as np

from morphax import _checks
from morphax.data.window_patterns import Example, Patterns, merged_patterns
from morphax.recipes.windows._levels import Level


class Properties(NamedTuple):
    """Say which properties a window operator must have.

    Attributes:
        increasing: a larger image has a larger answer; binary images only.
        anti_extensive: the answer lies inside the input; binary images of one channel only.
        extensive: the answer covers the input; binary images of one channel only.
        symmetric: the answer to a mirrored or turned image is the mirrored or turned answer.
    """

    increasing: bool = False
    anti_extensive: bool = False
    extensive: bool = False
    symmetric: bool = False

    def names(self) -> list[str]:
        """Return the names of the properties that are asked for.

        Example:
            >>> Properties(anti_extensive=True).names()
            ['anti-extensive']
        """
        return [name.replace("_", "-") for name, asked in self._asdict().items() if asked]


def check_properties(properties: Properties, examples: list[Example]) -> None:
    """Refuse properties that the inputs of examples cannot have, or that exclude each other.

    Args:
        properties: what is asked for.
        examples: (input, target, mask) of each image, inputs bool or gray.

    Raises:
        ValueError: in one line that names the property.
    """
    binary = all(image.dtype == bool for image, _, _ in examples)
    channels = examples[0][0].shape[-1]
    both = properties.anti_extensive and properties.extensive
    _checks.require(not both, "extensive", "not together with anti_extensive", True)
    for name in ("increasing", "anti_extensive", "extensive"):
        asked = getattr(properties, name)
        _checks.require(binary or not asked, name, "False for gray inputs", asked)
        single = channels == 1 or name == "increasing"
        _checks.require(single or not asked, name, "False for several channels", asked)


def allowed_literals(window: np.ndarray, properties: Properties) -> np.ndarray:
    """Return which literals of a window the maps may have, bool `(2 n,)`."""
    n = len(window)
    return np.repeat([True, not properties.increasing], n)


def counted_pixels(examples: list[Example], properties: Properties) -> list[Example]:
    """Return examples whose masks leave out the pixels that the property decides already.

    Args:
        examples: (planes, target, mask) of each image.
        properties: what is asked for.

    Returns:
        The examples. Where the answer lies inside the input, only pixels of the input count.

    Raises:
        ValueError: no pixel is left.
    """
    if not (properties.anti_extensive or properties.extensive):
        return examples
    kept = [(x, y, mask & (x[..., 0] ^ np.bool_(properties.extensive))) for x, y, mask in examples]
    name = "extensive" if properties.extensive else "anti_extensive"
    counted = sum(int(mask.sum()) for _, _, mask in kept)
    _checks.require(counted > 0, name, "pixels that it leaves open", "none")
    return kept


def turned_pixels(window: np.ndarray) -> np.ndarray:
    """Return, for each mirror and turn, which pixel of a window each pixel goes to.

    Args:
        window: int `(n, 3)`, the same under mirrors and turns, such as a square; of volumes `(n,
            4)`, such as a cube.

    Returns:
        Numbers of pixels, int `(8, n)`; `(48, n)` of volumes.

    Raises:
        ValueError: the window has not this symmetry.

    Example:
        >>> from morphax.data.window_patterns import square_window
        >>> turned_pixels(square_window(3))[1][:3].tolist()  # rows upside down
        [6, 7, 8]
    """
    number = {tuple(pixel): i for i, pixel in enumerate(window.tolist())}
    axes, turns = window.shape[1] - 1, []
    # The axes in every order, each as it is or mirrored; the first axis is mirrored first.
    for order, signs in product(permutations(range(axes)), product((1, -1), repeat=axes)):
        moved = window[:, order] * signs[::-1]
        pixels = np.column_stack([moved, window[:, -1]]).tolist()
        fits = all(tuple(pixel) in number for pixel in pixels)
        shape = "square" if axes == 2 else "cube"
        _checks.require(fits, "window", f"a window that is symmetric, such as a {shape}", "another")
        turns.append([number[tuple(pixel)] for pixel in pixels])
    return np.array(turns)


def turns_of(axes: int) -> int:
    """Return the number of mirrors and turns of images: 8, or 48 for volumes.

    Example:
        >>> turns_of(2), turns_of(3)
        (8, 48)
    """
    return 2**axes * math.factorial(axes)


def other_copies(window: np.ndarray) -> int:
    """Return how many turned copies of a map differ from it, about: half of all, 4 or 24."""
    return turns_of(window.shape[1] - 1) // 2


def turned_patterns(patterns: Patterns, window: np.ndarray) -> Patterns:
    """Return the patterns of all mirrored and turned copies of the images.

    Args:
        patterns: of the images themselves.
        window: int `(n, 3)`.

    Returns:
        `Patterns`, the most frequent first.
    """
    turns = turned_pixels(window)
    bits = np.concatenate([patterns.bits[:, pixels] for pixels in turns])
    return merged_patterns(bits, *(np.tile(side, len(turns)) for side in patterns[1:]))


def tidied(level: Level) -> Level:
    """Return a level that answers the same, with each map once and without needless ones.

    Args:
        level: any level.

    Returns:
        A level without maps that fit nowhere (they ask a pixel to be set and unset) or everywhere
        (no literals; their votes move into the cuts), and without votes of 0. A union keeps votes
        of 1.
    """
    n = len(level.window)
    union = bool((level.votes == 1).all()) and level.cuts.tolist() == [1]
    never = (level.literals[:, :n] & level.literals[:, n:]).any(1)
    always = ~level.literals.any(1)
    cuts = level.cuts - level.votes[always].sum()
    use = ~never & ~always
    literals, which = np.unique(level.literals[use], axis=0, return_inverse=True)
    votes = np.bincount(which.reshape(-1), level.votes[use], len(literals)).astype(np.int32)
    votes = np.ones_like(votes) if union else votes
    kept = votes != 0
    return Level(level.window, literals[kept], votes[kept], cuts.astype(np.int32))


def closed_level(level: Level, *, union: bool) -> Level:
    """Close the maps of a level under mirrors and turns.

    Args:
        level: a level whose window has this symmetry.
        union: the maps are united, so each is needed once; otherwise the counts of all
            turned levels are added up, and cut where the mean count was cut.

    Returns:
        The level, symmetric.
    """
    turns, n = turned_pixels(level.window), len(level.window)
    # A map asks for pixel p; its turned copy asks for the pixel that p goes to.
    back = np.argsort(turns, axis=1)
    halves = level.literals.reshape(-1, 2, n)
    literals = np.concatenate([halves[..., pixels].reshape(-1, 2 * n) for pixels in back])
    if union:
        literals = np.unique(literals, axis=0)
        return Level(level.window, literals, np.ones(len(literals), np.int32), level.cuts)
    # The cut c of a count lies at c - 1/2, and that of the sum of 8 turns at 8 (c - 1/2).
    count = len(turns)
    cuts = (count * level.cuts - count // 2).astype(np.int32)
    return tidied(Level(level.window, literals, np.tile(level.votes, count), cuts))


def with_input(levels: tuple[Level, ...], properties: Properties) -> tuple[Level, ...]:
    """Return levels whose answer is intersected or united with the input, where that is asked for.

    Args:
        levels: of images of one channel, where one of the two properties is asked for.
        properties: what is asked for.

    Returns:
        The levels, with one more at the end if needed.

    Example:
        >>> from morphax.recipes.windows._levels import run_levels
        >>> ones = Level(np.array([[0, 0, 0]]), np.array([[False, True]]), np.array([1]),
        ...              np.array([1]))
        >>> image = np.array([[True, False]])[..., None]
        >>> run_levels(with_input((ones,), Properties(extensive=True)), image).tolist()
        [[True, True]]
    """
    if not (properties.anti_extensive or properties.extensive):
        return levels
    literals = np.eye(2, 4, dtype=bool)  # the input is set; the answer so far is set
    if properties.anti_extensive:
        literals = literals[:1] | literals[1:]
    window = np.zeros((2, levels[-1].window.shape[1]), int)
    window[1, -1] = 1
    votes = np.ones(len(literals), np.int32)
    return (*levels, Level(window, literals, votes, np.array([1], np.int32)))
