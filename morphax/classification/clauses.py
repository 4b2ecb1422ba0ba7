"""Clauses in training: their latent weights, what violates them, and the network they become.

A clause with weights w on its literals is violated by v = sum of w over the literals that do not hold; it
says xi(p (1/2 - v)) with the least v of a region: an erosion, whose bias is tied to its weights,
b = sum(w) - 1/2, and a union. Weights are w = sigmoid(t q), or the bits q > 0. `Recipe` has all choices;
`morphax.classification.train` trains.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax.classification.model import centres
from morphax.morphology import levelsets
from morphax.neurons.nodes import BiSE, Spec

ROADS = ("straight-through", "smooth")


class Recipe(NamedTuple):
    """The recipe; what is not data is the same for all data sets.

    Attributes:
        banks: (window side, clauses) of each bank.
        road: one of `ROADS`.
        stride, regions: see `morphax.classification.model.centres`.
        literals: mean |S| at the start.
        slope: p at the start and at the end; "straight-through" keeps the first.
        sharpness: t, likewise.
        penalty: coefficient of the certificate's penalty ("smooth").
        dropout: share of the features left out of the votes in a step.
        smoothing: of the labels.
        bound: largest |q|, so that no literal is out of reach of the next steps.
        rates: of Adam, for the clauses and for the votes; cosine decay to a hundredth.
        most: the largest |vote| after rounding.
        shift, rotation, scale, shear: ranges of the random affine maps of the training images, in
            pixels, radians and shares.
        flip: whether a mirrored image has the same label.
    """

    banks: tuple[tuple[int, int], ...] = ((7, 512), (11, 512))
    road: str = "straight-through"
    stride: int = 2
    regions: int = 3
    literals: float = 12.0
    slope: tuple[float, float] = (2.0, 16.0)
    sharpness: tuple[float, float] = (1.0, 1.0)
    penalty: float = 0.0
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


SMOOTH = {"road": "smooth", "sharpness": (4.0, 32.0), "penalty": 1e-3}
"""What the smooth road changes: `Recipe(**SMOOTH)`."""
GAIN = 0.1
"""Of the real votes, so that Adam's steps fit them."""


