"""Drawing helpers shared by all figures: the figure class, colours, images of small integers.

The colours are safe for colour-blind readers, and text repeats what a colour means.
"""

from typing import Any

import numpy as np

from morphax import _checks

SET, UNSET, GRID = "#1f4e79", "#f4f4f2", "#c9c9c4"
RIGHT, WRONG = "#00604a", "#a83c00"  # of words


def figure_class() -> Any:
    """Return matplotlib's `Figure`, which works without pyplot, windows and global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise _checks.extra("matplotlib", "viz", error) from error
    return Figure


def side_by_side(window: np.ndarray) -> np.ndarray:
    """Return a window as a picture: the slices of a volume side by side, a row as one row.

    Between two slices there is a masked column, which figures leave empty. A window of an image is
    returned as it is.
    """
    if window.ndim < 3:
        return np.atleast_2d(window)
    depth, rows, columns = window.shape
    # A column beyond each slice; the last one is cut off.
    wide = np.pad(window, ((0, 0), (0, 0), (0, 1)))
    picture = np.moveaxis(wide, 0, 1).reshape(rows, depth * (columns + 1))[:, :-1]
    gap = np.arange(picture.shape[1]) % (columns + 1) == columns
    return np.ma.array(picture, mask=np.broadcast_to(gap, picture.shape))


def show_selem(ax: Any, selem: np.ndarray) -> None:
    """Draw a structuring element with a dot at its origin."""
    show(ax, side_by_side(selem.astype(int)), (UNSET, SET), grid=True)
    frame(ax, selem.shape, origin=True)


def show(ax: Any, picture: np.ndarray, colours: tuple[str, ...], *, grid: bool = False) -> None:
    """Draw an array of small integers, each in its colour; with `grid`, lines between pixels."""
    from matplotlib.colors import ListedColormap

    colormap, most = ListedColormap(colours), len(colours) - 1
    ax.imshow(picture, cmap=colormap, vmin=0, vmax=most, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    # Minor ticks lie between the pixels; in a large picture their lines would hide it.
    if grid and max(picture.shape) <= 32:
        frame(ax, picture.shape, origin=False)
        ax.set_xticks(np.arange(0.5, picture.shape[1] - 1), minor=True)
        ax.set_yticks(np.arange(0.5, picture.shape[0] - 1), minor=True)
        ax.grid(which="minor", color=GRID, linewidth=0.6)
        ax.tick_params(which="both", length=0)


def frame(ax: Any, shape: tuple[int, ...], *, origin: bool) -> None:
    """Remove ticks, and draw a dot at the centre of a window if it has its origin there."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(GRID)
    if origin:
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.8}
        *slices, rows, columns = (1, *shape) if len(shape) == 1 else shape
        first = slices[0] // 2 * (columns + 1) if slices else 0  # of the slice in the middle
        place = first + columns // 2, rows // 2
        ax.plot(*place, "o", markersize=4.5, color="#e66100", **edge)
