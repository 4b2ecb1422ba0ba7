"""Checkpoints: the state of a run or of a sweep on disk, from which it can be resumed.

A state is any pytree of arrays (params, optimizer, PRNG keys, the stacked members of a sweep,
arrays laid out over several devices). Notes beside it are JSON: the records so far, the position in
the data. Orbax writes both in the background and renames a finished folder, so that every visible
checkpoint is whole, whenever the process dies. A checkpoint that is no longer kept is renamed too,
before it is deleted.

    FOLDER/STEP/...   one whole checkpoint
    FOLDER/aside/...  being deleted

This needs the extra "checkpoint". Several processes open the same folder, on a file system that
they share, and call the same methods.
"""

import math
import shutil
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks

ASIDE = "aside"
"""Subfolder of what is being deleted."""


class Saved(NamedTuple):
    """Hold a checkpoint that was read.

    Attributes:
        step: Its number.
        state: The pytree that was saved.
        notes: The JSON that was saved with it.
    """

    step: int
    state: Any
    notes: dict[str, Any]


class Checkpoints:
    """Open a folder of checkpoints for writing; close it, or use it in a `with` block.

    Args:
        folder: Folder of the checkpoints; it is made if needed.
        keep: Number of the newest checkpoints that are kept, at least 1.
        best: Name of a metric; the checkpoint where it is best is kept as well, the newest of
            equals.
        mode: "max" or "min": which value of the metric is the best.

    Raises:
        ImportError: Orbax is missing (extra "checkpoint").
        ValueError: `keep` below 1, an unknown mode.
        OSError: The folder cannot be made or written in.

    Example:
        >>> import tempfile
        >>> from jax import numpy as jnp
        >>> with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
        ...     checkpoints.save(5, {"x": jnp.arange(3)}, notes={"seen": 7})
        ...     checkpoints.wait()
        ...     saved = checkpoints.restore({"x": jnp.zeros(3, int)})
        >>> saved.step, saved.state["x"].tolist(), saved.notes
        (5, [0, 1, 2], {'seen': 7})
    """

    def __init__(
        self, folder: str | Path, *, keep: int = 2, best: str | None = None, mode: str = "max"
    ) -> None:
        """Make the folder and open it."""
        _checks.require(keep >= 1, "keep", "at least 1", keep)
        _checks.one_of("mode", mode, ("max", "min"))
        self.folder = Path(folder).expanduser().absolute()
        self.best = best
        ocp = _orbax()
        _probe(self.folder)
        policy = ocp.checkpoint_managers
        kept: list[Any] = [policy.LatestN(keep)]
        rank = None if best is None else partial(_rank, best, -1 if mode == "min" else 1)
        if rank is not None:
            kept.append(policy.BestN(get_metric_fn=rank, n=1))
        self._sweep_aside()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy.AnyPreservationPolicy(kept),
                best_fn=rank,
                cleanup_tmp_directories=True,
                todelete_subdir=ASIDE,
            ),
        )

    def steps(self) -> list[int]:
        """Return the numbers of the checkpoints in the folder, in order."""
        return sorted(self._manager.all_steps())

    def save(
        self,
        step: int,
        state: Any,
        *,
        notes: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint in the background; return once the state is copied.

        Args:
            step: Its number, larger than those before; a step that exists is left alone.
            state: Pytree of arrays.
            notes: JSON.
            metrics: Numbers by name, among them `best` where one was named. A list, for the members
                of a sweep, counts by its mean.

        Raises:
            OSError: This checkpoint, or the one before, could not be written.
            ValueError: `metrics` without `best`.
        """
        args = _orbax().args
        if self.best is not None:
            named = metrics is not None and self.best in metrics
            _checks.require(named, "metrics", f"a value of {self.best!r}", sorted(metrics or ()))
            metrics = {self.best: float(np.mean((metrics or {})[self.best]))}
        if step in self._manager.all_steps():
            return
        items = args.Composite(
            state=args.StandardSave(arrays := _plain(state)),
            notes=args.JsonSave({"layout": _layout(arrays), "notes": dict(notes or {})}),
        )
        try:
            self._manager.save(step, args=items, metrics=metrics if self.best else None)
        except Exception as error:
            raise self._failed(f"checkpoint {step} (or the one before)", error) from error
        self._sweep_aside()

    def restore(self, like: Any, *, step: int | None = None) -> Saved | None:
        """Read a checkpoint.

        Args:
            like: Pytree of arrays of the same structure, shapes and dtypes. The result is laid out
                over devices as they are, so a run can be resumed on another number of devices.
            step: Number of the checkpoint; the newest by default.

        Returns:
            `Saved`, or None where there is no checkpoint yet.

        Raises:
            ValueError: No such step, or a state that is not like `like`.
            OSError: The checkpoint is damaged.
        """
        self.wait()
        steps = self.steps()
        if step is None and not steps:
            return None
        step = steps[-1] if step is None else step
        _checks.require(step in steps, "step", f"one of {steps}", step)
        args, arrays = _orbax().args, _plain(like)
        notes = self._read(step, notes=args.JsonRestore())
        # Compare names, shapes and dtypes before any array is read.
        there, here = notes["layout"], _layout(arrays)
        other = [
            f"{name}: {there.get(name, 'nothing')} there, {here.get(name, 'nothing')} here"
            for name in {**there, **here}
            if there.get(name) != here.get(name)
        ]
        expected = (
            f"a state as in {self.folder / str(step)}, of the same model, optimizer and sizes"
        )
        _checks.require(not other, "like", expected, other[:5])
        wanted = {name: _abstract(array) for name, array in arrays.items()}
        found = self._read(step, state=args.StandardRestore(wanted))
        leaves, structure = jax.tree.flatten(like)
        typed = [_typed(found[name], leaf) for name, leaf in zip(wanted, leaves, strict=True)]
        return Saved(step, jax.tree.unflatten(structure, typed), notes["notes"])

    def wait(self) -> None:
        """Wait until everything is on disk.

        Raises:
            OSError: A checkpoint could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._failed("a checkpoint", error) from error
        self._sweep_aside()

    def close(self) -> None:
        """Wait, then stop the threads that write."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def __enter__(self) -> Self:
        """Return the open folder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the folder."""
        if error is None:
            self.close()
        else:  # the first error is the one to see
            try:
                self._manager.close()
            except Exception as second:
                error.add_note(f"and closing {self.folder}: {_first(second)}")

    def _failed(self, what: str, error: Exception) -> OSError:
        steps = [int(p.name) for p in self.folder.glob("[0-9]*") if p.name.isdigit()]
        last = f"The last whole one is {max(steps)}" if steps else "There is no whole one yet"
        return OSError(
            f"checkpoint: {what} could not be written in {self.folder} ({_first(error)}). {last}; "
            "make room or choose a folder that can be written in, and run the same command again"
        )

    def _read(self, step: int, **item: Any) -> Any:
        try:
            found = self._manager.restore(step, args=_orbax().args.Composite(**item))
            return found[next(iter(item))]
        except Exception as error:
            others = [other for other in self.steps() if other != step]
            raise OSError(
                f"checkpoint: {self.folder / str(step)} is damaged ({_first(error)}); delete that "
                f"folder to go on from {others[-1] if others else 'the start'}"
            ) from error

    def _sweep_aside(self) -> None:
        if jax.process_index() == 0:
            shutil.rmtree(self.folder / ASIDE, ignore_errors=True)


def _rank(name: str, sign: int, metrics: Mapping[str, float]) -> float:
    value = sign * float(metrics[name])
    return -math.inf if math.isnan(value) else value


def _orbax() -> Any:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise _checks.extra("orbax-checkpoint", "checkpoint", error) from error
    return ocp


def _probe(folder: Path) -> None:
    """Make the folder and write in it, so that a run does not fail hours later."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 12))
            file.flush()
    except OSError as error:
        raise OSError(
            f"checkpoint: cannot write in {folder} ({_first(error)}); choose a folder that can be "
            "written in, on a disk with room"
        ) from error


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(tree: Any) -> dict[str, jax.Array]:
    """Return the leaves by name: Orbax knows no nodes, and names distinguish structures."""
    return {
        f"{i}{jax.tree_util.keystr(path)}": (
            jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)
        )
        for i, (path, leaf) in enumerate(jax.tree_util.tree_flatten_with_path(tree)[0])
    }


def _layout(arrays: dict[str, jax.Array]) -> dict[str, str]:
    return {name: f"{array.dtype}{list(array.shape)}" for name, array in arrays.items()}


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _typed(leaf: jax.Array, like: Any) -> Any:
    """Return what was read as a key or an array, bound to a device only where `like` is."""
    if not getattr(like, "committed", False):
        # Orbax binds arrays to a device: jitted functions would be compiled again for them.
        leaf = jnp.asarray(np.asarray(leaf))
    if _is_key(like):
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like))
    return leaf


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
