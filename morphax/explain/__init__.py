"""What a binary network computes, said in the words of morphology.

`explain` (in `reader.py`) puts the rooms together: `_reading.py` turns a program into terms,
`_terms.py` holds the rules that shorten them, `expression.py` finds the shortest way to say one,
`wording.py` writes it down.
"""

from morphax.explain._reader import Explanation as Explanation
from morphax.explain._reader import explain as explain
from morphax.explain._reader import input_names as input_names
from morphax.explain._reader import layers as layers
from morphax.explain._reader import neurons_in_words as neurons_in_words
from morphax.explain.expression import Expression as Expression
