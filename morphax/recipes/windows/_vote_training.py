"""Train hit-or-misses that vote: straight-through steps on counted window patterns.

The clauses are those of `morphax.classification.clauses`: a clause with latent weights q has the
bits q > 0 in the forward pass and the derivative of sigmoid(t q) in the backward pass; it fits
where no literal of it is violated, with the derivative of a sigmoid of slope p. The score is votes
times bits plus a bias, and the loss is the cross-entropy of the score with the target. Every
network on the way is binary but for its votes, and those are rounded to whole numbers at the end.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from morphax.classification.clauses import fires
from morphax.data.window_patterns import Patterns
from morphax.training.steps import descend

_SHARPNESS, _SLOPE = 4.0, 2.0  # t and p
_BOUND = 1.5  # largest |q|: no literal is ever far from a change
_GAIN = 4.0  # of the votes, so that they and the clauses learn at one rate
_START = 12  # literals of a clause at the start
_BATCH = 500
_RATE = 0.03  # of Adam, decayed by a cosine
_CHUNK = 16384  # patterns that are scored together


class Votes(NamedTuple):
    """Hold hit-or-misses with whole votes: the target is set where `votes @ fits >= least`.

    Attributes:
        literals: bool `(clauses, 2 n)`: pixels that must be set, then pixels that must not be set.
        votes: int32 `(clauses,)`.
        least: whole number, the least count that answers 1.
        unit: size of one vote on the scale of log odds.
    """

    literals: np.ndarray
    votes: np.ndarray
    least: int
    unit: float


def train_votes(
    key: jax.Array,
    patterns: Patterns,
    *,
    clauses: int,
    steps: int,
    flip: float = 0.0,
    most: int = 31,
    increasing: bool = False,
) -> Votes:
    """Train clauses with votes on the patterns of a window.

    Args:
        key: PRNG key; the same key and patterns give the same clauses.
        patterns: bits `(patterns, n)` and the weights of their positive and negative pixels.
        clauses: number of hit-or-misses.
        steps: steps of Adam, of 500 patterns each.
        flip: share of the pixels that are flipped at random in each step.
        most: the largest |vote| after rounding.
        increasing: no pixel must be unset, and no vote is negative.

    Returns:
        `Votes`; clauses whose vote is 0 after rounding are left out.
    """
    start_key, run_key = jax.random.split(key)
    n = patterns.bits.shape[1]
    latent = _start(start_key, patterns, clauses, increasing)
    data, chances = _drawing(patterns)
    train = _train(n, clauses, steps, float(flip), increasing)
    trained = train(run_key, latent, data, chances)
    return _whole(jax.tree.map(np.asarray, trained), most)


def add_up(members: Sequence[Votes]) -> Votes:
    """Add up the votes of networks that were trained one by one, as the mean of their log odds.

    Their mistakes differ, so the mean is right more often than they are (bagging: Breiman, Machine
    Learning 24, 1996).

    Args:
        members: networks on the same window.

    Returns:
        `Votes` with all clauses; the votes are whole multiples of the largest unit.
    """
    if len(members) == 1:
        return members[0]
    unit = max(each.unit for each in members)
    votes = [np.round(each.votes * (each.unit / unit)).astype(np.int32) for each in members]
    # A member is undecided half a vote below its least count.
    least = int(np.ceil(sum((each.least - 0.5) * each.unit / unit for each in members)))
    literals = np.concatenate([each.literals for each in members])
    return Votes(literals, np.concatenate(votes), least, unit / len(members))


def score(voters: Votes, bits: np.ndarray) -> np.ndarray:
    """Count the votes of each pattern.

    Args:
        voters: clauses with votes.
        bits: bool `(patterns, n)`.

    Returns:
        int32 `(patterns,)`.
    """
    if not len(bits):
        return np.zeros(0, np.int32)
    held, broken = np.split(voters.literals.T.astype(np.float32), 2)
    size = min(_CHUNK, 1 << (len(bits) - 1).bit_length())
    parts = []
    for at in range(0, len(bits), size):
        part = bits[at : at + size]
        padded = np.pad(part, ((0, size - len(part)), (0, 0)))  # one shape: one compilation
        counts = _count(jnp.asarray(padded), broken - held, held.sum(0), voters.votes)
        parts.append(np.asarray(counts)[: len(part)])
    return np.concatenate(parts)


@jax.jit
def _count(bits: jax.Array, weight: jax.Array, held: jax.Array, votes: jax.Array) -> jax.Array:
    violated = bits.astype(jnp.float32) @ weight + held[None]
    return ((violated < 0.5).astype(jnp.float32) @ votes.astype(jnp.float32)).astype(jnp.int32)


def _start(key: jax.Array, patterns: Patterns, clauses: int, increasing: bool) -> Any:
    """Start each clause from some literals of a pattern, half of them positive ones."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    bits, n = patterns.bits, patterns.bits.shape[1]
    latent = np.clip(rng.normal(-4, 1, (2 * n, clauses)), -_BOUND, _BOUND)
    sides = [np.flatnonzero(side) for side in patterns[1:]]
    sides = [side if len(side) else np.arange(len(bits)) for side in sides]
    for clause in range(clauses):
        pattern = bits[rng.choice(sides[clause % 2])]
        held = np.flatnonzero(np.concatenate([pattern, ~pattern & (not increasing)]))
        latent[rng.choice(held, min(_START, len(held)), replace=False), clause] = 1.0
    votes = np.where(np.arange(clauses) % 2 == 0, 0.25, -0.25)
    votes = np.abs(votes) if increasing else votes
    return {
        "q": jnp.asarray(latent, jnp.float32),
        "votes": jnp.asarray(votes, jnp.float32),
        "bias": jnp.zeros((), jnp.float32),
    }


