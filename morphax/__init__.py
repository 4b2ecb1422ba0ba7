"""morphax: binary morphological neural networks with a proof of exactness.

Importing it needs jax and numpy only, and brings what is below. Everything else is imported by name
(`from morphax import recipes`, `from morphax.layers import nnx`): layers live in `morphax.layers.nnx` and
`morphax.layers.linen`, training in `morphax.training` and `morphax.recipes`, Optax transforms in
`morphax.transforms`, data in `morphax.data`, figures in `morphax.viz`.
"""

from morphax import elements as elements
from morphax import initializers as initializers
from morphax import levelsets as levelsets
from morphax import metrics as metrics
from morphax import models as models
from morphax import packed as packed
from morphax import program as program
from morphax import regularizers as regularizers
from morphax.binarize import binarize as binarize
from morphax.binarize import nearest as nearest
from morphax.certificate import Certificate as Certificate
from morphax.certificate import certify as certify
from morphax.certificate import certify_neurons as certify_neurons
from morphax.certificate import structuring_element as structuring_element
from morphax.export.archive import Archive as Archive
from morphax.export.archive import load as load
from morphax.export.archive import save as save
from morphax.graph import Graph as Graph
from morphax.graph import trace as trace
from morphax.heads import group_sum as group_sum
from morphax.heads import linear_head as linear_head
from morphax.heads import predict as predict
from morphax.network import NetworkCertificate as NetworkCertificate
from morphax.network import certify_network as certify_network
from morphax.neurons import apply as apply
from morphax.neurons import complement as complement
from morphax.neurons import concatenate as concatenate
from morphax.neurons import flatten as flatten
from morphax.neurons import union_pool as union_pool
from morphax.nodes import BinaryBiSE as BinaryBiSE
from morphax.nodes import BiSE as BiSE
from morphax.nodes import Spec as Spec
from morphax.nodes import effective as effective
from morphax.operators import black_top_hat as black_top_hat
from morphax.operators import closing as closing
from morphax.operators import dilation as dilation
from morphax.operators import erosion as erosion
from morphax.operators import hit_or_miss as hit_or_miss
from morphax.operators import opening as opening
from morphax.operators import white_top_hat as white_top_hat
from morphax.packed.specialize import specialize as specialize
from morphax.packed.words import pack as pack
from morphax.packed.words import unpack as unpack
from morphax.program import Program as Program
from morphax.projection import Projection as Projection
from morphax.projection import project as project
from morphax.summary import Summary as Summary
from morphax.summary import summary as summary

__version__ = "0.1.0"
