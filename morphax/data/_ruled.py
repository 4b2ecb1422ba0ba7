"""Ruled paper: shapes under lines, to learn to take the lines away; `morphax demo` writes it.

No textbook operator does it without a trace, so a larger operator is a better one.
"""

import jax
import numpy as np

from morphax import _checks
from morphax.data._diskorect import diskorect


def ruled_pages(
    key: jax.Array, count: int, *, size: tuple[int, int] = (64, 64)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw shapes under ruled lines, and the shapes alone.

    Lines are one or two pixels thick, 7 to 12 rows apart, and broken in a few places.

    Args:
        key: a PRNG key.
        count: number of pages.
        size: rows (7 or more) and columns of a page.

    Returns:
        Pages and shapes, bool `(count, *size, 1)`.

    Raises:
        ValueError: `count` below 1 or fewer than 7 rows.

    Example:
        >>> pages, shapes = ruled_pages(jax.random.key(0), 3)
        >>> pages.shape, bool((shapes <= pages).all())
        ((3, 64, 64, 1), True)
    """
    _checks.at_least("count", count, 1)
    _checks.pair("size", size, 7)
    key, of_lines = jax.random.split(key)
    shapes = np.asarray(diskorect(key, count, size=size))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(of_lines)))
    pages = shapes.copy()
    for page in pages[..., 0]:
        for row in range(rng.integers(3, 7), size[0] - 2, rng.integers(7, 13)):
            line = rng.random(size[1]) > 0.03
            page[row : row + rng.integers(1, 3)] |= line
    return pages, shapes
