"""Training and evaluation of one search of sweep_mnist.py.

An epoch is one program, and an interrupted search goes on at the epoch that was cut off. Three sets
of weights leave a search (`CHECKPOINTS`): those of the end, those of the least validation error of
the float network, and those of the least *total* validation loss, penalty included, which a
training loop that keeps the "best" weights hands out. With a penalty that sets in late, the last
may be weights from before it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _sweep_networks import Hyper, Network, Protocol

import morphax
from morphax.classification import refit_head
from morphax.training import RunOptions, TrainState, drive
from morphax.training.loop import Run

CHECKPOINTS = ("end", "float error", "total loss")
ADAM = optax.scale_by_adam()


class Best(NamedTuple):
    """Hold the weights that were the best by one rule.

    Attributes:
        latent: latent parameters.
        value: what the rule looks at; the least one so far.
        step: step after which it was seen.
    """

    latent: Any
    value: jax.Array
    step: jax.Array


def loss(net: Network, latent: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the papers' loss: their outputs are tanh(score) / 2 + 1/2, so it is that of 2 scores.

    Args:
        net: the network.
        latent: its latent parameters.
        x: float images `(batch, pixels)`.
        y: labels `(batch,)`.
    """
    wanted = jax.nn.one_hot(y, 10)
    return optax.sigmoid_binary_cross_entropy(2 * net.scores(latent, x), wanted).mean()


