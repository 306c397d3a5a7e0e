"""Every row of `docs/reference/outcomes.md`, made to happen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.integration.openai.outcomes import CASES
from tests.integration.openai.stage import Stage
from tollspan.usage import UsageEvent

PAGE = Path(__file__).parents[3] / "docs/reference/outcomes.md"
CELLS = 9
NOTHING = "\u2013"
TOLERANCE = 0.35
"""Texts of some 60 tokens; `test_cut_streams.py` measures the error properly."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the page says of one case, as it is written there."""

    name: str
    outcome: str
    error_type: str
    attempts: str
    usage: str
    cost: str
    posted: str
    unresolved: str


def rows() -> Iterator[Row]:
    """Read the page's tables."""
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.fullmatch(r"`(\w+)`", cells[1]) if len(cells) == CELLS else None
        if name is not None:
            yield Row(
                name=name[1],
                outcome=cells[2],
                error_type=cells[3],
                attempts=cells[4],
                usage=cells[5],
                cost=cells[6],
                posted=cells[7],
                unresolved=cells[8],
            )


ROWS = {row.name: row for row in rows()}


def as_written(row: Row, event: UsageEvent, billed_nanousd: int) -> Row:
    """Put an event into the words of the page."""
    (charge,) = event.charges
    bound = event.decision.bound_nanousd
    assert bound is not None
    return Row(
        name=row.name,
        outcome=event.outcome.status,
        error_type=event.outcome.error_type or NOTHING,
        attempts=str(event.outcome.attempts),
        usage=event.usage.status if event.usage is not None else "none",
        cost=event.cost.status,
        posted=_posted(event, charge.posted_nanousd, billed_nanousd),
        unresolved=_unresolved(row, charge.unresolved_nanousd, charge.posted_nanousd, bound),
    )


def _posted(event: UsageEvent, posted_nanousd: int, billed_nanousd: int) -> str:
    if posted_nanousd == 0:
        return "0"
    assert event.usage is not None
    if event.usage.status == "reported":
        return "bill" if posted_nanousd == billed_nanousd else f"{posted_nanousd}"
    assert posted_nanousd == pytest.approx(billed_nanousd, rel=TOLERANCE)
    return "estimate"


def _unresolved(row: Row, unresolved: int, posted: int, bound: int) -> str:
    """Name the amount; where two names fit, the page's own."""
    names = {"0": 0, "bound": bound, "rest": bound - posted}
    names |= {f"{count} bound{'s' * (count > 1)}": count * bound for count in (1, 2, 3)}
    fitting = [name for name, amount in names.items() if amount == unresolved]
    return row.unresolved if row.unresolved in fitting else f"{unresolved} of {bound}: {fitting}"


def test_the_page_has_a_row_for_every_case_and_a_case_for_every_row() -> None:
    assert set(ROWS) == set(CASES)
    assert len(ROWS) == len(list(rows()))


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        pytest.param(row, kind, id=f"{row.name}-{kind}")
        for row in ROWS.values()
        for kind in CASES[row.name].kinds
        if row.name in CASES
    ],
)
def test_every_row_of_the_page_is_what_happens(stage: Stage, row: Row, kind: str) -> None:
    CASES[row.name].happen(stage, kind)
    event = stage.event()
    assert stage.fake.wait_idle()
    answered = [one.billed_nanousd for one in stage.fake.requests][-1:]
    assert as_written(row, event, sum(answered)) == row
    assert stage.open_streams == 0
