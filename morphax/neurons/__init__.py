"""Neurons: their parameters, how they are evaluated, and models made of them.

`nodes` holds the parameters of banks of neurons (`BiSE`, `BinaryBiSE`); `forward` evaluates them on
floats, bool images and packed words; `heads` has the last layers of classifiers; `models` builds
networks; `initializers` draws parameters; `reparam` maps stored parameters to effective ones;
`thresholds` has the smooth thresholds.
"""

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
