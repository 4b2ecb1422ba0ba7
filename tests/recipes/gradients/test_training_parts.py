"""Parts of the recipe for one's own model: the same start and loss as in `learn_operator`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import morphax
from morphax import data, recipes
from morphax.morphology import elements
from morphax.neurons import models
from morphax.recipes.gradients import _starts, operators

OPTIONS = {"kernel_size": 3, "weight_map": "identity", "bias_map": "centred"}


@pytest.mark.parametrize("start", recipes.STARTS)
@pytest.mark.parametrize("channels", [(1, 1, 1), (1, 2, 1)])
def test_the_start_is_that_of_the_recipe(start, channels):
    """On a list, and on a dict with other leaves beside the nodes."""
    params = models.init_bimonn(jax.random.key(0), channels, **OPTIONS)
    expected = _starts.initialise(jax.random.key(1), params, start, scale=2.0)
    spread = recipes.spread_start(jax.random.key(1), params, start=start)
    jax.tree.map(np.testing.assert_array_equal, spread, expected)
    tree = {"a_first": params[0], "b_last": params[1], "c_other": jnp.arange(3.0)}
    spread = recipes.spread_start(jax.random.key(1), tree, start=start)
    jax.tree.map(np.testing.assert_array_equal, spread["b_last"], expected[1])
    np.testing.assert_array_equal(spread["c_other"], jnp.arange(3.0))


@pytest.mark.parametrize("step", [10, 90])
def test_the_loss_is_that_of_the_recipe(step):
    params = models.init_bimonn(jax.random.key(0), (1, 1), **OPTIONS)
    x, y, p = (jax.random.uniform(jax.random.key(k), (2, 8, 8, 1)) for k in range(3))
    x, y = (part > 0.5 for part in (x, y))
    x, y = x.astype(jnp.float32), y.astype(jnp.float32)
    step = jnp.asarray(step)
    expected = operators._loss(100, (1, 1), by_kind=False)(p, y, x, step)
    expected += operators._pull(100)(params, step)
    loss = recipes.operator_loss(100, frame=(1, 1))(params, p, y, x, step)
    assert float(loss) == pytest.approx(float(expected))


@pytest.mark.usefixtures("standard_promotion")
def test_a_plain_loop_learns_an_erosion_to_the_last_pixel():
    """By the four functions and Optax alone."""
    x = data.diskorect(jax.random.key(0), 160, size=(20, 20), n_shapes=6, n_holes=4)
    y = data.target(x, "erosion", elements.square(3))
    steps, apply = 300, models.bimonn
    optimizer, loss = recipes.operator_optimizer(steps), recipes.operator_loss(steps)
    params = models.init_bimonn(jax.random.key(1), (1, 1), **OPTIONS)
    params = recipes.spread_start(jax.random.key(2), params, start=recipes.STARTS[0])
    images, targets = x[32:].astype(jnp.float32), y[32:].astype(jnp.float32)

    def step(carry, number):
        params, state = carry
        drawn = jax.random.randint(jax.random.fold_in(jax.random.key(3), number), (16,), 0, 128)
        batch = images[drawn], targets[drawn]
        gradient = jax.grad(lambda p: loss(p, apply(p, batch[0]), batch[1], batch[0], number))
        updates, state = optimizer.update(gradient(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    start = params, optimizer.init(params)
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(steps)))(start)
    learned = recipes.finish(apply, params, (x[32:], y[32:]), (x[:32], y[:32]))
    assert bool(learned.certificate.exact)
    assert learned.verdict.error == 0
    assert learned.warning is None


def test_what_is_not_certified_is_made_activable():
    x = jax.random.bernoulli(jax.random.key(0), 0.8, (16, 10, 10, 1))
    y = data.target(x, "erosion", elements.square(3))
    weight = jnp.ones((3, 3, 1, 1)).at[0, 0].set(0.5)
    spec = morphax.Spec("spatial", "identity", "raw")
    node = morphax.BiSE(weight, jnp.full((1, 1), 8.499999), jnp.full((1, 1), 20.0), spec)
    params = [{"bise": node}]
    assert not bool(morphax.certify_network(models.bimonn, params, (1, 10, 10, 1)).exact)
    learned = recipes.finish(models.bimonn, params, (x, y), (x, y))
    assert bool(learned.certificate.exact)
    assert learned.verdict.error == 0
