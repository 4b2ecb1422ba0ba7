"""Networks that sweep_mnist.py compares, and the hyper-parameters that it draws for them.

A group is (weight map, regulariser), or a baseline and "none". Each group has the same number of
random searches. A network is a few functions of its latent parameters.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import _sweep_tied as tied
import jax
import jax.numpy as jnp
import numpy as np

import morphax
from morphax.certificates.neuron import certify_node
from morphax.neurons import models
from morphax.objectives import regularizers

WEIGHT_MAPS = ("positive", "identity", "dual")
TIED = "tied"  # positive weights, biases tied to them, a start from few pixels (`_sweep_tied.py`)
REGULARIZERS = {
    "none": None,
    "L_exact": "exact",
    "L_const-exact": "constant-exact",
    "L_uni": "constant-uniform",
    "L_nor": "constant-normal",
    "L_bounds": "bounds",  # ours
}
BASELINES = ("MLP", "STE")
COEFFICIENTS = (0.01, 0.001)
DELAYS = {"positive": (0, 1000, 5000, 10000), "dual": (10000, 15000, 20000)}
DELAYS["identity"] = DELAYS["positive"]
DELAYS[TIED] = (10000, 15000)  # early penalties leave sets of single pixels
LONG = 25_000  # steps of the papers' run, of which the delays are shares
FIRST = 4096  # training images from whose windows tied neurons start


class Protocol(NamedTuple):
    """Hold the size of the experiment; what is not here is the same for all protocols.

    Attributes:
        hidden: neurons of the hidden layer with positive weights, and of the baselines.
        narrow: neurons of the hidden layer under the other weight maps.
        searches: searches of each group.
        epochs: passes over the training images (50 000; 10 000 choose the best search).
        batch: images in a step.
        every: steps between two evaluations of a penalty, which is multiplied by as much.
        neurons: neurons in the rotating block that L_exact looks at.
        refit: steps by which the last layer is refitted to bits.
    """

    hidden: int = 4096
    narrow: int = 1024
    searches: int = 6
    epochs: int = 6
    batch: int = 64
    every: int = 8
    neurons: int = 64
    refit: int = 1500


class Hyper(NamedTuple):
    """Hold what one search draws: numbers, so that all searches of a group share a program.

    Attributes:
        rate: rate of Adam at the first step; cosine decay.
        coefficient: strength of the penalty.
        delay: step at which the penalty sets in.
    """

    rate: np.float32
    coefficient: np.float32
    delay: np.int32


def width(group: tuple[str, str], settings: Protocol) -> int:
    """Return the neurons of the hidden layer of a group."""
    return settings.narrow if group[0] in ("identity", "dual") else settings.hidden


def draw(group: tuple[str, str], *, seed: int, search: int, steps: int) -> Hyper:
    """Draw the hyper-parameters of a search.

    Rates are 10^U(-2, -1): the papers' lower rates do not arrive within the epochs of this sweep.
    Regularised searches draw a coefficient and a delay. Delays are the papers', in steps of a run
    of `LONG` steps; a shorter run takes them as shares.

    Args:
        group: (weight map, regulariser).
        seed: search i of every group has the same rate, and the same coefficient and delay where
            the choices are the same, so that groups can be compared in pairs.
        search: number of the search.
        steps: length of the run.
    """
    weight_map, regularizer = group
    rng = np.random.default_rng([seed, search])
    rate, coefficient = 10 ** rng.uniform(-2, -1), rng.choice(COEFFICIENTS)
    delay = int(rng.choice(DELAYS.get(weight_map, (0,))) * min(1.0, steps / LONG))
    if REGULARIZERS[regularizer] is None:
        coefficient, delay = 0.0, 0
    return Hyper(np.float32(rate), np.float32(coefficient), np.int32(delay))


class Network(NamedTuple):
    """Hold what a group needs of its network.

    Attributes:
        init: key -> latent parameters.
        scores: (latent, float images) -> scores; the function that is trained.
        penalty: (latent, turn) -> scalar, or None.
        every: steps between two evaluations of the penalty.
        judge: latent -> (bool, which hidden neurons are certified; binary params), or None.
        constrain: latent -> latent within its bounds, after each step, or None.
    """

    init: Callable[[jax.Array], Any]
    scores: Callable[[Any, jax.Array], jax.Array]
    penalty: Callable[[Any, jax.Array], jax.Array] | None = None
    every: int = 1
    judge: Callable[[Any], tuple[jax.Array, Any]] | None = None
    constrain: Callable[[Any], Any] | None = None


# The papers' classifier, a plain morphax model: one DenseLUI, then `linear_head`, whose weights are
# the effective ones of a second DenseLUI that stays real.


def classifier(params: Any, x: jax.Array) -> jax.Array:
    """Return the scores of flat images: floats with real params, bool with binary ones."""
    return morphax.linear_head(morphax.apply(params["hidden"], x), params["weight"], params["bias"])


def init_lui(
    key: jax.Array, shape: tuple[int, int], weight_map: str, *, mean: float
) -> morphax.BiSE:
    """Return the initial DenseLUI of the papers: its scale starts at 0."""
    # One bias map a weight map: the one that each is used with most in the papers.
    bias_map = "raw" if weight_map == "identity" else "positive"
    options = {"weight_map": weight_map, "bias_map": bias_map, "input_mean": mean}
    node: Any = models.init_dense_lui(key, *shape, **options)
    return morphax.BiSE(node.weight, node.bias, jnp.zeros_like(node.scale), node.spec)


def morphological(group: tuple[str, str], settings: Protocol, images: np.ndarray) -> Network:
    """Return the papers' classifier under one weight map and one regulariser."""
    weight_map, regularizer = group
    hidden, inputs, mean = width(group, settings), images.shape[1], float(images.mean())
    drawn = images[:FIRST]  # from which tied neurons start

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key)
        last = init_lui(
            keys[1], (hidden, 10), "positive" if weight_map == TIED else weight_map, mean=0.5
        )
        if weight_map == TIED:
            return {"hidden": tied.init(keys[0], drawn, hidden), "last": last}
        return {"hidden": init_lui(keys[0], (inputs, hidden), weight_map, mean=mean), "last": last}

    def params(latent: Any) -> Any:
        weights, bias, scale = morphax.effective(latent["last"])
        head = {"weight": weights.T * scale[None], "bias": -scale * bias}
        node = latent["hidden"]
        return {"hidden": tied.node(node) if weight_map == TIED else node, **head}

    def scores(latent: Any, x: jax.Array) -> jax.Array:
        return classifier(params(latent), x)

    kind, _, threshold = (REGULARIZERS[regularizer] or "").partition("-")

    def penalty(latent: Any, turn: jax.Array) -> jax.Array:
        node = params(latent)["hidden"]
        if kind == "exact":
            return regularizers.exact(node, neurons=settings.neurons, step=turn)
        if kind == "bounds":
            return regularizers.bounds(node)
        return regularizers.constant(node, threshold=threshold)

    def judge(latent: Any) -> tuple[jax.Array, Any]:
        real = params(latent)
        exact = certify_node(real["hidden"])[0].exact
        return exact, morphax.binarize(real, method="constant-exact")

    every = 1 if kind == "bounds" else settings.every  # sums only: it costs little
    return Network(init, scores, penalty if kind else None, every, judge)


