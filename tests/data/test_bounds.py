"""What a window allows, against brute force over all operators on a small window."""

from itertools import product

import numpy as np
import pytest

from morphax import data
from morphax.data.bounds import _conflicts
from morphax.data.window_patterns import Patterns


def _increasing_tables(n: int) -> list[np.ndarray]:
    """All increasing functions of n bits (20 for 3): 1 on what contains a pattern where it is 1."""
    bits = np.array(list(product([False, True], repeat=n)))
    below = (bits[:, None] <= bits[None]).all(-1)
    tables = [np.array(table) for table in product([False, True], repeat=2**n)]
    return [table for table in tables if not (below & table[:, None] & ~table[None]).any()]


def test_no_increasing_operator_beats_the_bound() -> None:
    bits, tables = np.array(list(product([False, True], repeat=3))), _increasing_tables(3)
    assert len(tables) == 20
    reached = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        patterns = Patterns(bits, rng.integers(0, 6, 8), rng.integers(0, 6, 8))
        least = min(int(np.where(t, patterns.negative, patterns.positive).sum()) for t in tables)
        bound = int(np.minimum(patterns.positive, patterns.negative).sum()) + _conflicts(patterns)
        assert bound <= least
        reached += bound == least
    assert reached > 30  # mostly it is the best one


@pytest.mark.parametrize("border", ["constant", "replicate"])
def test_errors_are_those_of_plain_counts(border: str) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.random(size) < 0.5 for size in ((12, 9), (8, 15), (10, 10))]
    targets = [x ^ (rng.random(x.shape) < 0.1) for x in inputs]
    masks = [rng.random(x.shape) < 0.7 for x in inputs]
    found = data.window_bounds((inputs, targets), window=3, masks=masks, border=border)
    chosen = [np.stack([x[m], y[m]]) for x, y, m in zip(inputs, targets, masks, strict=True)]
    x, y = np.concatenate(chosen, axis=1)
    assert found.pixels == len(y)
    assert found.copy == (x != y).mean()
    assert found.constant == min(y.mean(), 1 - y.mean())
    votes: dict[bytes, list[int]] = {}
    mode = "edge" if border == "replicate" else "constant"
    for image, target, mask in zip(inputs, targets, masks, strict=True):
        wide = np.pad(image, 1, mode=mode)
        for i, j in zip(*np.nonzero(mask), strict=True):
            pattern = wide[i : i + 3, j : j + 3].tobytes()
            votes.setdefault(pattern, [0, 0])[int(target[i, j])] += 1
    counts = np.array(list(votes.values()))
    assert found.table == counts.min(1).sum() / len(y)
    assert found.contradictory == counts[counts.min(1) > 0].sum() / len(y)
    assert found.patterns == len(votes)
    assert found.table <= found.increasing <= 1


def test_held_out_patterns_are_looked_up_or_guessed_from_the_centre() -> None:
    seen = np.zeros((9, 9), bool)
    seen[4, 4] = True
    other = np.zeros((9, 9), bool)
    other[[2, 6], [2, 6]] = True  # same 3x3 patterns, other 7x7 ones
    found = data.window_bounds(([seen, other], [seen, other]), window=7)
    assert found.held_out == 0
    assert 0 < found.unseen < 1
    alone = data.window_bounds(([seen], [seen]), window=7)
    assert alone.held_out is None
    assert alone.unseen is None


@pytest.mark.parametrize("window", [2, 11, 0])
def test_windows_that_do_not_fit_are_refused(window: int) -> None:
    image = np.eye(9, dtype=bool)
    with pytest.raises(ValueError, match="window: expected an odd side of at most 9"):
        data.window_bounds(([image], [image]), window=window)
