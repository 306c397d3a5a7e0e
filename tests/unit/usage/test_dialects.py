"""What other people's spans say, in our words: every dialect, as its instrumentor speaks it.

The attributes are those that the instrumentors of these versions put on spans of one loopback
provider, in November 2026: opentelemetry-instrumentation-genai-openai 1.3b0, -openai 0.62.4,
-anthropic 0.62.4, openinference-instrumentation-openai 0.1.66, -anthropic 3.1.0, anthropic 2.14.0.
Those of other
languages are from their documentation.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.usage import (
    SPAN_ATTRIBUTES,
    Attribution,
    Usage,
    assumed_provider,
    dialect_of,
    foreign_call,
    foreign_outcome,
    named,
    read_span,
)

OFFICIAL = "opentelemetry.instrumentation.genai.openai"
SEMCONV: dict[str, object] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "server.address": "127.0.0.1",
    "server.port": 42267,
    "gen_ai.request.max_tokens": 20,
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 8,
    "gen_ai.usage.output_tokens": 11,
    "gen_ai.usage.cache_read.input_tokens": 5,
    "gen_ai.usage.reasoning.output_tokens": 3,
    "openai.response.service_tier": "default",
}
NATIVE: dict[str, object] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-haiku-4-5",
    "gen_ai.usage.input_tokens": 8,
    "gen_ai.usage.cache_write.input_tokens": 3,
    "gen_ai.usage.cache_read.input_tokens": 4,
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 1,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 2,
    "gen_ai.usage.output_tokens": 8,
}
LLMETRY_ANTHROPIC: dict[str, object] = {
    "gen_ai.provider.name": "anthropic",
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "claude-haiku-4-5",
    "gen_ai.is_streaming": True,
    "gen_ai.usage.input_tokens": 8,
    "gen_ai.usage.output_tokens": 9,
    "gen_ai.usage.cache_read.input_tokens": 4,
    "gen_ai.usage.cache_creation.input_tokens": 3,
}
INFERENCE: dict[str, object] = {
    "openinference.span.kind": "LLM",
    "llm.system": "openai",
    "llm.model_name": "gpt-4o-mini-2024-07-18",
    "llm.token_count.prompt": 8,
    "llm.token_count.completion": 11,
    "llm.token_count.prompt_details.cache_read": 5,
    "llm.token_count.prompt_details.audio": 1,
    "llm.token_count.completion_details.reasoning": 3,
    "llm.token_count.completion_details.audio": 2,
    "llm.finish_reason": "stop",
}
OLD: dict[str, object] = {
    "gen_ai.system": "OpenAI",
    "llm.request.type": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.prompt_tokens": 100,
    "gen_ai.usage.completion_tokens": 7,
    "gen_ai.usage.cache_read_input_tokens": 60,
}


@pytest.mark.parametrize(
    ("scope", "attributes", "usage"),
    [
        pytest.param(
            OFFICIAL,
            SEMCONV,
            Usage(input_uncached=3, cache_read=5, output=8, reasoning=3),
            id="the official one: inclusive sums",
        ),
        pytest.param(
            "com.anthropic.sdk.python",
            NATIVE,
            Usage(input_uncached=1, cache_read=4, cache_write_5m=1, cache_write_1h=2, output=8),
            id="Anthropic's SDK: cache writes by their time to live",
        ),
        pytest.param(
            "opentelemetry.instrumentation.anthropic",
            LLMETRY_ANTHROPIC,
            Usage(input_uncached=1, cache_read=4, cache_write=3, output=8),
            id="OpenLLMetry, Anthropic: a stream has one token too many",
        ),
        pytest.param(
            "opentelemetry.instrumentation.anthropic",
            {**LLMETRY_ANTHROPIC, "gen_ai.is_streaming": False},
            Usage(input_uncached=1, cache_read=4, cache_write=3, output=9),
            id="OpenLLMetry, Anthropic, not streamed",
        ),
        pytest.param(
            "openinference.instrumentation.openai",
            INFERENCE,
            Usage(
                input_uncached=2,
                cache_read=5,
                audio_in=1,
                output=6,
                reasoning=3,
                audio_out=2,
            ),
            id="OpenInference: details within the totals",
        ),
        pytest.param(
            "opentelemetry.instrumentation.genai.bedrock",
            {**SEMCONV, "gen_ai.usage.cache_write.input_tokens": 2},
            Usage(input_uncached=8, cache_read=5, cache_write=2, output=8, reasoning=3),
            id="Bedrock: input without what was cached",
        ),
        pytest.param(
            "my.own.tracer",
            OLD,
            Usage(status="estimated", input_uncached=40, cache_read=60, output=7),
            id="nobody's: older names, an estimate",
        ),
        pytest.param(
            OFFICIAL,
            {**SEMCONV, "gen_ai.usage.cache_read.input_tokens": 50},
            Usage(cache_read=50, output=8, reasoning=3, flags=("parts_above_total",)),
            id="parts above their total are flagged",
        ),
        pytest.param(
            OFFICIAL,
            {"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 4},
            Usage(input_uncached=4),
            id="embeddings put nothing out",
        ),
        pytest.param(
            OFFICIAL, {"gen_ai.operation.name": "chat"}, None, id="no numbers are no usage"
        ),
        pytest.param(
            OFFICIAL,
            {**SEMCONV, "gen_ai.usage.input_tokens": "8", "gen_ai.usage.output_tokens": True},
            None,
            id="what is no number counts nothing",
        ),
    ],
)
def test_usage_is_split_into_buckets_that_share_nothing(
    scope: str, attributes: dict[str, object], usage: Usage | None
) -> None:
    found = read_span(scope, attributes)
    assert found is not None
    assert found.usage == usage


@pytest.mark.parametrize(
    ("scope", "attributes"),
    [
        pytest.param(OFFICIAL, {}, id="nothing said"),
        pytest.param(OFFICIAL, {"gen_ai.operation.name": "invoke_agent"}, id="an agent"),
        pytest.param(OFFICIAL, {"gen_ai.operation.name": "invoke_workflow"}, id="a workflow"),
        pytest.param(OFFICIAL, {"gen_ai.operation.name": "execute_tool"}, id="a tool"),
        pytest.param(OFFICIAL, {"gen_ai.operation.name": "retrieval"}, id="a retrieval"),
        pytest.param("openinference.instrumentation.x", {"openinference.span.kind": "CHAIN"}),
        pytest.param("openinference.instrumentation.x", {"openinference.span.kind": "AGENT"}),
        pytest.param("traceloop.sdk", {"traceloop.span.kind": "task", "llm.request.type": "chat"}),
        pytest.param("tollspan", SEMCONV, id="our own"),
        pytest.param("opentelemetry.instrumentation.httpx", {"http.request.method": "POST"}),
    ],
)
def test_what_is_no_single_call_to_a_model_is_left_alone(
    scope: str, attributes: dict[str, object]
) -> None:
    assert read_span(scope, attributes) is None


@pytest.mark.parametrize(
    ("said", "provider"),
    [
        ({"gen_ai.provider.name": "gemini"}, "gcp.gemini"),
        ({"gen_ai.provider.name": "openai", "gen_ai.system": "x"}, "openai"),
        ({"gen_ai.system": "Anthropic"}, "anthropic"),
        ({"gen_ai.system": "AWS"}, "aws.bedrock"),
        ({"gen_ai.system": "Langchain"}, ""),
        ({"llm.provider": "azure", "llm.system": "openai"}, "azure.ai.openai"),
        ({"llm.system": "vertexai"}, "gcp.vertex_ai"),
        ({}, ""),
    ],
)
def test_providers_have_the_conventions_names(said: dict[str, object], provider: str) -> None:
    found = read_span(OFFICIAL, {"gen_ai.operation.name": "chat", **said})
    assert found is not None
    assert found.provider == provider


def test_the_narrowest_dialect_speaks() -> None:
    assert dialect_of("opentelemetry.instrumentation.openai.v1").sdk == "openai"
    assert dialect_of("opentelemetry.instrumentation.genai.anthropic").excludes_cache is False
    assert dialect_of("opentelemetry.instrumentation.genai.langchain").is_lossy
    assert dialect_of("openinference.instrumentation.langchain").sdk is None
    assert dialect_of("what.nobody.knows").is_lossy


@pytest.mark.parametrize(
    ("attributes", "is_error", "status", "usage"),
    [
        pytest.param(SEMCONV, False, "ok", "reported", id="well"),
        pytest.param({}, False, "ok", "unknown", id="well, and nothing said"),
        pytest.param({"error.type": "RateLimitError"}, True, "error", None, id="refused"),
        pytest.param({"error.type": "429"}, True, "error", None, id="refused, by its number"),
        pytest.param({"error.type": "500"}, True, "error", "unknown", id="its error"),
        pytest.param({"error.type": "APITimeoutError"}, True, "timeout", "unknown", id="time-out"),
        pytest.param(
            {"error.type": "asyncio.exceptions.CancelledError"},
            True,
            "cancelled",
            "unknown",
            id="cancelled",
        ),
        pytest.param({}, True, "error", None, id="an error that says nothing"),
        pytest.param({**SEMCONV, "error.type": "x"}, True, "error", "reported", id="usage counts"),
    ],
)
def test_an_end_without_usage_is_free_or_unknown_by_its_error(
    attributes: dict[str, object], is_error: bool, status: str, usage: str | None
) -> None:
    found = read_span(OFFICIAL, {"gen_ai.operation.name": "chat", **attributes})
    assert found is not None
    outcome, used = foreign_outcome(found, duration_ns=5, is_error=is_error)
    assert outcome.status == status
    assert (used.status if used is not None else None) == usage


def test_a_spans_call_has_one_id_wherever_it_is_seen() -> None:
    found = read_span(OFFICIAL, SEMCONV)
    assert found is not None

    def call_id(trace_id: int, span_id: int, door: str) -> str:
        return foreign_call(
            found,
            trace_id,
            span_id,
            started_at_unix_ns=1,
            attribution=Attribution(),
            door=door,
        ).id

    assert call_id(1, 2, "processor") == call_id(1, 2, "exporter")
    assert len({call_id(1, 2, "x"), call_id(2, 1, "x"), call_id(12, 0, "x")}) == 3
    assert len(call_id(1, 2, "x")) == 32


def test_a_span_that_names_its_model_late_is_priced_by_it() -> None:
    at_start = read_span("openinference.instrumentation.x", {"openinference.span.kind": "LLM"})
    at_end = read_span("openinference.instrumentation.x", INFERENCE)
    assert at_start is not None
    assert at_end is not None
    call = foreign_call(
        at_start, 1, 2, started_at_unix_ns=1, attribution=Attribution(), door="processor"
    )
    assert (call.request.provider, call.request.model) == ("unknown", "unknown")
    assert call.request.is_assumed
    request = named(call, at_end).request
    assert (request.provider, request.model) == ("openai", "gpt-4o-mini-2024-07-18")
    assert named(named(call, at_end), at_start).request == request


AI_SDK: dict[str, object] = {
    "ai.operationId": "ai.generateText.doGenerate",
    "ai.model.id": "claude-haiku-4-5",
    "gen_ai.system": "anthropic.messages",
    "gen_ai.usage.input_tokens": 8,
    "ai.usage.cachedInputTokens": 4,
    "gen_ai.usage.output_tokens": 7,
    "ai.usage.reasoningTokens": 2,
    "ai.response.id": "msg_1",
}
SPRING: dict[str, object] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": "8",
    "gen_ai.usage.output_tokens": "11",
}
LANGFUSE: dict[str, object] = {
    "langfuse.observation.type": "generation",
    "langfuse.observation.model.name": "gpt-4o-mini",
}


@pytest.mark.parametrize(
    ("scope", "attributes", "provider", "usage"),
    [
        pytest.param(
            "ai",
            AI_SDK,
            "anthropic",
            Usage(status="estimated", input_uncached=8, cache_read=4, output=5, reasoning=2),
            id="Vercel's: what Anthropic counts leaves out its cache",
        ),
        pytest.param(
            "ai",
            {**AI_SDK, "ai.usage.inputTokenDetails.noCacheTokens": 4},
            "anthropic",
            Usage(status="estimated", input_uncached=4, cache_read=4, output=5, reasoning=2),
            id="Vercel's, newer: parts are told, and sums include them",
        ),
        pytest.param(
            "ai",
            {**AI_SDK, "gen_ai.system": "openai.responses"},
            "openai",
            Usage(status="estimated", input_uncached=4, cache_read=4, output=5, reasoning=2),
            id="Vercel's: what OpenAI counts includes it",
        ),
        pytest.param(
            "org.springframework.boot",
            SPRING,
            "openai",
            Usage(status="estimated", input_uncached=8, output=11),
            id="Spring AI: counts are text",
        ),
        pytest.param(
            "langfuse-sdk",
            {
                **LANGFUSE,
                "langfuse.observation.usage_details": '{"input":3,"input_cached_tokens":5,'
                '"output":8,"output_reasoning_tokens":3,"total":19}',
            },
            "",
            Usage(status="estimated", input_uncached=3, cache_read=5, output=8, reasoning=3),
            id="Langfuse: parts beside each other",
        ),
        pytest.param(
            "langfuse-sdk",
            {
                **LANGFUSE,
                "langfuse.observation.usage_details": '{"prompt_tokens":8,"completion_tokens":11,'
                '"prompt_tokens_details":{"cached_tokens":5}}',
            },
            "",
            Usage(status="estimated", input_uncached=3, cache_read=5, output=11),
            id="Langfuse: as OpenAI counts",
        ),
        pytest.param(
            "langfuse-sdk",
            {**LANGFUSE, "langfuse.observation.usage_details": "[" * 4_000},
            "",
            None,
            id="Langfuse: what is no JSON",
        ),
        pytest.param(
            "pydantic-ai",
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.system": "openai",
                "gen_ai.usage.input_tokens": 8,
                "gen_ai.usage.details.cache_read_tokens": 5,
                "gen_ai.usage.output_tokens": 11,
            },
            "openai",
            Usage(status="estimated", input_uncached=3, cache_read=5, output=11),
            id="Pydantic AI: details within the sums",
        ),
    ],
)
def test_sdks_of_other_languages_and_platforms_are_read(
    scope: str, attributes: dict[str, object], provider: str, usage: Usage | None
) -> None:
    found = read_span(scope, attributes)
    assert found is not None
    assert (found.provider, found.usage) == (provider, usage)


@pytest.mark.parametrize(
    "attributes",
    [
        {**AI_SDK, "ai.operationId": "ai.generateText"},
        {**AI_SDK, "ai.operationId": "ai.toolCall"},
        {**LANGFUSE, "langfuse.observation.type": "agent"},
        {**SPRING, "gen_ai.operation.name": "framework"},
    ],
    ids=str,
)
def test_what_sums_up_calls_is_none_in_any_language(attributes: dict[str, object]) -> None:
    assert read_span("ai", attributes) is None


@pytest.mark.parametrize(
    ("version", "status"),
    [("", "reported"), ("0.62.4", "reported"), ("0.62", "reported"), ("0.63.0", "estimated")],
)
def test_a_count_that_was_odd_is_an_estimate_in_a_later_version(version: str, status: str) -> None:
    found = read_span("opentelemetry.instrumentation.anthropic", LLMETRY_ANTHROPIC, version)
    assert found is not None
    assert found.usage is not None
    assert found.usage.status == status


def test_a_model_without_a_provider_is_assumed_to_be_of_its_family_and_marked() -> None:
    found = read_span("langfuse-sdk", LANGFUSE)
    assert found is not None
    request = foreign_call(
        found, 1, 2, started_at_unix_ns=1, attribution=Attribution(), door="x"
    ).request
    assert (request.provider, request.is_assumed) == ("openai", True)
    assert assumed_provider("llama-3") == ""


def test_our_own_spans_are_read_where_that_is_asked() -> None:
    assert read_span("tollspan", SEMCONV) is None
    found = read_span("tollspan", SEMCONV, with_ours=True)
    assert found is not None
    assert found.usage == Usage(input_uncached=3, cache_read=5, output=8, reasoning=3)


class Recorder(dict[str, object]):
    """Attributes that note which were looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, name: str, default: object = None) -> object:
        self.asked.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("attributes", [SEMCONV, INFERENCE, OLD, AI_SDK, LANGFUSE, SPRING])
def test_whoever_picks_attributes_for_the_table_knows_all_that_it_reads(
    attributes: dict[str, object],
) -> None:
    said = Recorder()
    said.update(attributes)
    for scope in (OFFICIAL, "ai", "org.springframework.boot"):
        read_span(scope, said)
    assert said.asked - SPAN_ATTRIBUTES == set()


COUNTS = st.one_of(
    st.integers(-5, 1 << 60),
    st.floats(allow_nan=True),
    st.booleans(),
    st.text(max_size=3),
    st.none(),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys((*SEMCONV, *INFERENCE, *OLD), COUNTS)))
def test_whatever_a_span_says_buckets_are_counts_and_nothing_raises(
    attributes: dict[str, object],
) -> None:
    for scope in (OFFICIAL, "opentelemetry.instrumentation.genai.bedrock", "x"):
        found = read_span(scope, {**attributes, "gen_ai.operation.name": "chat"})
        assert found is not None
        if found.usage is not None:
            assert found.usage.input_tokens >= 0
            assert min(found.usage.input_uncached, found.usage.output) >= 0
