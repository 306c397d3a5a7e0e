"""The ledger's file beside other processes: made at once by many, deleted, replaced, filled."""

from __future__ import annotations

import contextlib
import errno
import gc
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tests.contract.ledger.making import account, hold, settled
from tests.e2e.waiting import wait_until
from tollspan.budget import Busy, Hold
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rescued_files
from tollspan.ledger import _home as home_module
from tollspan.ledger import _writer as writer_module
from tollspan.ledger._session import Session
from tollspan.usage import LedgerUnavailableError, UsageEvent

pytestmark = pytest.mark.alone

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


def _held(ledger: SQLiteLedger) -> Hold:
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
    return one.posted, one.held, one.unresolved


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
    ledger.rescue(settled(asked, 7), asked)  # before its thread runs, which would take it back
    (waiting,) = rescued_files(home)
    files = [home, waiting]
    assert [oct(stat.S_IMODE(path.stat().st_mode) & 0o077) for path in files] == ["0o0"] * 2
    ledger.hold(asked)
    files = [home / f"{LEDGER_FILE}{suffix}" for suffix in ("", "-wal", "-shm", ".lock")]
    files += (home / "run").iterdir()
    assert {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in files} == {
        path.name: 0 for path in files
    }
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


def test_closing_a_lost_file_leaves_the_log_of_the_new_one_alone(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    lost = Session(path)
    path.unlink()
    found = SQLiteLedger(tmp_path)
    asked = hold((WIDE, 10))
    found.hold(asked)
    found.post(settled(asked, 7), asked)
    lost.close()
    del lost
    gc.collect()
    assert path.with_name(f"{LEDGER_FILE}-wal").exists()
    assert kept(tmp_path) == {asked.call_id}
    found.close()


def test_a_file_that_is_replaced_while_it_is_opened_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / LEDGER_FILE, tmp_path / "other" / LEDGER_FILE
    Session(path).close()
    found = SQLiteLedger(other.parent)
    found.open()
    wait_until(lambda: found._writer._session is not None)  # it connects by itself
    connect = sqlite3.connect

    def connect_and_replace(*arguments: object, **named: object) -> sqlite3.Connection:
        monkeypatch.setattr(sqlite3, "connect", connect)
        connection: sqlite3.Connection = connect(*arguments, **named)  # type: ignore[call-overload]  # as given
        for suffix in ("", "-wal", "-shm"):
            os.rename(f"{other}{suffix}", f"{path}{suffix}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_and_replace)
    with pytest.raises(LedgerUnavailableError, match="moved"):
        Session(path)
    found.close()


def test_what_is_held_in_a_new_file_before_the_old_one_is_carried_over_stays_held(
    tmp_path: Path,
) -> None:
    ledger = SQLiteLedger(tmp_path)
    ledger.open()
    asked = hold((WIDE, 10))
    ledger.hold(asked)
    wait_until(lambda: ledger._writer._session is not None)
    with ledger._lock:
        ledger._trouble(OSError(errno.ENOSPC, "no space left"))
    for suffix in ("", "-wal", "-shm"):  # people make room
        (tmp_path / f"{LEDGER_FILE}{suffix}").unlink()
    ledger._closed_until = 0.0
    later = hold((WIDE, 20))
    while True:
        with contextlib.suppress(LedgerUnavailableError):
            assert ledger.hold(later) is None
            break
        ledger._closed_until = 0.0
        time.sleep(0.01)
    time.sleep(1.2)  # the thread looks twice a second
    assert {one.call_id for one in LedgerReader(tmp_path / LEDGER_FILE).open_holds()} == {
        asked.call_id,
        later.call_id,
    }
    ledger.close()


ENDS_WITH_A_LOST_FILE = """
import sys
from pathlib import Path
from tollspan.ledger._session import Session
lost = Session(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.readline()
lost.close()
"""


def test_a_process_that_ends_with_a_lost_file_leaves_the_log_of_the_new_one_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / LEDGER_FILE
    with subprocess.Popen(
        [sys.executable, "-c", ENDS_WITH_A_LOST_FILE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        path.unlink()
        found = SQLiteLedger(tmp_path)
        asked = hold((WIDE, 10))
        found.hold(asked)
        found.post(settled(asked, 7), asked)
        process.communicate("\n", timeout=30)
        assert process.returncode == 0
    assert path.with_name(f"{LEDGER_FILE}-wal").exists()
    assert kept(tmp_path) == {asked.call_id}
    found.close()


def test_processes_with_older_rules_go_by_their_own_limit(tmp_path: Path) -> None:
    older, newer = SQLiteLedger(tmp_path), SQLiteLedger(tmp_path)
    high, low = account("all", limit=100), account("all", limit=50)
    assert older.hold(hold((high, 30))) is None
    assert newer.hold(hold((low, 30))) is not None
    assert older.hold(hold((high, 40))) is None
    refusal = older.hold(hold((high, 40)))
    assert refusal is not None
    assert [one.account.limit for one in refusal.balances] == [100]
    assert newer.hold(hold((low, 0))) is not None
    older.close()
    newer.close()


def test_whoever_may_not_wait_is_told_at_once_that_another_thread_is_at_it(
    tmp_path: Path,
) -> None:
    ledger = SQLiteLedger(tmp_path)
    asked = hold((WIDE, 10))
    ledger.hold(asked)
    with ledger._lock:
        began = time.monotonic()
        assert isinstance(ledger.hold_now(hold((WIDE, 10))), Busy)
        assert isinstance(ledger.post_now(settled(asked, 7), asked), Busy)
        assert time.monotonic() - began < 0.1
    ledger.post_soon(settled(asked, 7), asked).result(10)
    ledger.close()
    assert stands(tmp_path) == (7, 0, 0)


def test_a_disk_that_must_be_waited_for_is_never_waited_for_on_a_loop(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path, is_durable=True)
    asked = hold((WIDE, 10))
    assert ledger.hold(asked) is None
    assert isinstance(ledger.hold_now(hold((WIDE, 10))), Busy)
    assert isinstance(ledger.post_now(settled(asked, 7), asked), Busy)
    ledger.post_soon(settled(asked, 7), asked).result(10)
    ledger.close()
    assert stands(tmp_path) == (7, 0, 0)


def test_a_ledger_of_another_format_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    ledger = SQLiteLedger(tmp_path)
    with pytest.raises(LedgerUnavailableError, match="format 99"):
        ledger.open()
    ledger.close()


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "file_system", lambda folder: "nfs4")
    ledger = SQLiteLedger(tmp_path)
    with pytest.raises(LedgerUnavailableError, match="network file system"):
        ledger.open()
    ledger.close()


def test_the_temp_folder_of_somebody_else_gets_and_gives_no_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    theirs = spare / f"tollspan-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    home = tmp_path / "home"
    home.write_text("in the way")
    ledger = SQLiteLedger(home)
    asked = hold((WIDE, 10))
    ledger.rescue(settled(asked, 7), asked)
    assert list(theirs.iterdir()) == []
    home.unlink()
    ledger.close()
    assert kept(home) == {asked.call_id}


def test_lines_that_are_no_events_are_kept_apart_and_stop_nothing(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    asked = hold((WIDE, 10))
    ledger.rescue(settled(asked, 7), asked)
    (waiting,) = rescued_files(tmp_path)
    waiting.write_bytes(b'{"type":"usage","call":{"id\n' + waiting.read_bytes() + b"{}\n")
    ledger.take_rescued()
    assert kept(tmp_path) == {asked.call_id}
    assert rescued_files(tmp_path) == ()
    (torn,) = tmp_path.glob("*.torn")
    assert torn.read_bytes() == b'{"type":"usage","call":{"id\n{}\n'
    ledger.close()


def test_events_put_aside_by_many_threads_while_others_take_them_back_are_all_kept(
    tmp_path: Path,
) -> None:
    ledger = SQLiteLedger(tmp_path)
    ledger.open()
    made: list[str] = []

    def put_aside() -> None:
        for _ in range(100):
            asked = hold((WIDE, 10))
            made.append(asked.call_id)
            ledger.rescue(settled(asked, 7), None)

    threads = [threading.Thread(target=put_aside) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ledger.take_rescued()
    ledger.take_rescued()
    ledger.close()
    assert kept(tmp_path) == set(made)
    assert stands(tmp_path) == (7 * 400, 0, 0)
