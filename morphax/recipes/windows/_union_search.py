"""Search for a union of hit-or-misses: grow maps, refine them, exchange the weakest.

1. `grow` adds literals to one map at a time by FOIL's information gain (Quinlan, Machine Learning
   5, 1990), removes those that do not help, and leaves the covered patterns out for the maps that
   follow.
2. `refine` changes one map at a time by the best addition, removal or swap of literals.
3. New maps are expanded from patterns that are wrongly left out; maps that earn too little are
   dropped.

Steps 2 and 3 are repeated until nothing is gained. Every change must gain `least_gain` pixels: the
larger, the simpler the union. Small tables also start from a cover without any wrong pattern, as
two-level minimisation does: greedy growth does not see operators that count.
"""

import time
from typing import NamedTuple

import numpy as np

from morphax.recipes.windows import _literal_moves as moves
from morphax.recipes.windows._literal_moves import BLOCKED, Table

_SMALL = 5000  # patterns up to which a cover without wrong patterns is tried, too
_SEVERE = 1e6  # weight of a wrong pattern there
_PATIENCE = 4  # rounds without a gain until the search stops
_SWAPS = 6  # removals that are tried together with an addition
_SEEDS = 6  # patterns that a new map is expanded from
_DRAWN = 20000  # most frequent patterns, which decide about the next literal of a growing map


class _Union(NamedTuple):
    """Hold maps `(maps, 2 n)` and their violated literals `(maps, patterns)`; changed in place."""

    literals: np.ndarray
    violated: np.ndarray

    @property
    def covered(self) -> np.ndarray:
        """Number of maps that fit each pattern."""
        return (self.violated == 0).sum(0)


class _Search(NamedTuple):
    """Hold what all steps of a search share."""

    table: Table
    maps: int
    least_gain: float
    rng: np.random.Generator
    end: float

    def out_of_time(self) -> bool:
        return time.monotonic() > self.end


