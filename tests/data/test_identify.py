"""Which pixels data determine, against brute force over every structuring element."""

import jax.numpy as jnp
import numpy as np
import pytest

from morphax.data.identify import evidence, undetermined
from morphax.morphology import operators

ALL = np.array([list(np.binary_repr(i, 9)) for i in range(1, 512)]) == "1"
ALL = ALL.reshape(-1, 3, 3)


def outputs(operation, images, selems):
    operator = getattr(operators, operation)
    planes = jnp.asarray(images[..., 0])
    return np.stack([np.asarray(operator(planes, jnp.asarray(s))) for s in selems])


@pytest.mark.first(2)
@pytest.mark.parametrize("operation", ["erosion", "dilation"])
@pytest.mark.parametrize("density", [0.05, 0.5, 0.95])
def test_single_layers_agree_with_brute_force(rng, operation, density):
    """Another S gives the same outputs exactly when some pixel is undetermined."""
    seen = set()
    for count in (1, 3, 20):
        images = rng.random((count, 6, 7, 1)) < density
        every = outputs(operation, images, ALL)
        for i in rng.integers(len(ALL), size=6):
            rivals = (every == every[i]).all((1, 2, 3)).sum() > 1
            found = undetermined(jnp.asarray(images), operation, ALL[i], batch=2)
            assert found.shape == (1, 3, 3)
            assert found.any() == rivals
            for row, column in np.argwhere(found[0]):
                other = ALL[i].copy()
                other[row, column] ^= True
                same = outputs(operation, images, [other])[0] == every[i]
                assert same.all()
            seen.add(bool(rivals))
    assert True in seen


def test_compositions_flip_one_layer_at_a_time(rng):
    images = rng.random((40, 12, 12, 1)) < 0.6
    selem = np.array([[0, 1, 0], [1, 1, 1], [0, 0, 0]], bool)
    found = undetermined(jnp.asarray(images), "opening", selem)
    counts = evidence(jnp.asarray(images), "opening", selem, batch=16)
    planes = jnp.asarray(images[..., 0])
    truth = operators.opening(planes, selem)
    for layer, row, column in np.ndindex(2, 3, 3):
        windows = [selem.copy(), selem.copy()]
        windows[layer][row, column] ^= True
        out = operators.dilation(operators.erosion(planes, windows[0]), windows[1])
        assert found[layer, row, column] == bool((out == truth).all())
        assert counts[layer, row, column] == int((out != truth).any((1, 2)).sum())


def test_unknown_operation():
    with pytest.raises(ValueError, match="operation: expected one of"):
        undetermined(jnp.zeros((1, 5, 5, 1), bool), "median", np.ones((3, 3), bool))
