"""The command: measures everything and writes figures, page and plots."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.budgets import figures as kept
from benchmarks.budgets import growth, holding, living, page, stranding
from benchmarks.budgets.figures import Figures
from benchmarks.budgets.servers import Servers
from benchmarks.results import now

PARTS = ("holding", "growth", "stranding", "living")


def measure(figures: Figures, parts: Sequence[str], *, is_quick: bool) -> None:
    """Measure some of `PARTS`, and put their figures in place of the older ones."""
    started, load = time.monotonic(), os.getloadavg()[0]
    with ExitStack() as stack:
        servers = Servers(stack)
        for part in parts:
            print(f"budgets: {part} …", file=sys.stderr, flush=True)
            if part == "holding":
                figures.holding = holding.measure(servers, is_quick=is_quick)
            elif part == "growth":
                figures.growth = growth.measure(servers, is_quick=is_quick)
            elif part == "stranding":
                figures.stranding = stranding.measure(is_quick=is_quick)
            elif part == "living":
                figures.living = living.measure(servers, is_quick=is_quick)
            else:
                raise ValueError(f"no part {part!r}")
    figures.is_quick = is_quick
    if set(parts) != set(PARTS):
        return  # the machine was as it is told for the rest
    figures.environment = now()
    figures.seconds = time.monotonic() - started
    figures.load = (load, os.getloadavg()[0])


def run(parts: Sequence[str] = PARTS, *, is_quick: bool = False, to: Path | None = None) -> Figures:
    """Measure, and write everything: in its own places, or into one folder.

    A quick run is none whose figures are worth keeping: without a folder it writes nothing.
    """
    is_whole = set(parts) == set(PARTS)
    figures = Figures() if is_whole or is_quick else kept.load()
    measure(figures, parts, is_quick=is_quick)
    if to is not None:
        kept.save(figures, to / kept.FILE.name)
        page.write(figures, to)
    elif not is_quick:
        kept.save(figures)
        page.write(figures)
    return figures
