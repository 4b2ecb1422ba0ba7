"""What a program costs if it is run plainly: bit operations, and bits of wiring.

The plain count: a window or a set of n members takes n - 1 joins (AND for an erosion or intersection, OR
for a dilation or union), a pool one OR less than its window has pixels, a complement one NOT, each for
every pixel of its plane. Nothing is shared: that is what a specialised program may do better, and what
two networks can be compared by.
"""

from typing import NamedTuple

import numpy as np

from morphax.program.ops import Op, Program


class Cost(NamedTuple):
    """Plain cost of a program.

    Attributes:
        ands, ors, nots: bit operations for one image.
        total: their sum.
        additions: of the counts at the end, which are no bit operations: one less than the bits counted.
        per_pixel: `total` divided by the pixels (H * W) of one plane of the result.
        wiring: bits that say what is read and done: a mask for each window; for each member of a set,
            and for each plane or pixel that is moved, its number; two bits a neuron for its operation
            and complement; one bit for each pixel of a constant.
    """

    ands: int
    ors: int
    nots: int
    total: int
    additions: int
    per_pixel: float
    wiring: int


def count(program: Program) -> Cost:
    """The plain cost of a program (see the module), of `simplify(program)` for a fair one.

    Args:
        program: any program.

    Returns:
        `Cost`.

    Example:
        >>> window = np.ones((1, 3, 3), bool)
        >>> neuron = {"source": np.zeros(1, int), "selem": window,
        ...           "erosion": np.ones(1, bool), "complement": np.ones(1, bool)}
        >>> erosion = Op("spatial", (0,), (1, 5, 4), "", neuron, {"border": "ignore"})
        >>> cost = count(Program((Op("input", (), (1, 5, 4)), erosion), (5, 4, 1), (5, 4, 1)))
        >>> cost.ands, cost.nots, cost.per_pixel, cost.wiring
        (160, 20, 9.0, 11)
    """
    ands = ors = nots = additions = wiring = 0
    for op in program.ops:
        planes, height, width = op.shape
        area = height * width
        read = [program.ops[i].shape for i in op.inputs]
        number = _bits(sum(shape[0] for shape in read))  # that tells planes of the inputs apart
        if op.kind in ("spatial", "combine"):
            joins = np.maximum(_members(op) - 1, 0)
            erosion, complement = op.arrays["erosion"], op.arrays["complement"]
            ands += area * int(joins[erosion].sum())
            ors += area * int(joins[~erosion].sum())
            nots += area * int(complement.sum())
            wiring += 2 * planes
            if op.kind == "spatial":
                wiring += op.arrays["selem"].size + planes * number
            else:
                wiring += len(op.arrays["indices"]) * number
        elif op.kind == "complement":
            nots += area * planes
        elif op.kind == "union_pool":
            ors += area * planes * (int(np.prod(op.options["window"])) - 1)
        elif op.kind == "select":
            wiring += planes * number
        elif op.kind == "rearrange":
            wiring += op.arrays["index"].size * _bits(int(sum(np.prod(shape) for shape in read)))
        elif op.kind == "constant":
            wiring += op.arrays["bits"].size
        elif op.kind == "group_sum":
            additions += area * planes * (op.options["per"] - 1)
    total, result = ands + ors + nots, program.ops[-1].shape
    return Cost(ands, ors, nots, total, additions, total / (result[1] * result[2]), wiring)


def _members(op: Op) -> np.ndarray:
    """|S| of each plane."""
    if op.kind == "spatial":
        return op.arrays["selem"].sum((1, 2))
    return np.diff(op.arrays["offsets"])


def _bits(choices: int) -> int:
    """Bits of a number below `choices`."""
    return max(choices - 1, 0).bit_length()


def scratch(program: Program) -> int:
    """Bits of planes that are alive at once, at most, when a program runs op by op.

    A result is alive from the op that makes it to the last one that reads it; counts take 32 bits.

    Args:
        program: any.

    Returns:
        Bits for one image.

    Example:
        >>> from morphax.program import Op
        >>> flips = [Op("complement", (i,), (1, 5, 4)) for i in range(3)]
        >>> scratch(Program((Op("input", (), (1, 5, 4)), *flips), (5, 4, 1), (5, 4, 1)))
        40
    """
    last = {i: number for number, op in enumerate(program.ops) for i in op.inputs}
    bits = [int(np.prod(op.shape)) * (32 if op.kind == "group_sum" else 1) for op in program.ops]
    alive = [
        sum(bits[i] for i in range(now + 1) if i == now or last.get(i, -1) >= now)
        for now in range(len(program.ops))
    ]
    return max(alive)
