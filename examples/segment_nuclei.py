# %% [markdown]
# # Segment cell nuclei: gray level sets in, mask out, binary throughout
#
# Fluorescence images of nuclei (BBBC038, 334 of 256x256) become binary channels: level sets of brightness
# relative to Otsu's threshold. A BiMoNN (a layer of intersections, a layer that unites them, each input
# through a learned window) makes the mask. It is trained on its bits along the gradient
# (`recipes.learn_bits`), so every network on the way is certified. Choices are made on held-out training
# images; the test images are looked at once, at the end.
#
#     python examples/segment_nuclei.py --data-dir DIR      # or MORPHAX_DATA; about 10 minutes on a core
#     python examples/segment_nuclei.py --smoke             # seconds, on made-up images
#
# It needs `pip install 'morphax[examples]'`. What was tried and what failed: docs/notes/images.md.

# %%
import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import morphax
from morphax import data, realize, viz
from morphax.data.otsu import otsu, relative_brightness, root_otsu
from morphax.explain import explain
from morphax.morphology import elements, levelsets
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, Spec
from morphax.objectives import regularizers
from morphax.program import build
from morphax.recipes import learn_bits
from morphax.training import fit, json_text, make_evaluate, transforms

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _lib import common, small_cnn

# %% [markdown]
# ## Brightness-independent level sets
#
# Images differ in brightness by a factor of five, so levels are multiples of Otsu's threshold of the square
# roots: of the whole *image*, and of the 64x64 tiles around the pixel (the *place*).

# %%
LEVELS = {"image": (0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.8, 2.4, 3.3),
          "place": (0.8, 1.0, 1.15, 1.3, 1.5, 1.8)}  # fmt: skip
NAMES = [f"{gray} ≥ {level:g}" for gray, levels in LEVELS.items() for level in levels]
BEFORE_PLACE = len(LEVELS["image"])


def level_sets(grays: np.ndarray) -> np.ndarray:
    """The binary channels, bool `(N, H, W, len(NAMES))`."""
    parts = [
        levelsets.decompose(grays[..., [i]], np.float32([row]))
        for i, row in enumerate(LEVELS.values())
    ]
    return np.concatenate([np.asarray(part) for part in parts], -1)


