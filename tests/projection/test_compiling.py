"""Programs that are compiled quickly are the same programs, wherever they are called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from morphax.projection import compiling
from morphax.projection.compiling import quick_jit


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


def test_options_that_xla_does_not_know_are_left_out(monkeypatch, double):
    compiling._are_known.cache_clear()
    monkeypatch.setitem(compiling._OPTIONS, "xla_no_such_option", True)
    assert not compiling._are_known()
    np.testing.assert_array_equal(double[0]({"x": jnp.ones(2)}, times=3)["y"], [3, 3])
    compiling._are_known.cache_clear()
