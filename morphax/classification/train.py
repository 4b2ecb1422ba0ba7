"""Training the classifier of `morphax.classification.model`, by straight-through steps or smoothly.

Both roads start alike: a clause is some of the literals of a window of a training image, drawn by lot,
so that it holds somewhere; the votes start small and random (`morphax.classification.clauses`). Adam minimises the
cross-entropy of the votes.

- "straight-through": forward, w and the clauses are bits; backward, w = sigmoid(q) and a sigmoid of
  slope p. Every network on the way is binary: nothing is left to lose. Certified by construction.
- "smooth": w = sigmoid(t q) and the clauses are real throughout; t and p grow by a fixed schedule, and
  a penalty on what the certificate asks for (weights in S above 1/2, the others together below) sets in
  halfway. At the end the neurons are certified or not: that is a result, not a construction.

The votes are real while training and rounded at the end (`most` is the largest).
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from morphax import _checks
from morphax.classification.clauses import (
    GAIN,
    ROADS,
    Recipe,
    excess,
    finish,
    fires,
    level_sets,
    start,
    violations,
)
from morphax.classification.model import centres


class Trained(NamedTuple):
    """A trained classifier: `classifier(wires(votes, bias))` runs it.

    Attributes:
        params: `{"erosions": [BiSE, ...]}`, real.
        votes: int32 `(features, classes)`, rounded.
        bias: int32 `(classes,)`.
        history: records of training.
    """

    params: Any
    votes: np.ndarray
    bias: np.ndarray
    history: list[dict[str, Any]]


def augment(key: jax.Array, images: jax.Array, *, recipe: Recipe) -> jax.Array:
    """Random affine maps of images (bilinear; 0 beyond the frame).

    Without rotation, scale and shear: moves by whole pixels, up to `shift` each way, which blur nothing
    (beyond the frame the nearest pixel), and mirror images.

    Args:
        key: PRNG key.
        images: float `(batch, H, W, C)`.
        recipe: its `shift`, `rotation`, `scale`, `shear` and `flip`.

    Returns:
        As `images`.
    """
    batch, height, width, _ = images.shape
    if recipe.rotation == recipe.scale == recipe.shear == 0:
        return _shift(key, images, recipe=recipe)
    u = jax.random.uniform(key, (batch, 7), minval=-1.0, maxval=1.0)[:, :, None, None]
    angle, shear = recipe.rotation * u[:, 0], recipe.shear * u[:, 1]
    grow = 1 + recipe.scale * u[:, 2:4]
    mirror = jnp.where((u[:, 6] < 0) & recipe.flip, -1.0, 1.0)
    y, x = (np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in (height, width))
    y, x = y[None, :, None], x[None, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rows = (cos * y - sin * x) * grow[:, 0] + recipe.shift * u[:, 4] + (height - 1) / 2
    across = ((sin * y + cos * x) * grow[:, 1] + shear * y) * mirror
    columns = across + recipe.shift * u[:, 5] + (width - 1) / 2

    def one(plane: jax.Array, at: jax.Array, along: jax.Array) -> jax.Array:
        return jax.scipy.ndimage.map_coordinates(plane, [at, along], order=1)

    each_channel = jax.vmap(one, in_axes=(-1, None, None), out_axes=-1)
    return jax.vmap(each_channel)(images, rows, columns)


def _shift(key: jax.Array, images: jax.Array, *, recipe: Recipe) -> jax.Array:
    batch, height, width, _ = images.shape
    keys, most = jax.random.split(key), round(recipe.shift)
    moves = jax.random.randint(keys[0], (batch, 2, 1), -most, most + 1)
    rows, columns = (
        jnp.clip(np.arange(n)[None] + moves[:, axis], 0, n - 1)
        for axis, n in enumerate((height, width))
    )
    mirrored = jax.random.bernoulli(keys[1], 0.5 * recipe.flip, (batch, 1))
    columns = jnp.where(mirrored, width - 1 - columns, columns)
    index = (rows[:, :, None] * width + columns[:, None]).reshape(batch, -1, 1)
    flat = images.reshape(batch, height * width, -1)
    return jnp.take_along_axis(flat, index, axis=1).reshape(images.shape)


def make_step(
    recipe: Recipe, thresholds: np.ndarray, *, steps: int, chunk: int = 10
) -> tuple[optax.GradientTransformation, Callable[..., Any]]:
    """The optimizer, and one jitted step of training.

    Args:
        recipe: the recipe.
        thresholds: `(C, count)` of the level sets.
        steps: of the whole run.
        chunk: images evaluated at a time; a batch is a multiple. Small ones stay in the cache.

    Returns:
        The optimizer, and `step(latent, opt_state, images, labels, key, number)`, which gives the next
        latent and opt_state, the mean loss and the accuracy on the batch. A step whose gradients are
        not finite changes nothing.
    """
    rates = [optax.cosine_decay_schedule(rate, steps, 0.01) for rate in recipe.rates]
    label = {"clauses": "clauses", "votes": "votes", "bias": "votes"}
    optimizer = optax.apply_if_finite(
        optax.multi_transform(
            {"clauses": optax.adam(rates[0]), "votes": optax.adam(rates[1])}, label
        ),
        max_consecutive_errors=2**30,
    )
    straight = recipe.road == "straight-through"

    def loss(latent: Any, levels: Any, labels: Any, key: Any, sharpness: Any, slope: Any) -> Any:
        found = violations(latent, levels, recipe=recipe, sharpness=sharpness)
        soft = [fires(v, slope) if straight else jax.nn.sigmoid(slope * (0.5 - v)) for v in found]
        bits = jnp.concatenate([part.reshape(len(part), -1) for part in soft], -1)
        bits *= jax.random.bernoulli(key, 1 - recipe.dropout, bits.shape) / (1 - recipe.dropout)
        scores = bits @ latent["votes"] * GAIN + latent["bias"][None]
        wanted = optax.smooth_labels(jax.nn.one_hot(labels, scores.shape[-1]), recipe.smoothing)
        right = (scores.argmax(-1) == labels).sum()
        return optax.softmax_cross_entropy(scores, wanted).sum(), right

    @jax.jit
    def step(latent: Any, opt_state: Any, images: Any, labels: Any, key: Any, number: Any) -> Any:
        keys = jax.random.split(jax.random.fold_in(key, number))
        done = number / max(steps - 1, 1)
        grown = 0.0 if straight else done
        slope, sharpness = (
            low * (high / low) ** grown for low, high in (recipe.slope, recipe.sharpness)
        )
        levels = level_sets(augment(keys[0], images.astype(jnp.float32), recipe=recipe), thresholds)
        pieces = jax.tree.map(lambda a: a.reshape(-1, chunk, *a.shape[1:]), (levels, labels))

        def piece(total: Any, given: Any) -> Any:
            (x, y), at = given
            value = jax.value_and_grad(loss, has_aux=True)(
                latent, x, y, jax.random.fold_in(keys[1], at), sharpness, slope
            )
            return jax.tree.map(jnp.add, total, value), None

        zero = ((jnp.zeros(()), jnp.zeros((), jnp.int32)), jax.tree.map(jnp.zeros_like, latent))
        numbers = jnp.arange(len(images) // chunk)
        ((value, right), grads), _ = jax.lax.scan(piece, zero, (pieces, numbers))
        grads = jax.tree.map(lambda g: g / len(images), grads)
        if not straight and recipe.penalty:
            pull = jax.grad(excess)(latent, sharpness)
            much = recipe.penalty * (done > 0.5)
            grads = jax.tree.map(lambda g, extra: g + much * extra, grads, pull)
        updates, opt_state = optimizer.update(grads, opt_state, latent)
        latent = optax.apply_updates(latent, updates)
        bounded = [jnp.clip(q, -recipe.bound, recipe.bound) for q in latent["clauses"]]
        latent = {**latent, "clauses": bounded}
        return latent, opt_state, value / len(images), right / len(images)

    return optimizer, step


def fit_classifier(
    key: jax.Array,
    train: tuple[np.ndarray, np.ndarray],
    *,
    thresholds: np.ndarray,
    recipe: Recipe = Recipe(),  # noqa: B008
    epochs: float = 12.0,
    batch_size: int = 100,
    folder: str | Path | None = None,
    log_every: int = 300,
) -> Trained:
    """Train a classifier; a run that was interrupted goes on where it was saved.

    Args:
        key: PRNG key; the same key, data and options give the same classifier, interrupted or not.
        train: images `(N, H, W, C)`, uint8 or float, and labels int `(N,)` from 0.
        thresholds: `(C, count)` of the level sets (`morphax.levelsets.thresholds`).
        recipe: the recipe.
        epochs: passes over the images.
        batch_size: a multiple of 10.
        folder: where the run is saved (checkpoint.npz) and logged (metrics.jsonl); nowhere by default.
        log_every: steps between records and checkpoints.

    Returns:
        `Trained`.

    Raises:
        ValueError: images and labels that do not fit, an unknown road, or a checkpoint of another run.
    """
    images, labels = np.asarray(train[0]), np.asarray(train[1], np.int32)
    _checks.one_of("recipe.road", recipe.road, ROADS)
    fits = images.ndim == 4 and labels.shape == images.shape[:1] and len(labels) >= batch_size
    _checks.require(fits, "train", f"images (N, H, W, C) and N labels, N >= {batch_size}",
                   (images.shape, labels.shape))  # fmt: skip
    _checks.require(batch_size % 10 == 0, "batch_size", "a multiple of 10", batch_size)
    for side in images.shape[1:3]:
        centres(side, stride=recipe.stride, regions=recipe.regions)
    classes, per_epoch = int(labels.max()) + 1, len(labels) // batch_size
    steps = max(1, math.ceil(epochs * per_epoch))
    optimizer, step = make_step(recipe, thresholds, steps=steps)
    latent = start(key, images, thresholds, classes=classes, recipe=recipe)
    state: Any = (latent, optimizer.init(latent))
    name = json.dumps([recipe._asdict(), steps, batch_size, len(labels),
                       np.asarray(jax.random.key_data(key)).tolist()])  # fmt: skip
    saved = None if folder is None else Path(folder) / "checkpoint.npz"
    first, history = 0, []
    if saved is not None and saved.exists():
        first, history, state = _restore(saved, name, state)
    total, order, epoch = np.zeros(3), np.arange(0), -1
    for number in range(first, steps):
        if number // per_epoch != epoch:
            epoch = number // per_epoch
            order = np.random.default_rng([epoch, len(labels)]).permutation(len(labels))
        at = order[(number % per_epoch) * batch_size :][:batch_size]
        *state, value, right = step(*state, images[at], labels[at], key, np.float32(number))
        total += (float(value), float(right), 1)
        if (number + 1) % log_every == 0 or number + 1 == steps:
            value, right = total[:2] / total[2]
            total = np.zeros(3)
            history.append({"step": number + 1, "loss": value if math.isfinite(value) else None,
                            "train_accuracy": float(right)})  # fmt: skip
            if saved is not None:
                _save(saved, name, number + 1, history, state)
    return Trained(*finish(state[0], recipe=recipe), history=history)


def _save(path: Path, name: str, step: int, history: list[Any], state: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))
    }
    partial = path.with_name("partial.npz")
    np.savez(partial, run=np.str_(name), step=step, history=np.str_(json.dumps(history)), **arrays)
    partial.replace(path)  # whole or not at all
    with path.with_name("metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(history[-1]) + "\n")


def _restore(path: Path, name: str, state: Any) -> tuple[int, list[Any], Any]:
    with np.load(path) as file:
        _checks.require(str(file["run"]) == name, "folder", "a checkpoint of this run", file["run"])
        leaves, tree = jax.tree.flatten(state)
        found = [jnp.asarray(file[f"leaf{i}"]) for i in range(len(leaves))]
        return int(file["step"]), json.loads(str(file["history"])), jax.tree.unflatten(tree, found)
