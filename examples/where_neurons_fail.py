# %% [markdown]
# # Where do neurons fail to be erosions or dilations?
#
# The papers' open question: which layers keep a network from being certified? Classifiers of MNIST
# with 1 to 4 BiSELs (windows of 3 x 3, a real last layer) are trained without a regulariser, with
# L_const-exact and with L_exact, over strengths and delays. From time to time the margin of every
# neuron is measured, min(b - L, U - b) / |(w, b)|: how far it is inside (or, if negative, outside)
# the bounds of its operation.
#
#     python examples/where_neurons_fail.py --data-dir DATA     # or set MORPHAX_DATA
#     python examples/where_neurons_fail.py --smoke             # generated images, seconds

# %%
import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _common import UNUSABLE, command, load, metadata, new_parser, refuse, write, write_json
from _failure_figures import DELAYS, PENALTIES, STRENGTHS, margin_figure, mean_over, share_figure

import morphax
from morphax import data
from morphax.certificates.neuron import certify_node
from morphax.neurons import models
from morphax.objectives import regularizers

EVERY = 4  # steps between two evaluations of the penalty, which is multiplied by as much
QUANTILES = (5, 25, 50, 75, 95)

# %% [markdown]
# ## Networks and conditions
#
# The conditions of one penalty (strength 0 among them: "none"), times the seeds, are members of one
# vmapped program. Images are 14 x 14: a pixel is set where any of its four was.


# %%
def conditions(penalty: str, seeds: int) -> list[dict[str, Any]]:
    """Return in what the members of a program differ; "none" belongs to the first penalty."""
    chosen = [(0.0, 0.0)] if penalty == PENALTIES[0] else []
    chosen += [(strength, delay) for strength in STRENGTHS for delay in DELAYS]
    return [
        {
            "penalty": penalty if strength else "none",
            "strength": strength,
            "delay": delay,
            "seed": n,
        }
        for strength, delay in chosen
        for n in range(seeds)
    ]


def init(key: jax.Array, depth: int, channels: int, side: int) -> Any:
    """Return the initial parameters of a BiMoNN and its real last layer."""
    keys = jax.random.split(key)
    layers = models.init_bimonn(keys[0], [1, *[channels] * depth], kernel_size=3)
    n = side * side * channels
    weight = jax.random.normal(keys[1], (n, 10)) / n**0.5
    return {"layers": layers, "weight": weight, "bias": jnp.zeros(10)}


def classifier(params: Any, x: jax.Array) -> jax.Array:
    """Return the scores of images `(batch, H, W, 1)`, real or binary."""
    bits = morphax.flatten(models.bimonn(params["layers"], x))
    return morphax.linear_head(bits, params["weight"], params["bias"])


