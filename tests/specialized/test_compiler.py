"""Specialised networks: the bits of the model, in every layout, unrolled, by tables and in
turns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import program_models, random_programs
from hypothesis import given, settings
from hypothesis import strategies as st

import morphax
from morphax.neurons.models import bimonn
from morphax.packed import pack_pixels, unpack_pixels
from morphax.program import Op, Program, build, run
from morphax.specialized import _stages, _tables
from morphax.specialized._common_parts import PASS, order, share
from morphax.specialized.compiler import Specialized, specialize, specialize_program

CASES = program_models.cases()
IMAGES = [name for name, case in CASES.items() if case.model is bimonn]


@pytest.fixture
def tables_only(monkeypatch):
    """Every bank by tables, buckets of few, and loops over the members of the larger ones."""
    monkeypatch.setattr(_stages, "_PLANES", 0)
    monkeypatch.setattr(_tables, "_BUCKET", 4)
    monkeypatch.setattr(_tables, "_UNROLLED", 3)
    monkeypatch.setattr(_tables, "_STEP", 2)


def check(case, net, rng, count):
    x = program_models.inputs(rng, case, count)
    expected = np.asarray(case.model(case.params, jnp.asarray(x)))
    result = np.asarray(net(x))
    assert result.dtype == expected.dtype
    assert np.array_equal(result, expected)
    return x, expected


@pytest.mark.first(3)
@pytest.mark.parametrize("name", CASES)
def test_equals_the_model(name, rng):
    """On bool and on words, in batches that fill their words and that do not."""
    case = CASES[name]
    net = specialize(case.model, case.params, (1, *case.shape))
    x, expected = check(case, net, rng, 70)
    result = net(morphax.pack(x))
    if expected.dtype == bool:
        assert result.dtype == jnp.uint32
        result = morphax.unpack(result, count=70)
    assert np.array_equal(np.asarray(result)[:70], expected)


@pytest.mark.first(2)
@pytest.mark.parametrize("name", ["bimonn-constant", "classifier", "twisted", "dense"])
@pytest.mark.usefixtures("tables_only")
def test_tables_equal_the_model(name, rng):
    case = CASES[name]
    check(case, specialize(case.model, case.params, (1, *case.shape)), rng, 33)


@pytest.mark.parametrize("name", ["many-windows", "classifier"])
def test_turns_equal_the_model(name, rng, monkeypatch):
    """Batches whose planes do not fit the memory that one turn may take."""
    monkeypatch.setattr(morphax.specialized.compiler, "_MEMORY", {"cpu": 1 << 14})
    monkeypatch.setattr(morphax.specialized.compiler, "_MEMORY_ELSEWHERE", 1 << 14)
    case = CASES[name]
    net = specialize(case.model, case.params, (1, *case.shape))
    check(case, net, rng, 32 * 7 + 5)


@pytest.mark.first(3)
@pytest.mark.parametrize("name", IMAGES)
def test_pixels_equal_the_model(name, rng):
    case = CASES[name]
    net = specialize(case.model, case.params, (1, *case.shape), layout="pixels")
    x, expected = check(case, net, rng, 3)
    words = jnp.moveaxis(pack_pixels(np.ascontiguousarray(np.moveaxis(x, -1, 1))), 1, -1)
    result = net(words)
    assert result.dtype == jnp.uint32
    assert result.shape == (*words.shape[:3], expected.shape[-1])
    # Bits beyond the width are 0 in results, and ignored in what comes in.
    spare = -case.shape[1] % 32
    if spare:
        assert not (np.asarray(result[:, :, -1]) >> np.uint32(32 - spare)).any()
        beyond = np.uint32(0xFFFFFFFF) << np.uint32(32 - spare)
        assert np.array_equal(net(words.at[:, :, -1].set(words[:, :, -1] | beyond)), result)
    bits = unpack_pixels(jnp.moveaxis(result, -1, 1), width=case.shape[1])
    assert np.array_equal(np.moveaxis(np.asarray(bits), 1, -1), expected)


@pytest.mark.parametrize("name", ["bimonn-replicate", "classifier"])
def test_words_of_64_images(name, rng):
    case = CASES[name]
    x = program_models.inputs(rng, case, 70)
    expected = np.asarray(case.model(case.params, jnp.asarray(x)))
    with jax.enable_x64(True):
        words = morphax.pack(x, dtype=jnp.uint64)
        result = specialize(case.model, case.params, (1, *case.shape))(words)
        if expected.dtype == bool:
            result = morphax.unpack(result, count=70)
        assert np.array_equal(np.asarray(result)[:70], expected)


def test_where_xla_keeps_planes_itself(rng, monkeypatch):
    """The way of other devices, on this one."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    case = CASES["classifier"]
    check(case, specialize(case.model, case.params, (1, *case.shape)), rng, 33)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    width=st.sampled_from([1, 5, 31, 32, 33, 64, 70]),
    height=st.integers(1, 6),
    layout=st.sampled_from(["batch", "pixels"]),
)
def test_programs_of_chance(seed, width, height, layout):
    rng = np.random.default_rng(seed)
    program = random_programs.image_operator(rng, (height, width), depth=5)
    x = rng.random((5, *program.input_shape)) < rng.random((5, 1, 1, 1))
    assert np.array_equal(specialize_program(program, layout=layout)(x), run(program, x))


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_classifiers_of_chance(seed):
    rng = np.random.default_rng(seed)
    program = random_programs.classifier(rng, (6, 5))
    x = rng.random((40, *program.input_shape)) < rng.random((40, 1, 1, 1))
    assert np.array_equal(specialize_program(program)(x), run(program, x))


