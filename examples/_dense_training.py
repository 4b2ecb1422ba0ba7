"""Training of the binary DenseLUI of dense_mnist.py, smoothly or straight through.

Weights are w = sigmoid(t q) in [0, 1], or the bits q > 0. A bias is tied to them: sum(w) - 1/2 for
an erosion, 1/2 for a dilation, so a neuron is certified as soon as its weights in S are above 1/2
and the others sum to less. The first half of the neurons are erosions; the others are dilations
with a negative scale.

A neuron starts as a few pixels in a small window: pixels that are set in a training image for an
erosion, pixels that are not for a dilation. Slopes and sharpness grow. Halfway, a penalty on what
the certificate asks for sets in. Straight through: bits forward, the derivatives of the smooth
functions backward.
"""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import morphax
from morphax.classification import ClauseConfig, clauses
from morphax.classification.augment import augment
from morphax.classification.config import GAIN
from morphax.training import RunOptions, TrainState, drive

THRESHOLD = 128  # a pixel is set from here on
SLOPE, SHARPNESS = (2.0, 16.0), (4.0, 32.0)  # at the first step and at the last
RATES = (0.02, 0.003)  # of Adam, for the neurons and for the last layer
PENALTY, DROPOUT, SMOOTHING, BOUND = 1e-3, 0.2, 0.02, 1.5


def node(q: jax.Array, *, training: str, sharpness: Any, slope: Any) -> morphax.BiSE:
    """Return the DenseLUI of latent weights `(784, neurons)`."""
    soft = jax.nn.sigmoid(sharpness * q)
    weight = (q > 0).astype(q.dtype) if training == "straight-through" else soft
    erosion = jnp.arange(q.shape[1]) < q.shape[1] // 2
    bias = jnp.where(erosion, weight.sum(0) - 0.5, 0.5)
    scale = jnp.where(erosion, slope, -slope) / 2  # the sigmoid of slope p is tanh of p / 2
    return morphax.BiSE(weight, bias, scale, morphax.Spec("dense", "identity", "raw", "tanh"))


