"""Networks that sweep_mnist.py compares, and the hyper-parameters that it draws for them.

A group is (weight map, regulariser), or a baseline and "none". Each group has the same number of
members, one for each random search. A network is a few functions of the latent parameters and the
hyper-parameters of one member, so that all members of a group can be one vmapped program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from morphax.certificates.neuron import certify_node
from morphax.neurons import models, reparam
from morphax.objectives import regularizers

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
LONG = 25_000  # steps of the papers' run, of which the delays are shares


class Protocol(NamedTuple):
    """Hold the size of the experiment; what is not here is the same for all protocols.

    Attributes:
        hidden: neurons of the hidden layer.
        searches: members of each group.
        epochs: passes over the training images (50 000; 10 000 choose the best member).
        batch: images in a step.
        every: steps between two evaluations of the regulariser, which is multiplied by as much.
        neurons: neurons in the rotating block that L_exact looks at.
        bias_maps: how many of `BIAS_MAPS` are drawn from.
        start: factor on the variance-preserving initial scale p (0 in the papers).
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
    """Draw the hyper-parameters of the members of a group.

    Learning rates are 10^U(-3, -1). Regularised members draw a coefficient and a delay. Delays are
    the papers', in steps of a run of `LONG` steps; a shorter run takes them as shares.

    Args:
        group: (weight map, regulariser).
        settings: the size of the experiment.
        seed: member i of every group has the same learning rate and bias map, so that groups can be
            compared in pairs.
        steps: length of the run.

    Returns:
        Name -> array `(searches,)`: "rate", "bias_map", "coefficient" and "delay".
    """
    weight_map, regularizer = group
    has_bias_map = weight_map != "identity" and weight_map not in BASELINES
    is_regular = REGULARIZERS.get(regularizer) is not None
    drawn: dict[str, list[Any]] = {"rate": [], "bias_map": [], "coefficient": [], "delay": []}
    for member in range(settings.searches):
        rng = np.random.default_rng([seed, member])
        drawn["rate"].append(10 ** rng.uniform(-3, -1))
        drawn["bias_map"].append(int(rng.integers(settings.bias_maps)) if has_bias_map else 0)
        drawn["coefficient"].append(rng.choice(COEFFICIENTS) if is_regular else 0.0)
        delay = rng.choice(DELAYS.get(weight_map, (0,))) if is_regular else 0
        drawn["delay"].append(int(delay * min(1.0, steps / LONG)))
    kinds = {"rate": np.float32, "coefficient": np.float32}
    return {name: np.array(values, kinds.get(name, np.int32)) for name, values in drawn.items()}


class Network(NamedTuple):
    """Hold what a group needs of its members, as functions of one of them.

    Attributes:
        init: (key, hyper) -> latent parameters.
        scores: (latent, hyper, float images) -> scores; the function that is trained.
        penalty: (latent, hyper, turn) -> scalar, or None.
        judge: (latent, hyper) -> (share of certified hidden neurons, binary params), or None.
    """

    init: Callable[[jax.Array, Any], Any]
    scores: Callable[[Any, Any, jax.Array], jax.Array]
    penalty: Callable[[Any, Any, jax.Array], jax.Array] | None
    judge: Callable[[Any, Any], tuple[jax.Array, Any]] | None


# The papers' classifier, a plain morphax model: one DenseLUI, then `linear_head`, whose weights are
# the effective ones of a second DenseLUI that stays real. The bias map is searched, so it is
# applied here and the node gets the bias itself ("raw"); the regularisers see effective parameters
# anyway.


def classifier(params: Any, x: jax.Array) -> jax.Array:
    """Return the scores of flat images: floats with real params, bool with binary ones."""
    return morphax.linear_head(morphax.apply(params["hidden"], x), params["weight"], params["bias"])


def init_lui(
    key: jax.Array,
    shape: tuple[int, int],
    weight_map: str,
    *,
    mean: float,
    bias_map: jax.Array,
    scale: float,
) -> dict[str, jax.Array]:
    """Return the initial latent parameters of a DenseLUI whose bias map is a number."""
    node = models.init_dense_lui(
        key, *shape, weight_map=weight_map, bias_map="raw", input_mean=mean
    )
    bias = jnp.where(bias_map == 0, node.bias, reparam.softplus_inverse(node.bias))
    return {"weight": node.weight, "bias": bias, "scale": node.scale * scale}


