"""Turn learned window operators into networks of neurons: certified, binarized, programs.

A hit-or-miss is the erosion by the pixels that must be set, intersected with the complement of the
dilation by those that must not be set. So a level becomes, with the banks there are,

1. a "spatial" bank of the erosions and complemented dilations of all planes;
2. a "dense" bank of intersections: each map joins its parts;
3. a "dense" bank of one union, or `morphax.at_least`, which compares the votes with the cuts. All
   planes of a level come from one count, so its maps are evaluated once.

All weights are 0 and 1 and all biases lie in the middle, so every neuron is certified.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.neurons.counting import at_least
from morphax.neurons.forward import apply, concatenate
from morphax.neurons.nodes import BiSE, Spec
from morphax.recipes.windows._levels import Level

_SCALE = 40.0  # |p|: the neurons are almost binary for floats, too
_EXACT = 16  # neurons of a plane up to which none is repeated


class WindowNetwork(NamedTuple):
    """Hold a window operator as a network.

    Attributes:
        apply: `(params, x) -> y`, x `(batch, H, W, planes)`, or volumes `(batch, D, H, W, planes)`:
            floats for real params; bool or words for binary ones. y is `(batch, H, W, 1)`, or
            `(batch, D, H, W, 1)`: 1 where the answer is, in the dtype of x.
        params: params tree of `BiSE` nodes. Votes and cuts are no parameters: `apply` holds them.
    """

    apply: Callable[[Any, jax.Array], jax.Array]
    params: Any


def window_network(
    levels: Sequence[Level], *, planes: int = 1, border: str = "constant"
) -> WindowNetwork:
    """Return the network of a learned window operator.

    Args:
        levels: of `morphax.recipes.learn_window_union` or `learn_window_votes`, any number, of
            images or of volumes. Cut 0 of the last one is the answer.
        planes: number of planes of an image.
        border: "constant" or "replicate", as learned.

    Returns:
        `WindowNetwork`: `morphax.certify_network(net.apply, net.params, shape)` proves it,
        `morphax.binarize(net.params)` makes its bits.

    Raises:
        ValueError: no level, a level without maps, a map without literals, or a window that reads a
            plane that there is not.

    Example:
        >>> import morphax
        >>> window = np.array([[0, 0, 0], [0, 1, 0]])
        >>> literals = np.array([[True, False, False, True]])
        >>> ends = Level(window, literals, np.array([1]), np.array([1]))
        >>> net = window_network([ends])
        >>> bool(morphax.certify_network(net.apply, net.params, (1, 4, 4, 1)).exact)
        True
        >>> image = jnp.array([[True, True, False, True]])[None, ..., None]
        >>> net.apply(morphax.binarize(net.params), image).astype(int).ravel().tolist()
        [0, 1, 0, 1]
    """
    _checks.require(len(levels) > 0, "levels", "one level or more", len(levels))
    _checks.one_of("border", border, ("constant", "replicate"))
    # The last level is only asked for its answer.
    levels = [*levels[:-1], levels[-1]._replace(cuts=levels[-1].cuts[:1])]
    params, reads, seen = [], [], planes
    for level in levels:
        banks, read = _level_params(level, seen, border)
        params.append(banks)
        reads.append(read)
        seen = planes + len(level.cuts)

    def run(params: Any, x: jax.Array) -> jax.Array:
        answer = None
        for banks, read, level in zip(params, reads, levels, strict=True):
            fits = _fits(banks, read, x if answer is None else concatenate([x, answer]))
            if "union" in banks:
                answer = apply(banks["union"], fits)
            else:
                answer = at_least(fits, level.votes, level.cuts)
        assert answer is not None  # there is one level or more
        return answer

    return WindowNetwork(run, params)


def _level_params(level: Level, planes: int, border: str) -> tuple[dict[str, BiSE], list[int]]:
    """Return the banks of a level, and which planes its spatial bank reads."""
    n, maps = len(level.window), len(level.literals)
    _checks.require(maps > 0, "levels", "levels with a map", "a level without maps")
    fewest = int(level.literals.sum(1).min())
    _checks.require(fewest > 0, "levels", "maps with a literal", "a map without literals")
    highest = int(level.window[:, -1].max())
    _checks.require(highest < planes, "levels", f"windows of {planes} planes", f"plane {highest}")
    # A part of a map: its literals of one plane that must be set (side 0), or must not (side 1).
    parts = []  # for each plane (map, side) of its parts
    for plane in range(planes):
        on_plane = level.literals.reshape(maps, 2, n)[..., level.window[:, -1] == plane]
        parts.append(np.argwhere(on_plane.any(-1)))
    reads = [plane for plane in range(planes) if len(parts[plane])]
    slots = _slots(max(len(part) for part in parts))
    # Neuron (i, o) of the bank is part o of plane i; what is left over repeats the last part.
    fill = [np.minimum(np.arange(slots), len(parts[plane]) - 1) for plane in reads]
    owner, side = np.stack([parts[plane][f] for plane, f in zip(reads, fill, strict=True)]).T
    reach = np.abs(level.window[:, :-1]).max(0)
    selem = np.zeros((*(2 * reach + 1), len(reads), slots), np.float32)
    for i, plane in enumerate(reads):
        chosen = level.window[:, -1] == plane
        places = (level.window[chosen, :-1] + reach).T
        literals = level.literals.reshape(maps, 2, n)[owner[:, i], side[:, i]][:, chosen]
        selem[(*places, i)] = literals.T
    banks = {"parts": _bank(selem, "spatial", border, erosion=side.T == 0, negative=side.T == 1)}
    # Each map intersects its parts, of whichever planes they are.
    is_first = np.stack([np.arange(slots) == f for f in fill])
    joined = (owner.T[..., None] == np.arange(maps)) & is_first[..., None]
    joined = joined.reshape(-1, maps).astype(np.float32)
    banks["maps"] = _bank(joined, "dense", border, erosion=True)
    # A union is a neuron, too.
    if (level.votes == 1).all() and level.cuts.tolist() == [1]:
        banks["union"] = _bank(np.ones((maps, 1), np.float32), "dense", border, erosion=False)
    return banks, reads


def _slots(parts: int) -> int:
    """Return how many neurons a plane gets: a multiple of 16, or of 64 for many of them.

    Then networks of different levels have banks of the same shapes, which JAX compiles once.
    """
    if parts <= _EXACT:
        return parts
    step = 16 if parts <= 64 else 64
    return -(-parts // step) * step


def _bank(
    selem: np.ndarray,
    role: str,
    border: str,
    *,
    erosion: np.ndarray | bool,
    negative: np.ndarray | bool = False,
) -> BiSE:
    """Return a bank of erosions or dilations by sets of 0 and 1, complemented if `negative`."""
    size = selem.sum(tuple(range(selem.ndim - 2)) if role == "spatial" else 0)
    # In the middle of the bounds between which a neuron of weights 0 and 1 is certified.
    bias = np.where(erosion, size - 0.5, 0.5)
    scale = np.where(negative, -_SCALE, np.full(size.shape, _SCALE))
    spec = Spec(role, "identity", "raw", "sigmoid", border=border)
    weight, bias, scale = (jnp.asarray(part, jnp.float32) for part in (selem, bias, scale))
    return BiSE(weight, bias, scale, spec)


def _fits(banks: dict[str, Any], reads: list[int], planes: jax.Array) -> jax.Array:
    """Return where each map fits, `(batch, *size, maps)`."""
    if reads != list(range(planes.shape[-1])):
        planes = concatenate([planes[..., plane : plane + 1] for plane in reads])
    parts = apply(banks["parts"], planes)  # (batch, *size, planes, slots)
    return apply(banks["maps"], parts.reshape(*parts.shape[:-2], -1))
