"""Latent parameters of the clause classifier: where they start, and the network they become.

A clause has one latent weight q for each literal of its window and one for each complement; the
literal is in the clause where q > 0. Votes are real in training and whole numbers in the network.
`morphax.classification.clauses` computes with them in training.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from morphax.classification.clauses import level_sets, region_windows
from morphax.classification.config import GAIN, ClauseConfig, Thresholds
from morphax.neurons.nodes import BiSE, Spec


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
            seen = np.asarray(region_windows(seen, size, config))
            seen = seen.reshape(count, -1, seen.shape[-1])
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
    latent = fold_empty(latent, bound=config.bound, regions=config.regions)
    banks = []
    for (size, count), q in zip(config.banks, latent["clauses"], strict=True):
        straight = config.training == "straight-through"
        w = (q > 0).astype(q.dtype) if straight else jax.nn.sigmoid(config.sharpness[1] * q)
        window = w.reshape(2, size * size, -1, count).transpose(1, 0, 2, 3)  # literals fastest
        weight = window.reshape(-1, count)
        scale = jnp.full(count, 40.0 if straight else config.slope[1])
        spec = Spec("dense", "identity", "raw", "sigmoid")
        banks.append(BiSE(weight, weight.sum(0) - 0.5, scale, spec))
    return {"erosions": banks}, *whole_votes(latent, most=config.most)


def fold_empty(latent: Any, *, bound: float, regions: int = 1) -> Any:
    """Move the votes of clauses without literals to the bias; each keeps its largest literal.

    Nothing violates such a clause: it is 1 everywhere, which no certificate covers.

    Args:
        latent: {"clauses": latent weights `(..., neurons)` of each bank, "votes": `(features,
            classes)`, region by region, "bias": `(classes,)`}.
        bound: The latent weight of the literal that is kept; the others become -bound.
        regions: Parts of each side of the image.

    Returns:
        The same, in which every clause has a literal, and the folded ones have votes of 0.
    """
    clauses, empty = [], []
    for q in latent["clauses"]:
        flat = q.reshape(-1, q.shape[-1])
        lost = ~(flat > 0).any(0)
        first = jax.nn.one_hot(flat.argmax(0), len(flat), axis=0, dtype=bool)
        kept = jnp.where(first, bound, -bound)
        clauses.append(jnp.where(lost[None], kept, flat).reshape(q.shape))
        empty.append(jnp.tile(lost, regions**2))
    gone, votes = jnp.concatenate(empty)[:, None], latent["votes"]
    bias = latent["bias"] + GAIN * jnp.where(gone, votes, 0).sum(0)
    return {"clauses": clauses, "votes": jnp.where(gone, 0, votes), "bias": bias}


def whole_votes(latent: Any, *, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Round votes to whole numbers, on a grid that takes all but the largest 0.1 %.

    Args:
        latent: "votes" `(features, classes)` and "bias" `(classes,)`, real.
        most: Largest |vote|; larger ones are cut.

    Returns:
        Votes int32 `(features, classes)` and bias int32 `(classes,)`.
    """
    votes, bias = np.asarray(latent["votes"]), np.asarray(latent["bias"])
    unit = max(float(np.quantile(np.abs(votes), 0.999)), 1e-6) / most
    whole = np.clip(np.round(votes / unit), -most, most).astype(np.int32)
    return whole, np.round(bias / (GAIN * unit)).astype(np.int32)