def make_chunk(penalty: str, steps: int) -> tuple[Callable[..., Any], optax.GradientTransformation]:
    """Return `(state, (strengths, delays), images, labels, order) -> state`, and its optimizer."""
    adam = optax.adam(1e-2)

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        scores = classifier(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    def regularizer(params: Any, turn: jax.Array) -> jax.Array:
        if penalty == "L_exact":
            return regularizers.exact(params["layers"], neurons=4, step=turn)
        return regularizers.constant(params["layers"])

    def update(
        params: Any, moments: Any, strength: Any, delay: Any, x: Any, y: Any, step: Any
    ) -> Any:
        gradient = jax.grad(loss)(params, x, y)
        weight = EVERY * strength * (step >= delay * steps)

        def add(gradient: Any) -> Any:
            extra = jax.grad(regularizer)(params, step // EVERY)
            return jax.tree.map(lambda g, e: g + weight * e, gradient, extra)

        gradient = jax.lax.cond(step % EVERY == 0, add, lambda g: g, gradient)
        updates, moments = adam.update(gradient, moments)
        return optax.apply_updates(params, updates), moments

    members = jax.vmap(update, in_axes=(0, 0, 0, 0, None, None, None))

    @jax.jit
    def chunk(state: Any, varied: Any, images: Any, labels: Any, order: Any) -> Any:
        def body(state: Any, drawn: Any) -> Any:
            params, moments, step = state
            x = images[drawn].astype(jnp.float32)
            params, moments = members(params, moments, *varied, x, labels[drawn], step)
            return (params, moments, step + 1), None

        return jax.lax.scan(body, state, order)[0]

    return chunk, adam


# %% [markdown]
# ## A measurement
#
# Each bank of neurons has two shares: certified *alone*, on binary inputs, and *in the network*, on
# the signals that reach it; behind a neuron that is not certified no neuron is. A neuron is *alive*
# if the binary neuron takes both values on digits; a constant one is of no use, even if it is
# exact.


# %%
def measure(params: Any, x: jax.Array) -> dict[str, dict[str, Any]]:
    """Measure one member: path of a bank -> arrays."""
    network = morphax.certify_network(classifier, params, (1, *x.shape[1:]))
    binary = morphax.binarize(params, method="constant-exact")
    banks, bits = {}, x
    for number, layer in enumerate(params["layers"]):
        for name in layer:
            bits = morphax.apply(binary["layers"][number][name], bits)
            flat = bits.reshape(-1, *bits.shape[3:])
            alone = certify_node(layer[name])[0]
            path = f"layers/{number}/{name}"
            banks[path] = {
                "alone": alone.exact,
                "margin": alone.margin,
                "network": network.neurons[path].exact,
                "alive": flat.any(0) & ~flat.all(0),
            }
        bits = bits if "lui" in layer else bits[..., 0, :]
    return banks


def errors_of(params: Any, images: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    """Return the errors of all members, as float and as binary networks."""
    run = jax.jit(jax.vmap(classifier, in_axes=(0, None)))
    binary = jax.jit(jax.vmap(lambda p: morphax.binarize(p, method="constant-exact")))(params)
    answers = {"float": run(params, images.astype(jnp.float32)), "binary": run(binary, images)}
    return {
        f"{name}_error": (scores.argmax(-1) != labels[None]).mean(1)
        for name, scores in answers.items()
    }


def records(params: Any, who: list[dict], sets: Any, step: int, depth: int) -> list[dict]:
    """Return a record for each member and bank."""
    images, labels = (jnp.asarray(part) for part in sets["test"])
    banks = jax.jit(jax.vmap(measure, in_axes=(0, None)))(params, images[:200])
    errors = errors_of(params, images, labels)
    rows = []
    for member, condition in enumerate(who):
        for path, arrays in banks.items():
            one = {name: np.asarray(array[member]) for name, array in arrays.items()}
            _, layer, kind = path.split("/")
            where = {"depth": depth, "step": step, "layer": int(layer) + 1, "kind": kind}
            margins = np.percentile(one["margin"].clip(-1, 1), QUANTILES)
            shares = {name: float(one[name].mean()) for name in ("alone", "network", "alive")}
            rows.append(
                {
                    **condition,
                    **where,
                    "neurons": int(one["alone"].size),
                    **shares,
                    "margins": margins.tolist(),
                    **{name: float(values[member]) for name, values in errors.items()},
                }
            )
    return rows


def run(
    depth: int,
    penalty: str,
    sets: Any,
    *,
    seeds: int,
    channels: int,
    looks: list[int],
    batch: int,
) -> list[dict]:
    """Train all members of one depth and penalty; return the records at the steps `looks`."""
    who = conditions(penalty, seeds)
    images, labels = sets["train"]
    side = images.shape[1]
    keys = jnp.stack([jax.random.key(condition["seed"]) for condition in who])
    params = jax.jit(jax.vmap(lambda key: init(key, depth, channels, side)))(keys)
    chunk, adam = make_chunk(penalty, looks[-1])
    state = params, jax.vmap(adam.init)(params), jnp.zeros((), jnp.int32)
    varied = tuple(jnp.array([c[name] for c in who], jnp.float32) for name in ("strength", "delay"))
    rng, rows = np.random.default_rng(0), []
    # A loop of its own instead of `training.drive`: the looks are at uneven steps, the first one
    # before any training, and a run is too short to be worth a checkpoint.
    for before, step in zip([0, *looks], looks, strict=False):
        if step > before:
            order = jnp.asarray(rng.integers(0, len(images), (step - before, batch)))
            state = chunk(state, varied, jnp.asarray(images), jnp.asarray(labels), order)
        rows += records(state[0], who, sets, step, depth)
    return rows


# %% [markdown]
# ## The main job


# %%
def read(options: argparse.Namespace) -> dict[str, Any]:
    """Return binary images and labels; a pixel of 14 x 14 is set where any of its four was."""
    if options.smoke:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 10, 300).astype(np.int32)
        images = rng.random((300, 8, 8, 1)) < 0.1
        images[np.arange(300), labels % 8] = True
        return {"train": (images[:200], labels[:200]), "test": (images[200:], labels[200:])}
    sets = {}
    for split, limit in (("train", 10000), ("test", 1000)):
        images, labels = load("mnist", split, data_dir=options.data_dir, limit=limit)
        bits = data.binary_images(images, threshold=128)
        sets[split] = bits.reshape(len(bits), 14, 2, 14, 2, 1).any((2, 4)), labels
    return sets


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    words = "Measure certified shares and margins, layer by layer."
    parser = new_parser("where_neurons_fail", words)
    add = parser.add_argument
    add("--depth", type=int, default=4, help="layers of the deepest network (4)")
    add("--seeds", type=int, default=2, help="networks for each condition (2)")
    add("--channels", type=int, default=4, help="channels of each layer (4)")
    add("--steps", type=int, default=600, help="steps of training (600)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run all depths and penalties; write where_neurons_fail.json and two figures."""
    options = parse(argv)
    try:
        sets = read(options)
        options.out.mkdir(parents=True, exist_ok=True)
    except UNUSABLE as error:
        return refuse("where_neurons_fail", error)
    about = metadata("where_neurons_fail", unit="share", reference="none", smoke=options.smoke)
    given = {name: getattr(options, name) for name in ("depth", "seeds", "channels", "steps")}
    about["command"] = command("where_neurons_fail", given)
    sizes: dict[str, Any] = {"seeds": options.seeds, "channels": options.channels, "batch": 32}
    looks = sorted({round(options.steps * part) for part in (0, 0.08, 0.25, 0.5, 0.75, 1)})
    penalties, depths = PENALTIES, range(1, options.depth + 1)
    if options.smoke:
        sizes = {"seeds": 1, "channels": 2, "batch": 16}
        looks, penalties, depths = [0, 8], PENALTIES[:1], range(2, 3)
    rows: list[dict] = []
    for depth in depths:
        for penalty in penalties:
            rows += run(depth, penalty, sets, looks=looks, **sizes)
            say(rows, depth, looks[-1], penalty)
            about["load_end"] = os.getloadavg()[0]
            document = {"metadata": about, "results": rows, "skipped": []}
            write_json(options.out / "where_neurons_fail.json", document, indent=None)
    figures = {"": share_figure(rows), "_margins": margin_figure(rows)}
    for name, figure in figures.items():
        path = options.out / f"where_neurons_fail{name}.png"
        write(path, lambda path, figure=figure: figure.savefig(path, dpi=110))
    return 0


def say(rows: list[dict], depth: int, step: int, penalty: str) -> None:
    """Print the certified shares at the end of training, without and with a penalty."""
    ended = [row for row in rows if (row["depth"], row["step"]) == (depth, step)]
    none = mean_over(ended, "alone", penalty="none")
    strong = mean_over(ended, "alone", penalty=penalty, strength=STRENGTHS[-1])
    text = f"{none:.1%} without, {strong:.1%} with {penalty} {STRENGTHS[-1]:g}"
    print(f"depth {depth}: certified {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
