"""What a network computes, in words: every claim is read back from its text and compared with the network."""

import itertools

import jax
import numpy as np
import pytest
from helpers.explanations import compute, margin_of
from helpers.networks import binarize, built_bimonn, random_images
from helpers.random_programs import classifier, image_operator
from hypothesis import given, settings
from hypothesis import strategies as st

import morphax
from morphax.explain import explain, layer_lines
from morphax.morphology import elements
from morphax.neurons import models
from morphax.program import Op, Program, build, run, simplify

BORDERS = ("ignore", "constant", "replicate")
SIZE = (13, 14)
PIXEL = np.ones((1, 1), bool)
DISK = elements.disk(5)


def windows(source, *neurons, size=SIZE, border="ignore"):
    """A spatial op: neurons are (plane, operation, textbook element, whether complemented)."""
    side = max(n for _, _, selem, _ in neurons for n in selem.shape)
    looked_at = [
        np.pad(
            selem if operation == "erosion" else selem[::-1, ::-1],
            [((side - n) // 2,) * 2 for n in selem.shape],
        )
        for _, operation, selem, _ in neurons
    ]
    arrays = {
        "source": np.array([plane for plane, *_ in neurons], np.int32),
        "selem": np.array(looked_at),
        "erosion": np.array([operation == "erosion" for _, operation, *_ in neurons]),
        "complement": np.array([flip for *_, flip in neurons]),
    }
    return Op("spatial", (source,), (len(neurons), *size), "", arrays, {"border": border})


def join(source, *sets, size=SIZE):
    """A combine op: sets are (operation, planes, whether complemented)."""
    arrays = {
        "offsets": np.cumsum([0, *(len(planes) for _, planes, _ in sets)]).astype(np.int32),
        "indices": np.array([i for _, planes, _ in sets for i in planes], np.int32),
        "erosion": np.array([operation == "intersection" for operation, *_ in sets]),
        "complement": np.array([flip for *_, flip in sets]),
    }
    return Op("combine", (source,), (len(sets), *size), "", arrays)


def program(*ops, channels=1, size=SIZE):
    """A program of these ops, after an input."""
    made = (Op("input", (), (channels, *size)), *ops)
    return Program(made, (*size, channels), (*size, made[-1].shape[0]))


def chain(*steps, border="ignore", size=SIZE):
    """Neurons one after the other: (operation, element), or with a third entry, complemented."""
    ops = [windows(i, (0, step[0], step[1], len(step) > 2), border=border, size=size)
           for i, step in enumerate(steps)]  # fmt: skip
    return program(*ops, size=size)


def branches(first, second, operation, *, border="ignore", flip=False):
    """Two layers of two neurons each, in two branches, and a set of the two."""
    one = windows(0, *((0, *neuron) for neuron in first), border=border)
    two = windows(1, *((i, *neuron) for i, neuron in enumerate(second)), border=border)
    return program(one, two, join(2, (operation, (0, 1), flip)))


def agrees(made, found, rng, *, names=None):
    """Whether the text of an explanation gives what the program computes, margins respected."""
    text, (height, width) = str(found), made.input_shape[:2]
    images = random_images(rng, (8, *made.input_shape))
    expected = run(made, images)
    same = (compute(text, images, names=names) == expected).all()
    assert found.margin == margin_of(text)
    inner = slice(found.margin, height - found.margin), slice(found.margin, width - found.margin)
    inside = compute(text, images, names=names, everywhere=False) == expected
    return bool(same and inside[:, inner[0], inner[1]].all())


def checked(made, *, names=None, seed=0):
    """The explanation of a program, once its text has been read back."""
    found = explain(made, names=names)
    assert agrees(made, found, np.random.default_rng(seed), names=names)
    return found


def first_line(made, **options):
    return str(checked(made, **options)).splitlines()[0]


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
    """The explanation is one operator of the library on x, and that is what the network computes."""
    (said,) = found.everywhere
    assert (said.kind, said.border, said.args[0].kind) == (kind, border, "input")
    np.testing.assert_array_equal(said.element, trimmed(selem))
    images = random_images(np.random.default_rng(1), (8, *made.input_shape))
    operator = getattr(morphax, kind.replace(" ", "_").replace("-", "_"))
    # An array of jax is data: one program for all sets of a shape.
    result = operator(images[..., 0], jax.numpy.asarray(selem), border=border)
    np.testing.assert_array_equal(run(made, images)[..., 0], result)


@settings(max_examples=40, deadline=None)
@given(sets(), st.sampled_from(BORDERS), st.booleans())
def test_openings_and_closings(selem, border, opens):
    steps = ("erosion", "dilation") if opens else ("dilation", "erosion")
    made = chain(*((step, selem) for step in steps), border=border)
    found = checked(made)
    same_operator(made, found, "opening" if opens else "closing", selem, border)
    # Said of the complement, it is still that operator, complemented.
    flipped = chain((steps[0], selem), (steps[1], selem, "not"), border=border)
    (said,) = checked(flipped).everywhere
    assert (said.kind, said.args[0].kind) == ("not", "opening" if opens else "closing")


@settings(max_examples=40, deadline=None)
@given(sets(), sets(), st.sampled_from(BORDERS), st.booleans())
def test_other_elements_are_no_opening(one, other, border, opens):
    if np.array_equal(trimmed(one), trimmed(other)):
        return
    steps = ("erosion", "dilation") if opens else ("dilation", "erosion")
    found = checked(chain((steps[0], one), (steps[1], other), border=border))
    assert found.everywhere[0].kind not in ("opening", "closing")
    if found.margin == 0:
        assert "opening" not in str(found)
        assert "closing" not in str(found)


def test_a_window_is_not_a_textbook_set():
    """The erosion and the dilation of one window are by reflected sets: no opening, unless symmetric."""
    corner = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    found = checked(chain(("erosion", corner), ("dilation", corner[::-1, ::-1])))
    assert "opening" not in str(found)
    assert first_line(chain(("erosion", corner), ("dilation", corner))) == "y = opening by S1"


TOP_HATS = [
    # x and not its opening; the same by De Morgan, twice
    ("white top-hat", ("erosion", "dilation"), (False, False), (True, False), "intersection", False),
    ("white top-hat", ("erosion", "dilation"), (False, False), (False, True), "union", True),
    ("white top-hat", ("erosion", "dilation"), (True, True), (False, False), "union", True),
    ("black top-hat", ("dilation", "erosion"), (False, False), (False, True), "intersection", False),
    ("black top-hat", ("dilation", "erosion"), (False, False), (True, False), "union", True),
]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(sets(), st.sampled_from(BORDERS), st.sampled_from(TOP_HATS))
def test_top_hats(selem, border, case):
    kind, steps, flips, then, operation, flip = case
    if flips == (True, True):  # a complement in between: the dual operation, by the reflected set
        if border == "constant":
            return
        dual = {"erosion": "dilation", "dilation": "erosion"}[steps[1]]
        second = (dual, selem[::-1, ::-1], not then[0])
        third = ("dilation", PIXEL, False)
    else:
        second, third = (steps[1], selem, then[0]), ("dilation", PIXEL, then[1])
    first = [(steps[0], selem, flips[0]), ("erosion", PIXEL, flips[1])]
    made = branches(first, [second, third], operation, border=border, flip=flip)
    same_operator(made, checked(made), kind, selem, border)


@settings(max_examples=20, deadline=None)
@given(sets(), sets(), st.sampled_from(BORDERS))
def test_no_top_hat_of_another_opening(one, other, border):
    """x and not (dilation by T of the erosion by S), S and T different."""
    if np.array_equal(trimmed(one), trimmed(other)):
        return
    first = [("erosion", one, False), ("erosion", PIXEL, False)]
    second = [("dilation", other, True), ("dilation", PIXEL, False)]
    found = checked(branches(first, second, "intersection", border=border))
    assert "top-hat" not in [said.kind for said in found.everywhere]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=15, max_size=15), st.sampled_from(BORDERS),
       st.booleans())  # fmt: skip
