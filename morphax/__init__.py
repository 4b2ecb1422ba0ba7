"""Binary morphological neural networks, proved to equal the networks they were trained as.

`import morphax` needs jax and numpy only. It brings the functions below and these modules:
`elements`, `operators`, `levelsets`, `models`, `initializers`, `metrics`, `regularizers`, `packed`
and `program`. Everything else is loaded when it is first used, as in `from morphax import data,
recipes, transforms` or `from morphax.layers import nnx`, because it may need an optional
dependency.
"""

import importlib
from typing import Any

from morphax import _moved
from morphax import packed as packed
from morphax import program as program
from morphax._version import __version__ as __version__
from morphax.binarization import binarize as binarize
from morphax.binarization import nearest as nearest
from morphax.binarization import realize as realize
from morphax.certificates import Certificate as Certificate
from morphax.certificates import NetworkCertificate as NetworkCertificate
from morphax.certificates import certify as certify
from morphax.certificates import certify_network as certify_network
from morphax.certificates import certify_neurons as certify_neurons
from morphax.certificates import structuring_element as structuring_element
from morphax.explain.summary import Summary as Summary
from morphax.explain.summary import summary as summary
from morphax.export.archive import Archive as Archive
from morphax.export.archive import load as load
from morphax.export.archive import save as save
from morphax.morphology import elements as elements
from morphax.morphology import levelsets as levelsets
from morphax.morphology import operators as operators
from morphax.morphology.operators import black_top_hat as black_top_hat
from morphax.morphology.operators import closing as closing
from morphax.morphology.operators import dilation as dilation
from morphax.morphology.operators import erosion as erosion
from morphax.morphology.operators import hit_or_miss as hit_or_miss
from morphax.morphology.operators import opening as opening
from morphax.morphology.operators import white_top_hat as white_top_hat
from morphax.neurons import initializers as initializers
from morphax.neurons import models as models
from morphax.neurons.counting import at_least as at_least
from morphax.neurons.forward import apply as apply
from morphax.neurons.forward import complement as complement
from morphax.neurons.forward import concatenate as concatenate
from morphax.neurons.forward import flatten as flatten
from morphax.neurons.forward import union_pool as union_pool
from morphax.neurons.heads import group_sum as group_sum
from morphax.neurons.heads import linear_head as linear_head
from morphax.neurons.heads import predict as predict
from morphax.neurons.nodes import BinaryBiSE as BinaryBiSE
from morphax.neurons.nodes import BiSE as BiSE
from morphax.neurons.nodes import Spec as Spec
from morphax.neurons.nodes import effective as effective
from morphax.objectives import metrics as metrics
from morphax.objectives import regularizers as regularizers
from morphax.packed.words import pack as pack
from morphax.packed.words import unpack as unpack
from morphax.program import Program as Program
from morphax.program.trace import Graph as Graph
from morphax.program.trace import trace as trace
from morphax.projection import Projection as Projection
from morphax.projection import project as project
from morphax.specialized import specialize as specialize

_moved.install()

# Folders that are loaded at first use, such as `morphax.data`.
_FOLDERS = ("classification", "data", "explain", "export", "layers", "recipes", "training", "viz")


def __getattr__(name: str) -> Any:
    if name in _FOLDERS or name in _moved.MOVED:
        return importlib.import_module(f"morphax.{name}")
    raise AttributeError(f"module 'morphax' has no attribute {name!r}")
