"""Choose options on held-out pairs, one option after the other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from morphax.data.windows import Window, window_sides


def sides_to_try(sides: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Return the sides of windows that fit into the smallest image; 1 if there are none.

    Args:
        sides: odd sides.
        sizes: least size of the images along each axis.

    Example:
        >>> sides_to_try((3, 5, 7), (40, 6))
        [3, 5]
    """
    return [side for side in sides if side <= min(sizes)] or [1]


def in_words(window: Window, axes: int) -> str:
    """Return the sides of a window as text.

    Example:
        >>> in_words(5, 3)
        '5 x 5 x 5'
    """
    return " x ".join(map(str, window_sides(window, axes)))


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
            # A window may be an array, which is compared by identity: it is the same in all sets.
            if all(
                record[name] is value or record[name] == value for name, value in values.items()
            ):
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
