# %% [markdown]
# # Segment cell nuclei: gray level sets in, mask out
#
# Fluorescence images of nuclei (BBBC038, 334 of 256x256) become binary channels: level sets of three
# gray images. A network of erosions, dilations, unions and intersections makes the mask. It is trained
# by gradients, certified, binarized, and compared with Otsu's threshold and with small CNNs.
#
#     python examples/segment_nuclei.py --data-dir DIR      # or MORPHAX_DATA; about 10 minutes on a core
#     python examples/segment_nuclei.py --smoke             # seconds, on made-up images
#
# It needs `pip install 'morphax[examples]'`. What was tried and what failed: docs/images.md.

# %%
import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import morphax
from morphax import data, elements, levelsets, models, regularizers, transforms, viz
from morphax.metrics import certified_share, dice
from morphax.nodes import BiSE, Spec, named_nodes
from morphax.training import fit, make_chunk, make_step

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import common

# %% [markdown]
# ## Otsu's threshold, and gray images relative to it
#
# Brightness means nothing by itself here: images differ by a factor of five. Three gray images say how
# bright a pixel is relative to
#
# - *image*: Otsu's threshold of the image, taken on square roots (which evens out the photon noise),
# - *place*: the same threshold of the 64x64 tiles around the pixel, between which we interpolate,
# - *neighbour*: the brightest pixel within 7x7 (its gray dilation), which tells nuclei from halos.


# %%
def otsu(image: np.ndarray) -> int:
    """Otsu's threshold of a uint8 image: foreground is `image >= otsu(image)`."""
    count = np.bincount(image.ravel(), minlength=256).astype(float)
    below, total = np.cumsum(count), np.cumsum(count * np.arange(256))
    product = below * (below[-1] - below)
    between = (total[-1] * below - below[-1] * total) ** 2 / np.maximum(product, 1)
    return int(np.argmax(np.where(product > 0, between, -1))) + 1


def root_otsu(image: np.ndarray) -> float:
    """Otsu's threshold of the square roots, as a gray value."""
    root = np.sqrt(np.maximum(image, 1).astype(float))
    return (otsu((root / root.max() * 255).astype(np.uint8)) / 255 * root.max()) ** 2


