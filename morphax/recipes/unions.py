"""A union of operators, found one after the other: the recipe for targets that no single operator makes.

Denoising is the example: the target is the clean drawing, and each kind of stroke needs its own opening.
The maps of a union that are trained together from the start all settle for the same blurred compromise.
So each is trained alone, on the pixels that the maps before it do not cover, and by a measure that asks
more for precision than for recall: F_beta with beta = 1/2. To find one kind of stroke and nothing else
is then good, to let the noise pass is not. Each map is tried from several random starts in one
vmapped program; the start whose binary operator is best on held-out pairs is kept. At the end the whole
network, channels [1, maps, 1], is trained together for F_1, and projected onto activable neurons now and
then, the last time at the last step: noisy targets reward weights that are neither in nor out. Box,
annealed scales and the pull towards constant sets are those of `morphax.recipes`. docs/learning.md has
the measurements.
"""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from morphax import _checks
from morphax.binarization import binarize
from morphax.certificates.network import certify_network
from morphax.neurons import models
from morphax.neurons.nodes import BiSE
from morphax.objectives import metrics, regularizers
from morphax.recipes.operators import PULL, SCALES, Learned
from morphax.training import transforms
from morphax.training.fitting import Data, Record

BETA = 0.5
"""Of the F-measure of a map alone: below 1, precision counts more than recall."""
QUANTILES = (0.65, 0.35)
"""b / sum(w) of the first and the second layer at the start: an erosion, then a dilation."""
WIDTH = 1.5
"""Standard deviation, in pixels, of the bell that random initial weights are multiplied with."""
JOINT_SCALE = 10.0
"""|p| at the start of the joint training: the maps are to be refined, not forgotten."""
LANDINGS, MARGIN = 20, 0.05
"""Projections onto activable neurons in the joint training, and the relative margin they keep."""
ENOUGH = 0.5
"""F-measure that a map must reach, if another search is left."""
FLOOR = 1e-2
"""Added to 1 - F before the logarithm."""


def learn_union(
    key: jax.Array,
    train: Data,
    *,
    valid: Data,
    maps: int = 3,
    kernel_size: int = 5,
    steps: int = 750,
    starts: int = 6,
    retries: int = 1,
    joint_steps: int = 2000,
    batch_size: int = 8,
    learning_rate: float = 1e-2,
    border: str = "ignore",
) -> Learned:
    """Learn a union of two-layer operators, such as openings, from pairs of images.

    Args:
        key: PRNG key; the same key and data give the same operator.
        train: (images, targets), bool `(N, H, W, 1)`.
        valid: the same, held out; it chooses among the starts.
        maps: operators in the union.
        kernel_size: odd side of the windows.
        steps: of one map from one start.
        starts: random starts of each map.
        retries: searches that may be repeated, those whose best map has an F-measure below 1/2; all
            searches together take at most `(maps + retries) * starts * steps` steps.
        joint_steps: of the whole network at the end.
        batch_size: images a step.
        learning_rate: of Adam, decayed by a cosine.
        border: of the spatial neurons (`morphax.neurons.nodes.BORDERS`).

    Returns:
        `Learned`; `params` are a BiMoNN of channels [1, maps, 1], `history` has one record for each
        search and one for the whole, `restarts` counts the searches.

    Raises:
        ValueError: data that are not bool or do not fit, a count out of range, an even kernel.

    Example:
        >>> from morphax import data
        >>> pairs = data.noisti(jax.random.key(0), 8, size=(16, 16), n_shapes=3)
        >>> found = learn_union(jax.random.key(1), pairs, valid=pairs, maps=2, kernel_size=3,
        ...                     steps=2, starts=2, joint_steps=2)
        >>> found.params[0]["bise"].weight.shape
        (3, 3, 1, 2)
    """
    _check_pairs(train, valid)
    for name, count in (("maps", maps), ("starts", starts), ("batch_size", batch_size),
                        ("steps", steps), ("joint_steps", joint_steps)):  # fmt: skip
        _checks.require(count >= 1, name, "1 or more", count)
    _checks.require(retries >= 0, "retries", "0 or more", retries)
    one = models.init_bimonn(
        key, (1, 1, 1), kernel_size=kernel_size, border=border,
        weight_map="identity", bias_map="centred",
    )  # fmt: skip
    search, refine = _programs(steps, starts, joint_steps, batch_size, learning_rate)
    covered = [jnp.zeros_like(target) for _, target in (train, valid)]
    found: list[Any] = []
    history: list[Record] = []
    for number in range(maps + retries):
        if len(found) == maps:
            break
        candidates, scores, shares = search(
            jax.random.fold_in(key, number), one, (*train, covered[0]), (*valid, covered[1])
        )
        best = int(jnp.argmax(scores + 1e-3 * shares))  # of two alike the certified one
        score = float(scores[best])
        history.append({"search": number, "steps": steps * starts, "f_measure": score,
                        "certified": float(shares[best])})  # fmt: skip
        if score < ENOUGH and maps + retries - number > maps - len(found):
            continue
        found.append(jax.tree.map(lambda leaf, best=best: leaf[best], candidates))
        binary = binarize(found[-1])
        covered = [
            before | models.bimonn(binary, images)
            for before, (images, _) in zip(covered, (train, valid), strict=True)
        ]
    params = refine(jax.random.fold_in(key, maps), _united(found), (*train, covered[0] & False))
    verdict = certify_network(models.bimonn, params, (1, *train[0].shape[1:]))
    binary = binarize(params)
    dice = metrics.dice(models.bimonn(binary, valid[0]), valid[1])
    share = metrics.certified_share(params)
    history.append({"steps": joint_steps, "binary": float(dice), "certified": float(share)})
    return Learned(params, binary, verdict, history, len(history) - 1)


