"""Menus: learned operators from simple to large, none worse than a smaller one.

A menu is the front of error against bit operations. It prints as a table with what stands beside
it: what the pairs are, what trivial answers reach, and why the search ended.
"""

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from morphax import _checks
from morphax.explain.summary import html_table
from morphax.recipes._judging import warning_of
from morphax.recipes.menu.entries import MenuEntry
from morphax.recipes.possible import Possible
from morphax.recipes.results import Verdict
from morphax.training.options import Record

_COLUMNS = ("#", "operator", "error", "F1", "bit operations", "certified", "seconds")


@dataclass(frozen=True, eq=False)
class Menu(Sequence[MenuEntry]):
    """Hold operators on the front of error against bit operations; `menu[i]` is row i of its table.

    Attributes:
        entries: the operators, from few bit operations to many, each with fewer wrong pixels than
            those before it.
        possible: what the pairs are, and what answers that need no learning reach.
        history: a record of each step: its name, error, operations and seconds; "kept" says whether
            it came into the menu.
        stopped: why the search ended.
        remarks: sentences that a user should read.
        seconds: time of the whole search.
    """

    entries: tuple[MenuEntry, ...]
    possible: Possible
    history: tuple[Record, ...]
    stopped: str
    remarks: tuple[str, ...]
    seconds: float

    @property
    def best(self) -> MenuEntry:
        """Return the entry with the fewest wrong pixels on the held-out pairs."""
        _checks.require(len(self.entries) > 0, "menu", "an entry", f"none ({self.stopped})")
        return self.entries[-1]

    def simplest(self, *, within: float = 1.2) -> MenuEntry:
        """Return the entry with the fewest bit operations among those that are about as good.

        Args:
            within: largest error, as a multiple of that of the best entry, 1 or more.

        Returns:
            The entry.

        Raises:
            ValueError: `within` below 1, or a menu without entries.
        """
        _checks.require(within >= 1, "within", "1 or more", within)
        limit = within * self.best.scores.error
        return next(entry for entry in self.entries if entry.scores.error <= limit)

    @property
    def verdict(self) -> Verdict:
        """Return the best entry's errors beside those of trivial answers, on the held-out pairs."""
        scores = self.best.scores
        return Verdict(scores.error, scores.f1, self.possible.trivial)

    @property
    def warning(self) -> str | None:
        """Return one sentence where the best entry should not be used without a look, else None."""
        cut_short = self.stopped == "interrupted"
        return warning_of(self.verdict, cut_short=cut_short) if self.entries else "Nothing learned."

    def with_entry(self, entry: MenuEntry) -> "Menu":
        """Return a menu with one more entry; those that it makes needless are left out.

        Args:
            entry: such as `morphax.recipes.menu_entry` makes.

        Returns:
            The menu.
        """
        return replace(self, entries=front([*self.entries, entry]))

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> MenuEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[MenuEntry]: ...
    def __getitem__(self, index: Any) -> Any:
        """Return the entry of a row, or those of a slice."""
        return self.entries[index]

    def __iter__(self) -> Iterator[MenuEntry]:
        """Iterate over the entries, from few bit operations to many."""
        return iter(self.entries)

    def rows(self) -> list[dict[str, Any]]:
        """Return the table: for each entry its number, name, scores, cost, certificate and time."""
        return [
            {
                "number": number,
                "operator": entry.name,
                **entry.scores._asdict(),
                "bit_operations": entry.operations,
                "certified": bool(entry.certificate.exact),
                "seconds": entry.seconds,
            }
            for number, entry in enumerate(self.entries)
        ]

    def __str__(self) -> str:
        """Return what the pairs are and allow, and the table, as text."""
        return "\n".join([*self.possible.lines(), "", self.table()])

    def table(self) -> str:
        """Return the table and what stands below it, as text."""
        rows = [_COLUMNS, *self._cells()]
        widths = [max(len(row[k]) for row in rows) for k in range(len(_COLUMNS))]
        lines = []
        for number, row in enumerate(rows):
            cells = (
                cell.ljust(width) if k in (1, 5) else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            mark = "* " if number and number == len(rows) - 1 else "  "
            lines.append((mark + "  ".join(cells)).rstrip())
        return "\n".join([*lines, "", *self._end()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table as HTML, for notebooks."""
        before, after = (
            "".join(f"<p>{html.escape(line)}</p>" for line in lines)
            for lines in (self.possible.lines(), self._end())
        )
        return f"<div>{before}{html_table(_COLUMNS, self._cells())}{after}</div>"

    def _cells(self) -> list[tuple[str, ...]]:
        """Return the rows of the table as texts."""
        return [
            (
                str(number),
                entry.name,
                percent(entry.scores.error),
                f"{entry.scores.f1:.3f}",
                f"{entry.operations:.4g}"
                if entry.operations < 1000
                else f"{entry.operations:,.0f}",
                "yes" if bool(entry.certificate.exact) else "no",
                f"{entry.seconds:.1f}",
            )
            for number, entry in enumerate(self.entries)
        ]

    def _end(self) -> list[str]:
        """Return what stands below the table."""
        again = sum(entry.learned_from == "all pairs" for entry in self.entries)
        lines = [
            f"Stopped after {self.seconds:.0f} s: {self.stopped}. Error and F1 are those of the "
            "held-out pairs, bit operations those for each pixel."
        ]
        if again:
            verb = "was" if again == 1 else "were"
            lines.append(f"Then {again} of the operators {verb} learned again from all pairs.")
        return [*lines, *self.remarks, *([self.warning] if self.warning else [])]


def front(entries: Iterable[MenuEntry]) -> tuple[MenuEntry, ...]:
    """Return the entries that no other one beats, from few bit operations to many.

    Args:
        entries: in any order; of equal ones the first stays.

    Returns:
        Entries whose errors fall as their bit operations grow.
    """
    kept: list[MenuEntry] = []
    for entry in sorted(entries, key=lambda e: (e.operations, e.scores.error)):
        if not kept or entry.scores.error < kept[-1].scores.error:
            kept.append(entry)
    return tuple(kept)


def percent(share: float) -> str:
    """Return a share in percent, with three digits.

    Example:
        >>> percent(0.0), percent(0.00097), percent(0.0312)
        ('0 %', '0.097 %', '3.12 %')
    """
    return f"{100 * share:.3g} %"
