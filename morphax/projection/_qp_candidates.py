"""One candidate of the projection (an operation and a size of S) as a quadratic program.

The program is declared in cvxpy, compiled once, and solved by OSQP for many neurons; `repair` and
`lower_bound` then judge what OSQP found. `morphax.projection._qp` states the programs. Everything
here is numpy in float64; N is the number of neurons and n the number of weights of each.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from morphax import _checks

EROSION, DILATION = 0, 1


class Bank(NamedTuple):
    """Hold neurons of norm <= 1 with weights sorted in decreasing order."""

    weights: np.ndarray  # (N, n)
    bias: np.ndarray  # (N,)
    margin: np.ndarray  # (N,), the epsilon of the constraints
    nonnegative: bool
    bias_weight: float


class Task(NamedTuple):
    """Hold the candidates `sizes` of one operation for some neurons of a bank, at one accuracy."""

    operation: int
    sizes: Sequence[int]
    neurons: np.ndarray
    accuracy: float
    polishing: bool
    max_iterations: int


def import_solvers() -> tuple[Any, Any]:
    """Return the modules cvxpy and osqp; raise an `ImportError` that names the extra."""
    try:
        import cvxpy
        import osqp
    except ImportError as error:
        raise _checks.extra(error.name or "osqp", "solvers", error) from error
    return cvxpy, osqp


def solve(bank: Bank, task: Task) -> tuple[np.ndarray, ...]:
    """Run OSQP on every neuron of the task.

    Args:
        bank: sorted neurons.
        task: the neurons to solve, and the stack of candidates.

    Returns:
        Lower bounds `(N, sizes)`, the index of the best size `(N,)`, and for that size the point
        `(N, n)`, its bias `(N,)` and the squared distance `(N,)`, repaired to be feasible.
    """
    bank = bank._replace(
        weights=bank.weights[task.neurons],
        bias=bank.bias[task.neurons],
        margin=bank.margin[task.neurons],
    )
    (count, n), stack = bank.weights.shape, len(task.sizes)
    quadratic, matrix, upper = stacked(
        n, task.operation, bank.nonnegative, bank.bias_weight, tuple(task.sizes)
    )
    _, osqp = import_solvers()
    solver = osqp.OSQP()
    solver.setup(
        quadratic,
        np.zeros(quadratic.shape[0]),
        matrix,
        np.full(len(upper), -np.inf),
        upper,
        eps_abs=task.accuracy,
        eps_rel=task.accuracy,
        polishing=task.polishing,
        max_iter=task.max_iterations,
        adaptive_rho_interval=25,  # by iterations, never by the clock: results are repeatable
        warm_starting=False,  # the previous neuron is no guess for this one
        verbose=False,
    )
    primal = np.empty((count, quadratic.shape[0]))
    dual = np.empty((count, len(upper)))
    for i in range(count):
        w, b = bank.weights[i], bank.bias[i]
        q = np.concatenate([-w, [-bank.bias_weight * b, 0.0], [] if bank.nonnegative else w])
        solver.update(q=np.tile(q, stack), u=upper * bank.margin[i])
        solution = solver.solve(raise_error=False)
        primal[i], dual[i] = solution.x, solution.y
    # Whatever OSQP left (even NaN) is only a guess: the repair and the bound below judge it.
    primal = np.nan_to_num(primal).reshape(count, stack, -1)
    dual = np.maximum(np.nan_to_num(dual), 0.0).reshape(count, stack, -1)
    bounds, points = np.empty((count, stack)), []
    for i, k in enumerate(task.sizes):
        x = primal[:, i, :n].copy()  # the positive parts, where signs are free
        if not bank.nonnegative:
            x[:, k:] -= primal[:, i, n + 2 + k :]
        points.append(repair(bank, task.operation, k, x, primal[:, i, n]))
        bounds[:, i] = lower_bound(bank, task.operation, k, dual[:, i, 0], dual[:, i, 2 : 2 + k])
    which = np.argmin([value for *_, value in points], axis=0)
    rows = np.arange(count)
    return bounds, which, *(np.stack(arrays)[which, rows] for arrays in zip(*points, strict=True))


def repair(
    bank: Bank, operation: int, k: int, x: np.ndarray, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a feasible point near (x, beta) for one candidate, and its squared distance.

    Args:
        bank: sorted neurons.
        operation: `EROSION` or `DILATION`.
        k: size of S.
        x: weights, `(N, n)`.
        beta: biases, `(N,)`.

    Returns:
        The point `(N, n)`, its bias `(N,)` and its squared distance from the neuron `(N,)`.
    """
    inside, outside = x[:, :k], x[:, k:]
    if bank.nonnegative:
        outside = np.maximum(outside, 0.0)
    plus = np.maximum(outside, 0.0).sum(1) + bank.margin
    minus = np.maximum(-outside, 0.0).sum(1) + bank.margin
    # Raise the bias above what the outside adds, then the weights of S above bias and negative
    # part.
    if operation == DILATION:
        beta = np.maximum(beta, plus)
        inside = np.maximum(inside, (beta + minus)[:, None])
    # Raise the weights of S until an interval is left for the bias, then clip the bias into it.
    else:
        inside = np.maximum(inside, (plus + minus)[:, None])
        total = inside.sum(1)
        beta = np.clip(beta, total - inside.min(1) + plus, total - minus)
    x = np.concatenate([inside, outside], 1)
    moved = ((x - bank.weights) ** 2).sum(1)
    return x, beta, moved + bank.bias_weight * (beta - bank.bias) ** 2


