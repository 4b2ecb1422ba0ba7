"""Stages of `morphax.recipes.descent.chains`: which networks are tried, simple ones first.

Each stage takes what the search knows (`Search`) and yields networks, each with the name of its
form, that are worth being judged on all pairs. Descents run on one block of words, some 100 images
of 50 x 50; noise does not mislead them, since a change that is right wins on more pixels than it
loses. What they end in is kept in `Search.pool`, from which later stages start.
"""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from morphax.recipes.descent import _forms
from morphax.recipes.descent._bit_errors import Block, output
from morphax.recipes.descent._blocks import patterns, unpacked
from morphax.recipes.descent._descent import (
    LITERALS,
    NEURONS,
    Net,
    Problem,
    descend,
    is_whole,
    losses,
    tape_of,
)

_PRECISION = 3.0
"""How much a false positive of one map of a union costs: it is to find its part and nothing
else."""
_LEAST_GAIN = 0.003
"""What a map must add to a union, as a share of what the first one adds."""
_SEEDS = 6
"""Pixels of the targets from whose windows hit-or-misses are grown."""


class Search(NamedTuple):
    """Hold what a search knows.

    Attributes:
        problem: one block of training pairs.
        rng: draws starts.
        depth: layers of a chain at most.
        deadline: `time.perf_counter()` at which to stop.
        pool: (loss on `problem`, network) of the chains found so far; stages add to it.
    """

    problem: Problem
    rng: np.random.Generator
    depth: int
    deadline: float
    pool: list[tuple[float, Net]]

    @property
    def inputs(self) -> int:
        """Channels of the images."""
        return self.problem.pairs.geometry.inputs

    @property
    def book(self) -> list[np.ndarray]:
        """Textbook elements of the windows."""
        geometry = self.problem.pairs.geometry
        return _forms.textbook(geometry.side, axes=geometry.axes)


Proposals = Iterator[tuple[str, Net]]


def descents(
    search: Search, starts: Sequence[Net], keep: int, *, problem: Problem | None = None
) -> list[tuple[float, Net]]:
    """Descend from the best of some starts.

    Args:
        search: the search.
        starts: networks.
        keep: how many of them; of those with the same loss only one.
        problem: other pairs than the search's.

    Returns:
        (loss, network), the best first; none after one without a wrong pixel.
    """
    problem = search.problem if problem is None else problem
    starts = [_forms.tidied(net, search.inputs) for net in starts if is_whole(net)]
    if not starts:
        return []
    # Starts of one loss are mostly the same network in other words: keep one of each, best first.
    _, first = np.unique(losses(problem, starts), return_index=True)
    found = []
    for k in first[:keep]:
        net, value = descend(problem, starts[k], deadline=search.deadline)
        found.append((value, net))
        if value == 0 or time.perf_counter() > search.deadline:
            break
    return sorted(found, key=lambda one: one[0])


def single_layers(search: Search) -> Proposals:
    """Try one erosion, dilation or hit-or-miss, or its complement."""
    found = descents(search, _forms.read_off(search.problem), 3)
    search.pool.extend(found)
    for _, net in found[:1]:
        yield "single layer", net


def two_layers(search: Search) -> Proposals:
    """Try two layers, such as openings, from textbook elements, then from random ones."""
    if search.depth < 2:
        return
    book, geometry = search.book, search.problem.pairs.geometry
    side, axes = geometry.side, geometry.axes
    drawn = [_forms.random_element(search.rng, side, axes=axes) for _ in range(16)]
    # Textbook elements are the likely answer; random ones only start elsewhere.
    for elements, keep, name in ((book, 4, "two layers"), (drawn, 6, "two layers, random start")):
        found = descents(search, _forms.openings_and_closings(elements, search.inputs), keep)
        search.pool.extend(found)
        for _, net in found[:1]:
            yield name, net


def beside_the_input(search: Search) -> Proposals:
    """Try the input and what another network changes in it: top-hats, boundaries, gradients.

    One network is learned on the pixels where the input is set, another on those where it is not;
    both are known to be easier than the whole. They are put together in the ways that morphology
    knows.
    """
    book = search.book
    for channel in range(search.inputs):
        found = []
        for sign in (0, 1):
            problem = masked(search.problem, channel, sign)
            if problem.pairs.pixels[0] == 0:
                continue
            # Learn the target where the input is set (sign 0) or is not set (sign 1).
            some = descents(search, _forms.read_off(problem), 2, problem=problem)
            if search.depth > 1:
                starts = _forms.openings_and_closings(book, search.inputs)
                some += descents(search, starts, 2, problem=problem)
            if some:
                found.append(min(some, key=lambda one: one[0])[1])
        # An input that has one value everywhere leaves nothing to put together.
        if len(found) < 2:
            continue
        starts = _with_input(found[0], found[1], 2 * channel, search.inputs)
        for value, net in descents(search, starts, 2)[:1]:
            yield "beside the input", without_maps(search, _forms.tidied(net, search.inputs), value)


