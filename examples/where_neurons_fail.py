# %% [markdown]
# # Where do neurons fail to be erosions or dilations?
#
# The papers' open question: which layers keep a network from being certified? Classifiers of MNIST with
# 1 to 4 BiSELs (windows of 3 x 3, a real last layer) are trained without a regulariser, with L_const-exact
# and with L_exact, over strengths and delays; now and then every neuron is asked how far inside or outside
# the bounds of its operation it is: its margin min(b - L, U - b) / |(w, b)|.
#
#     python examples/where_neurons_fail.py --data-dir DATA      # or set MORPHAX_DATA
#     python examples/where_neurons_fail.py --smoke              # made-up images, seconds

# %%
import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import morphax
from morphax import data
from morphax.certificates.neuron import certify_node
from morphax.neurons import models
from morphax.objectives import regularizers
from morphax.training import json_text

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _lib import common

PENALTIES = ("L_const-exact", "L_exact")
STRENGTHS = (0.01, 0.1, 1.0)
DELAYS = (0.0, 0.5)  # shares of the run
EVERY = 4  # steps between two evaluations of the penalty, that much stronger
QUANTILES = (5, 25, 50, 75, 95)

# %% [markdown]
# ## Networks and conditions
#
# The conditions of one penalty (strength 0 among them: "none"), times the seeds, are members of one
# vmapped program. Images are 14 x 14: a pixel is set where any of its four was.


# %%
def conditions(penalty: str, seeds: int) -> list[dict[str, Any]]:
    """What the members of a program differ in; "none" belongs to the first one."""
    chosen = [(0.0, 0.0)] if penalty == PENALTIES[0] else []
    chosen += [(strength, delay) for strength in STRENGTHS for delay in DELAYS]
    return [{"penalty": penalty if strength else "none", "strength": strength, "delay": delay,
             "seed": seed} for strength, delay in chosen for seed in range(seeds)]  # fmt: skip


def init(key: jax.Array, depth: int, channels: int, side: int) -> Any:
    """A BiMoNN and its real last layer."""
    keys = jax.random.split(key)
    layers = models.init_bimonn(keys[0], [1, *[channels] * depth], kernel_size=3)
    n = side * side * channels
    weight = jax.random.normal(keys[1], (n, 10)) / n**0.5
    return {"layers": layers, "weight": weight, "bias": jnp.zeros(10)}


def classifier(params: Any, x: jax.Array) -> jax.Array:
    """Scores of images `(batch, H, W, 1)`, real or binary."""
    bits = morphax.flatten(models.bimonn(params["layers"], x))
    return morphax.linear_head(bits, params["weight"], params["bias"])


