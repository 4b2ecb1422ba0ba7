"""Training: whole runs, on data in device memory or as they come, with metrics on the way.

A model is any `apply(params, x)`; images are `(N, H, W, C)`, bool or float; targets have the shape of
the output. A run is a function of its key: the same key, data and options give the same params.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from morphax import _checks
from morphax.training import distributed
from morphax.training.checkpoint import Checkpoints
from morphax.training.loop import Record as Record
from morphax.training.loop import Run as Run
from morphax.training.loop import TrainState as TrainState
from morphax.training.loop import append_jsonl as append_jsonl
from morphax.training.loop import drive
from morphax.training.steps import Apply as Apply
from morphax.training.steps import Chunk as Chunk
from morphax.training.steps import Data as Data
from morphax.training.steps import Evaluate as Evaluate
from morphax.training.steps import Loss as Loss
from morphax.training.steps import as_unit as as_unit
from morphax.training.steps import is_symmetric as is_symmetric
from morphax.training.steps import make_chunk as make_chunk
from morphax.training.steps import make_evaluate as make_evaluate
from morphax.training.steps import make_step as make_step


def fit(
    key: jax.Array,
    apply: Apply,
    params: Any,
    train: Data,
    *,
    valid: Data,
    optimizer: optax.GradientTransformation,
    steps: int,
    loss: str | Loss = "mse",
    batch_size: int = 32,
    penalty: Callable[[Any, jax.Array], jax.Array] | None = None,
    evaluate: Evaluate | None = None,
    chunk: Chunk | None = None,
    log_every: int = 250,
    log: str | Path | None = None,
    tags: Record | None = None,
    progress: bool = False,
    until: Callable[[Record], bool] | None = None,
    patience: int | None = None,
    mesh: Mesh | None = None,
    checkpoint: str | Path | Checkpoints | None = None,
    checkpoint_every: int = 1,
) -> Run:
    """Train a model on images in device memory.

    Args:
        key: PRNG key of the order of the batches.
        apply: `(params, x) -> prediction`.
        params: initial params tree.
        train: (images, targets), bool or float; batches are drawn with replacement.
        valid: (images, targets), bool; evaluated every `log_every` steps.
        optimizer: any Optax transformation.
        steps: number of steps, rounded up to a multiple of `log_every`.
        loss: of `make_step`.
        batch_size: images a step.
        penalty: `(params, step) -> scalar`, added to the loss.
        evaluate: `(params, valid) -> dict of scalars`; `make_evaluate(apply)` by default.
        chunk: the program of `log_every` steps, from `make_chunk`, to share it between runs; loss,
            batch_size and penalty are then its own; it wants the same `mesh`.
        log_every: steps of one scan, between two records.
        log: JSONL file; every record is appended and flushed at once, so a killed run keeps them.
        tags: added to every record, such as the number of a restart.
        progress: show a progress bar (needs the "progress" extra).
        until: stop as soon as it holds for a record.
        patience: stop after that many records without a smaller training loss.
        mesh: of `make_chunk`; with several processes each gives the same arguments.
        checkpoint: folder where the run is saved after every record, and from where it goes on, bit for
            bit, if it was interrupted (extra "checkpoint"); or `Checkpoints`, to choose what is kept.
        checkpoint_every: records between two checkpoints.

    Returns:
        `Run(state, history)`; records hold "step", "loss" (mean since the last record), "seconds"
        and what `evaluate` gives.

    Raises:
        ValueError: data of shapes that do not fit, images outside [0, 1], unknown loss, a checkpoint
            of another key or model.
        OSError: the log or a checkpoint cannot be written; the last checkpoint is whole.
        ImportError: `progress` without tqdm, `checkpoint` without orbax.
    """
    low = -1 if is_symmetric(params) else 0
    _check_data("train", train, low)
    _check_data("valid", valid, low)
    evaluate = evaluate or make_evaluate(apply)
    if chunk is None:
        step = make_step(apply, optimizer, loss=loss, penalty=penalty)
        chunk = make_chunk(step, batch_size=batch_size, length=log_every, mesh=mesh)
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    if mesh is not None:
        state = distributed.banks(mesh, state)
        train, valid, key = distributed.copies(mesh, (train, valid, key))
    return drive(
        lambda state: chunk(key, state, train), state, steps=steps, every=log_every,
        evaluate=lambda state: evaluate(state.params, valid), key=key, log=log, tags=tags,
        progress=progress, until=until, patience=patience, checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
    )  # fmt: skip


def fit_stream(
    apply: Apply,
    params: Any,
    batches: Callable[[int], Iterator[Data]],
    *,
    valid: Data,
    optimizer: optax.GradientTransformation,
    steps: int,
    loss: str | Loss = "mse",
    penalty: Callable[[Any, jax.Array], jax.Array] | None = None,
    evaluate: Evaluate | None = None,
    log_every: int = 250,
    log: str | Path | None = None,
    tags: Record | None = None,
    progress: bool = False,
    until: Callable[[Record], bool] | None = None,
    patience: int | None = None,
    mesh: Mesh | None = None,
    checkpoint: str | Path | Checkpoints | None = None,
    checkpoint_every: int = 1,
) -> Run:
    """Train a model on batches as they come: data sets larger than memory.

    Args:
        apply: `(params, x) -> prediction`.
        params: initial params tree.
        batches: `start -> iterator` of the batches (images, targets) from number `start` on, such as
            `lambda start: morphax.data.stream.batches(source, batch_size=64, start=start)`; of several
            processes each gives its own rows. A run that is resumed asks for the batch it had reached.
        valid: (images, targets), bool, in device memory.
        optimizer, steps, loss, penalty, evaluate, log_every, log, tags, progress, until, patience, mesh,
            checkpoint, checkpoint_every: as for `fit`.

    Returns:
        `Run(state, history)`, as `fit` does.

    Raises:
        ValueError: as `fit` does, for the first batch and for `valid`.
        OSError: the log or a checkpoint cannot be written; the last checkpoint is whole.
    """
    low = -1 if is_symmetric(params) else 0
    _check_data("valid", valid, low)
    evaluate = evaluate or make_evaluate(apply)
    step = make_step(apply, optimizer, loss=loss, penalty=penalty)

    @jax.jit
    def take(state: TrainState, batch: Data) -> tuple[TrainState, jax.Array]:
        state, value = step(*distributed.constrain(mesh, state, batch=batch))
        return distributed.constrain(mesh, state), value

    stream: list[Iterator[Data]] = []

    def advance(state: TrainState) -> tuple[TrainState, jax.Array]:
        if not stream:
            stream.append(batches(int(state.step)))
        values: list[jax.Array] = []
        for _ in range(log_every):
            batch = next(stream[0])
            if not values:
                _check_data("batches", batch, low)
            batch = batch if mesh is None else distributed.rows_of_process(mesh, batch)
            state, value = take(state, batch)
            if values:  # one step ahead of the device, no more: batches would pile up
                values[-1].block_until_ready()
            values.append(value)
        return state, jnp.stack(values).mean()

    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    if mesh is not None:
        state, valid = distributed.banks(mesh, state), distributed.copies(mesh, valid)
    return drive(
        advance, state, steps=steps, every=log_every,
        evaluate=lambda state: evaluate(state.params, valid), log=log, tags=tags, progress=progress,
        until=until, patience=patience, checkpoint=checkpoint, checkpoint_every=checkpoint_every,
    )  # fmt: skip


def _check_data(name: str, data: Data, low: int) -> None:
    images, targets = data
    _checks.require(images.ndim == 4, f"{name}[0]", "images (N, H, W, C)", images.shape)
    _checks.require(len(images) > 0, f"{name}[0]", "at least one image", images.shape)
    count = len(images)
    _checks.require(len(targets) == count, f"{name}[1]", f"{count} targets", targets.shape)
    same = targets.ndim != 4 or targets.shape[1:3] == images.shape[1:3]
    _checks.require(same, f"{name}[1]", f"target images of {images.shape[1:3]}", targets.shape)
    for i, part in enumerate(data):
        if jnp.issubdtype(part.dtype, jnp.floating):
            inside = bool(((part >= low) & (part <= 1)).all())  # false for NaN
            came = "values outside, or NaN"
            _checks.require(inside, f"{name}[{i}]", f"values in [{low}, 1] for these neurons", came)
        else:
            known = part.dtype == jnp.bool_
            expected = "bool or floats (images > 127 binarises)"
            _checks.require(known, f"{name}[{i}]", expected, part.dtype)
