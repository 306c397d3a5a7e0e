"""Events that are older than what is kept go, and every sum stays, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.contract.central.test_repricing import CHEAP
from tests.contract.central.test_spans import FRAMEWORK, own, told
from tests.contract.central.test_usage import (
    DAY,
    HOUR,
    START,
    by_group,
    naive,
    some_events,
    some_queries,
)
from tollspan.ledger.central import (
    CALL_KINDS,
    NAMED,
    CentralLedger,
    EventQuery,
    Month,
    NotKeptError,
    RepriceQuery,
    ToldCall,
    UsageQuery,
    retention,
)
from tollspan.reports import FocusSettings, focus_rows_of, kept_parts
from tollspan.server.housekeeping import Housekeeper
from tollspan.server.metrics import ServerMetrics
from tollspan.server.principals import Principal
from tollspan.server.receiving import Receiver
from tollspan.server.reports.focus import costs
from tollspan.server.settings import ServerSettings
from tollspan.server.tally import Tally
from tollspan.usage import (
    Attribution,
    Call,
    Cost,
    DecisionNote,
    Event,
    Outcome,
    Request,
    Usage,
    UsageEvent,
)

NOVEMBER, DECEMBER, JANUARY = Month(2026, 11), Month(2026, 12), Month(2027, 1)
MUCH_LATER = int(datetime(2028, 1, 15, tzinfo=UTC).timestamp()) * 10**9
EVERYTHING = EventQuery(most=10_000)
FEW_WAYS = (
    UsageQuery(bucket="month"), UsageQuery(group_by=("session", "tag.tier"), bucket="day"),
)  # fmt: skip
WAYS = [UsageQuery(group_by=(name,), bucket="day") for name in (*NAMED, "tag.tier")] + [
    UsageQuery(), UsageQuery(group_by=("customer", "session", "model")),
    UsageQuery(bucket="month", where={"outcome": "ok"}),
]  # fmt: skip


class Clock:
    """A clock that stands until it is told otherwise."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def books(where: str, clock: Clock) -> Iterator[CentralLedger]:
    ledger = CentralLedger(where, clock=clock)
    yield ledger
    ledger.close()


def take_apart(event: UsageEvent) -> list[tuple[bytes, int, int, int]]:
    return kept_parts(event, CHEAP)


def a_call(number: int, at: int = START, *, model: str = "gpt-4o-mini") -> UsageEvent:
    return UsageEvent(
        call=Call(
            id=f"{number:032x}", started_at_unix_ns=at,
            request=Request(provider="openai", operation="chat", model=model),
            attribution=Attribution(
                customer=f"c{number % 3}", session=f"s{number % 7}", user="u",
                tags=(("tier", "free" if number % 2 else "pro"),),
            ),
        ),
        decision=DecisionNote(), outcome=Outcome(status="ok"),
        usage=Usage(input_uncached=number + 1, quantities=(("web_searches", number % 2),)),
        cost=Cost(status="priced", amount_nanousd=2_000 * (number + 1)),
    )  # fmt: skip


def fill(ledger: CentralLedger) -> None:
    """Store calls of three months; some that another tells better, some priced anew."""
    times = [Month(2026, month).start_ns + 40 * HOUR for month in (10, 11, 12)]
    calls = [a_call(number, times[number % 3] + number) for number in range(60)]
    ledger.events.store("acme", calls)
    ledger.events.store("beta", [a_call(number) for number in range(9)])
    spans = [moved(told(1, FRAMEWORK))]
    ledger.spans.store("acme", spans)
    ledger.events.store("acme", [own("c" * 32, spans[0], cost=77)])
    ledger.repricer.reprice(
        "acme", RepriceQuery(since_unix_ns=0, until_unix_ns=times[1] + 20), CHEAP, "ann"
    )


def moved(one: ToldCall, at: int = START) -> ToldCall:
    call = msgspec.structs.replace(one.event.call, started_at_unix_ns=at)
    return msgspec.structs.replace(one, event=msgspec.structs.replace(one.event, call=call))


def sums(ledger: CentralLedger, ways: Sequence[UsageQuery] = WAYS) -> list[object]:
    return [
        by_group(ledger.usage.usage(tenant, query).rows)
        for tenant in ("acme", "beta")
        for query in ways
    ]


