"""Recipe for single operators: one call from image pairs to a certified binary operator.

The recipe is the same for every operator:

- Weights are in the box [0, 1] ("identity" map, box constraint), so that no pixel outgrows the
  others and pixels outside S reach exactly 0. Biases are centred, so that erosions and dilations
  are learned alike.
- The scale is not trained but annealed from soft to hard.
- The loss is the logarithm of a squared error that counts the pixels which the operator changes as
  much as those it leaves (in the second pass over the known starts, each of the four pairs of
  values as much as the others). The logarithm keeps the weight of the last wrong pixels. Half of
  the images are drawn by their error (`morphax.recipes.gradients._hard_examples`).
- In the second half of a run, a pull towards constant sets grows; it decides the pixels that the
  data leave open.
- Training may end in a poor minimum, which is seen on the pairs. The run is then repeated from
  another start (`morphax.recipes.gradients._search`), or, where it is wrong on a few training
  images only, from the same one with these images in sight.
- Top-hats are learned as residues where the targets allow it: first the pixels that change, then
  the image beside them (`morphax.recipes.gradients._residues`).
- What is still wrong in the end is refined by a descent on bits.

`learn_operator` tries a descent on bits first (`morphax.recipes.descent.operators`).
docs/notes/learning.md says why each step is there.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from morphax import _checks
from morphax.neurons import models
from morphax.objectives import regularizers
from morphax.recipes._judging import learned_from
from morphax.recipes._pairs import Data, checked_frame, require_pairs
from morphax.recipes.descent._net_of import net_of
from morphax.recipes.descent.operators import (
    PATIENCE,
    Descended,
    is_possible,
    learn_by_descent,
    log_of,
)
from morphax.recipes.gradients import _residues
from morphax.recipes.gradients._hard_examples import make_mine, make_wrong_images
from morphax.recipes.gradients._search import RunConfig, ScoredRun, rescore, search
from morphax.recipes.results import Learned
from morphax.training import transforms
from morphax.training.options import RunOptions
from morphax.training.steps import Loss, crop_border, make_chunk, make_evaluate, make_step

SCALES = (2.0, 20.0)
"""|p| at the start and at the end of a run."""
PULL = 1.0
"""Coefficient of the pull towards constant sets at the end of a run."""
FLOORS = (1e-2, 1e-6)
"""Floor of the loss at the start, and from 3/4 of a run on; errors below it count little."""
METHODS = ("auto", "descent", "gradients")
"""Ways to learn an operator."""
MINE_EVERY = 50
"""Steps between two draws of images by their error."""


def learn_operator(
    key: jax.Array,
    train: Data,
    *,
    valid: Data,
    channels: Sequence[int] = (1, 1, 1),
    kernel_size: int = 7,
    steps: int = 2000,
    restarts: int = 8,
    patience: int = 4,
    batch_size: int = 16,
    learning_rate: float = 1e-2,
    border: str = "ignore",
    symmetric: bool = False,
    frame: tuple[int, ...] = (0, 0),
    goal: float = 1.0,
    method: str = "auto",
    run: RunOptions = RunOptions(),
) -> Learned:
    """Learn a binary operator from pairs of images.

    A descent on bits (`morphax.recipes.descent`) is tried first: it takes seconds, and errors in
    the targets do not mislead it. Where it leaves errors that do not look like flipped targets, or
    cannot make such a network, the network is trained by gradients.

    Args:
        key: PRNG key; the same key and data give the same operator.
        train: (images, targets), bool `(N, H, W, C)`, or volumes `(N, D, H, W, C)`.
        valid: The same, held out. It decides when a run has succeeded, and which binary network is
            returned.
        channels: Channels of the input and of each layer: (1, 1) for an erosion or dilation, (1, 1,
            1) for an opening or closing, (1, 3, 1) for a union, (1, 2, 1) for a top-hat.
        kernel_size: Odd side of the windows.
        steps: Steps of one run.
        restarts: Maximum number of runs. The search stops at the first run that is certified,
            reaches `goal` on `valid` and, if the goal is 1, has every training image right. With
            channels (1, 2, 1), top-hats are tried first, with as many runs again.
        patience: Runs in a row that are no better than the best one, after which the search ends.
        batch_size: Images in a step.
        learning_rate: Initial rate of Adam, decayed by a cosine.
        border: Border of the spatial neurons (`morphax.neurons.nodes.BORDERS`).
        symmetric: Make neurons on {-1, 1} (SyBiSE); data stay bool.
        frame: Rows and columns along the frame of the training images where targets do not count.
            Near the frame of a crop, targets depend on pixels that were cut away, as far as
            `models.reach`. `valid` is judged whole. Volumes have slices, rows and columns.
        goal: Mean Dice on `valid`, in [0, 1], that counts as success.
        method: "auto"; "descent" (border "ignore", one output channel) or "gradients" alone.
        run: Log, progress, checkpoint and time limit of the whole search. Ctrl-C and the time limit
            return the best network so far. A descent is short and has no checkpoints.

    Returns:
        `Learned`; `morphax.models.bimonn` runs its params and its binary network. Both have the
        channels that were asked for; layers and maps that the operator does not need copy their
        input. Only where a descent finds a better network that needs more channels, that one is
        returned, and a remark says so. `found_by` says how it was found, `remarks` which share of
        the targets contradict each other. Where both ways were tried, held-out pairs decide.

    Raises:
        ValueError: Data that are not bool or have wrong shapes, an even kernel, one that is larger
            than the images, `restarts` below 1, a `frame` that leaves nothing, an unknown `method`,
            a network that a descent cannot make with `method="descent"`.
        OSError: A checkpoint or the log cannot be written.

    Example:
        >>> from morphax import data, elements
        >>> x = jax.random.bernoulli(jax.random.key(0), 0.2, (32, 12, 12, 1))
        >>> pairs = (x, data.target(x, "dilation", elements.square(3)))
        >>> learned = learn_operator(jax.random.key(1), pairs, valid=pairs, channels=(1, 1),
        ...                          kernel_size=3, steps=100, restarts=1)
        >>> learned.found_by, learned.binary[0]["bise"].selem.shape
        ('descent', (3, 3, 1, 1))
    """
    _checks.one_of("method", method, METHODS)
    _checks.require(restarts >= 1, "restarts", "1 or more", restarts)
    _checks.require(patience >= 1, "patience", "1 or more", patience)
    require_pairs(train, valid, volumes=True)
    _checks.require(kernel_size % 2 == 1, "kernel_size", "an odd number", kernel_size)
    frame = checked_frame(frame, train[0].shape[1:-1])
    clock = time.perf_counter()
    descended = None
    descend = _descent(
        key, train, valid, channels, kernel_size, border, symmetric, frame, goal, method
    )
    if descend is not None:
        descended = descend(run=run)
        if method == "descent" or descended.is_right or descended.cut_short:
            log_of(descended.learned, run)
            return descended.learned

    config = _run_config(steps, batch_size, learning_rate, symmetric, frame)
    options = {"kernel_size": kernel_size, "border": border, "symmetric": symmetric}
    options |= {"axes": len(frame)}
    options |= {"weight_map": "identity", "bias_map": "raw" if symmetric else "centred"}
    runs = {"restarts": restarts, "patience": patience, "goal": goal}
    learned = _train(key, train, valid, channels, options, config, runs, frame, run, clock)
    if descend is None or descended is None:
        return learned
    # What is still wrong may be mended on bits: the descent goes on from the trained network.
    if learned.verdict.error > 0 and net_of(learned.binary) and not run.is_over(clock):
        again = descend(run=run.part("bits", start=clock), start=learned.binary).learned
        if again.verdict.error < learned.verdict.error:
            learned = again._replace(runs=learned.runs)
    return _better(descended.learned, learned)


def _train(
    key: jax.Array,
    train: Data,
    valid: Data,
    channels: Sequence[int],
    options: dict[str, Any],
    config: RunConfig,
    runs: dict[str, Any],
    frame: tuple[int, ...],
    run: RunOptions,
    clock: float,
) -> Learned:
    """Learn by gradients."""

    def init(channels: Sequence[int]) -> Callable[[jax.Array], Any]:
        return lambda key: models.init_bimonn(key, channels, **options)

    def find(key: jax.Array, part: str, channels: Sequence[int], data: Sequence[Data]) -> ScoredRun:
        return search(
            key,
            init(channels),
            data[0],
            data[1],
            config,
            **runs,
            run=run.part(part, start=clock, part=part),
            clock=clock,
        )

    # Networks of this shape may be top-hats, which are learned in two parts: a search for the
    # pixels that change (channels 1-1-1) succeeds where one for the whole network seldom does.
    is_top_hat_shape = tuple(channels) == (1, 2, 1) and train[0].shape == train[1].shape
    inside = tuple(crop_border(part, frame) for part in train)
    best, kind = None, _residues.top_hat_kind(inside) if is_top_hat_shape else None
    if kind is not None:
        residue_key, key = jax.random.split(key)
        changed = [_residues.changed_pixels(pair) for pair in (train, valid)]
        inner = find(residue_key, "changed", (1, 1, 1), changed)
        params = _residues.residue(inner.params, init(channels)(key), kind, scale=SCALES[1])
        best = rescore(inner, params, train, valid, config, goal=runs["goal"])
    if best is None or not (best.is_right or best.cut_short):
        whole = find(key, "whole", channels, (train, valid))
        made = whole.runs + (best.runs if best else 0)
        best = whole if best is None or whole.score >= best.score else best
        best = best._replace(runs=made, cut_short=whole.cut_short)
    return learned_from(
        best.params,
        models.bimonn,
        train,
        valid,
        history=best.history,
        runs=best.runs,
        frame=frame,
        cut_short=best.cut_short,
        chosen=best.chosen,
    )


def _descent(
    key: jax.Array,
    train: Data,
    valid: Data,
    channels: Sequence[int],
    kernel_size: int,
    border: str,
    symmetric: bool,
    frame: tuple[int, ...],
    goal: float,
    method: str,
) -> Callable[..., Descended] | None:
    """Return the descent, or None where it is not wanted or not possible."""
    can = method != "gradients" and is_possible(train, valid, channels=channels, border=border)
    expected = '"gradients", or border "ignore", one output channel, targets of both values'
    _checks.require(can or method != "descent", "method", expected, method)
    if not can:
        return None
    patience = PATIENCE if method == "auto" else 2
    shape = {"channels": channels, "kernel_size": kernel_size, "symmetric": symmetric}
    return partial(
        learn_by_descent, key, train, valid, **shape, frame=frame, goal=goal, patience=patience
    )


def _better(descended: Learned, trained: Learned) -> Learned:
    """Return the network with fewer wrong held-out pixels; of equal ones the certified one."""
    remarks = descended.remarks
    if (trained.verdict.error, not trained.certificate.exact) < (descended.verdict.error, False):
        told = tuple(remark for remark in remarks if "contradict" in remark)
        return trained._replace(remarks=told)
    return descended._replace(runs=trained.runs + 1)


@cache
def _run_config(
    steps: int,
    batch_size: int,
    learning_rate: float,
    symmetric: bool,
    frame: tuple[int, ...],
) -> RunConfig:
    """Return what a run is made of; it is kept, so that it is compiled once for each shape."""
    length = MINE_EVERY * max(1, steps // (8 * MINE_EVERY))
    optimizer = _optimizer(steps, learning_rate, symmetric)
    pool = 2048 if len(frame) == 2 else 256  # volumes have many more pixels, and are fewer
    chunks, mine = [], make_mine(models.bimonn, pool=pool, frame=frame)
    for by_kind in (False, True):
        loss = _loss(steps, frame, by_kind=by_kind)
        step = make_step(models.bimonn, optimizer, loss=loss, penalty=_pull(steps))
        chunk = make_chunk(
            step, batch_size=batch_size, length=length, mine=mine, mine_every=MINE_EVERY
        )
        chunks.append(chunk)
    return RunConfig(
        optimizer,
        tuple(chunks),
        steps,
        length,
        SCALES[0],
        make_evaluate(models.bimonn),
        make_wrong_images(models.bimonn, frame=frame),
    )


def _optimizer(steps: int, learning_rate: float, symmetric: bool) -> optax.GradientTransformation:
    """Return Adam in the box [0, 1], with the annealed scale."""
    # On [-1, 1] the same neuron has half the scale and twice the (uncentred) bias.
    double = 2.0 if symmetric else 1.0
    low, high = (scale / double for scale in SCALES)
    return optax.chain(
        optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.1)),
        transforms.scale_updates(bias=5.0 * double),
        transforms.keep_weights_in(0.0, 1.0),
        transforms.set_scale(optax.exponential_decay(low, steps, high / low)),
    )


def _pull(steps: int) -> Callable[[Any, jax.Array], jax.Array]:
    """Return the pull towards constant sets: 0 in the first half of a run, then growing."""

    def penalty(params: Any, step: jax.Array) -> jax.Array:
        coefficient = PULL * jnp.clip(2 * step / steps - 1, 0, 1)
        return coefficient * regularizers.constant(params)

    return penalty


def _loss(steps: int, frame: tuple[int, ...], *, by_kind: bool) -> Loss:
    """Return the log of the balanced squared error, above a floor that sinks during a run.

    The pixels that change and those that stay count alike, or, `by_kind`, the four pairs of values.
    Otherwise an empty prediction is nearly right where an operator leaves few pixels of thin
    strokes.
    """
    high, low = FLOORS

    def loss(prediction: jax.Array, target: jax.Array, x: jax.Array, step: jax.Array) -> jax.Array:
        prediction, target, x = (crop_border(each, frame) for each in (prediction, target, x))
        error = (prediction - target) ** 2
        if x.shape == target.shape:
            before, after = x > 0.5, target > 0.5
            changed = before != after
            kinds = [changed, ~changed]
            if by_kind:
                kinds = [part & side for part in kinds for side in (after, ~after)]
            means = [k.mean(dtype=error.dtype) for k in kinds]
            shares = [jnp.maximum(mean, 1e-2) for mean in means]
            weight = sum(jnp.where(k, 1 / s, 0.0) for k, s in zip(kinds, shares, strict=True))
            error = error * weight / len(kinds)
        done = jnp.minimum(step.astype(error.dtype) / (0.75 * steps), 1)
        return jnp.log(error.mean() + high * (low / high) ** done)

    return loss
