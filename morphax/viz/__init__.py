"""Figures of networks: learned operators, wiring, and results on images.

All functions return a `matplotlib.figure.Figure` made without pyplot: no window opens and no global
state changes. Save it with `figure.savefig(path, dpi=120)`. Matplotlib comes with the extra "viz".
"""

from morphax.viz._draw import figure_class as _figure_class
from morphax.viz.network import network_figure as network_figure
from morphax.viz.operators import operator_figure as operator_figure
from morphax.viz.predictions import prediction_figure as prediction_figure
from morphax.viz.segmentation import segmentation_figure as segmentation_figure
from morphax.viz.segmentation import terms_figure as terms_figure


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        ImportError: if it is not; the message names the extra to install.
    """
    _figure_class()
