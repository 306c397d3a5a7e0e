"""What OpenTelemetry sees of calls, on the wire; and what nobody may see anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.otlp_receiver import OtlpReceiver, ReceivedSpan

PROMPT = "tell nobody that the heron flies at noon"
ANSWER = "the heron has landed in secret"
KEY = "sk-proj-planted-key-0123456789"
HEADER = "planted-header-value-98765"
LIMIT = "0.000515"

PROGRAM = f"""
    import asyncio, sys
    import openai
    from tollspan.api import BudgetExceededError

    asked = dict(
        model="gpt-4o-mini",
        messages=[{{"role": "user", "content": {PROMPT!r}}}],
        max_tokens=100,
        extra_headers={{"x-planted": {HEADER!r}}},
    )
    client = openai.OpenAI(max_retries=0)
    client.chat.completions.create(**asked)
    list(client.chat.completions.create(stream=True, **asked))

    async def main():
        async with openai.AsyncOpenAI(max_retries=0) as other:
            await other.chat.completions.create(n=2, **asked)

    asyncio.run(main())
    refused = {{**asked, "model": "gpt-4o-mini-2024-07-18", "messages": []}}
    try:
        client.chat.completions.create(**refused)
    except openai.BadRequestError:
        pass
    for _ in range(40):
        try:
            client.chat.completions.create(**asked)
        except BudgetExceededError as denial:
            print(denial)
            sys.exit(0)
"""


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """Serve answers that are easy to find again."""
    with FakeOpenAI(Reply(text=ANSWER, reasoning_tokens=7, cached_tokens=5)) as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """Receive spans."""
    with OtlpReceiver() as endpoint:
        yield endpoint


def run(
    home: Path, fake: FakeOpenAI, receiver: OtlpReceiver | None, code: str, **env: str
) -> tuple[str, str]:
    """Run a program under `tollspan run`; return what it printed, output and errors."""
    settings = receiver.environment if receiver is not None else {}
    environment = harness.environment(
        home, fake.base_url, **{"OPENAI_API_KEY": KEY, **settings, **env}
    )
    done = harness.run(harness.program(code), environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def types(span: ReceivedSpan) -> dict[str, type]:
    """Return the types of a span's attributes."""
    return {name: type(value) for name, value in span.attributes.items()}


AT_THE_START = {
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.request.model": str,
    "gen_ai.request.max_tokens": int,
    "server.address": str,
    "server.port": int,
    "tollspan.call.id": str,
    "tollspan.decision": str,
    "tollspan.customer.id": str,
}
AT_THE_END = {
    "gen_ai.response.id": str,
    "gen_ai.response.model": str,
    "gen_ai.response.finish_reasons": list,
    "openai.response.service_tier": str,
    "gen_ai.usage.input_tokens": int,
    "gen_ai.usage.output_tokens": int,
    "gen_ai.usage.cache_read.input_tokens": int,
    "gen_ai.usage.reasoning.output_tokens": int,
    "tollspan.cost.nanousd": int,
    "tollspan.cost.usd": float,
    "tollspan.cost.status": str,
    "tollspan.usage.status": str,
}


