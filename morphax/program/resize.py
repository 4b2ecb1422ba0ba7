"""Programs for images of another size, and those of rows as programs of images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from morphax import _checks
from morphax.program.ops import Op, Program

_ANY_SIZE = ("input", "spatial", "combine", "complement", "select", "constant", "at_least")


def resized(program: Program, size: Sequence[int]) -> Program:
    """Return the same program for images of another size.

    Args:
        program: a program whose planes all have the size of the image, such as a chain of erosions
            or a union of hit-or-misses.
        size: (height, width), or one size for each axis of the planes, at least 1.

    Returns:
        The program.

    Raises:
        ValueError: a plane has another size than the image, a constant plane is not plain, or an
            op depends on the place of a pixel.

    Example:
        >>> flip = Program((Op("input", (), (1, 4, 4)), Op("complement", (0,), (1, 4, 4))),
        ...                (4, 4, 1), (4, 4, 1))
        >>> resized(flip, (2, 9)).output_shape
        (2, 9, 1)
    """
    axes, size = program.axes, tuple(size)
    expected = "a height and a width" if axes == 2 else f"{axes} sizes, one for each axis"
    is_size = len(size) == axes and min(size) >= 1
    _checks.require(is_size, "size", expected, size)
    own = program.ops[0].shape[1:]
    ops = []
    for number, op in enumerate(program.ops):
        got = f"op {number}, {op.kind} {op.shape}"
        fits = op.kind in _ANY_SIZE and op.shape[1:] == own
        expected = "operators on images that keep their size (no moves of pixels, pools or sums)"
        _checks.require(fits and len(program.input_shape) > axes, "program", expected, got)
        shape = (op.shape[0], *size)
        ops.append(replace(op, shape=shape, arrays=_arrays(op, shape)))
    shapes = ((*size, *s[axes:]) for s in (program.input_shape, program.output_shape))
    return Program(tuple(ops), *shapes)


def rows_as_images(program: Program) -> Program:
    """Return a program of rows as one of images of height 1; others are returned as they are.

    Args:
        program: any program.

    Returns:
        The program. If all its planes have the size of a row, images of more rows are rows that
        do not see each other.

    Example:
        >>> flip = Program((Op("input", (), (1, 9)), Op("complement", (0,), (1, 9))),
        ...                (9, 1), (9, 1))
        >>> rows_as_images(flip).input_shape
        (1, 9, 1)
    """
    if program.axes != 1:
        return program
    ops = []
    for op in program.ops:
        # A window gets one row, and so does what has the shape of the result.
        framed = {k: op.arrays[k][:, None] for k in ("bits", "selem", "index") if k in op.arrays}
        options = {k: (1, *op.options[k]) for k in ("window", "strides") if k in op.options}
        ops.append(
            replace(
                op,
                shape=(op.shape[0], 1, op.shape[1]),
                arrays=op.arrays | framed,
                options=op.options | options,
            )
        )
    # Flat signals stay flat.
    shapes = (s if len(s) == 1 else (1, *s) for s in (program.input_shape, program.output_shape))
    return Program(tuple(ops), *shapes)


def _arrays(op: Op, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of an op; those of a constant get the size of the image."""
    if op.kind != "constant":
        return op.arrays
    bits = op.arrays["bits"]
    first = bits[(slice(None), *(slice(0, 1),) * (bits.ndim - 1))]
    plain = bool((bits == first).all())
    _checks.require(plain, "program", "constant planes of one value", "a picture")
    return {"bits": np.broadcast_to(first, shape).copy()}
