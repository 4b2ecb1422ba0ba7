"""One call from image pairs to a certified binary operator: the recipe of the examples.

The recipe, the same for every operator. Weights live in the box [0, 1] ("identity" map, box
constraint), so that no pixel outgrows the others and pixels outside S reach exactly 0. Biases are
centred, so that erosions and dilations are learned alike. The scale is not trained but annealed from
soft to hard. The loss is the logarithm of a squared error that counts the pixels which the operator
changes as much as those it leaves (and, when the known starts have failed, each of the four kinds of
pixels as much as the others): what is still wrong keeps its weight however little it is, and half of
the images are drawn by their error (`morphax.recipes._hard_examples`). Halfway, a pull towards constant sets sets
in; it decides the pixels the data leave open. Training may settle in a poor minimum, which shows: the
run is then repeated from another start (`morphax.recipes._search`), or, where it was wrong on a few training
images only, from the same one with these images in sight. Top-hats are learned as residues, if they may be
some: first what changes in an image, then the image beside it (`morphax.recipes._residues`). docs/learning.md has
the measurements.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from morphax import _checks
from morphax.binarization import binarize
from morphax.certificates.network import NetworkCertificate, certify_network
from morphax.neurons import models
from morphax.objectives import regularizers
from morphax.recipes import _residues
from morphax.recipes._hard_examples import make_mine, make_wrong_images
from morphax.recipes._search import Found, Programs, judge_again, search
from morphax.training import transforms
from morphax.training.fitting import Record
from morphax.training.steps import Data, Loss, make_chunk, make_evaluate, make_step, within


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
    frame: tuple[int, int] = (0, 0),
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
        border: of the spatial neurons (`morphax.neurons.nodes.BORDERS`).
        symmetric: neurons on {-1, 1} (SyBiSE); data stay bool.
        frame: rows and columns along the frame of the training images where targets are not looked at: in
            crops, they depend on pixels that were cut away (`models.reach` of them). `valid` is judged whole.
        goal: binary Dice on `valid` that counts as success.
        log: JSONL file for the records, over all restarts.
        progress: show a progress bar for each run.
        checkpoint: folder, from where the search goes on if it was interrupted (extra "checkpoint").

    Returns:
        `Learned`.

    Raises:
        ValueError: data that are not bool or do not fit, an even kernel, `restarts` below 1, a `frame`
            that leaves nothing.
        OSError: a checkpoint or the log cannot be written.
    """
    _checks.require(restarts >= 1, "restarts", "1 or more", restarts)
    for name, pair in (("train", train), ("valid", valid)):
        for i, part in enumerate(pair):
            expected = "a bool array (threshold it, e.g. images > 127)"
            _checks.require(part.dtype == bool, f"{name}[{i}]", expected, f"dtype {part.dtype}")
    size = train[0].shape[1:3]
    fits = len(frame) == 2 and all(0 <= 2 * a < b for a, b in zip(frame, size, strict=False))
    _checks.require(fits, "frame", f"two numbers from 0 to less than half of {size}", frame)
    length = MINE_EVERY * max(1, steps // (8 * MINE_EVERY))
    options = {"kernel_size": kernel_size, "border": border, "symmetric": symmetric,
               "weight_map": "identity", "bias_map": "raw" if symmetric else "centred"}  # fmt: skip
    programs = _programs(steps, length, batch_size, learning_rate, symmetric, tuple(frame))

    def find(key: jax.Array, part: str, channels: Sequence[int], train: Data, valid: Data) -> Found:
        return search(
            key, lambda key: models.init_bimonn(key, channels, **options), train, valid, programs,
            restarts=restarts, goal=goal, log=log, progress=progress, tags={"part": part},
            checkpoint=None if checkpoint is None else Path(checkpoint) / part,
        )  # fmt: skip

    top_hat = tuple(channels) == (1, 2, 1) and train[0].shape == train[1].shape
    found, kind = None, 0
    if top_hat:
        kind = _residues.kind((within(train[0], frame), within(train[1], frame)))
    if kind:
        residue_key, key = jax.random.split(key)
        found = find(residue_key, "changed", (1, 1, 1), *map(_residues.changed, (train, valid)))
        like = models.init_bimonn(key, channels, **options)
        params = _residues.residue(found.params, like, kind, scale=SCALES[1])
        found = judge_again(found, params, train, valid, programs, goal=goal)
    if found is None or not found.right:
        whole = find(key, "whole", channels, train, valid)
        runs = whole.runs + (found.runs if found else 0)
        best = whole if found is None or whole.score >= found.score else found
        found = best._replace(runs=runs)
    verdict = certify_network(models.bimonn, found.params, (1, *train[0].shape[1:]))
    return Learned(found.params, binarize(found.params), verdict, found.history, found.runs)


@cache
def _programs(
    steps: int,
    length: int,
    batch_size: int,
    learning_rate: float,
    symmetric: bool,
    frame: tuple[int, int],
) -> Programs:
    """What a run is made of; kept, so that the next operator of that shape compiles nothing."""
    optimizer = _optimizer(steps, learning_rate, symmetric)
    chunks, mine = [], make_mine(models.bimonn, frame=frame)
    for by_kind in (False, True):
        loss = _loss(steps, frame, by_kind=by_kind)
        step = make_step(models.bimonn, optimizer, loss=loss, penalty=_pull(steps))
        chunks.append(make_chunk(step, batch_size=batch_size, length=length,
                                 mine=mine, mine_every=MINE_EVERY))  # fmt: skip
    return Programs(optimizer, tuple(chunks), steps, length, SCALES[0], make_evaluate(models.bimonn),
                    make_wrong_images(models.bimonn, frame=frame))  # fmt: skip


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


def _loss(steps: int, frame: tuple[int, int], *, by_kind: bool) -> Loss:
    """Log of the balanced squared error, above a floor that sinks in the first 3/4 of a run.

    Balanced are what changes and what stays, or, `by_kind`, the four pairs of values: else an empty
    prediction is nearly right where an operator leaves few pixels of thin strokes.
    """
    high, low = FLOORS

    def loss(prediction: jax.Array, target: jax.Array, x: jax.Array, step: jax.Array) -> jax.Array:
        prediction, target, x = (within(each, frame) for each in (prediction, target, x))
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
