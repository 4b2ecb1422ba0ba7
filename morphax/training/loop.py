"""Loop around training steps: records, checkpoints, when to stop, and how to resume.

What happens between two records is a function `state -> (state, loss)`. Everything that a run needs
to go on is in its state and its records. A checkpoint consists of these two, so a run that is
resumed ends in the same state, bit for bit, as one that was never interrupted. When a run is
resumed, its log is cut back to the last checkpoint: no record is lost, and none is there twice.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax import _checks
from morphax._files import json_text
from morphax.training.checkpoint import Checkpoints, Saved
from morphax.training.options import Record as Record
from morphax.training.options import RunOptions
from morphax.training.progress import reporter


class TrainState(NamedTuple):
    """Hold what one step changes.

    Attributes:
        params: Params tree.
        opt_state: State of the optimizer.
        step: int32 `()`, steps taken.
    """

    params: Any
    opt_state: Any
    step: jax.Array


class Run(NamedTuple):
    """Hold a finished run.

    Attributes:
        state: The last `TrainState`.
        history: One record of metrics for each evaluation, as logged.
        stopped: What ended the run before its last step: "until", "patience", "time limit",
            "interrupt", or None. The last two can be resumed from a checkpoint.
    """

    state: TrainState
    history: list[Record]
    stopped: str | None = None

    @property
    def is_cut_short(self) -> bool:
        """Return whether the time limit or Ctrl-C ended the run."""
        return self.stopped in _RESUMABLE


_RESUMABLE = ("time limit", "interrupt")


def drive(
    advance: Callable[[TrainState], tuple[TrainState, Any]],
    state: TrainState,
    *,
    steps: int,
    every: int,
    evaluate: Callable[[TrainState], Record] | None = None,
    key: jax.Array | None = None,
    settings: Record | None = None,
    until: Callable[[Record], bool] | None = None,
    patience: int | None = None,
    run: RunOptions = RunOptions(),
) -> Run:
    """Advance a state until it has taken its steps: the loop of `fit`, sweeps and all recipes.

    Args:
        advance: `state -> (state, loss)`, `every` steps or, at the end, those that are missing.
            What it does depends on the state alone. The loss may be a dict of numbers, one of them
            "loss".
        state: Where to begin. The leaves of a sweep are stacked over its members, `step` too.
        steps: Number of steps; the last call of `advance` may exceed it.
        every: Steps between two records.
        evaluate: `state -> dict` of numbers, or of arrays with one number for each member.
        key: PRNG key of the run; a checkpoint of another key is refused.
        settings: JSON that describes the run; a checkpoint with other settings is refused.
        until: Stop as soon as it returns true for a record.
        patience: Stop after that many records without a smaller loss.
        run: Log, progress, checkpoints and time limit. If the checkpoint folder holds an unfinished
            run, it is resumed; if it holds a finished one, that is returned. In a job of several
            processes the first one writes the log.

    Returns:
        `Run(state, history, stopped)`.

    Raises:
        ValueError: A checkpoint of another key, of other settings or tags, or of a state that is
            not like `state`.
        OSError: The log or a checkpoint cannot be written.
        KeyboardInterrupt: Ctrl-C, unless `run.on_interrupt` is "return" and there is a record.

    Example:
        >>> from jax import numpy as jnp
        >>> state = TrainState(jnp.zeros(()), (), jnp.zeros((), jnp.int32))
        >>> double = lambda s: (TrainState(s.params + 2, (), s.step + 2), s.params)
        >>> done = drive(double, state, steps=4, every=2)
        >>> float(done.state.params), [record["loss"] for record in done.history]
        (4.0, [0.0, 2.0])
    """
    about = {
        "key": None if key is None else jax.random.key_data(key).tolist(),
        "tags": run.tags or {},
        "settings": settings or {},
    }
    with _opened(run.checkpoint) as checkpoints:
        state, history, stopped = _begin(state, checkpoints, about, steps, run)
        before = history[-1]["seconds"] if history else 0.0
        start = time.perf_counter()
        with reporter(steps, first=_step(state), show=run.progress) as report:
            while stopped is None and _step(state) < steps:
                try:
                    state, record = _advance(advance, state, evaluate, run.tags)
                except KeyboardInterrupt:
                    if run.on_interrupt == "raise" or not history:
                        raise
                    stopped = "interrupt"
                    break
                seconds = time.perf_counter() - start
                record["seconds"] = round(before + seconds, 3)
                history.append(record)
                if run.log is not None and jax.process_index() == 0:
                    append_jsonl(run.log, record)
                report(record)
                limit = None if record["step"] >= steps else run.time_limit
                stopped = _reason_to_stop(history, seconds, until, patience, limit)
                is_last = stopped is not None or record["step"] >= steps
                if checkpoints is not None and (
                    is_last or len(history) % run.checkpoint_every == 0
                ):
                    notes = {
                        **about,
                        "history": list(history),
                        "log": _size(run.log),
                        "stopped": stopped,
                    }
                    checkpoints.save(record["step"], state, notes=notes, metrics=record)
        if checkpoints is not None:
            checkpoints.wait()
    return Run(state, history, stopped)


def _begin(
    state: TrainState,
    checkpoints: Checkpoints | None,
    about: Record,
    steps: int,
    run: RunOptions,
) -> tuple[TrainState, list[Record], str | None]:
    """Return the state, records and reason of stopping from which a run begins or is resumed."""
    log_size = _begin_log(run.log)
    if checkpoints is None:
        return state, [], None
    saved = checkpoints.restore(state)
    if saved is None:
        notes = {**about, "history": [], "log": log_size, "stopped": None}
        checkpoints.save(0, state, notes=notes, metrics=_nothing(checkpoints))
        checkpoints.wait()  # from now on the log can be cut back
        return state, [], None
    _require_same(saved, about)
    stopped = saved.notes["stopped"]
    stopped = None if stopped in _RESUMABLE else stopped
    # The log of a finished run is whole, and other runs may follow in it.
    if stopped is None and _step(saved.state) < steps:
        _cut(run.log, saved.notes["log"])
    return saved.state, saved.notes["history"], stopped


def _advance(
    advance: Callable[[TrainState], tuple[TrainState, Any]],
    state: TrainState,
    evaluate: Callable[[TrainState], Record] | None,
    tags: Record | None,
) -> tuple[TrainState, Record]:
    """Return the next state and its record, without the time."""
    state, loss = advance(state)
    values = dict(loss) if isinstance(loss, Mapping) else {"loss": loss}
    if evaluate is not None:
        values |= evaluate(state)
    numbers = {name: _number(value) for name, value in values.items()}
    return state, {**(tags or {}), "step": _step(state), **numbers}


def _reason_to_stop(
    history: list[Record],
    seconds: float,
    until: Callable[[Record], bool] | None,
    patience: int | None,
    time_limit: float | None,
) -> str | None:
    """Return what ends a run after its last record, or None."""
    if until is not None and until(history[-1]):
        return "until"
    if patience is not None and _stale(history) >= patience:
        return "patience"
    return "time limit" if time_limit is not None and seconds >= time_limit else None


def append_jsonl(path: str | Path, record: Record) -> None:
    """Append one record to a JSONL file; numbers that are not finite become null."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json_text(record) + "\n")