# Baselines: weights of the size of 1, inputs less the mean of their pixel and divided by a common
# spread. So one range of rates suits them and the morphological networks, and potentials of the
# hidden layer have a mean of 0 and a spread of about 1 for any weights.


def dense(inputs: int, hidden: int) -> Callable[[jax.Array], Any]:
    """Return the initializer of a plain two-layer network: weights uniform in [-1, 1]."""

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key)
        first = jax.random.uniform(keys[0], (inputs, hidden), minval=-1, maxval=1)
        last = jax.random.uniform(keys[1], (hidden, 10), minval=-1, maxval=1)
        thresholds = {"threshold": jnp.zeros(hidden), "bias": jnp.zeros(10)}
        return {"hidden": first, "weight": last, **thresholds}

    return init


def standardizer(images: np.ndarray) -> Callable[[jax.Array], jax.Array]:
    """Return the map of images whose pixels have a mean of 0 and variances that add up to 1."""
    mean = images.mean(0)
    spread = float(np.sqrt((mean * (1 - mean)).sum()))
    centre = jnp.asarray(mean, jnp.float32)[None]
    return lambda x: (x - centre) / spread


def mlp(images: np.ndarray, hidden: int) -> Network:
    """Return a network of rectified units of the same sizes, for the same loss."""
    standardize = standardizer(images)

    def scores(latent: Any, x: jax.Array) -> jax.Array:
        h = jax.nn.relu(standardize(x) @ latent["hidden"] - latent["threshold"][None])
        return h @ latent["weight"] / hidden**0.5 + latent["bias"][None]

    return Network(dense(images.shape[1], hidden), scores)


def straight_through(images: np.ndarray, hidden: int) -> Network:
    """Return a network of weights and activations +-1 with straight-through gradients.

    Forward, weights and activations of the hidden layer are signs; backward, the sign is the
    identity on [-1, 1]. Latent weights are kept in [-1, 1], because outside they have no gradient
    that brings them back. Means of pixels only move the threshold of a neuron, and stand in for the
    batch normalisation of such networks: without them all neurons soon say the same on all images.
    The last layer is real.
    """
    standardize = standardizer(images)

    @jax.custom_jvp
    def sign(v: jax.Array) -> jax.Array:
        return jnp.where(v >= 0, 1.0, -1.0)

    @sign.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return sign(primals[0]), jnp.where(jnp.abs(primals[0]) <= 1, tangents[0], 0)

    def scores(latent: Any, x: jax.Array) -> jax.Array:
        bits = sign(standardize(x) @ sign(latent["hidden"]) - latent["threshold"][None])
        return bits @ latent["weight"] / hidden**0.5 + latent["bias"][None]

    def constrain(latent: Any) -> Any:
        return latent | {"hidden": latent["hidden"].clip(-1, 1)}

    return Network(dense(images.shape[1], hidden), scores, constrain=constrain)


def network(group: tuple[str, str], settings: Protocol, images: np.ndarray) -> Network:
    """Return the network of a group.

    Args:
        group: (weight map, regulariser).
        settings: the size of the experiment.
        images: training images, bool `(N, pixels)`.
    """
    baselines = {"MLP": mlp, "STE": straight_through}
    if group[0] in baselines:
        return baselines[group[0]](images, settings.hidden)
    return morphological(group, settings, images)
