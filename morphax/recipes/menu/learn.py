"""Learn a menu of operators from pairs of images: `learn`.

It goes from simple to large: one or two textbook layers and deeper chains by descent on bits,
unions of 1, 2, 4, ... hit-or-misses by search, votes and two levels by straight-through steps. A
quarter of the pairs is held out: it chooses options, and it scores.
"""

import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from morphax import _checks
from morphax.data.image_lists import Example, hold_out, read_pairs
from morphax.recipes._pairs import warn_of_examples
from morphax.recipes.menu._shelf import Shelf, fingerprint
from morphax.recipes.menu._steps import Network, Setting, Step, steps_for, take_step
from morphax.recipes.menu.entries import MenuEntry, certified, entry_of
from morphax.recipes.menu.menu import Menu, front, percent
from morphax.recipes.menu.possible import look_at
from morphax.recipes.windows._gray_planes import GrayPlanes
from morphax.recipes.windows.properties import Properties, check_properties
from morphax.training.loop import append_jsonl
from morphax.training.options import Record, RunOptions
from morphax.training.progress import status, write

_PATIENCE = 2  # sizes of a family without a better error, until its larger ones are left out
_FIRST = 5.0  # seconds that a step gets at least
_DEAR = ("votes", "two levels of votes")  # families whose steps can not be cut short


