"""The recipe for unions: its measure, its parts, and a union that is found."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import random_images

from morphax import binarize, certify, data
from morphax.morphology import elements, operators
from morphax.neurons import models
from morphax.objectives import metrics
from morphax.program import build, run
from morphax.recipes.gradients import unions
from morphax.recipes.gradients._hard_examples import emphasise, make_wrong_images
from morphax.recipes.gradients._map_training import joint_program, random_map
from morphax.training import RunOptions
from morphax.training.loop import TrainState

pytestmark = pytest.mark.filterwarnings("ignore:(inputs|targets) are constant")


def test_f_measure_against_counts(rng):
    for beta in (0.5, 1.0, 2.0):
        found, true = rng.random((2, 40)) < 0.4
        precision, recall = (found & true).sum() / found.sum(), (found & true).sum() / true.sum()
        wanted = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
        measured = metrics.f_measure(jnp.asarray(found), jnp.asarray(true), beta=beta)
        assert float(measured) == pytest.approx(wanted, abs=1e-5)


def pairs_of(key, count, size=20):
    """Noise, and the union of two openings of it."""
    x = jax.random.bernoulli(key, 0.55, (count, size, size, 1))
    planes = x[..., 0]
    parts = [operators.opening(planes, elements.stick(3, angle)) for angle in (0, 90)]
    return x, (parts[0] | parts[1])[..., None]


@pytest.fixture(scope="module")
def learned():
    train, valid = pairs_of(jax.random.key(0), 256), pairs_of(jax.random.key(1), 64)
    found = unions.learn_union(
        jax.random.key(0),
        train,
        valid=valid,
        maps=2,
        kernel_size=3,
        steps=300,
        starts=8,
        joint_steps=300,
    )
    return found, pairs_of(jax.random.key(2), 64)


@pytest.mark.slow
def test_a_union_of_openings_is_found_and_proved(learned):
    found, (x, y) = learned
    assert bool(found.certificate.exact)
    assert bool((models.bimonn(found.binary, x) == y).all())
    assert bool(((models.bimonn(found.params, x.astype(jnp.float32)) > 0.5) == y).all())
    assert [sum(record["steps"] for record in found.history)] == [8 * 300 * found.runs + 300]


def test_maps_side_by_side_are_their_union(rng):
    """The network that the joint training starts from, against its maps one by one."""
    maps = []
    for i in range(3):
        params = models.init_bimonn(
            jax.random.key(i), (1, 1, 1), kernel_size=3, weight_map="identity", bias_map="centred"
        )
        maps.append(random_map(jax.random.key(i), params))
    united = unions._united(maps)
    assert united[0]["bise"].spec == maps[0][0]["bise"].spec
    x = jnp.asarray(random_images(rng, (16, 9, 11, 1)))
    parts = [models.bimonn(binarize(one), x) for one in maps]
    np.testing.assert_array_equal(
        models.bimonn(binarize(united), x), parts[0] | parts[1] | parts[2]
    )
    assert bool(certify(united)[1]["lui"].exact.all())  # a union, whatever the maps are


@pytest.mark.slow
def test_maps_of_volumes_are_drawn_united_and_trained(rng):
    one = unions._template(jax.random.key(0), 3, "ignore", axes=3)
    maps = [random_map(jax.random.key(i), one) for i in (2, 3)]
    assert maps[0][0]["bise"].weight.shape == (3, 3, 3, 1, 1)
    assert float(maps[0][0]["bise"].weight.mean()) == pytest.approx(0.5, abs=0.02)
    united, x = unions._united(maps), rng.random((2, 5, 6, 7, 1)) < 0.5
    parts = [run(build(models.bimonn, binarize(each), x.shape), x) for each in (*maps, united)]
    np.testing.assert_array_equal(parts[2], parts[0] | parts[1])
    # The steps of the joint training are traced, not compiled.
    program = joint_program(2, 2, 0.1)
    state = TrainState(united, program.optimizer.init(united), jnp.zeros((), jnp.int32))
    arguments = jax.random.key(0), state, (x, x, x), jnp.asarray(2)
    after, _ = jax.eval_shape(program.advance, *arguments)
    assert jax.tree.map(jnp.shape, after.params) == jax.tree.map(jnp.shape, united)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"maps": 0}, "maps: expected 1 or more"),
        ({"retries": -1}, "retries: expected 0 or more"),
        ({"kernel_size": 4}, "odd"),
        ({"valid": "float"}, r"valid\[0\]: expected a bool array"),
        ({"valid": "wide"}, r"valid\[1\]: expected images"),
    ],
)
def test_bad_input(change, message):
    x = jnp.zeros((4, 8, 8, 1), bool)
    bad = {"float": (x.astype(float), x), "wide": (x, jnp.zeros((4, 8, 9, 1), bool))}
    options = {"valid": (x, x)} | change
    options["valid"] = (
        bad.get(options["valid"], options["valid"])
        if isinstance(options["valid"], str)
        else options["valid"]
    )
    with pytest.raises(ValueError, match=message):
        unions.learn_union(jax.random.key(0), (x, x), **options)


def test_wrong_images_are_those_with_a_wrong_pixel(rng):
    """More images than a block, and no multiple of it."""
    params = models.init_bimonn(jax.random.key(0), (1, 1), kernel_size=3)
    binary = binarize(params)
    x = jnp.asarray(random_images(rng, (1100, 7, 8, 1)))
    y = np.array(models.bimonn(binary, x))
    chosen = rng.choice(1100, 9, replace=False)
    y[chosen, rng.integers(0, 7, 9), rng.integers(0, 8, 9), 0] ^= True
    wrong = make_wrong_images(models.bimonn)(binary, (x, jnp.asarray(y)))
    assert sorted(np.flatnonzero(wrong)) == sorted(chosen)


def test_emphasise():
    numbers = jnp.arange(1000)
    chosen = jnp.isin(numbers, jnp.array([3, 500, 999]))
    x, y = emphasise(jax.random.key(0), (numbers, -numbers), chosen, share=0.25)
    assert bool((x == -y).all())
    assert len(x) == 1000
    assert set(np.asarray(x[:250]).tolist()) == {3, 500, 999}
    assert len(set(np.asarray(x[250:]).tolist())) == 750  # without replacement


def test_noisti_is_what_the_recipe_is_for():
    from morphax.objectives import metrics

    noisy, clean = data.noisti(jax.random.key(0), 64)
    opened = [
        operators.opening(noisy[..., 0], elements.stick(5, angle))[..., None]
        for angle in (0, 90, 135)
    ]
    assert float(metrics.dice(opened[0] | opened[1] | opened[2], clean)) > 0.97
    assert max(float(metrics.dice(one, clean)) for one in opened) < 0.7


@pytest.mark.slow
def test_a_union_goes_on_where_it_stopped(tmp_path):
    """Cut short after every record, the same union comes out, and the log has each record once."""
    x, y = pairs_of(jax.random.key(0), 16, size=10)
    options = {"maps": 2, "kernel_size": 3, "steps": 8, "starts": 2, "retries": 0, "joint_steps": 8}

    def learn(**run):
        options_of_run = RunOptions(**run)
        return unions.learn_union(
            jax.random.key(0), (x, y), valid=(x, y), **options, run=options_of_run
        )

    whole = learn(log=tmp_path / "whole.jsonl")
    cut = {"log": tmp_path / "log.jsonl", "checkpoint": tmp_path / "run"}
    first = learn(**cut, time_limit=1e-9)
    assert "cut short" in first.warning
    assert first.params[0]["bise"].weight.shape[-1] == 1  # the union of the maps so far
    again = learn(**cut)
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    assert again.history == whole.history
    lines = [
        [{**json.loads(line), "seconds": 0} for line in (tmp_path / name).read_text().splitlines()]
        for name in ("log.jsonl", "whole.jsonl")
    ]
    assert lines[0] == lines[1]
    assert [(r["search"], r["step"]) for r in lines[0]] == [
        (search, step) for search in (0, 1, "joint") for step in (2, 4, 6, 8)
    ]
