"""Figures: what a network learned, and what it does to images.

Functions return a `matplotlib.figure.Figure` made without pyplot: no window opens and no global state
changes; save it with `figure.savefig(path, dpi=120)`. Matplotlib comes with `morphax[viz]`. Colours
are safe for colour-blind readers, and what a colour says is also said in words.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from morphax import _check
from morphax.certificate import Certificate, certify_node, structuring_element
from morphax.describe import SPATIAL, check_unstacked, operation_name, row_name
from morphax.nodes import BinaryBiSE, BiSE, effective, named_nodes, unbank

_SET, _UNSET, _GRID = "#1f4e79", "#f4f4f2", "#c9c9c4"
_RIGHT, _WRONG = "#00604a", "#a83c00"  # of words
_MISSED, _ADDED, _KEPT, _EMPTY = "#e66100", "#2b6cd4", "#bdbdbd", "#ffffff"  # of pixels
_NEURONS_A_BANK = 16


def operator_figure(
    params: Any,
    binary: Any,
    *,
    targets: Sequence[tuple[str, ArrayLike]] | None = None,
    certificates: Mapping[str, Certificate] | None = None,
) -> Any:
    """Structuring elements of a network, a row a neuron: target, learned weights, binary form.

    All are drawn as textbook structuring elements, the ones scipy takes, with a dot at the origin: the
    weights of a dilation are therefore reflected. A LUI, or a dense layer, is a row with its matrix,
    inputs downwards. Of a bank of more than 16 neurons the first 16 are drawn.

    Args:
        params: params tree of `BiSE` nodes, unstacked.
        binary: its binary twin, from `morphax.binarize`.
        targets: what should have been learned, (operation, selem bool `(kh, kw)`) for each spatial
            neuron in the order of the rows; None where it is not known.
        certificates: path of a bank -> its certificate, such as `certify_network(...).neurons`; by
            default each neuron is certified by itself, on binary inputs.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: matplotlib (`morphax[viz]`) is missing.
        ValueError: no neurons, `binary` is not the twin of `params`, stacked banks, or another number
            of targets than of spatial neurons.

    Example:
        >>> import jax
        >>> from morphax import binarize, elements, models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1, 1], kernel_size=3)
        >>> goal = [("erosion", elements.disk(3)), ("dilation", elements.disk(3))]
        >>> figure = operator_figure(params, binarize(params), targets=goal)
        >>> figure.axes[0].get_title()
        'layer 1: target\\nerosion'
    """
    figure_class = _figure_class()
    banks = _banks(params, binary, certificates)
    rows = [(bank, index) for bank in banks for index in _indices(bank.twin)]
    spatial = sum(len(index) > 0 for _, index in rows)
    _check.require(targets is None or len(targets) == spatial, "targets",
                   f"one (operation, selem) for each of {spatial} spatial neurons",
                   targets and len(targets))  # fmt: skip
    columns = 2 if targets is None else 3
    figure = figure_class(figsize=(3.0 * columns + 0.4, 2.75 * len(rows)), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.12)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    remaining = iter(targets or ())
    for (bank, index), row in zip(rows, axes, strict=True):
        name = row_name(bank.path, bank.twin, index)
        if index and targets is not None:
            _draw_target(row[0], name, *next(remaining))
        elif targets is not None:
            row[0].set_axis_off()
        if index:
            _draw_neuron(figure, row[-2:], name, bank, index)
        else:
            _draw_matrix(figure, row[-2:], name, bank)
    return figure


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
    figure_class = _figure_class()
    _check.require(n >= 1, "n", "1 or more", n)
    planes = [np.asarray(part) for part in (images, targets, predictions)]
    shape = planes[0].shape
    for argument, plane in zip(("images", "targets", "predictions"), planes, strict=True):
        fits = plane.shape == shape and plane.ndim == 4 and plane.dtype == bool
        fits = fits and shape[-1] == 1 and len(plane) > 0
        _check.require(fits, argument, "bool (N, H, W, 1), all of one shape",
                       f"{plane.dtype} {plane.shape}")  # fmt: skip
    source, target, prediction = (plane[..., 0] for plane in planes)
    errors = (target != prediction).sum((1, 2))
    worst = np.argsort(-errors, kind="stable")[:n]
    aspect = shape[1] / shape[2]
    figure = figure_class(
        figsize=(10.0, len(worst) * (2.4 * aspect + 0.1) + 0.9), layout="constrained"
    )
    axes = figure.subplots(len(worst), 4, squeeze=False)
    for row, i in zip(axes, worst, strict=True):
        for ax, picture in zip(row, (source[i], target[i], prediction[i]), strict=False):
            _show(ax, picture, (_EMPTY, "#222222"))
        # 0 empty, 1 kept, 2 missed, 3 added
        kinds = np.where(target[i], np.where(prediction[i], 1, 2), np.where(prediction[i], 3, 0))
        _show(row[3], kinds, (_EMPTY, _KEPT, _MISSED, _ADDED))
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
    figure.suptitle(found, fontsize=11, color=_WRONG if wrong else _RIGHT)
    return figure


def require_matplotlib() -> None:
    """Raise the `ImportError` that names the extra if matplotlib is missing; nothing otherwise."""
    _figure_class()


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise _check.extra("matplotlib", "viz") from error
    return Figure


class _Bank(NamedTuple):
    """A bank beside its binary twin and its certificate; all arrays are numpy's."""

    path: str
    weights: np.ndarray
    twin: BinaryBiSE
    certificate: Certificate


