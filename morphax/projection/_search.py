"""Find the best structuring element of a neuron: branch and bound over the sizes of S.

The minimiser over S is an upper level set (docs/theory.md, section 5a), so a neuron has n
candidates for each operation: S is the first k of the sorted weights. Their distances are not
unimodal in k, so every k has to be settled, but few have to be solved:

1. The candidates are cut in blocks of up to 2 sqrt(n) neighbouring k, and every block is bounded
   from below: in large neurons from the knots at its ends (`_knots`), in small ones as a whole, by
   its relaxed problem (`_scalar.Relaxation`).
2. The blocks whose bound is below the best value so far, two or three of a neuron, are cut in
   `PARTS` parts with knots of their own, from which each candidate is bounded almost exactly.
3. The candidates whose bound is below the best value so far are solved, the most promising one of
   each block first.

Work is packed: the blocks and candidates that are still open, of all neurons alike, are gathered in
batches of a fixed size, so an easy neuron does not wait for a hard one. Blocks are numbered over
the whole bank, neuron by neuron.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax.projection._bounds import Split, between
from morphax.projection._knots import (
    Blocks,
    block_width,
    blocks_of,
    bound_blocks,
    even_blocks,
    solve_ends,
)
from morphax.projection._scalar import (
    Options,
    Relaxation,
    SortedBank,
    gather,
    relax,
    solve,
)

SOLVE_ALL = 32
"""Up to this n, every candidate is solved."""
SOLVE_ALL_AT_ONCE = 1024
"""Where a chunk has no more candidates than this, all are solved: a much smaller program."""
KNOTS_FROM = 512
"""From this n on, blocks are bounded from the knots between them; before, as a whole."""
BLOCK_STEPS = 10
"""Newton steps of a block as a whole."""
PARTS = 16
"""Parts, at most, in which a block is cut that may hold the best candidate."""
PART_STEPS = 2
"""Newton steps of the knots between parts."""
BATCH = 2
"""Candidates, for each neuron, that are solved at a time."""
SLACK = 1e-12
"""A candidate is closed where its bound is this near to the best value, relatively."""


def best_candidate(
    options: Options, bank: SortedBank, dilations: tuple[bool, ...]
) -> tuple[Relaxation, jax.Array]:
    """Find the nearest candidate of each of N neurons over the operations asked for.

    Args:
        options: size and sign constraint of the bank.
        bank: the sorted neurons.
        dilations: the operations: true for dilations, false for erosions.

    Returns:
        One solved candidate for each neuron (fields of shape `(N,)`), and whether it converged.
    """
    n, count = options.n, bank.bias.shape[0]
    neurons = jnp.arange(count, dtype=jnp.int32)

    def nodes(min_size, max_size):
        shape = (count, len(dilations), min_size.size)
        fields = (
            neurons[:, None, None],
            jnp.array(dilations)[None, :, None],
            jnp.asarray(min_size)[None, None],
            jnp.asarray(max_size)[None, None],
        )
        return relax(bank, n, *(jnp.broadcast_to(x, shape) for x in fields))

    if n <= SOLVE_ALL or count * len(dilations) * n <= SOLVE_ALL_AT_ONCE:
        sizes = np.arange(1, n + 1, dtype=np.int32)
        value, solved, converged = solve(options, bank, _flat(nodes(sizes, sizes)))
        per_neuron = len(dilations) * n
        best = argmin_last(value.reshape(count, per_neuron)) + neurons * per_neuron
        return select(solved, best), gather(converged, best)

    width = block_width(n)
    if n < KNOTS_FROM:
        blocks = even_blocks(n, width)
        value, ends, _ = solve(
            options, bank, _flat(nodes(blocks.first, blocks.last)), steps=BLOCK_STEPS
        )
        shape = (count, len(dilations), -1)
        score = least = value.reshape(shape)
        ends = Relaxation(*(x.reshape(shape) for x in ends))
    else:
        blocks = blocks_of(n, width)
        value, ends = solve_ends(options, bank, blocks, nodes)
        least = bound_blocks(options, bank, blocks, ends, value)
        # The best candidate is probably near the best knot, or in the head of the least bound.
        knots = value[..., blocks.heads :]
        near = jnp.minimum(knots[..., :-1], knots[..., 1:])
        score = jnp.concatenate([value[..., : blocks.heads], near], -1)
    score = score.reshape(count, -1)
    promising = argmin_last(score) + neurons * score.shape[1]
    return _search(_Search(options, bank, dilations, blocks, ends), least, promising)


class _Search(NamedTuple):
    """Hold what a search knows at its beginning; blocks are numbered over the whole bank.

    The fields of `ends`, the solved relaxations, are `(N, operations, B + 1)`: heads, then knots.
    """

    options: Options
    bank: SortedBank
    dilations: tuple[bool, ...]
    blocks: Blocks
    ends: Relaxation


def _search(
    search: _Search, least: jax.Array, promising: jax.Array
) -> tuple[Relaxation, jax.Array]:
    """Return the best candidate of every neuron, solved, and whether it converged.

    Args:
        search: what is known.
        least: lower bounds of the blocks, `(N, operations, B)`.
        promising: number of one block of each neuron, which is settled first, so that few of the
            other blocks have a bound below the best value so far.
    """
    count = promising.size
    best = jnp.full_like(search.bank.bias, jnp.inf)
    winner = jnp.zeros((count, 6), best.dtype)

    def phase(which, state):
        least, best, winner = state
        is_open = least < jnp.repeat(_closing(best), least.size // count)
        # In the first phase all are open, and the queue is the promising ones.
        queue = _positions(is_open, size=is_open.size, fill=0)
        queue = jnp.where(which == 0, jnp.pad(promising, (0, queue.size - count)), queue)
        total = jnp.where(which == 0, count, jnp.sum(is_open, dtype=jnp.int32))
        best, winner = _settle_queue(search, queue, total, best, winner)
        return least.at[promising].set(jnp.inf), best, winner

    _, best, winner = jax.lax.fori_loop(0, 2, phase, (least.reshape(-1), best, winner))
    k, dilation, u, mu, lam, converged = winner.T
    k, row = k.astype(jnp.int32), jnp.arange(count, dtype=jnp.int32)
    return Relaxation(row, dilation > 0, k, k, u, mu, lam), converged > 0


def _settle_queue(
    search: _Search, queue: jax.Array, total: jax.Array, best: jax.Array, winner: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Settle the first `total` blocks of a queue, in batches of one block for each neuron."""
    count = best.size
    queue = jnp.pad(queue, (0, count))  # the last batch may reach beyond the end

    def settle_batch(state):
        done, best, winner = state
        index = jax.lax.dynamic_slice(queue, (done,), (count,))
        live = done + jnp.arange(count, dtype=jnp.int32) < total
        return done + count, *_settle(search, index, live, best, winner)

    _, best, winner = jax.lax.while_loop(
        lambda state: state[0] < total, settle_batch, (jnp.int32(0), best, winner)
    )
    return best, winner