def test_spans_on_the_wire_are_as_the_conventions_say(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path, limit=LIMIT)
    run(
        tmp_path,
        fake,
        receiver,
        PROGRAM,
        TOLLSPAN_CUSTOMER="acme",
        OTEL_SERVICE_NAME="checkout",
    )
    events = {event.call.id: event for event in harness.usage_events(tmp_path)}
    denials = harness.denials(tmp_path)
    spans = receiver.spans
    assert len(spans) == len(events) + len(denials)
    for span in spans:
        assert (span.scope, span.scope_version) == ("tollspan", version("tollspan"))
        assert span.schema_url == "https://opentelemetry.io/schemas/gen-ai/1.42.0"
        assert span.resource["service.name"] == "checkout"
        assert span.name == f"chat {span.attributes['gen_ai.request.model']}"
        assert span.kind == "SPAN_KIND_CLIENT"
        assert span.attributes["gen_ai.provider.name"] == "openai"
        assert span.attributes["gen_ai.operation.name"] == "chat"
        assert span.attributes["tollspan.customer.id"] == "acme"
        assert span.attributes["server.address"] == "127.0.0.1"
    whole, streamed, two, refused, *_, denied = spans

    assert types(whole) == AT_THE_START | AT_THE_END
    assert whole.status == "STATUS_CODE_UNSET"
    event = events[str(whole.attributes["tollspan.call.id"])]
    assert event.usage is not None
    assert whole.attributes["gen_ai.usage.input_tokens"] == event.usage.input_tokens
    assert whole.attributes["gen_ai.usage.output_tokens"] == event.usage.output_tokens
    assert whole.attributes["gen_ai.usage.reasoning.output_tokens"] == 7
    assert whole.attributes["gen_ai.usage.cache_read.input_tokens"] == 5
    assert whole.attributes["tollspan.cost.nanousd"] == event.cost.amount_nanousd
    assert whole.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert event.traceparent is not None
    assert event.traceparent.startswith(f"00-{whole.trace_id}-{whole.span_id}-")

    streaming = {
        "gen_ai.request.stream": bool,
        "gen_ai.response.time_to_first_chunk": float,
    }
    assert types(streamed) == AT_THE_START | AT_THE_END | streaming
    assert types(two) == AT_THE_START | AT_THE_END | {"gen_ai.request.choice.count": int}
    assert two.attributes["gen_ai.response.finish_reasons"] == ["stop", "stop"]

    assert refused.status == "STATUS_CODE_ERROR"
    assert refused.status_message == "BadRequestError"
    assert "gen_ai.usage.input_tokens" not in refused.attributes
    assert type(refused.attributes["error.type"]) is str

    assert denied.status == "STATUS_CODE_ERROR"
    assert types(denied) == AT_THE_START | {"error.type": str, "tollspan.rule.id": str}
    assert denied.attributes["error.type"] == "tollspan.budget_exceeded"
    assert denied.attributes["tollspan.decision"] == "deny"
    assert denied.attributes["tollspan.rule.id"] == "all"
    (denial,) = denials
    assert denial.call.id == denied.attributes["tollspan.call.id"]
    assert denial.traceparent is not None
    assert denial.traceparent.startswith(f"00-{denied.trace_id}-{denied.span_id}-")


