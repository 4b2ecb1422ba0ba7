"""Runs from one start after the other, until one is right: the search of `morphax.recipes`.

A run is judged by its binary network: whether it is certified, its Dice on unseen images, how many images
of the training data are wrong. One that is wrong on a few images only is repeated from the same start with
these in sight (`morphax.recipes._hard_examples`); else the next start is tried (`morphax.recipes._starts`). The best run is kept.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from morphax.binarization import binarize
from morphax.neurons import models
from morphax.recipes._hard_examples import emphasise
from morphax.recipes._starts import begin, start_of
from morphax.training import transforms
from morphax.training.fitting import Record, fit
from morphax.training.steps import Chunk, Data, Evaluate

HOPELESS = 0.5
"""A run whose float Dice is below this share of the goal at half of its steps is given up."""
FEW = 0.05
"""Share of wrong training images up to which a certified run counts as nearly right."""
MARGIN = 0.02
"""Of the neurons that are put onto activable ones at the end (`transforms.keep_activable`)."""


class Programs(NamedTuple):
    """What runs are made of.

    Attributes:
        optimizer: an Optax transformation.
        chunks: of `morphax.training.steps.make_chunk`, for each round of `morphax.recipes._starts.start_of`.
        steps: of a run.
        length: steps of a chunk.
        scale: |p| at the start of a run.
        evaluate: of `morphax.training.steps.make_evaluate`.
        wrong_images: of `morphax.recipes._hard_examples.make_wrong_images`.
    """

    optimizer: optax.GradientTransformation
    chunks: tuple[Chunk, ...]
    steps: int
    length: int
    scale: float
    evaluate: Evaluate
    wrong_images: Callable[[Any, Data], jax.Array]


class Found(NamedTuple):
    """The best of some runs.

    Attributes:
        score: how good it is: right, binary Dice, certified, minus the share of training images that are
            wrong, minus the loss.
        params: its params tree.
        history: its records; the last one is of `params`.
        wrong: the training images that are wrong, bool `(N,)`.
        runs: runs that were made.
    """

    score: tuple[float, ...]
    params: Any
    history: list[Record]
    wrong: jax.Array
    runs: int

    @property
    def right(self) -> bool:
        """Certified, as good as wanted, and, where all is wanted, with every training image right."""
        return bool(self.score[0])


def judge(
    params: Any, history: list[Record], train: Data, programs: Programs, *, goal: float, runs: int
) -> Found:
    """What a run has come to.

    Args:
        params: params tree of `morphax.models.bimonn`.
        history: its records, the last one of these params.
        train: (images, targets), bool.
        programs: of the run.
        goal: binary Dice that is wanted.
        runs: runs that were made.

    Returns:
        `Found`.
    """
    last, wrong = history[-1], programs.wrong_images(binarize(params), train)
    share = float(wrong.mean())
    right = bool(last["exact"] and last["binary"] >= goal and (goal < 1 or share == 0))
    score = (right, last["binary"], last["exact"], -share, -last["loss"])
    return Found(score, params, history, wrong, runs)


def judge_again(
    found: Found, params: Any, train: Data, valid: Data, programs: Programs, *, goal: float
) -> Found:
    """The same where other params were made of those of a run: its last record is measured anew.

    Args:
        found: the run; `found.history` is not changed.
        params: the params made of it.
        train: (images, targets), bool.
        valid: the same, held out.
        programs: of the run.
        goal: binary Dice that is wanted.

    Returns:
        `Found`, of as many runs.
    """
    measured = {name: float(value) for name, value in programs.evaluate(params, valid).items()}
    history = [*found.history[:-1], {**found.history[-1], **measured}]
    return judge(params, history, train, programs, goal=goal, runs=found.runs)


def search(
    key: jax.Array,
    init: Callable[[jax.Array], Any],
    train: Data,
    valid: Data,
    programs: Programs,
    *,
    restarts: int,
    goal: float,
    log: str | Path | None = None,
    progress: bool = False,
    tags: Record | None = None,
    checkpoint: Path | None = None,
) -> Found:
    """Train from one start after the other, until a run is right.

    Args:
        key: PRNG key.
        init: draws initial params of `morphax.models.bimonn`.
        train: (images, targets), bool.
        valid: the same, held out.
        programs: what a run is made of.
        restarts: runs at most.
        goal: binary Dice on `valid` that is wanted.
        log, progress, checkpoint: of `morphax.training.fit`, for each run.
        tags: added to every record, beside the number of the run.

    Returns:
        The first run that is right, or the best one.
    """
    best: Found | None = None
    seen, start = train, None
    half = programs.steps / 2
    for restart in range(restarts):
        init_key, bias_key, fit_key, seen_key = jax.random.split(
            jax.random.fold_in(key, restart), 4
        )
        params = init(init_key)
        known, round_ = start_of(params, restart)
        start = start or known
        params = begin(bias_key, params, start, scale=programs.scale)
        run = fit(
            fit_key, models.bimonn, params, seen, valid=valid, optimizer=programs.optimizer,
            steps=programs.steps, chunk=programs.chunks[round_], evaluate=programs.evaluate,
            log_every=programs.length, log=log, tags={**(tags or {}), "restart": restart},
            until=lambda record: record["step"] >= half and record["float"] < goal * HOPELESS,
            progress=progress, checkpoint=None if checkpoint is None else checkpoint / f"run_{restart}",
        )  # fmt: skip
        found = judge(run.state.params, run.history, train, programs, goal=goal, runs=restart + 1)
        best = found if best is None or found.score > best.score else best._replace(runs=found.runs)
        if best.right:
            return best
        few = found.history[-1]["exact"] and 0 < found.wrong.mean() <= FEW
        seen, start = (emphasise(seen_key, train, found.wrong), start) if few else (train, None)
    assert best is not None
    if best.history[-1]["exact"]:
        return best
    # Not certified: put the neurons where they belong, if that costs nothing.
    settled = judge_again(best, settle(best.params), train, valid, programs, goal=goal)
    return max(best, settled, key=lambda found: found.score)


def settle(params: Any) -> Any:
    """Every neuron as its nearest activable one.

    Args:
        params: params tree.

    Returns:
        The same tree, other weights and biases.

    Example:
        >>> from morphax import certify
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> bool(certify(settle(params)[0]["bise"]).exact.all())
        True
    """
    land = transforms.keep_activable(relative_margin=MARGIN)
    zero = jax.tree.map(jnp.zeros_like, params)
    return optax.apply_updates(params, land.update(zero, land.init(params), params)[0])
