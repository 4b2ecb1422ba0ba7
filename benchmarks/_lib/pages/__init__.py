"""Pages of docs/results: one module for each page, each with a `PAGE` that `benchmarks/report.py`
writes.

A page has the sentences of a conclusion, sections, and long tables that become CSV files beside it.
All of them are functions without arguments; those whose JSON is missing return "" or nothing and
are left out. `shared.py` reads the JSON and checks its provenance; `formats.py` formats numbers and
tables.
"""
