"""What a network does to images, and where it is wrong."""

from typing import Any

import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax.viz._draw import RIGHT, WRONG, figure_class, show

_MISSED, _ADDED, _KEPT, _EMPTY = "#e66100", "#2b6cd4", "#bdbdbd", "#ffffff"  # of pixels


def prediction_figure(
    images: ArrayLike,
    targets: ArrayLike,
    predictions: ArrayLike,
    *,
    n: int = 4,
    names: tuple[str, str, str] = ("input", "target", "binary prediction"),
) -> Any:
    """Input, target, prediction and their difference, a row an image; the worst images first.

    Rows are the `n` images with the most wrong pixels (the first ones where there are none), so that
    a figure without errors means that there are none at all.

    Args:
        images, targets, predictions: bool `(N, H, W, 1)`, of one shape.
        n: rows at most.
        names: titles of the first three columns.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: matplotlib (`morphax[viz]`) is missing.
        ValueError: arrays that are not such images, or `n` below 1.

    Example:
        >>> images = np.eye(9, dtype=bool)[None, :, :, None]
        >>> figure = prediction_figure(images, images, ~images)
        >>> figure.axes[3].get_title()
        'difference'
    """
    made = figure_class()
    _checks.require(n >= 1, "n", "1 or more", n)
    planes = [np.asarray(part) for part in (images, targets, predictions)]
    shape = planes[0].shape
    for argument, plane in zip(("images", "targets", "predictions"), planes, strict=True):
        fits = plane.shape == shape and plane.ndim == 4 and plane.dtype == bool
        fits = fits and shape[-1] == 1 and len(plane) > 0
        _checks.require(fits, argument, "bool (N, H, W, 1), all of one shape",
                       f"{plane.dtype} {plane.shape}")  # fmt: skip
    source, target, prediction = (plane[..., 0] for plane in planes)
    errors = (target != prediction).sum((1, 2))
    worst = np.argsort(-errors, kind="stable")[:n]
    aspect = shape[1] / shape[2]
    figure = made(figsize=(10.0, len(worst) * (2.4 * aspect + 0.1) + 0.9), layout="constrained")
    axes = figure.subplots(len(worst), 4, squeeze=False)
    for row, i in zip(axes, worst, strict=True):
        for ax, picture in zip(row, (source[i], target[i], prediction[i]), strict=False):
            show(ax, picture, (_EMPTY, "#222222"))
        # 0 empty, 1 kept, 2 missed, 3 added
        kinds = np.where(target[i], np.where(prediction[i], 1, 2), np.where(prediction[i], 3, 0))
        show(row[3], kinds, (_EMPTY, _KEPT, _MISSED, _ADDED))
        if errors[i] <= 50 and max(shape[1:3]) > 96:  # single pixels would hardly be seen
            for kind, colour in ((2, _MISSED), (3, _ADDED)):
                rows, columns = np.nonzero(kinds == kind)
                row[3].plot(columns, rows, "o", markersize=8, markerfacecolor="none",
                            markeredgecolor=colour, markeredgewidth=1.3)  # fmt: skip
        row[0].set_ylabel(f"image {i}", fontsize=10)
        row[3].set_xlabel(f"{errors[i]} wrong pixel" + "s" * int(errors[i] != 1), fontsize=9)
    for ax, title in zip(axes[0], (*names, "difference"), strict=True):
        ax.set_title(title, fontsize=11)
    _legend(figure)
    total, wrong = len(errors), int((errors > 0).sum())
    found = f"{wrong} of {total} images have wrong pixels" + (", worst first" if wrong else "")
    figure.suptitle(found, fontsize=11, color=WRONG if wrong else RIGHT)
    return figure


def _legend(figure: Any) -> None:
    from matplotlib.patches import Patch

    entries = [
        Patch(facecolor=_KEPT, label="right"),
        Patch(facecolor=_MISSED, label="missed: in the target only"),
        Patch(facecolor=_ADDED, label="added: in the prediction only"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
