"""Learn an operator of given channels by descent on bits, as `learn_operator` does first.

The search is that of `learn_chain`, with as many layers as the channels have. What it finds is
filled up with layers and maps that copy, so that it has exactly the channels that were asked for.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax.binarization import realize
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, Spec
from morphax.recipes._judging import BestBinary, learned_from
from morphax.recipes._pairs import Data
from morphax.recipes.descent.chains import learn_chain
from morphax.recipes.results import Learned, LearnedChain
from morphax.training.loop import append_jsonl
from morphax.training.options import Record, RunOptions

LAYERS = 8
"""Most layers of a chain."""
PATIENCE = 1
"""Rounds of random changes without an improvement, before gradients are tried."""


class Descended(NamedTuple):
    """Hold the result of a descent.

    Attributes:
        learned: What it learned.
        is_right: Whether no pixel is wrong, the goal is reached, or only flips are left.
        cut_short: Whether the time limit or Ctrl-C ended it.
    """

    learned: Learned
    is_right: bool
    cut_short: bool


def is_possible(train: Data, valid: Data, *, channels: Sequence[int], border: str) -> bool:
    """Return whether a descent can learn such a network from such pairs.

    Args:
        train: (images, targets), bool `(N, H, W, C)`.
        valid: The same, held out.
        channels: Channels of the network, one output.
        border: Border of the spatial neurons; only "ignore" is possible.

    Returns:
        False too where targets are constant.
    """
    # A chain has at most `LAYERS` layers, and one output of one channel.
    layers = len(channels) - 1
    fits = 1 <= layers <= LAYERS and channels[-1] == 1 and channels[0] == train[0].shape[-1]
    fits = fits and train[1].shape[-1] == 1 and border == "ignore"
    return fits and all(0 < int(part[1].sum()) < part[1].size for part in (train, valid))


def learn_by_descent(
    key: jax.Array,
    train: Data,
    valid: Data,
    *,
    channels: Sequence[int],
    kernel_size: int,
    symmetric: bool,
    frame: tuple[int, ...],
    goal: float,
    patience: int,
    run: RunOptions,
    start: Sequence[Any] | None = None,
) -> Descended:
    """Learn an operator by descent on bits.

    Args:
        key: PRNG key of random starts.
        train: (images, targets), bool `(N, H, W, C)` and `(N, H, W, 1)`; or volumes.
        valid: The same, held out.
        channels: Channels of the network.
        kernel_size: Odd side of the windows.
        symmetric: Make symmetric neurons, for images in {-1, 1}, of the bits that were found.
        frame: Rows and columns along the frame of the training images that do not count.
        goal: Mean Dice on `valid` that counts as success.
        patience: As for `learn_chain`.
        run: Log, progress and time limit.
        start: As for `learn_chain`.

    Returns:
        `Descended`. Its network has the channels asked for, or its own where they are too few.
    """
    # Pixels along the frame do not count, as in training by gradients.
    masks = np.zeros(train[1].shape, bool)
    sides = zip(frame, masks.shape[1:-1], strict=True)
    masks[(slice(None), *(slice(edge, length - edge) for edge, length in sides))] = True
    chain = learn_chain(
        key,
        (*train, masks),
        valid=valid,
        kernel_size=kernel_size,
        depth=len(channels) - 1,
        patience=patience,
        start=start,
        run=RunOptions(progress=run.progress, time_limit=run.time_limit, tags=run.tags),
    )
    # Give the network the channels that were asked for; if it needs more, say so.
    binary = filled(chain.binary, channels)
    remarks = [remark for remark in chain.remarks if not remark.startswith("No network")]
    if binary is None:
        binary = chain.binary
        remarks.append(
            f"Channels {tuple(channels)} were asked for; the network that was found needs "
            f"{_channels_of(binary)}."
        )
    if symmetric:
        binary = [{name: _symmetric(node) for name, node in layer.items()} for layer in binary]
    cut_short = chain.stopped in ("time limit", "interrupted")
    learned = learned_from(
        realize(binary),
        models.bimonn,
        train,
        valid,
        history=[],
        runs=1,
        frame=frame,
        cut_short=cut_short,
        chosen=BestBinary(binary, "projection", {}, 0.0),
    )
    history = _history(chain, learned)
    learned = learned._replace(history=history, found_by="descent", remarks=tuple(remarks))
    # A goal of 1 asks for no wrong pixel in training, too.
    reached = learned.verdict.dice >= goal and (goal < 1 or chain.loss == 0)
    is_right = reached or (chain.loss > 0 and chain.only_flips and learned.warning is None)
    return Descended(learned, bool(is_right), cut_short)


def _history(chain: LearnedChain, learned: Learned) -> list[Record]:
    """Return the records of the descent, the last one with the measures of other recipes."""
    records = [{"step": k, **record} for k, record in enumerate(chain.history)]
    dice, exact = learned.verdict.dice, float(bool(learned.certificate.exact))
    measures = {"float": dice, "binary": dice, "gap": 0.0, "certified": exact, "exact": exact}
    last = {"step": len(records), "form": "returned", "loss": chain.loss, **measures}
    seconds = records[-1]["seconds"] if records else 0.0
    return [*records, {**last, "method": learned.method, "seconds": seconds}]


def log_of(learned: Learned, run: RunOptions) -> None:
    """Append the records of a network that is handed out to the log."""
    if run.log is not None:
        for record in learned.history:
            append_jsonl(run.log, {**(run.tags or {}), **record})


def _symmetric(node: BinaryBiSE) -> BinaryBiSE:
    """Return the same bits as those of a symmetric neuron."""
    return replace(node, spec=replace(node.spec, bias_map="raw", symmetric=True))


def _channels_of(binary: Sequence[dict[str, BinaryBiSE]]) -> tuple[int, ...]:
    """Return the channels of binary layers."""
    shapes = [layer["bise"].selem.shape for layer in binary]
    return (shapes[0][-2], *(shape[-1] for shape in shapes))


def filled(binary: Sequence[Any], channels: Sequence[int]) -> list[dict[str, Any]] | None:
    """Fill binary layers up to given channels, with layers and maps that copy.

    Args:
        binary: Layers of `BinaryBiSE` banks of one window.
        channels: Channels of the input and of each layer.

    Returns:
        Layers that compute the same, or None where there are too few channels.

    Example:
        >>> from morphax import binarize
        >>> binary = binarize(models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3))
        >>> [layer["bise"].selem.shape for layer in filled(binary, (1, 2, 1))]
        [(3, 3, 1, 2), (3, 3, 2, 1)]
    """
    # Layers that copy go behind or before the network, wherever the channels are wide enough.
    own, missing = _channels_of(binary), len(channels) - len(binary) - 1
    window = binary[0]["bise"].selem.shape[:-2]
    if missing < 0:
        return None
    copy = {"bise": _copies(window, 1, 1)}
    for before in range(missing, -1, -1):  # copies after the network, rather than before it
        after, inputs = missing - before, own[0]
        if before and inputs > 1:
            continue
        layers = [copy] * after + list(binary) + [copy] * before
        sizes = (*[inputs] * after, *own, *[1] * before)
        if after and inputs > 1:
            continue
        if all(size <= most for size, most in zip(sizes, channels, strict=True)):
            pairs = zip(layers, channels[:-1], channels[1:], strict=True)
            return [_widened(layer, c, o) for layer, c, o in pairs]
    return None


def _copies(window: tuple[int, ...], inputs: int, outputs: int) -> BinaryBiSE:
    """Return erosions by the centre."""
    selem = np.zeros((*window, inputs, outputs), bool)
    selem[tuple(side // 2 for side in window)] = True
    shape = (inputs, outputs)
    spec = Spec("spatial", "identity", "centred")
    return BinaryBiSE(selem, np.ones(shape, bool), np.zeros(shape, bool), spec)


def _widened(layer: dict[str, Any], inputs: int, outputs: int) -> dict[str, Any]:
    """Return a layer with more inputs, which it does not read, and more outputs, which copy."""
    bise = layer["bise"]
    *window, c, o = bise.selem.shape
    wide = _copies(tuple(window), inputs, outputs)
    # The network stays in the first inputs and outputs.
    wide.selem[..., :c, :o] = bise.selem
    wide.erosion[:c, :o], wide.complement[:c, :o] = bise.erosion, bise.complement
    if inputs == 1:
        return {"bise": wide}
    # A union or intersection of the maps that are read; what is new reads the first one.
    read = np.zeros((inputs, outputs), bool)
    read[0, o:] = True
    erosion, complement = np.ones(outputs, bool), np.zeros(outputs, bool)
    # A layer of one input had no intersections or unions: its outputs read their own map.
    if c == 1:
        read[0, :o] = True
    else:
        lui = layer["lui"]
        read[:c, :o], erosion[:o], complement[:o] = lui.selem, lui.erosion, lui.complement
    return {
        "bise": wide,
        "lui": BinaryBiSE(read, erosion, complement, Spec("lui", "identity", "centred")),
    }
