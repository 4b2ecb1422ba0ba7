"""Progress reports of a run on stderr: a bar in a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from morphax.training.options import Record

SECONDS = 10.0
"""Time between two plain lines."""
_HIDDEN = {"step", "seconds"}


@contextmanager
def reporter(
    steps: int, *, first: int = 0, show: bool, unit: str = "step"
) -> Iterator[Callable[[Record], None]]:
    """Open a report and yield the function that takes the records of a run.

    Args:
        steps: Number of steps of the whole run.
        first: Steps that were taken before, by a run that is resumed.
        show: Without it, nothing is written.
        unit: What a step is, such as "image".

    Example:
        >>> with reporter(4, show=False) as report:
        ...     report({"step": 2, "loss": 0.5})
    """
    terminal = sys.stderr.isatty()
    if not show:
        yield lambda record: None
    elif terminal and (tqdm := _tqdm()) is not None:
        with tqdm(total=steps, initial=first, unit=unit) as bar:

            def advance_bar(record: Record) -> None:
                bar.set_postfix_str(_numbers(record), refresh=False)
                bar.update(record["step"] - bar.n)

            yield advance_bar
    else:
        start = time.perf_counter()
        pause = 0.1 if terminal else SECONDS
        previous = -pause  # the first record is always reported

        def write_line(record: Record) -> None:
            nonlocal previous
            now = time.perf_counter() - start
            if now - previous >= pause or record["step"] >= steps:
                previous = now
                numbers = f"{_numbers(record)}, " if record.keys() - _HIDDEN else ""
                line = f"{unit} {record['step']} of {steps}: {numbers}{now:.0f} s"
                _renew(line) if terminal else write(line)

        yield write_line
        if terminal:
            _renew("")


@contextmanager
def status(text: str, *, left: Callable[[], float], show: bool) -> Iterator[None]:
    """Show what is being done while it is done: a line that renews itself, or one now and then.

    Args:
        text: what is being done.
        left: returns the seconds that are left of the whole search.
        show: Without it, nothing is written.

    Example:
        >>> with status("votes of 64", left=lambda: 60.0, show=False):
        ...     pass
    """
    if not show:
        yield
        return
    terminal, start, done = sys.stderr.isatty(), time.perf_counter(), threading.Event()

    def report() -> None:
        while not done.wait(0.5 if terminal else SECONDS):
            line = f"{text}: {time.perf_counter() - start:.0f} s, {max(left(), 0):.0f} s left"
            _renew(line) if terminal else write(line)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if terminal:
            _renew("")


def _renew(line: str) -> None:
    """Write over the present line of a terminal."""
    print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def write(line: str) -> None:
    """Write one line to stderr at once."""
    print(line, file=sys.stderr, flush=True)


def _numbers(record: Record) -> str:
    shown = {name: value for name, value in record.items() if name not in _HIDDEN}
    return ", ".join(f"{name} {_text(value)}" for name, value in shown.items())


def _text(value: Any) -> str:
    """Return a number in four digits; of the members of a sweep, the range."""
    if isinstance(value, list):
        return f"{_text(min(value))} to {_text(max(value))}" if value else "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
