"""The pieces of the gray and the nuclei examples, against scipy and brute force."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.repository import load_example
from helpers.user_errors import refused

import morphax
from morphax import BinaryBiSE, Spec, data, realize
from morphax.data.otsu import otsu
from morphax.morphology import elements


@pytest.fixture(scope="module")
def nuclei():
    return load_example("segment_nuclei")


@pytest.fixture(scope="module")
def gray():
    return load_example("gray_operator")


@pytest.mark.slow
def test_the_start_is_one_threshold_and_certified(nuclei, rng):
    """Whatever the seed, the start says `image >= 1.15`, with idle maps inside it."""
    grays = rng.uniform(0, 4, (3, 20, 20, 2)).astype(np.float32)
    sets = nuclei.level_sets(grays)
    assert sets.shape == (3, 20, 20, len(nuclei.NAMES))
    np.testing.assert_array_equal(sets[..., 3], grays[..., 0] >= np.float32(1.15))
    np.testing.assert_array_equal(sets[..., -1], grays[..., 1] >= np.float32(1.8))
    for seed in range(4):
        layers = nuclei.start(np.random.default_rng(seed), 4, 5)
        found = nuclei.predict(layers, sets, real=False)
        np.testing.assert_array_equal(found[..., 0], sets[..., 3])
        real = realize(layers)
        shape = (1, 16, 16, len(nuclei.NAMES))
        assert bool(morphax.certify_network(morphax.models.bimonn, real, shape).exact)
        np.testing.assert_array_equal(nuclei.predict(real, sets, real=True), found)


def test_crops_are_of_the_same_places(nuclei, rng):
    images = rng.random((5, 40, 36, 1))
    first, masks = nuclei.cut_out(images, images > 0.5, 12)
    second, _ = nuclei.cut_out(np.repeat(images, 2, -1), images > 0.5, 12)
    assert first.shape == (5, 12, 12, 1)
    np.testing.assert_array_equal(first > 0.5, masks)
    np.testing.assert_array_equal(first[..., 0], second[..., 1])
    for image, crop in zip(images, first, strict=True):  # one crop of every image
        views = np.lib.stride_tricks.sliding_window_view(image[..., 0], (12, 12))
        assert (views == crop[..., 0]).all((2, 3)).any()


def test_hand_made_rules_are_fitted_on_the_images_given(nuclei):
    images, masks = data.draw_nuclei(np.random.default_rng(3), 4)
    rules = nuclei.hand_made((images, masks), few=True)
    assert len(rules) == 4
    scores = {name: nuclei.score(rule(images), masks) for name, rule in rules.items()}
    plain = scores["Otsu's threshold"]
    assert max(scores.values()) > plain
    (factor,) = (name for name in rules if re.search(r" x Otsu", name))
    times = float(re.search(r"([\d.]+) x", factor)[1])
    at = np.array([otsu(image) for image in images])[:, None, None, None]
    assert scores[factor] == pytest.approx(nuclei.score(images >= times * at, masks), abs=1e-6)
    assert scores[factor] >= plain - 1e-6  # a factor of 1 is among those tried


@pytest.mark.slow
def test_the_cnn_has_the_parameters_it_counts(nuclei):
    for inputs, widths in ((2, (3, 4, 4)), (15, (2, 2, 3))):
        params = nuclei.small_cnn.CNN(widths).init(jax.random.key(0), jnp.zeros((1, 8, 8, inputs)))
        assert nuclei.small_cnn.parameters(inputs, widths) == sum(
            v.size for v in jax.tree.leaves(params)
        )


def bank(selem, *, erosion):
    window = jnp.asarray(selem)[:, :, None, None]
    return BinaryBiSE(window, jnp.full((1, 1), erosion), jnp.zeros((1, 1), bool), Spec())


@pytest.mark.parametrize("kind", ["gray", "colour"])
def test_the_exact_binary_operator_is_the_gray_one(gray, kind, rng):
    """Learned bits at work on gray values, through all level sets: equal to scipy everywhere."""
    selem = elements.disk(5)
    operator = gray.OPERATORS[kind]
    images = gray.rectangles(rng, 2, operator.channels[0])
    layers = [
        {"bise": bank(selem, erosion=kind == "gray")},
        {"bise": bank(selem, erosion=kind != "gray")},
    ]
    if kind == "colour":
        window = jnp.repeat(jnp.asarray(selem)[:, :, None, None], 3, 2)
        flags = [jnp.zeros((3, 1), bool)] * 2
        union = BinaryBiSE(jnp.ones((3, 1), bool), *[jnp.zeros(1, bool)] * 2, Spec("lui"))
        layers[0] = {"bise": BinaryBiSE(window, *flags, Spec()), "lui": union}
    wanted = gray.targets(operator, images, selem)
    made = gray.on_gray(layers, images, real=False)
    np.testing.assert_array_equal(made, wanted)
    plain = np.stack([operator.plain(image, selem) for image in images])
    np.testing.assert_array_equal(made[:, 5:-5, 5:-5, 0], plain[:, 5:-5, 5:-5])


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("segment_nuclei", "", "data_dir: not given, and MORPHAX_DATA is not set"),
        ("segment_nuclei", "--data-dir DIR", r"expected a folder with nuclei256\.npz"),
        ("segment_nuclei", "--size 4", "--size: expected an odd number"),
        ("gray_operator", "", "data_dir: not given, and MORPHAX_DATA is not set"),
        ("gray_operator", "--data-dir DIR", "name: no data set 'fashion_mnist'"),
        ("gray_operator", "--steps 0", "--steps: expected 1 or more, got 0"),
    ],
)
def test_user_errors_are_told_before_any_work(
    name, options, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv("MORPHAX_DATA", raising=False)
    refused(load_example(name).main, options, message, tmp_path, capsys)
