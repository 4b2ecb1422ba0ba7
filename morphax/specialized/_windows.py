"""Small banks of windows, unrolled: each pixel of a window is one join of a shifted plane.

Windows that look at the same plane and do the same operation form a group; the shapes that they
have in common are computed once (`morphax.specialized._common_parts`).
"""

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
    Margins,
    join_of,
    margins_for,
    materialized,
    padded,
    view,
    widest,
)


class Group(NamedTuple):
    """Hold the windows of one bank that look at the same plane and do the same operation.

    Attributes:
        source: number of the plane that they read.
        erosion: True for erosions, False for dilations.
        outputs: numbers of the planes of the result, one for each of `sets`.
        parts, sets: as `morphax.specialized._common_parts.share` returns them.
    """

    source: int
    erosion: bool
    outputs: tuple[int, ...]
    parts: list[Terms]
    sets: list[Terms]


def group_windows(op: Op, *, pixels: bool) -> list[Group]:
    """Group the windows of a "spatial" op; each group comes with the shapes that its sets share."""
    windows, source, erosion = (op.arrays[name] for name in ("selem", "source", "erosion"))
    centre = np.array(windows.shape[1:]) // 2
    numbers: dict[tuple[int, bool], list[int]] = {}
    for o, key in enumerate(zip(source.tolist(), erosion.tolist(), strict=True)):
        numbers.setdefault(key, []).append(o)
    groups = []
    for (plane, kind), outputs in numbers.items():
        sets = [
            frozenset((0, int(y), int(x)) for y, x in np.argwhere(windows[o]) - centre)
            for o in outputs
        ]
        # A shift along rows costs two loads and three operations if words hold pixels.
        parts, sets = share(sets, cost=lambda column: 4 if pixels and column else 1)
        groups.append(Group(plane, kind, tuple(outputs), parts, sets))
    return groups


def run_groups(
    grid: Grid,
    groups: Sequence[Group],
    planes: Sequence[jax.Array],
    *,
    border: str,
    frame: tuple[int, ...],
) -> dict[int, jax.Array]:
    """Run the groups of a bank.

    Args:
        grid: the arrangement of the planes.
        groups: as `group_windows` returns them.
        planes: `(A, H, L)` each.
        border: border of the bank.
        frame: (H, W).

    Returns:
        The planes of the bank by number, before complements.
    """
    # Pad each plane once for all groups that need the same value beyond its frame.
    margins_of_groups = [_part_margins(grid, group) for group in groups]
    plane_margins: dict[tuple[int, bool], Margins] = {}
    for group, margins in zip(groups, margins_of_groups, strict=True):
        key = group.source, group.erosion and border == "ignore"
        plane_margins[key] = widest(plane_margins.get(key, NONE), margins[0])
    padded_planes: dict[tuple[int, bool], jax.Array] = {}
    for (source, fill), margins in plane_margins.items():
        options = {"border": border, "fill": fill, "width": frame[1]}
        pad = partial(padded, grid, planes[source], margins, **options)
        padded_planes[source, fill] = materialized(grid, pad)
    results: dict[int, jax.Array] = {}
    for group, margins in zip(groups, margins_of_groups, strict=True):
        key = group.source, group.erosion and border == "ignore"
        arrays = {0: padded_planes[key]}
        have = {**margins, 0: plane_margins[key]}

        def joined(terms: Terms, want: Margins, group=group, arrays=arrays, have=have) -> jax.Array:
            views = (
                view(grid, arrays[part], (dy, dx), frame, have=have[part], want=want)
                for part, dy, dx in sorted(terms)
            )
            return reduce(join_of(group.erosion), views)

        # Intermediate planes first, with the margins that their readers need; then the results.
        for part in order(group.parts):
            arrays[part] = materialized(grid, partial(joined, group.parts[part - 1], have[part]))
        results |= {o: joined(s, NONE) for o, s in zip(group.outputs, group.sets, strict=True)}
    return results


def _part_margins(grid: Grid, group: Group) -> dict[int, Margins]:
    """Return how far beyond the frame each part must be known, for all that reads it."""
    margins: dict[int, Margins] = {0: NONE}

    def read(terms: Terms, want: Margins) -> None:
        for part, dy, dx in terms:
            more = margins_for(grid, want, [(dy, dx)])
            margins[part] = widest(margins.get(part, NONE), more)

    # From the results back to the input, so that a part's own margins are known when it reads.
    for terms in group.sets:
        read(terms, NONE)
    for part in reversed(order(group.parts)):
        if part in margins:
            read(group.parts[part - 1], margins[part])
    return margins
