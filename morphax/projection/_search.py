"""All structuring elements of a neuron at once: branch and bound over the sizes of S.

The minimiser over S is an upper level set (theory.md 5a), so a neuron has n candidates for each
operation, S = the first k of the sorted weights. Their distances are not unimodal in k: every k
has to be settled, but few have to be solved. The candidates are cut in blocks of about sqrt(n)
neighbouring k. The relaxed problem of a block (`scalar.Node`) bounds all its candidates from below
and hands them multipliers so good that two Newton steps bound a candidate almost exactly: of 8192
candidates (n = 4096, both operations) one to ten are left to be solved to the end.

Work is packed: blocks and candidates still open, of all neurons alike, are gathered in batches of
a fixed size, so an easy neuron does not wait for a hard one.
"""

import math

import jax
import jax.numpy as jnp

from morphax.projection._scalar import Node, Problem, Tables, solve, start, take

SOLVE_ALL = 32
"""Up to this n, blocks have one candidate: every candidate is solved."""
BLOCK_STEPS = 10
LEAF_STEPS = 2


def nearest(
    problem: Problem, tables: Tables, dilations: tuple[bool, ...]
) -> tuple[Node, jax.Array]:
    """The best candidate of each of N neurons over the operations asked for.

    Returns one solved node a neuron (fields of shape `(N,)`), and whether it converged.
    """
    n, count = problem.n, tables.bias.shape[0]
    width = 1 if n <= SOLVE_ALL else 1 << round(math.log2(n) / 2)
    neurons = jnp.arange(count, dtype=jnp.int32)
    first = jnp.arange(0, n, width, dtype=jnp.int32) + 1
    per_neuron = len(dilations) * first.size
    shape = (count, len(dilations), first.size)
    last = jnp.minimum(first + width - 1, n)
    fields = (
        neurons[:, None, None],
        jnp.array(dilations)[None, :, None],
        first[None, None],
        last[None, None],
    )
    blocks = start(tables, n, *(_fill(x, shape) for x in fields))
    steps = {} if width == 1 else {"steps": BLOCK_STEPS}
    bound, blocks, converged = solve(problem, tables, blocks, **steps)
    promising = smallest_index(bound.reshape(count, per_neuron)) + neurons * per_neuron
    if width == 1:
        return pick(blocks, promising), take(converged, promising)

    winner = _search(problem, tables, blocks, bound, promising, width)
    node = pick(blocks, winner // width)
    k = jnp.minimum(node.first + winner % width, node.last)
    _, node, converged = solve(problem, tables, node._replace(first=k, last=k))
    return node, converged


def _where(mask: jax.Array, *, size: int, fill: int) -> jax.Array:
    """int32 `(size,)`: where a flat mask holds. (jax 0.12 lowers jnp.nonzero without x64, and warns.)"""
    place = jnp.cumsum(mask, dtype=jnp.int32) - 1
    numbers = jnp.arange(mask.size, dtype=jnp.int32)
    found = jnp.full(size, fill, jnp.int32)
    return found.at[jnp.where(mask, place, size)].set(numbers, mode="drop")


def _search(problem, tables, blocks, bound, promising, width) -> jax.Array:
    """The number (block * width + place in the block) of every neuron's best candidate."""
    count = promising.size
    lanes = jnp.arange(count, dtype=jnp.int32)
    places = jnp.arange(width, dtype=jnp.int32)[None]
    capacity = min(4 * count, count * width)

    def solve_open(state, leaves, number):
        """Solve up to `capacity` candidates whose bound is below the best value so far."""
        value, best, winner = state
        is_open = value < take(best, leaves.row)
        at = _where(is_open, size=capacity, fill=value.size)
        real = at < value.size
        value = value.at[at].set(jnp.inf, mode="drop")
        at = jnp.minimum(at, value.size - 1)
        some = pick(leaves, at)
        limit = jnp.where(real, take(best, some.row), -jnp.inf)
        exact, _, _ = solve(problem, tables, some, limit=limit)
        exact = jnp.where(real, exact, jnp.inf)
        best = best.at[some.row].min(exact)
        won = real & (exact <= take(best, some.row))
        to = jnp.where(won, some.row, count)
        return value, best, winner.at[to].set(take(number, at), mode="drop")

    def settle(index, live, guess, best, winner):
        """Settle the candidates of the blocks `index`; only the best bound of each for a guess."""
        shape = (count, width)
        block = Node(*(x[:, None] for x in pick(blocks, index)))
        k = jnp.minimum(block.first + places, block.last)
        leaves = Node(*(_fill(x, shape) for x in block))
        leaves = leaves._replace(first=k.reshape(-1), last=k.reshape(-1))
        value, leaves, _ = solve(problem, tables, leaves, steps=LEAF_STEPS)
        value = value.reshape(shape)
        chosen = ~guess | (places == smallest_index(value)[:, None])
        value = jnp.where(live[:, None] & chosen, value, jnp.inf).reshape(-1)
        number = (index[:, None] * width + places).reshape(-1)
        _, best, winner = jax.lax.while_loop(
            lambda state: jnp.any(state[0] < take(state[1], leaves.row)),
            lambda state: solve_open(state, leaves, number),
            (value, best, winner),
        )
        return best, winner

    def phase(which, state):
        """First a guess, the most promising candidate of each neuron; then all it leaves open."""
        best, winner = state
        guess = which == 0
        is_open = bound < take(best, blocks.row)
        todo = _where(is_open, size=is_open.size, fill=0)
        todo = jnp.where(guess, jnp.pad(promising, (0, todo.size - count)), todo)
        total = jnp.where(guess, count, jnp.sum(is_open, dtype=jnp.int32))
        todo = jnp.pad(todo, (0, count))

        def batch(state):
            done, best, winner = state
            index = jax.lax.dynamic_slice(todo, (done,), (count,))
            live = (done + lanes < total) & (
                take(bound, index) < take(best, take(blocks.row, index))
            )
            return done + count, *settle(index, live, guess, best, winner)

        _, *state = jax.lax.while_loop(
            lambda state: state[0] < total, batch, (jnp.int32(0), best, winner)
        )
        return tuple(state)

    state = (jnp.full_like(tables.bias, jnp.inf), jnp.zeros(count, jnp.int32))
    return jax.lax.fori_loop(0, 2, phase, state)[1]


def pick(nodes: Node, index: jax.Array) -> Node:
    """The nodes numbered `index`."""
    return Node(*(take(x, index) for x in nodes))


def smallest_index(x: jax.Array) -> jax.Array:
    """`argmin` over the last of two axes (whose own lowering forgets float64 when x64 is off)."""
    n = x.shape[-1]
    smallest = jnp.min(x, -1, keepdims=True)
    return jnp.min(jnp.where(x <= smallest, jnp.arange(n, dtype=jnp.int32)[None], n - 1), -1)


def _fill(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.broadcast_to(x, shape).reshape(-1)
