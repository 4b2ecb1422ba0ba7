"""The other ways to project: what `projection.py` compares with, candidate by candidate.

Each peer solves single candidates (an operation and a size k of S, weights sorted in decreasing
order) and returns the squared distances it found; the full search costs 2n of them.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from morphax.projection._qp_candidates import DILATION, model

Candidate = tuple[int, int]  # operation, k


def papers_way(w, b, candidates: Sequence[Candidate], nonnegative: bool) -> list[float]:
    """cvxpy + OSQP, as in the papers' code: one problem built and compiled per candidate."""
    import cvxpy as cp

    n, scale, squared = len(w), np.sqrt(w @ w + b * b), []
    for operation, k in candidates:
        x, beta = cp.Variable(n), cp.Variable()
        # with free signs x is the positive part; squares of both parts may be summed
        negative = None if nonnegative else cp.Variable(n)
        cost = cp.sum_squares(x - w / scale) + cp.square(beta - b / scale)
        rows = [x >= 0]
        plus, minus = (cp.sum(x[k:]), 0.0) if k < n else (0.0, 0.0)
        if negative is not None:
            cost = cp.sum_squares(x) + cp.sum_squares(negative) + cp.square(beta - b / scale)
            cost += (w @ w) / scale**2 - 2 * (w / scale) @ (x - negative)
            rows += [negative >= 0, negative[:k] == 0]
            minus = cp.sum(negative[k:]) if k < n else 0.0
        floor = cp.Variable()  # without it every row on S would hold the whole sum: a dense matrix
        if operation == DILATION:
            rows += [plus <= beta, floor == beta + minus, floor <= x[:k]]
        else:
            rows += [beta + minus <= cp.sum(x[:k]), floor == cp.sum(x) - beta, floor <= x[:k]]
        problem = cp.Problem(cp.Minimize(cost), rows)
        problem.solve(solver=cp.OSQP)
        squared.append(float(problem.value) * scale**2)
    return squared


def raw_osqp(
    n: int, candidates: Sequence[Candidate], nonnegative: bool
) -> Callable[[np.ndarray, float], list[float]]:
    """OSQP's own interface: one solver an operation, matrix entries updated for each candidate."""
    import cvxpy as cp
    import osqp
    from scipy import sparse

    steps, solvers = [], {}
    for operation, k in candidates:
        problem, selem = model(n, operation, nonnegative, 1.0)
        selem.value = (np.arange(n) < k).astype(float)
        data, *_ = problem.get_problem_data(cp.OSQP)
        steps.append((operation, k, data["F"].data.copy()))
        if operation not in solvers:
            solver = solvers[operation] = osqp.OSQP()
            # block_diag of one block: OSQP wants matrices with 32-bit indices
            quadratic, matrix = (
                sparse.csc_matrix(sparse.block_diag([data[name]], format="csc")) for name in "PF"
            )
            size, rows = quadratic.shape[0], matrix.shape[0]
            bounds = np.full(rows, -np.inf), np.zeros(rows)
            options = dict(eps_abs=1e-5, eps_rel=1e-5, polishing=True, verbose=False)
            solver.setup(quadratic, np.zeros(size), matrix, *bounds, **options)

    def solve(w: np.ndarray, b: float) -> list[float]:
        scale = np.sqrt(w @ w + b * b)
        q = np.concatenate([-w, [-b, 0.0], [] if nonnegative else w]) / scale
        squared = []
        for operation, k, entries in steps:
            solvers[operation].update(q=q, Ax=entries)
            x = np.asarray(solvers[operation].solve(raise_error=False).x) * scale
            point = x[:n].copy()
            if not nonnegative:
                point[k:] -= x[n + 2 + k :]
            squared.append(float(((point - w) ** 2).sum() + (x[n] - b) ** 2))
        return squared

    return solve


def box_osqp(
    n: int, candidates: Sequence[Candidate], nonnegative: bool, tolerance: float = 1e-3
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """jaxopt.BoxOSQP with O(n) matrix-free operators, vmapped over the candidates, float32."""
    import jaxopt

    selem = jnp.asarray(np.arange(n) < np.array([[k] for _, k in candidates]), jnp.float32)
    dilates = jnp.asarray([op == DILATION for op, _ in candidates])

    def rows(params, z):  # every row >= 0; z = (x or its positive part, beta, negative part)
        inside, dilation = params
        x, beta, negative = z[:n], z[n], z[n + 1 :]
        plus = jnp.sum((1 - inside) * x)
        minus = 0.0 if nonnegative else jnp.sum((1 - inside) * negative)
        first = jnp.where(dilation, beta - plus, jnp.sum(inside * x) - beta - minus)
        floor = jnp.where(dilation, beta + minus, jnp.sum(x) - beta)
        return jnp.concatenate([first[None], x - inside * floor, negative])

    solver = jaxopt.BoxOSQP(lambda _, z: z, rows, tol=tolerance, maxiter=4000, jit=True)

    def one(inside, dilation, w, b):
        scale = jnp.sqrt(w @ w + b * b)
        q = -jnp.concatenate([w, b[None], w[:0] if nonnegative else -w]) / scale
        count = n + 1 + (0 if nonnegative else n)
        bounds = jnp.zeros(count), jnp.full(count, jnp.inf)
        # the operators carry their own matrices, so the parameters of Q are empty
        found = solver.run(params_obj=((), q), params_eq=(inside, dilation), params_ineq=bounds)
        z = found.params.primal[0] * scale
        x = z[:n]
        if not nonnegative:
            x = x - (1 - inside) * z[n + 1 :]
        return jnp.sum((x - w) ** 2) + (z[n] - b) ** 2

    batched = jax.jit(jax.vmap(one, in_axes=(0, 0, None, None)))
    return lambda w, b: batched(selem, dilates, w, b)
