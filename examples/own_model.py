# %% [markdown]
# # A Flax model of your own
#
# The layers of morphax are ordinary Flax layers. Here a model in NNX, and the same in Linen, learn
# an opening by a disk, exactly. What makes a plain training loop end in a certified binary operator
# are four functions of `morphax.recipes`, which work on any params tree:
#
# - `spread_start` puts the biases where each layer can become an erosion or a dilation,
# - `operator_optimizer` anneals the scale,
# - `operator_loss` keeps the last wrong pixels in sight,
# - `finish` certifies the network, chooses its binary network by held-out pairs and judges it.
#
# All of it, or a part:
#
#     python examples/own_model.py [--library nnx|linen|both]
#     python examples/own_model.py --smoke      # seconds; nothing is learned
#
# It writes a figure for each library, `nnx.png` and `linen.png`. It needs
# `pip install ".[examples]"`.

# %%
import sys

import jax
import jax.numpy as jnp
import optax
from _common import new_parser, refuse, write
from flax import linen as nn
from flax import nnx

from morphax import data, elements, recipes, viz
from morphax.layers import linen
from morphax.layers import nnx as layers

# %% [markdown]
# ## The models

# %%
OPTIONS = {"weight_map": "identity", "bias_map": "centred"}


class NnxNet(nnx.Module):
    """Two layers of one neuron."""

    def __init__(self, rngs):
        """Draw both layers."""
        self.first = layers.BiSEL(1, 1, kernel_size=5, rngs=rngs, **OPTIONS)
        self.last = layers.BiSEL(1, 1, kernel_size=5, rngs=rngs, **OPTIONS)

    def __call__(self, x):
        """Return the image that the operator makes of `x`."""
        return self.last(self.first(x))


class LinenNet(nn.Module):
    """Two layers of one neuron."""

    @nn.compact
    def __call__(self, x):
        """Return the image that the operator makes of `x`."""
        return linen.BiSEL(1, 5, OPTIONS)(linen.BiSEL(1, 5, OPTIONS)(x))


def nnx_model():
    """Return the function and the params of the NNX model."""
    graph, params = nnx.split(NnxNet(nnx.Rngs(1)), nnx.Param)
    return lambda params, x: nnx.merge(graph, params)(x), params


def linen_model():
    """Return the function and the params of the Linen model."""
    model = LinenNet()
    params = model.init(jax.random.key(1), jnp.zeros((1, 16, 16, 1)))["params"]
    return lambda params, x: model.apply({"params": params}, x), params


# %% [markdown]
# ## An ordinary loop
#
# The loss and the optimizer are from `morphax.recipes`; the loop is not.


# %%
def train(apply, params, pairs, steps):
    """Train params by a plain loop of Optax; nothing in it is special to morphax."""
    optimizer = recipes.operator_optimizer(steps)
    loss = recipes.operator_loss(steps)
    images, targets = pairs

    @jax.jit
    def step(params, state, number):
        drawn = jax.random.randint(
            jax.random.fold_in(jax.random.key(3), number), (16,), 0, len(images)
        )
        x, y = images[drawn].astype(jnp.float32), targets[drawn].astype(jnp.float32)
        value, gradient = jax.value_and_grad(lambda p: loss(p, apply(p, x), y, x, number))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state = optimizer.init(params)
    for number in range(steps):
        params, state, value = step(params, state, jnp.asarray(number))
    print(f"loss {float(value):.2f} after {steps} steps")
    return params


# %% [markdown]
# ## Learn, certify and judge
#
# Starts differ in which layer begins as an erosion. The best one by held-out pairs counts, and the
# test images are looked at once, at the end.


# %%
def learn(name, smoke, out):
    """Learn the opening with one library and draw it; return whether it came out exactly."""
    disk = elements.disk(5)
    images = data.diskorect(jax.random.key(0), 96 if smoke else 1536)
    targets = data.target(images, "opening", disk)
    count = len(images) // 6
    valid, test = (
        (images[:count], targets[:count]),
        (images[count : 2 * count], targets[count : 2 * count]),
    )
    pairs = images[2 * count :], targets[2 * count :]
    apply, params = linen_model() if name == "linen" else nnx_model()
    best = None
    for start in recipes.STARTS[: 1 if smoke else None]:
        begun = recipes.spread_start(jax.random.key(2), params, start=start)
        trained = train(apply, begun, pairs, 20 if smoke else 1500)
        learned = recipes.finish(apply, trained, pairs, valid)
        best = learned if best is None or learned.verdict.error < best.verdict.error else best
        if best.verdict.error == 0:
            break
    wrong = int((apply(best.binary, test[0]) != test[1]).sum())
    exact = bool(best.certificate.exact)
    print(f"{name}: certified {exact}, {wrong} wrong pixels on unseen images")
    figure = viz.operator_figure(
        best.params,
        best.binary,
        targets=[("erosion", disk), ("dilation", disk)],
        certificates=best.certificate.neurons,
    )
    write(out / f"{name}.png", lambda path: figure.savefig(path, dpi=90))
    return exact and wrong == 0


def main(argv=None):
    """Run the example; return 1 where an operator did not come out."""
    parser = new_parser("own_model", "Train a Flax model of your own.", data_dir=False)
    parser.add_argument("--library", choices=("nnx", "linen", "both"), default="both")
    options = parser.parse_args(argv)
    try:
        viz.require_matplotlib()
        options.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, OSError) as error:
        return refuse("own_model", error)
    names = ("nnx", "linen") if options.library == "both" else (options.library,)
    right = [learn(name, options.smoke, options.out) for name in names]
    return 0 if options.smoke or all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
