"""Sentences about votes and cuts, read back from their text."""

import numpy as np
import pytest
from helpers.operator_chains import BORDERS, agrees, first_line
from helpers.random_programs import counted_operator

from morphax.explain import explain, layer_lines
from morphax.program import Op, Program, simplify


@pytest.mark.parametrize("seed", range(6))
def test_votes_by_chance(seed):
    rng = np.random.default_rng(seed)
    borders = [("ignore",), ("constant",), ("replicate",), BORDERS][seed % 4]
    made = counted_operator(rng, (9, 8), planes=1 + seed % 2, borders=borders)
    for variant in (made, simplify(made)):
        found = explain(variant, limit=4000)
        assert found.everywhere
        assert agrees(made, found, rng)


VOTES = [
    ((1, 1, 1), 2, "y = at least 2 of (x1, x2, x3)"),
    ((1, 1, 1), 3, "y = x1 ∩ x2 ∩ x3"),
    ((2, 4, 2), 2, "y = x1 ∪ x2 ∪ x3"),
    ((2, 1, 1), 2, "y = at least 2 votes of (x1: 2, x2, x3)"),
    ((2, 1, -1), 1, "y = at least 2 votes of (x1: 2, x2, not x3)"),
    ((0, -3, 0), 0, "y = not x2"),
    ((5, 1, 0), 7, "y = nothing"),
]


@pytest.mark.parametrize("votes, cut, text", VOTES)
def test_votes_in_words(votes, cut, text):
    arrays = {"votes": np.array(votes, np.int32), "cuts": np.array([cut], np.int32)}
    ops = Op("input", (), (3, 5, 4)), Op("at_least", (0,), (1, 5, 4), arrays=arrays)
    assert first_line(Program(ops, (5, 4, 3), (5, 4, 1))) == text


def test_votes_of_a_layer():
    program = counted_operator(np.random.default_rng(0), (9, 8))
    lines = [line for line in layer_lines(program) if line.startswith("votes")]
    assert [line.split(" votes of ")[1].split(",")[0] for line in lines] == [
        "9 planes",
        "3 planes",
        "4 planes",
    ]
    assert "in 2 groups" in lines[1]
