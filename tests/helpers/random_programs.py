"""Programs that no model wrote: every kind of op, by chance, for the tests of what runs
programs."""

import numpy as np

from morphax.program import Op, Program


def bits(rng, *shape):
    """Random bools."""
    return rng.random(shape) < 0.5


def spatial(rng, source, shape, *, planes, sides=(3, 3), border="ignore"):
    """A spatial op on op number `source`, of that shape; some windows may be empty."""
    arrays = {
        "source": rng.integers(0, shape[0], planes).astype(np.int32),
        "selem": rng.random((planes, *sides)) < rng.uniform(0.1, 0.7, (planes, *(1,) * len(sides))),
        "erosion": bits(rng, planes),
        "complement": bits(rng, planes),
    }
    return Op("spatial", (source,), (planes, *shape[1:]), "bank", arrays, {"border": border})


def combine(rng, source, shape, *, planes):
    """Unions and intersections of up to four planes; some are empty."""
    sets = [rng.permutation(shape[0])[: rng.integers(0, 5)] for _ in range(planes)]
    arrays = {
        "offsets": np.cumsum([0, *map(len, sets)]).astype(np.int32),
        "indices": np.concatenate([[], *sets]).astype(np.int32),
        "erosion": bits(rng, planes),
        "complement": bits(rng, planes),
    }
    return Op("combine", (source,), (planes, *shape[1:]), "lui", arrays)


def image_operator(rng, size, *, planes=2, depth=5, borders=("ignore", "constant", "replicate")):
    """An operator that keeps the size of the image, row or volume, its branches of different
    depths."""
    ops = [Op("input", (), (planes, *size))]
    for _ in range(depth):
        kind = rng.choice(["spatial", "spatial", "combine", "complement", "select", "constant"])
        source = int(rng.integers(max(0, len(ops) - 3), len(ops)))
        shape, out = ops[source].shape, int(rng.integers(1, 4))
        if kind == "spatial":
            sides = tuple(2 * int(s) + 1 for s in rng.integers(0, 3, len(size)))
            border = str(rng.choice(borders))
            ops.append(spatial(rng, source, shape, planes=out, sides=sides, border=border))
        elif kind == "combine":
            ops.append(combine(rng, source, shape, planes=out))
        elif kind == "complement":
            ops.append(Op("complement", (source,), shape))
        elif kind == "select":
            other = int(rng.integers(0, len(ops)))
            total = shape[0] + ops[other].shape[0]
            picked = {"source": rng.integers(0, total, out).astype(np.int32)}
            ops.append(Op("select", (source, other), (out, *size), arrays=picked))
        else:
            plain = np.broadcast_to(bits(rng, out, *(1,) * len(size)), (out, *size)).copy()
            ops.append(Op("constant", (), (out, *size), arrays={"bits": plain}))
    # All that was made takes part in the result.
    total = sum(op.shape[0] for op in ops)
    everything = {"source": np.arange(total, dtype=np.int32)}
    ops.append(Op("select", tuple(range(len(ops))), (total, *size), arrays=everything))
    ops.append(combine(rng, len(ops) - 1, ops[-1].shape, planes=3))
    return Program(tuple(ops), (*size, planes), (*size, 3))


def classifier(rng, size, *, planes=2, classes=3, per=5):
    """Windows, a pool, a shuffle of all pixels, two dense layers, and counts."""
    height, width = size
    ops = [Op("input", (), (planes, *size))]
    ops.append(spatial(rng, 0, ops[0].shape, planes=3))
    window, strides = (1, 2), (2, 1)
    pooled = (3, (height - 1) // 2 + 1, width - 1)
    ops.append(Op("union_pool", (1,), pooled, options={"window": window, "strides": strides}))
    fixed = {"bits": bits(rng, 2, 1, 1)}
    ops.append(Op("constant", (), (2, 1, 1), arrays=fixed))
    total = int(np.prod(pooled)) + 2
    index = rng.permutation(total).astype(np.int32).reshape(total, 1, 1)
    ops.append(Op("rearrange", (2, 3), (total, 1, 1), arrays={"index": index}))
    ops.append(combine(rng, 4, ops[-1].shape, planes=30))
    ops.append(combine(rng, 5, ops[-1].shape, planes=classes * per))
    ops.append(Op("group_sum", (6,), (classes, 1, 1), options={"per": per}))
    return Program(tuple(ops), (*size, planes), (classes,))


def shown(program):
    """An image operator whose result is all that it computes on the way."""
    ops = program.ops[:-1]
    return Program(ops, program.input_shape, (*program.input_shape[:2], ops[-1].shape[0]))


def at_least(rng, source, shape, *, cuts=2, groups=1):
    """Votes of both signs on all planes of an op, with cuts around the middle of the sums."""
    votes = rng.integers(-4, 6, shape[0] // groups).astype(np.int32)
    low, high = votes[votes < 0].sum(), votes[votes > 0].sum()
    limits = np.clip((low + high) // 2 + rng.integers(-3, 4, cuts), low + 1, max(high, low + 1))
    arrays = {"votes": votes, "cuts": limits.astype(np.int32)}
    return Op("at_least", (source,), (groups * cuts, *shape[1:]), arrays=arrays)


def counted_operator(rng, size, *, planes=2, borders=("ignore", "constant", "replicate")):
    """An image operator with counts at three depths, one of them in groups."""
    ops = [Op("input", (), (planes, *size))]
    ops.append(spatial(rng, 0, ops[-1].shape, planes=9, border=str(rng.choice(borders))))
    ops.append(at_least(rng, 1, ops[-1].shape, cuts=3))
    every = {"source": rng.permutation(planes + 12).astype(np.int32)}
    ops.append(Op("select", (0, 1, 2), (planes + 12, *size), arrays=every))
    ops.append(spatial(rng, 3, ops[-1].shape, planes=6, border=str(rng.choice(borders))))
    ops.append(at_least(rng, 4, ops[-1].shape, cuts=2, groups=2))
    ops.append(Op("complement", (5,), ops[-1].shape))
    ops.append(at_least(rng, 6, ops[-1].shape, cuts=2))
    # All counts are part of the result.
    every = {"source": np.arange(9, dtype=np.int32)}
    ops.append(Op("select", (2, 5, 7), (9, *size), arrays=every))
    return Program(tuple(ops), (*size, planes), (*size, 9))