def focus(ledger: CentralLedger, *, by_account: str = "session") -> list[str]:
    query = EventQuery(since_unix_ns=0, kinds=CALL_KINDS, is_only_counted=True, most=7)
    rows = focus_rows_of(
        costs(ledger, "acme", query, CHEAP, is_hourly=False),
        FocusSettings(sub_account=by_account),
    )
    return sorted(map(repr, rows))


def finish(ledger: CentralLedger, clock: Clock, keep_from: Month) -> int:
    """Do all that there is to do; return how many steps that took."""
    steps = 0
    while ledger.retention.step(keep_from, take_apart):
        steps += 1
    clock.now += retention.GRACE_NS
    while ledger.retention.step(keep_from, take_apart):
        steps += 1
    return steps


def events_left(ledger: CentralLedger) -> int:
    return sum(len(ledger.reader.events(tenant, EVERYTHING)) for tenant in ("acme", "beta"))


def test_after_every_step_all_sums_and_all_costs_are_what_they_were(
    books: CentralLedger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(books)
    before, few, rows = sums(books), sums(books, FEW_WAYS), focus(books)
    assert len(rows) > 20
    for name in ("_AT_ONCE", "_REMOVED_AT_ONCE"):
        monkeypatch.setattr(retention, name, 19)
    clock.now = MUCH_LATER
    there = events_left(books)
    for keep_from in (NOVEMBER, DECEMBER, JANUARY):
        steps = 0
        while books.retention.step(keep_from, take_apart):
            steps += 1
            assert sums(books, FEW_WAYS) == few
        assert (sums(books), focus(books)) == (before, rows)
        clock.now += retention.GRACE_NS
        while books.retention.step(keep_from, take_apart):
            steps += 1
            assert sums(books, FEW_WAYS) == few
        assert steps >= 5
        assert events_left(books) < there
        there = events_left(books)
    assert there == 0
    assert (sums(books), focus(books)) == (before, rows)


@given(some_events(), st.lists(some_queries(), min_size=4, max_size=4), st.booleans())
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)
def test_sums_by_any_group_are_those_of_the_events_that_went(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[Event],
    queries: list[UsageQuery],
    is_all: bool,
) -> None:
    clock = Clock()
    ledger = CentralLedger(f"sqlite:{tmp_path_factory.mktemp('books') / 'c.db'}", clock=clock)
    ledger.events.store("acme", events)
    clock.now = MUCH_LATER
    finish(ledger, clock, JANUARY if is_all else DECEMBER)
    for query in queries:
        ends = (query.since_unix_ns, query.until_unix_ns or 0)
        try:
            found = by_group(ledger.usage.usage("acme", query).rows)
        except NotKeptError:
            assert query.bucket == "hour" or any(end % DAY for end in ends), query
            continue
        assert found == naive(events, query), query
    ledger.close()


def test_what_began_before_is_refused_and_what_is_sent_again_is_known(
    books: CentralLedger, clock: Clock
) -> None:
    fill(books)
    clock.now = MUCH_LATER
    recent = a_call(900, MUCH_LATER - DAY)
    books.events.store("acme", [recent])
    finish(books, clock, DECEMBER)
    before = sums(books)
    old = a_call(901, DECEMBER.start_ns - 1)
    stored = books.events.store("acme", [old, recent, a_call(902, DECEMBER.start_ns)])
    assert [one.status for one in stored] == ["too_old", "duplicate", "accepted"]
    spans = [moved(told(7, trace=9)), moved(told(8, trace=9), MUCH_LATER)]
    assert [one.status for one in books.spans.store("acme", spans)] == ["too_old", "accepted"]
    assert sums(books) != before
    taking = ServerSettings(database="", oldest_seconds=10**9)
    receiver = Receiver(books, taking, Tally(books, ServerMetrics(), clock), clock)
    (said,) = receiver.take(Principal(key_id="k", tenant="acme", scopes=("ingest",)), [old])
    assert (said.status, said.reason) == ("rejected", "too_old")
    found = books.repricer.reprice("acme", RepriceQuery(since_unix_ns=0), CHEAP, "ann")
    assert found.kept_from_unix_ns == DECEMBER.start_ns


def test_hours_and_parts_of_days_that_are_gone_are_refused(
    books: CentralLedger, clock: Clock
) -> None:
    fill(books)
    clock.now = MUCH_LATER
    finish(books, clock, DECEMBER)
    of_hours = UsageQuery(group_by=("session",), bucket="hour")
    parts = UsageQuery(group_by=("session",), since_unix_ns=NOVEMBER.start_ns + 41 * HOUR)
    for query in (of_hours, parts):
        with pytest.raises(NotKeptError, match="only whole days"):
            books.usage.usage("acme", query)
    empty = UsageQuery(group_by=("session",), since_unix_ns=NOVEMBER.start_ns + HOUR)
    assert books.usage.usage("acme", empty).rows  # nothing began on that day
    with pytest.raises(NotKeptError):
        list(costs(books, "acme", EventQuery(since_unix_ns=0), CHEAP, is_hourly=True))