def _banks(params: Any, binary: Any, certificates: Mapping[str, Certificate] | None) -> list[_Bank]:
    """Every bank of a network beside its binary twin and its certificate."""
    real, twins = named_nodes(params), named_nodes(binary)
    _check.require(bool(real), "params", "a tree that holds banks of neurons", params)
    _check.require(list(real) == list(twins), "binary", f"banks {list(real)}", list(twins))
    banks = []
    for path, node in real.items():
        twin = twins[path]
        if not isinstance(node, BiSE):
            raise ValueError(f"params: expected real banks (BiSE), got a binary one at {path}")
        if not isinstance(twin, BinaryBiSE) or twin.selem.shape != node.weight.shape:
            raise ValueError(f"binary: expected morphax.binarize(params), it differs at {path}")
        check_unstacked("params", path, node)
        weights, found = _weights_and_certificate(node)
        found = found if certificates is None else certificates[path]
        banks.append(_Bank(path, *jax.tree.map(np.asarray, (weights, twin, found))))
    return banks


@jax.jit
def _weights_and_certificate(node: BiSE) -> tuple[jax.Array, Certificate]:
    return unbank(node, effective(node)[0]), certify_node(node)[0]


def _indices(twin: BinaryBiSE) -> list[tuple[int, ...]]:
    """The rows of a bank: (in, out) of each spatial neuron; one row, (), for a matrix."""
    if twin.spec.role != "spatial":
        return [()]
    return list(np.ndindex(*twin.erosion.shape))[:_NEURONS_A_BANK]


def _draw_target(ax: Any, name: str, operation: str, selem: ArrayLike) -> None:
    _show_selem(ax, np.asarray(selem))
    ax.set_title(f"{name}: target\n{operation}", fontsize=10)


def _draw_neuron(
    figure: Any, axes: Sequence[Any], name: str, bank: _Bank, index: tuple[int, ...]
) -> None:
    twin, certificate = bank.twin, bank.certificate
    weights = bank.weights[(..., *index)]
    if not twin.erosion[index]:
        weights = weights[::-1, ::-1]  # a window, reflected, is the textbook set of a dilation
    _show_weights(figure, axes[0], weights)
    axes[0].set_title(f"{name}: learned weights\n{_range(weights)}", fontsize=10)
    _show_selem(axes[1], np.asarray(structuring_element(twin, *index)))
    exact = bool(certificate.exact[index])
    operation = operation_name(twin, index, SPATIAL)
    verdict = f"certified, margin {float(certificate.margin[index]):.2g}"
    axes[1].set_title(
        f"{name}: {operation if exact else 'nearest is ' + operation}\n"
        + (verdict if exact else "not certified"),
        fontsize=10,
        color=_RIGHT if exact else _WRONG,
    )


