"""Choose options on held-out pairs, one option after the other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def choose(
    error: Callable[[dict[str, Any]], float],
    start: Mapping[str, Any],
    options: Mapping[str, Sequence[Any]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Try the values of one option after the other, each time keeping the best one.

    Args:
        error: of a set of options, the smaller the better; called once for each set.
        start: a value of every option.
        options: the values to try, in the order in which options are chosen.

    Returns:
        The best set, and a record of each set that was tried, with its "error".

    Example:
        >>> best, tried = choose(lambda o: abs(o["a"] - 2) + o["b"], {"a": 0, "b": 1},
        ...                      {"a": (1, 2, 3), "b": (0, 1)})
        >>> best, len(tried)
        ({'a': 2, 'b': 0}, 5)
    """
    best, tried = dict(start), []

    def try_one(values: dict[str, Any]) -> float:
        # A set that was tried before is not learned again.
        for record in tried:
            if all(record[name] == value for name, value in values.items()):
                return record["error"]
        tried.append({**values, "error": error(values)})
        return tried[-1]["error"]

    least = try_one(best)
    for name, values in options.items():
        for value in values:
            new = {**best, name: value}
            # Nothing can be better than no error.
            if least > 0 and (found := try_one(new)) < least:
                best, least = new, found
    return best, tried