def test_hit_or_miss(values, border, flip):
    window = np.array(values, np.int8).reshape(3, 5)
    window[0, :2], window[2, 4] = (1, 1), -1
    hits, misses = window > 0, window < 0
    # "not the dilation" is the erosion of the complement, by the reflected set.
    parts = [(0, "erosion", hits, flip), (0, "dilation", misses[::-1, ::-1], not flip)]
    operation = "union" if flip else "intersection"
    made = program(windows(0, *parts, border=border), join(1, (operation, (0, 1), flip)))
    found = checked(made)
    same_operator(made, found, "hit-or-miss", window, border)
    assert str(found).startswith("y = hit-or-miss by H1\n")


def test_no_hit_or_miss_where_sets_meet():
    both = np.array([[1, 1, 1]], bool)
    parts = [(0, "erosion", both, False), (0, "dilation", both, True)]
    found = checked(program(windows(0, *parts), join(1, ("intersection", (0, 1), False))))
    assert "hit-or-miss" not in str(found)
    # An edge is said as one: pixels that are on beside ones that are off.
    left = np.array([[1, 0, 0]], bool)
    parts = [(0, "erosion", PIXEL, False), (0, "dilation", left, True)]
    found = first_line(program(windows(0, *parts), join(1, ("intersection", (0, 1), False))))
    assert found == "y = x ∩ not (x shifted by (0, -1))"


