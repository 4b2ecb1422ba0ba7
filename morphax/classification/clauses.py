"""Clauses in training: their weights, their violations and their penalties.

A clause with weights w on its literals is violated by v = sum of w over the literals that do not
hold. Its output is xi(p (1/2 - v)) for the least v of a region: an erosion, whose bias is tied to
its weights, b = sum(w) - 1/2, and a union. Weights are w = sigmoid(t q), or the bits q > 0.
`morphax.classification.config` has all hyperparameters, `morphax.classification.latent` the start
and the end of the latent weights q, and `morphax.classification.train` trains.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Layout, with_layout_constraint

from morphax import _checks
from morphax.classification.config import ClauseConfig, Thresholds
from morphax.classification.model import centres
from morphax.morphology import contrast, levelsets


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


def region_windows(levels: jax.Array, size: int, config: ClauseConfig) -> jax.Array:
    """Return the windows of `morphax.classification.model.windows`, region by region.

    Args:
        levels: `(batch, H, W, channels)`.
        size: Side of a window, in pixels.
        config: Hyperparameters.

    Returns:
        `(batch, regions ** 2, positions of a region, size * size * channels)`, channels fastest.
    """
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
        levels: 0 or 1 `(batch, H, W, channels)`, in the dtype in which products are computed.
        config: Hyperparameters.

    Returns:
        For each bank, float `(batch, regions ** 2, neurons)`.
    """
    return [
        _least(region_windows(levels, size, config), difference) + offset[None, None]
        for (size, _), (difference, offset) in zip(config.banks, weights, strict=True)
    ]


@jax.custom_vjp
def _least(windows: jax.Array, weights: jax.Array) -> jax.Array:
    """Return the least products of windows `(batch, regions, positions, n)` with `(n, neurons)`.

    The gradient of a minimum goes in equal shares to the positions that attain it; that of the
    windows, which nobody needs, is not computed.
    """
    return _products(windows, weights, weights.dtype).min(2)


def _products(bits: jax.Array, numbers: jax.Array, dtype: Any) -> jax.Array:
    """Return `bits @ numbers`: factors in the dtype of the bits, sums in `dtype`."""
    return jnp.matmul(bits, numbers.astype(bits.dtype), preferred_element_type=dtype)


def _least_forward(windows: jax.Array, weights: jax.Array) -> Any:
    """Return the least products, and what their gradient is made from."""
    products = _products(windows, weights, weights.dtype)
    least = products.min(2)
    return least, (windows, products, least)


def _least_backward(kept: Any, gradient: jax.Array) -> tuple[None, jax.Array]:
    """Return no gradient for the windows, and that of the weights."""
    windows, products, least = kept
    attains = products == least[:, :, None]
    share = gradient / attains.sum(2, dtype=jnp.int32).astype(gradient.dtype)
    shares = jnp.where(attains, share[:, :, None], 0).reshape(-1, gradient.shape[-1])
    across = windows.reshape(-1, windows.shape[-1]).T
    if across.dtype == jnp.bfloat16 and jax.default_backend() == "cpu":
        # XLA on a CPU has no fast product of bfloat16 for a matrix that is stored by columns.
        across = with_layout_constraint(across, Layout(major_to_minor=(0, 1)))
    return None, _products(across, shares, gradient.dtype)


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
