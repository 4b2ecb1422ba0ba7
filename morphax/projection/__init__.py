"""Projection of neurons onto morphological ones: the nearest parameters that are exactly binary.

`project` is the one entry. The solvers behind it are `_exact` (ours, batched, in JAX), `_symmetric`
(SyBiSE neurons, in their own coordinates), `_qp` (cvxpy/OSQP, the independent check) and `constant`
(constant sets theta 1_S). All of them take a bank, weights `(..., n)` and bias `(...)`, and return
a `Projection`. docs/projection.md explains the method, docs/theory.md proves it.
"""

from typing import Any

import jax

from morphax import _checks
from morphax.projection._exact import project_exact as project_exact
from morphax.projection._symmetric import project_symmetric as project_symmetric
from morphax.projection.constant import project_constant as project_constant
from morphax.projection.result import STATUS_TEXT as STATUS_TEXT
from morphax.projection.result import Projection as Projection

SETS = ("activable", "constant")
SOLVERS = ("exact", "osqp")


def project(
    weights: jax.Array,
    bias: jax.Array,
    *,
    onto: str = "activable",
    solver: str = "exact",
    operation: str = "both",
    nonnegative: bool | None = None,
    symmetric: bool = False,
    bias_weight: float = 1.0,
    margin: float = 0.0,
    relative_margin: float = 0.0,
    threshold: str = "exact",
    **solver_options: Any,
) -> Projection:
    """Project every neuron of a bank onto the nearest erosion or dilation.

    Args:
        weights: effective weights, float `(..., n)`.
        bias: effective bias (the threshold that is subtracted), float `(...)`.
        onto: set to project onto: "activable", all parameters that are exactly an operation on
            binary images (the papers' exact approximation), or "constant", theta 1_S (their second
            one).
        solver: "exact" (batched, in JAX) or "osqp" (cvxpy/OSQP on the host; extra "solvers").
        operation: "erosion", "dilation", or "both" for the nearer one. It is read for "activable"
            only.
        nonnegative: ask for projected weights >= 0; by default true, except for symmetric neurons.
        symmetric: project SyBiSE neurons, on {-1, 1}; for the solver "exact" only.
        bias_weight: rho > 0 in the metric |x - w|^2 + rho (beta - b)^2.
        margin: distance kept from the bounds of the bias, in units of the bias. With a margin above
            the rounding allowance, the result is certified strictly.
        relative_margin: further margin, as a multiple of ||(w, b)||; the two are added.
        threshold: "exact", "uniform" or "normal". It is read for "constant" only.
        **solver_options: options of the solver "osqp": tolerance, max_iterations, processes,
            candidates (`morphax.projection._qp.project_osqp`).

    Returns:
        A `Projection`. Its `distance` is Euclidean in (w, b), or in w alone for constant sets.

    Raises:
        ValueError: if an option is unknown, shapes do not fit, or the chosen solver does not have
            an option that was given.
        ImportError: if the solver is "osqp" and cvxpy or osqp is not installed.

    The problem is from Aouad & Talbot, arXiv 2401.03830, section 4; the solver is ours.

    Example:
        >>> import jax.numpy as jnp
        >>> near = project(jnp.array([1.0, 0.9, 0.3, 0.3]), jnp.array(0.5))
        >>> near.selem.tolist(), int(near.operation)
        ([True, True, False, False], 1)
    """
    _checks.one_of("onto", onto, SETS)
    _checks.one_of("solver", solver, SOLVERS)
    exact = solver == "exact"
    expected = "none for solver 'exact'"
    _checks.require(
        not (exact and solver_options), "solver_options", expected, sorted(solver_options)
    )
    if onto == "constant":
        _checks.require(exact, "solver", "'exact' for constant sets", solver)
        return project_constant(weights, bias, threshold=threshold)
    options: dict[str, Any] = {
        "operation": operation,
        "nonnegative": not symmetric if nonnegative is None else nonnegative,
        "bias_weight": bias_weight,
        "margin": margin,
        "relative_margin": relative_margin,
    }
    if symmetric:
        _checks.require(exact, "solver", "'exact' for symmetric neurons", solver)
        return project_symmetric(weights, bias, **options)
    if exact:
        return project_exact(weights, bias, **options)
    from morphax.projection._qp import project_osqp  # needs cvxpy and osqp

    return project_osqp(weights, bias, **options, **solver_options)
