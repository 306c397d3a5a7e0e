"""Events as CloudEvents: what is sent is what arrives, whatever reads JSON on the way."""

from __future__ import annotations

import contextlib
import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.usage import (
    Adjustment,
    Attribution,
    BlockBudget,
    Call,
    Charge,
    Cost,
    DecisionEvent,
    DecisionNote,
    Fact,
    Outcome,
    Request,
    Response,
    Usage,
    UsageEvent,
    WireError,
    decode_cloud_event,
    encode_batch,
    encode_cloud_event,
    event_id,
    new_call_id,
    split_batch,
)

LARGEST = 1 << 62
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
maybe = st.none() | words
amounts = st.integers(-LARGEST, LARGEST)
maybe_amounts = st.none() | amounts
blocks = st.builds(BlockBudget, id=words, limit=st.integers(0, LARGEST), unit=st.just("usd"))
calls = st.builds(
    Call,
    id=st.builds(new_call_id),
    started_at_unix_ns=st.integers(0, LARGEST),
    request=st.builds(
        Request,
        provider=words,
        operation=words,
        model=words,
        max_output_tokens=st.none() | st.integers(0, 1_000_000),
        quantities=st.lists(st.tuples(words, st.integers(0, LARGEST)), max_size=2).map(tuple),
    ),
    attribution=st.builds(
        Attribution,
        customer=maybe,
        service=maybe,
        tags=st.lists(st.tuples(words, words), max_size=2).map(tuple),
        budgets=st.lists(blocks, max_size=2).map(tuple),
    ),
)
charges = st.lists(
    st.builds(
        Charge,
        budget_id=words,
        scope=st.just("") | words,
        posted=amounts,
        unresolved=amounts,
        overrun=amounts,
        drawn=maybe_amounts,
    ),
    max_size=3,
).map(tuple)
notes = st.builds(DecisionNote, bound_nanousd=maybe_amounts, rule_ids=st.just(("a", "b")))
facts: st.SearchStrategy[Fact] = st.one_of(
    st.builds(
        UsageEvent,
        call=calls,
        decision=notes,
        outcome=st.builds(
            Outcome, status=st.just("ok"), response=st.builds(Response, id=maybe, model=maybe)
        ),
        usage=st.none() | st.builds(Usage, output=st.integers(0, LARGEST)),
        cost=st.builds(
            Cost,
            status=st.just("priced"),
            amount_nanousd=maybe_amounts,
            reported_nanousd=maybe_amounts,
        ),
        charges=charges,
        lease_id=maybe,
        traceparent=st.none() | st.just("00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
    ),
    st.builds(
        DecisionEvent,
        call=calls,
        decision=notes,
        error_type=words,
        number=st.integers(0, 3),
        limit=maybe_amounts,
        asked=maybe_amounts,
        scope=st.lists(st.tuples(words, maybe), max_size=2).map(tuple),
    ),
    st.builds(
        Adjustment,
        id=st.builds(new_call_id),
        at_unix_ns=st.integers(0, LARGEST),
        action=st.just("raise"),
        author=words,
        reason=words,
        charges=charges,
    ),
)


@given(st.lists(facts, max_size=3))
def test_what_is_sent_is_what_arrives_also_by_way_of_readers_that_know_only_doubles(
    sent: list[Fact],
) -> None:
    written = encode_batch([encode_cloud_event(one) for one in sent])
    assert [decode_cloud_event(one) for one in split_batch(written)] == sent
    again = [json.dumps(one).encode() for one in json.loads(written, parse_int=float_of)]
    assert [decode_cloud_event(one) for one in again] == sent


def float_of(digits: str) -> int:
    """Read a number as JavaScript does."""
    return int(float(digits))


def _numbers(value: object, path: str = "") -> list[str]:
    """Return the keys of all whole numbers."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return [one for name, item in fields.items() for one in _numbers(item, name)]
    if isinstance(value, list):
        return [one for item in cast("list[object]", value) for one in _numbers(item, path)]
    return [path] if type(value) is int else []


@given(facts)
def test_no_amount_travels_as_a_number(fact: Fact) -> None:
    money = {"amount_nanousd", "reported_nanousd", "bound_nanousd", "posted", "unresolved"}
    money |= {"overrun", "drawn", "limit", "asked", "spent", "held"}
    assert not money & set(_numbers(json.loads(encode_cloud_event(fact))))


@given(facts)
def test_the_envelope_is_of_cloud_events(fact: Fact) -> None:
    found = json.loads(encode_cloud_event(fact))
    assert (found["specversion"], found["id"]) == ("1.0", event_id(fact))
    assert found["source"].startswith("//")
    assert found["source"].isascii()
    assert found["datacontenttype"] == "application/json"
    assert found["time"].endswith("Z")
    assert all(found[name] for name in ("id", "source", "type"))
    customer = None if isinstance(fact, Adjustment) else fact.call.attribution.customer
    assert found.get("subject") == customer


def a_usage_event() -> dict[str, object]:
    request = Request(provider="openai", operation="chat", model="gpt-4o")
    event = UsageEvent(
        call=Call(id="1", started_at_unix_ns=1, request=request, attribution=Attribution()),
        decision=DecisionNote(),
        outcome=Outcome(status="ok"),
        usage=Usage(output=3),
        cost=Cost(status="priced", amount_nanousd=5),
    )
    found: dict[str, object] = json.loads(encode_cloud_event(event))
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"type": "com.example.other"}, "`type` is 'com.example.other'"),
        ({"id": "2"}, "`id` is '2', but `data` is of '1'"),
        ({"datacontenttype": "text/plain"}, "`datacontenttype` is 'text/plain'"),
        ({"data": {"type": "usage"}}, "`data`: Object missing required field"),
        ({"data": None}, "`data`: "),
        ({"source": None}, r"\$.source"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(WireError, match=said):
        decode_cloud_event(json.dumps({**a_usage_event(), **change}).encode())


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[1,]", b'["\xff"]', b"null"])
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        [decode_cloud_event(one) for one in split_batch(body)]


@given(st.binary(max_size=200))
def test_whatever_arrives_is_an_event_or_refused(body: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_cloud_event(body)


@pytest.mark.parametrize("service", ["a\udcff", "\ud83d", " ", "a/b?c", "é"])
def test_an_event_of_a_service_with_an_odd_name_is_sent_all_the_same(service: str) -> None:
    request = Request(provider="openai", operation="chat", model="gpt-4o")
    call = Call(
        id="1", started_at_unix_ns=1, request=request, attribution=Attribution(service=service)
    )
    written = encode_cloud_event(DecisionEvent(call=call, decision=DecisionNote(), error_type="e"))
    assert json.loads(written)["source"].isascii()
    read = decode_cloud_event(written)
    assert isinstance(read, DecisionEvent)
    assert read.call.attribution.service == service.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("word", ["null", "true", "1", "1e3", "NaN"])
def test_a_name_that_looks_like_another_value_is_a_name(word: str) -> None:
    request = Request(provider=word, operation=word, model=word, region=word, server=word)
    payer = Attribution(customer=word, session=word, tags=((word, word),))
    call = Call(id=word, started_at_unix_ns=1, request=request, attribution=payer)
    event = DecisionEvent(
        call=call, decision=DecisionNote(), error_type=word, scope=((word, word), (word, None))
    )
    assert decode_cloud_event(encode_cloud_event(event)) == event
