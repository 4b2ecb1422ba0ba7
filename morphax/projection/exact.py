"""The exact projection onto activable parameters: every structuring element, sort-like cost.

    min  sum_i (x_i - w_i)^2 + rho (beta - b)^2   s.t.   L(x, S) + eps <= beta <= U(x, S) - eps
    over x, beta, all non-empty S and the operations asked for, with

    dilation:  L = sum_{i not in S} x_i^+           U = min_{i in S} x_i - sum_i x_i^-
    erosion:   L = sum_i x_i^+ - min_{i in S} x_i   U = sum_{i in S} x_i^+ - sum_i x_i^-

(theory.md sections 2 and 5; Aouad & Talbot, arXiv 2401.03830, solve 2n quadratic programs.) The
weights are sorted once; `search` finds the best S among the level sets by branch and bound, each
bound a few Newton steps of `scalar`. Neurons are solved in double precision whatever the dtype of
the bank, scaled by a power of two, and in chunks, so the extra memory does not grow with the bank.
"""

import math
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from morphax._check import one_of, require
from morphax.projection.result import INVALID, NOT_CONVERGED, OK, Projection
from morphax.projection.scalar import Node, Problem, Tables
from morphax.projection.search import nearest

OPERATIONS = {"erosion": (False,), "dilation": (True,), "both": (False, True)}
CHUNK = {"cpu": 1 << 19}
"""Weights solved at a time (a few copies in float64 should fit the cache)."""


def project_exact(
    weights: jax.Array,
    bias: jax.Array,
    *,
    operation: str = "both",
    nonnegative: bool = True,
    bias_weight: float = 1.0,
    margin: float = 0.0,
    relative_margin: float = 0.0,
) -> Projection:
    """Nearest activable parameters of every neuron of a bank, over all structuring elements.

    Works under `jit` and `vmap`. It is not differentiated through: the gradient of half the
    squared distance is the displacement (theory.md 5d), which the regularisers use.

    Args:
        weights: `(..., n)`, n >= 1, a float dtype.
        bias: `(...)`, the thresholds that are subtracted.
        operation: which activable sets: "erosion", "dilation" or "both".
        nonnegative: ask for projected weights >= 0; otherwise their sign is free.
        bias_weight: rho > 0, the weight of the bias in the metric (checked in [0.01, 100]).
        margin: eps >= 0, by which the bias stays within its bounds, in units of the bias.
        relative_margin: >= 0, added to the margin after multiplication by ||(w, b)||.

    Returns:
        A `Projection`. Feasible up to rounding, and certified (strictly, with the certificate's
        rounding allowance) when the margin exceeds that allowance. With "both", a neuron with
        |S| = 1 is called a dilation when b <= P/2, as by the certificate. `distance` is that of
        the metric, not squared. A neuron with a NaN or an infinity is INVALID, and alone is NaN.

    Raises:
        ValueError: wrong shapes, dtypes or options.

    >>> import jax.numpy as jnp
    >>> from morphax.projection.exact import project_exact
    >>> near = project_exact(jnp.array([1.0, 0.8, 0.4, 0.3]), jnp.array(0.55))
    >>> near.selem.tolist(), int(near.operation)
    ([True, True, False, False], 1)
    >>> [round(x, 3) for x in near.weights.tolist()], round(float(near.bias), 3)
    ([1.0, 0.8, 0.35, 0.25], 0.6)
    """
    weights, bias = jnp.asarray(weights), jnp.asarray(bias)
    shape = weights.shape
    one_of("operation", operation, OPERATIONS)
    require(len(shape) >= 1 and shape[-1] >= 1, "weights", "shape (..., n) with n >= 1", shape)
    require(bias.shape == shape[:-1], "bias", f"shape {shape[:-1]} (weights {shape})", bias.shape)
    for name, array in (("weights", weights), ("bias", bias)):
        require(jnp.issubdtype(array.dtype, jnp.floating), name, "a float dtype", array.dtype)
    require(0 < bias_weight < math.inf, "bias_weight", "a finite number > 0", bias_weight)
    require(0 <= margin < math.inf, "margin", "a finite number >= 0", margin)
    require(
        0 <= relative_margin < math.inf, "relative_margin", "a finite number >= 0", relative_margin
    )
    project = _projector(OPERATIONS[operation], bool(nonnegative))
    dtype = jnp.promote_types(weights.dtype, jnp.float32)
    options = (jnp.full(bias.shape, x, dtype) for x in (bias_weight, margin, relative_margin))
    return project(weights, bias.astype(weights.dtype), *options)


