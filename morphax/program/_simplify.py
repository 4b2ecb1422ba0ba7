"""Simplification: a smaller program that computes the same bits.

One pass forwards gives every plane of the program a *literal*, `2 * value + flip`: a number for
the function that the plane is, and whether it is complemented. The literals 0 and 1 are the planes
that are 0 and 1 everywhere. Equal planes get equal literals, constants are computed, and
complements move into the ops that can absorb them. One pass backwards drops the planes that nothing
reads, and the rest is written as a program again (`morphax.program._rewrite`).
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np

from morphax.program._rewrite import Table, Values, rewrite
from morphax.program.ops import Op, Program, run_op

# What to do for a plane: use a literal there is already, or look up a plane by a key that says
# what it computes, complement it if `flip`, and add it with the arrays of `row` if it is new.
_Plan = int | tuple[Hashable, int, dict[str, Any]]  # literal, or (key, flip, row)


def simplify(program: Program, *, any_size: bool = False) -> Program:
    """Simplify a program without changing any bit that it computes.

    A complement moves into the op that reads it, by De Morgan's laws, or into the flag of the op
    that makes it, where that costs nothing. Constant planes are computed. Neutral and repeated
    members leave unions and intersections. A set of one member, or of the centre pixel alone, is
    replaced by that member; an empty set by a constant. Planes that compute the same are merged.
    Planes that nothing reads are dropped, and so are empty margins of windows.

    Args:
        program: any program, such as `morphax.program.build` returns.
        any_size: True for a program that will run on images of other sizes: it is returned as it
            is where a window on a constant plane would be computed, frame included, for its own
            size.

    Returns:
        A program with the same input and output.

    Example:
        >>> flips = [Op("complement", (i,), (2, 1, 1)) for i in range(2)]
        >>> len(simplify(Program((Op("input", (), (2, 1, 1)), *flips), (2,), (2,))).ops)
        1
    """
    values = Values()
    literals: list[np.ndarray] = []
    for op in program.ops:
        inputs = [literals[i] for i in op.inputs]
        if op.kind == "rearrange":
            frames = [program.ops[i].shape[1:] for i in op.inputs]
            literals.append(_fold_rearrange(values, op, inputs, frames))
        else:
            literals.append(_FOLD[op.kind](values, op, inputs))
    if any_size and values.sized:
        return program
    return rewrite(values, literals[-1], program)


# Each `_fold_*` returns the literals of the planes of an op. It gets the planes so far, the op,
# and for each input of the op the literals of its planes.


def _fold_new(values: Values, op: Op, inputs: list[np.ndarray]) -> np.ndarray:
    """Keep an op as it is."""
    arrays = {"reads": inputs[0]} if inputs else {}
    return values.add(Table(op.kind, op.shape, op.path, arrays, op.options))


def _fold_constant(values: Values, op: Op, _: list[np.ndarray]) -> np.ndarray:
    return np.array([values.constant(bits) for bits in op.arrays["bits"]], np.int64)


def _number(values: Values, op: Op, plans: Iterable[_Plan]) -> np.ndarray:
    """Add the planes that are new, each once, and return the literals of all planes of an op."""
    plans = list(plans)
    new_rows: dict[Hashable, dict[str, Any]] = {}
    for plan in plans:
        if not isinstance(plan, int) and plan[0] not in values.literal_of:
            new_rows.setdefault(plan[0], plan[2])
    if new_rows:
        names = next(iter(new_rows.values()))
        arrays = {name: _column([row[name] for row in new_rows.values()]) for name in names}
        shape = (len(new_rows), *op.shape[1:])
        literals = values.add(Table(op.kind, shape, op.path, arrays, op.options))
        values.literal_of.update(zip(new_rows, literals.tolist(), strict=True))
    return np.array(
        [plan if isinstance(plan, int) else values.literal_of[plan[0]] ^ plan[1] for plan in plans],
        np.int64,
    )


def _column(entries: list[Any]) -> np.ndarray:
    """Stack entries as the rows of an array; lists of different lengths stay lists."""
    if len({np.shape(entry) for entry in entries}) == 1:
        return np.array(entries)
    column = np.empty(len(entries), object)
    column[:] = entries
    return column


def _fold_spatial(values: Values, op: Op, inputs: list[np.ndarray]) -> np.ndarray:
    reads = inputs[0][op.arrays["source"]].tolist()
    return _number(values, op, (_plan_spatial(values, op, o, read) for o, read in enumerate(reads)))


def _plan_spatial(values: Values, op: Op, o: int, read: int) -> _Plan:
    window, border = op.arrays["selem"][o], op.options["border"]
    erosion, flip = bool(op.arrays["erosion"][o]), int(op.arrays["complement"][o])
    if not window.any():  # the neutral element
        return int(erosion) ^ flip
    # A window on a constant plane: run this one neuron now.
    bits = values.bits(read, op.shape[1:])
    if bits is not None:
        one = {name: op.arrays[name][o : o + 1] for name in ("selem", "erosion", "complement")}
        one["source"] = np.zeros(1, np.int32)
        values.sized = True
        neuron = Op("spatial", (0,), (1, *bits.shape), "", one, op.options)
        return values.constant(run_op(neuron, bits[None, None])[0, 0])
    pixels = np.argwhere(window) - np.array(window.shape) // 2
    if not pixels.any():  # the centre alone
        return read ^ flip
    # De Morgan: eroding a complement is the complement of a dilation. Not with "constant", whose
    # pixels beyond the frame stay 0 when the image is complemented.
    if read & 1 and border != "constant":
        read, erosion, flip = read ^ 1, not erosion, flip ^ 1
    # By one pixel, erosion and dilation are the same translation; "ignore" pads them differently.
    if len(pixels) == 1 and border != "ignore":
        erosion = False
    key = ("spatial", read, erosion, border, op.shape[1:], pixels.tobytes())
    return key, flip, {"reads": read, "selem": window, "erosion": erosion}


def _fold_combine(values: Values, op: Op, inputs: list[np.ndarray]) -> np.ndarray:
    sets = np.split(inputs[0][op.arrays["indices"]], op.arrays["offsets"][1:-1])
    return _number(values, op, (_plan_combine(values, op, o, set_) for o, set_ in enumerate(sets)))


def _plan_combine(values: Values, op: Op, o: int, reads: np.ndarray) -> _Plan:
    erosion, flip = int(op.arrays["erosion"][o]), int(op.arrays["complement"][o])
    reads = np.unique(reads)
    reads = reads[reads != erosion]  # 1 is neutral for an intersection, 0 for a union
    # A plane and its complement, or the absorbing constant: the result is that constant. Literals
    # are sorted, so a plane stands beside its complement and a constant stands first.
    has_pair = (reads[:-1] ^ 1 == reads[1:]).any()
    if has_pair or (len(reads) and reads[0] == 1 - erosion):
        return 1 - erosion ^ flip
    if len(reads) == 0:
        return erosion ^ flip
    if len(reads) == 1:
        return int(reads[0]) ^ flip
    # All members are constant planes: join them now.
    if values.constants:
        bits = [values.bits(int(read), op.shape[1:]) for read in reads]
        constants = [plane for plane in bits if plane is not None]
        if len(constants) == len(reads):
            joined = np.stack(constants).all(0) if erosion else np.stack(constants).any(0)
            return values.constant(np.asarray(joined ^ bool(flip)))
    # Of the two forms that De Morgan gives, take the one with fewer complemented members; where
    # both have as many, the one whose first member is plain, so that equal sets get equal keys.
    flips = 2 * int((reads & 1).sum())
    if flips > len(reads) or (flips == len(reads) and reads[0] & 1):
        reads, erosion, flip = np.unique(reads ^ 1), 1 - erosion, 1 - flip
    key = ("combine", bool(erosion), op.shape[1:], reads.tobytes())
    return key, flip, {"reads": reads, "erosion": bool(erosion)}


def _fold_pool(values: Values, op: Op, inputs: list[np.ndarray]) -> np.ndarray:
    sides = (tuple(op.options["window"]), tuple(op.options["strides"]))
    if set(sides[0] + sides[1]) == {1}:
        return inputs[0]
    return _number(values, op, (_plan_pool(values, op, sides, int(read)) for read in inputs[0]))


def _plan_pool(values: Values, op: Op, sides: tuple[Any, Any], read: int) -> _Plan:
    if read < 2:
        return read
    bits = values.bits(read, ())
    if bits is not None:
        return values.constant(run_op(op, bits[None, None])[0, 0])
    # Windows of one pixel only pick pixels, so a complement passes through; an OR stops it.
    flip = read & 1 if set(sides[0]) == {1} else 0
    return ("union_pool", read ^ flip, sides), flip, {"reads": read ^ flip}


def _fold_rearrange(
    values: Values, op: Op, inputs: list[np.ndarray], frames: list[tuple[int, ...]]
) -> np.ndarray:
    """Fold an op that moves single pixels; `frames` are (height, width) of its inputs."""
    # For every pixel (row: plane of the result): the literal of the plane that it is taken from,
    # its position in that plane, and whether that plane is one pixel.
    index = op.arrays["index"].reshape(op.shape[0], -1)
    areas = [int(np.prod(frame)) for frame in frames]
    sources = list(zip(inputs, areas, strict=True))
    reads = np.concatenate([np.repeat(literals, area) for literals, area in sources])
    place = np.concatenate([np.tile(np.arange(area), len(literals)) for literals, area in sources])
    single = np.concatenate(
        [np.full(len(literals) * area, area == 1) for literals, area in sources]
    )
    reads, place, single = reads[index], place[index], single[index]
    # A pixel of a constant plane becomes the literal 0 or 1; such a pixel has no position.
    for literal, bits in values.constants.items():
        hit = reads & ~1 == literal
        reads[hit] = bits.reshape(-1)[place[hit]] ^ (reads[hit] & 1)
    place[reads < 2] = 0
    # A plane is complemented as a whole if all of its pixels that are not constant are. Then its
    # constant pixels are complemented here, so that the whole plane can be complemented after.
    varies = np.asarray(reads >= 2)
    flip = np.asarray(((reads & 1) | ~varies).all(1) & varies.any(1))
    reads = reads ^ flip[:, None]
    out = np.zeros(op.shape[0], np.int64)
    # Planes that need no op: 0 or 1 everywhere, or one pixel that is a whole plane already.
    whole = ~varies.any(1) & (reads == reads[:, :1]).all(1)
    if index.shape[1] == 1:
        whole |= single[:, 0]
    out[whole] = reads[whole, 0]
    # Planes of constant pixels that differ.
    for o in np.flatnonzero(~varies.any(1) & ~whole):
        out[o] = values.constant(reads[o].reshape(op.shape[1:]).astype(bool))
    # All others, equal ones once. The key is of the whole table: two ops that move the same planes
    # in the same way are one.
    new = varies.any(1) & ~whole
    if new.any():
        rows, back = np.unique(np.stack([reads[new], place[new]], 1), axis=0, return_inverse=True)
        key = ("rearrange", op.shape[1:], rows.tobytes())
        if key not in values.literal_of:
            arrays = {"reads": rows[:, 0], "place": rows[:, 1]}
            table = Table("rearrange", (len(rows), *op.shape[1:]), op.path, arrays, {})
            values.literal_of[key] = int(values.add(table)[0])
        out[new] = values.literal_of[key] + 2 * back.reshape(-1)
    return out ^ flip


def _fold_at_least(values: Values, op: Op, inputs: list[np.ndarray]) -> np.ndarray:
    groups = inputs[0].reshape(-1, len(op.arrays["votes"]))
    return np.concatenate([_fold_count(values, op, reads) for reads in groups])


def _fold_count(values: Values, op: Op, reads: np.ndarray) -> np.ndarray:
    """Return the literals of the planes of one count, one for each cut."""
    votes, cuts = (op.arrays[name].astype(np.int64) for name in ("votes", "cuts"))
    # A vote on a complement, v (1 - y), is v less a vote on y; the literal 1 is such a complement.
    flips = (reads & 1).astype(bool)
    cuts, votes = cuts - votes[flips].sum(), np.where(flips, -votes, votes)
    # Votes on equal planes are added; votes of 0, and votes on the literal 0, are dropped.
    reads, which = np.unique(reads & ~1, return_inverse=True)
    total = np.zeros(len(reads), np.int64)
    np.add.at(total, which.reshape(-1), votes)
    counts = (reads != 0) & (total != 0)
    reads, votes = reads[counts], total[counts]
    divisor = max(int(np.gcd.reduce(votes)), 1)
    votes, cuts = votes // divisor, -(-cuts // divisor)
    # Count the planes of the majority as they are: sum >= c is the complement of -sum >= 1 - c.
    flip = int(2 * (votes < 0).sum() > len(votes))
    if flip:
        votes, cuts = -votes, 1 - cuts
    lowest, highest = np.minimum(votes, 0).sum(), np.maximum(votes, 0).sum()
    decided = (cuts <= lowest) | (cuts > highest)
    # Where no cut needs more than any one vote (or fewer than all), no count is needed.
    least, members = np.abs(votes).min(initial=highest), reads ^ (votes < 0)
    unions, meets = cuts - lowest <= least, highest - cuts < least
    if (decided | unions | meets).all():
        arrays = {"erosion": ~unions, "complement": np.full(len(cuts), bool(flip))}
        sets = Op("combine", (0,), op.shape, op.path, arrays)
        plans = (
            int(cuts[t] <= lowest) ^ flip if decided[t] else _plan_combine(values, sets, t, members)
            for t in range(len(cuts))
        )
        return _number(values, sets, plans)
    key = ("at_least", op.shape[1:], reads.tobytes(), votes.tobytes())
    plans = (
        int(cuts[t] <= lowest) ^ flip
        if decided[t]
        else ((*key, int(cuts[t])), flip, {"reads": reads, "votes": votes, "cuts": cuts[t]})
        for t in range(len(cuts))
    )
    return _number(values, op, plans)


_FOLD: dict[str, Callable[..., np.ndarray]] = {
    "input": _fold_new,
    "constant": _fold_constant,
    "spatial": _fold_spatial,
    "combine": _fold_combine,
    "complement": lambda values, op, inputs: inputs[0] ^ 1,
    "union_pool": _fold_pool,
    "select": lambda values, op, inputs: np.concatenate(inputs)[op.arrays["source"]],
    "at_least": _fold_at_least,
    "group_sum": _fold_new,
}
