"""One call from image pairs to a certified binary operator: the recipe of the examples.

The recipe, the same for every operator. Weights live in the box [0, 1] ("identity" map, box
constraint), so that no pixel outgrows the others and pixels outside S reach exactly 0. Biases are
centred, so that erosions and dilations are learned alike. The scale is not trained but annealed from
soft to hard. The loss is the logarithm of a squared error that counts the pixels which the operator
changes as much as those it leaves (and, when the known starts have failed, each of the four kinds of
pixels as much as the others): what is still wrong keeps its weight however little it is, and half of
the images are drawn by their error (`morphax.mining`). Halfway, a pull towards constant sets sets
in; it decides the pixels the data leave open. Training may settle in a poor minimum, which shows: the
run is then repeated from another start (`morphax.starts`), or, where it was wrong on a few training
images only, from the same one with these images in sight. Top-hats are learned as residues, if they may be
some: first what changes in an image, then the image beside it (`morphax.residues`). docs/learning.md has
the measurements.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from morphax import _check, models, regularizers, residues, transforms
from morphax.binarize import binarize
from morphax.mining import emphasise, make_mine, make_wrong_images
from morphax.network import NetworkCertificate, certify_network
from morphax.starts import begin, start_of
from morphax.training import (
    Chunk,
    Data,
    Evaluate,
    Loss,
    Record,
    fit,
    make_chunk,
    make_evaluate,
    make_step,
)


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
PULL = 1.0
"""Coefficient of the pull towards constant sets at the end of a run."""
FLOORS = (1e-2, 1e-6)
"""Errors below the floor count little: the floor of the loss at the start, and from 3/4 of a run on."""
MINE_EVERY = 50
"""Steps between two draws of images by their error."""
HOPELESS = 0.5
"""A run whose float Dice is below this share of the goal at half of its steps is given up."""
MARGIN = 0.02
"""Of the neurons that are put onto activable ones at the end (`transforms.keep_activable`)."""
FEW = 0.05
"""Share of wrong training images up to which a certified run counts as nearly right."""


def learn_operator(
    key: jax.Array,
    train: Data,
    *,
    valid: Data,
    channels: Sequence[int] = (1, 1, 1),
    kernel_size: int = 7,
    steps: int = 2000,
    restarts: int = 8,
    batch_size: int = 16,
    learning_rate: float = 1e-2,
    border: str = "ignore",
    symmetric: bool = False,
    goal: float = 1.0,
    log: str | Path | None = None,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Learned:
    """Learn a binary operator from pairs of images, with the fixed recipe of this module.

    Args:
        key: PRNG key; the same key and data give the same operator.
        train: (images, targets), bool `(N, H, W, C)`.
        valid: the same, held out; it decides when a run has succeeded.
        channels: of the input and of each layer: (1, 1) for one erosion or dilation, (1, 1, 1) for an
            opening or closing, (1, 3, 1) for a union of openings, (1, 2, 1) for a top-hat: targets that
            never leave their images, or never meet them, are first tried as residues.
        kernel_size: odd side of the windows.
        steps: steps of one run.
        restarts: runs at most (of what changes, for a residue, and as many of the whole where it is not
            found); the first one that is certified, reaches `goal` and, where the goal is 1, has every
            training image right ends the search; otherwise the best one is kept.
        batch_size: images a step.
        learning_rate: of Adam, decayed by a cosine.
        border: of the spatial neurons (`morphax.nodes.BORDERS`).
        symmetric: neurons on {-1, 1} (SyBiSE); data stay bool.
        goal: binary Dice on `valid` that counts as success.
        log: JSONL file for the records, over all restarts.
        progress: show a progress bar for each run.
        checkpoint: folder, from where the search goes on if it was interrupted (extra "checkpoint").

    Returns:
        `Learned`.

    Raises:
        ValueError: data that are not bool or do not fit, an even kernel, `restarts` below 1.
        OSError: a checkpoint or the log cannot be written.
    """
    _check.require(restarts >= 1, "restarts", "1 or more", restarts)
    for name, pair in (("train", train), ("valid", valid)):
        for i, part in enumerate(pair):
            expected = "a bool array (threshold it, e.g. images > 127)"
            _check.require(part.dtype == bool, f"{name}[{i}]", expected, f"dtype {part.dtype}")
    length = MINE_EVERY * max(1, steps // (8 * MINE_EVERY))
    options = {"kernel_size": kernel_size, "border": border, "symmetric": symmetric,
               "weight_map": "identity", "bias_map": "raw" if symmetric else "centred"}  # fmt: skip
    programs = _programs(steps, length, batch_size, learning_rate, symmetric)

    def search(
        key: jax.Array, part: str, channels: Sequence[int], train: Data, valid: Data, count: int
    ) -> Found:
        return _search(
            key, lambda key: models.init_bimonn(key, channels, **options), train, valid, programs,
            restarts=count, steps=steps, goal=goal, log=log, progress=progress, tags={"part": part},
            checkpoint=None if checkpoint is None else Path(checkpoint) / part,
        )  # fmt: skip

    top_hat = tuple(channels) == (1, 2, 1) and train[0].shape == train[1].shape
    found, kind = None, residues.kind(train) if top_hat else 0
    if kind:
        residue_key, key = jax.random.split(key)
        seen, held_out = residues.changed(train), residues.changed(valid)
        found = search(residue_key, "changed", (1, 1, 1), seen, held_out, restarts)
        like = models.init_bimonn(key, channels, **options)
        params = residues.residue(found.params, like, kind, scale=SCALES[1])
        record = {**found.history[-1], **_numbers(programs.evaluate(params, valid))}
        score = _score(record, programs.wrong_images(binarize(params), train), goal)
        found = Found(score, params, [*found.history[:-1], record], found.runs)
    if not (found and found.score[0]):
        other = search(key, "whole", channels, train, valid, restarts)
        runs = other.runs + (found.runs if found else 0)
        best = max([other, found] if found else [other], key=lambda each: each.score)
        found = best._replace(runs=runs)
    assert found is not None
    verdict = certify_network(models.bimonn, found.params, (1, *train[0].shape[1:]))
    return Learned(found.params, binarize(found.params), verdict, found.history, found.runs)


class Programs(NamedTuple):
    """What a run is made of."""

    optimizer: optax.GradientTransformation
    chunks: tuple[Chunk, ...]  # of each round of `start_of`
    length: int
    evaluate: Evaluate
    wrong_images: Callable[[Any, Data], jax.Array]


class Found(NamedTuple):
    """The best of some runs: its score (the first part says whether it succeeded)."""

    score: tuple[float, ...]
    params: Any
    history: list[Record]
    runs: int


def _numbers(record: Any) -> Record:
    return {name: float(value) for name, value in record.items()}


def _score(record: Record, wrong: jax.Array, goal: float) -> tuple[float, ...]:
    """How good a run is: done, binary Dice, certified, training images that are right, loss."""
    share = float(wrong.mean())
    done = record["exact"] and record["binary"] >= goal and (goal < 1 or share == 0)
    return (bool(done), record["binary"], record["exact"], -share, -record["loss"])


def _search(
    key: jax.Array,
    init: Callable[[jax.Array], Any],
    train: Data,
    valid: Data,
    programs: Programs,
    *,
    restarts: int,
    steps: int,
    goal: float,
    log: str | Path | None,
    progress: bool,
    tags: Record,
    checkpoint: Path | None,
) -> Found:
    """Runs from one start after the other, until one is right."""
    best: Found | None = None
    seen, start = train, None
    for restart in range(restarts):
        init_key, bias_key, fit_key, seen_key = jax.random.split(
            jax.random.fold_in(key, restart), 4
        )
        params = init(init_key)
        known, round_ = start_of(params, restart)
        start = start or known
        params = begin(bias_key, params, start, scale=SCALES[0])
        run = fit(
            fit_key, models.bimonn, params, seen, valid=valid, optimizer=programs.optimizer,
            steps=steps, chunk=programs.chunks[round_], evaluate=programs.evaluate, progress=progress,
            log_every=programs.length, log=log, tags={**tags, "restart": restart},
            until=lambda record: record["step"] >= steps / 2 and record["float"] < goal * HOPELESS,
            checkpoint=None if checkpoint is None else checkpoint / f"run_{restart}",
        )  # fmt: skip
        last = run.history[-1]
        wrong = programs.wrong_images(binarize(run.state.params), train)
        score = _score(last, wrong, goal)
        if best is None or score > best.score:
            best = Found(score, run.state.params, run.history, 0)
        best = best._replace(runs=restart + 1)
        if score[0]:
            return best
        if last["exact"] and 0 < -score[3] <= FEW:
            seen = emphasise(seen_key, train, wrong)  # from the same start
        else:
            seen, start = train, None
    assert best is not None
    _, binary, _, wrong, _ = best.score
    if binary >= goal and wrong == 0:  # right, but not certified: put the neurons where they belong
        params = _settle(best.params)
        record = {**best.history[-1], **_numbers(programs.evaluate(params, valid))}
        score = _score(record, programs.wrong_images(binarize(params), train), goal)
        if score[0]:
            return Found(score, params, [*best.history[:-1], record], best.runs)
    return best


def _settle(params: Any) -> Any:
    """Every neuron as its nearest activable one."""
    land = transforms.keep_activable(relative_margin=MARGIN)
    zero = jax.tree.map(jnp.zeros_like, params)
    return optax.apply_updates(params, land.update(zero, land.init(params), params)[0])


@cache
def _programs(
    steps: int, length: int, batch_size: int, learning_rate: float, symmetric: bool
) -> Programs:
    """What a run is made of; kept, so that the next operator of that shape compiles nothing."""
    optimizer = _optimizer(steps, learning_rate, symmetric)
    chunks = []
    for by_kind in (False, True):
        loss = _loss(steps, by_kind=by_kind)
        step = make_step(models.bimonn, optimizer, loss=loss, penalty=_pull(steps))
        chunks.append(make_chunk(step, batch_size=batch_size, length=length,
                                 mine=make_mine(models.bimonn), mine_every=MINE_EVERY))  # fmt: skip
    return Programs(optimizer, tuple(chunks), length, make_evaluate(models.bimonn),
                    make_wrong_images(models.bimonn))  # fmt: skip


def _optimizer(steps: int, learning_rate: float, symmetric: bool) -> optax.GradientTransformation:
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
    """The pull towards constant sets: nothing in the first half, then growing."""

    def penalty(params: Any, step: jax.Array) -> jax.Array:
        coefficient = PULL * jnp.clip(2 * step / steps - 1, 0, 1)
        return coefficient * regularizers.constant(params)

    return penalty


def _loss(steps: int, *, by_kind: bool) -> Loss:
    """Log of the balanced squared error, above a floor that sinks in the first 3/4 of a run.

    Balanced are what changes and what stays, or, `by_kind`, the four pairs of values: else an empty
    prediction is nearly right where an operator leaves few pixels of thin strokes.
    """
    high, low = FLOORS

    def loss(prediction: jax.Array, target: jax.Array, x: jax.Array, step: jax.Array) -> jax.Array:
        error = (prediction - target) ** 2
        if x.shape == target.shape:
            before, after = x > 0.5, target > 0.5
            changed = before != after
            kinds = [changed, ~changed]
            if by_kind:
                kinds = [part & side for part in kinds for side in (after, ~after)]
            weight = sum(jnp.where(k, 1 / jnp.maximum(k.mean(), 1e-2), 0.0) for k in kinds)
            error = error * weight / len(kinds)
        done = jnp.minimum(step / (0.75 * steps), 1)
        return jnp.log(error.mean() + high * (low / high) ** done)

    return loss
