"""Public functions under strict dtype promotion give the same, with x64 and without.

All other tests run under strict promotion too, but for those that ask for `standard_promotion`
(tests/conftest.py).
"""

import jax
import numpy as np
import pytest
from helpers.public_calls import CALLS, LEARNING

# Cheap ones that mixed dtypes once, or are of the same kind.
QUICK = (
    "dice",
    "iou",
    "accuracy",
    "f_measure",
    "bce",
    "local_contrast",
    "linear_head",
    "set_scale",
    "certify_neurons, mixed dtypes",
)


def results(call, *, promotion, x64):
    with jax.enable_x64(x64), jax.numpy_dtype_promotion(promotion):
        leaves = jax.tree.leaves(call())
        return [leaf if isinstance(leaf, str) else np.asarray(leaf) for leaf in leaves]


def check(call, x64):
    expected = results(call, promotion="standard", x64=x64)
    found = results(call, promotion="strict", x64=x64)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        if isinstance(a, str):
            assert a == b
        else:
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.first(3)
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("name", QUICK)
def test_quick_functions(name, x64):
    check(CALLS[name], x64)


# `learn_union` trains with the code of `learn_operator`.
@pytest.mark.slow
@pytest.mark.parametrize("name", [*sorted({*CALLS} - {*QUICK, "learn_union"}), *LEARNING])
def test_all_functions_with_x64(name):
    """Mixed dtypes raise an error; without x64 the tests of each function show the same."""
    assert results({**CALLS, **LEARNING}[name], promotion="strict", x64=True)
