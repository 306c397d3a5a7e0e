"""Events in the ledger's own form."""

from __future__ import annotations

import pytest

from tollspan.usage import (
    Attribution,
    Call,
    Cost,
    DecisionNote,
    Outcome,
    Request,
    Response,
    Usage,
    UsageEvent,
    decode_event,
    encode_event,
)


def an_event(model: str, response_id: str) -> UsageEvent:
    request = Request(provider="openai", operation="chat", model=model)
    return UsageEvent(
        call=Call(id="1", started_at_unix_ns=1, request=request, attribution=Attribution()),
        decision=DecisionNote(),
        outcome=Outcome(status="ok", response=Response(id=response_id)),
        usage=Usage(output=3),
        cost=Cost(status="priced", amount_nanousd=5),
    )


def test_what_is_written_is_read_again() -> None:
    event = an_event("gpt-4o-mini", "chatcmpl-ü")
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize("text", ["\ud800", "gpt\udfff"])
def test_text_that_is_no_unicode_costs_no_event(text: str) -> None:
    read = decode_event(encode_event(an_event(text, text)))
    assert isinstance(read, UsageEvent)
    assert read.cost.amount_nanousd == 5
    assert read.call.request.model == text.encode("utf-8", "replace").decode()
