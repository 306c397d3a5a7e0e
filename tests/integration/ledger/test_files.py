"""The ledger's file beside other processes: made at once by many, deleted, replaced, filled."""

from __future__ import annotations

import multiprocessing
import os
import stat
import threading
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tests.contract.ledger.making import account, hold, settled
from tests.e2e.waiting import wait_until
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rescued_files
from tollspan.ledger import _writer as writer_module
from tollspan.usage import LedgerUnavailableError, UsageEvent

WIDE = account("wide", limit=1 << 50)


def first_call(home: Path, barrier: Barrier, answer: Connection) -> None:
    """Be one of the processes that all find no ledger at the same instant."""
    ledger = SQLiteLedger(home, wait_seconds=10, post_wait_seconds=10)
    barrier.wait()
    for _ in range(5):
        asked = _held(ledger)
        ledger.post(settled(asked, 7), asked)
        answer.send(asked.call_id)
    ledger.close()
    answer.close()


def steady_calls(home: Path, barrier: Barrier, answer: Connection) -> None:
    """Be one of the processes that go on calling while somebody deletes the ledger."""
    ledger = SQLiteLedger(home, wait_seconds=10, post_wait_seconds=10)
    ledger.open()
    barrier.wait()
    for _ in range(150):
        asked = _held(ledger)
        event = settled(asked, 7)
        try:
            ledger.post(event, asked)
        except LedgerUnavailableError:
            ledger.rescue(event, asked)
        answer.send(asked.call_id)
        time.sleep(0.01)  # about a second and a half in all: more than two looks at the file
    ledger.close()
    answer.close()


def _held(ledger: SQLiteLedger):  # type: ignore[no-untyped-def]  # a Hold
    asked = hold((WIDE, 10), call_id=os.urandom(16).hex())
    while True:
        try:
            assert ledger.hold(asked) is None
        except LedgerUnavailableError:
            time.sleep(0.001)
        else:
            return asked


def together(home: Path, work: object, number: int, *, meanwhile: object = None) -> set[str]:
    """Run work in processes that start together; return the call ids that they made."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tollspan.ledger", __name__])
    barrier = context.Barrier(number + 1)
    calls: set[str] = set()
    with ExitStack() as stack:
        answers: list[Connection] = []
        for _ in range(number):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(home, barrier, theirs))  # type: ignore[arg-type]  # typeshed wants the exact callable
            process.start()
            stack.callback(process.join, 30)
            theirs.close()
            answers.append(stack.enter_context(ours))
        barrier.wait()
        if callable(meanwhile):
            meanwhile()
        for answer in answers:
            try:
                while True:
                    calls.add(answer.recv())
            except EOFError:
                continue
    return calls


def kept(home: Path) -> set[str]:
    """Return the call ids of a ledger's usage events."""
    return {
        one.call.id
        for one in LedgerReader(home / LEDGER_FILE).events()
        if isinstance(one, UsageEvent)
    }


def stands(home: Path) -> tuple[int, int, int]:
    """Return what the only account has posted, held and unresolved."""
    (one,) = LedgerReader(home / LEDGER_FILE).balances()
    return one.posted_nanousd, one.held_nanousd, one.unresolved_nanousd


@pytest.mark.parametrize("number", range(3))
def test_processes_that_make_the_ledger_at_the_same_instant_share_one(
    tmp_path: Path, number: int
) -> None:
    calls = together(tmp_path, first_call, 12)
    assert len(calls) == 60
    assert kept(tmp_path) == calls
    assert stands(tmp_path) == (60 * 7, 0, 0)


@pytest.mark.parametrize("suffixes", [("",), ("", "-wal", "-shm")], ids=["the file", "all files"])
def test_a_file_deleted_under_four_processes_loses_no_event(
    tmp_path: Path, suffixes: tuple[str, ...]
) -> None:
    def delete() -> None:
        wait_until(lambda: len(kept(tmp_path)) >= 40)
        for suffix in suffixes:
            (tmp_path / f"{LEDGER_FILE}{suffix}").unlink()

    calls = together(tmp_path, steady_calls, 4, meanwhile=delete)
    assert len(calls) == 600
    ledger = SQLiteLedger(tmp_path)
    ledger.take_rescued()
    ledger.sweep()
    ledger.close()
    assert kept(tmp_path) == calls
    assert stands(tmp_path) == (600 * 7, 0, 0)
    assert rescued_files(tmp_path) == ()


def test_only_the_owner_may_read_the_ledger(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ledger = SQLiteLedger(home)
    asked = hold((WIDE, 10))
    ledger.hold(asked)
    ledger.rescue(settled(asked, 7), asked)
    for path in (home, *home.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    ledger.close()


def test_the_log_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_CHECKPOINT_BYTES", 100_000)
    monkeypatch.setattr(writer_module, "_VALVE_BYTES", 1_000_000)
    ledger = SQLiteLedger(tmp_path)
    log = tmp_path / f"{LEDGER_FILE}-wal"
    largest = 0
    ended = time.monotonic() + 2.5
    while time.monotonic() < ended:
        asked = hold((WIDE, 10))
        ledger.hold(asked)
        ledger.post(settled(asked, 7), asked)
        largest = max(largest, log.stat().st_size)
        time.sleep(0.001)
    ledger.close()
    assert largest > 100_000
    assert stands(tmp_path)[1:] == (0, 0)
    written = stands(tmp_path)[0] // 7 * 6 * 4096  # six pages a call, at least
    assert largest < written / 2


def test_a_ledger_dropped_with_its_threads_running_closes_cleanly(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            asked = hold((WIDE, 10))
            ledger.hold(asked)
            ledger.post(settled(asked, 7), asked)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        ledger.close()
    stop.set()
    for thread in threads:
        thread.join()
    ledger.close()
    ledger.sweep()
    ledger.close()
    assert stands(tmp_path) == (7 * len(kept(tmp_path)), 0, 0)
