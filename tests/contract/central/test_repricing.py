"""Calls priced anew: by reversal, once however often it is run, and right in every sum."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.central.making import usage_event
from tests.contract.central.test_spans import FRAMEWORK, own, told
from tollspan.ledger.central import (
    CALL_KINDS,
    GROUPED,
    Bucket,
    CentralLedger,
    EventQuery,
    Repriced,
    RepriceQuery,
    UsageQuery,
    counted_call,
)
from tollspan.pricing import PriceBook, parse_overrides
from tollspan.usage import (
    Cost,
    Entry,
    Folded,
    Repricing,
    Reversal,
    Usage,
    UsageEvent,
    encode_cloud_event,
    event_id,
)

ALL = RepriceQuery(since_unix_ns=0)
EVERYTHING = EventQuery(most=10_000)
WAYS: tuple[tuple[str, ...], ...] = (
    (), *((name,) for name in GROUPED), ("customer", "model"), GROUPED[:6], ("session",),
)  # fmt: skip
FEW_WAYS = ((), ("model",), GROUPED[:6], ("session",))


def prices(usd_per_million: str, *models: str) -> PriceBook:
    """A book in which a token of these models costs this much, in or out."""
    lines = [
        f"  openai/{model}: {{usd_per_million: {{input: {usd_per_million}, "
        f"cache_read: {usd_per_million}, output: {usd_per_million}}}}}"
        for model in models or ("gpt-4o-mini",)
    ]
    return PriceBook.load(None, parse_overrides("\n".join(("version: 1", "models:", *lines))))


CHEAP, DEAR = prices("2"), prices("7")  # 2,000 and 7,000 nano-USD a token


def call(
    tokens: int, cost: int | None = None, *, age_seconds: float = 0, model: str = "gpt-4o-mini"
) -> UsageEvent:
    """A call of so many tokens; without a cost nobody knew a price."""
    made = usage_event(age_seconds=age_seconds, model=model, customer="acme", session=f"s{tokens}")
    priced = Cost(status="unpriced") if cost is None else Cost(status="priced", amount_nanousd=cost)
    return msgspec.structs.replace(made, usage=Usage(input_uncached=tokens), cost=priced)


def reprice(
    ledger: CentralLedger,
    book: PriceBook,
    query: RepriceQuery = ALL,
    *,
    is_dry: bool = False,
    tenant: str = "acme",
) -> Repriced:
    return ledger.repricer.reprice(tenant, query, book, "ann@host", is_dry=is_dry)


def entries(ledger: CentralLedger) -> list[Entry]:
    return [one.fact for one in ledger.reader.events("acme", EVERYTHING)]


def counted(ledger: CentralLedger, tenant: str = "acme") -> list[UsageEvent]:
    query = EventQuery(kinds=CALL_KINDS, is_only_counted=True, most=10_000)
    found = [counted_call(one.fact) for one in ledger.reader.events(tenant, query)]
    return [one for one in found if one is not None]


def assert_every_sum_is_of(
    ledger: CentralLedger,
    calls: Sequence[UsageEvent],
    ways: Sequence[tuple[str, ...]] = WAYS,
    *,
    tenant: str = "acme",
) -> None:
    """Say of every way to ask that it sums up just these."""
    cost = sum(one.cost.amount_nanousd or 0 for one in calls)
    tokens = sum(one.usage.input_uncached for one in calls if one.usage is not None)
    unpriced = sum(one.cost.status == "unpriced" for one in calls)
    buckets: tuple[Bucket | None, ...] = (None, "hour", "day")
    for way in ways:
        for bucket in buckets if ways is WAYS else (None,):
            query = UsageQuery(group_by=way, bucket=bucket)
            sums = [row.sums for row in ledger.usage.usage(tenant, query).rows]
            assert sum(one.cost_nanousd for one in sums) == cost, (way, bucket)
            assert sum(one.calls for one in sums) == len(calls), (way, bucket)
            assert sum(one.unpriced for one in sums) == unpriced, (way, bucket)
            assert sum(one.tokens.get("input_uncached", 0) for one in sums) == tokens


def test_a_call_is_taken_back_and_counted_with_its_new_cost(ledger: CentralLedger) -> None:
    event = call(10, 5)
    ledger.events.store("acme", [event])
    found = reprice(ledger, CHEAP)
    assert (found.calls, found.difference_nanousd, found.looked_at) == (1, 19_995, 1)
    first, reversal, repricing = sorted(entries(ledger), key=lambda one: len(event_id(one)))
    assert isinstance(repricing, Repricing)
    assert isinstance(reversal, Reversal)
    assert (first, reversal.event, reversal.by) == (event, event, repricing.id)
    assert (reversal.reason, repricing.author) == ("repriced", "ann@host")
    assert repricing.event.cost.amount_nanousd == 20_000
    assert repricing.event.cost.book_id == CHEAP.book_id
    assert b'"dev.tollspan.repricing.v1"' in encode_cloud_event(repricing)
    assert counted(ledger) == [repricing.event]
    assert_every_sum_is_of(ledger, [repricing.event])


def test_what_is_run_twice_is_done_once(ledger: CentralLedger) -> None:
    ledger.events.store("acme", [call(number, 5) for number in range(1, 700)])
    assert reprice(ledger, CHEAP).calls == 699
    before = entries(ledger)
    again = reprice(ledger, CHEAP)
    assert (again.calls, again.rows, again.looked_at) == (0, [], 699)
    assert entries(ledger) == before


def test_prices_that_change_again_take_back_what_was_priced_anew(ledger: CentralLedger) -> None:
    ledger.events.store("acme", [call(10, 5)])
    for book, cost in ((CHEAP, 20_000), (DEAR, 70_000), (CHEAP, 20_000)):
        reprice(ledger, book)
        assert [one.cost.amount_nanousd for one in counted(ledger)] == [cost]
        assert_every_sum_is_of(ledger, counted(ledger))
    assert len(entries(ledger)) == 7


def test_a_dry_run_says_what_would_change_and_changes_nothing(ledger: CentralLedger) -> None:
    events = [call(10, 5), call(20, None), call(3, 6_000, age_seconds=86_400)]
    ledger.events.store("acme", events)
    dry = reprice(ledger, CHEAP, is_dry=True)
    assert len(entries(ledger)) == 3
    assert ledger.audit.entries("acme") == []
    wet = reprice(ledger, CHEAP)
    assert msgspec.to_builtins(dry) == msgspec.to_builtins(wet)
    (row,) = wet.rows
    assert (row.calls, row.newly_priced, row.before_nanousd, row.after_nanousd) == (2, 1, 5, 60_000)
    assert_every_sum_is_of(ledger, counted(ledger))


def test_a_cost_that_is_known_is_never_given_up(ledger: CentralLedger) -> None:
    kept = call(10, 5, model="a-model-that-nobody-sells")
    unknown = msgspec.structs.replace(call(9, 5), usage=Usage(status="unknown"))
    free = msgspec.structs.replace(call(9), usage=None, cost=Cost(status="not_billed"))
    total = msgspec.structs.replace(call(9, 5), folded=Folded(calls=3, seconds=60))
    ledger.events.store("acme", [kept, unknown, free, total])
    found = reprice(ledger, CHEAP)
    assert (found.calls, sum(row.no_price for row in found.rows)) == (0, 1)
    assert len(entries(ledger)) == 4


def test_only_what_was_asked_for_is_priced_anew(ledger: CentralLedger) -> None:
    old, other, wanted = call(1, 5, age_seconds=9_000), call(2, 5, model="gpt-4o"), call(3, 5)
    ledger.events.store("acme", [old, other, wanted])
    ledger.events.store("beta", [call(4, 5)])
    since = wanted.call.started_at_unix_ns - 60 * 10**9
    asked = RepriceQuery(since_unix_ns=since, model="gpt-4o-mini")
    assert reprice(ledger, prices("2", "gpt-4o-mini", "gpt-4o"), asked).calls == 1
    until = RepriceQuery(since_unix_ns=0, until_unix_ns=since)
    assert reprice(ledger, CHEAP, until).calls == 1
    assert sorted(one.cost.amount_nanousd or 0 for one in counted(ledger)) == [5, 2_000, 6_000]


def test_what_was_done_is_on_the_record(ledger: CentralLedger) -> None:
    ledger.events.store("acme", [call(10, 5)])
    reprice(ledger, CHEAP)
    began, ended = ledger.audit.entries("acme")
    assert (began.action, ended.action) == ("repricing.began", "repricing.ended")
    assert (ended.actor, ended.subject) == ("ann@host", CHEAP.book_id)
    assert (ended.details["calls"], ended.details["difference_nanousd"]) == (1, "19995")


def test_a_priced_event_that_is_sent_again_is_a_duplicate_still(ledger: CentralLedger) -> None:
    event = call(10, 5)
    ledger.events.store("acme", [event])
    reprice(ledger, CHEAP)
    (again,) = ledger.events.store("acme", [event])
    assert again.status == "duplicate"
    assert_every_sum_is_of(ledger, counted(ledger))


def test_what_tells_more_takes_the_place_of_a_span_priced_anew(ledger: CentralLedger) -> None:
    span = told(1, FRAMEWORK)
    ledger.spans.store("acme", [span])
    reprice(ledger, CHEAP)
    reprice(ledger, DEAR)
    ledger.events.store("acme", [own("c" * 32, span, cost=77)])
    assert [one.cost.amount_nanousd for one in counted(ledger)] == [77]
    assert_every_sum_is_of(ledger, counted(ledger))


def test_a_program_s_event_priced_anew_is_still_the_event_of_its_call(
    ledger: CentralLedger,
) -> None:
    span = told(1, FRAMEWORK)
    ledger.events.store("acme", [own("c" * 32, span, span=False)])
    reprice(ledger, CHEAP)
    twice = ledger.spans.store("acme", [span, told(2, FRAMEWORK, trace=2)])
    assert [one.status for one in twice] == ["duplicate", "accepted"]
    assert_every_sum_is_of(ledger, counted(ledger))


_tenants = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralLedger]:
    ledger = CentralLedger(f"sqlite:{tmp_path_factory.mktemp('books') / 'central.db'}")
    yield ledger
    ledger.close()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(1, 3), st.sampled_from([None, 5, 4_000])),
        st.tuples(st.just("span"), st.integers(1, 3), st.booleans()),
        st.tuples(st.just("own"), st.integers(1, 3), st.booleans()),
        st.tuples(st.just("reprice"), st.sampled_from([0, 1]), st.booleans()),
    ),
    max_size=9,
)


@given(steps)
@settings(max_examples=25, deadline=None)
def test_whatever_is_stored_and_priced_anew_every_sum_is_of_what_counts(
    shared: CentralLedger, done: list[tuple[str, int, object]]
) -> None:
    tenant = f"t{next(_tenants)}"
    for what, number, said in done:
        if what == "call":
            cost = said if isinstance(said, int) else None
            shared.events.store(tenant, [call(number, cost)])
        elif what == "span":
            shared.spans.store(tenant, [told(number, trace=number, into=3, usage=bool(said))])
        elif what == "own":
            shared.events.store(tenant, [own(f"{number:032x}", told(number, trace=number))])
        else:
            reprice(shared, (CHEAP, DEAR)[number], is_dry=bool(said), tenant=tenant)
    assert_every_sum_is_of(shared, counted(shared, tenant), FEW_WAYS, tenant=tenant)


@pytest.mark.parametrize("own_id", ["c.r", "c.p1", "c.p22.r"])
def test_nobody_can_send_what_only_the_server_writes(own_id: str) -> None:
    from tollspan.server.checking import refusal_of
    from tollspan.server.settings import ServerSettings

    event = usage_event(own_id)
    refused = refusal_of(
        event, tenant="acme", now_unix_ns=event.call.started_at_unix_ns,
        settings=ServerSettings(database="sqlite:x"),
    )  # fmt: skip
    assert refused is not None
    assert refused.reason == "invalid"
