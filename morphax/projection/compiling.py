"""Compiling large programs faster, where that costs nothing.

The projection is a program of many small loops. On a CPU, XLA's older emitters compile it in little
more than half the time, and it runs as fast (`benchmarks/first_calls.py`). Points and sets are the
same; a float64 distance may differ in the rounding of its sum.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

_OPTIONS: Any = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 4,
}


def quick_jit(function: Callable, **options: Any) -> Any:
    """Return `jax.jit(function)`, compiled quickly where it is called outside of other programs.

    Args:
        function: function of pytrees of arrays.
        **options: options of `jax.jit`.

    Returns:
        The jitted function. Within `jit`, `vmap`, `grad` and the like it is plain `jax.jit`, for
        JAX takes compiler options of whole programs only; likewise where the default backend is no
        CPU, or XLA does not know the options.

    Example:
        >>> import jax.numpy as jnp
        >>> float(quick_jit(lambda x: 2 * x)(jnp.ones(())))
        2.0
    """
    plain = jax.jit(function, **options)
    quick = jax.jit(function, **options, compiler_options=_OPTIONS)

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        compiled = quick if _is_whole((arguments, named)) and _are_known() else plain
        return compiled(*arguments, **named)

    return call


def _is_whole(arguments: Any) -> bool:
    """Return whether a call with these arguments is a program of its own."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments)):
        return False
    return not isinstance(jnp.zeros(()), Tracer)  # which it is while a program is traced


@cache
def _are_known() -> bool:
    """Return whether the default backend is a CPU whose XLA takes the options."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: x).lower(0.0).compile(compiler_options=_OPTIONS)
    except Exception:  # JAX does not say which one it raises
        return False
    return True
