"""Read a single operator off the pairs before anything is searched for."""

from collections.abc import Callable

import numpy as np

from morphax.data.possible import SingleOperator, single_operators
from morphax.recipes.descent._descent import Net
from morphax.recipes.descent._given import Given

_FEW, _SOME = 256, 4096
"""Images that are looked at first: what does not fit them does not fit all."""


def single_operator(pairs: Given, side: int, is_right: Callable[[Net], bool]) -> Net | None:
    """Return the erosion, dilation or hit-or-miss that has no pixel wrong, by intersections.

    Args:
        pairs: Images of one channel and one size; of others nothing is read off.
        side: Side of the window.
        is_right: Whether a network has no pixel wrong on all pairs, counted in words.

    Returns:
        The network, or None where no operator of these kinds fits.
    """
    if not isinstance(pairs.images, np.ndarray) or pairs.images.shape[-1] > 1:
        return None
    # Most data fit no single operator, and some images are enough to see it. Where one fits, some
    # thousand images nearly always determine it.
    whole = len(pairs.images)
    for count in sorted({min(_FEW, whole), min(_SOME, whole), whole}):
        images, targets, masks = (each[:count] for each in pairs)
        operators = single_operators(images[..., 0], targets, kernel_size=side, masks=masks)
        if not operators or operators[0].wrong > 0:
            return None
        net = _net_of(operators[0])
        if count == whole or (count > _FEW and is_right(net)):
            return net
    return None


def _net_of(operator: SingleOperator) -> Net:
    """Return the network of bits of a single operator."""
    if operator.kind == "dilation":  # the complement of an intersection of complements
        window = np.flip(operator.hit).reshape(1, 1, -1)
        return Net(np.array([[1]]), window, not operator.complement)
    if operator.kind == "erosion":
        return Net(np.array([[0]]), operator.hit.reshape(1, 1, -1), operator.complement)
    windows = np.stack([operator.hit.ravel(), operator.miss.ravel()])[None]
    return Net(np.array([[0, 1]]), windows, operator.complement)
