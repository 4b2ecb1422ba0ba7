"""Models as plain functions of a params tree: `init_*` makes the tree, the bare name runs it.

The Flax layers (`morphax.layers`) are shells around these functions. A params tree here is made of
dicts and lists of nodes; the same function runs real and binary trees. Images are `(batch, H, W,
channels)`; windows of one or three sides make models of rows `(batch, W, channels)` and of volumes
`(batch, D, H, W, channels)`.

Source: Aouad & Talbot, "Binary Multi Channel Morphological Neural Network" (DGMM 2022, arXiv
2204.08768) for BiSEL and BiMoNN.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from morphax import _checks
from morphax.neurons.forward import apply, complement, concatenate
from morphax.neurons.initializers import variance_preserving
from morphax.neurons.nodes import Node, Spec

Bisel = Mapping[str, Node]


def window(kernel_size: int | Sequence[int], *, axes: int = 2) -> tuple[int, ...]:
    """Return a kernel size as one side for each axis of the images.

    Args:
        kernel_size: side of a window whose sides are equal, or its one to three sides. A side may
            be even: the origin of the window then is the pixel after its middle.
        axes: number of axes of the images, 1 to 3, where `kernel_size` is one number.

    Returns:
        The sides, such as (height, width).

    Raises:
        ValueError: if a side is not positive, or there are other than one to three.

    Example:
        >>> window(7), window(3, axes=3), window((2, 5))
        ((7, 7), (3, 3, 3), (2, 5))
    """
    _checks.require(axes in (1, 2, 3), "axes", "1, 2 or 3", axes)
    sides = (kernel_size,) * axes if isinstance(kernel_size, int) else tuple(kernel_size)
    fits = 1 <= len(sides) <= 3 and all(isinstance(k, int) and k > 0 for k in sides)
    _checks.require(fits, "kernel_size", "a positive side, or one to three of them", kernel_size)
    return sides


def init_bise(
    key: jax.Array,
    features: int,
    *,
    kernel_size: int | Sequence[int] = 7,
    axes: int = 2,
    **options: Any,
) -> Node:
    """Draw a bank of single BiSE neurons, one for each channel.

    Args:
        key: PRNG key.
        features: number of channels of the image; each neuron sees its own channel only.
        kernel_size: side of the windows, or one to three sides, such as (height, width).
        axes: number of axes of the images, 1 to 3, where a size is one number (`window`).
        **options: options of `Spec` (threshold, weight_map, bias_map, border, symmetric, offset)
            and of `variance_preserving` (input_mean, bias_noise, scale, dtype).

    Returns:
        A `BiSE` node with weight `(kh, kw, features, 1)`; run it with `bise`.

    Raises:
        ValueError: if a side of the kernel is not positive, or an option is unknown.

    Example:
        >>> init_bise(jax.random.key(0), 2, kernel_size=5).weight.shape
        (5, 5, 2, 1)
    """
    spec, init = _split(options)
    return variance_preserving(
        key, (*window(kernel_size, axes=axes), features, 1), Spec("spatial", **spec), **init
    )


def bise(node: Node, x: jax.Array) -> jax.Array:
    """Apply single BiSE neurons, channel by channel: `(batch, H, W, C)` to the same shape.

    Example:
        >>> bise(init_bise(jax.random.key(0), 2), jax.numpy.zeros((1, 9, 8, 2))).shape
        (1, 9, 8, 2)
    """
    return apply(node, x)[..., 0]


def init_dense_lui(key: jax.Array, in_features: int, out_features: int, **options: Any) -> Node:
    """Draw a DenseLUI: each output is a union or an intersection of a subset of a flat vector.

    Args:
        key: PRNG key.
        in_features: number of inputs of each neuron.
        out_features: number of neurons.
        **options: options of `init_bise`.

    Returns:
        A `BiSE` node with weight `(in_features, out_features)`; run it with `morphax.apply` on
        `(..., in_features)`. It also serves as a LUI over the channels of an image.

    Raises:
        ValueError: if an option is unknown.

    Example:
        >>> init_dense_lui(jax.random.key(0), 16, 4).weight.shape
        (16, 4)
    """
    spec, init = _split(options)
    return variance_preserving(key, (in_features, out_features), Spec("dense", **spec), **init)


def init_bisel(
    key: jax.Array,
    in_features: int,
    out_features: int,
    *,
    kernel_size: int | Sequence[int] = 7,
    axes: int = 2,
    **options: Any,
) -> dict[str, Node]:
    """Draw a BiSEL: one BiSE for each pair of channels, then one LUI for each output channel.

    Args:
        key: PRNG key.
        in_features: number of input channels.
        out_features: number of output channels.
        kernel_size: side of the windows, or one to three sides, such as (height, width).
        axes: number of axes of the images, 1 to 3, where a size is one number (`window`).
        **options: options of `init_bise`; both banks get them.

    Returns:
        `{"bise": node, "lui": node}`, without "lui" when `in_features` is 1, where it would do
        nothing.

    Raises:
        ValueError: if a side of the kernel is not positive, or an option is unknown.

    Example:
        >>> sorted(init_bisel(jax.random.key(0), 2, 3))
        ['bise', 'lui']
    """
    spec, init = _split(options)
    bise_key, lui_key = jax.random.split(key)
    shape = (*window(kernel_size, axes=axes), in_features, out_features)
    layer = {"bise": variance_preserving(bise_key, shape, Spec("spatial", **spec), **init)}
    if in_features > 1:
        # The LUI sees the outputs of neurons, which are centred whatever the image is.
        init["input_mean"] = 0.0 if spec.get("symmetric") else 0.5
        layer["lui"] = variance_preserving(
            lui_key, (in_features, out_features), Spec("lui", **spec), weights="constant", **init
        )
    return layer  # type: ignore[return-value]


def bisel(layer: Bisel, x: jax.Array) -> jax.Array:
    """Apply a BiSEL: `(batch, H, W, in)` to `(batch, H, W, out)`, real or binary.

    Example:
        >>> bisel(init_bisel(jax.random.key(0), 1, 3), jax.numpy.zeros((2, 9, 8, 1))).shape
        (2, 9, 8, 3)
    """
    maps = apply(layer["bise"], x)
    return apply(layer["lui"], maps) if "lui" in layer else maps[..., 0, :]


def init_bimonn(
    key: jax.Array,
    channels: Sequence[int],
    *,
    kernel_size: int | Sequence[int] | Sequence[Sequence[int]] = 7,
    axes: int = 2,
    **options: Any,
) -> list[dict[str, Node]]:
    """Draw a BiMoNN: a sequence of BiSELs.

    Args:
        key: PRNG key.
        channels: numbers of channels of the input and of each layer, such as [1, 1, 1] for an
            opening, [1, 2, 1] for a top-hat.
        kernel_size: one size for all layers, or a list with one size for each layer: a number, or
            one to three sides.
        axes: number of axes of the images, 1 to 3, where a size is one number (`window`).
        **options: options of `init_bise`.

    Returns:
        A list of BiSELs; run it with `bimonn`.

    Raises:
        ValueError: if `channels` has fewer than two entries, or the sizes do not fit.

    Example:
        >>> len(init_bimonn(jax.random.key(0), [1, 1, 1], kernel_size=5))
        2
    """
    sizes = _layer_windows(channels, kernel_size, axes)
    depth = len(sizes)
    keys = jax.random.split(key, depth)
    # `input_mean` describes the image, so only the first layer gets it.
    first = options.pop("input_mean", None)
    means = [{} if first is None or i else {"input_mean": first} for i in range(depth)]
    return [
        init_bisel(
            keys[i], channels[i], channels[i + 1], kernel_size=sizes[i], **means[i], **options
        )
        for i in range(depth)
    ]


def reach(
    channels: Sequence[int],
    *,
    kernel_size: int | Sequence[int] | Sequence[Sequence[int]] = 7,
    axes: int = 2,
) -> tuple[int, ...]:
    """Return how far from a pixel a BiMoNN looks.

    Args:
        channels: numbers of channels, as for `init_bimonn`.
        kernel_size: sizes of the windows, as for `init_bimonn`.
        axes: number of axes of the images, as for `init_bimonn`.

    Returns:
        The number of rows and of columns to either side, one number for each axis.

    Raises:
        ValueError: under the same conditions as `init_bimonn`.

    Example:
        >>> reach([1, 3, 1], kernel_size=7)
        (6, 6)
    """
    sides_of_axes = zip(*_layer_windows(channels, kernel_size, axes), strict=True)
    return tuple(sum(side // 2 for side in sides) for sides in sides_of_axes)


def _layer_windows(channels: Sequence[int], kernel_size: Any, axes: int) -> list[tuple[int, ...]]:
    """Return the sides of the windows of each layer."""
    _checks.require(len(channels) >= 2, "channels", "two entries or more (input, layers)", channels)
    depth = len(channels) - 1
    sizes = [kernel_size] * depth if isinstance(kernel_size, int) else list(kernel_size)
    _checks.require(len(sizes) == depth, "kernel_size", f"one size, or {depth}", kernel_size)
    windows = [window(size, axes=axes) for size in sizes]
    same = len({len(sides) for sides in windows}) == 1
    _checks.require(same, "kernel_size", "windows of one number of axes", kernel_size)
    return windows


def bimonn(layers: Sequence[Bisel], x: jax.Array) -> jax.Array:
    """Apply a BiMoNN: `(batch, H, W, channels[0])` to `(batch, H, W, channels[-1])`.

    Example:
        >>> params = init_bimonn(jax.random.key(0), [1, 2, 1])
        >>> bimonn(params, jax.numpy.zeros((2, 9, 8, 1))).shape
        (2, 9, 8, 1)
    """
    for layer in layers:
        x = bisel(layer, x)
    return x


def init_hit_or_misses(
    key: jax.Array,
    in_features: int,
    maps: int,
    *,
    kernel_size: int | Sequence[int] = 7,
    axes: int = 2,
    **options: Any,
) -> dict[str, Node]:
    """Draw a union of hit-or-misses: erosions of the image and its complement, then one union.

    Args:
        key: PRNG key.
        in_features: number of channels of the image.
        maps: number of hit-or-misses.
        kernel_size: side of the windows, or one to three sides, such as (height, width).
        axes: number of axes of the images, 1 to 3, where a size is one number (`window`).
        **options: options of `init_bise`; all banks get them.

    Returns:
        `{"bise": node, "lui": node, "union": node}`: "bise" sees each channel of the image and of
        its complement, "lui" joins these parts to a map, "union" joins the maps. Run it with
        `hit_or_misses`. Nothing binds the neurons to be erosions: training chooses.

    Raises:
        ValueError: if a side of the kernel or `maps` is not positive, or an option is unknown.

    Example:
        >>> init_hit_or_misses(jax.random.key(0), 1, 4, kernel_size=3)["bise"].weight.shape
        (3, 3, 2, 4)
    """
    _checks.at_least("maps", maps, 1)
    layer_key, union_key = jax.random.split(key)
    layer = init_bisel(
        layer_key, 2 * in_features, maps, kernel_size=kernel_size, axes=axes, **options
    )
    options["input_mean"] = 0.0 if options.get("symmetric") else 0.5
    return {**layer, "union": init_dense_lui(union_key, maps, 1, **options)}


def hit_or_misses(layer: Bisel, x: jax.Array) -> jax.Array:
    """Apply a union of hit-or-misses: `(batch, H, W, in)` to `(batch, H, W, 1)`, real or binary.

    Example:
        >>> params = init_hit_or_misses(jax.random.key(0), 1, 4, kernel_size=3)
        >>> hit_or_misses(params, jax.numpy.zeros((2, 9, 8, 1))).shape
        (2, 9, 8, 1)
    """
    symmetric = layer["bise"].spec.symmetric
    literals = concatenate([x, complement(x, symmetric=symmetric)])
    return apply(layer["union"], bisel(layer, literals))


def _split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split options into those of the `Spec` and of the initialiser; refuse any others."""
    init = ("input_mean", "bias_noise", "scale", "dtype", "weights")
    known = ("weight_map", "bias_map", "threshold", "border", "symmetric", "offset", *init)
    unknown = sorted(set(options) - set(known))
    _checks.require(not unknown, "options", "only " + ", ".join(known), unknown)
    # Identity weights and symmetric neurons need a bias of any sign.
    spec = {name: value for name, value in options.items() if name not in init}
    if spec.get("symmetric") or spec.get("weight_map") == "identity":
        spec.setdefault("bias_map", "raw")
    if spec.get("symmetric"):
        spec.setdefault("weight_map", "identity")
    given = {name: options[name] for name in init if name in options}
    if spec.get("symmetric"):
        given.setdefault("input_mean", 0.0)
    return spec, given
