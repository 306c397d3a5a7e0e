"""Events in doubt are found, each kind by itself, and without reading all others."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from tests.contract.central.making import usage_event
from tests.contract.central.test_spans import told
from tollspan.ledger.central import CentralLedger, Doubt, EventQuery, UsageQuery
from tollspan.usage import (
    Cost,
    DecisionEvent,
    DecisionNote,
    Reversal,
    Usage,
    UsageEvent,
    event_id,
)


def found(ledger: CentralLedger, doubt: Doubt) -> list[str]:
    query = EventQuery(doubt=doubt, is_only_counted=doubt != "taken_back")
    return sorted(event_id(one.fact) for one in ledger.reader.events("acme", query))


def test_each_doubt_finds_its_own_events_and_no_other(ledger: CentralLedger) -> None:
    replace = msgspec.structs.replace
    plain, late = usage_event(), usage_event(age_seconds=7_200, cost=7)
    unpriced = replace(usage_event(), cost=Cost(status="unpriced"))
    partial = replace(usage_event(), cost=Cost(status="partial", amount_nanousd=3))
    guessed = replace(usage_event(cost=11), usage=Usage(status="estimated", output=1))
    unknown = replace(usage_event(), usage=Usage(status="unknown"), cost=Cost(status="unknown"))
    first, second = usage_event(answer="r1", cost=1), usage_event(answer="r1", cost=2)
    denied = DecisionEvent(call=usage_event(age_seconds=9_999).call,
                           decision=DecisionNote(action="deny"))  # fmt: skip
    ledger.events.store(
        "acme", [plain, late, unpriced, partial, guessed, unknown, first, second, denied]
    )
    ids = {name: sorted(event_id(one) for one in facts) for name, facts in {
        "unpriced": [unpriced, partial], "unknown": [unknown], "estimated": [guessed],
        "late": [late], "suspected_duplicate": [second], "taken_back": [],
    }.items()}  # fmt: skip
    doubts: tuple[Doubt, ...] = (
        "unpriced", "unknown", "estimated", "late", "suspected_duplicate", "taken_back",
    )  # fmt: skip
    assert {name: found(ledger, name) for name in doubts} == ids
    (row,) = ledger.usage.usage("acme", UsageQuery()).rows
    sums = row.sums
    assert (sums.late, sums.late_nanousd) == (1, 7)
    assert (sums.suspected_duplicates, sums.suspected_nanousd) == (1, 2)
    assert (sums.taken_back, sums.taken_back_nanousd) == (0, 0)


@pytest.mark.parametrize("group_by", [(), ("session",)])
def test_what_is_taken_back_is_summed_apart(
    ledger: CentralLedger, group_by: tuple[str, ...]
) -> None:
    span = told(1, call_id="one")
    ledger.spans.store("acme", [span])
    own = msgspec.structs.replace(
        span.event, call=msgspec.structs.replace(span.event.call, id="one"),
        cost=Cost(status="priced", amount_nanousd=50),
    )  # fmt: skip
    ledger.events.store("acme", [own])
    (row,) = ledger.usage.usage("acme", UsageQuery(group_by=group_by)).rows
    assert (row.sums.calls, row.sums.cost_nanousd) == (1, 50)
    assert row.sums.taken_back == 1
    assert row.sums.taken_back_nanousd == span.event.cost.amount_nanousd
    (listed,) = ledger.reader.events("acme", EventQuery(doubt="taken_back"))
    assert isinstance(listed.fact, Reversal)
    assert isinstance(listed.fact.event, UsageEvent)


def test_refusals_and_doubts_are_looked_up_in_indexes_of_their_own(tmp_path: Path) -> None:
    ledger = CentralLedger(f"sqlite:{tmp_path / 'server.db'}")
    engine = sa.create_engine("sqlite://")
    said: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("SELECT events.body"):
            said.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        values = {"kind": "decision", "outcome": "denied"}
        asked = EventQuery(since_unix_ns=1, until_unix_ns=2, is_newest_first=True)
        replace = msgspec.structs.replace
        ledger.reader.events("acme", replace(asked, values=values))
        ledger.reader.events("acme", replace(asked, doubt="late", is_only_counted=True))
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
        ledger.close()
        engine.dispose()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'server.db'}")
    with engine.begin() as connection:
        plans = [
            str(connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {one}", tuple([1] * one.count("?"))
            ).all())
            for one in said
        ]  # fmt: skip
    engine.dispose()
    assert ["events_of_decisions" in plans[0], "events_in_doubt" in plans[1]] == [True, True], plans
    assert not any("TEMP B-TREE" in plan for plan in plans)
