"""Programs: the bits of the model they were built from, before and after simplification."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import program_models, random_programs
from helpers.networks import built_bimonn
from hypothesis import given, settings
from hypothesis import strategies as st

import morphax
from morphax import apply, complement, concatenate, flatten, group_sum
from morphax.neurons.models import bimonn
from morphax.neurons.nodes import BinaryBiSE, Spec
from morphax.program import (
    Op,
    Program,
    build,
    count,
    from_planes,
    run,
    run_op,
    simplify,
    to_planes,
)

CASES = program_models.cases()


def kinds(program):
    return [op.kind for op in program.ops]


@pytest.mark.first(5)
@pytest.mark.parametrize("name", CASES)
def test_program_equals_model(name, rng):
    case = CASES[name]
    program = build(case.model, case.params, (1, *case.shape))
    x = program_models.inputs(rng, case, 40)
    if len(case.shape) == 1:  # every input
        x = (np.arange(1 << case.shape[0])[:, None] >> np.arange(case.shape[0]) & 1).astype(bool)
    expected = np.asarray(case.model(case.params, jnp.asarray(x)))
    for made in (program, simplify(program)):
        result = run(made, x)
        assert result.dtype == expected.dtype
        assert np.array_equal(result, expected)
    assert program.output_shape == expected.shape[1:]
    assert program.input_shape == case.shape
    assert expected.dtype == np.int32 or 0.02 < expected.mean() < 0.98
    assert (expected != expected[:1]).any(0).mean() > 0.3  # outputs that say something


@pytest.mark.parametrize("name", CASES)
def test_programs_are_plain_data(name):
    case = CASES[name]
    program = build(case.model, case.params, (1, *case.shape))
    for made in (program, simplify(program)):
        assert kinds(made)[0] == "input"
        assert kinds(made).count("input") == 1
        for number, op in enumerate(made.ops):
            assert all(0 <= i < number for i in op.inputs)
            assert all(type(a) is np.ndarray for a in op.arrays.values())
            assert all(isinstance(v, (str, int, tuple)) for v in op.options.values())


def test_layout_of_a_program():
    """The table of the module: kinds, shapes and arrays, on a model small enough to write down."""
    selem = np.zeros((1, 3, 2, 2), bool)
    selem[0, 2, 1, 0] = selem[0, 0, 0, 1] = selem[0, 1, 0, 1] = True
    spatial = BinaryBiSE(
        jnp.asarray(selem),
        jnp.eye(2, dtype=bool),
        ~jnp.eye(2, dtype=bool),
        Spec("spatial", border="replicate"),
    )
    lui = BinaryBiSE(
        jnp.asarray([[1, 1], [0, 1]], bool),
        jnp.asarray([True, False]),
        jnp.asarray([False, True]),
        Spec("lui"),
    )
    layer = {"bise": spatial, "lui": lui}
    program = build(morphax.models.bisel, layer, (5, 4, 6, 2))
    source, windows, join = program.ops
    assert (source.kind, source.shape) == ("input", (2, 4, 6))
    assert (windows.kind, windows.inputs, windows.path) == ("spatial", (0,), "bise")
    assert windows.arrays["source"].tolist() == [0, 0, 1, 1]
    assert windows.arrays["selem"].astype(int).tolist() == [
        [[0, 0, 0]],
        [[1, 1, 0]],
        [[0, 0, 1]],
        [[0, 0, 0]],
    ]
    assert windows.arrays["erosion"].tolist() == [True, False, False, True]
    assert windows.arrays["complement"].tolist() == [False, True, True, False]
    assert windows.options == {"border": "replicate"}
    assert (join.kind, join.shape, join.path) == ("combine", (2, 4, 6), "lui")
    assert join.arrays["offsets"].tolist() == [0, 1, 3]
    assert join.arrays["indices"].tolist() == [0, 1, 3]
    assert (program.input_shape, program.output_shape) == ((4, 6, 2), (4, 6, 2))


def test_moves():
    """Channels moved are a selection, pixels moved a rearrangement, moves of nothing no op."""
    node = program_models.bank(np.random.default_rng(0), (2, 3), "dense")

    def wired(move):
        return kinds(build(lambda p, x: apply(p, move(x)), node, (1, 3, 4, 2)))[1:-1]

    assert wired(lambda x: x) == []
    assert wired(lambda x: x.reshape(-1, 3, 4, 2, 1)[..., 0]) == []
    assert wired(lambda x: x[..., ::-1]) == ["select"]
    assert wired(lambda x: concatenate([x[..., 1:], complement(x[..., 1:])])) == [
        "select",
        "select",
        "complement",
        "select",
    ]
    assert wired(lambda x: x[:, ::-1]) == ["rearrange"]
    assert wired(lambda x: concatenate([x, x], axis=1)) == ["rearrange"]
    assert wired(lambda x: flatten(x)[:, :2]) == ["rearrange", "select"]


def test_counts_are_grouped(rng):
    node = program_models.bank(rng, (5, 12), "dense")
    program = build(lambda p, x: group_sum(apply(p, x), classes=3), node, (1, 5))
    assert program.ops[-1].options == {"per": 4}
    x = rng.random((30, 5)) < 0.5
    expected = np.asarray(apply(node, jnp.asarray(x))).reshape(30, 3, 4).sum(-1)
    result = run(program, x)
    assert result.dtype == np.int32
    assert np.array_equal(result, expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 10), counts=st.booleans())
def test_simplified_programs_compute_the_same(seed, depth, counts):
    rng = np.random.default_rng(seed)
    if counts:
        program = random_programs.classifier(rng, (6, 5))
    else:
        program = random_programs.image_operator(rng, (4, 5), depth=depth)
    x = rng.random((12, *program.input_shape)) < rng.random((12, 1, 1, 1))
    expected, simple = run(program, x), simplify(program)
    assert np.array_equal(run(simple, x), expected)
    assert simple.input_shape == program.input_shape
    assert simple.output_shape == program.output_shape
    once, twice = (
        [(op.kind, op.inputs, op.shape) for op in p.ops] for p in (simple, simplify(simple))
    )
    assert once == twice
    before, after = count(program), count(simple)
    assert after.ands + after.ors <= before.ands + before.ors
    assert_nothing_is_dead(simple)


def assert_nothing_is_dead(program):
    """Every plane of every op but the input is read by a later one."""
    read = [np.zeros(op.shape[0], bool) for op in program.ops]
    read[0][:] = read[-1][:] = True
    for op in program.ops:
        start = 0
        for i in op.inputs:
            planes = program.ops[i].shape[0]
            name = {"spatial": "source", "combine": "indices", "select": "source"}.get(op.kind)
            picked = op.arrays[name] - start if name else np.arange(planes)
            if op.kind == "rearrange":
                area = program.ops[i].shape[1] * program.ops[i].shape[2]
                picked, planes = (op.arrays["index"].reshape(-1) - start) // area, planes
                start += planes * area - planes
            read[i][picked[(picked >= 0) & (picked < planes)]] = True
            start += planes
    assert all(r.all() for r in read)


def windows(*pixels, erosion=True, flip=False, source=0, border="ignore", side=3):
    """A spatial op on the input with one plane."""
    selem = np.zeros((1, side, side), bool)
    for y, x in pixels:
        selem[0, y + side // 2, x + side // 2] = True
    arrays = {
        "source": np.array([source], np.int32),
        "selem": selem,
        "erosion": np.array([erosion]),
        "complement": np.array([flip]),
    }
    return Op("spatial", (0,), (1, 4, 4), "", arrays, {"border": border})


def of(*ops, planes=1):
    """A program of these ops after the input."""
    return Program(
        (Op("input", (), (planes, 4, 4)), *ops), (4, 4, planes), (4, 4, ops[-1].shape[0])
    )


def test_what_simplification_removes():
    shape = (1, 4, 4)
    assert kinds(simplify(of(windows((0, 0))))) == ["input"]  # the centre alone
    assert kinds(simplify(of(windows((0, 0), flip=True)))) == ["input", "complement"]
    empty = simplify(of(windows(erosion=True, flip=True)))
    assert kinds(empty) == ["input", "constant"]
    assert not empty.ops[1].arrays["bits"].any()
    # Complements before and after go into the window, and there is no third op.
    dual = simplify(
        of(
            Op("complement", (0,), shape),
            replace_input(windows((0, 0), (0, 1)), 1),
            Op("complement", (2,), shape),
        )
    )
    assert kinds(dual) == ["input", "spatial"]
    assert (dual.ops[1].arrays["erosion"].item(), dual.ops[1].arrays["complement"].item()) == (
        False,
        False,
    )
    # Not where the frame is 0 whatever the image.
    kept = of(
        Op("complement", (0,), shape), replace_input(windows((0, 0), (0, 1), border="constant"), 1)
    )
    assert kinds(simplify(kept)) == ["input", "complement", "spatial"]


def replace_input(op, number):
    return Op(op.kind, (number,), op.shape, op.path, op.arrays, op.options)


def test_planes_that_are_the_same_are_one():
    both = [windows((0, 0), (0, 1)), windows((0, 0), (0, 1), side=5)]
    source = {"source": np.arange(2, dtype=np.int32)}
    program = simplify(of(*both, Op("select", (1, 2), (2, 4, 4), arrays=source)))
    assert kinds(program) == ["input", "spatial", "select"]
    assert program.ops[1].shape == (1, 4, 4)
    assert program.ops[1].arrays["selem"].shape == (1, 1, 3)  # without its margins
    assert program.ops[2].arrays["source"].tolist() == [0, 0]


def test_constants_are_computed(rng):
    bits = rng.random((1, 4, 4)) < 0.6
    fixed = Op("constant", (), (1, 4, 4), arrays={"bits": bits})
    program = of(fixed, replace_input(windows((0, 0), (1, 1)), 1))
    simple = simplify(program)
    assert kinds(simple) == ["input", "constant"]
    x = rng.random((3, 4, 4, 1)) < 0.5
    assert np.array_equal(run(simple, x), run(program, x))


def test_cost_by_hand(rng):
    program = random_programs.classifier(rng, (6, 5))
    _, spatial, pool, fixed, shuffle, *dense, heads = program.ops
    area = 6 * 5
    joins = [area * max(int(w.sum()) - 1, 0) for w in spatial.arrays["selem"]]
    ands = sum(n for n, e in zip(joins, spatial.arrays["erosion"], strict=True) if e)
    ors = sum(joins) - ands + pool.shape[0] * pool.shape[1] * pool.shape[2]  # windows of two
    nots = area * int(spatial.arrays["complement"].sum())
    wiring = spatial.arrays["selem"].size + 3 * (1 + 2) + fixed.arrays["bits"].size + 38 * 6
    for op, bits in zip(dense, (6, 5), strict=True):
        sets = np.split(op.arrays["indices"], op.arrays["offsets"][1:-1])
        for chosen, erosion in zip(sets, op.arrays["erosion"], strict=True):
            ands += max(len(chosen) - 1, 0) * bool(erosion)
            ors += max(len(chosen) - 1, 0) * (not erosion)
            wiring += len(chosen) * bits + 2
        nots += int(op.arrays["complement"].sum())
    assert shuffle.arrays["index"].size == 38
    cost = count(program)
    assert cost[:4] == (ands, ors, nots, ands + ors + nots)
    assert cost.additions == heads.shape[0] * 4
    assert cost.per_pixel == cost.total
    assert cost.wiring == wiring


def test_planes_and_signals(rng):
    for shape in ((3, 4, 5), (3, 4, 5, 2), (7,), (2, 3), ()):
        signal = rng.random((2, *shape)) < 0.5
        planes = to_planes(signal)
        assert planes.ndim == 4
        assert np.array_equal(from_planes(planes, shape), signal)
        if len(shape) == 3:
            assert np.array_equal(planes[1, 4], signal[1, :, :, 4])


def test_replicated_frames_do_not_decide(rng):
    """Of a window of one pixel, erosion and dilation are the same where no frame tells them
    apart."""
    x = rng.random((5, 1, 4, 4)) < 0.5
    for border, same in (("replicate", True), ("constant", True), ("ignore", False)):
        ops = [windows((1, 1), erosion=e, border=border) for e in (True, False)]
        assert np.array_equal(run_op(ops[0], x), run_op(ops[1], x)) == same


def test_errors(rng):
    real = built_bimonn(rng, [1, 1])
    with pytest.raises(
        ValueError, match=r"binary_params: expected binary banks \(morphax.binarize"
    ):
        build(bimonn, real, (1, 5, 5, 1))
    node = program_models.bank(rng, (4, 4), "dense")
    for mixed in (
        lambda p, x: apply(p, x)[::-1],
        lambda p, x: apply(p, x).T,
        lambda p, x: apply(p, x)[:1],
        lambda p, x: apply(p, x).reshape(-1),
        lambda p, x: concatenate([apply(p, x), jnp.eye(2, 4, dtype=x.dtype)]),
    ):
        with pytest.raises(ValueError, match=r"apply: expected .*(batch|images)"):
            build(mixed, node, (2, 4))
    program = build(lambda p, x: apply(p, x), node, (1, 4))
    with pytest.raises(ValueError, match=r"x: expected shape \(N, \*\(4,\)\)"):
        run(program, np.zeros((2, 5), bool))
    with pytest.raises(ValueError, match="x: expected bool"):
        run(program, np.zeros((2, 4), int))


def test_symmetric_networks_are_binary_networks(rng):
    """A complement of symmetric values is -x in training and NOT here."""
    node = program_models.bank(rng, (8, 5), "dense")
    model = lambda p, x: apply(p, concatenate([x, complement(x, symmetric=True)]))  # noqa: E731
    x = rng.random((20, 4)) < 0.5
    expected = np.asarray(model(node, jnp.asarray(x)))
    assert np.array_equal(run(build(model, node, (1, 4)), x), expected)


def test_build_does_not_depend_on_the_batch(rng):
    case = CASES["twisted"]
    one, many = (build(case.model, case.params, (n, *case.shape)) for n in (1, 9))
    for a, b in zip(one.ops, many.ops, strict=True):
        assert (a.kind, a.inputs, a.shape, a.options) == (b.kind, b.inputs, b.shape, b.options)
        assert all(np.array_equal(a.arrays[k], b.arrays[k]) for k in a.arrays)


def test_build_inside_jit(rng):
    """Where a caller is being traced, the params still are values."""
    case = CASES["dense"]

    @jax.jit
    def traced(x):
        program = build(case.model, case.params, (1, *case.shape))
        return x + len(program.ops)

    assert int(traced(0)) == len(build(case.model, case.params, (1, *case.shape)).ops)
