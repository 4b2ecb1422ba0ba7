"""The independent judge of the exact projection: Clarabel, called directly, on every fixed-S QP.

`nearest` is brute force over structuring elements (every non-empty one, or the level sets of the
weights) and operations in float64. As a program it compares `project_exact` with it at length:

    python tests/helpers/projection_oracle.py --problems 2000
"""

import argparse
import itertools
import time

import clarabel
import numpy as np
from scipy import sparse

SETTINGS = list(itertools.product(("erosion", "dilation", "both"), (True, False)))


def fixed(w, b, selem, operation, nonnegative, bias_weight=1.0, margin=0.0) -> float:
    """Squared distance from (w, b) to the activable set of one structuring element.

    Variables (x, beta, t, s) with t >= x^+ and s >= x^- for the elements outside S.
    """
    n, out = w.size, np.flatnonzero(~selem)
    m = out.size
    eye = np.eye(n + 1 + 2 * m)
    x, beta, t, s = eye[:n], eye[n], eye[n + 1 : n + 1 + m], eye[n + 1 + m :]
    inside, t_sum, s_sum = x[selem], t.sum(0), s.sum(0)
    if operation == "dilation":
        rows = [t_sum - beta, *(beta + s_sum - inside)]
    else:
        rows = [beta + s_sum - inside.sum(0), *(inside.sum(0) + t_sum - inside - beta)]
    signs = [*(x[out] - t), *-t, *(-x[out] - s), *-s, *(-x if nonnegative else -inside)]
    return distance(w, b, rows, signs, bias_weight, margin)


def distance(w, b, rows, signs, bias_weight, margin) -> float:
    """Squared distance from (w, b) to the points with rows <= -margin and signs <= 0.

    Constraints are linear in (x, beta, further variables).
    """
    n, matrix = w.size, np.array([*rows, *signs])
    more = np.zeros(matrix.shape[1] - n - 1)
    cost = np.concatenate([np.full(n, 2.0), [2 * bias_weight], more])
    linear = np.concatenate([-2 * w, [-2 * bias_weight * b], more])
    bound = np.concatenate([np.full(len(rows), -margin), np.zeros(len(signs))])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    problem = (sparse.diags(cost).tocsc(), linear, sparse.csc_matrix(matrix), bound)
    cones = [clarabel.NonnegativeConeT(len(bound))]
    solution = clarabel.DefaultSolver(*problem, cones, settings).solve()
    value = _polish(cost, linear, matrix, bound, np.array(solution.z), np.array(solution.s))
    if value is None:
        assert str(solution.status) in ("Solved", "AlmostSolved"), solution.status
        value = np.array(solution.x)
    return float(((value[:n] - w) ** 2).sum() + bias_weight * (value[n] - b) ** 2)


def _polish(cost, linear, matrix, bound, multipliers, slack):
    """The point where Clarabel's active constraints are equalities, if it satisfies the rest."""
    if cost.size > 60:  # polishing is dense
        return None
    active = matrix[multipliers > slack]
    zero = np.zeros((len(active), len(active)))
    system = np.block([[np.diag(cost), active.T], [active, zero]])
    right = np.concatenate([-linear, bound[multipliers > slack]])
    solution = np.linalg.lstsq(system, right, rcond=1e-13)[0]
    x, z = solution[: cost.size], solution[cost.size :]
    size = np.abs(linear).max() + np.abs(bound).max()
    wrong = [*(matrix @ x - bound), *-z, *np.abs(system @ solution - right)]
    return x if max(wrong) <= 1e-11 * size else None


def structuring_elements(w, every: bool):
    """All non-empty S, or the n level sets (one order within ties is enough)."""
    if every:
        bits = itertools.product((False, True), repeat=w.size)
        return [np.array(s) for s in bits if any(s)]
    rank = np.argsort(np.argsort(-w, kind="stable"))
    return [rank < k for k in range(1, w.size + 1)]


def nearest(w, b, operation="both", nonnegative=True, every=False, **metric) -> float:
    """Squared distance from (w, b) to the activable parameters, by brute force."""
    operations = ("erosion", "dilation") if operation == "both" else (operation,)
    return min(
        fixed(w, b, s, o, nonnegative, **metric)
        for s in structuring_elements(w, every)
        for o in operations
    )


