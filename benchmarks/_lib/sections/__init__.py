"""The sections of docs/results.md: one function `() -> str` each, "" where its JSON is missing.

`shared.py` reads the JSON and writes tables; `images.py`, `classification.py`, `speed.py` and
`running.py` hold the sections; `benchmarks/report.py` puts them in order.
"""
