"""Formats of numbers, and tables in Markdown and CSV, for all pages."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# --- numbers


def number(value: Any) -> str:
    """Return a value as tables show it: 12,345 or 0.0123; yes or no; "-" for none."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return _three_digits(value) if isinstance(value, float) else str(value)


def _three_digits(value: float) -> str:
    """Return a float with three significant digits and no exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def percent(value: float | None) -> str:
    """Return a share as per cent with two decimals."""
    return "-" if value is None else f"{100 * value:.2f} %"


def dice(value: float | None) -> str:
    """Return a Dice coefficient with four decimals."""
    return "-" if value is None else f"{value:.4f}"


def seconds(value: float | None) -> str:
    """Return a time in the unit that suits it, with three significant digits."""
    if value is None:
        return "-"
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if abs(value) >= size or unit == "ns":
            return f"{_three_digits(value / size)} {unit}"
    raise AssertionError


def octets(value: float | None) -> str:
    """Return a number of bytes in decimal units, with three significant digits."""
    if value is None:
        return "-"
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{_three_digits(value / size)} {unit}"
    return f"{value:,.0f} bytes"


def tiny(value: float | None) -> str:
    """Return an error as a power of ten with one decimal."""
    return "-" if value is None else "0" if value == 0 else f"{value:.1e}"


# --- tables


def table(
    rows: Sequence[Mapping[str, Any]],
    heads: Mapping[str, str] | None = None,
    **styles: Callable[[Any], str],
) -> str:
    """Return rows as a Markdown table.

    Args:
        rows: Rows, at least one.
        heads: Keys of the columns and what stands above them; all keys of the first row by default.
        styles: Format of the column of that key; `number` where none is given.
    """
    heads = heads or {key: key for key in rows[0]}
    lines = [list(heads.values()), ["---"] * len(heads)]
    lines += [[styles.get(key, number)(row.get(key)) for key in heads] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def pivot(
    rows: Sequence[Mapping[str, Any]], down: str, across: str, cell: Callable[[Any], str], head: str
) -> str:
    """Return a table with a line for each `down` and a column for each `across`."""
    names = dict.fromkeys(row[across] for row in rows)
    lines: dict[Any, dict[str, Any]] = {}
    for row in rows:
        line = lines.setdefault(row[down], {head: row[down], **dict.fromkeys(names)})
        line[row[across]] = cell(row)
    return table(list(lines.values()))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV: all columns of all rows, floats with six digits, lists joined by +."""

    def cell(value: Any) -> Any:
        if isinstance(value, list):
            return "+".join(map(str, value))
        return f"{value:.6g}" if isinstance(value, float) else value

    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()
