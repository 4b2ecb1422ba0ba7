"""Training of the maps of a union: one map from several starts at once, and all maps together.

A program has an optimizer and a jitted function that takes some of its steps;
`morphax.training.drive` runs it, so that a union is logged and resumed like any other training.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from morphax.binarization import binarize
from morphax.neurons import models
from morphax.neurons.nodes import BiSE
from morphax.objectives import metrics, regularizers
from morphax.recipes._pairs import Data
from morphax.recipes.gradients.operators import PULL, SCALES
from morphax.training import transforms
from morphax.training.loop import Run, TrainState, drive
from morphax.training.options import Record, RunOptions
from morphax.training.steps import descend

BETA = 0.5
"""Beta of the F-measure of a single map: below 1, precision counts more than recall."""
QUANTILES = (0.65, 0.35)
"""b / sum(w) of the first and the second layer at the start: an erosion, then a dilation."""
WIDTH = 1.5
"""Standard deviation, in pixels, of the bell that random initial weights are multiplied with."""
JOINT_SCALE = 10.0
"""|p| at the start of the joint training: the maps are to be refined, not forgotten."""
PROJECTIONS, MARGIN = 20, 0.05
"""Projections onto activable neurons in the joint training, and the relative margin they keep."""
FLOOR = 1e-2
"""Added to 1 - F before the logarithm."""
RECORDS = 4
"""Records of one search, and of the joint training."""


class Program(NamedTuple):
    """Hold the optimizer of a training, its steps, and the jitted function that takes some."""

    optimizer: optax.GradientTransformation
    steps: int
    advance: Callable[..., tuple[TrainState, jax.Array]]  # (key, state, data, count)


def _make_program(
    steps: int, batch_size: int, learning_rate: float, low: float, beta: float, last: Any
) -> Program:
    """Make the training of a network for F_beta, on the pixels that are not covered.

    Args:
        steps: Steps of the whole training.
        batch_size: Images in a step.
        learning_rate: Initial rate of Adam.
        low: |p| at the start.
        beta: Beta of the F-measure.
        last: Transformation at the end of the optimizer.
    """
    optimizer = optax.chain(
        optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.1)),
        transforms.scale_updates(bias=5.0),
        transforms.keep_weights_in(0.0, 1.0),
        transforms.set_scale(optax.exponential_decay(low, steps, SCALES[1] / low)),
        last,
    )

    def advance(
        key: jax.Array, state: TrainState, data: Any, count: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        images, targets, covered = data

        def loss(params: Any, drawn: jax.Array, step: jax.Array) -> jax.Array:
            is_open = ~covered[drawn]
            prediction = models.bimonn(params, images[drawn].astype(jnp.float32))
            prediction = jnp.where(is_open, prediction, 0)
            measure = metrics.f_measure(prediction, targets[drawn] & is_open, beta=beta)
            pull = PULL * jnp.clip(
                2 * step.astype(jnp.float32) / steps - 1, 0, 1
            )  # in the second half
            return jnp.log(1 - measure + FLOOR) + pull * regularizers.constant(params)

        def body(_: Any, carry: Any) -> Any:
            state, total = carry
            step_key = jax.random.fold_in(key, state.step)
            drawn = jax.random.randint(step_key, (batch_size,), 0, len(images))
            value, gradient = jax.value_and_grad(loss)(state.params, drawn, state.step)
            params, opt_state = descend(optimizer, gradient, state.opt_state, state.params)
            return TrainState(params, opt_state, state.step + 1), total + value

        state, total = jax.lax.fori_loop(0, count, body, (state, jnp.zeros((), jnp.float32)))
        return state, total / count.astype(jnp.float32)

    return Program(optimizer, steps, advance)


@cache
def search_program(steps: int, batch_size: int, learning_rate: float) -> Program:
    """Return the training of one map from several starts; kept for the next call of that shape."""
    program = _make_program(steps, batch_size, learning_rate, SCALES[0], BETA, optax.identity())
    advance = jax.jit(jax.vmap(program.advance, in_axes=(0, 0, None, None)))
    return program._replace(advance=advance)


@cache
def joint_program(steps: int, batch_size: int, learning_rate: float) -> Program:
    """Return the training of the whole network; kept for the next call of that shape."""
    every = max(1, steps // PROJECTIONS)
    keep = transforms.keep_activable(every=every, relative_margin=MARGIN)
    program = _make_program(steps, batch_size, learning_rate, JOINT_SCALE, 1.0, keep)
    return program._replace(advance=jax.jit(program.advance))


def find_map(
    key: jax.Array,
    one: Any,
    train: Any,
    valid: Any,
    program: Program,
    *,
    starts: int,
    run: RunOptions,
) -> tuple[Any, Record, bool]:
    """Train one map from several starts; return the best, its record, whether it was cut short."""
    pairs = jax.vmap(jax.random.split)(jax.random.split(key, starts))
    params = jax.jit(jax.vmap(random_map, in_axes=(0, None)))(pairs[:, 0], one)
    state = TrainState(
        params, jax.vmap(program.optimizer.init)(params), jnp.zeros(starts, jnp.int32)
    )
    done = _drive(
        key,
        state,
        program,
        lambda state, count: program.advance(pairs[:, 1], state, train, count),
        run,
    )
    scores, shares = _score_maps(done.state.params, valid)
    best = int(jnp.argmax(scores + 1e-3 * shares))  # of two alike the certified one
    record = {
        "steps": int(done.state.step.sum()),
        "f_measure": float(scores[best]),
        "certified": float(shares[best]),
    }
    return jax.tree.map(lambda leaf: leaf[best], done.state.params), record, done.is_cut_short


def train_together(
    key: jax.Array, params: Any, train: Data, program: Program, *, run: RunOptions
) -> Run:
    """Train the whole network on all pixels."""
    state = TrainState(params, program.optimizer.init(params), jnp.zeros((), jnp.int32))
    nothing = jnp.zeros_like(train[1])
    return _drive(
        key,
        state,
        program,
        lambda state, count: program.advance(key, state, (*train, nothing), count),
        run,
    )


def _drive(
    key: jax.Array,
    state: TrainState,
    program: Program,
    advance: Callable[[TrainState, int], tuple[TrainState, jax.Array]],
    run: RunOptions,
) -> Run:
    """Take all steps of a program, in a few parts."""
    every = -(-program.steps // RECORDS)

    def take(state: TrainState) -> tuple[TrainState, jax.Array]:
        return advance(state, min(every, program.steps - int(state.step.max())))

    return drive(take, state, steps=program.steps, every=every, key=key, run=run)


@jax.jit
def _score_maps(params: Any, valid: Any) -> tuple[jax.Array, jax.Array]:
    """Return the F-measure of each binary map on uncovered pixels, and its certified share."""
    images, targets, covered = valid

    def score(params: Any) -> tuple[jax.Array, jax.Array]:
        rest = models.bimonn(binarize(params), images) & ~covered
        measure = metrics.f_measure(rest, targets & ~covered, beta=BETA)
        return measure, metrics.certified_share(params)

    return jax.vmap(score)(params)


def random_map(key: jax.Array, one: Any) -> Any:
    """Draw random weights under a bell, of mean 1/2, and put the biases at `QUANTILES`."""
    layers = []
    for depth, layer in enumerate(one):
        node = layer["bise"]
        *sides, _, _ = node.weight.shape
        dtype = node.weight.dtype
        away = (jnp.arange(side, dtype=dtype) - side // 2 for side in sides)
        squares = sum(part**2 for part in jnp.meshgrid(*away, indexing="ij"))
        bell = jnp.exp(-squares / (2 * WIDTH**2))[..., None, None]
        draw = jax.random.uniform(jax.random.fold_in(key, depth), node.weight.shape, dtype)
        weight = jnp.clip(draw * bell * (0.5 / (draw * bell).mean()), 0, 1)
        bias = (QUANTILES[depth] - 0.5) * weight.sum(tuple(range(len(sides))))  # centred
        layers.append({"bise": BiSE(weight, bias, jnp.full_like(node.scale, SCALES[0]), node.spec)})
    return layers