def _draw_matrix(figure: Any, axes: Sequence[Any], name: str, bank: _Bank) -> None:
    """A LUI or dense bank: inputs downwards, outputs to the right."""
    weights, twin = bank.weights, bank.twin
    _show_weights(figure, axes[0], weights, origin=False)
    axes[0].set_title(f"{name}: learned weights\n{_range(weights)}", fontsize=10)
    selem, exact = twin.selem, bank.certificate.exact
    _show(axes[1], selem.astype(int), (_UNSET, _SET), grid=True)
    axes[1].set_title(
        f"{name}: chosen maps\n{exact.sum()} of {exact.size} certified",
        fontsize=10,
        color=_RIGHT if exact.all() else _WRONG,
    )
    inputs, outputs = weights.shape
    for ax in axes:
        if max(inputs, outputs) <= 8:
            ax.set_yticks(range(inputs), [f"map {i + 1}" for i in range(inputs)], fontsize=8)
            words = [
                operation_name(twin, (o,), ("union", "inter-\nsection")) for o in range(outputs)
            ]
            ax.set_xticks(range(outputs), words, fontsize=8)
        else:
            ax.set_aspect("auto")
            ax.set_xlabel("outputs", fontsize=9)
            ax.set_ylabel("inputs", fontsize=9)


def _range(weights: np.ndarray) -> str:
    tiny = 1e-3 * np.abs(weights).max()  # shown as 0: no colour tells it apart
    low, high = (0.0 if abs(end) <= tiny else float(end) for end in (weights.min(), weights.max()))
    return f"from {low:.2g} to {high:.2g}"


def _show_weights(figure: Any, ax: Any, weights: np.ndarray, *, origin: bool = True) -> None:
    """Weights in colour: from 0 upwards, or diverging about 0 where some are negative."""
    limit = float(np.abs(weights).max()) or 1.0
    if weights.min() < 0:
        image = ax.imshow(weights, cmap="PuOr", vmin=-limit, vmax=limit)
    else:
        image = ax.imshow(weights, cmap="cividis", vmin=0, vmax=limit)
    _frame(ax, weights.shape, origin=origin)
    figure.colorbar(image, ax=ax, shrink=0.75, pad=0.03)


def _show_selem(ax: Any, selem: np.ndarray) -> None:
    _show(ax, selem.astype(int), (_UNSET, _SET), grid=True)
    _frame(ax, selem.shape, origin=True)


def _show(ax: Any, picture: np.ndarray, colours: tuple[str, ...], *, grid: bool = False) -> None:
    """Small integers as colours."""
    from matplotlib.colors import ListedColormap

    ax.imshow(picture, cmap=ListedColormap(colours), vmin=0, vmax=len(colours) - 1,
              interpolation="nearest")  # fmt: skip
    ax.set_xticks([])
    ax.set_yticks([])
    if grid and max(picture.shape) <= 32:
        _frame(ax, picture.shape, origin=False)
        ax.set_xticks(np.arange(0.5, picture.shape[1] - 1), minor=True)
        ax.set_yticks(np.arange(0.5, picture.shape[0] - 1), minor=True)
        ax.grid(which="minor", color=_GRID, linewidth=0.6)
        ax.tick_params(which="both", length=0)


def _frame(ax: Any, shape: tuple[int, ...], *, origin: bool) -> None:
    """No ticks; a dot at the origin of a window."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(_GRID)
    if origin:
        ax.plot(shape[1] // 2, shape[0] // 2, "o", markersize=4.5, color="#e66100",
                markeredgecolor="white", markeredgewidth=0.8)  # fmt: skip


def _legend(figure: Any) -> None:
    from matplotlib.patches import Patch

    entries = [
        Patch(facecolor=_KEPT, label="right"),
        Patch(facecolor=_MISSED, label="missed: in the target only"),
        Patch(facecolor=_ADDED, label="added: in the prediction only"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
