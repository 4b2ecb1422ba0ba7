"""Where a run starts: the draws of initial biases, signs and skip maps that restarts go through.

A two-layer network falls into the minimum next to where it starts, so the starts are spread over what
morphology is made of. A start says, for the odd and even layers, b / sum(w) of every neuron: 0.8 begins
as an erosion, 0.2 as a dilation, 0.5 undecided. Networks with several maps a layer may also start with a
*skip map*: the first map of each layer begins as the identity, and in the following layers either it or
the others are complemented. That is the shape of a top-hat, whose operands are the image and the
complement of its opening. The known starts are gone through twice, so that a recipe can train
differently the second time.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from morphax.neurons.nodes import BiSE, map_nodes


class Start(NamedTuple):
    """How a run starts.

    Attributes:
        quantiles: initial b / sum(w) of the neurons of odd and of even layers; None draws one in
            [0.2, 0.8] for each neuron.
        skip: 0 without a skip map; 1: the other maps are complemented; -1: the skip map is.
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
"""Mean initial weight around the centre of a skip map; elsewhere it is 0.5, the middle of the box."""


def start_of(params: Any, restart: int) -> tuple[Start, int]:
    """The start of a restart, by the shape of the network: the known ones twice, then random ones.

    Args:
        params: params tree of a BiMoNN.
        restart: its number, from 0.

    Returns:
        A `Start`, and its round: 0 the first time the known starts are gone through, 1 afterwards.

    Example:
        >>> from morphax import models
        >>> start_of(models.init_bimonn(jax.random.key(0), [1, 2, 1]), 1)
        (Start(quantiles=(0.8, 0.2), skip=1), 0)
    """
    several = any(layer["bise"].bias.size > 1 for layer in params)
    known = SEVERAL_MAPS if several else ONE_MAP
    if restart < 2 * len(known):
        return known[restart % len(known)], restart // len(known)
    return Start(skip=(0, 1, -1)[restart % 3] * several), 1


def begin(key: jax.Array, params: Any, start: Start, *, scale: float) -> Any:
    """The params at the start of a run.

    Args:
        key: PRNG key of the random quantiles.
        params: params tree of a BiMoNN with "identity" weights and "centred" biases ("raw" ones where
            it is symmetric).
        start: how to start.
        scale: |p| on [0, 1]; half of it on [-1, 1], which is the same neuron.

    Returns:
        The params, their weights widened to the box [0, 1].

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3,
        ...                             weight_map="identity", bias_map="centred")
        >>> node = begin(jax.random.key(1), params, Start((0.8, 0.2)), scale=2.0)[0]["bise"]
        >>> round(float(node.bias[0, 0] / node.weight.sum()), 3)  # centred: 0.8 - 0.5
        0.3
    """
    layers = []
    for depth, layer in enumerate(params):
        layer_key = jax.random.fold_in(key, depth)

        def widen(node: BiSE, depth: int = depth, layer_key: jax.Array = layer_key) -> BiSE:
            weight = node.weight * (0.5 / node.weight.mean())
            sign = jnp.ones_like(node.scale)
            if start.quantiles is None:
                quantile = jax.random.uniform(layer_key, node.bias.shape, minval=0.2, maxval=0.8)
            else:
                quantile = jnp.full(node.bias.shape, start.quantiles[depth % 2])
            if start.skip:
                weight, sign, quantile = _skip(node, weight, sign, quantile, start.skip)
            total = weight.sum(tuple(range(weight.ndim - node.bias.ndim)))
            bias = (quantile - 0.5) * total
            if node.spec.symmetric:  # w (2 x - 1) - (2 b - sum w) = 2 (w x - b)
                return BiSE(weight, 2 * bias, sign * scale / 2, node.spec)
            return BiSE(weight, bias, sign * scale, node.spec)

        layers.append(map_nodes(widen, layer))
    return layers


def _skip(
    node: BiSE, weight: jax.Array, sign: jax.Array, quantile: jax.Array, skip: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The first map begins as the identity; complements where maps meet; unions stay undecided."""
    if node.spec.role != "spatial":
        return weight, sign, jnp.full_like(quantile, 0.5)
    first = jnp.zeros(node.bias.shape, bool)
    first = first.at[:, 0].set(True) if len(first) == 1 else first.at[0].set(True)
    rows, columns = weight.shape[:2]
    centre = jnp.zeros((rows, columns, 1, 1)).at[rows // 2, columns // 2].set(1.0)
    identity = jnp.where(centre > 0, 0.5, weight * (AROUND / 0.5))
    if len(first) > 1:
        sign = jnp.where(first, skip, -skip).astype(sign.dtype)
    return jnp.where(first, identity, weight), sign, jnp.where(first, 0.5, quantile)
