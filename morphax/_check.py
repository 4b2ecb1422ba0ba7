"""Argument checks shared by every room: one error text, raised while tracing.

Each message names the argument, what was expected and what came.
"""

from collections.abc import Collection
from typing import Any


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
