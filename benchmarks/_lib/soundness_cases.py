"""Neurons at the edge of their bounds: what `soundness.py` draws.

A neuron is drawn as effective weights and a bias a few rounding errors, or a few rounding
allowances, inside or outside the bounds L and U; then the latent parameters that make it under a
reparametrisation. Weights are `(m, n)`, as `morphax.neurons.nodes.bank` lays them out; everything
is float64 until it is stored.
"""

from typing import NamedTuple

import numpy as np

EROSION, DILATION = 0, 1
KINDS = ("plain", "spread", "ties", "half ulps", "subnormal", "Gaussian")
# In units of the allowance: how far inside a bound. Most are just beyond it, where a proof must
# hold.
STEPS = np.array(
    [0, 0.02, 0.2, 1, 1.0001, 1.001, 1.003, 1.01, 1.02, 1.03, 1.05, 1.1, 1.3, 2, 5, 30]
)


class Limits(NamedTuple):
    """Of a dtype: unit roundoff, least normal number, exponent (base 10) that stays in range."""

    unit: float
    tiny: float
    exponent: float


def limits(dtype) -> Limits:
    """Those of float32 or float64."""
    info = np.finfo(dtype)
    return Limits(float(info.eps) / 2, float(info.tiny), 30.0 if dtype == np.float32 else 280.0)


def zones(rng, m: int, n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Dead zones (v1, v2) of each input: (0, 1), or narrow ones that leave room for a neuron."""
    if kind == "binary":
        return np.zeros((m, n)), np.ones((m, n))
    width = 0.3 * rng.random((m, 1)) / n
    return width * rng.random((m, n)), 1 - width * rng.random((m, n))


def draw_weights(rng, m: int, n: int, dtype, *, positive: bool):
    """Weights, and the (operation, S) they were drawn for: float `(m, n)`, int `(m,)`, bool `(m,
    n)`."""
    about = limits(dtype)
    kind = rng.integers(0, len(KINDS), (m, 1))
    operation = rng.integers(0, 2, m)
    share = n ** (rng.random((m, 1)) - 1)  # |S| from 1 to n, evenly in its logarithm
    selem = rng.random((m, n)) < share
    selem[np.arange(m), rng.integers(0, n, m)] = True
    inside = np.where(kind == 2, 1.0, rng.uniform(0.6, 1.4, (m, n)))
    noise = rng.random((m, n)) + 1e-3
    noise = np.where(kind == 1, 10 ** rng.uniform(-about.exponent, 0, (m, n)), noise)
    noise = np.where(kind == 2, 1.0, noise)
    outside = np.where(selem, 0, noise)
    least = np.where(selem, inside, np.inf).min(1, keepdims=True)
    total = np.maximum(outside.sum(1, keepdims=True), about.tiny)
    outside = outside * (rng.random((m, 1)) * 0.7 * least / total)
    # Sums in order lose each of these, or gain as much.
    halves = about.unit * inside.max(1, keepdims=True) * rng.choice([0.99, 1.01, 3], (m, n))
    outside = np.where((kind == 3) & ~selem, halves, outside)
    if not positive:
        outside = outside * rng.choice([1, 1, -1], (m, n))
    weights = np.where(selem, inside, outside)
    gauss = rng.normal(size=(m, n))
    weights = np.where(kind == 5, np.abs(gauss) if positive else gauss, weights)
    scale = 10 ** rng.uniform(-about.exponent / 2, about.exponent, (m, 1))
    low = np.log10(about.tiny)
    scale = np.where(kind == 4, 10 ** rng.uniform(low, low + 8, (m, 1)), scale)
    scale = np.where(rng.random((m, 1)) < 0.3, 1.0, scale)
    return weights * scale, operation, selem


def bounds(weights, selem, operation, v1, v2) -> tuple[np.ndarray, np.ndarray]:
    """L and U of the module docstring of `morphax.certificates.neuron`, in the dtype of the
    weights."""
    plus, minus = np.maximum(weights, 0), np.maximum(-weights, 0).sum(1)
    dilation = operation == DILATION
    low = np.where(selem & dilation[:, None], v1 * plus, plus)
    least = np.where(selem, (1 - v1) * weights, np.inf).min(1)
    low = np.where(dilation, low.sum(1), plus.sum(1) - least)
    high = np.where(selem, v2 * weights, np.inf).min(1)
    high = np.where(dilation, high, np.where(selem, v2 * plus, 0).sum(1))
    return low, high - minus


def allowance(weights, bias, about: Limits, *, sums: int, offset: float) -> np.ndarray:
    """t of `morphax.certificates._rounding`, in exact arithmetic as far as float64 goes."""
    n = weights.shape[1]
    size = np.abs(weights).sum(1)
    wide = about.unit * (sums * (4 * n + 32) * size + 32 * (np.abs(bias) + abs(offset)))
    return wide + 16 * (n + 4) * about.tiny


def draw_bias(rng, weights, selem, operation, zone, about: Limits, *, sums: int, offset: float):
    """Biases `(m,)` near one of the bounds, or anywhere between them."""
    m = len(weights)
    low, high = bounds(weights, selem, operation, *zone)
    edge = np.where(rng.random(m) < 0.5, low, high)
    inward = np.where(edge == low, 1, -1)
    step = allowance(weights, edge, about, sums=sums, offset=offset)
    bias = edge + inward * rng.choice(STEPS, m) * step
    bias += rng.integers(-3, 4, m) * about.unit * np.abs(bias)
    middle = low + rng.random(m) * (high - low)
    return np.where(rng.random(m) < 0.1, middle, bias)


def worst_inputs(weights, selem, operation, v1, v2):
    """The inputs that attain L and U, `(m, 2, n)`, and the bits that they stand for.

    Dilation: nothing of S and all that weighs outside; one pixel of S, the lightest, against all
    that weighs less than nothing. Erosion: the same with foreground and background exchanged.
    """
    rows = np.arange(len(weights))
    dilation = (operation == DILATION)[:, None]
    low = np.where(dilation, ~selem & (weights > 0), weights > 0)
    lightest = np.where(selem, np.where(dilation, v2, 1 - v1) * weights, np.inf).argmin(1)
    low[rows, lightest] &= dilation[:, 0]
    low &= ~(selem & dilation)
    high = np.where(dilation, weights < 0, selem | (weights < 0))
    high[rows, lightest] = True
    bits = np.stack([low, high], 1)
    ends = (np.where(selem, v1, 0)[:, None], np.where(selem, v2, 1)[:, None])
    return np.where(bits, ends[1], ends[0]), bits
