"""Programs on large images, band by band: memory is bounded, and one size is compiled.

A *band* is some rows of an image with as many rows above and below as the program looks at. All
bands have one height, so a program that is compiled for it serves images of any height. The rows
of a volume are its slices, along the first axis.
"""

from collections.abc import Callable

import numpy as np

from morphax import _checks
from morphax.program.ops import Op, Program


def row_reach(program: Program) -> int:
    """Return how many rows above or below a pixel its answer depends on, at most.

    Args:
        program: a program whose planes all have the size of the image.

    Returns:
        Number of rows.

    Raises:
        ValueError: an op depends on the place of a pixel, so that rows cannot be told apart.

    Example:
        >>> from morphax import models, binarize
        >>> from morphax.program import build
        >>> import jax
        >>> params = binarize(models.init_bimonn(jax.random.key(0), [1, 1, 1], kernel_size=5))
        >>> row_reach(build(models.bimonn, params, (1, 9, 9, 1)))
        4
    """
    reach: list[int] = []
    for op in program.ops:
        _checks.require(
            op.shape[1:] == program.ops[0].shape[1:] and op.kind != "rearrange",
            "program",
            "operators on images that keep their size (no moves of pixels, pools or sums)",
            f"{op.kind} {op.shape}",
        )
        before = max((reach[i] for i in op.inputs), default=0)
        reach.append(before + _own_reach(op))
    return reach[-1]


def _own_reach(op: Op) -> int:
    """Return how many rows away the windows of an op look."""
    if op.kind != "spatial":
        return 0
    windows = op.arrays["selem"]
    rows = np.flatnonzero(np.moveaxis(windows, 1, 0).reshape(windows.shape[1], -1).any(1))
    centre = op.arrays["selem"].shape[1] // 2
    return int(np.abs(rows - centre).max(initial=0))


def run_in_bands(
    program: Program,
    x: np.ndarray,
    run: Callable[[np.ndarray], np.ndarray],
    *,
    rows: int = 256,
) -> np.ndarray:
    """Run a program on images band by band.

    Args:
        program: a program whose planes all have the size of the image; only its reach is used.
        x: bool `(N, H, W, C)`, or volumes `(N, D, H, W, C)`.
        run: runs the program on bands, bool `(N, h, W, C)` to `(N, h, W, outputs)`, where h is at
            most `rows` plus twice the reach. The frame of a band is treated like that of an image.
        rows: rows of answers of a band.

    Returns:
        bool `(N, H, W, outputs)`, the answer of the whole images.

    Raises:
        ValueError: `rows` is below 1, or the program has no reach (see `row_reach`).

    Example:
        >>> flip = Program((Op("input", (), (1, 4, 4)), Op("complement", (0,), (1, 4, 4))),
        ...                (4, 4, 1), (4, 4, 1))
        >>> run_in_bands(flip, np.zeros((1, 9, 2, 1), bool), np.invert, rows=4).all()
        np.True_
    """
    _checks.at_least("rows", rows, 1)
    reach, height = row_reach(program), x.shape[1]
    size = rows + 2 * reach
    if height <= size:
        return run(x)
    parts = []
    for first in range(0, height, rows):
        # Bands lie inside of the image: the first and the last one have its frame.
        top = min(max(first - reach, 0), height - size)
        answer = run(np.ascontiguousarray(x[:, top : top + size]))
        parts.append(answer[:, first - top : min(first + rows, height) - top])
    return np.concatenate(parts, 1)
