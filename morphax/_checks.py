"""Argument checks shared by every room: one error text, raised while tracing.

Each message names the argument, what was expected and what came.
"""

from collections.abc import Collection
from typing import Any

import numpy as np


def require(condition: bool, argument: str, expected: str, came: Any) -> None:
    """Raise `ValueError` naming `argument`, what was `expected` and what `came`."""
    if not condition:
        raise ValueError(f"{argument}: expected {expected}, got {came!r}")


def one_of(argument: str, value: Any, options: Collection[Any]) -> None:
    """Raise `ValueError` unless `value` is one of `options`."""
    require(value in options, argument, "one of " + ", ".join(map(repr, options)), value)


def extra(module: str, name: str) -> ImportError:
    """The error for a missing optional dependency, naming the extra that brings it."""
    return ImportError(f"{module} is not installed; it comes with: pip install 'morphax[{name}]'")


def at_least(argument: str, value: int, low: int) -> None:
    """Raise `ValueError` unless `value` is an integer of at least `low`."""
    fits = isinstance(value, (int, np.integer)) and value >= low
    require(fits, argument, f"an integer of at least {low}", value)


def pair(argument: str, value: tuple[int, int], low: int) -> None:
    """Raise `ValueError` unless `value` is a pair of integers of at least `low`."""
    fits = len(value) == 2 and all(isinstance(v, (int, np.integer)) and v >= low for v in value)
    require(fits, argument, f"two integers of at least {low}", value)


def probability(argument: str, value: float) -> None:
    """Raise `ValueError` unless `value` lies in [0, 1]."""
    require(0 <= value <= 1, argument, "a probability in [0, 1]", value)