def cut_out(images: np.ndarray, masks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One random crop of every image; the same places for any images of that shape."""
    rng = np.random.default_rng(1)
    corners = rng.integers(0, np.array(images.shape[1:3]) - size + 1, (len(images), 2))
    x, y = (np.stack([image[r : r + size, c : c + size] for image, (r, c) in zip(part, corners, strict=True)])
            for part in (images, masks))  # fmt: skip
    return x, y


def score(prediction: Any, masks: np.ndarray) -> float:
    """Mean Dice over images."""
    found, axes = np.asarray(prediction), (1, 2, 3)
    total = found.sum(axes) + masks.sum(axes)
    return float(np.where(total, 2 * (found & masks).sum(axes) / np.maximum(total, 1), 1).mean())


# %% [markdown]
# ## Without a network: Otsu, and what a factor or an opening or closing adds


# %%
def thresholds(images: np.ndarray, method: Any) -> np.ndarray:
    """One threshold an image, `(N, 1, 1, 1)`."""
    return np.array([method(image) for image in images])[:, None, None, None]


def hand_made(fitted: tuple, *, few: bool) -> dict[str, Any]:
    """Name -> function of images, with the parameters that are best on the fitted images."""
    made = {"Otsu's threshold": lambda x: x >= thresholds(x, otsu)}
    plain = made["Otsu's threshold"](fitted[0])
    shapes = {f"disk({n})": elements.disk(n) for n in ((3,) if few else (3, 5, 7))}

    def after(operation: str, shape: str) -> Any:
        operator = jax.jit(lambda x: data.target(x, operation, shapes[shape]))
        return lambda x: np.asarray(operator(x))

    found = {f"Otsu, then the best {operation} by {shape}": after(operation, shape)
             for operation in ("opening", "closing") for shape in shapes}  # fmt: skip
    best = max(found, key=lambda name: score(found[name](plain), fitted[1]))
    made[best] = lambda x: found[best](x >= thresholds(x, otsu))
    for name, method in (("Otsu", otsu), ("root Otsu", root_otsu)):
        at = thresholds(fitted[0], method)
        factors = np.arange(0.5, 1.6, 0.05)
        factor = max(factors, key=lambda f: score(fitted[0] >= f * at, fitted[1]))
        made[f"best factor: {factor:.2f} x {name}"] = (
            lambda x, method=method, factor=factor: x >= factor * thresholds(x, method))  # fmt: skip
    return made


# %% [markdown]
# ## The network, and its start
#
# Every map of the first layer is an intersection of level sets, each seen through its window; the second
# layer unites the maps through windows of its own. At the start all windows are one pixel and all maps lie
# within the first, `image >= 1.15`: the start is that one threshold. In the first two maps higher levels
# are complemented: a dilation of a complement takes away what is near something much brighter.


# %%
def start(rng: np.random.Generator, maps: int, size: int) -> list[dict[str, BinaryBiSE]]:
    """The binary network `image >= 1.15`, with idle maps that begin at random stricter levels."""
    channels, base = len(NAMES), NAMES.index("image ≥ 1.15")
    used, flip = np.zeros((channels, maps), bool), np.zeros((channels, maps), bool)
    used[base] = True
    for m in range(1, maps):
        stricter = (
            (base + 1, base + 2) if m == 1 else (channels - 1, channels - 2, channels - 3, base + 3)
        )
        used[rng.choice(stricter), m] = True
    flip[BEFORE_PLACE - 3 : BEFORE_PLACE, :2] = True  # image >= 1.8, 2.4, 3.3

    def bank(role: str, selem: np.ndarray, erosion: bool, complement: Any = False) -> BinaryBiSE:
        shape = selem.shape[2:] if role == "spatial" else selem.shape[1:]
        flags = [np.broadcast_to(flag, shape).copy() for flag in (erosion, complement)]
        return BinaryBiSE(selem, *flags, Spec(role, "identity", "centred"))

    point = np.arange(size) == size // 2
    one_pixel = (point[:, None] & point)[:, :, None, None]
    return [{"bise": bank("spatial", one_pixel & np.ones((channels, maps), bool), False, flip),
             "lui": bank("lui", used, True)},
            {"bise": bank("spatial", one_pixel & np.ones((maps, 1), bool), False),
             "lui": bank("lui", np.ones((maps, 1), bool), False)}]  # fmt: skip


run = jax.jit(models.bimonn)


def predict(params: Any, sets: np.ndarray, *, real: bool) -> np.ndarray:
    """Masks, a few images at a time."""
    parts = (sets[i : i + 4] for i in range(0, len(sets), 4))
    return np.concatenate([np.asarray(run(params, part * np.float32(1)) > 0.5 if real else run(params, part))
                           for part in parts])  # fmt: skip


def learn(
    seed: int, cut: tuple, valid: tuple, args: argparse.Namespace
) -> tuple[Any, dict[str, Any]]:
    """The layers of the round that is best on the held-out images, and how it went."""
    learned = learn_bits(
        jax.random.key(seed),
        cut,
        valid=valid,
        initial=start(np.random.default_rng(seed), args.maps, args.size),
        rounds=args.rounds,
        tries=4 if args.smoke else 12,
        batch_size=8,
    )
    best = max(learned.history, key=lambda record: record["valid"])
    held, rounds = best["valid"], best["step"]
    if learned.warning:
        print(f"WARNING: {learned.warning}", file=sys.stderr)
    print(f"  seed {seed}: held-out Dice {held:.4f}, round {rounds} of {len(learned.history)}",
          flush=True)  # fmt: skip
    return learned.binary, {
        "seed": seed,
        "valid": held,
        "rounds": rounds,
        "history": learned.history,
    }


def attempt(cut: tuple, valid: tuple, args: argparse.Namespace) -> dict[str, Any]:
    """The same network trained as a real one: |p| annealed, a pull towards constant sets at the end."""
    params = realize(start(np.random.default_rng(0), args.maps, args.size), scale=4.0)
    steps, apply = args.steps, models.bimonn
    optimizer = optax.chain(
        optax.adam(optax.cosine_decay_schedule(1e-2, steps, alpha=0.1)),
        transforms.keep_weights_in(0.0, 1.0),
        transforms.set_scale(optax.exponential_decay(4.0, steps, 6.0)))  # fmt: skip

    def pull(params: Any, step: jax.Array) -> jax.Array:
        return 0.3 * jnp.clip(2 * step / steps - 1, 0, 1) * regularizers.constant(params)

    size = min(64, cut[0].shape[1])
    small, some = (data.crops(jax.random.key(1), *part, size=(size, size), count=2 * len(part[0]))
                   for part in (cut, valid))  # fmt: skip
    done = fit(jax.random.key(0), apply, params, small, optimizer=optimizer, valid=some, steps=steps,
               loss="dice", penalty=pull, batch_size=8, log_every=max(1, steps // 6))  # fmt: skip
    first = {name: float(v) for name, v in make_evaluate(apply)(params, some).items()}
    return {"start": first, "history": done.history, "steps": steps}


# %% [markdown]
# ## The main job


# %%
def load(args: argparse.Namespace) -> tuple[tuple, tuple, tuple]:
    """(images, masks) to fit, held out, and of the test."""
    if args.smoke:
        print("SMOKE: made-up images stand in for the nuclei; the figures mean nothing.")
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
    return (
        tuple(part[order[held:]] for part in train),
        tuple(part[order[:held]] for part in train),
        test,
    )


def main(argv: list[str] | None = None) -> int:
    """Measure everything, write table, JSON and figures; returns the exit status."""
    args = parse(argv)
    began = time.perf_counter()
    try:
        viz.require_matplotlib()
        fitted, held, test = load(args)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        print("segment_nuclei:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    about = common.metadata("segment_nuclei", unit="Dice", reference="Otsu", smoke=args.smoke)
    grays = [relative_brightness(part[0]) for part in (fitted, held)]
    sets = [level_sets(part) for part in grays]
    cut, gray_cut = (cut_out(part, fitted[1], 32 if args.smoke else 128) for part in
                     (sets[0], np.clip(grays[0] / 4, 0, 1)))  # fmt: skip
    about |= {"command": command(args), "split": {"fitted": len(fitted[0]), "held_out": len(held[0])},
              "test_images": len(test[0]), "levels": LEVELS}  # fmt: skip
    if args.attempt:
        found = attempt(cut, (sets[1], held[1]), args)
        about["seconds"] = round(time.perf_counter() - began, 1)
        common.write_rows(args.out / f"segment_nuclei_{args.attempt}.json", about, [found])
        print(json_text(found, indent=1))
        return 0
    by_hand = hand_made(fitted, few=args.smoke)
    print(f"Training on {len(cut[0])} crops, choosing on {len(held[0])} held-out images")
    learned = [learn(seed, cut, (sets[1], held[1]), args) for seed in range(args.seeds)]
    best = max(range(args.seeds), key=lambda i: learned[i][1]["valid"])
    params = [realize(layers) for layers, _ in learned]
    count = sum(leaf.size for leaf in jax.tree.leaves(params[best]))
    views = {
        "level sets": (cut, sets[1]),
        "the two gray images": (gray_cut, np.clip(grays[1] / 4, 0, 1)),
    }
    cnns = {name: small_cnn.train(count, seen, (x, held[1]), most=args.cnn_steps)
            for name, (seen, x) in list(views.items())[: 1 if args.smoke else 2]}  # fmt: skip

    # From here on the test images are looked at; nothing is chosen any more.
    test_grays = relative_brightness(test[0])
    test_sets = level_sets(test_grays)
    rows = [row(name, score(made(test[0]), test[1]), score(made(held[0]), held[1]), " x " in name)
            for name, made in by_hand.items()]  # fmt: skip
    first = start(np.random.default_rng(0), args.maps, args.size)
    begun = [
        score(predict(first, x, real=False), y)
        for x, y in ((test_sets, test[1]), (sets[1], held[1]))
    ]
    rows.append(row("the network's start: image ≥ 1.15", *begun, count))
    hard = []
    for i, (layers, record) in enumerate(learned):
        verdict = morphax.certify_network(models.bimonn, params[i], (1, 16, 16, len(NAMES)))
        shares = verdict.neurons.values()
        hard.append(predict(layers, test_sets, real=False))
        soft = predict(params[i], test_sets, real=True)
        name = f"morphax, seed {record['seed']}" + ", the chosen one" * (i == best)
        rows.append(row(name, score(hard[i], test[1]), record["valid"], count, float=score(soft, test[1]),
                        exact=bool(verdict.exact),
                        certified=float(np.concatenate([np.ravel(c.exact) for c in shares]).mean()),
                        gap=float((soft != hard[i]).mean())))  # fmt: skip
    view = max(cnns, key=lambda name: cnns[name]["valid"])
    x = test_sets if view == "level sets" else np.clip(test_grays / 4, 0, 1)
    cnn = cnns[view]
    name = f"CNN (float), widths {cnn['widths']}, on {view}"
    name += ", still rising when stopped" * (cnn["step"] == cnn["steps"])
    rows.append(
        row(name, None, cnn["valid"], cnn["parameters"], float=score(cnn["run"](x), test[1]))
    )

    said = explain(build(models.bimonn, learned[best][0], (1, 32, 32, len(NAMES))), names=NAMES)
    print("\n" + "\n".join(map(say, rows)) + f"\n\nWhat it learned:\n{said}")
    found = {"Otsu": by_hand["Otsu's threshold"](test[0]), "morphax": hard[best]}
    each = [score(h[None], m[None]) for h, m in zip(hard[best], test[1], strict=True)]
    middle = int(np.argsort(each)[len(each) // 2])
    figures = {"segment_nuclei.png": viz.segmentation_figure(*test, found),
               "segment_nuclei_rule.png": viz.terms_figure(
                   learned[best][0], NAMES, test[0][middle, ..., 0], test_sets[middle],
                   test[1][middle, ..., 0])}  # fmt: skip
    for name, figure in figures.items():
        figure.savefig(args.out / f"tmp-{name}", dpi=30 if args.smoke else 90)
        (args.out / f"tmp-{name}").replace(args.out / name)
    about |= {"seeds": list(range(args.seeds)), "chosen": best, "learned": str(said).splitlines(),
              "runs": [record for _, record in learned], "seconds": round(time.perf_counter() - began, 1),
              "cnns": {k: {n: v for n, v in c.items() if n != "run"} for k, c in cnns.items()}}  # fmt: skip
    common.write_rows(args.out / "segment_nuclei.json", about, rows)
    print(
        f"\nWritten to {args.out}: {', '.join(figures)}, segment_nuclei.json ({about['seconds']:.0f} s)"
    )
    return 0


def row(
    method: str, binary: float | None, held: float, parameters: int, **more: Any
) -> dict[str, Any]:
    """One row of the table; what does not apply is None."""
    empty = {"float": None, "certified": None, "exact": None, "gap": None}
    return {"method": method, **empty, "binary": binary, "held_out": held,
            "parameters": int(parameters), **more}  # fmt: skip


def say(each: dict[str, Any]) -> str:
    """A row as text."""
    shown = [f"{name} {'   -  ' if each[name] is None else format(each[name], '.4f')}"
             for name in ("float", "binary", "certified", "held_out")]  # fmt: skip
    return f"{each['method']:42s} {'  '.join(shown)}  {each['parameters']} parameters"


def command(args: argparse.Namespace) -> str:
    """The command that repeats the run, without the folders of this machine."""
    given = {name: value for name, value in vars(args).items() if name not in ("out", "data_dir")}
    words = ["python", "examples/segment_nuclei.py"]
    for name, value in given.items():
        if value:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


OPTIONS = {  # name: (smoke, otherwise, what it is)
    "maps": (2, 4, "maps of the first layer"), "size": (3, 5, "side of the windows, odd"),
    "rounds": (2, 14, "rounds of changes at most"), "seeds": (1, 3, "runs to choose from"),
    "cnn_steps": (4, 1200, "training steps of the CNNs at most"), "steps": (6, 300, "of the attempt"),
}  # fmt: skip


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Options, checked."""
    parser = argparse.ArgumentParser(description="Segment nuclei by learned morphology.")
    add = parser.add_argument
    add("--data-dir", type=Path, help="folder of nuclei256.npz (default: MORPHAX_DATA)")
    add("--attempt", choices=("annealed",), help="only this other way of training, which failed")
    add("--out", type=Path, default=Path("out/segment_nuclei"), help="folder for the results")
    add("--smoke", action="store_true", help="a tiny run on made-up images")
    for name, (_, usual, words) in OPTIONS.items():
        add(f"--{name.replace('_', '-')}", type=int, help=f"{words} ({usual})")
    args = parser.parse_args(argv)
    for name, (small, usual, _) in OPTIONS.items():
        value = getattr(args, name)
        setattr(args, name, (small if args.smoke else usual) if value is None else value)
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: expected 1 or more, got {value}")
    if args.size % 2 == 0:
        parser.error(f"--size: expected an odd number (a window has a centre), got {args.size}")
    return args


if __name__ == "__main__":
    sys.exit(main())
