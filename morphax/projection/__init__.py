"""Projection of neurons onto morphological ones: the nearest parameters that are exactly binary.

`project` is the one entry; the solvers behind it are `exact` (ours, batched, in JAX), `symmetric`
(SyBiSE neurons, in their own coordinates), `qp` (cvxpy/OSQP, the independent check) and `constant`
(constant sets theta 1_S). All take a bank, weights `(..., n)` and bias `(...)`, and give a `Projection`.
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
        onto: "activable", all parameters that are exactly an operation on binary images (the papers'
            exact approximation), or "constant", theta 1_S (their second one).
        solver: "exact" (batched, in JAX) or "osqp" (cvxpy/OSQP on the host; extra "solvers").
        operation: "erosion", "dilation" or "both", the nearer one; for "activable".
        nonnegative: ask for projected weights >= 0; by default true, except for symmetric neurons.
        symmetric: SyBiSE neurons, on {-1, 1}; solver "exact" only.
        bias_weight: rho > 0 in the metric |x - w|^2 + rho (beta - b)^2.
        margin: distance kept from the bounds of the bias, in its units; above the rounding allowance
            the result is certified strictly.
        relative_margin: the same as a multiple of ||(w, b)||; the two add up.
        threshold: "exact", "uniform" or "normal"; for "constant".
        **solver_options: of `morphax.projection._qp.project_osqp` (tolerance, max_iterations,
            processes, candidates).

    Returns:
        `Projection(weights, bias, selem, operation, distance, status)`; `distance` is Euclidean in
        (w, b), or in w alone onto constant sets.

    Raises:
        ValueError: unknown option, shapes that do not fit, an option the chosen solver does not have.
        ImportError: solver "osqp" without cvxpy and osqp.

    Source: Aouad & Talbot, arXiv 2401.03830, section 4; the solver is ours (docs/projection.md).

    Example:
        >>> import jax.numpy as jnp
        >>> near = project(jnp.array([1.0, 0.9, 0.3, 0.3]), jnp.array(0.5))
        >>> near.selem.tolist(), int(near.operation)
        ([True, True, False, False], 1)
    """
    _checks.one_of("onto", onto, SETS)
    _checks.one_of("solver", solver, SOLVERS)
    exact = solver == "exact"
    _checks.require(not (exact and solver_options), "solver_options", "none for solver 'exact'",
                   sorted(solver_options))  # fmt: skip
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
    from morphax.projection._qp import project_osqp

    return project_osqp(weights, bias, **options, **solver_options)
