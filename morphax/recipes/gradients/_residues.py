"""Residues: operators that keep the pixels that a simpler operator changes, such as top-hats.

Let d = x XOR y be the pixels that an operator changes. A target y inside the image x is x AND NOT
d, and a target that never meets the image is d AND NOT x. For a white top-hat, d is the opening,
for a black one the closing: a network of two layers with one map, which is learned far more surely
than the top-hat. With the image itself as a second map it becomes the network of channels [1, 2,
1], without training.

Source: residues and top-hats, e.g. Soille, *Morphological Image Analysis*, section 4.5.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from morphax import _checks
from morphax.neurons.nodes import BiSE

Data = tuple[jax.Array, jax.Array]


def top_hat_kind(data: Data) -> Literal["white", "black"] | None:
    """Return which top-hat the targets may be.

    Args:
        data: (images, targets), bool `(N, H, W, 1)`, or volumes.

    Returns:
        "white" where no target leaves its image, "black" where no target meets it, None otherwise,
        or if both hold (all targets are empty).

    Example:
        >>> x = jnp.array([True, True, False])
        >>> top_hat_kind((x, jnp.array([True, False, False]))), top_hat_kind((x, ~x))
        ('white', 'black')
        >>> top_hat_kind((x, x | ~x))
    """
    x, y = data
    is_inside, is_outside = not bool((y & ~x).any()), not bool((y & x).any())
    if is_inside == is_outside:
        return None
    return "white" if is_inside else "black"


def changed_pixels(data: Data) -> Data:
    """Return the same images with the pixels that change as targets.

    Args:
        data: (images, targets), bool.

    Returns:
        (images, images XOR targets).

    Example:
        >>> changed_pixels((jnp.array([True, False]), jnp.array([True, True])))[1].tolist()
        [False, True]
    """
    return data[0], data[0] ^ data[1]


def residue(params: Any, like: Any, kind: Literal["white", "black"], *, scale: float) -> Any:
    """Build the network of a residue from the network of the changed pixels.

    Args:
        params: Trained params of a BiMoNN of channels [1, 1, 1] that gives d.
        like: Any params of channels [1, 2, 1] of the same neurons ("identity" weights, "centred"
            biases, or "raw" ones where they are symmetric); only shapes and specs are read.
        kind: "white" for x AND NOT d, "black" for d AND NOT x.
        scale: |p| of the new neurons on [0, 1]; half of it on [-1, 1], which is the same neuron.

    Returns:
        Params of channels [1, 2, 1]: the image, unmoved, beside the layers of `params`.

    Raises:
        ValueError: Another kind, or params of other shapes.

    Example:
        >>> from morphax import models
        >>> options = {"kernel_size": 3, "weight_map": "identity", "bias_map": "centred"}
        >>> inner, like = (models.init_bimonn(jax.random.key(0), [1, maps, 1], **options)
        ...                for maps in (1, 2))
        >>> residue(inner, like, "white", scale=20.0)[1]["bise"].scale[0].tolist()
        [20.0]
    """
    _checks.one_of("kind", kind, ("white", "black"))
    shapes = [[layer["bise"].weight.shape[-2:] for layer in tree] for tree in (params, like)]
    expected = [[(1, 1), (1, 1)], [(1, 2), (2, 1)]]
    _checks.require(
        shapes == expected, "params", "channels [1, 1, 1], and [1, 2, 1] of like", shapes
    )
    sign = 1 if kind == "white" else -1
    p, layers = scale / 2 if params[0]["bise"].spec.symmetric else scale, []
    for depth, (inner, outer) in enumerate(zip(params, like, strict=True)):
        node, axis = inner["bise"], -1 - depth  # of the window: the maps are outputs, then inputs
        middle = tuple(side // 2 for side in node.weight.shape[:-2])
        centre = jnp.zeros_like(node.weight).at[middle].set(1.0)
        image, other = (1, 1) if depth == 0 else (sign, -sign)  # one of the two is complemented
        pair = BiSE(
            jnp.concatenate([centre, node.weight], axis),
            jnp.concatenate([jnp.zeros_like(node.bias), node.bias], axis),  # 1/2, centred
            jnp.concatenate([jnp.full_like(node.scale, image * p), other * node.scale], axis),
            outer["bise"].spec,
        )
        layers.append({"bise": pair})
    lui = like[1]["lui"]
    # An intersection of two maps.
    both = 1.0 if lui.spec.symmetric else 0.5  # of two weights 1: 3/2, centred; on [-1, 1], raw
    layers[1]["lui"] = BiSE(
        jnp.ones_like(lui.weight),
        jnp.full_like(lui.bias, both),
        jnp.full_like(lui.scale, p),
        lui.spec,
    )
    return layers
