"""Learn a menu of operators from pairs of images: `learn`.

It goes from simple to large: one or two textbook layers and deeper chains by descent on bits,
unions of 1, 2, 4, ... hit-or-misses by search, votes and two levels by straight-through steps. A
quarter of the pairs is held out: it chooses options, and it scores.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax

from morphax import _checks
from morphax.data.gray_planes import GrayPlanes
from morphax.data.image_lists import Example, hold_out, read_pairs
from morphax.data.windows import least_sizes, window_sides
from morphax.recipes._pairs import warn_of_examples
from morphax.recipes.menu._search import Search
from morphax.recipes.menu._setting import Setting
from morphax.recipes.menu._shelf import Shelf, fingerprint
from morphax.recipes.menu.entries import certified
from morphax.recipes.menu.menu import Menu, front
from morphax.recipes.possible import TABLES, look_at
from morphax.recipes.windows.properties import Properties, check_properties
from morphax.training.options import RunOptions
from morphax.training.progress import write


def learn(
    key: jax.Array,
    pairs: Any,
    *,
    masks: Any = None,
    window: int | Sequence[int] | None = None,
    minutes: float = 5.0,
    most_operations: float | None = None,
    increasing: bool = False,
    anti_extensive: bool = False,
    extensive: bool = False,
    symmetric: bool = False,
    planes: GrayPlanes | None = None,
    border: str | None = None,
    run: RunOptions = RunOptions(),
) -> Menu:
    """Learn operators from pairs of images, from simple to large, and return those worth having.

    Args:
        key: PRNG key; the same key, pairs and options give the same menu if no limit of time cuts
            the search.
        pairs: (inputs, targets): inputs bool or whole numbers, targets bool, arrays `(N, H, W)`,
            `(N, H, W, C)` or lists of images of any sizes; or volumes `(N, D, H, W, C)` with their
            axis of channels, targets `(N, D, H, W)`.
        masks: pixels that count, bool; all by default, or `pairs.masks`.
        window: odd side of the first window, or one for each axis, such as (3, 5, 5) where slices
            are far apart; chosen on held-out pairs where it is None.
        minutes: limit of time. The step that runs when it is over is finished where it cannot be
            cut short, so the search may take a little longer.
        most_operations: largest number of bit operations for each pixel.
        increasing: a larger image must have a larger answer.
        anti_extensive: the answer must lie inside the input.
        extensive: the answer must cover the input.
        symmetric: the answer to a mirrored or turned image must be the mirrored or turned answer.
        planes: how planes are made of gray images; chosen on held-out pairs where it is None.
        border: "constant" (0) or "replicate" (the nearest pixel) beyond the frame of window
            operators; by default "constant" for binary images and "replicate" for gray ones.
        run: log, progress, tags, and `checkpoint`: a folder in which finished steps are kept, so
            that the same call does not learn them again. `time_limit` counts like `minutes`, the
            shorter of the two.

    Returns:
        `Menu`. Every fourth pair is held out; it chooses options and scores. In the time that is
        left after the search, window operators are learned again from all pairs, the best one
        first; their scores stay those of the operator that had not seen the held-out pairs. The
        properties hold by construction: chains that do not show them are left out. Ctrl-C ends the
        search like the limit of time.

    Raises:
        ValueError: pairs that cannot be learned from, in one line (see
            `morphax.data.image_lists.read_pairs`); a window larger than the images; properties that
            gray inputs cannot have.
        KeyboardInterrupt: before anything was learned.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> inputs = rng.random((8, 24, 24)) < 0.6
        >>> below = np.pad(inputs, ((0, 0), (0, 1), (0, 0)), constant_values=True)[:, 1:]
        >>> menu = learn(jax.random.key(0), (inputs, inputs & below), window=3)
        >>> menu.best.scores.error, menu.best.operations, bool(menu.best.certificate.exact)
        (0.0, 1.0, True)
        >>> menu.best(inputs[0]).shape
        (24, 24)
    """
    examples = read_pairs(pairs, masks=masks)
    warn_of_examples(examples)
    properties = Properties(increasing, anti_extensive, extensive, symmetric)
    check_properties(properties, examples)
    gray = any(image.dtype != bool for image, _, _ in examples)
    border = border or ("replicate" if gray else "constant")
    _check_options(examples, window, minutes, border)
    masked = not all(mask.all() for _, _, mask in examples)
    part, held = hold_out(examples)
    setting = Setting(key, part, held, window, planes, border, properties, gray, {})
    given = (window, most_operations, tuple(properties), planes, border)
    shelf = Shelf(run.checkpoint, fingerprint(key, examples, given))
    possible = look_at(part, held, masked=masked, border=border)
    if run.progress:
        for line in possible.lines():
            write(line)
    search = Search(setting, shelf, run, 60 * minutes, most_operations)
    # A copy of the input and constant answers cost nothing, so entries must be better.
    free = min(error for name, error in possible.trivial.items() if name not in TABLES)
    exact = 3 in possible.bounds and possible.bounds[3].table == 0
    stopped = search.all_steps(exact=exact)
    if stopped == "interrupted" and not search.entries:
        raise KeyboardInterrupt
    worth = [entry for entry in search.entries if entry.scores.error < free]
    entries = front(worth if worth else search.entries)
    if stopped != "interrupted":
        entries = front(search.learned_again(entries))
    # Most of what a search tries is beaten later: only what is handed out needs a certificate.
    entries = tuple(certified(entry) for entry in entries)
    seconds = time.perf_counter() - search.start
    return Menu(entries, possible, tuple(search.history), stopped, search.remarks(), seconds)


def _check_options(
    examples: list[Example], window: int | Sequence[int] | None, minutes: float, border: str
) -> None:
    sizes = least_sizes(image for image, _, _ in examples)
    window_sides(1 if window is None else window, len(sizes), within=sizes)
    _checks.require(minutes > 0, "minutes", "more than 0", minutes)
    _checks.one_of("border", border, ("constant", "replicate"))
