"""Steps of training: one step, many steps in one program, and the metrics of a run.

A model is any `apply(params, x)`; images are `(N, H, W, C)`, bool or float; targets have the shape
of the output. `morphax.training.fitting` runs them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from morphax import _checks
from morphax.binarization import binarize
from morphax.certificates.network import certify_network
from morphax.neurons.nodes import named_nodes
from morphax.objectives import metrics
from morphax.objectives.losses import loss_named
from morphax.training import distributed
from morphax.training.loop import TrainState
from morphax.training.options import Record

Apply = Callable[[Any, jax.Array], jax.Array]
Data = tuple[jax.Array, ...]
"""(images, targets), or (images, targets, masks); the set pixels of a mask are those that count."""
Evaluate = Callable[[Any, Data], Record]
Step = Callable[[TrainState, Data], tuple[TrainState, jax.Array]]
Chunk = Callable[[jax.Array, TrainState, Data], tuple[TrainState, jax.Array]]
Loss = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""(prediction, target, images, step) -> scalar."""


def make_step(
    apply: Apply,
    optimizer: optax.GradientTransformation,
    *,
    loss: str | Loss = "mse",
    penalty: Callable[[Any, jax.Array], jax.Array] | None = None,
) -> Step:
    """Make one optimisation step, a pure function `(state, (x, y)) -> (state, loss)`.

    It takes `(x, y, mask)`, too: outside of the mask, prediction and target both count as 0, so no
    loss there has a gradient.

    Args:
        apply: `(params, x) -> prediction`.
        optimizer: Any Optax transformation.
        loss: "mse", "bce", "dice", or a function of (prediction, target, x, step), all in [0, 1].
        penalty: `(params, step) -> scalar`, added to the loss.

    Returns:
        The step; it casts x and y to float, bool ones to {-1, 1} for symmetric neurons.

    Raises:
        ValueError: An unknown loss.

    Example:
        >>> step = make_step(lambda params, x: x * params, optax.sgd(1.0))
        >>> params, x = jnp.zeros(()), jnp.ones((1, 2, 2, 1))
        >>> state = TrainState(params, optax.sgd(1.0).init(params), jnp.zeros((), jnp.int32))
        >>> float(step(state, (x, x))[0].params)
        2.0
    """
    measure = loss_named(loss) if isinstance(loss, str) else None

    def total(params: Any, step: jax.Array, x: jax.Array, y: jax.Array, *mask: Any) -> jax.Array:
        prediction, target = _that_count(as_unit(apply, params, x, y), *mask)
        if measure is None:
            value = loss(prediction, target, x.astype(jnp.float32), step)  # type: ignore[operator]
        else:
            value = measure(prediction, target)
        return value if penalty is None else value + penalty(params, step)

    def train_step(state: TrainState, batch: Data) -> tuple[TrainState, jax.Array]:
        value, gradient = jax.value_and_grad(total)(state.params, state.step, *batch)
        params, opt_state = descend(optimizer, gradient, state.opt_state, state.params)
        return TrainState(params, opt_state, state.step + 1), value

    return train_step


