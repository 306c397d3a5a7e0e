"""One provider call is one event in every sum, whoever tells of it, in whatever order."""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.central.making import usage_event
from tollspan.ledger.central import (
    FROM_SPAN,
    SUSPECTED,
    CentralLedger,
    EventQuery,
    ToldCall,
    UsageQuery,
)
from tollspan.usage import (
    OURS,
    Attribution,
    Call,
    Cost,
    DecisionNote,
    Outcome,
    Request,
    Response,
    Reversal,
    Usage,
    UsageEvent,
    foreign_id,
)

SDK, OTHER_SDK = "openinference.instrumentation.openai", "opentelemetry.instrumentation.openai"
FRAMEWORK = "openinference.instrumentation.langchain"
NOW = time.time_ns() - 60 * 10**9
MS = 10**6
ALL = EventQuery(most=10_000)


def told(
    number: int,
    scope: str = SDK,
    *,
    trace: int = 1,
    parent: int | None = None,
    since: int = 0,
    ms: int = 100,
    into: int = 8,
    cached: int = 0,
    out: int = 11,
    usage: bool = True,
    answer: str | None = None,
    call_id: str | None = None,
    model: str = "gpt-4o-mini",
    provider: str = "openai",
    service: str | None = "web",
) -> ToldCall:
    """A span's call: what a token costs is 1, and a tenth of it from a cache."""
    used = Usage(input_uncached=into - cached, cache_read=cached, output=out)
    trace_id, span_id = f"{trace:032x}", f"{number:016x}"
    return ToldCall(
        event=UsageEvent(
            call=Call(
                id=f"e{trace:015x}{number:016x}",
                started_at_unix_ns=NOW + since * MS,
                request=Request(provider=provider, operation="chat", model=model),
                attribution=Attribution(service=service),
                door="otlp",
            ),
            decision=DecisionNote(mode="off"),
            outcome=Outcome(status="ok", duration_ns=ms * MS, response=Response(id=answer)),
            usage=used if usage else Usage(status="unknown"),
            cost=Cost(status="priced", amount_nanousd=10 * (into - cached + out) + cached)
            if usage
            else Cost(status="unknown"),
            traceparent=f"00-{trace_id}-{span_id}-00",
        ),
        call_id=call_id,
        scope=scope,
        is_framework=scope == FRAMEWORK,
        parent_id="" if parent is None else f"{parent:016x}",
    )


def own(
    call_id: str, of: ToldCall, *, span: bool = True, cost: int = 77, **changes: Any
) -> UsageEvent:
    """A program's own event of the same call, which began a little later."""
    event = of.event
    replace = msgspec.structs.replace
    call = replace(
        event.call, id=call_id, door="instrumentor",
        started_at_unix_ns=event.call.started_at_unix_ns + MS,
    )  # fmt: skip
    outcome = replace(event.outcome, duration_ns=event.outcome.duration_ns - 2 * MS)
    return replace(
        event, call=call, outcome=outcome, cost=Cost(status="priced", amount_nanousd=cost),
        traceparent=event.traceparent if span else None,
    )  # fmt: skip


def spent(ledger: CentralLedger, tenant: str = "acme") -> int:
    total = 0
    for one in ledger.reader.events(tenant, ALL):
        match one.fact:
            case UsageEvent(cost=cost):
                total += cost.amount_nanousd or 0
            case Reversal(event=event):
                total -= event.cost.amount_nanousd or 0
            case _:
                raise AssertionError(one.fact)
    for query in (UsageQuery(), UsageQuery(group_by=("session",))):  # of roll-ups, and of events
        (row,) = ledger.usage.usage(tenant, query).rows
        assert row.sums.cost_nanousd == total
        assert row.sums.calls == calls(ledger, tenant)
    return total


def calls(ledger: CentralLedger, tenant: str = "acme") -> int:
    found = [one.fact for one in ledger.reader.events(tenant, ALL)]
    return sum(-1 if isinstance(fact, Reversal) else 1 for fact in found)