def test_prompts_keys_headers_and_answers_are_nowhere(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    text = """
        version: 1
        defaults: {on_unavailable: allow}
        budgets: [{id: all, limit: 0.000515 USD}]
        hosts: {127.0.0.1: openai}
    """
    harness.write_rules(tmp_path, text=text)
    # Content capture is not supported: asking for it must change nothing.
    asked = {
        "TOLLSPAN_LOG_LEVEL": "DEBUG",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_and_event",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
    }
    said = [*run(tmp_path, fake, receiver, PROGRAM, **asked)]
    # Again with a ledger that is broken: what can't be stored is put aside in files of its own.
    (tmp_path / "ledger.db").write_bytes(b"not a database" * 1000)
    for leftover in tmp_path.glob("ledger.db-*"):
        leftover.unlink()
    said += run(tmp_path, fake, receiver, PROGRAM, **asked)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 2
    places = {
        **{path.name: path.read_bytes() for path in files},
        **{f"export {n}": body for n, body in enumerate(receiver.bodies)},
        **{f"output {n}": one.encode() for n, one in enumerate(said)},
    }
    assert all((receiver.spans, receiver.metrics, receiver.logs))
    assert any(b"tollspan.budget_exceeded" in body for body in receiver.bodies)
    secrets = (PROMPT, ANSWER, KEY, HEADER, "heron", "planted")
    found = [
        (place, one) for place, data in places.items() for one in secrets if one.encode() in data
    ]
    assert found == []


NESTED = """
    import asyncio, json
    import httpx, openai
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("app")
    asked = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=9)
    broken = {"extra_headers": {"x-fake": '{"status": 500}'}}

    def see(request):
        with tracer.start_as_current_span("http"):
            pass

    async def see_async(request):
        see(request)

    def names(span):
        return span.name

    client = openai.OpenAI(
        max_retries=0, http_client=openai.DefaultHttpxClient(event_hooks={"request": [see]})
    )

    async def main():
        http = openai.DefaultAsyncHttpxClient(event_hooks={"request": [see_async]})
        async with openai.AsyncOpenAI(max_retries=0, http_client=http) as other:
            for more in ({}, {"stream": True}, broken):
                with tracer.start_as_current_span("caller") as caller:
                    try:
                        got = await other.chat.completions.create(**asked, **more)
                        if more:
                            async for _ in got:
                                assert trace.get_current_span() is caller
                    except openai.InternalServerError:
                        pass
                    assert trace.get_current_span() is caller
            with tracer.start_as_current_span("caller") as caller:
                task = asyncio.create_task(
                    other.chat.completions.create(
                        **asked, extra_headers={"x-fake": '{"latency_seconds": 30}'}
                    )
                )
                await asyncio.sleep(0.3)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert trace.get_current_span() is caller

    for more in ({}, {"stream": True}, broken):
        with tracer.start_as_current_span("caller") as caller:
            try:
                got = client.chat.completions.create(**asked, **more)
                if more:
                    for _ in got:
                        assert trace.get_current_span() is caller
            except openai.InternalServerError:
                pass
            assert trace.get_current_span() is caller
    asyncio.run(main())
    from tollspan.api import uninstall
    uninstall()
    print(json.dumps([
        [span.name, span.context.span_id, span.parent and span.parent.span_id,
         span.context.trace_id, span.status.status_code.name]
        for span in memory.get_finished_spans()
    ]))
"""


def test_the_callers_span_is_the_parent_and_http_spans_are_children(
    fake: FakeOpenAI, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path)
    output, errors = run(
        tmp_path, fake, None, NESTED.replace("import httpx, openai", "import openai")
    )
    assert errors == ""
    spans = json.loads(output)
    callers = {span_id: trace_id for name, span_id, _, trace_id, _ in spans if name == "caller"}
    calls = {
        span_id: (parent, trace_id)
        for name, span_id, parent, trace_id, _ in spans
        if name == "chat gpt-4o-mini"
    }
    requests = [(parent, trace_id) for name, _, parent, trace_id, _ in spans if name == "http"]
    assert len(callers) == len(calls) == len(requests) == 7
    assert dict(calls.values()) == callers
    assert sorted(requests) == sorted((span_id, of[1]) for span_id, of in calls.items())
    statuses = [status for name, *_, status in spans if name == "chat gpt-4o-mini"]
    assert statuses.count("ERROR") == 3


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param("", id="the end of the program"),
        pytest.param("raise SystemExit(0)", id="SystemExit"),
        pytest.param("import atexit; atexit.register(lambda: client.close())", id="atexit"),
        pytest.param(
            "kept = client.chat.completions.create(stream=True, **asked)", id="open stream"
        ),
    ],
)
def test_spans_are_exported_at(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path, ending: str
) -> None:
    harness.write_rules(tmp_path)
    code = f"""
        import openai
        client = openai.OpenAI()
        asked = dict(model="gpt-4o-mini", messages=[{{"role": "user", "content": "hi"}}])
        client.chat.completions.create(**asked)
        {ending}
    """
    run(tmp_path, fake, receiver, code)
    assert len(receiver.spans) == len(harness.usage_events(tmp_path)) == fake.hits


def test_the_programs_own_exporters_get_the_last_span_and_the_last_metric(
    fake: FakeOpenAI, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path)
    code = """
        import openai
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import (
            ConsoleMetricExporter, PeriodicExportingMetricReader,
        )
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

        client = openai.OpenAI()
        provider = TracerProvider()
        exporter = ConsoleSpanExporter(formatter=lambda span: f"span {span.name}\\n")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        metered = ConsoleMetricExporter(formatter=lambda data: data.to_json(indent=None) + "\\n")
        metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(metered)]))
        asked = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
        client.chat.completions.create(**asked)
        kept = client.chat.completions.create(stream=True, **asked)
    """
    output, errors = run(tmp_path, fake, None, code)
    assert errors == ""
    lines = output.splitlines()
    assert lines.count("span chat gpt-4o-mini") == 2
    data = json.loads(next(line for line in lines if line.startswith("{")))
    found = {
        metric["name"]: metric["data"]["data_points"]
        for of_resource in data["resource_metrics"]
        for of_scope in of_resource["scope_metrics"]
        for metric in of_scope["metrics"]
    }
    assert sum(point["count"] for point in found["gen_ai.client.operation.duration"]) == 2
