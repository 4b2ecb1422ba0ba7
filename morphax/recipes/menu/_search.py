"""Search of `learn`: one step after the other, what they give, and what is left out."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from morphax.recipes.menu._setting import Setting
from morphax.recipes.menu._shelf import Shelf
from morphax.recipes.menu._steps import (
    Network,
    Step,
    learn_again,
    steps_for,
    take_step,
)
from morphax.recipes.menu.entries import MenuEntry, entry_of
from morphax.recipes.menu.menu import front, percent
from morphax.training.loop import append_jsonl
from morphax.training.options import Record, RunOptions
from morphax.training.progress import status, write

_PATIENCE = 2  # sizes of a family without a better error, until its larger ones are left out
_GROWTH = 0.5  # power of the number of clauses that training time grows with
_FIRST = 5.0  # seconds that a step gets at least
_DEAR = ("votes", "two levels of votes")  # families whose steps cannot be cut short
_AGAIN = 1.2  # times as long it takes to learn votes from all pairs
_GUESS = 0.2  # share of the whole time that the first votes may take


class Search:
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

    def all_steps(self, *, exact: bool = False) -> str:
        """Take all steps, in the order of `steps_for`; return why the search ended."""
        try:
            for step in steps_for(gray=self.setting.gray, exact=exact):
                if self.entries and min(e.scores.error for e in self.entries) == 0:
                    return "nothing is wrong on the held-out pairs"
                if self._is_needless(step):
                    continue
                if self._is_too_long(step):
                    self.skipped.append(step.name)
                    continue
                self._take(step)
        except KeyboardInterrupt:
            return "interrupted"
        if self.skipped:
            return f"time limit of {self.limit / 60:.3g} min"
        return "all steps were taken"

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
        kind = _kind(step.family)
        costs = [r["operations"] for r in self.history if _kind(r["family"]) == kind]
        if kind != "chains" and costs and self._is_too_large(costs[-1]):
            return True
        last = errors[-_PATIENCE:]
        return len(errors) > _PATIENCE and min(last) >= min(errors[:-_PATIENCE])

    def _is_too_long(self, step: Step) -> bool:
        """Return whether a step would take time that is needed to learn the best again."""
        if step.family not in _DEAR:
            return bool(self.entries) and self.left() <= self._reserve()
        # Votes must leave the time in which they, or what is best so far, are learned again.
        seconds = self._seconds_of(step.sizes)
        return seconds + max(_AGAIN * seconds, self._reserve()) > self.left()

    def _reserve(self) -> float:
        """Return about how long it takes to learn the best entry again from all pairs."""
        if not self.entries:
            return 0.0
        best = min(self.entries, key=lambda entry: entry.scores.error)
        return _AGAIN * best.options.get("training_seconds", 0.0)

    def _seconds_of(self, sizes: tuple[int, ...]) -> float:
        """Return about how long votes of these sizes take; a guess before the first ones."""
        last = self.before.get("votes")
        if last is None:
            return _GUESS * self.limit
        # Four times as many clauses take about twice as long.
        each = [last["training_seconds"] / len(last["sizes"])] * len(sizes)
        growth = [(size / max(last["sizes"])) ** _GROWTH for size in sizes]
        return sum(seconds * factor for seconds, factor in zip(each, growth, strict=True))

    def learned_again(self, entries: Sequence[MenuEntry]) -> list[MenuEntry]:
        """Learn window operators again from all pairs, the best first, while there is time."""
        done = list(entries)
        if self.setting.part[0][1] is self.setting.held[0][1]:  # a single pair is on both sides
            return done
        try:
            for k in reversed(range(len(done))):
                options = done[k].options
                if "family" not in options or self.left() <= 0:
                    continue
                if options.get("training_seconds", 0.0) > self.left():
                    continue
                done[k] = self._again(done[k])
        except KeyboardInterrupt:
            self.skipped.append("learning again from all pairs")
        return done

    def _again(self, entry: MenuEntry) -> MenuEntry:
        """Return an entry learned from all pairs, with the scores that it had without them.

        It has seen the held-out pairs now: if it is worse on them than before, its search was cut
        short, and the entry stays as it was.
        """
        name = f"{entry.name}, from all pairs"
        new = self.shelf.get(name)
        if new is None:
            with status(name, left=self.left, show=self.run.progress):
                network = learn_again(entry.options, self.setting, min(entry.seconds, self.left()))
                new = self._entry(network, time.perf_counter())
                if new is None or self._is_too_large(new.operations):
                    return entry
                if new.scores.error > entry.scores.error:
                    return entry
            self.shelf.put(name, new)
        return replace(
            new,
            scores=entry.scores,
            image_scores=entry.image_scores,
            seconds=entry.seconds,
            learned_from="all pairs",
        )

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
            self.before[_kind(step.family)] = options
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
        left = max(self.left() - self._reserve(), 0.0)
        seconds = max(step.share * self.limit, _FIRST)
        networks = take_step(step, self.setting, self.before, min(seconds, left))
        entries = [self._entry(network, start) for network in networks]
        fitting = [e for e in entries if e is not None and not self._is_too_large(e.operations)]
        kept = front([*self.entries, *fitting])
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
        return [entry for entry in entries if entry in kept and entry], lines, options

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
        return replace(entry, seconds=round(time.perf_counter() - start, 3))

    def _is_too_large(self, operations: float) -> bool:
        return self.most_operations is not None and operations > self.most_operations


def _kind(family: str) -> str:
    """Return what a family is made of, in one level or two: "chains", "union" or "votes"."""
    return next(kind for kind in ("chains", "union", "votes") if kind in family)