def test_days_that_tell_not_of_every_event_are_made_again(
    books: CentralLedger, clock: Clock
) -> None:
    fill(books)
    before = sums(books)
    clock.now = MUCH_LATER
    books.retention.step(JANUARY, take_apart)  # nothing is stored any more
    books.retention.step(JANUARY, take_apart)  # to the first tenant
    books.retention.step(JANUARY, take_apart)  # its days
    with books.retention._database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM kept_days")
    finish(books, clock, JANUARY)
    assert books.retention.horizon.removed_before_ns == JANUARY.start_ns
    assert sums(books) == before


@pytest.mark.parametrize(
    ("months", "first"), [(13, Month(2026, 12)), (1, Month(2027, 12)), (None, None)]
)
def test_the_housekeeper_keeps_as_many_months_and_what_may_still_come(
    books: CentralLedger, clock: Clock, months: int | None, first: Month | None
) -> None:
    fill(books)
    clock.now = MUCH_LATER  # in January 2028
    said = ServerSettings(database=books.name, keep_months=months)
    keeper = Housekeeper(books, said, book=CHEAP, clock=clock)
    assert keeper.tidy()
    assert books.retention.horizon.kept_from_ns == (0 if first is None else first.start_ns)
    assert books.retention.horizon.removed_before_ns == 0
    clock.now += retention.GRACE_NS
    assert keeper.tidy()
    left = books.reader.events("acme", EVERYTHING)
    assert all(first is None or one.place[0] >= first.start_ns for one in left)
    actions = [one.action for one in books.audit.entries("*")]
    assert actions == ([] if months is None else ["events.closed", "events.removed"])


def test_what_may_still_be_sent_is_never_closed(books: CentralLedger, clock: Clock) -> None:
    clock.now = int(datetime(2028, 2, 2, tzinfo=UTC).timestamp()) * 10**9
    said = ServerSettings(database=books.name, keep_months=1)
    assert Housekeeper(books, said, book=CHEAP, clock=clock).tidy()
    assert books.retention.horizon.closed_before_ns == Month(2027, 12).start_ns


def test_the_disk_has_its_space_back(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "c.db"
    ledger = CentralLedger(f"sqlite:{path}", clock=clock)
    for number in range(0, 3_000, 500):
        ledger.events.store("acme", [a_call(number + more) for more in range(500)])
    clock.now = MUCH_LATER
    with ledger.retention._database.writing() as connection:
        full = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
    finish(ledger, clock, JANUARY)
    with ledger.retention._database.writing() as connection:
        left = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
        free = connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0
    assert left < full / 2
    assert free * 9 <= left
    ledger.close()


REMOVING = """
    import sys
    from tollspan.ledger.central import CentralLedger, Month, retention

    retention._AT_ONCE = retention._REMOVED_AT_ONCE = 20
    now = [int(sys.argv[2])]
    ledger = CentralLedger(sys.argv[1], clock=lambda: now[0])
    print("begun", flush=True)
    for _ in range(2):
        while ledger.retention.step(Month(2027, 1), lambda event: ()):
            pass
        now[0] += retention.GRACE_NS
"""


def test_one_that_is_killed_again_and_again_leaves_all_sums_as_they_were(
    tmp_path: Path, clock: Clock
) -> None:
    where = f"sqlite:{tmp_path / 'c.db'}"
    ledger = CentralLedger(where, clock=clock)
    ledger.events.store("acme", [a_call(number, START + number) for number in range(900)])
    ledger.events.store("beta", [a_call(number, START + number) for number in range(300)])
    before = sums(ledger, FEW_WAYS)
    for after_seconds in (0.05, 0.25, None):
        command = [sys.executable, "-c", textwrap.dedent(REMOVING), where, str(MUCH_LATER)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=os.getcwd()) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if after_seconds is not None:
                time.sleep(after_seconds)
                process.send_signal(signal.SIGKILL)
        assert sums(ledger, FEW_WAYS) == before
    assert events_left(ledger) == 0
    ledger.close()
