"""The search over all candidates: rough for all of them, accurate for the few that remain.

`morphax.projection._qp` says what is searched, and why the answer is proven.
"""

import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from morphax.projection._qp_candidates import Bank, Task, repair, solve

# For each pass: OSQP's tolerance, whether it polishes, and its iteration limit.
_PASSES = ((1e-3, False, 100), (1e-6, True, 2_000), (1e-9, True, 10**9))
_STACK = 1024  # weights in one stacked problem of the first pass; larger stacks solve no faster
_BATCH = 256  # neurons of one task: enough to amortise a set-up, few enough to share out
_ROUNDING = 1e-13  # of a squared distance, for a neuron of unit norm


def search(
    bank: Bank,
    grid: Sequence[tuple[int, int]],
    solve_tasks: Callable[[list[Task]], Iterable[tuple[np.ndarray, ...]]],
    valid: np.ndarray,
    tolerance: float,
    max_iterations: int,
) -> tuple[np.ndarray, ...]:
    """Find the nearest feasible point over all candidates, and say whether it is proven nearest.

    Args:
        bank: sorted neurons of norm <= 1.
        grid: the candidates: pairs of an operation and a size of S.
        solve_tasks: runs `solve` on tasks, in order.
        valid: which neurons are finite, bool `(N,)`.
        tolerance: relative gap at which a neuron counts as solved.
        max_iterations: limit of OSQP iterations for one program.

    Returns:
        The winning column of the grid `(N,)`, the squared distance `(N,)`, the point `(N, n)`, its
        bias `(N,)`, and whether it is proven nearest `(N,)`.
    """
    count = len(bank.bias)
    best, value = np.zeros(count, int), np.full(count, np.inf)
    point, beta = bank.weights.copy(), bank.bias.copy()
    lower = np.zeros((count, len(grid)))

    def keep_nearer(columns: Any, rows: np.ndarray, points: tuple[np.ndarray, ...]) -> None:
        nearer = points[2] < value[rows]
        rows = rows[nearer]
        best[rows] = np.broadcast_to(columns, nearer.shape)[nearer]
        point[rows], beta[rows], value[rows] = (array[nearer] for array in points)

    for column, (operation, k) in enumerate(grid):  # settles neurons that are activable already
        repaired = repair(bank, operation, k, bank.weights, bank.bias)
        keep_nearer(column, np.arange(count), repaired)
    for accuracy, polishing, limit in _PASSES:
        # Candidates that may still beat the best point of their neuron by more than the tolerance.
        unsettled = valid[:, None] & (lower < value[:, None] * (1 - tolerance) - _ROUNDING)
        stack = 1 if polishing else max(1, _STACK // bank.weights.shape[1])
        settings = accuracy, polishing, min(limit, max_iterations)
        tasks, starts = [], []
        for start, operation, sizes in _stacks(grid, stack):
            rows = np.flatnonzero(unsettled[:, start : start + len(sizes)].any(1))
            for part in np.split(rows, range(_BATCH, len(rows), _BATCH)):
                if len(part):
                    tasks.append(Task(operation, sizes, part, *settings))
                    starts.append(start)
        results = solve_tasks(tasks)
        for task, start, (bounds, which, *points) in zip(tasks, starts, results, strict=True):
            cells = np.ix_(task.neurons, range(start, start + len(task.sizes)))
            lower[cells] = np.maximum(lower[cells], bounds)
            keep_nearer(start + which, task.neurons, tuple(points))
    proven = np.all(lower >= value[:, None] * (1 - tolerance) - _ROUNDING, axis=1)
    return best, value, point, beta, np.asarray(proven)


def _stacks(grid: Sequence[tuple[int, int]], stack: int) -> Iterator[tuple[int, int, list[int]]]:
    """Cut the grid into stacks of at most `stack` neighbouring columns that share the operation.

    Yields:
        The first column of the stack, its operation, and its sizes of S.
    """
    start = 0
    while start < len(grid):
        operation = grid[start][0]
        sizes = [k for op, k in grid[start : start + stack] if op == operation]
        yield start, operation, sizes
        start += len(sizes)


@contextlib.contextmanager
def task_solver(bank: Bank, processes: int) -> Iterator[Callable[[list[Task]], Iterable]]:
    """Yield a function that maps `solve` over tasks in order, here or in spawned processes."""
    if processes == 1:
        yield lambda tasks: map(functools.partial(solve, bank), tasks)
        return
    context = multiprocessing.get_context("spawn")  # never forked: JAX is threaded
    with ProcessPoolExecutor(processes, context, _receive, (bank,)) as pool:
        yield lambda tasks: pool.map(_solve_received, tasks)


def _receive(bank: Bank) -> None:
    """Keep the bank of a worker: it is sent once to each worker, not with every task."""
    global _received
    _received = bank


def _solve_received(task: Task) -> tuple[np.ndarray, ...]:
    return solve(_received, task)
