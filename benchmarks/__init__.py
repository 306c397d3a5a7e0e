"""Measures speed and size; `python -m benchmarks` writes `RESULTS.md` and `results.json`.

Everything runs on this machine alone: HTTP is an in-process transport, the ledger a temporary file.
"""
