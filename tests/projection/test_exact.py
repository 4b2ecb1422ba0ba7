"""The exact projection against Clarabel, its properties, and its degenerate inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import projection_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from morphax.projection import _exact, _knots, _search
from morphax.projection._exact import project_exact
from morphax.projection._scalar import Options, Relaxation, SortedBank, relax
from morphax.projection._scalar import solve as scalar_solve
from morphax.projection.result import INVALID, OK

ROUNDING = 1e-13


def solve(w, b, **options):
    """`project_exact` in float64, as numpy arrays."""
    with jax.enable_x64(True):
        near = project_exact(jnp.asarray(w, jnp.float64), jnp.asarray(b, jnp.float64), **options)
        return near._replace(**{name: np.asarray(x) for name, x in near._asdict().items()})


def gap(w, b, selem, dilation):
    """(b - L, U - b), in float64."""
    w, b = np.asarray(w, np.float64), float(b)
    plus, minus = np.maximum(w, 0), np.maximum(-w, 0).sum()
    low = plus[~selem].sum() if dilation else plus.sum() - w[selem].min()
    high = (w[selem].min() if dilation else plus[selem].sum()) - minus
    return b - low, high - b


@pytest.mark.first(2)
@pytest.mark.parametrize("operation, nonnegative", oracle.SETTINGS)
def test_against_clarabel(rng, operation, nonnegative):
    worst = np.zeros(3)
    for n, metrics in ((3, (0, 1, 3)), (7, (0, 2, 4))):
        for metric in metrics:
            args = (solve, rng, 8, n, operation, nonnegative, n <= 4)
            worst = np.maximum(worst, oracle.compare(*args, **oracle.METRICS[metric]))
    assert worst[0] < 1e-6
    assert worst[1] < 1e-5
    assert worst[2] < ROUNDING


@pytest.fixture
def settings_of_search(monkeypatch):
    """Change settings of the search, for programs that are compiled within the test."""

    def change(**values):
        _exact._projector.cache_clear()
        for name, value in values.items():
            monkeypatch.setattr(_search, name, value)

    yield change
    _exact._projector.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("nonnegative", [True, False])
def test_against_clarabel_larger(rng, nonnegative, settings_of_search):
    """n beyond `SOLVE_ALL`, where candidates are pruned: every candidate is checked."""
    settings_of_search(SOLVE_ALL_AT_ONCE=0, KNOTS_FROM=0)
    w, b = oracle.problems(rng, 8, 40)
    near = solve(w, b, nonnegative=nonnegative)
    for i in range(3):
        exact = oracle.nearest(w[i], b[i], nonnegative=nonnegative)
        assert near.distance[i] ** 2 == pytest.approx(exact, rel=1e-5, abs=1e-8)
        assert oracle.violation(*(x[i] for x in near[:4])) < ROUNDING


def test_against_clarabel_around_the_best(rng):
    n = 784
    w = rng.uniform(0, 1, n)
    near = solve(w, w.max())
    best = near.selem.sum()
    rank = np.argsort(np.argsort(-w))
    for k in (best, best - 1):
        exact = oracle.fixed(
            w, w.max(), rank < k, "dilation" if near.operation else "erosion", True
        )
        assert near.distance**2 <= exact * (1 + 1e-6)
        if k == best:
            assert near.distance**2 == pytest.approx(exact, rel=1e-5)


def regimes(rng, n, count):
    """Banks that prune well and that do not: (weights, bias, nonnegative)."""
    w = 0.5 * (1 + 0.668 * rng.uniform(-1, 1, (count, n)))
    yield w, w.sum(-1) / 2, True
    w = rng.uniform(0, 1, (count, n))
    yield w, w.max(-1) * rng.uniform(0.9, 1.1, count), True
    large = rng.uniform(size=(count, n)) < 0.2
    w = np.where(large, 1 + 0.1 * rng.normal(size=(count, n)), 0.05 * rng.uniform(size=(count, n)))
    yield w, rng.uniform(0.6, 1.1, count), True
    w = rng.normal(size=(count, n))
    yield w, np.maximum(w, 0).sum(-1) * rng.uniform(0, 1, count), False
    yield w, w.max(-1), False
    yield np.round(2 * w) / 2, w.max(-1), False


@pytest.mark.slow
@pytest.mark.parametrize("sign", [True, False])
def test_pruning_loses_nothing(rng, sign, settings_of_search):
    """Branch and bound, from knots and by whole blocks, finds what solving everything finds."""
    n = 300
    banks = [(w, b) for w, b, nonnegative in regimes(rng, n, 8) if nonnegative == sign]
    w, b = (np.concatenate(x) for x in zip(*banks, strict=True))
    settings_of_search(SOLVE_ALL=n)
    full = solve(w, b, nonnegative=sign)
    assert not full.status.any()
    for knots_from in (0, n + 1):
        settings_of_search(SOLVE_ALL=32, SOLVE_ALL_AT_ONCE=0, KNOTS_FROM=knots_from)
        pruned = solve(w, b, nonnegative=sign)
        np.testing.assert_allclose(pruned.distance, full.distance, rtol=1e-10)
        assert not pruned.status.any()
        for i in range(len(b)):
            assert oracle.violation(*(x[i] for x in pruned[:4])) < ROUNDING


@pytest.mark.slow
@pytest.mark.parametrize("sign", [True, False])
@pytest.mark.parametrize("together", [1, 4])
def test_bounds_from_knots(rng, sign, together, monkeypatch):
    """The bound of a block is at most its least distance; one by one, most are near it."""
    monkeypatch.setattr(_knots, "TOGETHER", together)
    n, width = 77, 8
    banks = [(w, b) for w, b, nonnegative in regimes(rng, n, 4) if nonnegative == sign]
    w, b = (np.concatenate(x) for x in zip(*banks, strict=True))
    scale = np.maximum(np.abs(w).max(-1), np.abs(b))
    w, b = -np.sort(-w, -1) / scale[:, None], b / scale
    count, options = len(b), Options(n, sign)
    blocks = _knots.blocks_of(n, width)

    @jax.jit
    def evaluate(w, b):
        sums, squares = (jnp.pad(jnp.cumsum(x, -1), ((0, 0), (1, 0))) for x in (w, w**2))
        tables = (x.reshape(-1) for x in (w, sums, squares))
        bank = SortedBank(*tables, b, jnp.zeros(count), jnp.ones(count))

        def nodes(low, high):
            row = jnp.arange(count, dtype=jnp.int32)[:, None, None]
            fields = (row, jnp.array([False, True])[None, :, None], low[None, None])
            shape = (count, 2, len(low))
            fields = (jnp.broadcast_to(x, shape) for x in (*fields, high[None, None]))
            return relax(bank, n, *fields)

        sizes = jnp.arange(1, n + 1, dtype=jnp.int32)
        every = Relaxation(*(x.reshape(-1) for x in nodes(sizes, sizes)))
        exact = scalar_solve(options, bank, every)[0].reshape(count, 2, n)
        value, ends = _knots.solve_ends(options, bank, blocks, nodes)
        return exact, _knots.bound_blocks(options, bank, blocks, ends, value)

    with jax.enable_x64(True):
        exact, bound = (np.asarray(x) for x in evaluate(jnp.asarray(w), jnp.asarray(b)))
    k = [np.arange(low, high + 1) for low, high in zip(blocks.first, blocks.last, strict=True)]
    np.testing.assert_array_equal(np.concatenate(k), np.arange(1, n + 1))
    least = np.stack([exact[:, :, sizes - 1].min(-1) for sizes in k], -1)
    gap = (least - bound)[:, :, blocks.heads :]
    assert (least - bound).min() > -1e-13 * n
    assert together > 1 or np.median(gap) < 1e-2


CASES = ((5, "erosion", False), (5, "dilation", True), (5, "both", True), (40, "both", False))
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from(CASES))
def test_properties(seed, case):
    """Idempotent, permutation- and scale-equivariant, not farther than other feasible points."""
    rng = np.random.default_rng(seed)
    n, operation, nonnegative = case
    w, b = oracle.problems(rng, 8, n)
    options = {"operation": operation, "nonnegative": nonnegative}
    near = solve(w, b, **options)
    size = np.sqrt((w**2).sum(-1) + b**2)
    assert (near.status == OK).all()
    for i in range(8):
        assert oracle.violation(*(x[i] for x in near[:4])) < ROUNDING

    again = solve(near.weights, near.bias, **options)
    assert (again.distance <= 1e-12 * size).all()
    np.testing.assert_allclose(again.weights, near.weights, atol=1e-12 * size.max())

    order = rng.permutation(n)
    shuffled = solve(w[:, order], b, **options)
    np.testing.assert_allclose(shuffled.distance, near.distance, rtol=1e-9, atol=1e-12)

    factor = 2.0 ** rng.integers(-100, 100)
    scaled = solve(w * factor, b * factor, **options)
    np.testing.assert_array_equal(scaled.weights, near.weights * factor)
    np.testing.assert_array_equal(scaled.bias, near.bias * factor)
    np.testing.assert_array_equal(scaled.selem, near.selem)

    for i in range(8):  # feasible points by construction
        selem = rng.uniform(size=n) < 0.5
        selem[rng.integers(n)] = True
        x = near.weights[i] + rng.normal(size=n) * rng.choice([0.01, 0.3, 1.0])
        x = np.where(selem, np.abs(x), np.maximum(x, 0) if nonnegative else x)
        dilation = operation == "dilation" or (operation == "both" and rng.uniform() < 0.5)
        short = -sum(gap(x, 0.0, selem, dilation))  # L - U
        x = np.where(selem, np.maximum(x, x[selem].min() + short), x)
        below, above = gap(x, 0.0, selem, dilation)
        beta = np.clip(b[i], -below, above)
        if -below <= above:
            assert near.distance[i] <= np.hypot(np.linalg.norm(x - w[i]), beta - b[i]) * (1 + 1e-9)


@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from(CASES[2:]), st.sampled_from((np.float32, np.float64)))
def test_certified_with_margin(seed, case, dtype):
    """A margin beyond the certificate's rounding allowance gives L < b < U with that allowance."""
    rng = np.random.default_rng(seed)
    n, operation, nonnegative = case
    w, b = (x.astype(dtype) for x in oracle.problems(rng, 8, n))
    share = (3 * n + 32) * np.finfo(dtype).eps / 2
    size = np.abs(w).sum(-1).max() + np.abs(b).max() + 1
    norm = np.sqrt((w**2).sum(-1) + b**2).min()
    share_of_size = float(4 * share * size)
    options = {"operation": operation, "nonnegative": nonnegative}
    for margin in (
        {"margin": share_of_size},
        {"relative_margin": share_of_size / float(norm + 1e-3)},
    ):
        with jax.enable_x64(dtype == np.float64):
            near = [np.asarray(x) for x in project_exact(w, b, **options, **margin)]
        assert near[0].dtype == dtype
        for i in range(8):
            x, beta = near[0][i].astype(np.float64), float(near[1][i])
            allowance = share * (np.abs(x).sum() + abs(beta))
            asked = margin.get("margin", 0.0)
            asked += margin.get("relative_margin", 0.0) * np.sqrt((w[i] ** 2).sum() + b[i] ** 2)
            if asked > 1.1 * allowance:
                assert min(gap(x, beta, near[2][i], bool(near[3][i]))) > allowance


