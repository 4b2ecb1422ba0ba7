"""What a network computes, in words: every claim is read back from its text and compared with the
network."""

import jax
import numpy as np
from helpers import operator_chains as ops
from helpers.networks import random_images
from hypothesis import given, settings
from hypothesis import strategies as st

import morphax
from morphax.morphology import elements
from morphax.program import run


@st.composite
def sets(draw, most=5):
    """Elements of two pixels or more, in windows of several sizes; now and then a known one."""
    sides = [2 * draw(st.integers(0, most // 2)) + 1 for _ in range(2)]
    if sides == [1, 1]:
        sides = [3, 3]
    bits = draw(st.lists(st.booleans(), min_size=sides[0] * sides[1], max_size=sides[0] * sides[1]))
    selem = np.array(bits).reshape(sides)
    if selem.sum() < 2:
        return elements.named(draw(st.sampled_from(elements.NAMES)), 3)
    return selem


def trimmed(selem):
    """Without the margins that are empty on both sides."""
    while min(selem.shape) > 0:
        if selem.shape[0] > 1 and not selem[[0, -1]].any():
            selem = selem[1:-1]
        elif selem.shape[1] > 1 and not selem[:, [0, -1]].any():
            selem = selem[:, 1:-1]
        else:
            return selem
    return selem


def same_operator(made, found, kind, selem, border):
    """The explanation is one operator of the library on x, and that is what the network
    computes."""
    (said,) = found.everywhere
    assert (said.kind, said.border, said.args[0].kind) == (kind, border, "input")
    np.testing.assert_array_equal(said.element, trimmed(selem))
    images = random_images(np.random.default_rng(1), (8, *made.input_shape))
    operator = getattr(morphax, kind.replace(" ", "_").replace("-", "_"))
    # An array of jax is data: one program for all sets of a shape.
    result = operator(images[..., 0], jax.numpy.asarray(selem), border=border)
    np.testing.assert_array_equal(run(made, images)[..., 0], result)


@settings(max_examples=40, deadline=None)
@given(sets(), st.sampled_from(ops.BORDERS), st.booleans())
def test_openings_and_closings(selem, border, opens):
    steps = ("erosion", "dilation") if opens else ("dilation", "erosion")
    made = ops.chain(*((step, selem) for step in steps), border=border)
    found = ops.checked(made)
    same_operator(made, found, "opening" if opens else "closing", selem, border)
    # Said of the complement, it is still that operator, complemented.
    flipped = ops.chain((steps[0], selem), (steps[1], selem, "not"), border=border)
    (said,) = ops.checked(flipped).everywhere
    assert (said.kind, said.args[0].kind) == ("not", "opening" if opens else "closing")


@settings(max_examples=40, deadline=None)
@given(sets(), sets(), st.sampled_from(ops.BORDERS), st.booleans())
def test_other_elements_are_no_opening(one, other, border, opens):
    if np.array_equal(trimmed(one), trimmed(other)):
        return
    steps = ("erosion", "dilation") if opens else ("dilation", "erosion")
    found = ops.checked(ops.chain((steps[0], one), (steps[1], other), border=border))
    assert found.everywhere[0].kind not in ("opening", "closing")
    if found.margin == 0:
        assert "opening" not in str(found)
        assert "closing" not in str(found)


def test_a_window_is_not_a_textbook_set():
    """The erosion and the dilation of one window are by reflected sets: no opening, unless
    symmetric."""
    corner = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    found = ops.checked(ops.chain(("erosion", corner), ("dilation", corner[::-1, ::-1])))
    assert "opening" not in str(found)
    assert (
        ops.first_line(ops.chain(("erosion", corner), ("dilation", corner))) == "y = opening by S1"
    )


TOP_HATS = [
    # x and not its opening; the same by De Morgan, twice
    (
        "white top-hat",
        ("erosion", "dilation"),
        (False, False),
        (True, False),
        "intersection",
        False,
    ),
    ("white top-hat", ("erosion", "dilation"), (False, False), (False, True), "union", True),
    ("white top-hat", ("erosion", "dilation"), (True, True), (False, False), "union", True),
    (
        "black top-hat",
        ("dilation", "erosion"),
        (False, False),
        (False, True),
        "intersection",
        False,
    ),
    ("black top-hat", ("dilation", "erosion"), (False, False), (True, False), "union", True),
]


@settings(max_examples=25, deadline=None)
@given(sets(), st.sampled_from(ops.BORDERS), st.sampled_from(TOP_HATS))
def test_top_hats(selem, border, case):
    kind, steps, flips, then, operation, flip = case
    if flips == (True, True):  # a complement in between: the dual operation, by the reflected set
        if border == "constant":
            return
        dual = {"erosion": "dilation", "dilation": "erosion"}[steps[1]]
        second = (dual, selem[::-1, ::-1], not then[0])
        third = ("dilation", ops.PIXEL, False)
    else:
        second, third = (steps[1], selem, then[0]), ("dilation", ops.PIXEL, then[1])
    first = [(steps[0], selem, flips[0]), ("erosion", ops.PIXEL, flips[1])]
    made = ops.branches(first, [second, third], operation, border=border, flip=flip)
    same_operator(made, ops.checked(made), kind, selem, border)


@settings(max_examples=20, deadline=None)
@given(sets(), sets(), st.sampled_from(ops.BORDERS))
def test_no_top_hat_of_another_opening(one, other, border):
    """x and not (dilation by T of the erosion by S), S and T different."""
    if np.array_equal(trimmed(one), trimmed(other)):
        return
    first = [("erosion", one, False), ("erosion", ops.PIXEL, False)]
    second = [("dilation", other, True), ("dilation", ops.PIXEL, False)]
    found = ops.checked(ops.branches(first, second, "intersection", border=border))
    assert "top-hat" not in [said.kind for said in found.everywhere]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([-1, 0, 1]), min_size=15, max_size=15),
    st.sampled_from(ops.BORDERS),
    st.booleans(),
)
def test_hit_or_miss(values, border, flip):
    window = np.array(values, np.int8).reshape(3, 5)
    window[0, :2], window[2, 4] = (1, 1), -1
    hits, misses = window > 0, window < 0
    # "not the dilation" is the erosion of the complement, by the reflected set.
    parts = [(0, "erosion", hits, flip), (0, "dilation", misses[::-1, ::-1], not flip)]
    operation = "union" if flip else "intersection"
    made = ops.program(
        ops.windows(0, *parts, border=border), ops.join(1, (operation, (0, 1), flip))
    )
    found = ops.checked(made)
    same_operator(made, found, "hit-or-miss", window, border)
    assert str(found).startswith("y = hit-or-miss by H1\n")


def test_no_hit_or_miss_where_sets_meet():
    both = np.array([[1, 1, 1]], bool)
    parts = [(0, "erosion", both, False), (0, "dilation", both, True)]
    found = ops.checked(
        ops.program(ops.windows(0, *parts), ops.join(1, ("intersection", (0, 1), False)))
    )
    assert "hit-or-miss" not in str(found)
    # An edge is said as one: pixels that are on beside ones that are off.
    left = np.array([[1, 0, 0]], bool)
    parts = [(0, "erosion", ops.PIXEL, False), (0, "dilation", left, True)]
    found = ops.first_line(
        ops.program(ops.windows(0, *parts), ops.join(1, ("intersection", (0, 1), False)))
    )
    assert found == "y = x ∩ not (x shifted by (0, -1))"


def test_a_union_of_openings():
    sticks = [elements.stick(5, angle) for angle in (0, 45, 90, 135)]
    one = ops.windows(0, *((0, "erosion", stick, False) for stick in sticks))
    two = ops.windows(1, *((i, "dilation", stick, False) for i, stick in enumerate(sticks)))
    made = ops.program(one, two, ops.join(2, ("union", range(4), False)))
    assert ops.first_line(made) == (
        "y = opening by hstick(5) ∪ opening by stick(5, 45) ∪ opening by vstick(5) ∪ "
        "opening by stick(5, 135)"
    )
    made = ops.program(one, two, ops.join(2, ("union", range(4), True)))
    assert ops.first_line(made).startswith("y = not (opening by hstick(5) ∪ ")
