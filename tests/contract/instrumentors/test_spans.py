"""What a span has: exact names, exact types, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import streaming
from tests.contract.instrumentors.stage import TEXT, Caller, Stage
from tests.fakes import Reply
from tollspan.api import BudgetExceededError
from tollspan.usage import UsageEvent

AT_THE_START = {
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.request.model": str,
    "server.address": str,
    "server.port": int,
    "tollspan.call.id": str,
    "tollspan.decision": str,
}
USAGE = {"gen_ai.usage.input_tokens": int, "gen_ai.usage.output_tokens": int}
COST = {
    "tollspan.cost.nanousd": int,
    "tollspan.cost.usd": float,
    "tollspan.cost.status": str,
    "tollspan.usage.status": str,
}
STREAM = {"gen_ai.request.stream": bool, "gen_ai.response.time_to_first_chunk": float}
IN_DETAIL = {
    "gen_ai.usage.cache_read.input_tokens": int,
    "gen_ai.usage.cache_write.input_tokens": int,
    "gen_ai.usage.reasoning.output_tokens": int,
}


def the_span(spans: InMemorySpanExporter) -> ReadableSpan:
    """Return the one span."""
    (span,) = spans.get_finished_spans()
    return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})


def types(span: ReadableSpan) -> dict[str, type]:
    """Return the types of a span's attributes."""
    return {name: type(value) for name, value in attributes(span).items()}


def at_the_start(kit: Kit) -> dict[str, type]:
    """Return what a span of a surface starts with."""
    said: dict[str, type] = {"gen_ai.request.max_tokens": int} if kit.most_output else {}
    if kit.operation == "embeddings":  # the SDK asks for `base64` by itself
        said = {"gen_ai.request.encoding_formats": tuple}
    return AT_THE_START | said


def usage(kit: Kit) -> dict[str, type]:
    """Return what a span of a surface says of tokens; vectors are none."""
    names = USAGE if kit.operation != "embeddings" else ("gen_ai.usage.input_tokens",)
    return dict.fromkeys(names, int)


def said(kit: Kit) -> dict[str, type]:
    """Return what a span has of an answer."""
    own = dict(kit.attributes) | {"gen_ai.response.model": str}
    if kit.text is not None:
        own |= {"gen_ai.response.id": str, "gen_ai.response.finish_reasons": tuple}
    return own


def assert_of_kit(span: ReadableSpan, stage: Stage) -> None:
    """See what the spans of all calls have in common."""
    kit = stage.kit
    assert span.name == f"{kit.operation} {kit.model}"
    assert span.kind is SpanKind.CLIENT
    found = attributes(span)
    assert found["gen_ai.operation.name"] == kit.operation
    assert found["gen_ai.provider.name"] == kit.provider
    assert found["gen_ai.request.model"] == kit.model
    assert found.get("gen_ai.request.max_tokens", 0) == kit.most_output
    assert f"http://{found['server.address']}:{found['server.port']}" == stage.fake.root_url
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "tollspan"
    assert span.events == ()


def assert_tells(span: ReadableSpan, event: UsageEvent) -> None:
    """See that a span says what the event says."""
    found = attributes(span)
    assert found["tollspan.call.id"] == event.call.id
    assert found["tollspan.decision"] == "allow"
    assert found["tollspan.cost.status"] == event.cost.status
    assert found["tollspan.cost.nanousd"] == event.cost.amount_nanousd
    assert found["tollspan.cost.usd"] == pytest.approx((event.cost.amount_nanousd or 0) / 1e9)
    assert event.usage is not None
    assert found["tollspan.usage.status"] == event.usage.status
    assert found["gen_ai.usage.input_tokens"] == event.usage.input_tokens
    assert found.get("gen_ai.usage.output_tokens", 0) == event.usage.output_tokens
    context = span.get_span_context()
    assert context is not None
    assert event.traceparent is not None
    assert event.traceparent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")


def test_the_span_of_an_answer(stage: Stage, spans: InMemorySpanExporter) -> None:
    stage.fake.script.default = Reply(text=TEXT)
    stage.run(Caller.ask)
    event = stage.priced_event()
    span = the_span(spans)
    assert_of_kit(span, stage)
    assert_tells(span, event)
    assert types(span) == at_the_start(stage.kit) | said(stage.kit) | usage(stage.kit) | COST
    assert attributes(span)["gen_ai.response.model"] == stage.kit.served_model
    assert span.status.status_code is StatusCode.UNSET


