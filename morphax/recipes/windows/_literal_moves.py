"""Compute what one change of a hit-or-miss gains, for all literals, on counted window patterns.

A map is a set of literals, bool `(2 n,)`: pixels that must be set, then pixels that must not be
set. It fits a pattern that violates none of them. With `gain` = positive - negative pixels of a
pattern, the error of a union of maps is a constant minus the gain of the patterns that it covers.
So, for one map, and over the patterns that no other map covers ("free"): adding a literal loses the
gain of the patterns that fit and violate it; removing a literal wins the gain of the patterns that
violate it and no other. Both are one product of a vector and a matrix over few patterns.
"""

from typing import NamedTuple

import numpy as np

_FEW = 24  # literals of a map
BLOCKED = -np.inf
"""The gain of a change that is not allowed."""


class Table(NamedTuple):
    """Hold counted patterns, laid out for fast changes.

    Attributes:
        rows: the patterns, float32 `(patterns, n)`.
        columns: the same, bool `(n, patterns)`: one pixel of all patterns lies together.
        gain: positive minus negative pixels of each pattern, float64 `(patterns,)`.
        allowed: the literals that maps may have, bool `(2 n,)`.
    """

    rows: np.ndarray
    columns: np.ndarray
    gain: np.ndarray
    allowed: np.ndarray


def make_table(bits: np.ndarray, gain: np.ndarray, allowed: np.ndarray | None = None) -> Table:
    """Lay out patterns bool `(patterns, n)` and gains `(patterns,)`; all literals are allowed."""
    columns = np.ascontiguousarray(bits.T)
    allowed = np.ones(2 * len(columns), bool) if allowed is None else allowed
    return Table(bits.astype(np.float32), columns, gain.astype(np.float64), allowed)


def violations(table: Table, literals: np.ndarray) -> np.ndarray:
    """Count the literals of maps `(maps, 2 n)` that each pattern violates: `(maps, patterns)`."""
    if literals.sum() < _FEW * len(literals):  # a few columns cost less than a product of matrices
        counts = np.zeros((len(literals), len(table.rows)), np.int16)
        for violated, literal in zip(counts, literals, strict=True):
            for j in np.flatnonzero(literal):
                violated += violators(table, int(j))
        return counts
    n = len(table.columns)
    must, must_not = literals[:, :n].astype(np.float32), literals[:, n:].astype(np.float32)
    # A set pixel satisfies one literal of `must` and violates one of `must_not`.
    counts = must.sum(1)[:, None] - (must - must_not) @ table.rows.T
    return counts.round().astype(np.int16)


def violators(table: Table, literal: int) -> np.ndarray:
    """Return which patterns violate one literal, bool `(patterns,)`."""
    n = len(table.columns)
    return ~table.columns[literal] if literal < n else table.columns[literal - n]


def additions(
    table: Table, literals: np.ndarray, violated: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """Compute the gain of adding each literal to a map.

    Args:
        table: the patterns.
        literals: the map, bool `(2 n,)`.
        violated: how many of its literals each pattern violates, int16 `(patterns,)`.
        free: patterns that no other map covers, bool `(patterns,)`.

    Returns:
        float64 `(2 n,)`, `BLOCKED` for literals of the map, for their complements, and for those
        that are not allowed.
    """
    fits = np.flatnonzero(free & (violated == 0))
    unset, inside = _sides(table, fits)
    # A literal and its complement together would fit nowhere.
    taken = literals | np.roll(literals, len(inside)) | ~table.allowed
    return np.where(taken, BLOCKED, -np.concatenate([unset, inside]))


def removals(
    table: Table, literals: np.ndarray, violated: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """Compute the gain of removing each literal of a map; arguments and result as for `additions`.

    The last literal stays: a map without literals would fit everywhere.
    """
    if np.count_nonzero(literals) < 2:
        return np.full(len(literals), BLOCKED)
    # A pattern comes back if the literal is the only one that it violates.
    near = np.flatnonzero(free & (violated == 1))
    return np.where(literals, np.concatenate(_sides(table, near)), BLOCKED)


def _sides(table: Table, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain of the chosen patterns where each pixel is unset, and where it is set."""
    gain = table.gain[chosen]
    inside = gain @ table.rows[chosen]
    return gain.sum() - inside, inside


def change(table: Table, literals: np.ndarray, violated: np.ndarray, literal: int) -> None:
    """Add a literal to a map, or remove it from the map, in place."""
    step = np.int16(-1 if literals[literal] else 1)
    violated += step * violators(table, literal).astype(np.int16)
    literals[literal] ^= True


def remove_while_free(
    table: Table, literals: np.ndarray, violated: np.ndarray, free: np.ndarray
) -> None:
    """Remove literals of a map, the best one first, while no gain is lost; in place."""
    while True:
        won = removals(table, literals, violated, free)
        best = int(won.argmax())
        if won[best] < 0:  # also where only one literal is left
            return
        change(table, literals, violated, best)


def expand(table: Table, free: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make a map from all literals of one pattern, and remove them while nothing is lost.

    On patterns without noise this finds a prime implicant of two-level minimisation.

    Args:
        table: the patterns.
        free: patterns that no other map covers, bool `(patterns,)`.
        seed: number of the pattern.

    Returns:
        The map, bool `(2 n,)`, and how many of its literals each pattern violates, int16
        `(patterns,)`.
    """
    held = table.columns[:, seed]
    literals = np.concatenate([held, ~held]) & table.allowed
    violated = violations(table, literals[None])[0]
    remove_while_free(table, literals, violated, free)
    return literals, violated
