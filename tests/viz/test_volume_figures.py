"""Figures of networks of rows and volumes show the slices of an element side by side."""

import jax
import numpy as np
import pytest

import morphax
from morphax import elements, models, viz
from morphax.viz._draw import side_by_side


def test_slices_lie_side_by_side():
    volume = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    picture = side_by_side(volume)
    np.testing.assert_array_equal(picture[:, :4], volume[0])
    np.testing.assert_array_equal(picture[:, 5:], volume[1])
    assert picture.mask[:, 4].all()
    assert picture.mask.sum() == 3
    image = np.eye(3)
    assert side_by_side(image) is image
    assert side_by_side(np.ones(5)).shape == (1, 5)


@pytest.mark.parametrize("axes, dot", [(3, (5.0, 1.0)), (1, (1.0, 0.0))])
def test_figures_of_rows_and_volumes(axes, dot):
    params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3, axes=axes)
    goal = elements.ball(3) if axes == 3 else np.ones(3, bool)
    binary = morphax.binarize(params)
    figure = viz.operator_figure(params, binary, targets=[("erosion", goal)])
    for ax in figure.axes[:3]:
        assert ax.lines[-1].get_xydata().tolist() == [list(dot)]
        shape = np.shape(ax.images[0].get_array())
        assert shape == ((3, 11) if axes == 3 else (1, 3))
    network = viz.network_figure((models.bimonn, binary, (1, *(8,) * axes, 1)))
    network.canvas.draw()
