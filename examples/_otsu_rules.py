"""Segmentation without a network: Otsu's threshold, with a factor, an opening or a closing."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from morphax import data
from morphax.data.otsu import otsu, root_otsu
from morphax.morphology import elements

Rule = Callable[[np.ndarray], np.ndarray]


def score(prediction: Any, masks: np.ndarray) -> float:
    """Return the mean Dice over images."""
    bits, axes = np.asarray(prediction), (1, 2, 3)
    total = bits.sum(axes) + masks.sum(axes)
    return float(np.where(total, 2 * (bits & masks).sum(axes) / np.maximum(total, 1), 1).mean())


def thresholds(images: np.ndarray, method: Callable[[np.ndarray], float]) -> np.ndarray:
    """Return a threshold for each image, `(N, 1, 1, 1)`."""
    return np.array([method(image) for image in images])[:, None, None, None]


def otsu_mask(images: np.ndarray) -> np.ndarray:
    """Return the pixels at Otsu's threshold or above."""
    return images >= thresholds(images, otsu)


def hand_made(fitted: tuple[np.ndarray, np.ndarray], *, few: bool) -> dict[str, Rule]:
    """Return the rules: name -> function of images, with the parameters that fit best.

    Args:
        fitted: images and masks on which factors, operations and sizes are chosen.
        few: try one size only.
    """
    images, masks = fitted
    rules: dict[str, Rule] = {"Otsu's threshold": otsu_mask}

    # The best opening or closing of Otsu's mask.
    plain, operators = otsu_mask(images), {}
    for operation in ("opening", "closing"):
        for size in (3,) if few else (3, 5, 7):
            name = f"Otsu, then the best {operation} by disk({size})"
            operators[name] = after_otsu(operation, elements.disk(size))
    best = max(operators, key=lambda name: score(operators[name](plain), masks))
    rules[best] = lambda x: operators[best](otsu_mask(x))

    # The best multiple of each threshold.
    for name, method in (("Otsu", otsu), ("root Otsu", root_otsu)):
        at = thresholds(images, method)
        factors = np.arange(0.5, 1.6, 0.05)
        dice = [score(images >= factor * at, masks) for factor in factors]
        factor = factors[int(np.argmax(dice))]
        rules[f"best factor: {factor:.2f} x {name}"] = multiple(factor, method)
    return rules


def after_otsu(operation: str, selem: np.ndarray) -> Rule:
    """Return an operator on masks."""
    operator = jax.jit(lambda x: data.target(x, operation, selem))
    return lambda x: np.asarray(operator(x))


def multiple(factor: float, method: Callable[[np.ndarray], float]) -> Rule:
    """Return the rule of a multiple of a threshold."""
    return lambda x: x >= factor * thresholds(x, method)