def initial(key: jax.Array, images: np.ndarray, neurons: int) -> dict[str, jax.Array]:
    """Return initial latent parameters: q `(pixels, neurons)`, votes and their bias."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    n, side = len(images), images.shape[1]
    drawn = images[rng.integers(0, n, neurons), :, :, 0] >= THRESHOLD
    y, x = np.mgrid[:side, :side]
    # Pixels that satisfy the neuron in the image drawn for it, near a place where digits have ink.
    hold = np.where((np.arange(neurons) < neurons // 2)[:, None, None], drawn, ~drawn)
    inked = (images[:2000, :, :, 0] >= THRESHOLD).mean(0) > 0.02
    centres = np.argwhere(inked)[rng.integers(0, inked.sum(), neurons)]
    near = (abs(y - centres[:, :1, None]) <= 4) & (abs(x - centres[:, 1:, None]) <= 4)
    pick = hold & near & inked & (rng.random(hold.shape) < 0.15)
    q = np.where(pick, 0.5, -1.2) + rng.normal(0, 0.2, pick.shape)
    votes = rng.normal(0, 0.05, (neurons, 10))
    tree = {"q": q.reshape(neurons, -1).T, "votes": votes, "bias": np.zeros(10)}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def excess(q: jax.Array, sharpness: Any) -> jax.Array:
    """Return how far the neurons are outside of their certificate, with a margin."""
    return clauses.excess({"clauses": [q[None]]}, sharpness)


@cache
def make_chunk(
    training: str, steps: int
) -> tuple[optax.GradientTransformation, Callable[..., Any]]:
    """Return the optimizer and a jitted function that makes the steps of a chunk.

    The function is `(state, images, labels, order, key) -> (state, figures)`; figures are means.
    """
    rates = [optax.cosine_decay_schedule(rate, steps, 0.01) for rate in RATES]
    label = {"q": "neurons", "votes": "votes", "bias": "votes"}
    optimizer = optax.multi_transform(
        {"neurons": optax.adam(rates[0]), "votes": optax.adam(rates[1])}, label
    )
    straight = training == "straight-through"

    def hidden(q: jax.Array, x: jax.Array, sharpness: Any, slope: Any) -> jax.Array:
        if not straight:
            return morphax.apply(node(q, training=training, sharpness=sharpness, slope=slope), x)
        # Bits in the forward pass, the gradient of the sigmoid in the backward pass.
        soft = jax.nn.sigmoid(sharpness * q)
        hard = (q > 0) + soft - jax.lax.stop_gradient(soft)
        half = q.shape[1] // 2
        total = x @ hard
        missing = hard[:, :half].sum(0)[None] - total[:, :half]
        return clauses.fires(jnp.concatenate([missing, total[:, half:]], 1), slope)

    def loss(latent: Any, x: Any, y: Any, key: Any, sharpness: Any, slope: Any, weight: Any) -> Any:
        bits = hidden(latent["q"], x, sharpness, slope)
        bits *= jax.random.bernoulli(key, 1 - DROPOUT, bits.shape) / (1 - DROPOUT)
        scores = bits @ latent["votes"] * GAIN + latent["bias"][None]
        wanted = optax.smooth_labels(jax.nn.one_hot(y, 10), SMOOTHING)
        value = optax.softmax_cross_entropy(scores, wanted).mean()
        penalty = 0.0 if straight else weight * excess(latent["q"], sharpness)
        accuracy = (scores.argmax(-1) == y).mean()
        return value + penalty, {"loss": value, "train_accuracy": accuracy}

    moves = ClauseConfig()  # of images in training

    def step(state: Any, drawn: Any, images: Any, labels: Any, key: Any) -> Any:
        latent, opt_state, number = state
        keys = jax.random.split(jax.random.fold_in(key, number))
        done = number / max(steps - 1, 1)
        grown = 0.0 if straight else done
        slope, sharpness = (low * (high / low) ** grown for low, high in (SLOPE, SHARPNESS))
        x = augment(keys[0], images[drawn].astype(jnp.float32), config=moves)
        x = (x >= THRESHOLD).astype(jnp.float32).reshape(len(drawn), -1)
        gradient, figures = jax.grad(loss, has_aux=True)(
            latent, x, labels[drawn], keys[1], sharpness, slope, PENALTY * (done > 0.5)
        )
        updates, opt_state = optimizer.update(gradient, opt_state, latent)
        latent = optax.apply_updates(latent, updates)
        latent = {**latent, "q": jnp.clip(latent["q"], -BOUND, BOUND)}
        return TrainState(latent, opt_state, number + 1), figures

    def chunk(state: Any, images: Any, labels: Any, order: Any, key: Any) -> Any:
        def body(state: Any, drawn: Any) -> Any:
            return step(state, drawn, images, labels, key)

        state, figures = jax.lax.scan(body, state, order)
        return state, jax.tree.map(jnp.mean, figures)

    return optimizer, jax.jit(chunk, donate_argnums=0)


def fit(
    key: jax.Array,
    train: Any,
    *,
    training: str,
    neurons: int,
    epochs: float,
    batch: int,
    folder: Path,
    length: int = 50,
) -> tuple[Any, list[dict]]:
    """Train a network, from the checkpoint that `folder` holds of the same run, if there is one.

    Args:
        key: seed of the run.
        train: images and labels.
        training: "smooth" or "straight-through".
        neurons: size of the hidden layer.
        epochs: passes over the images.
        batch: images in a step.
        folder: folder of the results; the checkpoints of each way of training are in one of theirs.
        length: steps between two checkpoints.

    Returns:
        Latent parameters, and the records of training.

    Raises:
        ValueError: a checkpoint of a run with other settings.
        ImportError: no orbax (extra "checkpoint").
    """
    images, labels = train
    count, clock = len(images), time.process_time()
    steps = max(1, round(epochs * (count // batch)))
    optimizer, chunk = make_chunk(training, steps)
    latent = initial(key, images, neurons)
    device = jnp.asarray(images), jnp.asarray(labels)

    def advance(state: TrainState) -> tuple[TrainState, dict]:
        nonlocal clock
        numbers = range(int(state.step), min(int(state.step) + length, steps))
        order = np.stack([place(count, batch, number) for number in numbers])
        state, figures = chunk(state, *device, jnp.asarray(order), key)
        figures = {name: float(value) for name, value in figures.items()}
        before, clock = clock, time.process_time()
        return state, {**figures, "cpu_seconds": round(clock - before, 3)}

    done = drive(
        advance,
        TrainState(latent, optimizer.init(latent), jnp.zeros((), jnp.int32)),
        steps=steps,
        every=length,
        key=key,
        settings={"training": training, "steps": steps, "batch": batch, "images": count},
        run=RunOptions(progress=True, checkpoint=folder / "checkpoints" / training),
    )
    return done.state.params, done.history


def place(count: int, batch: int, step: int) -> np.ndarray:
    """Return the numbers of the images of a step: a permutation for each epoch."""
    epoch, at = divmod(step, count // batch)
    return np.random.default_rng([epoch, count]).permutation(count)[at * batch :][:batch]