def test_a_union_of_openings():
    sticks = [elements.stick(5, angle) for angle in (0, 45, 90, 135)]
    one = windows(0, *((0, "erosion", stick, False) for stick in sticks))
    two = windows(1, *((i, "dilation", stick, False) for i, stick in enumerate(sticks)))
    made = program(one, two, join(2, ("union", range(4), False)))
    assert first_line(made) == (
        "y = opening by hstick(5) ∪ opening by stick(5, 45) ∪ opening by vstick(5) ∪ "
        "opening by stick(5, 135)"
    )
    made = program(one, two, join(2, ("union", range(4), True)))
    assert first_line(made).startswith("y = not (opening by hstick(5) ∪ ")


SAID = [
    ([("dilation", PIXEL)], "y = x"),
    ([("erosion", PIXEL, "not")], "y = not x"),
    ([("erosion", PIXEL, "not"), ("dilation", PIXEL, "not")], "y = x"),
    ([("dilation", DISK)], "y = dilation by disk(5)"),
    ([("erosion", DISK), ("dilation", DISK), ("erosion", DISK)], "y = erosion by disk(5)"),
    ([("dilation", DISK), ("erosion", DISK), ("dilation", DISK)], "y = dilation by disk(5)"),
    ([("erosion", DISK), ("dilation", DISK)] * 2, "y = opening by disk(5)"),
    ([("dilation", DISK), ("erosion", DISK)] * 2, "y = closing by disk(5)"),
    ([("dilation", DISK)] * 2, "y = dilation by diamond(9)"),
    ([("erosion", elements.stick(5, 0)), ("erosion", elements.stick(3, 90))],
     "y = erosion by rectangle 3 x 5"),
    ([("erosion", elements.square(3)), ("erosion", elements.disk(5)), ("dilation", elements.disk(5)),
      ("dilation", elements.square(3))], "y = opening by (disk(5) ⊕ square(3))"),
    ([("dilation", elements.disk(5), "not"), ("dilation", elements.disk(3))],
     "y = not erosion by disk(3) of dilation by disk(5)"),
    ([("erosion", DISK, "not"), ("erosion", DISK, "not")], "y = opening by disk(5)"),
    ([("dilation", np.array([[1, 0, 0]], bool))], "y = x shifted by (0, -1)"),
    ([("erosion", np.array([[1, 0, 0]], bool))], "y = x shifted by (0, 1), 1s entering"),
    ([("dilation", np.array([[1, 0, 0]], bool))] * 3, "y = x shifted by (0, -3)"),
    ([("erosion", np.zeros((3, 3), bool))], "y = everything"),
    ([("dilation", np.zeros((3, 3), bool)), ("erosion", DISK)], "y = nothing"),
]  # fmt: skip


@pytest.mark.parametrize("steps, text", SAID, ids=[text for _, text in SAID])
def test_chains(steps, text):
    assert first_line(chain(*steps)) == text


@pytest.mark.parametrize("operation", ["union", "intersection"])
def test_parts_that_say_nothing_are_left_out(operation):
    """x with its opening and its closing: openings only remove, closings only add."""
    first = [("erosion", DISK, False), ("dilation", DISK, False)]
    one = windows(0, *((0, *n) for n in [*first, ("erosion", PIXEL, False)]))
    two = windows(1, (0, "dilation", DISK, False), (1, "erosion", DISK, False),
                  (2, "erosion", PIXEL, False))  # fmt: skip
    made = program(one, two, join(2, (operation, (0, 1, 2), False)))
    assert first_line(made) == f"y = {'closing' if operation == 'union' else 'opening'} by disk(5)"


