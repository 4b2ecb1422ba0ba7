"""Learn a window operator by hit-or-misses with votes, in one level or several.

The maps of `window_unions` with a whole-number vote each: the answer is 1 where the votes of the
maps that fit add up to at least a whole number. They are trained straight-through, on bits
(`_vote_training`), so the operator is binary to the end.

Every further level sees a window of the count of the level before, cut at some whole numbers into
planes, and a window of the image. TRIOSlib's two-level operators are of this kind (Hirata, IEEE
Trans. PAMI 31, 2009). Gray images become planes first (`_gray_planes`).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax import _checks
from morphax.data.gray_planes import GrayPlanes, gray_planes
from morphax.data.image_lists import Scores, hold_out, read_pairs, score_answers
from morphax.data.window_patterns import Example, Patterns, count_patterns, sample_patterns
from morphax.data.windows import Window, least_sizes, square_window, window_sides
from morphax.recipes._pairs import warn_of_examples
from morphax.recipes.windows._choice import choose, in_words, sides_to_try
from morphax.recipes.windows._levels import Level, next_examples, run_levels
from morphax.recipes.windows._vote_training import add_up, train_votes
from morphax.recipes.windows.operators import WindowOperator, handed_out
from morphax.recipes.windows.properties import (
    Properties,
    check_properties,
    closed_level,
    counted_pixels,
    other_copies,
    tidied,
    turned_patterns,
    with_input,
)
from morphax.training.options import RunOptions
from morphax.training.progress import write

SIDES = {2: (5, 7, 9), 3: (3, 5, 7)}
"""Sides of windows that are tried, by the number of axes of the images."""
_FURTHER = {2: 9, 3: 5}  # side of the window of the level before in further levels
_IMAGE = {2: 5, 3: 3}  # side of the window of the image in further levels
_CUTS = (0.0, -2.0, 2.0, -4.0)  # of a count, as log odds: the planes that the next level sees
_COUNTED = 128  # bits of a window up to which patterns are counted rather than drawn
_MANY = 64  # clauses of a gray level from which it is the sum of several networks


class VotePlan(NamedTuple):
    """Hold what is learned and how, as `learn_window_votes` takes it."""

    clauses: tuple[int, ...]
    steps: int = 4000
    pixels: int = 200_000
    border: str = "constant"
    flip: float = 0.0
    most: int = 31
    further: int = 9
    folds: int = 1
    members: int = 1
    properties: Properties = Properties()


def learn_window_votes(
    key: jax.Array,
    pairs: Any,
    *,
    masks: Any = None,
    clauses: int | Sequence[int] = (256, 256),
    window: Window | None = None,
    further_window: int | None = None,
    planes: GrayPlanes = GrayPlanes(),  # noqa: B008
    border: str | None = None,
    flip: float = 0.0,
    steps: int | None = None,
    pixels: int = 200_000,
    most: int = 31,
    folds: int = 1,
    members: int | None = None,
    choose_levels: bool = True,
    properties: Properties = Properties(),  # noqa: B008
    run: RunOptions = RunOptions(),
) -> WindowOperator:
    """Learn hit-or-misses with votes from pairs of images, binary or gray.

    Args:
        key: PRNG key; the same key, pairs and options give the same operator.
        pairs: (inputs, targets): inputs bool or whole numbers, targets bool, arrays `(N, H, W)`,
            `(N, H, W, C)` or lists of images of any sizes; or volumes `(N, D, H, W, C)` with their
            axis of channels, targets `(N, D, H, W)`.
        masks: pixels that count, bool; by default those of `pairs` (its third part, or its
            attribute `masks`), or all.
        clauses: number of hit-or-misses, or one number for each level.
        window: window of the first level: an odd side, an odd side for each axis, or a bool array
            with odd sides of the pixels that are looked at; chosen on held-out pairs where it is
            None.
        further_window: odd side of the window of the level before in further levels; by default 9,
            or 5 for volumes.
        planes: how planes are made of gray images, a `morphax.data.GrayPlanes`.
        border: "constant" (0) or "replicate" (the nearest pixel) beyond the frame; by default
            "constant" for binary images and "replicate" for gray ones.
        flip: share of the pixels of a window that are flipped at random in training.
        steps: steps of Adam for each member of a level, of 500 pixels each; by default 4000, or
            2000 where there are four members by default.
        pixels: drawn for a level from all images, where windows are too wide to count patterns.
        most: the largest |vote|.
        folds: parts of the images for what a further level learns from: each part gets the planes
            of a level that was learned from the others; 1 for those of the level itself.
        members: networks that a level consists of. Each has its part of the clauses, and learns
            from its own draw of pixels; their votes are added up (bagging). They see unknown
            images better than one network of as many clauses where pages or scenes differ. By
            default 4 for gray images and levels of at least 64 clauses, else 1.
        choose_levels: keep only the levels that help on held-out pairs (twice the time).
        properties: what must hold by construction, such as a symmetric operator.
        run: log of one record, progress, tags. The steps are not cut short by a limit of time, and
            there are no checkpoints: `learn` has both.

    Returns:
        `WindowOperator`, learned from all pairs.

    Raises:
        ValueError: pairs that cannot be learned from (see
            `morphax.data.image_lists.read_pairs`), or options out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> inputs = rng.random((4, 16, 16)) < 0.5
        >>> shifted = np.pad(inputs, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
        >>> edges = inputs & ~shifted  # the left end of every run
        >>> found = learn_window_votes(
        ...     jax.random.key(0), (inputs, edges), clauses=4, window=3, steps=300)
        >>> bool((found(inputs[0]) == edges[0]).all())
        True
    """
    images = read_pairs(pairs, masks=masks)
    warn_of_examples(images)
    check_properties(properties, images)
    counts = (clauses,) if isinstance(clauses, int) else tuple(clauses)
    gray = any(image.dtype != bool for image, _, _ in images)
    border = border or ("replicate" if gray else "constant")
    sizes = least_sizes(image for image, _, _ in images)
    plan = default_plan(counts, gray=gray, axes=len(sizes))
    steps = plan.steps if steps is None else steps
    members = plan.members if members is None else members
    further = plan.further if further_window is None else further_window
    _check_options(sizes, counts, window, further, border, steps, flip)
    _checks.at_least("members", members, 1)
    # From here on all images are planes of bits.
    examples = [(gray_planes(image, planes), target, mask) for image, target, mask in images]
    plan = VotePlan(counts, steps, pixels, border, flip, most, further, folds, members, properties)
    part, held = hold_out(examples)
    narrow = sides_to_try(SIDES[len(sizes)], sizes)

    def error(chosen: dict[str, Any]) -> float:
        # A window can be chosen by one level and a quarter of the steps.
        quick = plan._replace(clauses=counts[:1], steps=max(1, steps // 4))
        levels = vote_levels(key, part, quick, chosen["window"])
        return _scores(levels, held, border).error

    side, tried, begin = window, [], time.perf_counter()
    said = write if run.progress else lambda line: None
    if side is None:
        said(f"votes of {counts[0]} hit-or-misses: choosing the window")
        chosen, tried = choose(error, {"window": narrow[0]}, {"window": narrow})
        side = chosen["window"]
    held_scores = None
    if choose_levels and len(counts) > 1:
        said(f"{len(counts)} levels of votes: choosing how many are kept")
        levels = vote_levels(key, part, plan, side)
        # Keep as many levels as are best on pairs that no level has seen.
        parts = [with_input(levels[:depth], properties) for depth in range(1, len(counts) + 1)]
        scores = [_scores(part_levels, held, border) for part_levels in parts]
        tried += [{"levels": d, "error": each.error} for d, each in enumerate(scores, start=1)]
        best = int(np.argmin([each.error for each in scores]))
        plan, held_scores = plan._replace(clauses=counts[: best + 1]), scores[best]
    seen = f"window {in_words(side, len(sizes))}"
    said(f"{len(plan.clauses)} levels of votes, {seen}: learning from all pairs")
    levels = vote_levels(key, examples, plan, side)
    options = {"window": side, "levels": len(levels), **plan._asdict()}
    operator = WindowOperator(levels, planes, border, options, tried, held_scores)
    return handed_out(operator, *hold_out(images), run, seconds=time.perf_counter() - begin)


def default_plan(clauses: tuple[int, ...], *, gray: bool, axes: int = 2) -> VotePlan:
    """Return the plan of levels with so many clauses, where nothing else is asked for.

    Args:
        clauses: number of hit-or-misses of each level.
        gray: whether images are gray. Gray scenes differ more from each other than one network
            expects, so there are several.
        axes: number of axes of the images.

    Returns:
        `VotePlan`.
    """
    plan = VotePlan(clauses, further=_FURTHER[axes])
    if gray and all(count >= _MANY for count in clauses):
        return plan._replace(steps=2000, members=4)
    return plan


def _check_options(
    sizes: tuple[int, ...],
    clauses: tuple[int, ...],
    window: Window | None,
    further: int,
    border: str,
    steps: int,
    flip: float,
) -> None:
    _checks.require(len(clauses) > 0, "clauses", "a number for each level", clauses)
    for count in clauses:
        _checks.at_least("clauses", count, 1)
    window_sides(1 if window is None else window, len(sizes), within=sizes)
    window_sides(further, len(sizes), argument="further_window")
    _checks.one_of("border", border, ("constant", "replicate"))
    _checks.at_least("steps", steps, 1)
    _checks.probability("flip", flip)


def vote_levels(
    key: jax.Array,
    examples: list[Example],
    plan: VotePlan,
    window: Window,
    *,
    count: Callable[..., Patterns] = count_patterns,
) -> tuple[Level, ...]:
    """Learn one level after the other on the same examples.

    Args:
        key: PRNG key.
        examples: (planes of bits, target, mask) of each image.
        plan: sizes, border and properties.
        window: window of the first level.
        count: counts the patterns of examples, `(examples, window, border=...)`.

    Returns:
        The levels, with the properties of the plan.
    """
    open_pixels = counted_pixels(examples, plan.properties)
    *size, channels = examples[0][0].shape
    seen, levels, axes = open_pixels, [], len(size)
    for depth, clauses in enumerate(plan.clauses):
        level_key = jax.random.fold_in(key, depth)
        if depth == 0:
            eye = square_window(window, *range(channels), axes=axes)
        else:
            before = square_window(plan.further, *range(channels, channels + len(_CUTS)), axes=axes)
            own = square_window(_IMAGE[axes], *range(channels), axes=axes)
            eye = np.concatenate([before, own])

        def learn(
            part: list[Example], key: Any = level_key, eye: Any = eye, clauses: int = clauses
        ) -> Level:
            return _one_level(key, part, eye, plan, clauses, count)

        levels.append(learn(seen))
        if depth + 1 < len(plan.clauses):
            seen = next_examples(
                learn, seen, levels[-1], channels, border=plan.border, folds=plan.folds
            )
    levels[-1] = tidied(levels[-1]._replace(cuts=levels[-1].cuts[:1]))
    return with_input(tuple(levels), plan.properties)


def _one_level(
    key: jax.Array,
    part: list[Example],
    eye: np.ndarray,
    plan: VotePlan,
    clauses: int,
    count: Callable[..., Patterns],
) -> Level:
    """Train the maps of one level; with symmetry, add their turned copies."""
    symmetric, drawn = plan.properties.symmetric, _is_drawn(part, eye, plan)
    patterns: Patterns | None = None
    networks = []
    copies = other_copies(eye) if symmetric else 1
    share = max(1, clauses // (plan.members * copies))
    for number in range(plan.members):
        # Each member begins elsewhere, and has its own pixels where pixels are drawn.
        own = jax.random.fold_in(key, number) if number else key
        if patterns is None or drawn:
            patterns = _patterns(own, part, eye, plan, count)
            patterns = turned_patterns(patterns, eye) if symmetric else patterns
        networks.append(
            train_votes(
                own,
                patterns,
                clauses=share,
                steps=plan.steps,
                flip=plan.flip,
                most=plan.most,
                increasing=plan.properties.increasing,
            )
        )
    total = add_up(networks)
    # Cuts are chosen as log odds; votes are whole multiples of a unit.
    cuts = [total.least + round(cut / total.unit) for cut in _CUTS]
    level = tidied(Level(eye, total.literals, total.votes, np.array(cuts, np.int32)))
    return closed_level(level, union=False) if symmetric else level


def _is_drawn(examples: list[Example], window: np.ndarray, plan: VotePlan) -> bool:
    """Return whether pixels are drawn: where hardly two of many see the same."""
    counted = sum(int(mask.sum()) for _, _, mask in examples)
    return len(window) > _COUNTED and counted > plan.pixels


def _patterns(
    key: jax.Array,
    examples: list[Example],
    window: np.ndarray,
    plan: VotePlan,
    count: Callable[..., Patterns],
) -> Patterns:
    """Count the patterns of a window, or draw some."""
    if not _is_drawn(examples, window, plan):
        return count(examples, window, border=plan.border)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    each = -(-plan.pixels // len(examples))
    return sample_patterns(examples, window, pixels=each, rng=rng, border=plan.border)


def _scores(levels: Sequence[Level], examples: list[Example], border: str) -> Scores:
    answers = [run_levels(levels, planes, border=border) for planes, _, _ in examples]
    return score_answers(answers, examples)
