"""Read pairs of images as users give them to `morphax.recipes.descent.chains`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from morphax import _checks
from morphax.data.possible import LabelNoise, label_noise
from morphax.morphology import bit_arrays


class Given(NamedTuple):
    """Hold pairs of images of any sizes.

    Attributes:
        images: bool `(N, H, W, C)`, or a list of `(H, W, C)`.
        targets: bool `(N, H, W)`, or a list of `(H, W)`.
        masks: the pixels that count, as the targets.
    """

    images: Any
    targets: Any
    masks: Any


def checked(name: str, pairs: Sequence[Any], side: int) -> Given:
    """Return pairs as numpy arrays.

    Args:
        name: of the argument, for messages.
        pairs: (images, targets) or (images, targets, masks).
        side: of the windows.

    Raises:
        ValueError: what cannot be learned from.
    """
    _checks.require(
        len(pairs) in (2, 3), name, "(images, targets) or (images, targets, masks)", len(pairs)
    )
    parts = [_array_or_list(f"{name}[{i}]", part) for i, part in enumerate(pairs)]
    images, targets = parts[0], [_plane(f"{name}[1]", target) for target in parts[1]]
    masks = [_plane(f"{name}[2]", m) for m in parts[2]] if len(parts) == 3 else None
    masks = [np.ones(t.shape, bool) for t in targets] if masks is None else masks
    _checks.require(len(images) > 0, f"{name}[0]", "at least one image", "none")
    _checks.require(
        len(targets) == len(images), f"{name}[1]", f"{len(images)} targets", len(targets)
    )
    _checks.require(len(masks) == len(images), f"{name}[2]", f"{len(images)} masks", len(masks))
    channels = {image.shape[2:] for image in images}
    fits = len(channels) == 1 and all(image.ndim == 3 for image in images)
    _checks.require(
        fits, f"{name}[0]", "images (H, W, C) of as many channels each", sorted(channels)
    )
    for k, part in ((1, targets), (2, masks)):
        for image, plane in zip(images, part, strict=True):
            expected = f"images of {image.shape[:2]} as in {name}[0]"
            _checks.require(plane.shape == image.shape[:2], f"{name}[{k}]", expected, plane.shape)
    smallest = min(min(image.shape[:2]) for image in images)
    _checks.require(
        side <= smallest, "kernel_size", f"at most {smallest}, the side of an image", side
    )
    counted = sum(int(mask.sum()) for mask in masks)
    _checks.require(counted > 0, f"{name}[2]", "masks with pixels that count", "none")
    positive = sum(int((t & m).sum()) for t, m in zip(targets, masks, strict=True))
    expected = "targets with pixels of both values (where masks let them count)"
    _checks.require(0 < positive < counted, f"{name}[1]", expected, f"only {int(positive > 0)}")
    if len({target.shape for target in targets}) == 1:
        return Given(np.stack(images), np.stack(targets), np.stack(masks))
    return Given(images, targets, masks)


def _array_or_list(name: str, part: Any) -> list[np.ndarray]:
    """Return the images of one part, one by one."""
    images = [
        bit_arrays.native(np.asarray(one))
        for one in (np.asarray(part) if hasattr(part, "dtype") else part)
    ]
    for image in images:
        expected = "bool images (threshold them, e.g. images > 127)"
        _checks.require(image.dtype == bool, name, expected, f"dtype {image.dtype}")
    return images


def _plane(name: str, image: np.ndarray) -> np.ndarray:
    one = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    _checks.require(one.ndim == 2, name, "images (H, W, 1) or (H, W)", image.shape)
    return one


def held_out(pairs: Given) -> tuple[Given, Given]:
    """Return the pairs without every fifth one, and these; one image alone is used for both."""
    count = len(pairs.images)
    if count < 2:
        return pairs, pairs
    out = [i for i in range(count) if i % 5 == 4 or (count < 5 and i == count - 1)]
    rest = [i for i in range(count) if i not in set(out)]

    def chosen(which: list[int]) -> Given:
        def some(part: Any) -> Any:
            return part[which] if isinstance(part, np.ndarray) else [part[i] for i in which]

        return Given(*(some(part) for part in pairs))

    return chosen(rest), chosen(out)


def noise_of(pairs: Given, window: int, side: int) -> LabelNoise:
    """Return the label noise in a window, or in one of `side` if the former never comes again."""
    first = pairs.images[0].shape
    same = [i for i, image in enumerate(pairs.images) if image.shape == first][:500]
    parts = [np.stack([part[i] for i in same]) for part in pairs]
    noise = label_noise(*parts[:2], kernel_size=window, masks=parts[2])
    if noise.repeated < 0.02 and side < window:
        noise = label_noise(*parts[:2], kernel_size=side, masks=parts[2])
    return noise
