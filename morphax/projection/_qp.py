r"""The exact projection as quadratic programs, solved by OSQP and certified by weak duality.

This is an independent second method for what `morphax.projection._exact` computes (the problem:
Aouad & Talbot, "A foundation for exact binarized morphological neural networks", arXiv 2401.03830).
The best structuring element S of a neuron is an upper level set of its weights (docs/theory.md,
section 5a), so with the weights sorted in decreasing order there is one quadratic program for each
operation and each size k = |S| = 1..n:

$$\min_{x, \beta} \tfrac12 \|x - w\|^2 + \tfrac\rho2 (\beta - b)^2 \quad \text{such that}$$

- dilation: $\sum_{\bar S} x^+ + \epsilon \le \beta$ and
  $\beta + \sum_{\bar S} x^- + \epsilon \le x_j$ for j in S;
- erosion: $\beta + \sum_{\bar S} x^- + \epsilon \le \sum_S x$ and
  $\sum_S x + \sum_{\bar S} x^+ + \epsilon - x_j \le \beta$ for j in S.

Solving 2n programs for each neuron is affordable because:

- once sorted, the constraints of candidate (operation, k) are the same for every neuron. cvxpy
  compiles one parametrised model per (n, operation, sign); its matrices for many k are stacked into
  one block-diagonal OSQP problem, set up once; a neuron only replaces the vectors q and u;
- any solution, however rough, is repaired into a feasible point (an upper bound on the distance),
  and its multipliers give a lower bound. So a first rough pass over all candidates leaves a
  handful that could still win, and only these are solved accurately;
- a neuron is OK only when the lower bounds of *all* candidates prove its answer optimal.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from morphax import _checks
from morphax.projection._qp_candidates import DILATION, EROSION, Bank, import_solvers
from morphax.projection._qp_search import search, task_solver
from morphax.projection.result import INVALID, NOT_CONVERGED, OK, Projection

_OPERATIONS = {"erosion": (EROSION,), "dilation": (DILATION,), "both": (DILATION, EROSION)}


def project_osqp(
    weights: ArrayLike,
    bias: ArrayLike,
    *,
    operation: str = "both",
    nonnegative: bool = True,
    bias_weight: float = 1.0,
    margin: float = 0.0,
    relative_margin: float = 0.0,
    candidates: Iterable[int] | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 20_000,
    processes: int | None = None,
) -> Projection:
    r"""Project neurons onto the activable ones by quadratic programming (extra `solvers`).

    The function works under `jit` and `vmap`, through a host callback; it has no gradient. The
    solver adapts as it goes, so the result of a neuron may depend, within `tolerance`, on its bank.

    Args:
        weights: effective weights, real `(..., n)`, any scale.
        bias: thresholds that are subtracted, real `(...)`.
        operation: `"erosion"`, `"dilation"` or `"both"` (the nearer of the two).
        nonnegative: ask for projected weights >= 0; otherwise weights outside S keep free signs.
        bias_weight: $\rho > 0$ of the metric $|x - w|^2 + \rho (\beta - b)^2$.
        margin: safety margin >= 0 in units of the bias.
        relative_margin: further margin >= 0, as a multiple of the input norm $\|(w, b)\|$.
        candidates: sizes |S| in 1..n to try; all of them by default.
        tolerance: relative gap between the squared distance and its proven lower bound at which a
            neuron counts as solved, > 0 (or 1e-13 of the squared input norm, if that is more).
        max_iterations: limit of OSQP iterations for one program (or stack of programs).
        processes: worker processes (spawned: scripts need the `if __name__ == "__main__"` guard;
            a worker takes seconds to start); by default none, everything runs in this one.
            The result does not depend on it.

    Returns:
        A `Projection` with the shapes and dtype of the input. The constraints hold in float64,
        before the result is rounded to the input's dtype. The status is `OK`; `INVALID`, with NaN
        outputs, for a neuron that is not finite; or `NOT_CONVERGED` when optimality was not proven
        (the point is still feasible, perhaps not the nearest).

    Raises:
        ImportError: if cvxpy or osqp is missing.
        ValueError: if shapes or options are wrong.

    Example:
        >>> import morphax.projection._qp as qp
        >>> nearest = qp.project_osqp([[0.9, 0.8, 0.3]], [0.5])
        >>> nearest.selem.tolist(), int(nearest.operation[0])
        ([[True, True, False]], 1)
        >>> float(nearest.distance[0])
        0.0
    """
    import_solvers()
    _checks.one_of("operation", operation, _OPERATIONS)
    weights, bias = jnp.asarray(weights), jnp.asarray(bias)
    dtype = jnp.result_type(weights, bias, 0.0)  # float for integers too
    _checks.require(jnp.issubdtype(dtype, jnp.floating), "weights, bias", "real dtypes", dtype)
    sizes = _check_options(
        weights,
        bias,
        candidates,
        at_least_zero={"margin": margin, "relative_margin": relative_margin},
        at_least_one={"max_iterations": max_iterations, "processes": processes or 1},
        positive={"bias_weight": bias_weight, "tolerance": tolerance},
    )
    project = functools.partial(
        _project_host,
        operations=_OPERATIONS[operation],
        nonnegative=bool(nonnegative),
        bias_weight=float(bias_weight),
        margin=float(margin),
        relative_margin=float(relative_margin),
        sizes=sizes,
        tolerance=float(tolerance),
        max_iterations=int(max_iterations),
        processes=1 if processes is None else int(processes),
        dtype=np.dtype(dtype),
    )
    vector, scalar = weights.shape, bias.shape
    kinds = ((vector, dtype), (scalar, dtype), (vector, bool), (scalar, jnp.int8))
    kinds += ((scalar, dtype), (scalar, jnp.int8))  # in the order of the fields
    shapes = Projection._make(jax.ShapeDtypeStruct(*kind) for kind in kinds)
    return jax.pure_callback(project, shapes, weights, bias, vmap_method="broadcast_all")


def _check_options(
    weights: jax.Array,
    bias: jax.Array,
    candidates: Iterable[int] | None,
    *,
    at_least_zero: dict[str, float],
    at_least_one: dict[str, int],
    positive: dict[str, float],
) -> tuple[int, ...]:
    """Raise `ValueError` for wrong shapes or options; return the sizes of S to try."""
    expected = "weights of shape (..., n), n >= 1, and bias of shape (...)"
    shapes_fit = weights.ndim > 0 and weights.shape[-1] > 0 and weights.shape[:-1] == bias.shape
    _checks.require(shapes_fit, "weights, bias", expected, (weights.shape, bias.shape))
    n = weights.shape[-1]
    sizes = tuple(range(1, n + 1)) if candidates is None else tuple(sorted(set(candidates)))
    inside = len(sizes) > 0 and sizes[0] >= 1 and sizes[-1] <= n
    _checks.require(inside, "candidates", f"sizes between 1 and {n}", candidates)
    for name, value in at_least_zero.items():
        _checks.require(0 <= value < np.inf, name, "a finite number >= 0", value)
    for name, value in at_least_one.items():
        _checks.require(value >= 1, name, "an integer >= 1", value)
    for name, value in positive.items():
        _checks.require(0 < value < np.inf, name, "a finite number > 0", value)
    return sizes


def _project_host(weights: Any, bias: Any, *, dtype: np.dtype, **options: Any) -> Projection:
    """Project numpy arrays `(..., n)` and `(...)` in float64; return them in `dtype`."""
    weights, bias = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
    flat = weights.reshape(-1, weights.shape[-1])
    point, beta, selem, operation, distance, status = _project(flat, bias.reshape(-1), **options)
    return Projection._make(
        (
            point.reshape(weights.shape).astype(dtype),
            beta.reshape(bias.shape).astype(dtype),
            selem.reshape(weights.shape),
            operation.reshape(bias.shape).astype(np.int8),
            distance.reshape(bias.shape).astype(dtype),
            status.reshape(bias.shape).astype(np.int8),
        )
    )


def _project(
    weights: np.ndarray,
    bias: np.ndarray,
    *,
    operations: Sequence[int],
    nonnegative: bool,
    bias_weight: float,
    margin: float,
    relative_margin: float,
    sizes: Sequence[int],
    tolerance: float,
    max_iterations: int,
    processes: int,
) -> tuple[np.ndarray, ...]:
    """Normalise and sort the neurons, search, and undo both; weights `(N, n)`, bias `(N,)`."""
    # Neurons that are not finite are solved as zeros, and marked at the end.
    valid = np.isfinite(weights).all(1) & np.isfinite(bias)
    w, b = np.where(valid[:, None], weights, 0.0), np.where(valid, bias, 0.0)
    peak = np.maximum(np.abs(w).max(1, initial=0.0), np.abs(b))
    # The squares of tiny or huge numbers must neither underflow nor overflow.
    peak = np.where(peak > 0, peak, 1.0)
    norm = peak * np.sqrt(((w / peak[:, None]) ** 2).sum(1) + (b / peak) ** 2)
    scale = np.where(norm + margin > 0, norm + margin, 1.0)
    order = np.argsort(-w, axis=1, kind="stable")
    bank = Bank(
        weights=np.take_along_axis(w, order, 1) / scale[:, None],
        bias=b / scale,
        margin=(margin + relative_margin * norm) / scale,
        nonnegative=nonnegative,
        bias_weight=bias_weight,
    )
    # All candidates: the columns of a grid of neurons and candidates.
    grid = [(operation, k) for operation in operations for k in sizes]
    with task_solver(bank, processes) as solve_tasks:
        best, value, point, beta, proven = search(
            bank, grid, solve_tasks, valid, tolerance, max_iterations
        )
    operation, size = np.asarray(grid, int).reshape(-1, 2)[best].T
    if len(operations) == 2:  # |S| = 1 is both: the rule of the certificate names it
        dilates = beta <= np.maximum(point, 0).sum(1) / 2
        operation = np.where(size == 1, np.where(dilates, DILATION, EROSION), operation)
    # The inverse of the sort puts points and structuring elements back in order.
    rank = np.argsort(order, axis=1, kind="stable")
    status = np.where(valid, np.where(proven, OK, NOT_CONVERGED), INVALID)
    nan = np.where(valid, 1.0, np.nan)
    return (
        np.take_along_axis(point, rank, 1) * (scale * nan)[:, None],
        beta * scale * nan,
        (rank < size[:, None]) & valid[:, None],
        np.where(valid, operation, EROSION),
        np.sqrt(value) * scale * nan,
        status,
    )
