"""Streams of batches, in a fixed order, from sets that are larger than memory.

A source is anything with `len(source)` and `source[i]`: `tfds_source`, `PairFiles`,
`DiskorectBlocks`, a list, an array of records on disk. Grain shuffles the numbers, reads ahead in
threads and hands out batches. Batch i is a function of (source, seed, i) alone: the position of a
stream is that number, so a run goes on from its step, and the batches are the same however many
processes share them. Each process reads its own rows only.

Needs the extra "stream".
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from morphax import _checks
from morphax.data._bits import Threshold, bits, gray_levels, rule_of, thresholds_of
from morphax.data._crops import crop as cut_window
from morphax.data._crops import require_crop
from morphax.data._diskorect import diskorect
from morphax.data._image_files import read, require_size
from morphax.data.pairs import files_of
from morphax.data.targets import target


class Source(Protocol):
    """Records by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def batches(
    source: Source,
    *,
    batch_size: int,
    seed: int = 0,
    transform: Callable[[Any], Any] | None = None,
    crop: tuple[int, int] | None = None,
    frame: tuple[int, int] = (0, 0),
    block: int = 1,
    start: int = 0,
    process: int | None = None,
    processes: int | None = None,
    threads: int = 2,
    ahead: int = 4,
) -> Iterator[Any]:
    """Yield the batches of a source, endlessly, from number `start` on.

    Args:
        source: records by number; they are shuffled anew for each pass.
        batch_size: rows of a batch, over all processes.
        seed: of the order and of the crops.
        transform: record -> arrays, such as `lambda r: (r["image"] > 127, r["label"])`; it runs in
            the threads that read.
        crop: rows and columns of a random window that is cut from what `transform` gives: input,
            target and perhaps mask `(H, W, C)`, of any H and W. Each pass draws new windows.
        frame: reach of the operator in rows and columns. Targets depend on pixels that far away,
            so pixels so near to a cut do not count: batches get masks that leave them out.
        block: rows a record has; with 1, records are single examples without that axis.
        start: number of the first batch; a run that goes on gives the steps it has taken.
        process: number of this process, whose rows are wanted; JAX's own by default.
        processes: how many share a batch.
        threads: number of threads that read.
        ahead: number of batches that are read ahead, at most; memory holds a few times as many.

    Yields:
        What `transform` gives, stacked: numpy arrays `(batch_size / processes, ...)`.

    Raises:
        ImportError: without grain (extra "stream").
        ValueError: an empty source, rows that processes and blocks do not divide, records of
            several shapes, or one that is smaller than a crop.

    Example:
        >>> stream = batches(range(6), batch_size=3)
        >>> first, second = next(stream), next(stream)
        >>> sorted([*first.tolist(), *second.tolist()])
        [0, 1, 2, 3, 4, 5]
        >>> next(batches(range(6), batch_size=3, start=1)).tolist() == second.tolist()
        True
    """
    grain = _grain()
    process = jax.process_index() if process is None else process
    processes = jax.process_count() if processes is None else processes
    _checks.require(len(source) > 0, "source", "at least one record", "none")
    fits = batch_size > 0 and batch_size % (processes * block) == 0
    _checks.require(
        fits, "batch_size", f"a multiple of {processes} processes x {block} rows", batch_size
    )
    _checks.require(0 <= process < processes, "process", f"0 to {processes - 1}", process)
    _checks.require(crop is None or block == 1, "block", "1 with crops", block)
    data = grain.MapDataset.source(source if crop is None else _Numbered(source))
    data = data.shuffle(seed=seed)
    data = data.repeat((1 << 60) // len(source))  # without end, but Grain can count it
    if crop is not None:
        # Grain's generator depends on the seed and the place in the stream, not on the process.
        cut = partial(_random_crop, transform=transform, size=crop, frame=frame)
        data = data.random_map(cut, seed=seed)
    elif transform is not None:
        data = data.map(transform)
    # Batch i of all is the pieces i P, ..., i P + P - 1: process p takes every P-th.
    data = data.batch(batch_size // (processes * block), batch_fn=_stacked)[process::processes]
    if block > 1:
        data = data.map(lambda tree: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    iterator = iter(data.to_iter_dataset(options))
    iterator.set_state({"next_index": start})
    return iterator


class PairFiles:
    """Read the pairs of a folder, as `load_pairs` does, but each one when it is asked for.

    Files are read by the rules of `load_pairs`. A record is (input, target), or (input, target,
    mask) where masks are asked for, each `(H, W, 1)`.

    Args:
        folder: holds `input/`, `target/` and perhaps `mask/`; the files of a pair bear one name. Or
            a list file, as for `load_pairs`.
        threshold, input_threshold, target_threshold, mask_threshold: as for `load_pairs`.
        ragged: pairs may have several sizes; give `batches` a `crop`, or a `transform` that makes
            them equal.
        masks: read the masks, too: True needs them, None takes them where there are any.
        gray: return the levels of the inputs, uint8 or uint16, instead of bits; give `batches` a
            `transform` that makes bits or floats of them.

    Attributes:
        names: names of the pairs, without extension, in the order of their numbers.

    Raises:
        ImportError: Pillow (extra "data") is missing.
        ValueError: as `load_pairs` does; what concerns one file alone, when that file is read.

    Example:
        >>> import tempfile
        >>> from morphax.data import save_pairs
        >>> images = np.eye(5, dtype=bool)[None, :, :, None]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_pairs(folder, images, ~images)
        ...     x, y = PairFiles(folder)[0]
        >>> x.shape, bool((x ^ y).all())
        ((5, 5, 1), True)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        threshold: Threshold = None,
        input_threshold: Threshold = None,
        target_threshold: Threshold = None,
        mask_threshold: Threshold = None,
        ragged: bool = False,
        masks: bool | None = False,
        gray: bool = False,
    ) -> None:
        limits = thresholds_of(threshold, input_threshold, target_threshold, mask_threshold)
        sides, files = files_of(folder)
        _checks.require(not masks or "mask" in sides, "masks", f"mask/ in {folder}", "none there")
        sides = sides if masks or masks is None else sides[:2]
        self.names = tuple(files)
        self._files = [paths[: len(sides)] for paths in files.values()]
        self._rules = [
            None
            if gray and side == "input"
            else rule_of(side, map(read, paths), limits[side], patience=64)
            for side, paths in zip(sides, zip(*self._files, strict=True), strict=True)
        ]
        self._like = None if ragged else read(self._files[0][0])
        self[0]  # what is wrong with all files is said at once

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, ...]:
        pictures = [read(path) for path in self._files[index]]
        require_size(pictures[0], self._like or pictures[0])
        for picture in pictures[1:]:
            require_size(picture, pictures[0])
        return tuple(
            (gray_levels(picture) if rule is None else bits(picture, rule))[..., None]
            for picture, rule in zip(pictures, self._rules, strict=True)
        )


class DiskorectBlocks:
    """Generate Diskorect by number: record i is a block of images and targets, always the same.

    Args:
        blocks: how many.
        rows: images a block; give `batches` the same number as `block`.
        operation: of `morphax.data.target`.
        selem: its structuring element.
        seed: of the images.
        **options: of `morphax.data.diskorect`.

    Example:
        >>> source = DiskorectBlocks(1000, rows=4, operation="erosion", selem=np.ones((3, 3), bool))
        >>> x, y = source[999]
        >>> x.shape, bool((y <= x).all()), bool((source[999][0] == x).all())
        ((4, 50, 50, 1), True, True)
    """

    def __init__(
        self, blocks: int, *, rows: int, operation: str, selem: Any, seed: int = 0, **options: Any
    ) -> None:
        _checks.require(blocks >= 1, "blocks", "1 or more", blocks)
        self._blocks, self._seed = blocks, seed

        @jax.jit
        def draw(index: Any) -> tuple[jax.Array, jax.Array]:
            x = diskorect(jax.random.fold_in(jax.random.key(seed), index), rows, **options)
            return x, target(x, operation, selem)

        self._draw = draw

    def __len__(self) -> int:
        return self._blocks

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray]:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):  # not where the model trains
            x, y = self._draw(np.uint32(index))
            return np.asarray(x), np.asarray(y)


class _Numbered:
    """Give each record of a source its number, for messages."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int, /) -> tuple[int, Any]:
        return index, self._source[index]


def _random_crop(
    numbered: tuple[int, Any],
    rng: np.random.Generator,
    *,
    transform: Callable[[Any], Any] | None,
    size: tuple[int, int],
    frame: tuple[int, int],
) -> tuple[np.ndarray, ...]:
    """Return a random window of a record."""
    number, record = numbered
    sides = [np.asarray(side) for side in (record if transform is None else transform(record))]
    shape = (int(sides[0].shape[0]), int(sides[0].shape[1]))
    require_crop(size, frame, shape, f"the size of record {number}")
    row, column = (int(rng.integers(w - s + 1)) for w, s in zip(shape, size, strict=True))
    return cut_window(sides, (row, column), size, frame)


def _stacked(records: Sequence[Any]) -> Any:
    """Return one record whose arrays have an axis more, along which those of the records lie."""
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(record)] for record in records]
    other = next((each for each in shapes if each != shapes[0]), shapes[0])
    same = other == shapes[0]
    _checks.require(
        same, "source", f"records of the shapes {shapes[0]} (crop=(H, W) cuts them)", other
    )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *records)


def _grain() -> Any:
    try:
        import grain
    except ImportError as error:
        raise _checks.extra("grain", "stream", error) from error
    return grain
