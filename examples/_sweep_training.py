"""Training and evaluation of all members of a group of sweep_mnist.py by one program.

The members see the same images in the same order. The step number is not batched, so an evaluation
of the regulariser that is due every few steps is skipped in the others. A member whose loss is no
longer finite stays so, and no other member notices.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _sweep_networks import Network, Protocol, classifier

from morphax.training import RunOptions, TrainState, drive

# Members that a CPU trains at once: their parameters stay in the cache, so a few at a time are
# faster than all together.
AT_ONCE = 3


@cache
def make_chunk(net: Network, settings: Protocol, steps: int) -> Callable[..., Any]:
    """Return the jitted `(state, hypers, images, labels, order) -> (state, losses of members)`."""
    at_once = AT_ONCE if jax.default_backend() == "cpu" else settings.searches
    adam = optax.scale_by_adam()

    def loss(latent: Any, hyper: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        # The papers' outputs are tanh(score) / 2 + 1/2: binary cross-entropy of 2 scores.
        return optax.sigmoid_binary_cross_entropy(2 * net.scores(latent, hyper, x), y).mean()

    def add_penalty(gradient: Any, latent: Any, hyper: Any, step: jax.Array) -> Any:
        strength = hyper["coefficient"] * settings.every * (step >= hyper["delay"])
        extra = jax.grad(net.penalty)(latent, hyper, step // settings.every)
        return jax.tree.map(lambda g, e: g + strength * e, gradient, extra)

    def update(
        latent: Any, moments: Any, hyper: Any, x: jax.Array, y: jax.Array, step: jax.Array
    ) -> Any:
        value, gradient = jax.value_and_grad(loss)(latent, hyper, x, y)
        if net.penalty is not None:
            is_due = step % settings.every == 0
            args = gradient, latent, hyper, step
            gradient = jax.lax.cond(is_due, add_penalty, lambda g, *_: g, *args)
        updates, moments = adam.update(gradient, moments)
        rate = hyper["rate"] * (0.5 + 0.5 * jnp.cos(jnp.pi * step / steps))
        latent = jax.tree.map(lambda p, u: p - rate * u, latent, updates)
        return latent, moments, value

    def chunk(
        state: Any, hypers: Any, images: jax.Array, labels: jax.Array, order: jax.Array
    ) -> Any:
        def train_member(member: Any) -> Any:
            latent, moments, hyper = member

            def body(carry: Any, drawn: jax.Array) -> Any:
                latent, moments, step = carry
                x, y = images[drawn].astype(jnp.float32), jax.nn.one_hot(labels[drawn], 10)
                latent, moments, value = update(latent, moments, hyper, x, y, step)
                return (latent, moments, step + 1), value

            carry, losses = jax.lax.scan(body, (latent, moments, state.step), order)
            return carry[:2], losses.mean()

        members = (state.params, state.opt_state, hypers)
        batch_size = min(at_once, settings.searches)
        trained, losses = jax.lax.map(train_member, members, batch_size=batch_size)
        return TrainState(*trained, state.step + len(order)), losses

    return jax.jit(chunk, donate_argnums=0)


def initial(net: Network, hypers: Any, seed: int) -> TrainState:
    """Return the state of all members: latent parameters, Adam's moments, one step for all."""
    searches = len(hypers["rate"])
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(searches))
    latent = jax.jit(jax.vmap(net.init))(keys, hypers)
    moments = jax.vmap(optax.scale_by_adam().init)(latent)
    return TrainState(latent, moments, jnp.zeros((), jnp.int32))


def batches(seed: int, count: int, batch: int, steps: range) -> Iterator[np.ndarray]:
    """Yield the numbers of the images of each of these steps: a permutation for each epoch."""
    shuffled, current = np.arange(count), None
    for step in steps:
        epoch, place = divmod(step, count // batch)
        if epoch != current:
            shuffled, current = np.random.default_rng([seed, epoch]).permutation(count), epoch
        yield shuffled[place * batch :][:batch]


def train(
    net: Network,
    hypers: Any,
    train_set: Any,
    settings: Protocol,
    *,
    seed: int,
    steps: int,
    folder: Path | None,
    name: str,
    bar: Any,
) -> tuple[Any, np.ndarray]:
    """Train all members of a group to their last step, from the checkpoint of an interrupted run.

    Args:
        net: network of the group.
        hypers: hyper-parameters of its members, from `draw`.
        train_set: images and labels.
        settings: the size of the experiment.
        seed: seed of the initial parameters and of the order of the images.
        steps: length of the run.
        folder: folder of the checkpoints; None for none.
        name: settings of the run.
        bar: progress bar.

    Returns:
        Latent parameters, and for each member the step at which its loss was no longer finite, or
        -1.

    Raises:
        ValueError: checkpoints of other settings.
        ImportError: no orbax (extra "checkpoint").
    """
    images, labels = train_set
    chunk, length = make_chunk(net, settings, steps), max(1, min(200, steps // 4))

    # `training.fit` trains one model; a sweep gives `drive` the steps of all members instead.
    def advance(state: TrainState) -> tuple[TrainState, jax.Array]:
        numbers = range(int(state.step), min(int(state.step) + length, steps))
        order = np.stack([*batches(seed, len(images), settings.batch, numbers)])
        state, losses = chunk(state, hypers, images, labels, jnp.asarray(order))
        bar.update(int(state.step) - bar.n)
        return state, losses

    done = drive(
        advance,
        initial(net, hypers, seed),
        steps=steps,
        every=length,
        settings={"name": name},
        run=RunOptions(checkpoint=folder),
    )
    lost = ~np.isfinite(np.array([record["loss"] for record in done.history], float))
    numbers = np.array([record["step"] for record in done.history])
    return done.state.params, np.where(lost.any(0), numbers[lost.argmax(0)], -1)


def evaluate(
    net: Network, latent: Any, hypers: Any, images: np.ndarray, labels: np.ndarray
) -> list[dict]:
    """Return, for each member, its errors as float and binary network and how often they differ."""
    real = jax.jit(jax.vmap(net.scores, in_axes=(0, 0, None)))
    binary = jax.jit(jax.vmap(classifier, in_axes=(0, None)))
    shares, bits = None, None
    if net.judge is not None:
        shares, bits = jax.jit(jax.vmap(net.judge))(latent, hypers)

    # Answers of all members, 1000 images at a time.
    floats, binaries = [], []
    for i in range(0, len(images), 1000):
        x = jnp.asarray(images[i : i + 1000])
        floats.append(np.asarray(real(latent, hypers, x.astype(jnp.float32)).argmax(-1)))
        if bits is not None:
            binaries.append(np.asarray(binary(bits, x).argmax(-1)))
    soft = np.concatenate(floats, 1)
    hard = np.concatenate(binaries, 1) if binaries else None

    records = []
    for member in range(len(soft)):
        record = {"float_error": float((soft[member] != labels).mean())}
        record["binary_error"] = record["gap"] = record["certified"] = None
        if hard is not None:
            record["binary_error"] = float((hard[member] != labels).mean())
            record["gap"] = float((hard[member] != soft[member]).mean())
            record["certified"] = float(shares[member])
        records.append(record)
    return records
