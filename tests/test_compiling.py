"""Programs that are compiled quickly are the same programs, wherever they are called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from morphax import _compiling
from morphax._compiling import quick_jit


@pytest.fixture
def double():
    """A function with a static argument, and the number of times it was traced."""
    traced = []

    def function(x, times):
        traced.append(times)
        return {"y": x["x"] * times}

    return quick_jit(function, static_argnames="times"), traced


def test_every_way_to_call(double):
    function, traced = double
    x = jnp.arange(3.0)
    expected = 2 * np.arange(3.0)
    np.testing.assert_array_equal(function({"x": x}, times=2)["y"], expected)
    np.testing.assert_array_equal(function({"x": x}, times=2)["y"], expected)
    assert len(traced) == 1

    def one(x):
        return function({"x": x}, times=2)["y"]

    np.testing.assert_array_equal(jax.jit(one)(x), expected)
    np.testing.assert_array_equal(jax.vmap(one)(x), expected)
    np.testing.assert_array_equal(jax.grad(lambda x: one(x).sum())(x), np.full(3, 2.0))
    # Arguments that are known while another program is traced.
    np.testing.assert_array_equal(jax.jit(lambda y: y + one(x))(x), 1.5 * expected)
    np.testing.assert_array_equal(jax.lax.map(lambda y: y + one(x), x)[1], expected + 1)


@pytest.mark.parametrize("numbers", [3, _compiling.FEW + 1])
def test_few_numbers_and_many(double, numbers):
    x = jnp.arange(numbers, dtype=jnp.float32)
    np.testing.assert_array_equal(double[0]({"x": x}, times=2)["y"], 2 * np.arange(numbers))


@pytest.mark.parametrize("dtype", [np.float32, jnp.float32, "float32", np.dtype("float32")])
def test_static_arguments_may_be_types(dtype):
    """A class of numpy has an attribute `size` that is no number."""
    function = quick_jit(lambda x, dtype: x.astype(dtype), static_argnames="dtype")
    assert function(jnp.arange(3), dtype=dtype).dtype == np.float32


def test_options_that_xla_does_not_know_are_left_out(monkeypatch, double):
    _compiling._are_known.cache_clear()
    monkeypatch.setitem(_compiling._OPTIONS_FOR_FEW, "xla_no_such_option", True)
    assert not _compiling._are_known()
    np.testing.assert_array_equal(double[0]({"x": jnp.ones(2)}, times=3)["y"], [3, 3])
    _compiling._are_known.cache_clear()
