"""Initialisation of banks of neurons: functions of a `key`, a shape and a `Spec` return a node.

The variance-preserving initialisation gives the potential p (w x - b) the spread of the input, so a
deep stack starts with signals that still differ. With a = xi^-1(0.95), s = sqrt(3) + 2 and n inputs
for each neuron, the mean weight is 2 a / n, the weights are uniform with relative half-width 0.668,
the bias is input_mean * sum(w), and the scale that goes with them is p = s sqrt(n) / (8 a).

Source: Aouad & Talbot, arXiv 2401.03830, appendix on initialisation; DGMM 2022 for the symmetric
    one.
"""

import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp

from morphax import _checks
from morphax._compiling import quick_jit
from morphax.neurons import reparam
from morphax.neurons.nodes import BiSE, Spec, bank, role_axes
from morphax.neurons.thresholds import threshold_inverse

_S = math.sqrt(3) + 2
_HALF_WIDTH = math.sqrt(3 * (16 / _S**2 - 1))
WEIGHTS = ("uniform", "constant")


def variance_preserving(
    key: jax.Array,
    shape: tuple[int, ...],
    spec: Spec,
    *,
    input_mean: float = 0.5,
    weights: str = "uniform",
    bias_noise: float = 0.01,
    scale: float | None = None,
    dtype: jnp.dtype | type = jnp.float32,
) -> BiSE:
    """Draw a bank of neurons that preserves the variance of its input.

    Args:
        key: PRNG key.
        shape: shape of the weight, laid out by `spec.role` (`morphax.neurons.nodes`).
        spec: static options of the bank; `factor` is set here when the weight map is "dual".
        input_mean: expected mean of the inputs, in [0, 1] ([-1, 1] for symmetric neurons).
        weights: "uniform" around the mean, or "constant" (the papers' choice for LUIs).
        bias_noise: greatest relative change of the bias: it is multiplied by 1 + u, with one u in
            [-bias_noise, bias_noise] for the whole bank.
        scale: initial p; the variance-preserving one by default (the papers start from 0, which
            trains p alone on the first step).
        dtype: dtype of the arrays.

    Returns:
        A `BiSE` node.

    Raises:
        ValueError: if `weights` is unknown, or the shape has the wrong rank.

    Example:
        >>> node = variance_preserving(jax.random.key(0), (7, 7, 1, 2), Spec())
        >>> node.bias.shape
        (1, 2)
    """
    _checks.one_of("weights", weights, WEIGHTS)
    numbers = input_mean, bias_noise, scale
    return _variance_preserving(key, tuple(shape), spec, *numbers, weights=weights, dtype=dtype)


@partial(quick_jit, static_argnames=("shape", "spec", "weights", "dtype"))
def _variance_preserving(
    key: jax.Array,
    shape: tuple[int, ...],
    spec: Spec,
    input_mean: jax.Array | float,
    bias_noise: jax.Array | float,
    scale: jax.Array | float | None,
    *,
    weights: str,
    dtype: jnp.dtype | type,
) -> BiSE:
    """Draw a bank as `variance_preserving` does, in one program."""
    ranks = (3, 4, 5) if spec.role == "spatial" else (2,)
    expected = f"rank {' or '.join(map(str, ranks))} for role {spec.role!r}"
    _checks.require(len(shape) in ranks, "shape", expected, shape)
    axes = role_axes(spec.role, window=len(shape) - 2)
    n = math.prod(shape[a] for a in axes)
    # Mean and relative half-width of the weights, and the scale that preserves the variance with
    # them.
    if spec.symmetric:
        mean = (1 + math.sqrt(3 / 4)) / (2 * math.sqrt(n))
        half_width = math.sqrt(3 * max(1 / n - mean**2, 0.0)) / mean
        preserving = 1.0
    else:
        with jax.ensure_compile_time_eval():  # a constant, also when the caller is being traced
            a = float(threshold_inverse(jnp.float32(0.95), spec.threshold))
        mean, half_width, preserving = 2 * a / n, _HALF_WIDTH, _S * math.sqrt(n) / (8 * a)
    weight_key, bias_key = jax.random.split(key)
    spread = jax.random.uniform(weight_key, shape, dtype, -half_width, half_width)
    drawn = mean * (1 + (spread if weights == "uniform" else jnp.zeros_like(spread)))
    if spec.weight_map == "dual":
        spec = replace(spec, factor=mean * n)
    # Map back to what is stored. The bias follows from the effective weights.
    latent = reparam.latent_weights(drawn, spec.weight_map)
    reduced = tuple(shape[i] for i in range(len(shape)) if i - len(shape) not in axes)
    node = BiSE(latent, jnp.zeros(reduced, dtype), jnp.zeros(reduced, dtype), spec)
    effective = reparam.effective_weights(bank(node, latent), spec.weight_map, factor=spec.factor)
    noise = jax.random.uniform(bias_key, (), dtype, -bias_noise, bias_noise)
    bias = input_mean * effective.sum(-1) * (1 + noise)
    return BiSE(
        latent,
        reparam.latent_bias(bias, spec.bias_map, effective, offset=spec.offset),
        jnp.full(reduced, preserving if scale is None else scale, dtype),
        spec,
    )


def heuristic(
    key: jax.Array,
    shape: tuple[int, ...],
    spec: Spec,
    *,
    bias: float = 1.0,
    input_mean: float = 0.5,
    scale: float = 1.0,
    dtype: jnp.dtype | type = jnp.float32,
) -> BiSE:
    """Draw a bank with a given bias and weights uniform in m (1 +- 0.5), m = bias / (input_mean n).

    Args:
        key: PRNG key.
        shape: shape of the weight, laid out by `spec.role`.
        spec: static options of the bank.
        bias: initial effective bias b.
        input_mean: expected mean of the inputs.
        scale: initial p.
        dtype: dtype of the arrays.

    Returns:
        A `BiSE` node whose neurons start half-way between dilation and erosion.

    Example:
        >>> node = heuristic(jax.random.key(0), (4, 2), Spec(role="lui"))
        >>> node.weight.shape
        (4, 2)
    """
    axes = role_axes(spec.role, window=len(shape) - 2)
    n = math.prod(shape[a] for a in axes)
    drawn = bias / (input_mean * n) * jax.random.uniform(key, shape, dtype, 0.5, 1.5)
    reduced = tuple(shape[i] for i in range(len(shape)) if i - len(shape) not in axes)
    if spec.weight_map == "dual":
        spec = replace(spec, factor=bias / input_mean)
    full, scales = jnp.full(reduced, bias, dtype), jnp.full(reduced, scale, dtype)
    node = BiSE(reparam.latent_weights(drawn, spec.weight_map), full, scales, spec)
    effective = reparam.effective_weights(
        bank(node, node.weight), spec.weight_map, factor=spec.factor
    )
    return replace(
        node, bias=reparam.latent_bias(full, spec.bias_map, effective, offset=spec.offset)
    )
