"""Where the boxes of a network figure stand, and how their lines get past each other."""

from dataclasses import replace

import numpy as np

from morphax.viz._boxes import Box, Key, Layout

_BETWEEN_ROWS, _BETWEEN_COLUMNS = 0.28, 0.75  # inches


def lead_around(layout: Layout) -> None:
    """Lines over several columns get a bend in each of them; lines from one box share it."""
    lines: list[tuple[Key, Key]] = []
    count = -1
    bends: dict[tuple[Key, int], Key] = {}
    for start, stop in layout.lines:
        at = start
        for column in range(layout.boxes[start].column + 1, layout.boxes[stop].column):
            if (start, column) not in bends:
                count -= 1
                bends[start, column] = (count, 0)
                layout.boxes[count, 0] = Box(column, "wire", size=(0.0, 0.12))
                lines.append((at, (count, 0)))
            at = bends[start, column]
        lines.append((at, stop))
    layout.lines = lines


def place(layout: Layout) -> None:
    """Columns from left to right; in a column, boxes near what they are joined to."""
    columns = [[k for k, b in layout.boxes.items() if b.column == c]
               for c in range(max(b.column for b in layout.boxes.values()) + 1)]  # fmt: skip
    rank = {key: i / len(keys) for keys in columns for i, key in enumerate(keys)}
    before: dict[Key, list[Key]] = {key: [] for key in layout.boxes}
    after: dict[Key, list[Key]] = {key: [] for key in layout.boxes}
    for start, stop in layout.lines:
        before[stop].append(start)
        after[start].append(stop)
    for sweep in range(4):
        near = after if sweep % 2 == 0 else before
        for keys in columns[::-1] if sweep % 2 == 0 else columns:
            means = {k: np.mean([rank[n] for n in near[k]]) if near[k] else rank[k] for k in keys}
            keys.sort(key=lambda k: (means[k], rank[k]))
            rank |= {key: (i + 0.5) / len(keys) for i, key in enumerate(keys)}
    heights = [sum(layout.boxes[k].size[1] + _BETWEEN_ROWS for k in keys) for keys in columns]
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
