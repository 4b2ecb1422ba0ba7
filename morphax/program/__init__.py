"""A binary network as plain data, whatever its model's code.

`ir.py` says what a program is and runs it with numpy; `lower.py` builds it from the wiring of a model;
`simplify.py` makes it smaller, with the tables of `rewrite.py`; `cost.py` counts its bit operations.
"""

from morphax.program._simplify import simplify as simplify
from morphax.program.cost import Cost as Cost
from morphax.program.cost import count as count
from morphax.program.lower import build as build
from morphax.program.ops import Op as Op
from morphax.program.ops import Program as Program
from morphax.program.ops import from_planes as from_planes
from morphax.program.ops import plane_shape as plane_shape
from morphax.program.ops import pruned as pruned
from morphax.program.ops import run as run
from morphax.program.ops import run_op as run_op
from morphax.program.ops import to_planes as to_planes
