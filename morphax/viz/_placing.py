"""Layered graph layout of a network figure: positions of boxes and routes of lines.

`lead_around` gives long lines a bend in each column; `place` then orders the boxes of each column
so that lines cross rarely (the barycentre heuristic of Sugiyama et al., 1981).
"""

from dataclasses import replace

import numpy as np

from morphax.viz._boxes import Box, Key, Layout

_BETWEEN_ROWS, _BETWEEN_COLUMNS = 0.28, 0.75  # inches


def lead_around(layout: Layout) -> None:
    """Give lines over several columns a bend in each column; lines from one box share it.

    A bend is a box of style "wire", so that `place` keeps other boxes away from it.
    """
    lines: list[tuple[Key, Key]] = []
    number = -1  # keys of bends are negative, those of ops are not
    bends: dict[tuple[Key, int], Key] = {}
    for start, stop in layout.lines:
        last = start
        for column in range(layout.boxes[start].column + 1, layout.boxes[stop].column):
            if (start, column) not in bends:
                number -= 1
                bends[start, column] = (number, 0)
                layout.boxes[number, 0] = Box(column, "wire", size=(0.0, 0.12))
                lines.append((last, (number, 0)))
            last = bends[start, column]
        lines.append((last, stop))
    layout.lines = lines


def place(layout: Layout) -> None:
    """Place the columns from left to right, and in a column boxes near the boxes they join."""
    columns: list[list[Key]] = [[] for _ in range(max(b.column for b in layout.boxes.values()) + 1)]
    for key, box in layout.boxes.items():
        columns[box.column].append(key)
    # The rank of a box is its relative height in its column, from 0 at the top to 1.
    rank = {key: i / len(keys) for keys in columns for i, key in enumerate(keys)}
    before: dict[Key, list[Key]] = {key: [] for key in layout.boxes}
    after: dict[Key, list[Key]] = {key: [] for key in layout.boxes}
    for start, stop in layout.lines:
        before[stop].append(start)
        after[start].append(stop)
    # Sort each column by the mean rank of the neighbours on one side; sweep back and forth.
    for sweep in range(4):
        near = after if sweep % 2 == 0 else before
        for keys in columns[::-1] if sweep % 2 == 0 else columns:
            means = {k: np.mean([rank[n] for n in near[k]]) if near[k] else rank[k] for k in keys}
            keys.sort(key=lambda k: (means[k], rank[k]))
            rank |= {key: (i + 0.5) / len(keys) for i, key in enumerate(keys)}
    heights = [sum(layout.boxes[k].size[1] + _BETWEEN_ROWS for k in keys) for keys in columns]
    # Stack the boxes of each column, centred on the tallest one.
    x, tallest = 0.0, max(heights)
    for keys, height in zip(columns, heights, strict=True):
        width = max(layout.boxes[key].size[0] for key in keys)
        y = (tallest + height) / 2
        for key in keys:
            box = layout.boxes[key]
            y -= (box.size[1] + _BETWEEN_ROWS) / 2
            size = (width, box.size[1]) if box.style == "wire" else box.size
            layout.boxes[key] = replace(box, place=(x + width / 2, y), size=size)
            y -= (box.size[1] + _BETWEEN_ROWS) / 2
        x += width + _BETWEEN_COLUMNS
    layout.size = (x - _BETWEEN_COLUMNS, tallest)