@pytest.mark.slow
def test_float32_agrees_with_float64(rng):
    for w, b, nonnegative in regimes(rng, 40, 8):
        w, b = w.astype(np.float32), b.astype(np.float32)
        double = solve(w, b, nonnegative=nonnegative)
        single = project_exact(w, b, nonnegative=nonnegative)
        assert single.weights.dtype == single.distance.dtype == jnp.float32
        size = np.sqrt((w**2).sum(-1) + b**2)
        np.testing.assert_array_equal(single.selem, double.selem)
        assert np.abs(np.asarray(single.distance) - double.distance).max() < 1e-6 * size.max()
        assert np.abs(np.asarray(single.weights) - double.weights).max() < 1e-6
        assert np.abs(np.asarray(single.bias) - double.bias).max() < 1e-6 * size.max()


def test_jit_and_vmap(rng):
    n = 5
    w, b = oracle.problems(rng, 12, n)
    w, b = jnp.asarray(w.reshape(3, 4, n), jnp.float32), jnp.asarray(b.reshape(3, 4), jnp.float32)
    plain = project_exact(w, b)
    one = jax.jit(project_exact)
    for near in (one(w, b), jax.jit(jax.vmap(jax.vmap(project_exact)))(w, b)):
        for x, y in zip(near, plain, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_vmap_over_weights_alone(rng):
    w, b = oracle.problems(rng, 12, 5)
    w, b = jnp.asarray(w.reshape(3, 4, 5), jnp.float32), jnp.asarray(b.reshape(3, 4), jnp.float32)
    margins = jax.vmap(lambda weights: project_exact(weights, b[0, 0], margin=0.1))(w[0])
    np.testing.assert_array_equal(
        margins.weights[2], project_exact(w[0, 2], b[0, 0], margin=0.1).weights
    )


def test_chunks(rng, monkeypatch):
    w, b = oracle.problems(rng, 23, 12)
    whole = solve(w, b)
    monkeypatch.setitem(_exact.CHUNK, "cpu", 5 * 12)
    _exact._projector.cache_clear()
    parts = solve(w, b)
    _exact._projector.cache_clear()
    for x, y in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("n", [5, 40])
def test_not_finite_poisons_nobody_else(rng, n):
    w, b = oracle.problems(rng, 8, n)
    clean = solve(w, b)
    w[1, 2], w[3, 0], b[6] = np.nan, np.inf, -np.inf
    near = solve(w, b)
    bad = np.arange(8) % 5 % 2 == 1
    np.testing.assert_array_equal(near.status, np.where(bad, INVALID, OK))
    assert np.isnan(near.weights[bad]).all()
    assert np.isnan(near.bias[bad]).all()
    assert np.isnan(near.distance[bad]).all()
    for x, y in zip(near, clean, strict=True):
        np.testing.assert_array_equal(x[~bad], y[~bad])


@pytest.mark.first(3)
@pytest.mark.parametrize(
    "n, nonnegative", [(1, True), (1, False), (5, True), (5, False), (40, False)]
)
def test_degenerate(n, nonnegative):
    zero, one = np.zeros(n), np.ones(n)
    cases = [(zero, 0.0), (zero, 1.0), (zero, -1.0), (-one, 0.5), (one, -2.0), (one, 10.0 * n)]
    cases += [(one, 0.5), (one, n - 0.5), (one * 1e-200, 1e-200), (one * 1e200, 1e199)]
    w, b = (np.array(x) for x in zip(*cases, strict=True))
    near = solve(w, b, nonnegative=nonnegative)
    assert (near.status == OK).all()
    assert near.selem.any(-1).all()
    for i in range(len(cases)):
        assert oracle.violation(*(x[i] for x in near[:4])) < ROUNDING
    np.testing.assert_array_equal(near.distance[[0, 6, 7]], 0.0)
    assert near.distance[2] == pytest.approx(1.0)
    far = solve(w, b, nonnegative=nonnegative, margin=0.1)
    for i in range(8):
        assert oracle.violation(*(x[i] for x in far[:4]), margin=0.1) < ROUNDING


@pytest.mark.first(1)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales_in_float32(rng, scale):
    w, b = oracle.problems(rng, 8, 5)
    w, b = w.astype(np.float32), b.astype(np.float32)
    near = project_exact(w, b)
    far = project_exact(w * np.float32(scale), b * np.float32(scale))
    np.testing.assert_allclose(far.distance / scale, near.distance, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(far.weights / scale, near.weights, rtol=1e-5, atol=1e-6)
