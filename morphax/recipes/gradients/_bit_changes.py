"""Changes of a few bits of a binary BiMoNN, ranked by the gradient through the binary network.

A derivative is not zero where a neuron is one input away from changing its output. Whether it can
rise or fall there differs, so there are two derivatives: one of the loss when a signal rises, one
when it falls. They are exact, to first order of the loss, for a change that meets no other change
on its way to the output.

Elements stay symmetric: the pixels of an orbit of the eight rotations and reflections change
together. `morphax.recipes.gradients.bits` trains with them. Sources: Helwegen et al., "Latent
weights do not exist" (NeurIPS 2019) for descent on bits without latent weights; Nguyen et al.,
"BOLD" (NeurIPS 2024) for variations of Boolean functions.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax.binarization import realize
from morphax.neurons.forward import apply
from morphax.neurons.nodes import BiSE, input_axes, is_node

_SCALE = 4.0  # at 3/2 from the threshold the slope is 1/3000 of that at 1/2
_SLOPE = float(_SCALE / 2 / np.cosh(_SCALE / 2) ** 2)


class Change(NamedTuple):
    """Describe a change of one neuron: input `part` of a union, or the orbit `part` of a window."""

    layer: int
    bank: str
    part: int
    neuron: tuple[int, ...]
    erosion: bool


@jax.jit
def slopes(layers: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any]:
    """Return the derivatives of the mean Dice loss by the weights and biases of a binary BiMoNN.

    Args:
        layers: A BiMoNN of `BinaryBiSE` nodes.
        x: Bool `(N, H, W, C)`.
        y: Bool, of the shape of the output.

    Returns:
        Two trees of `BiSE` (weight and *subtracted* bias): for changes that raise the potential of
        a neuron, and for those that lower it.

    Example:
        >>> from morphax import binarize, models
        >>> layers = binarize(models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3))
        >>> x = jnp.zeros((1, 8, 8, 1), bool).at[0, 4, 4].set(True)
        >>> slopes(layers, x, x)[0][0]["bise"].weight.shape
        (3, 3, 1, 1)
    """
    real = realize(layers, scale=_SCALE)

    def lifted(value: jax.Array) -> jax.Array:  # zero, with the slope of a potential at 1/2
        return (value - jax.lax.stop_gradient(value)) / _SLOPE

    def total(up: Any, down: Any) -> jax.Array:
        rise = fall = x.astype(jnp.float32)
        for bits, raised, lowered in zip(layers, up, down, strict=True):
            for name in ("bise", "lui"):
                if name not in bits:
                    rise, fall = rise[..., 0, :], fall[..., 0, :]
                    continue
                a, b = apply(raised[name], rise), apply(lowered[name], fall)
                out = (jax.lax.stop_gradient(a) > 0.5).astype(jnp.float32)
                flag = bits[name].complement
                flag = flag.reshape((1,) * (out.ndim - flag.ndim) + flag.shape) ^ jnp.zeros(
                    out.shape, bool
                )
                # A complemented neuron falls where its potential rises. 0 can rise, 1 can fall.
                rise = out + (1 - out) * lifted(jnp.where(flag, b, a))
                fall = out + out * lifted(jnp.where(flag, a, b))
        truth = y.astype(jnp.float32)
        axes = (1, 2, 3)

        def loss(out: jax.Array) -> jax.Array:
            return -(2 * (out * truth).sum(axes) / (out.sum(axes) + truth.sum(axes) + 1)).mean()

        by_pixel = jax.grad(loss)(jax.lax.stop_gradient(rise))
        return (by_pixel * (rise + fall)).sum()

    def raw(node: BiSE) -> BiSE:  # centred: the bias moves with half the weights
        half = node.bias.reshape((1,) * (node.weight.ndim - node.bias.ndim) + node.bias.shape) / 2
        if node.spec.role == "lui":
            half = node.bias[None] / 2
        return BiSE(node.weight - half, node.bias, node.scale, node.spec)

    centred = jax.grad(total, argnums=(0, 1))(real, real)
    return jax.tree.map(raw, centred, is_leaf=is_node)


def orbits(side: int) -> np.ndarray:
    """Return the pixels that rotations and reflections exchange, bool `(orbits, side, side)`.

    Example:
        >>> orbits(3).sum((1, 2)).tolist()
        [4, 4, 1]
    """
    far = np.abs(np.arange(side) - side // 2)
    low, high = np.minimum(far[:, None], far[None]), np.maximum(far[:, None], far[None])
    key = high * side + low
    return key[None] == np.unique(key)[::-1, None, None]


def ranked(layers: Any, gradient: tuple[Any, Any]) -> list[tuple[float, Change]]:
    """Rank all changes of one orbit or one input by the fall of the loss, to first order.

    Args:
        layers: A BiMoNN of `BinaryBiSE` nodes with square windows, as numpy or JAX arrays.
        gradient: Derivatives of `slopes`.

    Returns:
        (expected fall, change) pairs, best first. No change empties a set; a set of one pixel may
        become either operation.
    """
    falls, where = [], []
    for number, layer in enumerate(layers):
        for bank, node in layer.items():
            up, down = (jax.tree.map(np.asarray, part[number][bank]) for part in gradient)
            selem, erosion = np.asarray(node.selem), np.asarray(node.erosion)
            spatial = node.spec.role == "spatial"
            axes = input_axes(node)
            sets = orbits(selem.shape[0]) if spatial else np.eye(len(selem), dtype=bool)[..., None]
            flat = (-1, *erosion.shape)
            parts = sets.reshape(len(sets), -1).astype(float)
            inside, size = selem.reshape(flat), selem.sum(axes)
            shared = np.tensordot(parts, inside, 1)  # pixels of the part in the set
            for kind in (False, True):
                # Adding i: x_i for a dilation, x_i - 1 for an erosion; removing it: the opposite.
                add, drop = (down, up) if kind else (up, down)
                change = np.where(inside, -1, 1) * np.where(
                    inside,
                    drop.weight.reshape(flat) + kind * drop.bias,
                    add.weight.reshape(flat) + kind * add.bias,
                )
                fall = -np.tensordot(parts, change, 1)
                allowed = (size > shared) & ((erosion == kind) | ((size == 1) & spatial))
                for k, *neuron in np.argwhere(allowed):
                    falls.append(fall[(k, *neuron)])
                    where.append(Change(number, bank, int(k), tuple(map(int, neuron)), kind))
    order = np.argsort(np.negative(falls), kind="stable")
    return [(float(falls[i]), where[i]) for i in order]


def with_changes(layers: Any, changes: tuple[Change, ...]) -> Any:
    """Return the layers (numpy arrays) with these changes; each toggles its orbit or input."""
    copies = [
        {bank: jax.tree.map(np.array, node) for bank, node in layer.items()} for layer in layers
    ]
    for change in changes:
        node = copies[change.layer][change.bank]
        if node.spec.role == "spatial":
            node.selem[(..., *change.neuron)] ^= orbits(node.selem.shape[0])[change.part]
            node.erosion[change.neuron] = change.erosion
        else:
            node.selem[(change.part, *change.neuron)] ^= True
    return copies


def exchanges(layers: Any) -> list[tuple[Change, ...]]:
    """Return pairs of changes that move an intersection or union to a neighbouring input.

    For neighbouring level sets this is a threshold one step higher or lower, which no single change
    is.
    """
    pairs = []
    for number, layer in enumerate(layers):
        if "lui" in layer:
            selem, erosion = np.asarray(layer["lui"].selem), np.asarray(layer["lui"].erosion)
            signs = np.asarray(layer["bise"].complement)
            for step in (-1, 1):
                for i, o in np.argwhere(selem):
                    j = i + step
                    if 0 <= j < len(selem) and not selem[j, o] and signs[i, o] == signs[j, o]:
                        toggles = [
                            Change(number, "lui", int(k), (int(o),), bool(erosion[o]))
                            for k in (i, j)
                        ]
                        pairs.append(tuple(toggles))
    return pairs
