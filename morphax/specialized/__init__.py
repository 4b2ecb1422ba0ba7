"""Compile a binary network for itself: one program with its structuring elements built in.

`compiler` has the entries `specialize` and `specialize_program`. A program becomes a plan of
stages (`_plan`, `_stages`) on planes of words (`_planes`, `_values`). Small banks are unrolled
(`_windows`, with shared sub-expressions from `_common_parts`), large ones gather from index tables
(`_tables`). `_counting` counts bits for the heads.
"""

from morphax.specialized.compiler import Specialized as Specialized
from morphax.specialized.compiler import specialize as specialize
from morphax.specialized.compiler import specialize_program as specialize_program