def local_threshold(image: np.ndarray, window: int = 64) -> np.ndarray:
    """`root_otsu` of overlapping tiles, interpolated between their centres."""
    height, width = image.shape
    centres = [np.arange(window // 2, side - window // 2 + 1, window // 2) for side in image.shape]
    half = window // 2
    tiles = [[root_otsu(image[r - half : r + half, c - half : c + half]) for c in centres[1]]
             for r in centres[0]]  # fmt: skip

    def weights(side: int, points: np.ndarray) -> np.ndarray:
        hats = [np.interp(np.arange(side), points, row) for row in np.eye(len(points))]
        return np.stack(hats, -1)

    return weights(height, centres[0]) @ np.array(tiles) @ weights(width, centres[1]).T


def brightest_neighbour(image: np.ndarray, size: int = 7) -> np.ndarray:
    """Gray dilation by a square."""
    padded = np.pad(image, size // 2)
    for axis in (0, 1):
        padded = np.lib.stride_tricks.sliding_window_view(padded, size, axis).max(-1)
    return padded


GRAYS = ("image", "place", "neighbour")
LEVELS = np.stack([np.linspace(0.5, 1.9, 8), np.linspace(0.5, 1.9, 8), np.linspace(0.2, 0.9, 8)])
LEVELS = LEVELS.astype(np.float32)


def relative(images: np.ndarray) -> np.ndarray:
    """The three gray images, float32 `(N, H, W, 3)`, of uint8 images `(N, H, W, 1)`."""
    made = []
    for image in images[..., 0]:
        whole = root_otsu(image)
        place = np.maximum(local_threshold(image), whole / 2)  # a tile of noise has no say
        neighbour = np.maximum(brightest_neighbour(image), 1)
        made.append(np.stack([image / whole, image / place, image / neighbour], -1))
    return np.stack(made).astype(np.float32)


def level_sets(grays: np.ndarray) -> np.ndarray:
    """The binary channels, bool `(N, H, W, 24)`."""
    parts = [levelsets.decompose(grays[i : i + 16], LEVELS) for i in range(0, len(grays), 16)]
    return np.concatenate([np.asarray(part) for part in parts])


# %% [markdown]
# ## Baselines without learning
#
# Every choice (a factor, an opening or closing) is made on the training images.


# %%
def score(prediction: Any, masks: np.ndarray) -> float:
    """Mean Dice over images."""
    return float(dice(jnp.asarray(prediction), jnp.asarray(masks)))


def baselines(train: tuple, test: tuple, *, few: bool) -> list[dict[str, Any]]:
    """Otsu; Otsu and the best opening or closing; the best multiple of Otsu, and of `root_otsu`.

    `few` tries two elements and one border only: each takes a compilation.
    """
    rows = []
    base = {}
    for name, threshold in (("Otsu", otsu), ("root Otsu", root_otsu)):
        base[name] = [np.array([threshold(image) for image in part[0]])[:, None, None, None]
                      for part in (train, test)]  # fmt: skip
    plain = [part[0] >= base["Otsu"][i] for i, part in enumerate((train, test))]
    rows.append(row("Otsu's threshold", score(plain[1], test[1]), score(plain[0], train[1]), 0))
    found = []
    shapes = {f"disk({n})": elements.disk(n) for n in (3, 5, 7)}
    shapes |= {f"square({n - 2})": elements.named("square", n) for n in (5, 7)}
    for operation in ("opening", "closing"):
        for border in ("ignore", "constant")[: 1 if few else 2]:
            for name, selem in list(shapes.items())[: 2 if few else None]:
                run = jax.jit(
                    lambda x, o=operation, s=selem, b=border: data.target(x, o, s, border=b)
                )
                found.append((score(run(plain[0]), train[1]), f"{operation} by {name}", run))
    best = max(found, key=lambda item: item[0])
    rows.append(
        row(f"Otsu, then the best {best[1]}", score(best[2](plain[1]), test[1]), best[0], 0)
    )
    for name, thresholds in base.items():
        factors = np.arange(0.5, 1.6, 0.05)
        on_train = [score(train[0] >= f * thresholds[0], train[1]) for f in factors]
        f = factors[int(np.argmax(on_train))]
        on_test = score(test[0] >= f * thresholds[1], test[1])
        rows.append(row(f"{f:.2f} x {name}", on_test, max(on_train), 1))
    return rows


def row(method: str, binary: float, train: float | None, parameters: int, **more: Any) -> dict:
    """One row of the table; what does not apply is None."""
    empty = {"float": None, "certified": None, "exact": None, "gap": None}
    return {"method": method, **empty, "binary": binary, "train": train,
            "parameters": parameters, **more}  # fmt: skip


# %% [markdown]
# ## The start: a union of intersections of level sets
#
# Gradients from a random start learn votes among the level sets: a good gray network, that no binary
# network equals (`--start random` shows it). So training starts from a binary network: a union of a few
# intersections of one level of each gray image, found by greedy search on the training images, one pixel
# at a time. Gradients then shape the windows around the pixel.


# %%
def greedy(grays: np.ndarray, masks: np.ndarray, terms: int) -> list[tuple[int, int, int]]:
    """Levels (one in each gray image; 0 for none) of the terms, as many as help."""
    count = LEVELS.shape[1] + 1
    cells = [np.digitize(grays[..., c], LEVELS[c]) for c in range(3)]
    cell = np.ravel_multi_index(cells, (count,) * 3).reshape(len(grays), -1)
    truth = masks.reshape(len(masks), -1)
    inside = np.stack(
        [np.bincount(c[t], minlength=count**3) for c, t in zip(cell, truth, strict=True)]
    )
    every = np.stack([np.bincount(c, minlength=count**3) for c in cell])
    grid = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), -1).reshape(-1, 3)
    boxes = (grid[:, None] >= grid[None]).all(-1)  # (cell, term)

    def best(rest: np.ndarray) -> tuple[float, int]:
        chosen = (rest[:, None] | boxes).astype(np.float32)
        value = 2 * (inside @ chosen) / (every @ chosen + truth.sum(1)[:, None] + 1e-6)
        return float(value.mean(0).max()), int(value.mean(0).argmax())

    found: list[int] = []
    reached = 0.0
    for _ in range(terms):
        value, term = best(boxes[:, found].any(1))
        if value <= reached + 1e-5:
            break
        reached = value
        found.append(term)
        for _ in range(3):  # each term once more, given the others
            for i in range(len(found)):
                others = found[:i] + found[i + 1 :]
                reached, found[i] = best(boxes[:, others].any(1))
    return [tuple(int(v) for v in grid[term]) for term in found]


def initial(key: jax.Array, terms: list, kernel: int, *, random: bool) -> list[dict[str, BiSE]]:
    """The params tree: a dense bank over channels, a BiSEL over terms, a BiSE at the end."""
    channels, width = LEVELS.size, len(terms)
    keys = iter(jax.random.split(key, 8))

    def bank(role: str, weight: jax.Array, quantile: float) -> BiSE:
        axes = (0, 1) if role == "spatial" else (0,)
        total = weight.sum(axes)
        spec = Spec(role, "identity", "centred")
        return BiSE(weight, (quantile - 0.5) * total, jnp.full(total.shape, SCALES[0]), spec)

    def window(inputs: int) -> jax.Array:
        shape = (kernel, kernel, inputs, 1)
        noise = jax.random.uniform(next(keys), shape)
        return noise if random else (0.005 * noise).at[kernel // 2, kernel // 2].set(1.0)

    combine = jnp.zeros((channels, width))
    for t, term in enumerate(terms):
        for gray, level in enumerate(term):
            if level:
                combine = combine.at[gray * LEVELS.shape[1] + level - 1, t].set(1.0)
    if random:
        combine = jax.random.uniform(next(keys), combine.shape, minval=0.1, maxval=0.9)
    # Of n equal weights, an intersection has its bias half a weight below their sum.
    sizes = (combine > 0.5).sum(0)
    return [
        {"dense": bank("dense", combine, 0.5 if random else (sizes - 0.5) / sizes)},  # type: ignore
        {"bise": bank("spatial", window(width), 0.35 if not random else 0.5),
         "lui": bank("lui", jnp.ones((width, 1)), 0.5 / width if not random else 0.5)},
        {"bise": bank("spatial", window(1), 0.35 if not random else 0.5)},
    ]  # fmt: skip


def network(params: Any, x: jax.Array) -> jax.Array:
    """Level sets `(N, H, W, 24)` to a mask `(N, H, W, 1)`, real or binary."""
    return models.bimonn(params[1:], morphax.apply(params[0]["dense"], x))


run = jax.jit(network)


def predict(params: Any, channels: np.ndarray) -> np.ndarray:
    """Bool masks of a real or binary network."""
    real = any(isinstance(node, BiSE) for node in named_nodes(params).values())
    parts = (channels[i : i + 8] for i in range(0, len(channels), 8))
    return np.concatenate([np.asarray(run(params, part * np.float32(1)) > 0.5 if real
                                      else run(params, part)) for part in parts])  # fmt: skip


# %% [markdown]
# ## Training
#
# Soft Dice on crops. |p| grows from soft to hard; two penalties grow with it: L_exact pulls each neuron
# to the nearest one that is exactly an erosion or dilation, L_const-exact settles its structuring
# element. The network with the best binary Dice on held-out training images is kept, certified ones first.

# %%
SCALES = (6.0, 24.0)


def optimizer_for(steps: int, rate: float) -> optax.GradientTransformation:
    """Adam on a cosine, weights in [0, 1], |p| annealed."""
    return optax.chain(
        optax.adam(optax.cosine_decay_schedule(rate, steps, alpha=0.1)),
        transforms.keep_weights_in(0.0, 1.0),
        transforms.set_scale(optax.exponential_decay(SCALES[0], steps, SCALES[1] / SCALES[0])),
    )


def train_network(key: jax.Array, start: Any, train: tuple, valid: tuple, args: Any) -> Any:
    """The best params on the way, and its record."""

    def penalty(params: Any, step: jax.Array) -> jax.Array:
        strength = args.pull * 10.0 ** (3 * jnp.clip(step / args.steps, 0, 1) - 3)
        pulls = regularizers.exact(params, relative_margin=0.05) + regularizers.constant(params)
        return strength * pulls

    @jax.jit
    def evaluate(params: Any, held_out: tuple) -> dict[str, jax.Array]:
        x, y = held_out
        soft, hard = network(params, x * jnp.float32(1)) > 0.5, network(morphax.binarize(params), x)
        verdict = morphax.certify_network(network, params, (1, 16, 16, x.shape[-1]))
        return {
            "float": dice(soft, y),
            "binary": dice(hard, y),
            "gap": (soft != hard).mean(),
            "certified": certified_share(params),
            "exact": verdict.exact.astype(jnp.float32),
        }

    optimizer = optimizer_for(args.steps, args.rate)
    step = make_step(network, optimizer, loss="dice", penalty=penalty)
    length = max(1, args.steps // 8)
    program = make_chunk(step, batch_size=8, length=length)
    held_out = tuple(map(jnp.asarray, valid))
    kept: list[Any] = []

    def judge(params: Any, valid: tuple) -> dict[str, jax.Array]:
        record = evaluate(params, held_out)
        rank = (float(record["exact"]), float(record["binary"]))
        if not kept or rank > kept[0]:
            kept[:] = [rank, params, record]
        return record

    if args.start == "greedy":
        judge(start, valid)
    fit(key, network, start, train, valid=valid, optimizer=optimizer, steps=args.steps,
        chunk=program, evaluate=judge, log_every=length, log=args.out / "metrics.jsonl",
        tags={"seed": args.seed})  # fmt: skip
    return kept[1]


def crops(key: jax.Array, channels: np.ndarray, masks: np.ndarray, size: int, count: int) -> tuple:
    """Random crops; the emptiest quarter is left out, where Dice says little."""
    x, y = (
        np.asarray(part)
        for part in data.crops(key, channels, masks, size=(size, size), count=count)
    )
    full = np.argsort(y.mean((1, 2, 3)))[count // 4 :]
    return x[full], y[full]


# %% [markdown]
# ## Convolutional networks to compare with
#
# They see the same three gray images as floats; their parameters are counted in the table.


# %%
class CNN(nn.Module):
    """Convolutions 3x3 with ReLU, then one logit."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Gray images `(N, H, W, 3)` to a probability `(N, H, W, 1)`."""
        for i, width in enumerate(self.widths):
            x = nn.relu(nn.Conv(width, (3, 3), kernel_dilation=(1, 2, 4)[i % 3])(x))
        return nn.sigmoid(nn.Conv(1, (1, 1))(x))


def train_cnn(
    key: jax.Array, widths: tuple[int, ...], train: tuple, test: tuple, args: Any
) -> tuple:
    """Dice on the test images of a CNN trained with the same loss on the same crops; parameters."""
    model = CNN(widths)
    params = model.init(key, jnp.zeros((1, 16, 16, 3)))
    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, args.cnn_steps, alpha=0.05))
    step = make_step(model.apply, optimizer, loss="dice")  # type: ignore[arg-type]
    program = make_chunk(step, batch_size=8, length=max(1, args.cnn_steps // 4))
    few = tuple(jnp.asarray(part[:8]) for part in train)
    done = fit(key, model.apply, params, train, valid=(few[0], few[1]), optimizer=optimizer,  # type: ignore
               steps=args.cnn_steps, chunk=program, evaluate=lambda p, d: {},
               log_every=max(1, args.cnn_steps // 4))  # fmt: skip
    forward = jax.jit(lambda x: model.apply(done.state.params, x) > 0.5)  # type: ignore[operator]
    parts = [np.asarray(forward(test[0][i : i + 8])) for i in range(0, len(test[0]), 8)]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    return score(np.concatenate(parts), test[1]), count


# %% [markdown]
# ## What it learned, in words and pictures


# %%
def in_words(binary: Any) -> list[str]:
    """The terms of a binary network, as a microscopist would say them."""
    dense = jax.tree.map(np.asarray, binary[0]["dense"])
    words = []
    for t in range(dense.selem.shape[1]):
        chosen = dense.selem[:, t].reshape(LEVELS.shape)
        # Levels are nested: of several, an intersection keeps the highest, a union the lowest.
        parts = []
        for gray in range(3):
            levels = LEVELS[gray][chosen[gray]]
            if len(levels):
                level = levels.max() if dense.erosion[t] else levels.min()
                parts.append(f"{GRAYS[gray]} >= {level:.1f}")
        words.append((" and " if dense.erosion[t] else " or ").join(parts))
    return words


def operation(node: Any, index: int) -> str:
    """Name and size of a spatial neuron of a binary network."""
    name = "erosion" if bool(node.erosion[index, 0]) else "dilation"
    size = int(np.asarray(node.selem)[:, :, index, 0].sum())
    return f"{name}, {size} px"


def rule_figure(binary: Any, image: np.ndarray, channels: np.ndarray, mask: np.ndarray) -> Any:
    """The network from left to right: each term, its window, what it finds; the union and its window."""
    from matplotlib.figure import Figure

    words = in_words(binary)
    terms = np.asarray(morphax.apply(binary[0]["dense"], channels))[0]
    maps = np.asarray(morphax.apply(binary[1]["bise"], jnp.asarray(terms)[None]))[0, ..., 0]
    final = np.asarray(network(binary, channels))[0, ..., 0]
    rows = len(words)
    joined = "intersection" if bool(np.asarray(binary[1]["lui"].erosion)[0]) else "union"
    used = np.asarray(binary[1]["lui"].selem)[:, 0]
    figure = Figure(figsize=(11, 2.3 * rows + 2.6), layout="constrained")
    axes = figure.subplots(rows + 1, 4)
    for t in range(rows):
        show(axes[t, 0], terms[..., t], words[t].replace(" and ", "\nand "))
        node = binary[1]["bise"]
        window = morphax.structuring_element(node, t, 0)
        show(axes[t, 1], ~np.asarray(window), operation(node, t), lines=True)
        show(axes[t, 2], maps[..., t], "in the " + joined if used[t] else "left out")
        overlay(axes[t, 3], image, maps[..., t], mask, "")
    last = binary[2]["bise"]
    show(axes[rows, 0], np.sqrt(image.astype(float)), "the image (square root)")
    window = morphax.structuring_element(last, 0, 0)
    show(axes[rows, 1], ~np.asarray(window), f"last: {operation(last, 0)}", lines=True)
    show(axes[rows, 2], final, "the result")
    overlay(axes[rows, 3], image, final, mask, "against the mask")
    return figure


def show(ax: Any, picture: np.ndarray, title: str, *, lines: bool = False) -> None:
    """A gray picture without ticks."""
    ax.imshow(picture, cmap="gray", interpolation="nearest")
    if lines:
        ax.hlines(
            np.arange(picture.shape[0] + 1) - 0.5, -0.5, picture.shape[1] - 0.5, "0.6", lw=0.5
        )
        ax.vlines(
            np.arange(picture.shape[1] + 1) - 0.5, -0.5, picture.shape[0] - 0.5, "0.6", lw=0.5
        )
    ax.set_title(title, fontsize=8)
    ax.set_axis_off()


def overlay(ax: Any, image: np.ndarray, found: np.ndarray, mask: np.ndarray, title: str) -> None:
    """Right in gray, missed in blue, added in orange, over the image."""
    base = np.sqrt(image / max(int(image.max()), 1)) * 0.5
    picture = np.repeat(base[..., None], 3, -1)
    picture[found & mask] += 0.4
    picture[mask & ~found] = (0.2, 0.5, 0.95)
    picture[found & ~mask] = (0.95, 0.5, 0.1)
    ax.imshow(np.clip(picture, 0, 1), interpolation="nearest")
    ax.set_title(title, fontsize=8)
    ax.set_axis_off()


def result_figure(
    images: np.ndarray, masks: np.ndarray, plain: np.ndarray, found: np.ndarray
) -> Any:
    """Test images at the 5, 25, 50, 75 and 95 % quantiles of the binary Dice, not chosen by eye."""
    from matplotlib.figure import Figure

    each = np.array([score(f[None], m[None]) for f, m in zip(found, masks, strict=True)])
    order = np.argsort(each)[
        (np.array([0.05, 0.25, 0.5, 0.75, 0.95]) * (len(each) - 1)).astype(int)
    ]
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(3, 5)
    for k, i in enumerate(order):
        otsu_dice = score(plain[i][None], masks[i][None])
        show(axes[0, k], np.sqrt(images[i, ..., 0].astype(float)), f"test image {i} (square root)")
        overlay(axes[1, k], images[i, ..., 0], plain[i, ..., 0], masks[i, ..., 0],
                f"Otsu, Dice {otsu_dice:.3f}")  # fmt: skip
        overlay(axes[2, k], images[i, ..., 0], found[i, ..., 0], masks[i, ..., 0],
                f"morphax, binary, Dice {each[i]:.3f}")  # fmt: skip
    figure.suptitle("gray: right, blue: missed, orange: added", fontsize=9)
    return figure


# %% [markdown]
# ## The main job


# %%
def made_up(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Stand-in images for `--smoke`: blurred bright disks of many brightnesses on noise."""
    rows, columns = np.mgrid[:96, :96]
    images, masks = np.zeros((count, 96, 96)), np.zeros((count, 96, 96), bool)
    for image, mask in zip(images, masks, strict=True):
        image += rng.normal(6, 2, image.shape)
        for _ in range(6):
            r, c, radius = rng.uniform(8, 88), rng.uniform(8, 88), rng.uniform(4, 9)
            distance = np.hypot(rows - r, columns - c)
            image += rng.uniform(30, 120) / (1 + np.exp((distance - radius) / 1.2))
            mask |= distance < radius
    return np.clip(images, 0, 255).astype(np.uint8)[..., None], masks[..., None]


def load(args: argparse.Namespace) -> tuple[tuple, tuple]:
    """(images, masks) of the two splits."""
    if args.smoke and not args.data_dir:
        print("SMOKE: made-up images stand in for the nuclei; the figures mean nothing.")
        rng = np.random.default_rng(0)
        return made_up(rng, 12), made_up(rng, 5)
    train, test = (data.load_nuclei(split, data_dir=args.data_dir) for split in ("train", "test"))
    low = min(part[0].shape[axis] for part in (train, test) for axis in (1, 2))
    if low < 96:
        raise ValueError(f"images: expected sides of 96 pixels or more, got {train[0].shape}")
    if len(train[0]) < 5:
        raise ValueError(f"images: expected 5 training images or more, got {len(train[0])}")
    return train, test


def main(argv: list[str] | None = None) -> int:
    """Measure everything, write table, JSON and figures; returns the exit status."""
    args = parse(argv)
    began = time.perf_counter()
    try:
        viz.require_matplotlib()
        train, test = load(args)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        print(f"segment_nuclei: {error}", file=sys.stderr)
        return 2
    (args.out / "metrics.jsonl").unlink(missing_ok=True)
    about = common.metadata("segment_nuclei", unit="Dice", reference="Otsu", smoke=args.smoke)
    rows = baselines(train, test, few=args.smoke)
    say(rows)

    grays = [relative(part[0]) for part in (train, test)]
    order = np.random.default_rng(0).permutation(len(train[0]))
    held, fitted = np.split(order, [max(1, len(order) // 8)])
    terms = greedy(grays[0][fitted], train[1][fitted], args.terms)
    sets = [level_sets(part) for part in grays]
    keys = jax.random.split(jax.random.key(args.seed), 5)
    start = initial(keys[0], terms, args.size, random=args.start == "random")
    cut = crops(keys[1], sets[0][fitted], train[1][fitted], 96, args.crops)
    valid = (sets[0][held], train[1][held])

    def judged(name: str, params: Any) -> np.ndarray:
        soft, hard = predict(params, sets[1]), predict(morphax.binarize(params), sets[1])
        verdict = morphax.certify_network(network, params, (1, 32, 32, LEVELS.size))
        shares = [np.ravel(each.exact) for each in verdict.neurons.values()]
        on_train = score(predict(morphax.binarize(params), sets[0]), train[1])
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        rows.append(row(name, score(hard, test[1]), on_train, count, float=score(soft, test[1]),
                        certified=float(np.concatenate(shares).mean()), exact=bool(verdict.exact),
                        gap=float((soft != hard).mean())))  # fmt: skip
        say(rows[-1:])
        return hard

    if args.start == "greedy":
        judged("level sets, greedy start", start)
    params = train_network(keys[2], start, tuple(map(jnp.asarray, cut)), valid, args)
    # No record of the training was certified and better: say so, it is not a trained network then.
    gained = "trained" if params is not start else "training gained nothing, start kept"
    hard = judged(f"{args.start} start, {gained}", params)
    binary = morphax.binarize(params)
    if not args.no_cnn:
        crop = crops(keys[1], np.clip(grays[0][fitted] / 2, 0, 1), train[1][fitted], 96, args.crops)
        crop = tuple(map(jnp.asarray, crop))
        for widths in ((5, 4, 4), (16, 16, 16))[: 1 if args.smoke else 2]:
            value, count = train_cnn(
                keys[3], widths, crop, (np.clip(grays[1] / 2, 0, 1), test[1]), args)  # fmt: skip
            name = f"CNN {'-'.join(map(str, widths))}, float, same gray images"
            rows.append({**row(name, 0.0, None, count), "float": value, "binary": None})
            say(rows[-1:])

    print("\nWhat it learned: the mask is the union of")
    for t, words in enumerate(in_words(binary)):
        print(f"  {words}  [{operation(binary[1]['bise'], t)}]")
    print(f"then: {operation(binary[2]['bise'], 0)}")
    plain = test[0] >= np.array([otsu(image) for image in test[0]])[:, None, None, None]
    pick = int(
        np.argsort([score(h[None], m[None]) for h, m in zip(hard, test[1], strict=True)])[
            len(hard) // 2
        ]
    )
    figures = {
        "segment_nuclei.png": result_figure(*test, plain, hard),
        "segment_nuclei_rule.png": rule_figure(binary, test[0][pick, ..., 0], sets[1][pick : pick + 1],
                                               test[1][pick, ..., 0]),
    }  # fmt: skip
    for name, figure in figures.items():
        save(args.out / name, lambda path, figure=figure: figure.savefig(path, dpi=90))
    about |= {"command": command(args),
              "seed": args.seed, "test_images": len(test[0]), "train_images": len(train[0]),
              "terms": in_words(binary), "seconds": round(time.perf_counter() - began, 1),
              "load_end": os.getloadavg()[0]}  # fmt: skip
    document = {"metadata": about, "results": rows, "skipped": []}
    save(
        args.out / "segment_nuclei.json",
        lambda path: path.write_text(json.dumps(document, indent=1)),
    )
    print(f"\nWritten to {args.out}: {', '.join(figures)}, segment_nuclei.json, metrics.jsonl "
          f"({about['seconds']:.0f} s)")  # fmt: skip
    return 0


def command(args: argparse.Namespace) -> str:
    """The command that repeats the run, without the folders of this machine."""
    given = {name: value for name, value in vars(args).items() if name not in ("out", "data_dir")}
    flags = [f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
             for name, value in given.items() if value is not False]  # fmt: skip
    return "python examples/segment_nuclei.py " + " ".join(flags)


def save(path: Path, write: Callable[[Path], object]) -> None:
    """Write under another name, then rename: the file is there as a whole or not at all."""
    temporary = path.with_name(f"tmp-{path.name}")
    write(temporary)
    os.replace(temporary, path)


def say(rows: list[dict[str, Any]]) -> None:
    """Print rows as they come."""
    for each in rows:

        def number(name: str, each: dict = each) -> str:
            return "   -  " if each[name] is None else f"{each[name]:.4f}"

        print(f"{each['method']:48s} float {number('float')}  binary {number('binary')}  certified "
              f"{number('certified')}  parameters {each['parameters']}", flush=True)  # fmt: skip


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Options, checked."""
    parser = argparse.ArgumentParser(description="Segment nuclei by learned morphology.")
    add = parser.add_argument
    add("--data-dir", type=Path, help="folder of nuclei256.npz (default: MORPHAX_DATA)")
    add(
        "--start", choices=("greedy", "random"), default="greedy", help="start of training (greedy)"
    )
    add("--terms", type=int, default=6, help="intersections at most (6)")
    add("--size", type=int, default=5, help="side of the windows, odd (5)")
    add("--steps", type=int, help="training steps (320)")
    add("--cnn-steps", type=int, help="training steps of the CNNs (400)")
    add("--crops", type=int, help="crops of 96x96 to train on (1200)")
    add("--rate", type=float, default=5e-3, help="learning rate (0.005)")
    add("--pull", type=float, default=0.3, help="strength of the penalties at the end (0.3)")
    add("--no-cnn", action="store_true", help="leave the CNNs out")
    add("--seed", type=int, default=0, help="(0)")
    add("--out", type=Path, default=Path("out/segment_nuclei"), help="folder for the results")
    add(
        "--smoke",
        action="store_true",
        help="a tiny run; on made-up images unless --data-dir is given",
    )
    args = parser.parse_args(argv)
    small = args.smoke
    defaults = {"steps": 16 if small else 320, "cnn_steps": 8 if small else 400,
                "crops": 32 if small else 1200}  # fmt: skip
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name in ("terms", "size", "steps", "cnn_steps"):
        if getattr(args, name) < 1:
            parser.error(
                f"--{name.replace('_', '-')}: expected 1 or more, got {getattr(args, name)}"
            )
    if args.crops < 8:
        parser.error(f"--crops: expected 8 or more, got {args.crops}")
    if args.size % 2 == 0:
        parser.error(f"--size: expected an odd number (a window has a centre), got {args.size}")
    return args


if __name__ == "__main__":
    sys.exit(main())
