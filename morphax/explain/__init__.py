"""Explanations: what a binary network computes, in the terms of mathematical morphology.

`explain` (in `_reader`) is the entry. `_reading` turns a program into terms, `_terms` holds the
rules that shorten them, `expression` finds the shortest expression of a term, and `wording` writes
it as text. `describe` names single neurons and structuring elements; `summary` is a table of a
params tree.
"""

from morphax.explain._reader import Explanation as Explanation
from morphax.explain._reader import explain as explain
from morphax.explain._reader import input_names as input_names
from morphax.explain._reader import layer_lines as layer_lines
from morphax.explain._reader import neurons_in_words as neurons_in_words
from morphax.explain.expression import Expression as Expression
