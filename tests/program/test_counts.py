"""Programs with votes compared with cuts: meaning, simplification, validation, cost."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_programs

import morphax
from morphax import Spec, apply, at_least, concatenate, flatten
from morphax.neurons.nodes import BinaryBiSE
from morphax.program import Op, Program, build, count, run, simplify
from morphax.program.validate import check_program
from morphax.specialized.compiler import specialize_program


def _vote(votes, cuts, planes=None):
    """A program that is one count of flat features."""
    n = planes or len(votes)
    arrays = {"votes": np.array(votes, np.int32), "cuts": np.array(cuts, np.int32)}
    k = n // len(votes) * len(cuts)
    ops = Op("input", (), (n, 1, 1)), Op("at_least", (0,), (k, 1, 1), arrays=arrays)
    return Program(ops, (n,), (k,))


def test_run_adds_and_compares():
    rng = np.random.default_rng(0)
    x = rng.random((50, 6)) < 0.5
    program = _vote((2, -1, 3), (0, 2, 5), planes=6)
    expected = (x.reshape(50, 2, 3) @ [2, -1, 3])[..., None] >= [0, 2, 5]
    assert np.array_equal(run(program, x), expected.reshape(50, 6))


@pytest.mark.parametrize("seed", range(4))
def test_simplified_programs_compute_the_same(seed):
    rng = np.random.default_rng(seed)
    for _ in range(12):
        program = random_programs.counted_operator(rng, (5, 9))
        check_program(program)
        smaller = simplify(program)
        check_program(smaller)
        x = rng.random((9, *program.input_shape)) < rng.random((9, 1, 1, 1))
        assert np.array_equal(run(smaller, x), run(program, x))
        assert simplify(smaller).ops[-1].shape == smaller.ops[-1].shape


@pytest.mark.parametrize("layout", ["batch", "pixels"])
def test_specialised_programs_compute_the_same(layout):
    rng = np.random.default_rng(11)
    program = random_programs.counted_operator(rng, (5, 37))
    assert sum(op.kind == "at_least" for op in simplify(program).ops) >= 2
    x = rng.random((9, *program.input_shape)) < rng.random((9, 1, 1, 1))
    assert np.array_equal(specialize_program(program, layout=layout)(x), run(program, x))


@pytest.mark.parametrize(
    "votes, cuts, kinds",
    [
        ((1, 1, 1), (1,), ["input", "combine"]),  # a union
        ((2, 4, 2), (7,), ["input", "combine"]),  # an intersection
        ((2, -4), (1,), ["input", "select", "complement", "select", "combine"]),
        ((1, 1, 1), (1, 3), ["input", "combine"]),
        ((1, 1, 1), (2,), ["input", "at_least"]),
        ((1, 1, 1), (1, 2, 2), ["input", "at_least", "select"]),  # equal cuts are one plane
        ((3, 0, 0), (2,), ["input", "select"]),  # a plane itself
        ((1, 1), (0, 3), ["input", "constant", "constant", "select"]),
        ((3, 3, 6), (4,), ["input", "at_least"]),
        ((-1, -1, -1, 1), (-1,), ["input", "at_least", "complement"]),
    ],
)
def test_what_counts_become(votes, cuts, kinds):
    program = _vote(votes, cuts)
    smaller = simplify(program)
    assert [op.kind for op in smaller.ops] == kinds
    x = (np.arange(2 ** len(votes))[:, None] >> np.arange(len(votes)) & 1).astype(bool)
    assert np.array_equal(run(smaller, x), run(program, x))


def test_votes_are_divided_and_equal_planes_added():
    arrays = {"source": np.array([0, 1, 0, 2], np.int32)}
    ops = list(_vote((2, 4, 2, 8), (7,)).ops)
    select = Op("select", (0,), (4, 1, 1), arrays=arrays)
    ops = [Op("input", (), (3, 1, 1)), select, replace(ops[1], inputs=(1,))]
    op = simplify(Program(tuple(ops), (3,), (1,))).ops[-1]
    assert (op.arrays["votes"].tolist(), op.arrays["cuts"].tolist()) == ([1, 1, 2], [2])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"votes": np.ones(2, np.int64)}, "a numpy array of int32"),
        ({"votes": np.zeros(0, np.int32)}, r"ops\[1\].votes: expected one number or more"),
        ({"votes": np.ones(2, np.int32)}, "groups of 2 planes, and 2 planes for each"),
        ({"votes": np.full(3, 2**30, np.int32)}, r"ops\[1\].votes: expected a sum of at most"),
        ({"cuts": np.full(2, -(2**31), np.int32)}, r"ops\[1\].cuts: expected whole numbers up to"),
        ({"cuts": np.ones(3, np.int32)}, "groups of 3 planes, and 3 planes for each"),
    ],
)
def test_wrong_counts_are_refused(change, message):
    program = _vote((1, 2, 3), (1, 2))
    op = program.ops[1]
    wrong = replace(program, ops=(program.ops[0], replace(op, arrays={**op.arrays, **change})))
    with pytest.raises(ValueError, match=message):
        check_program(wrong)


def test_cost_of_a_count():
    """Three planes: one full adder (2 XOR, 2 AND, 1 OR); the cut 2 is the upper plane itself."""
    cost = count(_vote((1, 1, 1), (2,)))
    assert (cost.ands, cost.ors, cost.nots, cost.xors, cost.total) == (2, 1, 0, 2, 5)
    # Bits 1: two planes, a half adder; bits 2: its carry and a plane, a half adder; one NOT.
    cost = count(_vote((1, -1, 2), (0, 1)))
    # The cuts are 1 and 2 more than the least sum, of three bits: two ORs and one.
    assert (cost.ands, cost.ors, cost.nots, cost.xors) == (2, 3, 1, 2)


def test_models_at_every_depth():
    """Counts on images, on flattened images, and on axes of channels."""
    rng = np.random.default_rng(0)
    selem = jnp.asarray(rng.random((3, 3, 2, 3)) < 0.3)
    flags = jnp.zeros((2, 3), bool)
    params = BinaryBiSE(selem, flags, flags, Spec("spatial", border="replicate"))

    def model(params, x):
        parts = apply(params, x)  # (batch, H, W, 2, 3)
        planes = at_least(parts, (1, 2, -1), (1, 2)).reshape(*x.shape[:3], 4)
        seen = concatenate([x, at_least(planes, (3, -1, 1, 1), (1, 3, 4))])
        return at_least(flatten(seen), tuple(range(-30, 30)), (0, 5))

    x = rng.random((40, 3, 4, 2)) < 0.5
    expected = np.asarray(model(params, jnp.asarray(x)))
    assert 0.05 < expected.mean() < 0.95
    program = build(model, params, x.shape)
    assert np.array_equal(run(program, x), expected)
    assert np.array_equal(run(simplify(program), x), expected)
    assert np.array_equal(morphax.specialize(model, params, x.shape)(x), expected)
    words = model(params, morphax.pack(jnp.asarray(x)))
    assert np.array_equal(morphax.unpack(words, count=40), expected)
