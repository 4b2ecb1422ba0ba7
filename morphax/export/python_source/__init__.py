"""Python source: an operator as one readable file that needs numpy and scipy alone.

`write` has `python`; `terms` reads the planes of a program as terms of morphology; `_texts` holds
the helper functions of the files.
"""

from morphax.export.python_source.write import python as python