def test_sets_of_one_erosion_are_joined():
    made = program(
        windows(0, (0, "erosion", elements.stick(5, 0), False), (0, "erosion", elements.stick(5, 90), False)),
        join(1, ("intersection", (0, 1), False), ("union", (0, 1), False)),
    )  # fmt: skip
    lines = str(checked(made)).splitlines()
    assert lines[0] == "y1 = erosion by scross(5)"
    assert lines[1] == "y2 = erosion by hstick(5) ∪ erosion by vstick(5)"


SMALL = [np.array([bits], bool) for bits in itertools.product((0, 1), repeat=3)]


@pytest.mark.parametrize("border", BORDERS)
def test_two_steps_by_every_small_set(border):
    """Every pair of sets of three pixels in a row, every pair of operations, on every row of six."""
    images = (np.arange(64)[:, None] >> np.arange(6) & 1).astype(bool).reshape(64, 1, 6, 1)
    merged = 0
    for one, other in itertools.product(SMALL, SMALL):
        for steps in itertools.product(("dilation", "erosion"), repeat=2):
            made = chain((steps[0], one), (steps[1], other), border=border, size=(1, 6))
            found = explain(made)
            text = str(found)
            expected = run(made, images)
            np.testing.assert_array_equal(compute(text, images), expected, text)
            merged += " of " not in text.splitlines()[0]
    assert merged > 100  # and rules did apply


@pytest.mark.parametrize("seed", range(60))
def test_networks_by_chance(seed):
    """Every op that keeps the size of the image, and borders mixed, read back from the text."""
    rng = np.random.default_rng(seed)
    size = (24, 22) if seed % 2 else (int(rng.integers(2, 9)), int(rng.integers(2, 9)))
    borders = [("ignore",), ("constant",), ("replicate",), BORDERS][seed % 4]
    made = image_operator(
        rng, size, planes=1 + seed % 2, depth=int(rng.integers(1, 7)), borders=borders
    )
    for variant in (made, simplify(made)):
        found = explain(variant, limit=2000)
        assert found.everywhere
        assert agrees(made, found, rng)


def shifted(selem, down, right):
    return np.roll(np.pad(selem, 3), (down, right), (0, 1))


def test_shifts_that_cancel_away_from_the_frame():
    """The usual learned opening: both sets off by some pixels."""
    made = chain(("erosion", shifted(DISK, 1, -2)), ("dilation", shifted(DISK, 1, -1)))
    found = checked(made)
    lines = str(found).splitlines()
    assert lines[0] == "y = (opening by disk(5)) shifted by (0, 1)"
    assert lines[1] == f"at every pixel {found.margin} or more from the frame; everywhere:"
    assert lines[2].startswith(
        "y = dilation by (disk(5) shifted by (1, -1)) of erosion by (disk(5) "
    )
    assert found.margin == 7  # 2 + 2 pixels to the side, and 2 + 1
    # One pixel nearer, the first line is wrong for some image: the margin says something.
    images = random_images(np.random.default_rng(0), (400, *made.input_shape))
    wrong = compute(str(found), images, everywhere=False) != run(made, images)
    assert wrong.any()
    assert not wrong[:, 7:-7, 7:-7].any()
    # The same set twice is an opening up to the frame, wherever the set lies in its window.
    made = chain(("erosion", shifted(DISK, 1, -2)), ("dilation", shifted(DISK, 1, -2)))
    assert first_line(made) == "y = opening by (disk(5) shifted by (1, -2))"


def test_shifts_in_branches_cancel():
    """A top-hat that moves the image on all its ways."""
    there, back = shifted(PIXEL, 0, 2), shifted(PIXEL, 0, -2)
    first = [("erosion", shifted(DISK, 0, 1), False), ("dilation", there, False)]
    second = [("dilation", shifted(DISK, 0, 1), True), ("dilation", back, False)]
    found = checked(branches(first, second, "intersection"))
    assert str(found).startswith("y = white top-hat by disk(5)\nat every pixel ")


def test_elements_that_are_nearly_known():
    """What is learned from real images: a disk but for some pixels."""
    torn = elements.disk(7).copy()
    torn[1, 1] = torn[4, 2] = False
    found = str(checked(chain(("erosion", torn), ("dilation", torn))))
    assert found.startswith("y = opening by S1\n")
    assert found.endswith("\n\nS1 is disk(7) but for 2 pixels")
    torn[3] = torn[:, 3] = False  # too far from it
    assert " but for " not in str(checked(chain(("erosion", torn))))


