"""A ledger made anew from its events and holds, sound or damaged, stands as the one before."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.ledger.making import account, charge, event, hold, new_id, refused, settled
from tollspan.budget import Balance
from tollspan.ledger import LEDGER_FILE, LedgerReader, OpenHold, SQLiteLedger, rebuild
from tollspan.usage import Event, LedgerCorruptError, LedgerUnavailableError

PAGE = 4096
Facts = tuple[list[Event], list[Balance], list[OpenHold], list[tuple[str, ...]]]


def fill(home: Path, *, calls: int, seed: int = 0) -> Path:
    """Live a life: calls that ended, were refused, given up, are in flight, or died in flight."""
    rng = random.Random(seed)
    accounts = [
        account("wide", limit=1 << 40),
        account("day", limit=1 << 30, period="2026-11-22"),
        account("day", limit=1 << 30, period="2026-11-22", unit="tokens"),
        account("soft", limit=5_000, unit="calls", is_soft=True),
    ]
    dead, alive = (SQLiteLedger(home, wait_seconds=10) for _ in range(2))
    for number in range(calls):
        owner = rng.choice((dead, alive))
        asked = hold(*((one, rng.randrange(1, 1000)) for one in rng.sample(accounts, 2)))
        refusal = owner.hold(asked)
        assert refusal is None or refusal.is_held
        owner.is_first(rng.choice(accounts), Decimal(rng.choice(("0.5", "0.8"))))
        match number % 8:
            case 0 if number > calls // 2:
                pass  # in flight
            case 1:
                owner.note(refused(new_id()))
                owner.release_soon(asked.call_id)
            case 2:
                owner.post(settled(asked, 5, unresolved=7), asked)
            case 3:
                owner.post(event(new_id(), charge(accounts[0], posted=11)), None)
                owner.post(settled(asked, 2000), asked)
            case _:
                owner.post(settled(asked, rng.randrange(1000)), asked)
    dead.close()
    alive.sweep()
    alive.close()
    return home / LEDGER_FILE


def facts(path: Path) -> Facts:
    """Read everything that counts; ids of accounts do not."""
    reader = LedgerReader(path)
    balances = sorted(reader.balances(), key=lambda one: (one.account.budget_id, one.account.unit))
    return list(reader.events()), balances, list(reader.open_holds()), milestones(path)


def milestones(path: Path) -> list[tuple[str, ...]]:
    """Read which shares of which accounts were told of."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM milestones ORDER BY 1, 2, 3, 4, 5").fetchall()


@settings(max_examples=15, deadline=None)
@given(calls=st.integers(0, 60), seed=st.integers(0, 1 << 30))
def test_a_sound_ledger_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, calls: int, seed: int
) -> None:
    path = fill(tmp_path_factory.mktemp("home"), calls=calls, seed=seed)
    ledger = SQLiteLedger(path.parent)
    ledger.open()
    ledger.close()
    before = facts(path)
    done = rebuild(path)
    assert facts(path) == before
    assert done.events == len(before[0])
    assert done.unreadable == 0
    assert done.old_path is not None
    assert facts(done.old_path) == before


def counted(balance: Balance) -> tuple[str, int, int, int]:
    """Return what an account counts; a limit is the rules' affair."""
    return (
        balance.account.budget_id,
        balance.posted,
        balance.held,
        balance.unresolved,
    )


def roots(path: Path) -> dict[str, int]:
    """Return the first page of each table and index."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0")
        found: dict[str, int] = dict(rows.fetchall())
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return found


def overwrite(path: Path, page: int, rubbish: bytes = b"\xaa") -> None:
    """Damage one page."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(rubbish * PAGE)


def leaves(path: Path) -> list[int]:
    """Return the pages that hold events, by what is written in them."""
    data = path.read_bytes()
    return [
        at // PAGE + 1
        for at in range(0, len(data), PAGE)
        if data[at] == 0x0D and b'"type":"usage"' in data[at : at + PAGE]
    ]


DAMAGES: dict[str, Callable[[Path, dict[str, int]], list[int]]] = {
    "the header": lambda path, root: [1],
    "the root of the events": lambda path, root: [root["events"]],
    "the index of the events": lambda path, root: [root["sqlite_autoindex_events_1"]],
    "the index of the accounts": lambda path, root: [root["sqlite_autoindex_accounts_1"]],
    "the header and every root of the events": lambda path, root: [
        1,
        root["events"],
        root["sqlite_autoindex_events_1"],
    ],
}


