"""Helpers of the benchmarks: everything in `benchmarks/` that is not itself a command.

Running `python benchmarks/NAME.py` puts `benchmarks/` on the import path, so commands write
`from _lib import common`. The examples do the same after adding that folder to `sys.path`.
"""
