"""Neurons by brute force, in numpy: every input, every structuring element, both operations.

Nothing here knows the theory: what a neuron is follows from its outputs on all inputs. Sums are
taken in extended precision, where those of a few float32 weights are exact.
"""

import itertools

import numpy as np

EROSION, DILATION = 0, 1


def binary_inputs(n):
    """All 2^n inputs, bool `(2^n, n)`."""
    return np.array(list(itertools.product([False, True], repeat=n)))


def outputs(selem, operation, bits):
    """What an operation makes of inputs: selem `(..., n)`, operation `(...)`, bits `(k, n)`."""
    any_ = (bits & selem[..., None, :]).any(-1)
    all_ = (bits | ~selem[..., None, :]).all(-1)
    return np.where(np.asarray(operation)[..., None] == EROSION, all_, any_)


def operations(bits):
    """Truth table (as bytes, over `bits`) -> the (operation, S) that have it."""
    table = {}
    for selem in binary_inputs(bits.shape[1])[1:]:
        for operation in (EROSION, DILATION):
            key = outputs(selem, operation, bits).tobytes()
            table.setdefault(key, []).append((operation, tuple(selem.tolist())))
    return table


def sums(weights, inputs):
    """sum_i w_i x_i: weights `(neurons, n)`, inputs `(k, n)` or `(neurons, k, n)`."""
    wide = np.asarray(weights, np.longdouble)
    if inputs.ndim == 2:
        return wide @ np.asarray(inputs, np.longdouble).T
    return (wide[:, None] * inputs).sum(-1)


def bounds(weights, selem, operation, v1, v2):
    """L and U of theory.md, section 2, written out neuron by neuron."""
    low, high = [], []
    for w, s, op, a, b in zip(weights, selem, operation, v1, v2, strict=True):
        w, a, b = (np.asarray(z, np.longdouble) for z in (w, a, b))
        plus, minus = np.maximum(w, 0), np.maximum(-w, 0).sum()
        if op == DILATION:
            low.append(plus[~s].sum() + (a * plus)[s].sum())
            high.append(((b * w)[s].min() if s.any() else -np.inf) - minus)
        else:
            low.append(plus.sum() - (((1 - a) * w)[s].min() if s.any() else np.inf))
            high.append((b * plus)[s].sum() - minus)
    return np.array(low), np.array(high)


def allowance(weights, bias, dtype):
    """The documented rounding allowance t = u ((4 n + 32) sum|w| + 32 |b|)."""
    unit, n = np.finfo(dtype).eps / 2, weights.shape[-1]
    return unit * ((4 * n + 32) * np.abs(weights).sum(-1) + 32 * np.abs(bias))


def draw(rng, count, n, *, zone=(0.0, 1.0), dtype=np.float32):
    """A mix of neurons: weights `(count, n)` and bias `(count,)`; many of them close to a bound.

    A third are operations with noise outside S and the bias around the admissible interval, a third
    are within a few allowances of a bound, the rest are Gaussian or small integers with ties.
    """
    selem = rng.random((count, n)) < rng.random((count, 1))
    selem[np.arange(count), rng.integers(0, n, count)] = True
    operation = rng.integers(0, 2, count)
    noise = rng.normal(size=(count, n)) * 10 ** rng.uniform(-3, -0.5, (count, 1))
    weights = np.where(selem, rng.uniform(0.6, 1.4, (count, n)), noise)
    v1, v2 = (np.broadcast_to(v, weights.shape) for v in zone)
    kind = np.arange(count) % 6
    weights = np.where((kind == 4)[:, None], rng.normal(size=(count, n)), weights)
    weights = np.where((kind == 5)[:, None], rng.integers(-1, 2, (count, n)), weights)
    weights = (
        weights * 10 ** np.where(kind == 5, 0.0, rng.integers(-3, 4, count))[:, None]
    ).astype(dtype)
    low, high = bounds(weights, selem, operation, v1, v2)
    high = np.where(np.isfinite(high), high, low + 1)
    bias = low + rng.uniform(-0.3, 1.3, count) * (high - low)
    step = allowance(weights, bias, dtype) * rng.choice(
        [-30, -2, -0.1, 0, 0.1, 0.9, 1.1, 2, 30], count
    )
    bias = np.where(kind == 2, low + step, np.where(kind == 3, high - step, bias))
    total = np.abs(weights).sum(-1)
    bias = np.where(kind == 4, rng.uniform(-0.2, 1, count) * total, bias)
    bias = np.where(kind == 5, rng.integers(-1, 2 * n, count) / 2, bias)
    return weights, bias.astype(dtype)