def _with_input(where_set: Net, elsewhere: Net, literal: int, inputs: int) -> list[Net]:
    """Return combinations of an input x with networks where it is set, a, and is not, b."""
    a, b, both = where_set, elsewhere, [where_set, elsewhere]
    not_a, not_b = _forms.complement_of(a), _forms.complement_of(b)

    def intersection(nets: list[Net], *literals: int, negated: bool = False) -> Net:
        return _forms.intersection(nets, inputs, literals=literals, negated=negated)

    # The multiplexer as a union: the complement of an intersection of complements.
    mux = [intersection([a], literal), intersection([b], literal + 1)]
    mux = [_forms.complement_of(net) for net in mux]
    found = [
        intersection([a], literal),  # x and a
        intersection([not_a], literal, negated=True),  # not x, or a
        intersection([b], literal + 1),  # b, not x
        intersection([not_b], literal + 1, negated=True),  # x or b
        intersection(both),
        intersection([not_a, not_b], negated=True),
        intersection(mux, negated=True),  # x and a, or not x and b
    ]
    return [net for net in found if len(net.source) <= NEURONS]


def deeper_chains(search: Search) -> Proposals:
    """Try deeper chains: the best ones with an opening, a closing or one layer more."""
    book = search.book
    pool = sorted(search.pool, key=lambda one: one[0])[:3]
    while pool:
        starts = [
            net
            for _, shorter in pool
            for layers in (1, 2)
            if len(shorter.source) + layers <= search.depth
            for net in _forms.deeper(shorter, search.inputs, book, layers)
        ]
        found = descents(search, starts, 5)
        # Growing ends when more layers no longer help.
        if not found or found[0][0] >= pool[0][0]:
            return
        yield "deeper chain", found[0][1]
        search.pool.extend(found)
        pool = found[:3]


def unions(search: Search) -> Proposals:
    """Try a union of hit-or-misses, erosions or openings, or an intersection, map by map."""
    for complement in (False, True):
        nets = _maps(search, complement)
        if not nets:
            continue
        net = _forms.union(nets, search.inputs) if len(nets) > 1 else nets[0]
        net = _forms.complement_of(net) if complement else net
        net, value = descend(search.problem, net, deadline=search.deadline)
        yield (
            "union of maps" if not complement else "intersection of maps",
            without_maps(search, net, value),
        )


def _maps(search: Search, complement: bool) -> list[Net]:
    """Find maps that cover the targets, or their complements, those that add most first."""
    block, geometry = search.problem.pairs.blocks[0], search.problem.pairs.geometry
    if complement:
        block = block._replace(y=~block.y & block.inside)
    book = _forms.openings_and_closings(search.book, search.inputs)
    nets: list[Net] = []
    least = 10.0  # pixels
    while time.perf_counter() < search.deadline:
        problem = only(search.problem, block)._replace(loss=_precise)
        # A map may be a hit-or-miss, an opening or closing, or grown from a pixel of the targets.
        starts = _forms.read_off(problem)
        found = descents(search, starts, 2, problem=problem)
        if search.depth > 1:
            found += descents(search, book, 3, problem=problem)
        found += grown(search, problem)
        # Where the maps cover every pixel, nothing is left to start from.
        if not found:
            break
        # A map that finds nothing leaves all positives out.
        pixels, positives = problem.pairs.pixels[0], problem.pairs.positives[0]
        value, net = min(found, key=lambda one: one[0])
        net = _forms.tidied(net, search.inputs)
        neurons = sum(len(other.source) for other in [*nets, net]) + 1
        slots = len(nets) + 1
        # The last neuron must hold a slot for every map.
        full = neurons > NEURONS or slots * geometry.pixels > LITERALS
        gain = positives - value * pixels
        if gain < least or full:
            break
        nets.append(net)
        # Later maps must gain a share of what the first one gained.
        least = max(least, _LEAST_GAIN * gain)
        space = {"origin": geometry.origin, "stride": geometry.stride}
        block = block._replace(
            counts=block.counts & ~output(block, tape_of(net, geometry), **space)
        )
    return nets