def marks(ledger: CentralLedger) -> list[tuple[str, ...]]:
    return [one.marks for one in ledger.reader.events("acme", ALL)]


def statuses(ledger: CentralLedger, *of: ToldCall, tenant: str = "acme") -> list[str]:
    return [one.status for one in ledger.spans.store(tenant, of)]


# Each: what tells of one call, and what that call cost.
ONE_CALL = {
    "the same span again": ([told(1), told(1)], 190),
    "one answer": ([told(1, answer="a"), told(9, OTHER_SDK, trace=2, since=5, answer="a")], 190),
    "a framework over an SDK": ([told(1, FRAMEWORK), told(2, parent=1, since=1, ms=98)], 190),
    "one that tells more": (
        [told(1, FRAMEWORK), told(2, parent=1, since=1, ms=98, cached=5)], 145,
    ),
    "with something between": (
        [told(1, FRAMEWORK), told(3, parent=2, since=1, ms=98, cached=5)], 145,
    ),
    "two roots": ([told(1, FRAMEWORK), told(2, trace=2, since=1, ms=98, cached=5)], 145),
    "two roots, their model named otherwise": (
        [told(1, FRAMEWORK), told(2, trace=2, since=1, ms=98, model="gpt-4o-mini-2024-07-18")], 190,
    ),
    "three instrumentors": (
        [told(1, OTHER_SDK), told(2, SDK, parent=1, since=1, ms=98),
         told(3, FRAMEWORK, parent=2, since=2, ms=96, cached=2)], 172,
    ),
    "a framework that knows no usage": (
        [told(1, FRAMEWORK, usage=False), told(2, parent=1, since=1, ms=98)], 190,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_CALL)
def test_one_call_is_counted_once_in_any_order_and_any_batches(where: str, name: str) -> None:
    seen, cost = ONE_CALL[name]
    ledger = CentralLedger(where)
    for number, order in enumerate(itertools.permutations(seen)):
        for together in (True, False):
            tenant = f"t{number}{together}"
            batches = [list(order)] if together else [[one] for one in order]
            for batch in [*batches, *batches]:  # sent again, too
                ledger.spans.store(tenant, batch)
            assert (calls(ledger, tenant), spent(ledger, tenant)) == (1, cost), (order, together)
    ledger.close()


TWO_CALLS = {
    "two spans of one instrumentor": [told(1), told(2)],
    "one within the other, of one instrumentor": [told(1), told(2, parent=1, since=1, ms=9)],
    "one after the other": [told(1, FRAMEWORK), told(2, trace=2, since=500)],
    "of another model": [told(1, FRAMEWORK), told(2, trace=2, since=1, ms=9, model="o3")],
    "of another provider": [told(1, FRAMEWORK), told(2, since=1, ms=9, provider="groq")],
    "of another service": [told(1, FRAMEWORK), told(2, trace=2, since=1, ms=9, service="b")],
    "of other tokens, in two traces": [told(1, FRAMEWORK), told(2, trace=2, since=1, ms=9, out=3)],
    "of two answers": [told(1, FRAMEWORK, answer="a"), told(2, parent=1, since=1, answer="b")],
    "of two SDKs, in two traces": [told(1, SDK), told(2, OTHER_SDK, trace=2, since=1, ms=9)],
}


@pytest.mark.parametrize("name", TWO_CALLS)
def test_two_calls_are_two(ledger: CentralLedger, name: str) -> None:
    assert statuses(ledger, *TWO_CALLS[name]) == ["accepted", "accepted"]
    assert calls(ledger) == 2
    assert not any(SUSPECTED in each for each in marks(ledger))


SUSPECTS = {
    "within each other, of other tokens": [told(1, FRAMEWORK), told(2, parent=1, since=1, out=3)],
    "an answer's id that one instrumentor tells twice": [
        told(1, answer="a"), told(2, trace=2, answer="a"),
    ],
    "one answer's id of two providers": [
        told(1, answer="a"), told(2, OTHER_SDK, answer="a", provider="groq"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SUSPECTS)
def test_what_cannot_be_told_apart_counts_and_is_marked(ledger: CentralLedger, name: str) -> None:
    first, second = SUSPECTS[name]
    statuses(ledger, first)
    statuses(ledger, second)
    assert calls(ledger) == 2
    assert marks(ledger) == [(FROM_SPAN,), (FROM_SPAN, SUSPECTED)]


OWN_CASES = {
    "by the call's id": (told(1, call_id="x" * 32), {"span": False}),
    "by the span's own id": (told(1), {}),
    "by the answer's id": (told(1, answer="a"), {"span": False}),
    "by likeness, under a framework": (told(1, FRAMEWORK), {"span": False}),
}


@pytest.mark.parametrize("name", OWN_CASES)
@pytest.mark.parametrize("is_own_first", [True, False], ids=["own first", "span first"])
def test_an_event_of_a_program_counts_whichever_comes_first(
    ledger: CentralLedger, name: str, is_own_first: bool
) -> None:
    seen, options = OWN_CASES[name]
    event = own("x" * 32, seen, **options)
    for _ in range(2):
        for step in (is_own_first, not is_own_first):
            if step:
                ledger.events.store("acme", [event])
            else:
                ledger.spans.store("acme", [seen])
    assert (calls(ledger), spent(ledger)) == (1, 77)
    facts = [one.fact for one in ledger.reader.events("acme", ALL)]
    assert len(facts) == (1 if is_own_first else 3)
    assert event in facts


def test_the_call_of_a_span_that_a_program_has_seen_itself_is_its_event(
    ledger: CentralLedger,
) -> None:
    seen = told(1)
    event = own(foreign_id(f"{1:032x}", f"{1:016x}"), seen, span=False)
    ledger.events.store("acme", [event])
    assert statuses(ledger, seen) == ["duplicate"]


def test_a_reversal_is_of_the_events_own_time_and_says_what_counts(ledger: CentralLedger) -> None:
    above, below = told(1, FRAMEWORK), told(2, parent=1, since=1, ms=98, cached=5)
    statuses(ledger, above)
    statuses(ledger, below)
    (found,) = [
        one.fact for one in ledger.reader.events("acme", ALL) if isinstance(one.fact, Reversal)
    ]
    assert found.event == above.event
    assert (found.reason, found.by) == ("superseded", below.event.call.id)


def test_what_took_the_place_of_an_event_is_found_by_all_of_its_names(
    ledger: CentralLedger,
) -> None:
    above = told(1, FRAMEWORK, answer="a")
    statuses(ledger, above)
    statuses(ledger, told(2, parent=1, since=1, ms=98, cached=5))
    assert statuses(ledger, told(3, OTHER_SDK, trace=9, answer="a", since=3)) == ["duplicate"]
    assert calls(ledger) == 1


def test_an_own_event_is_never_taken_back_by_a_span(ledger: CentralLedger) -> None:
    above = told(1, FRAMEWORK, cached=5)
    ledger.events.store("acme", [own("x" * 32, told(1), span=False)])
    statuses(ledger, above)
    assert statuses(ledger, told(2, parent=1, since=2, ms=90, cached=5)) == ["duplicate"]
    assert (calls(ledger), spent(ledger)) == (1, 77)


def test_tenants_do_not_know_each_others_calls(ledger: CentralLedger) -> None:
    seen = told(1, answer="a", call_id="x" * 32)
    assert statuses(ledger, seen, tenant="one") == ["accepted"]
    assert statuses(ledger, seen, tenant="two") == ["accepted"]
    ledger.events.store("two", [own("x" * 32, seen)])
    assert (spent(ledger, "one"), spent(ledger, "two")) == (190, 77)


def many(count: int, *, apart_ms: int) -> list[ToldCall]:
    """Calls that are alike in all, each told by a framework and an SDK, in two traces."""
    return [
        one
        for n in range(count)
        for one in (
            told(1, FRAMEWORK, trace=2 * n + 1, since=n * apart_ms),
            told(1, trace=2 * n + 2, since=n * apart_ms + 1, ms=98, cached=5),
        )
    ]


@pytest.mark.parametrize("apart_ms", [0, 3, 40])
def test_calls_that_are_alike_and_side_by_side_are_each_counted(
    ledger: CentralLedger, apart_ms: int
) -> None:
    seen = many(150, apart_ms=apart_ms)
    for start in range(0, len(seen), 37):
        ledger.spans.store("acme", seen[start : start + 37])
    assert (calls(ledger), spent(ledger)) == (150, 150 * 145)


def test_own_events_side_by_side_under_a_framework_are_each_counted(ledger: CentralLedger) -> None:
    above = [told(1, FRAMEWORK, trace=n, since=n * 3) for n in range(1, 31)]
    events = [own(f"{n:032x}", one, span=False) for n, one in enumerate(above)]
    ledger.events.store("acme", events[:15])
    ledger.spans.store("acme", above)
    ledger.events.store("acme", events[15:])
    assert (calls(ledger), spent(ledger)) == (30, 30 * 77)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[ToldCall], int]:
    """Calls, each told by one to three spans in one trace, and what they cost together."""
    seen: list[ToldCall] = []
    total = 0
    for trace in range(1, draw(st.integers(1, 6)) + 1):
        out = draw(st.integers(1, 3))
        scopes = draw(st.sampled_from([(SDK,), (FRAMEWORK, SDK), (OTHER_SDK, SDK, FRAMEWORK)]))
        answer = f"a{trace}" if draw(st.booleans()) else None
        since = draw(st.integers(0, 3)) * 1_000
        for depth, scope in enumerate(scopes):
            cached = 5 if depth == len(scopes) - 1 else 0
            seen.append(
                told(depth + 1, scope, trace=trace, parent=depth or None, since=since + depth,
                     ms=100 - 2 * depth, out=out, cached=cached, answer=answer,
                     service=f"s{trace}")
            )  # fmt: skip
        total += 10 * (3 + out) + 5
    return seen, total


@settings(max_examples=30, deadline=None)
@given(fleets(), st.randoms(use_true_random=False), st.integers(1, 5))
def test_whatever_order_and_batches_the_total_is_the_calls(
    fleet: tuple[list[ToldCall], int], random: Any, size: int
) -> None:
    seen, total = fleet
    sent = [*seen, *seen]
    random.shuffle(sent)
    with tempfile.TemporaryDirectory() as home:
        ledger = CentralLedger(f"sqlite:{Path(home) / 'central.db'}")
        for batch in _batches(sent, size):
            ledger.spans.store("acme", batch)
        assert spent(ledger) == total
        ledger.close()


def _batches(sent: Sequence[ToldCall], size: int) -> Iterable[Sequence[ToldCall]]:
    return [sent[start : start + size] for start in range(0, len(sent), size)]


def test_servers_that_hear_of_a_call_at_once_count_it_once(where: str) -> None:
    ledgers = [CentralLedger(where) for _ in range(2)]
    pairs = [(told(1, FRAMEWORK, trace=n), told(2, trace=n, parent=1, since=1, ms=98, cached=5))
             for n in range(1, 21)]  # fmt: skip
    gate = threading.Barrier(3)
    failed: list[BaseException] = []

    def work(ledger: CentralLedger, side: int) -> None:
        try:
            gate.wait(10)
            for pair in pairs:
                ledger.spans.store("acme", [pair[side]])
        except BaseException as error:
            failed.append(error)

    def ship() -> None:
        try:
            gate.wait(10)
            for number, pair in enumerate(pairs[:10]):
                ledgers[0].events.store("acme", [own(f"{number:032x}", pair[1])])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(ledgers[side], side)) for side in (0, 1)]
    threads.append(threading.Thread(target=ship))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert (calls(ledgers[0]), spent(ledgers[0])) == (20, 10 * 77 + 10 * 145)
    for ledger in ledgers:
        ledger.close()


