"""`report.html`: a menu as one page that needs no other file and no network."""

import html
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morphax import _files
from morphax.cli import pictures
from morphax.data import Pairs
from morphax.data.image_lists import Example, hold_out, read_pairs
from morphax.data.windows import named
from morphax.explain.summary import html_table
from morphax.export.python_source.terms import reachable_terms
from morphax.recipes import Menu, MenuEntry
from morphax.recipes.possible import TRIVIAL

_MOST = 24  # pictures of patterns of an entry
_SIDE = 256  # largest side of a part of an image that is shown
_SHOWN = 3  # images that are worst, and that are typical
_VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
_SLICES = "Of each volume the slice with the most errors is shown, or the middle one. "
_VIEWS = ("input", "target", "answer", "difference")
_STYLE = """
body { font: 15px/1.45 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; } th, td { padding: .2em .7em; text-align: right; }
th { border-bottom: 1px solid #000; } td:nth-child(2), th:nth-child(2) { text-align: left; }
th, td { vertical-align: top; } td:nth-child(n+3) { white-space: nowrap; }
svg { vertical-align: top; } figure > svg { width: 100%; } .wide { overflow-x: auto; }
figure { margin: 1em 0; } .views { display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px; }
.views { max-width: 56em; font-size: 13px; } .views img { image-rendering: pixelated; width: 100%;
box-sizing: border-box; border: 1px solid #999; } figcaption { font-size: 13px; }
pre { white-space: pre-wrap; background: #f4f4f4; padding: .6em; }
.patterns span { display: inline-block; margin: 4px 10px 4px 0; vertical-align: top; }
"""


def save_report(path: Path, menu: Menu, pairs: Pairs, record: dict[str, Any]) -> None:
    """Write the page of a menu, completely or not at all.

    Args:
        path: the file.
        menu: as `learn` returned it.
        pairs: those that it was learned from.
        record: contents of its `menu.json`.

    Raises:
        OSError: the file cannot be written.
    """
    names = pairs.names
    # The same split as that of `learn`.
    _, held = hold_out(list(zip(names, read_pairs(pairs), strict=True)))
    picked = {id(entry): entry for entry in (menu.best, menu.simplest())} if len(menu) else {}
    best = menu.best.scores.error if len(menu) else 1.0
    name, free = min(menu.possible.trivial.items(), key=lambda item: item[1])
    sentence = (
        f"The best operator is wrong on {100 * best:.3g} % of the held-out pixels. The best answer "
        f"that needs no learning ({TRIVIAL.get(name, name)}) is wrong on {100 * free:.3g} %."
    )
    points = [(entry.operations, entry.scores.error) for entry in menu]
    model, title = shlex.quote(str(path.parent)), _escaped(path.parent.resolve().name)
    parts = [
        f"<h1>Learned operators: {title}</h1><p><b>{_escaped(sentence)}</b></p>",
        _paragraphs([menu.warning] if menu.warning else []),
        f"<figure>{pictures.plot(points, menu.possible.trivial)}<figcaption>Each point is a row of "
        "the table. Dashed lines are answers that need no learning.</figcaption></figure>",
        _table(menu),
        _paragraphs(menu.remarks),
        *(_entry(menu, entry, held) for entry in picked.values()),
        "<h2>What the pairs allow</h2>",
        _paragraphs(menu.possible.lines()),
        "<h2>How to apply it</h2>",
        f"<pre>morphax apply {_escaped(model)} IMAGES -o OUT\n"
        f"morphax export {_escaped(model)} --to python -o cleaner.py</pre>",
        "<h2>How it was learned</h2>",
        f"<pre>{_escaped(str(record.get('command', 'in Python')))}</pre>",
        _paragraphs(
            [
                f"Seed {record.get('seed', 'unknown')}; {record['date']}; stopped after "
                f"{menu.seconds:.0f} s: {menu.stopped}.",
                ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
            ]
        ),
    ]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8">{_VIEWPORT}<title>{title}</title>'
    page = f"{head}<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    _files.write(path, page.encode())


def _entry(menu: Menu, entry: MenuEntry, held: Sequence[tuple[str, Example]]) -> str:
    """Return the section of an entry."""
    number = list(map(id, menu)).index(id(entry))
    proof = "equals" if bool(entry.certificate.exact) else "is not proved to equal"
    lines = [f"Certificate: the binary network {proof} the trained one on every image."]
    if entry.properties:
        lines.append(f"By construction: {', '.join(entry.properties)}.")
    if entry.learned_from == "all pairs":
        lines.append(
            "It was learned again from all pairs after it was scored, so the images below "
            "are no longer held out."
        )
    return "".join(
        [
            f"<h2>Row {number}: {_escaped(entry.name)}</h2>",
            f"<pre>{_escaped(entry.expression)}</pre>",
            _paragraphs(lines),
            _patterns(entry),
            f"<h3>Held-out {named(entry.program.axes)}</h3><p>In the difference red is missing, "
            f"blue is too much, gray does not count. {_SLICES * (entry.program.axes == 3)}"
            f"Of large images the part of {_SIDE} x {_SIDE} "
            "pixels with the most errors is shown.</p>",
            *_images(entry, held),
        ]
    )


