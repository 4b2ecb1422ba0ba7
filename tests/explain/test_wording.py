"""Sentences about networks: names, letters, parts that say nothing, what is too large to say."""

import itertools

import jax
import numpy as np
import pytest
from helpers.explanations import compute
from helpers.networks import built_bimonn, random_images
from helpers.operator_chains import (
    BORDERS,
    DISK,
    PIXEL,
    SIZE,
    agrees,
    branches,
    chain,
    checked,
    first_line,
    join,
    program,
    windows,
)
from helpers.random_programs import classifier, image_operator

import morphax
from morphax import binarize
from morphax.explain import explain, layer_lines
from morphax.morphology import elements
from morphax.neurons import models
from morphax.program import Op, Program, build, run, simplify

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
    (
        [("erosion", elements.stick(5, 0)), ("erosion", elements.stick(3, 90))],
        "y = erosion by rectangle 3 x 5",
    ),
    (
        [
            ("erosion", elements.square(3)),
            ("erosion", elements.disk(5)),
            ("dilation", elements.disk(5)),
            ("dilation", elements.square(3)),
        ],
        "y = opening by (disk(5) ⊕ square(3))",
    ),
    (
        [("dilation", elements.disk(5), "not"), ("dilation", elements.disk(3))],
        "y = not erosion by disk(3) of dilation by disk(5)",
    ),
    ([("erosion", DISK, "not"), ("erosion", DISK, "not")], "y = opening by disk(5)"),
    ([("dilation", np.array([[1, 0, 0]], bool))], "y = x shifted by (0, -1)"),
    ([("erosion", np.array([[1, 0, 0]], bool))], "y = x shifted by (0, 1), 1s entering"),
    ([("dilation", np.array([[1, 0, 0]], bool))] * 3, "y = x shifted by (0, -3)"),
    ([("erosion", np.zeros((3, 3), bool))], "y = everything"),
    ([("dilation", np.zeros((3, 3), bool)), ("erosion", DISK)], "y = nothing"),
]


@pytest.mark.parametrize("steps, text", SAID, ids=[text for _, text in SAID])
def test_chains(steps, text):
    assert first_line(chain(*steps)) == text


@pytest.mark.parametrize("operation", ["union", "intersection"])
def test_parts_that_say_nothing_are_left_out(operation):
    """x with its opening and its closing: openings only remove, closings only add."""
    first = [("erosion", DISK, False), ("dilation", DISK, False)]
    one = windows(0, *((0, *n) for n in [*first, ("erosion", PIXEL, False)]))
    two = windows(
        1, (0, "dilation", DISK, False), (1, "erosion", DISK, False), (2, "erosion", PIXEL, False)
    )
    made = program(one, two, join(2, (operation, (0, 1, 2), False)))
    assert first_line(made) == f"y = {'closing' if operation == 'union' else 'opening'} by disk(5)"


def test_sets_of_one_erosion_are_joined():
    made = program(
        windows(
            0,
            (0, "erosion", elements.stick(5, 0), False),
            (0, "erosion", elements.stick(5, 90), False),
        ),
        join(1, ("intersection", (0, 1), False), ("union", (0, 1), False)),
    )
    lines = str(checked(made)).splitlines()
    assert lines[0] == "y1 = erosion by scross(5)"
    assert lines[1] == "y2 = erosion by hstick(5) ∪ erosion by vstick(5)"


SMALL = [np.array([bits], bool) for bits in itertools.product((0, 1), repeat=3)]


@pytest.mark.parametrize("border", BORDERS)
def test_two_steps_by_every_small_set(border):
    """Every pair of sets of three pixels in a row, every pair of operations, on every row of
    six."""
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
        windows(
            2,
            (0, "dilation", elements.square(3), False),
            (0, "erosion", elements.stick(5, 0), False),
            (1, "erosion", PIXEL, False),
        ),
        join(3, ("intersection", (0, 2), False), ("union", (1, 2), True)),
    )
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