def make_chunk(penalty: str, steps: int):
    """The jitted `(state, conditions, images, labels, order) -> state` of all members."""
    adam = optax.adam(1e-2)

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        scores = classifier(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    def pull(params: Any, turn: jax.Array) -> jax.Array:
        if penalty == "L_exact":
            return regularizers.exact(params["layers"], neurons=4, step=turn)
        return regularizers.constant(params["layers"])

    def member(
        params: Any, moments: Any, strength: Any, delay: Any, x: Any, y: Any, step: Any
    ) -> Any:
        gradient = jax.grad(loss)(params, x, y)
        much = EVERY * strength * (step >= delay * steps)

        def add(gradient: Any) -> Any:
            extra = jax.grad(pull)(params, step // EVERY)
            return jax.tree.map(lambda g, e: g + much * e, gradient, extra)

        gradient = jax.lax.cond(step % EVERY == 0, add, lambda g: g, gradient)
        updates, moments = adam.update(gradient, moments)
        return optax.apply_updates(params, updates), moments

    members = jax.vmap(member, in_axes=(0, 0, 0, 0, None, None, None))

    @jax.jit
    def chunk(state: Any, how: Any, images: Any, labels: Any, order: Any) -> Any:
        def body(state: Any, drawn: Any) -> Any:
            params, moments, step = state
            x = images[drawn].astype(jnp.float32)
            params, moments = members(params, moments, *how, x, labels[drawn], step)
            return (params, moments, step + 1), None

        return jax.lax.scan(body, state, order)[0]

    return chunk, adam


# %% [markdown]
# ## A look
#
# Two shares for each bank of neurons: certified *alone*, on binary inputs, and *in the network*, on the
# signals that really reach it; behind a neuron that is not certified nothing is. *alive*: takes both
# values on digits, as a binary neuron; one that is constant is no use, however exact.


# %%
def look(params: Any, x: jax.Array) -> dict[str, dict[str, Any]]:
    """Of one member: path of a bank -> arrays."""
    network = morphax.certify_network(classifier, params, (1, *x.shape[1:]))
    binary = morphax.binarize(params, method="constant-exact")
    found, bits = {}, x
    for number, layer in enumerate(params["layers"]):
        for name in layer:
            bits = morphax.apply(binary["layers"][number][name], bits)
            flat = bits.reshape(-1, *bits.shape[3:])
            alone = certify_node(layer[name])[0]
            path = f"layers/{number}/{name}"
            found[path] = {"alone": alone.exact, "margin": alone.margin,
                           "network": network.neurons[path].exact,
                           "alive": flat.any(0) & ~flat.all(0)}  # fmt: skip
        bits = bits if "lui" in layer else bits[..., 0, :]
    return found


def records(params: Any, who: list[dict], sets: Any, step: int, depth: int) -> list[dict]:
    """A record for each member and bank."""
    images, labels = (jnp.asarray(part) for part in sets["test"])
    seen = jax.jit(jax.vmap(look, in_axes=(0, None)))(params, images[:200])
    real = jax.jit(jax.vmap(classifier, in_axes=(0, None)))
    binary = jax.jit(jax.vmap(lambda p: morphax.binarize(p, method="constant-exact")))(params)
    errors = {"float_error": (real(params, images.astype(jnp.float32)).argmax(-1) != labels[None]).mean(1),
              "binary_error": (real(binary, images).argmax(-1) != labels[None]).mean(1)}  # fmt: skip
    rows = []
    for member, condition in enumerate(who):
        for path, arrays in seen.items():
            one = {name: np.asarray(array[member]) for name, array in arrays.items()}
            _, layer, kind = path.split("/")
            rows.append({
                **condition, "depth": depth, "step": step, "layer": int(layer) + 1, "kind": kind,
                "neurons": int(one["alone"].size),
                **{name: float(one[name].mean()) for name in ("alone", "network", "alive")},
                "margins": [float(v) for v in np.percentile(one["margin"].clip(-1, 1), QUANTILES)],
                **{name: float(values[member]) for name, values in errors.items()},
            })  # fmt: skip
    return rows


def run(depth: int, penalty: str, sets: Any, *, seeds: int, channels: int, looks: list[int],
        batch: int) -> list[dict]:  # fmt: skip
    """Train all members of one depth and penalty; records of every look."""
    who = conditions(penalty, seeds)
    images, labels = sets["train"]
    side = images.shape[1]
    keys = jnp.stack([jax.random.key(condition["seed"]) for condition in who])
    params = jax.jit(jax.vmap(lambda key: init(key, depth, channels, side)))(keys)
    chunk, adam = make_chunk(penalty, looks[-1])
    state = params, jax.vmap(adam.init)(params), jnp.zeros((), jnp.int32)
    how = tuple(jnp.array([c[name] for c in who], jnp.float32) for name in ("strength", "delay"))
    rng, rows = np.random.default_rng(0), []
    for before, step in zip([0, *looks], looks, strict=False):
        if step > before:
            order = jnp.asarray(rng.integers(0, len(images), (step - before, batch)))
            state = chunk(state, how, jnp.asarray(images), jnp.asarray(labels), order)
        rows += records(state[0], who, sets, step, depth)
    return rows


# %% [markdown]
# ## Figures


# %%
def mean_over(rows: list[dict], key: str, **wanted: Any) -> float:
    """Mean over the neurons of the rows that are as wanted; NaN where there is none."""
    mine = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    total = sum(row["neurons"] for row in mine)
    return sum(row["neurons"] * row[key] for row in mine) / total if total else float("nan")


def share_figure(rows: list[dict]) -> Any:
    """Certified share of each layer through training: a row a depth, a column a condition."""
    from matplotlib.figure import Figure

    depths = sorted({row["depth"] for row in rows})
    steps = sorted({row["step"] for row in rows})
    shown = [("none", 0.0, 0.0), *[(p, STRENGTHS[-1], d) for p in PENALTIES for d in DELAYS]]
    sheet = Figure(figsize=(2.5 * len(shown), 1.7 * len(depths) + 0.6), layout="constrained")
    axes = np.atleast_2d(sheet.subplots(len(depths), len(shown), sharex=True, sharey=True))
    for line, depth in zip(axes, depths, strict=True):
        for axis, (penalty, strength, delay) in zip(line, shown, strict=True):
            for layer in range(1, depth + 1):
                shares = [100 * mean_over(rows, "alone", depth=depth, step=step, layer=layer,
                                          penalty=penalty, strength=strength, delay=delay)
                          for step in steps]  # fmt: skip
                axis.plot(steps, shares, marker="o", markersize=3, label=f"layer {layer}")
            if depth == depths[0]:
                late = f", {strength:g}" + (", from half" if delay else "") if strength else ""
                axis.set_title(f"{penalty}{late}", fontsize=9)
        line[0].set_ylabel(f"depth {depth}\ncertified, %", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("step", fontsize=9)
    axes[-1, 0].legend(fontsize=7)
    return sheet


def margin_figure(rows: list[dict]) -> Any:
    """At the end: margins of each layer of the deepest network, and shares over strengths."""
    from matplotlib.figure import Figure

    depth, last = max(row["depth"] for row in rows), max(row["step"] for row in rows)
    ended = [row for row in rows if row["step"] == last]
    sheet = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = sheet.subplots(1, 2, width_ratios=(3, 2))
    shown = [("none", 0.0), *[(p, s) for p in PENALTIES for s in STRENGTHS]]
    for place, (penalty, strength) in enumerate(shown):
        for layer in range(1, depth + 1):
            mine = [row["margins"] for row in ended if (row["depth"], row["layer"], row["penalty"],
                    row["strength"], row["delay"]) == (depth, layer, penalty, strength, 0.0)]  # fmt: skip
            if not mine:
                continue
            low, quarter, middle, three, high = np.mean(mine, 0)
            x = place + 0.16 * (layer - (depth + 1) / 2)
            left.plot([x, x], [low, high], color=f"C{layer - 1}", linewidth=1)
            left.plot([x, x], [quarter, three], color=f"C{layer - 1}", linewidth=4,
                      label=f"layer {layer}" if place == 0 else None)  # fmt: skip
            left.plot(x, middle, "k_", markersize=6)
    left.axhline(0, color="0.5", linewidth=0.8)
    names = [f"{p}\n{s:g}" if s else p for p, s in shown]
    left.set_xticks(range(len(shown)), names, fontsize=7)
    left.set(ylabel="margin (5, 25, 50, 75, 95 %); -1: no set at all",
             title=f"depth {depth}, end of training; certified above 0")  # fmt: skip
    left.legend(fontsize=7)
    for penalty, style in zip(PENALTIES, ("-", "--"), strict=True):
        for number, each in enumerate(sorted({row["depth"] for row in rows})):
            for delay, mark in zip(DELAYS, "os", strict=True):
                fixed = {"depth": each, "penalty": penalty, "delay": delay}
                shares = [100 * mean_over(ended, "alone", strength=s, **fixed) for s in STRENGTHS]
                label = f"{penalty}, depth {each}" if not delay else None
                right.plot(STRENGTHS, shares, style, marker=mark, color=f"C{number}", label=label,
                           markersize=4, linewidth=1)  # fmt: skip
    right.set(xscale="log", xlabel="strength (squares: switched on at half)", ylabel="certified, %",
              title="all neurons, end of training")  # fmt: skip
    right.legend(fontsize=6)
    return sheet


# %%
def load(options: argparse.Namespace) -> dict[str, Any]:
    """Binary images and labels."""
    if options.smoke:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 10, 300).astype(np.int32)
        images = rng.random((300, 8, 8, 1)) < 0.1
        images[np.arange(300), labels % 8] = True
        return {"train": (images[:200], labels[:200]), "test": (images[200:], labels[200:])}
    sets = {}
    for split, limit in (("train", 10000), ("test", 1000)):
        images, labels = data.load("mnist", split, data_dir=options.data_dir, limit=limit)
        bits = data.binary_images(images, threshold=128)
        sets[split] = bits.reshape(len(bits), 14, 2, 14, 2, 1).any((2, 4)), labels
    return sets


def main(argv: list[str] | None = None) -> int:
    """Run all depths and penalties; writes where_neurons_fail.json and two figures."""
    parser = argparse.ArgumentParser(description="certified shares and margins, layer by layer")
    parser.add_argument("--data-dir", help="folder of the data sets (default: MORPHAX_DATA)")
    parser.add_argument("--depth", type=int, default=4, help="the greatest")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("out/where_neurons_fail"))
    parser.add_argument("--smoke", action="store_true", help="made-up images, seconds")
    options = parser.parse_args(argv)
    try:
        sets = load(options)
        options.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        print(f"where_neurons_fail: {error}", file=sys.stderr)
        return 2
    about = common.metadata(
        "where_neurons_fail", unit="share", reference="none", smoke=options.smoke
    )
    sizes = {"seeds": options.seeds, "channels": options.channels, "batch": 32}
    looks = sorted({round(options.steps * part) for part in (0, 0.08, 0.25, 0.5, 0.75, 1)})
    penalties, depths = PENALTIES, range(1, options.depth + 1)
    if options.smoke:
        sizes = {"seeds": 1, "channels": 2, "batch": 16}
        looks, penalties, depths = [0, 8], PENALTIES[:1], range(2, 3)
    rows: list[dict] = []
    for depth in depths:
        for penalty in penalties:
            rows += run(depth, penalty, sets, looks=looks, **sizes)
            ended = [row for row in rows if (row["depth"], row["step"]) == (depth, looks[-1])]
            none = mean_over(ended, "alone", penalty="none")
            much = mean_over(ended, "alone", penalty=penalty, strength=STRENGTHS[-1])
            print(f"depth {depth}: certified {none:.1%} without, {much:.1%} with {penalty} "
                  f"{STRENGTHS[-1]:g}", flush=True)  # fmt: skip
            words = ["python", "examples/where_neurons_fail.py"]
            for name in ("depth", "seeds", "channels", "steps"):
                words += [f"--{name}", str(getattr(options, name))]
            about |= {"command": shlex.join(words), "load_end": os.getloadavg()[0]}
            document = {"metadata": about, "results": rows, "skipped": []}
            partial = options.out / "partial.json"
            partial.write_text(json_text(document) + "\n")
            os.replace(partial, options.out / "where_neurons_fail.json")
    share_figure(rows).savefig(options.out / "where_neurons_fail.png", dpi=110)
    margin_figure(rows).savefig(options.out / "where_neurons_fail_margins.png", dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
