"""Two ways to help XLA on a CPU: compile large programs faster, and compute an array only once.

`quick_jit`: the projection is a program of many small loops. On a CPU, XLA's older emitters compile
it in little more than half the time, and it runs as fast (`benchmarks/first_calls.py`). On few
numbers, such as the banks of small windows, it takes milliseconds however it is compiled: there XLA
does not optimize at all, which takes a third of the rest. Points and sets are the same; a distance
may differ in the rounding of its sum.

`computed_once`: where XLA can, it computes an array again for each of its readers instead of
writing it to memory. With many readers, such as the bits of a word, that takes much longer.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

FEW = 2**14
"""Numbers in the arguments of a call that is a few milliseconds of work at most."""
_OPTIONS: Any = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
_ARRAYS = jax.Array, np.ndarray
_OPTIONS_FOR_FEW: Any = _OPTIONS | {"xla_backend_optimization_level": 0}


def quick_jit(function: Callable, *, level: int | None = None, **options: Any) -> Any:
    """Return `jax.jit(function)`, compiled quickly where it is called outside of other programs.

    Args:
        function: function of pytrees of arrays.
        level: optimization level of XLA, 0 to 3, for all calls. By default it is 0 where the
            arguments hold at most `FEW` numbers, and that of XLA, 3, elsewhere.
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
    fixed = {} if level is None else {"xla_backend_optimization_level": level}
    quick = jax.jit(function, **options, compiler_options=_OPTIONS | fixed)
    quickest = jax.jit(function, **options, compiler_options=_OPTIONS_FOR_FEW | fixed)

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        compiled = plain
        leaves = jax.tree.leaves((arguments, named))
        if _is_whole(leaves) and _are_known():
            # Static arguments, such as dtypes, are among the leaves, too.
            numbers = sum(leaf.size for leaf in leaves if isinstance(leaf, _ARRAYS))
            compiled = quickest if numbers <= FEW else quick
        return compiled(*arguments, **named)

    return call


def computed_once(true: jax.Array, make: Callable[[], Any]) -> Any:
    """Return `make()`, computed once and written to memory, not computed again by each reader.

    XLA on a CPU fuses across an `optimization_barrier`, but not across a branch on a condition
    whose value it cannot know. So `make` runs in a branch that is always taken.

    Args:
        true: traced True, such as `unknown_true` returns.
        make: function without arguments that returns a pytree of arrays.

    Returns:
        What `make` returns.

    Example:
        >>> double = jax.jit(lambda x: computed_once(unknown_true(x), lambda: 2 * x))
        >>> int(double(jnp.ones((), jnp.uint32)))
        2
    """
    if jax.default_backend() != "cpu":
        return jax.lax.optimization_barrier(make())
    shapes = jax.eval_shape(make)
    return jax.lax.cond(
        true, make, lambda: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    )


def unknown_true(x: jax.Array) -> jax.Array:
    """Return True in a way that XLA does not see through, from an array of bool or words.

    Args:
        x: traced array of bool or unsigned integers, of any shape.

    Returns:
        A bool of shape `()`.
    """
    if x.size == 0:
        return jnp.array(True)
    first = x.reshape(-1)[0]
    word = first.astype(jnp.uint8) if x.dtype == bool else first
    # A number of bits that are set is never greater than the number of bits.
    return jax.lax.population_count(word) <= np.array(8 * word.dtype.itemsize, word.dtype)


def _is_whole(leaves: list[Any]) -> bool:
    """Return whether a call with these arguments is a program of its own."""
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return False
    return not isinstance(jnp.zeros(()), Tracer)  # which it is while a program is traced


@cache
def _are_known() -> bool:
    """Return whether the default backend is a CPU whose XLA takes the options."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: x).lower(0.0).compile(compiler_options=_OPTIONS_FOR_FEW)
    except Exception:  # JAX does not say which one it raises
        return False
    return True
