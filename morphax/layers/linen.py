"""Flax Linen layers: thin shells that declare nodes as params and call `morphax.models`.

`variables["params"]` is a params tree for every function of morphax, and the same model code runs
the binary network: `model.apply({"params": morphax.binarize(params)}, x > 0.5)`. Images are
`(batch, H, W, channels)`.

`options` holds options of `morphax.models.init_bise`: axes (3 for volumes), threshold, weight_map,
bias_map, border, symmetric, offset, input_mean, scale, dtype.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import linen as nn

from morphax import _checks
from morphax.neurons import models
from morphax.neurons.forward import apply
from morphax.neurons.nodes import Node


def _stored(module: nn.Module, name: str, init: Callable[[jax.Array], Node]) -> Node:
    """Return the stored node, real or binary; declare it by `init` where there is none yet."""
    # `param` would compare the shapes of a stored node with those of a new real one; a stored node
    # is taken as it is.
    if module.has_variable("params", name):
        return module.get_variable("params", name)
    return module.param(name, init)


class BiSE(nn.Module):
    """Apply single BiSE neurons, one for each channel: `(batch, H, W, C)` to the same shape.

    Attributes:
        kernel_size: side of the window, or one to three sides.
        options: options of `morphax.models.init_bise`, by name.

    Example:
        >>> layer, x = BiSE(kernel_size=5), jax.numpy.zeros((1, 8, 8, 1))
        >>> layer.init_with_output(jax.random.key(0), x)[0].shape
        (1, 8, 8, 1)
    """

    kernel_size: int | Sequence[int] = 7
    options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the neurons to images `(batch, H, W, C)`."""
        options = dict(self.options or {})

        def init(key: jax.Array) -> Node:
            return models.init_bise(key, x.shape[-1], kernel_size=self.kernel_size, **options)

        return models.bise(_stored(self, "bise", init), x)


class BiSEL(nn.Module):
    """Apply one BiSE for each pair of channels, then one LUI for each output channel.

    Attributes:
        features: number of output channels.
        kernel_size: side of the window, or one to three sides.
        options: options of `morphax.models.init_bise`, by name.

    Example:
        >>> layer, x = BiSEL(3, kernel_size=5), jax.numpy.zeros((1, 8, 8, 2))
        >>> layer.init_with_output(jax.random.key(0), x)[0].shape
        (1, 8, 8, 3)
    """

    features: int
    kernel_size: int | Sequence[int] = 7
    options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the layer to images `(batch, H, W, in)`."""
        options = dict(self.options or {})

        def init(name: str) -> Callable[[jax.Array], Node]:
            return lambda key: models.init_bisel(
                key, x.shape[-1], self.features, kernel_size=self.kernel_size, **options
            )[name]

        names = ("bise", "lui") if x.shape[-1] > 1 else ("bise",)
        return models.bisel({name: _stored(self, name, init(name)) for name in names}, x)


class DenseLUI(nn.Module):
    """Apply unions and intersections to a flat vector, or to channels: `(..., in)` to `(..., out)`.

    Attributes:
        features: number of outputs.
        options: options of `morphax.models.init_bise`, by name.

    Example:
        >>> DenseLUI(4).init_with_output(jax.random.key(0), jax.numpy.zeros((2, 16)))[0].shape
        (2, 4)
    """

    features: int
    options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the layer to an array `(..., in)`."""

        def init(key: jax.Array) -> Node:
            return models.init_dense_lui(
                key, x.shape[-1], self.features, **dict(self.options or {})
            )

        return apply(_stored(self, "lui", init), x)


class BiMoNN(nn.Module):
    """Apply a sequence of BiSELs.

    Attributes:
        channels: numbers of channels of the input and of each layer.
        kernel_size: one size for all layers, or one size for each layer.
        options: options of `morphax.models.init_bise`, by name.

    Example:
        >>> model = BiMoNN((1, 1, 1), kernel_size=7)
        >>> model.init_with_output(jax.random.key(0), jax.numpy.zeros((1, 16, 16, 1)))[0].shape
        (1, 16, 16, 1)
    """

    channels: Sequence[int]
    kernel_size: int | Sequence[Any] = 7
    options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the network to images `(batch, H, W, channels[0])`."""
        depth = len(self.channels) - 1
        _checks.require(
            x.shape[-1] == self.channels[0], "x", f"{self.channels[0]} channels", x.shape
        )
        sizes = (
            [self.kernel_size] * depth if isinstance(self.kernel_size, int) else self.kernel_size
        )
        _checks.require(
            len(sizes) == depth, "kernel_size", f"one size, or {depth}", self.kernel_size
        )
        for i, features in enumerate(self.channels[1:]):
            x = BiSEL(features, sizes[i], self.options, name=f"layers_{i}")(x)
        return x
