"""Reads other people's spans: which are calls to a model, and what they say was used.

Each instrumentor has a dialect: its names, what its counts include, and what they leave out. Pure:
from a span's scope, name and attributes to our values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import cast

import msgspec

from tollspan.semconv import (
    ANTHROPIC_RESPONSE_SERVICE_TIER,
    ERROR_TYPE,
    GEN_AI_OPERATION_NAME,
    GEN_AI_PROVIDER_NAME,
    GEN_AI_REQUEST_MAX_TOKENS,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_REQUEST_STREAM,
    GEN_AI_RESPONSE_FINISH_REASONS,
    GEN_AI_RESPONSE_ID,
    GEN_AI_RESPONSE_MODEL,
    GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    GEN_AI_USAGE_INPUT_TOKENS,
    GEN_AI_USAGE_OUTPUT_TOKENS,
    GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    OPENAI_RESPONSE_SERVICE_TIER,
    SERVER_ADDRESS,
    SERVER_PORT,
    foreign,
)

from .call import Attribution, Call, Request
from .outcome import Outcome, OutcomeStatus, Response
from .usage import Usage

OURS = "tollspan"
"""The scope of our own spans."""
_LEAVES = frozenset({"chat", "generate_content", "text_completion", "embeddings"})
_KINDS = {"LLM": "chat", "EMBEDDING": "embeddings"}
_REQUEST_TYPES = {"chat": "chat", "completion": "text_completion", "embedding": "embeddings"}
# What is named otherwise in older conventions and elsewhere → `gen_ai.provider.name`.
_PROVIDERS = {
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "vertexai": "gcp.vertex_ai",
    "vertex_ai": "gcp.vertex_ai",
    "mistralai": "mistral_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "azure": "azure.ai.openai",
    "aws": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "langchain": "",
}
# What a span tells nothing of, and a hold needs: a foreign span is let through by these.
_ASSUMED_INPUT_BYTES = 8_192
_ASSUMED_OUTPUT_TOKENS = 2_048
# Errors of which the provider did no work, or said so.
_NOT_BILLED = ("ratelimit", "authentic", "badrequest", "permission", "notfound", "unprocessable")
_MAYBE_BILLED = ("timeout", "cancel", "interrupt", "reset", "incomplete", "abandoned")


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one instrumentor speaks.

    Attributes:
        scope: What the names of its scopes begin with.
        name: For people.
        sdk: The package whose methods it wraps; None where it is a framework, or wraps its own.
        excludes_cache: Its input tokens leave out what was read from and written to a cache.
        adds_to_streams: Output tokens that it counts too much in a stream.
        is_lossy: It leaves out what changes the price, so its usage is an estimate.
        swallows: It goes on with the call when a span processor raises at its span's start.
    """

    scope: str
    name: str
    sdk: str | None = None
    excludes_cache: bool = False
    adds_to_streams: int = 0
    is_lossy: bool = False
    swallows: bool = False


_OFFICIAL = "opentelemetry.instrumentation.genai."
_LLMETRY = "opentelemetry.instrumentation."
_INFERENCE = "openinference.instrumentation."
DIALECTS = (
    Dialect(scope=f"{_OFFICIAL}openai", name="OpenTelemetry, OpenAI", sdk="openai"),
    Dialect(scope=f"{_OFFICIAL}anthropic", name="OpenTelemetry, Anthropic", sdk="anthropic"),
    Dialect(scope=f"{_OFFICIAL}bedrock", name="OpenTelemetry, Bedrock", excludes_cache=True),
    # Without streaming it tells neither cache nor reasoning.
    Dialect(
        scope=f"{_OFFICIAL}langchain", name="OpenTelemetry, LangChain", is_lossy=True, swallows=True
    ),
    Dialect(scope=_OFFICIAL, name="OpenTelemetry"),
    Dialect(scope="opentelemetry.instrumentation.google_genai", name="OpenTelemetry, Google"),
    Dialect(scope=f"{_LLMETRY}openai", name="OpenLLMetry, OpenAI", sdk="openai"),
    Dialect(
        scope=f"{_LLMETRY}anthropic",
        name="OpenLLMetry, Anthropic",
        sdk="anthropic",
        adds_to_streams=1,
    ),
    Dialect(scope=f"{_LLMETRY}bedrock", name="OpenLLMetry, Bedrock", excludes_cache=True),
    Dialect(
        scope=f"{_LLMETRY}langchain", name="OpenLLMetry, LangChain", is_lossy=True, swallows=True
    ),
    Dialect(scope=_LLMETRY, name="OpenLLMetry", is_lossy=True),
    Dialect(scope=f"{_INFERENCE}openai", name="OpenInference, OpenAI", sdk="openai", swallows=True),
    Dialect(
        scope=f"{_INFERENCE}anthropic",
        name="OpenInference, Anthropic",
        sdk="anthropic",
        swallows=True,
    ),
    Dialect(scope=_INFERENCE, name="OpenInference", swallows=True),
    Dialect(
        scope="com.anthropic.sdk.python", name="Anthropic's SDK", sdk="anthropic", swallows=True
    ),
    Dialect(scope="", name="unknown", is_lossy=True),
)
"""From the narrowest to the widest: the first whose scope fits speaks."""


class ForeignSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A call to a model as somebody else's span tells it.

    Attributes:
        dialect: Whose span it is.
        operation, provider, model: As in `Request`; `""` where it does not say.
        host, port: Where it went; `""` and None where it does not say.
        max_output_tokens: The caller's own limit, if it is told.
        is_stream: It says that the answer is streamed.
        usage: What was used; None where it does not say.
        response: What the answer says of itself.
        error_type: How it failed; None when it did not.
    """

    dialect: Dialect
    operation: str
    provider: str = ""
    model: str = ""
    host: str = ""
    port: int | None = None
    max_output_tokens: int | None = None
    is_stream: bool = False
    usage: Usage | None = None
    response: Response = Response()
    error_type: str | None = None

    @property
    def richness(self) -> int:
        """How much it tells of what was used: of two spans of one call, the richer one counts."""
        usage = self.usage
        if usage is None:
            return 0
        buckets = sum(
            1 for name in Usage.__struct_fields__ if isinstance(getattr(usage, name), int)
        )
        filled = sum(
            1
            for name in Usage.__struct_fields__
            if isinstance(getattr(usage, name), int) and getattr(usage, name)
        )
        return 1 + filled + (buckets if usage.status == "reported" else 0)


def dialect_of(scope: str) -> Dialect:
    """Return who speaks in a scope."""
    return next(each for each in DIALECTS if scope.startswith(each.scope))


def read_span(scope: str, attributes: Mapping[str, object]) -> ForeignSpan | None:
    """Read a span that somebody else made; None when it is no single call to a model.

    Agents, workflows, chains and tools are none: what they sum up is in their calls.

    Args:
        scope: Name of the span's instrumentation scope.
        attributes: Those that it has by now: a few at its start, all at its end.
    """
    operation = _operation(attributes)
    if operation is None or scope == OURS:
        return None
    dialect = dialect_of(scope)
    get = attributes.get
    is_stream = get(GEN_AI_REQUEST_STREAM) is True or get(foreign.GEN_AI_IS_STREAMING) is True
    host, port = get(SERVER_ADDRESS), get(SERVER_PORT)
    return ForeignSpan(
        dialect=dialect,
        operation=operation,
        provider=_provider(attributes),
        model=_model(attributes),
        host=host if isinstance(host, str) else "",
        port=port if type(port) is int and 0 < port < 65536 else None,
        max_output_tokens=_count(get(GEN_AI_REQUEST_MAX_TOKENS)),
        is_stream=is_stream,
        usage=_usage(dialect, attributes, is_stream=is_stream),
        response=Response(
            id=_text(get(GEN_AI_RESPONSE_ID)),
            model=_text(get(GEN_AI_RESPONSE_MODEL) or get(foreign.LLM_MODEL_NAME)),
            finish_reasons=_texts(
                get(GEN_AI_RESPONSE_FINISH_REASONS) or get(foreign.LLM_FINISH_REASON)
            ),
            service_tier=_text(
                get(OPENAI_RESPONSE_SERVICE_TIER) or get(ANTHROPIC_RESPONSE_SERVICE_TIER)
            ),
        ),
        error_type=_text(get(ERROR_TYPE)),
    )


def foreign_call(
    found: ForeignSpan,
    trace_id: int,
    span_id: int,
    *,
    started_at_unix_ns: int,
    attribution: Attribution,
    door: str,
) -> Call:
    """Make the call of a span; its id follows from the span's, so that it is counted once.

    What a span does not tell is assumed where a hold needs it: 8,192 bytes of input, and 2,048
    tokens of output where no limit is told.
    """
    name = hashlib.sha256(f"span:{trace_id:032x}:{span_id:016x}".encode()).hexdigest()[:32]
    return Call(
        id=name,
        started_at_unix_ns=started_at_unix_ns,
        request=Request(
            provider=found.provider or "unknown",
            operation=found.operation,
            model=found.model or "unknown",
            host=found.host,
            port=found.port,
            is_assumed=not (found.provider and found.model),
            input_bytes=_ASSUMED_INPUT_BYTES,
            max_output_tokens=found.max_output_tokens or _ASSUMED_OUTPUT_TOKENS,
            is_stream=found.is_stream,
        ),
        attribution=attribution,
        door=door,
    )


def named(call: Call, found: ForeignSpan) -> Call:
    """Return the call with the provider and model that the span tells only at its end."""
    request = call.request
    if request.provider != "unknown" and request.model != "unknown":
        return call
    return msgspec.structs.replace(
        call,
        request=msgspec.structs.replace(
            request,
            provider=found.provider or request.provider,
            model=found.model or request.model,
            operation=found.operation,
            is_assumed=not (found.provider and found.model),
        ),
    )


def foreign_outcome(
    found: ForeignSpan, *, duration_ns: int, is_error: bool
) -> tuple[Outcome, Usage | None]:
    """Say how a span's call ended, and what it used: None where the provider did no work.

    A span that tells no usage and no error leaves it unknown.
    """
    status: OutcomeStatus = "error" if is_error or found.error_type is not None else "ok"
    kind = (found.error_type or "").lower()
    if "timeout" in kind:
        status = "timeout"
    elif "cancel" in kind:
        status = "cancelled"
    usage = found.usage
    if usage is None and (status == "ok" or _is_maybe_billed(kind)):
        usage = Usage(status="unknown")
    outcome = Outcome(
        status=status,
        duration_ns=max(0, duration_ns),
        error_type=found.error_type or ("_OTHER" if is_error else None),
        response=found.response,
    )
    return outcome, usage


def _is_maybe_billed(kind: str) -> bool:
    if any(word in kind for word in _NOT_BILLED):
        return False
    return kind.startswith("5") or any(word in kind for word in _MAYBE_BILLED)


def _operation(attributes: Mapping[str, object]) -> str | None:
    """Return the operation of a single call to a model; None for everything else."""
    said = attributes.get(GEN_AI_OPERATION_NAME)
    if said is not None:
        return str(said) if said in _LEAVES else None
    kind = attributes.get(foreign.OPENINFERENCE_SPAN_KIND)
    if kind is not None:
        return _KINDS.get(str(kind))
    if attributes.get(foreign.TRACELOOP_SPAN_KIND) is not None:
        return None
    return _REQUEST_TYPES.get(str(attributes.get(foreign.LLM_REQUEST_TYPE)))


def _provider(attributes: Mapping[str, object]) -> str:
    for name in (
        GEN_AI_PROVIDER_NAME,
        foreign.GEN_AI_SYSTEM,
        foreign.LLM_PROVIDER,
        foreign.LLM_SYSTEM,
    ):
        said = attributes.get(name)
        if isinstance(said, str) and said:
            lower = said.lower()
            return _PROVIDERS.get(lower, lower)
    return ""


def _model(attributes: Mapping[str, object]) -> str:
    for name in (
        GEN_AI_REQUEST_MODEL,
        foreign.LLM_REQUEST_MODEL_NAME,
        foreign.LLM_MODEL_NAME,
        foreign.EMBEDDING_MODEL_NAME,
        GEN_AI_RESPONSE_MODEL,
    ):
        said = attributes.get(name)
        if isinstance(said, str) and said:
            return said
    return ""


def _usage(dialect: Dialect, attributes: Mapping[str, object], *, is_stream: bool) -> Usage | None:
    """Split a span's inclusive sums into buckets that share nothing."""

    def first(*names: str) -> int | None:
        return next(
            (count for name in names if (count := _count(attributes.get(name))) is not None), None
        )

    total = first(
        GEN_AI_USAGE_INPUT_TOKENS, foreign.GEN_AI_USAGE_PROMPT_TOKENS, foreign.LLM_PROMPT_TOKENS
    )
    made = first(
        GEN_AI_USAGE_OUTPUT_TOKENS,
        foreign.GEN_AI_USAGE_COMPLETION_TOKENS,
        foreign.LLM_COMPLETION_TOKENS,
    )
    if total is None and made is None:
        return None
    into, out = total or 0, made or 0
    if is_stream and out > 0:
        out -= dialect.adds_to_streams
    read = first(
        GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
        foreign.GEN_AI_USAGE_CACHE_READ_OLD,
        foreign.LLM_CACHE_READ,
    )
    short, long = first(foreign.ANTHROPIC_CACHE_WRITE_5M), first(foreign.ANTHROPIC_CACHE_WRITE_1H)
    written = first(
        GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
        foreign.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
        foreign.GEN_AI_USAGE_CACHE_CREATION_OLD,
        foreign.LLM_CACHE_WRITE,
    )
    heard, spoken = first(foreign.LLM_AUDIO_IN) or 0, first(foreign.LLM_AUDIO_OUT) or 0
    reasoning = (
        first(
            GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
            foreign.GEN_AI_USAGE_REASONING_TOKENS,
            foreign.LLM_REASONING,
        )
        or 0
    )
    five, hour = short or 0, long or 0
    plain = max(0, (written or 0) - five - hour)
    cached = (read or 0) + plain + five + hour
    flags: tuple[str, ...] = ()
    if dialect.excludes_cache:
        into += cached
    if into < cached + heard or out < reasoning + spoken:
        flags = ("parts_above_total",)
        into, out = max(into, cached + heard), max(out, reasoning + spoken)
    return Usage(
        status="estimated" if dialect.is_lossy else "reported",
        input_uncached=into - cached - heard,
        cache_read=read or 0,
        cache_write=plain,
        cache_write_5m=five,
        cache_write_1h=hour,
        audio_in=heard,
        output=out - reasoning - spoken,
        reasoning=reasoning,
        audio_out=spoken,
        flags=flags,
    )


def _count(value: object) -> int | None:
    """Return a count; None for what is none, whatever a program put there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 1 << 53 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, list | tuple):
        items = cast("tuple[object, ...]", value)
        return tuple(each for each in items if isinstance(each, str))
    return ()
