"""The ledger's own thread: stopped while it is stuck, or not to be had at all."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.contract.ledger.making import account, hold, settled
from tests.e2e.waiting import wait_until
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger
from tollspan.ledger._session import Session
from tollspan.ledger._writer import Writer
from tollspan.usage import LedgerError

pytestmark = pytest.mark.alone

WIDE = account("wide", limit=1 << 50)


class Note:
    """A piece of work that notes who did it."""

    is_hasty = False

    def __init__(self) -> None:
        self.done_by: list[threading.Thread] = []
        self.errors: list[LedgerError] = []

    def apply(self, session: Session) -> None:
        """Do nothing."""

    def done(self) -> None:
        self.done_by.append(threading.current_thread())

    def failed(self, error: LedgerError) -> None:
        self.errors.append(error)


def alive() -> list[threading.Thread]:
    """Return the writers' threads that run."""
    return [one for one in threading.enumerate() if one.name == "tollspan-ledger"]


def test_a_thread_that_was_stuck_while_it_was_stopped_ends_and_leaves_its_work_to_the_next(
    tmp_path: Path,
) -> None:
    stuck, go_on = threading.Event(), threading.Event()
    before = alive()

    def get_stuck(_: Session) -> bool:
        stuck.set()
        return go_on.wait(30)

    writer = Writer(
        lambda: Session(tmp_path / LEDGER_FILE),
        get_stuck,
        Session.close,
        wait_seconds=1,
        hasty_wait_seconds=1,
    )
    writer.start()
    assert stuck.wait(10)
    given_up, later = Note(), Note()
    writer.put(given_up)
    (first,) = [one for one in alive() if one not in before]
    writer.stop(0.05)
    assert len(given_up.errors) == 1
    writer.resume()
    go_on.set()
    writer.put(later)
    writer.start()
    wait_until(lambda: not first.is_alive())
    wait_until(lambda: len(later.done_by) == 1)
    assert later.done_by != [first]
    writer.stop(10)
    assert [one for one in alive() if one not in before] == []


def test_without_a_thread_to_be_had_everything_is_done_by_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    callers = [threading.Thread(target=lambda: _call_ten_times(ledger)) for _ in range(4)]
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", no_start)
    ledger = SQLiteLedger(tmp_path)
    for caller in callers:
        start(caller)
    for caller in callers:
        caller.join()
    assert len(list(LedgerReader(tmp_path / LEDGER_FILE).events())) == 40
    monkeypatch.undo()
    _call_ten_times(ledger)
    began = time.monotonic()
    ledger.close()
    assert time.monotonic() - began < 4
    (balance,) = LedgerReader(tmp_path / LEDGER_FILE).balances()
    assert (balance.posted, balance.held) == (7 * 50, 0)


def _call_ten_times(ledger: SQLiteLedger) -> None:
    for _ in range(10):
        asked = hold((WIDE, 10))
        assert ledger.hold_soon(asked).result(10) is None
        ledger.post_soon(settled(asked, 7), asked).result(10)
