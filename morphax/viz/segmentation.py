"""Figures of segmentations: masks over gray images with errors in colour, and unions of terms."""

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
    """Draw one image in each column: the image, the truth, each prediction with its errors.

    The images are those at given quantiles of the Dice of the last prediction, so that none is
    picked by eye.

    Args:
        images: gray images `(N, H, W, 1)`, not negative; their square roots are shown.
        truth: bool `(N, H, W, 1)`.
        predictions: predictions by name, bool `(N, H, W, 1)` each.
        quantiles: quantiles of the Dice, in [0, 1].

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib (extra "viz") is missing.
        ValueError: if the shapes or dtypes do not match.

    Example:
        >>> masks = np.eye(9, dtype=bool)[None, :, :, None]
        >>> figure = segmentation_figure(masks * 50, masks, {"Otsu": masks}, quantiles=(0.5,))
        >>> figure.axes[2].get_title()
        'Otsu: Dice 1.000'
    """
    make_figure = figure_class()
    gray, masks = np.asarray(images), np.asarray(truth)
    predicted = {name: np.asarray(part) for name, part in predictions.items()}
    _checks.require(bool(predicted), "predictions", "one or more", predicted)
    for name, part in (("truth", masks), *predicted.items()):
        are_masks = part.shape == gray.shape and part.dtype == bool
        are_masks = are_masks and part.ndim == 4 and len(part) > 0
        _checks.require(are_masks, name, f"bool {gray.shape}", f"{part.dtype} {part.shape}")
    scores = {name: _dice_of_each(part, masks) for name, part in predicted.items()}
    order = np.argsort(list(scores.values())[-1], kind="stable")
    chosen = order[(np.asarray(quantiles) * (len(order) - 1)).astype(int)]
    rows = 2 + len(predicted)
    figure = make_figure(figsize=(2.3 * len(chosen) + 0.3, 2.5 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, len(chosen), squeeze=False)
    for column, i in zip(axes.T, chosen, strict=True):
        _picture(column[0], _roots(gray[i, ..., 0]), f"image {i} (square root)")
        _picture(column[1], masks[i, ..., 0], "truth")
        for ax, (name, part) in zip(column[2:], predicted.items(), strict=True):
            shown = _errors(gray[i, ..., 0], part[i, ..., 0], masks[i, ..., 0])
            _picture(ax, shown, f"{name}: Dice {scores[name][i]:.3f}")
    figure.suptitle(_LEGEND, fontsize=9)
    return figure


def terms_figure(
    layers: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    image: ArrayLike,
    channels: ArrayLike,
    truth: ArrayLike,
) -> Any:
    """Draw a binary BiMoNN of two layers, one map of the first layer in each row.

    A row shows the inputs of a map (channel, operation, structuring element), the map itself, and
    the window of the last layer on it. The last row is the result over the image.

    Args:
        layers: two BiSELs of `BinaryBiSE` nodes, the last with one output.
        names: names of the input channels.
        image: gray image `(H, W)`, not negative.
        channels: bool `(H, W, len(names))`.
        truth: bool `(H, W)`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib (extra "viz") is missing.
        ValueError: if the network has another form.
    """
    make_figure = figure_class()
    are_layers = len(layers) == 2 and all("lui" in layer for layer in layers)
    _checks.require(are_layers, "layers", "two BiSELs with several inputs", len(layers))
    first, last = layers
    sets, uses = np.asarray(first["lui"].selem), np.asarray(last["lui"].selem)[:, 0]
    _checks.require(len(names) == len(sets), "names", f"{len(sets)}, one a channel", len(names))
    # Maps that the last layer uses: their values, the same through the windows, and the result.
    maps = [m for m in range(len(uses)) if uses[m]]
    gray, masks, stack = np.asarray(image), np.asarray(truth), jnp.asarray(channels)[None]
    values = np.asarray(bisel(first, stack))[0]
    seen = np.asarray(apply(last["bise"], jnp.asarray(values)[None]))[0, ..., 0]
    result = np.asarray(bisel(last, jnp.asarray(values)[None]))[0, ..., 0]
    most = max(int(sets[:, m].sum()) for m in maps)
    figure = make_figure(figsize=(1.9 * (most + 3), 2.2 * (len(maps) + 1)), layout="constrained")
    axes = figure.subplots(len(maps) + 1, most + 3, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    for row, m in zip(axes, maps, strict=False):
        for ax, i in zip(row, np.flatnonzero(sets[:, m]), strict=False):
            _window(ax, first["bise"], int(i), m, names[int(i)])
        joined = "intersection" if bool(np.asarray(first["lui"].erosion)[m]) else "union"
        _picture(row[most], values[..., m], f"their {joined}")
        _window(row[most + 1], last["bise"], m, 0, "seen through")
        _picture(row[most + 2], _errors(gray, seen[..., m], masks), "against the truth")
    joined = "intersection" if bool(np.asarray(last["lui"].erosion)[0]) else "union"
    _picture(axes[-1, most], _roots(gray), "image (square root)")
    _picture(axes[-1, most + 1], result, f"{joined} of the rows")
    _picture(axes[-1, most + 2], _errors(gray, result, masks), "against the truth")
    figure.suptitle(_LEGEND, fontsize=9)
    return figure


def _dice_of_each(predicted: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the Dice of each image; 1 where both masks are empty."""
    axes = (1, 2, 3)
    total = predicted.sum(axes) + masks.sum(axes)
    return np.where(total > 0, 2 * (predicted & masks).sum(axes) / np.maximum(total, 1), 1.0)


def _roots(gray: np.ndarray) -> np.ndarray:
    """Return square roots scaled to [0, 1], in which dark objects can be seen."""
    return np.sqrt(gray / max(float(gray.max()), 1e-9))


def _errors(gray: np.ndarray, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return an RGB picture of an image with its prediction, wrong pixels in colour."""
    picture = np.repeat(0.5 * _roots(gray)[..., None], 3, -1)
    picture[predicted & truth] += 0.4
    picture[truth & ~predicted] = _MISSED
    picture[predicted & ~truth] = _ADDED
    return np.clip(picture, 0, 1)


def _picture(ax: Any, picture: np.ndarray, title: str) -> None:
    ax.imshow(picture, cmap="gray", interpolation="nearest")
    ax.set_title(title, fontsize=8)
    ax.set_axis_off()


def _window(ax: Any, node: Any, i: int, o: int, title: str) -> None:
    """Draw a textbook structuring element in black, with its operation in the title."""
    selem = np.asarray(structuring_element(node, i, o))
    operation = "erosion" if bool(np.asarray(node.erosion)[i, o]) else "dilation"
    words = "as it is" if selem.sum() == 1 else f"{operation} by\n{name_selem(selem)}"
    words = f"not ({words})" if bool(np.asarray(node.complement)[i, o]) else words
    ax.imshow(~selem, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for edge in np.arange(len(selem) + 1) - 0.5:
        ax.axhline(edge, color="0.6", lw=0.5)
        ax.axvline(edge, color="0.6", lw=0.5)
    ax.set_title(f"{title}\n{words}", fontsize=8)
