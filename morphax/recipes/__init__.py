"""Recipes: one call from pairs to a certified binary network.

| function | learns | returns |
|---|---|---|
| `learn` | operators from simple to large, by the window recipes and by descent | `Menu` |
| `learn_chain` | a small network of unknown form, by descent on its bits | `LearnedChain` |
| `learn_operator` | one operator, by descent on bits, else by gradients | `Learned` |
| `learn_union` | a union of openings, one map after the other, by gradients | `Learned` |
| `learn_window_union` | a union of hit-or-misses, by search on patterns | `WindowOperator` |
| `learn_window_votes` | votes of hit-or-misses, by straight-through steps | `WindowOperator` |
| `learn_bits` | the bits of a network that already does something | `Learned` |
| `learn_classifier` | a classifier of images, by gradients | `LearnedClassifier` |

Images are `(N, H, W, C)`; all but `learn_bits` and `learn_classifier` take volumes `(N, D, H, W,
C)`, too. All take `(key, train, *, valid, ...)` and return a tuple that begins with `params`,
`binary`, `certificate` and `history`; log, progress, checkpoint and time limit are in
`run=RunOptions()`.
`verdict` and `warning` compare the binary network with answers that need no learning
(`trivial_answers`). For a model and a loop of one's own there are `spread_start`,
`operator_optimizer`, `operator_loss` and `finish`. To write another recipe: check the pairs
(`_pairs.require_pairs`), train with `morphax.training.drive`, and finish with
`_judging.learned_from`, which certifies, chooses the binary network and judges it.
`gradients/unions.py` is a short example.
"""

from morphax.classification.train import LearnedClassifier as LearnedClassifier
from morphax.classification.train import learn_classifier as learn_classifier
from morphax.recipes._judging import best_binary as best_binary
from morphax.recipes._judging import trivial_answers as trivial_answers
from morphax.recipes.descent.chains import learn_chain as learn_chain
from morphax.recipes.gradients.bits import learn_bits as learn_bits
from morphax.recipes.gradients.operators import learn_operator as learn_operator
from morphax.recipes.gradients.training_parts import STARTS as STARTS
from morphax.recipes.gradients.training_parts import finish as finish
from morphax.recipes.gradients.training_parts import operator_loss as operator_loss
from morphax.recipes.gradients.training_parts import operator_optimizer as operator_optimizer
from morphax.recipes.gradients.training_parts import spread_start as spread_start
from morphax.recipes.gradients.unions import learn_union as learn_union
from morphax.recipes.menu.entries import MenuEntry as MenuEntry
from morphax.recipes.menu.entries import menu_entry as menu_entry
from morphax.recipes.menu.learn import learn as learn
from morphax.recipes.menu.menu import Menu as Menu
from morphax.recipes.menu.saved import load_entry as load_entry
from morphax.recipes.menu.saved import load_model as load_model
from morphax.recipes.menu.saved import load_record as load_record
from morphax.recipes.menu.saved import save_entry as save_entry
from morphax.recipes.menu.saved import save_menu as save_menu
from morphax.recipes.results import Learned as Learned
from morphax.recipes.results import LearnedChain as LearnedChain
from morphax.recipes.results import Verdict as Verdict
from morphax.recipes.windows.networks import WindowNetwork as WindowNetwork
from morphax.recipes.windows.networks import window_network as window_network
from morphax.recipes.windows.operators import WindowOperator as WindowOperator
from morphax.recipes.windows.properties import Properties as Properties
from morphax.recipes.windows.unions import learn_window_union as learn_window_union
from morphax.recipes.windows.votes import learn_window_votes as learn_window_votes
