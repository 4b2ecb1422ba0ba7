"""Clauses in training: their latent weights, their violations, and the network they become.

A clause with weights w on its literals is violated by v = sum of w over the literals that do not
hold. Its output is xi(p (1/2 - v)) for the least v of a region: an erosion, whose bias is tied to
its weights, b = sum(w) - 1/2, and a union. Weights are w = sigmoid(t q), or the bits q > 0.
`ClauseConfig` has all hyperparameters; `morphax.classification.train` trains.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.classification.model import centres
from morphax.morphology import contrast, levelsets
from morphax.neurons.nodes import BiSE, Spec

Thresholds = Sequence[Sequence[float]] | np.ndarray
"""One increasing row for each channel; an array `(C, count)` where all have the same length."""
TRAININGS = ("straight-through", "smooth")
"""Ways of training; see `morphax.classification.train`."""


class ClauseConfig(NamedTuple):
    """Hold the hyperparameters of the clause classifier.

    Attributes:
        banks: (window side, number of clauses) of each bank.
        channels: Kinds of channels of which level sets are taken, in training after the images
            were moved (`morphax.contrast.channels`); () takes the channels of the images.
        training: One of `TRAININGS`.
        stride: Step between windows, in pixels (`morphax.classification.model.centres`).
        regions: Parts of each side of the image over which clauses are united.
        literals: Mean number of literals of a clause at the start.
        slope: p at the start and at the end; "straight-through" keeps the first.
        sharpness: t at the start and at the end; "straight-through" keeps the first.
        penalty: Coefficient of the penalty of the certificate ("smooth").
        literal_penalty: Coefficient of the penalty on clauses of more literals than
            `free_literals`; each literal costs an AND at every window.
        free_literals: Literals of a clause that the penalty leaves alone.
        vote_penalty: Coefficient of the penalty on the sum of the |votes|, which makes many of them
            0: fewer bits are counted.
        dropout: Share of the features that are left out of the votes in a step.
        smoothing: Label smoothing.
        bound: Largest |q|, so that every literal can still change in the next steps.
        rates: Initial rates of Adam, for the clauses and for the votes; cosine decay to a
            hundredth.
        most: Largest |vote| after rounding.
        shift: Largest move of training images, in pixels.
        rotation: Largest rotation of training images, in radians.
        scale: Largest relative change of the size of training images.
        shear: Largest shear of training images, a share of the height.
        flip: Whether a mirrored image has the same label.
    """

    banks: tuple[tuple[int, int], ...] = ((7, 512), (11, 512))
    channels: tuple[str, ...] = ()
    training: str = "straight-through"
    stride: int = 2
    regions: int = 3
    literals: float = 12.0
    slope: tuple[float, float] = (2.0, 16.0)
    sharpness: tuple[float, float] = (1.0, 1.0)
    penalty: float = 0.0
    literal_penalty: float = 0.0
    free_literals: int = 16
    vote_penalty: float = 0.0
    dropout: float = 0.1
    smoothing: float = 0.02
    bound: float = 1.5
    rates: tuple[float, float] = (0.03, 0.003)
    most: int = 15
    shift: float = 1.5
    rotation: float = 0.15
    scale: float = 0.1
    shear: float = 0.15
    flip: bool = False


SMOOTH = {"training": "smooth", "sharpness": (4.0, 32.0), "penalty": 1e-3}
"""Changes for smooth training: `ClauseConfig(**SMOOTH)`."""
GAIN = 0.1
"""Factor of the real votes, which makes the steps of Adam small for them."""


def init_latent(
    key: jax.Array,
    images: np.ndarray,
    thresholds: Thresholds,
    *,
    classes: int,
    config: ClauseConfig,
) -> Any:
    """Draw latent parameters before training: clauses from windows of the images.

    Args:
        key: PRNG key.
        images: `(N, H, W, C)`, the training images.
        thresholds: Thresholds of the level sets (`level_sets`).
        classes: Number of classes.
        config: Hyperparameters.

    Returns:
        {"clauses": latent weights float `(2, n, neurons)` of each bank (the literals, the
        complements), "votes": `(features, classes)`, "bias": `(classes,)`}.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    clauses = []
    for size, count in config.banks:
        chosen, kept = [], 0
        while kept < count:
            picked = images[rng.integers(0, len(images), count)]
            seen = level_sets(jnp.asarray(picked), thresholds, channels=config.channels)
            seen = np.asarray(_region_windows(seen, size, config)).reshape(
                count, -1, _inputs(seen, size)
            )
            # 0 for a window of one colour, which says nothing: such windows are chosen last.
            busy = np.minimum(seen.mean(-1), 1 - seen.mean(-1))
            where = np.argmax(np.where(busy > 0.1, rng.random(busy.shape), busy - 1), 1)
            chosen.append(seen[np.arange(count), where])
            kept += count
        hold = np.concatenate(chosen)[:count].T > 0.5
        pick = rng.random(hold.shape) < config.literals / len(hold)
        latent = np.stack([np.where(side & pick, 0.7, -1.5) for side in (hold, ~hold)])
        clauses.append(latent + rng.normal(0, 0.3, latent.shape))
    n = config.regions**2 * sum(count for _, count in config.banks)
    votes = rng.normal(0, 0.05, (n, classes))
    latent = {"clauses": clauses, "votes": votes, "bias": np.zeros(classes)}
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), latent)


