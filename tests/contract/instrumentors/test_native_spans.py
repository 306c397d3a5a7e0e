"""SDKs that make spans themselves: one span a call, ours or theirs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tests.contract.instrumentors.kits import kits
from tests.contract.instrumentors.stage import TEXT, Caller, Stage
from tests.fakes import Reply
from tollspan.api import BudgetExceededError

native = kits(lambda kit: kit.has_native_spans)
Call = Callable[[Caller], Coroutine[Any, Any, None]]


async def plain(caller: Caller) -> None:
    await caller.ask()


async def raw(caller: Caller) -> None:
    await caller.raw()


async def stream(caller: Caller) -> None:
    await caller.way.loop(await caller.stream())


async def stream_by_next(caller: Caller) -> None:
    made = await caller.stream()
    while await caller.way.next(made) is not None:
        pass


async def helper(caller: Caller) -> None:
    async with caller.helper() as made:
        await caller.way.loop(made)


async def left_stream(caller: Caller) -> None:
    made = await caller.stream()
    await caller.take(made, 40)
    await caller.way.get(made.close())


CALLS = [plain, raw, stream, stream_by_next, helper, left_stream]


def scope(span: ReadableSpan) -> str | None:
    """Return who made a span."""
    return span.instrumentation_scope.name if span.instrumentation_scope else None


@native
@pytest.mark.parametrize("call", CALLS)
def test_the_sdks_own_span_is_the_only_one_and_names_our_call(
    stage: Stage, all_spans: InMemorySpanExporter, call: Call
) -> None:
    stage.fake.script.default = Reply(text=TEXT)
    stage.run(call)
    event = stage.event()
    (span,) = all_spans.get_finished_spans()
    assert scope(span) == "com.anthropic.sdk.python"
    assert span.attributes is not None
    assert span.attributes["tollspan.call.id"] == event.call.id
    assert span.attributes["tollspan.decision"] == "allow"
    context = span.get_span_context()
    assert context is not None
    assert event.traceparent is not None
    assert event.traceparent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")


@native
def test_the_sdks_own_span_is_as_without_us_but_for_our_marks(
    stage: Stage, all_spans: InMemorySpanExporter
) -> None:
    async def work(caller: Caller) -> None:
        await plain(caller)
        await stream(caller)

    caller = stage.caller()
    with stage.bare():
        stage.way.run(work(caller))
    stage.way.run(work(caller))
    *alone, one, two = all_spans.get_finished_spans()
    for theirs, marked in zip(alone, (one, two), strict=True):
        # Alone the span is gated as any foreign one, and bears a mark of ours as well.
        ours = {name for name in marked.attributes or {} if name.startswith("tollspan.")}
        assert set(theirs.attributes or {}) - ours == set(marked.attributes or {}) - ours
        assert marked.name == theirs.name
        assert marked.status.status_code is theirs.status.status_code


@native
@pytest.mark.parametrize("how", ["setting", "argument"])
@pytest.mark.parametrize("call", [plain, stream])
def test_ours_comes_instead_where_the_sdks_own_is_off(
    stage: Stage,
    all_spans: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    how: str,
) -> None:
    options: dict[str, Any] = {}
    if how == "setting":
        monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")
    else:
        options["open_telemetry"] = False
    stage.run(call, **options)
    (span,) = all_spans.get_finished_spans()
    assert scope(span) == "tollspan"
    assert span.attributes is not None
    assert span.attributes["tollspan.call.id"] == stage.priced_event().call.id


@native
@pytest.mark.parametrize("call", [plain, stream])
def test_a_client_with_a_tracer_provider_of_its_own_is_marked_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    stage.run(call, open_telemetry={"tracer_provider": provider})
    (span,) = memory.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["tollspan.call.id"] == stage.priced_event().call.id


@native
def test_a_denied_call_never_reaches_the_sdks_span_and_has_ours(
    poor: Stage, all_spans: InMemorySpanExporter
) -> None:
    with pytest.raises(BudgetExceededError):
        poor.run(plain)
    (span,) = all_spans.get_finished_spans()
    assert scope(span) == "tollspan"
    assert span.status.status_code is StatusCode.ERROR
    (denial,) = poor.denials()
    assert span.attributes is not None
    assert span.attributes["tollspan.call.id"] == denial.call.id


@native
@pytest.mark.parametrize("call", [plain, stream])
def test_suppressed_instrumentation_leaves_the_gate(
    stage: Stage, all_spans: InMemorySpanExporter, call: Call
) -> None:
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    with suppress_instrumentation():
        stage.run(call)
    stage.priced_event()
    assert all(scope(span) != "tollspan" for span in all_spans.get_finished_spans())


@native
def test_an_error_is_on_the_sdks_span(stage: Stage, all_spans: InMemorySpanExporter) -> None:
    stage.fake.script.default = Reply(status=400)
    with pytest.raises(stage.kit.package.BadRequestError):
        stage.run(plain)
    (span,) = all_spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["tollspan.call.id"] == stage.event().call.id
    assert trace.get_current_span() is trace.INVALID_SPAN
