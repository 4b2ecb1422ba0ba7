"""Large banks as index tables: planes are gathered by data instead of one expression for each.

Sets of similar size share a *bucket*, one table of members; shorter sets repeat a member, because
joining it twice changes nothing. Tables are arguments of the compiled program, so that XLA does not
fold them into constants.
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
"""Cost of another bucket, in members gathered."""
_UNROLLED, _STEP = 48, 16  # members joined without a loop, and in each step of a loop


class Sets(NamedTuple):
    """Hold sets of members in rows: set o is `members[offsets[o]:offsets[o + 1]]`.

    Attributes:
        offsets: int32 `(n_sets + 1,)`.
        members: int32 `(n, columns)`; the columns are (plane) or (plane, rows down, columns right).
    """

    offsets: np.ndarray
    members: np.ndarray


def window_sets(op: Op) -> Sets:
    """Return the windows of a "spatial" op as sets of (plane, rows down, columns right)."""
    windows = op.arrays["selem"]
    plane, row, column = np.nonzero(windows)
    centre = windows.shape[1] // 2, windows.shape[2] // 2
    source = op.arrays["source"][plane]
    members = np.stack([source, row - centre[0], column - centre[1]], axis=1)
    return Sets(_offsets(windows.sum((1, 2))), members.astype(np.int32))


def merged(windows: Op, sets: Op) -> Sets | None:
    """Merge a "combine" op with the "spatial" op that it reads into one bank of sets.

    An intersection of erosions is one erosion that looks at several planes; likewise for a union of
    dilations. `simplify` has brought sets of complements into this form before, where it can.

    Args:
        windows: the "spatial" op.
        sets: the "combine" op.

    Returns:
        One set for each plane of the combination; None if a set joins windows of the other
        operation or complements.
    """
    offsets, indices = sets.arrays["offsets"], sets.arrays["indices"]
    # For each member of a set: the operation of the set, and the complement of the window.
    erosion = np.repeat(sets.arrays["erosion"], np.diff(offsets))
    flip = windows.arrays["complement"][indices]
    if flip.any() or (windows.arrays["erosion"][indices] != erosion).any():
        return None
    inner = window_sets(windows)
    sizes = np.diff(inner.offsets)[indices]
    # The members of all windows that a set reads, one window after the other: `starts` is what
    # takes a position in this list to the row in `inner.members`.
    starts = np.repeat(inner.offsets[indices] - np.cumsum([0, *sizes[:-1]]), sizes)
    members = inner.members[starts + np.arange(sizes.sum())]
    ends = np.cumsum([0, *sizes])
    return Sets(ends[offsets].astype(np.int32), members)


def _offsets(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


def build_tables(
    sets: Sets, erosion: np.ndarray, complement: np.ndarray
) -> tuple[list[dict[str, np.ndarray]], list[bool], np.ndarray]:
    """Build the tables of a bank, one for each bucket.

    Args:
        sets: the sets of the bank.
        erosion: bool, the operation of each set.
        complement: bool, whether its result is complemented.

    Returns:
        `(tables, erosions, rows)`: for each bucket "members" `(k, n, columns)` and "flip" `(n,)`;
        for each bucket whether it erodes; the row of each plane in the buckets, one after the
        other.
    """
    sizes = np.diff(sets.offsets)
    arrays, kinds, numbers = [], [], []
    for kind in (False, True):
        # Empty sets do not occur: `simplify` made constants of them.
        chosen = np.flatnonzero((erosion == kind) & (sizes > 0))
        chosen = chosen[np.argsort(sizes[chosen], kind="stable")]
        for start, end in _buckets(sizes[chosen]):
            group = chosen[start:end]
            # Shorter sets repeat their last member.
            places = np.minimum(np.arange(sizes[group].max())[:, None], sizes[group] - 1)
            members = sets.members[sets.offsets[group] + places]
            arrays.append({"members": members, "flip": complement[group]})
            kinds.append(kind)
            numbers.append(group)
    order = np.concatenate(numbers)
    rows = np.zeros(len(sizes), np.int32)
    rows[order] = np.arange(len(order))
    return arrays, kinds, rows


def _buckets(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Cut ascending sizes into buckets of least cost, and return (start, end) of each.

    The cost is the number of members gathered, repeated ones included, and `_BUCKET` for each
    bucket. Dynamic programming over the distinct sizes finds the best cut: `cost[i]` is the least
    cost of the sets of the first i sizes, and `cut[i]` where their last bucket begins.
    """
    values, counts = np.unique(sizes, return_counts=True)
    ends = np.cumsum([0, *counts])
    cost, cut = np.zeros(len(values) + 1), np.zeros(len(values) + 1, int)
    for i in range(1, len(values) + 1):
        # The last bucket holds the values j, ..., i - 1, as wide as the largest of them.
        candidates = cost[:i] + (ends[i] - ends[:i]) * values[i - 1] + _BUCKET
        cut[i] = candidates.argmin()
        cost[i] = candidates[cut[i]]
    buckets, i = [], len(values)
    while i:
        buckets.append((int(ends[cut[i]]), int(ends[i])))
        i = int(cut[i])
    return buckets[::-1]


def join(
    fetch: Callable[[jax.Array], jax.Array], table: dict[str, jax.Array], erosion: bool
) -> jax.Array:
    """Join the members of one bucket.

    Args:
        fetch: function from members `(n, columns)` to their planes `(n, A, H, L)`.
        table: the table of the bucket.
        erosion: True for AND, False for OR.

    Returns:
        The planes of the bucket, `(n, A, H, L)`, complemented where "flip" is True.
    """
    members, operation = table["members"], join_of(erosion)
    joined = fetch(members[0])
    if len(members) <= _UNROLLED:
        for member in members[1:]:
            joined = operation(joined, fetch(member))
    else:
        # A loop of `_STEP` members a step; the last member is repeated to fill the last step.
        last = jnp.repeat(members[-1:], -len(members) % _STEP, axis=0)
        steps = jnp.concatenate([members, last]).reshape(-1, _STEP, *members.shape[1:])

        def step(joined: jax.Array, members: jax.Array) -> tuple[jax.Array, None]:
            for member in members:
                joined = operation(joined, fetch(member))
            return joined, None

        joined = lax.scan(step, joined, steps)[0]
    zero = jnp.zeros((), joined.dtype)
    return joined ^ jnp.where(table["flip"], ~zero, zero).reshape(-1, 1, 1, 1)
