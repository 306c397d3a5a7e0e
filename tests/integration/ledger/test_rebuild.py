"""A ledger made anew from its events and holds, sound or damaged, stands as the one before."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.ledger.making import account, charge, event, hold, new_id, refused, settled
from tollspan.budget import Balance
from tollspan.ledger import LEDGER_FILE, LedgerReader, OpenHold, SQLiteLedger, rebuild
from tollspan.usage import Event

PAGE = 4096
Facts = tuple[list[Event], list[Balance], list[OpenHold]]


def fill(home: Path, *, calls: int, seed: int = 0) -> Path:
    """Live a life: calls that ended, were refused, given up, are in flight, or died in flight."""
    rng = random.Random(seed)
    accounts = [account("wide", limit=1 << 40), account("day", limit=1 << 30, period="2026-11-22")]
    dead, alive = SQLiteLedger(home), SQLiteLedger(home)
    for number in range(calls):
        owner = rng.choice((dead, alive))
        asked = hold(*((one, rng.randrange(1, 1000)) for one in rng.sample(accounts, 2)))
        assert owner.hold(asked) is None
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
    balances = sorted(reader.balances(), key=lambda one: one.account.budget_id)
    return list(reader.events()), balances, list(reader.open_holds())


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
    events, balances, _ = facts(path)
    assert events == before[0]
    assert [(one.account.budget_id, one.posted_nanousd) for one in balances] == [
        (one.account.budget_id, one.posted_nanousd) for one in before[1]
    ]
    ledger = SQLiteLedger(tmp_path)
    posted = balances[0].posted_nanousd
    assert ledger.hold(hold((account("day", limit=posted, period="2026-11-22"), 1))) is not None
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


def test_a_rebuild_leaves_nothing_behind_but_the_old_file(tmp_path: Path) -> None:
    path = fill(tmp_path, calls=10)
    done = rebuild(path)
    assert done.old_path is not None
    names = {one.name.removesuffix("-wal").removesuffix("-shm") for one in tmp_path.iterdir()}
    assert names == {LEDGER_FILE, done.old_path.name, f"{LEDGER_FILE}.lock", "run"}