def _patterns(entry: MenuEntry) -> str:
    """Return the structuring elements and hit-or-misses of an entry as pictures."""
    shown: dict[str, None] = {}
    for kind, *values in reachable_terms(entry.program):
        if kind in ("erosion", "dilation", "opening", "closing", "hit_or_miss"):
            windows = [np.array(value) for value in values[1:-1]]
            name = kind.replace("_", "-")
            picture = pictures.pattern(windows[0], off=windows[1] if windows[1:] else None)
            shown[f"<span>{picture}<br>{name}</span>"] = None
    more = f"<p>and {len(shown) - _MOST} more</p>" if len(shown) > _MOST else ""
    text = "Black must be set, white of a hit-or-miss must be unset, gray does not matter."
    text += " Slices stand side by side." * (entry.program.axes == 3)
    return f"<p>{text}</p><div class=patterns>{''.join(list(shown)[:_MOST])}</div>{more}"


def _images(entry: MenuEntry, held: Sequence[tuple[str, Example]]) -> Iterable[str]:
    """Yield the worst images, then those around the median."""
    order = sorted(range(len(held)), key=lambda i: -entry.image_scores[i].error)
    middle = max(len(order) // 2 - 1, 0)
    chosen = dict.fromkeys(order[:_SHOWN] + order[middle : middle + _SHOWN])
    for i in chosen:
        name, (image, target, mask) = held[i]
        answer, shown = np.asarray(entry(image)), ""
        if answer.ndim == 3:
            number = _slice_of((answer != target) & mask)
            shown = f", slice {number} of 0 to {len(mask) - 1} shown"
            image, target, mask, answer = (side[number] for side in (image, target, mask, answer))
        where = _part((answer != target) & mask)
        seen = image[..., 0] if image.dtype == bool else _eight_bits(image)
        views = (seen, target, answer, pictures.difference(answer, target, mask))
        tags = "".join(
            f'<div><img src="{pictures.image_uri(view[where])}" alt="{title}"><br>{title}</div>'
            for title, view in zip(_VIEWS, views, strict=True)
        )
        error = f"{_escaped(name)}: {100 * entry.image_scores[i].error:.3g} % wrong{shown}"
        caption = f"<figcaption><b>{error}</b></figcaption>"
        yield f"<figure>{caption}<div class=views>{tags}</div></figure>"


def _eight_bits(image: np.ndarray) -> np.ndarray:
    """Return gray levels as uint8 for the eye, three channels where there are three."""
    levels = image if image.shape[-1] == 3 else image[..., 0]
    return (levels * (255.0 / max(int(levels.max()), 1))).astype(np.uint8)


def _slice_of(wrong: np.ndarray) -> int:
    """Return the slice of a volume with the most errors; without errors, the middle one."""
    counts = wrong.sum((1, 2))
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def _part(wrong: np.ndarray) -> tuple[slice, slice]:
    """Return the part of an image with the most errors, on a grid of half its side."""
    sides = [min(side, _SIDE) for side in wrong.shape]
    starts = [
        sorted({*range(0, whole - side + 1, max(side // 2, 1)), whole - side})
        for whole, side in zip(wrong.shape, sides, strict=True)
    ]
    parts = [
        (slice(row, row + sides[0]), slice(column, column + sides[1]))
        for row in starts[0]
        for column in starts[1]
    ]
    return max(parts, key=lambda part: int(wrong[part].sum()))


def _table(menu: Menu) -> str:
    """Return the rows of a menu as a table."""
    head = ("#", "operator", "error", "F1", "bit operations", "certified", "seconds")
    rows = [
        (
            str(row["number"]),
            row["operator"],
            f"{100 * row['error']:.3g} %",
            f"{row['f1']:.3f}",
            f"{row['bit_operations']:,.0f}",
            "yes" if row["certified"] else "no",
            f"{row['seconds']:.1f}",
        )
        for row in menu.rows()
    ]
    return f"<div class=wide>{html_table(head, rows)}</div>"


def _paragraphs(lines: Iterable[str]) -> str:
    return "".join(f"<p>{_escaped(line)}</p>" for line in lines)


def _escaped(text: str) -> str:
    return html.escape(text)
