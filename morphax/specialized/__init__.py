"""Compile a binary network for itself: one program with its structuring elements built in.

`compiler` has the entries `specialize` and `specialize_program`. A program becomes a plan (`_plan`), stages
(`_stages`), and planes of words (`_planes`, `_values`). Small banks are unrolled (`_windows`, with shared
sub-expressions from `_common_parts`), large ones gather from tables (`_tables`); `_counting` adds up bits.
"""

from morphax.specialized.compiler import Specialized as Specialized
from morphax.specialized.compiler import specialize as specialize
from morphax.specialized.compiler import specialize_program as specialize_program
