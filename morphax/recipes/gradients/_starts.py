"""Starts of a run: initial biases, signs and skip maps, in the order in which a search tries them.

A two-layer network falls into the minimum next to its start, so the starts are spread over the
operations of morphology. A start gives b / sum(w) of every neuron in the odd and in the even
layers: 0.8 begins as an erosion, 0.2 as a dilation, 0.5 undecided. Networks with several maps in a
layer may also start with a *skip map*: the first map of each layer begins as the identity, and in
the following layers either this map or the others are complemented. A top-hat has this shape: its
operands are the image and the complement of its opening. A search tries the known starts twice, so
that a recipe can train differently the second time.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from morphax.neurons.nodes import BiSE, map_nodes


class Start(NamedTuple):
    """Describe how a run starts.

    Attributes:
        quantiles: Initial b / sum(w) of the neurons of odd and of even layers; None draws one in
            [0.2, 0.8] for each neuron.
        skip: 0 without a skip map; 1 where the other maps are complemented; -1 where the skip map
            is.
    """

    quantiles: tuple[float, float] | None = None
    skip: int = 0


UNDECIDED, EROSION_FIRST, DILATION_FIRST = (0.5, 0.5), (0.8, 0.2), (0.2, 0.8)
ONE_MAP = (Start(UNDECIDED), Start(EROSION_FIRST), Start(DILATION_FIRST))
"""First starts of networks with one map a layer."""
SEVERAL_MAPS = (
    Start(EROSION_FIRST),
    Start(EROSION_FIRST, 1),
    Start(DILATION_FIRST, -1),
    Start(DILATION_FIRST),
    Start(UNDECIDED, 1),
    Start(UNDECIDED, -1),
)
"""First starts of networks with several maps in a layer."""
AROUND = 0.05
"""Mean initial weight around the centre of a skip map; that of the centre is 0.5."""


def nth_start(params: Any, number: int) -> tuple[Start, int]:
    """Return a start by its number: the known ones twice, then random ones.

    Args:
        params: Params tree of a BiMoNN; its shape decides which starts are known.
        number: Number of the start, from 0.

    Returns:
        A `Start`, and its round: 0 for the first pass over the known starts, 1 afterwards.

    Example:
        >>> from morphax import models
        >>> nth_start(models.init_bimonn(jax.random.key(0), [1, 2, 1]), 1)
        (Start(quantiles=(0.8, 0.2), skip=1), 0)
    """
    several = any(layer["bise"].bias.size > 1 for layer in params)
    known = SEVERAL_MAPS if several else ONE_MAP
    if number < 2 * len(known):
        return known[number % len(known)], number // len(known)
    return Start(skip=(0, 1, -1)[number % 3] * several), 1


def initialise(key: jax.Array, params: Any, start: Start, *, scale: float) -> Any:
    """Return the params at the start of a run.

    Args:
        key: PRNG key of the random quantiles.
        params: Params tree of a BiMoNN with "identity" weights and "centred" biases ("raw" ones
            where it is symmetric).
        start: How to start.
        scale: |p| on [0, 1]; half of it on [-1, 1], which is the same neuron.

    Returns:
        The params, with weights of mean 1/2 in the box [0, 1].

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3,
        ...                             weight_map="identity", bias_map="centred")
        >>> node = initialise(jax.random.key(1), params, Start((0.8, 0.2)), scale=2.0)[0]["bise"]
        >>> round(float(node.bias[0, 0] / node.weight.sum()), 3)  # centred: 0.8 - 0.5
        0.3
    """
    layers = []
    for depth, layer in enumerate(params):
        layer_key = jax.random.fold_in(key, depth)
        widen = partial(widened, start=start, depth=depth, key=layer_key, scale=scale)
        layers.append(map_nodes(widen, layer))
    return layers


def widened(node: BiSE, start: Start, depth: int, key: jax.Array, *, scale: float) -> BiSE:
    """Return one bank at the start of a run.

    Args:
        node: The bank.
        start: How to start.
        depth: Number of its layer, from 0.
        key: PRNG key of a random quantile.
        scale: |p| on [0, 1].
    """
    # Mean 1/2, the middle of the box: no pixel starts as decided.
    weight = node.weight * (0.5 / node.weight.mean())
    sign = jnp.ones_like(node.scale)
    if start.quantiles is None:
        quantile = jax.random.uniform(key, node.bias.shape, minval=0.2, maxval=0.8)
    else:
        quantile = jnp.full(node.bias.shape, start.quantiles[depth % 2])
    if start.skip:
        weight, sign, quantile = _skip(node, weight, sign, quantile, start.skip)
    total = weight.sum(tuple(range(weight.ndim - node.bias.ndim)))
    bias = (quantile - 0.5) * total
    if node.spec.symmetric:  # w (2 x - 1) - (2 b - sum w) = 2 (w x - b)
        return BiSE(weight, 2 * bias, sign * scale / 2, node.spec)
    return BiSE(weight, bias, sign * scale, node.spec)


def _skip(
    node: BiSE, weight: jax.Array, sign: jax.Array, quantile: jax.Array, skip: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Make the first map the identity and complement where maps meet; unions stay undecided."""
    if node.spec.role != "spatial":
        return weight, sign, jnp.full_like(quantile, 0.5)
    first = jnp.zeros(node.bias.shape, bool)
    first = first.at[:, 0].set(True) if len(first) == 1 else first.at[0].set(True)
    window = weight.shape[:-2]
    centre = jnp.zeros((*window, 1, 1)).at[tuple(side // 2 for side in window)].set(1.0)
    identity = jnp.where(centre > 0, 0.5, weight * (AROUND / 0.5))
    if len(first) > 1:  # several maps meet in this layer
        sign = jnp.where(first, skip, -skip).astype(sign.dtype)
    return jnp.where(first, identity, weight), sign, jnp.where(first, 0.5, quantile)
