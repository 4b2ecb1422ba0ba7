"""Optax transforms that know neurons; each finds the `BiSE` nodes in the updates by type.

The constraints must be last in an `optax.chain`: they turn the update into the one that lands on the
constraint. Leaves outside nodes pass through.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from morphax import _check
from morphax.nodes import BiSE, map_nodes

Schedule = Callable[[Any], Any]
"""Step -> value, as Optax's schedules."""


class StepState(NamedTuple):
    """Number of updates seen, int32 `()`."""

    step: jax.Array


def _on_nodes(function: Callable[[BiSE, BiSE], BiSE]) -> optax.GradientTransformation:
    """A stateless transform `(update node, params node) -> update node`."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _check.require(params is not None, "params", "the params tree (pass it to update)", params)
        return map_nodes(function, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def scale_updates(
    *, weight: float = 1.0, bias: float = 1.0, scale: float = 1.0
) -> optax.GradientTransformation:
    """Multiply the updates of each kind of parameter by its own factor.

    A bias lives in units of a sum of n weights, so it may deserve larger steps.

    Args:
        weight, bias, scale: the factors.

    Returns:
        An `optax.GradientTransformation`.

    Example:
        >>> optimizer = optax.chain(optax.adam(1e-2), scale_updates(bias=5.0))
    """
    return _on_nodes(lambda u, p: BiSE(u.weight * weight, u.bias * bias, u.scale * scale, u.spec))


def keep_weights_in(low: float = 0.0, high: float = 1.0) -> optax.GradientTransformation:
    """Constraint: latent weights stay in [low, high]. Must be last in the chain.

    With "identity" weights this box is what makes learned structuring elements crisp: pixels outside S
    reach exactly 0 and no single pixel can outgrow the others.

    Args:
        low, high: the box.

    Returns:
        An `optax.GradientTransformation`.

    Raises:
        ValueError: an empty box.

    Example:
        >>> optimizer = optax.chain(optax.adam(1e-2), keep_weights_in(0.0, 1.0))
    """
    _check.require(low < high, "low", f"less than high = {high}", low)
    return _on_nodes(
        lambda u, p: BiSE(
            jnp.clip(p.weight + u.weight, low, high) - p.weight, u.bias, u.scale, u.spec
        )
    )


def set_scale(schedule: Schedule) -> optax.GradientTransformation:
    """Constraint: |p| of every neuron follows a schedule, its sign is kept. Must come last.

    Annealing p from soft to hard lets a network settle before its thresholds bite.

    Args:
        schedule: step -> |p| > 0, such as `optax.exponential_decay` with a rate above 1.

    Returns:
        An `optax.GradientTransformation`.

    Example:
        >>> optimizer = optax.chain(optax.adam(1e-2), set_scale(lambda step: 4.0))
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _check.require(params is not None, "params", "the params tree (pass it to update)", params)
        size = schedule(state.step)

        def fix(u: BiSE, p: BiSE) -> BiSE:
            wanted = jnp.where(p.scale + u.scale < 0, -size, size).astype(p.scale.dtype)
            return BiSE(u.weight, u.bias, wanted - p.scale, u.spec)

        return map_nodes(fix, updates, params), StepState(state.step + 1)

    return optax.GradientTransformation(lambda params: StepState(jnp.zeros((), jnp.int32)), update)
