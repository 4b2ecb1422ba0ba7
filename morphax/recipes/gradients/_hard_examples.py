"""Hard examples: images that a network still has wrong are drawn more often.

A pixel of a structuring element may matter on one image in a thousand. Drawn evenly, those images
are lost among the ones that are right already; drawn by their error they are seen again and again.
Within a run `make_mine` does this; between runs `make_wrong_images` checks every image of the data,
and `emphasise` puts the wrong ones into the data of the next run.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from morphax import _checks
from morphax.packed.words import pack, unpack
from morphax.training.steps import Apply, Data, as_unit, crop_border

BLOCK = 64
"""Images whose errors are measured at a time: they fit the caches."""
PACKED_BLOCK = 1024
"""Images that are checked at a time, 32 or 64 of them in a word."""


def make_mine(
    apply: Apply, *, pool: int = 2048, frame: tuple[int, ...] = (0, 0)
) -> Callable[[jax.Array, Any, Data], Data]:
    """Make a program that draws the images to train on next.

    Args:
        apply: `(params, x) -> prediction`.
        pool: Images whose errors are measured, and half of those drawn; a multiple of 64.
        frame: Rows and columns along the frame of an image that are left out.

    Returns:
        A pure `(key, params, (x, y)) -> (x, y)` with 2 `pool` images of the data, drawn with
        replacement: half of them evenly, half of them by their squared error among the first half.

    Raises:
        ValueError: A `pool` that is no multiple of 64.

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> x = jnp.zeros((8, 5, 5, 1), bool)
        >>> make_mine(models.bimonn, pool=256)(jax.random.key(1), params, (x, x))[0].shape
        (512, 5, 5, 1)
    """
    _checks.require(pool > 0 and pool % BLOCK == 0, "pool", f"a multiple of {BLOCK}", pool)

    def mine(key: jax.Array, params: Any, data: Data) -> Data:
        even_key, hard_key = jax.random.split(key)
        drawn = jax.random.randint(even_key, (pool,), 0, data[0].shape[0])
        x, y = (part[drawn] for part in data)

        def errors(start: jax.Array) -> jax.Array:
            part = [jax.lax.dynamic_slice_in_dim(half, start, BLOCK) for half in (x, y)]
            prediction, target = as_unit(apply, params, part[0], part[1])
            squares = crop_border((prediction - target) ** 2, frame).reshape(BLOCK, -1)
            # A sum would be fused with the threshold function, which XLA on CPU then computes pixel
            # by pixel, not in vectors: twice the time of the draw. It does not fuse a product.
            return squares @ jnp.ones(squares.shape[1], squares.dtype)

        error = jax.lax.map(errors, jnp.arange(0, pool, BLOCK)).reshape(-1)
        share = (error + 1e-20) / (error + 1e-20).sum()
        hard = jax.random.choice(hard_key, pool, (pool,), p=share)
        chosen = jnp.concatenate([jnp.arange(pool), hard])
        return x[chosen], y[chosen]

    return mine


def make_wrong_images(
    apply: Apply, *, frame: tuple[int, ...] = (0, 0)
) -> Callable[[Any, Data], jax.Array]:
    """Make a program that checks every image of a set, 32 in each bit operation.

    Args:
        apply: `(params, x) -> prediction`.
        frame: Rows and columns along the frame of an image that are left out.

    Returns:
        A jitted `(binary params, (x, y)) -> bool (N,)`, x and y bool: the images of which the
        binary network has at least one pixel wrong.

    Example:
        >>> from morphax import binarize, models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> x = jnp.zeros((3, 5, 5, 1), bool)
        >>> y = x.at[1].set(True)
        >>> make_wrong_images(models.bimonn)(binarize(params), (x, y)).tolist()
        [False, True, False]
    """

    @jax.jit
    def wrong_images(binary: Any, data: Data) -> jax.Array:
        count = len(data[0])

        def block(start: jax.Array) -> jax.Array:
            # The last block repeats the last image.
            numbers = jnp.minimum(start + jnp.arange(PACKED_BLOCK), count - 1)
            x, y = (pack(part[numbers]) for part in data)
            differs = crop_border(apply(binary, x) ^ y, frame)
            axes = tuple(range(1, differs.ndim))
            words = jax.lax.reduce(differs, jnp.zeros((), x.dtype), jax.lax.bitwise_or, axes)
            return unpack(words, count=PACKED_BLOCK)

        return jax.lax.map(block, jnp.arange(0, count, PACKED_BLOCK)).reshape(-1)[:count]

    return wrong_images


def emphasise(key: jax.Array, data: Data, chosen: jax.Array, *, share: float = 0.25) -> Data:
    """Return data in which the chosen images are frequent.

    Args:
        key: PRNG key.
        data: (x, y) of N images.
        chosen: Bool (N,), at least one image.
        share: Share of the result that is drawn, with replacement, from the chosen images.

    Returns:
        (x, y) of N images; the others are drawn from all of the data, without replacement.

    Example:
        >>> x = jnp.arange(8)
        >>> emphasise(jax.random.key(0), (x, x), x == 5)[0][:2].tolist()
        [5, 5]
    """
    count = len(chosen)
    some = int(share * count)
    chosen_key, rest_key = jax.random.split(key)
    (numbers,) = jnp.nonzero(chosen)
    drawn = numbers[jax.random.randint(chosen_key, (some,), 0, len(numbers))]
    rest = jax.random.permutation(rest_key, count)[: count - some]
    numbers = jnp.concatenate([drawn, rest])
    return data[0][numbers], data[1][numbers]