def _drawing(patterns: Patterns) -> tuple[Any, jax.Array]:
    """Return bits, targets and weights of the patterns, and the cumulated chances to be drawn.

    A pattern of c pixels is drawn with a chance like the square root of c and weighs as much: blank
    windows, often nine of ten pixels, do not use up the steps, and the mean of the loss stays that
    of the pixels.
    """
    count = np.asarray(patterns.positive + patterns.negative, np.float64)
    chance = np.sqrt(count)
    chance /= chance.sum()
    weight = count / count.sum() / chance
    target = patterns.positive / np.maximum(count, 1e-12)
    data = (
        jnp.asarray(patterns.bits),
        jnp.asarray(target, jnp.float32),
        jnp.asarray(weight, jnp.float32),
    )
    return data, jnp.asarray(np.cumsum(chance), jnp.float32)


def _logits(params: Any, x: jax.Array) -> jax.Array:
    soft = jax.nn.sigmoid(_SHARPNESS * params["q"])
    bits = (params["q"] > 0).astype(soft.dtype) + soft - jax.lax.stop_gradient(soft)
    held, broken = jnp.split(bits, 2)
    # Pixels that must be set and are not, and the other way round, in one product.
    violated = x @ (broken - held) + held.sum(0)[None]
    return fires(violated, jnp.float32(_SLOPE)) @ params["votes"] * _GAIN + params["bias"]


@cache
def _train(n: int, clauses: int, steps: int, flip: float, increasing: bool) -> Any:
    """The whole training, jitted; kept for the next call of that shape."""
    optimizer = optax.adam(optax.cosine_decay_schedule(_RATE, steps, 0.02))

    def loss(params: Any, x: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
        each = optax.sigmoid_binary_cross_entropy(_logits(params, x), target)
        return (weight * each).mean()

    # Of an increasing network, the literals of unset pixels are never used.
    high = jnp.where((jnp.arange(2 * n) >= n) & increasing, -_BOUND, _BOUND)[:, None]

    def bounded(params: Any) -> Any:
        votes = jnp.maximum(params["votes"], 0) if increasing else params["votes"]
        return {**params, "q": jnp.clip(params["q"], -_BOUND, high), "votes": votes}

    @jax.jit
    def train(key: jax.Array, params: Any, data: Any, chances: jax.Array) -> Any:
        bits, target, weight = data

        def step(state: Any, number: jax.Array) -> Any:
            params, opt_state = state
            keys = jax.random.split(jax.random.fold_in(key, number))
            drawn = jnp.searchsorted(
                chances, jax.random.uniform(keys[0], (_BATCH,), chances.dtype) * chances[-1]
            )
            x = bits[drawn]
            if flip:
                x ^= jax.random.bernoulli(keys[1], flip, x.shape)
            gradient = jax.grad(loss)(params, x.astype(jnp.float32), target[drawn], weight[drawn])
            params, opt_state = descend(optimizer, gradient, opt_state, params)
            return (bounded(params), opt_state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))[0][0]

    return train


def _whole(params: Any, most: int) -> Votes:
    """Round the votes to whole numbers; what is beyond the 98 % quantile counts as much as it."""
    votes = params["votes"].astype(np.float64)
    unit = max(float(np.quantile(np.abs(votes), 0.98)), 1e-9) / most
    whole = np.clip(np.round(votes / unit), -most, most).astype(np.int32)
    # votes @ bits * gain + bias > 0 where the count exceeds -bias / (gain * unit).
    least = int(np.floor(-float(params["bias"]) / (_GAIN * unit))) + 1
    used = whole != 0
    return Votes((params["q"] > 0).T[used], whole[used], least, unit * _GAIN)
