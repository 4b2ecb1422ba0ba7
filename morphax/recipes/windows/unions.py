"""Learn a window operator as a union of hit-or-misses, in one level or several: morphology alone.

Every operator that looks at a window is a union of hit-or-misses (Banon & Barrera, SIAM J. Appl.
Math. 51, 1991). The union is searched for on the different patterns of the window with their counts
(`_union_search`), in NumPy, without gradients. The window, the least number of pixels that a
literal must gain, and how much is made of patterns beside the seen ones are chosen on held-out
pairs where they are not given.

A second level looks at a window of the answer of the first one, of where at least two and at least
four of its maps fit, and of the image: it sees further, and it sees how sure the first level is.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax import _checks
from morphax.data.gray_planes import GrayPlanes
from morphax.data.image_lists import Scores, hold_out, read_pairs, score_answers
from morphax.data.window_patterns import Example, Patterns, count_patterns, with_neighbours
from morphax.data.windows import Window, least_sizes, square_window, window_sides
from morphax.recipes._pairs import warn_of_examples
from morphax.recipes.windows._choice import choose, sides_to_try
from morphax.recipes.windows._levels import Level, next_examples, run_levels
from morphax.recipes.windows._union_search import search_union
from morphax.recipes.windows.operators import WindowOperator, handed_out
from morphax.recipes.windows.properties import (
    Properties,
    allowed_literals,
    check_properties,
    closed_level,
    counted_pixels,
    other_copies,
    tidied,
    turned_patterns,
    with_input,
)
from morphax.training.options import RunOptions
from morphax.training.progress import status

SIDES = {2: (3, 5, 7, 9, 11), 3: (3, 5)}
"""Sides of windows that are tried, by the number of axes of the images."""
_SECOND = {2: (11, 3, 7), 3: (5, 3, 3)}  # sides of a second level: see `_second_window`
_GAINS = (1, 3, 10, 30)
_GUESSES = (0.0, 0.1, 0.3)  # weights of patterns beside the seen ones
_MOST_GUESSED = 200_000  # patterns
_CUTS = np.array([1, 2, 4], np.int32)  # maps that fit: the planes that the next level sees


class UnionPlan(NamedTuple):
    """Hold what is not chosen on held-out pairs, as `learn_window_union` takes it."""

    maps: tuple[int, ...]
    border: str = "constant"
    folds: int = 2
    seed: int = 0
    properties: Properties = Properties()


def learn_window_union(
    key: jax.Array,
    pairs: Any,
    *,
    masks: Any = None,
    maps: int | Sequence[int] = 16,
    window: Window | None = None,
    least_gain: float | None = None,
    guess: float | None = None,
    border: str = "constant",
    folds: int = 2,
    properties: Properties = Properties(),  # noqa: B008
    seconds: float = 60.0,
    run: RunOptions = RunOptions(),
) -> WindowOperator:
    """Learn a union of hit-or-misses from pairs of binary images.

    Args:
        key: PRNG key; the same key, pairs and options give the same operator if time does not run
            out.
        pairs: (inputs, targets), bool arrays `(N, H, W)`, `(N, H, W, C)` or lists of images of any
            sizes; or volumes `(N, D, H, W, C)` with their axis of channels, targets `(N, D, H,
            W)`.
        masks: pixels that count, bool; by default those of `pairs` (its third part, or its
            attribute `masks`), or all.
        maps: largest number of hit-or-misses; a sequence of numbers, one for each level.
        window: window of the first level: an odd side, an odd side for each axis, or a bool array
            with odd sides of the pixels that are looked at.
        least_gain: pixels that a literal, and a map, must gain: the larger, the simpler.
        guess: weight of unseen patterns that differ from a seen one in one pixel.
        border: "constant" (0) or "replicate": what lies beyond the frame.
        folds: parts of the images for what a further level learns from: each part gets the planes
            of a level that was learned from the others; 1 for those of the level itself.
        properties: what must hold by construction, such as an increasing operator.
        seconds: limit of the whole search, choices included.
        run: log of one record, progress, tags; `time_limit` counts like `seconds`, the shorter of
            the two. There are no checkpoints: `learn` has some.

    Returns:
        `WindowOperator`. `window`, `least_gain` and `guess` are chosen on a quarter of the pairs
        where they are None; the operator is then learned from all pairs.

    Raises:
        ValueError: pairs that cannot be learned from (see
            `morphax.data.image_lists.read_pairs`), gray inputs, or options out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> inputs = rng.random((4, 16, 16)) < 0.5
        >>> shifted = np.pad(inputs, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
        >>> edges = inputs & ~shifted  # the left end of every run
        >>> found = learn_window_union(jax.random.key(0), (inputs, edges), maps=2, window=3)
        >>> len(found.levels[0].literals), bool((found(inputs[0]) == edges[0]).all())
        (1, True)
    """
    examples = read_pairs(pairs, masks=masks, binary=True)
    warn_of_examples(examples)
    check_properties(properties, examples)
    sizes = (maps,) if isinstance(maps, int) else tuple(maps)
    _check_options(examples, sizes, window, border)
    seconds, begin = min(seconds, run.time_limit or seconds), time.perf_counter()
    seed = int(np.asarray(jax.random.key_data(key))[-1])
    plan = UnionPlan(sizes, border, folds, seed, properties)
    part, held = hold_out(examples)
    given = {"window": window, "least_gain": least_gain, "guess": guess}
    sizes_of_images = least_sizes(image for image, _, _ in examples)
    # A window must fit into the smallest image.
    narrow = sides_to_try(SIDES[len(sizes_of_images)], sizes_of_images)
    options = {"window": narrow, "least_gain": _GAINS, "guess": _GUESSES}
    options = {name: values for name, values in options.items() if given[name] is None}
    start = {"window": narrow[0], "least_gain": 3, "guess": 0.0}
    start.update({name: value for name, value in given.items() if value is not None})
    # Half of the time for the choices, in equal shares; half for the operator itself.
    each = seconds / 2 / max(1, sum(len(values) for values in options.values()))

    def learn(examples: list[Example], chosen: dict[str, Any], seconds: float) -> tuple[Level, ...]:
        return union_levels(examples, plan, seconds=seconds, **chosen)

    def error(chosen: dict[str, Any]) -> float:
        return _scores(learn(part, chosen, each), held, border).error

    def left() -> float:
        return begin + seconds - time.perf_counter()

    with status(f"union of {maps} hit-or-misses", left=left, show=run.progress):
        best, tried = choose(error, start, options) if options else (start, [])
        # Score on the held-out pairs first, then learn from all pairs.
        held_scores = _scores(learn(part, best, each), held, border) if options else None
        levels = learn(examples, best, seconds / 2 if options else seconds)
    chosen = {"maps": list(sizes), **best}
    operator = WindowOperator(levels, GrayPlanes(), border, chosen, tried, held_scores)
    return handed_out(operator, part, held, run, seconds=time.perf_counter() - begin)


def _check_options(
    examples: list[Example], maps: tuple[int, ...], window: Window | None, border: str
) -> None:
    _checks.require(len(maps) > 0, "maps", "a number for each level", maps)
    for count in maps:
        _checks.at_least("maps", count, 1)
    _checks.one_of("border", border, ("constant", "replicate"))
    if window is not None:
        sizes = least_sizes(image for image, _, _ in examples)
        window_sides(window, len(sizes), within=sizes)


def union_levels(
    examples: list[Example],
    plan: UnionPlan,
    *,
    seconds: float,
    window: Window,
    least_gain: float,
    guess: float,
    count: Callable[..., Patterns] = count_patterns,
) -> tuple[Level, ...]:
    """Learn one level after the other; each search takes its share of the time.

    Args:
        examples: (planes of bits, target, mask) of each image.
        plan: sizes, border and properties.
        seconds: limit of all searches together.
        window: window of the first level.
        least_gain: pixels that a literal, and a map, must gain.
        guess: weight of unseen patterns that differ from a seen one in one pixel.
        count: counts the patterns of examples, `(examples, window, border=...)`.

    Returns:
        The levels, with the properties of the plan.
    """
    open_pixels = counted_pixels(examples, plan.properties)
    *size, channels = examples[0][0].shape
    seen, levels, axes = open_pixels, [], len(size)
    folds = plan.folds if plan.folds >= 2 else 0
    # A level that another one follows is learned once more for each fold.
    share = seconds / (len(plan.maps) + folds * (len(plan.maps) - 1))
    for depth, maps in enumerate(plan.maps):
        eye = _second_window(channels, axes)
        eye = square_window(window, *range(channels), axes=axes) if depth == 0 else eye

        def learn(
            part: list[Example], depth: int = depth, eye: Any = eye, maps: int = maps
        ) -> Level:
            patterns = count(part, eye, border=plan.border)
            literals = _search(patterns, eye, plan, depth, maps, least_gain, guess, share)
            level = Level(eye, literals, np.ones(len(literals), np.int32), _CUTS)
            return closed_level(level, union=True) if plan.properties.symmetric else level

        levels.append(learn(seen))
        if depth + 1 < len(plan.maps):
            seen = next_examples(
                learn, seen, levels[-1], channels, border=plan.border, folds=plan.folds
            )
    # Nobody reads further cuts of the last level.
    levels[-1] = tidied(levels[-1]._replace(cuts=_CUTS[:1]))
    return with_input(tuple(levels), plan.properties)


def _search(
    patterns: Patterns,
    eye: np.ndarray,
    plan: UnionPlan,
    depth: int,
    maps: int,
    least_gain: float,
    guess: float,
    seconds: float,
) -> np.ndarray:
    """Search for the maps of one level; with symmetry, for one of each set of turned copies."""
    if plan.properties.symmetric:
        patterns, maps = turned_patterns(patterns, eye), max(1, maps // other_copies(eye))
    # Guess fewer neighbours of each pattern where there are many patterns.
    flips = _MOST_GUESSED // max(1, len(patterns.bits))
    rng = np.random.default_rng([plan.seed, depth])
    patterns = with_neighbours(patterns, weight=guess, flips=flips, rng=rng)
    return search_union(
        *patterns,
        maps=maps,
        least_gain=least_gain,
        seconds=seconds,
        seed=plan.seed + depth,
        allowed=allowed_literals(eye, plan.properties),
    )


def _second_window(channels: int, axes: int) -> np.ndarray:
    """Return the window of a second level, on the planes of the image and of the first level."""
    wide, narrow, own = _SECOND[axes]
    parts = [
        square_window(wide, channels, axes=axes),
        square_window(narrow, channels + 1, channels + 2, axes=axes),
        square_window(own, *range(channels), axes=axes),
    ]
    return np.concatenate(parts)


def _scores(levels: tuple[Level, ...], examples: list[Example], border: str) -> Scores:
    """Score the levels on examples, whose masks often leave most pixels out."""
    answers = [run_levels(levels, planes, border=border) for planes, _, _ in examples]
    return score_answers(answers, examples)