def descend(
    optimizer: optax.GradientTransformation, gradient: Any, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    """Take one step of an Optax optimizer, under strict dtype promotion too.

    Args:
        optimizer: any Optax transformation.
        gradient: of the loss, a tree like `params`.
        opt_state: of the optimizer.
        params: params tree.

    Returns:
        The new params and the new state of the optimizer.

    Example:
        >>> optimizer = optax.sgd(0.5)
        >>> params, _ = descend(optimizer, jnp.ones(2), optimizer.init(jnp.zeros(2)), jnp.zeros(2))
        >>> params.tolist()
        [-0.5, -0.5]
    """
    # Optax itself mixes dtypes (counts of steps with decay rates), so it cannot run strictly.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state


def is_symmetric(params: Any) -> bool:
    """Return whether the neurons of a params tree work on {-1, 1}.

    Example:
        >>> is_symmetric([])
        False
    """
    return any(node.spec.symmetric for node in named_nodes(params).values())


def as_unit(apply: Apply, params: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return prediction and target of a real network, both float in [0, 1].

    Args:
        apply: `(params, x) -> prediction`.
        params: Params tree; symmetric neurons get x in [-1, 1].
        x: Images, bool or float.
        y: Targets, bool, or float in the range of the neurons.

    Returns:
        (prediction, target), float32 or wider.

    Example:
        >>> x = jnp.zeros((1, 2), bool)
        >>> as_unit(lambda params, x: x, [], x, ~x)[1].tolist()
        [[1.0, 1.0]]
    """
    if is_symmetric(params):
        x = 2 * x.astype(jnp.float32) - 1 if x.dtype == bool else x
        target = y.astype(jnp.float32) if y.dtype == bool else (y + 1) / 2
        prediction = (apply(params, x) + 1) / 2
    else:
        prediction, target = apply(params, x.astype(jnp.float32)), y.astype(jnp.float32)
    dtype = jnp.promote_types(prediction.dtype, target.dtype)
    return prediction.astype(dtype), target.astype(dtype)


def _that_count(parts: tuple[jax.Array, ...], *mask: jax.Array) -> tuple[jax.Array, ...]:
    """Return images with 0 where a mask, if there is one, is not set."""
    return tuple(jnp.where(mask[0], x, jnp.zeros((), x.dtype)) for x in parts) if mask else parts


def crop_border(images: Any, frame: tuple[int, ...]) -> Any:
    """Remove rows and columns from each side of images.

    Args:
        images: `(N, H, W, ...)`.
        frame: Rows and columns to remove on either side.

    Returns:
        `(N, H - 2 frame[0], W - 2 frame[1], ...)`.

    Example:
        >>> crop_border(jnp.zeros((1, 7, 5, 1)), (2, 0)).shape
        (1, 3, 5, 1)
    """
    lengths = images.shape[1 : 1 + len(frame)]
    inside = (slice(cut, size - cut) for cut, size in zip(frame, lengths, strict=True))
    return images[(slice(None), *inside)]


def make_evaluate(apply: Apply, *, method: str = "constant-exact") -> Evaluate:
    """Make the function that measures a params tree on binary images.

    Args:
        apply: `(params, x) -> prediction`, for real and binary params alike.
        method: Method of `morphax.binarize`. The default is the fastest; recipes choose the method
            of the network that they return by held-out pairs.

    Returns:
        A jitted `(params, (x, y)) -> dict`, or `(params, (x, y, mask)) -> dict`, with "float" and
        "binary" (Dice), "gap" (share of pixels where they differ), "certified" (share of neurons)
        and "exact" (1 where the whole network is certified).

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> x = jnp.zeros((1, 5, 5, 1), bool)
        >>> sorted(make_evaluate(models.bimonn)(params, (x, x)))
        ['binary', 'certified', 'exact', 'float', 'gap']
    """

    @jax.jit
    def evaluate(params: Any, data: Data) -> Record:
        x, y, *mask = data
        prediction, _ = as_unit(apply, params, x, y)
        binary = apply(binarize(params, method=method), x)
        prediction, binary, y = _that_count((prediction, binary, y), *mask)
        return {
            "float": metrics.dice(prediction > 0.5, y),
            "binary": metrics.dice(binary, y),
            "gap": metrics.soft_hard_gap(prediction, binary),
            "certified": metrics.certified_share(params),
            "exact": certify_network(apply, params, (1, *x.shape[1:])).exact.astype(jnp.float32),
        }

    return evaluate


def make_chunk(
    step: Step,
    *,
    batch_size: int = 32,
    length: int = 250,
    mine: Callable[[jax.Array, Any, Data], Data] | None = None,
    mine_every: int = 50,
    mesh: Mesh | None = None,
) -> Chunk:
    """Make one program of many steps: `(key, state, data) -> (state, mean loss)`, jitted.

    Args:
        step: Step of `make_step`.
        batch_size: Images in a step, drawn with replacement; step i draws from `fold_in(key, i)`.
        length: Steps of one scan.
        mine: `(key, params, data) -> data`, which draws the images of the next steps: recipes draw
            images that the network has wrong more often.
        mine_every: Steps between two calls of `mine`; divides `length`.
        mesh: Mesh of `morphax.distributed.mesh`: its axis "data" cuts every batch, "neurons" the
            banks. The batches are those of a single device; only the order of the sums differs.

    Returns:
        The program; make it once to train several times.

    Raises:
        ValueError: `mine_every` does not divide `length`, or the mesh `batch_size`.
    """
    rounds = length // mine_every if mine else 1
    divides = rounds * mine_every == length or not mine
    _checks.require(divides, "mine_every", f"a divisor of {length} steps", mine_every)

    def scan(
        key: jax.Array, state: TrainState, data: Data, length: int
    ) -> tuple[TrainState, jax.Array]:
        def body(state: TrainState, _: None) -> tuple[TrainState, jax.Array]:
            drawn = jax.random.randint(
                jax.random.fold_in(key, state.step), (batch_size,), 0, data[0].shape[0]
            )
            batch = tuple(side[drawn] for side in data)
            return step(*distributed.constrain(mesh, state, batch=batch))

        state, losses = jax.lax.scan(body, distributed.constrain(mesh, state), length=length)
        return distributed.constrain(mesh, state), losses.mean()

    @jax.jit
    def chunk(key: jax.Array, state: TrainState, data: Data) -> tuple[TrainState, jax.Array]:
        if mine is None:
            return scan(key, state, data, length)

        def round_(state: TrainState, _: None) -> tuple[TrainState, jax.Array]:
            # Steps count from 0: the negative numbers are free for the draws of `mine`.
            assert mine is not None
            drawn = mine(jax.random.fold_in(key, -1 - state.step), state.params, data)
            return scan(key, state, drawn, mine_every)

        state, losses = jax.lax.scan(round_, state, length=rounds)
        return state, losses.mean()

    return chunk
