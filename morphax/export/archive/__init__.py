"""Archives: a binary network in one `.npz` file that is safe to read.

`files` has `save`, `load` and `Archive`; `container` reads and writes the file; `_header` and
`_tree` hold the schema of its header and of trees of parameters. The format is described in
docs/format.md.
"""

from morphax.export.archive.files import Archive as Archive
from morphax.export.archive.files import load as load
from morphax.export.archive.files import save as save
