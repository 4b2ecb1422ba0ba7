"""Figures: what is on them, and in words what a network is."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import morphax
from morphax import certify_network, viz
from morphax.explain.describe import describe, name_selem
from morphax.morphology import elements
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, BiSE, Spec

DISK = elements.disk(5)
binarize = morphax.binarize


def exact_node(selem, operation, scale=20.0):
    """A neuron that is the dilation or erosion by `selem`; `scale` below 0 complements it."""
    window = selem if operation == "erosion" else selem[::-1, ::-1]
    bias = window.sum() - 0.5 if operation == "erosion" else 0.5
    spec = Spec("spatial", "identity", "raw")
    weight = jnp.asarray(window, jnp.float32)[:, :, None, None]
    return BiSE(weight, jnp.full((1, 1), bias), jnp.full((1, 1), scale), spec)


@pytest.fixture
def opening():
    return [{"bise": exact_node(DISK, "erosion")}, {"bise": exact_node(DISK, "dilation")}]


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def picture(ax):
    return np.asarray(ax.images[0].get_array())


def test_operator_figure_of_an_opening(opening, tmp_path):
    goal = [("erosion", DISK), ("dilation", DISK)]
    figure = viz.operator_figure(opening, binarize(opening), targets=goal)
    found = titles(figure)
    assert found[0] == "layer 1: target\nerosion"
    assert found[1] == "layer 1: learned weights\nfrom 0 to 1"
    assert found[2].startswith("layer 1: erosion\ncertified, margin 0.")
    assert found[5].startswith("layer 2: dilation\ncertified, margin 0.")
    assert len(figure.axes) == 2 * 3 + 2  # and a colour bar for each matrix of weights
    figure.savefig(tmp_path / "operator.png", dpi=60)
    assert (tmp_path / "operator.png").stat().st_size > 1000


def test_all_three_pictures_are_textbook_sets():
    """The window of a dilation is reflected; an asymmetric set shows it."""
    corner = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    for operation in ("erosion", "dilation"):
        params = {"neuron": exact_node(corner, operation)}
        figure = viz.operator_figure(params, binarize(params), targets=[(operation, corner)])
        for ax in figure.axes[:3]:
            np.testing.assert_array_equal(picture(ax), corner, operation)


def test_without_targets_and_not_certified():
    params = models.init_bimonn(jax.random.key(0), [1, 1])
    figure = viz.operator_figure(params, binarize(params))
    assert len(figure.axes) == 3
    assert "nearest is" in titles(figure)[1]
    assert "not certified" in titles(figure)[1]


def test_a_complement_is_named():
    params = [{"bise": exact_node(DISK, "erosion", scale=-20.0)}]
    assert titles(viz.operator_figure(params, binarize(params)))[1].startswith(
        "layer 1: not erosion"
    )


def test_signed_weights_use_a_diverging_map(opening):
    node = opening[0]["bise"]
    signed = [{"bise": BiSE(node.weight - 0.25, node.bias, node.scale, node.spec)}]
    image = viz.operator_figure(signed, binarize(signed)).axes[0].images[0]
    assert image.get_cmap().name == "PuOr"
    assert image.norm.vmin == -image.norm.vmax
    image = viz.operator_figure(opening, binarize(opening)).axes[0].images[0]
    assert image.get_cmap().name != "PuOr"


def test_many_channels_show_the_lui(tmp_path):
    params = models.init_bimonn(jax.random.key(0), [1, 2, 1], kernel_size=3)
    figure = viz.operator_figure(params, binarize(params))
    found = titles(figure)
    assert len(found) == 2 * 5
    assert found[0].startswith("layer 1, map 1 to 1: learned weights")
    assert found[-1].startswith("layer 2, LUI: chosen maps")
    figure.savefig(tmp_path / "lui.png", dpi=60)


def test_large_banks_are_cut():
    params = models.init_bimonn(jax.random.key(0), [1, 20], kernel_size=1)
    figure = viz.operator_figure(params, binarize(params))
    assert len(titles(figure)) == 2 * 16


def test_certificates_of_the_network_are_used(opening):
    """A layer that is exact on bits but not on what the one before promises."""
    soft = BiSE(
        *(getattr(opening[0]["bise"], f) for f in ("weight", "bias")),
        jnp.full((1, 1), 0.3),
        opening[0]["bise"].spec,
    )
    params = [{"bise": soft}, opening[1]]
    found = certify_network(models.bimonn, params, (1, 9, 9, 1)).neurons
    alone = titles(viz.operator_figure(params, binarize(params)))
    wired = titles(viz.operator_figure(params, binarize(params), certificates=found))
    assert "layer 2: dilation\ncertified" in alone[3]
    assert "not certified" in wired[3]


def test_operator_figure_refuses(opening):
    binary = binarize(opening)
    with pytest.raises(ValueError, match=r"targets: expected one .* each of 2 .*got 1"):
        viz.operator_figure(opening, binary, targets=[("erosion", DISK)])
    with pytest.raises(ValueError, match=r"params: expected a tree that holds banks"):
        viz.operator_figure([], [])
    with pytest.raises(ValueError, match=r"params: expected real banks.* 0/bise"):
        viz.operator_figure(binary, binary)
    with pytest.raises(ValueError, match=r"binary: expected banks"):
        viz.operator_figure(opening, binary[:1])
    with pytest.raises(ValueError, match=r"binary: expected morphax.binarize\(params\)"):
        viz.operator_figure(opening, opening)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), opening)
    with pytest.raises(ValueError, match=r"params\[0/bise\]: expected an unstacked bank"):
        viz.operator_figure(stacked, binarize(stacked))


def test_prediction_figure_puts_errors_first(rng, tmp_path):
    images = rng.random((5, 12, 20, 1)) < 0.5
    predictions = images.copy()
    predictions[3, 2, 2:5] ^= True
    predictions[1, 0, 0] ^= True
    figure = viz.prediction_figure(images, images, predictions, n=3)
    assert len(figure.axes) == 3 * 4
    expected = ["input", "target", "binary prediction", "difference"]
    assert [ax.get_title() for ax in figure.axes[:4]] == expected
    rows = figure.axes[::4]
    assert [ax.get_ylabel() for ax in rows] == ["image 3", "image 1", "image 0"]
    assert [ax.get_xlabel() for ax in figure.axes[3::4]] == [
        "3 wrong pixels",
        "1 wrong pixel",
        "0 wrong pixels",
    ]
    assert "2 of 5 images" in figure.get_suptitle()
    kinds = picture(figure.axes[3])
    np.testing.assert_array_equal(kinds >= 2, (images != predictions)[3, ..., 0])
    np.testing.assert_array_equal(kinds == 2, (images & ~predictions)[3, ..., 0])
    figure.savefig(tmp_path / "predictions.png", dpi=60)


def test_prediction_figure_refuses(rng):
    images = rng.random((2, 5, 6, 1)) < 0.5
    with pytest.raises(ValueError, match=r"n: expected 1 or more, got 0"):
        viz.prediction_figure(images, images, images, n=0)
    with pytest.raises(ValueError, match=r"predictions: expected bool.*float64"):
        viz.prediction_figure(images, images, images * 1.0)
    with pytest.raises(ValueError, match=r"targets: expected bool.*\(1, 5, 6, 1\)"):
        viz.prediction_figure(images, images[:1], images)


def test_no_pyplot(opening, monkeypatch):
    """Figures leave no global state behind: pyplot is not even imported."""
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    viz.operator_figure(opening, binarize(opening))
    assert "matplotlib.pyplot" not in sys.modules


def test_missing_matplotlib(monkeypatch, opening):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # importing it fails now
    with pytest.raises(ImportError, match=r'pip install "\.\[viz\]"'):
        viz.operator_figure(opening, binarize(opening))
    with pytest.raises(ImportError, match=r'pip install "\.\[viz\]"'):
        viz.require_matplotlib()


def test_describe(opening):
    found = certify_network(models.bimonn, opening, (1, 9, 9, 1)).neurons
    lines = describe(binarize(opening), found)
    assert lines[0].startswith("layer 1: erosion by disk(5) - certified, margin 0.")
    assert lines[1].startswith("layer 2: dilation by disk(5) - certified, margin 0.")
    with pytest.raises(ValueError, match=r"binary: .*binarize"):
        describe(opening, found)


def test_describe_a_lui():
    params = models.init_bimonn(jax.random.key(0), [1, 2, 1], kernel_size=3)
    found = certify_network(models.bimonn, params, (1, 9, 9, 1)).neurons
    lines = describe(binarize(params), found)
    assert len(lines) == 5
    assert lines[-1].startswith("layer 2, LUI, output 1: ")
    assert "of maps 1, 2" in lines[-1]


@pytest.mark.parametrize(
    "selem, words",
    [
        (elements.disk(7), "disk(7)"),
        (np.pad(elements.stick(5, 0), 1), "hstick(5)"),
        (np.roll(elements.stick(7, 90), 2, 1), "vstick(7) shifted by (0, 2)"),
        (elements.cross(7, diagonal=True), "dcross(7)"),
        (np.pad([[True]], 2), "one pixel, changing nothing"),
        (np.eye(3, dtype=bool) & [[1, 0, 0]], "one pixel shifted by (-1, -1)"),
        (np.array([[1, 1, 0]], bool), "a set of 2 pixels"),
        (np.pad(elements.stick(5, 45), 1), "stick(5, 45)"),
        (elements.stick(7, 150), "stick(7, 150)"),
        (np.pad(np.ones((3, 5), bool), ((2, 0), (0, 0))), "rectangle 3 x 5 shifted by (1, 0)"),
        (~(np.add.outer([2, 1, 0, 1, 2], [2, 1, 0, 1, 2]) == 4), "disk(3) ⊕ square(3)"),
        (np.array([[1, 0, 1]], bool), "a set of 2 pixels"),
        (np.zeros((3, 3), bool), "the empty set"),
    ],
)
def test_name_selem(selem, words):
    assert name_selem(selem) == words


def test_a_binary_bank_reads_as_its_scipy_set():
    """`describe` speaks of the textbook set of a dilation, not of the window."""
    window = np.zeros((3, 3, 1, 1), bool)
    window[0, 1] = True  # looks up: moves the image down
    node = BinaryBiSE(window, np.zeros((1, 1), bool), np.zeros((1, 1), bool), Spec())
    params = [{"bise": exact_node(np.ones((3, 3), bool), "dilation")}]
    found = certify_network(models.bimonn, params, (1, 9, 9, 1)).neurons
    assert "one pixel shifted by (1, 0)" in describe([{"bise": node}], found)[0]
