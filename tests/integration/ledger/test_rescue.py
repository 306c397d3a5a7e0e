"""Events that were put aside: kept whatever fails, taken once, and no file stops the others."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.contract.ledger.making import account, hold, settled
from tests.e2e.disks import full_disk
from tests.e2e.waiting import wait_until
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rescued_files
from tollspan.ledger import _rescue as rescue_module
from tollspan.ledger._rescue import Rescue
from tollspan.usage import Event, LedgerError, LedgerUnavailableError, UsageEvent, encode_event

WIDE = account("wide", limit=1 << 50)


@pytest.fixture(autouse=True)
def spare_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the last resort for events a temp folder of its own."""
    (tmp_path / "spare").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spare"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def an_event() -> UsageEvent:
    """Make the event of a new call."""
    return settled(hold((WIDE, 10)), 7)


def kept(home: Path) -> set[str]:
    """Return the call ids of a ledger's events."""
    return {one.call.id for one in LedgerReader(home / LEDGER_FILE).events()}


def test_a_disk_that_takes_no_byte_costs_no_file_descriptor(home: Path) -> None:
    ledger = SQLiteLedger(home)
    with full_disk(0):
        ledger.rescue(an_event(), None)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with pytest.raises(LedgerUnavailableError):
                ledger.hold(hold((WIDE, 10)))
            ledger.rescue(an_event(), None)
        assert len(os.listdir("/proc/self/fd")) < before + 10  # another thread opens some, too
    ledger.close()
    assert len(kept(home)) == 21


def test_where_no_folder_takes_a_file_an_event_waits_in_memory_and_nobody_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is looked for when it is needed first
    home.rmdir()
    home.write_text("a file is in the way")
    ledger = SQLiteLedger(home)
    first, second = an_event(), an_event()
    with full_disk(0):
        ledger.rescue(first, None)
        ledger.post_soon(second, None).result(10)
        assert rescued_files(home) == ()
    home.unlink()
    ledger.close()
    assert kept(home) == {first.call.id, second.call.id}


def test_a_file_that_can_not_be_read_stops_neither_the_others_nor_the_gate(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = an_event()
    (home / "rescue-a.jsonl").mkdir()
    os.mkfifo(home / "rescue-b.jsonl")
    (home / "rescue-c.jsonl").symlink_to(home / "nowhere")
    (home / "rescue-d.jsonl").write_bytes(encode_event(waiting) + b"\n")
    ledger = SQLiteLedger(home)
    ledger.open()
    wait_until(lambda: waiting.call.id in kept(home))
    ends_at = time.monotonic() + 1.2  # the thread looks twice a second
    while time.monotonic() < ends_at:
        assert ledger.hold_soon(hold((WIDE, 10))).result(10) is None
        time.sleep(0.05)
    ledger.close()
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(said) == 3, said


def test_lines_beyond_all_sense_are_kept_apart(home: Path) -> None:
    good = an_event()
    late = msgspec.structs.replace(
        an_event(), call=msgspec.structs.replace(good.call, id="f" * 32, started_at_unix_ns=1 << 70)
    )
    lines = [
        b'{"type":"usage","call":{"id":"\xff"}}',
        b'{"type":"usage","x":' + b"[" * 100_000,
        encode_event(late),
    ]
    (home / "rescue-a.jsonl").write_bytes(b"\n".join([*lines, encode_event(good)]) + b"\n")
    ledger = SQLiteLedger(home)
    assert ledger.take_rescued() == 1
    ledger.close()
    assert kept(home) == {good.call.id}
    assert rescued_files(home) == ()
    (torn,) = home.glob("*.torn")
    assert torn.read_bytes().splitlines() == lines


def test_lines_that_can_not_be_kept_apart_stay_where_they_are(home: Path) -> None:
    good, torn = an_event(), b"{" * (1 << 20)
    (home / "rescue-a.jsonl").write_bytes(torn + b"\n" + encode_event(good) + b"\n")
    ledger = SQLiteLedger(home)
    with full_disk(1 << 19):
        ledger.take_rescued()
        assert kept(home) == {good.call.id}
        (waiting,) = rescued_files(home)
        assert torn in waiting.read_bytes()
    ledger.take_rescued()
    ledger.close()
    assert rescued_files(home) == ()
    assert [one.read_bytes() for one in home.glob("*.torn")] == [torn + b"\n"]


def test_an_interrupt_leaves_in_memory_what_is_only_there(home: Path) -> None:
    rescue = Rescue(home)
    event = an_event()
    with full_disk(0):
        rescue.keep(event, "us")

    def interrupted(events: list[Event]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rescue.hand_over("us", interrupted)
    taken: list[Event] = []
    assert rescue.hand_over("us", taken.extend) == 1
    assert taken == [event]
    assert not rescue.is_in_memory


@pytest.mark.parametrize("moment", ["before its lock", "before its line"])
def test_a_file_that_is_taken_while_its_owner_writes_loses_no_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr(rescue_module, "_WRITERS_WAIT_SECONDS", 0.05)
    first, second = an_event(), an_event()
    ours, theirs = Rescue(home), Rescue(home)
    taken: list[Event] = []
    ours.keep(first, "pid1")  # nobody can tell whether the owner of such a name is alive

    def once(module: object, name: str, act: Callable[..., object]) -> None:
        def instead(*arguments: object) -> object:
            monkeypatch.setattr(module, name, act)
            theirs.hand_over("them", taken.extend)
            return act(*arguments)

        monkeypatch.setattr(module, name, instead)

    if moment == "before its lock":
        once(fcntl, "flock", fcntl.flock)
    else:
        once(os, "write", os.write)
    ours.keep(second, "pid1")
    theirs.hand_over("them", taken.extend)
    assert taken == [first, second]
    assert rescued_files(home) == ()


def test_a_clock_that_stands_still_lets_no_file_overwrite_another(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    rescue = Rescue(home)
    events = [an_event(), an_event()]

    def fails(_: list[Event]) -> None:
        raise LedgerError("not yet")

    for event in events:
        rescue.keep(event, "us")
        with pytest.raises(LedgerError):
            rescue.hand_over("us", fails)
    taken: list[Event] = []
    while rescued_files(home):
        rescue.hand_over("us", taken.extend)
    assert sorted(one.call.id for one in taken) == [one.call.id for one in events]
