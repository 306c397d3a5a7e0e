"""Writers who stand in each other's way: what was sent is stored once, and nobody is told of it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from tests.contract.central.test_spans import FRAMEWORK, calls, own, spent, told
from tollspan.ledger.central import CentralLedger, EventQuery
from tollspan.ledger.central.opening import Database
from tollspan.usage import LedgerUnavailableError, Reversal

ROUNDS = 20


def at_once(*works: Callable[[], object]) -> list[BaseException]:
    """Run these together, each in a thread; return what they failed with."""
    gate = threading.Barrier(len(works))
    failed: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            gate.wait(30)
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return failed


def test_two_who_take_one_span_back_at_once_take_it_back_once(where: str) -> None:
    ledgers = [CentralLedger(where) for _ in range(2)]
    for number in range(1, ROUNDS + 1):
        span = told(1, FRAMEWORK, trace=number, since=1_000 * number)
        ledgers[0].spans.store("acme", [span])
        first, second = (own(f"{side}{number:031x}", span, span=False) for side in "ab")
        failed = at_once(
            partial(ledgers[0].events.store, "acme", [first]),
            partial(ledgers[1].events.store, "acme", [second]),
        )
        assert failed == []
    found = [one.fact for one in ledgers[0].reader.events("acme", EventQuery(most=1_000))]
    assert sum(isinstance(one, Reversal) for one in found) == ROUNDS
    assert (calls(ledgers[0]), spent(ledgers[0])) == (2 * ROUNDS, 2 * ROUNDS * 77)
    for ledger in ledgers:
        ledger.close()


def test_more_readers_than_connections_wait_and_then_are_told_to_come_again(where: str) -> None:
    database = Database(where, wait_seconds=0.2)
    with ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(database.reading())
        with pytest.raises(LedgerUnavailableError, match="every connection is busy"):
            stack.enter_context(database.reading())
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()


def test_a_file_that_another_process_has_locked_may_be_stored_in_later(tmp_path: Path) -> None:
    path = tmp_path / "central.db"
    database = Database(f"sqlite:{path}", wait_seconds=0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailableError, match="locked"), database.writing():
            pass
        other.execute("COMMIT")
    with database.writing() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()


@pytest.mark.service
def test_what_collides_otherwise_may_be_done_later_and_no_value_is_told(postgres_url: str) -> None:
    database = Database(postgres_url)
    said = "INSERT INTO tenants (name, created_ns) VALUES ('acme-secret', 1)"
    with database.writing() as connection:
        connection.exec_driver_sql(said)
    with pytest.raises(LedgerUnavailableError) as caught, database.writing() as connection:
        connection.exec_driver_sql(said)
    assert "tenants_pkey" in str(caught.value)
    assert "acme-secret" not in str(caught.value)
    database.close()


def fill(database: Database) -> None:
    """Store more than there is room for."""
    with database.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # no more than there are
        connection.exec_driver_sql("CREATE TABLE filler AS SELECT randomblob(100000)")


def test_a_full_disk_is_told_as_one_until_something_can_be_stored(tmp_path: Path) -> None:
    database = Database(f"sqlite:{tmp_path / 'server.db'}")
    try:
        with pytest.raises(LedgerUnavailableError) as told:
            fill(database)
        assert told.value.reason == "the ledger's disk is full"
        assert database.trouble is told.value
        with database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
        assert database.trouble is told.value, "what was read says nothing of storing"
        with database.writing() as connection:
            connection.exec_driver_sql("SELECT 1")
        assert database.trouble is None
    finally:
        database.close()
