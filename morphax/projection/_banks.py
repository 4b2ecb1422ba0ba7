"""Shared parts of the solvers: checks, chunks under `jit` and `vmap`, exact scaling, sorting.

Neurons are solved in float64 inside `jax.enable_x64`, whatever the dtype of the bank, in chunks of
equal size, so the extra memory does not grow with the bank. A bank has weights `(..., n)` and
biases `(...)`; a chunk has `(N, n)` and `(N,)`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from morphax._checks import number, one_of, require
from morphax._compiling import quick_jit
from morphax.morphology.dtypes import at_least_single
from morphax.projection.result import Projection

OPERATIONS = ("erosion", "dilation", "both")


def check(
    weights: jax.Array,
    bias: jax.Array,
    operation: str,
    bias_weight: float,
    margin: float,
    relative_margin: float,
) -> tuple[jax.Array, ...]:
    """Return the checked bank and its scalars, one value for each neuron.

    Args:
        weights: `(..., n)`, n >= 1, a float dtype.
        bias: `(...)`, a float dtype.
        operation: one of `OPERATIONS`.
        bias_weight: rho > 0.
        margin: a number >= 0.
        relative_margin: a number >= 0.

    Returns:
        Weights `(..., n)`; bias, rho, margin and relative margin, each `(...)`.

    Raises:
        ValueError: if shapes, dtypes or options are wrong.
    """
    weights, bias = jnp.asarray(weights), jnp.asarray(bias)
    shape = weights.shape
    one_of("operation", operation, OPERATIONS)
    require(len(shape) >= 1 and shape[-1] >= 1, "weights", "shape (..., n) with n >= 1", shape)
    require(bias.shape == shape[:-1], "bias", f"shape {shape[:-1]} (weights {shape})", bias.shape)
    for name, array in (("weights", weights), ("bias", bias)):
        require(jnp.issubdtype(array.dtype, jnp.floating), name, "a float dtype", array.dtype)
    number("bias_weight", bias_weight, "a finite number > 0", lambda x: 0 < x < math.inf)
    for name, x in (("margin", margin), ("relative_margin", relative_margin)):
        number(name, x, "a finite number >= 0", lambda x: 0 <= x < math.inf)
    dtype = at_least_single(weights.dtype)
    options = (jnp.full(bias.shape, x, dtype) for x in (bias_weight, margin, relative_margin))
    return weights, bias.astype(weights.dtype), *options


def over_bank(solve: Callable[..., Projection], limit: dict[str, int], default: int) -> Any:
    """Turn a solver of chunks `(N, n)` into a solver of banks `(..., n)`.

    Args:
        solve: `(weights (N, n), *scalars (N,)) -> Projection`; it runs with float64 enabled.
        limit: greatest number of weights in a chunk, for each backend.
        default: greatest number of weights in a chunk, for backends that `limit` does not name.

    Returns:
        `(weights (..., n), *scalars (...)) -> Projection`, jitted; `vmap` makes the bank larger
        instead of batching the solver's loops.
    """

    def solve_wide(chunk: Any) -> Projection:
        with jax.enable_x64(True):
            return solve(*chunk)

    @jax.jit
    def project_bank(weights: jax.Array, *scalars: jax.Array) -> Projection:
        *lead, n = weights.shape
        count = math.prod(lead)
        if count == 0:
            empty = jnp.zeros(lead, weights.dtype)
            small = empty.astype(jnp.int8)
            return Projection(weights, empty, weights > 0, small, empty, small)
        # As few chunks as the limit allows, of equal size.
        chunks = -(-count // max(1, limit.get(jax.default_backend(), default) // n))
        size = -(-count // chunks)

        def cut(x):  # the last neuron fills up the last chunk
            x = x.reshape(count, *x.shape[len(lead) :])
            pad = ((0, chunks * size - count), *((0, 0) for _ in x.shape[1:]))
            return jnp.pad(x, pad, mode="edge").reshape(chunks, size, *x.shape[1:])

        def uncut(x):
            return x.reshape(-1, *x.shape[2:])[:count].reshape(*lead, *x.shape[2:])

        chunks_of = jax.tree.map(cut, (weights, *scalars))
        return jax.tree.map(uncut, jax.lax.map(solve_wide, chunks_of))

    project: Any = jax.custom_batching.custom_vmap(project_bank)

    # Under `vmap` the mapped axis becomes one more axis of the bank: the loops of the solver are
    # not batched, so an easy neuron does not wait for a hard one.
    @project.def_vmap
    def _larger(size, batched, *bank):
        bank = jax.tree.map(
            lambda x, is_batched: x if is_batched else jnp.broadcast_to(x, (size, *x.shape)),
            bank,
            tuple(batched),
        )
        return project(*bank), Projection._make((True,) * 6)

    return quick_jit(project)


def power_above(x: jax.Array) -> jax.Array:
    """Return the least power of two above each x >= 0 (1 for x = 0), from the bits of its exponent.

    `jnp.frexp` will not do: it is lowered later than it is traced, outside of `enable_x64`, and
    loses its bits there.
    """
    info = jnp.finfo(x.dtype)
    kind = {32: jnp.int32, 64: jnp.int64}[info.bits]
    exponent = jax.lax.bitcast_convert_type(x, kind) >> jnp.array(info.nmant, kind)
    above = (exponent + jnp.array(1, kind)) << jnp.array(info.nmant, kind)
    return jnp.where(x > 0, jax.lax.bitcast_convert_type(above, x.dtype), 1)


def sort_on_host(weights: jax.Array) -> np.ndarray | None:
    """Return concrete weights on a CPU in ascending order; none where they are anything else.

    numpy sorts floats many times faster than XLA does on a CPU.
    """
    if isinstance(weights, Tracer) or weights.dtype not in (jnp.float32, jnp.float64):
        return None
    devices = weights.devices()
    if len(devices) > 1 or any(device.platform != "cpu" for device in devices):
        return None
    return np.sort(np.asarray(weights), -1)


def sort_descending(w: jax.Array) -> jax.Array:
    """Sort finite floats along the last axis, largest first.

    They are sorted as integers, which takes XLA a quarter of the time that it needs for floats.
    """
    bits = 8 * w.dtype.itemsize
    kind = {8: jnp.int8, 16: jnp.int16, 32: jnp.int32, 64: jnp.int64}[bits]

    # The bits of a negative float, read as an integer, are ordered the wrong way round: flip all of
    # them but the sign. This is its own inverse.
    def fold(i):
        return i ^ ((i >> (bits - 1)) & jnp.array(jnp.iinfo(kind).max, kind))

    # Complements turn the ascending sort into a descending one.
    key = ~fold(jax.lax.bitcast_convert_type(w, kind))
    return jax.lax.bitcast_convert_type(fold(~jax.lax.sort(key)), w.dtype)


def largest(w: jax.Array, descending: jax.Array, k: jax.Array) -> jax.Array:
    """Return a mask of the k largest weights, in the order of `w`; of a tie, the first ones.

    Args:
        w: weights, `(N, n)`.
        descending: the same weights, largest first.
        k: numbers from 1 to n, `(N,)`.

    Returns:
        bool `(N, n)`, k true values in each row.
    """
    smallest = jnp.take_along_axis(descending, k[:, None] - 1, -1)
    n = w.shape[-1]
    following = jnp.take_along_axis(descending, jnp.minimum(k, n - 1)[:, None], -1)
    splits_tie = (k[:, None] < n) & (following == smallest)

    def split():
        # How many of the weights that equal the smallest one belong to the mask.
        room = (k - jnp.sum(descending > smallest, -1, dtype=jnp.int32))[:, None]
        tie = w == smallest
        return (w > smallest) | (tie & (jnp.cumsum(tie, -1, dtype=jnp.int32) <= room))

    # Where no tie has to be split, for which the running count is needed, one comparison does.
    return jax.lax.cond(jnp.any(splits_tie), split, lambda: w >= smallest)
