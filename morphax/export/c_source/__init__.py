"""C99 source of binary networks, with an image in each bit of a word or a row of pixels in each word.

`write` has the entry `c`. `_batch` writes the layout with one pixel of 64 images in a word, `_pixels` the
layout with 64 pixels of a row in a word; `_tables` writes arrays; the `*_templates` modules and `_text` hold
the text of the C files.
"""

from morphax.export.c_source.write import CFiles as CFiles
from morphax.export.c_source.write import c as c
