"""Recipes: learn a binary operator, a union of operators, or the bits of a network from pairs.

`chains` has `learn_chain`, which descends on the bits of small networks and is the one to try
first; `operators` has `learn_operator`, `unions` has `learn_union`, `bits` has `train_bits`.
`window_unions` and `window_votes` learn window operators, hit-or-misses by the hundred, from real
pairs. The modules whose names begin with `_` are parts of these recipes.
"""

from morphax.recipes.bits import train_bits as train_bits
from morphax.recipes.chains import LearnedChain as LearnedChain
from morphax.recipes.chains import learn_chain as learn_chain
from morphax.recipes.operators import Learned as Learned
from morphax.recipes.operators import learn_operator as learn_operator
from morphax.recipes.unions import learn_union as learn_union
from morphax.recipes.window_networks import WindowNetwork as WindowNetwork
from morphax.recipes.window_networks import window_network as window_network
from morphax.recipes.window_operators import WindowOperator as WindowOperator
from morphax.recipes.window_unions import learn_window_union as learn_window_union
from morphax.recipes.window_votes import learn_window_votes as learn_window_votes