class _State(NamedTuple):
    params: Any
    opt_state: Any
    step: jax.Array


@cache
def _programs(
    steps: int, starts: int, joint_steps: int, batch_size: int, learning_rate: float
) -> Any:
    """The search for a map and the joint training, jitted; kept for the next call of that shape."""

    def train(
        key: jax.Array, params: Any, data: Any, steps: int, low: float, beta: float, last: Any
    ) -> Any:
        images, targets, covered = data
        optimizer = optax.chain(
            optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.1)),
            transforms.scale_updates(bias=5.0),
            transforms.keep_weights_in(0.0, 1.0),
            transforms.set_scale(optax.exponential_decay(low, steps, SCALES[1] / low)),
            last,
        )

        def loss(params: Any, drawn: jax.Array, step: jax.Array) -> jax.Array:
            open_ = ~covered[drawn]
            prediction = models.bimonn(params, images[drawn].astype(jnp.float32)) * open_
            value = jnp.log(
                1 - metrics.f_measure(prediction, targets[drawn] & open_, beta=beta) + FLOOR
            )
            pull = PULL * jnp.clip(2 * step / steps - 1, 0, 1)
            return value + pull * regularizers.constant(params)

        def body(state: _State, _: None) -> tuple[_State, None]:
            step_key = jax.random.fold_in(key, state.step)
            drawn = jax.random.randint(step_key, (batch_size,), 0, len(images))
            gradient = jax.grad(loss)(state.params, drawn, state.step)
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            return _State(params, opt_state, state.step + 1), None

        first = _State(params, optimizer.init(params), jnp.zeros((), jnp.int32))
        return jax.lax.scan(body, first, length=steps)[0].params

    @jax.jit
    def search(key: jax.Array, one: Any, data: Any, valid: Any) -> tuple[Any, jax.Array, jax.Array]:
        images, targets, covered = valid

        def candidate(key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
            start_key, train_key = jax.random.split(key)
            params = train(
                train_key, _start(start_key, one), data, steps, SCALES[0], BETA, optax.identity()
            )
            rest = models.bimonn(binarize(params), images) & ~covered
            score = metrics.f_measure(rest, targets & ~covered, beta=BETA)
            return params, score, metrics.certified_share(params)

        return jax.vmap(candidate)(jax.random.split(key, starts))

    @jax.jit
    def refine(key: jax.Array, params: Any, data: Any) -> Any:
        every = max(1, joint_steps // LANDINGS)
        landing = transforms.keep_activable(every=every, relative_margin=MARGIN)
        return train(key, params, data, joint_steps, JOINT_SCALE, 1.0, landing)

    return search, refine


def _start(key: jax.Array, one: Any) -> Any:
    """Random weights under a bell of mean 1/2; biases at `QUANTILES`."""
    layers = []
    for depth, layer in enumerate(one):
        node = layer["bise"]
        rows, columns = node.weight.shape[:2]
        y = jnp.arange(rows)[:, None] - rows // 2
        x = jnp.arange(columns)[None, :] - columns // 2
        bell = jnp.exp(-(y**2 + x**2) / (2 * WIDTH**2))[:, :, None, None]
        draw = jax.random.uniform(jax.random.fold_in(key, depth), node.weight.shape)
        weight = jnp.clip(draw * bell * (0.5 / (draw * bell).mean()), 0, 1)
        bias = (QUANTILES[depth] - 0.5) * weight.sum((0, 1))  # centred
        layers.append({"bise": BiSE(weight, bias, jnp.full_like(node.scale, SCALES[0]), node.spec)})
    return layers


def _united(found: list[Any]) -> Any:
    """One network of channels [1, maps, 1]: the maps side by side, then their union."""
    spec = found[0][0]["bise"].spec
    shape = models.init_bimonn(
        jax.random.key(0), (1, len(found), 1), border=spec.border,
        kernel_size=[one["bise"].weight.shape[:2] for one in found[0]],
        weight_map="identity", bias_map="centred",
    )  # fmt: skip
    union: Any = shape[1]["lui"]
    all_of = jnp.ones_like(union.weight)
    lui = BiSE(all_of, 0.5 - all_of.sum(0) / 2, jnp.full_like(union.scale, JOINT_SCALE), union.spec)

    def side_by_side(depth: int, weight_axis: int, bias_axis: int) -> BiSE:
        nodes = [one[depth]["bise"] for one in found]
        bias = jnp.concatenate([node.bias for node in nodes], bias_axis)
        weight = jnp.concatenate([node.weight for node in nodes], weight_axis)
        return BiSE(weight, bias, jnp.full(bias.shape, JOINT_SCALE, weight.dtype), spec)

    return [{"bise": side_by_side(0, 3, 1)}, {"bise": side_by_side(1, 2, 0), "lui": lui}]


def _check_pairs(train: Data, valid: Data) -> None:
    for name, pair in (("train", train), ("valid", valid)):
        for i, part in enumerate(pair):
            expected = "a bool array (threshold it, e.g. images > 127)"
            _checks.require(part.dtype == bool, f"{name}[{i}]", expected, f"dtype {part.dtype}")
            fits = part.ndim == 4 and part.shape[-1] == 1 and part.shape == pair[0].shape
            expected = "images (N, H, W, 1), targets of the same shape"
            _checks.require(fits and len(part) > 0, f"{name}[{i}]", expected, part.shape)
