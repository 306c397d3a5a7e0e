"""What the SQLite ledger keeps for jobs outlives processes, rebuilds and lost files."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from tests.contract.ledger.making import account, call, charge, hold, settled
from tollspan.budget import DeferredHold, Hold
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rebuild
from tollspan.usage import Adjustment, DecisionNote, LedgerError

ALL = account(limit=100)
JOB = ("openai", "job-1")


def job(held: Hold, job_id: str = "job-1") -> DeferredHold:
    """Make a job of a call that holds."""
    return DeferredHold(
        provider="openai",
        job_id=job_id,
        call=call(held.call_id),
        note=DecisionNote(bound_nanousd=90),
        hold=held,
        deferred_at_unix_ns=time.time_ns(),
    )


def sums(home: Path) -> tuple[int, int, int]:
    """Return what the account has posted, held and unresolved."""
    (found,) = LedgerReader(home / LEDGER_FILE).balances()
    return found.posted, found.held, found.unresolved


def begun(home: Path) -> tuple[SQLiteLedger, Hold]:
    """Begin a job, beside a call that stays in flight, in a process that dies then."""
    ledger = SQLiteLedger(home)
    held, other = hold((ALL, 60)), hold((ALL, 30))
    ledger.hold(held)
    ledger.hold(other)
    assert ledger.defer(job(held))
    owner = ledger._owner
    assert owner is not None
    owner.forget()  # as its death does: the lock goes, the file stays
    ledger._owner = None
    return SQLiteLedger(home), held


def test_what_a_dead_process_holds_is_unresolved_and_what_its_job_holds_is_not(
    tmp_path: Path,
) -> None:
    ledger, held = begun(tmp_path)
    ledger.sweep()
    assert sums(tmp_path) == (0, 60, 30)
    ledger.post(settled(held, 7), held)
    assert sums(tmp_path) == (7, 0, 30)


def test_what_is_held_for_a_job_is_unresolved_beyond_the_horizon(tmp_path: Path) -> None:
    ledger, held = begun(tmp_path)
    ledger.job_horizon_seconds = 3600.0
    ledger.sweep()
    assert sums(tmp_path) == (0, 60, 30)
    ledger.job_horizon_seconds = 0.0
    ledger.sweep()
    ledger.sweep()
    assert sums(tmp_path) == (0, 0, 90)
    assert ledger.deferred("openai", "job-1") != ()
    ledger.post(settled(held, 7), held)
    assert sums(tmp_path) == (7, 0, 30)


def test_what_is_settled_by_hand_is_settled(tmp_path: Path) -> None:
    ledger, held = begun(tmp_path)
    ledger.sweep()
    by_hand = Adjustment(
        id="a" * 32,
        at_unix_ns=time.time_ns(),
        action="resolve",
        author="me",
        charges=(charge(ALL, posted=5),),
        call_id=held.call_id,
    )
    ledger.adjust(by_hand)
    ledger.adjust(by_hand)
    assert sums(tmp_path) == (5, 0, 30)
    assert ledger.deferred("openai", "job-1") == ()
    rebuild(tmp_path / LEDGER_FILE)
    assert sums(tmp_path) == (5, 0, 30)


def test_what_is_settled_by_hand_after_its_end_was_told_counts_once(tmp_path: Path) -> None:
    ledger, held = begun(tmp_path)
    ledger.sweep()
    ledger.post(settled(held, 7), held)
    by_hand = Adjustment(
        id="a" * 32,
        at_unix_ns=time.time_ns(),
        action="resolve",
        author="me",
        charges=(charge(ALL, posted=5),),
        call_id=held.call_id,
    )
    with pytest.raises(LedgerError, match="has ended, or was settled, meanwhile"):
        ledger.adjust(by_hand)
    assert sums(tmp_path) == (7, 0, 30)


def test_a_job_that_was_given_up_and_is_resolved_by_hand_is_none_any_more(tmp_path: Path) -> None:
    """Else whoever sees its end after all would count it once more."""
    ledger, held = begun(tmp_path)
    ledger.job_horizon_seconds = 0.0
    ledger.sweep()
    by_hand = Adjustment(
        id="a" * 32,
        at_unix_ns=time.time_ns(),
        action="resolve",
        author="me",
        charges=(msgspec.structs.replace(charge(ALL, posted=5), drawn=60),),
        lease_id=held.call_id,
    )
    ledger.adjust(by_hand)
    assert sums(tmp_path) == (5, 0, 30)
    assert ledger.deferred("openai", "job-1") == ()
    rebuild(tmp_path / LEDGER_FILE)
    assert sums(tmp_path) == (5, 0, 30)
    assert ledger.deferred("openai", "job-1") == ()


def test_a_job_is_kept_though_another_process_tells_its_end_at_once(tmp_path: Path) -> None:
    """Else its call would be closed as none, and its lease get back what the job took out of it."""
    ledger, other = SQLiteLedger(tmp_path), SQLiteLedger(tmp_path)
    held = hold((ALL, 60))
    ledger.hold(held)
    session = ledger._session
    assert session is not None

    def tell_the_end(statement: str) -> None:
        if statement.startswith("SELECT") and "jobs" in statement and other.deferred(*JOB):
            other.post(settled(held, 7), held)

    session.connection.set_trace_callback(tell_the_end)
    assert ledger.defer(job(held))
    session.connection.set_trace_callback(None)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_rebuilt_ledger_has_its_jobs(tmp_path: Path, is_damaged: bool) -> None:
    ledger, held = begun(tmp_path)
    ledger.sweep()
    before = ledger.deferred("openai", "job-1")
    ledger.close()
    path = tmp_path / LEDGER_FILE
    if is_damaged:
        content = bytearray(path.read_bytes())
        content[:100] = bytes(100)
        path.write_bytes(content)
    rebuild(path)
    assert sums(tmp_path) == (0, 60, 30)
    assert ledger.deferred("openai", "job-1") == before
    ledger.post(settled(held, 7), held)
    assert sums(tmp_path) == (7, 0, 30)
    assert ledger.deferred("openai", "job-1") == ()


def test_a_deleted_ledger_takes_its_jobs_along(tmp_path: Path) -> None:
    ledger, held = begun(tmp_path)
    ledger.sweep()
    before = ledger.deferred("openai", "job-1")
    for path in tmp_path.glob(f"{LEDGER_FILE}*"):
        path.unlink()
    ledger.close()
    ledger.post(settled(held, 7), held)
    assert before[0].call.id == held.call_id
    assert sums(tmp_path)[0] == 7
    assert ledger.deferred("openai", "job-1") == ()


def test_a_hold_of_no_known_job_is_unresolved_after_a_rebuild(tmp_path: Path) -> None:
    ledger, _ = begun(tmp_path)
    ledger.close()
    with sqlite3.connect(tmp_path / LEDGER_FILE) as file:
        file.execute("DELETE FROM jobs")
    rebuild(tmp_path / LEDGER_FILE)
    assert sums(tmp_path)[2] >= 60


def test_a_job_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    ledger, _ = begun(tmp_path)
    with sqlite3.connect(tmp_path / LEDGER_FILE) as file:
        file.execute("UPDATE jobs SET data = CAST('{}' AS BLOB)")
    with pytest.raises(Exception, match="rebuild"):
        ledger.deferred("openai", "job-1")
