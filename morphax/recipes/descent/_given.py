"""Read pairs of images as users give them to `morphax.recipes.descent.chains`."""

from typing import Any, NamedTuple

import numpy as np

from morphax import _checks
from morphax.data.image_lists import as_arrays, read_pairs, sides_of
from morphax.data.possible import LabelNoise, label_noise


class Given(NamedTuple):
    """Hold pairs of images of any sizes.

    Attributes:
        images: bool `(N, H, W, C)`, or a list of `(H, W, C)`; volumes have an axis more.
        targets: bool `(N, H, W)`, or a list of `(H, W)`.
        masks: the pixels that count, as the targets.
    """

    images: Any
    targets: Any
    masks: Any


def read_given(name: str, pairs: Any, side: int, *, channels: int | None = None) -> Given:
    """Return pairs as numpy arrays.

    Args:
        name: of the argument, for messages.
        pairs: (images, targets) or (images, targets, masks), or what `morphax.data.load_pairs`
            returns.
        side: of the windows.
        channels: number of channels that the images must have; None for any number.

    Raises:
        ValueError: what `morphax.data.image_lists.read_pairs` refuses, gray images, images of
            other channels, or images smaller than a window.
    """
    examples = read_pairs(pairs, name=name, binary=True)
    images, targets, masks = zip(*examples, strict=True)
    own = images[0].shape[-1]
    _checks.require(channels in (None, own), f"{name}[0]", f"images of {channels} channels", own)
    smallest = min(min(target.shape) for target in targets)
    expected = f"at most {smallest}, the side of an image"
    _checks.require(side <= smallest, "kernel_size", expected, side)
    # Images of one size are one array, which is much faster to pack and to count.
    whole = as_arrays(*sides_of(pairs), binary=True)
    if whole is not None:
        return Given(*whole)
    if len({target.shape for target in targets}) == 1:
        return Given(np.stack(images), np.stack(targets), np.stack(masks))
    return Given(list(images), list(targets), list(masks))


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
    # Windows are counted on images of one size; some hundred of them say enough.
    first = pairs.images[0].shape
    same = [i for i, image in enumerate(pairs.images) if image.shape == first][:500]
    parts = [np.stack([part[i] for i in same]) for part in pairs]
    noise = label_noise(*parts[:2], kernel_size=window, masks=parts[2])
    if noise.repeated < 0.02 and side < window:
        noise = label_noise(*parts[:2], kernel_size=side, masks=parts[2])
    return noise
