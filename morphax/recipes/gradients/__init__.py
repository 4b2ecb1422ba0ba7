"""Recipes that train with gradients: operators, unions of openings, and the bits of a network.

`operators` has `learn_operator`, `unions` has `learn_union`, `bits` has `learn_bits`.
"""
