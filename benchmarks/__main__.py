"""Runs benchmarks and writes the report: `python -m benchmarks [NAME ...]`, by default all."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks import breakdown, events, report, shipping, traces
from benchmarks.budgets import command, folding_page
from benchmarks.results import NAMES, Results, load, now, run_one, save

_PAGES = {
    "folding": folding_page.run,
    "shipping": shipping.run,
    "traces": traces.run,
    "events": events.run,
}
"""Benchmarks that write a page of their own."""
_ALL = (*NAMES, "budgets", *_PAGES, "breakdown")


def main() -> None:
    """Run what is asked for; figures of the others are kept from the last run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_ALL))
    parser.add_argument("--calls", type=int, default=None, help="calls of `memory`")
    parser.add_argument(
        "--part",
        action="append",
        choices=command.PARTS,
        help="of `budgets`: measure only this, keep the other figures",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"of {', '.join(('budgets', *_PAGES))}: see that it runs, write nothing",
    )
    asked = parser.parse_args()
    for name in asked.names:
        if name not in _ALL:
            parser.error(f"no benchmark {name!r}; there are {', '.join(_ALL)}")
    if asked.names == ["breakdown"]:
        print(breakdown.table(breakdown.measure()))
        return
    if not asked.names or "budgets" in asked.names:
        command.run(asked.part or command.PARTS, is_quick=asked.quick)
    for name, run in _PAGES.items():
        if not asked.names or name in asked.names:
            run(is_quick=asked.quick)
    if asked.names and not set(asked.names) - {"budgets", *_PAGES}:
        return
    results = load() if asked.names else Results()
    for name in [one for one in asked.names if one in NAMES] or NAMES:
        print(f"{name} …", file=sys.stderr, flush=True)
        start = time.monotonic()
        run_one(name, results, calls=asked.calls)
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    results.environment = now()
    save(results)
    report.write(results)
    print(report.targets(results))


if __name__ == "__main__":
    main()