def level_sets(
    images: jax.Array, thresholds: Thresholds, *, channels: tuple[str, ...] = ()
) -> jax.Array:
    """Return the level sets of images, or of channels that are made of them.

    Args:
        images: `(N, H, W, C)`; floats are rounded where channels are made of them.
        thresholds: One increasing row for each channel; rows may differ in length.
        channels: Kinds of channels (`morphax.contrast.channels`), or () for those of the images.

    Returns:
        Floats 0 and 1 `(N, H, W, planes)`, the planes of a channel one after the other.

    Raises:
        ValueError: Another number of rows than of channels.

    Example:
        >>> level_sets(np.array([[[[3, 7]]]]), [[2, 5], [7]]).tolist()
        [[[[1.0, 0.0, 1.0]]]]
    """
    if channels:
        images = contrast.channels(jnp.round(images).astype(jnp.int32), channels)
    x = jnp.asarray(images).astype(jnp.float32)
    one_each = len(thresholds) == x.shape[-1]
    _checks.require(one_each, "thresholds", f"{x.shape[-1]} rows, one a channel", len(thresholds))
    rows = [np.asarray(row, np.float32)[None] for row in thresholds]
    held = [levelsets.decompose(x[..., c, None], row) for c, row in enumerate(rows)]
    return jnp.concatenate(held, -1).astype(jnp.float32)


def _inputs(levels: jax.Array, size: int) -> int:
    return size * size * levels.shape[-1]


def _region_windows(levels: jax.Array, size: int, config: ClauseConfig) -> jax.Array:
    """Return `(batch, regions, positions of one, inputs)`: `model.windows`, region by region."""
    batch, height, width, channels = levels.shape
    r, around = config.regions, np.arange(size) - size // 2
    rows, columns = (
        np.clip(
            centres(n, stride=config.stride, regions=r)[:, None] + around[None], 0, n - 1
        ).reshape(r, -1, size)
        for n in (height, width)
    )
    index = rows[:, None, :, None, :, None] * width + columns[None, :, None, :, None]
    flat = levels.reshape(batch, height * width, channels)
    seen = jnp.take(flat, index.reshape(-1), axis=1, mode="clip")
    return seen.reshape(batch, r * r, -1, size * size * channels)


@jax.custom_jvp
def fires(v: jax.Array, slope: jax.Array) -> jax.Array:
    """Return 1 where v < 1/2, else 0; the derivative is that of the sigmoid of that slope."""
    return (v < 0.5).astype(v.dtype)


@fires.defjvp
def _(primals: Any, tangents: Any) -> Any:
    v, slope = primals
    soft = jax.nn.sigmoid(slope * (0.5 - v))
    return fires(v, slope), -slope * soft * (1 - soft) * tangents[0]


def real_weights(
    latent: Any, *, config: ClauseConfig, sharpness: jax.Array | float = 1.0
) -> list[tuple[jax.Array, jax.Array]]:
    """Return the weights of the clauses as `violations` reads them.

    One matrix product serves the literals x and 1 - x: sum_i w_i (1 - x_i) + w'_i x_i
    = sum_i w_i + sum_i (w'_i - w_i) x_i.

    Args:
        latent: Parameters of `init_latent`.
        config: Hyperparameters.
        sharpness: t.

    Returns:
        For each bank w' - w, `(n, neurons)`, and the sum of w, `(neurons,)`.
    """
    found = []
    for q in latent["clauses"]:
        soft = jax.nn.sigmoid(sharpness * q)
        hard = (q > 0).astype(q.dtype) + soft - jax.lax.stop_gradient(soft)
        # Weights of the literals x, violated by 1 - x, and of their complements, violated by x.
        plain, complement = hard if config.training == "straight-through" else soft
        found.append((complement - plain, plain.sum(0)))
    return found


def violations(
    weights: list[tuple[jax.Array, jax.Array]], levels: jax.Array, *, config: ClauseConfig
) -> list[jax.Array]:
    """Return the least violation of each clause in each region.

    Args:
        weights: Weights of `real_weights`.
        levels: Floats 0 or 1 `(batch, H, W, channels)`.
        config: Hyperparameters.

    Returns:
        For each bank, float `(batch, regions ** 2, neurons)`.
    """
    return [
        _least(_region_windows(levels, size, config), difference) + offset[None, None]
        for (size, _), (difference, offset) in zip(config.banks, weights, strict=True)
    ]


