"""`project_osqp` against Clarabel by brute force, against the exact solver, and on bad input."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import projection_oracle as oracle

from morphax.projection._qp import project_osqp
from morphax.projection.result import INVALID, NOT_CONVERGED, OK

OPERATIONS = ("erosion", "dilation", "both")


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def bank(rng, count, n, *, free=False):
    """Neurons of mixed kinds: dense with b near sum/2, b near max, trained-like."""
    dense = rng.uniform(0.3, 1.7, (count, n))
    trained = np.where(rng.random((count, n)) < 0.2, dense, 0.1 * dense)
    w = np.where(rng.random((count, 1)) < 0.5, dense, trained)
    if free:
        w = w * rng.choice([-1, 1, 1], (count, n))
    b = np.where(rng.random(count) < 0.5, np.maximum(w, 0).sum(1) / 2, rng.uniform(0.5, 1.5, count))
    return w, b


def check_feasible(projection, margin=0.0):
    """The constraints of theory.md, section 2, on what was returned."""
    for x, beta, selem, operation in zip(*map(np.asarray, projection[:4]), strict=True):
        violation = oracle.violation(x, beta, selem, bool(operation), margin)
        assert violation <= 1e-13


@pytest.mark.first(4)
@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("metric", [{}, {"bias_weight": 0.3, "margin": 0.05}])
def test_equals_brute_force(rng, operation, nonnegative, metric):
    for n in (1, 2, 3, 6):
        w, b = oracle.problems(rng, 8, n)
        result = project_osqp(w, b, operation=operation, nonnegative=nonnegative, **metric)
        assert not np.any(result.status)
        check_feasible(result, metric.get("margin", 0.0))
        if nonnegative:
            assert np.all(result.weights >= 0)
        moved = ((result.weights - w) ** 2).sum(1)
        moved += metric.get("bias_weight", 1.0) * (result.bias - b) ** 2
        np.testing.assert_allclose(result.distance, np.sqrt(moved), rtol=1e-9, atol=1e-12)
        best = [
            oracle.nearest(*p, operation, nonnegative, **metric) for p in zip(w, b, strict=True)
        ]
        np.testing.assert_allclose(result.distance**2, best, rtol=2e-6, atol=1e-9)


def test_all_structuring_elements_not_only_level_sets(rng):
    w, b = oracle.problems(rng, 12, 4)
    result = project_osqp(w, b, nonnegative=False)
    best = [oracle.nearest(*p, "both", False, every=True) for p in zip(w, b, strict=True)]
    np.testing.assert_allclose(result.distance**2, best, rtol=2e-6, atol=1e-9)


@pytest.mark.first(1)
@pytest.mark.parametrize(
    "n, count, metric, nonnegative",
    [
        (9, 12, {"relative_margin": 0.01}, True),
        (9, 12, {"relative_margin": 0.01}, False),
        (49, 4, {}, True),
        pytest.param(100, 1, {}, False, marks=pytest.mark.slow),
    ],
)
def test_agrees_with_exact_solver(rng, n, count, metric, nonnegative):
    from morphax.projection._exact import project_exact

    w, b = bank(rng, count, n, free=not nonnegative)
    ours = project_osqp(w, b, nonnegative=nonnegative, **metric)
    exact = project_exact(w, b, nonnegative=nonnegative, **metric)
    assert not np.any(ours.status)
    np.testing.assert_allclose(ours.distance**2, exact.distance**2, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(ours.weights, exact.weights, atol=1e-3 * np.abs(w).max())


def test_idempotent_and_scale_equivariant(rng):
    w, b = bank(rng, 6, 9)
    once = project_osqp(w, b)
    again = project_osqp(once.weights, once.bias)
    np.testing.assert_allclose(again.distance, 0, atol=1e-12)
    for scale in (1e-150, 1e-8, 1e100):
        scaled = project_osqp(scale * w, scale * b)
        np.testing.assert_allclose(scaled.distance / scale, once.distance, rtol=1e-6)


def test_candidates_restrict_the_sizes():
    w, b = np.array([[0.9, 0.8, 0.3]]), np.array([0.5])
    assert project_osqp(w, b).selem.sum() == 2
    restricted = project_osqp(w, b, candidates=(1, 3))
    assert restricted.selem.sum() in (1, 3)
    assert restricted.distance[0] > 0


def test_invalid_neurons_leave_the_others_alone(rng):
    w, b = bank(rng, 4, 5)
    clean = project_osqp(w, b)
    w[1, 2], b[2] = np.nan, -np.inf
    result = project_osqp(w, b)
    np.testing.assert_array_equal(result.status, [OK, INVALID, INVALID, OK])
    assert np.isnan(result.weights[1:3]).all()
    assert np.isnan(result.distance[1:3]).all()
    kept = np.array([0, 3])
    np.testing.assert_allclose(result.weights[kept], clean.weights[kept], atol=1e-5)


def test_iteration_limit_is_reported_and_feasible(rng):
    w, b = bank(rng, 3, 9)
    result = project_osqp(w, b, max_iterations=1)
    assert (result.status == NOT_CONVERGED).any()
    check_feasible(result)
    assert np.all(result.distance >= project_osqp(w, b).distance - 1e-9)


def test_degenerate_inputs_are_defined():
    zero = project_osqp(np.zeros((1, 3)), np.zeros(1))
    assert (float(zero.distance[0]), int(zero.status[0])) == (0.0, OK)
    certified = project_osqp(np.zeros((1, 3)), np.zeros(1), margin=0.1)
    check_feasible(certified, 0.1)
    assert float(certified.distance[0]) > 0
    one = project_osqp([[1.0]], [2.0])
    np.testing.assert_allclose(one.weights, [[1.5]])
    np.testing.assert_allclose(one.distance, [np.sqrt(0.5)])
    empty = project_osqp(np.zeros((0, 4)), np.zeros(0))
    assert empty.weights.shape == (0, 4)
    assert empty.status.shape == (0,)
    alone = project_osqp(np.array([3.0, 1.0]), np.array(1.5))
    assert (alone.weights.shape, alone.bias.shape) == ((2,), ())


def test_jit_and_vmap_through_the_callback(rng):
    w, b = (x.astype(np.float32) for x in bank(rng, 6, 9))
    eager = project_osqp(w, b)
    assert eager.weights.dtype == jnp.float32
    jitted = jax.jit(project_osqp)(w, b)
    mapped = jax.jit(jax.vmap(project_osqp))(w.reshape(2, 3, 9), b.reshape(2, 3))
    one_weight = jax.vmap(project_osqp, in_axes=(None, 0))(w[0], b)
    for left, right in zip(eager, jitted, strict=True):
        np.testing.assert_array_equal(left, right)
    for left, right in zip(eager, mapped, strict=True):
        np.testing.assert_array_equal(left, right.reshape(left.shape))
    np.testing.assert_allclose(one_weight.distance[0], eager.distance[0], rtol=1e-5)
    assert one_weight.weights.shape == (6, 9)


@pytest.mark.slow
def test_processes_do_not_change_the_result(rng):
    w, b = bank(rng, 5, 25)
    for left, right in zip(project_osqp(w, b), project_osqp(w, b, processes=2), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("module", ["osqp", "cvxpy"])
def test_missing_extra_is_named(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{module} is not installed.*\.\[solvers\]"):
        project_osqp([[1.0, 2.0]], [1.0])


@pytest.mark.parametrize(
    "argument, options",
    [
        ("operation", {"operation": "opening"}),
        ("margin", {"margin": -1.0}),
        ("bias_weight", {"bias_weight": 0.0}),
        ("candidates", {"candidates": (0, 1)}),
        ("tolerance", {"tolerance": 0.0}),
        ("processes", {"processes": -2}),
    ],
)
def test_bad_options_name_the_argument(argument, options):
    with pytest.raises(ValueError, match=argument):
        project_osqp(np.ones((1, 3)), np.ones(1), **options)


def test_bad_shapes_name_the_argument():
    with pytest.raises(ValueError, match="weights"):
        project_osqp(np.ones((2, 3)), np.ones(3))
