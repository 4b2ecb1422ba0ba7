# %% [markdown]
# # A classifier that is binary to the end, every neuron certified
#
# Level sets of an image, erosions of literals ("these pixels are set and those are not"), unions over
# regions ("somewhere here"), and votes that are counted. Nothing in it is a number before the counts.
#
#     python examples/classify.py --dataset mnist --data-dir DIR           # or set MORPHAX_DATA
#     python examples/classify.py --dataset fashion_mnist
#     python examples/classify.py --road smooth --clauses 256 --epochs 3   # trained smoothly, then proved
#     python examples/classify.py --smoke                                  # generated images, no data
#
# Any image data set of TFDS that is prepared in the array_record format will do. A run that was
# interrupted goes on: give the same options and the same `--out`.

# %%
import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from morphax import classify, clauses, data, levelsets
from morphax import recipes_classification as recipes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import common

# %% [markdown]
# ## One recipe
#
# The same losses, steps and certificate for all data sets; what differs is what the data ask for: how
# many level sets (one for ink on paper), the sides of the windows, how finely positions matter
# (`regions`), and how images may be moved in training.

# %%
DATASETS: dict[str, dict[str, Any]] = {
    "mnist": {"levels": [128], "banks": ((7, 512), (11, 512)), "epochs": 6},
    "fashion_mnist": {
        "levels": [30, 80, 130, 180, 220],
        "banks": ((3, 256), (7, 256)),
        "epochs": 5,
        "recipe": {
            "flip": True,
            "regions": 6,
            "rates": (0.03, 0.02),
            "shift": 1.0,
            "rotation": 0.03,
            "scale": 0.04,
            "shear": 0.03,
        },
    },
}
OTHERS: dict[str, Any] = {**DATASETS["fashion_mnist"], "levels": 3}


def shapes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Generated images of four classes for the smoke run: bars, squares and crosses, with noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, (count, 16, 16, 1)).astype(np.uint8)
    labels = rng.integers(0, 4, count)
    marks = np.zeros((4, 7, 7), bool)
    marks[0, 3], marks[1, :, 3], marks[2, 1:6, 1:6] = True, True, True
    marks[3] = np.eye(7, dtype=bool) | np.eye(7, dtype=bool)[::-1]
    for image, label in zip(images, labels, strict=True):
        y, x = rng.integers(0, 10, 2)
        image[y : y + 7, x : x + 7, 0][marks[label]] = 200
    return images, labels.astype(np.int32)


def load(options: argparse.Namespace) -> tuple[Any, Any]:
    """Training and test images with labels."""
    if options.smoke:
        return shapes(600, 0), shapes(300, 1)
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS advises to install OpenCV
    train, test = (
        data.load(options.dataset, split, data_dir=options.data_dir, limit=options.limit)
        for split in ("train", "test")
    )
    return train, test