@lru_cache
def _projector(dilations: tuple[bool, ...], nonnegative: bool):
    """The projection of a bank; `vmap` makes the bank larger instead of batching its loops."""

    project: Any = jax.custom_batching.custom_vmap(
        lambda *bank: _project(dilations, nonnegative, *bank)
    )

    @project.def_vmap
    def _larger(size, batched, *bank):
        bank = (
            x if is_batched else jnp.broadcast_to(x, (size, *x.shape))
            for x, is_batched in zip(bank, batched, strict=True)
        )
        return project(*bank), Projection(*(True,) * 6)

    return project


@partial(jax.jit, static_argnums=(0, 1))
def _project(dilations, nonnegative, weights, *scalars) -> Projection:
    """Cut the bank into chunks of equal size; `scalars` have one value a neuron."""
    *lead, n = weights.shape
    count = math.prod(lead)
    if count == 0:
        empty = jnp.zeros(lead, weights.dtype)
        small = empty.astype(jnp.int8)
        return Projection(weights, empty, weights > 0, small, empty, small)
    limit = max(1, CHUNK.get(jax.default_backend(), 1 << 23) // n)
    chunks = max(1, -(-count // limit))
    size = max(1, -(-count // chunks))

    def cut(x):  # the last neuron fills up the last chunk
        x = x.reshape(count, *x.shape[len(lead) :])
        pad = ((0, chunks * size - count), *((0, 0) for _ in x.shape[1:]))
        return jnp.pad(x, pad, mode="edge").reshape(chunks, size, *x.shape[1:])

    def uncut(x):
        return x.reshape(-1, *x.shape[2:])[:count].reshape(*lead, *x.shape[2:])

    def solve(chunk):
        with jax.enable_x64(True):
            return _project_chunk(Problem(n, nonnegative), dilations, *chunk)

    return jax.tree.map(uncut, jax.lax.map(solve, (cut(weights), *map(cut, scalars))))


def _project_chunk(problem, dilations, weights, *scalars) -> Projection:
    dtype = weights.dtype
    valid = jnp.isfinite(weights).all(-1) & jnp.isfinite(scalars[0])
    w = jnp.where(valid[:, None], weights, 0)
    bias, rho, margin, relative = (x.astype(jnp.float64) for x in scalars)
    bias = jnp.where(valid, bias, 0)

    # Divide every neuron by a power of two, so that |w|, |b|, eps < 1 and nothing is rounded.
    descending = _sort_descending(w).astype(jnp.float64)
    largest = jnp.maximum(jnp.maximum(descending[:, 0], -descending[:, -1]), jnp.abs(bias))
    unit = _power_above(jnp.maximum(largest, margin))
    norm = jnp.sqrt(jnp.sum((descending * (1 / unit)[:, None]) ** 2, -1) + (bias / unit) ** 2)
    eps = margin / unit + relative * norm
    shift = jnp.maximum(_power_above(eps), 1)
    unit, eps = unit * shift, eps / shift
    columns, inverse = unit[:, None], (1 / unit)[:, None]
    descending, w, bias = descending * inverse, w.astype(jnp.float64) * inverse, bias / unit

    tables = Tables(
        descending.reshape(-1), _prefix(descending), _prefix(descending**2), bias, eps, rho
    )
    node, converged = nearest(problem, tables, dilations)

    selem = _largest(w, descending, node.last)
    x, beta = _point(problem, tables, node, w, selem)
    x = (x * columns).astype(dtype).astype(jnp.float64) * inverse
    beta = _into_bounds(x, beta, selem, node.dilation, eps)
    beta = (beta * unit).astype(dtype).astype(jnp.float64) / unit
    distance = jnp.sqrt(jnp.sum((x - w) ** 2, -1) + rho * (beta - bias) ** 2)

    dilation = node.dilation
    if len(dilations) == 2:
        dilation = jnp.where(node.last == 1, 2 * beta <= jnp.sum(jnp.maximum(x, 0), -1), dilation)
    status = jnp.where(valid, jnp.where(converged, OK, NOT_CONVERGED), INVALID)
    x = jnp.where(valid[:, None], x * columns, jnp.nan).astype(dtype)
    beta, distance = (jnp.where(valid, y * unit, jnp.nan).astype(dtype) for y in (beta, distance))
    selem &= valid[:, None]
    return Projection(x, beta, selem, dilation.astype(jnp.int8), distance, status.astype(jnp.int8))


def _prefix(x: jax.Array) -> jax.Array:
    return jnp.pad(jnp.cumsum(x, -1), ((0, 0), (1, 0))).reshape(-1)


def _power_above(x: jax.Array) -> jax.Array:
    """The least power of two above each x (1 for x = 0)."""
    return jnp.ldexp(jnp.ones_like(x), jnp.frexp(x)[1])


def _sort_descending(w: jax.Array) -> jax.Array:
    """Finite floats, largest first, sorted as integers: 4 times faster than XLA's own order."""
    bits = 8 * w.dtype.itemsize
    kind = {16: jnp.int16, 32: jnp.int32, 64: jnp.int64}[bits]

    def fold(i):  # its own inverse; makes the order of the integers that of the floats
        return i ^ ((i >> (bits - 1)) & jnp.array(jnp.iinfo(kind).max, kind))

    key = ~fold(jax.lax.bitcast_convert_type(w, kind))
    return jax.lax.bitcast_convert_type(fold(~jax.lax.sort(key)), w.dtype)


def _largest(w: jax.Array, descending: jax.Array, k: jax.Array) -> jax.Array:
    """Mask of the k largest weights, in the order of `w`; of a tie, the first ones."""
    smallest = jnp.take_along_axis(descending, k[:, None] - 1, -1)
    room = (k - jnp.sum(descending > smallest, -1, dtype=jnp.int32))[:, None]
    tied = jnp.sum(descending == smallest, -1, keepdims=True, dtype=jnp.int32)

    def split():
        tie = w == smallest
        return (w > smallest) | (tie & (jnp.cumsum(tie, -1, dtype=jnp.int32) <= room))

    return jax.lax.cond(jnp.all(tied == room), lambda: w >= smallest, split)


def _point(problem: Problem, tables: Tables, node: Node, w, selem) -> tuple[jax.Array, jax.Array]:
    """The minimiser of a solved node (formulas in `scalar`)."""
    u, mu, lam, dilation = (x[:, None] for x in (node.u, node.mu, node.lam, node.dilation))
    inside = jnp.maximum(jnp.maximum(w, u) - jnp.where(dilation, 0, mu - lam), 0)
    outside = jnp.maximum(w - jnp.where(dilation, lam, mu), 0)
    if not problem.nonnegative:
        outside -= jnp.maximum(-w - jnp.where(dilation, mu, lam), 0)
    delta = (node.mu - node.lam) / tables.rho
    return jnp.where(selem, inside, outside), tables.bias + jnp.where(node.dilation, -delta, delta)


def _into_bounds(x, beta, selem, dilation, eps) -> jax.Array:
    """The bias nearest to `beta` within the bounds of the rounded weights; else their middle."""
    plus = jnp.maximum(x, 0)
    total, minus = jnp.sum(plus, -1), jnp.sum(plus - x, -1)
    inside = jnp.sum(jnp.where(selem, plus, 0), -1)
    outside = jnp.sum(jnp.where(selem, 0, plus), -1)
    smallest = jnp.min(jnp.where(selem, x, jnp.inf), -1)
    low = jnp.where(dilation, outside, total - smallest) + eps
    high = jnp.where(dilation, smallest, inside) - minus - eps
    return jnp.where(low <= high, jnp.clip(beta, low, high), (low + high) / 2)
