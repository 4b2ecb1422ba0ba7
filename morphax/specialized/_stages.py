"""Each kind of op as a stage: unrolled for few planes, tables for many.

`STAGES[kind](op, held, pixels)` gives what runs, its tables, and how the result is held; `held` are the
inputs', `pixels` says that words hold neighbouring pixels. A flattened image costs nothing: it is the same
stack, taken apart into rows of one pixel.
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
from morphax.specialized._counting import count
from morphax.specialized._planes import Grid, Reach, join_of, kept, padded, shifted_rows, widest
from morphax.specialized._tables import Sets, join, tables, window_sets
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
"""What is unrolled at most: planes, and members of their sets."""

Made = tuple[Callable[..., Any], Any, Held]


def unrolls(op: Op) -> bool:
    """Whether a bank is small enough to be unrolled."""
    members = op.arrays["selem"].sum() if op.kind == "spatial" else len(op.arrays["indices"])
    return op.shape[0] <= _PLANES and members <= _MEMBERS[op.kind]


def _plan_spatial(op: Op, held: list[Held], pixels: bool) -> Made:
    if not unrolls(op):
        return tabled(op, window_sets(op), held[0], op.options["border"])
    groups = group_windows(op, pixels=pixels)
    below, flips, border = held[0], op.arrays["complement"], op.options["border"]

    def run(grid: Grid, _: Any, value: Any) -> list[jax.Array]:
        planes = planes_of(value, below)
        found = run_groups(grid, groups, planes, border=border, frame=below.frame)
        return [~found[o] if flip else found[o] for o, flip in enumerate(flips)]

    return run, (), listed(op.shape[0], below.frame)


def _plan_combine(op: Op, held: list[Held], pixels: bool) -> Made:
    offsets, indices = op.arrays["offsets"], op.arrays["indices"]
    below = held[0]
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


def tabled(op: Op, sets: Sets, below: Held, border: str | None) -> Made:
    """A bank that gathers: planes as they are (`border` None), or seen at offsets."""
    members = sets.members.copy()
    members[:, 0] = rows_of(below)[members[:, 0]]
    arrays, kinds, rows = tables(
        Sets(sets.offsets, members), op.arrays["erosion"], op.arrays["complement"]
    )
    frame = below.frame
    reach: Reach = (0, 0, 0, 0)
    if border is not None:
        y, x = sets.members[:, 1], sets.members[:, 2]
        reach = widest(reach, (-int(y.min()), int(y.max()), -int(x.min()), int(x.max())))

    def run(grid: Grid, arrays: Any, value: Any) -> jax.Array:
        stack = stack_of(value, below)
        have, wide = reach, {}
        if border is not None and grid.kind == "pixels":
            top, bottom, left, right = reach
            have = (top, bottom, -(-left // grid.bits), right // grid.bits + 1)
        for fill in {kind and border == "ignore" for kind in kinds} if border else ():
            wide[fill] = kept(grid, partial(padded, grid, stack, have, border=str(border), fill=fill,
                                            width=frame[1]))  # fmt: skip

        def fetch(kind: bool) -> Callable[[jax.Array], jax.Array]:
            if border is None:
                return lambda member: gather(stack, member[:, 0])
            source = wide[kind and border == "ignore"]
            return lambda member: shifted_rows(grid, source, member, frame, have=have)

        out = [kept(grid, partial(join, fetch(kind), table, kind))
               for table, kind in zip(arrays, kinds, strict=True)]  # fmt: skip
        return kept(grid, lambda: jnp.concatenate(out)) if len(out) > 1 else out[0]

    return run, arrays, Held(rows, len(rows), frame)


def _plan_complement(op: Op, held: list[Held], pixels: bool) -> Made:
    below = held[0]
    if below.rows is None:
        return lambda grid, _, value: [~plane for plane in value], (), below
    taken = stacked(op.shape[0], below.frame)
    return lambda grid, rows, value: ~take(value, below, rows), below.rows, taken


def _plan_select(op: Op, held: list[Held], pixels: bool) -> Made:
    source, frame = op.arrays["source"], held[0].frame
    sizes = [len(rows_of(below)) for below in held]
    starts = np.cumsum([0, *(below.size for below in held)])
    if all(below.rows is None for below in held):
        owner = np.repeat(np.arange(len(held)), sizes)[source]
        within = source - np.cumsum([0, *sizes])[owner]
        picked = list(zip(owner.tolist(), within.tolist(), strict=True))
        return (
            lambda grid, _, *values: [values[i][j] for i, j in picked],
            (),
            listed(op.shape[0], frame),
        )
    rows = np.concatenate([rows_of(b) + start for b, start in zip(held, starts, strict=False)])

    def run(grid: Grid, _: Any, *values: Any) -> jax.Array:
        stacks = [stack_of(value, below) for value, below in zip(values, held, strict=True)]
        return kept(grid, lambda: jnp.concatenate(stacks)) if len(stacks) > 1 else stacks[0]

    return run, (), Held(rows[source].astype(np.int32), int(starts[-1]), frame)


def _plan_rearrange(op: Op, held: list[Held], pixels: bool) -> Made:
    # Only with "lanes": every pixel is a row of its own, the batch.
    areas = [below.frame[0] * below.frame[1] for below in held]
    starts = np.cumsum([0, *(b.size * area for b, area in zip(held, areas, strict=True))])
    rows = np.concatenate([
        (start + rows_of(b)[:, None] * area + np.arange(area)[None]).reshape(-1)
        for b, area, start in zip(held, areas, starts, strict=False)
    ])[op.arrays["index"]].astype(np.int32)  # fmt: skip
    frame = op.shape[1:]

    def pixel_rows(grid: Grid, values: Sequence[Any]) -> jax.Array:
        stacks = [stack_of(value, b) for value, b in zip(values, held, strict=True)]
        pixels = [stack.reshape(-1, 1, 1, grid.lanes) for stack in stacks]
        return kept(grid, lambda: jnp.concatenate(pixels)) if len(pixels) > 1 else pixels[0]

    if frame == (1, 1):
        flat = Held(rows.reshape(-1), int(starts[-1]), frame)
        return lambda grid, _, *values: pixel_rows(grid, values), (), flat

    def run(grid: Grid, rows: jax.Array, *values: Any) -> jax.Array:
        found = gather(pixel_rows(grid, values), rows.reshape(-1))
        return found.reshape(op.shape[0], 1, frame[0], frame[1] * grid.lanes)

    return run, rows, stacked(op.shape[0], frame)


def _plan_constant(op: Op, held: list[Held], pixels: bool) -> Made:
    bits, how = op.arrays["bits"], stacked(op.shape[0], op.shape[1:])
    if pixels:
        spare = -bits.shape[2] % 32
        packed = np.packbits(np.pad(bits, [(0, 0), (0, 0), (0, spare)]), -1, bitorder="little")
        bits = packed.view("<u4").astype(np.uint32)

    def run(grid: Grid, bits: jax.Array) -> jax.Array:
        words = bits if pixels else jnp.where(bits, grid.ones, ~grid.ones)
        words = jnp.repeat(words[:, None], grid.lanes, axis=3)
        return jnp.broadcast_to(words, (len(words), grid.images, *words.shape[2:]))

    return run, bits, how


def _plan_pool(op: Op, held: list[Held], pixels: bool) -> Made:
    (height, width), (down, across) = op.options["window"], op.options["strides"]
    _, out_height, out_width = op.shape
    below = held[0]

    def run(grid: Grid, rows: jax.Array, value: Any) -> jax.Array:
        def columns() -> jax.Array:
            stack = take(value, below, rows)
            x = stack.reshape(*stack.shape[:2], *below.frame, grid.lanes)
            end = (out_height - 1) * down + 1
            return reduce(lax.bitwise_or, (x[:, :, i : i + end : down] for i in range(height)))

        x, end = kept(grid, columns), (out_width - 1) * across + 1
        x = reduce(lax.bitwise_or, (x[:, :, :, i : i + end : across] for i in range(width)))
        return x.reshape(*x.shape[:3], -1)

    return run, rows_of(below), stacked(op.shape[0], op.shape[1:])


def _plan_group_sum(op: Op, held: list[Held], pixels: bool) -> Made:
    below, classes = held[0], op.shape[0]
    # Members of a group one after the other: words to add lie in rows, nothing is transposed.
    rows = rows_of(below).reshape(classes, -1).T

    def run(grid: Grid, rows: jax.Array, value: Any) -> jax.Array:
        stack = kept(grid, lambda: gather(stack_of(value, below), rows.reshape(-1)))
        words = stack.reshape(*rows.shape, *below.frame, grid.lanes)
        planes = count(grid, words)  # (bits, classes, H, W, batch)
        return counters.numbers(kept(grid, lambda: jnp.transpose(planes, (0, 4, 2, 3, 1))))

    return run, rows, stacked(classes, op.shape[1:])


STAGES: dict[str, Callable[[Op, list[Held], bool], Made]] = {
    "constant": _plan_constant,
    "spatial": _plan_spatial,
    "combine": _plan_combine,
    "complement": _plan_complement,
    "union_pool": _plan_pool,
    "select": _plan_select,
    "rearrange": _plan_rearrange,
    "group_sum": _plan_group_sum,
}
