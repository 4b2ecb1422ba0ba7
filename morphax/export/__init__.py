"""Export binary networks: archives, C, Verilog and StableHLO.

`archive/` saves and loads one file; `c_source/` writes C99; `hdl/` writes Verilog, combinational or
for a stream of pixels; `python_source/` writes Python for numpy and scipy; `_stablehlo` writes
StableHLO.
"""

from morphax.export._stablehlo import load_stablehlo as load_stablehlo
from morphax.export._stablehlo import stablehlo as stablehlo
from morphax.export._stablehlo import stablehlo_program as stablehlo_program
from morphax.export.archive import Archive as Archive
from morphax.export.archive import load as load
from morphax.export.archive import save as save
from morphax.export.c_source import CFiles as CFiles
from morphax.export.c_source import c as c
from morphax.export.hdl import verilog as verilog
from morphax.export.hdl import verilog_stream as verilog_stream
from morphax.export.python_source import python as python
