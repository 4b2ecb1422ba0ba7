"""The loop around training steps: records, when to stop, and going on after an interruption.

What happens between two records is a function `state -> (state, loss)`; everything a run needs to go on
lies in its state and its records, so a checkpoint is those two, and a run that is resumed ends in the
very same state as one that was never interrupted. The log is cut back to where the checkpoint left it:
no record is lost, none stands there twice.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax import _checks
from morphax.training.checkpoint import Checkpoints, Saved

Record = dict[str, Any]


class TrainState(NamedTuple):
    """What one step changes.

    Attributes:
        params: params tree.
        opt_state: of the optimizer.
        step: int32 `()`, steps taken.
    """

    params: Any
    opt_state: Any
    step: jax.Array


class Run(NamedTuple):
    """A finished run.

    Attributes:
        state: the last `TrainState`.
        history: one record of metrics for each evaluation, as logged.
    """

    state: TrainState
    history: list[Record]


def drive(
    advance: Callable[[TrainState], tuple[TrainState, Any]],
    state: TrainState,
    *,
    steps: int,
    every: int,
    evaluate: Callable[[TrainState], Record] | None = None,
    key: jax.Array | None = None,
    log: str | Path | None = None,
    tags: Record | None = None,
    progress: bool = False,
    until: Callable[[Record], bool] | None = None,
    patience: int | None = None,
    checkpoint: str | Path | Checkpoints | None = None,
    checkpoint_every: int = 1,
) -> Run:
    """Advance a state until it has taken its steps; `fit` and sweeps are made of this.

    Args:
        advance: `state -> (state, loss)`, `every` steps; what it does depends on the state alone.
        state: where to begin. For a sweep its leaves are stacked over the members, `step` too.
        steps: how many, rounded up to a multiple of `every`.
        every: steps between two records.
        evaluate: `state -> dict` of numbers, or of arrays with one number a member.
        key: PRNG key of the run; a checkpoint of another key is refused.
        log: JSONL file for the records; in a job of several processes the first one writes it.
        tags: added to every record.
        progress: show a progress bar (needs the "progress" extra).
        until: stop as soon as it holds for a record.
        patience: stop after that many records without a smaller loss.
        checkpoint: folder, or `Checkpoints` to choose what is kept; if it holds a checkpoint, the run
            goes on from there, and if it holds a finished run, that is returned.
        checkpoint_every: records between two checkpoints; the end of a run is always saved.

    Returns:
        `Run(state, history)`.

    Raises:
        ValueError: a checkpoint of another key, or of a state that is not like `state`.
        OSError: a log or a checkpoint cannot be written.

    Example:
        >>> from jax import numpy as jnp
        >>> state = TrainState(jnp.zeros(()), (), jnp.zeros((), jnp.int32))
        >>> double = lambda s: (TrainState(s.params + 2, (), s.step + 2), s.params)
        >>> run = drive(double, state, steps=4, every=2)
        >>> float(run.state.params), [record["loss"] for record in run.history]
        (4.0, [0.0, 2.0])
    """
    about = {"key": None if key is None else jax.random.key_data(key).tolist(), "tags": tags or {}}
    with _opened(checkpoint) as checkpoints:
        history: list[Record] = []
        notes = {**about, "history": history, "log": _begin_log(log), "stopped": False}
        found = None if checkpoints is None else checkpoints.restore(state)
        if found is not None:
            notes, state = found.notes, found.state
            _same(found, about)
            history = notes["history"]
        elif checkpoints is not None:  # waited for: from now on the log can be cut back
            checkpoints.save(0, state, notes=notes, metrics=_nothing(checkpoints))
            checkpoints.wait()
        left = 0 if notes["stopped"] else max(0, -(-(steps - _step(state)) // every))
        if found is not None and left:  # of a finished run nothing is torn, and others may follow
            _cut(log, notes["log"])
        before = history[-1]["seconds"] if history else 0.0
        start = time.perf_counter()
        for number in _bar(range(left), every, progress):
            state, loss = advance(state)
            record = {**(tags or {}), "step": _step(state), "loss": _number(loss)}
            if evaluate is not None:
                record |= {name: _number(v) for name, v in evaluate(state).items()}
            record["seconds"] = round(before + time.perf_counter() - start, 3)
            history.append(record)
            if log is not None and jax.process_index() == 0:
                append_jsonl(log, record)
            stop = (until is not None and until(record)) or (
                patience is not None and _stale(history) >= patience
            )
            last = stop or number == left - 1
            if checkpoints is not None and (last or len(history) % checkpoint_every == 0):
                notes = {
                    **about,
                    "history": list(history),
                    "log": _size(log),
                    "stopped": bool(stop),
                }
                checkpoints.save(record["step"], state, notes=notes, metrics=record)
            if stop:
                break
        if checkpoints is not None:
            checkpoints.wait()
    return Run(state, history)


def append_jsonl(path: str | Path, record: Record) -> None:
    """Append one record to a JSONL file, flushed, so that nothing is lost when a run is killed."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


@contextmanager
def _opened(checkpoint: str | Path | Checkpoints | None) -> Iterator[Checkpoints | None]:
    if isinstance(checkpoint, (str, Path)):
        with Checkpoints(checkpoint) as checkpoints:
            yield checkpoints
    else:
        yield checkpoint


def _same(found: Saved, about: Record) -> None:
    """A checkpoint of another run is an error, not a start."""
    for name, value in about.items():
        expected = f"{found.notes[name]} as in the checkpoint (another run wants another folder)"
        _checks.require(found.notes[name] == value, name, expected, value)


def _nothing(checkpoints: Checkpoints) -> Record | None:
    """No value yet of the metric that ranks checkpoints: never the best."""
    return None if checkpoints.best is None else {checkpoints.best: float("nan")}


def _begin_log(log: str | Path | None) -> int:
    """Cut off the torn line of a killed run; where the log of this run begins."""
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
    """A Python float, or a list of them, one for each member of a sweep."""
    return np.asarray(value, float).tolist()


def _stale(history: list[Record]) -> int:
    """Records since the smallest loss (of a sweep, the mean)."""
    losses = [float(np.mean(record["loss"])) for record in history]
    best = min((loss for loss in losses if loss == loss), default=float("nan"))
    return len(losses) - 1 - losses.index(best) if best == best else len(losses)


def _bar(chunks: range, every: int, progress: bool) -> Iterable[int]:
    if not progress:
        return chunks
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise _checks.extra("tqdm", "progress") from error
    return tqdm(chunks, unit_scale=every, unit="step")
