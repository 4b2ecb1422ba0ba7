"""How well are operators learned from real pairs, beside trees, tables and trivial answers?

Sets of image pairs (`SET/train|test/input|target|mask/NAME.png`, white is the object) in a folder
that `--data` or `MORPHAX_DATA` names (its sub-folder `pairs` if there is one). Every contender
learns from the train split alone, choices included; the test split is looked at once for each row.

    python benchmarks/real_pairs.py [--data DIR] [--sets jung,staff] [--contenders union,votes]
        [--seeds 1] [--out DIR] [--smoke]

Writes `real_pairs.json` and `.md`. `error` is the share of wrong pixels among those that count, in
percent; precision, recall, f1 and iou are over all these pixels together. `seconds` are those of
learning, choices included; `cpu` those of all threads, which other work on the machine changes
less. Finished rows are kept in `real_pairs.jsonl`: a run that was stopped goes on from there.
"tree" and "extra-trees" need scikit-learn (`pip install scikit-learn`) and are skipped, loudly,
without it.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _lib import common
from PIL import Image

from morphax.data.image_lists import Example, read_pairs, score_answers
from morphax.data.window_patterns import count_patterns, sample_patterns, see, square_window
from morphax.recipes import learn_window_union, learn_window_votes
from morphax.recipes.windows._gray_planes import GrayPlanes, gray_planes
from morphax.training import json_text

GRAY = ("dibco", "drive")
SETS = ("jung", "staff", "digits", "life", *GRAY)
PLANES = {
    "dibco": GrayPlanes(contrasts=(-64, 0, 64, 128)),
    "drive": GrayPlanes(),
}
WINDOWS = {"jung": 9, "staff": 7, "digits": 5, "life": 3, "dibco": 7, "drive": 9}
# Options that are given; all others are chosen by the recipes on held-out pairs of the train split.
UNION = {
    "jung": {"maps": 64, "window": 9, "least_gain": 2, "guess": 0.0},
    "staff": {"maps": 16, "window": 7, "guess": 0.0},
    "digits": {"maps": 24},
    "life": {"maps": 128},
}
UNIONS = {"jung": {**UNION["jung"], "maps": (64, 48), "seconds": 120}}
VOTES = {
    "jung": {"clauses": (256, 256), "window": 9},
    "staff": {"clauses": 256, "window": 7},
    "digits": {"clauses": 64},
    "life": {"clauses": 128, "window": 3},
    "dibco": {"clauses": (64, 64), "window": 7, "planes": PLANES["dibco"]},
    "drive": {"clauses": (64, 128), "window": 9, "further_window": 11, "planes": PLANES["drive"]},
}
COLUMNS = (
    "set",
    "contender",
    "seed",
    "error",
    "precision",
    "recall",
    "f1",
    "iou",
    "seconds",
    "cpu",
    "maps",
    "literals",
)
Learned = tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]
"""What answers an image, and what is to be said about it."""


def read_split(folder: Path, *, gray: bool, most: int | None) -> list[Example]:
    """Return the images of a split as (input, target, mask)."""
    names = sorted(path.name for path in (folder / "input").iterdir())[:most]
    sides: dict[str, list[np.ndarray]] = {"input": [], "target": [], "mask": []}
    for name in names:
        for side, images in sides.items():
            path = folder / side / name
            if path.exists():
                image = np.asarray(Image.open(path).convert("L"))
                images.append(image if gray and side == "input" else image > 127)
    return read_pairs((sides["input"], sides["target"]), masks=sides["mask"] or None)


def as_pairs(examples: list[Example]) -> dict[str, Any]:
    """Return examples as the arguments of a recipe."""
    inputs, targets, masks = (list(side) for side in zip(*examples, strict=True))
    return {"pairs": (inputs, targets), "masks": masks}


def learn_copy(name: str, train: list[Example], seed: int) -> Learned:
    """Return the input, or the best of its level sets on the train split."""
    if name not in GRAY:
        return (lambda image: image[..., 0]), {}

    def error(cut: int) -> float:
        return score_answers([x[..., 0] >= cut for x, _, _ in train], train).error

    cut = min(range(8, 256, 8), key=error)
    return (lambda image: image[..., 0] >= cut), {"threshold": cut}


def learn_union(name: str, train: list[Example], seed: int, options: Any = UNION) -> Learned:
    """Learn a union of hit-or-misses."""
    found = learn_window_union(jax.random.key(seed), **as_pairs(train), **options[name])
    return found, _says(found)


def learn_unions(name: str, train: list[Example], seed: int) -> Learned:
    """Learn two levels of unions."""
    return learn_union(name, train, seed, UNIONS)


def learn_votes(name: str, train: list[Example], seed: int) -> Learned:
    """Learn hit-or-misses with votes, in as many levels as help on held-out pairs."""
    found = learn_window_votes(jax.random.key(seed), **as_pairs(train), **VOTES[name])
    return found, _says(found)


def _says(found: Any) -> dict[str, Any]:
    """Return the sizes and options of a learned operator."""
    options = {k: v for k, v in found.options.items() if not isinstance(v, GrayPlanes)}
    return {
        "maps": [len(level.literals) for level in found.levels],
        "literals": int(sum(level.literals.sum() for level in found.levels)),
        "options": options,
        "tried": found.tried,
    }


def learn_trees(name: str, train: list[Example], seed: int, *, extra: bool = True) -> Learned:
    """Fit 20 extra-trees, or one decision tree, on the window of the set, with its defaults."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.tree import DecisionTreeClassifier

    kinds = PLANES.get(name, GrayPlanes())
    examples = [(gray_planes(x, kinds), target, mask) for x, target, mask in train]
    window = square_window(WINDOWS[name], *range(examples[0][0].shape[-1]))
    border = "replicate" if name in GRAY else "constant"
    if name in GRAY:
        rng = np.random.default_rng(seed)
        patterns = sample_patterns(examples, window, pixels=10_000, rng=rng, border=border)
    else:
        patterns = count_patterns(examples, window, border=border)
    kind = ExtraTreesClassifier if extra else DecisionTreeClassifier
    model = kind(random_state=seed, **({"n_estimators": 20} if extra else {}))
    # Each pattern comes twice, with the weights of its positive and of its negative pixels.
    bits = np.concatenate([patterns.bits, patterns.bits])
    target = np.repeat([True, False], len(patterns.bits))
    weight = np.concatenate([patterns.positive, patterns.negative])
    model.fit(bits[weight > 0], target[weight > 0], weight[weight > 0])

    def run(image: np.ndarray) -> np.ndarray:
        pixels = np.arange(image.shape[0] * image.shape[1])
        parts = [
            model.predict(see(gray_planes(image, kinds), window, part, border=border))
            for part in np.array_split(pixels, -(-len(pixels) // 50_000))
        ]
        return np.concatenate(parts).reshape(image.shape[:2])

    return run, {}


def learn_tree(name: str, train: list[Example], seed: int) -> Learned:
    """Fit one decision tree."""
    return learn_trees(name, train, seed, extra=False)


CONTENDERS: dict[str, tuple[Callable[..., Learned], tuple[str, ...]]] = {
    "copy": (learn_copy, SETS),
    "union": (learn_union, tuple(UNION)),
    "two unions": (learn_unions, tuple(UNIONS)),
    "votes": (learn_votes, SETS),
    "tree": (learn_tree, SETS),
    "extra-trees": (learn_trees, SETS),
}


def row_of(name: str, contender: str, seed: int, folder: Path, *, smoke: bool) -> dict[str, Any]:
    """Learn from the train split, and score the answers on the test split."""
    train, test = (
        read_split(folder / name / split, gray=name in GRAY, most=2 if smoke else None)
        for split in ("train", "test")
    )
    start, busy = time.perf_counter(), time.process_time()
    run, says = CONTENDERS[contender][0](name, train, seed)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    scores = score_answers([run(image) for image, _, _ in test], test)
    shares = {k: round(v, 4) for k, v in scores._asdict().items() if k not in ("error", "pixels")}
    return {
        "error": round(100 * scores.error, 4),
        **shares,
        "pixels": scores.pixels,
        "seconds": round(seconds, 1),
        "cpu": round(cpu, 1),
        **says,
    }


def main() -> None:
    """Run the rows that are missing, then write the table."""
    parser = common.options_parser(__doc__, smoke="two images a split; it means nothing")
    parser.add_argument("--data", type=Path, default=os.environ.get("MORPHAX_DATA"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    if options.data is None:
        parser.error("give the folder of the sets: --data DIR, or MORPHAX_DATA")
    folder = options.data / "pairs" if (options.data / "pairs").is_dir() else options.data
    about = common.metadata("real_pairs", unit="%", reference="", smoke=options.smoke)
    journal = options.out / "real_pairs.jsonl"
    rows = [] if options.smoke else common.read_journal(journal)
    done, skipped = {(r["set"], r["contender"], r["seed"]) for r in rows}, []
    for name in options.sets.split(","):
        for contender in options.contenders.split(","):
            for seed in range(options.seeds):
                if (name, contender, seed) in done or name not in CONTENDERS[contender][1]:
                    continue
                try:
                    row = row_of(name, contender, seed, folder, smoke=options.smoke)
                except ImportError as error:
                    common.skip(skipped, f"{contender} on {name}: {error}")
                    continue
                row = {"set": name, "contender": contender, "seed": seed, **row}
                row |= common.row_metadata(about)
                rows.append(row)
                if not options.smoke:
                    common.append_row(journal, row)
                print(json_text({k: row.get(k) for k in COLUMNS}), flush=True)
    about["skipped"] = skipped
    print(common.write_table(options.out / "real_pairs.json", about, rows, COLUMNS))


if __name__ == "__main__":
    main()
