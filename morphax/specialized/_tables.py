"""Large banks as tables: what each plane is joined of is data, gathered, never unrolled by the plane.

Planes with like numbers of members share a bucket, padded by repeating members (joining one twice changes
nothing). A table is an argument of the compiled program, so that XLA does not fold it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from morphax.program import Op
from morphax.specialized._planes import join_of

_BUCKET = 4096
"""What another bucket costs, in members gathered."""
_UNROLLED, _STEP = 48, 16


class Sets(NamedTuple):
    """Sets of members in rows: set o is `members[offsets[o]:offsets[o + 1]]`, int32 `(n, columns)`."""

    offsets: np.ndarray
    members: np.ndarray


def window_sets(op: Op) -> Sets:
    """Members (plane, rows down, columns right) of the windows of a "spatial" op."""
    windows = op.arrays["selem"]
    plane, row, column = np.nonzero(windows)
    centre = windows.shape[1] // 2, windows.shape[2] // 2
    source = op.arrays["source"][plane]
    members = np.stack([source, row - centre[0], column - centre[1]], axis=1)
    return Sets(_offsets(windows.sum((1, 2))), members.astype(np.int32))


def merged(windows: Op, sets: Op) -> Sets | None:
    """A "combine" of a "spatial" op as one bank, where all joins are of one kind for each plane.

    An intersection of erosions is one erosion that looks at several planes, and so is the complement of
    a union of their complements.
    """
    offsets, indices = sets.arrays["offsets"], sets.arrays["indices"]
    erosion = np.repeat(sets.arrays["erosion"], np.diff(offsets))
    flip = windows.arrays["complement"][indices]
    if flip.any() or (windows.arrays["erosion"][indices] != erosion).any():
        return None
    inner = window_sets(windows)
    sizes = np.diff(inner.offsets)[indices]
    # Members of each plane that a set reads, one plane after the other.
    starts = np.repeat(inner.offsets[indices] - np.cumsum([0, *sizes[:-1]]), sizes)
    members = inner.members[starts + np.arange(sizes.sum())]
    ends = np.cumsum([0, *sizes])
    return Sets(ends[offsets].astype(np.int32), members)


def _offsets(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


def tables(
    sets: Sets, erosion: np.ndarray, complement: np.ndarray
) -> tuple[list[dict[str, np.ndarray]], list[bool], np.ndarray]:
    """Tables of a bank, a bucket each.

    Returns:
        (for each bucket "members" `(k, n, columns)` and "flip" `(n,)`; whether it is one of erosions;
        where each plane of the bank lies in the buckets, joined).
    """
    sizes = np.diff(sets.offsets)
    arrays, kinds, numbers = [], [], []
    for kind in (False, True):
        chosen = np.flatnonzero((erosion == kind) & (sizes > 0))
        chosen = chosen[np.argsort(sizes[chosen], kind="stable")]
        for start, end in _buckets(sizes[chosen]):
            group = chosen[start:end]
            places = np.minimum(np.arange(sizes[group].max())[:, None], sizes[group] - 1)
            arrays.append({"members": sets.members[sets.offsets[group] + places],
                           "flip": complement[group]})  # fmt: skip
            kinds.append(kind)
            numbers.append(group)
    order = np.concatenate(numbers)
    rows = np.zeros(len(sizes), np.int32)
    rows[order] = np.arange(len(order))
    return arrays, kinds, rows


def _buckets(sizes: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of the buckets of ascending sizes that cost least: padded members, and buckets."""
    values, counts = np.unique(sizes, return_counts=True)
    ends = np.cumsum([0, *counts])
    cost, cut = np.zeros(len(values) + 1), np.zeros(len(values) + 1, int)
    for i in range(1, len(values) + 1):
        # The last bucket holds the values j, ..., i - 1, as wide as the largest of them.
        tried = cost[:i] + (ends[i] - ends[:i]) * values[i - 1] + _BUCKET
        cut[i] = tried.argmin()
        cost[i] = tried[cut[i]]
    found, i = [], len(values)
    while i:
        found.append((int(ends[cut[i]]), int(ends[i])))
        i = int(cut[i])
    return found[::-1]


def join(
    fetch: Callable[[jax.Array], jax.Array], table: dict[str, jax.Array], erosion: bool
) -> jax.Array:
    """One bucket: the join of its members, `(n, A, H, L)`.

    Args:
        fetch: planes `(n, A, H, L)` of members `(n, columns)`.
        table: of the bucket.
        erosion: AND or OR.

    Returns:
        The planes, complemented where the bucket says.
    """
    members, both = table["members"], join_of(erosion)
    found = fetch(members[0])
    if len(members) <= _UNROLLED:
        for member in members[1:]:
            found = both(found, fetch(member))
    else:
        last = jnp.repeat(members[-1:], -len(members) % _STEP, axis=0)
        steps = jnp.concatenate([members, last]).reshape(-1, _STEP, *members.shape[1:])

        def step(found: jax.Array, members: jax.Array) -> tuple[jax.Array, None]:
            for member in members:
                found = both(found, fetch(member))
            return found, None

        found = lax.scan(step, found, steps)[0]
    zero = jnp.zeros((), found.dtype)
    return found ^ jnp.where(table["flip"], ~zero, zero).reshape(-1, 1, 1, 1)
