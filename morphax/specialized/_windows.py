"""Small banks of windows, unrolled: every pixel of a window is one join, common shapes are shared."""

from collections.abc import Sequence
from functools import partial, reduce
from typing import NamedTuple

import jax
import numpy as np

from morphax.program import Op
from morphax.specialized._common_parts import Terms, order, share
from morphax.specialized._planes import (
    NONE,
    Grid,
    Reach,
    join_of,
    kept,
    needed,
    padded,
    view,
    widest,
)


class Group(NamedTuple):
    """Windows of one bank that look at the same plane and do the same.

    Attributes:
        source: the plane.
        erosion: erosions, or dilations.
        outputs: planes of the bank, one for each of `sets`.
        parts, sets: as `morphax.specialized._common_parts.share` gives them.
    """

    source: int
    erosion: bool
    outputs: tuple[int, ...]
    parts: list[Terms]
    sets: list[Terms]


def group_windows(op: Op, *, pixels: bool) -> list[Group]:
    """The windows of a "spatial" op in groups, each with what its windows share."""
    windows, source, erosion = (op.arrays[name] for name in ("selem", "source", "erosion"))
    centre = np.array(windows.shape[1:]) // 2
    numbers: dict[tuple[int, bool], list[int]] = {}
    for o, key in enumerate(zip(source.tolist(), erosion.tolist(), strict=True)):
        numbers.setdefault(key, []).append(o)
    groups = []
    for (plane, kind), outputs in numbers.items():
        sets = [frozenset((0, int(y), int(x)) for y, x in np.argwhere(windows[o]) - centre)
                for o in outputs]  # fmt: skip
        # Words of pixels are shifted along rows by two loads and three operations.
        parts, sets = share(sets, cost=lambda column: 4 if pixels and column else 1)
        groups.append(Group(plane, kind, tuple(outputs), parts, sets))
    return groups


def run_groups(
    grid: Grid,
    groups: Sequence[Group],
    planes: Sequence[jax.Array],
    *,
    border: str,
    frame: tuple[int, int],
) -> dict[int, jax.Array]:
    """Run groups on planes `(A, H, L)`; the planes of the bank by number, before complements."""
    reaches = [_reaches(grid, group) for group in groups]
    widths: dict[tuple[int, bool], Reach] = {}
    for group, reach in zip(groups, reaches, strict=True):
        key = group.source, group.erosion and border == "ignore"
        widths[key] = widest(widths.get(key, NONE), reach[0])
    around = {
        (source, fill): kept(grid, partial(padded, grid, planes[source], reach, border=border,
                                           fill=fill, width=frame[1]))
        for (source, fill), reach in widths.items()
    }  # fmt: skip
    found: dict[int, jax.Array] = {}
    for group, reach in zip(groups, reaches, strict=True):
        key = group.source, group.erosion and border == "ignore"
        arrays = {0: around[key]}
        reach = {**reach, 0: widths[key]}

        def joined(terms: Terms, want: Reach, group=group, arrays=arrays, reach=reach) -> jax.Array:
            views = (view(grid, arrays[part], (dy, dx), frame, have=reach[part], want=want)
                     for part, dy, dx in sorted(terms))  # fmt: skip
            return reduce(join_of(group.erosion), views)

        for part in order(group.parts):
            arrays[part] = kept(grid, partial(joined, group.parts[part - 1], reach[part]))
        found |= {o: joined(s, NONE) for o, s in zip(group.outputs, group.sets, strict=True)}
    return found


def _reaches(grid: Grid, group: Group) -> dict[int, Reach]:
    """How far each part must be known beyond the frame, for what is made of it."""
    reach: dict[int, Reach] = {0: NONE}

    def use(terms: Terms, want: Reach) -> None:
        for part, dy, dx in terms:
            reach[part] = widest(reach.get(part, NONE), needed(grid, want, [(dy, dx)]))

    for terms in group.sets:
        use(terms, NONE)
    for part in reversed(order(group.parts)):
        if part in reach:
            use(group.parts[part - 1], reach[part])
    return reach
