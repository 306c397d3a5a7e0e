"""Every row of `docs/reference/outcomes.md`, made to happen on every surface."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import KITS
from tests.contract.instrumentors.outcomes import CASES
from tests.contract.instrumentors.stage import Stage
from tollspan.usage import UsageEvent

PAGE = Path(__file__).parents[3] / "docs/reference/outcomes.md"
CELLS = 9
NOTHING = "\u2013"
TOLERANCE = 0.35
"""Texts of some 60 tokens; `test_cut_streams.py` measures the error properly."""

IN_MID_STREAM = {
    "stream_reset_unread": "ReadError",
    "stream_reset": "ReadError",
    "stream_cut": "RemoteProtocolError",
    "stream_timeout": "ReadTimeout",
}
"""What the transport raises, where the SDK lets it through."""
UNASKED = ("raw_stream", "raw_stream_bytes")
"""Streams that we don't ask for their usage; some say it all the same."""


class Row(Struct, frozen=True, kw_only=True):
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
        posted=_posted(event, charge.posted, billed_nanousd),
        unresolved=_unresolved(row, charge.unresolved, charge.posted, bound),
    )


def _posted(event: UsageEvent, posted: int, billed_nanousd: int) -> str:
    if posted == 0:
        return "0"
    assert event.usage is not None
    if event.usage.status == "reported":
        return "bill" if posted == billed_nanousd else f"{posted}"
    assert posted == pytest.approx(billed_nanousd, rel=TOLERANCE)
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
    ("kit", "way", "row"),
    [
        pytest.param(kit, way, row, id=f"{kit}-{way}-{row.name}")
        for kit in KITS
        for row in ROWS.values()
        if row.name in CASES and CASES[row.name].has(kit)
        for way in CASES[row.name].ways[0 if kit.stands_for_others else -1 :]
    ],
    indirect=["way"],
)
def test_every_row_of_the_page_is_what_happens(stage: Stage, kit: Kit, row: Row) -> None:
    CASES[row.name].happen(stage)
    stage.collect()
    event = stage.event()
    assert stage.fake.wait_idle()
    answered = [one.billed_nanousd for one in stage.fake.requests][-1:]
    assert as_written(row, event, sum(answered)) == _of_kit(row, kit)


def _of_kit(row: Row, kit: Kit) -> Row:
    """Return a row of the page as it is for a surface, where the page says that they differ."""
    streams = kit.streams
    if streams is None:
        return row
    if row.name == "stream_error":
        return replace(row, error_type=streams.event_error)
    if row.name in UNASKED and streams.says_usage_unasked:
        return replace(row, usage="reported", posted="bill")
    if row.name in IN_MID_STREAM and not streams.wraps_transport_errors:
        return replace(row, error_type=IN_MID_STREAM[row.name])
    return row