def _closing(best: jax.Array) -> jax.Array:
    """Return the values that bounds have to reach, given the best values so far."""
    return best * (1 - SLACK)


def _settle(
    search: _Search, index: jax.Array, live: jax.Array, best: jax.Array, winner: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Settle the candidates of the blocks `index` that are `live`."""
    parts = _refine(search, index)
    # An infinite bound closes what is not asked for.
    value = jnp.where(live[:, None], parts.bound.reshape(index.size, -1), jnp.inf)

    def is_open_at(value, best):
        return value < gather(_closing(best), parts.knot.row[:, 0])[:, None]

    def settle_open(state):
        value, best, winner, is_first = state
        is_open = is_open_at(value, best)
        # The most promising candidate of each block closes most of the others.
        places = jnp.arange(value.shape[1], dtype=jnp.int32)[None]
        is_open &= ~is_first | (places == argmin_last(value)[:, None])
        return *_solve_open(search, parts, is_open, value, best, winner), jnp.bool_(False)

    _, best, winner, _ = jax.lax.while_loop(
        lambda state: jnp.any(is_open_at(*state[:2])),
        settle_open,
        (value, best, winner, jnp.bool_(True)),
    )
    return best, winner


class _Parts(NamedTuple):
    """Hold blocks that are cut in `PARTS` parts, with knots at their ends, and their candidates.

    Attributes:
        knot: the knots, solved roughly, each field `(blocks, PARTS + 1)`.
        size: sizes of the candidates, int32 `(blocks, PARTS, width of a part)`.
        share: where each of them lies between its knots, from 0 to 1, of the same shape.
        bound: lower bounds of the candidates, of the same shape; infinite beyond the last one.
    """

    knot: Relaxation
    size: jax.Array
    share: jax.Array
    bound: jax.Array


def _refine(search: _Search, index: jax.Array) -> _Parts:
    """Cut the blocks `index` in parts, and bound each of their candidates."""
    options, bank, dilations, blocks, _ = search
    parts = min(PARTS, blocks.width)
    number, part = blocks.first.size, blocks.width // parts
    row, operation, block = (
        index // (len(dilations) * number),
        index // number % len(dilations),
        index % number,
    )
    first, last = (gather(jnp.asarray(x), block)[:, None] for x in (blocks.first, blocks.last))

    # First guesses for the knots are interpolated from the ends of the block.
    steps = part * jnp.arange(parts + 1, dtype=jnp.int32)[None]
    size = jnp.clip(first - 1 + steps, 1, last)
    left = index // number * search.ends.u.shape[-1] + block
    right = left + (block >= blocks.heads).astype(jnp.int32)
    share = _fraction(size - first + 1, last - first + 1, bank.bias.dtype)

    def of_knots(x):
        return jnp.broadcast_to(x[:, None], size.shape)

    u, mu, lam = (
        gather(x.reshape(-1), left)[:, None] * (1 - share)
        + gather(x.reshape(-1), right)[:, None] * share
        for x in (search.ends.u, search.ends.mu, search.ends.lam)
    )
    dilation = of_knots(gather(jnp.array(dilations), operation))
    knot = _flat(Relaxation(of_knots(row), dilation, size, size, u, mu, lam))
    _, knot, _ = solve(options, bank, knot, steps=PART_STEPS, rough=True, tolerance=1e-6)
    knot = Relaxation(*(x.reshape(size.shape) for x in knot))

    # Places beyond the end of a block repeat its last candidate, and are closed.
    place = jnp.arange(blocks.width, dtype=jnp.int32)[None]
    k = jnp.minimum(first + place, last).reshape(-1, parts, part)
    low, high = size[:, :-1, None], size[:, 1:, None]
    share = _fraction(k - low, high - low, bank.bias.dtype)
    begin = row[:, None, None] * (options.n + 1)
    sums = (gather(x, begin + k) for x in (bank.sums, bank.squares))
    weight = gather(bank.descending, row[:, None, None] * options.n + k - 1)
    each = Split(k.astype(bank.bias.dtype), *sums)
    bound = between(options, bank, knot, each, each, weight, share)
    exists = (first + place <= last).reshape(bound.shape)
    return _Parts(knot, k, share, jnp.where(exists, bound, jnp.inf))


def _fraction(distance: jax.Array, length: jax.Array, dtype) -> jax.Array:
    """Return which fraction, from 0 to 1, one whole number is of another."""
    return distance.astype(dtype) / jnp.maximum(length, 1).astype(dtype)


def _solve_open(
    search: _Search,
    parts: _Parts,
    is_open: jax.Array,
    value: jax.Array,
    best: jax.Array,
    winner: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Solve a batch of the candidates that are open, and return value, best and winner after it."""
    count, (blocks, width) = best.size, value.shape
    at = _positions(is_open.reshape(-1), size=BATCH * count, fill=value.size)
    real = at < value.size  # the batch need not be full
    to, at = at, jnp.minimum(at, value.size - 1)
    batch = _candidates(parts, at)
    limit = jnp.where(real, gather(_closing(best), batch.row), -jnp.inf)
    exact, batch, converged = solve(search.options, search.bank, batch, limit=limit, rough=True)
    value = value.reshape(-1).at[to].set(jnp.inf, mode="drop").reshape(blocks, width)
    # Where the bound has reached the limit, the candidate may not have converged.
    better = exact < limit
    exact = jnp.where(better, exact, jnp.inf)
    best = best.at[batch.row].min(exact)
    # Several candidates of a neuron may be in one batch: only the best one is its winner.
    to = jnp.where(better & (exact <= gather(best, batch.row)), batch.row, count)
    fields = batch.max_size, batch.dilation, batch.u, batch.mu, batch.lam, converged
    fields = jnp.stack([x.astype(winner.dtype) for x in fields], -1)
    winner = winner.at[to].set(fields, mode="drop")
    return value, best, winner


def _candidates(parts: _Parts, at: jax.Array) -> Relaxation:
    """Return the candidates numbered `at`, with multipliers interpolated between their knots."""
    block, part = at // parts.size[0].size, at // parts.size.shape[-1]
    left = part + block  # each block has one more knot than parts
    share = gather(parts.share.reshape(-1), at)
    knot = _flat(parts.knot)
    u, mu, lam = (gather(x, left) * (1 - share) + gather(x, left + 1) * share for x in knot[4:])
    k = gather(parts.size.reshape(-1), at)
    return Relaxation(gather(knot.row, left), gather(knot.dilation, left), k, k, u, mu, lam)


def _positions(mask: jax.Array, *, size: int, fill: int) -> jax.Array:
    """Return where a flat mask holds, int32 `(size,)`, filled up with `fill`.

    jax 0.12 lowers `jnp.nonzero` without x64, and warns.
    """
    place = jnp.cumsum(mask, dtype=jnp.int32) - 1
    numbers = jnp.arange(mask.size, dtype=jnp.int32)
    positions = jnp.full(size, fill, jnp.int32)
    return positions.at[jnp.where(mask, place, size)].set(numbers, mode="drop")


def select(nodes: Relaxation, index: jax.Array) -> Relaxation:
    """Return the relaxations numbered `index`."""
    return Relaxation(*(gather(x, index) for x in nodes))


def _flat(nodes: Relaxation) -> Relaxation:
    """Return the relaxations in one axis."""
    return Relaxation(*(x.reshape(-1) for x in nodes))


def argmin_last(x: jax.Array) -> jax.Array:
    """Return the first argmin over the last of two axes.

    `jnp.argmin` forgets float64 in its own lowering when x64 is off.
    """
    n = x.shape[-1]
    smallest = jnp.min(x, -1, keepdims=True)
    return jnp.min(jnp.where(x <= smallest, jnp.arange(n, dtype=jnp.int32)[None], n - 1), -1)
