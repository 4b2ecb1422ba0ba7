"""Small window operators for tests of menus."""

import numpy as np

from morphax.data.window_patterns import square_window
from morphax.recipes.menu._networks import LevelsNetwork
from morphax.recipes.windows._levels import Level


def row_union(count: int) -> LevelsNetwork:
    """A union of the pixels of a row: the more, the closer to its dilation by five pixels."""
    window = square_window(5)
    literals = np.zeros((count, 50), bool)
    literals[np.arange(count), 10 + np.arange(count)] = True
    level = Level(window, literals, np.ones(count, np.int32), np.array([1], np.int32))
    return LevelsNetwork((level,), 1, "constant")


def before_slices() -> LevelsNetwork:
    """The set voxels of volumes with an unset one in the slice before: one hit-or-miss."""
    literals = np.zeros((1, 54), bool)
    literals[0, [13, 27 + 4]] = True
    one = np.ones(1, np.int32)
    return LevelsNetwork((Level(square_window(3, axes=3), literals, one, one),), 1, "constant")
