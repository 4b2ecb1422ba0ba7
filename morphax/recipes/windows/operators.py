"""Apply learned window operators: levels of hit-or-misses on planes of an image."""

from typing import Any, NamedTuple

import numpy as np

from morphax import _checks
from morphax.data.gray_planes import GrayPlanes, gray_planes
from morphax.data.image_lists import Example, Scores
from morphax.recipes._judging import warning_of
from morphax.recipes.possible import trivial_errors
from morphax.recipes.results import Verdict
from morphax.recipes.windows._levels import Level, run_levels
from morphax.training.loop import append_jsonl
from morphax.training.options import RunOptions


class WindowOperator(NamedTuple):
    """Hold a learned window operator; `operator(image)` applies it to one image.

    Attributes:
        levels: the levels, see `morphax.recipes.windows._levels.Level`.
        planes: how planes are made of gray images; binary images are taken as they are.
        border: what lies beyond the frame: "constant" (0) or "replicate" (the nearest pixel).
        options: what was given or chosen, by name.
        tried: a record of each choice on held-out pairs, with its "error".
        held_out: `Scores` on held-out pairs, of an operator with these options that has not seen
            them; None where nothing was held out.
        verdict: these scores beside the errors of trivial answers; None likewise.
        warning: one sentence where the operator should not be used without a look, else None.
    """

    levels: tuple[Level, ...]
    planes: GrayPlanes
    border: str
    options: dict[str, Any]
    tried: list[dict[str, Any]]
    held_out: Scores | None
    verdict: Verdict | None = None
    warning: str | None = None

    @property
    def axes(self) -> int:
        """Return the number of axes of its images: 2, or 3 for volumes."""
        return self.levels[0].window.shape[1] - 1

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Apply the operator to one image.

        Args:
            image: bool or whole numbers `(H, W)` or `(H, W, C)`, as in training; volumes have an
                axis of slices in front.

        Returns:
            The answer, bool `(H, W)`, or `(D, H, W)`.

        Raises:
            ValueError: an image of other axes or of another kind.

        Example:
            >>> window = np.array([[0, -1, 0], [0, 0, 0]])
            >>> starts = np.array([[False, True, True, False]])  # unset to the left, set here
            >>> level = Level(window, starts, np.array([1]), np.array([1]))
            >>> operator = WindowOperator((level,), GrayPlanes(), "constant", {}, [], None)
            >>> operator(np.array([[True, True, False, True]])).astype(int).tolist()
            [[1, 0, 0, 1]]
        """
        image, axes = np.asarray(image), self.axes
        planes = image[..., None] if image.ndim == axes else image
        fits = planes.ndim == axes + 1 and planes.dtype.kind in "bui"
        size = ", ".join("DHW"[3 - axes :])
        expected = f"bool or whole numbers ({size}) or ({size}, C)"
        _checks.require(fits, "image", expected, f"{image.dtype} {image.shape}")
        return run_levels(self.levels, gray_planes(planes, self.planes), border=self.border)


def handed_out(
    operator: WindowOperator,
    part: list[Example],
    held: list[Example],
    run: RunOptions,
    *,
    seconds: float,
) -> WindowOperator:
    """Return an operator with its verdict and warning, and write its record to the log.

    Args:
        operator: what was learned.
        part: images that it was chosen from: input, target, mask.
        held: held-out images.
        run: log and tags.
        seconds: time of learning.

    Returns:
        The operator.
    """
    scores = operator.held_out
    if scores is not None:
        verdict = Verdict(scores.error, scores.f1, trivial_errors(part, held))
        operator = operator._replace(verdict=verdict, warning=warning_of(verdict))
    if run.log is not None:
        record = {
            "maps": [len(level.literals) for level in operator.levels],
            "literals": int(sum(level.literals.sum() for level in operator.levels)),
            **({} if scores is None else scores._asdict()),
            "seconds": round(seconds, 3),
        }
        append_jsonl(run.log, {**(run.tags or {}), **record})
    return operator
