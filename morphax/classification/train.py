"""Training of the classifier of `morphax.classification.model`: straight-through or smooth.

Both ways begin alike: a clause is a random part of the literals of a window of a training image, so
that it holds somewhere; the votes begin small and random (`morphax.classification.latent`). Adam
minimises the cross-entropy of the votes.

- "straight-through": in the forward pass, w and the clauses are bits; in the backward pass,
  w = sigmoid(q) and the clauses are a sigmoid of slope p. Every network on the way is binary, so
  nothing is lost at the end. It is certified by construction.
- "smooth": w = sigmoid(t q) and the clauses are real throughout; t and p grow by a fixed schedule.
  In the second half, a penalty on the conditions of the certificate (weights in S above 1/2, the
  sum of the others below) is added. Whether the neurons are certified at the end is a result, not a
  construction.

The votes are real in training and rounded at the end.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from morphax import _checks
from morphax.binarization import binarize
from morphax.certificates.network import NetworkCertificate, certify_network
from morphax.classification.augment import augment
from morphax.classification.clauses import (
    excess,
    fires,
    level_sets,
    real_weights,
    surplus,
    violations,
)
from morphax.classification.config import GAIN, PRECISIONS, TRAININGS, ClauseConfig, Thresholds
from morphax.classification.latent import init_latent, to_network
from morphax.classification.model import centres, classifier, features, wires
from morphax.training.loop import TrainState, drive
from morphax.training.options import Record, RunOptions
from morphax.training.steps import descend

Labelled = tuple[np.ndarray, np.ndarray]
"""(images `(N, H, W, C)`, labels `(N,)`)."""
BLOCK = 50
"""Held-out images that are classified at a time."""


class LearnedClassifier(NamedTuple):
    """Hold a learned classifier; `classifier(wires(votes, bias))` runs it.

    Attributes:
        params: `{"erosions": [BiSE, ...]}`, real.
        binary: Its binary network.
        certificate: Verdict of `certify_network` on the clauses: if it is exact, the binary network
            counts the same votes as the real one on every image.
        history: Records of training: "step", "loss", "train_accuracy", "seconds".
        votes: int32 `(features, classes)`, rounded.
        bias: int32 `(classes,)`.
        accuracy: Share of the held-out images that the binary network has right; None without any.
        trivial: Share of them that the most frequent training label has right.
        warning: One sentence where the result should not be used without a look, else None.
    """

    params: Any
    binary: Any
    certificate: NetworkCertificate
    history: list[Record]
    votes: np.ndarray
    bias: np.ndarray
    accuracy: float | None = None
    trivial: float | None = None
    warning: str | None = None


def make_step(
    config: ClauseConfig, thresholds: Thresholds, *, steps: int, chunk: int | None = None
) -> tuple[optax.GradientTransformation, Callable[..., Any]]:
    """Make the optimizer and one jitted step of training.

    Args:
        config: Hyperparameters.
        thresholds: Thresholds of the level sets (`morphax.classification.clauses.level_sets`).
        steps: Steps of the whole run.
        chunk: Images that are evaluated at a time; a batch is a multiple. By default 10 on a CPU,
            so that they stay in the cache, and 100 elsewhere where that divides the batch.

    Returns:
        The optimizer, and `step(latent, opt_state, images, labels, key, number)`, which returns the
        next latent and opt_state, the mean loss and the accuracy on the batch. A step whose
        gradients are not finite changes nothing.
    """
    optimizer = _optimizer(config, steps)
    straight = config.training == "straight-through"

    def loss(params: Any, levels: Any, labels: Any, key: Any, slope: Any) -> Any:
        found = violations(params["clauses"], levels, config=config)
        soft = [fires(v, slope) if straight else jax.nn.sigmoid(slope * (0.5 - v)) for v in found]
        bits = jnp.concatenate([part.reshape(len(part), -1) for part in soft], -1)
        remaining = jax.random.bernoulli(key, 1 - config.dropout, bits.shape)
        bits *= remaining.astype(bits.dtype) / (1 - config.dropout)
        scores = bits @ params["votes"] * GAIN + params["bias"][None]
        wanted = jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype)
        wanted = optax.smooth_labels(wanted, config.smoothing)
        right = (scores.argmax(-1).astype(labels.dtype) == labels).sum(dtype=jnp.int32)
        return optax.softmax_cross_entropy(scores, wanted).sum(), right

    @jax.jit
    def step(latent: Any, opt_state: Any, images: Any, labels: Any, key: Any, number: Any) -> Any:
        keys = jax.random.split(jax.random.fold_in(key, number))
        done = (number / max(steps - 1, 1)).astype(jnp.float32)
        grown = 0.0 if straight else done
        slope, sharpness = (
            low * (high / low) ** grown for low, high in (config.slope, config.sharpness)
        )
        moved = augment(keys[0], images.astype(jnp.float32), config=config)
        levels = level_sets(moved, thresholds, channels=config.channels).astype(config.precision)
        at_once = chunk or _at_once(len(images))
        pieces = jax.tree.map(lambda a: a.reshape(-1, at_once, *a.shape[1:]), (levels, labels))
        # The weights are computed once, not for each piece.
        params, to_latent = jax.vjp(
            lambda latent: {
                **latent,
                "clauses": real_weights(latent, config=config, sharpness=sharpness),
            },
            latent,
        )

        def piece(total: Any, given: Any) -> Any:
            (x, y), at = given
            value = jax.value_and_grad(loss, has_aux=True)(
                params, x, y, jax.random.fold_in(keys[1], at), slope
            )
            return jax.tree.map(jnp.add, total, value), None

        zero = (
            (jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)),
            jax.tree.map(jnp.zeros_like, params),
        )
        numbers = jnp.arange(len(images) // at_once)
        ((value, right), grads), _ = jax.lax.scan(piece, zero, (pieces, numbers))
        (grads,) = to_latent(jax.tree.map(lambda g: g / len(images), grads))
        grads = _with_penalties(grads, latent, config=config, done=done, sharpness=sharpness)
        latent, opt_state = descend(optimizer, grads, opt_state, latent)
        bounded = [jnp.clip(q, -config.bound, config.bound) for q in latent["clauses"]]
        latent = {**latent, "clauses": bounded}
        return latent, opt_state, value / len(images), right / len(images)

    return optimizer, step


def _optimizer(config: ClauseConfig, steps: int) -> optax.GradientTransformation:
    """Return Adam with a rate for the clauses and one for the votes."""
    rates = [optax.cosine_decay_schedule(rate, steps, 0.01) for rate in config.rates]
    label = {"clauses": "clauses", "votes": "votes", "bias": "votes"}
    return optax.apply_if_finite(
        optax.multi_transform(
            {"clauses": optax.adam(rates[0]), "votes": optax.adam(rates[1])}, label
        ),
        max_consecutive_errors=2**30,
    )


def _with_penalties(
    grads: Any, latent: Any, *, config: ClauseConfig, done: jax.Array, sharpness: jax.Array
) -> Any:
    """Add the gradients of the penalties that are asked for; `done` is the share of the run."""
    pulls = []
    if config.training == "smooth" and config.penalty:
        pulls.append((jnp.where(done > 0.5, config.penalty, 0.0), excess))
    if config.literal_penalty:
        free = partial(surplus, free=config.free_literals)
        pulls.append((config.literal_penalty, free))
    if config.vote_penalty:
        pulls.append((config.vote_penalty, lambda latent, _: jnp.abs(latent["votes"]).sum()))
    for coefficient, penalty in pulls:
        pull = jax.grad(penalty)(latent, sharpness)
        grads = jax.tree.map(lambda g, extra, c=coefficient: g + c * extra, grads, pull)
    return grads


def _at_once(batch: int) -> int:
    """Return how many images of a batch to evaluate at a time."""
    if jax.default_backend() == "cpu":
        return 10
    # An accelerator is idle on few images; all of a large batch would need much memory.
    return next(size for size in (100, 50, 20, 10) if batch % size == 0)


def learn_classifier(
    key: jax.Array,
    train: Labelled,
    *,
    thresholds: Thresholds,
    valid: Labelled | None = None,
    epochs: float = 12.0,
    batch_size: int = 100,
    config: ClauseConfig = ClauseConfig(),
    log_every: int = 300,
    run: RunOptions = RunOptions(),
) -> LearnedClassifier:
    """Learn a classifier of images that is binary to the end.

    Args:
        key: PRNG key. The same key, data and options give the same classifier bit for bit,
            interrupted or not, with the same versions of this library and of jax on the same kind
            of device with the same number of cores. Another number of cores, version or device, or
            other `XLA_FLAGS`, adds floats in another order: accuracies stay within noise, clauses
            and votes may differ.
        train: Images `(N, H, W, C)`, uint8 or float, and labels, int `(N,)` from 0.
        thresholds: Thresholds of the level sets, one increasing row for each channel: `(C, count)`
            (`morphax.levelsets.thresholds`), or rows of several lengths. With `config.channels`
            they are those of these channels.
        valid: The same, held out; they are only judged at the end.
        epochs: Passes over the images.
        batch_size: Images in a step, a multiple of 10.
        config: Hyperparameters.
        log_every: Steps between two records.
        run: Log, progress, checkpoint and time limit. Ctrl-C and the time limit return the
            classifier so far.

    Returns:
        `LearnedClassifier`.

    Raises:
        ValueError: Images and labels that do not fit, an unknown way of training, a checkpoint of
            another run.
        OSError: A checkpoint or the log cannot be written.

    Example:
        >>> images = np.zeros((20, 8, 8, 1), np.uint8)
        >>> images[::2, 2:6, 2:6] = 200
        >>> config = ClauseConfig(banks=((3, 4),), regions=2)
        >>> learned = learn_classifier(jax.random.key(0), (images, np.arange(20) % 2),
        ...                            config=config, thresholds=np.array([[100.0]]), epochs=1,
        ...                            batch_size=10)
        >>> learned.votes.shape
        (16, 2)
    """
    images, labels = np.asarray(train[0]), np.asarray(train[1], np.int32)
    _check(images, labels, batch_size, config)
    classes, per_epoch = int(labels.max()) + 1, len(labels) // batch_size
    # An accelerator keeps all images; the host hands a CPU one batch at a time.
    keep = np.asarray if jax.default_backend() == "cpu" else jnp.asarray
    all_images, all_labels = keep(images), keep(labels)
    steps = max(1, math.ceil(epochs * per_epoch))
    optimizer, step = make_step(config, thresholds, steps=steps)
    latent = init_latent(key, images, thresholds, classes=classes, config=config)

    def advance(state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        latent, opt_state, first = state.params, state.opt_state, int(state.step)
        last, values = min(first + log_every, steps), []
        for number in range(first, last):
            at = _batch(number, per_epoch, batch_size, len(labels))
            latent, opt_state, *value = step(
                latent, opt_state, all_images[at], all_labels[at], key, np.float32(number)
            )
            values.append(value)
        loss, accuracy = jnp.asarray(values).mean(0)
        state = TrainState(latent, opt_state, jnp.asarray(last, jnp.int32))
        return state, {"loss": loss, "train_accuracy": accuracy}

    settings = {**config._asdict(), "steps": steps, "batch_size": batch_size, "images": len(labels)}
    done = drive(
        advance,
        TrainState(latent, optimizer.init(latent), jnp.zeros((), jnp.int32)),
        steps=steps,
        every=log_every,
        key=key,
        settings=settings,
        run=replace(run, on_interrupt="return"),
    )
    params, votes, bias = to_network(done.state.params, config=config)
    certificate = certify_network(
        lambda params, levels: features(
            params["erosions"], levels, stride=config.stride, regions=config.regions
        ),
        params,
        (1, *images.shape[1:3], sum(len(row) for row in thresholds)),
    )
    learned = LearnedClassifier(params, binarize(params), certificate, done.history, votes, bias)
    if valid is not None:
        learned = _judge(learned, labels, valid, thresholds, config)
    if done.is_cut_short:
        cut = "The training was cut short; this is the classifier so far."
        learned = learned._replace(warning=" ".join(filter(None, (learned.warning, cut))))
    return learned


def _check(images: np.ndarray, labels: np.ndarray, batch_size: int, config: ClauseConfig) -> None:
    """Refuse data and options that cannot be trained on."""
    _checks.one_of("config.training", config.training, TRAININGS)
    _checks.one_of("config.precision", config.precision, PRECISIONS)
    is_labelled = images.ndim == 4 and labels.shape == images.shape[:1]
    is_labelled &= len(labels) >= batch_size
    expected = f"images (N, H, W, C) and N labels, N >= {batch_size}"
    _checks.require(is_labelled, "train", expected, (images.shape, labels.shape))
    _checks.require(batch_size % 10 == 0, "batch_size", "a multiple of 10", batch_size)
    for side in images.shape[1:3]:
        centres(side, stride=config.stride, regions=config.regions)


def _batch(number: int, per_epoch: int, batch_size: int, count: int) -> np.ndarray:
    """Return the images of a step: every epoch has an order of its own, a function of the step."""
    epoch, place = divmod(number, per_epoch)
    order = np.random.default_rng([epoch, count]).permutation(count)
    return order[place * batch_size :][:batch_size]


def _judge(
    learned: LearnedClassifier,
    labels: np.ndarray,
    valid: Labelled,
    thresholds: Thresholds,
    config: ClauseConfig,
) -> LearnedClassifier:
    """Add the accuracy of the binary network, and that of the most frequent training label."""
    wiring = wires(learned.votes, learned.bias)
    net = classifier(wiring, stride=config.stride, regions=config.regions)

    @jax.jit
    def predict(images: jax.Array) -> jax.Array:
        levels = level_sets(images, thresholds, channels=config.channels) > 0
        return jnp.argmax(net(learned.binary, levels), -1)

    images, answers = np.asarray(valid[0]), np.asarray(valid[1])
    blocks = [predict(jnp.asarray(images[i : i + BLOCK])) for i in range(0, len(images), BLOCK)]
    accuracy = float((np.concatenate(blocks) == answers).mean())
    trivial = float((answers == np.bincount(labels).argmax()).mean())
    warning = None
    if accuracy <= trivial < 1:
        warning = (
            f"No better than a trivial answer: {accuracy:.1%} of the held-out images are right, "
            f"{trivial:.1%} with the most frequent label."
        )
    return learned._replace(accuracy=accuracy, trivial=trivial, warning=warning)
