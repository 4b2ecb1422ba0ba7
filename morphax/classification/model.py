"""Classifier that is binary to the end: erosions of literals, unions over regions, votes.

The network, from level sets to counts:

1. *Literals*: the level sets of the image and their complements, `2 * channels` planes.
2. *Windows*: at every `stride`-th pixel, all literals of the window around it, as one vector.
3. *Clauses*: a "dense" bank on that vector. A neuron is one erosion over the window and the
   literals: a conjunction, "these pixels are set and those are not", at this place.
4. *Regions*: the union over the positions of each of `regions x regions` parts of the image: "this
   pattern occurs somewhere in this part".
5. *Votes*: each class counts some of these bits, and complements of others, some several times
   (`wires`, `morphax.group_sum`). A weight k of a linear classifier is k wires; a negative weight
   is -k wires from the complement.

Beyond the frame the windows repeat the nearest pixel ("replicate"), which commutes with
complements.

Convolutional Tsetlin machines (Granmo et al., arXiv 1905.09688) and, for votes that share their
clauses, coalesced ones (Glimsdal & Granmo, arXiv 2108.07594) compute functions of this form,
trained in another way. `morphax.classification.train` trains them by gradients.
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
    """Return level sets and their complements: the literals of a conjunction.

    Args:
        levels: Floats, bool or words `(batch, H, W, C)`.

    Returns:
        `(batch, H, W, 2 C)`: the levels, then their complements.

    Example:
        >>> literals(jnp.ones((1, 2, 2, 1), bool))[0, 0, 0].tolist()
        [True, False]
    """
    return concatenate([levels, complement(levels)])


def centres(length: int, *, stride: int = 2, regions: int = 3) -> np.ndarray:
    """Return the centres of the windows along a side: every `stride` pixels, symmetric.

    Args:
        length: Length of the side, in pixels.
        stride: Step between windows.
        regions: Parts of the side; each has the same number of windows.

    Returns:
        Positions, int `(n,)`; n is the largest multiple of `regions` up to `length / stride`.

    Raises:
        ValueError: Fewer windows than regions.

    Example:
        >>> centres(28).tolist()
        [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24]
    """
    count = length // stride // regions * regions
    _checks.require(count > 0, "regions", f"at most {length // stride} regions a side", regions)
    return (length - 1 - stride * (count - 1)) // 2 + stride * np.arange(count)


def windows(x: jax.Array, *, size: int, stride: int = 2, regions: int = 3) -> jax.Array:
    """Return the window around each centre as a vector, of floats, bits or words.

    Args:
        x: `(batch, H, W, C)`.
        size: Odd side of the windows.
        stride: Step between windows (`centres`).
        regions: Parts of each side (`centres`).

    Returns:
        `(batch, rows, columns, size * size * C)`; channels vary fastest.

    Raises:
        ValueError: An even size, fewer windows than regions.

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
    """Return which clause holds somewhere in which region: steps 1 to 4 of the module.

    Args:
        erosions: "dense" banks, weights `(size * size * 2 C, neurons)`; their shapes give the
            window sizes.
        levels: Floats, bool or words `(batch, H, W, C)`, as the banks are real or binary.
        stride: Step between windows (`centres`).
        regions: Parts of each side (`centres`).

    Returns:
        `(batch, regions * regions * neurons)`, banks one after the other, regions row by row.

    Raises:
        ValueError: A bank whose inputs are not the literals of a square window.

    Example:
        >>> from morphax import Spec
        >>> bank = BiSE(jnp.ones((18, 4)), jnp.full(4, 17.5), jnp.ones(4), Spec("dense"))
        >>> features([bank], jnp.zeros((2, 28, 28, 1))).shape
        (2, 36)
    """
    planes, united = literals(levels), []
    for bank in erosions:
        n = leaves(bank)[0].shape[-2]
        size = isqrt(n // planes.shape[-1])
        is_square = size * size * planes.shape[-1] == n
        _checks.require(is_square, "erosions", f"{planes.shape[-1]} literals a pixel", n)
        held = apply(bank, windows(planes, size=size, stride=stride, regions=regions))
        part = (held.shape[1] // regions, held.shape[2] // regions)
        united.append(flatten(union_pool(held, window=part)))
    return concatenate(united)


def wires(votes: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return the bits that each class counts: the wiring of a linear integer classifier.

    Bits are numbered: the n features, their n complements, then a constant 0 and a constant 1. All
    classes have the same number of wires, so that counts can be compared; constants fill them up.

    Args:
        votes: Integers `(n, classes)`.
        bias: Integers `(classes,)`.

    Returns:
        int32 `(classes, per)`; the counts are `features @ votes + bias`, plus the same for all.

    Example:
        >>> wires(np.array([[2, -1]]), np.array([0, 0])).tolist()
        [[0, 0, 3], [1, 2, 2]]
    """
    votes, bias = np.asarray(votes), np.asarray(bias)
    whole = votes.dtype.kind in "iu" and bias.dtype.kind in "iu"
    _checks.require(whole, "votes", "integer votes and biases", (votes.dtype, bias.dtype))
    is_bias = votes.ndim == 2 and bias.shape == votes.shape[1:]
    _checks.require(is_bias, "bias", f"one for each class of votes {votes.shape}", bias.shape)
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
    """Make the whole network as `apply(params, levels)`, for floats, bits and words.

    Args:
        wiring: Wiring of `wires`.
        stride: Step between windows (`centres`).
        regions: Parts of each side (`centres`).

    Returns:
        `apply`: params `{"erosions": [bank, ...]}` and levels `(batch, H, W, C)` to counts
        `(batch, classes)`: floats, or integers from bits and words.

    Raises:
        ValueError: A wiring that is no table.

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
        united = features(params["erosions"], levels, stride=stride, regions=regions)
        zero = jnp.zeros((united.shape[0], 1), united.dtype)
        bits = concatenate([united, complement(united), zero, complement(zero)])
        voters = jnp.take(bits, wiring.reshape(-1), axis=1, mode="clip")
        return group_sum(voters, classes=len(wiring))

    return counts


def operations(
    erosions: Sequence[BinaryBiSE], wiring: np.ndarray, *, positions: int, regions: int = 3
) -> dict[str, int]:
    """Count the two-input bit operations of one image, and the bits that votes count.

    Args:
        erosions: Binary banks of the network.
        wiring: Wiring of `wires`.
        positions: Number of windows in an image, such as 144.
        regions: Parts of each side (`centres`).

    Returns:
        "ands" of all windows, "ors" of the unions, bits "counted" by the votes (constants left
        out), and "literals", the sum of |S| over the clauses.

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
