"""Counted patterns, moves of literals and unions, against plain loops and brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphax.data.window_patterns import (
    Patterns,
    count_patterns,
    sample_patterns,
    see,
    square_window,
    with_neighbours,
)
from morphax.recipes.windows import _literal_moves as moves
from morphax.recipes.windows._union_search import search_union


def _fits(literals: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Whether each map fits each pattern, from the definition: `(maps, patterns)`."""
    n = bits.shape[1]
    return np.array(
        [[not (m[:n] & ~p).any() and not (m[n:] & p).any() for p in bits] for m in literals]
    ).reshape(len(literals), len(bits))


def _wrong(literals: np.ndarray, patterns: Patterns) -> float:
    covered = _fits(literals, patterns.bits).any(0)
    return float(patterns.negative[covered].sum() + patterns.positive[~covered].sum())


@st.composite
def tables(draw, n: int = 4) -> Patterns:
    bits = np.array(list(product([False, True], repeat=n)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Patterns(bits, rng.integers(0, 5, len(bits)), rng.integers(0, 5, len(bits)))


@pytest.mark.parametrize("border", ["constant", "replicate"])
@pytest.mark.parametrize("channels", [1, 2])
def test_patterns_are_those_of_plain_loops(border: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    window = np.concatenate([square_window(3, *range(channels)), np.array([[-2, 3, 0]])])
    examples = [
        (rng.random((*size, channels)) < 0.4, rng.random(size) < 0.5, rng.random(size) < 0.8)
        for size in ((7, 5), (4, 9))
    ]
    expected: dict[bytes, list[int]] = {}
    for planes, target, mask in examples:
        height, width, _ = planes.shape
        shown = see(planes, window, np.arange(height * width), border=border)
        for y, x in product(range(height), range(width)):
            bits = []
            for row, column, plane in window:
                i, j = y + row, x + column
                inside = 0 <= i < height and 0 <= j < width
                if border == "replicate":
                    i, j = np.clip(i, 0, height - 1), np.clip(j, 0, width - 1)
                    inside = True
                bits.append(bool(planes[i, j, plane]) if inside else False)
            assert shown[y * width + x].tolist() == bits
            if mask[y, x]:
                counts = expected.setdefault(np.array(bits).tobytes(), [0, 0])
                counts[0 if target[y, x] else 1] += 1
    found = count_patterns(examples, window, border=border)
    assert {b.tobytes(): [p, q] for b, p, q in zip(*found, strict=True)} == expected
    total = found.positive + found.negative
    assert (np.diff(total) <= 0).all()
    drawn = sample_patterns(examples, window, pixels=10**6, rng=rng, border=border)
    again: dict[bytes, list[int]] = {}
    for bits, positive, negative in zip(*drawn, strict=True):
        counts = again.setdefault(bits.tobytes(), [0, 0])
        counts[0] += positive
        counts[1] += negative
    assert again == expected


def test_wide_windows_count_like_narrow_ones() -> None:
    """150 bits are three words: patterns that differ in any of them are told apart."""
    rng = np.random.default_rng(0)
    rows = rng.random((40, 150)) < 0.5
    rows = np.concatenate([rows, rows[:10]])
    planes, target = rows[:, None, :], rng.random((50, 1)) < 0.5
    window = np.stack([np.zeros(150, int), np.zeros(150, int), np.arange(150)], 1)
    found = count_patterns([(planes, target, np.ones((50, 1), bool))], window)
    assert len(found.bits) == 40
    assert {b.tobytes() for b in found.bits} == {b.tobytes() for b in rows}
    assert found.positive.sum() == target.sum()
    assert (found.positive + found.negative).sum() == 50


@given(tables(), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_neighbours_are_the_unseen_patterns_at_distance_one(table, flips, seed) -> None:
    rng = np.random.default_rng(seed)
    keep = rng.random(len(table.bits)) < 0.4
    keep[0] = True
    seen = Patterns(*(part[keep] for part in table))
    found = with_neighbours(seen, weight=0.5, flips=flips, rng=rng)
    known = len(seen.bits)
    assert (found.bits[:known] == seen.bits).all()
    assert (found.positive[:known] == seen.positive).all()
    near = (found.bits[known:, None] != seen.bits[None]).sum(-1)
    assert (near >= 1).all()
    assert (near.min(1) == 1).all()
    if flips == 4:  # all neighbours: counts are half of the sums around
        for b, positive in zip(found.bits[known:], found.positive[known:], strict=True):
            beside = (seen.bits != b).sum(1) == 1
            assert positive == seen.positive[beside].sum() / 2


@given(tables(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_moves_gain_what_they_say(patterns, seed) -> None:
    """Every addition and removal of every literal, against counting wrong pixels twice."""
    rng = np.random.default_rng(seed)
    table = moves.make_table(patterns.bits, patterns.positive - patterns.negative)
    n = patterns.bits.shape[1]
    maps = rng.random((3, 2 * n)) < 0.3
    maps[:, n:] &= ~maps[:, :n]
    violated = moves.violations(table, maps)
    assert ((violated == 0) == _fits(maps, patterns.bits)).all()
    free = (violated[1:] != 0).all(0)
    before = _wrong(maps, patterns)
    added = moves.additions(table, maps[0], violated[0], free)
    removed = moves.removals(table, maps[0], violated[0], free)
    for literal in range(2 * n):
        changed = maps.copy()
        changed[0, literal] ^= True
        gain = before - _wrong(changed, patterns)
        if maps[0, literal]:
            assert added[literal] == moves.BLOCKED
            assert removed[literal] == (gain if maps[0].sum() > 1 else moves.BLOCKED)
        else:
            blocked = maps[0, (literal + n) % (2 * n)]
            assert added[literal] == (moves.BLOCKED if blocked else gain)
            assert removed[literal] == moves.BLOCKED
        one, counts = maps[0].copy(), violated[0].copy()
        moves.change(table, one, counts, literal)
        assert (one == changed[0]).all()
        assert (counts == moves.violations(table, one[None])[0]).all()


def test_violations_of_many_literals_are_those_of_few() -> None:
    """The two ways of counting agree."""
    bits = np.random.default_rng(0).random((50, 40)) < 0.5
    table = moves.make_table(bits, np.zeros(50))
    literals = np.concatenate([bits, ~bits], 1)[:5]
    together = moves.violations(table, literals)
    assert (together == (bits[:5, None] != bits[None]).sum(-1)).all()


@given(tables())
@settings(max_examples=25, deadline=None)
def test_enough_maps_reach_the_majority_table(patterns) -> None:
    least = np.minimum(patterns.positive, patterns.negative).sum()
    found = search_union(*patterns, maps=16, least_gain=1, seed=0)
    assert _wrong(found, patterns) == least


def test_a_union_is_no_worse_than_the_best_single_map() -> None:
    rng = np.random.default_rng(3)
    bits = np.array(list(product([False, True], repeat=4)))
    maps = np.array([[*a, *b] for a in bits for b in bits if not (a & b).any() and (a | b).any()])
    for _ in range(5):
        patterns = Patterns(bits, rng.integers(0, 9, 16), rng.integers(0, 9, 16))
        best = min(_wrong(m[None], patterns) for m in maps)
        best = min(best, float(patterns.positive.sum()))
        found = search_union(*patterns, maps=1, least_gain=1)
        assert _wrong(found, patterns) <= best * 1.25
        two = search_union(*patterns, maps=2, least_gain=1)
        assert _wrong(two, patterns) <= _wrong(found, patterns)


def test_same_seed_same_union() -> None:
    rng = np.random.default_rng(1)
    bits = np.unique(rng.random((300, 9)) < 0.5, axis=0)
    positive = rng.integers(0, 3, len(bits))
    first, second = (search_union(bits, positive, 2 - positive, maps=5, seed=7) for _ in range(2))
    assert (first == second).all()


def test_game_of_life_is_an_exact_union() -> None:
    bits = np.array(list(product([False, True], repeat=9)))
    neighbours = bits.sum(1) - bits[:, 4]
    alive = (neighbours == 3) | ((neighbours == 2) & bits[:, 4])
    found = search_union(bits, alive.astype(int), 1 - alive, maps=84)
    assert (_fits(found, bits).any(0) == alive).all()
