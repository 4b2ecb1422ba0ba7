"""Tell what pairs allow before anything is learned: single operators, and label noise.

*Single operators* are read off the pairs. An erosion keeps a pixel where all of S is set, so S can
hold only pixels that are set wherever the target is; the erosion by all of them is the smallest one
that covers the targets, and if it is not equal to them, no erosion of the window is. The same holds
for hit-or-misses, and, on complements, for dilations and complemented operators.

*Label noise* shows where one content of a window comes with different targets: no operator of that
window gets both right. Their number gives the least error that any such operator makes on the
pairs, and pairs of equal windows tell how often targets are flipped.

Sources: Hirata & Papakostas, "On machine-learning morphological image operators" (Mathematics 2021,
9, 1854) for operators as unions of intervals of window contents; the estimates are ours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from morphax import _checks

_PIXELS = 200_000
"""About as many pixels are compared by `label_noise`."""


class SingleOperator(NamedTuple):
    """Hold the best candidate of one kind.

    Attributes:
        kind: "erosion", "dilation" or "hit-or-miss".
        complement: whether its output is complemented.
        hit: the pixels that must be set (of a dilation: the structuring element), bool `(side,
            side)`, or of three axes for volumes.
        miss: the pixels that must not be set, of the same shape; empty but for hit-or-misses.
        wrong: pixels that it has wrong on the pairs; if it is not 0, no operator of its kind fits.
    """

    kind: str
    complement: bool
    hit: np.ndarray
    miss: np.ndarray
    wrong: int


class LabelNoise(NamedTuple):
    """Say how far targets contradict each other.

    Attributes:
        least_error: share of the compared pixels that any operator of the window has wrong at
            least.
        flips: estimated share of the targets that are flipped, or None where too few windows come
            again.
        repeated: share of the compared pixels whose window comes again.
    """

    least_error: float
    flips: float | None
    repeated: float


def single_operators(
    images: ArrayLike, targets: ArrayLike, *, kernel_size: int = 7, masks: ArrayLike | None = None
) -> list[SingleOperator]:
    """Return the best erosion, dilation, hit-or-miss of a window, and the best complements.

    Args:
        images: bool `(N, H, W)`; outside of an image every pixel of S counts as right (border
            "ignore"). Volumes have an axis more, here and below.
        targets: bool `(N, H, W)`.
        kernel_size: odd side of the window.
        masks: the pixels that count, bool `(N, H, W)`; all by default.

    Returns:
        Six operators, those with the fewest wrong pixels first. 0 wrong pixels: it fits. More: no
        operator of its kind fits, though another set may have fewer wrong pixels. Candidates
        without any pixel in their window are left out.

    Raises:
        ValueError: arrays that are not bool or do not fit, an even window.

    Example:
        >>> from morphax.morphology import elements
        >>> x = np.random.default_rng(0).random((40, 12, 12)) < 0.7
        >>> y = x & np.pad(x, ((0, 0), (0, 0), (1, 0)), constant_values=True)[:, :, :-1]
        >>> best = single_operators(x, y, kernel_size=3)[0]
        >>> best.kind, best.hit.astype(int).tolist(), best.wrong
        ('erosion', [[0, 0, 0], [1, 1, 0], [0, 0, 0]], 0)
    """
    x, y, counts = _checked(images, targets, masks, kernel_size)
    words, target, counted = (_packed(part) for part in (x, y, counts))
    # Where a literal is violated: a pixel of the window that is not set, or one that is.
    unset = _padded(_packed(np.ones_like(x)) & ~words, kernel_size)
    violated = (unset, _padded(words, kernel_size))
    found = []
    for complement in (False, True):
        wanted = (~target if complement else target) & counted
        fits = [
            np.array(
                [_never(part, k, kernel_size, wanted) for k in range(kernel_size ** (y.ndim - 1))]
            )
            for part in violated
        ]
        for kind, chosen in (("erosion", (0,)), ("dilation", (1,)), ("hit-or-miss", (0, 1))):
            hit, miss = (fits[k] & (k in chosen) for k in (0, 1))
            if not (hit | miss).any():
                continue
            lost = np.zeros_like(words)
            for part, literals in zip(violated, (hit, miss), strict=True):
                for k in np.flatnonzero(literals):
                    lost |= _view(part, int(k), kernel_size, words.shape)
            wrong = int(np.bitwise_count(~lost & ~wanted & counted).sum())
            hit, miss = (part.reshape((kernel_size,) * (y.ndim - 1)) for part in (hit, miss))
            dual = kind == "dilation"  # the complement of an intersection of complements
            hit, miss = (np.flip(miss), hit) if dual else (hit, miss)
            found.append(SingleOperator(kind, complement ^ dual, hit, miss, wrong))
    rank = {"erosion": 0, "dilation": 0, "hit-or-miss": 1}
    return sorted(found, key=lambda one: (one.wrong, rank[one.kind], one.complement))


def label_noise(
    images: ArrayLike, targets: ArrayLike, *, kernel_size: int = 7, masks: ArrayLike | None = None
) -> LabelNoise:
    """Return how far the targets of equal windows contradict each other.

    Args:
        images: bool `(N, H, W)` or `(N, H, W, C)`; volumes have an axis more.
        targets: bool `(N, H, W)`.
        kernel_size: odd side of the window: how far an operator may look; what is outside of an
            image is a third value.
        masks: the pixels that count, bool `(N, H, W)`; all by default.

    Returns:
        `LabelNoise`, from the first images that hold about 200 000 pixels. `flips` is an unbiased
        estimate of 2 f (1 - f) over pairs of equal windows, solved for f, if flips are independent
        of the images.

    Raises:
        ValueError: as `single_operators`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.random((40, 50, 50)) < 0.5
        >>> noise = label_noise(x, x ^ (rng.random(x.shape) < 0.1), kernel_size=3)
        >>> round(noise.flips, 2), round(noise.least_error, 2)
        (0.1, 0.1)
    """
    shape = np.shape(targets)
    used = max(1, -(-_PIXELS // max(1, int(np.prod(shape[1:])))))
    masks = None if masks is None else np.asarray(masks)[:used]
    x, y, counts = _checked(
        np.asarray(images)[:used], np.asarray(targets)[:used], masks, kernel_size
    )
    codes = _window_codes(x.reshape(*y.shape, -1), kernel_size)[counts]
    if not len(codes):
        return LabelNoise(0.0, None, 0.0)
    _, which, n = np.unique(codes, return_inverse=True, return_counts=True)
    n, ones = n.astype(float), np.bincount(which, y[counts], len(n))
    zeros = n - ones
    least = np.minimum(ones, zeros).sum() / n.sum()
    again = n > 1
    repeated = n[again].sum() / n.sum()
    if n[again].sum() < 1000:
        return LabelNoise(float(least), None, float(repeated))
    # Two targets of one window differ with probability 2 f (1 - f).
    differ = (2 * ones * zeros / np.maximum(n - 1, 1))[again].sum() / n[again].sum()
    flips = (1 - np.sqrt(max(0.0, 1 - 2 * differ))) / 2
    return LabelNoise(float(least), float(flips), float(repeated))


def _checked(
    images: ArrayLike, targets: ArrayLike, masks: ArrayLike | None, kernel_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = np.asarray(images), np.asarray(targets)
    counts = np.ones(y.shape, bool) if masks is None else np.asarray(masks)
    for name, part in (("images", x), ("targets", y), ("masks", counts)):
        _checks.require(
            part.dtype == bool, name, "bool (threshold it, e.g. images > 127)", part.dtype
        )
    is_batch = y.ndim in (3, 4) and len(y) > 0
    _checks.require(is_batch, "targets", "shape (N, H, W) or (N, D, H, W)", y.shape)
    _checks.require(
        x.shape[: y.ndim] == y.shape, "images", f"shape {y.shape} as the targets", x.shape
    )
    _checks.require(
        counts.shape == y.shape, "masks", f"shape {y.shape} as the targets", counts.shape
    )
    _checks.require(
        kernel_size % 2 == 1 and kernel_size > 0, "kernel_size", "an odd number", kernel_size
    )
    return x, y, counts


def _packed(images: np.ndarray) -> np.ndarray:
    """Pack bool `(N, H, W)` into bytes `(ceil(N / 8), H, W)`, an image a bit."""
    return np.packbits(images, axis=0)


def _padded(words: np.ndarray, side: int) -> np.ndarray:
    edge = side // 2
    return np.pad(words, [(0, 0), *[(edge, edge)] * (words.ndim - 1)])


def _view(padded: np.ndarray, pixel: int, side: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return what each pixel sees at one pixel of its window; nothing outside of the images."""
    place = np.unravel_index(pixel, (side,) * (len(shape) - 1))
    view = (slice(int(at), int(at) + length) for at, length in zip(place, shape[1:], strict=True))
    return padded[(slice(None), *view)]


