# %% [markdown]
# # Segment cell nuclei: gray level sets in, mask out, binary throughout
#
# Fluorescence images of nuclei (BBBC038, 334 of 256x256) become binary channels: level sets of
# brightness relative to Otsu's threshold. A BiMoNN (a layer of intersections, a layer that unites
# them, each input through a learned window) computes the mask. It is trained on its bits along the
# gradient (`recipes.learn_bits`), so every network on the way is certified. Choices are made on
# held-out training images; the test images are looked at once, at the end. `_nuclei_network.py` has
# the level sets, the network and its training, `_otsu_rules.py` the rules to compare with.
#
#     python examples/segment_nuclei.py --data-dir DIR    # or MORPHAX_DATA; about 10 minutes
#     python examples/segment_nuclei.py --smoke           # seconds, on generated images
#
# It needs `pip install ".[examples]"`. What was tried and failed: docs/notes/images.md.

# %%
import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from _common import (
    UNUSABLE,
    at_least,
    certified_share,
    command,
    fill,
    flag,
    metadata,
    new_parser,
    odd,
    refuse,
    write,
    write_rows,
)
from _lib import small_cnn
from _nuclei_network import LEVELS, NAMES, attempt, cut_out, learn, level_sets, predict, start
from _otsu_rules import hand_made, score

import morphax
from morphax import data, realize, viz
from morphax.data.otsu import relative_brightness
from morphax.explain import explain
from morphax.neurons import models
from morphax.program import build
from morphax.training import json_text

# %% [markdown]
# ## Rows of the table


# %%
class Split(NamedTuple):
    """Hold one part of the data: gray images and masks, relative brightness and its level sets."""

    images: np.ndarray
    masks: np.ndarray
    grays: np.ndarray
    sets: np.ndarray


def new_split(images: np.ndarray, masks: np.ndarray) -> Split:
    """Return a part of the data with its level sets."""
    grays = relative_brightness(images)
    return Split(images, masks, grays, level_sets(grays))


def row(
    method: str, binary: float | None, held: float, parameters: int, **more: Any
) -> dict[str, Any]:
    """Return one row of the table; what does not apply is None."""
    columns = {"float": None, "certified": None, "exact": None, "gap": None}
    columns |= {"binary": binary, "held_out": held, "parameters": int(parameters)}
    return {"method": method, **columns, **more}


def say(each: dict[str, Any]) -> str:
    """Return a row as text."""
    shown = [
        f"{name} {'   -  ' if each[name] is None else format(each[name], '.4f')}"
        for name in ("float", "binary", "certified", "held_out")
    ]
    return f"{each['method']:42s} {'  '.join(shown)}  {each['parameters']} parameters"


def rule_rows(rules: dict[str, Any], test: Split, held: Split) -> list[dict[str, Any]]:
    """Return the rows of the rules made by hand; one with a fitted factor has a parameter."""
    return [
        row(
            name,
            score(rule(test.images), test.masks),
            score(rule(held.images), held.masks),
            " x " in name,
        )
        for name, rule in rules.items()
    ]


