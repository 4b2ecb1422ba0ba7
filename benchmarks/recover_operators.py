"""Does one fixed recipe recover known operators from image pairs, exactly and with a proof?

Erosion, dilation, opening, closing, white and black top-hat by disk, hstick and dcross of size 7,
on Diskorect, MNIST and inverted MNIST, several seeds; the first four also with symmetric neurons on
{-1, 1}: `morphax.recipes.learn_operator` with its defaults, nothing tuned by row, the channels
those of the operator.

    python benchmarks/recover_operators.py [--datasets diskorect,mnist,inverted_mnist] [--seeds 3]
        [--operations opening,closing] [--data-dir DIR] [--out DIR] [--smoke]

Writes `recover_operators.json` and `.md`: float and binary Dice on 1000 unseen images, certified
share, whether the structuring elements are the target's (up to a translation that cancels; of
top-hats: whether `morphax.explain` reads the target off the binary network), whether a descent on
bits or gradients found it, gradient steps, seconds of the clock and of all processors together, and
how many pixels of the window the training set leaves undetermined (`morphax.data.identify`).
Finished rows are kept in `recover_operators.jsonl`: a run that was stopped goes on from there. Not
a timing benchmark: seconds are only a hint.
"""

import argparse
import re
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common

import morphax
from morphax import data
from morphax.data.identify import evidence, undetermined
from morphax.explain import explain
from morphax.morphology import elements
from morphax.neurons import models
from morphax.objectives import metrics
from morphax.program import build
from morphax.recipes import Learned
from morphax.recipes.gradients import _starts, operators
from morphax.training import as_unit

SEQUENTIAL = ("erosion", "dilation", "opening", "closing")
CHANNELS = {
    "erosion": (1, 1),
    "dilation": (1, 1),
    "opening": (1, 1, 1),
    "closing": (1, 1, 1),
    "white_top_hat": (1, 2, 1),
    "black_top_hat": (1, 2, 1),
}
ELEMENTS = ("disk", "hstick", "dcross")
SYMMETRIC = "diskorect_symmetric"  # the same images for neurons on {-1, 1}
DATASETS = ("diskorect", "mnist", "inverted_mnist", SYMMETRIC)
COLUMNS = (
    "dataset",
    "operation",
    "element",
    "seed",
    "float",
    "binary",
    "certified",
    "exact",
    "selem",
    "undetermined",
    "weakest",
    "found_by",
    "restarts",
    "steps",
    "seconds",
    "cpu",
)


def images_of(name: str, data_dir: str | None, smoke: bool) -> dict[str, jax.Array]:
    """Training, validation and unseen images, bool `(N, 50, 50, 1)`."""
    counts = {"train": 512, "valid": 64, "test": 100} if smoke else {}
    if name in ("diskorect", SYMMETRIC):
        sizes = {"train": 4096, "valid": 256, "test": 1000} | counts
        make = jax.jit(data.diskorect, static_argnums=1)
        return {part: make(jax.random.key(i), n) for i, (part, n) in enumerate(sizes.items())}
    sizes = {"train": 56000, "valid": 256, "test": 1000} | counts

    def load(split: str, start: int, count: int) -> jax.Array:
        raw, _ = data.load("mnist", split, data_dir=data_dir, limit=start + count)
        inverted = name == "inverted_mnist"
        return jnp.asarray(data.binary_images(raw[start:], size=(50, 50), invert=inverted))

    return {
        "train": load("train", 0, sizes["train"]),
        "valid": load("test", 0, sizes["valid"]),
        "test": load("test", sizes["valid"], sizes["test"]),
    }


def identifiable(images: jax.Array, operation: str, element: str) -> dict[str, Any]:
    """What the training set can tell: undetermined pixels a layer, and how thin the evidence is.

    `weakest` is the number of images, of the first 8192, that tell the least told pixel.
    """
    selem = elements.named(element, 7)
    return {
        "undetermined": undetermined(images, operation, selem).sum((1, 2)).tolist(),
        "weakest": int(evidence(images[:8192], operation, selem).min()),
    }


def same_up_to_translation(found: list[np.ndarray], selem: np.ndarray) -> bool:
    """Whether every layer has the target's shape, moved by translations that cancel.

    Textbook elements of a composition cancel when all are moved alike: an erosion by S + t followed
    by a dilation by S + t is the opening by S.
    """

    def pixels(s: np.ndarray) -> np.ndarray:
        return np.argwhere(s) - np.array(s.shape) // 2

    if any(len(pixels(s)) != len(pixels(selem)) for s in found):
        return False
    moves = [pixels(s) - pixels(selem) for s in found]
    return all((m == moves[0][0]).all() for m in moves) and (len(found) > 1 or not moves[0].any())


def explained(binary: Any) -> str:
    """The expression of a binary network of one channel, in one line."""
    return str(explain(build(models.bimonn, binary, (1, 50, 50, 1)))).splitlines()[0]


def verdict_on_elements(binary: Any, operation: str, element: str) -> str:
    """ "exact", or how far the elements are from the target's."""
    if operation not in SEQUENTIAL:
        return verdict_on_words(explained(binary), operation, element)
    selem = elements.named(element, 7)
    found = [np.asarray(morphax.structuring_element(layer["bise"], 0, 0)) for layer in binary]
    if same_up_to_translation(found, selem):
        return "exact"
    return f"{sum(int((s != selem).sum()) for s in found)} px off"


