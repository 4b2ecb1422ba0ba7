"""Search over starts: runs from one start after the other, until one is right.

A run is scored by the binary network that would be handed out: whether it is certified, its Dice on
held-out images, how many training images it has wrong. A certified run that is wrong on a few
images is repeated from the same start with these in sight
(`morphax.recipes.gradients._hard_examples`); otherwise the next start is tried
(`morphax.recipes.gradients._starts`). The best run is kept. Where targets contradict each other, no
run can have all of them right: the search ends when some runs in a row were no better.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from morphax.neurons import models
from morphax.recipes._judging import BestBinary, best_binary
from morphax.recipes._pairs import Data
from morphax.recipes.gradients._hard_examples import emphasise
from morphax.recipes.gradients._starts import initialise, nth_start
from morphax.training import transforms
from morphax.training.fitting import fit
from morphax.training.options import Record, RunOptions
from morphax.training.progress import write
from morphax.training.steps import Chunk, Evaluate

GIVE_UP_BELOW = 0.5
"""A run whose float Dice is below this share of the goal at half of its steps is given up."""
REPEAT_UP_TO = 0.05
"""Share of wrong training images up to which a certified run is repeated from the same start."""
MARGIN = 0.02
"""Relative margin of the neurons that `make_activable` moves."""


class RunConfig(NamedTuple):
    """Hold the optimizer, the jitted steps and the evaluations that all runs of a search share.

    Attributes:
        optimizer: Optax transformation.
        chunks: Programs of `morphax.training.make_chunk`, for each round of `_starts.nth_start`.
        steps: Steps of a run.
        length: Steps of a chunk.
        scale: |p| at the start of a run.
        evaluate: Evaluation of `morphax.training.make_evaluate`.
        wrong_images: Function of `_hard_examples.make_wrong_images`.
    """

    optimizer: optax.GradientTransformation
    chunks: tuple[Chunk, ...]
    steps: int
    length: int
    scale: float
    evaluate: Evaluate
    wrong_images: Callable[[Any, Data], jax.Array]


class ScoredRun(NamedTuple):
    """Hold a run with its score, or the best one of several.

    Attributes:
        score: Whether it is right, binary Dice, whether it is certified, minus the share of wrong
            training images, minus the loss; larger is better.
        params: Its params tree.
        chosen: Its binary network, and the method that made it.
        history: Its records; the last one is of `params` and `chosen`.
        wrong: Training images that the binary network has wrong, bool `(N,)`.
        runs: Number of runs that were made.
        cut_short: Whether a time limit or Ctrl-C ended the search.
    """

    score: tuple[float, ...]
    params: Any
    chosen: BestBinary
    history: list[Record]
    wrong: jax.Array
    runs: int
    cut_short: bool = False

    @property
    def is_right(self) -> bool:
        """Return whether it is certified, reaches the goal and, for goal 1, has no wrong image."""
        return bool(self.score[0])


def score_run(
    params: Any,
    history: list[Record],
    train: Data,
    valid: Data,
    config: RunConfig,
    *,
    goal: float,
    runs: int,
) -> ScoredRun:
    """Score a finished run by its binary network.

    Args:
        params: Params tree of `morphax.models.bimonn`.
        history: Its records, the last one of these params; it is not changed.
        train: (images, targets), bool.
        valid: The same, held out.
        config: What the run was made of.
        goal: Binary Dice on `valid` that counts as success.
        runs: Number of runs that were made.

    Returns:
        `ScoredRun`; "binary", "gap" and "method" of its last record are those of its binary
        network.
    """
    last = history[-1]
    chosen = best_binary(params, models.bimonn, valid, is_exact=bool(last["exact"]))
    last = {**last, "method": chosen.method}
    if not last["exact"]:  # the record was measured with another binary network
        last |= {"binary": chosen.scores[chosen.method], "gap": chosen.gap}
    wrong = config.wrong_images(chosen.binary, train)
    share = float(wrong.mean())
    is_right = bool(last["exact"] and last["binary"] >= goal and (goal < 1 or share == 0))
    score = (is_right, last["binary"], last["exact"], -share, -last["loss"])
    return ScoredRun(score, params, chosen, [*history[:-1], last], wrong, runs)


def rescore(
    run: ScoredRun, params: Any, train: Data, valid: Data, config: RunConfig, *, goal: float
) -> ScoredRun:
    """Score a run again after its params were replaced.

    Args:
        run: The run; its history is not changed.
        params: Params tree that was made of its params.
        train: (images, targets), bool.
        valid: The same, held out.
        config: What the run was made of.
        goal: Binary Dice on `valid` that counts as success.

    Returns:
        `ScoredRun`, whose last record is measured anew.
    """
    measured = {name: float(value) for name, value in config.evaluate(params, valid).items()}
    history = [*run.history[:-1], {**run.history[-1], **measured}]
    scored = score_run(params, history, train, valid, config, goal=goal, runs=run.runs)
    return scored._replace(cut_short=run.cut_short)


def search(
    key: jax.Array,
    init: Callable[[jax.Array], Any],
    train: Data,
    valid: Data,
    config: RunConfig,
    *,
    restarts: int,
    patience: int,
    goal: float,
    run: RunOptions,
    clock: float | None = None,
) -> ScoredRun:
    """Train from one start after the other, until a run is right or nothing improves.

    Args:
        key: PRNG key.
        init: `key -> params`, initial params of `morphax.models.bimonn`.
        train: (images, targets), bool.
        valid: The same, held out.
        config: What a run is made of.
        restarts: Maximum number of runs.
        patience: Runs in a row without an improvement after which the search ends.
        goal: Binary Dice on `valid` that counts as success.
        run: Log, progress, checkpoint and time limit of the search; the number of the run is added
            to the tags.
        clock: `time.perf_counter()` when the time limit began; now by default.

    Returns:
        The first run that is right, or the best one.

    Raises:
        KeyboardInterrupt: Ctrl-C before the first record of the first run.
    """
    clock = time.perf_counter() if clock is None else clock
    best: ScoredRun | None = None
    data, start_number, half, idle = train, 0, config.steps / 2, 0
    for restart in range(restarts):
        init_key, bias_key, fit_key, data_key = jax.random.split(
            jax.random.fold_in(key, restart), 4
        )
        params = init(init_key)
        start, round_ = nth_start(params, start_number)
        try:
            done = fit(
                fit_key,
                models.bimonn,
                initialise(bias_key, params, start, scale=config.scale),
                data,
                valid=valid,
                optimizer=config.optimizer,
                steps=config.steps,
                chunk=config.chunks[round_],
                evaluate=config.evaluate,
                log_every=config.length,
                until=lambda r: r["step"] >= half and r["float"] < goal * GIVE_UP_BELOW,
                run=run.part(f"run_{restart}", start=clock, restart=restart),
            )
        except KeyboardInterrupt:  # before the first record of this run
            if best is None:
                raise
            best = best._replace(cut_short=True)
            break
        scored = score_run(
            done.state.params, done.history, train, valid, config, goal=goal, runs=restart + 1
        )
        idle += 1
        if best is None or scored.score > best.score:
            best, idle = scored, 0
        is_over = done.is_cut_short or (restart + 1 < restarts and run.is_over(clock))
        best = best._replace(runs=restart + 1, cut_short=is_over and not best.is_right)
        if run.progress:
            report(restart, restarts, scored, best)
        if best.is_right or best.cut_short or idle >= patience:
            break
        # Nearly right: the same start again, with more of the images that are still wrong.
        if scored.history[-1]["exact"] and 0 < scored.wrong.mean() <= REPEAT_UP_TO:
            data = emphasise(data_key, train, scored.wrong)
        else:
            data, start_number = train, start_number + 1
    assert best is not None
    if best.history[-1]["exact"]:
        return best
    # Not certified: make every neuron activable, if that costs nothing.
    activable = rescore(best, make_activable(best.params), train, valid, config, goal=goal)
    return max(best, activable, key=lambda scored: scored.score)


def report(restart: int, restarts: int, scored: ScoredRun, best: ScoredRun) -> None:
    """Write a line on a finished run and on the best one so far."""
    last = scored.history[-1]
    write(
        f"run {restart + 1} of {restarts}: binary Dice {last['binary']:.6f}, "
        f"{'certified' if last['exact'] else 'not certified'}, wrong training images "
        f"{float(scored.wrong.mean()):.2%}; best so far {best.history[-1]['binary']:.6f}"
    )


def make_activable(params: Any) -> Any:
    """Replace every neuron by its nearest activable one.

    Args:
        params: Params tree.

    Returns:
        The same tree with other weights and biases.

    Example:
        >>> from morphax import certify
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> bool(certify(make_activable(params)[0]["bise"]).exact.all())
        True
    """
    keep = transforms.keep_activable(relative_margin=MARGIN)
    zero = jax.tree.map(jnp.zeros_like, params)
    return optax.apply_updates(params, keep.update(zero, keep.init(params), params)[0])
