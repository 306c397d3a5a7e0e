"""Events of each month are in a table of their own on PostgreSQL, and each is stored once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.contract.central.making import usage_event
from tollspan.ledger.central import CentralLedger, EventQuery
from tollspan.ledger.central.opening import Database
from tollspan.ledger.central.partitions import Month, Partitions
from tollspan.usage import UsageEvent

pytestmark = pytest.mark.service
ALL = EventQuery(most=10_000)


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[CentralLedger]:
    ledger = CentralLedger(postgres_url)
    yield ledger
    ledger.close()


def in_month(year: int, month: int, name: str | None = None) -> UsageEvent:
    began = datetime(year, month, 15, tzinfo=UTC).timestamp()
    return usage_event(name, age_seconds=time.time() - began)


def test_months_follow_each_other() -> None:
    turn = Month.of(Month(2027, 1).start_ns - 1)
    assert turn == Month(2026, 12)
    assert turn.following == Month(2027, 1)
    assert Month.of(turn.following.start_ns) == Month(2027, 1)
    assert turn.table == "events_2026_12"


def test_a_months_table_is_made_with_its_first_event(
    ledger: CentralLedger, database: Database
) -> None:
    early, late = in_month(2024, 2), in_month(2026, 11)
    ledger.events.store("acme", [late, early])
    assert Partitions(database).months() == [Month(2024, 2), Month(2026, 11)]
    ids = [one.place[1] for one in ledger.reader.events("acme", ALL)]
    assert ids == [early.call.id, late.call.id]


def test_an_event_that_is_sent_again_with_another_month_is_a_conflict(
    ledger: CentralLedger,
) -> None:
    first = in_month(2026, 11)
    ledger.events.store("acme", [first])
    again = in_month(2026, 10, first.call.id)
    (found,) = ledger.events.store("acme", [again])
    assert found.status == "duplicate"
    assert len(ledger.reader.events("acme", ALL)) == 1


def test_months_are_removed_with_their_events_and_made_again_where_needed(
    ledger: CentralLedger, database: Database
) -> None:
    ledger.events.store("acme", [in_month(2024, month) for month in (1, 2, 3)])
    assert Partitions(database).remove_before(Month(2024, 3)) == 2
    assert len(ledger.reader.events("acme", ALL)) == 1
    assert [one.status for one in ledger.events.store("acme", [in_month(2024, 1)])] == ["accepted"]
    assert len(ledger.reader.events("acme", ALL)) == 2


def test_what_a_killed_process_left_half_removed_is_finished(
    ledger: CentralLedger, database: Database
) -> None:
    ledger.events.store("acme", [in_month(2024, 1), in_month(2024, 2)])
    with database.alone() as connection:
        connection.exec_driver_sql("ALTER TABLE events DETACH PARTITION events_2024_01")
    assert Partitions(database).remove_before(Month(2024, 3)) == 2
    assert Partitions(database).months() == []


def test_threads_that_bring_months_at_once_lose_nothing(
    ledger: CentralLedger, postgres_url: str
) -> None:
    starting = threading.Barrier(4)

    def bring(number: int) -> None:
        own = CentralLedger(postgres_url)
        starting.wait()
        for month in range(1, 13):
            own.events.store("acme", [in_month(2023 + (number + month) % 2, month)])
        own.close()

    threads = [threading.Thread(target=bring, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.reader.events("acme", ALL)) == 48
