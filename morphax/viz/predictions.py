"""Figure of predictions: images beside their targets, and the pixels where a network is wrong."""

from typing import Any

import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax.viz._draw import RIGHT, WRONG, figure_class, show

_MISSED, _ADDED, _KEPT, _EMPTY = "#e66100", "#2b6cd4", "#bdbdbd", "#ffffff"  # colours of pixels


def prediction_figure(
    images: ArrayLike,
    targets: ArrayLike,
    predictions: ArrayLike,
    *,
    n: int = 4,
    names: tuple[str, str, str] = ("input", "target", "binary prediction"),
) -> Any:
    """Draw input, target, prediction and their difference, one image in each row.

    The rows are the `n` images with the most wrong pixels, so a figure without errors means that
    no image has any.

    Args:
        images: inputs, bool `(N, H, W, 1)`.
        targets: targets, of the same shape.
        predictions: predictions, of the same shape.
        n: greatest number of rows.
        names: titles of the first three columns.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib (extra "viz") is missing.
        ValueError: if the arrays are not such images, or if `n` is below 1.

    Example:
        >>> images = np.eye(9, dtype=bool)[None, :, :, None]
        >>> figure = prediction_figure(images, images, ~images)
        >>> figure.axes[3].get_title()
        'difference'
    """
    make_figure = figure_class()
    _checks.require(n >= 1, "n", "1 or more", n)
    planes = [np.asarray(part) for part in (images, targets, predictions)]
    shape = planes[0].shape
    for argument, plane in zip(("images", "targets", "predictions"), planes, strict=True):
        are_images = plane.shape == shape and plane.ndim == 4 and plane.dtype == bool
        are_images = are_images and shape[-1] == 1 and len(plane) > 0
        got = f"{plane.dtype} {plane.shape}"
        _checks.require(are_images, argument, "bool (N, H, W, 1), all of one shape", got)
    source, target, prediction = (plane[..., 0] for plane in planes)
    errors = (target != prediction).sum((1, 2))
    worst = np.argsort(-errors, kind="stable")[:n]
    aspect = shape[1] / shape[2]
    figure = make_figure(
        figsize=(10.0, len(worst) * (2.4 * aspect + 0.1) + 0.9), layout="constrained"
    )
    axes = figure.subplots(len(worst), 4, squeeze=False)
    for row, i in zip(axes, worst, strict=True):
        for ax, picture in zip(row, (source[i], target[i], prediction[i]), strict=False):
            show(ax, picture, (_EMPTY, "#222222"))
        # 0: in neither, 1: in both, 2: in the target only, 3: in the prediction only.
        kinds = np.where(target[i], np.where(prediction[i], 1, 2), np.where(prediction[i], 3, 0))
        show(row[3], kinds, (_EMPTY, _KEPT, _MISSED, _ADDED))
        # In a large image, draw circles around a few wrong pixels, which would hardly be seen.
        if errors[i] <= 50 and max(shape[1:3]) > 96:
            for kind, colour in ((2, _MISSED), (3, _ADDED)):
                rows, columns = np.nonzero(kinds == kind)
                edge = {"markeredgecolor": colour, "markeredgewidth": 1.3}
                row[3].plot(columns, rows, "o", markersize=8, markerfacecolor="none", **edge)
        row[0].set_ylabel(f"image {i}", fontsize=10)
        row[3].set_xlabel(f"{errors[i]} wrong pixel" + "s" * int(errors[i] != 1), fontsize=9)
    for ax, title in zip(axes[0], (*names, "difference"), strict=True):
        ax.set_title(title, fontsize=11)
    _legend(figure)
    total, wrong = len(errors), int((errors > 0).sum())
    title = f"{wrong} of {total} images have wrong pixels" + (", worst first" if wrong else "")
    figure.suptitle(title, fontsize=11, color=WRONG if wrong else RIGHT)
    return figure


def _legend(figure: Any) -> None:
    from matplotlib.patches import Patch

    entries = [
        Patch(facecolor=_KEPT, label="right"),
        Patch(facecolor=_MISSED, label="missed: in the target only"),
        Patch(facecolor=_ADDED, label="added: in the prediction only"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