def test_an_event_that_claims_a_spans_id_is_a_conflict(ledger: CentralLedger) -> None:
    seen = told(1)
    statuses(ledger, seen)
    forged = usage_event(seen.event.call.id, cost=1)
    assert [one.status for one in ledger.events.store("acme", [forged])] == ["conflict"]


def test_spans_are_known_again_however_many_are_alike_in_their_trace(
    ledger: CentralLedger,
) -> None:
    seen = [told(n, service=None) for n in range(1, 20_402)]
    for start in range(0, len(seen), 5_000):
        ledger.spans.store("acme", seen[start : start + 5_000])
    assert set(statuses(ledger, *seen[-200:], *seen[:200])) == {"duplicate"}


@pytest.mark.parametrize("is_dear_first", [True, False], ids=["dear first", "cheap first"])
@pytest.mark.parametrize("is_together", [True, False], ids=["together", "apart"])
def test_of_two_that_tell_as_much_the_dearer_one_counts(
    ledger: CentralLedger, is_dear_first: bool, is_together: bool
) -> None:
    pair = [told(1, answer="a"), told(2, OTHER_SDK, trace=2, into=9, answer="a")]
    for batch in (
        [pair] if is_together else [[one] for one in sorted(pair, reverse=is_dear_first, key=cost)]
    ):
        ledger.spans.store("acme", batch)
    assert (calls(ledger), spent(ledger)) == (1, 200)


