"""Figure of the wiring of a binary network, with a picture of each structuring element."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from morphax import _checks
from morphax.explain import explain, input_names
from morphax.program import Program, build, simplify
from morphax.viz._boxes import Box, boxes_of, picture_size, side
from morphax.viz._draw import GRID, SET, UNSET, WRONG, figure_class
from morphax.viz._placing import lead_around, place

_MARGIN = 0.3  # inches
_INK, _LINES, _PAPER = "#222222", "#8a8a86", "#ffffff"


def network_figure(
    network: Program | tuple[Callable[[Any, Any], Any], Any, Sequence[int]],
    *,
    names: Sequence[str] | None = None,
    most: int = 8,
) -> Any:
    """Draw the wiring of a binary network from left to right, with its structuring elements.

    Elements are textbook structuring elements, as scipy takes them, with a dot at the origin: ⊕ is
    the dilation by them, ⊖ the erosion. ∪ and ∩ join planes; "not", in colour, marks a result that
    is complemented. An op of many planes is one box with a text and a few of its elements. The
    title gives the expression that the network computes (`morphax.explain`), if it is short.

    Args:
        network: a `Program`, which is drawn as it is; or (apply, binary params, input shape with
            the batch), as for `morphax.program.build`, which is simplified first.
        names: names of the input channels. Default: x, or x1, x2, ... for several channels.
        most: greatest number of planes of an op that are drawn one by one.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib (extra "viz") is missing.
        ValueError: if there are real banks, if the names do not match the channels, or if `most`
            is below 1.

    Example:
        >>> from morphax.program import Op
        >>> neuron = {"source": np.zeros(1, int), "selem": np.ones((1, 3, 3), bool),
        ...           "erosion": np.ones(1, bool), "complement": np.zeros(1, bool)}
        >>> erosion = Op("spatial", (0,), (1, 9, 9), "", neuron, {"border": "ignore"})
        >>> ops = Op("input", (), (1, 9, 9)), erosion
        >>> figure = network_figure(Program(ops, (9, 9, 1), (9, 9, 1)))
        >>> figure.texts[0].get_text()
        'y = erosion by square(3)'
    """
    make_figure = figure_class()
    _checks.require(most >= 1, "most", "1 or more", most)
    program = network if isinstance(network, Program) else simplify(build(*network))
    channel_names = input_names(names, channels=program.ops[0].shape[0])
    layout = boxes_of(program, names=channel_names, most=most)
    lead_around(layout)
    place(layout)
    title = _title(program, names)
    width = max(layout.size[0], 0.095 * max(map(len, title), default=0)) + 2 * _MARGIN
    top = 0.24 * len(title) + 0.1 * bool(title)
    height = layout.size[1] + 2 * _MARGIN + top
    # One axis over the whole figure, whose unit is an inch, so that text has a size in its units.
    figure = make_figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    left = (width - layout.size[0]) / 2
    ax.set_xlim(-left, width - left)
    ax.set_ylim(-_MARGIN, height - _MARGIN)
    for start, stop in layout.lines:
        _line(ax, layout.boxes[start], layout.boxes[stop])
    for box in layout.boxes.values():
        _DRAW[box.style](ax, box)
    if title:
        figure.text(
            _MARGIN / width, 1 - 0.15 / height, "\n".join(title), va="top", fontsize=11, color=_INK
        )
    return figure


def _title(program: Program, names: Sequence[str] | None) -> list[str]:
    """Return the lines of the explanation of a network; none if it is long or has pictures."""
    explanation = explain(program, names=names, limit=40)
    lines = explanation.text.split("\n\n")[0].splitlines()
    lines = [line for line in lines if not line.startswith("border ")]
    is_short = explanation.outputs and len(lines) <= 3 and max(map(len, lines)) <= 90
    return lines if is_short and "\n\n" not in explanation.text else []


def _line(ax: Any, start: Box, stop: Box) -> None:
    """Draw a curve from the right side of one box to the left side of another."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    (x0, y0), (x1, y1) = start.place, stop.place
    x0, x1 = x0 + side(start), x1 - side(stop)
    middle = (x0 + x1) / 2
    # A cubic Bezier curve: path codes 1 (move to) and 4 (control points and end).
    path = Path([(x0, y0), (middle, y0), (middle, y1), (x1, y1)], [1, 4, 4, 4])
    ax.add_patch(PathPatch(path, facecolor="none", edgecolor=_LINES, linewidth=1.1, zorder=1))