def violation(w, b, selem, dilation, margin=0.0) -> float:
    """How far (w, b) is outside the activable set of S, relative to its size (float64)."""
    w, b = np.asarray(w, np.float64), float(b)
    plus, minus = np.maximum(w, 0), np.maximum(-w, 0).sum()
    low = plus[~selem].sum() if dilation else plus.sum() - w[selem].min()
    high = (w[selem].min() if dilation else plus[selem].sum()) - minus
    return max(low + margin - b, b - high + margin) / max(1e-300, np.abs(w).sum() + abs(b))


def problems(rng: np.random.Generator, count: int, n: int):
    """Random neurons: plain, sparse, tied, nearly activable; b negative to beyond the sum."""
    w = rng.normal(size=(count, n))
    kind = rng.integers(6, size=count)
    w[kind == 1] = np.abs(w[kind == 1])
    w[kind == 2] = np.round(w[kind == 2])
    w[kind == 3] *= rng.uniform(size=(np.sum(kind == 3), n)) < 0.5
    w[kind == 4] = np.abs(np.round(2 * w[kind == 4]) / 2)
    w[kind == 5] = (w[kind == 5] > 0) + 0.1 * w[kind == 5]
    total = np.maximum(w, 0).sum(1)
    b = total * rng.uniform(0, 1, count) + 0.3 * rng.normal(size=count)
    far = rng.integers(8, size=count)
    b = np.where(far == 0, -np.abs(b), np.where(far == 1, total + np.abs(b), b))
    return w, b


def compare(project, rng, count, n, operation, nonnegative, every, **metric) -> np.ndarray:
    """The worst of `count` problems: squared distance too long, too short, violation.

    Ours is feasible and the length of the move is measured, so "too long" (relative to the squared
    distance, or 1e-6 of the squared norm where that is more) is the judgement of our optimum;
    "too short" (relative to 1e-3 of the squared norm) only measures the accuracy of the judge.
    """
    w, b = problems(rng, count, n)
    asked = dict(operation=operation, nonnegative=nonnegative, **metric)
    ours = [np.asarray(x) for x in project(w, b, **asked)]
    assert not ours[5].any()
    margin, rho = metric.get("margin", 0.0), metric.get("bias_weight", 1.0)
    worst = np.zeros(3)
    for wi, bi, x, beta, selem, dilation, distance, _ in zip(w, b, *ours, strict=True):
        exact = nearest(wi, bi, every=every, **asked)
        moved = ((x - wi) ** 2).sum() + rho * (beta - bi) ** 2
        size = (wi**2).sum() + bi**2 + margin**2
        outside = violation(x, beta, selem, dilation, margin)
        if nonnegative:
            outside = max(outside, -x.min())
        long = max(moved, distance**2) - exact
        short = exact - min(moved, distance**2)
        ratios = long / max(exact, 1e-6 * size), short / max(exact, 1e-3 * size), outside
        worst = np.maximum(worst, ratios)
    return worst


METRICS = (
    {},
    {"margin": 0.05},
    {"bias_weight": 0.01},
    {"margin": 0.1, "bias_weight": 100.0},
    {"margin": 0.02, "bias_weight": 3.0},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problems", type=int, default=2000, help="a setting")
    count = parser.parse_args().problems

    import jax

    from morphax.projection._exact import project_exact

    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    for operation, nonnegative in SETTINGS:
        begun = time.time()
        worst = np.zeros(3)
        part = -(-count // (8 * len(METRICS)))
        for n in range(1, 9):
            for metric in METRICS:
                args = (project_exact, rng, part, n, operation, nonnegative, n <= 4)
                worst = np.maximum(worst, compare(*args, **metric))
        sign = "w >= 0" if nonnegative else "free sign"
        print(
            f"{operation:8} {sign:9}: {8 * part * len(METRICS)} problems, squared distance "
            f"{worst[0]:.1e} too long, {worst[1]:.1e} too short, violation {worst[2]:.1e}, "
            f"{time.time() - begun:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