@cache
def make_epoch(net: Network, steps: int) -> Callable[..., Any]:
    """Return the jitted `(state, hyper, images, labels, order) -> (state, mean loss)`."""
    penalty: Any = net.penalty

    def add_penalty(gradient: Any, latent: Any, hyper: Hyper, step: jax.Array) -> Any:
        extra = jax.grad(penalty)(latent, step // net.every)
        strength = hyper.coefficient * net.every
        return jax.tree.map(lambda g, e: g + strength * e, gradient, extra)

    def epoch(state: TrainState, hyper: Hyper, images: Any, labels: Any, order: Any) -> Any:
        def body(carry: Any, drawn: jax.Array) -> Any:
            latent, moments, step = carry
            x, y = images[drawn].astype(jnp.float32), labels[drawn]
            value, gradient = jax.value_and_grad(lambda p: loss(net, p, x, y))(latent)
            if net.penalty is not None:
                is_due = (step % net.every == 0) & (step >= hyper.delay)
                args = gradient, latent, hyper, step
                gradient = jax.lax.cond(is_due, add_penalty, lambda g, *_: g, *args)
            updates, moments = ADAM.update(gradient, moments)
            rate = hyper.rate * (0.5 + 0.5 * jnp.cos(jnp.pi * step / steps))
            latent = jax.tree.map(lambda p, u: p - rate * u, latent, updates)
            latent = net.constrain(latent) if net.constrain else latent
            return (latent, moments, step + 1), value

        moments, best = state.opt_state
        carry, losses = jax.lax.scan(body, (state.params, moments, state.step), order)
        return TrainState(carry[0], (carry[1], best), carry[2]), losses.mean()

    return jax.jit(epoch, donate_argnums=0)


@cache
def make_choice(net: Network, per_epoch: int) -> Callable[..., Any]:
    """Return the jitted `(state, hyper, images, labels) -> (state, records)` after an epoch.

    It measures the validation images and keeps the weights if they are the best so far.
    """

    def choose(state: TrainState, hyper: Hyper, images: Any, labels: Any) -> Any:
        latent, (moments, best) = state.params, state.opt_state

        def part(given: Any) -> Any:
            x, y = given[0].astype(jnp.float32), given[1]
            return (net.scores(latent, x).argmax(-1) != y).mean(), loss(net, latent, x, y)

        pieces = (images.reshape(10, -1, images.shape[1]), labels.reshape(10, -1))
        error, total = (values.mean() for values in jax.lax.map(part, pieces))
        if net.penalty is not None:
            penalty = net.penalty(latent, state.step // per_epoch)
            total += jnp.where(state.step > hyper.delay, hyper.coefficient, 0) * penalty
        values = dict(zip(CHECKPOINTS[1:], (error, total), strict=True))
        for name, value in values.items():
            new, old = Best(latent, value, state.step), best[name]
            better = value < old.value
            best[name] = jax.tree.map(lambda a, b, c=better: jnp.where(c, a, b), new, old)
        return TrainState(latent, (moments, best), state.step), values

    return jax.jit(choose, donate_argnums=0)


def initial(net: Network, seed: int, search: int) -> TrainState:
    """Return the state before the first step; search i starts alike in all groups of a shape."""
    latent = jax.jit(net.init)(jax.random.fold_in(jax.random.key(seed), search))
    zero = jnp.zeros((), jnp.int32)
    best = {name: Best(latent, jnp.asarray(jnp.inf), zero) for name in CHECKPOINTS[1:]}
    # Copies, because the program that makes a step frees the arrays that it is given.
    return jax.tree.map(jnp.array, TrainState(latent, (ADAM.init(latent), best), zero))


def train(
    net: Network,
    hyper: Hyper,
    sets: Any,
    settings: Protocol,
    *,
    seed: int,
    search: int,
    run: RunOptions,
    name: str,
) -> Run:
    """Train one search to its last step, from the checkpoint of an interrupted run.

    Args:
        net: network of the group.
        hyper: what the search draws.
        sets: "train" and "valid": images and labels; ten divides the number of the latter.
        settings: the size of the experiment.
        seed: seed of the initial parameters and of the order of the images.
        search: number of the search.
        run: where the search is saved, and how long it may take.
        name: settings of the run.

    Returns:
        The run; its state holds the best weights of either rule.

    Raises:
        ValueError: checkpoints of other settings.
        ImportError: no orbax (extra "checkpoint").
    """
    (images, labels), valid = ([*map(jnp.asarray, sets[part])] for part in ("train", "valid"))
    per_epoch = len(images) // settings.batch
    steps = per_epoch * settings.epochs
    epoch, choose = make_epoch(net, steps), make_choice(net, per_epoch)

    def advance(state: TrainState) -> tuple[TrainState, dict]:
        rng = np.random.default_rng([seed, int(state.step) // per_epoch])
        order = rng.permutation(len(images))[: per_epoch * settings.batch]
        state, mean = epoch(state, hyper, images, labels, jnp.asarray(order.reshape(per_epoch, -1)))
        state, values = choose(state, hyper, *valid)
        return state, {"loss": mean, **values}

    return drive(
        advance,
        initial(net, seed, search),
        steps=steps,
        every=per_epoch,
        settings={"name": name},
        run=run,
    )


def chosen(state: TrainState) -> dict[str, tuple[Any, int]]:
    """Return latent parameters, and the step that they are of, for each of `CHECKPOINTS`."""
    best = state.opt_state[1]
    picked = {name: (best[name].latent, int(best[name].step)) for name in CHECKPOINTS[1:]}
    return {"end": (state.params, int(state.step)), **picked}


def blocks(function: Callable[[jax.Array], Any], images: np.ndarray) -> np.ndarray:
    """Return a function of all images, 1000 at a time."""
    parts = [function(jnp.asarray(images[i : i + 1000])) for i in range(0, len(images), 1000)]
    return np.concatenate([np.asarray(part) for part in parts])


def evaluate(net: Network, latent: Any, sets: Any, settings: Protocol) -> dict[str, Any]:
    """Return the errors of a network: float, binary, and binary with a refitted last layer.

    Returns:
        "valid_float_error", "test_float_error" and, but for baselines, the same for "binary" and
        "refit"; "certified", the share of certified hidden neurons; "median_selem", pixels of the
        median structuring element; "constant", the share of hidden neurons that say the same on
        999 of 1000 validation images; "ors_and_ands" of the others, without sharing.
    """
    scores = _scores(net)
    record: dict[str, Any] = {}
    for part in ("valid", "test"):
        images, labels = sets[part]
        answers = blocks(lambda x: scores(latent, x).argmax(-1), images)
        record[f"{part}_float_error"] = float((answers != labels).mean())
    if net.judge is None:
        return record
    exact, binary = jax.jit(net.judge)(latent)
    bits = {part: blocks(lambda x: _APPLY(binary["hidden"], x), sets[part][0]) for part in sets}
    labels = sets["train"][1]
    heads = {
        "binary": (binary["weight"], binary["bias"]),
        "refit": refit_head(
            jax.random.key(0), bits["train"], labels, classes=10, steps=settings.refit
        ),
    }
    for part in ("valid", "test"):
        for name, head in heads.items():
            answers = blocks(lambda x, h=head: _HEAD(x, *h).argmax(-1), bits[part])
            record[f"{part}_{name}_error"] = float((answers != sets[part][1]).mean())
    size = np.asarray(binary["hidden"].selem).sum(0)
    active = bits["valid"].mean(0)
    is_constant = (active < 1e-3) | (active > 1 - 1e-3)
    return record | {
        "certified": float(np.mean(exact)),
        "median_selem": float(np.median(size)),
        "constant": float(is_constant.mean()),
        "ors_and_ands": int((size - 1)[~is_constant].sum()),
    }


_APPLY, _HEAD = jax.jit(morphax.apply), jax.jit(morphax.linear_head)


@cache
def _scores(net: Network) -> Callable[[Any, jax.Array], jax.Array]:
    """Return the jitted scores of float networks on bool images."""
    return jax.jit(lambda latent, x: net.scores(latent, x.astype(jnp.float32)))
