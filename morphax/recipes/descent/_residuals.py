"""Tell independent flips of the targets from errors of a network: by how its wrong pixels lie.

Independent flips lie anywhere. The errors of a network lie where its output changes, next to each
other, and come with certain patterns of the input. Three statistics that flips leave at 0, give or
take 1, are computed over the pixels that count; if one of them is far from 0, there is something
left to learn.
"""

import numpy as np

from morphax.recipes.descent._bit_errors import output, residual_statistics
from morphax.recipes.descent._blocks import patterns, unpacked
from morphax.recipes.descent._descent import Net, Problem, tape_of

_FAR = 4.0
"""Standard deviations from 0 that flips do not reach."""
_FEW = 5.0
"""Expected wrong pixels below which a pattern is left out."""


def only_flips(problem: Problem, net: Net) -> bool:
    """Return whether the wrong pixels of a network look like independent flips of the targets.

    Args:
        problem: the pairs; of `problem.blocks` the first eight are looked at.
        net: the network.
    """
    pairs = problem.pairs
    space = {"origin": pairs.geometry.origin, "stride": pairs.geometry.stride}
    steps = pairs.geometry.pitches[::-1]
    statistics = np.zeros(8)
    classes = np.zeros((2, 512))
    # A few blocks are enough to see structure, and patterns need only two of them.
    for number, b in enumerate(list(problem.blocks)[:8]):
        block = pairs.blocks[b]
        out = output(block, tape_of(net, pairs.geometry), **space)
        statistics += np.asarray(residual_statistics(block, out, steps=steps))
        if number < 2:
            wrong = (out ^ block.y) & block.counts
            parts = (block.x[0], wrong, block.counts)
            classes += _by_pattern(*(unpacked(part, pairs.geometry) for part in parts))
    return all(abs(z) < _FAR for z in (*_scores(statistics), _score_of_patterns(*classes)))


def _scores(n: np.ndarray) -> tuple[float, float]:
    """Return how far wrong neighbours, and wrong pixels at edges, are from chance."""
    wrong, pixels, pairs_wrong, pairs, wrong_edge, edge, wrong_flat, flat = n
    if wrong == 0 or wrong == pixels:
        return 0.0, 0.0
    rate = wrong / pixels
    expected = max(rate**2 * pairs, 1.0)
    # Independent flips meet in rate^2 of the pairs of neighbours.
    together = (pairs_wrong - rate**2 * pairs) / np.sqrt(expected)
    # The difference of two shares, in units of its standard deviation.
    variance = rate * (1 - rate) * (1 / max(edge, 1) + 1 / max(flat, 1))
    at_edges = wrong_edge / max(edge, 1) - wrong_flat / max(flat, 1)
    return together, at_edges / np.sqrt(variance) if min(edge, flat) > 0 else 0.0


def _by_pattern(x: np.ndarray, wrong: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Count wrong pixels and pixels for each 3 x 3 pattern of the input, `(2, 512)`."""
    code = patterns(x)
    return np.stack([np.bincount(code[part], minlength=512) for part in (wrong, counts)])


def _score_of_patterns(wrong: np.ndarray, pixels: np.ndarray) -> float:
    """Return how far the error rates of patterns are from equal, in standard deviations."""
    rate = wrong.sum() / max(pixels.sum(), 1)
    seen = pixels * rate > _FEW
    if rate == 1 or seen.sum() < 2:
        return 0.0
    # Chi-square of the patterns against one common rate, standardised.
    expected = pixels[seen] * rate
    chi_square = ((wrong[seen] - expected) ** 2 / (expected * (1 - rate))).sum()
    freedom = seen.sum() - 1
    return float((chi_square - freedom) / np.sqrt(2 * freedom))
