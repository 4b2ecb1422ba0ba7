"""How far does the projection behave as docs/theory.md describes it, on random neurons?

    python benchmarks/projection_claims.py [--smoke] [--out DIR]

1. In how many problems is the distance to the best set of k elements not unimodal in k (5c)?
2. How many Newton steps does a candidate take from a cold start (5b)?
3. How much farther is the erosion that is found by way of dilations, as in the papers' code (5e)?

No timing: rows have columns of their own. Neurons have normal weights and b = sum(w) / 2 + a
normal number, in float64; the projection asks for weights >= 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common

import morphax
from morphax.projection import _scalar


def draw(seed: int, count: int, n: int) -> tuple[jax.Array, jax.Array]:
    """Return weights `(count, n)` and biases `(count,)`."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(count, n))
    return jnp.asarray(weights), jnp.asarray(weights.sum(1) / 2 + rng.normal(size=count))


def candidates(weights: jax.Array, bias: jax.Array) -> tuple[_scalar.SortedBank, Any]:
    """Return the bank, and all sizes of both operations as unsolved problems `(2, count, n)`."""
    count, n = weights.shape
    descending = -jnp.sort(-weights, axis=-1)
    sums = [jnp.pad(jnp.cumsum(x, -1), ((0, 0), (1, 0))) for x in (descending, descending**2)]
    ones = jnp.ones(count)
    bank = _scalar.SortedBank(
        descending.reshape(-1), *(x.reshape(-1) for x in sums), bias, 0 * ones, ones
    )
    dilation, row, size = jnp.indices((2, count, n), dtype=jnp.int32)
    return bank, _scalar.relax(bank, n, row, dilation == 0, size + 1, size + 1)


def unimodal(distances: np.ndarray) -> np.ndarray:
    """Return which rows `(..., n)` fall, then rise: no local minimum beside the least one."""
    least_step = 1e-9 * np.abs(distances).max(-1, keepdims=True)  # smaller ones are rounding
    steps = np.diff(distances)
    has_risen = np.logical_or.accumulate(steps > least_step, axis=-1)
    return ~(has_risen & (steps < -least_step)).any(-1)


def sizes(seed: int, count: int, n: int) -> dict[str, Any]:
    """Solve every candidate of some neurons; return the row of questions 1 and 2."""
    options = _scalar.Options(n, True)
    bank, node = candidates(*draw(seed, count, n))
    step = jax.jit(lambda node: _scalar.solve(options, bank, node, steps=1))
    bound, most, waiting = jnp.full(node.u.shape, -jnp.inf), 0, True
    while waiting:
        new, node, converged = step(node)
        bound, most = jnp.maximum(bound, new), most + 1
        waiting = not bool(converged.all()) and most < _scalar.MAX_STEPS
    share = float((~unimodal(np.asarray(bound))).mean())
    return {"n": n, "problems": 2 * count, "not_unimodal": share, "newton_steps": most}


def sheared(seed: int, count: int, n: int) -> dict[str, Any]:
    """Project neurons onto erosions, directly and by way of dilations; return their row."""
    weights, bias = draw(seed, count, n)
    total = weights.sum(-1)
    near = morphax.project(weights, bias, operation="erosion")
    mapped = morphax.project(weights, total - bias, operation="dilation")
    # The point that came back from the dilations, in the coordinates of erosions.
    back = mapped.weights.sum(-1) - mapped.bias
    squared = ((mapped.weights - weights) ** 2).sum(-1) + (back - bias) ** 2
    far = np.asarray(near.distance) > 1e-6  # the others are erosions already
    ratios = np.asarray(squared)[far] / np.asarray(near.distance)[far] ** 2
    low, median, high = np.percentile(ratios, [5, 50, 95])
    row = {"n": n, "problems": int(far.sum()), "ratio_5": low, "ratio_50": median}
    return {**row, "ratio_95": high, "ratio_least": ratios.min(), "ratio_most": ratios.max()}


def main() -> None:
    """Answer the questions for several numbers of inputs; write projection_claims.json."""
    options = common.options_parser(__doc__, smoke="few neurons").parse_args()
    jax.config.update("jax_enable_x64", True)
    about = common.metadata(
        "projection_claims", unit="problem", reference="none", smoke=options.smoke
    )
    count = 20 if options.smoke else 500
    every = [4] if options.smoke else [8, 25, 100, 784]
    rows = [{"question": "sizes", **sizes(n, min(count, 40_000 // n), n)} for n in every]
    every = [4] if options.smoke else range(2, 9)
    rows += [{"question": "sheared", **sheared(n, count, n)} for n in every]
    common.write_rows(options.out / "projection_claims.json", about, rows)
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
