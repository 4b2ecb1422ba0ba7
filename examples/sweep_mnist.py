# %% [markdown]
# # The papers' experiment: which regulariser, with equal searches?
#
# MNIST, a DenseLUI of binary pixels and a real last layer (784-4096-10 in the papers). Three weight maps
# times five regularisers, an MLP, and a binary network trained straight through (weights +-1), each
# with the same number of random searches. The members of a group are one vmapped, jitted program.
#
#     python examples/sweep_mnist.py --data-dir DATA             # reduced: two cores, narrower, fewer
#     python examples/sweep_mnist.py --protocol full             # the papers' sizes, for a GPU
#     python examples/sweep_mnist.py --smoke                     # made-up images, seconds
#
# A run that was interrupted goes on: give the same options and the same `--out`. Finished groups are in
# `journal.jsonl`, the group in progress in `group.npz`.

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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import morphax
from morphax import data, program
from morphax.certificates.neuron import certify_node
from morphax.neurons import models, reparam
from morphax.objectives import regularizers
from morphax.training import json_text

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _lib import common

# %% [markdown]
# ## What is searched
#
# Learning rates are 10^U(-3, -1); regularised members draw a coefficient and a delay. Member i of every
# group starts from the same key and has the same learning rate and bias map, so groups are compared in
# pairs. Delays are the papers', in steps of a run of 25 000; a shorter run takes them as shares.

# %%
WEIGHT_MAPS = ("identity", "positive", "dual")
REGULARIZERS = {
    "none": None,
    "L_exact": "exact",
    "L_const-exact": "constant-exact",
    "L_uni": "constant-uniform",
    "L_nor": "constant-normal",
}
BASELINES = ("MLP", "STE")
BIAS_MAPS = ("raw", "positive", "interval_projected", "interval_reparametrised")
COEFFICIENTS = (0.01, 0.001)
DELAYS = {"positive": (0, 1000, 5000, 10000), "dual": (10000, 15000, 20000)}
DELAYS["identity"] = DELAYS["positive"]
LONG = 25_000


class Protocol(NamedTuple):
    """How large the experiment is; what is not here is the same for all.

    Attributes:
        hidden: neurons of the hidden layer.
        searches: members of each group.
        epochs: passes over the training images (50 000; 10 000 choose the best member).
        batch: images a step.
        every: steps between two evaluations of the regulariser, that much stronger.
        neurons: of L_exact: a rotating block of so many.
        bias_maps: how many of `BIAS_MAPS` are drawn from.
        start: factor on the variance-preserving start of the scale p (0 in the papers).
    """

    hidden: int
    searches: int
    epochs: float
    batch: int = 64
    every: int = 8
    neurons: int = 16
    bias_maps: int = 2
    start: float = 1.0


PROTOCOLS = {
    "reduced": Protocol(hidden=256, searches=6, epochs=2),
    "full": Protocol(4096, 42, 30, every=1, neurons=64, bias_maps=4, start=0.0),
}


def draw(group: tuple[str, str], settings: Protocol, seed: int, steps: int) -> dict[str, Any]:
    """Hyper-parameters of the members of a group: arrays `(searches,)`."""
    weight_map, regularizer = group
    free = weight_map != "identity" and weight_map not in BASELINES
    found: dict[str, list[Any]] = {"rate": [], "bias_map": [], "coefficient": [], "delay": []}
    for member in range(settings.searches):
        rng = np.random.default_rng([seed, member])
        found["rate"].append(10 ** rng.uniform(-3, -1))
        found["bias_map"].append(int(rng.integers(settings.bias_maps)) if free else 0)
        regular = REGULARIZERS.get(regularizer) is not None
        found["coefficient"].append(rng.choice(COEFFICIENTS) if regular else 0.0)
        delay = rng.choice(DELAYS.get(weight_map, (0,))) if regular else 0
        found["delay"].append(int(delay * min(1.0, steps / LONG)))
    kinds = {"rate": np.float32, "coefficient": np.float32}
    return {name: np.array(values, kinds.get(name, np.int32)) for name, values in found.items()}


