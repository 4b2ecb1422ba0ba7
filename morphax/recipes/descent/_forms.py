"""Make networks of bits from smaller ones: chains, intersections, unions, chains with more layers.

Everything here returns a `Net` (`morphax.recipes.descent._descent`): where descents start, and what
is put together of their results. Structuring elements are textbook sets; in a `Net` those of
dilations are reflected.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np

from morphax.morphology import elements
from morphax.recipes.descent._blocks import Geometry
from morphax.recipes.descent._descent import NEURONS, Net, Problem, count_neighbours

_SOLIDS = (elements.ball, elements.octahedron, elements.cube)


def textbook(side: int, *, axes: int = 2) -> list[np.ndarray]:
    """Return the point and the textbook elements of a window, bool `(side, side)` or of 3 axes."""
    found: dict[bytes, np.ndarray] = {}
    for size in range(1, side + 1, 2):
        if axes == 2:
            windows = [elements.named(name, size) for name in elements.NAMES]
        else:
            windows = [shape(size) for shape in _SOLIDS]
            windows += [elements.line(size, direction) for direction in np.eye(3).tolist()]
        for window in windows:
            window = np.pad(window, [((side - n) // 2,) * 2 for n in window.shape])
            # Small elements of different names are often the same set.
            found.setdefault(window.tobytes(), window)
    return list(found.values())


def random_element(rng: np.random.Generator, side: int, *, axes: int = 2) -> np.ndarray:
    """Return a random set with the centre in it, sparse or dense, bool `(side, side)` or so."""
    window = rng.random((side,) * axes) < rng.uniform(0.05, 0.4)
    window[(side // 2,) * axes] = True
    return window


def chain(
    operations: str,
    windows: Sequence[np.ndarray],
    *,
    complement: bool = False,
    inputs: int = 1,
    channel: int = 0,
) -> Net:
    """Return a chain of erosions ("e") and dilations ("d").

    Args:
        operations: of each layer, first to last; an opening is "ed" by the same set twice.
        windows: their structuring elements, bool `(side, side)`.
        complement: whether the output is complemented.
        inputs: channels of the images.
        channel: the one that is read.
    """
    # A dilation is the complement of an intersection of complements; two complements in a row
    # cancel.
    source, sets, complemented = [], [], False
    for layer, (operation, window) in enumerate(zip(operations, windows, strict=True)):
        dilates = operation == "d"
        plane = channel if layer == 0 else inputs + layer - 1
        source.append([2 * plane + (complemented ^ dilates)])
        sets.append((np.flip(window) if dilates else window).reshape(1, -1))
        complemented = dilates
    return Net(np.array(source, int), np.stack(sets), bool(complemented ^ complement))


def openings_and_closings(windows: Sequence[np.ndarray], inputs: int) -> list[Net]:
    """Return chains of two layers by each of some sets: all orders, channels, complements."""
    return [
        chain("".join(order), (window, window), complement=flag, inputs=inputs, channel=channel)
        for order in product("ed", repeat=2)
        for flag in (False, True)
        for window in windows
        for channel in range(inputs)
    ]


def read_off(problem: Problem, *, most: int = 24) -> list[Net]:
    """Return erosions, dilations, hit-or-misses and their complements that are read off the pairs.

    One of them is the intersection of all the literals that its targets never violate, if any fits
    (`morphax.data.possible`). Under noise it is the intersection of those that they violate rarely:
    literals are taken in the order of how often they are violated, up to `most` different shares.
    """
    geometry = problem.pairs.geometry
    inputs, pixels = geometry.inputs, geometry.pixels
    source, found = np.arange(2 * inputs)[None], []
    for negated in (False, True):
        violated, excluded = _violations(problem, source, negated)
        for signs in ([0], [1], [0, 1]):  # erosions, dilations of complements, hit-or-misses
            kind = np.isin(source[0] % 2, signs)[:, None] & (excluded > 0)
            # Each level of violations is one network: all literals violated at most so often.
            levels = np.unique(violated[kind])
            if len(levels) > most:
                levels = levels[np.linspace(0, len(levels) - 1, most).astype(int)]
            for level in levels:
                sets = (violated <= level) & kind
                found.append(Net(source, sets.reshape(1, -1, pixels), negated))
    return found


def _violations(
    problem: Problem, source: np.ndarray, negated: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Count violations of literals where the target (or its complement) is set, and elsewhere."""
    pixels = problem.pairs.geometry.pixels
    nothing = Net(source, np.zeros((1, source.size, pixels), bool), negated)
    moves = np.full((source.size * pixels, 4, 3), -1)
    moves[:, 0, 0] = 0
    moves[:, 0, 1], moves[:, 0, 2] = np.divmod(np.arange(len(moves)), pixels)
    # The empty intersection is set everywhere; with one literal it is not where that is violated.
    counts = count_neighbours(problem, nothing, moves)
    lost, gained = counts[1:, 1] - counts[0, 1], counts[0, 0] - counts[1:, 0]
    if negated:
        lost, gained = counts[1:, 0] - counts[0, 0], counts[0, 1] - counts[1:, 1]
    shape = (source.size, pixels)
    return lost.reshape(shape), gained.reshape(shape)


