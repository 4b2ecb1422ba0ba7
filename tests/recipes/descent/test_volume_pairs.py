"""Operators on volumes, learned by the descent on bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from morphax import BiSE, binarize, data, elements, models, program, recipes
from morphax.data.possible import label_noise, single_operators
from morphax.morphology.operators import closing, dilation, erosion, opening
from morphax.recipes.descent._blocks import pairs_in_words, patterns, unpacked
from morphax.recipes.descent._descent import Net, Problem, count_errors
from morphax.recipes.gradients._residues import residue

OPERATORS = {"erosion": erosion, "dilation": dilation, "opening": opening, "closing": closing}
run_network = jax.jit(models.bimonn)


def pairs_of(operation, selem, *, seed=0, count=24, noise=0.0):
    x = data.solids(jax.random.key(seed), count, size=(12, 13, 14))
    y = np.asarray(OPERATORS[operation](x[..., 0], selem))[..., None]
    return x, y ^ (np.random.default_rng(seed).random(y.shape) < noise)


@pytest.mark.slow
def test_an_erosion_is_learned_by_gradients():
    x = data.solids(jax.random.key(0), 16, size=(9, 8, 10))
    pairs = x, np.asarray(erosion(x[..., 0], elements.ball(3)))[..., None]
    options = {
        "channels": (1, 1),
        "kernel_size": 3,
        "steps": 300,
        "restarts": 1,
        "frame": (1, 0, 1),
    }
    learned = recipes.learn_operator(
        jax.random.key(1), pairs, valid=pairs, method="gradients", **options
    )
    assert learned.certificate.exact
    assert learned.found_by == "gradients"
    assert learned.verdict.error == 0


def test_the_residue_of_an_opening_of_volumes_is_a_top_hat():
    options = {"kernel_size": [(3, 1, 1)] * 2, "weight_map": "identity", "bias_map": "centred"}
    like = models.init_bimonn(jax.random.key(0), [1, 2, 1], **options)
    spec, ones = like[0]["bise"].spec, jnp.ones((3, 1, 1, 1, 1))
    # An erosion and a dilation by a line of three slices: |b| = 1.35 of at most 1.5, centred.
    layers = [BiSE(ones, jnp.full((1, 1), b), jnp.full((1, 1), 20.0), spec) for b in (1.35, -1.35)]
    outer = residue([{"bise": layer} for layer in layers], like, "white", scale=20.0)
    x = np.random.default_rng(0).random((2, 6, 5, 4, 1)) < 0.6
    line = np.ones((3, 1, 1), bool)
    eroded = [ndimage.binary_erosion(v, line, border_value=1) for v in x[..., 0]]
    opened = np.stack([ndimage.binary_dilation(v, line) for v in eroded])
    top_hat = program.run(program.build(models.bimonn, binarize(outer), x.shape), x)
    np.testing.assert_array_equal(top_hat[..., 0], x[..., 0] & ~opened)


def check_recovered(operation, selem, side, noise):
    train = pairs_of(operation, selem, noise=noise)
    valid = pairs_of(operation, selem, seed=1, count=12, noise=noise)
    channels = (1, 1) if operation in ("erosion", "dilation") else (1, 1, 1)
    learned = recipes.learn_operator(
        jax.random.key(2), train, valid=valid, channels=channels, kernel_size=side
    )
    assert learned.certificate.exact
    assert learned.found_by == "descent"
    x, y = pairs_of(operation, selem, seed=3, count=8)
    np.testing.assert_array_equal(run_network(learned.binary, jnp.asarray(x)), y)
    real = run_network(learned.params, jnp.asarray(x, jnp.float32)) > 0.5
    np.testing.assert_array_equal(real, y)


@pytest.mark.slow
def test_an_asymmetric_dilation_is_read_off():
    selem = np.random.default_rng(4).random((3, 3, 3)) < 0.3
    check_recovered("dilation", selem, 3, noise=0)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATORS)
def test_operators_by_a_ball_are_recovered(operation):
    check_recovered(operation, elements.ball(5), 5, noise=0.02)


@pytest.mark.parametrize("size", [(7, 6, 5), (40, 9, 38)])
def test_errors_of_networks_on_volumes_are_those_of_scipy(size):
    """A dilation of an erosion, on volumes as they are and cut into tiles."""
    rng = np.random.default_rng(5)
    x, y = rng.random((2, 3, *size)) < 0.6
    windows = rng.random((2, 3, 3, 3)) < 0.3
    net = Net(np.array([[0], [3]]), windows.reshape(2, 1, 27), True)
    problem = Problem(pairs_in_words(x[..., None], y, side=3, reach=2))
    problem = problem._replace(blocks=range(len(problem.pairs.blocks)))
    expected = np.zeros(2, int)
    for image, target in zip(x, y, strict=True):
        inner = ndimage.binary_erosion(image, windows[0], border_value=1)
        outer = ndimage.binary_dilation(inner, np.flip(windows[1]))
        expected += [(outer & ~target).sum(), (~outer & target).sum()]
    np.testing.assert_array_equal(count_errors(problem, [net])[0], expected)
    if size == (7, 6, 5):
        back = unpacked(problem.pairs.blocks[0].y, problem.pairs.geometry)
        np.testing.assert_array_equal(back[:3], y)


def test_patterns_of_voxels():
    x = np.random.default_rng(6).random((2, 4, 5, 6)) < 0.5
    code = patterns(x)
    padded = np.pad(x, ((0, 0), *[(1, 1)] * 3))
    for place in [(0, 2, 2, 2), (1, 0, 4, 5)]:
        n, z, y, w = place
        seen = padded[n, z : z + 3, y : y + 3, w : w + 3]
        cross = [seen[0, 1, 1], seen[1, 0, 1], seen[1, 1, 0], seen[1, 1, 1]]
        cross += [seen[1, 1, 2], seen[1, 2, 1], seen[2, 1, 1]]
        assert code[place] == sum(int(bit) << k for k, bit in enumerate(cross))


def test_what_pairs_of_volumes_allow():
    x = np.random.default_rng(7).random((30, 8, 9, 10)) < 0.8
    selem = np.random.default_rng(8).random((3, 3, 3)) < 0.2
    y = np.stack([ndimage.binary_erosion(v, selem, border_value=1) for v in x])
    best = single_operators(x, y, kernel_size=3)[0]
    assert (best.kind, best.wrong) == ("erosion", 0)
    np.testing.assert_array_equal(best.hit, selem)
    assert label_noise(x, y, kernel_size=3).least_error == 0
    flipped = y ^ (np.random.default_rng(9).random(y.shape) < 0.1)
    assert label_noise(x, x ^ (flipped ^ y), kernel_size=1).flips == pytest.approx(0.1, abs=0.01)


def test_what_is_refused():
    x, y = pairs_of("erosion", elements.ball(3), count=8)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"^frame: expected three numbers"):
        recipes.learn_operator(key, (x, y), valid=(x, y), channels=(1, 1), frame=(1, 1))
    with pytest.raises(ValueError, match=r"^train\[0\]: expected images \(N, H, W, C\), targets"):
        recipes.learn_bits(key, (x, y), valid=(x, y), initial=[])
    with pytest.raises(ValueError, match=r"^size: expected three sizes"):
        data.solids(key, 1, size=(0, 1, 1))