# One function for each style of box.


def _wire(ax: Any, box: Box) -> None:
    (x, y), width = box.place, box.size[0]
    ax.plot([x - width / 2, x + width / 2], [y, y], color=_LINES, linewidth=1.1, zorder=1)


def _plain(ax: Any, box: Box) -> None:
    _rectangle(ax, box)
    _text(ax, box.place[0], box.place[1], box.caption, WRONG if box.flipped else _INK)


def _round(ax: Any, box: Box) -> None:
    from matplotlib.patches import Circle

    ax.add_patch(Circle(box.place, 0.25, facecolor=_PAPER, edgecolor=_INK, linewidth=1.0, zorder=2))
    ax.text(
        *box.place,
        box.head[0],
        fontsize=15,
        ha="center",
        va="center_baseline",
        color=_INK,
        zorder=3,
    )
    if box.flipped:
        _text(ax, box.place[0], box.place[1] + 0.36, ("not",), WRONG)


def _tile(ax: Any, box: Box) -> None:
    x, top = box.place[0], box.place[1] + box.size[1] / 2
    colour = WRONG if box.flipped else _INK
    _text(
        ax, x, top - 0.085 * len(box.head), box.head, colour, size=11 if box.style == "tile" else 9
    )
    bottom = box.place[1] - box.size[1] / 2
    _text(ax, x, bottom + 0.085 * len(box.caption), box.caption, _INK)
    middle = (top - 0.17 * len(box.head) + bottom + 0.17 * len(box.caption)) / 2
    _pictures(ax, x, middle, box)


def _bank(ax: Any, box: Box) -> None:
    _rectangle(ax, box)
    _tile(ax, box)


def _pictures(ax: Any, x: float, y: float, box: Box) -> None:
    """Draw pixel grids side by side, centred at (x, y)."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("set", [UNSET, SET])
    sizes = [picture_size(picture) for picture in box.pictures]
    left = x - (sum(w for w, _ in sizes) + 0.12 * (len(sizes) - 1)) / 2
    for picture, (width, height) in zip(box.pictures, sizes, strict=True):
        rows, columns = (np.linspace(0, 1, n + 1) for n in picture.shape)
        edges = GRID if max(picture.shape) <= 15 else "none"
        style = {"cmap": colours, "vmin": 0, "vmax": 1, "edgecolors": edges, "linewidth": 0.5}
        corners = left + width * columns, y + height / 2 - height * rows
        ax.pcolormesh(*corners, picture.astype(float), zorder=3, **style)
        if box.origin:
            dot = {"color": "#e66100", "markeredgecolor": "white", "markeredgewidth": 0.6}
            ax.plot(left + width / 2, y, "o", markersize=3.5, zorder=4, **dot)
        left += width + 0.12


def _rectangle(ax: Any, box: Box) -> None:
    from matplotlib.patches import Rectangle

    corner = (box.place[0] - box.size[0] / 2, box.place[1] - box.size[1] / 2)
    ax.add_patch(
        Rectangle(corner, *box.size, facecolor=_PAPER, edgecolor=_INK, linewidth=0.8, zorder=2)
    )


def _text(ax: Any, x: float, y: float, lines: Sequence[str], colour: str, *, size: int = 9) -> None:
    """Draw lines of text, centred at (x, y)."""
    if lines:
        style = {"ha": "center", "va": "center", "linespacing": 1.15, "zorder": 3}
        ax.text(x, y, "\n".join(lines), fontsize=size, color=colour, **style)


_DRAW = {"plain": _plain, "round": _round, "tile": _tile, "bank": _bank, "wire": _wire}
