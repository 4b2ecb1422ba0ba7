"""Images of two classes for small classifiers."""

import numpy as np


def shapes(count, size=14, rng=None):
    """Images of two classes, a bar that lies or stands somewhere, with noise."""
    rng = rng or np.random.default_rng(1)
    images = rng.integers(0, 90, (count, size, size, 1)).astype(np.uint8)
    labels = np.arange(count) % 2
    for image, label in zip(images, labels, strict=True):
        y, x = rng.integers(1, size - 8, 2)
        image[(slice(y, y + 2), slice(x, x + 7))[:: 1 - 2 * label]] = 200
    return images, labels
