"""Fuzz targets and the command that runs them: `python tests/fuzz/run.py`."""
