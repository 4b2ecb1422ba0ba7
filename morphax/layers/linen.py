"""Flax Linen layers: thin shells that declare nodes as params and call `morphax.models`.

`variables["params"]` is a params tree for every function of morphax; the binary network is
`model.apply({"params": morphax.binarize(params)}, x > 0.5)`: the same model code.

`options` holds those of `morphax.models.init_bise`: threshold, weight_map, bias_map, border,
symmetric, offset, input_mean, scale, dtype.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from morphax import _checks
from morphax.neurons import models
from morphax.neurons.forward import apply
from morphax.neurons.nodes import Node

try:
    from flax import linen as nn
except ImportError as error:
    raise _checks.extra("flax", "all") from error


def _stored(module: nn.Module, name: str, init: Callable[[jax.Array], Node]) -> Node:
    """The stored node, real or binary; declared by `init` where there is none yet."""
    if module.has_variable("params", name):
        return module.get_variable("params", name)
    return module.param(name, init)


class BiSE(nn.Module):
    """Single BiSE neurons, one for each channel: `(batch, H, W, C)` to the same shape.

    Example:
        >>> BiSE(kernel_size=5).init_with_output(jax.random.key(0), jax.numpy.zeros((1, 8, 8, 1)))[0].shape
        (1, 8, 8, 1)
    """

    kernel_size: int | Sequence[int] = 7
    options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        options = dict(self.options or {})

        def init(key: jax.Array) -> Node:
            return models.init_bise(key, x.shape[-1], kernel_size=self.kernel_size, **options)

        return models.bise(_stored(self, "bise", init), x)


class BiSEL(nn.Module):
    """One BiSE for each pair of channels, then one LUI for each output channel.

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
        options = dict(self.options or {})

        def init(name: str) -> Callable[[jax.Array], Node]:
            return lambda key: models.init_bisel(
                key, x.shape[-1], self.features, kernel_size=self.kernel_size, **options
            )[name]

        names = ("bise", "lui") if x.shape[-1] > 1 else ("bise",)
        return models.bisel({name: _stored(self, name, init(name)) for name in names}, x)


class DenseLUI(nn.Module):
    """Unions and intersections of a flat vector (or of channels): `(..., in)` to `(..., out)`.

    Example:
        >>> DenseLUI(4).init_with_output(jax.random.key(0), jax.numpy.zeros((2, 16)))[0].shape
        (2, 4)
    """

    features: int
    options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def init(key: jax.Array) -> Node:
            return models.init_dense_lui(
                key, x.shape[-1], self.features, **dict(self.options or {})
            )

        return apply(_stored(self, "lui", init), x)


class BiMoNN(nn.Module):
    """A sequence of BiSELs; `channels` are those of the input and of each layer.

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
