"""A classifier that is binary to the end: erosions of literals, unions over regions, votes.

The network, in morphax terms, from level sets to counts:

1. *Literals*: the level sets of the image and their complements, `2 * channels` planes.
2. *Windows*: at every `stride`-th pixel, the window around it, all literals, as one vector.
3. *Clauses*: a "dense" bank on that vector. A neuron is one erosion over the window and the literals: a
   conjunction, "these pixels are set and those are not", here.
4. *Regions*: the union over the positions of each of `regions x regions` parts of the image: "this
   pattern occurs somewhere in this part".
5. *Votes*: each class counts some of these bits, and complements of others, some several times
   (`wires`): `morphax.group_sum`. A weight k of a linear classifier is k wires; a negative one is -k
   wires from the complement.

Beyond the frame the windows see the nearest pixel ("replicate"), which commutes with complements.

Convolutional Tsetlin machines (Granmo et al., arXiv 1905.09688) and, for votes that share their
clauses, coalesced ones (Glimsdal & Granmo, arXiv 2108.07594) compute functions of this form; how they are
trained is another matter. `morphax.classification.train` trains them by gradients.
"""

from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.neurons.forward import apply, complement, concatenate, flatten, union_pool
from morphax.neurons.heads import group_sum
from morphax.neurons.nodes import BinaryBiSE, BiSE, leaves


def literals(levels: jax.Array) -> jax.Array:
    """Level sets and their complements: the literals of a conjunction.

    Args:
        levels: floats, bool or words `(batch, H, W, C)`.

    Returns:
        `(batch, H, W, 2 C)`: the levels, then their complements.

    Example:
        >>> literals(jnp.ones((1, 2, 2, 1), bool))[0, 0, 0].tolist()
        [True, False]
    """
    return concatenate([levels, complement(levels)])


def centres(length: int, *, stride: int = 2, regions: int = 3) -> np.ndarray:
    """Where windows are centred along a side: every `stride` pixels, symmetric, whole regions.

    Args:
        length: of the side.
        stride: step between windows.
        regions: parts of the side, each of the same number of windows.

    Returns:
        Positions, int `(n,)`, n the largest multiple of `regions` up to `length / stride`.

    Raises:
        ValueError: no window for each region.

    Example:
        >>> centres(28).tolist()
        [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24]
    """
    count = length // stride // regions * regions
    _checks.require(count > 0, "regions", f"at most {length // stride} regions a side", regions)
    return (length - 1 - stride * (count - 1)) // 2 + stride * np.arange(count)


def windows(x: jax.Array, *, size: int, stride: int = 2, regions: int = 3) -> jax.Array:
    """The window around each centre, as a vector; moves only, so that any carrier will do.

    Args:
        x: `(batch, H, W, C)`.
        size: odd side of the windows.
        stride, regions: see `centres`.

    Returns:
        `(batch, rows, columns, size * size * C)`, channels fastest.

    Example:
        >>> windows(jnp.zeros((1, 28, 28, 2)), size=5).shape
        (1, 12, 12, 50)
    """
    _checks.require(size % 2 == 1, "size", "odd window sides", size)
    around = np.arange(size) - size // 2
    for axis in (1, 3):  # rows, then (one axis further) columns
        length = x.shape[axis]
        middle = centres(length, stride=stride, regions=regions)
        index = np.clip(middle[:, None] + around[None], 0, length - 1)
        x = jnp.take(x, index, axis=axis, mode="clip")
    batch, rows, _, columns, _, channels = x.shape
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, size * size * channels)