@pytest.mark.parametrize("rubbish", [b"\xaa", b"\x00"], ids=["noise", "zeros"])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_outside_the_events_loses_nothing(tmp_path: Path, name: str, rubbish: bytes) -> None:
    path = fill(tmp_path, calls=120)
    before = facts(path)
    for page in DAMAGES[name](path, roots(path)):
        overwrite(path, page, rubbish)
    done = rebuild(path)
    assert facts(path) == before
    assert (done.events, done.unreadable) == (len(before[0]), 0)


def test_lost_accounts_are_made_again_from_the_events(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=7)
    before = facts(path)
    overwrite(path, roots(path)["accounts"])
    rebuild(path)
    events, balances, *_ = facts(path)
    assert events == before[0]
    assert [(one.account.budget_id, one.posted) for one in balances] == [
        (one.account.budget_id, one.posted) for one in before[1]
    ]
    ledger = SQLiteLedger(tmp_path)
    day = next(one for one in balances if one.account.unit == "usd")
    full = account(day.account.budget_id, limit=day.posted, period=day.account.period)
    assert ledger.hold(hold((full, 1))) is not None
    ledger.close()


def test_damage_in_the_events_loses_those_and_says_how_many(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=120)
    before = facts(path)
    roots(path)
    overwrite(path, leaves(path)[3])
    done = rebuild(path)
    events = facts(path)[0]
    assert 0 < done.unreadable < 20
    assert done.events == len(events) == len(before[0]) - done.unreadable
    assert [one for one in before[0] if one in events] == events


def test_a_ledger_that_ends_in_its_log_is_read_with_it(tmp_path: Path) -> None:
    path = fill(tmp_path / "home", calls=40)
    ledger = SQLiteLedger(path.parent)
    asked = hold((account("wide", limit=1 << 40), 5))
    ledger.hold(asked)
    ledger.post(settled(asked, 3), asked)
    before = facts(path)
    copy = tmp_path / "copy" / LEDGER_FILE
    copy.parent.mkdir()
    for suffix in ("", "-wal"):  # as a crash leaves them
        data = path.with_name(path.name + suffix).read_bytes()
        copy.with_name(copy.name + suffix).write_bytes(data)
    ledger.close()
    assert copy.with_name(f"{copy.name}-wal").stat().st_size > 0
    overwrite(copy, 1)
    overwrite(copy, 2)
    rebuild(copy)
    assert facts(copy)[0] == before[0]


def test_a_file_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=200)
    before = facts(path)
    roots(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 - 100])
    done = rebuild(path)
    events = facts(path)[0]
    assert 0 < done.events == len(events) < len(before[0])
    assert [one for one in before[0] if one in events] == events


def test_rubbish_gives_an_empty_ledger_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    path.write_bytes(b"this was never a ledger" * 500)
    done = rebuild(path)
    assert done.events == 0
    assert facts(path)[0] == []
    assert done.old_path is not None
    assert done.old_path.read_bytes().startswith(b"this was never")


def test_two_rebuilds_in_one_second_keep_both_old_files(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=10)
    first, second = rebuild(path), rebuild(path)
    assert first.old_path != second.old_path
    assert first.old_path is not None
    assert second.old_path is not None
    assert facts(first.old_path) == facts(second.old_path) == facts(path)


def test_lost_accounts_keep_what_was_held_in_them(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=40)
    before = facts(path)
    overwrite(path, roots(path)["accounts"])
    rebuild(path)
    events, balances, holds, _ = facts(path)
    assert (events, holds) == (before[0], before[2])
    assert [counted(one) for one in balances] == [counted(one) for one in before[1]]
    assert any(one.unresolved for one in balances)


def test_an_event_that_is_damaged_inside_is_left_out_alone(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=20)
    before = facts(path)[0]
    roots(path)
    data = path.read_bytes()
    text = b"gpt-4o-mini"
    for at, damage in ((data.index(text), b'"'), (data.rindex(text), b"\xff")):
        data = data[:at] + damage + data[at + 1 :]
    path.write_bytes(data)
    with pytest.raises(LedgerCorruptError, match="rebuild"):
        facts(path)
    done = rebuild(path)
    events = facts(path)[0]
    assert (done.events, done.unreadable) == (len(before) - 2, 2)
    assert events == [one for one in before if one in events]


def test_a_lost_file_with_a_damaged_event_is_carried_over_all_the_same(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=20)
    before = facts(path)[0]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE events SET data = CAST('{' AS BLOB) WHERE seq = 7")
    ledger = SQLiteLedger(tmp_path)
    ledger.open()
    path.unlink()
    ledger.close()
    assert facts(path)[0] == before[:6] + before[7:]


