"""The result of a projection, whichever solver made it, and its status codes.

One neuron has n effective weights and one bias (the threshold that is subtracted); a bank has
weights `(..., n)` and bias `(...)`. All projections of this folder take a bank and return a
`Projection` of the same shapes.
"""

from typing import NamedTuple

import jax

OK = 0
"""Status: the projection is exact up to rounding."""
DEGENERATE = 1
"""Status: no positive weight; the nearest set is degenerate and the largest weight was taken."""
NOT_CONVERGED = 2
"""Status: the solver stopped before its tolerance; do not trust the value."""
INVALID = 3
"""Status: a weight or the bias is NaN or infinite; the outputs of that neuron are NaN."""

STATUS_TEXT = {
    OK: "ok",
    DEGENERATE: "degenerate: no positive weight, the largest one was taken",
    NOT_CONVERGED: "not converged: raise the iteration limit or use solver='exact'",
    INVALID: "invalid: NaN or infinite parameters",
}


class Projection(NamedTuple):
    """Hold the nearest morphological neuron of every neuron of a bank.

    Attributes:
        weights: projected weights, `(..., n)`.
        bias: projected bias, `(...)`.
        selem: the structuring element S of the set that was projected onto, bool `(..., n)`.
        operation: int8 `(...)`, 0 = erosion, 1 = dilation.
        distance: Euclidean distance of the move (not squared), `(...)`, in the metric asked for.
        status: int8 `(...)`, one of the codes of this module.
    """

    weights: jax.Array
    bias: jax.Array
    selem: jax.Array
    operation: jax.Array
    distance: jax.Array
    status: jax.Array
