"""Flax NNX layers: thin shells that hold nodes as `nnx.Param` and call `morphax.models`.

`nnx.state(model, nnx.Param)` is a params tree for every function of morphax, and
`nnx.update(model, morphax.binarize(state))` turns a model into the binary network. Images are
`(batch, H, W, channels)`.

Train with `Optimizer` of this module, or with Optax on `nnx.state(model, nnx.Param)` and
`nnx.update`. Flax's own `nnx.Optimizer` (0.12) unpacks parameters that are pytrees when it stores
its state, and fails on its second step.

`**options` are options of `morphax.models.init_bise`: axes (3 for volumes), threshold, weight_map,
bias_map, border, symmetric, offset, input_mean, scale, dtype.
"""

from collections.abc import Sequence
from typing import Any

import jax
import optax
from flax import nnx

from morphax.neurons import models
from morphax.neurons.forward import apply


class Optimizer(nnx.Optimizer):
    """Train a model with Optax; use it as `flax.nnx.Optimizer`, which fails on nodes.

    Example:
        >>> import optax
        >>> model = BiSE(1, kernel_size=3, rngs=nnx.Rngs(0))
        >>> optimizer = Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
        >>> x = jax.numpy.ones((1, 8, 8, 1))
        >>> for _ in range(2):
        ...     gradient = nnx.grad(lambda model: (model(x) ** 2).mean())(model)
        ...     _ = optimizer.update(model, gradient)
        >>> int(optimizer.step[...])
        2
    """

    def update(self, model: nnx.Module, grads: Any, /, **kwargs: Any) -> Any:
        """Update the model and the state of the optimizer.

        Args:
            model: the model that the optimizer was made with.
            grads: from `nnx.grad` with respect to the same parameters.
            **kwargs: passed on to the Optax transformation.

        Returns:
            The updates that were added.
        """
        params, gradient, state, extra = (
            _values(tree) for tree in (nnx.state(model, self.wrt), grads, self.opt_state, kwargs)
        )
        updates, new_state = self.tx.update(gradient, state, params, **extra)
        nnx.update(model, optax.apply_updates(params, updates))
        # Variable by variable: `nnx.update` would unpack the nodes that they hold.
        jax.tree.map(
            lambda variable, value: variable.set_value(value),
            self.opt_state,
            new_state,
            is_leaf=_is_variable,
        )
        self.step[...] += 1
        return updates


def _is_variable(leaf: Any) -> bool:
    return isinstance(leaf, nnx.Variable)


def _values(tree: Any) -> Any:
    """Return a tree with what its variables hold, nodes in one piece, in their places."""
    return jax.tree.map(
        lambda leaf: leaf.get_value() if _is_variable(leaf) else leaf, tree, is_leaf=_is_variable
    )


class BiSE(nnx.Module):
    """Apply single BiSE neurons, one for each channel: `(batch, H, W, C)` to the same shape.

    Example:
        >>> layer = BiSE(1, kernel_size=5, rngs=nnx.Rngs(0))
        >>> layer(jax.numpy.zeros((1, 8, 8, 1))).shape
        (1, 8, 8, 1)
    """

    def __init__(
        self, features: int, *, kernel_size: int | Sequence[int] = 7, rngs: nnx.Rngs, **options: Any
    ):
        """Draw the neurons.

        Args:
            features: number of channels.
            kernel_size: side of the window, or one to three sides.
            rngs: random number generators of NNX; the stream "params" is used.
            **options: options of `morphax.models.init_bise` (module docstring).
        """
        self.bise = nnx.Param(
            models.init_bise(rngs.params(), features, kernel_size=kernel_size, **options)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the neurons to images `(batch, H, W, C)`."""
        return models.bise(self.bise.get_value(), x)


class BiSEL(nnx.Module):
    """Apply one BiSE for each pair of channels, then one LUI for each output channel.

    Example:
        >>> layer = BiSEL(2, 3, kernel_size=5, rngs=nnx.Rngs(0))
        >>> layer(jax.numpy.zeros((1, 8, 8, 2))).shape
        (1, 8, 8, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: int | Sequence[int] = 7,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        """Draw the neurons.

        Args:
            in_features: number of input channels.
            out_features: number of output channels.
            kernel_size: side of the window, or one to three sides.
            rngs: random number generators of NNX; the stream "params" is used.
            **options: options of `morphax.models.init_bise` (module docstring).
        """
        layer = models.init_bisel(
            rngs.params(), in_features, out_features, kernel_size=kernel_size, **options
        )
        self.bise = nnx.Param(layer["bise"])
        if "lui" in layer:
            self.lui = nnx.Param(layer["lui"])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the layer to images `(batch, H, W, in)`."""
        names = [name for name in ("bise", "lui") if hasattr(self, name)]
        return models.bisel({name: getattr(self, name).get_value() for name in names}, x)


class DenseLUI(nnx.Module):
    """Apply unions and intersections to a flat vector, or to channels: `(..., in)` to `(..., out)`.

    Example:
        >>> layer = DenseLUI(16, 4, rngs=nnx.Rngs(0))
        >>> layer(jax.numpy.zeros((2, 16))).shape
        (2, 4)
    """

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs, **options: Any):
        """Draw the neurons.

        Args:
            in_features: number of inputs of each neuron.
            out_features: number of neurons.
            rngs: random number generators of NNX; the stream "params" is used.
            **options: options of `morphax.models.init_bise` (module docstring).
        """
        self.lui = nnx.Param(
            models.init_dense_lui(rngs.params(), in_features, out_features, **options)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the layer to an array `(..., in)`."""
        return apply(self.lui.get_value(), x)


class BiMoNN(nnx.Module):
    """Apply a sequence of BiSELs.

    Example:
        >>> model = BiMoNN([1, 1, 1], kernel_size=7, rngs=nnx.Rngs(0))
        >>> model(jax.numpy.zeros((1, 16, 16, 1))).shape
        (1, 16, 16, 1)
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        kernel_size: int | Sequence[Any] = 7,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        """Draw the neurons.

        Args:
            channels: numbers of channels of the input and of each layer.
            kernel_size: one size for all layers, or one size for each layer.
            rngs: random number generators of NNX; the stream "params" is used.
            **options: options of `morphax.models.init_bise` (module docstring).
        """
        params = models.init_bimonn(rngs.params(), channels, kernel_size=kernel_size, **options)
        self.layers = nnx.List([_Bisel(layer) for layer in params])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the network to images `(batch, H, W, channels[0])`."""
        for layer in self.layers:
            x = layer(x)
        return x


class _Bisel(BiSEL):
    """Wrap nodes that exist in a BiSEL."""

    def __init__(self, layer: models.Bisel):
        for name, node in layer.items():
            setattr(self, name, nnx.Param(node))
