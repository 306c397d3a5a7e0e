"""The page of folding: `python -m benchmarks folding` measures, and writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.budgets.figures import Spot
from benchmarks.budgets.folding import CALLS, SESSIONS_A_DAY, Folding, Moment, measure
from benchmarks.results import Environment, now

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "speed-of-folding.md"
_HEAD: Final = (
    "| who holds the money | sessions | accounts | their MiB | events' MiB | process, MiB more "
    "| first call | the same, empty | later calls | the same, empty | a piece of folding |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def run(*, is_quick: bool) -> None:
    """Measure, print, and write the page; when it is quick, only measure and print."""
    page = _page(measure(is_quick=is_quick), now())
    print(page)
    if not is_quick:
        PAGE.write_text(page)


def _page(found: list[Folding], where: Environment) -> str:
    rows = "".join(_row(one, moment) for one in found for moment in one.moments)
    return f"""# Speed of folding

Written by `python -m benchmarks folding`; do not edit.

{where.date}. Python {where.python}, SQLite {where.sqlite}, {where.system}, {where.cores} cores.
The load average over 15 minutes was {where.load:.1f}.

{SESSIONS_A_DAY:,} new sessions come each day, {CALLS} calls each, under a budget for each session
and one for all. Days are virtual; after each, [accounts of closed periods](../concepts/accounts.md)
are folded, 200 in a piece. Times are of match and hold, p50 / p99 in microseconds, in turn with the
same at a place that has no accounts yet.

{_HEAD}{rows}"""


def _row(life: Folding, moment: Moment) -> str:
    cells = (
        life.place + ("" if life.is_folded else ", never folded"),
        f"{moment.sessions:,}",
        f"{moment.accounts:,}",
        f"{moment.taken_mib:.1f}",
        "" if moment.events_mib is None else f"{moment.events_mib:.1f}",
        f"{moment.resident_mib:.0f}",
        *map(_times, (moment.new, moment.empty_new, moment.again, moment.empty_again)),
        "" if moment.piece is None else _times(moment.piece),
    )
    return f"| {' | '.join(cells)} |\n"


def _times(spot: Spot) -> str:
    return f"{spot.p50:,.1f} / {spot.p99:,.0f}"
