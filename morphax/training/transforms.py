"""Optax transforms for neurons; each finds the `BiSE` nodes in the updates by their type.

Constraints must be last in an `optax.chain`: they replace an update by one that ends on the
constraint. Leaves outside of nodes are not changed.

Under `optax.masked` and `optax.multi_transform`, `scale_updates`, `keep_weights_in` and `set_scale`
take masks of single arrays. `add_regularizer` and `keep_activable` look at a neuron as a whole, so
their masks have one truth value for each node:
`jax.tree.map(chosen, params, is_leaf=lambda leaf: isinstance(leaf, morphax.BiSE))`. Under
`optax.inject_hyperparams` the real numbers may be schedules; whole numbers that fix a shape
(`neurons`) must be named in its `static_args`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from morphax import _checks
from morphax.neurons import reparam
from morphax.neurons.nodes import BiSE, effective, leaves, map_nodes, named_nodes, unbank
from morphax.objectives import regularizers
from morphax.projection import project
from morphax.projection.result import INVALID

Schedule = Callable[[Any], Any]
"""Function of the step, as in Optax."""


class StepState(NamedTuple):
    """Hold the number of updates so far, int32 `()`."""

    step: jax.Array


def _on_nodes(function: Callable[[BiSE, BiSE], BiSE]) -> optax.GradientTransformation:
    """Make a stateless transform of `(update node, params node) -> update node`."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _checks.require(params is not None, "params", "the params tree (pass it to update)", params)
        return map_nodes(function, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _absent(field: Any) -> bool:
    """Return whether a mask (`optax.masked`) leaves a field of a node out."""
    return isinstance(field, optax.MaskedNode)


def _is_whole(node: Any) -> bool:
    """Return whether a node has its three arrays; False where a mask leaves all of them out."""
    absent = [_absent(field) for field in leaves(node)]
    _checks.require(
        all(absent) or not any(absent),
        "mask",
        "one truth value for each node, as a neuron is judged as a whole (make the mask with "
        "jax.tree.map(..., params, is_leaf=lambda leaf: isinstance(leaf, morphax.BiSE)))",
        "a mask of single arrays",
    )
    return not any(absent)


def scale_updates(
    *, weight: float = 1.0, bias: float = 1.0, scale: float = 1.0
) -> optax.GradientTransformation:
    """Multiply the updates of each kind of parameter by its own factor.

    A bias is of the size of a sum of n weights, so it may need larger steps.

    Args:
        weight: Factor of the updates of weights.
        bias: Factor of the updates of biases.
        scale: Factor of the updates of scales.

    Returns:
        An `optax.GradientTransformation`.

    Example:
        >>> optimizer = optax.chain(optax.adam(1e-2), scale_updates(bias=5.0))
    """
    factors = (weight, bias, scale)

    def scaled(u: BiSE, p: BiSE) -> BiSE:
        fields = zip(leaves(u), factors, strict=True)
        new = [f if _absent(f) else f * jnp.asarray(by, f.dtype) for f, by in fields]
        return BiSE(new[0], new[1], new[2], u.spec)

    return _on_nodes(scaled)


def keep_weights_in(low: float = 0.0, high: float = 1.0) -> optax.GradientTransformation:
    """Keep latent weights in [low, high]; a constraint, last in the chain.

    With "identity" weights this box makes learned structuring elements crisp: pixels outside S
    reach exactly 0, and no pixel can outgrow the others.

    Args:
        low: Lower end of the box.
        high: Upper end of the box.

    Returns:
        An `optax.GradientTransformation`.

    Raises:
        ValueError: An empty box.

    Example:
        >>> optimizer = optax.chain(optax.adam(1e-2), keep_weights_in(0.0, 1.0))
    """
    if not isinstance(high, Tracer):
        above = np.asarray(high)
        _checks.number("low", low, f"less than high = {high}", lambda low: low < above)

    def land(u: BiSE, p: BiSE) -> BiSE:
        if _absent(u.weight):
            return u
        ends = (jnp.asarray(end, p.weight.dtype) for end in (low, high))
        return replace(u, weight=jnp.clip(p.weight + u.weight, *ends) - p.weight)

    return _on_nodes(land)


def set_scale(schedule: float | Schedule) -> optax.GradientTransformation:
    """Make |p| of every neuron follow a schedule, with its sign; a constraint, last in the chain.

    Annealing p from soft to hard lets the weights move before the thresholds saturate.

    Args:
        schedule: A number, or a function of the step with |p| > 0, such as
            `optax.exponential_decay` with a rate above 1.

    Returns:
        An `optax.GradientTransformation`.

    Example:
        >>> optimizer = optax.chain(optax.adam(1e-2), set_scale(lambda step: 4.0))
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _checks.require(params is not None, "params", "the params tree (pass it to update)", params)
        size = _at(schedule, state.step)

        def fix(u: BiSE, p: BiSE) -> BiSE:
            if _absent(u.scale):
                return u
            wanted = jnp.where(p.scale + u.scale < 0, -size, size).astype(p.scale.dtype)
            return replace(u, scale=wanted - p.scale)

        return map_nodes(fix, updates, params), StepState(state.step + 1)

    return optax.GradientTransformation(lambda params: StepState(jnp.zeros((), jnp.int32)), update)


def _at(schedule: float | Schedule, step: jax.Array) -> Any:
    """Return the value of a schedule, or the number that stands for one."""
    # Optax's own schedules mix the step with floats.
    with jax.numpy_dtype_promotion("standard"):
        return schedule(step) if callable(schedule) else schedule


PENALTIES = ("exact", "constant-exact", "constant-uniform", "constant-normal", "bounds")
"""Regularisers of `add_regularizer`."""


def add_regularizer(
    penalty: str,
    coefficient: float | Schedule,
    *,
    delay: int = 0,
    every: int = 1,
    neurons: int | None = None,
    mask: Callable[[str], bool] | None = None,
    bias_weight: float = 1.0,
    margin: float = 0.0,
    relative_margin: float = 0.0,
) -> optax.GradientTransformation:
    """Add the gradient of a regulariser to the updates, as `optax.add_decayed_weights` adds decay.

    Before the optimizer in the chain, it is adapted like the loss. After it, it is decoupled; the
    coefficient is negative then, as updates are added.

    Args:
        penalty: "exact" (L_exact), "constant-exact", "constant-uniform", "constant-normal", or
            "bounds" (`morphax.regularizers.bounds`).
        coefficient: A number, or a schedule of the step.
        delay: Steps before the penalty begins.
        every: Evaluate the penalty once in `every` steps and scale its gradient by `every`, so that
            its average strength is unchanged.
        neurons: For "exact": evaluate it on a rotating block of so many neurons of each bank.
        mask: Function of the path of a bank (such as "layers_0/bise") that returns whether the bank
            is regularised.
        bias_weight: For "exact", as in `morphax.regularizers.exact`.
        margin: For "exact", as in `morphax.regularizers.exact`.
        relative_margin: For "exact", as in `morphax.regularizers.exact`.

    Returns:
        An `optax.GradientTransformation`; its state counts the steps.

    Raises:
        ValueError: An unknown penalty, `every` below 1, or a mask of single arrays around it.

    Example:
        >>> penalty = add_regularizer("constant-exact", 1e-3, delay=1000)
        >>> optimizer = optax.chain(penalty, optax.adam(1e-2))
    """
    _checks.one_of("penalty", penalty, PENALTIES)
    _checks.number("every", every, "1 or more", lambda every: every >= 1)
    is_static = neurons is None or isinstance(neurons, (int, np.integer))
    expected = 'a Python int (optax.inject_hyperparams wants static_args=("neurons",))'
    _checks.require(is_static, "neurons", expected, neurons)
    kind, _, threshold = penalty.partition("-")

    def value(params: Any, turn: jax.Array) -> jax.Array:
        chosen = _masked(params, mask)
        if kind == "exact":
            return regularizers.exact(
                chosen,
                bias_weight=bias_weight,
                margin=margin,
                relative_margin=relative_margin,
                neurons=neurons,
                step=turn,
            )
        if kind == "bounds":
            return regularizers.bounds(chosen)
        return regularizers.constant(chosen, threshold=threshold)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _checks.require(params is not None, "params", "the params tree (pass it to update)", params)
        step = state.step
        strength = jnp.asarray(_at(coefficient, step)) * every

        def add(updates: Any) -> Any:
            gradient = jax.grad(value)(params, step // every)
            return jax.tree.map(lambda u, g: u + strength.astype(u.dtype) * g, updates, gradient)

        active = (step >= delay) & (step % every == 0)
        return jax.lax.cond(active, add, lambda updates: updates, updates), StepState(step + 1)

    return optax.GradientTransformation(lambda params: StepState(jnp.zeros((), jnp.int32)), update)


def _masked(params: Any, mask: Callable[[str], bool] | None) -> list[Any]:
    """Return the banks that are regularised: those that no mask leaves out."""
    named = named_nodes(params).items()
    return [node for path, node in named if _is_whole(node) and (not mask or mask(path))]


def keep_activable(
    *,
    every: int = 1,
    operation: str = "both",
    bias_weight: float = 1.0,
    margin: float = 0.0,
    relative_margin: float = 1e-3,
) -> optax.GradientTransformation:
    """Move all neurons to their nearest activable parameters; a constraint, last in the chain.

    The effective parameters are projected, and the latent ones are solved for. Maps that cannot
    reach the projection come close: "positive" weights stay above 1e-6 of the largest one, "dual"
    weights are projected up to the common factor that their sum fixes (weights, bias and 1/scale
    change by it, which keeps the function), and a "positive" bias stays above its offset.

    Args:
        every: Steps between two projections.
        operation: As in `morphax.project`.
        bias_weight: As in `morphax.project`.
        margin: As in `morphax.project`.
        relative_margin: Distance to the bounds, as a multiple of ||(w, b)||, so that neurons are
            certified strictly.

    Returns:
        An `optax.GradientTransformation`.

    Raises:
        ValueError: `every` below 1, or a mask of single arrays around it.

    Example:
        >>> optimizer = optax.chain(optax.adam(1e-2), keep_activable(every=10))
    """
    _checks.number("every", every, "1 or more", lambda every: every >= 1)
    options = {
        "operation": operation,
        "bias_weight": bias_weight,
        "margin": margin,
        "relative_margin": relative_margin,
    }

    def to_activable(u: BiSE, p: BiSE) -> BiSE:
        if not _is_whole(u):
            return u
        moved: BiSE = jax.tree.map(jnp.add, p, u)
        target = _activable(moved, options)
        return jax.tree.map(jnp.subtract, target, p)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _checks.require(params is not None, "params", "the params tree (pass it to update)", params)
        step = state.step + 1
        projected = jax.lax.cond(
            step % every == 0, lambda u: map_nodes(to_activable, u, params), lambda u: u, updates
        )
        return projected, StepState(step)

    return optax.GradientTransformation(lambda params: StepState(jnp.zeros((), jnp.int32)), update)


def _activable(node: BiSE, options: dict[str, Any]) -> BiSE:
    """Return the node whose effective parameters are the projection of those of `node`."""
    spec = node.spec
    weights, bias, scale = effective(node)
    near = project(
        weights,
        bias,
        nonnegative=spec.weight_map != "identity",
        symmetric=spec.symmetric,
        **options,
    )
    # Neurons that have no projection, such as those with NaN, stay as they are.
    is_valid = near.status != INVALID
    projected = jnp.where(is_valid[..., None], near.weights, weights)
    threshold = jnp.where(is_valid, near.bias, bias)
    # What a map cannot reach is replaced by what it can, nearby.
    if spec.weight_map != "identity":
        projected = jnp.maximum(projected, 1e-6 * projected.max(-1, keepdims=True) + 1e-30)
    if spec.weight_map == "dual":
        factor = spec.factor / projected.sum(-1)
        projected, threshold, scale = (
            projected * factor[..., None],
            threshold * factor,
            scale / factor,
        )
    if spec.bias_map not in ("raw", "centred"):
        threshold = jnp.maximum(
            threshold, (spec.offset if spec.bias_map == "positive" else 0) + 1e-6
        )
    return BiSE(
        unbank(node, reparam.latent_weights(projected, spec.weight_map)),
        reparam.latent_bias(threshold, spec.bias_map, projected, offset=spec.offset),
        scale,
        spec,
    )
