"""One call from image pairs to a certified binary operator: the recipe of the examples.

The recipe, the same for every operator. Weights live in the box [0, 1] ("identity" map, box
constraint), so that no pixel outgrows the others and pixels outside S reach exactly 0. Biases are
centred, so that erosions and dilations are learned alike. The scale is not trained but annealed from
soft to hard. Halfway, a pull towards constant sets sets in; it decides the pixels the data leave
open. Training may settle in a poor minimum, which shows: the run is then repeated from another draw
of the biases, which decide what each layer starts as. docs/learning.md has the measurements.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from morphax import _check, models, regularizers, transforms
from morphax.binarize import binarize
from morphax.network import NetworkCertificate, certify_network
from morphax.nodes import BiSE, map_nodes
from morphax.training import Data, Record, fit, make_chunk, make_evaluate, make_step


class Learned(NamedTuple):
    """A learned operator.

    Attributes:
        params: trained params tree of a BiMoNN (`morphax.models.bimonn` runs it).
        binary: its binary twin.
        certificate: the verdict on the whole network, from `params`.
        history: records of the run that was kept.
        restarts: runs that were made.
    """

    params: Any
    binary: Any
    certificate: NetworkCertificate
    history: list[Record]
    restarts: int


SCALES = (2.0, 20.0)
"""|p| at the start and at the end of a run."""
BIAS_QUANTILES = ((0.5, 0.5), (0.8, 0.2), (0.2, 0.8))
"""Initial b / sum(w) of odd and even layers for the first restarts: undecided, erosion first,
dilation first; later restarts draw one for each neuron."""


PULL = 1e-2
"""Coefficient of the pull towards constant sets at the end of a run."""


def learn_operator(
    key: jax.Array,
    train: Data,
    *,
    valid: Data,
    channels: Sequence[int] = (1, 1, 1),
    kernel_size: int = 7,
    steps: int = 2000,
    restarts: int = 6,
    batch_size: int = 16,
    learning_rate: float = 1e-2,
    border: str = "ignore",
    goal: float = 1.0,
    log: str | Path | None = None,
    progress: bool = False,
) -> Learned:
    """Learn a binary operator from pairs of images, with the fixed recipe of this module.

    Args:
        key: PRNG key; the same key and data give the same operator.
        train: (images, targets), bool `(N, H, W, C)`.
        valid: the same, held out; it decides when a run has succeeded.
        channels: of the input and of each layer: (1, 1) for one erosion or dilation, (1, 1, 1) for an
            opening or closing, (1, 3, 1) for a union of openings. The recipe keeps weights and scales
            positive, so it learns increasing operators: not top-hats.
        kernel_size: odd side of the windows.
        steps: steps of one run.
        restarts: runs at most; the first one that is certified and reaches `goal` ends the search,
            otherwise the one with the best binary Dice is kept.
        batch_size: images a step.
        learning_rate: of Adam, decayed by a cosine.
        border: of the spatial neurons (`morphax.nodes.BORDERS`).
        goal: binary Dice on `valid` that counts as success.
        log: JSONL file for the records, over all restarts.
        progress: show a progress bar for each run.

    Returns:
        `Learned`.

    Raises:
        ValueError: data that do not fit, an even kernel, `restarts` below 1.
    """
    _check.require(restarts >= 1, "restarts", "1 or more", restarts)
    evaluate = make_evaluate(models.bimonn)
    optimizer = _optimizer(steps, learning_rate)
    step = make_step(models.bimonn, optimizer, penalty=_pull(steps))
    length = max(1, steps // 8)
    chunk = make_chunk(step, batch_size=batch_size, length=length)
    best: tuple[tuple[float, ...], Any, list[Record]] | None = None
    runs = 0
    for restart in range(restarts):
        runs += 1
        init_key, bias_key, fit_key = jax.random.split(jax.random.fold_in(key, restart), 3)
        params = models.init_bimonn(
            init_key, channels, kernel_size=kernel_size, border=border,
            weight_map="identity", bias_map="centred",
        )  # fmt: skip
        params = _spread(bias_key, params, restart)
        run = fit(
            fit_key, models.bimonn, params, train, valid=valid, optimizer=optimizer, steps=steps,
            chunk=chunk, evaluate=evaluate, progress=progress, log_every=length, log=log,
            tags={"restart": restart},
        )  # fmt: skip
        last = run.history[-1]
        score = (
            last["binary"] >= goal and last["exact"],
            last["binary"],
            last["exact"],
            -last["loss"],
        )
        if best is None or score > best[0]:
            best = (score, run.state.params, run.history)
        if best[0][0]:
            break
    assert best is not None
    _, params, history = best
    shape = (1, *train[0].shape[1:])
    verdict = certify_network(models.bimonn, params, shape)
    return Learned(params, binarize(params), verdict, history, runs)


def _optimizer(steps: int, learning_rate: float) -> optax.GradientTransformation:
    low, high = SCALES
    return optax.chain(
        optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.1)),
        transforms.scale_updates(bias=5.0),
        transforms.keep_weights_in(0.0, 1.0),
        transforms.set_scale(optax.exponential_decay(low, steps, high / low)),
    )


def _pull(steps: int) -> Callable[[Any, jax.Array], jax.Array]:
    """The pull towards constant sets: nothing in the first half, then growing."""

    def penalty(params: Any, step: jax.Array) -> jax.Array:
        coefficient = PULL * jnp.clip(2 * step / steps - 1, 0, 1)
        return coefficient * regularizers.constant(params)

    return penalty


def _spread(key: jax.Array, params: Any, restart: int) -> Any:
    """Widen the weights to the middle of their box; draw what each layer starts as."""
    count = iter(range(len(params) * 2))
    keys = jax.random.split(key, len(params) * 2)
    layers = []
    for depth, layer in enumerate(params):

        def widen(node: BiSE, depth: int = depth) -> BiSE:
            weight = node.weight * (0.5 / node.weight.mean())
            total = weight.sum(tuple(range(weight.ndim - node.bias.ndim)))
            if restart < len(BIAS_QUANTILES):
                quantile = jnp.full(node.bias.shape, BIAS_QUANTILES[restart][depth % 2])
            else:
                quantile = jax.random.uniform(
                    keys[next(count)], node.bias.shape, minval=0.2, maxval=0.8
                )
            bias = (quantile - 0.5) * total
            return BiSE(weight, bias, jnp.full_like(node.scale, SCALES[0]), node.spec)

        layers.append(map_nodes(widen, layer))
    return layers
