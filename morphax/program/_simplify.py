"""A smaller program that computes the same bits: `simplify`.

One pass forwards gives every plane of a program a *literal*: a number for what the plane is, and whether
it is complemented. Equal planes get equal literals, constants are computed, complements move into what
can absorb them. One pass backwards drops what nothing reads (`morphax.program._rewrite`), and what is left is
written as a program again. Literals are `2 * value + flip`; 0 and 1 are the constant planes.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np

from morphax.program._rewrite import Table, Values, rewrite
from morphax.program.ops import Op, Program, run_op

_Plan = int | tuple[Hashable, int, dict[str, Any]]  # a literal; or what a plane computes, flip, row


def simplify(program: Program) -> Program:
    """An equal program: complements folded, constants, duplicate and dead planes removed.

    In full: a complement goes into the op that reads it, by De Morgan, or into the flag of the op that
    makes it, where that costs nothing. Constant planes are computed. Neutral and repeated members
    leave unions and intersections; a set of one member, or of the centre pixel alone, is that member;
    empty sets are constants. Planes that compute the same are merged. Planes that nothing reads are
    dropped, and so are the margins of windows.

    Args:
        program: any program, as `morphax.program.build` makes it.

    Returns:
        A program of the same input and output.

    Example:
        >>> flips = [Op("complement", (i,), (2, 1, 1)) for i in range(2)]
        >>> len(simplify(Program((Op("input", (), (2, 1, 1)), *flips), (2,), (2,))).ops)
        1
    """
    values = Values()
    literals: list[np.ndarray] = []
    for op in program.ops:
        given = [literals[i] for i in op.inputs]
        if op.kind == "rearrange":
            frames = [program.ops[i].shape[1:] for i in op.inputs]
            literals.append(_fold_rearrange(values, op, given, frames))
        else:
            literals.append(_FOLD[op.kind](values, op, given))
    return rewrite(values, literals[-1], program)


def _fold_new(values: Values, op: Op, given: list[np.ndarray]) -> np.ndarray:
    """An op that is kept as it is."""
    arrays = {"reads": given[0]} if given else {}
    return values.add(Table(op.kind, op.shape, op.path, arrays, op.options))


def _fold_constant(values: Values, op: Op, _: list[np.ndarray]) -> np.ndarray:
    return np.array([values.constant(bits) for bits in op.arrays["bits"]], np.int64)


def _number(values: Values, op: Op, plans: Iterable[_Plan]) -> np.ndarray:
    """Add the planes that are new, each once; the literals of all."""
    plans = list(plans)
    fresh: dict[Hashable, dict[str, Any]] = {}
    for plan in plans:
        if not isinstance(plan, int) and plan[0] not in values.known:
            fresh.setdefault(plan[0], plan[2])
    if fresh:
        arrays = {name: _column([row[name] for row in fresh.values()])
                  for name in next(iter(fresh.values()))}  # fmt: skip
        shape = (len(fresh), *op.shape[1:])
        literals = values.add(Table(op.kind, shape, op.path, arrays, op.options))
        values.known.update(zip(fresh, literals.tolist(), strict=True))
    return np.array(
        [plan if isinstance(plan, int) else values.known[plan[0]] ^ plan[1] for plan in plans],
        np.int64,
    )


def _column(entries: list[Any]) -> np.ndarray:
    """Entries of one kind, a row each; lists of different lengths stay lists."""
    if len({np.shape(entry) for entry in entries}) == 1:
        return np.array(entries)
    column = np.empty(len(entries), object)
    column[:] = entries
    return column


def _fold_spatial(values: Values, op: Op, given: list[np.ndarray]) -> np.ndarray:
    reads = given[0][op.arrays["source"]]
    return _number(
        values, op, (_plan_spatial(values, op, o, int(reads[o])) for o in range(len(reads)))
    )


def _plan_spatial(values: Values, op: Op, o: int, read: int) -> _Plan:
    window, border = op.arrays["selem"][o], op.options["border"]
    erosion, flip = bool(op.arrays["erosion"][o]), int(op.arrays["complement"][o])
    if not window.any():
        return int(erosion) ^ flip
    bits = values.bits(read, op.shape[1:])
    if bits is not None:
        one = {name: op.arrays[name][o : o + 1] for name in ("selem", "erosion", "complement")}
        one["source"] = np.zeros(1, np.int32)
        return values.constant(run_op(Op("spatial", (0,), (1, *bits.shape), "", one, op.options),
                                      bits[None, None])[0, 0])  # fmt: skip
    pixels = np.argwhere(window) - np.array(window.shape) // 2
    if not pixels.any():  # the centre alone
        return read ^ flip
    if read & 1 and border != "constant":  # there, the frame is not complemented with the image
        read, erosion, flip = read ^ 1, not erosion, flip ^ 1
    if len(pixels) == 1 and border != "ignore":  # a translation is both
        erosion = False
    key = ("spatial", read, erosion, border, op.shape[1:], pixels.tobytes())
    return key, flip, {"reads": read, "selem": window, "erosion": erosion}


def _fold_combine(values: Values, op: Op, given: list[np.ndarray]) -> np.ndarray:
    sets = np.split(given[0][op.arrays["indices"]], op.arrays["offsets"][1:-1])
    return _number(
        values, op, (_plan_combine(values, op, o, reads) for o, reads in enumerate(sets))
    )


def _plan_combine(values: Values, op: Op, o: int, reads: np.ndarray) -> _Plan:
    erosion, flip = int(op.arrays["erosion"][o]), int(op.arrays["complement"][o])
    reads = np.unique(reads)
    reads = reads[reads != erosion]  # 1 is neutral for an intersection, 0 for a union
    both = (reads[:-1] ^ 1 == reads[1:]).any()
    if both or (len(reads) and reads[0] == 1 - erosion):
        return 1 - erosion ^ flip
    if len(reads) == 0:
        return erosion ^ flip
    if len(reads) == 1:
        return int(reads[0]) ^ flip
    if values.constants:
        found = [values.bits(int(read), op.shape[1:]) for read in reads]
        known = [bits for bits in found if bits is not None]
        if len(known) == len(reads):
            joined = np.stack(known).all(0) if erosion else np.stack(known).any(0)
            return values.constant(np.asarray(joined ^ bool(flip)))
    flips = 2 * int((reads & 1).sum())
    if flips > len(reads) or (flips == len(reads) and reads[0] & 1):
        reads, erosion, flip = np.unique(reads ^ 1), 1 - erosion, 1 - flip
    key = ("combine", bool(erosion), op.shape[1:], reads.tobytes())
    return key, flip, {"reads": reads, "erosion": bool(erosion)}


def _fold_pool(values: Values, op: Op, given: list[np.ndarray]) -> np.ndarray:
    sides = (tuple(op.options["window"]), tuple(op.options["strides"]))
    if sides == ((1, 1), (1, 1)):
        return given[0]
    return _number(values, op, (_plan_pool(values, op, sides, int(read)) for read in given[0]))


def _plan_pool(values: Values, op: Op, sides: tuple[Any, Any], read: int) -> _Plan:
    if read < 2:
        return read
    bits = values.bits(read, ())
    if bits is not None:
        return values.constant(run_op(op, bits[None, None])[0, 0])
    flip = read & 1 if sides[0] == (1, 1) else 0
    return ("union_pool", read ^ flip, sides), flip, {"reads": read ^ flip}


def _fold_rearrange(
    values: Values, op: Op, given: list[np.ndarray], frames: list[tuple[int, int]]
) -> np.ndarray:
    # Every pixel of the result: the literal of the plane it comes from, and where in that plane.
    areas = [height * width for height, width in frames]
    index = op.arrays["index"].reshape(op.shape[0], -1)
    both = list(zip(given, areas, strict=True))
    reads = np.concatenate([np.repeat(literals, area) for literals, area in both])[index]
    place = np.concatenate([np.tile(np.arange(area), len(literals)) for literals, area in both])[
        index
    ]
    single = np.concatenate([np.full(len(literals) * area, area == 1) for literals, area in both])[
        index
    ]
    for literal, bits in values.constants.items():
        hit = reads & ~1 == literal
        reads[hit] = bits.reshape(-1)[place[hit]] ^ (reads[hit] & 1)
    place[reads < 2] = 0
    # A plane whose pixels are complemented alike is complemented as a whole.
    varies = np.asarray(reads >= 2)
    flip = np.asarray(((reads & 1) | ~varies).all(1) & varies.any(1))
    reads = reads ^ flip[:, None]
    out = np.zeros(op.shape[0], np.int64)
    whole = ~varies.any(1) & (reads == reads[:, :1]).all(1)  # 0 or 1 everywhere
    if index.shape[1] == 1:
        whole |= single[:, 0]
    out[whole] = reads[whole, 0]
    for o in np.flatnonzero(~varies.any(1) & ~whole):
        out[o] = values.constant(reads[o].reshape(op.shape[1:]).astype(bool))
    new = varies.any(1) & ~whole
    if new.any():
        rows, back = np.unique(np.stack([reads[new], place[new]], 1), axis=0, return_inverse=True)
        key = ("rearrange", op.shape[1:], rows.tobytes())
        if key not in values.known:
            arrays = {"reads": rows[:, 0], "place": rows[:, 1]}
            table = Table("rearrange", (len(rows), *op.shape[1:]), op.path, arrays, {})
            values.known[key] = int(values.add(table)[0])
        out[new] = values.known[key] + 2 * back.reshape(-1)
    return out ^ flip


_FOLD: dict[str, Callable[..., np.ndarray]] = {
    "input": _fold_new,
    "constant": _fold_constant,
    "spatial": _fold_spatial,
    "combine": _fold_combine,
    "complement": lambda values, op, given: given[0] ^ 1,
    "union_pool": _fold_pool,
    "select": lambda values, op, given: np.concatenate(given)[op.arrays["source"]],
    "group_sum": _fold_new,
}
