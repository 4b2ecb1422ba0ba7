"""Targets for learning: a known morphological operator applied to a batch of images."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from morphax import _checks
from morphax.morphology import operators

_OPERATORS = {
    "dilation": operators.dilation,
    "erosion": operators.erosion,
    "opening": operators.opening,
    "closing": operators.closing,
    "white_top_hat": operators.white_top_hat,
    "black_top_hat": operators.black_top_hat,
}
OPERATIONS = tuple(_OPERATORS)


def target(
    images: ArrayLike, operation: str, selem: ArrayLike, *, border: str = "ignore"
) -> jax.Array:
    """Apply `operation` by `selem` to every channel of every image.

    Args:
        images: bool `(batch, H, W, channels)`.
        operation: one of `OPERATIONS`: the six operators of arXiv 2401.03830, table 1.
        selem: structuring element `(kh, kw)`, odd sides, see `morphax.operators`.
        border: `"ignore"`, `"constant"` (ICIP 2022, DGMM 2022) or `"replicate"` (arXiv 2401.03830).

    Returns:
        A bool array of the shape of `images`.

    Raises:
        ValueError: `images` is not bool or not 4-D, `operation` is unknown, or an argument does
            not suit the operator.

    >>> import jax.numpy as jnp
    >>> from morphax import elements
    >>> point = jnp.zeros((1, 5, 5, 1), bool).at[0, 2, 2, 0].set(True)
    >>> int(target(point, "dilation", elements.disk(3)).sum())
    5
    """
    _checks.one_of("operation", operation, OPERATIONS)
    images = jnp.asarray(images)
    _checks.require(images.ndim == 4, "images", "axes (batch, H, W, channels)", images.shape)
    _checks.require(
        images.dtype == bool,
        "images",
        "a bool array (threshold it, e.g. images > 0.5)",
        f"dtype {images.dtype}",
    )
    planes = jnp.moveaxis(images, -1, 1)
    return jnp.moveaxis(_OPERATORS[operation](planes, selem, border=border), 1, -1)
