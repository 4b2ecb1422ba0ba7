"""The projection of symmetric neurons: Clarabel on every fixed-S QP, brute force on {-1, 1}^n."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import projection_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from morphax.certificates.neuron import certify_node
from morphax.neurons.nodes import BiSE, Spec
from morphax.projection import _banks, _symmetric
from morphax.projection._symmetric import project_symmetric
from morphax.projection.result import INVALID, OK

ROUNDING = 1e-13
SPEC = Spec("dense", "identity", "raw", symmetric=True)


def solve(w, b, **options):
    """`project_symmetric` in float64, as numpy arrays."""
    with jax.enable_x64(True):
        near = project_symmetric(
            jnp.asarray(w, jnp.float64), jnp.asarray(b, jnp.float64), **options
        )
        return near._replace(**{name: np.asarray(x) for name, x in near._asdict().items()})


def problems(rng, count, n):
    """The neurons of the ordinary oracle, mapped to inputs in {-1, 1}."""
    w, b = oracle.problems(rng, count, n)
    return w, 2 * b - w.sum(1)


def fixed(w, b, selem, operation, nonnegative, bias_weight=1.0, margin=0.0):
    """Squared distance to the activable set of one S, straight from its definition.

    Variables (x, beta, t), t >= |x| outside S. Of the inputs with no 1 in S (no -1, for an
    erosion) and of those with exactly one, the worst must be on the right side by the margin.
    """
    n, out = w.size, np.flatnonzero(~selem)
    m = out.size
    eye = np.eye(n + 1 + m)
    x, beta, t = eye[:n], eye[n], eye[n + 1 :]
    rest, inside = t.sum(0), x[selem]
    sign = 1 if operation == "dilation" else -1
    rows = [rest - inside.sum(0) - sign * beta]  # max of sum w x - b, all of S at -1, is <= -eps
    rows += [rest + inside.sum(0) - 2 * xj + sign * beta for xj in inside]
    signs = [*(x[out] - t), *(-x[out] - t), *(-x if nonnegative else -inside)]
    return oracle.distance(w, b, rows, signs, bias_weight, margin)


def gaps(x, beta, selem, dilation):
    """By how much each of the two kinds of constraints holds (float64)."""
    x, beta = np.asarray(x, np.float64), float(beta) * (1 if dilation else -1)
    inside, outside = x[selem].sum(), np.abs(x[~selem]).sum()
    return inside - outside + beta, 2 * x[selem].min() - inside - outside - beta


def violation(x, beta, selem, dilation, margin=0.0):
    size = max(1e-300, np.abs(x).sum() + abs(beta))
    return (margin - min(gaps(x, beta, selem, dilation))) / size


def right_on_every_input(x, beta, selem, dilation) -> bool:
    """Brute force: sum w x - b has the sign of the dilation (erosion) on all of {-1, 1}^n."""
    inputs = np.array(list(itertools.product((-1.0, 1.0), repeat=x.size)))
    expected = (inputs[:, selem].max(1) if dilation else inputs[:, selem].min(1)) > 0
    potential = inputs @ x.astype(np.float64) - float(beta)
    return bool(((potential > 0) == expected).all() and (potential != 0).all())


def compare(rng, count, n, operation, nonnegative, every, **metric):
    """As `projection_oracle.compare`: the worst excess, shortfall and violation."""
    w, b = problems(rng, count, n)
    near = solve(w, b, operation=operation, nonnegative=nonnegative, **metric)
    assert not near.status.any()
    operations = ("erosion", "dilation") if operation == "both" else (operation,)
    margin, rho = metric.get("margin", 0.0), metric.get("bias_weight", 1.0)
    worst = np.zeros(3)
    for wi, bi, x, beta, selem, dilation, distance, _ in zip(w, b, *near, strict=True):
        exact = min(
            fixed(wi, bi, s, o, nonnegative, **metric)
            for s in oracle.structuring_elements(wi, every)
            for o in operations
        )
        moved = ((x - wi) ** 2).sum() + rho * (beta - bi) ** 2
        assert moved == pytest.approx(distance**2, rel=1e-9, abs=1e-25)
        assert operation == "both" or operations[0] == ("erosion", "dilation")[dilation]
        size = (wi**2).sum() + bi**2 + margin**2
        outside = violation(x, beta, selem, dilation, margin)
        outside = max(outside, -x.min()) if nonnegative else outside
        ratios = (
            (moved - exact) / max(exact, 1e-6 * size),
            (exact - moved) / max(exact, 1e-3 * size),
        )
        worst = np.maximum(worst, (*ratios, outside))
    return worst


@pytest.mark.first(1)
@pytest.mark.parametrize("operation, nonnegative", oracle.SETTINGS)
def test_against_clarabel(rng, operation, nonnegative):
    worst = np.zeros(3)
    for n, metrics in ((1, (0, 3)), (4, (0, 1, 2, 3, 4))):
        for metric in metrics:
            args = (rng, 4, n, operation, nonnegative, n <= 4)
            worst = np.maximum(worst, compare(*args, **oracle.METRICS[metric]))
    assert worst[0] < 1e-6
    assert worst[1] < 1e-6
    assert worst[2] < ROUNDING


@pytest.mark.slow
def test_against_clarabel_larger(rng):
    """Every level set of a kernel of 5 x 5, and those around the best of a long one."""
    w, b = problems(rng, 3, 25)
    near = solve(w, b, bias_weight=2.0)
    for i in range(3):
        sets = oracle.structuring_elements(w[i], False)
        both = ("erosion", "dilation")
        exact = min(fixed(w[i], b[i], s, o, False, 2.0) for s in sets for o in both)
        assert near.distance[i] ** 2 == pytest.approx(exact, rel=1e-6, abs=1e-9)
    w = rng.normal(size=300)
    near = solve(w, -20.0)
    exact = fixed(w, -20.0, near.selem, "dilation", False)
    assert near.operation == 1
    assert near.distance**2 == pytest.approx(exact, rel=1e-6)


@st.composite
def neurons(draw, sizes=(2, 9)):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    w, b = problems(rng, 1, draw(st.sampled_from(sizes)))
    return w[0], b[0], rng


choices = st.tuples(st.sampled_from(("erosion", "dilation", "both")), st.booleans())


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(neurons(), choices, st.sampled_from((0.01, 1.0, 100.0)))
def test_properties(neuron, choice, bias_weight):
    """Idempotent; permutation- and scale-equivariant; x -> -x exchanges the operations."""
    (w, b, rng), (operation, nonnegative) = neuron, choice
    options = {"nonnegative": nonnegative, "bias_weight": bias_weight}
    near = solve(w, b, operation=operation, **options)
    size = np.hypot(np.linalg.norm(w), b)
    assert near.status == OK
    assert violation(*near[:4]) < ROUNDING

    again = solve(near.weights, near.bias, operation=operation, **options)
    assert again.distance <= 1e-12 * size
    np.testing.assert_allclose(again.weights, near.weights, atol=1e-12 * size)

    order = rng.permutation(w.size)
    shuffled = solve(w[order], b, operation=operation, **options)
    assert shuffled.distance == pytest.approx(near.distance, rel=1e-9, abs=1e-12 * size)

    for factor in (2.0**-100, 2.0**100):
        scaled = solve(w * factor, b * factor, operation=operation, **options)
        np.testing.assert_array_equal(scaled.weights, near.weights * factor)
        np.testing.assert_array_equal(scaled.bias, near.bias * factor)
        np.testing.assert_array_equal(scaled.selem, near.selem)

    other = {"erosion": "dilation", "dilation": "erosion", "both": "both"}[operation]
    mirrored = solve(w, -b, operation=other, **options)
    assert mirrored.distance == pytest.approx(near.distance, rel=1e-12, abs=1e-14 * size)
    if operation == "both":
        two = [solve(w, b, operation=one, **options).distance for one in ("erosion", "dilation")]
        assert min(two) == pytest.approx(near.distance, rel=1e-9, abs=1e-12 * size)


@pytest.mark.slow
@pytest.mark.parametrize("n, dtype, nonnegative", [(2, np.float64, True), (8, np.float32, False)])
def test_certified_with_margin(rng, n, dtype, nonnegative):
    """A margin beyond the rounding allowance: certified as a SyBiSE node, right on every input."""
    w, b = (x.astype(dtype) for x in problems(rng, 30, n))
    # Twice the allowance of the certificate, at points a little larger than (w, b).
    share = 4.5 * (4 * n + 64) * np.finfo(dtype).eps / 2
    margins = [
        {"margin": share * times * (np.abs(w).sum(1) + np.abs(b) + 1).max()} for times in (1, 1e3)
    ]
    w[0], b[0] = 0, 0  # the relative margin of this one is 0: it is not certified
    with jax.enable_x64(dtype == np.float64):
        for operation, margin in itertools.product(
            _banks.OPERATIONS, (*margins, {"relative_margin": 0.05})
        ):
            options = {"operation": operation, "nonnegative": nonnegative, **margin}
            near = project_symmetric(jnp.asarray(w), jnp.asarray(b), **options)
            assert near.weights.dtype == near.bias.dtype == near.distance.dtype == dtype
            node = BiSE(near.weights.T, near.bias, jnp.ones(30, dtype), SPEC)
            certificate, _ = certify_node(node)
            start = 1 if "relative_margin" in margin else 0
            assert certificate.exact[start:].all()
            near = [np.asarray(x)[start:] for x in near]
            np.testing.assert_array_equal(certificate.selem.T[start:], near[2])
            decided = (near[2].sum(1) > 1) | (operation == "both")
            same = np.asarray(certificate.operation)[start:] == near[3]
            assert same[decided].all()
            assert all(right_on_every_input(*neuron[:4]) for neuron in zip(*near, strict=True))


@pytest.mark.slow
def test_single_precision_and_chunks(rng, monkeypatch):
    w, b = problems(rng, 23, 12)
    single = project_symmetric(jnp.asarray(w, jnp.float32), jnp.asarray(b, jnp.float32))
    whole = solve(w.astype(np.float32), b.astype(np.float32))
    np.testing.assert_allclose(single.weights, whole.weights, atol=1e-6)
    np.testing.assert_allclose(single.bias, whole.bias, atol=1e-5)
    np.testing.assert_allclose(single.distance, whole.distance, rtol=1e-5, atol=1e-5)
    monkeypatch.setitem(_symmetric.CHUNK, "cpu", 5 * 12)
    _symmetric._projector.cache_clear()
    parts = solve(w.astype(np.float32), b.astype(np.float32))
    _symmetric._projector.cache_clear()
    for x, y in zip(whole, parts, strict=True):  # another program: the last bit may differ
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_jit_and_vmap(rng):
    w, b = problems(rng, 12, 7)
    w, b = jnp.asarray(w.reshape(3, 4, 7), jnp.float32), jnp.asarray(b.reshape(3, 4), jnp.float32)
    plain = project_symmetric(w, b)
    one = jax.jit(project_symmetric)
    for near in (one(w, b), jax.jit(jax.vmap(jax.vmap(project_symmetric)))(w, b)):
        for x, y in zip(near, plain, strict=True):
            np.testing.assert_array_equal(x, y)
    margins = jax.vmap(lambda weights: project_symmetric(weights, b[0, 0], margin=0.1))(w[0])
    alone = project_symmetric(w[0, 2], b[0, 0], margin=0.1)
    np.testing.assert_array_equal(margins.weights[2], alone.weights)


@pytest.mark.slow
def test_not_finite_poisons_nobody_else(rng):
    w, b = problems(rng, 6, 5)
    clean = solve(w, b)
    w[1, 2], w[3, 0], b[4] = np.nan, np.inf, -np.inf
    near = solve(w, b)
    bad = np.array([False, True, False, True, True, False])
    np.testing.assert_array_equal(near.status, np.where(bad, INVALID, OK))
    for x in (near.weights, near.bias, near.distance):
        assert np.isnan(x[bad]).all()
    for x, y in zip(near, clean, strict=True):
        np.testing.assert_array_equal(x[~bad], y[~bad])


@pytest.mark.first(1)
@pytest.mark.parametrize("n, nonnegative", [(1, False), (50, False), (5, True)])
def test_degenerate(n, nonnegative):
    zero, one = np.zeros(n), np.ones(n)
    cases = [(zero, 0.0), (zero, 1.0), (zero, -1.0), (-one, 0.5), (one, -20.0 * n), (one, 20.0 * n)]
    cases += [(one, 1.0 - n), (one, n - 1.0), (one * 1e-200, 1e-200), (one * 1e200, 1e199)]
    w, b = (np.array(x) for x in zip(*cases, strict=True))
    near = solve(w, b, nonnegative=nonnegative)
    assert (near.status == OK).all()
    assert near.selem.any(-1).all()
    for i in range(len(cases)):
        assert violation(*(x[i] for x in near[:4])) < ROUNDING
    np.testing.assert_array_equal(near.distance[[0, 6, 7]], 0.0)
    far = solve(w[:8], b[:8], nonnegative=nonnegative, margin=0.1)
    for i in range(8):
        assert violation(*(x[i] for x in far[:4]), margin=0.1) < ROUNDING


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales_in_float32(rng, scale):
    w, b = (x.astype(np.float32) for x in problems(rng, 20, 9))
    near = project_symmetric(w, b)
    far = project_symmetric(w * np.float32(scale), b * np.float32(scale))
    np.testing.assert_allclose(far.distance / scale, near.distance, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(far.weights / scale, near.weights, rtol=1e-5, atol=1e-6)