@streaming
def test_the_span_of_a_stream(stage: Stage, spans: InMemorySpanExporter) -> None:
    stage.fake.script.default = Reply(text=TEXT)

    async def work(caller: Caller) -> None:
        stream = await caller.stream()
        assert spans.get_finished_spans() == ()
        await caller.way.loop(stream)

    stage.run(work)
    span = the_span(spans)
    assert_of_kit(span, stage)
    assert_tells(span, stage.priced_event())
    assert (
        types(span) == at_the_start(stage.kit) | said(stage.kit) | usage(stage.kit) | COST | STREAM
    )
    assert attributes(span)["gen_ai.request.stream"] is True
    assert span.status.status_code is StatusCode.UNSET


@streaming
def test_sums_are_inclusive_and_parts_are_beside_them(
    stage: Stage, kit: Kit, spans: InMemorySpanExporter
) -> None:
    assert kit.streams is not None
    if kit.streams.thinking is None:
        return  # a surface without parts
    more = kit.streams.thinking.get("call", {})
    stage.fake.script.default = Reply(
        text=TEXT, prompt_tokens=1000, cached_tokens=600, reasoning_tokens=25
    )
    stage.run(lambda caller: caller.ask(**more))
    found = attributes(the_span(spans))
    assert found["gen_ai.usage.input_tokens"] == 1000
    assert found["gen_ai.usage.cache_read.input_tokens"] == 600
    assert found["gen_ai.usage.reasoning.output_tokens"] == 25
    assert found["gen_ai.usage.output_tokens"] == stage.fake.requests[0].output_tokens
    assert {type(found[name]) for name in IN_DETAIL if name in found} == {int}
    stage.priced_event()


@streaming
def test_the_span_of_a_stream_that_is_left(stage: Stage, spans: InMemorySpanExporter) -> None:
    stage.fake.script.default = Reply(text=TEXT, stall_after_chunks=40)

    async def work(caller: Caller) -> None:
        stream = await caller.stream()
        await caller.take(stream, 40)
        await caller.way.get(stream.close())

    stage.run(work)
    event = stage.event()
    span = the_span(spans)
    assert_of_kit(span, stage)
    assert_tells(span, event)
    assert attributes(span)["tollspan.usage.status"] == "estimated"
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("status", [400, 500])
def test_the_span_of_an_error(stage: Stage, spans: InMemorySpanExporter, status: int) -> None:
    stage.fake.script.default = Reply(status=status)
    with pytest.raises(stage.kit.package.APIStatusError) as caught:
        stage.run(Caller.ask)
    span = the_span(spans)
    assert_of_kit(span, stage)
    not_billed = {"tollspan.cost.status": str, "tollspan.cost.nanousd": int} | COST
    del not_billed["tollspan.usage.status"]
    assert types(span) == at_the_start(stage.kit) | {"error.type": str} | not_billed
    assert attributes(span)["error.type"] == str(status)
    assert attributes(span)["tollspan.cost.nanousd"] == 0
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == caught.type.__name__


def test_the_span_of_a_denial(poor: Stage, spans: InMemorySpanExporter) -> None:
    with pytest.raises(BudgetExceededError):
        poor.run(Caller.ask)
    span = the_span(spans)
    assert_of_kit(span, poor)
    denied = {"error.type": str, "tollspan.rule.id": str}
    assert types(span) == at_the_start(poor.kit) | denied
    found = attributes(span)
    assert found["error.type"] == "tollspan.budget_exceeded"
    assert found["tollspan.decision"] == "deny"
    assert found["tollspan.rule.id"] == "all"
    assert span.status.status_code is StatusCode.ERROR
    (denial,) = poor.denials()
    assert denial.call.id == found["tollspan.call.id"]


def test_the_callers_span_is_the_parent_and_stays_current(
    stage: Stage, spans: InMemorySpanExporter
) -> None:
    tracer = trace.get_tracer("app")

    async def work(caller: Caller) -> None:
        with tracer.start_as_current_span("caller") as current:
            await caller.ask()
            assert trace.get_current_span() is current

    stage.run(work)
    ours, callers = spans.get_finished_spans()
    assert ours.parent is not None
    context = callers.get_span_context()
    assert context is not None
    assert ours.parent.span_id == context.span_id