def start(key: jax.Array, images: np.ndarray, thresholds: np.ndarray, *, classes: int,
          recipe: Recipe) -> Any:  # fmt: skip
    """Latent parameters before training: clauses from windows of the images.

    Args:
        key: PRNG key.
        images: `(N, H, W, C)`, the training images.
        thresholds: `(C, count)` of the level sets.
        classes: how many.
        recipe: the recipe.

    Returns:
        {"clauses": latent weights float `(2, n, neurons)` of each bank (the literals, the complements),
        "votes": `(features, classes)`, "bias": `(classes,)`}.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    clauses = []
    for size, count in recipe.banks:
        chosen, kept = [], 0
        while kept < count:
            picked = images[rng.integers(0, len(images), count)]
            seen = level_sets(jnp.asarray(picked), thresholds)
            seen = np.asarray(_windows(seen, size, recipe)).reshape(count, -1, _inputs(seen, size))
            busy = np.minimum(seen.mean(-1), 1 - seen.mean(-1))  # 0 for a window of one colour
            where = np.argmax(np.where(busy > 0.1, rng.random(busy.shape), busy - 1), 1)
            chosen.append(seen[np.arange(count), where])
            kept += count
        hold = np.concatenate(chosen)[:count].T > 0.5
        pick = rng.random(hold.shape) < recipe.literals / len(hold)
        latent = np.stack([np.where(side & pick, 0.7, -1.5) for side in (hold, ~hold)])
        clauses.append(latent + rng.normal(0, 0.3, latent.shape))
    n = recipe.regions**2 * sum(count for _, count in recipe.banks)
    votes = rng.normal(0, 0.05, (n, classes))
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32),
                        {"clauses": clauses, "votes": votes, "bias": np.zeros(classes)})  # fmt: skip


def level_sets(images: jax.Array, thresholds: np.ndarray) -> jax.Array:
    """Level sets as floats 0 and 1: images `(N, H, W, C)`, thresholds `(C, count)`."""
    table = np.asarray(thresholds, np.float32)
    return levelsets.decompose(images.astype(jnp.float32), table).astype(jnp.float32)


def _inputs(levels: jax.Array, size: int) -> int:
    return size * size * levels.shape[-1]


def _windows(levels: jax.Array, size: int, recipe: Recipe) -> jax.Array:
    """`(batch, regions, positions of one, inputs)`: `classify.windows`, region by region, in one move."""
    batch, height, width, channels = levels.shape
    r, around = recipe.regions, np.arange(size) - size // 2
    rows, columns = (
        np.clip(centres(n, stride=recipe.stride, regions=r)[:, None] + around[None], 0, n - 1)
        .reshape(r, -1, size)
        for n in (height, width)
    )  # fmt: skip
    index = rows[:, None, :, None, :, None] * width + columns[None, :, None, :, None]
    flat = levels.reshape(batch, height * width, channels)
    seen = jnp.take(flat, index.reshape(-1), axis=1, mode="clip")
    return seen.reshape(batch, r * r, -1, size * size * channels)


@jax.custom_jvp
def fires(v: jax.Array, slope: jax.Array) -> jax.Array:
    """Whether nothing is violated; its derivative is that of the sigmoid of that slope."""
    return (v < 0.5).astype(v.dtype)


@fires.defjvp
def _(primals: Any, tangents: Any) -> Any:
    v, slope = primals
    soft = jax.nn.sigmoid(slope * (0.5 - v))
    return fires(v, slope), -slope * soft * (1 - soft) * tangents[0]


def violations(
    latent: Any, levels: jax.Array, *, recipe: Recipe, sharpness: jax.Array | float = 1.0
) -> list[jax.Array]:
    """The least violation of each clause in each region: what training evaluates.

    Of x and 1 - x one matrix product does both: sum_i w_i (1 - x_i) + w'_i x_i.

    Args:
        latent: from `start`.
        levels: float 0 or 1 `(batch, H, W, channels)`.
        recipe: the recipe.
        sharpness: t.

    Returns:
        For each bank, float `(batch, regions ** 2, neurons)`.
    """
    found = []
    for (size, _), q in zip(recipe.banks, latent["clauses"], strict=True):
        soft = jax.nn.sigmoid(sharpness * q)
        hard = (q > 0) + soft - jax.lax.stop_gradient(soft)
        held, broken = hard if recipe.road == "straight-through" else soft
        total = _windows(levels, size, recipe) @ (broken - held)
        found.append((total + held.sum(0)[None, None, None]).min(2))
    return found


def excess(latent: Any, sharpness: jax.Array | float) -> jax.Array:
    """How far the neurons are outside of their certificate, with room to spare; 0 when inside.

    Args:
        latent: from `start`.
        sharpness: t.

    Returns:
        Float `()`: sum over neurons of (0.7 - w)+ over S and of (sum of the others - 0.3)+.
    """
    total = jnp.zeros(())
    for q in latent["clauses"]:
        w = jax.nn.sigmoid(sharpness * q)
        inside = w > 0.5
        total += jnp.where(inside, jnp.maximum(0.7 - w, 0), 0).sum()
        total += jnp.maximum(jnp.where(inside, 0, w).sum((0, 1)) - 0.3, 0).sum()
    return total


def finish(latent: Any, *, recipe: Recipe) -> tuple[Any, np.ndarray, np.ndarray]:
    """Latent parameters as a morphax network: params, and whole votes.

    Args:
        latent: trained.
        recipe: the recipe.

    Returns:
        params `{"erosions": [BiSE, ...]}`, votes int32 `(features, classes)` and bias int32 `(classes,)`.
    """
    banks = []
    for (size, count), q in zip(recipe.banks, latent["clauses"], strict=True):
        straight = recipe.road == "straight-through"
        w = (q > 0).astype(q.dtype) if straight else jax.nn.sigmoid(recipe.sharpness[1] * q)
        window = w.reshape(2, size * size, -1, count).transpose(1, 0, 2, 3)  # literals fastest
        weight = window.reshape(-1, count)
        scale = jnp.full(count, 40.0 if straight else recipe.slope[1])
        spec = Spec("dense", "identity", "raw", "sigmoid")
        banks.append(BiSE(weight, weight.sum(0) - 0.5, scale, spec))
    votes, bias = np.asarray(latent["votes"]), np.asarray(latent["bias"])
    unit = max(float(np.quantile(np.abs(votes), 0.999)), 1e-6) / recipe.most
    whole = np.clip(np.round(votes / unit), -recipe.most, recipe.most).astype(np.int32)
    return {"erosions": banks}, whole, np.round(bias / (GAIN * unit)).astype(np.int32)
