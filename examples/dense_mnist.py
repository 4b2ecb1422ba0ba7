# %% [markdown]
# # 784-4096-10, binary: the papers' layer sizes without their gap
#
# One DenseLUI of binary pixels, 4096 erosions and dilations, and a last layer of ten: real weights as in
# the papers (`linear_head`), or the same weights rounded and counted (`group_sum` of wires), which is
# binary to the end. No complemented inputs: half of the neurons are erosions (all of these pixels are
# set), half are complemented dilations (none of these is).
#
#     python examples/dense_mnist.py --data-dir DATA                   # smooth, then proved
#     python examples/dense_mnist.py --training straight-through
#     python examples/dense_mnist.py --smoke                           # made-up images, seconds
#
# A run that was interrupted goes on: give the same options and the same `--out`.

# %%
import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import morphax
from morphax import data, program
from morphax.classification import clauses, model
from morphax.classification.augment import augment
from morphax.training import json_text

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _lib import common

THRESHOLD = 128  # a pixel is set from here on
SLOPE, SHARPNESS = (2.0, 16.0), (4.0, 32.0)
RATES = (0.02, 0.003)  # of Adam, for the neurons and for the last layer
PENALTY, DROPOUT, SMOOTHING, BOUND = 1e-3, 0.2, 0.02, 1.5
MOST = 15  # the largest |vote| once rounded

# %% [markdown]
# ## The network
#
# Weights are w = sigmoid(t q) in [0, 1], or the bits q > 0. A bias is tied to them: sum(w) - 1/2 for an
# erosion, 1/2 for a dilation, so a neuron is certified as soon as its weights in S are above 1/2 and the
# others sum to less. The first half are erosions; the others dilations with a negative scale.


# %%
def node(q: jax.Array, *, training: str, sharpness: Any, slope: Any) -> morphax.BiSE:
    """The DenseLUI of latent weights `(784, neurons)`."""
    soft = jax.nn.sigmoid(sharpness * q)
    weight = (q > 0).astype(q.dtype) if training == "straight-through" else soft
    erosion = jnp.arange(q.shape[1]) < q.shape[1] // 2
    bias = jnp.where(erosion, weight.sum(0) - 0.5, 0.5)
    scale = jnp.where(erosion, slope, -slope) / 2  # the sigmoid of slope p is tanh of p / 2
    return morphax.BiSE(weight, bias, scale, morphax.Spec("dense", "identity", "raw", "tanh"))


def classifier(params: Any, x: jax.Array) -> jax.Array:
    """Scores: the DenseLUI, then real weights."""
    return morphax.linear_head(morphax.apply(params["lui"], x), params["votes"], params["bias"])


def counting(wiring: np.ndarray) -> Callable[[Any, jax.Array], jax.Array]:
    """Counts: the DenseLUI, then wires from its bits and their complements, counted by class."""

    def apply(params: Any, x: jax.Array) -> jax.Array:
        bits = morphax.apply(params["lui"], x)
        zero = jnp.zeros((*bits.shape[:-1], 1), bits.dtype)
        every = [bits, morphax.complement(bits), zero, morphax.complement(zero)]
        voters = jnp.take(morphax.concatenate(every), wiring.reshape(-1), axis=-1, mode="clip")
        return morphax.group_sum(voters, classes=len(wiring))

    return apply


# %% [markdown]
# ## Training
#
# A neuron starts as a few pixels in a small window: set ones of a training image for an erosion, unset
# ones for a dilation. Slopes and sharpness grow; a penalty on what the certificate asks for sets in
# halfway. Straight through: bits forward, the derivatives of the smooth functions backward.


