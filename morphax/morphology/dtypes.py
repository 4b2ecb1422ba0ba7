"""Dtypes that functions choose on purpose, also where JAX refuses to promote (strict promotion)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp


def at_least_single(*dtypes: Any) -> jnp.dtype:
    """Return the widest of some real dtypes, and at least float32.

    JAX itself refuses to compare float32 with a coarser or a finer dtype under
    `jax.numpy_dtype_promotion("strict")`; here the promotion is asked for.

    Args:
        *dtypes: real dtypes.

    Returns:
        What they and float32 are promoted to.

    Example:
        >>> with jax.numpy_dtype_promotion("strict"):
        ...     str(at_least_single(jnp.float16)), str(at_least_single(jnp.int8, jnp.bfloat16))
        ('float32', 'float32')
    """
    with jax.numpy_dtype_promotion("standard"):
        return functools.reduce(jnp.promote_types, dtypes, jnp.dtype(jnp.float32))
