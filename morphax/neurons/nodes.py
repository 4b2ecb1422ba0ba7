"""Parameter nodes: a bank of neurons is one pytree node, real (`BiSE`) or binary (`BinaryBiSE`).

The two have mirrored fields (same shapes, same order), so one can take the place of the other in
any params tree. The layout of a bank depends on its role (further leading axes, from `nn.scan` or a
vmapped sweep, are free):

| role      | weight              | bias, scale | a neuron is                               |
|-----------|---------------------|-------------|-------------------------------------------|
| "spatial" | `(kh, kw, in, out)` | `(in, out)` | one window for each (in, out) pair        |
| "lui"     | `(in, out)`         | `(out,)`    | a union/intersection of maps for output o |
| "dense"   | `(in, out)`         | `(out,)`    | a union/intersection of a flat vector     |

The windows of a spatial bank have one to three axes: as many as its weight has more than its bias.
Rows have `(kw, in, out)`, volumes `(kd, kh, kw, in, out)`. Sides are of any parity, and the origin
of a window is at `side // 2` along each axis, as in `morphax.morphology.operators`.

`bank` moves a node to `(..., n)`, the layout of certificates and projections; `unbank` moves an
array back.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.morphology.dtypes import array_text
from morphax.morphology.shift import BORDERS
from morphax.neurons import reparam, thresholds

ROLES = ("spatial", "lui", "dense")
"""Roles of banks; the table in the module docstring defines them."""


@dataclass(frozen=True)
class Spec:
    """Hold the static options of a bank of neurons.

    Attributes:
        role: one of `ROLES`.
        weight_map: reparametrisation of the weights (`morphax.neurons.reparam`).
        bias_map: reparametrisation of the bias.
        threshold: smooth threshold (`morphax.neurons.thresholds`).
        border: value of the pixels beyond the frame, for spatial banks: "ignore" (1 for an erosion,
            0 for a dilation), "constant" (0) or "replicate" (the nearest pixel).
        symmetric: SyBiSE on images in {-1, 1} instead of BiSE on {0, 1}.
        factor: sum of the weights of a neuron under the "dual" map.
        offset: least bias under the "positive" bias map.

    Raises:
        ValueError: if an option is unknown, or identity weights or symmetric neurons have a bias
            map other than "raw" or "centred".

    Example:
        >>> Spec("dense", border="constant").weight_map
        'positive'
    """

    role: str = "spatial"
    weight_map: str = "positive"
    bias_map: str = "positive"
    threshold: str = "tanh"
    border: str = "ignore"
    symmetric: bool = False
    factor: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        _checks.one_of("role", self.role, ROLES)
        _checks.one_of("weight_map", self.weight_map, reparam.WEIGHT_MAPS)
        _checks.one_of("bias_map", self.bias_map, reparam.BIAS_MAPS)
        _checks.one_of("threshold", self.threshold, thresholds.THRESHOLDS)
        _checks.one_of("border", self.border, BORDERS)
        if self.weight_map == "identity" or self.symmetric:
            is_signed = self.bias_map in ("raw", "centred")
            expected = "'raw' or 'centred' for identity weights and symmetric neurons"
            _checks.require(is_signed, "bias_map", expected, self.bias_map)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BiSE:
    """Hold a bank of trainable neurons xi(p (sum_i w_i x_i - b)).

    Attributes:
        weight: latent weights W, float, laid out by role (module docstring).
        bias: latent bias B, float.
        scale: p, float, of the shape of `bias`; p < 0 complements the output, p = 0 makes it
            constant.
        spec: static options.
    """

    weight: Any
    bias: Any
    scale: Any
    spec: Spec = field(metadata={"static": True})

    def __repr__(self) -> str:
        """Return the node with shapes in place of numbers."""
        return _node_text(self)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BinaryBiSE:
    """Hold a bank of binary neurons: erosions and dilations, complemented or not, all in bool.

    Attributes:
        selem: S, bool, the window that a neuron looks at (a correlation), laid out as
            `BiSE.weight`; `morphax.structuring_element` gives the textbook set.
        erosion: bool, laid out as `BiSE.bias`: erosion where true, dilation where false.
        complement: bool, laid out as `BiSE.scale`: whether the output is complemented.
        spec: static options.
    """

    selem: Any
    erosion: Any
    complement: Any
    spec: Spec = field(metadata={"static": True})

    def __repr__(self) -> str:
        """Return the node with shapes in place of bits."""
        return _node_text(self)


Node = BiSE | BinaryBiSE


def _node_text(node: Node) -> str:
    arrays = (f"{f.name}={array_text(getattr(node, f.name))}" for f in fields(node)[:3])
    return f"{type(node).__name__}({', '.join(arrays)}, {node.spec})"


def is_node(x: Any) -> bool:
    """Return whether `x` is a bank of neurons."""
    return isinstance(x, Node)


def leaves(node: Node) -> tuple[Any, Any, Any]:
    """Return the three arrays of a node, in the order that both kinds share.

    Args:
        node: bank of neurons.

    Returns:
        weight, bias and scale of a `BiSE`; selem, erosion and complement of a `BinaryBiSE`.
    """
    return tuple(getattr(node, name) for name in _array_names(node))  # type: ignore[return-value]


def _array_names(node: Node) -> list[str]:
    """Return the names of the three arrays of a node."""
    return [part.name for part in fields(node)[:3]]  # the last field is the spec


def check_shapes(node: Node, name: str = "node") -> None:
    """Check that the three arrays of a node are real and fit each other and its role.

    Args:
        node: bank of neurons.
        name: name of the node in error messages.

    Raises:
        ValueError: if they do not.
    """
    for part in _array_names(node):
        dtype = getattr(getattr(node, part), "dtype", None)
        real = dtype is None or not jnp.issubdtype(dtype, jnp.complexfloating)
        _checks.require(real, f"{name}.{part}", "real numbers", dtype)
    weight, bias, scale = (jnp.shape(leaf) for leaf in leaves(node))
    spatial = node.spec.role == "spatial"
    rank = 3 if spatial else 2
    _checks.require(len(weight) >= rank, f"{name}.weight", f"rank {rank} or more", weight)
    # All axes of the weight beyond those of the bias belong to the window.
    window = len(weight) - len(bias) if spatial else 1
    one_to_three = f"windows of one to three axes beside a bias of shape {bias}"
    _checks.require(window <= 3, f"{name}.weight", one_to_three, weight)
    expected = weight[: -2 - window] + weight[-2:] if spatial else weight[:-2] + weight[-1:]
    _checks.require(
        bias == expected, f"{name}.bias", f"shape {expected} beside weights {weight}", bias
    )
    _checks.require(scale == expected, f"{name}.scale", f"shape {expected}", scale)
    if spatial:
        sides = weight[-2 - window : -2]
        _checks.require(0 not in sides, f"{name}.weight", "windows without empty sides", sides)


def role_axes(role: str, *, window: int = 2) -> tuple[int, ...]:
    """Return the axes of a weight that run over the inputs of one neuron.

    Args:
        role: one of `ROLES`.
        window: number of axes of the windows, for the role "spatial".

    Returns:
        Negative numbers of axes.

    Example:
        >>> role_axes("spatial"), role_axes("spatial", window=3), role_axes("lui")
        ((-4, -3), (-5, -4, -3), (-2,))
    """
    return tuple(range(-2 - window, -2)) if role == "spatial" else (-2,)


def input_axes(node: Node) -> tuple[int, ...]:
    """Return the axes of the weight of a bank that run over the inputs of one neuron.

    Args:
        node: bank of neurons; only the ranks of its weight and bias are read.

    Returns:
        Negative numbers of axes: those of the windows of a spatial bank, else (-2,).

    Example:
        >>> node = BiSE(jnp.ones((3, 5, 5, 1, 2)), jnp.ones((1, 2)), jnp.ones((1, 2)), Spec())
        >>> input_axes(node)
        (-5, -4, -3)
    """
    weight, bias, _ = leaves(node)
    return role_axes(node.spec.role, window=np.ndim(weight) - np.ndim(bias))


def bank(node: Node, array: jax.Array) -> jax.Array:
    """Move an array laid out as the weight of `node` to `(..., n)`, the n inputs of a neuron last.

    Args:
        node: bank of neurons; only its layout is read.
        array: array of the shape of its weight.

    Returns:
        An array `(..., n)`.

    Example:
        >>> node = BiSE(jnp.ones((3, 3, 1, 2)), jnp.ones((1, 2)), jnp.ones((1, 2)), Spec())
        >>> bank(node, node.weight).shape
        (1, 2, 9)
    """
    axes = input_axes(node)
    moved = jnp.moveaxis(array, axes, tuple(range(-len(axes), 0)))
    return moved.reshape(*moved.shape[: -len(axes)], math.prod(moved.shape[-len(axes) :]))


def unbank(node: Node, array: jax.Array) -> jax.Array:
    """Move an array `(..., n)` back to the layout of the weight of `node`: the inverse of `bank`.

    Args:
        node: bank of neurons; only its layout is read.
        array: array `(..., n)`.

    Returns:
        An array of the shape of the weight.
    """
    axes = input_axes(node)
    window = tuple(leaves(node)[0].shape[a] for a in axes)
    return jnp.moveaxis(
        array.reshape(*array.shape[:-1], *window), tuple(range(-len(axes), 0)), axes
    )


def effective(node: BiSE) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compute the effective parameters of a bank.

    Args:
        node: bank of trainable neurons.

    Returns:
        Weights w `(..., n)`, bias b `(...)` and scale p `(...)`.

    Example:
        >>> node = BiSE(jnp.zeros((3, 3, 1, 2)), jnp.zeros((1, 2)), jnp.ones((1, 2)), Spec())
        >>> weights, bias, scale = effective(node)
        >>> weights.shape, bias.shape, scale.shape
        ((1, 2, 9), (1, 2), (1, 2))
    """
    spec = node.spec
    # Map before moving: when a forward pass moves the bank back, the two moves cancel, and XLA
    # reads nothing across its rows.
    mapped = reparam.effective_weights(
        jnp.asarray(node.weight), spec.weight_map, factor=spec.factor, axis=input_axes(node)
    )
    weights = bank(node, mapped)
    return (
        weights,
        reparam.effective_bias(node.bias, spec.bias_map, weights, offset=spec.offset),
        node.scale,
    )