@contextmanager
def _opened(checkpoint: str | Path | Checkpoints | None) -> Iterator[Checkpoints | None]:
    if isinstance(checkpoint, (str, Path)):
        with Checkpoints(checkpoint) as checkpoints:
            yield checkpoints
    else:
        yield checkpoint


def _require_same(saved: Saved, about: Record) -> None:
    """Refuse the checkpoint of another run."""
    for name, value in about.items():
        before = saved.notes[name]
        expected = f"{before} as in the checkpoint (use another folder for another run)"
        # As JSON, tuples are equal to lists and NaN to NaN.
        is_same = json.loads(json_text(before)) == json.loads(json_text(value))
        _checks.require(is_same, name, expected, value)


def _nothing(checkpoints: Checkpoints) -> Record | None:
    """Return NaN for the metric that ranks checkpoints, which is never the best."""
    return None if checkpoints.best is None else {checkpoints.best: float("nan")}


def _begin_log(log: str | Path | None) -> int:
    """Cut off the torn line of a killed run; return the size at which this run begins."""
    if log is not None and Path(log).is_file() and jax.process_index() == 0:
        whole = Path(log).read_bytes().rfind(b"\n") + 1
        _cut(log, whole)
    return _size(log)


def _cut(log: str | Path | None, size: int) -> None:
    if log is not None and jax.process_index() == 0 and _size(log) > size:
        with open(log, "r+b") as file:
            file.truncate(size)


def _size(log: str | Path | None) -> int:
    return Path(log).stat().st_size if log is not None and Path(log).is_file() else 0


def _step(state: TrainState) -> int:
    return int(np.asarray(state.step).reshape(-1)[0])


def _number(value: Any) -> Any:
    """Return a Python float, or a list of them, one for each member of a sweep."""
    return np.asarray(value, float).tolist()


def _stale(history: list[Record]) -> int:
    """Return the number of records since the smallest loss (of a sweep, the mean)."""
    losses = [float(np.mean(record["loss"])) for record in history]
    best = min((loss for loss in losses if loss == loss), default=float("nan"))
    return len(losses) - 1 - losses.index(best) if best == best else len(losses)
