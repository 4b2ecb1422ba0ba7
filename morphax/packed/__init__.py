"""Packed words: 32 images, or 32 neighbouring pixels, in the bits of a uint32.

`words` packs a batch, 32 images to a word: every function of morphax that takes bool arrays takes
these words too. `pixels` packs the rows of single large images and has the operators of
`morphax.operators` for them. `counters` counts and compares numbers that are stored bit by bit in
words; the heads (`morphax.heads`) use it.
"""

from morphax.packed import counters as counters
from morphax.packed import pixels as pixels
from morphax.packed.pixels import pack_pixels as pack_pixels
from morphax.packed.pixels import unpack_pixels as unpack_pixels
from morphax.packed.words import pack as pack
from morphax.packed.words import unpack as unpack
