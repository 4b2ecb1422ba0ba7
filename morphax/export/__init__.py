"""Ways out of the library: archives, C (`c`), Verilog, StableHLO; a module for each."""

from morphax.export.c_source import c as c
from morphax.export.stablehlo import load_stablehlo as load_stablehlo
from morphax.export.stablehlo import stablehlo as stablehlo
from morphax.export.verilog import verilog as verilog
from morphax.export.verilog_stream import verilog_stream as verilog_stream
