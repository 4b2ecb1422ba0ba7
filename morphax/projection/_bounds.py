"""Bound the candidates between solved ones from below, without solving them.

Candidates are sizes k of S (`_scalar`); the solved ones are called *knots*. Between two knots the
multipliers are interpolated. Any multipliers that are not negative bound a candidate, and those of
neighbours differ little, so these bounds are almost exact (docs/theory.md, section 5c). They need
no binary search: which elements are below u or beyond a threshold is decided once for all
candidates between two knots, on the safe side.

Knots have the shape `(..., J + 1)`, in ascending order of their sizes, and the candidates between
them `(..., J, width)`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from morphax.projection._scalar import Options, Relaxation, SortedBank, count_above, gather


class Split(NamedTuple):
    """Hold where the sorted order is cut, and the sums of what lies before: three floats each."""

    at: jax.Array
    sum: jax.Array
    square: jax.Array


def between(
    options: Options,
    bank: SortedBank,
    knot: Relaxation,
    low: Split,
    high: Split,
    weight: jax.Array,
    share: jax.Array,
) -> jax.Array:
    """Bound candidates between knots, each by itself or neighbours together.

    Neighbours, sizes from k to k', are bounded by the relaxed problem in which the elements between
    are undecided.

    Args:
        options: size and sign constraint of the bank.
        bank: the sorted neurons.
        knot: solved knots, each field `(..., J + 1)`; all knots of one last axis belong to one
            neuron and operation.
        low: least sizes k, `(..., J, width)`, and the sums of the first k weights.
        high: greatest sizes k', likewise.
        weight: the k-th weights, `(..., J, width)`.
        share: where each k lies between its knots, from 0 (the one before) to 1 (the next one).

    Returns:
        Lower bounds of the squared distances, `(..., J, width)`.
    """
    n, nonnegative = options
    begin, dilation = knot.row * (n + 1), knot.dilation[..., :-1, None]
    above = jnp.where(knot.dilation, knot.lam, knot.mu)
    below = jnp.where(knot.dilation, knot.mu, knot.lam)
    levels = jnp.stack([knot.u, above] if nonnegative else [knot.u, above, -below])
    t_begin, p_end, *m_begin = count_above(bank.descending, n, knot.row[None], levels)

    def split(count, choose):
        """Cut the order once between two knots, by the choice from the counts at both."""
        at = choose(count[..., :-1], count[..., 1:])
        sums, squares = (gather(x, begin[..., :-1] + at) for x in (bank.sums, bank.squares))
        return Split(*(x.astype(knot.u.dtype)[..., None] for x in (at, sums, squares)))

    # On the safe side: elements of S that are below u at both knots, and elements outside that
    # are within the thresholds at both.
    t, p = split(t_begin, jnp.maximum), split(p_end, jnp.maximum)
    m = split(m_begin[0], jnp.minimum) if m_begin else None
    u, mu, lam = _interpolate(knot, low, share, gather(bank.sums, begin + knot.max_size), t_begin)

    b, eps, rho = (
        gather(x, knot.row[..., :1])[..., None] for x in (bank.bias, bank.margin, bank.rho)
    )
    row = begin[..., :1] + n
    row = Split(jnp.full_like(b, n), *(gather(x, row)[..., None] for x in bank[1:3]))
    delta = mu - lam
    bound = eps * (lam + mu) - delta**2 / (2 * rho)
    bound += _raised(low, t, weight, u, mu)
    down, up = jnp.where(dilation, lam, mu), jnp.where(dilation, mu, lam)
    bound += _outside(high, p, m, row, down, up)
    bound += delta * jnp.where(dilation, b, high.sum - b + mu - high.at * delta / 2)
    return 2 * bound


def _interpolate(
    knot: Relaxation, size: Split, share: jax.Array, sum_end: jax.Array, t_begin: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return multipliers (u, mu, lam) of the candidates between knots.

    Args:
        knot: the knots.
        size: sizes of S of the candidates, and the sums of their weights.
        share: where they lie between their knots, in [0, 1].
        sum_end: sums of the weights of S at the knots.
        t_begin: number of weights that are at least u, at the knots.
    """
    k, dtype = size.at, size.at.dtype

    def linear(x):
        return x[..., :-1, None] + share * (x[..., 1:] - x[..., :-1])[..., None]

    # u and mu - lam change almost linearly with k. mu is the sum of u - w_j over the elements of S
    # below u: the formula is exact if their first one moves linearly, too.
    u, delta = linear(knot.u), linear(knot.mu - knot.lam)
    rest = linear(knot.mu - knot.max_size.astype(dtype) * knot.u + sum_end)
    moved = (t_begin[..., 1:] - t_begin[..., :-1]).astype(dtype)
    slope = ((knot.u[..., 1:] - knot.u[..., :-1]) * moved)[..., None]
    mu = k * u - size.sum + rest + slope * (share * (1 - share) / 2)
    # The cuts are safe for thresholds that are no less than at one of the two knots.
    mu_ends, lam_ends = ((x[..., :-1, None], x[..., 1:, None]) for x in (knot.mu, knot.lam))
    mu = jnp.clip(mu, jnp.minimum(*mu_ends), jnp.maximum(*mu_ends))
    return u, mu, jnp.maximum(mu - delta, jnp.minimum(*lam_ends))


def _raised(size: Split, t: Split, weight_k, u, mu) -> jax.Array:
    """Return the terms of the elements of S that are raised to u, which carry mu.

    They carry it in proportion to u - w_j. Where no element is surely below u, or they are too
    few, the smallest element of S carries all of it.
    """
    total, square = size.sum - t.sum, size.square - t.square
    full = (size.at - t.at) * u - total
    shared = (size.at > t.at) & (2 * full > mu)
    shrink = mu / jnp.where(shared, full, 1)
    mu_weight = jnp.where(shared, shrink * (u * total - square), mu * weight_k)
    mu_square = jnp.where(shared, shrink * (mu * u - mu_weight), mu * mu)
    return -mu_square / 2 - mu_weight


def _outside(size: Split, p: Split, m: Split | None, row: Split, down, up) -> jax.Array:
    """Return the terms of the elements outside S.

    Those before the cut `p` move by `down`, those after the cut `m` by `up`, and those between are
    set to 0. Without `m`, no element is pulled up.
    """
    late = size.at > p.at
    p = Split(*(jnp.where(late, x, y) for x, y in zip(size, p, strict=True)))
    terms = down * (p.sum - size.sum) - (p.at - size.at) * down**2 / 2
    if m is None:
        return terms + (row.square - p.square) / 2
    late = p.at > m.at
    m = Split(*(jnp.where(late, x, y) for x, y in zip(p, m, strict=True)))
    terms += (m.square - p.square) / 2
    return terms + up * (m.sum - row.sum) - (row.at - m.at) * up**2 / 2
