"""Verilog of binary networks: combinational modules, and modules for a stream of pixels.

`combinational` has the entry `verilog`, `stream` the entry `verilog_stream`. `_text` writes what both need,
`_counts` adds up bits, `_stream_taps` and `_stream_gates` write line buffers and gates of a stream.
"""

from morphax.export.hdl.combinational import verilog as verilog
from morphax.export.hdl.stream import verilog_stream as verilog_stream
