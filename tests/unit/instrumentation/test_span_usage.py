"""Tokens on spans: sums that include their parts, parts only where there are any."""

from __future__ import annotations

import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tollspan.instrumentation import CallSpan, SpanEmitter
from tollspan.usage import (
    Attribution,
    Call,
    Cost,
    DecisionNote,
    Outcome,
    Request,
    Usage,
    UsageEvent,
)


class Ended(msgspec.Struct):
    """A call that has ended, without streams and without a gate."""

    call: Call
    span: CallSpan | None
    started_at_ns: int = 0
    decided_at_ns: int = 0
    arrivals: None = None


def told(usage: Usage, operation: str = "chat") -> dict[str, object]:
    """Return what a span tells of tokens."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tollspan")
    request = Request(provider="openai", operation=operation, model="gpt-4o")
    call = Call(id="0" * 32, started_at_unix_ns=1, request=request, attribution=Attribution())
    emitter = SpanEmitter(tracer=lambda: tracer, recorder=None)
    event = UsageEvent(
        call=call,
        decision=DecisionNote(),
        outcome=Outcome(status="ok"),
        usage=usage,
        cost=Cost(status="unpriced"),
    )
    emitter.end(Ended(call, CallSpan(tracer.start_span("call"), is_ours=True)), event)
    (span,) = memory.get_finished_spans()
    return {
        name.removeprefix("gen_ai.usage."): value
        for name, value in (span.attributes or {}).items()
        if name.startswith("gen_ai.usage.")
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            Usage(input_uncached=10, output=5), {"input_tokens": 10, "output_tokens": 5}, id="text"
        ),
        pytest.param(
            Usage(input_uncached=10, cache_read=20, cache_write_5m=3, cache_write_1h=4, output=5),
            {
                "input_tokens": 37,
                "cache_read.input_tokens": 20,
                "cache_write.input_tokens": 7,
                "output_tokens": 5,
            },
            id="caches",
        ),
        pytest.param(
            Usage(input_uncached=10, output=5, reasoning=7),
            {"input_tokens": 10, "output_tokens": 12, "reasoning.output_tokens": 7},
            id="reasoning",
        ),
        pytest.param(
            Usage(
                input_uncached=10,
                cache_read=1,
                audio_in=20,
                audio_cache_read=2,
                image_in=30,
                image_cache_read=3,
                video_in=40,
                output=5,
                reasoning=6,
                audio_out=50,
                image_out=60,
            ),
            {
                "input_tokens": 106,
                "cache_read.input_tokens": 6,
                "output_tokens": 121,
                "reasoning.output_tokens": 6,
                "text.input_tokens": 11,
                "audio.input_tokens": 22,
                "image.input_tokens": 33,
                "video.input_tokens": 40,
                "text.output_tokens": 11,
                "audio.output_tokens": 50,
                "image.output_tokens": 60,
            },
            id="modalities",
        ),
        pytest.param(
            Usage(audio_out=50),
            {"input_tokens": 0, "output_tokens": 50, "audio.output_tokens": 50},
            id="speech alone",
        ),
        pytest.param(Usage(status="unknown"), {}, id="unknown is not 0"),
    ],
)
def test_parts_are_beside_their_sums(usage: Usage, expected: dict[str, int]) -> None:
    assert told(usage) == expected


@pytest.mark.parametrize("operation", ["embeddings", "moderation"])
def test_what_has_no_output_tells_none(operation: str) -> None:
    assert told(Usage(input_uncached=10), operation) == {"input_tokens": 10}
