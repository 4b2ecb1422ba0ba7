"""C source of binary networks (C99, also read by C89 and C++ compilers), in two layouts of words.

`write` has the entry `c`. `_batch` writes the layout with one pixel of 64 images in a word,
`_pixels` the layout with 64 pixels of a row in a word, `_volumes` the same for volumes, slice by
slice, and `_bytes` the function from bytes to bytes, which `_planes` and `_sharing` plan. `_tables`
writes neurons as lines or tables, `_text` the common parts of all; the `*_templates` modules hold
the C code with places to fill in.
"""

from morphax.export.c_source.write import CFiles as CFiles
from morphax.export.c_source.write import c as c
