"""Sums by any group equal the sum of the events, in SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
import random
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import get_args

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tollspan.ledger.central import (
    NAMED,
    Bucket,
    CentralLedger,
    Order,
    TooMuchError,
    UsageQuery,
    UsageRow,
    UsageSums,
    is_usage_dimension,
    scanning,
)
from tollspan.usage import (
    TOKEN_BUCKETS,
    Attribution,
    Call,
    Cost,
    DecisionEvent,
    DecisionNote,
    Event,
    Folded,
    Outcome,
    Request,
    Usage,
    UsageEvent,
    value_of,
)

HOUR = 3_600 * 10**9
DAY = 24 * HOUR
START = int(datetime(2026, 11, 29, tzinfo=UTC).timestamp()) * 10**9
some = st.sampled_from([None, "a", "ä", "b"])
numbers = st.integers(0, 1 << 40).map(str)
usages = st.one_of(
    st.none(),
    st.builds(
        Usage,
        status=st.sampled_from(["reported", "estimated", "unknown"]),
        input_uncached=st.integers(0, 9),
        cache_read=st.integers(0, 9),
        output=st.integers(0, 9),
        quantities=st.sampled_from([(), (("images:big", 2), ("web_searches", 1))]),
    ),
)
owners = st.builds(
    Attribution, customer=some, feature=some, session=some, environment=some,
    tags=st.sampled_from([(), (("tier", "free"),), (("tier", "pro"),)]),
)  # fmt: skip
times = st.integers(0, 5 * DAY).map(lambda more: START + more)
costs = st.one_of(
    st.builds(Cost, status=st.just("priced"), amount_nanousd=st.integers(0, 10**12)),
    st.builds(Cost, status=st.just("partial"), amount_nanousd=st.integers(0, 9)),
    st.just(Cost(status="unpriced")),
)


@st.composite
def some_events(draw: st.DrawFn) -> list[Event]:
    """Draw calls and refusals of five days, over the turn of a month."""
    found: list[Event] = []
    for number in range(draw(st.integers(0, 14))):
        call = Call(
            id=f"{number:032x}",
            started_at_unix_ns=draw(times),
            request=Request(
                provider=draw(st.sampled_from(["openai", "anthropic"])), operation="chat",
                model=draw(st.sampled_from(["m1", "m2"])),
            ),
            attribution=draw(owners),
        )  # fmt: skip
        if draw(st.integers(0, 5)) == 0:
            note = DecisionNote(action="deny", bound_nanousd=draw(st.sampled_from([None, 7])))
            found.append(DecisionEvent(call=call, decision=note, error_type="x"))
            continue
        found.append(
            UsageEvent(
                call=call, decision=DecisionNote(), usage=draw(usages), cost=draw(costs),
                outcome=Outcome(status=draw(st.sampled_from(["ok", "error"]))),
            )
        )  # fmt: skip
    return found


dimensions = st.sampled_from([*NAMED, "tag.tier"])


@st.composite
def some_queries(draw: st.DrawFn) -> UsageQuery:
    """Draw questions whose times may be anywhere, or at the turn of an hour or a day."""
    unit = draw(st.sampled_from([1, HOUR, DAY]))
    since = draw(st.one_of(st.just(0), times.map(lambda at: at // unit * unit)))
    until = draw(st.one_of(st.none(), times.map(lambda at: at // unit * unit)))
    few = st.sampled_from(["customer", "feature", "model", "provider", "environment"])
    grouped = draw(st.lists(st.one_of(few, dimensions), max_size=3, unique=True))
    where = draw(st.dictionaries(st.one_of(few, dimensions), some, max_size=2))
    return UsageQuery(
        since_unix_ns=since, until_unix_ns=until, group_by=tuple(grouped), where=where,
        bucket=draw(st.sampled_from([None, *get_args(Bucket)])),
        order=draw(st.sampled_from(get_args(Order))),
    )  # fmt: skip


def said(event: Event, name: str) -> str | None:
    if name == "outcome":
        return event.outcome.status if isinstance(event, UsageEvent) else "denied"
    if name in {"model", "provider", "operation"}:
        return str(getattr(event.call.request, name))
    return value_of(event.call.attribution, name)


def bucket_of(at: int, bucket: Bucket | None) -> int | None:
    if bucket is None:
        return None
    moment = datetime.fromtimestamp(at // 10**9, UTC).replace(minute=0, second=0)
    if bucket != "hour":
        moment = moment.replace(hour=0)
    if bucket == "month":
        moment = moment.replace(day=1)
    return int(moment.timestamp()) * 10**9


def naive(
    events: Sequence[Event], query: UsageQuery
) -> dict[tuple[int | None, tuple[str | None, ...]], UsageSums]:
    """Sum events one by one, as slowly and plainly as can be."""
    groups: dict[tuple[int | None, tuple[str | None, ...]], list[Event]] = defaultdict(list)
    for event in events:
        at = event.call.started_at_unix_ns
        if at < query.since_unix_ns:
            continue
        if query.until_unix_ns is not None and at >= query.until_unix_ns:
            continue
        if all(said(event, name) == value for name, value in query.where.items()):
            values = tuple(said(event, name) for name in query.group_by)
            groups[bucket_of(at, query.bucket), values].append(event)
    return {group: naive_sums(found) for group, found in groups.items()}


def naive_sums(events: Sequence[Event]) -> UsageSums:
    calls = [one for one in events if isinstance(one, UsageEvent)]
    denials = [one for one in events if isinstance(one, DecisionEvent)]
    used = [one.usage for one in calls if one.usage is not None]
    estimated = [one for one in calls if one.usage and one.usage.status == "estimated"]
    tokens = {name: sum(getattr(one, name) for one in used) for name in TOKEN_BUCKETS}
    quantities: dict[str, int] = defaultdict(int)
    for usage in used:
        for unit, count in usage.quantities:
            quantities[unit] += count
    return UsageSums(
        calls=len(calls),
        denied=len(denials),
        denied_nanousd=sum(one.decision.bound_nanousd or 0 for one in denials),
        cost_nanousd=sum(one.cost.amount_nanousd or 0 for one in calls),
        estimated=len(estimated),
        estimated_nanousd=sum(one.cost.amount_nanousd or 0 for one in estimated),
        unknown=sum(one.status == "unknown" for one in used),
        unpriced=sum(one.cost.status in {"unpriced", "partial"} for one in calls),
        late=0,
        tokens={name: count for name, count in tokens.items() if count},
        quantities={unit: count for unit, count in quantities.items() if count},
    )


def by_group(
    rows: Sequence[UsageRow],
) -> dict[tuple[int | None, tuple[str | None, ...]], UsageSums]:
    found = {(row.start_unix_ns, row.values): row.sums for row in rows}
    assert len(found) == len(rows), "a group has two rows"
    return found


@pytest.fixture
def books(where: str) -> Iterator[CentralLedger]:
    """A ledger whose clock stands, so that no event is late."""
    ledger = CentralLedger(where, clock=lambda: START)
    yield ledger
    ledger.close()


TENANTS = iter(f"t{number}" for number in range(10**9))


@given(some_events(), st.lists(some_queries(), min_size=4, max_size=4), st.integers(1, 14))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # each try writes to a database: shrinking takes long
)
def test_sums_by_any_group_are_the_sums_of_the_events(
    books: CentralLedger, events: list[Event], queries: list[UsageQuery], size: int
) -> None:
    tenant = next(TENANTS)
    for first in range(0, len(events), size):
        books.events.store(tenant, events[first : first + size])
    books.events.store(tenant, events)  # again: duplicates count nowhere
    for query in queries:
        page = books.usage.usage(tenant, query)
        assert by_group(page.rows) == naive(events, query), query
        assert page.is_last


@pytest.mark.parametrize("size", [7, 200])
def test_every_pair_of_dimensions_adds_up_over_many_events(books: CentralLedger, size: int) -> None:
    dice = random.Random(size)
    events: list[Event] = [
        UsageEvent(
            call=Call(
                id=f"{number:032x}",
                started_at_unix_ns=START + dice.randrange(3 * DAY),
                request=Request(
                    provider=dice.choice("op"), operation="chat", model=dice.choice("mn")
                ),
                attribution=Attribution(
                    customer=dice.choice([None, "a", "b"]), feature=dice.choice([None, "f"]),
                    team=dice.choice("tu"), session=dice.choice("st"),
                ),
            ),
            decision=DecisionNote(), outcome=Outcome(status="ok"),
            usage=Usage(output=number, quantities=(("images", dice.randrange(3)),)),
            cost=Cost(status="priced", amount_nanousd=dice.randrange(10**9)),
        )
        for number in range(200)
    ]  # fmt: skip
    for first in range(0, len(events), size):
        books.events.store("acme", events[first : first + size])
    names = ("customer", "model", "provider", "feature", "team", "operation")
    for group in itertools.combinations(names, 2):
        for bucket in (None, *get_args(Bucket)):
            for since in (0, START + DAY, START + DAY + HOUR // 2):
                query = UsageQuery(group_by=group, bucket=bucket, since_unix_ns=since)
                found = by_group(books.usage.usage("acme", query).rows)
                assert found == naive(events, query), query


def a_call(number: int, at: int, *, customer: str | None = None, cost: int = 1) -> UsageEvent:
    return UsageEvent(
        call=Call(
            id=f"{number:032x}", started_at_unix_ns=at,
            request=Request(provider="openai", operation="chat", model="m1"),
            attribution=Attribution(customer=customer),
        ),
        decision=DecisionNote(), outcome=Outcome(status="ok"), usage=Usage(output=1),
        cost=Cost(status="priced", amount_nanousd=cost),
    )  # fmt: skip


def test_pages_come_in_order_and_end(books: CentralLedger) -> None:
    calls = [a_call(n, START + n * DAY, customer=f"c{n % 3}", cost=n) for n in range(9)]
    books.events.store("acme", calls)
    query = UsageQuery(group_by=("customer",), order="cost", most=2)
    first = books.usage.usage("acme", query)
    second = books.usage.usage("acme", msgspec.structs.replace(query, skip=2))
    assert [row.values for row in (*first.rows, *second.rows)] == [("c2",), ("c1",), ("c0",)]
    assert [row.sums.cost_nanousd for row in first.rows] == [15, 12]
    assert (first.is_last, second.is_last) == (False, True)
    by_day = books.usage.usage("acme", UsageQuery(bucket="day", most=3)).rows
    assert [row.start_unix_ns for row in by_day] == [START, START + DAY, START + 2 * DAY]


def test_a_total_counts_as_the_calls_that_it_stands_for(books: CentralLedger) -> None:
    total = msgspec.structs.replace(
        a_call(1, START, customer="x", cost=9),
        cost=Cost(status="partial", amount_nanousd=9),
        folded=Folded(calls=7, denied=2, seconds=60),
    )
    books.events.store("acme", [total])
    for names in (("customer",), ("session",)):
        (row,) = books.usage.usage("acme", UsageQuery(group_by=names)).rows
        sums = row.sums
        assert (sums.calls, sums.denied, sums.unpriced, sums.cost_nanousd) == (7, 2, 7, 9)


def test_an_event_that_comes_late_is_in_the_hour_in_which_it_began(books: CentralLedger) -> None:
    books.events.store("acme", [a_call(1, START - 5 * HOUR)])
    (row,) = books.usage.usage("acme", UsageQuery(bucket="hour")).rows
    assert (row.start_unix_ns, row.sums.late, row.sums.calls) == (START - 5 * HOUR, 1, 1)


def test_another_tenants_sums_are_not_there(books: CentralLedger) -> None:
    books.events.store("acme", [a_call(1, START, customer="x")])
    for query in (
        UsageQuery(), UsageQuery(group_by=("customer", "model")), UsageQuery(group_by=("session",))
    ):  # fmt: skip
        assert books.usage.usage("other", query).rows == ()


def test_threads_that_store_at_once_lose_no_sum(books: CentralLedger) -> None:
    def store(start: int) -> None:
        for number in range(start, start + 10):
            calls = [a_call(number * 10 + n, START, customer=f"c{n % 3}") for n in range(10)]
            books.events.store("acme", calls)

    threads = [threading.Thread(target=store, args=(n * 10,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = books.usage.usage("acme", UsageQuery(group_by=("customer",))).rows
    assert sum(row.sums.calls for row in rows) == 400


def test_a_question_that_reads_too_much_is_refused(
    books: CentralLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.events.store("acme", [a_call(n, START + n) for n in range(5)])
    monkeypatch.setattr(scanning, "MOST_EVENTS", 4)
    with pytest.raises(TooMuchError, match="more than 4 events"):
        books.usage.usage("acme", UsageQuery(group_by=("session",)))
    assert books.usage.usage("acme", UsageQuery(group_by=("customer",))).rows


@pytest.mark.parametrize("name", [*NAMED, "tag.tier"])
def test_every_dimension_can_be_asked_for(books: CentralLedger, name: str) -> None:
    assert is_usage_dimension(name)
    books.events.store("acme", [a_call(1, START)])
    assert len(books.usage.usage("acme", UsageQuery(group_by=(name,))).rows) == 1


def test_what_is_no_dimension_is_none() -> None:
    assert not any(is_usage_dimension(name) for name in ("", "id", "tenant", "tag.", "cost"))
