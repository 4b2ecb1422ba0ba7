"""Recipe for the bits of a network, which is binary throughout: nothing is lost at the end.

In each round the gradient through the binary network ranks all small changes
(`morphax.recipes.gradients._bit_changes`). The first of them are tried on the training images, and
those that raise the mean Dice most are made together, as far as they help each other. The recipe
suits unions of intersections of many channels, such as level sets, where a real network learns a
vote that no binary network equals. It reaches what improvements alone can reach, from a network
that already does something.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.binarization import realize
from morphax.neurons.models import bimonn
from morphax.neurons.nodes import BinaryBiSE
from morphax.objectives.metrics import dice
from morphax.packed.words import pack, unpack
from morphax.recipes._judging import BestBinary, learned_from
from morphax.recipes._pairs import require_pairs
from morphax.recipes.gradients._bit_changes import (
    Change,
    exchanges,
    orbits,
    ranked,
    slopes,
    with_changes,
)
from morphax.recipes.results import Learned
from morphax.training.loop import TrainState, drive
from morphax.training.options import RunOptions

JOINT = 8
"""Changes of a round that are tried together."""
Trial = tuple[Change, ...]
Scorer = Callable[[list[Any], int], np.ndarray]
"""(networks, size) -> float32 (networks,), computed for `size` networks at a time."""


def learn_bits(
    key: jax.Array,
    train: tuple[np.ndarray, np.ndarray],
    *,
    valid: tuple[np.ndarray, np.ndarray],
    initial: Any,
    rounds: int = 40,
    tries: int = 24,
    batch_size: int = 32,
    patience: int = 8,
    run: RunOptions = RunOptions(),
) -> Learned:
    """Learn the bits of a binary BiMoNN from pairs of images.

    Args:
        key: PRNG key of the batches.
        train: (images, targets), bool `(N, H, W, C)`; every change is judged on all of them.
        valid: The same, held out; the round that is best on them is returned.
        initial: The network to begin with: a BiMoNN of `BinaryBiSE` nodes with square windows.
        rounds: Maximum number of rounds.
        tries: Single changes that are tried in a round, and as many exchanges of neighbouring
            inputs.
        batch_size: Images of the derivative, another draw in each round.
        patience: Rounds without a change that end the run.
        run: Log, progress, checkpoint and time limit. Ctrl-C and the time limit return the best
            round so far.

    Returns:
        `Learned`; `binary` has numpy arrays, `params` is the certified real network of it
        (`realize`). Records hold "train" and "valid", the mean Dice after a round, "changes", the
        number of changes that were made, and "idle", the rounds without one.

    Raises:
        ValueError: Data that are not bool or have wrong shapes, `rounds` or `tries` below 1.

    Example:
        >>> from morphax import binarize, models
        >>> initial = binarize(models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3))
        >>> x = jax.random.bernoulli(jax.random.key(1), 0.5, (8, 12, 12, 1))
        >>> pairs = x, x & jnp.roll(x, 1, 1)
        >>> learned = learn_bits(jax.random.key(2), pairs, valid=pairs, initial=initial, rounds=3,
        ...                      batch_size=4)
        >>> [record["step"] for record in learned.history]
        [1, 2, 3]
    """
    train, valid = _as_numpy(train), _as_numpy(valid)
    require_pairs(train, valid)
    _checks.require(min(rounds, tries) >= 1, "rounds, tries", "1 or more", (rounds, tries))
    layers = jax.tree.map(np.asarray, initial)
    score_train, score_valid = (_scorer(pair) for pair in (train, valid))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    # Everything that the next round depends on, so that a run can be resumed.
    memory = {
        "best": layers,
        "best valid": np.float32(-1),
        "dice": score_train([layers], JOINT)[0],
        "idle": np.int32(0),
        "waiting": _no_waiting(layers),
        "rng": _words_of(rng),
    }

    advance = _make_round(train, score_train, score_valid, tries=tries, batch_size=batch_size)
    done = drive(
        advance,
        TrainState(layers, memory, _step(0)),
        steps=rounds,
        every=1,
        key=key,
        until=lambda record: record["idle"] >= patience,
        run=replace(run, on_interrupt="return"),
    )
    binary = jax.tree.map(np.asarray, done.state.opt_state["best"])
    chosen = BestBinary(binary, "projection", {}, 0.0)
    judged: Any = train, valid
    return learned_from(
        realize(binary),
        bimonn,
        *judged,
        history=done.history,
        runs=1,
        cut_short=done.is_cut_short,
        chosen=chosen,
    )


def _make_round(
    train: tuple[np.ndarray, np.ndarray],
    score_train: Scorer,
    score_valid: Scorer,
    *,
    tries: int,
    batch_size: int,
) -> Callable[[TrainState], tuple[TrainState, dict[str, float]]]:
    """Make the function that changes the layers once and judges them."""
    x, y = train

    def advance(state: TrainState) -> tuple[TrainState, dict[str, float]]:
        layers, memory = jax.tree.map(np.asarray, (state.params, state.opt_state))
        rng, now, number = _rng_of(memory["rng"]), float(memory["dice"]), int(state.step)
        waiting = jax.tree.map(np.array, memory["waiting"])
        drawn = rng.choice(len(x), min(batch_size, len(x)), replace=False)
        gradient = slopes(layers, x[drawn], y[drawn])
        trials = _trials(layers, gradient, rng, waiting, number, tries)
        values = score_train([with_changes(layers, trial) for trial in trials], 2 * tries)
        for trial, value in zip(trials, values, strict=True):
            if value <= now:  # tried in vain: it waits for some rounds
                _entry(waiting, trial, number + int(rng.integers(2, 9)))
        # The best changes together, as far as they help each other.
        joint = _joined([trials[i] for i in np.argsort(-values) if values[i] > now + 1e-6])
        changes, idle = 0, 0 if joint else int(memory["idle"]) + 1
        if joint:
            values = score_train([with_changes(layers, trial) for trial in joint], JOINT)
            best = int(values.argmax())
            layers, changes = with_changes(layers, joint[best]), len(joint[best])
            now = float(values[best])
        held_out = score_valid([layers], 1)[0]
        is_best = held_out > memory["best valid"]
        memory = {
            "best": layers if is_best else memory["best"],
            "best valid": max(held_out, memory["best valid"]),
            "dice": np.float32(now),
            "idle": np.int32(idle),
            "waiting": waiting,
            "rng": _words_of(rng),
        }
        record = {"train": now, "valid": float(held_out), "changes": changes, "idle": idle}
        return TrainState(layers, memory, _step(number + 1)), {"loss": 1 - now, **record}

    return advance


def _scorer(pair: tuple[np.ndarray, np.ndarray]) -> Scorer:
    """Return the function of networks that computes their mean Dice, `size` of them at a time."""
    words, truth = pack(jnp.asarray(pair[0])), jnp.asarray(pair[1])

    def score(networks: list[Any], size: int) -> np.ndarray:
        if not networks:  # every change waits
            return np.zeros(0, np.float32)
        padded = networks + [networks[0]] * (size - len(networks))
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *padded)
        return np.asarray(_score(stacked, words, truth, len(truth)))[: len(networks)]

    return score


@partial(jax.jit, static_argnames="count")
def _score(trees: Any, x: jax.Array, y: jax.Array, count: int) -> jax.Array:
    return jax.lax.map(lambda tree: dice(unpack(bimonn(tree, x), count=count), y), trees)


def _trials(
    layers: Any, gradient: Any, rng: np.random.Generator, waiting: Any, number: int, tries: int
) -> list[Trial]:
    """Return the changes to try: the best single ones, then exchanges in random order."""
    singles = [(change,) for _, change in ranked(layers, gradient)]
    pairs = exchanges(layers)
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    return [
        trial
        for trials in (singles, pairs)
        for trial in [t for t in trials if _entry(waiting, t) < number][:tries]
    ]


def _joined(order: list[Trial]) -> list[Trial]:
    """Join the first changes, the first two, three and so on; a neuron changes once in a round."""
    joint: list[Trial] = []
    for trial in order[:JOINT]:
        before = joint[-1] if joint else ()
        if not {_neuron(change) for change in trial} & {_neuron(change) for change in before}:
            joint.append(before + trial)
    return joint


def _neuron(change: Change) -> Any:
    return change.layer, change.bank, change.neuron


def _no_waiting(layers: Any) -> Any:
    """Return the round until which each change waits, -1 at first, by layer and bank.

    A bank has an entry for each part, neuron and operation, and for each exchange of an input with
    the previous or the next one.
    """

    def entries(node: BinaryBiSE) -> dict[str, np.ndarray]:
        parts = len(node.selem) if node.spec.role == "lui" else len(orbits(len(node.selem)))
        shape = (parts, *node.erosion.shape, 2)
        return {name: np.full(shape, -1, np.int32) for name in ("single", "exchange")}

    return [{bank: entries(node) for bank, node in layer.items()} for layer in layers]


def _entry(waiting: Any, trial: Trial, until: int | None = None) -> int:
    """Return the round until which a trial waits; with `until`, set it."""
    first = trial[0]
    bank = waiting[first.layer][first.bank]
    if len(trial) == 1:
        table, last = bank["single"], int(first.erosion)
    else:
        table, last = bank["exchange"], int(trial[1].part > first.part)
    index = (first.part, *first.neuron, last)
    if until is not None:
        table[index] = until
    return int(table[index])


def _words_of(rng: np.random.Generator) -> np.ndarray:
    """Return the state of a PCG64 generator as ten uint32."""
    state: Any = rng.bit_generator.state
    numbers = state["state"]["state"], state["state"]["inc"]
    words = [number >> 32 * i & 0xFFFFFFFF for number in numbers for i in range(4)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint32)


def _rng_of(words: np.ndarray) -> np.random.Generator:
    """Return the generator of such a state."""
    rng = np.random.default_rng(0)
    *halves, has_uint32, uinteger = map(int, words)
    state, inc = (sum(word << 32 * i for i, word in enumerate(halves[j : j + 4])) for j in (0, 4))
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": inc},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return rng


def _as_numpy(pair: Any) -> Any:
    """Return (images, targets) as numpy arrays."""
    return tuple(np.asarray(part) for part in pair)


def _step(number: int) -> Any:
    """Return the number of a step as checkpoints hold it."""
    return np.int32(number)