@pytest.mark.parametrize("size", [b"\0\0", b"\0\x07", b"\0\x04"], ids=["none", "odd", "tiny"])
def test_a_header_with_a_senseless_size_of_pages_is_not_believed(
    tmp_path: Path, size: bytes
) -> None:
    path = fill(tmp_path, calls=20)
    before = facts(path)
    roots(path)
    data = path.read_bytes()
    path.write_bytes(data[:16] + size + data[18:])
    rebuild(path)
    assert facts(path) == before


def test_two_events_that_damage_gave_one_number_are_both_kept(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=60)
    before = facts(path)[0]
    roots(path)
    data = bytearray(path.read_bytes())
    page = (leaves(path)[0] - 1) * PAGE
    first, second = (
        page + int.from_bytes(data[page + at : page + at + 2], "big") for at in (8, 10)
    )
    data[first + 2] = data[second + 2]  # two bytes of length, then the number
    path.write_bytes(data)
    rebuild(path)
    events = facts(path)[0]
    assert {one.call.id for one in events} == {one.call.id for one in before}


def test_holds_that_were_given_back_do_not_come_back_from_free_pages(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=20)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA secure_delete = OFF")  # as SQLite is built in many places
        connection.executemany(
            "INSERT INTO holds VALUES (?, 1, 10, 'nobody', 0, 0, 0)",
            [(f"{number:032x}",) for number in range(1 << 20, (1 << 20) + 500)],
        )
        connection.execute("DELETE FROM holds WHERE owner = 'nobody'")
    before = facts(path)
    overwrite(path, roots(path)["events"])
    rebuild(path)
    assert facts(path) == before


def test_a_file_that_leads_in_a_circle_comes_to_an_end(tmp_path: Path) -> None:
    length = 1500 + (PAGE - 4) * (1 << 40)  # 1500 bytes in the cell, the rest in other pages
    digits = [length >> 7 * place & 0x7F for place in range(7, -1, -1)]
    head = bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1], 1])
    cell = head + b"\x00" * 1500 + b"\x00\x00\x00\x03"
    at = PAGE - len(cell)
    leaf = b"\x0d\x00\x00\x00\x01" + b"\x00" * 3 + at.to_bytes(2, "big")
    overflow = b"\x00\x00\x00\x03"  # what follows is this page again
    path = tmp_path / LEDGER_FILE
    path.write_bytes(b"\x00" * PAGE + leaf.ljust(at, b"\x00") + cell + overflow.ljust(PAGE, b"x"))
    assert rebuild(path).events == 0


REBUILDS = """
import os, sys
from pathlib import Path
from tollspan.ledger import rebuild
renamed = 0
def rename(old, new, rename=os.rename):
    global renamed
    renamed += 1
    if renamed == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
    rename(old, new)
os.rename = rename
rebuild(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("at", range(1, 6))
def test_a_rebuild_that_is_killed_at_any_step_loses_nothing(tmp_path: Path, at: int) -> None:
    path = fill(tmp_path, calls=40)
    ledger = SQLiteLedger(tmp_path)
    ledger.sweep()
    ledger.close()
    before = facts(path)
    done = subprocess.run([sys.executable, "-c", REBUILDS, str(path), str(at)], check=False)
    assert done.returncode == -signal.SIGKILL
    ledger = SQLiteLedger(tmp_path)
    ledger.open()
    ledger.close()
    assert facts(path) == before
    rebuild(path)
    assert facts(path) == before
    left = {one.name for one in tmp_path.iterdir() if "ready" in one.name or "ing" in one.name}
    assert left == set()


def test_what_another_process_wants_to_store_during_a_rebuild_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fill(tmp_path, calls=10)
    before = {one.call.id for one in facts(path)[0]}
    asked = hold((account("wide", limit=1 << 40), 5))
    rename = os.rename

    def call_and_rename(old: str, new: str) -> None:
        """Be a short-lived process, at the last moment before the file is moved."""
        monkeypatch.setattr(os, "rename", rename)
        other = SQLiteLedger(tmp_path, post_wait_seconds=0.1)
        try:
            other.post(settled(asked, 3), asked)
        except LedgerUnavailableError:
            other.rescue(settled(asked, 3), asked)
        other.close()
        rename(old, new)

    monkeypatch.setattr(os, "rename", call_and_rename)
    rebuild(path)
    ledger = SQLiteLedger(tmp_path)
    ledger.take_rescued()
    ledger.close()
    assert {one.call.id for one in facts(path)[0]} == before | {asked.call_id}


def test_a_rebuild_leaves_nothing_behind_but_the_old_file(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=10)
    done = rebuild(path)
    assert done.old_path is not None
    names = {one.name.removesuffix("-wal").removesuffix("-shm") for one in tmp_path.iterdir()}
    assert names == {LEDGER_FILE, done.old_path.name, f"{LEDGER_FILE}.lock", "run"}
