"""A binary network as plain data, whatever its model's code.

`ir.py` says what a program is and runs it with numpy; `lower.py` builds it from the wiring of a model;
`simplify.py` makes it smaller, with the tables of `rewrite.py`; `cost.py` counts its bit operations.
"""

from morphax.program.cost import Cost as Cost
from morphax.program.cost import count as count
from morphax.program.ir import Op as Op
from morphax.program.ir import Program as Program
from morphax.program.ir import from_planes as from_planes
from morphax.program.ir import plane_shape as plane_shape
from morphax.program.ir import pruned as pruned
from morphax.program.ir import run as run
from morphax.program.ir import run_op as run_op
from morphax.program.ir import to_planes as to_planes
from morphax.program.lower import build as build
from morphax.program.simplify import simplify as simplify
