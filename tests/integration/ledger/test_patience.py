"""A ledger that is kept locked, or whose writer is away: no event is lost or forgotten."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from tests.e2e.waiting import wait_until
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger
from tollspan.usage import (
    Attribution,
    Call,
    Cost,
    DecisionNote,
    Outcome,
    Request,
    Usage,
    UsageEvent,
    new_call_id,
)

pytestmark = pytest.mark.alone


def an_event() -> UsageEvent:
    request = Request(provider="openai", operation="chat", model="gpt-4o-mini")
    return UsageEvent(
        call=Call(
            id=new_call_id(), started_at_unix_ns=1, request=request, attribution=Attribution()
        ),
        decision=DecisionNote(),
        outcome=Outcome(status="ok"),
        usage=Usage(output=3),
        cost=Cost(status="priced", amount_nanousd=5),
    )


def stored(home: Path) -> set[str]:
    return {event.call.id for event in LedgerReader(home / LEDGER_FILE).events()}


def test_events_put_aside_over_a_long_outage_all_come_back(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path, wait_seconds=0.05)
    ledger.open()
    other = sqlite3.connect(tmp_path / LEDGER_FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    events = [an_event() for _ in range(12)]
    for event in events:  # longer than the writer looks after what was put aside: twice a second
        ledger.rescue(event, None)
        time.sleep(0.2)
    other.execute("ROLLBACK")
    other.close()
    wait_until(lambda: stored(tmp_path) == {event.call.id for event in events})
    ledger.close()


def test_a_queue_behind_a_locked_file_waits_together(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path, wait_seconds=0.05, post_wait_seconds=0.5)
    ledger.open()
    other = sqlite3.connect(tmp_path / LEDGER_FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    events = [an_event() for _ in range(10)]
    started = time.monotonic()
    futures = [ledger.post_soon(event, None) for event in events]
    for future in futures:
        future.result(timeout=20)
    took = time.monotonic() - started
    other.execute("ROLLBACK")
    other.close()
    assert took < 4.0, "ten times half a second, one after the other, would be five and more"
    wait_until(lambda: stored(tmp_path) == {event.call.id for event in events})
    ledger.close()


def test_what_is_asked_during_a_fork_is_done_after_it(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    ledger.open()
    event = an_event()
    ledger.before_fork()
    future = ledger.post_soon(event, None)
    ledger.after_fork_in_parent()
    future.result(timeout=5)
    assert stored(tmp_path) == {event.call.id}
    ledger.close()
