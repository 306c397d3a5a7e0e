"""A ledger that may not grow: events are folded, and every sum, account and id stays."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.ledger.making import (
    account,
    charge,
    event,
    hold,
    new_id,
    refused,
    settled,
)
from tests.e2e.waiting import wait_until
from tests.fakes.ingest import FakeIngest
from tollspan.budget import Lease
from tollspan.exporter import Shipper
from tollspan.ledger import FOLDED_UNSENT, LedgerReader, Room, Shipment, SQLiteLedger, rebuild
from tollspan.ledger._room import NEVER_FOLDED, RoomKeeper
from tollspan.ledger._session import Session
from tollspan.usage import Attribution, Fact, LedgerUnavailableError, Usage, UsageEvent, UsageStatus

ORG = account("org", limit=10**15)
WHERE = "https://ingest.example"
SMALL = Room(most_bytes=1, destination=WHERE)
HERE = Room(most_bytes=1)
MINUTE_NS = 60 * 10**9


def an_event(number: int, at_unix_ns: int) -> UsageEvent:
    """Return an event of one of three customers, with a cost, usage and a charge of its own."""
    made = event(new_id(), charge(ORG, posted=number, unresolved=number % 3), cost=number)
    call = msgspec.structs.replace(
        made.call,
        started_at_unix_ns=at_unix_ns,
        attribution=Attribution(customer="abc"[number % 3], session=f"s{number}"),
    )
    status: UsageStatus = "estimated" if number % 5 == 0 else "reported"
    usage = Usage(input_uncached=number, output=2, quantities=(("images", 1),), status=status)
    return msgspec.structs.replace(made, call=call, usage=usage)


def fill(ledger: SQLiteLedger, count: int, *, every_ns: int = MINUTE_NS // 10) -> list[str]:
    """Store events of the last hours, every seventh of them a refusal; return their ids."""
    now = time.time_ns()
    ids: list[str] = []
    for number in range(count):
        at = now - (count - number) * every_ns
        if number % 7 == 3:
            denied = refused(new_id())
            call = msgspec.structs.replace(denied.call, started_at_unix_ns=at)
            ledger.note(msgspec.structs.replace(denied, call=call))
            ids.append(denied.id)
        else:
            made = an_event(number, at)
            ledger.post(made, None)
            ids.append(made.call.id)
    ledger.close()
    return ids


def make_room(path: Path, room: Room, *, ticks: int = 100) -> None:
    """Make room until there is nothing left to fold."""
    keeper = RoomKeeper(path.parent, clock=time.time_ns)
    session = Session(path)
    try:
        for _ in range(ticks):
            keeper.tick(session, room)
            if keeper._rests_until:
                return
        raise AssertionError("it does not come to an end")
    finally:
        session.close()


def sums(ledger: SQLiteLedger) -> object:
    """Return all that folding must keep: accounts, and sums by day, by customer and in all."""
    reader = LedgerReader(ledger.path)
    reports = [
        [msgspec.structs.replace(row, folded=0) for row in sorted(reader.report(by), key=str)]
        for by in ((), ("customer",), ("day", "model"), ("outcome",), ("provider", "operation"))
    ]
    accounts = [(one.account, one.posted, one.held, one.unresolved) for one in reader.balances()]
    return reports, accounts


def note_sent(ledger: SQLiteLedger, number: int) -> None:
    ledger.outbox.note(Shipment(destination=WHERE, number=number, inode=ledger.inode()))
    ledger.close()


def events_in(ledger: SQLiteLedger) -> list[UsageEvent]:
    return [one for one in LedgerReader(ledger.path).events() if isinstance(one, UsageEvent)]


def test_what_was_sent_is_folded_first_and_every_sum_stays(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    fill(ledger, 500)
    note_sent(ledger, 400)
    before = sums(ledger)
    make_room(ledger.path, SMALL)
    assert sums(ledger) == before
    totals = [one for one in events_in(ledger) if one.folded is not None]
    assert sum(one.folded.calls + one.folded.denied for one in totals if one.folded) == 400
    assert all(one.folded.is_sent for one in totals if one.folded)
    assert len(totals) < 40
    assert sum(row.folded for row in LedgerReader(ledger.path).report(())) == 400
    assert not LedgerReader(ledger.path).sightings()


def test_what_no_server_has_is_folded_last_and_that_is_on_the_record(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    fill(ledger, NEVER_FOLDED + 600)
    before = sums(ledger)
    make_room(ledger.path, SMALL)
    assert sums(ledger) == before
    whole = [one for one in LedgerReader(ledger.path).events() if not getattr(one, "folded", None)]
    assert len(whole) == NEVER_FOLDED + 2  # what may be on its way, and the newest
    (seen,) = LedgerReader(ledger.path).sightings()
    assert (seen.kind, seen.count >= 598) == (FOLDED_UNSENT, True)


def test_events_that_stay_on_the_host_are_folded_but_for_the_newest(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    ids = fill(ledger, NEVER_FOLDED + 600)
    before = sums(ledger)
    make_room(ledger.path, HERE)
    assert sums(ledger) == before
    newest = list(LedgerReader(ledger.path).events())[-1]
    assert ids[-1] in (getattr(newest, "id", None), newest.call.id)


def test_an_event_that_was_folded_is_stored_no_second_time(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    now = time.time_ns()
    events = [an_event(number, now) for number in range(300)]
    for one in events:
        ledger.post(one, None)
    note_sent(ledger, 300)
    make_room(ledger.path, SMALL)
    before = sums(ledger)
    for one in events:
        ledger.post(one, None)
    assert sums(ledger) == before
    ledger.close()


@pytest.mark.parametrize("damage", [False, True])
def test_a_rebuilt_ledger_has_the_same_sums_and_knows_the_same_ids(
    tmp_path: Path, damage: bool
) -> None:
    ledger = SQLiteLedger(tmp_path)
    events = [an_event(number, time.time_ns()) for number in range(300)]
    for one in events:
        ledger.post(one, None)
    note_sent(ledger, 250)
    make_room(ledger.path, SMALL)
    before = sums(ledger)
    if damage:
        with contextlib.closing(sqlite3.connect(ledger.path)) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        whole = bytearray(ledger.path.read_bytes())
        whole[100:108] = b"\xff" * 8  # the schema's page
        ledger.path.write_bytes(whole)
    rebuild(ledger.path)
    assert sums(ledger) == before
    for one in events:
        ledger.post(one, None)
    assert sums(ledger) == before
    ledger.close()


def test_totals_of_what_was_sent_are_not_sent_and_others_are_once(tmp_path: Path) -> None:
    with FakeIngest() as ingest:
        ledger = SQLiteLedger(tmp_path)
        shipper = Shipper(ledger, ingest.root_url, ingest.key)
        room = Room(most_bytes=1, destination=ingest.root_url)
        fill(ledger, 300)
        assert shipper.ship() == 300
        make_room(ledger.path, room)
        assert shipper.ship() == 0
        fill(ledger, NEVER_FOLDED + 900)
        make_room(ledger.path, room)
        waits = ledger.outbox.waits(ingest.root_url)
        assert waits.count < NEVER_FOLDED + 300
        shipper.ship()
        assert ledger.outbox.waits(ingest.root_url).count == 0
        before = len(ingest.stored)
        assert _cost(ingest) == LedgerReader(ledger.path).report(())[0].cost_nanousd
        rebuild(ledger.path)  # then all is sent again, but for totals of what was sent
        shipper.ship()
        assert len(ingest.stored) == before
        make_room(ledger.path, room)  # totals that were sent are folded on
        assert sum(row.cost_nanousd for row in LedgerReader(ledger.path).report(())) == (
            _cost(ingest)
        )
        ledger.close()


def _cost(ingest: FakeIngest) -> int:
    return sum(_cost_of(one) for one in ingest.stored.values())


def _cost_of(fact: Fact) -> int:
    return (fact.cost.amount_nanousd or 0) if isinstance(fact, UsageEvent) else 0


def test_old_events_that_were_sent_go_though_there_is_room(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    now = time.time_ns()
    for number in range(100):
        age_days = 40 if number < 60 else 1
        ledger.post(an_event(number, now - age_days * 86_400 * 10**9), None)
    note_sent(ledger, 100)
    before = sums(ledger)
    session = Session(ledger.path)
    RoomKeeper(tmp_path).tick(session, Room(destination=WHERE))
    session.close()
    assert sums(ledger) == before
    assert sum(one.folded is None for one in events_in(ledger)) == 40


def test_a_program_that_runs_keeps_its_ledger_within_its_size(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    ledger.room = Room(most_bytes=1 << 20)
    now = time.time_ns()
    for number in range(4_000):
        ledger.post(an_event(number, now), None)
    give_up_at = time.monotonic() + 30
    reader = LedgerReader(ledger.path)
    ledger.note(refused(new_id()))  # the writer's thread runs from here on
    while reader.used_bytes() > 2 << 20:
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    assert reader.report(())[0].calls == 4_000
    ledger.close()


@given(st.lists(st.tuples(st.integers(0, 1 << 62), st.integers(0, 5)), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None)
def test_folding_keeps_every_sum_whatever_the_amounts(
    tmp_path_factory: pytest.TempPathFactory, amounts: list[tuple[int, int]]
) -> None:
    ledger = SQLiteLedger(tmp_path_factory.mktemp("room"))
    for posted, age_hours in amounts:
        made = event(new_id(), charge(ORG, posted=posted), cost=posted % 10**12)
        at = time.time_ns() - age_hours * 3600 * 10**9
        call = msgspec.structs.replace(made.call, started_at_unix_ns=at)
        ledger.post(msgspec.structs.replace(made, call=call), None)
    note_sent(ledger, len(amounts))
    before = sums(ledger)
    make_room(ledger.path, SMALL)
    assert sums(ledger) == before
    rebuild(ledger.path)
    assert sums(ledger) == before


def _full(session: Session) -> None:
    """Let the file take not one page more, as a full disk."""
    (pages,) = session.connection.execute("PRAGMA page_count").fetchone()
    session.connection.execute(f"PRAGMA max_page_count = {pages}")


def test_where_nothing_is_left_to_fold_nothing_is_held_until_there_is_room(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    fill(ledger, 20)  # fewer than are ever folded
    asked = hold((ORG, 1))
    assert ledger.hold(asked) is None
    ledger.room = HERE
    wait_until(lambda: is_refused(ledger))
    with pytest.raises(LedgerUnavailableError, match="TOLLSPAN_LEDGER_SIZE"):
        ledger.hold_soon(hold((ORG, 1))).result(30)
    with pytest.raises(LedgerUnavailableError, match="TOLLSPAN_LEDGER_SIZE"):
        ledger.grant(Lease(holder=ledger.holder()), ())
    # What goes on is accounted for all the same.
    ledger.post(settled(asked, 1), asked)
    assert ledger.balances([ORG])[0].held == 0
    ledger.room = Room()
    wait_until(lambda: not is_refused(ledger))
    ledger.close()


def is_refused(ledger: SQLiteLedger) -> bool:
    """Say whether the ledger takes no hold."""
    asked = hold((ORG, 1))
    try:
        ledger.hold(asked)
    except LedgerUnavailableError:
        return True
    ledger.post(settled(asked, 1), asked)
    return False


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path)
    fill(ledger, 600)
    note_sent(ledger, 600)
    before = sums(ledger)
    session = Session(ledger.path)
    _full(session)
    keeper = RoomKeeper(tmp_path)
    for _ in range(20):
        with contextlib.suppress(sqlite3.OperationalError):
            keeper.tick(session, SMALL)
    session.close()
    assert sums(ledger) == before


_LIFE = """
import sys, time
from pathlib import Path
from tollspan.ledger._room import Room, RoomKeeper
from tollspan.ledger._session import Session
home = Path(sys.argv[1])
session = Session(home / "ledger.db")
keeper = RoomKeeper(home)
print("ready", flush=True)
while True:
    keeper.tick(session, Room(most_bytes=1, destination="https://ingest.example"))
    keeper._rests_until = 0.0
"""


@pytest.mark.parametrize("after_ms", [1, 5, 12, 25, 60, 150])
def test_a_kill_at_any_step_loses_and_doubles_nothing(tmp_path: Path, after_ms: int) -> None:
    ledger = SQLiteLedger(tmp_path)
    fill(ledger, 1500, every_ns=MINUTE_NS)
    note_sent(ledger, 1500)
    before = sums(ledger)
    with subprocess.Popen(
        [sys.executable, "-c", _LIFE, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after_ms / 1000)
        os.kill(process.pid, signal.SIGKILL)
    assert sums(ledger) == before
    make_room(ledger.path, SMALL)
    assert sums(ledger) == before
    rebuild(ledger.path)
    assert sums(ledger) == before