def features(
    erosions: Sequence[BiSE | BinaryBiSE], levels: jax.Array, *, stride: int = 2, regions: int = 3
) -> jax.Array:
    """Which clause holds somewhere in which region: steps 1 to 4 of the module.

    Args:
        erosions: "dense" banks, weights `(size * size * 2 C, neurons)`; the window size of each is read
            off its shape.
        levels: floats, bool or words `(batch, H, W, C)`, as the banks are real or binary.
        stride, regions: see `centres`.

    Returns:
        `(batch, regions * regions * neurons)`, banks one after the other, regions row by row.

    Example:
        >>> from morphax import Spec
        >>> bank = BiSE(jnp.ones((18, 4)), jnp.full(4, 17.5), jnp.ones(4), Spec("dense"))
        >>> features([bank], jnp.zeros((2, 28, 28, 1))).shape
        (2, 36)
    """
    planes, found = literals(levels), []
    for bank in erosions:
        n = leaves(bank)[0].shape[-2]
        size = isqrt(n // planes.shape[-1])
        fits = size * size * planes.shape[-1] == n
        _checks.require(fits, "erosions", f"{planes.shape[-1]} literals a pixel", n)
        held = apply(bank, windows(planes, size=size, stride=stride, regions=regions))
        part = (held.shape[1] // regions, held.shape[2] // regions)
        found.append(flatten(union_pool(held, window=part)))
    return concatenate(found)


def wires(votes: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The wiring of a linear classifier with integer weights: which bits each class counts.

    Bits are numbered: the n features, their n complements, then a constant 0 and a constant 1.
    Every class gets as many wires, so that counts compare: what is missing are constants.

    Args:
        votes: integers `(n, classes)`.
        bias: integers `(classes,)`.

    Returns:
        int32 `(classes, per)`; the counts are `features @ votes + bias`, plus the same for all.

    Example:
        >>> wires(np.array([[2, -1]]), np.array([0, 0])).tolist()
        [[0, 0, 3], [1, 2, 2]]
    """
    votes, bias = np.asarray(votes), np.asarray(bias)
    whole = votes.dtype.kind in "iu" and bias.dtype.kind in "iu"
    _checks.require(whole, "votes", "integer votes and biases", (votes.dtype, bias.dtype))
    _checks.require(votes.ndim == 2 and bias.shape == votes.shape[1:], "bias",
                   f"one for each class of votes {votes.shape}", bias.shape)  # fmt: skip
    n, rows = len(votes), []
    for vote in votes.T:
        bits = np.where(vote > 0, np.arange(n), np.arange(n) + n)
        rows.append(np.repeat(bits, np.abs(vote)))
    # |k| complements count |k| + k f: the other classes get the |k| too.
    ones = bias + np.minimum(votes, 0).sum(0)
    ones = ones - ones.min()
    per = max(len(row) + int(extra) for row, extra in zip(rows, ones, strict=True))
    table = np.full((len(rows), per), 2 * n, np.int32)
    for line, row, extra in zip(table, rows, ones, strict=True):
        line[: len(row)] = row
        line[len(row) : len(row) + int(extra)] = 2 * n + 1
    return table


def classifier(
    wiring: np.ndarray, *, stride: int = 2, regions: int = 3
) -> Callable[[Any, jax.Array], jax.Array]:
    """The whole network as `apply(params, levels)`, for `morphax.certify_network` and all carriers.

    Args:
        wiring: from `wires`.
        stride, regions: see `centres`.

    Returns:
        `apply`: params `{"erosions": [bank, ...]}` and levels `(batch, H, W, C)` to counts
        `(batch, classes)`: floats, or integers from bits and words.

    Example:
        >>> from morphax import Spec
        >>> bank = BinaryBiSE(jnp.ones((18, 1), bool), jnp.ones(1, bool), jnp.zeros(1, bool),
        ...                   Spec("dense"))
        >>> net = classifier(wires(np.eye(9, 2, dtype=int), np.zeros(2, int)))
        >>> net({"erosions": [bank]}, jnp.zeros((1, 28, 28, 1), bool)).tolist()
        [[0, 0]]
    """
    wiring = np.asarray(wiring)
    _checks.require(wiring.ndim == 2, "wiring", "shape (classes, per)", wiring.shape)

    def counts(params: Any, levels: jax.Array) -> jax.Array:
        found = features(params["erosions"], levels, stride=stride, regions=regions)
        zero = jnp.zeros((found.shape[0], 1), found.dtype)
        bits = concatenate([found, complement(found), zero, complement(zero)])
        voters = jnp.take(bits, wiring.reshape(-1), axis=1, mode="clip")
        return group_sum(voters, classes=len(wiring))

    return counts


def operations(
    erosions: Sequence[BinaryBiSE], wiring: np.ndarray, *, positions: int, regions: int = 3
) -> dict[str, int]:
    """Two-input bit operations of one image, and what the votes count.

    Args:
        erosions: binary banks of the network.
        wiring: from `wires`.
        positions: of the windows, e.g. 144.
        regions: see `centres`.

    Returns:
        "ands" of all windows, "ors" of the unions, bits "counted" by the votes (constants left out), and
        "literals", the sum of |S| over the clauses.

    Example:
        >>> from morphax import Spec
        >>> bank = BinaryBiSE(jnp.ones((18, 1), bool), jnp.ones(1, bool), jnp.zeros(1, bool),
        ...                   Spec("dense"))
        >>> operations([bank], wires(np.eye(9, 2, dtype=int), np.zeros(2, int)), positions=144)
        {'ands': 2448, 'ors': 135, 'counted': 2, 'literals': 18}
    """
    sizes = np.concatenate([np.asarray(bank.selem).sum(-2) for bank in erosions])
    total = len(sizes)
    return {
        "ands": int(np.maximum(sizes - 1, 0).sum()) * positions,
        "ors": total * (positions - regions**2),
        "counted": int((np.asarray(wiring) < 2 * total * regions**2).sum()),
        "literals": int(sizes.sum()),
    }
