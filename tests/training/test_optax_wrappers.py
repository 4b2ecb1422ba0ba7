"""Transforms under Optax's wrappers: masks of arrays and of nodes, injected hyperparameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from morphax import BiSE, models
from morphax.neurons.nodes import named_nodes
from morphax.training import transforms

LEAFWISE = {
    "scale_updates": lambda: transforms.scale_updates(weight=2.0, bias=3.0, scale=4.0),
    "keep_weights_in": lambda: transforms.keep_weights_in(0.0, 0.5),
    "set_scale": lambda: transforms.set_scale(lambda step: 3.0),
}
WHOLE = {
    "add_regularizer": lambda: transforms.add_regularizer("exact", 0.1),
    "keep_activable": lambda: transforms.keep_activable(),
}
TRANSFORMS = LEAFWISE | WHOLE


@pytest.fixture(scope="module")
def params():
    return models.init_bimonn(
        jax.random.key(0), [1, 2, 1], kernel_size=3, weight_map="identity", bias_map="centred"
    )


@pytest.fixture(scope="module")
def gradients(params):
    return jax.tree.map(lambda leaf: 0.5 + jnp.cos(leaf), params)


def step(optimizer, params, gradients):
    return optimizer.update(gradients, optimizer.init(params), params)[0]


def over_nodes(function, params):
    return jax.tree.map(function, params, is_leaf=lambda leaf: isinstance(leaf, BiSE))


def is_weight(leaf):
    return leaf.ndim >= 2 and leaf.shape != (1, 2)


@pytest.mark.parametrize("name", LEAFWISE)
def test_masks_of_arrays(name, params, gradients):
    """Chosen arrays are changed as without a mask, the others not at all."""
    for chosen in (is_weight, lambda leaf: not is_weight(leaf)):
        mask = jax.tree.map(chosen, params)
        updates = step(optax.masked(LEAFWISE[name](), mask), params, gradients)
        free = step(LEAFWISE[name](), params, gradients)
        expected = jax.tree.map(lambda m, a, b: a if m else b, mask, free, gradients)
        jax.tree.map(np.testing.assert_array_equal, updates, expected)


@pytest.mark.parametrize("name", LEAFWISE)
def test_labels_of_arrays(name, params, gradients):
    labels = jax.tree.map(lambda leaf: "a" if is_weight(leaf) else "b", params)
    parts = {"a": LEAFWISE[name](), "b": optax.scale(7.0)}
    updates = step(optax.multi_transform(parts, labels), params, gradients)
    free = step(LEAFWISE[name](), params, gradients)
    expected = jax.tree.map(lambda m, a, b: a if m == "a" else 7 * b, labels, free, gradients)
    jax.tree.map(np.testing.assert_array_equal, updates, expected)


@pytest.mark.parametrize("name", WHOLE)
def test_masks_of_arrays_are_refused_where_a_neuron_counts_as_a_whole(name, params, gradients):
    mask = jax.tree.map(is_weight, params)
    labels = jax.tree.map(lambda leaf: "a" if is_weight(leaf) else "b", params)
    parts = {"a": WHOLE[name](), "b": optax.sgd(0.1)}
    for optimizer in (optax.masked(WHOLE[name](), mask), optax.multi_transform(parts, labels)):
        with pytest.raises(ValueError, match=r"mask: expected one truth value for each node"):
            step(optimizer, params, gradients)


@pytest.mark.first(6)
@pytest.mark.parametrize("form", ["nodes", "arrays", "advice"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_masks_of_nodes(name, form, params, gradients):
    """The mask that the message advises, and the same one spelled out for each array."""
    chosen = lambda node: node.spec.role == "spatial"  # noqa: E731
    mask = over_nodes(chosen, params)
    if form == "arrays":
        mask = over_nodes(lambda node: jax.tree.map(lambda _: chosen(node), node), params)
    if form == "advice":
        mask = jax.tree.map(chosen, params, is_leaf=lambda leaf: isinstance(leaf, BiSE))
    updates = step(optax.masked(TRANSFORMS[name](), mask), params, gradients)
    free = step(TRANSFORMS[name](), params, gradients)
    for path, node in named_nodes(updates).items():
        source = free if node.spec.role == "spatial" else gradients
        jax.tree.map(np.testing.assert_array_equal, node, named_nodes(source)[path])


INJECTED = [
    (transforms.scale_updates, dict(weight=2.0, bias=3.0, scale=4.0)),
    (transforms.keep_weights_in, dict(low=0.1, high=0.5)),
    (transforms.set_scale, dict(schedule=3.0)),
    (transforms.add_regularizer, dict(penalty="exact", coefficient=0.1, relative_margin=0.05)),
    (transforms.add_regularizer, dict(penalty="constant-exact", coefficient=0.1)),
    (transforms.keep_activable, dict(relative_margin=0.02, operation="erosion")),
]


@pytest.mark.first(2)
@pytest.mark.parametrize("factory, options", INJECTED)
def test_injected_numbers(factory, options, params, gradients):
    """Numbers and schedules in the state of the optimizer, inside jit and outside."""
    numbers = {name: value for name, value in options.items() if isinstance(value, float)}
    expected = step(factory(**options), params, gradients)
    schedules = options | {name: lambda count, v=v: jnp.float32(v) for name, v in numbers.items()}
    for given, compiled in ((options, lambda update: update), (schedules, jax.jit)):
        optimizer = optax.inject_hyperparams(factory)(**given)
        state = optimizer.init(params)
        assert set(numbers) <= set(state.hyperparams)
        updates, _ = compiled(optimizer.update)(gradients, state, params)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), updates, expected
        )


@pytest.mark.usefixtures("standard_promotion")
def test_injected_schedules_are_followed(params, gradients):
    schedule = optax.piecewise_constant_schedule(2.0, {1: 4.0})
    optimizer = optax.inject_hyperparams(transforms.set_scale)(schedule)
    state = optimizer.init(params)
    for size in (2.0, 8.0):
        updates, state = optimizer.update(gradients, state, params)
        for path, node in named_nodes(optax.apply_updates(params, updates)).items():
            np.testing.assert_allclose(abs(node.scale), size, rtol=1e-6, err_msg=path)


@pytest.mark.slow
def test_a_whole_number_that_is_injected_is_refused_with_the_way_out(params, gradients):
    options = dict(penalty="exact", coefficient=0.1, neurons=1)
    with pytest.raises(ValueError, match=r'neurons: .*static_args=\("neurons",\)'):
        optax.inject_hyperparams(transforms.add_regularizer)(**options).init(params)
    static = optax.inject_hyperparams(transforms.add_regularizer, static_args=("neurons",))
    updates = step(static(**options), params, gradients)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        updates,
        step(transforms.add_regularizer(**options), params, gradients),
    )


@pytest.mark.parametrize("low, high", [(1.0, 0.0), (jnp.ones(()), jnp.zeros(())), (0.5, 0.5)])
def test_an_empty_box_is_refused(low, high):
    with pytest.raises(ValueError, match="low: expected less than high"):
        transforms.keep_weights_in(low, high)


def test_numbers_out_of_range_are_refused_unless_they_are_traced(params, gradients):
    with pytest.raises(ValueError, match="relative_margin: expected a finite number >= 0"):
        step(transforms.keep_activable(relative_margin=-1.0), params, gradients)
    optimizer = optax.inject_hyperparams(transforms.keep_activable)(relative_margin=-1.0)
    with pytest.raises(ValueError, match="relative_margin: expected a finite number >= 0"):
        step(optimizer, params, gradients)
