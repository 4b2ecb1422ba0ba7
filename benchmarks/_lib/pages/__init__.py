"""Pages of docs/results: one module for each page, each with a `PAGE` that `benchmarks/report.py`
writes.

A page has a conclusion, sections, and long tables that become CSV files beside it. All of them are
functions without arguments; those whose JSON is missing return "" or nothing and are left out.
`shared.py` reads the JSON, checks its provenance and formats numbers and tables.
"""
