"""Spans that were sent, as priced events: what they cost, whose they are, what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.server.otlp.bodies import CHAT, STARTED, json_body, span
from tollspan.ledger.central import ToldCall
from tollspan.pricing import PriceBook, parse_overrides
from tollspan.server.otlp import SpanError, read_json, told_call
from tollspan.usage import Attribution, Cost, Usage

BOOK = PriceBook.load()
OFFICIAL = "opentelemetry.instrumentation.genai.openai"


def told(
    scope: str = OFFICIAL, resource: dict[str, object] | None = None, **changes: Any
) -> ToldCall | None:
    """Read one span that was sent, and what it tells of."""
    (sent,) = read_json(json_body(span(**changes), scope=scope, resource=resource)).spans
    return told_call(sent, BOOK)


def known(
    scope: str = OFFICIAL, resource: dict[str, object] | None = None, **changes: Any
) -> ToldCall:
    """Read one span that tells of a call."""
    found = told(scope, resource, **changes)
    assert found is not None
    return found


def test_a_call_is_priced_by_the_book_as_of_its_start() -> None:
    event = known().event
    assert event.usage == Usage(input_uncached=3, cache_read=5, output=11)
    assert event.cost.status == "priced"
    assert event.cost.amount_nanousd == 3 * 150 + 5 * 75 + 11 * 600
    assert event.call.started_at_unix_ns == STARTED
    assert event.outcome.duration_ns == 10**9
    assert event.traceparent == f"00-{1:032x}-{1:016x}-00"
    assert event.call.door == "otlp"


@pytest.mark.parametrize(
    ("changes", "cost", "usage"),
    [
        pytest.param({"gen_ai.request.model": "no-such", "gen_ai.response.model": "no-such"},
                     "unpriced", "reported", id="a model without a price"),
        pytest.param({"gen_ai.usage.input_tokens": "x", "gen_ai.usage.output_tokens": "x"},
                     "unknown", "unknown", id="no usage"),
        pytest.param({"gen_ai.provider.name": "nobody"}, "unpriced", "reported", id="a provider"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said_to_be(changes: dict[str, object], cost: str, usage: str) -> None:
    event = known(attributes={**CHAT, **changes}).event
    assert (event.cost.status, event.cost.amount_nanousd) == (cost, None)
    assert event.usage is not None
    assert event.usage.status == usage


def test_a_lossy_dialect_is_an_estimate() -> None:
    usage = known("somebody.elses").event.usage
    assert usage is not None
    assert usage.status == "estimated"


def test_a_call_that_the_provider_refused_cost_nothing() -> None:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
                  "gen_ai.request.model": "gpt-4o", "error.type": "RateLimitError"}  # fmt: skip
    event = known(attributes=attributes, status={"code": 2}).event
    assert event.cost == Cost(status="not_billed", amount_nanousd=0)
    assert event.outcome.status == "error"


@pytest.mark.parametrize(
    "changes",
    [
        {"gen_ai.operation.name": "invoke_agent"},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"},
        {"tollspan.decision": "deny", "tollspan.call.id": "a" * 32},
    ],
    ids=str,
)
def test_sums_refusals_and_tools_without_a_price_are_no_calls(changes: dict[str, object]) -> None:
    assert told(attributes={**CHAT, **changes}) is None


def test_a_tool_with_a_price_is_a_call() -> None:
    overrides = parse_overrides("version: 1\ntools: {add: 0.01 USD}")
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"}
    (sent,) = read_json(json_body(span(attributes=attributes))).spans
    found = told_call(sent, PriceBook.load(overrides=overrides))
    assert found is not None
    assert found.event.cost.amount_nanousd == 10_000_000
    assert found.event.call.request.provider == "tool"


OURS: dict[str, object] = {
    **CHAT,
    "tollspan.call.id": "0" * 31 + "1",
    "tollspan.cost.nanousd": 123,
    "tollspan.cost.status": "priced",
    "tollspan.usage.status": "estimated",
}


def test_what_tollspan_on_the_host_has_put_there_is_taken() -> None:
    found = known("tollspan", attributes=OURS)
    assert found.call_id == "0" * 31 + "1"
    assert found.event.call.id != found.call_id
    assert found.event.cost == Cost(status="priced", amount_nanousd=123)
    assert found.event.usage is not None
    assert found.event.usage.status == "estimated"


@pytest.mark.parametrize("amount", [-1, 1 << 62])
def test_money_that_cannot_be_is_refused(amount: int) -> None:
    with pytest.raises(SpanError, match=r"tollspan\.cost\.nanousd"):
        told(attributes={**OURS, "tollspan.cost.nanousd": amount})


def test_a_cost_without_a_call_of_ours_is_nobodys_word() -> None:
    attributes = {**OURS}
    del attributes["tollspan.call.id"]
    assert (
        known(attributes=attributes).event.cost.amount_nanousd == known().event.cost.amount_nanousd
    )


@pytest.mark.parametrize(
    ("said", "resource", "owner"),
    [
        pytest.param(
            {"tollspan.customer.id": "acme", "session.id": "s", "user.id": 7,
             "gen_ai.agent.name": "a", "tollspan.feature": "f", "tollspan.tag.tier": "free"},
            {"service.name": "web", "deployment.environment.name": "prod"},
            Attribution(customer="acme", session="s", user="7", agent="a", feature="f",
                        service="web", environment="prod", tags=(("tier", "free"),)),
            id="ours and the conventions'",
        ),
        pytest.param(
            {}, {"service.name": "web", "deployment.environment": "test",
                 "tollspan.customer.id": "acme", "tollspan.team": "t"},
            Attribution(customer="acme", team="t", service="web", environment="test"),
            id="of the resource, an older name",
        ),
        pytest.param(
            {"tollspan.customer.id": "span"}, {"tollspan.customer.id": "resource"},
            Attribution(customer="span"), id="the span's before the resource's",
        ),
        pytest.param(
            {"traceloop.association.properties.customer_id": "acme",
             "traceloop.association.properties.session_id": "s",
             "traceloop.association.properties.user_id": "u"}, {"x": "y"},
            Attribution(customer="acme", session="s", user="u"), id="OpenLLMetry's",
        ),
        pytest.param(
            {"ai.telemetry.metadata.userId": "u", "ai.telemetry.metadata.sessionId": "s"},
             {"x": ""},
            Attribution(session="s", user="u"), id="Vercel's",
        ),
        pytest.param(
            {"langfuse.user.id": "u", "langfuse.session.id": "s", "langfuse.environment": "e"},
            {"x": ""}, Attribution(session="s", user="u", environment="e"), id="Langfuse's",
        ),
        pytest.param(
            {"tollspan.customer.id": "x" * 300, "session.id": "a\nb", "tollspan.tag.é": "x"},
            {"service.name": "x" * 300}, Attribution(), id="what is no value says nothing",
        ),
    ],
)  # fmt: skip
def test_the_owner_is_whom_the_span_or_its_resource_names(
    said: dict[str, object], resource: dict[str, object], owner: Attribution
) -> None:
    found = known(resource=resource, attributes={**CHAT, **said})
    assert found.event.call.attribution == owner


def test_the_event_of_a_span_has_one_id_and_none_that_a_program_gives() -> None:
    ids = {known(spanId=f"{n:016x}").event.call.id for n in (1, 2, 1)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("scope", "is_framework"),
    [(OFFICIAL, False), ("opentelemetry.instrumentation.langchain", True), ("tollspan", False)],
)
def test_frameworks_are_known(scope: str, is_framework: bool) -> None:
    assert known(scope).is_framework is is_framework