def verdict_on_words(says: str, operation: str, element: str) -> str:
    """The verdict on a top-hat; one by a moved element is the same: moves cancel in its opening."""
    moved = rf"{element}\(7\)|\({element}\(7\) shifted by \(-?\d, -?\d\)\)"
    same = re.fullmatch(rf"y = {operation.replace('_top_', ' top-')} by (?:{moved})", says)
    return "exact" if same else "another graph"


def row_of(
    images: dict[str, jax.Array], name: str, operation: str, element: str, seed: int, steps: int
) -> dict:
    """Learn one operator; what came out."""
    selem = elements.named(element, 7)
    make = jax.jit(lambda x: data.target(x, operation, selem))
    pairs = {part: (x, make(x)) for part, x in images.items()}
    start, start_cpu = time.perf_counter(), time.process_time()
    learned = operators.learn_operator(
        jax.random.key(seed),
        pairs["train"],
        valid=pairs["valid"],
        channels=CHANNELS[operation],
        steps=steps,
        symmetric=name == SYMMETRIC,
    )
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    x, y = pairs["test"]
    prediction = as_unit(models.bimonn, learned.params, x, y)[0] > 0.5
    binary = models.bimonn(learned.binary, x)
    return {
        "dataset": name,
        "operation": operation,
        "element": element,
        "seed": seed,
        "float": round(float(metrics.dice(prediction, y)), 6),
        "binary": round(float(metrics.dice(binary, y)), 6),
        "certified": float(metrics.certified_share(learned.params)),
        "exact": bool(learned.certificate.exact),
        "agree": bool((prediction == binary).all()),
        "selem": verdict_on_elements(learned.binary, operation, element),
        "says": explained(learned.binary),
        "restarts": learned.runs,
        "found_by": learned.found_by,
        "steps": _steps_of(learned, steps),
        "seconds": round(seconds, 1),
        "cpu": round(cpu, 1),
    }


def _steps_of(learned: Learned, steps: int) -> int | None:
    """Return the gradient steps until the network was right; None where it never was."""
    if learned.found_by == "descent":
        return (learned.runs - 1) * steps
    good = [r["step"] for r in learned.history if r["binary"] == 1.0 and r["exact"] == 1.0]
    return (learned.runs - 1) * steps + good[0] if good else None


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = common.options_parser(__doc__, smoke="one tiny row; its numbers mean nothing")
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--operations", default=",".join(CHANNELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000, help="of one run")
    parser.add_argument("--data-dir", help="folder of the TFDS sets; or set MORPHAX_DATA")
    parser.add_argument("--identify", action="store_true", help="recompute what the data can tell")
    return parser.parse_args()


def finish(rows: list[dict], about: dict[str, Any], options: argparse.Namespace) -> None:
    """Write all rows as JSON and as a table, in the order of the data sets."""
    for row in rows:  # top-hats of older journals
        if row["operation"] not in SEQUENTIAL:
            row["selem"] = verdict_on_words(row["says"], row["operation"], row["element"])
    rows.sort(
        key=lambda r: (
            DATASETS.index(r["dataset"]),
            list(CHANNELS).index(r["operation"]),
            ELEMENTS.index(r["element"]),
            r["seed"],
        )
    )
    wanted = len(ELEMENTS) * options.seeds * (3 * len(CHANNELS) + len(SEQUENTIAL))
    made = sum(row["seed"] < options.seeds for row in rows)
    if made < wanted and not options.smoke:
        about["note"] = f"{made} of {wanted} runs made so far; the others are to come"
    print(common.write_table(options.out / "recover_operators.json", about, rows, COLUMNS))


def main() -> None:
    """Run the rows that are missing, then write the table."""
    options = arguments()
    about = common.metadata("recover_operators", unit="", reference="", smoke=options.smoke)
    about["recipe"] = {
        "steps": options.steps,
        "scales": operators.SCALES,
        "pull": operators.PULL,
        "floors": operators.FLOORS,
        "starts": [_starts.ONE_MAP, _starts.SEVERAL_MAPS],
    }
    journal = options.out / "recover_operators.jsonl"
    rows = common.read_journal(journal)
    names = options.datasets.split(",") if not options.smoke else ["diskorect"]
    seeds = range(options.seeds if not options.smoke else 1)
    for name in names:
        operations = SEQUENTIAL if name == SYMMETRIC else tuple(CHANNELS)
        operations = [o for o in operations if o in options.operations.split(",")]
        todo = [(o, e, s) for o in operations for e in ELEMENTS for s in seeds]
        todo = todo[:1] if options.smoke else todo
        done = {(r["operation"], r["element"], r["seed"]) for r in rows if r["dataset"] == name}
        if not set(todo) - done and not options.identify:
            continue
        images = images_of(name, options.data_dir, options.smoke)
        told: dict[tuple[str, str], Any] = {}
        for row in [r for r in rows if options.identify and r["dataset"] == name]:
            pair = row["operation"], row["element"]
            told[pair] = told.get(pair) or identifiable(images["train"], *pair)
            row |= told[pair]
        for operation, element, seed in [t for t in todo if t not in done]:
            if (operation, element) not in told:
                told[operation, element] = identifiable(images["train"], operation, element)
            steps = 100 if options.smoke else options.steps
            row = row_of(images, name, operation, element, seed, steps)
            row |= told[operation, element] | {"commit": about["commit"][:7]}
            rows.append(row)
            common.append_row(journal, row)
            print(row, flush=True)
    finish(rows, about, options)


if __name__ == "__main__":
    main()
