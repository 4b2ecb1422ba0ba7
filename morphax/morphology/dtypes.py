"""Dtypes that functions choose on purpose, also where JAX refuses to promote; arrays in short."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


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


def array_text(value: Any) -> str:
    """Return dtype and shape of an array as text; for anything else, its `repr`.

    Args:
        value: an array, a tracer, or whatever stands for one in a tree.

    Returns:
        A text such as "float32[3,3]".

    Example:
        >>> array_text(jnp.zeros((3, 3))), array_text(None)
        ('float32[3,3]', 'None')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    return repr(value)


def is_known(value: Any) -> bool:
    """Return whether this is an array of numbers that this process can read, and no tracer.

    Args:
        value: anything.

    Returns:
        True for arrays of numpy, and for those of JAX outside of transformations.

    Example:
        >>> is_known(jnp.zeros(3)), is_known(None)
        (True, False)
    """
    if isinstance(value, jax.Array):
        return not isinstance(value, Tracer) and value.is_fully_addressable
    return isinstance(value, np.ndarray | np.generic)
