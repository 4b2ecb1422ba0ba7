"""Argument checks for all of morphax, with one form of error, raised while tracing.

Each message names the argument, what was expected, and what was given.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer


def require(condition: bool, argument: str, expected: str, came: Any) -> None:
    """Raise `ValueError` unless a condition holds.

    Args:
        condition: condition that must hold.
        argument: name of the argument, for the message.
        expected: description of what the argument must be.
        came: value that was given.

    Raises:
        ValueError: if the condition is false.
    """
    if not condition:
        raise ValueError(f"{argument}: expected {expected}, got {came!r}")


def one_of(argument: str, value: Any, options: Collection[Any]) -> None:
    """Raise `ValueError` unless `value` is one of `options`."""
    require(value in options, argument, "one of " + ", ".join(map(repr, options)), value)


def extra(module: str, name: str, cause: ImportError | None = None) -> ImportError:
    """Return the error for an optional dependency that does not import.

    Args:
        module: what was to be imported.
        name: the extra that brings it.
        cause: the error of the import; without one, the module was looked for and not found.

    Returns:
        An error that names the extra, or the cause where the module is installed but fails inside.
    """
    imported = {"pillow": "PIL", "orbax-checkpoint": "orbax.checkpoint"}.get(module, module)
    # Python names the module that it did not find. If that is another package, the module is
    # installed and fails inside.
    missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
    same = missing is not None and missing.partition(".")[0] == imported.partition(".")[0]
    if cause is None or same:
        # morphax is on no package index, so what works is an installation from a clone.
        advice = f'it comes with: pip install ".[{name}]" in a clone of morphax'
        return ImportError(f"{module} is not installed; {advice}")
    return ImportError(f"{module} is installed, but its import fails: {cause}")


def number(argument: str, value: Any, expected: str, fits: Callable[[Any], Any]) -> None:
    """Raise `ValueError` unless a number fits; a traced one (in `jit`) passes, being unknown."""
    if not isinstance(value, Tracer):
        # As a numpy number: comparing a jax array inside `jit` would give a tracer.
        known = np.asarray(value) if isinstance(value, jax.Array) else value
        require(bool(fits(known)), argument, expected, value)


def at_least(argument: str, value: int, low: int) -> None:
    """Raise `ValueError` unless `value` is an integer of at least `low`."""
    in_range = isinstance(value, (int, np.integer)) and value >= low
    require(in_range, argument, f"an integer of at least {low}", value)


def pair(argument: str, value: tuple[int, int], low: int) -> None:
    """Raise `ValueError` unless `value` is a pair of integers of at least `low`."""
    integers(argument, value, low, count=2)


def integers(argument: str, value: Sequence[int], low: int, *, count: int) -> None:
    """Raise `ValueError` unless `value` holds so many integers of at least `low`."""
    fits = len(value) == count and all(isinstance(v, (int, np.integer)) and v >= low for v in value)
    words = {1: "one integer", 2: "two integers", 3: "three integers"}
    require(fits, argument, f"{words[count]} of at least {low}", value)


def probability(argument: str, value: float) -> None:
    """Raise `ValueError` unless `value` lies in [0, 1]."""
    require(0 <= value <= 1, argument, "a probability in [0, 1]", value)
