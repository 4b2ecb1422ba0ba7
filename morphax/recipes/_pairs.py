"""The check of image pairs that every recipe makes first."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax

from morphax import _checks
from morphax.data.image_lists import Example
from morphax.data.pair_checks import check_pairs

Data = tuple[jax.Array, jax.Array]


def require_pairs(
    train: Any,
    valid: Any | None = None,
    *,
    channels: int | None = None,
    volumes: bool = False,
) -> None:
    """Refuse pairs that are not bool images with a target for each.

    Args:
        train: (images, targets), bool `(N, H, W, C)` and `(N, H, W, C')`.
        valid: The same, held out; None where a recipe works without.
        channels: Number of channels of images and targets, where a recipe asks for one.
        volumes: Whether a recipe takes volumes `(N, D, H, W, C)` too.

    Raises:
        ValueError: The first array that is not bool, has no images or the wrong shape, by name.

    Warns:
        UserWarning: Training pairs that little can be learned from, at once.

    Example:
        >>> images = jax.random.bernoulli(jax.random.key(0), 0.5, (2, 8, 8, 1))
        >>> pairs = images, images & jax.numpy.roll(images, 1, 1)
        >>> require_pairs(pairs, pairs, channels=1)
    """
    last = "C" if channels is None else str(channels)
    for name, pair in (("train", train), ("valid", valid)):
        if pair is None:
            continue
        _checks.require(len(pair) == 2, name, "a pair (images, targets)", f"{len(pair)} arrays")
        for i, part in enumerate(pair):
            expected = "a bool array (threshold it, e.g. images > 127)"
            _checks.require(part.dtype == bool, f"{name}[{i}]", expected, f"dtype {part.dtype}")
            ranks = (4, 5) if volumes else (4,)
            is_batch = part.ndim in ranks and part.ndim == train[0].ndim and len(part) > 0
            is_batch = is_batch and part.shape[:-1] == pair[0].shape[:-1]
            is_batch &= channels is None or part.shape[-1] == channels
            expected = f"images (N, H, W, {last}), targets of the same N, H, W"
            expected += f", or volumes (N, D, H, W, {last})" * volumes
            _checks.require(is_batch, f"{name}[{i}]", expected, part.shape)
    warn_of_pairs(*train)


def checked_frame(frame: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many pixels along the frame do not count, for each axis, after checking them.

    Args:
        frame: Numbers of pixels; two zeros also stand for three.
        size: Sizes of the images or volumes.

    Raises:
        ValueError: Other than one number for each axis, or numbers that leave nothing.

    Example:
        >>> checked_frame((0, 0), (9, 9, 9))
        (0, 0, 0)
    """
    frame = tuple(frame) if any(frame) else (0,) * len(size)
    is_inside = len(frame) == len(size)
    is_inside &= all(0 <= 2 * a < b for a, b in zip(frame, size, strict=False))
    expected = f"{'two' if len(size) == 2 else 'three'} numbers from 0 to less than half of {size}"
    _checks.require(is_inside, "frame", expected, frame)
    return frame


def warn_of_pairs(images: Any, targets: Any, masks: Any = None) -> None:
    """Warn of what `morphax.data.check_pairs` finds odd about training pairs.

    Args:
        images: Bool `(N, H, W, C)`, or a list of images.
        targets: Bool, N images of the same sizes.
        masks: Pixels that count, of the shape of the targets; all by default.

    Example:
        >>> images = jax.random.bernoulli(jax.random.key(0), 0.5, (2, 8, 8, 1))
        >>> warn_of_pairs(images, images & jax.numpy.roll(images, 1, 1))
    """
    for line in check_pairs(images, targets, masks=masks):
        warnings.warn(line, stacklevel=4)


def warn_of_examples(examples: Sequence[Example]) -> None:
    """Warn of what `morphax.data.check_pairs` finds odd about images of any sizes.

    Args:
        examples: (input `(H, W, C)`, target `(H, W)`, mask `(H, W)`) of each image.

    Example:
        >>> import numpy as np
        >>> image = np.eye(8, dtype=bool)
        >>> warn_of_examples([(image[..., None], image[:, ::-1], image | True)])
    """
    inputs, targets, masks = (list(side) for side in zip(*examples, strict=True))
    planes = [image[..., 0] if image.shape[-1] == 1 else image for image in inputs]
    counted = None if all(mask.all() for mask in masks) else masks
    warn_of_pairs(planes, targets, counted)