# %% [markdown]
# ## The networks
#
# The papers' classifier, a plain morphax model: one DenseLUI, then `linear_head`, whose weights are the
# effective ones of a second DenseLUI that stays real. The bias map is searched, so it is applied here and
# the node gets the bias itself ("raw"); the regularisers see effective parameters anyway.


# %%
def classifier(params: Any, x: jax.Array) -> jax.Array:
    """Scores of flat images: floats with real params, bool with binary ones."""
    return morphax.linear_head(morphax.apply(params["hidden"], x), params["weight"], params["bias"])


def start_lui(key: jax.Array, shape: tuple[int, int], weight_map: str, *, mean: float,
              bias_map: jax.Array, scale: float) -> tuple[dict[str, jax.Array], morphax.Spec]:  # fmt: skip
    """Latent parameters of a DenseLUI whose bias map is a number, and the spec of its node."""
    node = models.init_dense_lui(
        key, *shape, weight_map=weight_map, bias_map="raw", input_mean=mean
    )
    bias = jnp.where(bias_map == 0, node.bias, reparam.softplus_inverse(node.bias))
    latent = {"weight": node.weight, "bias": bias, "scale": node.scale * scale}
    return latent, node.spec


def to_node(latent: Any, spec: morphax.Spec, bias_map: jax.Array, count: int) -> morphax.BiSE:
    """The node of latent parameters: bias maps applied, those that the protocol draws from."""
    node = morphax.BiSE(latent["weight"], latent["bias"], latent["scale"], spec)
    bias = node.bias
    if count > 1 and spec.weight_map != "identity":
        weights = morphax.effective(node)[0] if count > 2 else jnp.zeros((1, 2))
        for number in range(1, count):
            mapped = reparam.effective_bias(node.bias, BIAS_MAPS[number], weights)
            bias = jnp.where(bias_map == number, mapped, bias)
    return morphax.BiSE(node.weight, bias, node.scale, spec)


class Network(NamedTuple):
    """What a group needs to know of its members, as functions of one of them.

    Attributes:
        init: (key, hyper) -> latent parameters.
        scores: (latent, hyper, float images) -> scores; what is trained.
        penalty: (latent, hyper, turn) -> scalar, or None.
        judge: (latent, hyper) -> (share of certified hidden neurons, binary params), or None.
    """

    init: Callable[[jax.Array, Any], Any]
    scores: Callable[[Any, Any, jax.Array], jax.Array]
    penalty: Callable[[Any, Any, jax.Array], jax.Array] | None
    judge: Callable[[Any, Any], tuple[jax.Array, Any]] | None


def morphological(
    weight_map: str, regularizer: str, settings: Protocol, inputs: int, mean: float
) -> Network:
    """The papers' classifier under one weight map and one regulariser."""
    shapes = {"hidden": (inputs, settings.hidden), "last": (settings.hidden, 10)}
    means, specs = {"hidden": mean, "last": 0.5}, {}
    for name, shape in shapes.items():
        node = jax.eval_shape(
            lambda shape=shape: models.init_dense_lui(
                jax.random.key(0), *shape, weight_map=weight_map, bias_map="raw"
            )
        )
        specs[name] = node.spec

    def init(key: jax.Array, hyper: Any) -> Any:
        keys = dict(zip(shapes, jax.random.split(key), strict=True))
        return {
            name: start_lui(keys[name], shape, weight_map, mean=means[name],
                            bias_map=hyper["bias_map"], scale=settings.start)[0]
            for name, shape in shapes.items()
        }  # fmt: skip

    def params(latent: Any, hyper: Any) -> Any:
        nodes = {
            name: to_node(latent[name], specs[name], hyper["bias_map"], settings.bias_maps)
            for name in shapes
        }
        weights, bias, scale = morphax.effective(nodes["last"])
        return {
            "hidden": nodes["hidden"],
            "weight": weights.T * scale[None],
            "bias": -scale * bias,
        }

    kind, _, threshold = (REGULARIZERS[regularizer] or "").partition("-")

    def penalty(latent: Any, hyper: Any, turn: jax.Array) -> jax.Array:
        node = to_node(latent["hidden"], specs["hidden"], hyper["bias_map"], settings.bias_maps)
        if kind == "exact":
            return regularizers.exact([node], neurons=settings.neurons, step=turn)
        return regularizers.constant([node], threshold=threshold)

    def judge(latent: Any, hyper: Any) -> tuple[jax.Array, Any]:
        real = params(latent, hyper)
        share = certify_node(real["hidden"])[0].exact.mean()
        return share, morphax.binarize(real, method="constant-exact")

    return Network(
        init,
        lambda latent, hyper, x: classifier(params(latent, hyper), x),
        penalty if kind else None,
        judge,
    )


