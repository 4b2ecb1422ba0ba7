"""Find the best structuring element of a neuron: branch and bound over the sizes of S.

The minimiser over S is an upper level set (docs/theory.md, section 5a), so a neuron has n
candidates for each operation: S is the first k of the sorted weights. Their distances are not
unimodal in k, so every k has to be settled, but few have to be solved. The candidates are cut in
blocks of about sqrt(n) neighbouring k. Large neurons bound every candidate from the solved ends of
its block (`_knots`); small ones bound a block as a whole, by its relaxed problem
(`_scalar.Relaxation`). The candidates whose bound is below the best value so far are tried, by a
step or two that bound them almost exactly, and of 8192 candidates (n = 4096, both operations) one
to ten are left to be solved to the end.

Work is packed: the blocks and candidates that are still open, of all neurons alike, are gathered in
batches of a fixed size, so an easy neuron does not wait for a hard one.

A candidate is numbered block * width + place in the block; blocks are numbered over the whole bank,
neuron by neuron.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax.projection._knots import Blocks, blocks_of, bounds, even_blocks, solve_ends, whole
from morphax.projection._scalar import (
    MAX_STEPS,
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

    width = 1 << round(math.log2(n) / 2)
    if n < KNOTS_FROM:
        blocks = even_blocks(n, width)
        value, ends, _ = solve(
            options, bank, _flat(nodes(blocks.first, blocks.last)), steps=BLOCK_STEPS
        )
        shape = (count, len(dilations), -1)
        least, ends = value.reshape(shape), Relaxation(*(x.reshape(shape) for x in ends))
        bound, score = whole(blocks, least), least
    else:
        blocks = blocks_of(n, width)
        value, ends = solve_ends(options, bank, blocks, nodes)
        bound, least = bounds(options, bank, blocks, ends, value)
        # The best candidate is probably near the best knot, or in the head of the least bound.
        knots = value[..., blocks.heads :]
        near = jnp.minimum(knots[..., :-1], knots[..., 1:])
        score = jnp.concatenate([value[..., : blocks.heads], near], -1)
    score = score.reshape(count, -1)
    promising = argmin_last(score) + neurons * score.shape[1]
    return _search(_Search(options, bank, dilations, blocks, ends, bound, least, promising))


class _Search(NamedTuple):
    """Hold the input of a search.

    Blocks are numbered over the whole bank; `bound` is `(N, operations, B, width)`, `least` is its
    minimum over the last axis, and the fields of `ends` are `(N, operations, ends)`: heads, then
    knots. `promising` is the number of one block of each neuron.
    """

    options: Options
    bank: SortedBank
    dilations: tuple[bool, ...]
    blocks: Blocks
    ends: Relaxation
    bound: jax.Array
    least: jax.Array
    promising: jax.Array


def _search(search: _Search) -> tuple[Relaxation, jax.Array]:
    """Return the best candidate of every neuron, solved, and whether it converged."""
    best = jnp.full_like(search.bank.bias, jnp.inf)
    winner = jnp.zeros((best.size, 6), best.dtype)

    def phase(which, state):
        return _phase(search, which == 0, *state)

    winner = jax.lax.fori_loop(0, 2, phase, (best, winner))[1]
    k, dilation, u, mu, lam, converged = winner.T
    k, row = k.astype(jnp.int32), jnp.arange(best.size, dtype=jnp.int32)
    return Relaxation(row, dilation > 0, k, k, u, mu, lam), converged > 0


def _phase(search: _Search, guess: jax.Array, best: jax.Array, winner: jax.Array) -> tuple:
    """Settle blocks in batches of one block for each neuron.

    The first phase guesses: it settles the most promising candidate of each neuron, so that the
    second phase, over all blocks whose bound is below the best value so far, finds few of them.
    """
    count = best.size
    least, per_neuron = search.least.reshape(-1), search.least[0].size
    is_open = least < jnp.repeat(_closing(best), per_neuron)
    queue = _positions(is_open, size=is_open.size, fill=0)
    queue = jnp.where(guess, jnp.pad(search.promising, (0, queue.size - count)), queue)
    total = jnp.where(guess, count, jnp.sum(is_open, dtype=jnp.int32))
    queue = jnp.pad(queue, (0, count))  # the last batch may reach beyond the end

    def settle_batch(state):
        done, best, winner = state
        index = jax.lax.dynamic_slice(queue, (done,), (count,))
        live = done + jnp.arange(count, dtype=jnp.int32) < total
        return done + count, *_settle(search, index, live, guess, best, winner)

    _, *state = jax.lax.while_loop(
        lambda state: state[0] < total, settle_batch, (jnp.int32(0), best, winner)
    )
    return tuple(state)


def _closing(best: jax.Array) -> jax.Array:
    """Return the values that bounds have to reach, given the best values so far."""
    return best * (1 - SLACK)


def _settle(
    search: _Search,
    index: jax.Array,
    live: jax.Array,
    guess: jax.Array,
    best: jax.Array,
    winner: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Settle the candidates of the blocks `index`; only the best one of each for a `guess`."""
    width, per_neuron = search.blocks.width, search.least[0].size
    value = gather(search.bound.reshape(-1, width), index)
    # An infinite bound closes what is not asked for.
    value = jnp.where(live[:, None], value, jnp.inf).reshape(-1)
    row = jnp.repeat(index // per_neuron, width)

    def start(at):
        return _candidates(search, gather(index, at // width), at % width)

    candidates, tried = start, jnp.where(guess, value.size, 0)
    if search.blocks.heads == search.blocks.first.size:
        # The bounds of whole blocks do not tell candidates apart: try all of them at once.
        every = start(jnp.arange(value.size, dtype=jnp.int32))
        bound, every, _ = solve(search.options, search.bank, every, steps=2, rough=True)
        value = jnp.where(value < jnp.inf, bound, jnp.inf)
        candidates, tried = partial(select, every), jnp.int32(value.size)

    _, _, best, winner = jax.lax.while_loop(
        lambda state: jnp.any(state[0] < gather(_closing(state[2]), row)),
        lambda state: _solve_open(search, candidates, row, guess, *state),
        (value, tried, best, winner),
    )
    return best, winner


def _solve_open(
    search: _Search,
    candidates: Callable[[jax.Array], Relaxation],
    row: jax.Array,
    guess: jax.Array,
    value: jax.Array,
    tried: jax.Array,
    best: jax.Array,
    winner: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Settle a batch of candidates whose bound is below the best value so far.

    A first try improves their bounds by one step; what it does not close is solved.
    """
    count, width = best.size, search.blocks.width
    is_open = value < gather(_closing(best), row)
    fresh = is_open & (jnp.arange(value.size, dtype=jnp.int32) >= tried)
    first_try = jnp.any(fresh)
    value_of = value.reshape(count, width)
    least = (jnp.arange(width, dtype=jnp.int32)[None] == argmin_last(value_of)[:, None]).reshape(-1)
    is_open = jnp.where(first_try, fresh, is_open & (least | ~guess))
    at = _positions(is_open, size=min(4, width) * count, fill=value.size)
    real = at < value.size  # the batch need not be full
    to, at = at, jnp.minimum(at, value.size - 1)
    batch = candidates(at)
    limit = jnp.where(real, gather(_closing(best), batch.row), -jnp.inf)
    steps = jnp.where(first_try, 1, MAX_STEPS)
    exact, batch, converged = solve(
        search.options, search.bank, batch, limit=limit, steps=steps, rough=True
    )
    value = value.at[to].set(jnp.where(first_try, exact, jnp.inf), mode="drop")
    value = jnp.where(guess & ~first_try, jnp.inf, value)  # one of each block is enough
    tried = jnp.where(first_try, jnp.max(jnp.where(real, at, -1)) + 1, tried)
    # Where the bound has reached the limit, the candidate may not have converged.
    better = ~first_try & (exact < limit)
    exact = jnp.where(better, exact, jnp.inf)
    best = best.at[batch.row].min(exact)
    # Several candidates of a neuron may be in one batch: only the best one is its winner.
    to = jnp.where(better & (exact <= gather(best, batch.row)), batch.row, count)
    fields = batch.max_size, batch.dilation, batch.u, batch.mu, batch.lam, converged
    fields = jnp.stack([x.astype(winner.dtype) for x in fields], -1)
    winner = winner.at[to].set(fields, mode="drop")
    return value, tried, best, winner


def _candidates(search: _Search, index: jax.Array, place: jax.Array) -> Relaxation:
    """Return the candidates at these places of blocks, with interpolated multipliers."""
    first, last, heads, _ = search.blocks
    number = first.size
    row, operation, block = (
        index // (len(search.dilations) * number),
        index // number % len(search.dilations),
        index % number,
    )
    low, high = gather(jnp.asarray(first), block), gather(jnp.asarray(last), block)
    k = jnp.minimum(low + place, high)
    ends = Relaxation(*(x.reshape(-1) for x in search.ends))
    left = index // number * search.ends.u.shape[-1] + block
    right = left + (block >= heads).astype(jnp.int32)
    share = (k - low + 1).astype(ends.u.dtype) / (high - low + 1).astype(ends.u.dtype)

    def between(x):
        return gather(x, left) * (1 - share) + gather(x, right) * share

    dilation = gather(jnp.array(search.dilations), operation)
    u, mu, lam = between(ends.u), between(ends.mu), between(ends.lam)
    return Relaxation(row, dilation, k, k, u, mu, lam)


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
