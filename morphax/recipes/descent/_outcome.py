"""Records of a descent, and the judgement of its network on held-out pairs of any sizes."""

import time
from collections.abc import Iterator

import numpy as np

from morphax.recipes._judging import TABLE_CHANNELS, TABLE_PIXELS, window_numbers
from morphax.recipes.descent import _forms
from morphax.recipes.descent._descent import Net, Problem, count_errors, losses
from morphax.recipes.descent._given import Given
from morphax.recipes.results import LearnedChain, Verdict
from morphax.training.loop import append_jsonl
from morphax.training.options import Record, RunOptions
from morphax.training.progress import write

_IMAGES = 256
"""Images of one size whose windows are counted at a time."""
_NAMES = {"copy": "copying the input", "empty": "an empty image", "full": "a full image"}


class Records:
    """Keep, log and print the records of a search."""

    def __init__(self, run: RunOptions) -> None:
        """Begin without records."""
        self.history: list[Record] = []
        self.improved: list[Net] = []  # each the best network for a time
        self.run, self.begin = run, time.perf_counter()

    def __call__(
        self, form: str, net: Net, loss: float, valid_loss: float | None, better: bool
    ) -> None:
        """Add a network; `valid_loss` is None where it was not judged on held-out pairs."""
        seconds = round(time.perf_counter() - self.begin, 3)
        entry = {
            **(self.run.tags or {}),
            "form": form,
            "neurons": len(net.source),
            "loss": loss,
            "valid_loss": valid_loss,
            "best": better,
            "seconds": seconds,
        }
        self.history.append(entry)
        if better:
            self.improved.append(net)
        if self.run.log is not None:
            append_jsonl(self.run.log, entry)
        if self.run.progress:
            mark = ", the best so far" if better else ""
            held_out = "" if valid_loss is None else f", held out {valid_loss:.5f}"
            write(f"{form}: loss {loss:.5f}{held_out}{mark} ({seconds} s)")


def simple_losses(problem: Problem) -> dict[str, float]:
    """Return the losses of a copy of the first channel, of an empty image and of a full one."""
    pixels, positives = problem.pairs.pixels.sum(), problem.pairs.positives.sum()
    # An empty image misses all positives; a full one has all others wrong.
    constant = problem.values(np.array([[0, positives], [pixels - positives, 0]]))
    values = (losses(problem, [_copy(problem)])[0], *constant)
    return dict(zip(("copy", "empty", "full"), map(float, values), strict=True))


def _copy(problem: Problem) -> Net:
    """Return the network that copies the first channel."""
    geometry = problem.pairs.geometry
    point = _forms.textbook(geometry.side, axes=geometry.axes)[0]
    return _forms.chain("e", [point], inputs=geometry.inputs)


def verdict_of(held_out: Problem, net: Net, pairs: Given, others: Given) -> Verdict:
    """Compare a network with trivial answers, on the held-out pixels that count.

    Args:
        held_out: Held-out pairs in words.
        net: The network.
        pairs: Training pairs; they fill the table of 3 x 3 windows.
        others: Held-out pairs.

    Returns:
        `Verdict`, with the Dice coefficient of all pixels together.
    """
    pixels, positives = (int(part[list(held_out.blocks)].sum()) for part in held_out.pairs[2:])
    counts = count_errors(held_out, [net, _copy(held_out)])
    (fp, fn), copied = counts[0], counts[1].sum()
    dice = 2 * (positives - fn) / max(2 * (positives - fn) + fp + fn, 1)
    # Shares of wrong pixels of answers that need no learning.
    trivial = {"empty": positives / pixels, "full": 1 - positives / pixels}
    if held_out.pairs.geometry.inputs == 1:
        trivial = {"copy": float(copied / pixels), **trivial}
    geometry = held_out.pairs.geometry
    if geometry.inputs <= TABLE_CHANNELS and geometry.axes == 2:
        trivial["3x3 table"] = _table_error(pairs, others)
    return Verdict(float((fp + fn) / pixels), float(dice), trivial)


def _table_error(pairs: Given, others: Given) -> float:
    """Return the share of held-out pixels that the table of 3 x 3 windows has wrong."""
    entries, pixels = 2 ** (9 * pairs.images[0].shape[-1]), 0
    seen = np.zeros((2, entries), np.int64)  # pixels with targets that are clear, and set
    for numbers, targets in _counted(pairs):
        for value in (0, 1):
            seen[value] += np.bincount(numbers[targets == value], minlength=entries)
        pixels += len(numbers)
        # Enough pixels to fill a table; more would only take time.
        if pixels >= TABLE_PIXELS:
            break
    table, wrong, total = seen[1] > seen[0], 0, 0
    for numbers, targets in _counted(others):
        wrong += int((table[numbers] != targets).sum())
        total += len(numbers)
    return wrong / total


def _counted(pairs: Given) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the window numbers and the targets of the pixels that count, some images at a time."""
    # Images of one size are counted many at a time, others one by one.
    several = isinstance(pairs.images, np.ndarray)
    for first in range(0, len(pairs.images), _IMAGES if several else 1):
        part = slice(first, first + _IMAGES)
        images, targets, mask = (each[part] if several else each[first][None] for each in pairs)
        yield window_numbers(images)[mask], targets[mask]


def remarks_of(learned: LearnedChain) -> list[str]:
    """Return what a user should know, in sentences."""
    said = []
    simple, name = min((value, name) for name, value in learned.simple_losses.items())
    # A user must hear first of all that nothing was learned.
    if learned.valid_loss >= simple:
        said.append(
            f"No network was found that is better than {_NAMES[name]}: its loss on held-out pairs "
            f"is {learned.valid_loss:.4f}, that of {_NAMES[name]} {simple:.4f}."
        )
    # A window smaller than what an exact network sees shows contradictions that are none.
    if learned.loss > 0 and learned.noise.flips is not None and learned.noise.flips > 1e-3:
        said.append(
            f"About {100 * learned.noise.flips:.2g} % of the target pixels contradict any operator "
            "of this window: equal windows come with different targets."
        )
    if learned.loss > 0 and learned.only_flips:
        said.append("The pixels that are wrong lie like independent flips of the targets.")
    elif learned.loss > 0:
        said.append(
            "The pixels that are wrong do not lie at random: a larger network may be better."
        )
    if learned.stopped in ("time limit", "interrupted"):
        said.append(
            f"The search was ended ({learned.stopped}); more time may find a better network."
        )
    return said