def test_what_is_used_twice_has_a_letter():
    """The opening is an input of two layers."""
    made = program(
        windows(0, (0, "erosion", DISK, False), (0, "dilation", PIXEL, False)),
        windows(1, (0, "dilation", DISK, False), (1, "dilation", PIXEL, False)),
        windows(2, (0, "dilation", elements.square(3), False), (0, "erosion", elements.stick(5, 0), False),
                (1, "erosion", PIXEL, False)),
        join(3, ("intersection", (0, 2), False), ("union", (1, 2), True)),
    )  # fmt: skip
    lines = str(checked(made)).splitlines()
    assert lines[:3] == [
        "a = opening by disk(5)",
        "y1 = dilation by square(3) of a ∩ x",
        "y2 = not (erosion by hstick(5) of a ∪ x)",
    ] or lines[:3] == [
        "a = opening by disk(5)",
        "y1 = x ∩ dilation by square(3) of a",
        "y2 = not (x ∪ erosion by hstick(5) of a)",
    ]


def test_names():
    made = program(
        windows(0, (0, "erosion", DISK, False), (1, "dilation", DISK, False)),
        join(1, ("union", (0, 1), False)),
        channels=2,
    )
    assert first_line(made) == "y = erosion by disk(5) of x1 ∪ dilation by disk(5) of x2"
    given_names = ["nuclei", "x ≥ 37"]
    assert first_line(made, names=given_names) == (
        "y = erosion by disk(5) of nuclei ∪ dilation by disk(5) of [x ≥ 37]"
    )
    single = chain(("erosion", DISK))
    assert first_line(single, names=["cells"]) == "y = erosion by disk(5) of cells"
    assert str(explain(single, names=["y"])).startswith("out = erosion by disk(5) of y\n")
    for bad in (["a"], ["a", "a"], ["a", ""], ["a", "b]"], ["a", "f(b)"]):
        with pytest.raises(ValueError, match=r"^names: expected 2 distinct names"):
            explain(made, names=bad)


def test_channels_that_are_alike_are_said_once():
    """A flat operator on level sets: each channel by itself."""
    neurons = [(c, "erosion", DISK, False) for c in range(6)]
    again = [(c, "dilation", DISK, False) for c in range(6)]
    made = program(windows(0, *neurons), windows(1, *again), channels=6)
    assert first_line(made) == "y[c] = opening by disk(5) of x[c] for each channel c"
    crossed = program(windows(0, *neurons[::-1]), windows(1, *again), channels=6)
    assert first_line(crossed) == "y1 = opening by disk(5) of x6"


def test_pools_and_pixels():
    pool = Op("union_pool", (1,), (1, 6, 7), options={"window": (2, 2), "strides": (2, 2)})
    ops = [windows(0, (0, "erosion", DISK, False)), pool]
    made = Program((Op("input", (), (1, *SIZE)), *ops), (*SIZE, 1), (6, 7, 1))
    rng = np.random.default_rng(0)
    images = random_images(rng, (8, *SIZE, 1))
    text = str(explain(made))
    assert text.startswith("y = union over 2 x 2 blocks of erosion by disk(5)\n")
    np.testing.assert_array_equal(compute(text, images), run(made, images))
    # Some pixels of it as a vector, and a union and a complemented intersection of them.
    index = np.array([3, 20, 41], np.int32).reshape(3, 1, 1)
    vector = Op("rearrange", (2,), (3, 1, 1), arrays={"index": index})
    last = join(3, ("union", (0, 1), False), ("intersection", (1, 2), True), size=(1, 1))
    made = Program((*made.ops, vector, last), (*SIZE, 1), (2,))
    text = str(explain(made))
    assert "[0, 3] ∪ " in text
    np.testing.assert_array_equal(compute(text, images)[:, 0, 0], run(made, images))


def test_constant_pictures():
    frame = np.zeros((1, *SIZE), bool)
    frame[:, 2:5, 3:9] = True
    constant = Op("constant", (), frame.shape, arrays={"bits": frame})
    both = Op("select", (0, 1), (2, *SIZE), arrays={"source": np.array([0, 1], np.int32)})
    made = program(constant, both, join(2, ("intersection", (0, 1), False)))
    assert first_line(made) == "y = x ∩ P1"