@pytest.mark.first(3)
@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
@pytest.mark.parametrize("layout", ["batch", "pixels"])
def test_tables_of_windows(layout, border, rng):
    """Windows wider than the image and than a word, gathered."""
    input_ = Op("input", (), (2, 3, 37))
    op = random_programs.spatial(rng, 0, input_.shape, planes=9, sides=(5, 69), border=border)
    op.arrays["selem"][:] &= rng.random(op.arrays["selem"].shape) < 0.05
    program = Program((input_, op), (3, 37, 2), (3, 37, 9))
    x = rng.random((3, 3, 37, 2)) < np.array([0.1, 0.5, 0.9]).reshape(3, 1, 1, 1)
    assert np.array_equal(specialize_program(program, layout=layout)(x), run(program, x))


def test_a_bank_and_its_intersections_are_one_bank(rng):
    """Merged where all joins are of one kind, and not otherwise; the same bits in either case."""
    input_ = Op("input", (), (2, 5, 9))
    windows = random_programs.spatial(rng, 0, input_.shape, planes=80)
    windows.arrays["selem"][:, 1, 1] = True
    windows.arrays["complement"][:] = False
    sets = {
        "offsets": np.arange(0, 81, 2, dtype=np.int32),
        "indices": np.arange(80, dtype=np.int32),
        "erosion": np.arange(40) % 2 == 0,
        "complement": random_programs.bits(rng, 40),
    }
    join = Op("combine", (1,), (40, 5, 9), "", sets)
    x = rng.random((40, 5, 9, 2)) < rng.random((40, 1, 1, 1))
    for kinds in (np.repeat(sets["erosion"], 2), random_programs.bits(rng, 80)):
        windows.arrays["erosion"][:] = kinds
        program = Program((input_, windows, join), (5, 9, 2), (5, 9, 40))
        alike = np.array_equal(kinds, np.repeat(sets["erosion"], 2))
        assert (_tables.merged(windows, join) is not None) == alike
        assert np.array_equal(specialize_program(program)(x), run(program, x))


def test_large_sets_are_joined_in_a_loop(rng):
    sizes = np.r_[np.full(6, 200), rng.integers(1, 90, 40)]
    indices = [np.sort(rng.choice(300, size, replace=False)) for size in sizes]
    arrays = {
        "offsets": np.cumsum([0, *sizes]).astype(np.int32),
        "indices": np.concatenate(indices).astype(np.int32),
        "erosion": random_programs.bits(rng, 46),
        "complement": random_programs.bits(rng, 46),
    }
    program = Program(
        (Op("input", (), (300, 1, 1)), Op("combine", (0,), (46, 1, 1), "", arrays)), (300,), (46,)
    )
    share_on = np.where(np.arange(300) % 2, 0.97, 0.03)
    x = rng.random((50, 300)) < share_on[rng.permutation(300)]
    expected = run(program, x)
    assert np.array_equal(specialize_program(program)(x), expected)


def test_specialized_networks_are_arguments(rng):
    """A pytree: inside another jit its tables are arguments, and it can be mapped like any."""
    case = CASES["dense"]
    net = specialize(case.model, case.params, (1, *case.shape))
    x = program_models.inputs(rng, case, 10)
    inside = jax.jit(lambda net, x: net(x))(net, jnp.asarray(x))
    assert np.array_equal(inside, np.asarray(net(x)))
    closed = jax.jit(lambda x: net(x))(jnp.asarray(x))
    assert np.array_equal(closed, inside)
    again = jax.tree.unflatten(*reversed(jax.tree.flatten(net)))
    assert isinstance(again, Specialized)
    assert np.array_equal(again(x), inside)


def test_tables_are_arguments_of_the_compiled_program():
    """No constant of the compiled program is larger than a few numbers."""
    case = CASES["classifier"]
    net = specialize(case.model, case.params, (1, *case.shape))
    words = jnp.zeros((2, *case.shape), jnp.uint32)
    closed = jax.make_jaxpr(net.wiring.run)(net.tables, words)
    sizes = [np.size(const) for const in closed.consts]
    sizes += [
        np.size(c)
        for eqn in closed.eqns
        for p in eqn.params.values()
        for c in getattr(p, "consts", ())
    ]
    assert max(sizes, default=0) < 64