def settings(options: argparse.Namespace, images: np.ndarray) -> tuple[clauses.Recipe, np.ndarray]:
    """The recipe and the thresholds of the level sets, int `(C, count)`."""
    chosen = DATASETS.get(options.dataset, OTHERS)
    banks, levels = chosen["banks"], chosen["levels"]
    if options.smoke:
        banks, levels = ((5, 16), (7, 16)), [128]
    if options.clauses:
        total = sum(count for _, count in banks)
        banks = tuple((size, max(1, count * options.clauses // total)) for size, count in banks)
    extra = dict(chosen.get("recipe", {}))
    if options.smoke:
        extra = {"rates": (0.03, 0.03), "rotation": 0.0, "shear": 0.0, "dropout": 0.0}
    if options.road == "smooth":
        extra |= clauses.SMOOTH
    if isinstance(levels, int):
        thresholds = levelsets.thresholds(images[:5000], levels, method="uniform")
    else:
        thresholds = np.array([levels] * images.shape[-1])
    return clauses.Recipe(banks=banks, **extra), thresholds


# %% [markdown]
# ## Float and binary network
#
# One function runs both: on numbers with the trained parameters, on bits with the binary ones. The
# certificate is computed from the parameters alone; the test images only say how good the network is.


# %%
def predictions(
    net: Callable[..., jax.Array],
    params: Any,
    images: np.ndarray,
    thresholds: np.ndarray,
    *,
    real: bool,
) -> np.ndarray:
    """Labels of images, 50 at a time."""
    dtype = jnp.float32 if real else bool

    @jax.jit
    def labels(part: jax.Array) -> jax.Array:
        levels = levelsets.decompose(part.astype(jnp.int32), thresholds.astype(np.int32))
        return jnp.argmax(net(params, levels.astype(dtype)), -1)

    short = -len(images) % 50
    padded = np.concatenate([images, images[:1].repeat(short, 0)]) if short else images
    parts = [np.asarray(labels(jnp.asarray(padded[i : i + 50]))) for i in range(0, len(padded), 50)]
    return np.concatenate(parts)[: len(images)]


def judge(
    trained: recipes.Trained, recipe: clauses.Recipe, test: Any, thresholds: np.ndarray
) -> dict:
    """Accuracies on the test set, the verdicts of the certificate, and what an image costs."""
    images, answers = test
    where = {"stride": recipe.stride, "regions": recipe.regions}
    wiring = classify.wires(trained.votes, trained.bias)
    net = classify.classifier(wiring, **where)
    binary = morphax.binarize(trained.params)
    height, width, channels = images.shape[1:]
    shape = (1, height, width, channels * thresholds.shape[1])

    def bits(params: Any, x: jax.Array) -> jax.Array:
        return classify.features(params["erosions"], x, **where)

    verdict = morphax.certify_network(bits, trained.params, shape)
    exact = np.concatenate([np.asarray(v.exact).ravel() for v in verdict.neurons.values()])
    real = predictions(net, trained.params, images, thresholds, real=True)
    bit = predictions(net, binary, images, thresholds, real=False)
    sides = [len(classify.centres(n, **where)) for n in (height, width)]
    return {
        "float_accuracy": float((real == answers).mean()),
        "binary_accuracy": float((bit == answers).mean()),
        "test_images": len(answers),
        "decisions_that_differ": int((real != bit).sum()),
        "certified_share": float(exact.mean()),
        "network_certified": bool(verdict.exact),
        **classify.operations(
            binary["erosions"], wiring, positions=sides[0] * sides[1], regions=recipe.regions
        ),
        "largest_vote": int(np.abs(trained.votes).max()),
    }


def save_network(path: Path, trained: recipes.Trained, thresholds: np.ndarray) -> None:
    """Write a network: its bits, and the trained numbers that they are proved equal to."""
    arrays: dict[str, Any] = {
        "votes": trained.votes,
        "bias": trained.bias,
        "thresholds": thresholds,
    }
    for i, bank in enumerate(trained.params["erosions"]):
        weight, threshold, scale = morphax.nodes.leaves(bank)
        arrays |= {f"weight{i}": weight, f"threshold{i}": threshold, f"scale{i}": scale}
    for i, bank in enumerate(morphax.binarize(trained.params)["erosions"]):
        arrays[f"selem{i}"] = bank.selem
    np.savez_compressed(path, **jax.tree.map(np.asarray, arrays))


# %% [markdown]
# ## What the clauses look for
#
# Red: this literal must hold at the pixel; blue: its complement must.


# %%
def figure(trained: recipes.Trained, recipe: clauses.Recipe, channels: int) -> Any:
    """The clauses with the largest votes of the first bank, and the training curve."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    size, count = recipe.banks[0]
    weight = np.asarray(trained.params["erosions"][0].weight) > 0.5
    window = weight.reshape(size, size, 2, channels, count).sum(3)
    shown = np.abs(trained.votes[: recipe.regions**2 * count]).reshape(
        -1, count, trained.votes.shape[1]
    )
    order = np.argsort(-shown.sum((0, 2)))[:24]
    sheet = Figure(figsize=(9, 5), layout="constrained")
    grid = sheet.add_gridspec(4, 8)
    for place, clause in enumerate(order):
        axis = sheet.add_subplot(grid[place // 8, place % 8])
        axis.imshow(window[:, :, 0, clause] - window[:, :, 1, clause], cmap="RdBu_r",
                    vmin=-channels, vmax=channels)  # fmt: skip
        axis.set_axis_off()
    axis = sheet.add_subplot(grid[3, :])
    axis.plot([r["step"] for r in trained.history], [r["train_accuracy"] for r in trained.history])
    axis.set(xlabel="step", ylabel="accuracy in training")
    return sheet


# %%
def main() -> None:
    """Train, certify, binarize, test; write result.json, network.npz and a figure."""
    parser = argparse.ArgumentParser(description="a classifier that is binary to the end")
    parser.add_argument("--dataset", default="mnist", help="mnist, fashion_mnist, or any of TFDS")
    parser.add_argument("--data-dir", help="folder of the data sets (default: MORPHAX_DATA)")
    parser.add_argument("--road", choices=clauses.ROADS, default="straight-through")
    parser.add_argument("--clauses", type=int, help="how many in all (default: by data set)")
    parser.add_argument("--epochs", type=float, help="passes (default: by data set)")
    parser.add_argument("--limit", type=int, help="use only so many images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/classify"))
    parser.add_argument("--smoke", action="store_true", help="generated images, seconds")
    options = parser.parse_args()
    begun = time.perf_counter()
    about = common.metadata("classify", unit="accuracy", reference="none", smoke=options.smoke)
    train, test = load(options)
    recipe, thresholds = settings(options, train[0])
    epochs = options.epochs or DATASETS.get(options.dataset, OTHERS)["epochs"]
    trained = recipes.fit_classifier(
        jax.random.key(options.seed),
        train,
        thresholds=thresholds.astype(np.float32),
        recipe=recipe,
        epochs=10 if options.smoke else epochs,
        batch_size=50 if options.smoke else 100,
        folder=options.out,
    )
    seconds = time.perf_counter() - begun
    row = {
        "dataset": "generated" if options.smoke else options.dataset,
        "road": options.road,
        "clauses": sum(count for _, count in recipe.banks),
        "epochs": epochs,
        "seed": options.seed,
        **judge(trained, recipe, test, thresholds),
        "seconds": round(seconds, 1),
    }
    about |= {
        "recipe": recipe._asdict(),
        "thresholds": thresholds.tolist(),
        "morphax": morphax.__version__,
        "load_end": os.getloadavg()[0],
    }
    text = json.dumps({"metadata": about, "results": [row]}, indent=1)
    (options.out / "result.json").write_text(text + "\n")
    save_network(options.out / "network.npz", trained, thresholds)
    figure(trained, recipe, thresholds.size).savefig(options.out / "clauses.png", dpi=120)
    print(
        f"{row['dataset']}, {row['road']}, {row['clauses']} clauses, {row['test_images']} test images"
    )
    print(f"  float network   {row['float_accuracy']:.2%}")
    print(
        f"  binary network  {row['binary_accuracy']:.2%}, {row['decisions_that_differ']} decisions differ"
    )
    print(
        f"  certified       {row['certified_share']:.1%} of the neurons, network: {row['network_certified']}"
    )
    print(
        f"  an image costs  {row['ands']:,} ANDs, {row['ors']:,} ORs, {row['counted']:,} bits counted"
    )


if __name__ == "__main__":
    main()
