"""Properties of window operators hold on every image, whatever was learned."""

import jax
import numpy as np
import pytest

from morphax.data.image_lists import read_pairs
from morphax.data.window_patterns import count_patterns, square_window
from morphax.recipes.windows._levels import Level, run_levels
from morphax.recipes.windows.properties import (
    Properties,
    check_properties,
    closed_level,
    tidied,
    turned_patterns,
)
from morphax.recipes.windows.unions import UnionPlan, union_levels
from morphax.recipes.windows.votes import VotePlan, vote_levels

KEY = jax.random.key(0)
OPTIONS = {"seconds": 20.0, "window": 3, "least_gain": 1, "guess": 0.0}


def _examples(seed: int = 0):
    """Random images and targets that have none of the properties."""
    rng = np.random.default_rng(seed)
    inputs = rng.random((4, 20, 17)) < 0.5
    left = np.pad(inputs, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
    up = np.pad(inputs, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return read_pairs((inputs, (inputs & ~left) | (~inputs & left & up)))


def _learned(kind: str, properties: Properties):
    examples = _examples()
    if kind == "union":
        return union_levels(examples, UnionPlan((8,), properties=properties), **OPTIONS)
    if kind == "unions":
        return union_levels(examples, UnionPlan((4, 4), folds=1, properties=properties), **OPTIONS)
    sizes, steps = ((8, 8), 400) if kind == "two levels" else ((8,), 40)
    plan = VotePlan(sizes, steps=steps, further=3, properties=properties)
    return vote_levels(KEY, examples, plan, 3)


def _images(seed: int = 1, count: int = 6):
    return np.random.default_rng(seed).random((count, 15, 15, 1)) < 0.5


KINDS = (
    "union",
    "votes",
    *(pytest.param(k, marks=pytest.mark.slow) for k in ("unions", "two levels")),
)


@pytest.mark.parametrize("kind", KINDS)
def test_symmetric_operators_turn_with_the_image(kind: str) -> None:
    levels = _learned(kind, Properties(symmetric=True))
    for image in _images():
        answer = run_levels(levels, image)
        for turn in range(4):
            turned = np.rot90(image, turn)
            assert (run_levels(levels, turned) == np.rot90(answer, turn)).all()
            assert (run_levels(levels, turned[::-1]) == np.rot90(answer, turn)[::-1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_increasing_operators_grow_with_the_image(kind: str) -> None:
    levels = _learned(kind, Properties(increasing=True))
    for small, more in zip(_images(1), _images(2), strict=True):
        assert not (run_levels(levels, small) & ~run_levels(levels, small | more)).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["anti_extensive", "extensive"])
def test_answers_lie_inside_the_input_or_cover_it(kind: str, name: str) -> None:
    levels = _learned(kind, Properties(**{name: True}))
    answers = np.stack([run_levels(levels, image) for image in _images()])
    images = _images()[..., 0]
    outside = answers & ~images if name == "anti_extensive" else images & ~answers
    assert not outside.any()
    assert (answers != images).any()  # it is not a copy


def test_without_properties_none_of_them_holds() -> None:
    levels = _learned("union", Properties())
    image = _images()[0]
    assert (run_levels(levels, image[:, ::-1]) != run_levels(levels, image)[:, ::-1]).any()
    assert (run_levels(levels, image) & ~image[..., 0]).any()


def test_turned_patterns_are_those_of_turned_images() -> None:
    examples, window = _examples()[:2], square_window(3)
    copies = []
    for turn in range(4):
        for flip in (1, -1):
            copies += [tuple(np.rot90(side, turn)[::flip] for side in one) for one in examples]
    expected = count_patterns(copies, window)
    found = turned_patterns(count_patterns(examples, window), window)

    def table(patterns):
        return {b.tobytes(): (p, n) for b, p, n in zip(*patterns, strict=True)}

    assert table(found) == table(expected)


def test_tidied_levels_answer_the_same() -> None:
    rng = np.random.default_rng(0)
    literals = rng.random((12, 18)) < 0.1
    literals[3] = literals[4]
    literals[5] = False
    literals[6, [2, 11]] = True  # set and unset: never
    level = Level(square_window(3), literals, rng.integers(-2, 3, 12), np.array([1, 3]))
    fewer = tidied(level)
    assert len(fewer.literals) < 12
    assert fewer.literals.any(1).all()
    image = _images(count=1)[0]
    assert (run_levels([fewer], image) == run_levels([level], image)).all()


def test_closed_votes_add_up_turned_levels() -> None:
    rng = np.random.default_rng(0)
    level = Level(
        square_window(3), rng.random((5, 18)) < 0.15, np.array([2, -1, 3, 1, -2]), np.array([1])
    )
    closed = closed_level(level, union=False)
    assert set(closed.votes.tolist()) != {1}
    image = _images(count=1)[0]
    answer = run_levels([closed], image)
    assert (run_levels([closed], np.rot90(image)) == np.rot90(answer)).all()


def test_properties_that_cannot_be_had_are_refused() -> None:
    gray = [(np.zeros((4, 4, 1), np.uint8), np.eye(4, dtype=bool), np.ones((4, 4), bool))]
    with pytest.raises(ValueError, match=r"^increasing: expected False for gray inputs"):
        check_properties(Properties(increasing=True), gray)
    with pytest.raises(ValueError, match=r"^extensive: expected not together"):
        check_properties(Properties(anti_extensive=True, extensive=True), _examples())
