"""Events of a host settle with a shared authority, and a program's end waits a bounded time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.contract.ledger.making import account, charge, event, new_id
from tollspan.budget import MemoryAuthority, Settlement
from tollspan.exporter import SettlingBooks
from tollspan.ledger import SQLiteLedger

pytestmark = pytest.mark.alone

EVENTS = 3_000
WHERE = account(limit=10**9)


class SlowAuthority(MemoryAuthority):
    """An authority that takes a while for each batch."""

    seconds = 0.3

    def settle(self, settlements: Sequence[Settlement]) -> None:
        time.sleep(self.seconds)
        super().settle(settlements)


def stored(home: Path) -> SQLiteLedger:
    """Store events now, whenever their calls began, that nobody has settled yet."""
    ledger = SQLiteLedger(home)
    for _ in range(EVENTS):
        ledger.post(event(new_id(), charge(WHERE, posted=2)), None)
    return ledger


def books_of(ledger: SQLiteLedger, authority: MemoryAuthority) -> SettlingBooks:
    noon_unix_ns = event(new_id()).call.started_at_unix_ns
    return SettlingBooks(ledger, authority, name="slow", clock=lambda: noon_unix_ns)


def test_an_end_waits_no_longer_than_it_may_and_the_next_process_settles_the_rest(
    tmp_path: Path,
) -> None:
    ledger, authority = stored(tmp_path), SlowAuthority()
    start = time.monotonic()
    books_of(ledger, authority).close(0.5)
    assert time.monotonic() - start < 0.3 * EVENTS / 500  # the time for all of them
    (balance,) = authority.balances([WHERE])
    assert 0 < balance.posted < 2 * EVENTS
    authority.seconds = 0
    books_of(ledger, authority).settle()
    (balance,) = authority.balances([WHERE])
    assert balance.posted == 2 * EVENTS
    ledger.close()


def test_books_that_were_closed_settle_again_with_one_thread(tmp_path: Path) -> None:
    ledger, authority = SQLiteLedger(tmp_path), MemoryAuthority()
    books = books_of(ledger, authority)
    for _ in range(3):
        books.post(event(new_id(), charge(WHERE, posted=2)), None)
        books.close(5)
    books.post(event(new_id(), charge(WHERE, posted=2)), None)
    give_up_at = time.monotonic() + 10
    while authority.balances([WHERE])[0].posted < 8:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    assert [one.name for one in threading.enumerate()].count("tollspan-settling") == 1
    books.close(5)
    assert "tollspan-settling" not in [one.name for one in threading.enumerate()]
    ledger.close()


@pytest.mark.parametrize("times", [1, 3])
def test_an_event_is_settled_once_however_often_it_is_told(tmp_path: Path, times: int) -> None:
    ledger, authority = SQLiteLedger(tmp_path), MemoryAuthority()
    ledger.post(event(new_id(), charge(WHERE, posted=2)), None)
    for _ in range(times):
        ledger.note_settled("slow", 0, ledger.inode())
        books_of(ledger, authority).settle()
    assert authority.balances([WHERE])[0].posted == 2
    ledger.close()
