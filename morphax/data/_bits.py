"""Decide which pixels of gray files are set: one rule for all files of a side of a folder of pairs.

Without a threshold a side must be binary. "otsu" chooses one for all gray files of a side together.
Files with the levels 0 and 1, or 0 and full scale, are
taken as they are, with a threshold too. Else all files share two levels, and the upper one is set;
the first file that is not constant says which they are.
"""

import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from morphax import _checks
from morphax.data._image_files import Picture

Threshold = float | Literal["otsu"] | None
"""Least level that is set, or "otsu" to choose one for a side that is gray; None refuses these."""

_LABELS = 8  # files with so few levels may be labels of classes: no threshold is chosen for them


class Rule(NamedTuple):
    """Say how the files of a side become bits.

    Attributes: side: "input", "target" or "mask". threshold: a pixel of a gray file is set when it
        is at least this; None: files are binary. levels: the two levels of the first file that is
        neither constant nor of 1 bit; None without it. source: where the values of that file come
        from, see `Picture`. path: of that file.
    """

    side: str
    threshold: float | None
    levels: tuple[float, float] | None = None
    source: str = ""
    path: Path | None = None


def thresholds_of(
    both: Threshold, inputs: Threshold, targets: Threshold, masks: Threshold = None
) -> dict[str, Threshold]:
    """Return the threshold of each side, checked."""
    each: dict[str, Threshold] = {"": both, "input_": inputs, "target_": targets, "mask_": masks}
    for side, value in each.items():
        fits = value is None or (value == "otsu" if isinstance(value, str) else 0 < value < np.inf)
        _checks.require(fits, f"{side}threshold", 'a positive level, "otsu" or None', value)
    sides = ("input", "target", "mask")
    return {side: both if each[f"{side}_"] is None else each[f"{side}_"] for side in sides}


def rule_of(
    side: str,
    pictures: Iterable[Picture],
    threshold: Threshold,
    *,
    patience: int | None = None,
) -> Rule:
    """Return the rule of a side; no more pictures are read than it takes.

    Args:
        side: "input", "target" or "mask".
        pictures: of the side.
        threshold: see `Rule`; "otsu" chooses it, where there are gray files.
        patience: how many pictures without gray levels are looked at, at most; None: all.

    Raises:
        ValueError: no pixel of the gray files reaches the threshold, or all of them do.
    """
    if threshold == "otsu":
        pictures = list(islice(pictures, patience))
        threshold = _chosen(pictures)
    rule, above, below, extremes = Rule(side, threshold), False, False, []
    for count, picture in enumerate(pictures, 1):
        levels = _levels(picture.values)
        if rule.path is None and len(levels) > 1 and picture.values.dtype != bool:
            two = (levels[0], levels[1]) if len(levels) == 2 else None
            rule = rule._replace(levels=two, source=picture.source, path=picture.path)
        if threshold is not None and not _as_it_is(picture, levels):
            above, below = above or levels[-1] >= threshold, below or levels[0] < threshold
            extremes += [levels[0], levels[-1]]
        known = rule.path is not None if threshold is None else above and below
        if known or (count == patience and not extremes):
            return rule
    if extremes and above != below:
        reached = "every pixel reaches" if above else "no pixel reaches"
        raise ValueError(
            f"folder: {reached} {side}_threshold={threshold:g} in the gray files of {side}/, "
            "whose levels "
            f"go from {min(extremes):g} to {max(extremes):g}; give a threshold between these"
        )
    return rule


def bits(picture: Picture, rule: Rule) -> np.ndarray:
    """Return the set pixels of a picture, bool `(H, W)`.

    Raises: ValueError: the picture is not binary and there is no threshold, or it is binary in
        another way
            than the other files of its side, or the threshold would erase it.
    """
    values, levels = picture.values, _levels(picture.values)
    if {picture.source, rule.source} == {"alpha", "opaque"}:
        raise ValueError(
            f"folder: the pixels of {picture.path} are in its {_channel(picture.source)}, those of "
            f"{rule.path} in its {_channel(rule.source)}; keep one kind in a folder"
        )
    if values.dtype == bool:
        return values
    if picture.source == "colour":
        _require_one_colour(picture, levels, rule)
        return values > 0
    same = rule.levels is not None and {*levels} <= {*rule.levels}
    plain = rule.levels is None or _plain(rule.levels, values.dtype)
    if rule.threshold is None:
        if _as_it_is(picture, levels) and plain:
            return values > 0
        if same and rule.levels is not None and not picture.lossy:
            return values == rule.levels[1]
        raise _not_binary(picture, levels, rule)
    if _as_it_is(picture, levels):
        return values > 0
    if len(levels) == 2 and not levels[0] < rule.threshold <= levels[1] and not picture.lossy:
        raise ValueError(
            f"folder: {picture.path} has two levels, {levels[0]:g} and {levels[1]:g}, which "
            f"{rule.side}_threshold={rule.threshold:g} does not tell apart; give a threshold "
            "between "
            "them, or write a copy of 1 bit into another folder of pairs"
        )
    return values >= rule.threshold


def is_gray(pictures: Iterable[Picture]) -> bool:
    """Tell whether files hold gray levels: more than two of them, or nearly two in a lossy file."""
    for picture in pictures:
        if picture.source in ("gray", "opaque") and picture.values.dtype != bool:
            levels = _levels(picture.values)
            if len(levels) > 2 or (picture.lossy and not _as_it_is(picture, levels)):
                return True
    return False


