"""Recipes without gradients for small networks: descent on the bits of chains and unions of maps.

`chains` has `learn_chain`. Forms of networks (`_forms`) are tried one after the other (`_stages`);
a descent (`_descent`) counts the wrong pixels of all neighbours of a network in words
(`_bit_errors`).
"""