def lower_bound(bank: Bank, operation: int, k: int, lam: np.ndarray, mus: np.ndarray) -> np.ndarray:
    """Bound the squared distance of a candidate from below by weak duality.

    Args:
        bank: sorted neurons.
        operation: `EROSION` or `DILATION`.
        k: size of S.
        lam: multiplier of the first constraint of `morphax.projection._qp`, >= 0, `(N,)`.
        mus: multipliers of the second one, one for each j in S, >= 0, `(N, k)`.

    Returns:
        The bound `(N,)`. It is valid for any multipliers >= 0.
    """
    inside, outside = bank.weights[:, :k], bank.weights[:, k:]
    mu = mus.sum(1)
    if operation == DILATION:
        force, up, down = mus, lam, mu
    else:
        force, up, down = mus + (lam - mu)[:, None], mu, lam
    # The Lagrangian is minimised by shifting S by `force` and shrinking the rest by `up` and
    # `down`.
    kept_up = np.maximum(outside - up[:, None], 0.0)
    total = (outside**2).sum(1) - (kept_up**2).sum(1)
    if not bank.nonnegative:  # otherwise negative weights outside S go to zero at full cost
        total -= (np.maximum(-outside - down[:, None], 0.0) ** 2).sum(1)
    total -= (force * (2 * inside + force)).sum(1)
    tilt = down - up
    total += tilt * (2 * bank.bias - tilt / bank.bias_weight) + 2 * bank.margin * (lam + mu)
    return np.nan_to_num(total, nan=0.0, posinf=0.0, neginf=0.0)


@functools.lru_cache(maxsize=16)
def model(n: int, operation: int, nonnegative: bool, bias_weight: float) -> tuple[Any, Any]:
    """Return a candidate as a parametrised cvxpy problem, and its parameter: the indicator of S.

    The variable is (x or its positive part, beta, t, negative part), where every x_j in S must
    exceed t. At the optimum the positive or the negative part of an element is 0, so their squares
    may be summed, which keeps the problem strictly convex.
    """
    import scipy.sparse as sparse

    cp, _ = import_solvers()
    z = cp.Variable(n + 2 if nonnegative else 2 * n + 2)
    x, beta, t, negative = z[:n], z[n], z[n + 1], z[n + 2 :]
    selem = cp.Parameter(n, nonneg=True)
    outside = 1 - selem
    pull = cp.Parameter(z.shape)  # the linear cost; OSQP's q, replaced for every neuron
    pull.value = np.zeros(z.shape)
    curvature = np.ones(z.shape)
    curvature[n : n + 2] = bias_weight, 0.0
    cost = cp.quad_form(z, sparse.diags_array(curvature), assume_PSD=True) / 2 + pull @ z
    minus = 0.0 if nonnegative else outside @ negative
    epsilon = 1.0  # OSQP's u, scaled for every neuron
    if operation == DILATION:
        constraints = [outside @ x + epsilon <= beta, beta + minus + epsilon <= t]
    else:
        constraints = [
            beta + minus + epsilon <= selem @ x,
            cp.sum(x) + epsilon - beta <= t,
        ]
    constraints.append(cp.multiply(selem, t) <= x)
    if not nonnegative:
        constraints.append(negative >= 0)
    return cp.Problem(cp.Minimize(cost), constraints), selem


@functools.lru_cache(maxsize=64)
def stacked(
    n: int, operation: int, nonnegative: bool, bias_weight: float, sizes: tuple[int, ...]
) -> tuple[Any, Any, np.ndarray]:
    """Return OSQP's P, A and u (for a margin of 1) of several candidates, block by block."""
    import scipy.sparse as sparse

    cp, _ = import_solvers()
    problem, selem = model(n, operation, nonnegative, bias_weight)
    blocks = []
    for k in sizes:
        selem.value = (np.arange(n) < k).astype(float)
        data, *_ = problem.get_problem_data(cp.OSQP)  # compiled once, then a matter of 0.6 ms
        matrix = data["F"].copy()
        matrix.eliminate_zeros()
        blocks.append((data["P"], matrix, data["G"]))
    quadratic, matrix, upper = zip(*blocks, strict=True)
    return (
        sparse.csc_matrix(sparse.block_diag(quadratic, format="csc")),
        sparse.csc_matrix(sparse.block_diag(matrix, format="csc")),
        np.concatenate(upper),
    )
