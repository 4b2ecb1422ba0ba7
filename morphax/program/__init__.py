"""A binary network as plain data, independent of the code of its model.

`ops` defines what a program is and runs it with numpy. `trace` reads the wiring of a model (a
`graph`), `lower` turns that wiring into a program, and `simplify` makes the program smaller. `cost`
counts its bit operations, and `validate` checks a program that comes from elsewhere.
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
