"""Masks over gray images, with the errors in colour; and a union of intersections, window by window."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax.certificates.neuron import structuring_element
from morphax.explain.describe import name_selem
from morphax.neurons.forward import apply
from morphax.neurons.models import bisel
from morphax.viz._draw import figure_class

_MISSED, _ADDED = (0.17, 0.42, 0.83), (0.9, 0.38, 0.0)
_LEGEND = (
    "gray: right      blue: missed, in the truth only      orange: added, in the prediction only"
)


def segmentation_figure(
    images: ArrayLike,
    truth: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    *,
    quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
) -> Any:
    """A column an image: the image, the truth, and each prediction with its errors in colour.

    The images are those at the given quantiles of the last prediction's Dice, so none is picked by eye.

    Args:
        images: gray `(N, H, W, 1)`, not negative; shown by their square roots.
        truth: bool `(N, H, W, 1)`.
        predictions: name -> bool `(N, H, W, 1)`.
        quantiles: of the Dice, in [0, 1].

    Returns:
        A `matplotlib.figure.Figure`. `ValueError` for arrays that do not fit; `ImportError` without
        matplotlib.

    Example:
        >>> masks = np.eye(9, dtype=bool)[None, :, :, None]
        >>> figure = segmentation_figure(masks * 50, masks, {"Otsu": masks}, quantiles=(0.5,))
        >>> figure.axes[2].get_title()
        'Otsu: Dice 1.000'
    """
    made = figure_class()
    gray, masks = np.asarray(images), np.asarray(truth)
    found = {name: np.asarray(part) for name, part in predictions.items()}
    _checks.require(bool(found), "predictions", "one or more", found)
    for name, part in (("truth", masks), *found.items()):
        fits = part.shape == gray.shape and part.dtype == bool and part.ndim == 4 and len(part) > 0
        _checks.require(fits, name, f"bool {gray.shape}", f"{part.dtype} {part.shape}")
    each = {name: _each(part, masks) for name, part in found.items()}
    order = np.argsort(list(each.values())[-1], kind="stable")
    chosen = order[(np.asarray(quantiles) * (len(order) - 1)).astype(int)]
    rows = 2 + len(found)
    figure = made(figsize=(2.3 * len(chosen) + 0.3, 2.5 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, len(chosen), squeeze=False)
    for column, i in zip(axes.T, chosen, strict=True):
        _picture(column[0], _roots(gray[i, ..., 0]), f"image {i} (square root)")
        _picture(column[1], masks[i, ..., 0], "truth")
        for ax, (name, part) in zip(column[2:], found.items(), strict=True):
            shown = _errors(gray[i, ..., 0], part[i, ..., 0], masks[i, ..., 0])
            _picture(ax, shown, f"{name}: Dice {each[name][i]:.3f}")
    figure.suptitle(_LEGEND, fontsize=9)
    return figure


def terms_figure(
    layers: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    image: ArrayLike,
    channels: ArrayLike,
    truth: ArrayLike,
) -> Any:
    """A binary BiMoNN of two layers: a row for each map, with every window that is used.

    A row shows what a map takes in (channel, operation, structuring element), what it finds, and the window
    through which the last layer sees it; the last row is the result over the image.

    Args:
        layers: two BiSELs of `BinaryBiSE` nodes, the last with one output.
        names: of the input channels.
        image: gray `(H, W)`, not negative.
        channels: bool `(H, W, len(names))`.
        truth: bool `(H, W)`.

    Returns:
        A `matplotlib.figure.Figure`. `ValueError` for other networks; `ImportError` without matplotlib.
    """
    made = figure_class()
    fits = len(layers) == 2 and all("lui" in layer for layer in layers)
    _checks.require(fits, "layers", "two BiSELs with several inputs", len(layers))
    first, last = layers
    sets, uses = np.asarray(first["lui"].selem), np.asarray(last["lui"].selem)[:, 0]
    _checks.require(len(names) == len(sets), "names", f"{len(sets)}, one a channel", len(names))
    maps = [m for m in range(len(uses)) if uses[m]]
    gray, masks, stack = np.asarray(image), np.asarray(truth), jnp.asarray(channels)[None]
    found = np.asarray(bisel(first, stack))[0]
    seen = np.asarray(apply(last["bise"], jnp.asarray(found)[None]))[0, ..., 0]
    result = np.asarray(bisel(last, jnp.asarray(found)[None]))[0, ..., 0]
    most = max(int(sets[:, m].sum()) for m in maps)
    figure = made(figsize=(1.9 * (most + 3), 2.2 * (len(maps) + 1)), layout="constrained")
    axes = figure.subplots(len(maps) + 1, most + 3, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    for row, m in zip(axes, maps, strict=False):
        for ax, i in zip(row, np.flatnonzero(sets[:, m]), strict=False):
            _window(ax, first["bise"], int(i), m, names[int(i)])
        joined = "intersection" if bool(np.asarray(first["lui"].erosion)[m]) else "union"
        _picture(row[most], found[..., m], f"their {joined}")
        _window(row[most + 1], last["bise"], m, 0, "seen through")
        _picture(row[most + 2], _errors(gray, seen[..., m], masks), "against the truth")
    joined = "intersection" if bool(np.asarray(last["lui"].erosion)[0]) else "union"
    _picture(axes[-1, most], _roots(gray), "image (square root)")
    _picture(axes[-1, most + 1], result, f"{joined} of the rows")
    _picture(axes[-1, most + 2], _errors(gray, result, masks), "against the truth")
    figure.suptitle(_LEGEND, fontsize=9)
    return figure


def _each(found: np.ndarray, masks: np.ndarray) -> np.ndarray:
    axes = (1, 2, 3)
    total = found.sum(axes) + masks.sum(axes)
    return np.where(total > 0, 2 * (found & masks).sum(axes) / np.maximum(total, 1), 1.0)


def _roots(gray: np.ndarray) -> np.ndarray:
    return np.sqrt(gray / max(float(gray.max()), 1e-9))


def _errors(gray: np.ndarray, found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    picture = np.repeat(0.5 * _roots(gray)[..., None], 3, -1)
    picture[found & truth] += 0.4
    picture[truth & ~found] = _MISSED
    picture[found & ~truth] = _ADDED
    return np.clip(picture, 0, 1)


def _picture(ax: Any, picture: np.ndarray, title: str) -> None:
    ax.imshow(picture, cmap="gray", interpolation="nearest")
    ax.set_title(title, fontsize=8)
    ax.set_axis_off()


def _window(ax: Any, node: Any, i: int, o: int, title: str) -> None:
    """The textbook structuring element, black, with its operation in the title."""
    selem = np.asarray(structuring_element(node, i, o))
    operation = "erosion" if bool(np.asarray(node.erosion)[i, o]) else "dilation"
    words = "as it is" if selem.sum() == 1 else f"{operation} by\n{name_selem(selem)}"
    words = f"not ({words})" if bool(np.asarray(node.complement)[i, o]) else words
    ax.imshow(~selem, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for edge in np.arange(len(selem) + 1) - 0.5:
        ax.axhline(edge, color="0.6", lw=0.5)
        ax.axvline(edge, color="0.6", lw=0.5)
    ax.set_title(f"{title}\n{words}", fontsize=8)