def to_node(latent: Any, spec: morphax.Spec, bias_map: jax.Array, count: int) -> morphax.BiSE:
    """Return the node of latent parameters, with one of the first `count` bias maps applied."""
    node = morphax.BiSE(latent["weight"], latent["bias"], latent["scale"], spec)
    bias = node.bias
    if count > 1 and spec.weight_map != "identity":
        weights = morphax.effective(node)[0] if count > 2 else jnp.zeros((1, 2))
        for number in range(1, count):
            mapped = reparam.effective_bias(node.bias, BIAS_MAPS[number], weights)
            bias = jnp.where(bias_map == number, mapped, bias)
    return morphax.BiSE(node.weight, bias, node.scale, spec)


def lui_spec(shape: tuple[int, int], weight_map: str) -> morphax.Spec:
    """Return the spec of a DenseLUI, without computing its parameters."""

    def init(key: jax.Array) -> morphax.BiSE:
        return models.init_dense_lui(key, *shape, weight_map=weight_map, bias_map="raw")

    return jax.eval_shape(init, jax.random.key(0)).spec


def morphological(
    weight_map: str, regularizer: str, settings: Protocol, inputs: int, mean: float
) -> Network:
    """Return the papers' classifier under one weight map and one regulariser."""
    shapes = {"hidden": (inputs, settings.hidden), "last": (settings.hidden, 10)}
    means = {"hidden": mean, "last": 0.5}
    specs = {name: lui_spec(shape, weight_map) for name, shape in shapes.items()}

    def init(key: jax.Array, hyper: Any) -> Any:
        keys = dict(zip(shapes, jax.random.split(key), strict=True))
        given = {"bias_map": hyper["bias_map"], "scale": settings.start}
        return {
            name: init_lui(keys[name], shape, weight_map, mean=means[name], **given)
            for name, shape in shapes.items()
        }

    def node(name: str, latent: Any, hyper: Any) -> morphax.BiSE:
        return to_node(latent[name], specs[name], hyper["bias_map"], settings.bias_maps)

    def params(latent: Any, hyper: Any) -> Any:
        weights, bias, scale = morphax.effective(node("last", latent, hyper))
        head = {"weight": weights.T * scale[None], "bias": -scale * bias}
        return {"hidden": node("hidden", latent, hyper), **head}

    def scores(latent: Any, hyper: Any, x: jax.Array) -> jax.Array:
        return classifier(params(latent, hyper), x)

    kind, _, threshold = (REGULARIZERS[regularizer] or "").partition("-")

    def penalty(latent: Any, hyper: Any, turn: jax.Array) -> jax.Array:
        hidden = [node("hidden", latent, hyper)]
        if kind == "exact":
            return regularizers.exact(hidden, neurons=settings.neurons, step=turn)
        return regularizers.constant(hidden, threshold=threshold)

    def judge(latent: Any, hyper: Any) -> tuple[jax.Array, Any]:
        real = params(latent, hyper)
        share = certify_node(real["hidden"])[0].exact.mean()
        return share, morphax.binarize(real, method="constant-exact")

    return Network(init, scores, penalty if kind else None, judge)


def dense(inputs: int, hidden: int) -> Callable[[jax.Array, Any], Any]:
    """Return the initializer of a plain two-layer network: uniform weights of the usual spread."""

    def weights(key: jax.Array, rows: int, columns: int) -> jax.Array:
        bound = (6 / (rows + columns)) ** 0.5
        return jax.random.uniform(key, (rows, columns), minval=-bound, maxval=bound)

    def init(key: jax.Array, hyper: Any) -> Any:
        keys = jax.random.split(key)
        first = {"hidden": weights(keys[0], inputs, hidden), "threshold": jnp.zeros(hidden)}
        return first | {"weight": weights(keys[1], hidden, 10), "bias": jnp.zeros(10)}

    return init


def mlp(inputs: int, hidden: int) -> Network:
    """Return a network of rectified units of the same sizes, for the same loss."""

    def scores(latent: Any, hyper: Any, x: jax.Array) -> jax.Array:
        h = jax.nn.relu(x @ latent["hidden"] - latent["threshold"][None])
        return h @ latent["weight"] + latent["bias"][None]

    return Network(dense(inputs, hidden), scores, None, None)


def straight_through(inputs: int, hidden: int) -> Network:
    """Return a network of weights and activations +-1 with straight-through gradients.

    Forward, weights and activations of the hidden layer are signs; backward, the sign is the
    identity on [-1, 1]. The last layer is real.
    """

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
    """Return the network of a group.

    Args:
        group: (weight map, regulariser).
        settings: the size of the experiment.
        inputs: pixels of an image.
        mean: share of the pixels that are set.
    """
    baselines = {"MLP": mlp, "STE": straight_through}
    if group[0] in baselines:
        return baselines[group[0]](inputs, settings.hidden)
    return morphological(*group, settings, inputs, mean)
