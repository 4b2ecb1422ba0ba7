"""Training of a model on data in device memory (`fit`) or on a stream of batches (`fit_stream`).

A model is any `apply(params, x)`; images are `(N, H, W, C)`, bool or float; targets have the shape
of the output. A run is a function of its key: the same key, data and options give the same params
bit for bit, with the same versions of this library and of jax on the same kind of device with the
same number of cores. Anything else (XLA shares a sum among its cores) may round differently.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.training import distributed
from morphax.training.loop import Record, Run, TrainState, drive
from morphax.training.options import RunOptions
from morphax.training.steps import (
    Apply,
    Chunk,
    Data,
    Evaluate,
    Loss,
    is_symmetric,
    make_chunk,
    make_evaluate,
    make_step,
)


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
    until: Callable[[Record], bool] | None = None,
    patience: int | None = None,
    mesh: Mesh | None = None,
    run: RunOptions = RunOptions(),
) -> Run:
    """Train a model on images in device memory.

    Args:
        key: PRNG key of the order of the batches; what else decides on the bits of the result:
            `morphax.training.fitting`.
        apply: `(params, x) -> prediction`.
        params: Initial params tree.
        train: (images, targets), bool or float; batches are drawn with replacement. Or (images,
            targets, masks), bool masks of the pixels that count.
        valid: (images, targets), bool, or with masks; evaluated every `log_every` steps.
        optimizer: Any Optax transformation.
        steps: Number of steps, rounded up to a multiple of `log_every`.
        loss: Loss of `make_step`.
        batch_size: Images in a step.
        penalty: `(params, step) -> scalar`, added to the loss.
        evaluate: `(params, valid) -> dict of scalars`; `make_evaluate(apply)` by default.
        chunk: The program of `log_every` steps, from `make_chunk`, to share it between runs. It has
            its own loss, batch_size and penalty, and needs the same `mesh`.
        log_every: Steps of one scan, between two records.
        until: Stop as soon as it returns true for a record.
        patience: Stop after that many records without a smaller training loss.
        mesh: Mesh of `make_chunk`; with several processes each gives the same arguments.
        run: Log, progress, checkpoints and time limit.

    Returns:
        `Run(state, history, stopped)`; records hold "step", "loss" (mean since the last record),
        "seconds" and what `evaluate` returns.

    Raises:
        ValueError: Data of wrong shapes, images outside [0, 1], an unknown loss, a checkpoint of
            another key or model.
        OSError: The log or a checkpoint cannot be written; the last checkpoint is whole.
        ImportError: A checkpoint without orbax (extra "checkpoint").

    Example:
        >>> x = jnp.zeros((4, 8, 8, 1), bool)
        >>> done = fit(jax.random.key(0), lambda p, x: x * p, jnp.ones(()), (x, x), valid=(x, x),
        ...            optimizer=optax.sgd(0.1), steps=4, log_every=2,
        ...            evaluate=lambda params, pairs: {"params": params})
        >>> [record["step"] for record in done.history]
        [2, 4]
    """
    params, train, valid = jax.tree.map(bit_arrays.native, (params, train, valid))
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
        lambda state: chunk(key, state, train),
        state,
        steps=steps,
        every=log_every,
        evaluate=lambda state: evaluate(state.params, valid),
        key=key,
        until=until,
        patience=patience,
        run=run,
    )


def fit_stream(
    apply: Apply,
    params: Any,
    batches: Callable[[int], Iterator[Data]],
    *,
    optimizer: optax.GradientTransformation,
    loss: str | Loss = "mse",
    penalty: Callable[[Any, jax.Array], jax.Array] | None = None,
    steps: int,
    log_every: int = 250,
    valid: Data,
    evaluate: Evaluate | None = None,
    until: Callable[[Record], bool] | None = None,
    patience: int | None = None,
    mesh: Mesh | None = None,
    run: RunOptions = RunOptions(),
) -> Run:
    """Train a model on a stream of batches, for data sets larger than memory.

    Arguments are those of `fit`, but for the data: `batches(start)` returns an iterator over the
    batches (images, targets), or (images, targets, masks), from number `start` on, as does
    `lambda start: morphax.data.stream.batches(source, batch_size=64, start=start)`. Images of
    several sizes are cut by its option `crop`. Each of several processes gives its own rows. A
    resumed run asks for the batch that it had reached. The pairs of `valid` stay in device memory.

    Returns:
        `Run(state, history, stopped)`, as `fit` does.

    Raises:
        ValueError: As `fit` does, for the first batch and for `valid`.
        OSError: As `fit` does.

    Example:
        >>> x = jnp.zeros((4, 8, 8, 1), bool)
        >>> done = fit_stream(lambda p, x: x * p, jnp.ones(()), lambda start: iter([(x, x)] * 4),
        ...                   valid=(x, x), optimizer=optax.sgd(0.1), steps=4, log_every=2,
        ...                   evaluate=lambda params, pairs: {"params": params})
        >>> int(done.state.step)
        4
    """
    params, valid = jax.tree.map(bit_arrays.native, (params, valid))
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
        if not stream:  # opened late: a resumed run begins at another batch
            stream.append(batches(int(state.step)))
        values: list[jax.Array] = []
        for _ in range(log_every):
            batch = jax.tree.map(bit_arrays.native, next(stream[0]))
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
        advance,
        state,
        steps=steps,
        until=until,
        patience=patience,
        every=log_every,
        evaluate=lambda state: evaluate(state.params, valid),
        run=run,
    )


def _check_data(name: str, data: Data, low: int) -> None:
    """Refuse pairs of wrong shapes, of other types than bool and float, or outside [low, 1]."""
    images, targets, *masks = data
    expected = "images (N, H, W, C) or volumes (N, D, H, W, C)"
    _checks.require(images.ndim in (4, 5), f"{name}[0]", expected, images.shape)
    _checks.require(len(images) > 0, f"{name}[0]", "at least one image", images.shape)
    count = len(images)
    _checks.require(len(targets) == count, f"{name}[1]", f"{count} targets", targets.shape)
    size = images.shape[1:-1]
    same = targets.ndim != images.ndim or targets.shape[1:-1] == size
    _checks.require(same, f"{name}[1]", f"target images of {size}", targets.shape)
    if masks:
        fits = masks[0].dtype == jnp.bool_ and masks[0].ndim == targets.ndim
        fits = fits and masks[0].shape[:-1] == targets.shape[:-1]
        got = f"{masks[0].dtype} {masks[0].shape}"
        _checks.require(fits, f"{name}[2]", f"bool {(*targets.shape[:-1], 1)}", got)
    for i, part in enumerate(data[:2]):
        if jnp.issubdtype(part.dtype, jnp.floating):
            is_inside = bool(((part >= low) & (part <= 1)).all())  # false for NaN
            expected = f"values in [{low}, 1] for these neurons"
            _checks.require(is_inside, f"{name}[{i}]", expected, "values outside, or NaN")
        else:
            expected = "bool or floats (images > 127 binarises)"
            _checks.require(part.dtype == jnp.bool_, f"{name}[{i}]", expected, part.dtype)