def learn(
    key: jax.Array,
    pairs: Any,
    *,
    masks: Any = None,
    window: int | None = None,
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
            `(N, H, W, C)` or lists of images of any sizes.
        masks: pixels that count, bool; all by default, or `pairs.masks`.
        window: odd side of the first window; chosen on held-out pairs where it is None.
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
        `Menu`. Every fourth pair is held out; it chooses options and scores. The properties hold by
        construction: chains that do not show them are left out. Ctrl-C ends the search like the
        limit of time.

    Raises:
        ValueError: pairs that cannot be learned from, in one line (see
            `morphax.data.image_lists.read_pairs`); a window larger than the images; properties that
            gray inputs cannot have.
        KeyboardInterrupt: before anything was learned.

    Example:
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
    search = _Search(setting, shelf, run, 60 * minutes, most_operations)
    entries, stopped = search.all_steps()
    if stopped == "interrupted" and not entries:
        raise KeyboardInterrupt
    seconds = time.perf_counter() - search.start
    # A copy of the input and constant answers cost nothing.
    free = min(error for name, error in possible.trivial.items() if name != "3x3 table")
    worth = [entry for entry in entries if entry.scores.error < free]
    entries = worth if worth else entries
    return Menu(front(entries), possible, tuple(search.history), stopped, search.remarks(), seconds)


def _check_options(
    examples: list[Example], window: int | None, minutes: float, border: str
) -> None:
    least = min(min(image.shape[:2]) for image, _, _ in examples)
    fits = window is None or (window % 2 == 1 and 1 <= window <= least)
    expected = f"an odd side of at most {least}, the least side of the images"
    _checks.require(fits, "window", expected, window)
    _checks.require(minutes > 0, "minutes", "more than 0", minutes)
    _checks.one_of("border", border, ("constant", "replicate"))


class _Search:
    """Take the steps one after the other, and keep what they give."""

    def __init__(
        self,
        setting: Setting,
        shelf: Shelf,
        run: RunOptions,
        seconds: float,
        most_operations: float | None,
    ) -> None:
        """Begin without entries."""
        self.setting, self.shelf, self.run = setting, shelf, run
        self.limit = min(seconds, run.time_limit or np.inf)
        self.most_operations = most_operations
        self.start = time.perf_counter()
        self.entries: list[MenuEntry] = []
        self.history: list[Record] = []
        self.before: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, list[float]] = {}
        self.skipped: list[str] = []

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.limit - (time.perf_counter() - self.start)

    def all_steps(self) -> tuple[list[MenuEntry], str]:
        """Take all steps; return the entries and why the search ended."""
        try:
            for step in steps_for(gray=self.setting.gray):
                if self.entries and min(e.scores.error for e in self.entries) == 0:
                    return self.entries, "nothing is wrong on the held-out pairs"
                if self._is_needless(step):
                    continue
                if self.left() <= 0:
                    return self.entries, f"time limit of {self.limit / 60:.3g} min"
                if self._is_too_long(step):
                    self.skipped.append(step.name)
                    continue
                self._take(step)
        except KeyboardInterrupt:
            return self.entries, "interrupted"
        return self.entries, "all steps were taken"

    def remarks(self) -> tuple[str, ...]:
        """Return what a user should know about the search."""
        lines = []
        if self.skipped:
            lines.append(f"Left out for want of time: {', '.join(self.skipped)}.")
        if self.setting.gray:
            lines.append("Chains of erosions and dilations are not tried on gray inputs.")
        asked = self.setting.properties.names()
        if asked:
            lines.append(f"Every entry is {' and '.join(asked)} by construction.")
        return tuple(lines)

    def _is_needless(self, step: Step) -> bool:
        """Return whether smaller steps of the family did not help, or were too large already."""
        errors = self.errors.get(step.family, [])
        sizes = [r["operations"] for r in self.history if r["family"] == step.family]
        if self.most_operations and sizes and min(sizes[-1:]) > self.most_operations:
            return True
        last = errors[-_PATIENCE:]
        return len(errors) > _PATIENCE and min(last) >= min(errors[:-_PATIENCE])

    def _is_too_long(self, step: Step) -> bool:
        """Return whether a step that cannot be cut short would take longer than is left."""
        if step.family not in _DEAR:
            return False
        taken = [r["seconds"] / sum(r["sizes"]) for r in self.history if r["family"] in _DEAR]
        return bool(taken) and taken[-1] * sum(step.sizes) > self.left()

    def _take(self, step: Step) -> None:
        """Learn a step, or read it from the folder, and add it to what there is."""
        result = self.shelf.get(step.name)
        if result is None:
            best = min((e.scores.error for e in self.entries), default=None)
            so_far = "" if best is None else f", best so far {percent(best)}"
            with status(f"{step.name}{so_far}", left=self.left, show=self.run.progress):
                result = self._learned(step)
            self.shelf.put(step.name, result)
        entries, lines, options = result
        if options:
            self.before["votes" if "votes" in step.family else "union"] = options
        self.entries = list(front([*self.entries, *entries]))
        for line in lines:
            self.history.append(line)
            self.errors.setdefault(step.family, []).append(line["error"])
            if self.run.log is not None:
                append_jsonl(self.run.log, {**(self.run.tags or {}), **line})
            if self.run.progress:
                kept = "" if line["kept"] else " (not better than what there is)"
                said = f"error {percent(line['error'])}, {line['seconds']:.1f} s{kept}"
                write(f"{line['operator']}: {said}")

    def _learned(self, step: Step) -> tuple[list[MenuEntry], list[Record], dict[str, Any]]:
        """Learn a step; return the entries worth having, a record of each, and its options."""
        start = time.perf_counter()
        share = max(step.share * self.limit, min(_FIRST, self.left()))
        networks = take_step(step, self.setting, self.before, min(share, self.left()))
        entries = [self._entry(network, start) for network in networks]
        kept = front([*self.entries, *(entry for entry in entries if entry is not None)])
        lines: list[Record] = [
            {
                "step": step.name,
                "family": step.family,
                "sizes": list(step.sizes),
                "operator": entry.name if entry else step.name,
                "error": entry.scores.error if entry else 1.0,
                "operations": entry.operations if entry else 0.0,
                "seconds": round(time.perf_counter() - start, 3),
                "kept": entry in kept,
            }
            for entry in entries
        ]
        options = networks[-1].options if networks and step.family != "chains" else {}
        return [certified(entry) for entry in entries if entry in kept and entry], lines, options

    def _entry(self, network: Network, start: float) -> MenuEntry | None:
        """Return the entry of a network, or None if it is constant or lacks a property."""
        if network.params is None:
            return None
        entry = entry_of(
            network.name,
            (network.apply, network.params, network.planes, network.border),
            self.setting.held,
            binary=network.binary,
            properties=tuple(self.setting.properties.names()),
            options=network.options,
        )
        entry = replace(entry, seconds=round(time.perf_counter() - start, 3))
        too_large = self.most_operations is not None and entry.operations > self.most_operations
        return None if too_large else entry
