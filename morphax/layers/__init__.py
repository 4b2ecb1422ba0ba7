"""Flax layers, NNX and Linen: thin shells around the functions of `morphax.neurons.models`.

`morphax.layers.nnx` and `morphax.layers.linen` have the same layers. Flax is imported by these two
modules only.
"""
