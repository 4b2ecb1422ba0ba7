"""Look at pairs before training: say in one line each what a network could not learn from.

Images are bool `(N, H, W, 1)`, or lists of `(H, W, 1)` arrays. Only pixels that a mask sets count.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from morphax import _checks

_RARE = 1e-4  # share of a class below which a network seldom learns it
_COMPLEMENTED = 0.7  # share of pixels on which a target differs from its input


def check_pairs(inputs: Any, targets: Any, *, masks: Any = None) -> list[str]:
    """Return what is odd about pairs, one line each; no line where nothing is.

    Said are: masks that let no pixel count, constant inputs and targets, targets equal to their
    inputs, targets that look complemented (they differ from the inputs on 70 % of the pixels or
    more, and the two are anticorrelated), and a class on fewer than one pixel in ten thousand.

    Args:
        inputs: N images, bool. Where they are not bool, or have several channels, only the
            targets are looked at.
        targets: N bool images; the two images of a pair have the same rows and columns.
        masks: bool, of the shape of the targets; None: all pixels count.

    Returns:
        Lines that begin with "inputs", "targets" or "masks".

    Raises:
        ValueError: no images, or numbers and sizes that do not fit.

    Example:
        >>> images = np.random.default_rng(0).random((2, 9, 9, 1)) < 0.5
        >>> check_pairs(images, images)
        ['targets are equal to the inputs on every pixel: there is nothing to learn']
        >>> check_pairs(images, images & False)
        ['targets are constant: no pixel is set in any image, so there is nothing to learn']
    """
    count, binary, values = _counts(inputs, targets, masks)
    total, on = int(count.sum()), int(count[:, 1].sum())
    if total == 0:
        return ["masks are empty: no pixel of any image counts, so there is nothing to learn"]
    lines = []
    if len(values) == 1:
        lines.append(f"inputs are constant: {_which(max(values))} in any image")
    if on in (0, total):
        return [
            *lines,
            f"targets are constant: {_which(on)} in any image, so there is nothing to learn",
        ]
    differ = int(count[0, 1] + count[1, 0])
    if binary and differ == 0:
        lines.append("targets are equal to the inputs on every pixel: there is nothing to learn")
    anticorrelated = int(count[0, 0]) * int(count[1, 1]) < int(count[0, 1]) * int(count[1, 0])
    if binary and anticorrelated and differ >= _COMPLEMENTED * total:
        lines.append(
            f"targets look complemented: they differ from the inputs on {differ / total:.1%} of "
            "the "
            "pixels; if white means the object on one side and the ground on the other, "
            "complement one"
        )
    for name, pixels in (("set", on), ("clear", total - on)):
        if pixels < _RARE * total:
            lines.append(
                f"targets are {name} on {pixels} of {total} pixels only, fewer than one in ten "
                "thousand: give more such images, or crops around these pixels"
            )
    return lines


def _counts(inputs: Any, targets: Any, masks: Any) -> tuple[np.ndarray, bool, set[bool]]:
    """Count pairs of values.

    Returns:
        The number of pixels for each (input, target), int64 (2, 2); whether inputs are bits;
        and their values. A mask hides no value of an input, since the neighbours of a pixel
        matter too.
    """
    _checks.require(len(targets) > 0, "targets", "one image or more", "none")
    _checks.require(len(inputs) == len(targets), "inputs", f"{len(targets)} images", len(inputs))
    if masks is not None:
        fits = len(masks) == len(targets)
        _checks.require(fits, "masks", f"{len(targets)} images or None", len(masks))
    parts = (inputs, targets, masks if masks is not None else targets)
    if all(hasattr(part, "ndim") and part.ndim in (4, 5) for part in parts):
        # Arrays are looked at as one tall image.
        tall = [np.asarray(part).reshape(1, -1, *part.shape[2:]) for part in parts]
        fits = tall[0].shape[1:-1] == tall[1].shape[1:-1]
        parts = tuple(tall) if fits else parts
    images: Iterable[Any] = zip(*parts, strict=True)
    count, binary, values = np.zeros((2, 2), np.int64), True, set()
    for x, y, mask in ((np.asarray(part) for part in each) for each in images):
        _checks.require(y.dtype == bool, "targets", "bool", y.dtype)
        fits = x.shape[:2] == y.shape[:2] and mask.shape == y.shape
        expected = f"the size of the target, {y.shape}"
        _checks.require(fits, "inputs and masks", expected, (x.shape, mask.shape))
        binary = binary and x.dtype == bool and x.shape == y.shape
        values |= {bool(x.min()), bool(x.max())} if binary else {False, True}
        x = x if binary else np.zeros_like(y)
        if masks is not None:
            x, y = x[mask], y[mask]
        on, both, area = int(y.sum()), int((x & y).sum()), int(x.sum())
        count += [[y.size - area - on + both, on - both], [area - both, both]]
    return count, binary, values


def _which(is_set: int) -> str:
    return "every pixel is set" if is_set else "no pixel is set"
