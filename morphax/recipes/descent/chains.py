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

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax import _checks
from morphax._files import json_text
from morphax.binarization import realize
from morphax.certificates.network import NetworkCertificate, certify_network
from morphax.data.possible import LabelNoise
from morphax.neurons import models
from morphax.recipes.descent import _forms, _given
from morphax.recipes.descent._blocks import Loss, one_minus_f1, one_minus_iou, pairs_in_words, wrong
from morphax.recipes.descent._descent import Net, Problem, descend, losses
from morphax.recipes.descent._layers_of import layers_of
from morphax.recipes.descent._residuals import only_flips
from morphax.recipes.descent._stages import STAGES, Search, perturbed

LOSSES = {"wrong": wrong, "f1": one_minus_f1, "iou": one_minus_iou}
"""What can be minimised: the share of wrong pixels, 1 - F1 or 1 - IoU of all pixels together."""
_FEW = 8
"""Blocks of words on which a network is refined before all are looked at."""


class LearnedChain(NamedTuple):
    """Hold a learned small network.

    Attributes:
        params: params tree of a BiMoNN (`morphax.models.bimonn` runs it), made by `realize`.
        binary: its binary twin.
        certificate: the verdict on the whole network, from `params`.
        history: one record for each network that was judged: its form, neurons, losses, seconds.
        loss: on the training pairs; `valid_loss` on the held-out ones.
        valid_loss: see `loss`.
        simple_losses: on the held-out pairs, of copying the input and of constant answers.
        noise: how far targets contradict each other, in a window as large as what the network sees.
        only_flips: whether the wrong pixels look like independent flips of the targets.
        stopped: why the search ended: "nothing is wrong", "only flips are left", "nothing
            improves", "time limit" or "interrupted".
        remarks: what a user should know, whole sentences.
    """

    params: Any
    binary: Any
    certificate: NetworkCertificate
    history: list[dict[str, Any]]
    loss: float
    valid_loss: float
    simple_losses: dict[str, float]
    noise: LabelNoise
    only_flips: bool
    stopped: str
    remarks: list[str]


class _Best(NamedTuple):
    """Hold the best network so far and its losses."""

    net: Net
    loss: float
    valid_loss: float


