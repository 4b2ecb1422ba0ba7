"""Read the binary layers of a BiMoNN as a network of bits; the inverse of `_layers_of`.

A `Net` has intersections of literals only, so a dilation is the complement of an intersection of
complements, and what reads it reads the complement of that neuron.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from morphax.recipes.descent._descent import LITERALS, NEURONS, Net
from morphax.recipes.descent._forms import tidied


class _Value(NamedTuple):
    """Hold a plane of the network, read as it is or as its complement."""

    plane: int
    complemented: bool


_Part = tuple[_Value, np.ndarray]  # a value, and the window through which it is seen


def net_of(layers: Sequence[dict[str, Any]]) -> Net | None:
    """Return the network of bits that computes what binary layers compute.

    Args:
        layers: of a BiMoNN with one output: "bise" banks of one window of equal sides and border
            "ignore", and "lui" banks behind those that read several maps.

    Returns:
        The network, or None where it does not fit into the space of a descent: too many neurons or
        literals, a neuron that looks at nothing, another border, or windows of several sizes.
    """
    banks = [layer["bise"] for layer in layers]
    *sides, inputs, _ = banks[0].selem.shape
    fits = len(set(sides)) == 1 and all(list(bank.selem.shape[:-2]) == sides for bank in banks)
    fits = fits and all(bank.spec.border == "ignore" for bank in banks)
    fits = fits and all(
        np.asarray(bank.selem).any(tuple(range(len(sides)))).all() for bank in banks
    )
    luis = [layer["lui"] for layer in layers if "lui" in layer]
    fits = fits and all(np.asarray(lui.selem).any(0).all() for lui in luis)
    if not fits or banks[-1].selem.shape[-1] != 1:
        return None
    neurons: list[dict[int, np.ndarray]] = []  # window of each source
    point = np.zeros(int(np.prod(sides)), bool)
    point[len(point) // 2] = True

    def neuron(parts: list[_Part], erosion: bool, complement: bool) -> _Value:
        """Add an erosion or intersection, or a dilation or union, of some values."""
        slots: dict[int, np.ndarray] = {}
        for value, window in parts:
            source = 2 * value.plane + (value.complemented == erosion)
            slots[source] = slots.get(source, False) | window
        neurons.append(slots)
        return _Value(inputs + len(neurons) - 1, erosion == complement)

    def seen(value: _Value, bank: Any, c: int, o: int) -> _Value:
        """Return a value through the window of channel c and output o."""
        window = np.asarray(bank.selem)[..., c, o].ravel()
        complement = bool(bank.complement[c, o])
        if (window == point).all():  # a copy needs no neuron
            return value._replace(complemented=value.complemented ^ complement)
        return neuron([(value, window)], bool(bank.erosion[c, o]), complement)

    values = [_Value(channel, False) for channel in range(inputs)]
    for layer in layers:
        bank, lui, outputs = layer["bise"], layer.get("lui"), []
        for o in range(bank.selem.shape[-1]):
            used = [0] if lui is None else np.flatnonzero(np.asarray(lui.selem)[:, o])
            parts = [(seen(values[c], bank, int(c), o), point) for c in used]
            if lui is None:
                outputs.append(parts[0][0])
            else:
                outputs.append(neuron(parts, bool(lui.erosion[o]), bool(lui.complement[o])))
        values = outputs
    if values[0].plane != inputs + len(neurons) - 1:  # the output is that of the last neuron
        values = [neuron([(values[0], point)], True, False)]
    width = max(len(slots) for slots in neurons)
    source = np.full((len(neurons), width), -1)
    sets = np.zeros((len(neurons), width, len(point)), bool)
    for i, slots in enumerate(neurons):
        source[i, : len(slots)], sets[i, : len(slots)] = list(slots), list(slots.values())
    net = tidied(Net(source, sets, values[0].complemented), inputs)
    is_small = len(net.source) <= NEURONS and int(net.sets.sum((1, 2)).max()) <= LITERALS
    return net if is_small else None