def _native(node: Any) -> Any:
    """Return a node whose numpy arrays are as JAX reads them (`bit_arrays.native`)."""
    return jax.tree.map(bit_arrays.native, node)


def map_nodes(function: Callable[..., Any], params: Any, *rest: Any) -> Any:
    """Apply a function to every `BiSE` node of a params tree; everything else is kept as it is.

    Args:
        function: function of a node, and of the parts of `rest` at the same place.
        params: any pytree holding `BiSE` nodes (Linen dict, NNX state, list, ...).
        *rest: trees of the same structure down to the nodes.

    Returns:
        The tree with each node replaced by what the function returns.

    Example:
        >>> node = BiSE(jnp.ones((4, 1)), jnp.ones(1), jnp.ones(1), Spec("dense"))
        >>> map_nodes(lambda node: node.weight.shape, {"lui": node, "other": 1})
        {'lui': (4, 1), 'other': 1}
    """
    return jax.tree.map(
        lambda leaf, *others: function(_native(leaf), *others) if isinstance(leaf, BiSE) else leaf,
        params,
        *rest,
        is_leaf=is_node,
    )


def named_nodes(params: Any) -> dict[str, Node]:
    """Return every bank of a params tree by its path, such as `"layers_0/bise"`, in tree order.

    Args:
        params: any pytree holding nodes.

    Returns:
        path -> node.

    Raises:
        ValueError: if two banks have the same path.
    """
    flat = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_node)[0]
    named = [(path_name(path), _native(leaf)) for path, leaf in flat if is_node(leaf)]
    names = [name for name, _ in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    _checks.require(not twice, "params", "another path for each bank of neurons", twice)
    return dict(named)


def path_name(path: tuple[Any, ...]) -> str:
    """Return a tree path as text: keys joined by "/", without the wrapper key `.value` of NNX."""
    keys = [str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path]
    return "/".join(k for k in keys if k not in ("value", "raw_value"))
