"""The check of image pairs that every recipe makes first."""

from typing import Any

import jax

from morphax import _checks

Data = tuple[jax.Array, jax.Array]


def require_pairs(train: Any, valid: Any | None = None, *, channels: int | None = None) -> None:
    """Refuse pairs that are not bool images with a target for each.

    Args:
        train: (images, targets), bool `(N, H, W, C)` and `(N, H, W, C')`.
        valid: The same, held out; None where a recipe works without.
        channels: Number of channels of images and targets, where a recipe asks for one.

    Raises:
        ValueError: The first array that is not bool, has no images or the wrong shape, by name.

    Example:
        >>> images = jax.numpy.zeros((2, 8, 8, 1), bool)
        >>> require_pairs((images, images), (images, images), channels=1)
    """
    last = "C" if channels is None else str(channels)
    for name, pair in (("train", train), ("valid", valid)):
        if pair is None:
            continue
        _checks.require(len(pair) == 2, name, "a pair (images, targets)", f"{len(pair)} arrays")
        for i, part in enumerate(pair):
            expected = "a bool array (threshold it, e.g. images > 127)"
            _checks.require(part.dtype == bool, f"{name}[{i}]", expected, f"dtype {part.dtype}")
            is_batch = part.ndim == 4 and part.shape[:3] == pair[0].shape[:3] and len(part) > 0
            is_batch &= channels is None or part.shape[-1] == channels
            expected = f"images (N, H, W, {last}), targets of the same N, H, W"
            _checks.require(is_batch, f"{name}[{i}]", expected, part.shape)
