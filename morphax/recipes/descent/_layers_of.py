"""Write a network of bits (`morphax.recipes.descent._descent.Net`) as the layers of a BiMoNN.

Each neuron becomes one output of a BiSEL: one erosion or dilation a slot, and their intersection or
union. A neuron that only reads complements is a dilation, or a union of dilations. What a later
layer reads is carried there by an erosion with a point; a neuron that reads one plane twice, such
as a hit-or-miss, gets a layer of its own for its two windows.
"""

from typing import Any

import numpy as np

from morphax.neurons.nodes import BinaryBiSE, Spec
from morphax.recipes.descent._descent import Net

_Slot = tuple[int, bool, np.ndarray]  # plane, complemented, window


def layers_of(net: Net, inputs: int, *, axes: int = 2) -> list[dict[str, Any]]:
    """Return the binary layers of a network; `morphax.models.bimonn` runs them.

    Args:
        net: without slots that look at nothing.
        inputs: channels of the images.
        axes: number of axes of the windows, whose sides are equal.

    Returns:
        One dict a layer, of `BinaryBiSE` banks "bise" and, where it reads several maps, "lui".
    """
    neurons, last = _without_repeated_planes(net, inputs)
    level = [0] * inputs
    for slots in neurons:
        level.append(1 + max(level[plane] for plane, _, _ in slots))
    complemented = [False] * inputs
    for plane, slots in enumerate(neurons, start=inputs):
        only = all(sign ^ complemented[source] for source, sign, _ in slots)
        complemented.append(net.negated if plane == last else only)
    window = (round(net.sets.shape[-1] ** (1 / axes)),) * axes
    # What each layer passes on: its own neurons, and planes that are read further on.
    needed_until = dict.fromkeys(range(len(level)), 0)
    for plane, slots in enumerate(neurons, start=inputs):
        for source, _, _ in slots:
            needed_until[source] = max(needed_until[source], level[plane] - 1)
    planes, layers = list(range(inputs)), []
    for depth in range(1, level[last] + 1):
        outputs = (
            [last]
            if depth == level[last]
            else [p for p, lv in enumerate(level) if lv == depth or (lv < depth <= needed_until[p])]
        )
        layers.append(_layer(planes, outputs, neurons, complemented, inputs, depth, level, window))
        planes = outputs
    return layers


def _without_repeated_planes(net: Net, inputs: int) -> tuple[list[list[_Slot]], int]:
    """Return the slots of each neuron; where it reads a plane twice, each gets a neuron."""
    neurons: list[list[_Slot]] = []
    place = list(range(inputs))  # plane of the network -> plane here
    point = np.zeros(net.sets.shape[-1], bool)
    point[len(point) // 2] = True
    for source, sets in zip(net.source, net.sets, strict=True):
        slots = [
            (place[s // 2], bool(s % 2), w) for s, w in zip(source, sets, strict=True) if s >= 0
        ]
        if len({plane for plane, _, _ in slots}) < len(slots):
            first = inputs + len(neurons)
            neurons += [[slot] for slot in slots]
            slots = [(first + k, False, point) for k in range(len(slots))]
        neurons.append(slots)
        place.append(inputs + len(neurons) - 1)
    return neurons, inputs + len(neurons) - 1


def _layer(
    planes: list[int],
    outputs: list[int],
    neurons: list[list[_Slot]],
    complemented: list[bool],
    inputs: int,
    depth: int,
    level: list[int],
    window: tuple[int, ...],
) -> dict[str, Any]:
    """Return one BiSEL from `planes` to `outputs`."""
    shape = (len(planes), len(outputs))
    selem = np.zeros((*window, *shape), bool)
    selem[tuple(side // 2 for side in window)] = True  # what is not used looks at the centre
    erosion, complement = np.ones(shape, bool), np.zeros(shape, bool)
    used = np.zeros(shape, bool)
    lui_erosion, lui_complement = np.ones(len(outputs), bool), np.zeros(len(outputs), bool)
    for o, plane in enumerate(outputs):
        if level[plane] < depth:  # carried
            used[planes.index(plane), o] = True
            continue
        slots, negated = neurons[plane - inputs], complemented[plane]
        signs = [sign ^ complemented[source] for source, sign, _ in slots]
        # A union of the complements of the literals, where that saves complements.
        dual = negated and (all(signs) or len(slots) == 1)
        for (source, _, pixels), sign in zip(slots, signs, strict=True):
            c = planes.index(source)
            used[c, o] = True
            selem[..., c, o] = pixels.reshape(window)
            erosion[c, o], complement[c, o] = not sign, sign ^ dual
        lui_erosion[o], lui_complement[o] = not dual, negated and not dual
    layer = {"bise": BinaryBiSE(selem, erosion, complement, _spec("spatial"))}
    if len(planes) > 1:
        lui_erosion |= used.sum(0) == 1  # of one map: as it is
        layer["lui"] = BinaryBiSE(used, lui_erosion, lui_complement, _spec("lui"))
    return layer


def _spec(role: str) -> Spec:
    return Spec(role, "identity", "centred")
