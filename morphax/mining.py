"""Hard examples: draw the images a network still gets wrong more often.

A pixel of a structuring element may show on one image in a thousand. Drawn evenly, those images are
lost among the ones that are right already; drawn by their error they are seen again and again.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from morphax import _check
from morphax.training import Apply, Data, as_unit

BLOCK = 256  # images at a time when errors are measured


def make_mine(apply: Apply, *, pool: int = 2048) -> Callable[[jax.Array, Any, Data], Data]:
    """A program that draws the images to train on next.

    Args:
        apply: `(params, x) -> prediction`.
        pool: images looked at, and half of those drawn; a multiple of 256.

    Returns:
        A pure `(key, params, (x, y)) -> (x, y)` with 2 `pool` images of the data, drawn with
        replacement: half of them evenly, half of them by their squared error among the first half.

    Raises:
        ValueError: a `pool` that is no multiple of 256.

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> x = jnp.zeros((8, 5, 5, 1), bool)
        >>> make_mine(models.bimonn, pool=256)(jax.random.key(1), params, (x, x))[0].shape
        (512, 5, 5, 1)
    """
    _check.require(pool > 0 and pool % BLOCK == 0, "pool", f"a multiple of {BLOCK}", pool)

    def mine(key: jax.Array, params: Any, data: Data) -> Data:
        even_key, hard_key = jax.random.split(key)
        drawn = jax.random.randint(even_key, (pool,), 0, data[0].shape[0])
        x, y = (part[drawn] for part in data)

        def errors(start: jax.Array) -> jax.Array:
            part = [jax.lax.dynamic_slice_in_dim(half, start, BLOCK) for half in (x, y)]
            prediction, target = as_unit(apply, params, part[0], part[1])
            return ((prediction - target) ** 2).sum(tuple(range(1, target.ndim)))

        error = jax.lax.map(errors, jnp.arange(0, pool, BLOCK)).reshape(-1)
        hard = jax.random.categorical(hard_key, jnp.log(error + 1e-20), shape=(pool,))
        chosen = jnp.concatenate([jnp.arange(pool), hard])
        return x[chosen], y[chosen]

    return mine
