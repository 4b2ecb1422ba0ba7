"""Flax layers, NNX and Linen: thin shells around the functions of `morphax.neurons.models`.

`morphax.layers.nnx` and `morphax.layers.linen` have the same layers. Importing this package also
teaches `flax.serialization` the nodes, so that `to_bytes`, `to_state_dict` and checkpoints of a
`TrainState` work on them.
"""

from morphax import _checks

try:
    from morphax.layers import _serialization
except ImportError as error:
    raise _checks.extra("flax", "all", error) from error

_serialization.register()
