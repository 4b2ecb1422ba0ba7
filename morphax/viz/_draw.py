"""What all figures share: the figure class, colours, and small integers as pictures.

Colours are safe for colour-blind readers, and what a colour says is also said in words.
"""

from typing import Any

import numpy as np

from morphax import _checks

SET, UNSET, GRID = "#1f4e79", "#f4f4f2", "#c9c9c4"
RIGHT, WRONG = "#00604a", "#a83c00"  # of words


def figure_class() -> Any:
    """Matplotlib's `Figure`, made without pyplot: no window opens and no global state changes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise _checks.extra("matplotlib", "viz") from error
    return Figure


def show_selem(ax: Any, selem: np.ndarray) -> None:
    """A structuring element, with a dot at its origin."""
    show(ax, selem.astype(int), (UNSET, SET), grid=True)
    frame(ax, selem.shape, origin=True)


def show(ax: Any, picture: np.ndarray, colours: tuple[str, ...], *, grid: bool = False) -> None:
    """Small integers as colours."""
    from matplotlib.colors import ListedColormap

    ax.imshow(picture, cmap=ListedColormap(colours), vmin=0, vmax=len(colours) - 1,
              interpolation="nearest")  # fmt: skip
    ax.set_xticks([])
    ax.set_yticks([])
    if grid and max(picture.shape) <= 32:
        frame(ax, picture.shape, origin=False)
        ax.set_xticks(np.arange(0.5, picture.shape[1] - 1), minor=True)
        ax.set_yticks(np.arange(0.5, picture.shape[0] - 1), minor=True)
        ax.grid(which="minor", color=GRID, linewidth=0.6)
        ax.tick_params(which="both", length=0)


def frame(ax: Any, shape: tuple[int, ...], *, origin: bool) -> None:
    """No ticks; a dot at the origin of a window."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(GRID)
    if origin:
        ax.plot(shape[1] // 2, shape[0] // 2, "o", markersize=4.5, color="#e66100",
                markeredgecolor="white", markeredgewidth=0.8)  # fmt: skip
