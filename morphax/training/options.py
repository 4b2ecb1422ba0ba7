"""Options that every training function and every recipe shares: `RunOptions`.

They say what a run writes and when it is cut short, never what it computes: two runs that differ in
these options alone take the same steps.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from morphax import _checks
from morphax.training.checkpoint import Checkpoints

Record = dict[str, Any]
"""One line of a log: numbers by name."""


@dataclass(frozen=True)
class RunOptions:
    """Hold what a run writes, where it can be resumed, and how long it may take.

    Attributes:
        log: JSONL file; every record is appended and flushed at once, so a killed run keeps them.
        progress: Report on stderr: a bar in a terminal, otherwise one plain line about every 10
            seconds.
        checkpoint: Folder in which the run is saved, and from which the same call resumes it, bit
            for bit (extra "checkpoint"). `fit`, `fit_stream` and `drive` also take `Checkpoints`,
            to choose which ones are kept.
        checkpoint_every: Records between two checkpoints; the last one of a run is always saved.
        tags: Entries that are added to every record, such as the number of a seed.
        time_limit: Seconds after which the run ends at its next record. Recipes return the best
            network so far. The run can be resumed from its checkpoint.
        on_interrupt: "raise" passes `KeyboardInterrupt` (Ctrl-C) on; "return" ends the run with its
            last record, if there is one. Recipes always return the best network so far.

    Raises:
        ValueError: `checkpoint_every` below 1, a `time_limit` that is not positive, an unknown
            `on_interrupt`.

    Example:
        >>> RunOptions(log="run.jsonl", tags={"seed": 3}).tags
        {'seed': 3}
    """

    log: str | Path | None = None
    progress: bool = False
    checkpoint: str | Path | Checkpoints | None = None
    checkpoint_every: int = 1
    tags: Record | None = None
    time_limit: float | None = None
    on_interrupt: Literal["raise", "return"] = "raise"

    def __post_init__(self) -> None:
        """Check the options."""
        _checks.require(
            self.checkpoint_every >= 1, "checkpoint_every", "1 or more", self.checkpoint_every
        )
        is_positive = self.time_limit is None or self.time_limit > 0
        _checks.require(is_positive, "time_limit", "more than 0 seconds", self.time_limit)
        _checks.one_of("on_interrupt", self.on_interrupt, ("raise", "return"))

    def part(self, name: str, *, start: float, **tags: Any) -> "RunOptions":
        """Return the options of one run of a longer search.

        Args:
            name: Folder of the run, below that of the search.
            start: `time.perf_counter()` at the start of the search, for the time that is left.
            **tags: Entries that are added to the tags of the search.

        Returns:
            The options of that run; it returns its last record on Ctrl-C.

        Raises:
            ValueError: `Checkpoints` instead of a folder: every run has a folder of its own.

        Example:
            >>> options = RunOptions(checkpoint="out", tags={"seed": 1})
            >>> run = options.part("run_0", start=0.0, restart=0)
            >>> run.checkpoint.as_posix(), run.tags
            ('out/run_0', {'seed': 1, 'restart': 0})
        """
        folder, limit = self.checkpoint, self.time_limit
        is_folder = folder is None or isinstance(folder, (str, Path))
        _checks.require(is_folder, "run.checkpoint", "a folder", folder)
        return replace(
            self,
            checkpoint=Path(folder) / name if isinstance(folder, (str, Path)) else None,
            tags={**(self.tags or {}), **tags},
            time_limit=None if limit is None else max(limit + start - time.perf_counter(), 1e-3),
            on_interrupt="return",
        )

    def is_over(self, start: float) -> bool:
        """Return whether the time limit of a search has passed.

        Args:
            start: `time.perf_counter()` at the start of the search.

        Returns:
            False without a limit.

        Example:
            >>> RunOptions(time_limit=1e-9).is_over(0.0), RunOptions().is_over(0.0)
            (True, False)
        """
        return self.time_limit is not None and time.perf_counter() - start >= self.time_limit
