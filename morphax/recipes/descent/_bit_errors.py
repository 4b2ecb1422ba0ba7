"""Count the wrong pixels of a network of bits and of all its neighbours, in packed words.

A network is a list of neurons in order; each is the intersection of *literals*: pixels of a window
of an earlier plane (an input or a neuron), plain or complemented. A dilation is the complement of
an intersection of complements, so erosions, dilations, hit-or-misses, unions and intersections are
all made of it. Outside of the image every literal holds: an erosion sees 1 there and a dilation 0
(border "ignore").

Layout: a bit of a uint32 word is an image, `words` words are side by side at each pixel, and rows
are padded, so that a window pixel of a plane is one contiguous slice of a flat buffer. A literal is
thus only an offset into that buffer, and networks, windows and operations are data: one program
serves them all, for each shape of images.

Two planes a neuron, where no literal and where one literal only is violated, make the removal of a
literal as cheap as its addition; only the neurons behind it run again.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

_GROUP = 8
"""Literals that are read in one pass."""
_Carry = tuple[jax.Array, ...]


class Block(NamedTuple):
    """Hold some images in words; A is the number of words of a plane.

    Attributes:
        x: inputs, uint32 `(C, A)`.
        y: targets, `(A,)`.
        inside: the pixels of the images, `(A,)`.
        counts: the pixels on which errors count, `(A,)`.
    """

    x: jax.Array
    y: jax.Array
    inside: jax.Array
    counts: jax.Array


class Tape(NamedTuple):
    """Hold a network as offsets.

    Attributes:
        literals: int32 `(neurons, most literals)`; unused ones point to an empty plane.
        lengths: literals of each neuron, int32 `(neurons,)`.
        negated: whether the output is the complement of the last neuron.
        size: neurons in use, int32.
        readers: the later neurons that a change of each one reaches, in order, int32 `(neurons,
            neurons)`.
        reached: how many these are, int32 `(neurons,)`.
    """

    literals: Any
    lengths: Any
    negated: Any
    size: Any
    readers: Any
    reached: Any


class Flips(NamedTuple):
    """Hold F changes of a network, of a few literals each, those of later neurons first.

    Attributes:
        first: of the earliest neuron that changes: neuron, offset, whether it is in, and whether
            the change before was of another neuron, int32 `(F, 4)`.
        others: of later neurons: neuron, place in its list, new offset, int32 `(F, 3, 3)`; a neuron
            beyond the last one stands for no change.
        used: changes in use, int32.
    """

    first: Any
    others: Any
    used: Any


def _write(
    planes: jax.Array, violated: jax.Array, plane: Any, block: Block, origin: int, stride: int
) -> jax.Array:
    """Store where a plane and its complement are violated; nowhere outside of the images."""
    for negated, words in enumerate((violated, ~violated)):
        at = (2 * plane + negated) * stride + origin
        planes = lax.dynamic_update_slice(planes, words & block.inside, (at,))
    return planes


def _begin(block: Block, tape: Tape, origin: int, stride: int) -> jax.Array:
    """Return the buffer with the inputs in it; the last planes stay empty."""
    # Two planes each, plain and complemented, and two that stay empty for unused literals.
    count = len(block.x) + len(tape.literals)
    planes = jnp.zeros((2 * count + 2) * stride, jnp.uint32)
    for channel, words in enumerate(block.x):
        planes = _write(planes, ~words, channel, block, origin, stride)
    return planes


def _violated(planes: jax.Array, literals: jax.Array, length: jax.Array, size: int) -> jax.Array:
    """Return where a literal of the list is violated, words `(size,)`."""

    def step(k: jax.Array, found: jax.Array) -> jax.Array:
        for g in range(_GROUP):
            found |= lax.dynamic_slice(planes, (literals[k * _GROUP + g],), (size,))
        return found

    return lax.fori_loop(0, -(-length // _GROUP), step, jnp.zeros(size, jnp.uint32))


def _violated_once(
    planes: jax.Array, literals: jax.Array, length: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """Return where a literal of the list is violated, and where exactly one is."""

    def step(k: jax.Array, found: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        once, twice = found
        for g in range(_GROUP):
            words = lax.dynamic_slice(planes, (literals[k * _GROUP + g],), (size,))
            twice, once = twice | (once & words), once | words
        return once, twice

    zero = jnp.zeros(size, jnp.uint32)
    # Where exactly one literal is violated, the neuron holds once that one is removed.
    once, twice = lax.fori_loop(0, -(-length // _GROUP), step, (zero, zero))
    return once, once & ~twice


def _count(violated: jax.Array, negated: jax.Array, block: Block) -> jax.Array:
    """Count false positives and false negatives."""
    out = jnp.where(negated, violated, ~violated)
    wrong = (out ^ block.y) & block.counts
    return jnp.stack(
        [lax.population_count(wrong & part).sum(dtype=jnp.int32) for part in (out, ~out)]
    )


@partial(jax.jit, static_argnames=("origin", "stride"))
def neighbours(block: Block, tape: Tape, flips: Flips, *, origin: int, stride: int) -> jax.Array:
    """Return false positives and negatives of a network and its neighbours, `(1 + F, 2)`."""
    inputs, size = block.x.shape
    neurons = len(tape.literals)

    def base(i: jax.Array, carry: _Carry) -> _Carry:
        planes, violated, single = carry
        any_, one = _violated_once(planes, tape.literals[i], tape.lengths[i], size)
        planes = _write(planes, any_, inputs + i, block, origin, stride)
        return planes, violated.at[i].set(any_), single.at[i].set(one)

    empty = jnp.zeros((neurons, size), jnp.uint32)
    planes = _begin(block, tape, origin, stride)
    # Run the network once, and keep what single removals and additions need.
    planes, violated, single = lax.fori_loop(0, tape.size, base, (planes, empty, empty))
    counts = jnp.zeros((len(flips.first) + 1, 2), jnp.int32)
    counts = counts.at[0].set(_count(violated[tape.size - 1], tape.negated, block))

    # Later neurons first: the planes before the first neuron that changes are still those of the
    # network. Planes behind it that the change does not reach are put back when the first neuron is
    # another one.
    def neighbour(f: jax.Array, carry: _Carry) -> _Carry:
        planes, counts = carry
        i, offset, was, another = flips.first[f]

        def put_back(j: jax.Array, planes: jax.Array) -> jax.Array:
            return _write(planes, violated[j], inputs + j, block, origin, stride)

        planes = lax.fori_loop(i + 1, jnp.where(another > 0, tape.size, i + 1), put_back, planes)
        literal = lax.dynamic_slice(planes, (offset,), (size,))
        # The first neuron is not run again: one read of the literal gives both of its results.
        without, with_ = violated[i] & ~(single[i] & literal), violated[i] | literal
        changed = jnp.where(was > 0, without, with_)
        # Changes of later neurons are entered in a copy of their lists; 'drop' skips unused ones.
        places = flips.others[f]
        literals = tape.literals.at[places[:, 0], places[:, 1]].set(places[:, 2], mode="drop")
        planes = _write(planes, changed, inputs + i, block, origin, stride)

        def onward(k: jax.Array, carry: _Carry) -> _Carry:
            j = tape.readers[i, k]
            # One literal more than the neuron has: a change may have added one at its end.
            found = _violated(carry[0], literals[j], tape.lengths[j] + 1, size)
            return _write(carry[0], found, inputs + j, block, origin, stride), found

        planes, last = lax.fori_loop(0, tape.reached[i], onward, (planes, changed))
        return planes, counts.at[f + 1].set(_count(last, tape.negated, block))

    return lax.fori_loop(0, flips.used, neighbour, (planes, counts))[1]


def _run(
    planes: jax.Array, tape: Tape, block: Block, origin: int, stride: int
) -> tuple[jax.Array, jax.Array]:
    """Return the buffer after all neurons, and where the last one is violated."""
    inputs, size = block.x.shape

    def neuron(i: jax.Array, carry: _Carry) -> _Carry:
        found = _violated(carry[0], tape.literals[i], tape.lengths[i], size)
        return _write(carry[0], found, inputs + i, block, origin, stride), found

    return lax.fori_loop(0, tape.size, neuron, (planes, jnp.zeros(size, jnp.uint32)))


@partial(jax.jit, static_argnames=("origin", "stride"))
def errors(block: Block, tapes: Tape, count: int, *, origin: int, stride: int) -> jax.Array:
    """Return false positives and negatives of the first `count` networks, int32 `(Q, 2)`."""

    def one(q: jax.Array, carry: _Carry) -> _Carry:
        planes, counts = carry
        tape = jax.tree.map(lambda leaf: leaf[q], tapes)
        planes, last = _run(planes, tape, block, origin, stride)
        return planes, counts.at[q].set(_count(last, tape.negated, block))

    planes = _begin(block, jax.tree.map(lambda leaf: leaf[0], tapes), origin, stride)
    counts = jnp.zeros((len(tapes.size), 2), jnp.int32)
    return lax.fori_loop(0, count, one, (planes, counts))[1]


@partial(jax.jit, static_argnames=("origin", "stride"))
def output(block: Block, tape: Tape, *, origin: int, stride: int) -> jax.Array:
    """Return the output of a network, words `(A,)`."""
    planes = _begin(block, tape, origin, stride)
    last = _run(planes, tape, block, origin, stride)[1]
    return jnp.where(tape.negated, last, ~last) & block.inside


@partial(jax.jit, static_argnames="steps")
def residual_statistics(block: Block, out: jax.Array, *, steps: tuple[int, ...]) -> jax.Array:
    """Return how the wrong pixels lie: int32 `(8,)`.

    Wrong pixels, pixels; pairs of neighbours that are both wrong, pairs; wrong pixels at edges of
    the output, pixels there; the same away from edges. `steps` are the offsets of neighbours.
    """
    wrong = (out ^ block.y) & block.counts

    def next_to(words: jax.Array, step: int) -> jax.Array:
        return jnp.concatenate([words[step:], jnp.zeros(step, words.dtype)])

    # An edge is a pixel whose output differs from that of a neighbour, on either side.
    pairs, both, edge = [], [], jnp.zeros_like(out)
    for step in steps:
        seen = block.counts & next_to(block.counts, step)
        both.append(seen)
        pairs.append(wrong & next_to(wrong, step))
        differs = (out ^ next_to(out, step)) & block.inside & next_to(block.inside, step)
        edge |= differs | jnp.concatenate([jnp.zeros(step, out.dtype), differs[:-step]])
    parts = [wrong, block.counts, *pairs, *both]
    parts += [wrong & edge, block.counts & edge, wrong & ~edge, block.counts & ~edge]
    # Pairs along all axes are added up.
    n = [lax.population_count(part).astype(jnp.int32).sum() for part in parts]
    axes = len(steps)
    both_wrong, seen = sum(n[2 : 2 + axes]), sum(n[2 + axes : 2 + 2 * axes])
    return jnp.stack([n[0], n[1], both_wrong, seen, *n[2 + 2 * axes :]])