def is_changed_by(picture: Picture, rule: Rule) -> bool:
    """Tell whether the threshold of a rule decides on pixels of a picture."""
    return rule.threshold is not None and not _as_it_is(picture, _levels(picture.values))


def gray_levels(picture: Picture) -> np.ndarray:
    """Return the gray levels of a picture, uint8 or uint16 `(H, W)`; 1 bit as 0 and 255.

    Raises:
        ValueError: the picture is in colour, or its levels need more than 16 bits.
    """
    values = picture.values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if picture.source not in ("gray", "opaque") or values.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"folder: {picture.path} is {picture.kind}, expected gray of 8 or 16 bits; "
            "write gray copies into another folder"
        )
    return values


def _levels(values: np.ndarray) -> np.ndarray:
    """Return the levels of an image, in increasing order."""
    if values.dtype == np.uint8 and values.size:
        low, high = values.min(), values.max()
        if ((values == low) | (values == high)).all():  # binary: much faster than counting
            return np.unique(np.array([low, high]))
    if values.dtype in (bool, np.uint8):  # many times as fast as sorting
        return np.flatnonzero(np.bincount(values.ravel(), minlength=2))
    return np.unique(values)


def _plain(levels: Iterable[float], dtype: np.dtype) -> bool:
    """Tell whether levels are 0 and 1, or 0 and full scale."""
    full = 2 ** (8 * dtype.itemsize) - 1 if dtype in (np.uint8, np.uint16) else 255
    return {*levels} <= {0, 1} or {*levels} <= {0, full}


def _as_it_is(picture: Picture, levels: np.ndarray) -> bool:
    """Tell whether a picture is binary beyond doubt."""
    if picture.values.dtype == bool or picture.source == "colour":
        return True
    return not picture.lossy and _plain(levels, picture.values.dtype)


def _channel(source: str) -> str:
    return "alpha channel" if source == "alpha" else "gray levels (its alpha is 255 everywhere)"


def _require_one_colour(picture: Picture, levels: np.ndarray, rule: Rule) -> None:
    """Refuse all colour images but those of one colour, the same one, on black."""
    # The first file of the side says which colour it is.
    on_black = rule.levels is not None and rule.levels[0] == 0 and {*levels} <= {*rule.levels}
    if picture.lossy or not on_black:
        shown = ", ".join(f"#{int(level):06x}" for level in levels[:4])
        raise ValueError(
            f"folder: {picture.path} is {picture.kind}, {len(levels)} colours ({shown}"
            f"{', ...' if len(levels) > 4 else ''}), expected gray, or black and one colour, the "
            "same "
            "in all files; write gray copies into another folder of pairs"
        )


def _not_binary(picture: Picture, levels: np.ndarray, rule: Rule) -> ValueError:
    advice = _advised(picture.values)
    if len(levels) <= 2 and not picture.lossy and rule.levels is not None:
        low, high = rule.levels
        return ValueError(
            f"folder: {picture.path} has the level(s) "
            f"{', '.join(f'{each:g}' for each in levels)}, but "
            f"{rule.path} {low:g} and {high:g}: these may be labels of several classes, or masks "
            "of "
            f"several kinds; give the least level that is set as "
            f"{_option(rule.side, max(low + 1, 1))}"
        )
    return ValueError(
        f"folder: {picture.path} is not binary: {picture.kind}, {len(levels)} level(s) from "
        f"{levels[0]:g} to {levels[-1]:g}; give the least level that is set, such as "
        f"{_option(rule.side, advice)}"
    )


def _option(side: str, threshold: float) -> str:
    return f"{side}_threshold={threshold:g} (in a terminal: --{side}-threshold {threshold:g})"


def _chosen(pictures: Iterable[Picture]) -> float | None:
    """Return Otsu's threshold of the gray files together; None if all may be binary, or labels."""
    gray: dict[float, int] = {}
    for picture in pictures:
        if picture.source in ("gray", "opaque", "alpha") and not _as_it_is(
            picture, _levels(picture.values)
        ):
            levels, counts = np.unique(picture.values, return_counts=True)
            for level, count in zip(levels.tolist(), counts.tolist(), strict=True):
                gray[level] = gray.get(level, 0) + count
    if len(gray) <= _LABELS:
        return None
    levels = np.array(sorted(gray))
    return _otsu(levels, np.array([gray[level] for level in levels.tolist()]))


def _advised(values: np.ndarray) -> float:
    """Return a threshold for one image."""
    levels, counts = np.unique(values, return_counts=True)
    return float(levels[0]) if len(levels) == 1 else _otsu(levels, counts)


def _otsu(levels: np.ndarray, counts: np.ndarray) -> float:
    """Return a threshold halfway between the two classes of Otsu, for levels of any dtype."""
    below, total = np.cumsum(counts.astype(float)), np.cumsum(levels * counts.astype(float))
    between = (total[-1] * below - below[-1] * total)[:-1] ** 2
    best = int(np.argmax(between / (below * (below[-1] - below))[:-1]))
    middle = (float(levels[best]) + float(levels[best + 1])) / 2
    return middle if levels.dtype.kind == "f" else math.ceil(middle)
