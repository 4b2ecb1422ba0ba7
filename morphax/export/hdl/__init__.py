"""Verilog of binary networks: combinational modules, and modules for a stream of pixels.

`combinational` has the entry `verilog`, `stream` the entry `verilog_stream`. `_text` has the text
that both need, and `_counts` adders for counts. `_stream_gates` turns a program into gates with
times, `_stream_taps` writes what they read: delays and borders.
"""

from morphax.export.hdl.combinational import verilog as verilog
from morphax.export.hdl.stream import verilog_stream as verilog_stream