def learn_chain(
    key: jax.Array,
    train: Sequence[Any],
    *,
    valid: Sequence[Any] | None = None,
    kernel_size: int = 7,
    depth: int = 4,
    loss: str | tuple[float, float] = "wrong",
    patience: int = 2,
    time_limit: float = 60.0,
    log: str | Path | None = None,
    progress: bool = False,
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
            say which pixels count.
        valid: the same, held out; every fifth pair of `train` by default.
        kernel_size: odd side of the windows.
        depth: layers of a chain at most, 1 to 8.
        loss: one of `LOSSES`, or the costs of a false positive and of a false negative.
        patience: how often the best network is changed at random, 4 times each, without an
            improvement before the search ends.
        time_limit: seconds of search, compilation left aside; the best network so far is returned.
        log: JSONL file for the records.
        progress: print a line for each network that is judged.

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
    _checks.require(1 <= depth <= 8, "depth", "1 to 8", depth)
    _checks.require(patience >= 0, "patience", "0 or more", patience)
    _checks.require(time_limit > 0, "time_limit", "a positive number of seconds", time_limit)
    objective = _objective(loss)
    pairs = _given.checked("train", train, side)
    pairs, others = (
        _given.held_out(pairs) if valid is None else (pairs, _given.checked("valid", valid, side))
    )
    reach = depth * (side // 2)
    packed = pairs_in_words(*pairs, side=side, reach=reach)
    judge = pairs_in_words(*others, side=side, reach=reach, like=packed)
    every, held_out = (Problem(p, objective, range(len(p.blocks))) for p in (packed, judge))
    simple = _simple_losses(held_out)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    one = Problem(packed, objective, (0,))
    copy = _forms.chain("e", [_forms.textbook(side)[0]], inputs=packed.geometry.inputs)
    best = _Best(copy, float(losses(every, [copy])[0]), simple["copy"])
    descend(one, copy, steps=1)  # compiles what is not compiled yet
    begin = time.perf_counter()
    search = Search(one, rng, depth, begin + time_limit, [])
    record = _Records(log, progress, begin)
    best, stopped = _run(search, best, every, held_out, patience, record)
    return _handed_out(best, stopped, record.history, simple, pairs, every)


def _run(
    search: Search,
    best: _Best,
    every: Problem,
    held_out: Problem,
    patience: int,
    record: "_Records",
) -> tuple[_Best, str]:
    """Go through the stages, then change the best network at random.

    Returns:
        The best network, and why the search ended.
    """
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
        for stage in STAGES:
            for form, net in stage(search):
                before, best = best, judged(best, form, net)
                if (best is not before or best.loss == 0) and (why := ended(best)):
                    return best, why
                if time.perf_counter() > search.deadline:
                    return best, "time limit"
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


class _Records:
    """Keep, log and print the records of a search."""

    def __init__(self, log: str | Path | None, progress: bool, begin: float) -> None:
        self.history: list[dict[str, Any]] = []
        self.log, self.progress, self.begin = log, progress, begin
        if log is not None:
            Path(log).write_text("")

    def __call__(
        self, form: str, net: Net, loss: float, valid_loss: float | None, better: bool
    ) -> None:
        """Add a network; `valid_loss` is None where it was not judged on held-out pairs."""
        seconds = round(time.perf_counter() - self.begin, 3)
        entry = {
            "form": form,
            "neurons": len(net.source),
            "loss": loss,
            "valid_loss": valid_loss,
            "best": better,
            "seconds": seconds,
        }
        self.history.append(entry)
        if self.log is not None:
            with Path(self.log).open("a") as file:
                file.write(json_text(entry) + "\n")
        if self.progress:
            mark = ", the best so far" if better else ""
            held_out = "" if valid_loss is None else f", held out {valid_loss:.5f}"
            line = f"{form}: loss {loss:.5f}{held_out}{mark} ({seconds} s)"
            print(line, file=sys.stderr, flush=True)


def _objective(loss: str | tuple[float, float]) -> Loss:
    """Return the loss as a function of false positives and negatives."""
    if isinstance(loss, str):
        _checks.one_of("loss", loss, LOSSES)
        return LOSSES[loss]
    fits = len(loss) == 2 and min(loss) >= 0 and max(loss) > 0
    _checks.require(fits, "loss", "two costs, of a false positive and of a false negative", loss)
    positive, negative = loss
    return lambda fp, fn, pixels, positives: (positive * fp + negative * fn) / max(pixels, 1)


def _simple_losses(problem: Problem) -> dict[str, float]:
    """Return the losses of copying the first channel, of an empty image and of a full one."""
    pixels, positives = problem.pairs.pixels.sum(), problem.pairs.positives.sum()
    side, inputs = problem.pairs.geometry.side, problem.pairs.geometry.inputs
    copy = _forms.chain("e", [_forms.textbook(side)[0]], inputs=inputs)
    constant = problem.values(np.array([[0, positives], [pixels - positives, 0]]))
    values = (losses(problem, [copy])[0], *constant)
    return dict(zip(("copy", "empty", "full"), map(float, values), strict=True))


def _handed_out(
    best: _Best,
    stopped: str,
    history: list[dict[str, Any]],
    simple: dict[str, float],
    pairs: _given.Given,
    every: Problem,
) -> LearnedChain:
    """Return the real network of the best bits, its certificate, and remarks about it."""
    inputs, side = every.pairs.geometry.inputs, every.pairs.geometry.side
    net = _forms.tidied(best.net, inputs)
    binary = layers_of(net, inputs)
    params = realize(binary)
    certificate = certify_network(models.bimonn, params, (1, *pairs.images[0].shape))
    noise = _given.noise_of(pairs, 2 * _forms.reach_of(net, inputs, side) + 1, side)
    flips = best.loss == 0 or only_flips(every, net)
    learned = LearnedChain(
        params,
        binary,
        certificate,
        history,
        best.loss,
        best.valid_loss,
        simple,
        noise,
        flips,
        stopped,
        [],
    )
    return learned._replace(remarks=_remarks(learned))


def _remarks(learned: LearnedChain) -> list[str]:
    """Return what a user should know, in sentences."""
    said = []
    simple, value = min((value, name) for name, value in learned.simple_losses.items())
    what = {"copy": "copying the input", "empty": "an empty image", "full": "a full image"}[value]
    if learned.valid_loss >= simple:
        said.append(
            f"No network was found that is better than {what}: its loss on held-out pairs is "
            f"{learned.valid_loss:.4f}, that of {what} {simple:.4f}."
        )
    if learned.noise.flips is not None and learned.noise.flips > 1e-3:
        said.append(
            f"About {learned.noise.flips:.1%} of the target pixels contradict any operator of this "
            "window: equal windows come with different targets."
        )
    if learned.loss > 0 and learned.only_flips:
        said.append("The pixels that are wrong lie like independent flips of the targets.")
    elif learned.loss > 0:
        said.append(
            "The pixels that are wrong do not lie at random: a larger network may be better."
        )
    if learned.stopped in ("time limit", "interrupted"):
        said.append(
            f"The search was ended ({learned.stopped}); more time may find a better network."
        )
    return said
