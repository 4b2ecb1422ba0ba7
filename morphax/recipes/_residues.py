"""Residues: operators that keep what a simpler one changes, such as top-hats.

With d = x XOR y the pixels that an operator changes, a target y inside the image is x AND NOT d, and one
that never meets the image is d AND NOT x. For a white top-hat d is the opening, for a black one the
closing: two layers of one map, which are learned far more surely than the whole. Beside the image itself,
as a second map, they make the network of channels [1, 2, 1]; nothing is left to train.

Source: residues and top-hats, e.g. Soille, *Morphological Image Analysis*, section 4.5.
"""

from typing import Any

import jax
import jax.numpy as jnp

from morphax import _checks
from morphax.neurons.nodes import BiSE

Data = tuple[jax.Array, jax.Array]


def kind(data: Data) -> int:
    """Which residue a target may be.

    Args:
        data: (images, targets), bool `(N, H, W, 1)`.

    Returns:
        1 where no target leaves its image (a white top-hat), -1 where none meets it (a black one), 0
        otherwise, or if both hold (all targets are empty).

    Example:
        >>> x = jnp.array([True, True, False])
        >>> kind((x, jnp.array([True, False, False]))), kind((x, ~x)), kind((x, x | ~x))
        (1, -1, 0)
    """
    x, y = data
    return int(not bool((y & ~x).any())) - int(not bool((y & x).any()))


def changed(data: Data) -> Data:
    """The same images with what is changed in them as targets.

    Args:
        data: (images, targets), bool.

    Returns:
        (images, images XOR targets).

    Example:
        >>> changed((jnp.array([True, False]), jnp.array([True, True])))[1].tolist()
        [False, True]
    """
    return data[0], data[0] ^ data[1]


def residue(params: Any, like: Any, kind: int, *, scale: float) -> Any:
    """The network of a residue, from that of what it changes.

    Args:
        params: trained params of a BiMoNN of channels [1, 1, 1] that gives d.
        like: any params of channels [1, 2, 1] of the same neurons ("identity" weights, "centred" biases,
            or "raw" ones where they are symmetric); only shapes and specs are read.
        kind: 1 for x AND NOT d, -1 for d AND NOT x.
        scale: |p| of the new neurons on [0, 1]; half of it on [-1, 1], which is the same neuron.

    Returns:
        Params of channels [1, 2, 1]: the image, moved by nothing, and the layers of `params`.

    Raises:
        ValueError: another kind, or params of other shapes.

    Example:
        >>> from morphax import models
        >>> options = {"kernel_size": 3, "weight_map": "identity", "bias_map": "centred"}
        >>> inner, like = (models.init_bimonn(jax.random.key(0), [1, maps, 1], **options)
        ...                for maps in (1, 2))
        >>> residue(inner, like, 1, scale=20.0)[1]["bise"].scale[0].tolist()
        [20.0]
    """
    _checks.require(kind in (1, -1), "kind", "1 or -1", kind)
    shapes = [[layer["bise"].weight.shape[2:] for layer in tree] for tree in (params, like)]
    expected = [[(1, 1), (1, 1)], [(1, 2), (2, 1)]]
    _checks.require(
        shapes == expected, "params", "channels [1, 1, 1], and [1, 2, 1] of like", shapes
    )
    p, layers = scale / 2 if params[0]["bise"].spec.symmetric else scale, []
    for depth, (inner, outer) in enumerate(zip(params, like, strict=True)):
        node, axis = inner["bise"], 3 - depth  # of the window: the maps are outputs, then inputs
        centre = jnp.zeros_like(node.weight)
        centre = centre.at[centre.shape[0] // 2, centre.shape[1] // 2].set(1.0)
        image, found = (1, 1) if depth == 0 else (kind, -kind)  # signs: what is complemented
        pair = BiSE(
            jnp.concatenate([centre, node.weight], axis),
            jnp.concatenate([jnp.zeros_like(node.bias), node.bias], axis - 2),  # 1/2, centred
            jnp.concatenate([jnp.full_like(node.scale, image * p), found * node.scale], axis - 2),
            outer["bise"].spec,
        )
        layers.append({"bise": pair})
    lui = like[1]["lui"]
    both = 1.0 if lui.spec.symmetric else 0.5  # of two weights 1: 3/2, centred; on [-1, 1], raw
    layers[1]["lui"] = BiSE(jnp.ones_like(lui.weight), jnp.full_like(lui.bias, both),
                            jnp.full_like(lui.scale, p), lui.spec)  # fmt: skip
    return layers
