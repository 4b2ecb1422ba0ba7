"""Cost of a program: bit operations, bits of wiring, and memory.

The count assumes a plain evaluation that shares nothing. For every pixel of a plane, a window or
a set of n members takes n - 1 joins (AND for an erosion or intersection, OR for a dilation or
union), a pool one OR less than its window has pixels, and a complement one NOT. Votes take a NOT
where they are negative, full adders (2 XOR, 2 AND, 1 OR) and half adders (1 XOR, 1 AND) for each
bit of the sum, and for each cut one AND or OR for each bit above its lowest 1. Two networks can
be compared by these numbers. A specialised program may share work and need fewer operations.
"""

from typing import NamedTuple

import numpy as np

from morphax.packed import counters
from morphax.program.ops import Op, Program


class Cost(NamedTuple):
    """Hold the cost of a program.

    Attributes:
        ands, ors, nots: numbers of bit operations for one image.
        total: their sum, with the `xors`.
        additions: number of integer additions in the counts at the end, which are no bit
            operations: one less than the bits counted.
        per_pixel: `total` divided by the pixels (H * W) of one plane of the result.
        wiring: number of bits that describe the network: a mask for each window; a number for
            each member of a set and for each plane or pixel that is moved; two bits for each
            neuron (operation and complement); one bit for each pixel of a constant; the bits of
            votes and of cuts, with their signs.
        xors: number of XOR operations, of the adders of votes.
    """

    ands: int
    ors: int
    nots: int
    total: int
    additions: int
    per_pixel: float
    wiring: int
    xors: int = 0


def count(program: Program) -> Cost:
    """Count the operations of a program, as the module docstring defines them.

    Pass `simplify(program)` for a fair number.

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
    ands = ors = nots = xors = additions = wiring = 0
    for op in program.ops:
        planes, area = op.shape[0], int(np.prod(op.shape[1:]))
        read = [program.ops[i].shape for i in op.inputs]
        number = _bits(sum(shape[0] for shape in read))  # bits to name a plane of the inputs
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
        elif op.kind == "at_least":
            counted = vote_operations(op.arrays["votes"].tolist(), op.arrays["cuts"].tolist())
            groups = area * (planes // len(op.arrays["cuts"]))
            ands, ors, nots, xors = (
                sum_ + groups * number
                for sum_, number in zip((ands, ors, nots, xors), counted, strict=True)
            )
            wiring += sum(
                abs(n).bit_length() + 1 for name in op.arrays for n in op.arrays[name].tolist()
            )
        elif op.kind == "group_sum":
            additions += area * planes * (op.options["per"] - 1)
    total, result = ands + ors + nots + xors, program.ops[-1].shape
    per_pixel = total / int(np.prod(result[1:]))
    return Cost(ands, ors, nots, total, additions, per_pixel, wiring, xors)


def _members(op: Op) -> np.ndarray:
    """Return the number of members of the set of each plane."""
    if op.kind == "spatial":
        return op.arrays["selem"].reshape(op.shape[0], -1).sum(1)
    return np.diff(op.arrays["offsets"])


def vote_operations(votes: list[int], cuts: list[int]) -> tuple[int, int, int, int]:
    """Return the numbers of AND, OR, NOT and XOR of one count and its comparisons, at a pixel.

    Args:
        votes: of an "at_least" op.
        cuts: its cuts.

    Returns:
        Four integers.

    Example:
        >>> vote_operations([1, 1, 1], [2])  # a full adder; its carry is the answer
        (2, 1, 0, 2)
    """
    full = half = carries = 0
    for column in counters.columns([abs(vote) for vote in votes]):
        size = len(column) + carries
        # A full adder takes two words out of a column, a half adder one; each carries one on.
        carries = size // 2
        half, full = half + (size > 0 and size % 2 == 0), full + max(size - 1, 0) // 2
    ands, ors = 2 * full + half, full
    bits, lowest = sum(map(abs, votes)).bit_length(), sum(min(vote, 0) for vote in votes)
    for cut in (cut - lowest for cut in cuts):
        if 0 < cut < 1 << bits:  # other cuts are decided beforehand
            low = (cut & -cut).bit_length()
            ones = (cut >> low).bit_count()
            ands, ors = ands + ones, ors + bits - low - ones
    return ands, ors, sum(vote < 0 for vote in votes), 2 * full + half


def _bits(choices: int) -> int:
    """Return how many bits hold any number below `choices`."""
    return max(choices - 1, 0).bit_length()


def scratch(program: Program) -> int:
    """Compute the working memory of a program that runs op by op.

    A result is kept from the op that makes it to the last op that reads it; a count takes 32 bits.

    Args:
        program: any program.

    Returns:
        Greatest number of bits that are kept at once, for one image.

    Example:
        >>> from morphax.program import Op
        >>> flips = [Op("complement", (i,), (1, 5, 4)) for i in range(3)]
        >>> scratch(Program((Op("input", (), (1, 5, 4)), *flips), (5, 4, 1), (5, 4, 1)))
        40
    """
    # Later ops overwrite the entries of earlier ones: the number of the last op that reads i.
    last = {i: number for number, op in enumerate(program.ops) for i in op.inputs}
    bits = [int(np.prod(op.shape)) * (32 if op.kind == "group_sum" else 1) for op in program.ops]
    return max(
        sum(bits[i] for i in range(now + 1) if i == now or last.get(i, -1) >= now)
        for now in range(len(program.ops))
    )
