"""Generated volumes: balls and boxes of random sizes and places, with noise."""

import jax
import numpy as np

from morphax import _checks


def solids(
    key: jax.Array, count: int, *, size: tuple[int, int, int] = (20, 20, 20), noise: float = 0.02
) -> np.ndarray:
    """Draw volumes of 6 to 12 solid balls and boxes, in each of which voxels are flipped.

    Args:
        key: PRNG key; the same key gives the same volumes.
        count: number of volumes.
        size: slices, rows and columns.
        noise: probability that a voxel is flipped.

    Returns:
        bool `(count, *size, 1)`. Balls have radii of 2 to 5 voxels, boxes sides of 1 to 11.

    Raises:
        ValueError: a size below 1, or `noise` outside of [0, 1].

    Example:
        >>> x = solids(jax.random.key(0), 4, size=(8, 9, 10))
        >>> x.shape, bool(x.any() and not x.all())
        ((4, 8, 9, 10, 1), True)
    """
    _checks.require(len(size) == 3 and min(size) >= 1, "size", "three sizes of 1 or more", size)
    _checks.probability("noise", noise)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    places, volumes = np.indices(size), np.zeros((count, *size), bool)
    for volume in volumes:
        for _ in range(rng.integers(6, 13)):
            centre = rng.integers(0, size).reshape(3, 1, 1, 1)
            if rng.random() < 0.5:
                volume |= ((places - centre) ** 2).sum(0) <= rng.integers(2, 6) ** 2
            else:
                reach = rng.integers(0, 6, 3).reshape(3, 1, 1, 1)
                volume |= (abs(places - centre) <= reach).all(0)
    return (volumes ^ (rng.random(volumes.shape) < noise))[..., None]