def tidied(net: Net, inputs: int) -> Net:
    """Return the network without slots that look at nothing and neurons that nothing reads."""
    neurons = len(net.source)
    # A slot that looks at nothing always holds, so it can go.
    live = (net.source >= 0) & net.sets.any(-1)
    used = {neurons - 1}
    for i in range(neurons - 1, -1, -1):
        if i in used:
            used |= {int(s) // 2 - inputs for s in net.source[i][live[i]] if s >= 2 * inputs}
    # Renumber the planes of the neurons that stay, plain and complemented.
    kept = sorted(used)
    place = np.arange(2 * (inputs + neurons))
    for new, old in enumerate(kept):
        place[2 * (inputs + old) :][:2] = 2 * (inputs + new) + np.arange(2)
    source = np.where(live, place[np.maximum(net.source, 0)], -1)[kept]
    # Slots in use come first.
    order = np.argsort(~live[kept], axis=1, kind="stable")[
        :, : max(1, int(live[kept].sum(1).max()))
    ]
    sets = (net.sets & live[..., None])[kept]
    return Net(
        np.take_along_axis(source, order, 1),
        np.take_along_axis(sets, order[..., None], 1),
        net.negated,
    )


def reach_of(net: Net, geometry: Geometry) -> int:
    """Return how far from a pixel a network looks, along any axis."""
    side, inputs = geometry.side, geometry.inputs
    far = np.abs(np.indices((side,) * geometry.axes) - side // 2).max(0).ravel()
    reach = [0] * inputs
    for source, sets in zip(net.source, net.sets, strict=True):
        seen = [reach[s // 2] + far[w].max() for s, w in zip(source, sets, strict=True) if w.any()]
        # A neuron looks as far as what it reads, and a window further.
        reach.append(int(max(seen, default=0)))
    return reach[-1]


def complement_of(net: Net) -> Net:
    """Return the complement of a network."""
    return net._replace(negated=not net.negated)


def _points(count: int, pixels: int) -> np.ndarray:
    window = np.zeros((count, pixels), bool)
    window[:, pixels // 2] = True
    return window


def intersection(
    nets: Sequence[Net], inputs: int, *, literals: Sequence[int] = (), negated: bool = False
) -> Net:
    """Return the intersection of networks and of input literals (2 * channel + 1 if complemented).

    What the last neuron of a network intersects, the new last neuron does itself.
    """
    sources, sets, slots = _joined(nets, inputs, absorbed=False)
    point = _points(1, nets[0].sets.shape[-1])[0]
    return _stacked(sources, sets, [*((literal, point) for literal in literals), *slots], negated)


def union(nets: Sequence[Net], inputs: int) -> Net:
    """Return the union of networks; where one ends with a dilation, the new last neuron does it."""
    sources, sets, slots = _joined(nets, inputs, absorbed=True)
    # The complement of the intersection of what the networks leave out.
    return _stacked(sources, sets, slots, True)


def _joined(
    nets: Sequence[Net], inputs: int, *, absorbed: bool
) -> tuple[list[np.ndarray], list[np.ndarray], list[tuple[int, np.ndarray]]]:
    """Return the neurons of several networks, and the slots of a neuron that reads them.

    A network whose output is complemented as `absorbed` says gives the slots of its last neuron; of
    others the output is read, complemented for a union.
    """
    sources: list[np.ndarray] = []
    sets: list[np.ndarray] = []
    slots: list[tuple[int, np.ndarray]] = []
    for net in nets:
        moved = np.where(net.source >= 2 * inputs, net.source + 2 * len(sources), net.source)
        kept = len(net.source) - (net.negated == absorbed)
        sources += list(moved[:kept])
        sets += list(net.sets[:kept])
        if net.negated == absorbed:
            slots += [(s, w) for s, w in zip(moved[-1], net.sets[-1], strict=True) if s >= 0]
        else:
            output = 2 * (inputs + len(sources) - 1) + (net.negated ^ absorbed)
            slots.append((output, _points(1, net.sets.shape[-1])[0]))
    return sources, sets, slots


def _stacked(
    sources: list[np.ndarray],
    sets: list[np.ndarray],
    slots: list[tuple[int, np.ndarray]],
    negated: bool,
) -> Net:
    """Return neurons with different numbers of slots and a last one as one network."""
    last: dict[int, np.ndarray] = {}
    for source, window in slots:  # literals of one plane share a slot
        last[int(source)] = last.get(int(source), False) | window
    sources = [*sources, np.array(list(last))]
    sets = [*sets, np.stack(list(last.values()))]
    width = max(len(source) for source in sources)
    source = np.full((len(sources), width), -1)
    windows = np.zeros((len(sources), width, sets[-1].shape[-1]), bool)
    for i, (where, window) in enumerate(zip(sources, sets, strict=True)):
        source[i, : len(where)], windows[i, : len(where)] = where, window
    return Net(source, windows, negated)


def deeper(net: Net, inputs: int, windows: Sequence[np.ndarray], layers: int) -> list[Net]:
    """Return a chain with more layers, at each place, by each of some sets.

    Args:
        net: a chain; other networks have no deeper ones.
        inputs: channels of the images.
        windows: bool `(side, side)`.
        layers: 1: an erosion or a dilation; 2: an opening or a closing.
    """
    neurons, slots, _ = net.sets.shape
    if slots > 1 or neurons + layers > NEURONS:
        return []
    signs, found = net.source[:, 0] % 2, []
    planes = inputs + np.arange(neurons + layers) - 1
    planes[0] = net.source[0, 0] // 2
    for place, sign, window in product(range(neurons + 1), (0, 1), windows):
        new = np.concatenate([signs[:place], [sign, 1][:layers], signs[place:]])
        negated = net.negated
        # The new layers complement what they read or do not; what reads them makes up for it.
        if (sign + layers - 1) % 2:
            if place < neurons:
                new[place + layers] ^= 1
            else:
                negated = not negated
        reflected = np.flip(window)
        pair = (reflected, window) if sign else (window, reflected)
        sets = np.stack([part.reshape(1, -1) for part in pair[:layers]])
        sets = np.concatenate([net.sets[:place], sets, net.sets[place:]])
        found.append(Net((2 * planes + new)[:, None], sets, negated))
    return found


def restructured(net: Net, inputs: int, rng: np.random.Generator) -> Net:
    """Return the network after one random change of its form.

    The change is one of: an erosion becomes a dilation or the other way round; a slot reads the
    complement; a slot is left out; a slot is added, which reads an input or an earlier neuron at
    the centre.
    """
    source, sets, negated = net.source.copy(), net.sets.copy(), net.negated
    i = int(rng.integers(len(source)))
    slots, plane = np.flatnonzero(source[i] >= 0), inputs + i
    slot = int(rng.choice(slots))
    kind = rng.choice(["operation", "complement", "drop", "add"])
    if kind == "operation":
        # The intersection of the complements; what reads it reads its complement.
        source[i, slots] ^= 1
        source[source // 2 == plane] ^= 1
        negated ^= i == len(source) - 1
    elif kind == "complement":
        source[i, slot] ^= 1
    elif kind == "drop" and len(slots) > 1:
        source[i, slot], sets[i, slot] = -1, False
    elif kind == "add":
        free = np.setdiff1d(np.arange(2 * plane), source[i])
        wider = np.pad(source, ((0, 0), (0, 1)), constant_values=-1)
        more = np.pad(sets, ((0, 0), (0, 1), (0, 0)))
        if len(free):
            wider[i, -1], more[i, -1, sets.shape[-1] // 2] = rng.choice(free), True
        source, sets = wider, more
    return tidied(Net(source, sets, bool(negated)), inputs)
