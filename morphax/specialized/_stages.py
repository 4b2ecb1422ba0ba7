"""Stages: each kind of op as a function on planes, unrolled for few planes, by tables for many.

`STAGES[kind](op, held, pixels)` returns `(run, tables, held)`: the function of a stage, its index
tables, and how its result is held. The argument `held` says how the inputs are held, and `pixels`
that a word holds neighbouring pixels. Everything that is known before the run, such as rows and
tables, is computed here; `run` only reads it. Flattening an image costs nothing: it is the same
stack, reshaped into rows of one pixel.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from morphax.packed import counters
from morphax.program import Op
from morphax.specialized._counting import count_planes
from morphax.specialized._planes import (
    NONE,
    Grid,
    Margins,
    join_of,
    materialized,
    padded,
    shifted_rows,
    widest,
)
from morphax.specialized._tables import Sets, build_tables, join, window_sets
from morphax.specialized._values import (
    Held,
    gather,
    listed,
    planes_of,
    rows_of,
    stack_of,
    stacked,
    take,
)
from morphax.specialized._windows import group_windows, run_groups

_PLANES = 64
_MEMBERS = {"spatial": 2048, "combine": 512}
"""Largest bank that is unrolled: its planes, and all members of their sets."""

StageParts = tuple[Callable[..., Any], Any, Held]
"""(run, tables, held), see the module docstring."""


def unrolls(op: Op) -> bool:
    """Return whether a bank is small enough to be unrolled."""
    members = op.arrays["selem"].sum() if op.kind == "spatial" else len(op.arrays["indices"])
    return op.shape[0] <= _PLANES and members <= _MEMBERS[op.kind]


def _plan_spatial(op: Op, held: list[Held], pixels: bool) -> StageParts:
    if not unrolls(op):
        return tabled(op, window_sets(op), held[0], op.options["border"])
    groups = group_windows(op, pixels=pixels)
    below, flips, border = held[0], op.arrays["complement"], op.options["border"]

    def run(grid: Grid, _: Any, value: Any) -> list[jax.Array]:
        planes = planes_of(value, below)
        joined = run_groups(grid, groups, planes, border=border, frame=below.frame)
        return [~joined[o] if flip else joined[o] for o, flip in enumerate(flips)]

    return run, (), listed(op.shape[0], below.frame)


def _plan_combine(op: Op, held: list[Held], pixels: bool) -> StageParts:
    offsets, indices = op.arrays["offsets"], op.arrays["indices"]
    below = held[0]
    # Planes of one pixel are short: gathering many at once is faster than unrolling.
    if below.frame != (1, 1) and unrolls(op):
        sets = np.split(indices, offsets[1:-1])

        def run(grid: Grid, _: Any, value: Any) -> list[jax.Array]:
            value, out = planes_of(value, below), []
            for o, chosen in enumerate(sets):
                joined = reduce(join_of(bool(op.arrays["erosion"][o])), (value[i] for i in chosen))
                out.append(~joined if op.arrays["complement"][o] else joined)
            return out

        return run, (), listed(op.shape[0], below.frame)
    return tabled(op, Sets(offsets, indices[:, None]), below, None)


def tabled(op: Op, sets: Sets, below: Held, border: str | None) -> StageParts:
    """Return the stage of a bank that gathers its members.

    Args:
        op: op whose "erosion" and "complement" hold for the sets.
        sets: sets of planes, or of planes at offsets.
        below: how the planes that it reads are held.
        border: border for offsets beyond the frame; None if the sets have no offsets.

    Returns:
        The parts of the stage.
    """
    # Tables name rows of the stack, not planes.
    members = sets.members.copy()
    members[:, 0] = rows_of(below)[members[:, 0]]
    arrays, kinds, rows = build_tables(
        Sets(sets.offsets, members), op.arrays["erosion"], op.arrays["complement"]
    )
    frame = below.frame
    offsets_reach: Margins = NONE  # in pixels
    if border is not None:
        y, x = sets.members[:, 1], sets.members[:, 2]
        offsets_reach = widest(NONE, (-int(y.min()), int(y.max()), -int(x.min()), int(x.max())))

    def run(grid: Grid, arrays: Any, value: Any) -> jax.Array:
        stack = stack_of(value, below)
        have, padded_stacks = offsets_reach, {}
        # In words: on the right one more, the upper part of a shifted view.
        if border is not None and grid.kind == "pixels":
            top, bottom, left, right = offsets_reach
            have = (top, bottom, -(-left // grid.bits), right // grid.bits + 1)
        # Pad once for each value beyond the frame: "ignore" needs 1 for erosions.
        for fill in {kind and border == "ignore" for kind in kinds} if border else ():
            options = {"border": str(border), "fill": fill, "width": frame[1]}
            pad = partial(padded, grid, stack, have, **options)
            padded_stacks[fill] = materialized(grid, pad)

        def fetch(kind: bool) -> Callable[[jax.Array], jax.Array]:
            if border is None:
                return lambda member: gather(stack, member[:, 0])
            source = padded_stacks[kind and border == "ignore"]
            return lambda member: shifted_rows(grid, source, member, frame, have=have)

        buckets = [
            materialized(grid, partial(join, fetch(kind), table, kind))
            for table, kind in zip(arrays, kinds, strict=True)
        ]
        return _concatenated(grid, buckets)

    return run, arrays, Held(rows, len(rows), frame)


def _concatenated(grid: Grid, stacks: Sequence[jax.Array]) -> jax.Array:
    """Concatenate stacks in memory; a single one stays as it is."""
    return materialized(grid, lambda: jnp.concatenate(stacks)) if len(stacks) > 1 else stacks[0]


def _plan_complement(op: Op, held: list[Held], pixels: bool) -> StageParts:
    below = held[0]
    if below.rows is None:
        return lambda grid, _, value: [~plane for plane in value], (), below
    taken = stacked(op.shape[0], below.frame)
    return lambda grid, rows, value: ~take(value, below, rows), below.rows, taken


def _plan_select(op: Op, held: list[Held], pixels: bool) -> StageParts:
    source, frame = op.arrays["source"], held[0].frame
    sizes = [len(rows_of(below)) for below in held]
    starts = np.cumsum([0, *(below.size for below in held)])
    # From lists to a list: name the planes.
    if all(below.rows is None for below in held):
        owner = np.repeat(np.arange(len(held)), sizes)[source]
        within = source - np.cumsum([0, *sizes])[owner]
        picked = list(zip(owner.tolist(), within.tolist(), strict=True))
        names = listed(op.shape[0], frame)
        return lambda grid, _, *values: [values[i][j] for i, j in picked], (), names
    # With a stack among them: the same rows, chosen anew.
    rows = np.concatenate([rows_of(b) + start for b, start in zip(held, starts, strict=False)])

    def run(grid: Grid, _: Any, *values: Any) -> jax.Array:
        stacks = [stack_of(value, below) for value, below in zip(values, held, strict=True)]
        return _concatenated(grid, stacks)

    return run, (), Held(rows[source].astype(np.int32), int(starts[-1]), frame)


def _plan_rearrange(op: Op, held: list[Held], pixels: bool) -> StageParts:
    # `specialize` runs it on the grid "lanes" only, where a pixel of all images is a row of words:
    # a stack `(R, 1, H, W * lanes)` is also one of R * H * W planes of one pixel.
    areas = [below.frame[0] * below.frame[1] for below in held]
    starts = np.cumsum([0, *(b.size * area for b, area in zip(held, areas, strict=True))])
    pixel_of = np.concatenate(
        [
            (start + rows_of(b)[:, None] * area + np.arange(area)[None]).reshape(-1)
            for b, area, start in zip(held, areas, starts, strict=False)
        ]
    )
    rows = pixel_of[op.arrays["index"]].astype(np.int32)
    frame = op.shape[1:]

    def pixel_rows(grid: Grid, values: Sequence[Any]) -> jax.Array:
        stacks = [stack_of(value, b) for value, b in zip(values, held, strict=True)]
        return _concatenated(grid, [stack.reshape(-1, 1, 1, grid.lanes) for stack in stacks])

    # Planes of one pixel, such as a flattened image: nothing moves, only the rows are named.
    if frame == (1, 1):
        flat = Held(rows.reshape(-1), int(starts[-1]), frame)
        return lambda grid, _, *values: pixel_rows(grid, values), (), flat

    def run(grid: Grid, rows: jax.Array, *values: Any) -> jax.Array:
        pixels = gather(pixel_rows(grid, values), rows.reshape(-1))
        return pixels.reshape(op.shape[0], 1, frame[0], frame[1] * grid.lanes)

    return run, rows, stacked(op.shape[0], frame)


def _plan_constant(op: Op, held: list[Held], pixels: bool) -> StageParts:
    bits, result = op.arrays["bits"], stacked(op.shape[0], op.shape[1:])
    if pixels:  # pack the columns, bit 0 the leftmost
        spare = -bits.shape[2] % 32
        packed = np.packbits(np.pad(bits, [(0, 0), (0, 0), (0, spare)]), -1, bitorder="little")
        bits = packed.view("<u4").astype(np.uint32)

    def run(grid: Grid, bits: jax.Array) -> jax.Array:
        words = bits if pixels else jnp.where(bits, grid.ones, ~grid.ones)
        words = jnp.repeat(words[:, None], grid.lanes, axis=3)
        return jnp.broadcast_to(words, (len(words), grid.images, *words.shape[2:]))

    return run, bits, result


def _plan_pool(op: Op, held: list[Held], pixels: bool) -> StageParts:
    (height, width), (down, across) = op.options["window"], op.options["strides"]
    _, out_height, out_width = op.shape
    below = held[0]

    def run(grid: Grid, rows: jax.Array, value: Any) -> jax.Array:
        # First down the rows, then across: height + width joins instead of height * width.
        def columns() -> jax.Array:
            stack = take(value, below, rows)
            x = stack.reshape(*stack.shape[:2], *below.frame, grid.lanes)
            end = (out_height - 1) * down + 1
            return reduce(lax.bitwise_or, (x[:, :, i : i + end : down] for i in range(height)))

        x, end = materialized(grid, columns), (out_width - 1) * across + 1
        x = reduce(lax.bitwise_or, (x[:, :, :, i : i + end : across] for i in range(width)))
        return x.reshape(*x.shape[:3], -1)

    return run, rows_of(below), stacked(op.shape[0], op.shape[1:])


def _plan_at_least(op: Op, held: list[Held], pixels: bool) -> StageParts:
    below, votes, cuts = held[0], op.arrays["votes"].tolist(), op.arrays["cuts"].tolist()
    # Row m * groups + g is plane m of group g, as for the counts of classes below.
    rows = rows_of(below).reshape(-1, len(votes)).T
    # A negative vote counts where its plane is not set; its size is taken off every cut.
    negative, lowest = np.array(votes) < 0, sum(min(vote, 0) for vote in votes)
    shape = (len(votes), 1, 1, 1, 1)

    def run(grid: Grid, rows: jax.Array, value: Any) -> jax.Array:
        stack = materialized(grid, lambda: gather(stack_of(value, below), rows.reshape(-1)))
        words = stack.reshape(*rows.shape, *stack.shape[1:])
        if negative.any():
            words = words ^ jnp.where(negative.reshape(shape), grid.ones, ~grid.ones)
        planes = count_planes(grid, words, [abs(vote) for vote in votes])
        planes = [counters.reaches(planes, cut - lowest) for cut in cuts]
        return jnp.stack(planes, 1).reshape(op.shape[0], *stack.shape[1:])

    return run, rows, stacked(op.shape[0], below.frame)


def _plan_group_sum(op: Op, held: list[Held], pixels: bool) -> StageParts:
    below, classes = held[0], op.shape[0]
    # Row m * classes + c is member m of group c: each axis-0 slice holds one member of all groups,
    # so they are added without a transposition.
    rows = rows_of(below).reshape(classes, -1).T

    def run(grid: Grid, rows: jax.Array, value: Any) -> jax.Array:
        stack = materialized(grid, lambda: gather(stack_of(value, below), rows.reshape(-1)))
        words = stack.reshape(*rows.shape, *below.frame, grid.lanes)
        planes = count_planes(grid, words)  # (bits, classes, H, W, batch)
        return counters.numbers(materialized(grid, lambda: jnp.transpose(planes, (0, 4, 2, 3, 1))))

    return run, rows, stacked(classes, op.shape[1:])


STAGES: dict[str, Callable[[Op, list[Held], bool], StageParts]] = {
    "constant": _plan_constant,
    "spatial": _plan_spatial,
    "combine": _plan_combine,
    "complement": _plan_complement,
    "union_pool": _plan_pool,
    "select": _plan_select,
    "rearrange": _plan_rearrange,
    "at_least": _plan_at_least,
    "group_sum": _plan_group_sum,
}
