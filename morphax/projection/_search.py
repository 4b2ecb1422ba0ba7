"""Find the best structuring element of a neuron: branch and bound over the sizes of S.

The minimiser over S is an upper level set (docs/theory.md, section 5a), so a neuron has n
candidates for each operation: S is the first k of the sorted weights. Their distances are not
unimodal in k, so every k has to be settled, but few have to be solved. The candidates are cut in
blocks of about sqrt(n) neighbouring k. The relaxed problem of a block (`_scalar.Relaxation`) bounds
all its candidates from below and hands them multipliers so good that two Newton steps bound a
candidate almost exactly: of 8192 candidates (n = 4096, both operations) one to ten are left to be
solved to the end.

Work is packed: the blocks and candidates that are still open, of all neurons alike, are gathered in
batches of a fixed size, so an easy neuron does not wait for a hard one.

A candidate is numbered block * width + place in the block; blocks are numbered over the whole bank,
neuron by neuron.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from morphax.projection._scalar import Options, Relaxation, SortedBank, gather, relax, solve

SOLVE_ALL = 32
"""Up to this n, blocks have one candidate: every candidate is solved."""
BLOCK_STEPS = 10
LEAF_STEPS = 2


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
    width = 1 if n <= SOLVE_ALL else 1 << round(math.log2(n) / 2)
    neurons = jnp.arange(count, dtype=jnp.int32)
    min_size = jnp.arange(0, n, width, dtype=jnp.int32) + 1
    per_neuron = len(dilations) * min_size.size
    shape = (count, len(dilations), min_size.size)
    max_size = jnp.minimum(min_size + width - 1, n)
    fields = (
        neurons[:, None, None],
        jnp.array(dilations)[None, :, None],
        min_size[None, None],
        max_size[None, None],
    )
    blocks = relax(bank, n, *(_fill(x, shape) for x in fields))
    # Blocks are only bounded, so a few steps do; blocks of one candidate are solved to the end.
    steps = {} if width == 1 else {"steps": BLOCK_STEPS}
    bound, blocks, converged = solve(options, bank, blocks, **steps)
    promising = argmin_last(bound.reshape(count, per_neuron)) + neurons * per_neuron
    if width == 1:
        return select(blocks, promising), gather(converged, promising)

    winner = _search(_Search(options, bank, blocks, bound, promising, width))
    node = select(blocks, winner // width)
    k = jnp.minimum(node.min_size + winner % width, node.max_size)
    _, node, converged = solve(options, bank, node._replace(min_size=k, max_size=k))
    return node, converged


class _Search(NamedTuple):
    """Hold the input of a search: the blocks, their bounds, and the best block by bound."""

    options: Options
    bank: SortedBank
    blocks: Relaxation
    bound: jax.Array
    promising: jax.Array
    width: int


def _search(search: _Search) -> jax.Array:
    """Return the number of the best candidate of every neuron."""
    best = jnp.full_like(search.bank.bias, jnp.inf)
    winner = jnp.zeros(search.promising.size, jnp.int32)

    def phase(which, state):
        return _phase(search, which == 0, *state)

    return jax.lax.fori_loop(0, 2, phase, (best, winner))[1]


def _phase(search: _Search, guess: jax.Array, best: jax.Array, winner: jax.Array) -> tuple:
    """Settle blocks in batches of one block for each neuron.

    The first phase guesses: it settles the most promising candidate of each neuron, so that the
    second phase, over all blocks whose bound is below the best value so far, finds few of them.
    """
    blocks, bound, count = search.blocks, search.bound, search.promising.size
    is_open = bound < gather(best, blocks.row)
    queue = _positions(is_open, size=is_open.size, fill=0)
    queue = jnp.where(guess, jnp.pad(search.promising, (0, queue.size - count)), queue)
    total = jnp.where(guess, count, jnp.sum(is_open, dtype=jnp.int32))
    queue = jnp.pad(queue, (0, count))  # the last batch may reach beyond the end

    def settle_batch(state):
        done, best, winner = state
        index = jax.lax.dynamic_slice(queue, (done,), (count,))
        in_queue = done + jnp.arange(count, dtype=jnp.int32) < total
        # The best values have improved since the queue was made: leave out what they have closed.
        live = in_queue & (gather(bound, index) < gather(best, gather(blocks.row, index)))
        return done + count, *_settle(search, index, live, guess, best, winner)

    _, *state = jax.lax.while_loop(
        lambda state: state[0] < total, settle_batch, (jnp.int32(0), best, winner)
    )
    return tuple(state)


def _settle(
    search: _Search,
    index: jax.Array,
    live: jax.Array,
    guess: jax.Array,
    best: jax.Array,
    winner: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Settle the candidates of the blocks `index`; only the best one of each for a `guess`."""
    options, bank, width = search.options, search.bank, search.width
    shape = (search.promising.size, width)
    places = jnp.arange(width, dtype=jnp.int32)[None]
    # Each candidate starts from the multipliers of its block.
    block = Relaxation(*(x[:, None] for x in select(search.blocks, index)))
    k = jnp.minimum(block.min_size + places, block.max_size)
    leaves = Relaxation(*(_fill(x, shape) for x in block))
    leaves = leaves._replace(min_size=k.reshape(-1), max_size=k.reshape(-1))
    value, leaves, _ = solve(options, bank, leaves, steps=LEAF_STEPS)
    value = value.reshape(shape)
    # Candidates that are not asked for get an infinite bound, which closes them.
    chosen = ~guess | (places == argmin_last(value)[:, None])
    value = jnp.where(live[:, None] & chosen, value, jnp.inf).reshape(-1)
    number = (index[:, None] * width + places).reshape(-1)
    _, best, winner = jax.lax.while_loop(
        lambda state: jnp.any(state[0] < gather(state[1], leaves.row)),
        lambda state: _solve_open(search, leaves, number, *state),
        (value, best, winner),
    )
    return best, winner


def _solve_open(
    search: _Search,
    leaves: Relaxation,
    number: jax.Array,
    value: jax.Array,
    best: jax.Array,
    winner: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Solve a batch of candidates whose bound is below the best value so far; close them."""
    count = search.promising.size
    capacity = min(4 * count, count * search.width)
    is_open = value < gather(best, leaves.row)
    at = _positions(is_open, size=capacity, fill=value.size)
    real = at < value.size  # the batch need not be full
    value = value.at[at].set(jnp.inf, mode="drop")
    at = jnp.minimum(at, value.size - 1)
    batch = select(leaves, at)
    limit = jnp.where(real, gather(best, batch.row), -jnp.inf)
    exact, _, _ = solve(search.options, search.bank, batch, limit=limit)
    exact = jnp.where(real, exact, jnp.inf)
    best = best.at[batch.row].min(exact)
    # Several candidates of a neuron may be in one batch: only the best one may write its number.
    won = real & (exact <= gather(best, batch.row))
    to = jnp.where(won, batch.row, count)
    return value, best, winner.at[to].set(gather(number, at), mode="drop")


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


def argmin_last(x: jax.Array) -> jax.Array:
    """Return the first argmin over the last of two axes.

    `jnp.argmin` forgets float64 in its own lowering when x64 is off.
    """
    n = x.shape[-1]
    smallest = jnp.min(x, -1, keepdims=True)
    return jnp.min(jnp.where(x <= smallest, jnp.arange(n, dtype=jnp.int32)[None], n - 1), -1)


def _fill(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Broadcast to `shape` and flatten."""
    return jnp.broadcast_to(x, shape).reshape(-1)
