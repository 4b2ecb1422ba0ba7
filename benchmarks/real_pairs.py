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
Beside the recipes: copies and thresholds, majority tables, one decision tree, 20 extra-trees, and a
small float CNN that sees 23 x 23 pixels (`_lib/pair_rivals.py`). "tree" and "extra-trees" need
scikit-learn (`pip install scikit-learn`) and are skipped, loudly, without it.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _lib import common, pair_rivals
from _lib.pair_rivals import Learned
from PIL import Image

from morphax import recipes
from morphax.data.gray_planes import GrayPlanes
from morphax.data.image_lists import Example, read_pairs, score_answers
from morphax.recipes import learn_window_union, learn_window_votes
from morphax.training import json_text

GRAY = ("dibco", "drive")
BINARY = ("jung", "staff", "digits", "life")
SETS = (*BINARY, *GRAY)
STEPS: dict[str, Any] = {"cnn": 1000, "votes": None, "minutes": 5.0}
PLANES = {
    "dibco": GrayPlanes(contrasts=(0, 64, 128, 192, 256, 384), contrast_side=101),
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
FEW = {"staff": {**UNION["staff"], "maps": 8}}
UNIONS = {"jung": {**UNION["jung"], "maps": (64, 48), "seconds": 120}}
VOTES: dict[str, Any] = {
    "jung": {"clauses": (256, 256), "window": 9},
    "staff": {"clauses": 256, "window": 7},
    "digits": {"clauses": 64},
    "life": {"clauses": 128, "window": 3},
    "dibco": {"clauses": (256, 256), "window": 7, "planes": PLANES["dibco"]},
    "drive": {"clauses": (128, 256), "window": 9, "further_window": 11},
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


def learn_union(name: str, train: list[Example], seed: int, options: Any = UNION) -> Learned:
    """Learn a union of hit-or-misses, or several levels of them."""
    found = learn_window_union(jax.random.key(seed), **as_pairs(train), **options[name])
    return found, _says(found)


def learn_votes(name: str, train: list[Example], seed: int) -> Learned:
    """Learn hit-or-misses with votes, in as many levels as help on held-out pairs."""
    options = {"steps": STEPS["votes"], **VOTES[name]}
    found = learn_window_votes(jax.random.key(seed), **as_pairs(train), **options)
    return found, _says(found)


def learn_menu(name: str, train: list[Example], seed: int) -> Learned:
    """Learn a menu without any option, and take its best entry."""
    menu = recipes.learn(jax.random.key(seed), **as_pairs(train), minutes=STEPS["minutes"])
    front = [[row["operator"], row["error"], row["bit_operations"]] for row in menu.rows()]
    said = {"operator": menu.best.name, "operations": menu.best.operations, "front": front}
    return menu.best, {**said, "stopped": menu.stopped}


def _says(found: Any) -> dict[str, Any]:
    """Return the sizes and options of a learned operator."""
    options = {k: v for k, v in found.options.items() if not isinstance(v, GrayPlanes)}
    return {
        "maps": [len(level.literals) for level in found.levels],
        "literals": int(sum(level.literals.sum() for level in found.levels)),
        "options": options,
        "tried": found.tried,
    }


def _rival(learn: Callable[..., Learned], *names: str) -> Callable[..., Learned]:
    """Return a rival as a contender; `names` are the options of the set that it takes."""

    def contender(name: str, train: list[Example], seed: int) -> Learned:
        options = {
            "side": WINDOWS[name],
            "kinds": PLANES.get(name, GrayPlanes()),
            "border": "replicate" if name in GRAY else "constant",
            "seed": seed,
            "steps": STEPS["cnn"],
        }
        return learn(train, **{key: options[key] for key in names})

    return contender


_TREES = ("side", "kinds", "border", "seed")
CONTENDERS: dict[str, tuple[Callable[..., Learned], tuple[str, ...]]] = {
    "copy": (_rival(pair_rivals.learn_copy), SETS),
    "local threshold": (_rival(pair_rivals.learn_local_threshold), GRAY),
    "table 3x3": (_rival(partial(pair_rivals.learn_table, side=3), "border"), BINARY),
    "table 5x5": (_rival(partial(pair_rivals.learn_table, side=5), "border"), BINARY),
    "union": (learn_union, tuple(UNION)),
    "union of 8": (partial(learn_union, options=FEW), tuple(FEW)),
    "two unions": (partial(learn_union, options=UNIONS), tuple(UNIONS)),
    "votes": (learn_votes, SETS),
    "menu": (learn_menu, SETS),
    "tree": (_rival(partial(pair_rivals.learn_trees, extra=False), *_TREES), SETS),
    "extra-trees": (_rival(pair_rivals.learn_trees, *_TREES), SETS),
    "cnn": (_rival(pair_rivals.learn_cnn, "steps", "seed"), SETS),
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
    if options.smoke:
        STEPS.update(cnn=5, votes=50, minutes=0.05)
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
