"""Descent on the bits of a small network: the best of all its neighbours, again and again.

A `Net` is the readable form of the networks of `_bit_errors`: neurons in order, each the
intersection of the literals of its slots; a slot reads one earlier plane, plain or complemented,
through one window. A step counts the errors of all neighbours at once: one pixel of one window; the
same pixel of two neurons where one reads the other (reflected between an erosion and a dilation: an
opening never improves by a change of one layer alone); the same pixel in several layers of a chain.
Errors decide.

Source: lattice descent, Marcondes & Barrera, arXiv 2309.00588; paired moves are ours.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from morphax.recipes.descent._bit_errors import Flips, Tape, errors, neighbours
from morphax.recipes.descent._blocks import Geometry, Loss, Pairs, wrong

NEURONS, LITERALS = 10, 400
"""Most neurons of a network and most literals of a neuron: the space of the compiled programs."""
_MOVES = 1024
"""Neighbours that are counted in one call."""
_NETS = 16
"""Networks that are counted in one call."""
_TRIES = 12
"""Improving neighbours that are tried together in a step."""
_TINY = 1e-12
"""What a literal costs where networks are to be lean."""


class Net(NamedTuple):
    """Hold a network of bits with one output.

    Attributes:
        source: int `(N, S)`: 2 * plane + 1 if complemented; planes are the inputs, then the
            neurons; -1: no slot.
        sets: bool `(N, S, pixels of a window)`: the pixels that are looked at (a correlation).
        negated: whether the output is the complement of the last neuron.
    """

    source: np.ndarray
    sets: np.ndarray
    negated: bool


class Problem(NamedTuple):
    """Hold pairs and what is to be minimised on them.

    Attributes:
        pairs: in words.
        loss: of false positives and negatives.
        blocks: numbers of the blocks that are looked at.
    """

    pairs: Pairs
    loss: Loss = wrong
    blocks: Sequence[int] = (0,)

    def values(self, counts: np.ndarray) -> np.ndarray:
        """Return the losses of counts `(..., 2)`."""
        pixels, positives = (part[list(self.blocks)].sum() for part in self.pairs[2:])
        return self.loss(counts[..., 0], counts[..., 1], pixels, positives)


def empty_plane(geometry: Geometry) -> int:
    """Return the offset of the plane that is never set."""
    return 2 * (geometry.inputs + NEURONS) * geometry.stride


def offsets(net: Net, geometry: Geometry) -> np.ndarray:
    """Return the offset of every literal, int32 of the shape of `net.sets`."""
    places = np.indices((geometry.side,) * geometry.axes).reshape(geometry.axes, -1)
    at = np.array(geometry.pitches) @ places
    # A literal is a plane and a place in the window; a slot without a plane reads the empty one.
    found = net.source[..., None] * geometry.stride + at
    return np.where(net.source[..., None] >= 0, found, empty_plane(geometry)).astype(np.int32)


def tape_of(net: Net, geometry: Geometry) -> Tape:
    """Return the network as lists of offsets."""
    at = offsets(net, geometry)
    literals = np.full((NEURONS, LITERALS + 8), empty_plane(geometry), np.int32)
    lengths = np.zeros(NEURONS, np.int32)
    for i, chosen in enumerate(net.sets):
        found = at[i][chosen]
        literals[i, : len(found)], lengths[i] = found, len(found)
    readers, reached = np.zeros((NEURONS, NEURONS), np.int32), np.zeros(NEURONS, np.int32)
    reaches = _reaches(net, geometry.inputs)
    for i, row in enumerate(reaches):
        later = np.flatnonzero(row)
        readers[i, : len(later)], reached[i] = later, len(later)
    return Tape(literals, lengths, np.bool_(net.negated), np.int32(len(net.sets)), readers, reached)


def _reaches(net: Net, inputs: int) -> np.ndarray:
    """Return whether a change of one neuron reaches another one behind it, bool `(N, N)`."""
    neurons = len(net.source)
    reaches = np.zeros((neurons, neurons), bool)
    read = net.source // 2 - inputs  # negative: an input, or no slot
    for j in range(neurons):
        for i in read[j][read[j] >= 0]:
            reaches[i, j] = True
            # What reaches i reaches j through it; i comes before j, so its column is complete.
            reaches[:, j] |= reaches[:, i]
    return reaches


def count_errors(problem: Problem, nets: Sequence[Net]) -> np.ndarray:
    """Return false positives and negatives of some networks, int64 `(len(nets), 2)`."""
    geometry = problem.pairs.geometry
    space = {"origin": geometry.origin, "stride": geometry.stride}
    found = np.zeros((len(nets), 2), np.int64)
    for start in range(0, len(nets), _NETS):
        tapes = [tape_of(net, geometry) for net in nets[start : start + _NETS]]
        count = len(tapes)
        # Fill up to the one number of networks that the program is compiled for.
        full = tapes + tapes[:1] * (_NETS - count)
        stacked = Tape(*(np.stack(part) for part in zip(*full, strict=True)))
        parts = [
            errors(problem.pairs.blocks[b], stacked, np.int32(count), **space)
            for b in problem.blocks
        ]
        found[start : start + count] = np.sum(
            [np.asarray(p)[:count] for p in parts], axis=0, dtype=np.int64
        )
    return found


def losses(problem: Problem, nets: Sequence[Net]) -> np.ndarray:
    """Return the losses of some networks."""
    return problem.values(count_errors(problem, nets))


def count_neighbours(problem: Problem, net: Net, moves: np.ndarray) -> np.ndarray:
    """Return false positives and negatives of a network and of its neighbours, int64 `(1 + F, 2)`.

    Args:
        problem: the pairs.
        net: the network.
        moves: int `(F, 4, 3)`: up to four changes of a pixel (neuron, slot, pixel), earlier neurons
            first, of different neurons; -1: none.
    """
    geometry = problem.pairs.geometry
    space = {"origin": geometry.origin, "stride": geometry.stride}
    # Sort by the first neuron that changes, later ones first, as `neighbours` wants it.
    order = np.argsort(-moves[:, 0, 0], kind="stable")
    i, s, p = np.moveaxis(moves[order], -1, 0)
    inside, at = net.sets[i, s, p], offsets(net, geometry)[i, s, p]
    # The place of a literal in the list of its neuron; what is added goes to the end.
    flat = net.sets.reshape(len(net.sets), -1)
    place = np.where(flat, np.cumsum(flat, -1) - 1, flat.sum(-1, keepdims=True))
    place = place.reshape(net.sets.shape)[i, s, p]
    # `neighbours` restores its planes only where the first neuron is another one.
    another = np.concatenate([[True], i[1:, 0] != i[:-1, 0]])[:, None] & np.ones_like(i, bool)
    first = np.stack([i, at, inside, another], -1)[:, 0].astype(np.int32)
    others = np.stack(
        [np.where(i < 0, NEURONS, i), place, np.where(inside, empty_plane(geometry), at)], -1
    )[:, 1:].astype(np.int32)
    tape, found = tape_of(net, geometry), np.zeros((len(moves) + 1, 2), np.int64)
    for start in range(0, len(moves), _MOVES):
        part = slice(start, start + _MOVES)
        count = len(first[part])
        flips = Flips(
            np.zeros((_MOVES, 4), np.int32),
            np.full((_MOVES, 3, 3), NEURONS, np.int32),
            np.int32(count),
        )
        flips.first[:count], flips.others[:count] = first[part], others[part]
        parts = [neighbours(problem.pairs.blocks[b], tape, flips, **space) for b in problem.blocks]
        total = np.sum([np.asarray(part, np.int64) for part in parts], axis=0)
        found[0] = total[0]
        found[1 + order[part]] = total[1 : 1 + count]
    return found


def moves_of(net: Net, inputs: int) -> np.ndarray:
    """Return the neighbours of a network, int `(F, 4, 3)` as for `count_neighbours`."""
    neurons, _, pixels = net.sets.shape
    every = np.arange(pixels)
    live = net.source >= 0

    def together(*changes: tuple[Any, Any, np.ndarray]) -> np.ndarray:
        found = np.full((pixels, 4, 3), -1)
        for k, (i, s, p) in enumerate(sorted(changes, key=lambda change: change[0])):
            found[:, k] = np.stack([np.full(pixels, i), np.full(pixels, s), p], -1)
        return found

    def pixel(i: int, s: int, sign: Any) -> np.ndarray:
        return every if net.source[i, s] % 2 == sign else every[::-1]

    # One pixel of one window.
    found = [together((i, s, every)) for i, s in np.argwhere(live)]
    # The same pixel of a neuron and of one that reads it: openings and closings move like this.
    for j, t in np.argwhere(net.source >= 2 * inputs):
        i = net.source[j, t] // 2 - inputs
        for s in np.flatnonzero(live[i]):
            sign = net.source[i, s] % 2
            found.append(together((i, s, every), (j, t, pixel(j, t, sign))))
    # In a chain also two layers that are no neighbours, or three or four in a row.
    chain = (live.sum(1) == 1).all() and neurons > 2
    if chain:
        sign = net.source[0, 0] % 2
        layers = [(i, 0, pixel(i, 0, sign)) for i in range(neurons)]
        apart = [(a, b) for a in range(neurons) for b in range(a + 2, neurons)]
        runs = [range(a, a + n) for n in (3, 4) for a in range(neurons - n + 1)]
        found += [together(*(layers[i] for i in group)) for group in [*apart, *runs]]
    return np.concatenate(found)


def changed(net: Net, move: np.ndarray) -> Net:
    """Return the network with the changes of one move."""
    sets = net.sets.copy()
    for i, s, p in move[move[:, 0] >= 0]:
        sets[i, s, p] ^= True
    return net._replace(sets=sets)


def is_whole(net: Net) -> bool:
    """Return whether every neuron looks at something, and at no more than there is space for."""
    looked_at = net.sets.sum((1, 2))
    return bool(looked_at.min() > 0 and looked_at.max() <= LITERALS)


def descend(
    problem: Problem,
    net: Net,
    *,
    allowed: np.ndarray | None = None,
    lean: bool = False,
    steps: int = 80,
    deadline: float = np.inf,
) -> tuple[Net, float]:
    """Improve a network until none of its neighbours is better.

    Args:
        problem: what is to be minimised.
        net: the start.
        allowed: the literals that may be in, bool of the shape of `net.sets`.
        lean: whether, of two networks with the same errors, the one with fewer pixels is better.
        steps: at most.
        deadline: `time.perf_counter()` after which no step begins.

    Returns:
        The network and its loss.
    """
    value = float(losses(problem, [net])[0])
    for _ in range(steps):
        if time.perf_counter() > deadline or (value <= 0 and not lean):
            break
        moves = moves_of(net, problem.pairs.geometry.inputs)
        # Removals are always allowed, additions only of allowed literals.
        if allowed is not None:
            i, s, p = np.moveaxis(moves, -1, 0)
            moves = moves[(allowed[i, s, p] | net.sets[i, s, p] | (i < 0)).all(1)]
        values = problem.values(count_neighbours(problem, net, moves))[1:]
        inside = net.sets[tuple(np.moveaxis(moves, -1, 0))]
        # Where networks are to be lean, each pixel more costs a little: it decides between equals.
        grows = lean * _TINY * np.where(moves[..., 0] < 0, 0, 1 - 2 * inside).sum(1)
        order = np.argsort(values + grows, kind="stable")[: 4 * _TRIES]
        better = [k for k in order if values[k] + grows[k] < value]
        trials = [changed(net, moves[k]) for k in better]
        # No neuron may become empty or outgrow its space.
        better = [k for k, trial in zip(better, trials, strict=True) if is_whole(trial)][:_TRIES]
        if not better:
            break
        # The best one, or the best so many of them together.
        some = [net]
        for k in better:
            some.append(changed(some[-1], moves[k]))
        joint = losses(problem, some[1:]) + np.cumsum(grows[better])
        # Changes that are fine alone may not be so together.
        joint[[not is_whole(one) for one in some[1:]]] = np.inf
        best = int(joint.argmin())
        net, value = some[1 + best], float(joint[best] - grows[better[: best + 1]].sum())
    return net, value