def test_networks_that_are_too_large_are_described(rng):
    made = classifier(rng, (7, 8))
    found = explain(made)
    assert (found.outputs, found.everywhere, found.margin) == ((), (), 0)
    lines = str(found).splitlines()
    assert lines[0] == "too large for an expression; its layers:"
    assert list(found.layers) == lines[1:] == layer_lines(made)
    assert lines[1] == "input: 2 planes of 7 x 8"
    assert lines[-1] == "counts: 3, each of 5 planes"
    union = int((~made.ops[5].arrays["erosion"]).sum())
    assert f"{union} unions of " in lines[-3]
    assert "union over 1 x 2 windows every 2 x 1: 3 planes of 4 x 7" in lines
    # So is one whose expression is longer than asked for.
    long = image_operator(np.random.default_rng(5), (9, 9), depth=6)
    assert explain(long, limit=2000).outputs
    assert not explain(long, limit=3).outputs


@pytest.mark.parametrize("border", BORDERS)
def test_models(rng, border):
    """From params to words: what `build` makes of a BiMoNN."""
    params = binarize(built_bimonn(rng, [2, 2, 1], border=border))
    made = build(models.bimonn, params, (1, 24, 22, 2))
    checked(made)


def test_summary_says_what_the_network_computes():
    def bank(operation, complement):
        window = DISK if operation == "erosion" else DISK[::-1, ::-1]
        erosion = np.full((1, 1), operation == "erosion")
        node = morphax.BinaryBiSE(
            window[:, :, None, None], erosion, np.full((1, 1), complement), morphax.Spec()
        )
        return {"bise": node}

    params = [bank("erosion", False), bank("dilation", True)]
    # Plainly a BiMoNN: the wiring is known.
    found = morphax.summary(params)
    assert "taken for a BiMoNN, on 64 x 64 x 1:\ny = not opening by disk(5)\n" in str(found)
    found = morphax.summary(params, input_shape=(1, 20, 30, 1), names=["cells"])
    assert "on 20 x 30 x 1:\ny = not opening by disk(5) of cells\n" in str(found)
    network = found.network
    assert network is not None
    assert network.plain[:4] == (12 * 600, 12 * 600, 600, 25 * 600)
    assert network.plain.per_pixel == 25
    assert network.scratch == (1200, 1200)  # a plane that is read, a plane that is made
    assert "as built            12     12       1      25     15,000" in str(found)

    def other(params, x):  # the same banks, said as they are wired
        return morphax.complement(models.bimonn(params, morphax.complement(x)))

    found = morphax.summary(params, apply=other, input_shape=(1, 20, 30, 1))
    assert "binary network, on 20 x 30 x 1:\ny = not closing by disk(5)\n" in str(found)
    # A complement that the program can do without is not paid for.
    twice = morphax.summary(
        params,
        apply=lambda p, x: morphax.complement(morphax.complement(models.bimonn(p, x))),
        input_shape=(1, 20, 30, 1),
    ).network
    assert twice is not None
    assert (twice.plain.nots, twice.simplified.nots) == (3 * 600, 600)
    with pytest.raises(ValueError, match=r"^input_shape: expected a shape beside apply"):
        morphax.summary(params, apply=other)
    with pytest.raises(ValueError, match=r"^names: expected None"):
        morphax.summary({"bank": params[0]}, names=["x"])


def test_summary_does_not_guess():
    """Trees that only look like a BiMoNN have a table and nothing else."""
    one = np.ones((1, 1), bool)

    def spatial(n_in, n_out):
        full = np.ones((n_in, n_out), bool)
        return morphax.BinaryBiSE(np.ones((3, 3, n_in, n_out), bool), full, full, morphax.Spec())

    lui = morphax.BinaryBiSE(np.ones((2, 1), bool), one[0], one[0], morphax.Spec("lui"))
    good = [{"bise": spatial(1, 2)}, {"bise": spatial(2, 1), "lui": lui}]
    assert morphax.summary(good).network is not None
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), [{"bise": spatial(1, 1)}])
    for params in (
        {"bise": spatial(1, 1)},
        [{"bise": spatial(1, 2)}, {"bise": spatial(1, 1)}],
        [{"bise": spatial(2, 1)}],
        [{"bise": spatial(1, 2), "lui": lui}],
        [{"bise": spatial(1, 1), "extra": lui}],
        stacked,
        [],
    ):
        assert morphax.summary(params).network is None