def search_union(
    bits: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    *,
    maps: int,
    least_gain: float = 1.0,
    seconds: float = 60.0,
    seed: int = 0,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """Search for the union of at most `maps` hit-or-misses that is wrong on the fewest pixels.

    Args:
        bits: different patterns of a window, bool `(patterns, n)`, the most frequent first.
        positive: weight of the pixels with that pattern whose target is set, `(patterns,)`.
        negative: the same of those whose target is not set.
        maps: largest number of hit-or-misses.
        least_gain: weight of pixels that every change and every map must gain.
        seconds: limit of time; the best union found by then is returned.
        seed: of what is drawn; without a limit of time the same seed gives the same union.
        allowed: the literals that maps may have, bool `(2 n,)`; all by default.

    Returns:
        Literals bool `(found, 2 n)`: pixels that must be set, then pixels that must not be set.

    Example:
        >>> both = np.array([[False, False], [False, True], [True, False], [True, True]])
        >>> either = np.array([0, 1, 1, 1])
        >>> search_union(both, either, 1 - either, maps=2).astype(int).tolist()
        [[1, 0, 0, 0], [0, 1, 0, 0]]
    """
    start, rng = time.monotonic(), np.random.default_rng(seed)
    table = moves.make_table(bits, positive - negative, allowed)
    # A small table is searched from two starts, in half of the time each.
    part = seconds / 2 if len(bits) <= _SMALL else seconds
    search = _Search(table, maps, least_gain, rng, start + part)
    found = [_improve(search, _grow(search, positive, negative))]
    if len(bits) <= _SMALL:
        search = search._replace(end=start + seconds)
        found.append(_improve(search, _cover(search)))
    return max(found, key=lambda pair: pair[1])[0]


def _improve(search: _Search, literals: np.ndarray) -> tuple[np.ndarray, float]:
    """Refine a union and exchange its weakest maps while that gains; also return the gain."""
    table = search.table
    union = _Union(literals, moves.violations(table, literals))
    best, best_gain, idle = literals.copy(), BLOCKED, 0
    while idle < _PATIENCE:
        _refine(search, union)
        union = _without_idle(search, union)
        gain = float(table.gain[union.covered > 0].sum())
        idle = 0 if gain >= best_gain + search.least_gain else idle + 1
        if gain > best_gain:
            best, best_gain = union.literals.copy(), gain
        if search.out_of_time():
            break
        # A full union has no place for new maps: give up the weakest.
        if len(union.literals) == search.maps:
            union = _without_weakest(search, union)
        union = _with_new(search, union)
    return best, best_gain


def _grow(search: _Search, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Grow maps one after the other, on the patterns that those before do not cover."""
    table, n = search.table, len(search.table.columns)
    good, bad = positive.astype(np.float64), negative.astype(np.float64)
    everywhere, found = np.ones(len(good), bool), []
    while len(found) < search.maps and not search.out_of_time():
        literals = _grow_one(search, good, bad)
        violated = moves.violations(table, literals[None])[0]
        rest = table._replace(gain=good - bad)
        moves.remove_while_free(rest, literals, violated, everywhere)
        fits = violated == 0
        # A map that gains nothing is a sign that the rest is noise.
        if rest.gain[fits].sum() <= 0:
            break
        found.append(literals)
        good[fits] = bad[fits] = 0
    return np.array(found, bool).reshape(-1, 2 * n)


def _grow_one(search: _Search, good: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Grow one map, and return it where positive minus negative pixels were most."""
    table, n = search.table, len(search.table.columns)
    fits, literals = np.flatnonzero(good + bad), np.zeros(2 * n, bool)
    best, most = literals, BLOCKED
    for _ in range(n):
        drawn = fits[:_DRAWN]  # the most frequent ones come first
        weights = np.stack([good[drawn], good[drawn] + bad[drawn]])
        some, total = weights.sum(1)
        # Pure enough: more literals would only lose positive pixels.
        if some == 0 or total - some <= 0.02 * some:
            break
        # Positive pixels and all pixels that stay if a literal is added: pixels, then complements.
        inside = weights.astype(np.float32) @ table.rows[drawn]
        hits, left = np.concatenate([inside, weights.sum(1)[:, None] - inside], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            purer = np.log2((hits + 1e-9) / (left + 1e-9)) - np.log2(some / total)
        taken = literals | np.roll(literals, n) | ~table.allowed
        information = np.where(taken, BLOCKED, hits * purer)
        literal = int(information.argmax())
        if information[literal] <= 1e-6:
            break
        literals = literals.copy()
        literals[literal] = True
        fits = fits[~moves.violators(table, literal)[fits]]
        surplus = float(good[fits].sum() - bad[fits].sum())
        if surplus > most:
            best, most = literals, surplus
    return best.copy()


def _cover(search: _Search) -> np.ndarray:
    """Cover the patterns of positive gain by maps that fit none of negative gain."""
    gain = search.table.gain
    # A wrong pattern costs more than all others together can gain.
    severe = search.table._replace(gain=np.where(gain < 0, _SEVERE * gain, gain))
    found, free = [np.zeros((0, 2 * len(severe.columns)), bool)], np.ones(len(gain), bool)
    while len(found) <= search.maps and not search.out_of_time():
        new = _best_expansion(severe, free, search.rng)
        if new is None:
            break
        found.append(new[0][None])
        free = free & (new[1] != 0)
    return np.concatenate(found)


def _refine(search: _Search, union: _Union) -> None:
    """Change one map at a time until no change of any map gains enough."""
    covered, moved = union.covered, True
    while moved and not search.out_of_time():
        moved = False
        for r in search.rng.permutation(len(union.literals)):
            literals, violated = union.literals[r], union.violated[r]
            # Only patterns that no other map covers depend on this one.
            others = covered - (violated == 0)
            while not search.out_of_time():
                move = _best_move(search, literals, violated, others == 0)
                if not move:
                    break
                moved = True
                for literal in move:
                    moves.change(search.table, literals, violated, literal)
            covered = others + (violated == 0)


def _best_move(
    search: _Search, literals: np.ndarray, violated: np.ndarray, free: np.ndarray
) -> tuple[int, ...]:
    """Return the literals to change in one map: none, one, or a removal and an addition."""
    table, least = search.table, search.least_gain
    added = moves.additions(table, literals, violated, free)
    removed = moves.removals(table, literals, violated, free)
    a, r = int(added.argmax()), int(removed.argmax())
    if max(added[a], removed[r]) >= least:
        return (a,) if added[a] >= removed[r] else (r,)
    # No single change is good enough: remove a literal that costs little, and add another.
    for r in np.argsort(-removed)[:_SWAPS].tolist():
        if removed[r] == BLOCKED:
            break
        without, fewer = literals.copy(), violated.copy()
        moves.change(table, without, fewer, r)
        both = removed[r] + moves.additions(table, without, fewer, free)
        both[r] = BLOCKED
        a = int(both.argmax())
        if both[a] >= least:
            return r, a
    return ()


def _without_idle(search: _Search, union: _Union) -> _Union:
    """Drop maps that do not earn `least_gain`, one at a time."""
    covered, keep = union.covered, []
    for r, violated in enumerate(union.violated):
        fits = violated == 0
        if search.table.gain[fits & (covered == 1)].sum() < search.least_gain:
            covered = covered - fits
        else:
            keep.append(r)
    return _Union(union.literals[keep], union.violated[keep])


def _without_weakest(search: _Search, union: _Union) -> _Union:
    """Drop the eighth of the maps that earns least, so that others can be tried in their places."""
    alone = union.covered == 1
    earned = [search.table.gain[(violated == 0) & alone].sum() for violated in union.violated]
    keep = np.sort(np.argsort(earned, kind="stable")[max(1, search.maps // 8) :])
    return _Union(union.literals[keep], union.violated[keep])


def _with_new(search: _Search, union: _Union) -> _Union:
    """Add maps that are expanded from patterns which are left out, a few at a time."""
    literals, violated = [union.literals], [union.violated]
    free, places = union.covered == 0, search.maps - len(union.literals)
    for _ in range(min(max(1, search.maps // 8), places)):
        new = _best_expansion(search.table, free, search.rng)
        if new is None or search.out_of_time():
            break
        fits = new[1] == 0
        if search.table.gain[free & fits].sum() >= search.least_gain:
            literals.append(new[0][None])
            violated.append(new[1][None])
            free = free & ~fits
    return _Union(np.concatenate(literals), np.concatenate(violated))


def _best_expansion(
    table: Table, free: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Expand some patterns that are left out; return the map that gains most."""
    worth = np.where(free, np.maximum(table.gain, 0), 0)
    seeds = np.flatnonzero(worth)
    if not len(seeds):
        return None
    drawn = rng.choice(seeds, min(_SEEDS, len(seeds)), replace=False, p=worth[seeds] / worth.sum())
    tried = [moves.expand(table, free, int(seed)) for seed in drawn]
    return max(tried, key=lambda new: table.gain[free & (new[1] == 0)].sum())