def _precise(fp: np.ndarray, fn: np.ndarray, pixels: int, positives: int) -> np.ndarray:
    return (_PRECISION * fp + fn) / max(pixels, 1)


def grown(search: Search, problem: Problem) -> list[tuple[float, Net]]:
    """Grow hit-or-misses that fit the window of some pixel of the targets, from its centre."""
    block, geometry = problem.pairs.blocks[0], problem.pairs.geometry
    x = np.stack([unpacked(plane, geometry) for plane in block.x], 1)
    inside = unpacked(block.inside, geometry)[:, None]
    counts, positive = (unpacked(w, geometry) for w in (block.counts, block.y & block.counts))
    where = np.argwhere(positive)
    if not len(where):
        return []
    # Pixels whose pattern is often positive: with few targets and many flips, others are flips.
    code = patterns(x[:, 0])
    rate = np.bincount(code[positive], minlength=512) / np.maximum(
        np.bincount(code[counts], minlength=512), 1
    )
    weight = rate[code[positive]] ** 2
    seeds = search.rng.choice(
        len(where), min(_SEEDS, len(where)), replace=False, p=weight / weight.sum()
    )
    edge, side, pixels, found = geometry.side // 2, geometry.side, geometry.pixels, []
    for image, *place in where[seeds]:
        literals = []
        # Literals that hold at the seed: set pixels, then pixels inside that are not set.
        for words in (x[image] & inside[image], ~x[image] & inside[image]):
            padded = np.pad(words, [(0, 0), *[(edge, edge)] * geometry.axes])
            window = tuple(slice(at, at + side) for at in place)
            literals.append(padded[(slice(None), *window)])
        allowed = np.stack(literals, 1).reshape(1, -1, pixels)
        # Begin with the literal of the centre, and add only literals that hold at the seed.
        start = np.zeros_like(allowed)
        start[0, :, pixels // 2] = allowed[0, :, pixels // 2]
        net = Net(np.arange(2 * geometry.inputs)[None], start, False)
        net, value = descend(problem, net, allowed=allowed, lean=True, deadline=search.deadline)
        found.append((value, net))
    return found


def without_maps(search: Search, net: Net, value: float) -> Net:
    """Leave out what the last neuron reads and does not need."""
    slot = 0
    while slot < int((net.source[-1] >= 0).sum()) > 1:
        sets = net.sets.copy()
        # Empty one slot of the last neuron, descend, and keep that if the loss does not grow.
        sets[-1, slot] = False
        fewer = _forms.tidied(net._replace(sets=sets), search.inputs)
        if not is_whole(fewer):  # nothing is left that looks at anything
            slot += 1
            continue
        fewer, new = descend(search.problem, fewer, deadline=search.deadline)
        net, value, slot = (fewer, new, 0) if new <= value else (net, value, slot + 1)
    return net


def perturbed(search: Search, net: Net, count: int) -> list[tuple[float, Net]]:
    """Descend from a network changed at random: `count` times its form, as often some pixels."""
    found = []
    for _ in range(count):
        form = _forms.restructured(net, search.inputs, search.rng)
        if is_whole(form):
            changed, value = descend(search.problem, form, deadline=search.deadline)
            found.append((value, changed))
    for _ in range(count):
        sets = net.sets.copy()
        live = np.argwhere(net.source >= 0)
        for i, s in search.rng.permutation(live)[: 1 + search.rng.integers(len(live))]:
            pixels = search.rng.choice(sets.shape[-1], 1 + search.rng.integers(4), replace=False)
            sets[i, s, pixels] ^= True
        start = net._replace(sets=sets)
        if is_whole(start):
            changed, value = descend(search.problem, start, deadline=search.deadline)
            found.append((value, changed))
    return sorted(found, key=lambda one: one[0])


def masked(problem: Problem, channel: int, complemented: int) -> Problem:
    """Return the problem on the pixels where an input, or its complement, is set."""
    block = problem.pairs.blocks[0]
    x = ~block.x[channel] if complemented else block.x[channel]
    return only(problem, block._replace(counts=block.counts & x))


def only(problem: Problem, block: Block) -> Problem:
    """Return the problem of one block."""
    count = jax.lax.population_count
    pixels = np.array([int(count(block.counts).sum())])
    positives = np.array([int(count(block.counts & block.y).sum())])
    pairs = problem.pairs._replace(blocks=(block,), pixels=pixels, positives=positives)
    return problem._replace(pairs=pairs, blocks=(0,))


STAGES = (single_layers, two_layers, beside_the_input, deeper_chains, unions)
"""In the order in which they are tried."""
