"""What the page says of doubts, of caching and of what comes in: honest, exact, each its own."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.contract.central.making import usage_event
from tests.pages import Page, Person
from tests.serving import RunningServer, running_server
from tests.unit.server.otlp.bodies import CHAT, json_body, span
from tollspan.ledger.central import UsageSums
from tollspan.pricing import PriceBook
from tollspan.server.metrics import ServerMetrics
from tollspan.server.page.caching import prices_of
from tollspan.server.page.trust import trust_of
from tollspan.server.tally import Tally
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    Cost,
    Fact,
    Usage,
    UsageEvent,
    encode_batch,
    encode_cloud_event,
)

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(where) as running:
        yield running


def send(server: RunningServer, key: str, *facts: Fact) -> list[str]:
    body = encode_batch([encode_cloud_event(fact) for fact in facts])
    answer = server.ask(
        "POST", "/v1/events", key=key, data=body, headers={"Content-Type": BATCH_MEDIA_TYPE}
    )
    return [one["status"] for one in answer.json["results"]]


def shown(server: RunningServer, tenant: str, *facts: Fact) -> Person:
    key = server.make_key(tenant)
    assert send(server, key, *facts) == ["accepted"] * len(facts)
    person = Person(server)
    assert person.sign_in(key).status == 303
    return person


def amounts(page: Page) -> list[str]:
    return [said["value"] or "" for tag, said in page.tags if tag == "data"]


def used(model: str, **tokens: int) -> UsageEvent:
    usage = msgspec.convert({"status": "reported", **tokens}, Usage)
    return msgspec.structs.replace(usage_event(model=model), usage=usage)


def test_every_kind_of_doubt_leads_to_its_own_events(server: RunningServer) -> None:
    replace = msgspec.structs.replace
    events = {
        "unpriced": replace(usage_event(customer="u"), cost=Cost(status="unpriced")),
        "unknown": replace(
            usage_event(), usage=Usage(status="unknown"), cost=Cost(status="unknown")
        ),
        "estimated": replace(usage_event(cost=11), usage=Usage(status="estimated", output=1)),
        "late": usage_event(cost=7, age_seconds=7_200),
        "plain": usage_event(answer="r", cost=100),
        "suspected_duplicate": usage_event(answer="r", cost=3),
    }
    person = shown(server, "doubts", *events.values())
    page = person.get("/trust")
    for doubt, event in events.items():
        if doubt == "plain":
            continue
        (link,) = page.links(f"of={doubt}")
        listed = person.get(link)
        assert [name for name, one in events.items() if one.call.id in listed.text] == [doubt], (
            doubt
        )
        assert event.call.id in listed.text
    assert not page.links("of=taken_back")
    assert {"11", "7", "3"} <= set(amounts(page))  # of those that are estimated, late, suspected
    assert "50% at least 3 of 6" in page.words
    empty = person.get("/events?of=taken_back")
    assert "is kept one by one" in empty.words
    assert person.get("/events?of=nonsense").status == 400


def test_what_is_certain_is_never_more_than_there_is() -> None:
    sums = UsageSums(calls=5, unpriced=3, unknown=3, cost_nanousd=10, estimated_nanousd=11)
    assert (trust_of(sums).exact_calls, trust_of(sums).exact_nanousd) == (0, 0)
    assert trust_of(UsageSums(calls=5, cost_nanousd=9)).exact_calls == 5


def test_a_call_that_is_told_better_is_a_correction_with_its_reason(server: RunningServer) -> None:
    key = server.make_key("told")
    at = time.time_ns() - 5 * 10**9
    said = {name: value for name, value in CHAT.items() if "response" not in name}
    said["gen_ai.request.model"] = "nobody-knows"
    one = span(7, startTimeUnixNano=str(at), endTimeUnixNano=str(at + 10**9), attributes=said)
    server.ask("POST", "/v1/traces", key=key, data=json_body(one), headers=JSON)
    own = usage_event(cost=50, traceparent=f"00-{7:032x}-{7:016x}-01")
    own = msgspec.structs.replace(
        own, call=msgspec.structs.replace(own.call, started_at_unix_ns=at)
    )
    assert send(server, key, own) == ["accepted"]
    person = Person(server)
    person.sign_in(key)
    page = person.get("/trust")
    assert not page.links("of=unpriced")
    assert "nobody-knows" not in person.get("/events?of=unpriced").text
    (link,) = page.links("of=taken_back")
    listed = person.get(link)
    assert f"another event tells this call better: {own.call.id}" in listed.words


def test_caching_saves_what_the_book_says_less_what_writing_cost(server: RunningServer) -> None:
    person = shown(
        server, "cached",
        used("gpt-4o-mini", input_uncached=1_000, cache_read=3_000),
        used("claude-haiku-4-5", input_uncached=10, cache_write_5m=1_000_000),
        used("nobody-knows", cache_read=77_000),
        used("gpt-4o", input_uncached=9),
    )  # fmt: skip
    page = person.get("/caching?range=today")
    book = PriceBook.load()
    mini = prices_of(book, "openai", "gpt-4o-mini", time.time_ns())
    saved = 3_000 * (mini["input_uncached"] - mini["cache_read"]) / 1_000
    assert saved == 225_000  # nano-USD, of prices that are known by heart
    rows = page.text[page.text.index("<tbody>") :].split("</tr>")
    of = {
        name: next(row for row in rows if name in row)
        for name in ("gpt-4o-mini", "claude-haiku-4-5", "nobody-knows")
    }
    assert 'value="225000"' in of["gpt-4o-mini"]
    assert "unknown" in of["nobody-knows"]
    assert "77k tokens without a price" in of["nobody-knows"]
    assert "estimate" in page.words


def test_writing_into_a_cache_is_taken_off(server: RunningServer) -> None:
    made = used("claude-haiku-4-5", cache_write_5m=1_000_000)
    request = msgspec.structs.replace(made.call.request, provider="anthropic")
    made = msgspec.structs.replace(made, call=msgspec.structs.replace(made.call, request=request))
    page = shown(server, "written", made).get("/caching?range=today")
    # 1 USD for a million tokens of input, 1.25 USD to write them: a quarter was lost.
    assert amounts(page)[:3] == ["-250000000", "0", "250000000"]


def test_what_came_was_refused_and_came_twice_is_counted(server: RunningServer) -> None:
    key = server.make_key("intake")
    one = usage_event()
    assert send(server, key, one, usage_event(age_seconds=90 * 86_400)) == ["accepted", "rejected"]
    assert send(server, key, one) == ["duplicate"]
    person = Person(server)
    person.sign_in(key)
    page = person.get("/health")
    assert "too old 1" in page.words
    assert "1 copy was counted once" in page.words
    assert "on time" in page.words
    assert re.search(r"Last event (just now|\d+ seconds? ago)", page.words)
    trust = person.get("/trust")
    assert "Duplicates 1" in trust.words
    assert "Rejected 1" in trust.words


def test_a_sender_whose_newest_call_came_long_after_its_end_is_behind(
    server: RunningServer,
) -> None:
    person = shown(server, "behind", usage_event(age_seconds=1_200), usage_event(age_seconds=600))
    words = person.get("/health").words
    assert "Furthest behind 9 minutes" in words or "Furthest behind 10 minutes" in words


def test_senders_that_nobody_pays_for_are_not_shown_to_others(server: RunningServer) -> None:
    made = usage_event()
    owner = msgspec.structs.replace(made.call.attribution, service="<b>secret</b>")
    made = msgspec.structs.replace(made, call=msgspec.structs.replace(made.call, attribution=owner))
    mine = shown(server, "mine", made).get("/health")
    assert "<b>secret</b>" in mine.words
    assert "<b>" not in mine.text
    assert "secret" not in shown(server, "others", usage_event()).get("/health").text


def test_spans_are_counted_as_they_come_too(server: RunningServer) -> None:
    key = server.make_key("spans")
    at = time.time_ns() - 2 * 10**9
    new: dict[str, Any] = span(1, startTimeUnixNano=str(at), endTimeUnixNano=str(at + 10**9))
    old = span(2, startTimeUnixNano="1600000000000000000", endTimeUnixNano="1600000001000000000")
    body = json_body(new, old, resource={"service.name": "other-sdk"})
    for _ in range(2):
        server.ask("POST", "/v1/traces", key=key, data=body, headers=JSON)
    person = Person(server)
    person.sign_in(key)
    page = person.get("/health")
    assert "other-sdk" in page.words
    assert "too old 2" in page.words
    assert "1 copy was counted once" in page.words


def test_what_is_stored_twice_is_counted_once(server: RunningServer) -> None:
    tally = Tally(server.ledger, ServerMetrics())
    store = tally.storing(server.ledger.events.store)
    event = usage_event()
    assert [store("twice", [event])[0].status for _ in range(2)] == ["accepted", "duplicate"]
    tally.flush()
    counts = server.ledger.receipts.sums("twice", 0, time.time_ns())
    assert {name: n for name, n in counts.items() if not name.startswith("lag")} == {"accepted": 1}


def test_calls_that_are_asked_for_over_http_are_counted_too(server: RunningServer) -> None:
    key = server.make_key("asked")
    asked = {
        "provider": "openai", "model": "gpt-4o-mini", "max_input_tokens": 10,
        "max_output_tokens": 10, "attribution": {"customer": "in-javascript"},
    }  # fmt: skip
    call_id = server.ask("POST", "/v1/authorize", key=key, body=asked).json["call_id"]
    ended = {"call_id": call_id, "usage": {"input_uncached": 10, "output": 5}}
    for _ in range(2):
        answer = server.ask("POST", "/v1/settle", key=key, body=ended)
        assert answer.status == 200, answer.body
    person = Person(server)
    person.sign_in(key)
    page = person.get("/health")
    assert "asked for over HTTP" in page.words
    assert "1 in the last 24 hours" in page.words
