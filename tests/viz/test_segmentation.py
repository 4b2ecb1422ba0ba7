"""Figures of masks over gray images, and of a union of intersections."""

import numpy as np
import pytest

from morphax import BinaryBiSE, Spec, viz
from morphax.morphology import elements
from morphax.neurons import models
from morphax.objectives.metrics import dice
from morphax.viz import segmentation


@pytest.fixture
def pictures(rng):
    truth = rng.random((9, 12, 14, 1)) < 0.4
    noise = rng.random(truth.shape) < np.linspace(0, 0.5, 9)[::-1, None, None, None]
    return rng.integers(0, 200, truth.shape, dtype=np.uint8), truth, truth ^ noise


def test_segmentation_figure_shows_quantiles_and_every_error(pictures, tmp_path):
    images, truth, found = pictures
    figure = viz.segmentation_figure(
        images, truth, {"Otsu": ~truth, "net": found}, quantiles=(0, 0.5, 1)
    )
    assert len(figure.axes) == 4 * 3
    each = np.array([float(dice(f[None], t[None])) for f, t in zip(found, truth, strict=True)])
    order = np.argsort(each)
    for column, i in enumerate(order[[0, 4, 8]]):
        shown = [figure.axes[row * 3 + column] for row in range(4)]
        assert shown[0].get_title().startswith(f"image {i} ")
        assert shown[3].get_title() == f"net: Dice {each[i]:.3f}"
        np.testing.assert_array_equal(np.asarray(shown[1].images[0].get_array()), truth[i, ..., 0])
        for ax, part in zip(shown[2:], (~truth, found), strict=True):
            colours = np.asarray(ax.images[0].get_array())
            for colour, where in (
                (segmentation._MISSED, truth & ~part),
                (segmentation._ADDED, part & ~truth),
            ):
                np.testing.assert_array_equal(np.all(colours == colour, -1), where[i, ..., 0])
    figure.savefig(tmp_path / "figure.png", dpi=30)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"truth": np.zeros((9, 12, 14, 1))}, "truth: expected bool"),
        ({"net": np.zeros((8, 12, 14, 1), bool)}, "net: expected bool"),
        ({"net": None}, "predictions: expected one or more"),
    ],
)
def test_segmentation_figure_refuses(pictures, changes, message):
    images, truth, found = pictures
    given = {"truth": truth, "net": found} | changes
    nets = {} if given["net"] is None else {"net": given["net"]}
    with pytest.raises(ValueError, match=message):
        viz.segmentation_figure(images, given["truth"], nets)


def test_terms_figure_says_what_the_network_does(rng, tmp_path):
    """(a and not the dilation of b) or b, seen through an erosion."""
    windows = np.zeros((3, 3, 2, 2), bool)
    windows[1, 1] = True
    windows[:, :, 1, 0] = elements.disk(3)
    complement = np.array([[False, False], [True, False]])
    used = np.array([[True, False], [True, True]])
    last = np.zeros((3, 3, 2, 1), bool)
    last[1, 1] = True
    last[:, :, 1, 0] = True
    no = np.zeros
    layers = [
        {
            "bise": BinaryBiSE(windows, no((2, 2), bool), complement, Spec()),
            "lui": BinaryBiSE(used, ~no(2, bool), no(2, bool), Spec("lui")),
        },
        {
            "bise": BinaryBiSE(last, np.array([[False], [True]]), no((2, 1), bool), Spec()),
            "lui": BinaryBiSE(~no((2, 1), bool), no(1, bool), no(1, bool), Spec("lui")),
        },
    ]
    image = rng.integers(0, 99, (16, 18))
    sets = image[..., None] >= np.array([20, 70])
    truth = image > 40
    figure = viz.terms_figure(layers, ["x ≥ 20", "x ≥ 70"], image, sets, truth)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:3] == [
        "x ≥ 20\nas it is",
        "x ≥ 70\nnot (dilation by\ndisk(3))",
        "their intersection",
    ]
    assert titles[6].startswith("seen through") or "seen through\nas it is" in titles
    assert "seen through\nerosion by\nsquare(3)" in titles
    assert "union of the rows" in titles
    shown = np.asarray(figure.axes[titles.index("union of the rows")].images[0].get_array())
    np.testing.assert_array_equal(shown, np.asarray(models.bimonn(layers, sets[None]))[0, ..., 0])
    figure.savefig(tmp_path / "figure.png", dpi=30)
    with pytest.raises(ValueError, match="names: expected 2"):
        viz.terms_figure(layers, ["x"], image, sets, truth)
    with pytest.raises(ValueError, match="layers: expected two BiSELs"):
        viz.terms_figure(layers[:1], ["x", "y"], image, sets, truth)
