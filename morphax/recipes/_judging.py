"""Judging of learned networks by held-out pairs: the best binary network, and trivial answers.

A network that is certified has one binary network. Any other has several candidates, one for each
method of `morphax.binarize`, and none of them is best for all networks: the exact projection is a
poor choice for a neuron that is far from activable. So the held-out pairs choose the method, once,
and the same binary network is scored, compared with trivial answers, and handed out.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax._compiling import quick_jit
from morphax.binarization import METHODS, binarize
from morphax.certificates.network import NetworkCertificate, certify_network
from morphax.objectives import metrics
from morphax.recipes._pairs import Data
from morphax.recipes.results import Learned, Verdict
from morphax.training.options import Record
from morphax.training.steps import Apply, as_unit, crop_border

BLOCK = 64
"""Held-out images that a network is run on at a time."""
TABLE_PIXELS = 2**22
"""Training pixels that are enough to fill a table of 3 x 3 windows."""
TABLE_CHANNELS = 2
"""Channels up to which there is a table: it has 2 ** (9 channels) entries."""
TABLE_TOLERANCE = 0.01
"""Relative excess over the error of the table that is put down to chance."""


class BestBinary(NamedTuple):
    """Hold the binary network of a params tree that is best on held-out pairs.

    Attributes:
        binary: The params tree with `BinaryBiSE` nodes.
        method: Method of `morphax.binarize` that made it.
        scores: Mean Dice coefficient on the held-out pairs of each method that was tried.
        gap: Share of pixels where it differs from the real network.
    """

    binary: Any
    method: str
    scores: dict[str, float]
    gap: float


def best_binary(
    params: Any, apply: Apply, valid: Data, *, is_exact: bool | None = None
) -> BestBinary:
    """Binarize a network by the method that is best on held-out pairs.

    Args:
        params: Params tree that holds `BiSE` nodes.
        apply: `(params, x) -> prediction`, for real and binary params alike.
        valid: (images, targets), bool `(N, H, W, C)`, held out.
        is_exact: Whether the network is certified, if that is known; all methods agree then, and
            only "projection" is scored.

    Returns:
        `BestBinary`; of equal scores, the first method of `morphax.binarization.METHODS` counts.

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> x = jax.random.bernoulli(jax.random.key(1), 0.5, (4, 8, 8, 1))
        >>> best = best_binary(params, models.bimonn, (x, x))
        >>> best.scores[best.method] == max(best.scores.values())
        True
    """
    if is_exact is None:
        is_exact = bool(certificate_of(apply, params, (1, *valid[0].shape[1:])).exact)
    measure = _measure(apply)
    found: dict[str, tuple[Any, float, float]] = {}
    for method in METHODS[:1] if is_exact else METHODS:
        binary = binarize(params, method=method)
        score, gap = measure(params, binary, *valid)
        found[method] = binary, float(score), float(gap)
    method = max(found, key=lambda name: found[name][1])  # of equal ones the first
    scores = {name: score for name, (_, score, _) in found.items()}
    return BestBinary(found[method][0], method, scores, found[method][2])


@lru_cache(maxsize=16)
def _measure(apply: Apply) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the jitted function that scores a binary network and its gap to the real one."""

    @jax.jit
    def measure(
        params: Any, binary: Any, x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        output = apply(binary, x)
        prediction, _ = as_unit(apply, params, x, y)
        return metrics.dice(output, y), metrics.soft_hard_gap(prediction, output)

    return measure


def trivial_answers(
    train: Data, valid: Data, *, frame: tuple[int, ...] = (0, 0)
) -> dict[str, float]:
    """Return the errors of answers that need no learning.

    Args:
        train: (images, targets), bool `(N, H, W, C)`; they fill the table of 3 x 3 windows.
        valid: The same, held out; the answers are compared with its targets.
        frame: Rows and columns along the frame of the training images that are left out.

    Returns:
        Share of wrong pixels by name: "copy" of the input (where images and targets have as many
        channels), "empty" and "full" images, and "3x3 table" (up to two channels): the most
        frequent target of each window, with background outside of the image.

    Example:
        >>> x = jnp.zeros((1, 4, 4, 1), bool).at[0, 1, 1].set(True)
        >>> trivial_answers((x, x), (x, x))
        {'copy': 0.0, 'empty': 0.0625, 'full': 0.9375, '3x3 table': 0.0}
    """
    images, targets = (np.asarray(part) for part in valid)
    density = float(targets.mean())
    errors = {"empty": density, "full": 1 - density}
    if images.shape == targets.shape:
        errors = {"copy": float((images != targets).mean()), **errors}
    if images.shape[-1] <= TABLE_CHANNELS and images.ndim == 4:  # not for volumes
        count = max(1, TABLE_PIXELS // max(1, int(np.prod(train[0].shape[1:3]))))
        seen, wanted = (np.asarray(part[:count]) for part in train)
        table = _majority_table(seen, wanted, frame)
        errors["3x3 table"] = float((table[window_numbers(images)] != targets).mean())
    return errors


def window_numbers(images: np.ndarray) -> np.ndarray:
    """Return the number of the 3 x 3 window around each pixel, `(N, H, W)`, 9 bits a channel."""
    height, width, channels = images.shape[1:]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.int32)
    numbers = np.zeros(images.shape[:3], np.int32)
    for row in range(3):
        for column in range(3):
            for channel in range(channels):
                moved = padded[:, row : row + height, column : column + width, channel]
                numbers = 2 * numbers + moved
    return numbers


def _majority_table(images: np.ndarray, targets: np.ndarray, frame: tuple[int, ...]) -> np.ndarray:
    """Return the most frequent target of each window, bool `(2 ** (9 channels), outputs)`."""
    entries, outputs = 2 ** (9 * images.shape[-1]), targets.shape[-1]
    numbers = crop_border(window_numbers(images), frame).ravel()
    targets = crop_border(targets, frame).reshape(-1, outputs)
    count = np.bincount(numbers, minlength=entries)
    ones = [np.bincount(numbers, targets[:, k], entries) for k in range(outputs)]
    return 2 * np.stack(ones, -1) > count[:, None]


def judge(
    binary: Any, apply: Apply, train: Data, valid: Data, *, frame: tuple[int, ...] = (0, 0)
) -> Verdict:
    """Compare a binary network with trivial answers on held-out pairs.

    Args:
        binary: Params tree that holds `BinaryBiSE` nodes.
        apply: `(params, x) -> bool`.
        train: (images, targets), bool; they fill the table of 3 x 3 windows.
        valid: The same, held out.
        frame: Rows and columns along the frame of the training images that are left out.

    Returns:
        `Verdict`.

    Example:
        >>> from morphax import models
        >>> binary = binarize(models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3))
        >>> x = jnp.zeros((1, 4, 4, 1), bool)
        >>> judge(binary, models.bimonn, (x, x), (x, x)).trivial["copy"]
        0.0
    """
    run = jax.jit(apply)
    blocks = [(run(binary, x), y) for x, y in _blocks(valid)]
    count = len(valid[0])
    error = sum(float((output != y).mean()) * len(y) for output, y in blocks) / count
    dice = sum(float(metrics.dice(output, y)) * len(y) for output, y in blocks) / count
    return Verdict(error, dice, trivial_answers(train, valid, frame=frame))


def _blocks(data: Data) -> list[tuple[jax.Array, jax.Array]]:
    """Cut pairs into blocks that fit into memory, whatever a network computes between."""
    return [
        (jnp.asarray(data[0][i : i + BLOCK]), jnp.asarray(data[1][i : i + BLOCK]))
        for i in range(0, len(data[0]), BLOCK)
    ]


def warning_of(verdict: Verdict, *, cut_short: bool = False) -> str | None:
    """Say in a sentence why a result should not be used without a look.

    Args:
        verdict: From `judge`.
        cut_short: Whether a time limit or Ctrl-C ended the search.

    Returns:
        The sentence, or None. A network with no wrong pixel is never warned of as trivial. The
        table of 3 x 3 windows may be better by one percent of its error, which chance explains.

    Example:
        >>> warning_of(Verdict(0.2, 0.5, {"empty": 0.1}))
        'No better than a trivial answer: 20 % of the held-out pixels are wrong, 10 % with "empty".'
        >>> warning_of(Verdict(0.0, 1.0, {"copy": 0.0}))
    """
    parts = []
    limits = {
        name: error * (1 + TABLE_TOLERANCE) if "table" in name else error
        for name, error in verdict.trivial.items()
    }
    # A network as bad as a copy or a constant image has failed; the table may be the best possible.
    better = [
        name
        for name, limit in limits.items()
        if verdict.error > limit or (verdict.error == limit and "table" not in name)
    ]
    if verdict.error > 0 and better:
        name = min(better, key=lambda key: verdict.trivial[key])
        parts.append(
            f"No better than a trivial answer: {100 * verdict.error:.3g} % of the held-out pixels "
            f'are wrong, {100 * verdict.trivial[name]:.3g} % with "{name}".'
        )
    if cut_short:
        parts.append("The search was cut short; this is the best network so far.")
    return " ".join(parts) or None


def learned_from(
    params: Any,
    apply: Apply,
    train: Data,
    valid: Data,
    *,
    history: list[Record],
    runs: int,
    frame: tuple[int, ...] = (0, 0),
    cut_short: bool = False,
    chosen: BestBinary | None = None,
) -> Learned:
    """Finish a recipe: certify, binarize by the best method, compare with trivial answers.

    Args:
        params: Trained params tree.
        apply: `(params, x) -> prediction`, for real and binary params alike.
        train: (images, targets), bool.
        valid: The same, held out.
        history: Records of the training that was kept.
        runs: Number of runs that were made.
        frame: Rows and columns along the frame of the training images that are left out.
        cut_short: Whether a time limit or Ctrl-C ended the search.
        chosen: The binary network, where it has been chosen before.

    Returns:
        `Learned`.

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> x = jax.random.bernoulli(jax.random.key(1), 0.5, (4, 8, 8, 1))
        >>> learned = learned_from(params, models.bimonn, (x, x), (x, x), history=[], runs=1)
        >>> learned.verdict.trivial["copy"]
        0.0
    """
    certificate = certificate_of(apply, params, (1, *train[0].shape[1:]))
    chosen = chosen or best_binary(params, apply, valid, is_exact=bool(certificate.exact))
    verdict = judge(chosen.binary, apply, train, valid, frame=frame)
    warning = warning_of(verdict, cut_short=cut_short)
    return Learned(
        params, chosen.binary, certificate, history, verdict, warning, chosen.method, runs
    )


def certificate_of(apply: Apply, params: Any, input_shape: Sequence[int]) -> NetworkCertificate:
    """Certify a network once, in one program: it compiles in half the time of one for each step.

    Args:
        apply: Network, `(params, x) -> y`.
        params: Its real params.
        input_shape: Shape of x, batch included.

    Returns:
        The certificate of `morphax.certify_network`.
    """
    return quick_jit(partial(certify_network, apply, input_shape=tuple(input_shape)))(params)