def test_errors(rng):
    images, counts = CASES["bimonn-ignore"], CASES["classifier"]
    with pytest.raises(ValueError, match="layout: expected one of 'batch', 'pixels'"):
        specialize(images.model, images.params, (1, *images.shape), layout="rows")
    with pytest.raises(ValueError, match="layout: expected 'batch' for networks with pools"):
        specialize(counts.model, counts.params, (1, *counts.shape), layout="pixels")
    net = specialize(images.model, images.params, (1, *images.shape))
    with pytest.raises(ValueError, match="x: expected words or bool"):
        net(np.zeros((2, *images.shape), np.float32))
    with pytest.raises(ValueError, match="x: expected words of shape"):
        net(np.zeros((2, 5, 5, 1), np.uint32))
    with pytest.raises(ValueError, match="x: expected shape"):
        net(np.zeros((2, 5, 5, 1), bool))


# Sharing.


def expand(parts, terms):
    """The pixels of a rewritten set."""
    pixels = set()
    for part, y, x in terms:
        if part == 0:
            pixels.add((y, x))
        else:
            pixels |= {(y + b, x + a) for b, a in expand(parts, parts[part - 1])}
    return pixels


def as_set(window):
    return frozenset((0, int(y), int(x)) for y, x in np.argwhere(window))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), size=st.integers(1, 9), many=st.integers(1, 5), pixels=st.booleans()
)
def test_shared_sets_are_the_same_sets(seed, size, many, pixels):
    rng = np.random.default_rng(seed)
    common = rng.random((size, size)) < 0.7
    windows = [common & (rng.random((size, size)) < 0.9) for _ in range(many)]
    sets = [as_set(w) for w in windows if w.any()]
    cost = (lambda column: 4 if column else 1) if pixels else (lambda column: 1)
    parts, rewritten = share(sets, cost=cost)
    for before, after in zip(sets, rewritten, strict=True):
        assert expand(parts, after) == {(y, x) for _, y, x in before}
    spent = [sum(cost(x) for s in found for _, _, x in s) for found in (sets, [*parts, *rewritten])]
    assert spent[1] + PASS * len(parts) <= spent[0]
    done = order(parts)
    assert sorted(done) == list(range(1, len(parts) + 1))
    for place, part in enumerate(done):
        assert {p for p, _, _ in parts[part - 1]} <= {0, *done[:place]}


@pytest.mark.slow
def test_lines_rectangles_and_common_shapes_are_shared(rng):
    for window, limit in (
        (np.ones((41, 41), bool), 30),
        (np.ones((1, 60), bool), 20),
        (np.eye(40, dtype=bool), 18),
        (morphax.elements.disk(7), 14),
    ):
        parts, rewritten = share([as_set(window)])
        assert sum(map(len, [*parts, *rewritten])) < limit
    # A shape without any lines, in two windows at different places, with a pixel of its own each.
    shape = np.zeros((9, 9), bool)
    shape[::2, ::3] = shape[1::4, 1::3] = True
    one, other = np.zeros((15, 15), bool), np.zeros((15, 15), bool)
    one[:9, :9] = shape
    other[4:13, 5:14] = shape
    one[14, 3] = other[0, 0] = True
    parts, rewritten = share([as_set(one), as_set(other)])
    assert [len(p) for p in parts] == [int(shape.sum())]
    assert [len(s) for s in rewritten] == [2, 2]


def test_buckets_cost_least(rng):
    """The cheapest cut of the sizes, found by trying all."""
    sizes = np.sort(rng.integers(1, 9, 200))
    values = np.unique(sizes)

    def cost(cuts):
        ends = np.searchsorted(sizes, values[list(cuts)], side="right")
        starts = np.r_[0, ends[:-1]]
        return sum(
            (e - s) * sizes[e - 1] + _tables._BUCKET for s, e in zip(starts, ends, strict=True)
        )

    for price in (1, 50, 10**6):
        _tables._BUCKET, before = price, _tables._BUCKET
        try:
            found = _tables._buckets(sizes)
            best = min(
                cost([*(i for i in range(len(values) - 1) if mask >> i & 1), len(values) - 1])
                for mask in range(1 << (len(values) - 1))
            )
            assert sum((e - s) * sizes[e - 1] + price for s, e in found) == best
        finally:
            _tables._BUCKET = before
        assert [s for s, _ in found] == [0, *(e for _, e in found[:-1])]
        assert found[-1][1] == len(sizes)


def test_an_archived_program_runs_the_same(rng):
    """What `specialize` takes from a model, `specialize_program` takes as data."""
    case = CASES["twisted"]
    program = build(case.model, case.params, (1, *case.shape))
    check(case, specialize_program(program), rng, 5)
