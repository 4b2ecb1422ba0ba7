"""Programs of rows and volumes on words, op by op: a window is a few shifts of a whole plane.

Planes are arrays `(batch, *frame)` of words with 32 images in each ("batch"), or with 32
neighbours along the last axis ("pixels"). A window is decomposed as in the operators
(`morphax.morphology.shift`). Images have stages of their own (`morphax.specialized._stages`), which
share more and suit banks of many windows.
"""

from collections.abc import Callable
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from morphax.morphology import bit_arrays
from morphax.morphology.shift import PLANES, Element, Layout
from morphax.neurons.counting import at_least
from morphax.packed import counters
from morphax.packed.pixels import layout as pixel_layout
from morphax.packed.pixels import pack_on_host
from morphax.program import Op, Program
from morphax.specialized._planes import Grid, join_of, materialized

_UNROLLED = 64  # members of a set that are joined one by one

Planes = list[jax.Array]


def run_volumes(program: Program, layout: str, true: jax.Array, words: jax.Array) -> jax.Array:
    """Run a program of rows or volumes.

    Args:
        program: a simplified program.
        layout: "batch" or "pixels".
        true: a traced `True`, see `materialized`.
        words: words of the layout, `(B, *input_shape)`.

    Returns:
        Words of the output, or counts for a program that ends in a sum.
    """
    pixels = layout == "pixels"
    grid = Grid(layout, len(words), 1, words.dtype, true)
    width = program.ops[0].shape[-1]
    moving = pixel_layout(width) if pixels else PLANES
    planes, *frame = program.ops[0].shape
    frame[-1] = words.shape[program.axes] if pixels else frame[-1]
    stack = jnp.moveaxis(words.reshape(len(words), *frame, planes), -1, 0)
    results: list[Planes] = [[stack[o] for o in range(planes)]]
    for op in program.ops[1:]:
        read = [results[i] for i in op.inputs]
        if op.kind == "group_sum":
            return _group_sum(op, read[0]).reshape(-1, *program.output_shape)
        if op.kind == "constant":
            results.append(_constant(op, stack[0], pixels))
        elif op.kind == "spatial":
            results.append(_spatial(op, read[0], moving, grid))
        else:
            results.append(_RUN[op.kind](op, *read))
    out = jnp.stack([moving.leave(plane) for plane in results[-1]], -1)
    shape = list(program.output_shape)
    if pixels:
        shape[program.axes - 1] = frame[-1]
    return out.reshape(len(words), *shape)


def _spatial(op: Op, planes: Planes, moving: Layout, grid: Grid) -> Planes:
    """Match each window in its plane; a plane that is done is written to memory."""
    windows, border = op.arrays["selem"], op.options["border"]
    centre = tuple(side // 2 for side in windows.shape[1:])
    out = []
    for o, source in enumerate(op.arrays["source"]):
        element = Element(*_cropped(windows[o], centre))
        erosion = bool(op.arrays["erosion"][o])
        match = partial(moving.match, planes[source], element, border, erosion)
        matched = materialized(grid, match)
        out.append(~matched if op.arrays["complement"][o] else matched)
    return out


def _cropped(window: np.ndarray, centre: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Cut off the margins of a window, as long as its origin stays inside; return both."""
    sides, places = [], []
    for axis, place in enumerate(centre):
        others = tuple(i for i in range(window.ndim) if i != axis)
        hit = np.flatnonzero(window.any(others))
        first, last = min([place, *hit]), max([place, *hit])
        sides.append(slice(int(first), int(last) + 1))
        places.append(int(place - first))
    return window[tuple(sides)], tuple(places)


def _constant(op: Op, like: jax.Array, pixels: bool) -> Planes:
    """Return constant planes, the same for all images."""
    bits = op.arrays["bits"]
    words = jnp.asarray(pack_on_host(bits)) if pixels else bit_arrays.mask(jnp.asarray(bits), like)
    return [jnp.broadcast_to(plane[None], (len(like), *plane.shape)) for plane in words]


def _combine(op: Op, planes: Planes) -> Planes:
    offsets, indices = op.arrays["offsets"], op.arrays["indices"]
    stack = jnp.stack(planes) if (np.diff(offsets) > _UNROLLED).any() else None
    out = []
    for o, chosen in enumerate(np.split(indices, offsets[1:-1])):
        erosion, flip = bool(op.arrays["erosion"][o]), bool(op.arrays["complement"][o])
        if len(chosen) == 0:
            joined = jnp.zeros_like(planes[0])
            joined = ~joined if erosion else joined
        elif len(chosen) <= _UNROLLED:
            joined = reduce(join_of(erosion), (planes[i] for i in chosen))
        else:
            assert stack is not None
            members = stack[chosen]
            joined = bit_arrays.any_of(~members if erosion else members, 0)
            joined = ~joined if erosion else joined
        out.append(~joined if flip else joined)
    return out


def _pool(op: Op, planes: Planes) -> Planes:
    zero = np.zeros((), planes[0].dtype)
    sides, steps = (1, *op.options["window"]), (1, *op.options["strides"])
    return [lax.reduce_window(x, zero, lax.bitwise_or, sides, steps, "VALID") for x in planes]


def _rearrange(op: Op, *stacks: Planes) -> Planes:
    """Move single pixels, all planes side by side."""
    parts = [plane.reshape(len(plane), -1) for planes in stacks for plane in planes]
    moved = jnp.concatenate(parts, 1)[:, op.arrays["index"].reshape(-1)]
    moved = moved.reshape(len(moved), *op.shape)
    return [moved[:, o] for o in range(op.shape[0])]


def _at_least(op: Op, planes: Planes) -> Planes:
    votes, cuts = op.arrays["votes"].tolist(), op.arrays["cuts"].tolist()
    out = []
    for first in range(0, len(planes), len(votes)):
        counted = at_least(jnp.stack(planes[first : first + len(votes)], -1), votes, cuts)
        out += [counted[..., t] for t in range(len(cuts))]
    return out


def _group_sum(op: Op, planes: Planes) -> jax.Array:
    """Count the planes of each group: numbers `(images, *frame, groups)`."""
    per = op.options["per"]
    groups = [jnp.stack(planes[i : i + per], -1) for i in range(0, len(planes), per)]
    return jnp.stack([counters.numbers(counters.count(group)) for group in groups], -1)


def _select(op: Op, *stacks: Planes) -> Planes:
    planes = [plane for stack in stacks for plane in stack]
    return [planes[source] for source in op.arrays["source"]]


_RUN: dict[str, Callable[..., Planes]] = {
    "combine": _combine,
    "complement": lambda op, planes: [~plane for plane in planes],
    "union_pool": _pool,
    "select": _select,
    "rearrange": _rearrange,
    "at_least": _at_least,
}