def cost(one: ToldCall) -> int:
    return one.event.cost.amount_nanousd or 0


def test_a_proxy_and_its_client_that_both_stamp_an_answers_span_tell_of_one_call(
    ledger: CentralLedger,
) -> None:
    client = told(1, OURS, answer="a", call_id="c" * 32, service="client")
    proxy = told(1, OURS, trace=2, since=3, ms=90, answer="a", call_id="p" * 32, service="proxy")
    assert statuses(ledger, client, proxy) == ["accepted", "duplicate"]


def test_a_second_answer_is_a_second_call_however_alike(ledger: CentralLedger) -> None:
    below = told(2, SDK, parent=1, since=1, ms=98, answer="a")
    statuses(ledger, told(1, FRAMEWORK), below)
    other = told(3, OTHER_SDK, parent=1, since=2, ms=90, answer="b")
    assert statuses(ledger, other) == ["accepted"]
    assert calls(ledger) == 2


def test_own_events_that_come_one_by_one_each_take_the_place_of_one_span(
    ledger: CentralLedger,
) -> None:
    seen = [told(n, since=n, ms=100 - 2 * n) for n in range(1, 21)]
    ledger.spans.store("acme", seen)
    for n, one in enumerate(reversed(seen)):
        elsewhere = f"00-{1:032x}-{900 + n:016x}-01"
        event = msgspec.structs.replace(own(f"{n:032x}", one), traceparent=elsewhere)
        ledger.events.store("acme", [event])
    assert (calls(ledger), spent(ledger)) == (20, 20 * 77)


@pytest.mark.parametrize("is_own_first", [True, False], ids=["own first", "span first"])
def test_whichever_of_two_that_cannot_be_told_apart_comes_second_is_marked(
    ledger: CentralLedger, is_own_first: bool
) -> None:
    seen = told(1, FRAMEWORK, parent=9, out=3)
    event = msgspec.structs.replace(own("x" * 32, told(1)), traceparent=f"00-{1:032x}-{9:016x}-01")
    for step in (is_own_first, not is_own_first):
        if step:
            ledger.events.store("acme", [event])
        else:
            ledger.spans.store("acme", [seen])
    assert calls(ledger) == 2
    assert sum(SUSPECTED in each for each in marks(ledger)) == 1


def test_what_is_taken_back_can_be_left_out(ledger: CentralLedger) -> None:
    below = told(2, parent=1, since=1, ms=98, cached=5)
    statuses(ledger, told(1, FRAMEWORK))
    statuses(ledger, below)
    found = ledger.reader.events("acme", EventQuery(is_only_counted=True))
    assert [one.fact for one in found] == [below.event]