def _never(padded: np.ndarray, pixel: int, side: int, wanted: np.ndarray) -> bool:
    """Return whether a literal is never violated where it is wanted; a few images tell most."""
    view = _view(padded, pixel, side, wanted.shape)
    few = wanted.shape[0] // 16 + 1
    return not (view[:few] & wanted[:few]).any() and not (view & wanted).any()


def _window_codes(x: np.ndarray, side: int) -> np.ndarray:
    """Return a random 64-bit code of the window of every pixel; outside of an image, 0."""
    rng = np.random.default_rng(0)
    edge, frame = side // 2, x.shape[1:-1]

    def odd(size: int) -> np.ndarray:
        return rng.integers(0, 2**63, size, np.uint64) * np.uint64(2) + np.uint64(1)

    # The sum of r_i c_j (1 + x_ij) over the window, modulo 2^64: one axis after the other.
    values = (x * odd(x.shape[-1])).sum(-1, dtype=np.uint64) + odd(1)
    values = np.pad(values, [(0, 0), *[(edge, edge)] * len(frame)])
    for axis, length in enumerate(frame, start=1):
        factors = enumerate(odd(side))
        views = (f * np.take(values, range(k, k + length), axis) for k, f in factors)
        values = np.stack(list(views)).sum(0)
    return values
