"""The refitted last layer against SciPy's minimiser of the same convex problem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import morphax
from morphax.classification import refit_head


def noisy_bits(rng, count=120, n=6, classes=3):
    """Bits whose labels a linear layer gets right mostly, not always."""
    bits = rng.random((count, n)) < 0.5
    scores = bits @ rng.normal(0, 2, (n, classes)) + rng.gumbel(size=(count, classes))
    return bits, scores.argmax(1)


def objective(flat, bits, labels, classes, decay):
    weight, bias = flat[: bits.shape[1] * classes].reshape(-1, classes), flat[-classes:]
    scores = bits @ weight + bias[None]
    logs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return -logs[np.arange(len(labels)), labels].mean() + decay / 2 * (weight**2).sum()


def test_refit_finds_the_optimum_of_logistic_regression(rng):
    bits, labels = noisy_bits(rng)
    given = bits, labels, 3, 0.01
    oracle = minimize(objective, np.zeros(21), given, method="BFGS", options={"gtol": 1e-8})
    head = refit_head(jax.random.key(0), bits, labels, classes=3, steps=600, rate=0.1, decay=0.01)
    flat = np.concatenate([np.ravel(head.weight), head.bias]).astype(float)
    assert objective(flat, *given) == pytest.approx(oracle.fun, rel=1e-5)
    np.testing.assert_allclose(head.weight, oracle.x[:18].reshape(6, 3), atol=5e-3)


def test_batches_are_a_function_of_the_key_and_come_close(rng):
    bits, labels = noisy_bits(rng)
    given = bits, labels, 3, 0.0
    options = {"classes": 3, "steps": 600, "rate": 0.1, "batch_size": 40}
    head = refit_head(jax.random.key(1), bits, labels, **options)
    again = refit_head(jax.random.key(1), bits, labels, **options)
    np.testing.assert_array_equal(head.weight, again.weight)
    flat = np.concatenate([np.ravel(head.weight), head.bias]).astype(float)
    best = minimize(objective, np.zeros(21), given, method="BFGS").fun
    assert best <= objective(flat, *given) < best + 0.02


def test_a_refitted_head_repairs_a_binarized_network(rng):
    """Weights that were right for graded bits only: the neurons stay, the head is fitted again."""
    bits, labels = noisy_bits(rng)
    wrong = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32), jnp.zeros(3)
    right = refit_head(jax.random.key(0), bits, labels, classes=3, steps=300, rate=0.1)

    def accuracy(head):
        scores = morphax.linear_head(jnp.asarray(bits), *head)
        return (np.asarray(scores).argmax(1) == labels).mean()

    assert accuracy(right) > max(accuracy(wrong), 0.7)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"bits": np.ones((4, 2))}, "bits: expected bool"),
        ({"labels": np.zeros(3, int)}, r"labels: expected integers \(4,\)"),
        ({"labels": np.full(4, 2)}, "labels: expected 0 to 1"),
        ({"steps": 0}, "steps: expected 1 or more"),
        ({"rate": 0.0}, "rate: expected more than 0"),
        ({"decay": -1.0}, "decay: expected 0 or more"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, message):
    given = {"bits": np.ones((4, 2), bool), "labels": np.zeros(4, int), "classes": 2, **change}
    with pytest.raises(ValueError, match=message):
        refit_head(jax.random.key(0), **given)