def dense(inputs: int, hidden: int) -> Callable[[jax.Array, Any], Any]:
    """The start of a plain two-layer network: uniform weights of the usual spread."""

    def init(key: jax.Array, hyper: Any) -> Any:
        keys = jax.random.split(key)
        wide = (6 / (inputs + hidden)) ** 0.5, (6 / (hidden + 10)) ** 0.5
        return {
            "hidden": jax.random.uniform(keys[0], (inputs, hidden), minval=-wide[0], maxval=wide[0]),
            "threshold": jnp.zeros(hidden),
            "weight": jax.random.uniform(keys[1], (hidden, 10), minval=-wide[1], maxval=wide[1]),
            "bias": jnp.zeros(10),
        }  # fmt: skip

    return init


def mlp(inputs: int, hidden: int) -> Network:
    """Rectified units, the same sizes, the same loss."""

    def scores(latent: Any, hyper: Any, x: jax.Array) -> jax.Array:
        h = jax.nn.relu(x @ latent["hidden"] - latent["threshold"][None])
        return h @ latent["weight"] + latent["bias"][None]

    return Network(dense(inputs, hidden), scores, None, None)


def straight_through(inputs: int, hidden: int) -> Network:
    """Weights and activations +-1 forward, the identity on [-1, 1] backward; a real last layer."""

    @jax.custom_jvp
    def sign(v: jax.Array) -> jax.Array:
        return jnp.where(v >= 0, 1.0, -1.0)

    @sign.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return sign(primals[0]), jnp.where(jnp.abs(primals[0]) <= 1, tangents[0], 0)

    def scores(latent: Any, hyper: Any, x: jax.Array) -> jax.Array:
        total = (2 * x - 1) @ sign(latent["hidden"]) / inputs**0.5
        bits = sign(total - latent["threshold"][None]) / hidden**0.5
        return bits @ latent["weight"] * 10 + latent["bias"][None]

    return Network(dense(inputs, hidden), scores, None, None)


def network(group: tuple[str, str], settings: Protocol, inputs: int, mean: float) -> Network:
    """The network of a group."""
    if group[0] == "MLP":
        return mlp(inputs, settings.hidden)
    if group[0] == "STE":
        return straight_through(inputs, settings.hidden)
    return morphological(*group, settings, inputs, mean)


# %% [markdown]
# ## One program for all members of a group
#
# The members see the same images in the same order. The step is not batched, so what happens every few
# steps is skipped in the others. A member whose loss is no longer finite stays so, alone. On a CPU a few
# members at a time run faster than all at once: their parameters stay in the cache.


# %%
AT_ONCE = 3