def start_row(test: Split, held: Split, count: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return the row of the network before it is trained."""
    layers = start(np.random.default_rng(0), args.maps, args.size)
    dice = [score(predict(layers, part.sets, real=False), part.masks) for part in (test, held)]
    return row("the network's start: image ≥ 1.15", *dice, count)


def network_row(
    layers: Any, record: dict[str, Any], test: Split, *, chosen: bool
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the row of a learned network, and its masks of the test images."""
    params = realize(layers)
    verdict = morphax.certify_network(models.bimonn, params, (1, 16, 16, len(NAMES)))
    hard, soft = predict(layers, test.sets, real=False), predict(params, test.sets, real=True)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    name = f"morphax, seed {record['seed']}" + ", the chosen one" * chosen
    facts = {
        "float": score(soft, test.masks),
        "exact": bool(verdict.exact),
        "certified": certified_share(verdict.neurons),
        "gap": float((soft != hard).mean()),
    }
    return row(name, score(hard, test.masks), record["valid"], count, **facts), hard


VIEWS = {
    "level sets": lambda split: split.sets,
    "the two gray images": lambda split: np.clip(split.grays / 4, 0, 1),
}


def crop_size(args: argparse.Namespace) -> int:
    """Return the side of the crops to train on."""
    return 32 if args.smoke else 128


def train_cnns(fitted: Split, held: Split, count: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train a CNN of about as many parameters on each view of the images; return them by view."""
    size, views = crop_size(args), list(VIEWS.items())[: 1 if args.smoke else 2]
    return {
        name: small_cnn.train(
            count,
            cut_out(view(fitted), fitted.masks, size),
            (view(held), held.masks),
            most=args.cnn_steps,
        )
        for name, view in views
    }


def cnn_row(cnns: dict[str, Any], test: Split) -> dict[str, Any]:
    """Return the row of the CNN that is best on the held-out images."""
    view = max(cnns, key=lambda name: cnns[name]["valid"])
    cnn = cnns[view]
    name = f"CNN (float), widths {cnn['widths']}, on {view}"
    name += ", still rising when stopped" * (cnn["step"] == cnn["steps"])
    dice = score(cnn["run"](VIEWS[view](test)), test.masks)
    return row(name, None, cnn["valid"], cnn["parameters"], float=dice)


# %% [markdown]
# ## The main job


# %%
def read(args: argparse.Namespace) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (images, masks) to fit, held out, and of the test."""
    if args.smoke:
        print("SMOKE: generated images stand in for the nuclei; the figures mean nothing.")
        train, test = (
            data.draw_nuclei(np.random.default_rng(seed), n) for seed, n in ((0, 10), (1, 4))
        )
    else:
        train, test = (
            data.load_nuclei(split, data_dir=args.data_dir) for split in ("train", "test")
        )
    low = min(*train[0].shape[1:3], *test[0].shape[1:3])
    if low < (64 if args.smoke else 128) or len(train[0]) < 8:
        raise ValueError(f"images: expected 8 or more, sides of 128 or more, got {train[0].shape}")
    order = np.random.default_rng(0).permutation(len(train[0]))
    held = max(2, round(len(order) * 0.18))
    fitted, held_out = (
        tuple(part[numbers] for part in train) for numbers in (order[held:], order[:held])
    )
    return [fitted, held_out, test]


def main(argv: list[str] | None = None) -> int:
    """Measure everything, write table, JSON and figures; return the exit status."""
    args = parse(argv)
    began = time.perf_counter()
    try:
        viz.require_matplotlib()
        fitted, held, test = read(args)
        args.out.mkdir(parents=True, exist_ok=True)
    except UNUSABLE as error:
        return refuse("segment_nuclei", error)
    about = metadata("segment_nuclei", unit="Dice", reference="Otsu", smoke=args.smoke)
    given = {name: value for name, value in vars(args).items() if name not in ("out", "data_dir")}
    about |= {
        "command": command("segment_nuclei", given),
        "split": {"fitted": len(fitted[0]), "held_out": len(held[0])},
        "test_images": len(test[0]),
        "levels": LEVELS,
    }
    fitted, held = new_split(*fitted), new_split(*held)
    cut = cut_out(fitted.sets, fitted.masks, crop_size(args))
    valid = held.sets, held.masks
    if args.attempt:
        record = attempt(cut, valid, args)
        about["seconds"] = round(time.perf_counter() - began, 1)
        write_rows(args.out / f"segment_nuclei_{args.attempt}.json", about, [record])
        print(json_text(record, indent=1))
        return 0
    by_hand = hand_made((fitted.images, fitted.masks), few=args.smoke)
    print(f"Training on {len(cut[0])} crops, choosing on {len(held.masks)} held-out images")
    learned = [learn(seed, cut, valid, args) for seed in range(args.seeds)]
    best = max(range(args.seeds), key=lambda i: learned[i][1]["valid"])
    layers = learned[best][0]
    count = sum(leaf.size for leaf in jax.tree.leaves(realize(layers)))
    cnns = train_cnns(fitted, held, count, args)

    # From here on the test images are looked at; nothing is chosen any more.
    test = new_split(*test)
    rows = [*rule_rows(by_hand, test, held), start_row(test, held, count, args)]
    judged = [network_row(*each, test, chosen=i == best) for i, each in enumerate(learned)]
    rows += [*(each for each, _ in judged), cnn_row(cnns, test)]
    program = build(models.bimonn, layers, (1, 32, 32, len(NAMES)))
    words = str(explain(program, names=NAMES))
    print("\n" + "\n".join(map(say, rows)) + f"\n\nWhat it learned:\n{words}")

    masks = {"Otsu": by_hand["Otsu's threshold"](test.images), "morphax": judged[best][1]}
    figures = draw(args.out, layers, masks, test, dpi=30 if args.smoke else 90)
    about |= {
        "seeds": list(range(args.seeds)),
        "chosen": best,
        "learned": words.splitlines(),
        "runs": [record for _, record in learned],
        "seconds": round(time.perf_counter() - began, 1),
        "cnns": {k: {n: v for n, v in cnn.items() if n != "run"} for k, cnn in cnns.items()},
    }
    write_rows(args.out / "segment_nuclei.json", about, rows)
    print(f"\nWritten to {args.out}: {', '.join(figures)}, segment_nuclei.json", end=" ")
    print(f"({about['seconds']:.0f} s)")
    return 0


def draw(out: Path, layers: Any, masks: dict, test: Split, *, dpi: int) -> list[str]:
    """Write the figures of the masks and of the learned rule; return their names."""
    dice = [score(a[None], b[None]) for a, b in zip(masks["morphax"], test.masks, strict=True)]
    middle = int(np.argsort(dice)[len(dice) // 2])  # the test image of median Dice
    image, mask = test.images[middle, ..., 0], test.masks[middle, ..., 0]
    figures = {
        "segment_nuclei.png": viz.segmentation_figure(test.images, test.masks, masks),
        "segment_nuclei_rule.png": viz.terms_figure(layers, NAMES, image, test.sets[middle], mask),
    }
    for name, figure in figures.items():
        write(out / name, lambda path, figure=figure: figure.savefig(path, dpi=dpi))
    return list(figures)


OPTIONS = {  # name: (smoke, otherwise, help)
    "maps": (2, 4, "maps of the first layer"),
    "size": (3, 5, "side of the windows, odd"),
    "rounds": (2, 14, "rounds of changes at most"),
    "seeds": (1, 3, "runs to choose from"),
    "cnn_steps": (4, 1200, "training steps of the CNNs at most"),
    "steps": (6, 300, "training steps of the attempt"),
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the checked options."""
    parser = new_parser("segment_nuclei", "Segment nuclei by learned morphology.")
    add = parser.add_argument
    add("--attempt", choices=("annealed",), help="only this other way of training, which failed")
    for name, (_, usual, words) in OPTIONS.items():
        add(flag(name), type=int, help=f"{words} ({usual})")
    args = parser.parse_args(argv)
    fill(args, **{name: values[:2] for name, values in OPTIONS.items()})
    at_least(parser, args, **dict.fromkeys(OPTIONS, 1))
    odd(parser, args.size)
    return args


if __name__ == "__main__":
    sys.exit(main())
