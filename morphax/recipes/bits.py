"""A binary network trained on its bits: binary all along, so nothing is lost when it turns binary.

In each round the gradient through the binary network ranks all small changes (`morphax.recipes._bit_changes`); the first
of them are tried on the training images, and those that raise their mean Dice most are kept together, as
far as they help each other. It suits unions of intersections of many channels, such as level sets, where a
real network learns a vote that no binary one equals. It finds what is reached by improvements alone, and
starts from a network that already does something.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.neurons.models import bimonn
from morphax.objectives.metrics import dice
from morphax.packed.words import pack, unpack
from morphax.recipes._bit_changes import Change, changed, exchanges, ranked, slopes


class Round(NamedTuple):
    """A round: its number, the mean Dice on the training images after it, the changes that were kept."""

    number: int
    train: float
    kept: int


@partial(jax.jit, static_argnames="count")
def _score(trees: Any, x: jax.Array, y: jax.Array, count: int) -> jax.Array:
    return jax.lax.map(lambda tree: dice(unpack(bimonn(tree, x), count=count), y), trees)


def train_bits(
    key: jax.Array,
    layers: Any,
    train: tuple[np.ndarray, np.ndarray],
    *,
    rounds: int = 40,
    tries: int = 24,
    batch_size: int = 32,
    patience: int = 8,
    on_round: Callable[[Round, Any], None] | None = None,
) -> tuple[Any, list[Round]]:
    """Train a binary BiMoNN on its bits.

    Args:
        key: PRNG key of the batches.
        layers: the start: a BiMoNN of `BinaryBiSE` nodes with square windows.
        train: (images, targets), bool `(N, H, W, C)`; every trial is judged on all of them.
        rounds: at most.
        tries: single changes tried in a round, and as many exchanges of neighbouring inputs.
        batch_size: images of the derivative, another draw in each round.
        patience: rounds without a change that end the run.
        on_round: called with each `Round` and the layers, such as to judge them on other images.

    Returns:
        The layers (numpy arrays) of the last round, whose mean Dice on `train` never fell, and the
        rounds. `realize` makes the certified real network of them.

    Raises:
        ValueError: data that are not bool or do not fit, `rounds` or `tries` below 1.

    Example:
        >>> from morphax import binarize, models
        >>> layers = binarize(models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3))
        >>> x = jax.random.bernoulli(jax.random.key(1), 0.5, (8, 12, 12, 1))
        >>> train_bits(jax.random.key(2), layers, (x, x), rounds=3, batch_size=4)[1][-1].number
        2
    """
    x, y = (np.asarray(part) for part in train)
    for name, part in (("train[0]", x), ("train[1]", y)):
        _checks.require(part.dtype == bool, name, "bool (threshold it first)", part.dtype)
        _checks.require(part.ndim == 4, name, "four axes (N, H, W, C)", part.shape)
    _checks.require(len(x) == len(y), "train[1]", f"{len(x)} targets", y.shape)
    _checks.require(min(rounds, tries) >= 1, "rounds, tries", "1 or more", (rounds, tries))
    words, truth = pack(jnp.asarray(x)), jnp.asarray(y)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())

    def judge(trials: list[tuple[Change, ...]], size: int) -> np.ndarray:
        trees = [changed(layers, trial) for trial in trials] + [layers] * (size - len(trials))
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *trees)
        return np.asarray(_score(stacked, words, truth, len(x)))[: len(trials)]

    layers = jax.tree.map(np.asarray, layers)
    now, idle, records = float(judge([()], 8)[0]), 0, []
    rest: dict[tuple[Change, ...], int] = {}  # what was tried in vain waits for some rounds
    for number in range(rounds):
        drawn = rng.choice(len(x), min(batch_size, len(x)), replace=False)
        singles = [(c,) for _, c in ranked(layers, slopes(layers, x[drawn], y[drawn]))]
        pairs = exchanges(layers)
        pairs = [pairs[i] for i in rng.permutation(len(pairs))]
        trials = [
            [t for t in some if rest.get(t, -1) < number][:tries] for some in (singles, pairs)
        ]
        tried = trials[0] + trials[1]
        values = judge(tried, 2 * tries)
        rest |= {
            t: number + int(rng.integers(2, 9))
            for t, v in zip(tried, values, strict=True)
            if v <= now
        }
        order = [tried[i] for i in np.argsort(-values) if values[i] > now + 1e-6][:8]
        # The best changes together, as far as they help; neurons change once in a round.
        joint: list[tuple[Change, ...]] = []
        for trial in order:
            before = joint[-1] if joint else ()
            if not {c[:2] + c[3:4] for c in trial} & {c[:2] + c[3:4] for c in before}:
                joint.append(before + trial)
        idle = 0 if joint else idle + 1
        kept = 0
        if joint:
            values = judge(joint, 8)
            best = int(values.argmax())
            layers, now, kept = changed(layers, joint[best]), float(values[best]), len(joint[best])
        records.append(Round(number, now, kept))
        if on_round is not None:
            on_round(records[-1], layers)
        if idle >= patience:
            break
    return layers, records