@cache
def make_chunk(net: Network, settings: Protocol, steps: int) -> Callable[..., Any]:
    """The jitted `(state, hypers, images, labels, order) -> (state, loss of each member)`."""
    at_once = AT_ONCE if jax.default_backend() == "cpu" else settings.searches
    adam = optax.scale_by_adam()

    def loss(latent: Any, hyper: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        # The papers' outputs are tanh(score) / 2 + 1/2: binary cross-entropy of 2 scores.
        return optax.sigmoid_binary_cross_entropy(2 * net.scores(latent, hyper, x), y).mean()

    def member(
        latent: Any, moments: Any, hyper: Any, x: jax.Array, y: jax.Array, step: jax.Array
    ) -> Any:
        value, gradient = jax.value_and_grad(loss)(latent, hyper, x, y)
        if net.penalty is not None:
            strength = hyper["coefficient"] * settings.every * (step >= hyper["delay"])

            def pull(gradient: Any) -> Any:
                extra = jax.grad(net.penalty)(latent, hyper, step // settings.every)
                return jax.tree.map(lambda g, e: g + strength * e, gradient, extra)

            gradient = jax.lax.cond(step % settings.every == 0, pull, lambda g: g, gradient)
        updates, moments = adam.update(gradient, moments)
        rate = hyper["rate"] * (0.5 + 0.5 * jnp.cos(jnp.pi * step / steps))
        latent = jax.tree.map(lambda p, u: p - rate * u, latent, updates)
        return latent, moments, value

    def chunk(
        state: Any, hypers: Any, images: jax.Array, labels: jax.Array, order: jax.Array
    ) -> Any:
        def run(given: Any) -> Any:
            latent, moments, hyper = given

            def body(carry: Any, drawn: jax.Array) -> Any:
                x, y = images[drawn].astype(jnp.float32), jax.nn.one_hot(labels[drawn], 10)
                latent, moments, value = member(carry[0], carry[1], hyper, x, y, carry[2])
                return (latent, moments, carry[2] + 1), value

            carry, losses = jax.lax.scan(body, (latent, moments, state[2]), order)
            return carry[:2], losses.mean()

        given = (state[0], state[1], hypers)
        every, losses = jax.lax.map(run, given, batch_size=min(at_once, settings.searches))
        return (*every, state[2] + len(order)), losses

    return jax.jit(chunk, donate_argnums=0)


def initial(net: Network, hypers: Any, seed: int) -> Any:
    """The state of all members: latent parameters, Adam's moments, the step."""
    searches = len(hypers["rate"])
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(searches))
    latent = jax.jit(jax.vmap(net.init))(keys, hypers)
    moments = jax.vmap(optax.scale_by_adam().init)(latent)
    return latent, moments, jnp.zeros((), jnp.int32)


def evaluate(
    net: Network, latent: Any, hypers: Any, images: np.ndarray, labels: np.ndarray
) -> list[dict]:
    """Errors of each member as float and as binary network, and where the two decide differently."""
    real = jax.jit(jax.vmap(net.scores, in_axes=(0, 0, None)))
    judged = None if net.judge is None else jax.jit(jax.vmap(net.judge))(latent, hypers)
    binary = jax.jit(jax.vmap(classifier, in_axes=(0, None)))
    answers: list[list[np.ndarray]] = [[], []]
    for i in range(0, len(images), 1000):
        x = jnp.asarray(images[i : i + 1000])
        answers[0].append(np.asarray(real(latent, hypers, x.astype(jnp.float32)).argmax(-1)))
        if judged is not None:
            answers[1].append(np.asarray(binary(judged[1], x).argmax(-1)))
    floats = np.concatenate(answers[0], 1)
    bits = np.concatenate(answers[1], 1) if judged is not None else None
    found = []
    for member in range(len(floats)):
        record = {"float_error": float((floats[member] != labels).mean())}
        record["binary_error"] = record["gap"] = record["certified"] = None
        if bits is not None:
            record["binary_error"] = float((bits[member] != labels).mean())
            record["gap"] = float((bits[member] != floats[member]).mean())
            record["certified"] = float(judged[0][member])  # type: ignore[index]
        found.append(record)
    return found


# %% [markdown]
# ## Groups, and how they resume


# %%
def train(net: Network, hypers: Any, train_set: Any, settings: Protocol, *, seed: int, steps: int,
          saved: Path, name: str, bar: Any) -> tuple[Any, np.ndarray]:  # fmt: skip
    """All members of a group to their last step; goes on from `saved`.

    Returns:
        Latent parameters, and for each member the step at which its loss was found not finite, or -1.
    """
    images, labels = train_set
    state = initial(net, hypers, seed)
    broken = np.full(len(hypers["rate"]), -1)
    if saved.exists():
        state, broken = restore(saved, name, state, broken)
        bar.update(int(state[2]))
    chunk = make_chunk(net, settings, steps)
    per_epoch, length = len(images) // settings.batch, max(1, min(200, steps // 4))
    while int(state[2]) < steps:
        first = int(state[2])
        order = []
        for step in range(first, min(first + length, steps)):
            epoch, place = divmod(step, per_epoch)
            shuffled = np.random.default_rng([seed, epoch]).permutation(len(images)) \
                if not order or place == 0 else shuffled  # noqa: F821  # fmt: skip
            order.append(shuffled[place * settings.batch :][: settings.batch])
        state, losses = chunk(state, hypers, images, labels, jnp.asarray(np.stack(order)))
        lost = ~np.isfinite(np.asarray(losses)) & (broken < 0)
        broken = np.where(lost, int(state[2]), broken)
        store(saved, name, state, broken)
        bar.update(len(order))
    return state[0], broken


def store(path: Path, name: str, state: Any, broken: np.ndarray) -> None:
    """The state of a group, whole or not at all."""
    arrays = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    partial = path.with_name("partial.npz")
    np.savez(partial, name=np.str_(name), broken=broken, **arrays)
    os.replace(partial, path)


def restore(path: Path, name: str, state: Any, broken: np.ndarray) -> tuple[Any, np.ndarray]:
    """What `store` wrote, if it is of the same group and settings; the start otherwise."""
    with np.load(path) as file:
        if str(file["name"]) != name:
            return state, broken
        leaves, tree = jax.tree.flatten(state)
        found = [jnp.asarray(file[f"leaf{i}"]) for i in range(len(leaves))]
        return jax.tree.unflatten(tree, found), file["broken"]


def journal(path: Path, name: str) -> dict[str, list[dict]]:
    """Finished groups of these settings: group -> rows. A line cut short by a kill is dropped."""
    done: dict[str, list[dict]] = {}
    if not path.exists():
        return done
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    for line in whole:
        record = json.loads(line)
        if record["settings"] == name:
            done[record["group"]] = record["rows"]
    write(path, "".join(whole))
    return done


def write(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    partial = path.with_name(f"partial-{path.name}")
    partial.write_text(text)
    os.replace(partial, path)


def run_group(group: tuple[str, str], sets: dict[str, Any], settings: Protocol, *, seed: int,
              folder: Path, name: str, bar: Any) -> list[dict]:  # fmt: skip
    """Train and judge one group: a row for each member, the chosen one marked."""
    images, labels = sets["train"]
    steps = max(1, round(settings.epochs * (len(images) // settings.batch)))
    hypers = draw(group, settings, seed, steps)
    net = network(group, settings, images.shape[1], float(images.mean()))
    begun = time.perf_counter()
    latent, broken = train(
        net,
        hypers,
        (jnp.asarray(images), jnp.asarray(labels)),
        settings,
        seed=seed,
        steps=steps,
        saved=folder / "group.npz",
        name=f"{name} {group}",
        bar=bar,
    )
    found = {split: evaluate(net, latent, hypers, *sets[split]) for split in ("valid", "test")}
    rows = []
    for member in range(settings.searches):
        hyper = {key: value[member].item() for key, value in hypers.items()}
        diverged = int(broken[member]) if broken[member] >= 0 else None
        row = {"weights": group[0], "regularizer": group[1], "member": member, **hyper,
               "bias_map": BIAS_MAPS[hyper["bias_map"]], "diverged": diverged}  # fmt: skip
        for split, records in found.items():
            values = dict.fromkeys(records[member]) if diverged is not None else records[member]
            row |= {f"{split}_{key}": value for key, value in values.items()}
        rows.append(row)
    choose(rows)
    best = next((row for row in rows if row["best"]), None)
    if best is not None and net.judge is not None:
        one, hyper = jax.tree.map(lambda leaf: leaf[best["member"]], (latent, hypers))
        best["operations"] = operations(net.judge(one, hyper)[1], images.shape[1])
    for row in rows:
        row["seconds"] = round(time.perf_counter() - begun, 1)
    return rows


def choose(rows: list[dict]) -> None:
    """Mark the members with the least validation errors, as float network and as what is shipped."""
    sound = [row for row in rows if row["diverged"] is None]
    shipped = "valid_float_error" if rows[0]["weights"] in BASELINES else "valid_binary_error"
    for mark, key in (("best", shipped), ("best_float", "valid_float_error")):
        for row in rows:
            row[mark] = False
        if sound:
            min(sound, key=lambda row: row[key])[mark] = True


def operations(binary: Any, inputs: int) -> int:
    """Two-input bit operations of the binary hidden layer, simplified."""
    plain = program.build(lambda p, x: morphax.apply(p, x), binary["hidden"], (1, inputs))
    return program.count(program.simplify(plain)).total


# %% [markdown]
# ## The figure: every search, as float and as binary network


# %%
def figure(rows: list[dict]) -> Any:
    """Float against binary error of each member, a panel for each weight map."""
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(10.5, 3.9), layout="constrained")
    axes = sheet.subplots(1, len(WEIGHT_MAPS), sharex=True, sharey=True)
    marks = dict(zip(REGULARIZERS, "osD^v", strict=True))
    for axis, weight_map in zip(axes, WEIGHT_MAPS, strict=True):
        for name, mark in marks.items():
            mine = [row for row in rows if (row["weights"], row["regularizer"]) == (weight_map, name)
                    and row["diverged"] is None]  # fmt: skip
            axis.scatter([100 * row["test_float_error"] for row in mine],
                         [100 * row["test_binary_error"] for row in mine],
                         marker=mark, s=34, alpha=0.75, label=name)  # fmt: skip
        axis.axline((2, 2), (90, 90), color="0.7", linewidth=0.8, zorder=0)
        axis.set(xscale="log", yscale="log", title=weight_map, xlabel="float error, %")
        for each in (axis.xaxis, axis.yaxis):
            each.set_major_formatter("{x:g}")
    axes[0].set_ylabel("binary error, %")
    axes[-1].legend(fontsize=8, loc="lower right")
    sheet.suptitle(
        "Each mark is one search; on the line the binary network is as good", fontsize=10
    )
    return sheet


# %%
def load(options: argparse.Namespace) -> dict[str, Any]:
    """Flat binary images and labels: train, valid (the last of the training set), test."""
    if options.smoke:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 10, 600)
        images = (rng.random((600, 64)) < 0.1) | (np.arange(64)[None] // 6 == labels[:, None])
        parts = {"train": slice(0, 400), "valid": slice(400, 500), "test": slice(500, 600)}
        return {name: (images[part], labels[part].astype(np.int32)) for name, part in parts.items()}
    sets = {}
    for split in ("train", "test"):
        images, labels = data.load("mnist", split, data_dir=options.data_dir, limit=options.limit)
        sets[split] = data.binary_images(images, threshold=128).reshape(len(images), -1), labels
    images, labels = sets["train"]
    held = len(images) // 6
    sets["train"], sets["valid"] = (
        (images[part], labels[part]) for part in (slice(0, -held), slice(-held, None))
    )
    return sets


class Quiet:
    """What stands in for a progress bar: a line a group is printed anyway."""

    def update(self, steps: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def progress(total: int, label: str) -> Any:
    """A bar where there is a terminal and tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        return Quiet()
    return tqdm(total=total, desc=label, unit="step", disable=None, leave=False)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description="regularisers compared with equal searches")
    parser.add_argument("--data-dir", help="folder of the data sets (default: MORPHAX_DATA)")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="reduced")
    for name in ("hidden", "searches"):
        parser.add_argument(f"--{name}", type=int, help="instead of the protocol's")
    parser.add_argument("--only", nargs="+", choices=(*WEIGHT_MAPS, *BASELINES), help="part of the table; "
                        "the journals of parts can be joined")  # fmt: skip
    parser.add_argument("--epochs", type=float, help="instead of the protocol's")
    parser.add_argument("--limit", type=int, help="use only so many images of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/sweep_mnist"))
    parser.add_argument("--smoke", action="store_true", help="made-up images, seconds")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run all groups; writes journal.jsonl, sweep_mnist.json and sweep_mnist.png."""
    options = parse(argv)
    settings = PROTOCOLS[options.protocol]
    if options.smoke:
        settings = settings._replace(hidden=16, searches=2, epochs=3, batch=50, every=4)
    given = {name: getattr(options, name) for name in ("hidden", "searches", "epochs")}
    settings = settings._replace(**{k: v for k, v in given.items() if v is not None})
    try:
        sets = load(options)
        options.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        print(f"sweep_mnist: {error}", file=sys.stderr)
        return 2
    groups = [(weights, name) for weights in WEIGHT_MAPS for name in REGULARIZERS]
    groups += [(name, "none") for name in BASELINES]
    if options.smoke:
        groups = [("dual", "L_uni"), ("STE", "none")]
    groups = [group for group in groups if not options.only or group[0] in options.only]
    about = common.metadata("sweep_mnist", unit="error", reference="none", smoke=options.smoke)
    count = len(sets["train"][0])
    name = json_text([*settings, options.seed, count, options.smoke])
    done = journal(options.out / "journal.jsonl", name)
    steps = max(1, round(settings.epochs * (count // settings.batch)))
    for group in groups:
        label = " ".join(group)
        if label in done:
            continue
        bar = progress(steps, label)
        done[label] = run_group(group, sets, settings, seed=options.seed, folder=options.out,
                                name=name, bar=bar)  # fmt: skip
        bar.close()
        with (options.out / "journal.jsonl").open("a", encoding="utf-8") as file:
            file.write(json_text({"settings": name, "group": label, "rows": done[label]}) + "\n")
        (options.out / "group.npz").unlink(missing_ok=True)
        say(done[label])
    for group in groups:
        choose(done[" ".join(group)])
    rows = [row for group in groups for row in done[" ".join(group)]]
    words = ["python", "examples/sweep_mnist.py", "--protocol", options.protocol]
    words += [part for k, v in given.items() if v is not None for part in (f"--{k}", str(v))]
    words += ["--seed", str(options.seed)]
    about |= {"command": shlex.join(words), "protocol": options.protocol, "settings": settings._asdict(),
              "steps": steps, "train_images": count, "seed": options.seed,
              "load_end": os.getloadavg()[0]}  # fmt: skip
    document = {"metadata": about, "results": rows, "skipped": []}
    write(options.out / "sweep_mnist.json", json_text(document, indent=1) + "\n")
    figure(rows).savefig(options.out / "sweep_mnist.png", dpi=120)
    return 0


def say(rows: list[dict]) -> None:
    """A line for a group."""
    label = f"{rows[0]['weights']:9s} {rows[0]['regularizer']:14s}"
    if not any(row["best"] for row in rows):
        print(f"{label} all diverged", flush=True)
        return
    floats = next(row["test_float_error"] for row in rows if row["best_float"])
    best = next(row for row in rows if row["best"])
    numbers = [f"{name} {best[key]:.2%}" for name, key in
               (("best binary", "test_binary_error"), ("its float", "test_float_error"),
                ("certified", "test_certified")) if best[key] is not None]  # fmt: skip
    print(
        f"{label} best float {floats:.2%}  {'  '.join(numbers)}  ({rows[0]['seconds']} s)",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
