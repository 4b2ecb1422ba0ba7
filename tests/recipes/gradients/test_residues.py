"""Top-hats as residues, and networks that are right but not certified."""

import jax
import jax.numpy as jnp
import pytest

import morphax
from morphax import data, training
from morphax.binarization import binarize
from morphax.morphology import elements
from morphax.neurons import models
from morphax.recipes.gradients import _residues, _search, operators


def two_layers(symmetric, first, second, size=3):
    """An opening (0.9, 0.1) or closing (0.1, 0.9) by the square: biases as shares of sum(w)."""
    n, layers = size * size, []
    spec = morphax.Spec(
        "spatial", "identity", "raw" if symmetric else "centred", symmetric=symmetric
    )
    for share in (first, second):
        centred = jnp.full((1, 1), (share - 0.5) * n * (2 if symmetric else 1))
        scale = jnp.full((1, 1), 10.0 if symmetric else 20.0)
        layers.append({"bise": morphax.BiSE(jnp.ones((size, size, 1, 1)), centred, scale, spec)})
    return layers


@pytest.mark.first(1)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    "operation, first, second, kind",
    [("white_top_hat", 0.95, 0.05, "white"), ("black_top_hat", 0.05, 0.95, "black")],
)
def test_a_residue_is_the_top_hat_and_certified(symmetric, operation, first, second, kind):
    images = jax.random.bernoulli(jax.random.key(0), 0.6, (64, 12, 13, 1))
    targets = data.target(images, operation, elements.square(3))
    assert _residues.top_hat_kind((images, targets)) == kind
    inner = two_layers(symmetric, first, second)
    _, wanted = _residues.changed_pixels((images, targets))
    assert bool((models.bimonn(binarize(inner), images) == wanted).all())
    like = models.init_bimonn(
        jax.random.key(0),
        [1, 2, 1],
        kernel_size=3,
        symmetric=symmetric,
        weight_map="identity",
        bias_map="raw" if symmetric else "centred",
    )
    params = _residues.residue(inner, like, kind, scale=20.0)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, like)
    assert jax.tree.structure(params) == jax.tree.structure(like)  # specs too
    assert bool(morphax.certify_network(models.bimonn, params, (1, 12, 13, 1)).exact)
    assert bool((models.bimonn(binarize(params), images) == targets).all())
    prediction, _ = training.as_unit(models.bimonn, params, images, targets)
    assert bool(((prediction > 0.5) == targets).all())


def hardly_an_erosion(symmetric):
    """Two layers, the first of them too near its bound to be certified."""
    params = two_layers(symmetric, 0.95, 0.05)
    first = params[0]["bise"]
    weight = first.weight.at[0, 0].set(0.5)  # an erosion by 8 pixels asks for 7.5 < b < 8
    bias = jnp.full((1, 1), 7.99999 - (0 if symmetric else weight.sum() / 2))
    bias = 2 * bias - weight.sum() if symmetric else bias
    params[0]["bise"] = morphax.BiSE(weight, bias, first.scale, first.spec)
    return params


@pytest.mark.first(1)
@pytest.mark.parametrize("symmetric", [False, True])
def test_what_is_right_but_not_certified_is_settled(symmetric):
    images = jax.random.bernoulli(jax.random.key(0), 0.8, (64, 12, 13, 1))
    targets = data.target(images, "opening", elements.square(3))
    params = hardly_an_erosion(symmetric)
    assert not bool(morphax.certify_network(models.bimonn, params, (1, 12, 13, 1)).exact)
    settled = _search.make_activable(params)
    assert bool(morphax.certify_network(models.bimonn, settled, (1, 12, 13, 1)).exact)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), binarize(settled), binarize(params))
    assert jax.tree.all(same)
    prediction, _ = training.as_unit(models.bimonn, settled, images, targets)
    assert bool(((prediction > 0.5) == models.bimonn(binarize(settled), images)).all())


@pytest.mark.slow
@pytest.mark.parametrize("wrong_images", [0, 3])
def test_the_best_run_is_settled_where_that_costs_nothing(wrong_images, monkeypatch):
    """A search whose runs are not certified; also one that cannot be right, as some targets are
    noise."""
    images = jax.random.bernoulli(jax.random.key(0), 0.8, (64, 12, 13, 1))
    params = hardly_an_erosion(False)
    targets = models.bimonn(binarize(params), images)
    noisy = targets.at[:wrong_images].set(~targets[:wrong_images])
    programs = operators._run_config(50, 4, 1e-2, False, (0, 0))
    record = {k: float(v) for k, v in programs.evaluate(params, (images, targets)).items()}
    assert (record["exact"], record["binary"]) == (0, 1)

    def fit(*args, **options):
        state = training.TrainState(params, None, jnp.array(10))
        return training.Run(state, [{"step": 10, "loss": -5.0, **record}])

    monkeypatch.setattr(_search, "fit", fit)
    train, valid, run = (images, noisy), (images, targets), training.RunOptions()
    counts = {"restarts": 2, "patience": 2}
    found = _search.search(
        jax.random.key(0), lambda key: params, train, valid, programs, **counts, goal=1.0, run=run
    )
    assert found.history[-1]["exact"] == 1
    assert found.history[-1]["binary"] == record["binary"]
    assert int(found.wrong.sum()) == wrong_images
    assert found.is_right == (not wrong_images)
    assert bool(morphax.certify_network(models.bimonn, found.params, (1, 12, 13, 1)).exact)


def test_what_is_no_residue_is_not_taken_for_one():
    images = jax.random.bernoulli(jax.random.key(0), 0.5, (8, 6, 6, 1))
    moved = jnp.roll(images, 1, 1)
    assert _residues.top_hat_kind((images, moved)) is None
    assert _residues.top_hat_kind((images, jnp.zeros_like(images))) is None  # both would hold
    one, two = (models.init_bimonn(jax.random.key(0), [1, maps, 1]) for maps in (1, 2))
    with pytest.raises(ValueError, match="kind: expected one of 'white', 'black', got 'grey'"):
        _residues.residue(one, two, "grey", scale=20.0)
    with pytest.raises(ValueError, match=r"params: expected channels \[1, 1, 1\]"):
        _residues.residue(two, one, "white", scale=20.0)
