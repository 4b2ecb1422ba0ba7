"""What all steps of `learn` share: the pairs, the options, planes and counted patterns."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax.data.gray_planes import GrayPlanes, gray_planes
from morphax.data.image_lists import Example
from morphax.data.window_patterns import (
    Patterns,
    count_patterns,
    merged_patterns,
    sample_patterns,
)
from morphax.data.windows import least_sizes
from morphax.recipes.windows import unions, votes
from morphax.recipes.windows._choice import sides_to_try
from morphax.recipes.windows.properties import Properties

_WINDOWS = {"union": unions.SIDES, "votes": votes.SIDES}
_GRAY_WINDOWS = {"union": {2: (1, 3), 3: (1, 3)}, "votes": {2: (5, 7, 9), 3: (3, 5)}}
_GRAY_PIXELS = 60_000  # drawn for unions on the planes of gray images
_VOXELS, _BITS = 500_000, 64  # drawn of volumes, for windows of more bits
_KEPT = 6  # windows whose patterns are remembered


class Setting(NamedTuple):
    """Hold what all steps share.

    Attributes:
        key: PRNG key.
        part: images to learn from: input, target, mask.
        held: images that decide.
        window: side of the first window, or sides, or None.
        planes: how planes are made of gray images; None: chosen.
        border: beyond the frame.
        properties: what must hold.
        gray: whether the inputs are gray.
        cache: planes and counted patterns of the last windows.
    """

    key: jax.Array
    part: list[Example]
    held: list[Example]
    window: int | Sequence[int] | None
    planes: GrayPlanes | None
    border: str
    properties: Properties
    gray: bool
    cache: dict[Any, Any]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the least size of the images along each axis."""
        return least_sizes(image for image, _, _ in self.part + self.held)


def narrow(setting: Setting, family: str) -> list[Any]:
    """Return the sides of windows to try: the given one, or those that fit into the images."""
    if setting.window is not None:
        return [setting.window]
    windows = (_GRAY_WINDOWS if setting.gray else _WINDOWS)[family]
    return sides_to_try(windows[len(setting.sizes)], setting.sizes)


def in_planes(setting: Setting, planes: GrayPlanes) -> tuple[list[Example], list[Example]]:
    """Return the examples to learn from and the held-out ones, with planes of bits as inputs."""
    if not setting.gray:
        return setting.part, setting.held
    if planes not in setting.cache:
        sides = (setting.part, setting.held)
        setting.cache[planes] = tuple(
            [(gray_planes(x, planes), target, mask) for x, target, mask in side] for side in sides
        )
    return setting.cache[planes]


def counted(setting: Setting) -> Callable[..., Patterns]:
    """Return a function that counts patterns and remembers the last ones.

    Of gray images, and of many voxels in windows of many bits, pixels are drawn.
    """
    kept = setting.cache.setdefault("patterns", {})

    def count(examples: list[Example], window: np.ndarray, *, border: str) -> Patterns:
        name = (id(examples), window.tobytes())
        if name not in kept:
            if setting.gray:
                rng, each = np.random.default_rng(0), -(-_GRAY_PIXELS // len(examples))
                patterns = sample_patterns(examples, window, pixels=each, rng=rng, border=border)
            elif _is_drawn(examples, window):
                rng, each = np.random.default_rng(0), -(-_VOXELS // len(examples))
                drawn = sample_patterns(examples, window, pixels=each, rng=rng, border=border)
                patterns = merged_patterns(*drawn)
            else:
                patterns = count_patterns(examples, window, border=border)
            while len(kept) >= _KEPT:
                del kept[next(iter(kept))]
            kept[name] = examples, patterns  # the examples stay, and with them their id
        return kept[name][1]

    return count


def _is_drawn(examples: list[Example], window: np.ndarray) -> bool:
    """Return whether voxels are drawn: hardly two see the same, so all would fill the memory."""
    wide = window.shape[1] == 4 and len(window) > _BITS
    return wide and sum(int(mask.sum()) for _, _, mask in examples) > _VOXELS
