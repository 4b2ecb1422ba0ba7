"""Both exact solvers: shapes, dtypes and options, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from morphax.projection import project_exact, project_symmetric
from morphax.projection.result import OK

SOLVERS = pytest.mark.parametrize("solve", [project_exact, project_symmetric])


@SOLVERS
def test_empty_bank(solve):
    near = solve(jnp.zeros((0, 3, 5)), jnp.zeros((0, 3)))
    assert near.weights.shape == near.selem.shape == (0, 3, 5)
    assert near.bias.shape == near.status.shape == near.distance.shape == (0, 3)


@SOLVERS
def test_half_precision_is_kept(solve):
    near = solve(jnp.array([1.0, 0.5, 0.25], jnp.bfloat16), jnp.array(0.4, jnp.bfloat16))
    assert near.weights.dtype == near.bias.dtype == jnp.bfloat16
    assert near.status == OK


@SOLVERS
@pytest.mark.parametrize(
    "weights, bias, options, word",
    [
        (np.zeros(()), np.zeros(()), {}, "weights"),
        (np.zeros((2, 0)), np.zeros(2), {}, "weights"),
        (np.zeros((2, 3)), np.zeros(3), {}, "bias"),
        (np.zeros((2, 3), int), np.zeros(2), {}, "weights"),
        (np.zeros((2, 3)), np.zeros(2), {"operation": "opening"}, "operation"),
        (np.zeros((2, 3)), np.zeros(2), {"bias_weight": 0.0}, "bias_weight"),
        (np.zeros((2, 3)), np.zeros(2), {"margin": -1.0}, "margin"),
        (np.zeros((2, 3)), np.zeros(2), {"relative_margin": float("nan")}, "relative_margin"),
    ],
)
def test_wrong_arguments(solve, weights, bias, options, word):
    with pytest.raises(ValueError, match=rf"^{word}: expected .*, got "):
        jax.jit(lambda w, b: solve(w, b, **options))(weights, bias)


@SOLVERS
@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_lowers_without_x64(solve, platform):
    """The solvers work in float64 inside a float32 program: lowering must not depend on x64."""
    traced = jax.jit(solve).trace(jnp.zeros((8, 100)), jnp.zeros(8))
    assert "f64" in traced.lower(lowering_platforms=(platform,)).as_text()
