"""The pieces of the gray and the nuclei examples, against scipy and brute force."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import morphax
from morphax import BinaryBiSE, Spec, elements

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def nuclei():
    return load("segment_nuclei")


@pytest.fixture(scope="module")
def gray():
    return load("gray_operator")


def test_otsu_is_the_best_split(nuclei, rng):
    image = np.concatenate([rng.normal(40, 9, 300), rng.normal(150, 20, 200)])
    image = np.clip(image, 0, 255).astype(np.uint8).reshape(20, 25)

    def within(threshold):
        parts = image[image < threshold], image[image >= threshold]
        return sum(part.size * part.astype(float).var() for part in parts if part.size)

    least = min(within(t) for t in range(1, 256))
    assert within(nuclei.otsu(image)) == pytest.approx(least)
    assert nuclei.otsu(np.full((4, 4), 7, np.uint8)) >= 1  # nothing to split, no error


def test_grays(nuclei, rng):
    image = rng.integers(0, 256, (128, 160), dtype=np.uint8)
    wanted = ndimage.maximum_filter(image, 7, mode="constant")
    np.testing.assert_array_equal(nuclei.brightest_neighbour(image), wanted)
    place = nuclei.local_threshold(image)
    assert place.shape == image.shape
    assert place[32, 64] == pytest.approx(nuclei.root_otsu(image[:64, 32:96]))
    assert place[0, 0] == pytest.approx(nuclei.root_otsu(image[:64, :64]))
    made = nuclei.relative(np.stack([image, np.zeros_like(image)])[..., None])
    assert np.isfinite(made).all()  # a black image too


def test_greedy_finds_a_planted_rule_and_the_start_is_exactly_it(nuclei, rng):
    grays = rng.uniform(0, 2, (6, 40, 40, 3)).astype(np.float32)
    levels = nuclei.LEVELS
    first = (grays[..., 0] >= levels[0, 3]) & (grays[..., 2] >= levels[2, 5])
    masks = (first | (grays[..., 1] >= levels[1, 6]))[..., None]
    terms = nuclei.greedy(grays, masks, 4)
    start = nuclei.initial(jax.random.key(0), terms, 5, random=False)
    sets = nuclei.level_sets(grays)
    assert bool(morphax.certify_network(nuclei.network, start, (1, 16, 16, 24)).exact)
    for params in (start, morphax.binarize(start)):
        np.testing.assert_array_equal(nuclei.predict(params, sets), masks)
    assert len(nuclei.in_words(morphax.binarize(start))) == len(terms)


def bank(selem, *, erosion):
    window = jnp.asarray(selem)[:, :, None, None]
    return BinaryBiSE(window, jnp.full((1, 1), erosion), jnp.zeros((1, 1), bool), Spec())


@pytest.mark.parametrize("kind", ["gray", "colour"])
def test_the_exact_binary_operator_is_the_gray_one(gray, kind, rng):
    """Learned bits at work on gray values, through all level sets: equal to scipy everywhere."""
    selem = elements.disk(5)
    operator = gray.OPERATORS[kind]
    images = gray.made_up(rng, 2, operator.channels[0])
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
    words = options.replace("DIR", str(tmp_path)).split()
    try:
        status = load(name).main([*words, "--out", str(tmp_path / "out")])
    except SystemExit as error:  # argparse
        status = error.code
    shown = capsys.readouterr()
    assert status == 2
    assert re.search(message, shown.err)
    assert "Traceback" not in shown.err
    assert not (tmp_path / "out").exists()
