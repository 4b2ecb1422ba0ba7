"""Figure of the operators that a network learned: structuring elements beside their weights."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax.certificates.neuron import Certificate, certify_node, structuring_element
from morphax.explain.describe import SPATIAL, check_unstacked, operation_name, row_name
from morphax.neurons.nodes import BinaryBiSE, BiSE, effective, named_nodes, unbank
from morphax.viz._draw import (
    RIGHT,
    SET,
    UNSET,
    WRONG,
    figure_class,
    frame,
    show,
    show_selem,
    side_by_side,
)

_NEURONS_A_BANK = 16  # neurons of a bank that are drawn


def operator_figure(
    params: Any,
    binary: Any,
    *,
    targets: Sequence[tuple[str, ArrayLike]] | None = None,
    certificates: Mapping[str, Certificate] | None = None,
) -> Any:
    """Draw the neurons of a network, one in each row: target, learned weights, binary neuron.

    All are drawn as textbook structuring elements, as scipy takes them, with a dot at the origin;
    therefore the weights of a dilation are reflected. A LUI or dense layer is one row with its
    matrix, inputs downwards. Of a bank of more than 16 neurons the first 16 are drawn. The slices
    of an element of a volume are drawn side by side.

    Args:
        params: params tree of `BiSE` nodes, unstacked.
        binary: the binary params, such as `morphax.binarize(params)` returns.
        targets: the true operators, (operation, selem bool `(kh, kw)`) for each spatial neuron in
            the order of the rows; None to draw no targets.
        certificates: certificate of each bank by its path, such as `certify_network(...).neurons`.
            Default: each neuron is certified by itself, on binary inputs.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib (extra "viz") is missing.
        ValueError: if there are no neurons, if `binary` does not match `params`, if banks are
            stacked, or if there are not as many targets as spatial neurons.

    Example:
        >>> import jax
        >>> from morphax import binarize, elements, models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1, 1], kernel_size=3)
        >>> goal = [("erosion", elements.disk(3)), ("dilation", elements.disk(3))]
        >>> figure = operator_figure(params, binarize(params), targets=goal)
        >>> figure.axes[0].get_title().splitlines()
        ['layer 1: target', 'erosion']
    """
    make_figure = figure_class()
    banks = _banks(params, binary, certificates)
    rows = [(bank, index) for bank in banks for index in _indices(bank.twin)]
    spatial = sum(len(index) > 0 for _, index in rows)
    _checks.require(
        targets is None or len(targets) == spatial,
        "targets",
        f"one (operation, selem) for each of {spatial} spatial neurons",
        targets and len(targets),
    )
    columns = 2 if targets is None else 3
    figure = make_figure(figsize=(3.0 * columns + 0.4, 2.75 * len(rows)), layout="constrained")
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


class _Bank(NamedTuple):
    """Hold a bank, its binary bank and its certificate; all arrays are numpy arrays."""

    path: str
    weights: np.ndarray
    twin: BinaryBiSE
    certificate: Certificate


def _banks(params: Any, binary: Any, certificates: Mapping[str, Certificate] | None) -> list[_Bank]:
    """Return the banks of a network with their binary banks and certificates."""
    real, twins = named_nodes(params), named_nodes(binary)
    _checks.require(bool(real), "params", "a tree that holds banks of neurons", params)
    _checks.require(list(real) == list(twins), "binary", f"banks {list(real)}", list(twins))
    banks = []
    for path, node in real.items():
        twin = twins[path]
        if not isinstance(node, BiSE):
            raise ValueError(f"params: expected real banks (BiSE), got a binary one at {path}")
        if not isinstance(twin, BinaryBiSE) or twin.selem.shape != node.weight.shape:
            raise ValueError(f"binary: expected morphax.binarize(params), it differs at {path}")
        check_unstacked("params", path, node)
        weights, certificate = _weights_and_certificate(node)
        certificate = certificate if certificates is None else certificates[path]
        banks.append(_Bank(path, *jax.tree.map(np.asarray, (weights, twin, certificate))))
    return banks


@jax.jit
def _weights_and_certificate(node: BiSE) -> tuple[jax.Array, Certificate]:
    return unbank(node, effective(node)[0]), certify_node(node)[0]


def _indices(twin: BinaryBiSE) -> list[tuple[int, ...]]:
    """Return the rows of a bank: (in, out) of each spatial neuron, or () for a matrix."""
    if twin.spec.role != "spatial":
        return [()]
    return list(np.ndindex(*twin.erosion.shape))[:_NEURONS_A_BANK]


def _draw_target(ax: Any, name: str, operation: str, selem: ArrayLike) -> None:
    show_selem(ax, np.asarray(selem))
    ax.set_title(f"{name}: target\n{operation}", fontsize=10)


def _draw_neuron(
    figure: Any, axes: Sequence[Any], name: str, bank: _Bank, index: tuple[int, ...]
) -> None:
    """Draw the weights and the binary form of a spatial neuron."""
    twin, certificate = bank.twin, bank.certificate
    weights = bank.weights[(..., *index)]
    if not twin.erosion[index]:
        weights = np.flip(weights)  # a window, reflected, is the textbook set of a dilation
    _show_weights(figure, axes[0], weights)
    axes[0].set_title(f"{name}: learned weights\n{_range(weights)}", fontsize=10)
    show_selem(axes[1], np.asarray(structuring_element(twin, *index)))
    exact = bool(certificate.exact[index])
    operation = operation_name(twin, index, SPATIAL)
    verdict = f"certified, margin {float(certificate.margin[index]):.2g}"
    axes[1].set_title(
        f"{name}: {operation if exact else 'nearest is ' + operation}\n"
        + (verdict if exact else "not certified"),
        fontsize=10,
        color=RIGHT if exact else WRONG,
    )


def _draw_matrix(figure: Any, axes: Sequence[Any], name: str, bank: _Bank) -> None:
    """Draw a LUI or dense bank: inputs downwards, outputs to the right."""
    weights, twin = bank.weights, bank.twin
    _show_weights(figure, axes[0], weights, origin=False)
    axes[0].set_title(f"{name}: learned weights\n{_range(weights)}", fontsize=10)
    selem, exact = twin.selem, bank.certificate.exact
    show(axes[1], selem.astype(int), (UNSET, SET), grid=True)
    axes[1].set_title(
        f"{name}: chosen maps\n{exact.sum()} of {exact.size} certified",
        fontsize=10,
        color=RIGHT if exact.all() else WRONG,
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
    """Return the range of weights as text."""
    tiny = 1e-3 * np.abs(weights).max()  # written as 0: its colour cannot be told from 0
    low, high = (0.0 if abs(end) <= tiny else float(end) for end in (weights.min(), weights.max()))
    return f"from {low:.2g} to {high:.2g}"


def _show_weights(figure: Any, ax: Any, weights: np.ndarray, *, origin: bool = True) -> None:
    """Draw weights in colour, with a diverging colour map if some are negative."""
    limit, picture = float(np.abs(weights).max()) or 1.0, side_by_side(weights)
    if weights.min() < 0:
        image = ax.imshow(picture, cmap="PuOr", vmin=-limit, vmax=limit)
    else:
        image = ax.imshow(picture, cmap="cividis", vmin=0, vmax=limit)
    frame(ax, weights.shape, origin=origin)
    figure.colorbar(image, ax=ax, shrink=0.75, pad=0.03)