@jax.custom_vjp
def _least(windows: jax.Array, weights: jax.Array) -> jax.Array:
    """Return the least products of windows `(batch, regions, positions, n)` with `(n, neurons)`.

    The gradient of a minimum goes in equal shares to the positions that attain it; that of the
    windows, which nobody needs, is not computed.
    """
    return (windows @ weights).min(2)


def _least_forward(windows: jax.Array, weights: jax.Array) -> Any:
    """Return the least products, and what their gradient is made from."""
    products = windows @ weights
    least = products.min(2)
    return least, (windows, products, least)


def _least_backward(kept: Any, gradient: jax.Array) -> tuple[None, jax.Array]:
    """Return no gradient for the windows, and that of the weights."""
    windows, products, least = kept
    attains = (products == least[:, :, None]).astype(gradient.dtype)
    shares = attains * (gradient / attains.sum(2))[:, :, None]
    n, neurons = windows.shape[-1], shares.shape[-1]
    return None, windows.reshape(-1, n).T @ shares.reshape(-1, neurons)


_least.defvjp(_least_forward, _least_backward)


def excess(latent: Any, sharpness: jax.Array | float) -> jax.Array:
    """Return how far the neurons are from their certificate with a margin; 0 when inside.

    Args:
        latent: Parameters of `init_latent`.
        sharpness: t.

    Returns:
        Float `()`: sum over neurons of (0.7 - w)+ over S and of (sum of the others - 0.3)+.
    """
    total = jnp.zeros((), latent["clauses"][0].dtype)
    for q in latent["clauses"]:
        w = jax.nn.sigmoid(sharpness * q)
        inside = w > 0.5
        total += jnp.where(inside, jnp.maximum(0.7 - w, 0), 0).sum()
        total += jnp.maximum(jnp.where(inside, 0, w).sum((0, 1)) - 0.3, 0).sum()
    return total


def surplus(latent: Any, sharpness: jax.Array | float, *, free: int) -> jax.Array:
    """Return the sum of all weights of the clauses that have more than `free` literals.

    Args:
        latent: Parameters of `init_latent`.
        sharpness: t.
        free: Literals that a clause may have.

    Returns:
        Float `()`.
    """
    weights = [jax.nn.sigmoid(sharpness * q) for q in latent["clauses"]]
    many = [jnp.where((w > 0.5).sum((0, 1)) > free, w.sum((0, 1)), 0).sum() for w in weights]
    return jnp.stack(many).sum()


def to_network(latent: Any, *, config: ClauseConfig) -> tuple[Any, np.ndarray, np.ndarray]:
    """Turn latent parameters into a morphax network: params, and whole votes.

    A clause that has lost all literals holds everywhere. Its votes become part of the bias, and it
    keeps its largest literal, so that it is a certified neuron, with votes of 0.

    Args:
        latent: Trained parameters.
        config: Hyperparameters.

    Returns:
        params `{"erosions": [BiSE, ...]}`, votes int32 `(features, classes)` and bias int32
        `(classes,)`.
    """
    latent = _settled(latent, config)
    banks = []
    for (size, count), q in zip(config.banks, latent["clauses"], strict=True):
        straight = config.training == "straight-through"
        w = (q > 0).astype(q.dtype) if straight else jax.nn.sigmoid(config.sharpness[1] * q)
        window = w.reshape(2, size * size, -1, count).transpose(1, 0, 2, 3)  # literals fastest
        weight = window.reshape(-1, count)
        scale = jnp.full(count, 40.0 if straight else config.slope[1])
        spec = Spec("dense", "identity", "raw", "sigmoid")
        banks.append(BiSE(weight, weight.sum(0) - 0.5, scale, spec))
    votes, bias = np.asarray(latent["votes"]), np.asarray(latent["bias"])
    unit = max(float(np.quantile(np.abs(votes), 0.999)), 1e-6) / config.most
    whole = np.clip(np.round(votes / unit), -config.most, config.most).astype(np.int32)
    return {"erosions": banks}, whole, np.round(bias / (GAIN * unit)).astype(np.int32)


def _settled(latent: Any, config: ClauseConfig) -> Any:
    """Move the votes of clauses without literals to the bias; each keeps its largest literal."""
    clauses, empty = [], []
    for q in latent["clauses"]:
        flat = q.reshape(-1, q.shape[-1])
        lost = ~(flat > 0).any(0)
        first = jax.nn.one_hot(flat.argmax(0), len(flat), axis=0, dtype=bool)
        kept = jnp.where(first, config.bound, -config.bound)
        clauses.append(jnp.where(lost[None], kept, flat).reshape(q.shape))
        empty.append(jnp.tile(lost, config.regions**2))  # features: region by region
    gone, votes = jnp.concatenate(empty)[:, None], latent["votes"]
    bias = latent["bias"] + GAIN * jnp.where(gone, votes, 0).sum(0)
    return {"clauses": clauses, "votes": jnp.where(gone, 0, votes), "bias": bias}
