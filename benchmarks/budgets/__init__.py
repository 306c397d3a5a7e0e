"""Speed of budgets: match and hold, growth, round trips of leases, and the money they strand.

Run as `python -m benchmarks budgets`: it rewrites `figures.json` beside this file, and the page and
the plots in `docs/reference/`. `--quick` only shows that everything runs.
"""
