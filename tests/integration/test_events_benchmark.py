"""The benchmark of events runs, and what it measured is as many events as were promised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import events, usage
from benchmarks.multiplying import multiply
from tollspan.ledger.central import CentralLedger, UsageQuery


@pytest.mark.parametrize("is_charged", [False, True])
def test_a_quick_run_sends_every_event(*, is_charged: bool) -> None:
    found = events.measure("SQLite", events.QUICK_EVENTS, is_charged=is_charged)
    assert found.events == events.QUICK_EVENTS
    assert found.cpu_seconds > 0
    assert found.peak_mib > 10


def test_what_was_measured_is_enough_for_each_second_of_cpu_time() -> None:
    found = re.findall(r"- (\w+): ([\d,]+) events, ([\d,]+) for each", events.PAGE.read_text())
    assert [database for database, _, _ in found] == ["SQLite", "PostgreSQL"]
    for (_, count, rate), least in zip(found, (10_000, 8_000), strict=True):
        assert int(count.replace(",", "")) == events.EVENTS
        assert int(rate.replace(",", "")) >= least


def test_copies_of_events_are_in_every_sum(tmp_path: Path) -> None:
    where = f"sqlite:{tmp_path / 'books.db'}"
    ledger = CentralLedger(where)
    ledger.tenants.create(usage.TENANT, actor="test")
    for batch in usage.events(200, 1_796_000_000 * 10**9, days=1):
        ledger.events.store(usage.TENANT, batch)
    multiply(where, 7)
    for names in ((), ("customer",), ("session",)):
        rows = ledger.usage.usage(usage.TENANT, UsageQuery(group_by=names)).rows
        assert sum(row.sums.calls for row in rows) == 1_400
    ledger.close()
