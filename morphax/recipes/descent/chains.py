"""Learn a chain of erosions and dilations, or a small network, by descent on its bits.

Nothing is relaxed and nothing is rounded: the network consists of bits from the start, and what is
minimised is the number of wrong pixels itself (or 1 - F1, 1 - IoU, weighted errors). Simple forms
come first, and each form is tried from many starts (`morphax.recipes.descent._stages`); a descent
takes the best of all neighbours, thousands of which are counted in words in some milliseconds
(`_descent`, `_bit_errors`). Held-out pairs decide between networks. The search ends when no pixel
is wrong, when what is wrong looks like independent flips of the targets (`_residuals`), or when
nothing improves: noise in targets costs nothing.

What comes out is handed out as the other recipes do it: a real network with weights in {0, 1},
certified to equal the binary one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax import _checks
from morphax.binarization import realize
from morphax.neurons import models
from morphax.recipes._judging import certificate_of, warning_of
from morphax.recipes._pairs import warn_of_pairs
from morphax.recipes.descent import _forms, _given, _outcome
from morphax.recipes.descent._blocks import Loss, one_minus_f1, one_minus_iou, pairs_in_words, wrong
from morphax.recipes.descent._descent import Net, Problem, descend, losses
from morphax.recipes.descent._layers_of import layers_of
from morphax.recipes.descent._net_of import net_of
from morphax.recipes.descent._outcome import Records
from morphax.recipes.descent._residuals import only_flips
from morphax.recipes.descent._single import single_operator
from morphax.recipes.descent._stages import STAGES, Search, descents, perturbed
from morphax.recipes.results import LearnedChain
from morphax.training.options import RunOptions

LOSSES = {"wrong": wrong, "f1": one_minus_f1, "iou": one_minus_iou}
"""What can be minimised: the share of wrong pixels, 1 - F1 or 1 - IoU of all pixels together."""
Stage = Callable[[Search], Iterator[tuple[str, Net]]]
"""What proposes networks, each with the name of its form."""
_FEW = 8
"""Blocks of words on which a network is refined before all are looked at."""


class _Best(NamedTuple):
    """Hold the best network so far and its losses."""

    net: Net
    loss: float
    valid_loss: float


def learn_chain(
    key: jax.Array,
    train: Any,
    *,
    valid: Any = None,
    kernel_size: int = 7,
    depth: int = 4,
    loss: str | tuple[float, float] = "wrong",
    patience: int = 2,
    start: Sequence[Any] | None = None,
    run: RunOptions = RunOptions(time_limit=60.0),
) -> LearnedChain:
    """Learn a small morphological network from pairs of images, by descent on its bits.

    The order of operations need not be known. Tried are, until one leaves nothing to be learned:
    single erosions, dilations, hit-or-misses; two layers; the input with what another network
    changes in it (top-hats, boundaries, gradients, thinnings); chains of up to `depth` layers;
    unions and intersections of several maps; the best network with some pixels changed.

    Args:
        key: PRNG key of random starts; the same key and data give the same network, but for a time
            limit.
        train: (images, targets) or (images, targets, masks): bool `(N, H, W, C)` and `(N, H, W,
            1)`, or sequences of such images of any sizes; masks have the shape of the targets and
            say which pixels count. What `morphax.data.load_pairs` returns is fine, too. Volumes
            have one axis more, `(N, D, H, W, C)`.
        valid: the same, held out; every fifth pair of `train` by default.
        kernel_size: odd side of the windows.
        depth: layers of a chain at most, 1 to 8.
        loss: one of `LOSSES`, or the costs of a false positive and of a false negative.
        patience: how often the best network is changed at random, 4 times each, without an
            improvement before the search ends.
        start: binary layers of a BiMoNN, such as those of another recipe, that take the place of
            all these forms: the descent begins with them. They have windows of `kernel_size`, the
            border "ignore" and one output, and at most 10 neurons that are not mere copies.
        run: Log, progress and time limit of the search, by default 60 seconds besides compilation.
            There are no checkpoints: the same call repeats a search.

    Returns:
        `LearnedChain`. Ctrl-C ends the search like a time limit.

    Raises:
        ValueError: data that are not bool or do not fit, targets of one value only, masks that
            leave nothing, windows larger than the images, an option out of its range.
        OSError: the log cannot be written.

    Example:
        >>> from morphax import data
        >>> from morphax.morphology import elements
        >>> x = data.diskorect(jax.random.key(0), 64, size=(24, 24))
        >>> y = data.target(x, "opening", elements.disk(3))
        >>> found = learn_chain(jax.random.key(1), (x, y), kernel_size=3)
        >>> found.stopped, bool(found.certificate.exact)
        ('nothing is wrong', True)
    """
    side = models.window(kernel_size)[0]
    _checks.require(side % 2 == 1, "kernel_size", "an odd number", kernel_size)
    stages = STAGES if start is None else (_given_start(start, side),)
    _checks.require(1 <= depth <= 8, "depth", "1 to 8", depth)
    _checks.require(patience >= 0, "patience", "0 or more", patience)
    objective = _objective(loss)
    pairs = _given.read_given("train", train, side)
    channels = pairs.images[0].shape[-1]
    apart = None if valid is None else _given.read_given("valid", valid, side, channels=channels)
    # Odd pairs, such as targets that equal their images, are worth a warning before the search.
    targets, masks = (
        each[..., None] if isinstance(each, np.ndarray) else [part[..., None] for part in each]
        for each in pairs[1:]
    )
    warn_of_pairs(pairs.images, targets, None if all(m.all() for m in masks) else masks)
    pairs, others = _given.held_out(pairs) if apart is None else (pairs, apart)
    # Tiles overlap by as far as the deepest network sees.
    reach = depth * (side // 2)
    packed = pairs_in_words(*pairs, side=side, reach=reach)
    judge = pairs_in_words(*others, side=side, reach=reach, like=packed)
    every, held_out = (Problem(p, objective, range(len(p.blocks))) for p in (packed, judge))
    record = Records(run)
    # One erosion, dilation or hit-or-miss is read off the pairs, without any search.
    single = single_operator(pairs, side, lambda net: float(losses(every, [net])[0]) == 0)
    if single is not None:
        best = _Best(single, 0.0, float(losses(held_out, [single])[0]))
        record("single operator, read off", single, 0.0, best.valid_loss, True)
        return _handed_out(best, "nothing is wrong", record, pairs, others, every, held_out)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    one = Problem(packed, objective, (0,))
    # A copy of the input is the first network to beat.
    point = _forms.textbook(side, axes=packed.geometry.axes)[0]
    copy = _forms.chain("e", [point], inputs=packed.geometry.inputs)
    best = _Best(copy, *(float(losses(problem, [copy])[0]) for problem in (every, held_out)))
    descend(one, copy, steps=1)  # compiles what is not compiled yet
    # The time limit leaves out compilation, which is the same for every search.
    record.begin = time.perf_counter()
    limit = np.inf if run.time_limit is None else run.time_limit
    search = Search(one, rng, depth, record.begin + limit, [])
    best, stopped = _run(search, best, every, held_out, patience, record, stages)
    return _handed_out(best, stopped, record, pairs, others, every, held_out)


def _run(
    search: Search,
    best: _Best,
    every: Problem,
    held_out: Problem,
    patience: int,
    record: Records,
    stages: Sequence[Stage],
) -> tuple[_Best, str]:
    """Go through all stages, then change the best network; return it and why the search ended."""
    # Refine on a few blocks first; only what is promising there is worth all of them.
    few = every._replace(blocks=list(every.blocks)[:_FEW])

    def judged(best: _Best, form: str, net: Net) -> _Best:
        first = losses(search.problem, [net, best.net])
        if first[0] >= first[1]:  # on the pairs that were looked at
            record(form, net, float(first[0]), None, False)
            return best
        net, value = descend(few, net, deadline=search.deadline)
        if value <= best.loss * 1.5:  # else it is hopeless
            net, value = descend(every, net, deadline=search.deadline)
        new = _Best(net, value, float(losses(held_out, [net])[0]))
        # Held-out pairs decide, training pairs decide between equals.
        better = (new.valid_loss, new.loss) < (best.valid_loss, best.loss)
        record(form, net, value, new.valid_loss, better)
        return new if better else best

    def ended(best: _Best) -> str:
        if best.loss == 0:
            return "nothing is wrong"
        if time.perf_counter() > search.deadline:
            return "time limit"
        return "only flips are left" if only_flips(few, best.net) else ""

    try:
        for stage in stages:
            for form, net in stage(search):
                before, best = best, judged(best, form, net)
                # Whether only flips are left is worth asking after an improvement only.
                if (best is not before or best.loss == 0) and (why := ended(best)):
                    return best, why
                if time.perf_counter() > search.deadline:
                    return best, "time limit"
        # The stages are through: change the best network at random, and descend again.
        idle = 0
        while idle < patience:
            found = perturbed(search, best.net, 4)
            before = best
            for _, net in found[:1]:
                best = judged(best, "changed at random", net)
            idle = idle + 1 if best is before else 0
            if why := ended(best):
                return best, why
    except KeyboardInterrupt:
        return best, "interrupted"
    return best, "nothing improves"


def _given_start(layers: Sequence[Any], side: int) -> Stage:
    """Return the stage that descends from given layers."""
    net = net_of(layers) if set(layers[0]["bise"].selem.shape[:-2]) == {side} else None
    expected = f"binary layers that a descent can begin with, of {side} x {side} windows"
    _checks.require(net is not None, "start", expected, layers)
    starts = [] if net is None else [net]

    def stage(search: Search) -> Iterator[tuple[str, Net]]:
        for _, found in descents(search, starts, 1):
            yield "given start", found

    return stage


def _objective(loss: str | tuple[float, float]) -> Loss:
    """Return the loss as a function of false positives and negatives."""
    if isinstance(loss, str):
        _checks.one_of("loss", loss, LOSSES)
        return LOSSES[loss]
    fits = len(loss) == 2 and min(loss) >= 0 and max(loss) > 0
    _checks.require(fits, "loss", "two costs, of a false positive and of a false negative", loss)
    positive, negative = loss
    return lambda fp, fn, pixels, positives: (positive * fp + negative * fn) / max(pixels, 1)


def _handed_out(
    best: _Best,
    stopped: str,
    record: Records,
    pairs: _given.Given,
    others: _given.Given,
    every: Problem,
    held_out: Problem,
) -> LearnedChain:
    """Return the real network of the best bits, its certificate, and remarks about it."""
    geometry = every.pairs.geometry
    inputs, side, axes = geometry.inputs, geometry.side, geometry.axes
    # Bits become a network of the library, and its real weights come from its bits.
    net = _forms.tidied(best.net, inputs)
    binary = layers_of(net, inputs, axes=axes)
    params = realize(binary)
    certificate = certificate_of(models.bimonn, params, (1, *pairs.images[0].shape))
    verdict = _outcome.verdict_of(held_out, net, pairs, others)
    cut_short = stopped in ("time limit", "interrupted")
    learned = LearnedChain(
        params,
        binary,
        certificate,
        record.history,
        verdict,
        warning_of(verdict, cut_short=cut_short),
        "descent",
        len(record.history),
        best.loss,
        best.valid_loss,
        _outcome.simple_losses(held_out),
        _given.noise_of(pairs, 2 * _forms.reach_of(net, geometry) + 1, side),
        best.loss == 0 or only_flips(every, net),
        stopped,
        [],
        tuple(
            layers_of(_forms.tidied(each, inputs), inputs, axes=axes) for each in record.improved
        ),
    )
    return learned._replace(remarks=_outcome.remarks_of(learned))