# %%
def start(key: jax.Array, images: np.ndarray, neurons: int) -> dict[str, jax.Array]:
    """Latent parameters: q `(pixels, neurons)`, votes and their bias."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    n, side = len(images), images.shape[1]
    drawn = images[rng.integers(0, n, neurons), :, :, 0] >= THRESHOLD
    y, x = np.mgrid[:side, :side]
    hold = np.where((np.arange(neurons) < neurons // 2)[:, None, None], drawn, ~drawn)
    inked = (images[:2000, :, :, 0] >= THRESHOLD).mean(0) > 0.02  # where digits are
    centres = np.argwhere(inked)[rng.integers(0, inked.sum(), neurons)]
    near = (abs(y - centres[:, :1, None]) <= 4) & (abs(x - centres[:, 1:, None]) <= 4)
    pick = hold & near & inked & (rng.random(hold.shape) < 0.15)
    q = np.where(pick, 0.5, -1.2) + rng.normal(0, 0.2, pick.shape)
    tree = {"q": q.reshape(neurons, -1).T, "votes": rng.normal(0, 0.05, (neurons, 10)),
            "bias": np.zeros(10)}  # fmt: skip
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def excess(q: jax.Array, sharpness: Any) -> jax.Array:
    """How far the neurons are outside of their certificate, with room to spare (as `clauses.excess`)."""
    return clauses.excess({"clauses": [q[None]]}, sharpness)


@cache
def make_chunk(
    training: str, steps: int
) -> tuple[optax.GradientTransformation, Callable[..., Any]]:
    """The optimizer, and the jitted `(state, images, labels, order, key) -> (state, loss, right)`."""
    rates = [optax.cosine_decay_schedule(rate, steps, 0.01) for rate in RATES]
    label = {"q": "neurons", "votes": "votes", "bias": "votes"}
    optimizer = optax.multi_transform(
        {"neurons": optax.adam(rates[0]), "votes": optax.adam(rates[1])}, label
    )
    straight = training == "straight-through"

    def bits(q: jax.Array, x: jax.Array, sharpness: Any, slope: Any) -> jax.Array:
        if not straight:
            return morphax.apply(node(q, training=training, sharpness=sharpness, slope=slope), x)
        soft = jax.nn.sigmoid(sharpness * q)
        hard = (q > 0) + soft - jax.lax.stop_gradient(soft)
        half = q.shape[1] // 2
        total = x @ hard
        missed = jnp.concatenate(
            [hard[:, :half].sum(0)[None] - total[:, :half], total[:, half:]], 1
        )
        return clauses.fires(missed, slope)

    def loss(latent: Any, x: Any, y: Any, key: Any, sharpness: Any, slope: Any, much: Any) -> Any:
        found = bits(latent["q"], x, sharpness, slope)
        found *= jax.random.bernoulli(key, 1 - DROPOUT, found.shape) / (1 - DROPOUT)
        scores = found @ latent["votes"] * clauses.GAIN + latent["bias"][None]
        wanted = optax.smooth_labels(jax.nn.one_hot(y, 10), SMOOTHING)
        value = optax.softmax_cross_entropy(scores, wanted).mean()
        pull = 0.0 if straight else much * excess(latent["q"], sharpness)
        return value + pull, (value, (scores.argmax(-1) == y).mean())

    moves = clauses.ClauseConfig()

    def step(state: Any, drawn: Any, images: Any, labels: Any, key: Any) -> Any:
        latent, opt_state, number = state
        keys = jax.random.split(jax.random.fold_in(key, number))
        done = number / max(steps - 1, 1)
        grown = 0.0 if straight else done
        slope, sharpness = (low * (high / low) ** grown for low, high in (SLOPE, SHARPNESS))
        x = augment(keys[0], images[drawn].astype(jnp.float32), config=moves)
        x = (x >= THRESHOLD).astype(jnp.float32).reshape(len(drawn), -1)
        gradient, told = jax.grad(loss, has_aux=True)(
            latent, x, labels[drawn], keys[1], sharpness, slope, PENALTY * (done > 0.5)
        )
        updates, opt_state = optimizer.update(gradient, opt_state, latent)
        latent = optax.apply_updates(latent, updates)
        latent = {**latent, "q": jnp.clip(latent["q"], -BOUND, BOUND)}
        return (latent, opt_state, number + 1), told

    def chunk(state: Any, images: Any, labels: Any, order: Any, key: Any) -> Any:
        body = lambda state, drawn: step(state, drawn, images, labels, key)  # noqa: E731
        state, told = jax.lax.scan(body, state, order)
        return state, jax.tree.map(jnp.mean, told)

    return optimizer, jax.jit(chunk, donate_argnums=0)


def fit(key: jax.Array, train: Any, *, training: str, neurons: int, epochs: float, batch: int,
        folder: Path, length: int = 50) -> tuple[Any, list[dict]]:  # fmt: skip
    """Train; goes on from what `folder` holds of the same run."""
    images, labels = train
    per_epoch = len(images) // batch
    steps = max(1, round(epochs * per_epoch))
    optimizer, chunk = make_chunk(training, steps)
    latent = start(key, images, neurons)
    state = (latent, optimizer.init(latent), jnp.zeros((), jnp.int32))
    name = json_text([training, neurons, steps, batch, len(images),
                       np.asarray(jax.random.key_data(key)).tolist()])  # fmt: skip
    saved, history, spent = folder / f"{training}.npz", [], 0.0
    if saved.exists():
        with np.load(saved) as file:
            if str(file["name"]) == name:
                leaves, tree = jax.tree.flatten(state)
                leaves = [jnp.asarray(file[f"leaf{i}"]) for i in range(len(leaves))]
                state = jax.tree.unflatten(tree, leaves)
                history, spent = json.loads(str(file["history"])), float(file["spent"])
    device = jnp.asarray(images), jnp.asarray(labels)
    begun = time.process_time()
    while int(state[2]) < steps:
        first = int(state[2])
        order = [place(len(images), batch, n) for n in range(first, min(first + length, steps))]
        state, (value, right) = chunk(state, *device, jnp.asarray(np.stack(order)), key)
        history.append(
            {"step": int(state[2]), "loss": float(value), "train_accuracy": float(right)}
        )
        arrays = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        np.savez(folder / "partial.npz", name=np.str_(name), history=np.str_(json_text(history)),
                 spent=spent + time.process_time() - begun, **arrays)  # fmt: skip
        os.replace(folder / "partial.npz", saved)
        print(json_text(history[-1]), flush=True)
    return state[0], [*history, {"cpu_seconds": round(spent + time.process_time() - begun, 1)}]


def place(count: int, batch: int, step: int) -> np.ndarray:
    """Which images step number `step` sees: a permutation an epoch."""
    epoch, at = divmod(step, count // batch)
    return np.random.default_rng([epoch, count]).permutation(count)[at * batch :][:batch]


# %% [markdown]
# ## The verdict


# %%
def labels_of(apply: Callable[..., jax.Array], params: Any, x: np.ndarray) -> np.ndarray:
    """Labels, 1000 images at a time."""
    run = jax.jit(lambda part: apply(params, part).argmax(-1))
    return np.concatenate(
        [np.asarray(run(jnp.asarray(x[i : i + 1000]))) for i in range(0, len(x), 1000)]
    )


def settle(latent: Any) -> tuple[Any, int]:
    """Fold neurons that have lost every pixel into the bias of the last layer.

    Nothing violates such a neuron: it always says 1. Its vote becomes bias; what remains is a neuron of the
    pixel that was nearest, which nobody reads.

    Returns:
        Latent parameters, and how many neurons were folded.
    """
    q, votes = latent["q"], latent["votes"]
    empty = ~(q > 0).any(0)
    bias = latent["bias"] + clauses.GAIN * jnp.where(empty[:, None], votes, 0).sum(0)
    first = jax.nn.one_hot(q.argmax(0), len(q), axis=0, dtype=bool)
    kept = jnp.where(empty[None], jnp.where(first, BOUND, -BOUND), q)
    votes = jnp.where(empty[:, None], 0, votes)
    return {**latent, "q": kept, "votes": votes, "bias": bias}, int(empty.sum())


def judge(latent: Any, test: Any, training: str) -> list[dict]:
    """A row for each head: errors, gap, certificate, operations."""
    latent, folded = settle(latent)
    images, answers = test
    x = (images >= THRESHOLD).reshape(len(images), -1)
    hard = 40.0 if training == "straight-through" else SLOPE[1]
    lui = node(latent["q"], training=training, sharpness=SHARPNESS[1], slope=hard)
    real = {"lui": lui, "votes": latent["votes"] * clauses.GAIN, "bias": latent["bias"]}
    binary = morphax.binarize(real, method="constant-exact")
    verdict = morphax.certify_network(classifier, real, (1, x.shape[1]))
    share = np.asarray(verdict.neurons["lui"].exact).mean()
    votes, bias = (np.asarray(latent[name]) for name in ("votes", "bias"))
    unit = max(float(np.quantile(np.abs(votes), 0.999)), 1e-6) / MOST
    whole = np.clip(np.round(votes / unit), -MOST, MOST).astype(np.int32)
    wiring = model.wires(whole, np.round(bias / (clauses.GAIN * unit)).astype(np.int32))
    plain = program.build(lambda p, x: morphax.apply(p, x), binary["lui"], (1, x.shape[1]))
    cost = program.count(program.simplify(plain))
    rows = []
    for head, apply in (("real weights", classifier), ("counted bits", counting(wiring))):
        soft = labels_of(apply, real, x.astype(np.float32))
        bit = labels_of(apply, binary, x)
        rows.append({
            "training": training,
            "head": head,
            "neurons": int(lui.weight.shape[1]),
            "float_error": float((soft != answers).mean()),
            "binary_error": float((bit != answers).mean()),
            "gap": float((soft != bit).mean()),
            "certified": float(share),
            "network_certified": bool(verdict.exact),
            "operations": cost.total,
            "counted": int(np.abs(whole).sum()) if head == "counted bits" else None,
            "folded": folded,
            "mean_size": float(np.asarray(binary["lui"].selem).sum(0).mean()),
            "test_images": len(answers),
        })  # fmt: skip
    return rows


def load(options: argparse.Namespace) -> tuple[Any, Any]:
    """Training and test images with labels."""
    if options.smoke:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 10, 600).astype(np.int32)
        images = rng.integers(0, 140, (600, 14, 14, 1))
        images[np.arange(600), labels + 2, 3:11] = 220
        images = images.astype(np.uint8)
        return (images[:400], labels[:400]), (images[400:], labels[400:])
    train, test = (
        data.load("mnist", split, data_dir=options.data_dir, limit=options.limit)
        for split in ("train", "test")
    )
    return train, test


def main(argv: list[str] | None = None) -> int:
    """Train, certify, binarize, test; writes dense_mnist.json, beside the rows of the other training."""
    parser = argparse.ArgumentParser(description="784-4096-10, binary and certified")
    parser.add_argument("--data-dir", help="folder of the data sets (default: MORPHAX_DATA)")
    parser.add_argument("--training", choices=clauses.TRAININGS, default="smooth")
    parser.add_argument("--neurons", type=int, default=4096)
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--limit", type=int, help="use only so many images of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/dense_mnist"))
    parser.add_argument("--smoke", action="store_true", help="made-up images, seconds")
    options = parser.parse_args(argv)
    try:
        train, test = load(options)
        options.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        print(f"dense_mnist: {error}", file=sys.stderr)
        return 2
    about = common.metadata("dense_mnist", unit="error", reference="none", smoke=options.smoke)
    size = {"neurons": 64, "epochs": 5, "batch": 50} if options.smoke else {
        "neurons": options.neurons, "epochs": options.epochs, "batch": 200}  # fmt: skip
    latent, history = fit(
        jax.random.key(options.seed), train, training=options.training, folder=options.out, **size
    )
    rows = [{**row, **size, "seed": options.seed, **history[-1]} for row in
            judge(latent, test, options.training)]  # fmt: skip
    words = ["python", "examples/dense_mnist.py", "--training", options.training]
    words += ["--neurons", str(size["neurons"]), "--epochs", f"{size['epochs']:g}"]
    command = shlex.join([*words, "--seed", str(options.seed)])
    commands, others = [command], []
    path = options.out / "dense_mnist.json"
    if path.exists():
        before = json.loads(path.read_text())
        others = [row for row in before["results"] if row["training"] != options.training]
        commands = sorted({row["command"] for row in others} | {command})
    rows = [{**row, "command": command} for row in rows]
    about |= {"commands": commands, "load_end": os.getloadavg()[0]}
    document = {"metadata": about, "results": others + rows, "history": history[:-1], "skipped": []}
    partial = options.out / "partial.json"
    partial.write_text(json_text(document, indent=1) + "\n")
    os.replace(partial, path)
    for row in rows:
        print(f"{row['training']}, {row['head']}: float error {row['float_error']:.2%}, binary "
              f"{row['binary_error']:.2%}, gap {row['gap']:.3%}, certified {row['certified']:.2%}, "
              f"{row['operations']:,} bit operations, mean |S| {row['mean_size']:.1f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
